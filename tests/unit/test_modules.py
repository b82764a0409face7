"""The rule about modules that the app imports and the image does not get, and .dockerignore."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytool.__main__ import run
from deploytool.config import load
from deploytool.image.build import BuiltImage
from deploytool.lint import Severity, inspect, lint, modules_left_out
from deploytool.lint.dockerignore import read

APP = "from fastapi import FastAPI\n\napp = FastAPI()\n"
OURS = "# Written by `deploytool init`; yours to edit.\n"
CONFIG = 'app = "items"\nentrypoint = "main:app"\n[services.web]\nport = 8000\n'


def project(folder: Path, files: dict[str, str], copy: str, ignore: str = "") -> Path:
    """A project whose Dockerfile has these COPY lines."""
    for name, text in {"deploytool.toml": CONFIG, ".dockerignore": ignore, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "Dockerfile").write_text(f"{OURS}FROM a:1\n{copy}\nUSER app\n")
    return folder


def told(folder: Path) -> list[tuple[int, str, str]]:
    found = modules_left_out(load(folder, environ={}))
    return [(item.line, item.severity.value, item.message) for item in found]


NEW = {"main.py": f"import extra\n{APP}", "extra.py": ""}


@pytest.mark.parametrize(
    ("files", "copy", "ignore", "message"),
    [
        (
            NEW,
            "COPY main.py ./",
            "",
            "extra.py is imported by main.py, and the Dockerfile does not copy it",
        ),
        (
            NEW,
            "COPY . .",
            "*\n!main.py\n",
            "extra.py is imported by main.py, and .dockerignore keeps it out",
        ),
        (
            NEW,
            "COPY extra.py main.py ./",
            "*\n!main.py\n",
            "extra.py is imported by main.py, and .dockerignore keeps it out",
        ),
        (
            {"main.py": f"from extra import a\n{APP}", "extra/__init__.py": "", "extra/a.py": ""},
            "COPY main.py ./",
            "",
            "extra/ is imported by main.py, and the Dockerfile does not copy it",
        ),
        (
            {
                "main.py": f"import api.a\n{APP}",
                "api/__init__.py": "",
                "api/a.py": "from . import b",
                "api/b.py": "",
            },
            'COPY ["main.py", "./"]\nCOPY api/__init__.py api/a.py api/',
            "",
            "api/b.py is imported by api/a.py, and the Dockerfile does not copy it",
        ),
        (
            {"main.py": APP},
            "COPY other.py ./",
            "",
            "main.py is the app, and the Dockerfile does not copy it",
        ),
    ],
)
def test_a_module_that_the_image_does_not_get(
    tmp_path: Path, files: dict[str, str], copy: str, ignore: str, message: str
) -> None:
    folder = project(tmp_path, files, copy, ignore)
    assert told(folder) == [(3, "error", message)]
    assert [f.message for f in lint(folder, None) if f.rule == "module-not-copied"] == [message]


@pytest.mark.parametrize(
    ("files", "copy", "ignore"),
    [
        (NEW, "COPY main.py extra.py ./", ""),
        (NEW, "COPY . .", ""),
        (NEW, "COPY ./ /code/", "*\n!*.py\n"),
        (NEW, "COPY /*.py /code/", ""),
        (NEW, "COPY ma?n.py [a-f]xtra.py /code/", ""),
        (NEW, "ADD main.py extra.py /code/", "tests\n"),
        (NEW, "ARG FILES\nCOPY main.py $FILES /code/", ""),
        (NEW, "COPY --exclude=*.md main.py /code/", ""),
        (NEW, "RUN git clone https://example.com/items .", ""),
        ({"main.py": f"import logging\n{APP}", "logging.py": ""}, "COPY main.py ./", ""),
        (
            {
                "main.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import extra\n"
                f'{APP}if __name__ == "__main__":\n    import extra\n',
                "extra.py": "",
            },
            "COPY main.py ./",
            "",
        ),
        ({"main.py": f"import (\n{APP}", "extra.py": ""}, "COPY main.py ./", ""),
    ],
)
def test_nothing_is_said_of_what_is_there_or_cannot_be_told(
    tmp_path: Path, files: dict[str, str], copy: str, ignore: str
) -> None:
    assert told(project(tmp_path, files, copy, ignore)) == []


@pytest.mark.parametrize(
    "text",
    [
        "def read():\n    import extra\n",
        "try:\n    import extra\nexcept ImportError:\n    extra = None\n",
        "try:\n    import nothing\nexcept ImportError:\n    import extra\n",
        "if True:\n    from extra import a\n",
    ],
)
def test_an_import_that_may_not_run_is_a_warning(tmp_path: Path, text: str) -> None:
    folder = project(tmp_path, {"main.py": APP + text, "extra.py": ""}, "COPY main.py ./")
    message = "extra.py is imported by main.py, and the Dockerfile does not copy it"
    assert told(folder) == [(3, "warning", message)]


def test_a_certain_import_counts_more_than_one_that_may_not_run(tmp_path: Path) -> None:
    files = {
        "main.py": f"import a\n{APP}def read():\n    import extra\n",
        "a.py": "import extra",
        "extra.py": "import b",
        "b.py": "",
    }
    found = told(project(tmp_path, files, "COPY main.py a.py ./"))
    assert {severity for _, severity, _ in found} == {"error"}
    assert [message.split()[0] for _, _, message in found] == ["b.py", "extra.py"]


def test_what_a_service_runs_as_a_module(tmp_path: Path) -> None:
    config = CONFIG + '[services.worker]\ncommand = ["python", "-m", "jobs.run"]\n'
    files = {"main.py": APP, "jobs/run.py": "import queues", "queues.py": ""}
    folder = project(tmp_path, {**files, "deploytool.toml": config}, "COPY main.py ./")
    assert [message.partition(",")[0] for _, _, message in told(folder)] == [
        "jobs/ is run by services.worker",
        "queues.py is imported by jobs/run.py",
    ]


def test_a_context_that_is_a_folder_of_the_project(tmp_path: Path) -> None:
    config = CONFIG.replace("main:app", "api.main:app") + '[build]\ncontext = "api"\n'
    files = {"api/main.py": f"from api import a, b\n{APP}", "api/a.py": "", "api/b.py": ""}
    folder = project(tmp_path, {**files, "deploytool.toml": config}, "COPY main.py a.py ./api/")
    [(_, _, message)] = told(folder)
    assert message.startswith("api/b.py is imported by api/main.py")


class TestKept:
    def kept(self, folder: Path, copy: str) -> Path:
        project(folder, NEW, copy)
        text = (folder / "Dockerfile").read_text()
        (folder / "Dockerfile").write_text(text.removeprefix(OURS))
        return folder

    def test_init_is_not_told_to_overwrite_it(self, tmp_path: Path) -> None:
        [found] = modules_left_out(load(self.kept(tmp_path, "COPY main.py ./"), environ={}))
        assert (found.line, found.severity) == (2, Severity.ERROR)
        assert "--force" not in found.fix

    def test_code_from_elsewhere(self, tmp_path: Path) -> None:
        assert told(self.kept(tmp_path, "COPY requirements.txt ./")) == []


def test_a_comment_suppresses_it(tmp_path: Path) -> None:
    comment = "# deploytool: ignore=module-not-copied\nCOPY main.py ./"
    folder = project(tmp_path, NEW, comment)
    assert told(folder) == []
    assert inspect(folder, None).count(Severity.ERROR) == 0


@pytest.mark.parametrize(
    "files",
    [
        {"deploytool.toml": CONFIG.replace('entrypoint = "main:app"\n', "")},
        {"main.py": "x = 1\n"},
        {"main.py": "def f(:\n"},
    ],
)
def test_a_build_is_never_kept_from_it(tmp_path: Path, files: dict[str, str]) -> None:
    assert told(project(tmp_path, files, "COPY main.py ./")) == []
    (tmp_path / "Dockerfile").unlink()
    assert told(tmp_path) == []


def test_a_build_says_it_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project(tmp_path, NEW, "COPY main.py ./"))
    built = BuiltImage("localhost:5000/items", "1", None, "sha256:1")
    monkeypatch.setattr("deploytool.image.build.build", lambda *_, **__: built)
    assert run(["build"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "extra.py is imported by main.py, and the Dockerfile does not copy it: " in said
    assert "`deploytool init --force`" in said


@pytest.mark.parametrize(
    ("patterns", "hidden", "shown"),
    [
        ("", [], ["a", "a/b"]),
        ("a", ["a", "a/b", "a/b/c"], ["b/a", "ab"]),
        ("/a/", ["a", "a/b"], ["b/a"]),
        ("./a/../b", ["b", "b/c"], ["a"]),
        ("a*", ["a", "ab", "ab/c"], ["b/a"]),
        ("*", ["a", "a/b"], []),
        ("*/b", ["a/b", "a/b/c"], ["b", "a/c/b"]),
        ("**/.git", [".git", ".git/x", "a/b/.git/x"], ["a/.gitignore"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("**", ["a", "a/b"], []),
        ("**/*.py[co]", ["a.pyc", "a/b.pyo"], ["a.py"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("a.(b)+", ["a.(b)+"], ["axb", "a.b"]),
        ("\\*", ["*"], ["a"]),
        ("[", ["["], ["a"]),
        ("*\n!a", ["b", "b/a"], ["a", "a/b"]),
        ("!a\n*", ["a", "a/b"], []),
        ("*\n!a\na/tests", ["a/tests", "a/tests/x"], ["a", "a/x"]),
        ("  a  \n\n!\n", ["a"], ["b"]),
        ("#a\n #b", ["#b"], ["#a"]),
        ("\ufeffa\r\nb\r\n", ["a", "b"], ["c"]),
    ],
)
def test_dockerignore(tmp_path: Path, patterns: str, hidden: list[str], shown: list[str]) -> None:
    file = tmp_path / ".dockerignore"
    file.write_bytes(patterns.encode())
    ignored = read(file)
    assert [path for path in (*hidden, *shown) if ignored.hides(path)] == hidden


def test_a_folder_of_which_something_gets_in(tmp_path: Path) -> None:
    file = tmp_path / ".dockerignore"
    file.write_text("*\n!a/b\n")
    ignored = read(file)
    assert (ignored.hides("a"), ignored.hides_all("a"), ignored.hides_all("c")) == (
        True,
        False,
        True,
    )


@pytest.mark.parametrize("content", [b"\xff\xfe[a\n", b"[z-a]\n!**/[\n"])
def test_no_dockerignore_breaks_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".dockerignore"
    file.write_bytes(content)
    assert not read(file).hides("a")
    assert not read(tmp_path).hides("a")
    assert not read(None).hides("a")
