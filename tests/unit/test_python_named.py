"""The places of a project that name a Python."""

from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover.dependencies.python_named import choose, named_pythons, python_requires
from deploytool.discover.dependencies.python_version import candidates, pinned, warning
from deploytool.discover.source import HERE, Project

Files = dict[str, str]


def project(folder: Path, files: Files) -> Project:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Project(folder)


MATRIX = """
jobs:
  test:
    strategy:
      matrix:
        python-version: ["3.9", "3.10", '3.12', "3.15-dev"]
    steps:
      - uses: actions/setup-python@v5
        with: {python-version: "${{ matrix.python-version }}"}
"""
LISTED = """
      matrix:
        python-version:
          - 3.8
          - 3.10
        os: [ubuntu-24.04]
"""


@pytest.mark.parametrize(
    ("files", "version", "source"),
    [
        ({".python-version": "3.12.4\n"}, "3.12", ".python-version"),
        ({".python-version": "# ours\nsystem\n3.11\n"}, "3.11", ".python-version"),
        ({".python-version": "cpython-3.12"}, "3.12", ".python-version"),
        ({".python-version": "pypy3.10\n3.10.2"}, "3.10", ".python-version"),
        ({"runtime.txt": "python-3.11.4\n"}, "3.11", "runtime.txt"),
        ({"Pipfile": '[requires]\npython_version = "3.9"\n'}, "3.9", "Pipfile"),
        ({"Pipfile": '[requires]\npython_full_version = "3.10.1"\n'}, "3.10", "Pipfile"),
        ({".tool-versions": "nodejs 20.1\npython 3.11.9 3.10\n"}, "3.11", ".tool-versions"),
        ({"mise.toml": '[tools]\npython = "3.12"\n'}, "3.12", "mise.toml"),
        ({".mise.toml": '[tools]\npython = ["3.11", "3.12"]\n'}, "3.11", ".mise.toml"),
        ({"environment.yml": "dependencies:\n  - python=3.10\n"}, "3.10", "environment.yml"),
        ({"environment.yml": '  - "conda-forge::python==3.10.4"\n'}, "3.10", "environment.yml"),
        ({"Dockerfile": "FROM python:3.9-slim-buster\n"}, "3.9", "FROM of Dockerfile"),
        (
            {"Dockerfile": "ARG V=3.11.2\nFROM node:20\nFROM python:${V}-slim AS x\n"},
            "3.11",
            "FROM of Dockerfile",
        ),
        (
            {"docker/app.Dockerfile": "FROM tiangolo/uvicorn-gunicorn-fastapi:python3.10\n"},
            "3.10",
            "FROM of docker/app.Dockerfile",
        ),
        ({".github/workflows/ci.yml": MATRIX}, "3.12", ".github/workflows/ci.yml"),
        ({".github/workflows/ci.yml": LISTED}, "3.10", ".github/workflows/ci.yml"),
        ({".gitlab-ci.yml": "test:\n  image: python:3.11-slim\n"}, "3.11", ".gitlab-ci.yml"),
        (
            {"runtime.txt": "python-3.11", "Dockerfile": "FROM python:3.9"},
            "3.11",
            "runtime.txt",
        ),
    ],
)
def test_named(tmp_path: Path, files: Files, version: str, source: str) -> None:
    assert choose(named_pythons(project(tmp_path, files))) == ((version, source), ())


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"Dockerfile": "# Written by `deploytool init`; yours to edit.\nFROM python:3.9\n"},
        {"Dockerfile": "FROM python:3\n# FROM python:3.9\n"},
        {"environment.yml": "  - python-dateutil=3.9\n  - python>=3.9\n"},
        {"Pipfile": "[requires\n"},
        {"mise.toml": "[tools]\npython = 3\n"},
        {".python-version": ""},
        {".github/workflows/ci.yml": "# python-version of 2019 was 3.9\nnode-version: 3.9\n"},
    ],
)
def test_nothing_named(tmp_path: Path, files: Files) -> None:
    assert choose(named_pythons(project(tmp_path, files))) == (None, ())


def test_passed_over_in_favour_of_the_next(tmp_path: Path) -> None:
    files = {
        ".python-version": "system\n",
        "runtime.txt": "python-3.9",
        "Dockerfile": "FROM python:3.12",
    }
    hint, passed = choose(named_pythons(project(tmp_path, files)), ">=3.10")
    assert hint == ("3.12", "FROM of Dockerfile")
    assert passed == (
        ".python-version says 'system', which is none of 3.8, 3.9, 3.10, 3.11, 3.12, 3.13, 3.14: "
        "it is passed over",
        "runtime.txt names Python 3.9, which requires-python '>=3.10' does not allow: "
        "runtime.txt is passed over",
    )


def test_unknown_version_is_named(tmp_path: Path) -> None:
    _, passed = choose(named_pythons(project(tmp_path, {"runtime.txt": "python-3.6.1"})))
    assert passed[0].startswith("runtime.txt says '3.6', which is none of")


def test_agrees_with_a_pinned_patch(tmp_path: Path) -> None:
    named = project(tmp_path, {".python-version": "3.11.7"})
    assert choose(named_pythons(named), "==3.11.7") == (("3.11", ".python-version"), ())


def test_nearest_folder_first(tmp_path: Path) -> None:
    files = {".python-version": "3.12", "backend/runtime.txt": "python-3.11"}
    named = named_pythons(project(tmp_path, files), PurePosixPath("backend"))
    assert choose(named)[0] == ("3.11", "backend/runtime.txt")


@pytest.mark.parametrize(
    ("name", "text", "constraint"),
    [
        ("setup.py", "setup(name='x', python_requires='>=3.9')", ">=3.9"),
        ("setup.cfg", "[options]\npython_requires = >=3.8, <3.12\n", ">=3.8, <3.12"),
        ("setup.py", "setup(name='x')", None),
    ],
)
def test_python_requires(tmp_path: Path, name: str, text: str, constraint: str | None) -> None:
    found = python_requires(project(tmp_path, {name: text}), HERE)
    assert found == ((constraint, name) if constraint else None)


@pytest.mark.parametrize(
    ("constraint", "pythons"),
    [
        ("", ("3.13", "3.12", "3.11", "3.10", "3.9", "3.8")),
        (">=3.11", ("3.13", "3.12", "3.11")),
        (">=3.14", ("3.14",)),
        ("<3.10", ("3.9", "3.8")),
        ("3.11.7", ("3.11.7",)),
        ("<3.8", ()),
    ],
)
def test_candidates(constraint: str, pythons: tuple[str, ...]) -> None:
    assert candidates(constraint) == pythons


def test_pinned_patch() -> None:
    assert pinned("==3.11.7") == pinned("3.11.7") == "3.11.7"
    assert pinned(">=3.11.7") is None


def test_warns_of_a_python_without_security_fixes() -> None:
    assert "no longer gets security fixes" in (warning("3.9.2") or "")
    assert "no longer gets security fixes" in (warning("3.10") or "")
    assert warning("3.11") is None
