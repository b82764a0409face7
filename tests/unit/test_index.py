"""Questions to a package index through uv: the command, the settings, and its explanations."""

import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploytool.discover.dependencies import index
from deploytool.discover.dependencies.index import (
    Answer,
    Index,
    index_settings,
    parse_failure,
    parse_versions,
)
from deploytool.discover.dependencies.requested import Requested, name_of
from deploytool.discover.dependencies.wheels import file_name
from deploytool.process import Finished, ProgramMissing, TookTooLong

SETTINGS = ("PIP_", "UV_", "XDG_CONFIG_HOME", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pip or uv settings of this machine, except where uv keeps its cache."""
    for name in os.environ:
        if name.startswith(SETTINGS) and name != "UV_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setattr(index, "SYSTEM_SETTINGS", {"pip": os.devnull, "uv": os.devnull})
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))


# --- what uv says ---------------------------------------------------------------------------------

HINT = (
    "hint: Wheels are required for `{}` because building from source is disabled for all packages"
)
NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: Because "


@pytest.mark.parametrize(
    ("stderr", "answer"),
    [
        pytest.param(
            f"{NO_SOLUTION}asyncpg==0.26.0 has no usable wheels and you require asyncpg==0.26.0, "
            f"we can conclude this.\n\n{HINT.format('asyncpg')}",
            Answer(source_only=("asyncpg==0.26.0",)),
            id="pinned",
        ),
        pytest.param(
            f"{NO_SOLUTION}all versions of mysqlclient have no usable wheels and you require "
            f"mysqlclient, we can conclude...\n\n{HINT.format('mysqlclient')}",
            Answer(source_only=("mysqlclient",)),
            id="all versions",
        ),
        pytest.param(
            f"{NO_SOLUTION}all of:\n         numba<=0.54.0\n         numba>=0.54.1,<=0.56.4\n"
            "      have no usable wheels\n      and there is no version of numba==9\n\n"
            f"{HINT.format('numba')}\n\nhint: You require CPython 3.13 (`cp313`), but we "
            "only found wheels for `numba` (v0.54.1rc1) with the following tags: `cp37m`",
            Answer(source_only=("numba",)),
            id="range",
        ),
        pytest.param(
            f"{NO_SOLUTION}tensorflow==2.10.0 has no wheels with a matching Python ABI tag\n\n"
            "hint: You require CPython 3.13 (`cp313`), but we only found wheels for `tensorflow` "
            "(v2.10.0) with the following Python ABI tags: `cp37m`, `cp38`",
            Answer(unfit=("tensorflow==2.10.0",)),
            id="wheels for other Pythons",
        ),
        pytest.param(
            f"{NO_SOLUTION}pywin32==306 has no wheels with a matching platform tag\n\nhint: Wheels "
            "are available for `pywin32` (v306) on the following platforms: `win32`, `win_amd64`",
            Answer(unfit=("pywin32==306",), foreign=("pywin32",)),
            id="wheels for other systems",
        ),
        pytest.param(
            f"{NO_SOLUTION}the requested Python version (>=3.8.99) does not satisfy Python>=3.10 "
            "and uvicorn==0.50.0 depends on Python>=3.10, we can conclude that uvicorn==0.50.0 "
            "cannot be used.",
            Answer(unfit=("uvicorn==0.50.0",)),
            id="another Python",
        ),
        pytest.param(
            f"{NO_SOLUTION}our-lib was not found in the package registry and you require our-lib",
            Answer(missing=("our-lib",)),
            id="unknown",
        ),
        pytest.param(
            f"{NO_SOLUTION}there is no version of fastapi==0.999 and you require fastapi==0.999, "
            "we can conclude that your requirements are unsatisfiable.",
            Answer(missing=("fastapi==0.999",)),
            id="no such version",
        ),
        pytest.param(
            "error: No solution found when resolving dependencies\n"
            "  cause: you require pydantic<1 and pydantic>2, which are incompatible\n",
            Answer(conflict="you require pydantic<1 and pydantic>2, which are incompatible"),
            id="conflict",
        ),
        pytest.param(
            "error: Couldn't parse requirement in `/tmp/x/requirements.txt` at position 17\n"
            "  cause: Expected one of `@`",
            Answer(conflict="Couldn't parse requirement cause: Expected one of `@`"),
            id="syntax",
        ),
        pytest.param(
            "error: Request failed after 3 retries\n  cause: Failed to fetch: http://h/simple/a/\n"
            "  cause: client error (Connect)\n  cause: dns error",
            Answer(unreachable="the index's host is not known here"),
            id="no name",
        ),
        pytest.param(
            f"{NO_SOLUTION}a was not found in the package registry and you require a.\n\nhint: An "
            "index URL (http://h/simple) could not be queried due to a lack of valid "
            "authentication credentials (401 Unauthorized)",
            Answer(unreachable="the index wants a name and password"),
            id="401",
        ),
        pytest.param(
            "error: Something new with http://me:s3cret@host/simple and https://t0ken@host/",
            Answer(unreachable="Something new with http://host/simple and https://host/"),
            id="no credentials in messages",
        ),
    ],
)
def test_explanation(stderr: str, answer: Answer) -> None:
    assert parse_failure(stderr) == answer


def test_long_explanations_are_cut() -> None:
    conflict = parse_failure(f"{NO_SOLUTION}{'x ' * 500}").conflict
    assert conflict is not None
    assert len(conflict) == 240


def test_versions() -> None:
    found = parse_versions('Fast_API==0.1\na==1 ; sys_platform == "linux"\n# b==2\n')
    assert found.versions == {"fast-api": "0.1", "a": "1"}


@pytest.mark.parametrize(
    "pin", ["Fast_API==1", "fast.api>=1", "fast-api[x]", "fast-api ; python_version > '3'"]
)
def test_name_of(pin: str) -> None:
    assert name_of(pin) == "fast-api"


# --- the question ---------------------------------------------------------------------------------


def test_command_builds_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    texts: dict[str, str] = {}

    def run(command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> Finished:
        seen.extend(command)
        texts.update({Path(p).name: Path(p).read_text() for p in command if p.endswith(".txt")})
        assert cwd == tmp_path
        return Finished(0, "a==1\n", "")

    requested = Requested(lines=("a",), constraints=("b<2",), vcs=("c",))
    answer = Index(tmp_path, run).ask(requested, "3.12", without=["d"], alone=True)
    assert answer == Answer({"a": "1"})
    assert texts == {
        "requirements.txt": "a\n",
        "constraints.txt": "b<2\n",
        "overrides.txt": "c ; python_version < '0'\nd ; python_version < '0'\n",
    }
    command = " ".join(seen)
    assert "--only-binary :all: --no-sources" in command
    assert "--python-version 3.12.99" in command
    assert "--python-platform x86_64-manylinux_2_36" in command
    assert "--no-deps" in seen


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TookTooLong("uv"), "the index did not answer within 30 s"),
        (ProgramMissing("uv"), "uv cannot be run: uv is not installed, or not on PATH"),
    ],
)
def test_no_answer(tmp_path: Path, error: Exception, says: str) -> None:
    def run(*_: object, **__: object) -> Finished:
        raise error

    assert Index(tmp_path, run).ask(Requested(), "3.13").unreachable == says


def test_time_for_all_questions_together(tmp_path: Path) -> None:
    now = 0.0
    timeouts: list[float] = []

    def run(command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> Finished:
        nonlocal now
        timeouts.append(timeout)
        now += 15
        return Finished(0, "", "")

    asked = Index(tmp_path, run, clock=lambda: now, limit=40)
    answers = [asked.ask(Requested(), "3.13").unreachable for _ in range(4)]
    assert answers == [None, None, None, "it took longer than 40 s"]
    assert timeouts == [30, 25, 10]


def test_ctrl_c_is_passed_on(tmp_path: Path) -> None:
    def run(*_: object, **__: object) -> Finished:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index(tmp_path, run).ask(Requested(), "3.13")


# --- settings -------------------------------------------------------------------------------------


def settings(folder: Path, *lines: str) -> dict[str, str]:
    found = index_settings(folder, Requested(lines=lines))
    return {name: value for name, value in found.items() if "INDEX" in name or "CERT" in name}


def test_system_certificates_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(tmp_path) == {"UV_SYSTEM_CERTS": "1"}
    monkeypatch.setenv("UV_SYSTEM_CERTS", "0")
    assert settings(tmp_path) == {}


def test_index_of_pip_where_uv_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://me:pw@file/simple\ncert = /ca.pem\n"
        "extra-index-url =\n    https://a/simple\n    https://b/simple\n"
    )
    expected = {
        "UV_SYSTEM_CERTS": "1",
        "UV_DEFAULT_INDEX": "https://me:pw@file/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "SSL_CERT_FILE": "/ca.pem",
    }
    assert settings(tmp_path) == expected
    monkeypatch.setenv("PIP_INDEX_URL", "https://env/simple")
    assert settings(tmp_path)["UV_DEFAULT_INDEX"] == "https://env/simple"


@pytest.mark.parametrize("broken", ["no section\n", "[global\n", "[global]\nindex-url"])
def test_odd_pip_conf(tmp_path: Path, broken: str) -> None:
    (tmp_path / "pip.conf").write_text(broken)
    assert settings(tmp_path) == {"UV_SYSTEM_CERTS": "1"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config/uv/uv.toml", 'index-url = "https://uv/simple"'),
        ("uv.toml", '[pip]\nindex-url = "https://uv/simple"'),
        ("pyproject.toml", '[[tool.uv.index]]\nurl = "https://uv/simple"'),
    ],
)
def test_index_of_uv_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip/simple")
    assert "UV_DEFAULT_INDEX" in settings(tmp_path)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert "UV_DEFAULT_INDEX" not in settings(tmp_path)


def test_index_of_the_requirements_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip/simple")
    assert "UV_DEFAULT_INDEX" not in settings(tmp_path, "-i https://own/simple")
    monkeypatch.setenv("UV_INDEX_URL", "https://uv/simple")
    assert "UV_DEFAULT_INDEX" not in settings(tmp_path)


# --- the real uv, without a network ---------------------------------------------------------------


def wheel(
    folder: Path, name: str, version: str, tag: str = "py3-none-any", needs: str = ""
) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "wheels"
    wheel(folder, "web", "1.0", needs="fast>=1")
    wheel(folder, "fast", "1.0", "cp311-cp311-manylinux_2_17_x86_64")
    wheel(folder, "windows", "1.0", "py3-none-win_amd64")
    wheel(folder, "loose", "1.0", needs="fast (>=1.*)")
    (folder / "slow-1.0.tar.gz").write_bytes(b"setup.py of this would never be run")
    return "--no-index", f"--find-links {folder}"


@pytest.mark.parametrize(
    ("line", "python", "without", "answer"),
    [
        ("web", "3.11", [], Answer({"web": "1.0", "fast": "1.0"})),
        pytest.param(
            "loose", "3.11", [], Answer({"loose": "1.0", "fast": "1.0"}), id="old metadata"
        ),
        ("web", "3.12", [], Answer(unfit=("fast==1.0",))),
        ("web", "3.12", ["fast"], Answer({"web": "1.0"})),
        ("slow==1.0", "3.11", [], Answer(source_only=("slow==1.0",))),
        ("windows", "3.11", [], Answer(unfit=("windows==1.0",), foreign=("windows",))),
        ("unknown", "3.11", [], Answer(missing=("unknown",))),
        ("web==2", "3.11", [], Answer(missing=("web==2",))),
    ],
)
def test_real_uv(
    tmp_path: Path,
    links: tuple[str, ...],
    line: str,
    python: str,
    without: list[str],
    answer: Answer,
) -> None:
    requested = Requested(lines=(*links, line))
    assert Index(tmp_path).ask(requested, python, without=without) == answer


def test_survey_with_the_real_uv(tmp_path: Path, links: tuple[str, ...]) -> None:
    pins = Requested(lines=(*links, "fast==1.0", "slow==1.0", "windows==1.0"))
    assert Index(tmp_path).survey(pins, "3.8") == Answer(source_only=("slow==1.0",))
    found = Index(tmp_path).survey(pins, "3.8", without=["slow"]).wheels
    assert {name: [file_name(file) for file in files] for name, files in found.items()} == {
        "fast": ["fast-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"],
        "windows": ["windows-1.0-py3-none-win_amd64.whl"],
    }
