"""Which Python is chosen, and what is known of the dependencies then."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from deploytool.discover.dependencies.index import Answer, Index
from deploytool.discover.dependencies.packaging import FoundPackaging, Packaging
from deploytool.discover.dependencies.python_version import warning
from deploytool.discover.dependencies.requested import Requested, name_of
from deploytool.discover.dependencies.resolve import Resolution, resolve
from deploytool.discover.dependencies.too_old import too_old_for
from deploytool.process import Finished

Files = dict[str, str]
EVERY = frozenset({"3.13", "3.12", "3.11", "3.10", "3.9", "3.8"})


class FakeIndex(Index):
    """An index with wheels for some Pythons alone: {"name==1": {"3.11"}}."""

    def __init__(self, folder: Path, wheels: dict[str, frozenset[str]], unfit: str = "") -> None:
        super().__init__(folder, run=_refuse)
        self.wheels = wheels
        self.unfit = unfit
        self.asked: list[str] = []
        self.unreachable_from = 10**9

    def ask(
        self,
        requested: Requested,
        python: str,
        *,
        without: Iterable[str] = (),
        alone: bool = False,
    ) -> Answer:
        pins = self._asked(python, requested, without)
        if len(self.asked) >= self.unreachable_from:
            return Answer(unreachable="the index cannot be reached")
        for pin in pins:
            if pin not in self.wheels:
                return Answer(missing=(pin,))
            if python not in self.wheels[pin]:
                return Answer(unfit=(pin,)) if pin == self.unfit else Answer(source_only=(pin,))
        return Answer({name_of(pin): pin.partition("==")[2] for pin in pins})

    def survey(self, pins: Requested, oldest: str, *, without: Iterable[str] = ()) -> Answer:
        asked = self._asked("survey", pins, without)
        if len(self.asked) >= self.unreachable_from:
            return Answer(unreachable="the index cannot be reached")
        for pin in asked:
            if not self.wheels.get(pin):
                known = pin in self.wheels
                return Answer(source_only=(pin,)) if known else Answer(missing=(pin,))
        return Answer(wheels={name_of(pin): tuple(map(_wheel, self.wheels[pin])) for pin in asked})

    def _asked(self, what: str, requested: Requested, without: Iterable[str]) -> list[str]:
        self.asked.append(what)
        left_out = set(without)
        return [line for line in requested.lines if name_of(line) not in left_out]


def _wheel(python: str) -> str:
    tag = "cp" + python.replace(".", "")
    return f"x-1-{tag}-{tag}-manylinux_2_17_x86_64.whl"


def _refuse(*_: object, **__: object) -> Finished:
    raise AssertionError("uv was run")


def requirements(folder: Path, *lines: str) -> FoundPackaging:
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    return FoundPackaging(Packaging.REQUIREMENTS, "", files=("requirements.txt",))


def resolved(
    folder: Path,
    wheels: dict[str, frozenset[str]],
    constraint: str = "",
    hint: tuple[str, str] | None = None,
) -> Resolution:
    index = FakeIndex(folder, wheels)
    packaging = requirements(folder, *wheels)
    return resolve(folder, packaging, constraint=constraint, hint=hint, index=index)


def test_newest_for_which_all_have_wheels(tmp_path: Path) -> None:
    found = resolved(tmp_path, {"a==1": EVERY, "old==2": frozenset({"3.10", "3.11"})})
    assert found == Resolution(
        python="3.11",
        why="the newest for which every dependency has a wheel (old==2 has none for 3.12)",
        versions={"a": "1", "old": "2"},
        complete=True,
    )


def test_stops_at_the_first_that_fits(tmp_path: Path) -> None:
    index = FakeIndex(tmp_path, {"a==1": EVERY})
    packaging = requirements(tmp_path, "a==1")
    assert resolve(tmp_path, packaging, constraint="", hint=None, index=index).python == "3.13"
    assert index.asked == ["3.13"]


def test_nothing_has_all_wheels(tmp_path: Path) -> None:
    wheels = {"a==1": EVERY, "never==1": frozenset(), "old==2": frozenset({"3.11", "3.10"})}
    found = resolved(tmp_path, wheels)
    assert found.python == "3.11"
    assert found.source_only == ("never==1",)
    assert found.why == (
        "no Python has wheels for all dependencies; this one lacks the fewest "
        "(never==1 has none for 3.11)"
    )
    assert found.versions == {"a": "1", "never": "1", "old": "2"}
    assert not found.complete


def test_several_obstacles_are_counted(tmp_path: Path) -> None:
    old = frozenset({"3.12"})
    assert (
        "x==1 and 1 more have none for 3.13" in resolved(tmp_path, {"x==1": old, "y==1": old}).why
    )


@pytest.mark.parametrize(
    ("constraint", "hint", "python", "why"),
    [
        ("==3.11.7", ("3.11", ".python-version"), "3.11.7", "the project pins 3.11.7"),
        ("3.12.1", None, "3.12.1", "the project pins 3.12.1"),
        (">=3.9", ("3.12", "runtime.txt"), "3.12", "runtime.txt"),
        ("", ("3.14", "mise.toml"), "3.14", "mise.toml"),
    ],
)
def test_pins_and_hints_are_taken(
    tmp_path: Path, constraint: str, hint: tuple[str, str] | None, python: str, why: str
) -> None:
    found = resolved(tmp_path, {"old==1": frozenset({"3.10"})}, constraint, hint)
    assert (found.python, found.why) == (python, why)
    assert found.source_only == ("old==1",)


@pytest.mark.parametrize(
    ("constraint", "tried"),
    [(">=3.12", ["3.13", "3.12"]), (">=3.14", ["3.14"]), ("<3.10", ["3.9", "3.8"])],
)
def test_constraint(tmp_path: Path, constraint: str, tried: list[str]) -> None:
    index = FakeIndex(tmp_path, {"a==1": frozenset({tried[-1]})})
    packaging = requirements(tmp_path, "a==1")
    found = resolve(tmp_path, packaging, constraint=constraint, hint=("3.11", "x"), index=index)
    assert found.python == tried[-1]
    assert set(index.asked) <= {*tried, "survey"}


def test_hint_against_the_constraint_is_not_taken(tmp_path: Path) -> None:
    assert resolved(tmp_path, {"a==1": EVERY}, ">=3.12", ("3.9", "runtime.txt")).python == "3.13"


def test_old_python_is_warned_of(tmp_path: Path) -> None:
    found = resolved(tmp_path, {"a==1": frozenset({"3.9"})})
    assert found.python == "3.9"
    assert found.notes[0].startswith("Python 3.9 no longer gets security fixes")


def test_what_the_index_has_not_is_named_once(tmp_path: Path) -> None:
    index = FakeIndex(tmp_path, {"a==1": frozenset({"3.11"})})
    packaging = requirements(tmp_path, "ours==1", "a==1")
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=index)
    assert found.python == "3.11"
    assert found.notes == ("ours==1 is not in the package index: correct its name or version",)
    assert not found.complete


def test_unfit_distributions(tmp_path: Path) -> None:
    index = FakeIndex(tmp_path, {"gone==1": frozenset()}, unfit="gone==1")
    index.wheels["gone==1"] = frozenset({"2.7"})
    packaging = requirements(tmp_path, "gone==1")
    found = resolve(tmp_path, packaging, constraint=">=3.12", hint=None, index=index)
    assert found.source_only == ()
    assert found.notes == ("gone==1 does not install on Python 3.13: choose another version of it",)


def test_survey_finds_the_best_at_once(tmp_path: Path) -> None:
    old = frozenset({"3.9"})
    index = FakeIndex(tmp_path, {f"p{number}==1": old for number in range(20)})
    packaging = requirements(tmp_path, *index.wheels)
    assert resolve(tmp_path, packaging, constraint="", hint=None, index=index).python == "3.9"
    assert index.asked == ["3.13", "survey", "3.9"]


def test_wheels_for_other_systems_tell_nothing_of_a_source(tmp_path: Path) -> None:
    class Windows(FakeIndex):
        def survey(self, pins: Requested, oldest: str, *, without: Iterable[str] = ()) -> Answer:
            return Answer(wheels={"psycopg2": ("psycopg2-1-cp313-cp313-win_amd64.whl",)})

    index = Windows(tmp_path, {"psycopg2==1": frozenset()})
    packaging = requirements(tmp_path, "psycopg2==1")
    found = resolve(tmp_path, packaging, constraint=">=3.12", hint=None, index=index)
    assert (found.python, found.source_only, found.notes) == ("3.13", ("psycopg2==1",), ())


def test_foreign_distribution(tmp_path: Path) -> None:
    class Windows(FakeIndex):
        def ask(
            self, requested: Requested, python: str, *, without: Iterable[str] = (), **_: object
        ) -> Answer:
            if "pywin32" in without:
                return Answer({})
            return Answer(unfit=("pywin32==306",), foreign=("pywin32",))

        def survey(self, pins: Requested, oldest: str, *, without: Iterable[str] = ()) -> Answer:
            return Answer(wheels={"pywin32": ("pywin32-306-cp312-cp312-win_amd64.whl",)})

    packaging = requirements(tmp_path, "pywin32==306")
    index = Windows(tmp_path, {})
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=index)
    assert found.notes == (
        "pywin32==306 does not install on Linux: take it out, "
        "or add the marker `; sys_platform == 'win32'`",
    )


def test_without_an_index(tmp_path: Path) -> None:
    index = FakeIndex(tmp_path, {})
    index.unreachable_from = 1
    packaging = requirements(tmp_path, "a==1", "b>=2", "c ; sys_platform == 'win32'")
    found = resolve(tmp_path, packaging, constraint=">=3.9", hint=None, index=index)
    assert found == Resolution(
        python="3.13",
        why="nothing says which: the default, as the index cannot be reached",
        versions={"a": "1", "b": ""},
        unreachable="the index cannot be reached",
    )


@pytest.mark.parametrize(
    ("unreachable_from", "python", "source_only"),
    [(2, "3.13", ("a==1",)), (3, "3.10", ())],
    ids=["before the survey", "after it"],
)
def test_index_that_stops_answering(
    tmp_path: Path, unreachable_from: int, python: str, source_only: tuple[str, ...]
) -> None:
    index = FakeIndex(tmp_path, {"a==1": frozenset({"3.10"})})
    index.unreachable_from = unreachable_from
    packaging = requirements(tmp_path, "a==1")
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=index)
    assert (found.python, found.source_only) == (python, source_only)
    assert found.unreachable == "the index cannot be reached"
    assert not found.complete


def test_conflict(tmp_path: Path) -> None:
    class Conflict(FakeIndex):
        def ask(self, requested: Requested, python: str, **_: object) -> Answer:
            return Answer(conflict="you require a<1 and a>2, which are incompatible")

    packaging = requirements(tmp_path, "a<1", "a>2")
    index = Conflict(tmp_path, {})
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=index)
    assert found.python == "3.13"
    assert found.notes == (
        "the dependencies cannot be resolved: you require a<1 and a>2, which are incompatible",
    )


def test_index_options_go_with_every_question(tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    class Recorder(FakeIndex):
        def _asked(self, what: str, requested: Requested, without: Iterable[str]) -> list[str]:
            asked.append(requested.lines)
            pins = Requested(lines=requested.lines[1:])
            return super()._asked(what, pins, without)

    packaging = requirements(tmp_path, "-i https://own/simple", "a==1")
    index = Recorder(tmp_path, {"a==1": frozenset({"3.11"})})
    assert resolve(tmp_path, packaging, constraint="", hint=None, index=index).python == "3.11"
    assert asked == [("-i https://own/simple", "a==1")] * 3


def test_git_and_archives(tmp_path: Path) -> None:
    index = FakeIndex(tmp_path, {"a==1": EVERY})
    lines = ("a==1", "x @ git+https://host/x", "y @ https://host/y-1.tar.gz")
    packaging = requirements(tmp_path, *lines)
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=index)
    assert found.vcs == ("x",)
    assert found.source_only == ("y",)
    assert found.versions == {"a": "1", "x": "", "y": ""}
    assert not found.complete


POETRY = """
[[package]]
name = "asyncpg"
version = "0.26.0"
python-versions = ">=3.6"
files = [
    {file = "asyncpg-0.26.0-cp310-cp310-manylinux1_x86_64.whl"},
    {file = "asyncpg-0.26.0.tar.gz"},
]
[[package]]
name = "ours"
version = "1"
[package.source]
type = "git"
"""
PYPROJECT = '[tool.poetry.dependencies]\npython = "^3.9"\nasyncpg = "*"\nours = "*"\n'


def locked(folder: Path, files: Files) -> FoundPackaging:
    for name, text in files.items():
        (folder / name).write_text(text)
    return FoundPackaging(Packaging.POETRY, "", files=tuple(files), locked=True)


def test_lock_answers_without_an_index(tmp_path: Path) -> None:
    packaging = locked(tmp_path, {"pyproject.toml": PYPROJECT, "poetry.lock": POETRY})
    index = FakeIndex(tmp_path, {})
    found = resolve(tmp_path, packaging, constraint="^3.9", hint=None, index=index)
    assert found == Resolution(
        python="3.10",
        why="the newest for which every dependency has a wheel (asyncpg==0.26.0 has none for 3.11)",
        versions={"asyncpg": "0.26.0", "ours": "1"},
        complete=True,
        vcs=("ours",),
        notes=(warning("3.10") or "",),
    )
    assert index.asked == []


def test_lock_without_files_is_looked_up(tmp_path: Path) -> None:
    lock = '[[package]]\nname = "asyncpg"\nversion = "0.26.0"\n' + POETRY[POETRY.rindex("[[") :]
    packaging = locked(tmp_path, {"pyproject.toml": PYPROJECT, "poetry.lock": lock})
    index = FakeIndex(tmp_path, {"asyncpg==0.26.0": frozenset({"3.12"})})
    found = resolve(tmp_path, packaging, constraint="^3.9", hint=None, index=index)
    assert (found.python, found.complete) == ("3.12", True)


def test_locked_package_that_refuses_a_python(tmp_path: Path) -> None:
    lock = """
        [[package]]
        name = "asyncpg"
        version = "1"
        python-versions = "<3.12,>=3.8"
        files = [{file = "asyncpg-1-py3-none-any.whl"}]
    """
    packaging = locked(tmp_path, {"pyproject.toml": PYPROJECT, "poetry.lock": lock})
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=FakeIndex(tmp_path, {}))
    assert found.python == "3.11"
    assert "(asyncpg==1 has none for 3.12)" in found.why


@pytest.mark.parametrize(
    ("kind", "files", "asked"),
    [
        (
            Packaging.UV,
            {"pyproject.toml": '[project]\ndependencies = ["a==1"]\n'},
            ["a==1"],
        ),
        (
            Packaging.POETRY,
            {"pyproject.toml": '[tool.poetry.dependencies]\npython = "*"\na = "1"\n'},
            ["a==1"],
        ),
        (
            Packaging.SCRIPT,
            {"main.py": '# /// script\n# dependencies = ["a==1"]\n# ///\n'},
            ["a==1"],
        ),
        (Packaging.SINGLE_FILE, {}, ["fastapi[standard]<1,>=0.115"]),
        (Packaging.UV, {"pyproject.toml": "["}, []),
    ],
)
def test_what_is_asked(tmp_path: Path, kind: Packaging, files: Files, asked: list[str]) -> None:
    lines: list[str] = []

    class Recorder(FakeIndex):
        def ask(self, requested: Requested, python: str, **_: object) -> Answer:
            lines.extend(requested.lines)
            return Answer({"a": "1"})

    for name, text in files.items():
        (tmp_path / name).write_text(text)
    packaging = FoundPackaging(kind, "", files=tuple(files))
    found = resolve(tmp_path, packaging, constraint="", hint=None, index=Recorder(tmp_path, {}))
    assert lines == asked
    assert found.complete


def test_pins_that_do_not_run_on_a_python_choose_an_older_one(tmp_path: Path) -> None:
    found = resolved(tmp_path, {"pydantic==1.10.7": EVERY})
    assert found.python == "3.11"
    assert found.why == (
        "the newest for which every dependency has a wheel (pydantic==1.10.7 does not run on 3.12)"
    )
    assert not found.notes


def test_pins_that_do_not_run_on_the_python_of_the_project_are_said(tmp_path: Path) -> None:
    found = resolved(tmp_path, {"pydantic==1.10.7": EVERY, "aioredis==2.0.1": EVERY}, ">=3.13")
    assert found.notes == (
        "pydantic==1.10.7 installs on Python 3.13 and does not run on it: "
        "depend on pydantic>=1.10.16",
        "aioredis==2.0.1 installs on Python 3.13 and does not run on it: "
        "replace it, as no release of it does",
    )


@pytest.mark.parametrize(
    ("python", "name", "version", "is_too_old"),
    [
        ("3.12", "pydantic", "1.10.15", True),
        ("3.12", "pydantic", "1.10.16", False),
        ("3.11", "pydantic", "1.10.15", False),
        ("3.13", "sqlalchemy", "1.4.50", False),
        ("3.13", "sqlalchemy", "2.0.30", True),
        ("3.13.1", "sqlalchemy", "2.0.30", True),
        ("3.13", "sqlalchemy", "2.0.x", False),
        ("3.13", "other", "1", False),
    ],
)
def test_too_old(python: str, name: str, version: str, is_too_old: bool) -> None:
    assert bool(list(too_old_for(python, {name: version}))) is is_too_old
