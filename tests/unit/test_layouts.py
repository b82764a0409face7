"""From which folder an app is imported and run, and what is passed over on the way."""

from __future__ import annotations

import ast
import os
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pytest

from deploytool.discover import Project, find_app, find_sources, source
from deploytool.errors import UsageError
from deploytool.reading import read_file
from tests.unit.test_discover import APP, Files, make


@pytest.mark.parametrize(
    ("files", "entrypoint", "root", "workdir"),
    [
        pytest.param(
            {"src/__init__.py": "", "src/main.py": APP}, "src.main:app", ".", ".", id="src"
        ),
        pytest.param(
            {"src/main.py": "from src.db import x\n" + APP, "src/db.py": ""},
            "src.main:app",
            ".",
            ".",
            id="src without __init__",
        ),
        pytest.param(
            {"src/main.py": "from .db import x\n" + APP, "src/db.py": ""},
            "src.main:app",
            ".",
            ".",
            id="src imported relatively",
        ),
        pytest.param(
            {"src/main.py": "from db import x\n" + APP, "src/db.py": ""},
            "main:app",
            "src",
            ".",
            id="src holds modules",
        ),
        pytest.param(
            {"backend/main.py": "from backend.core import x\n" + APP, "backend/core/a.py": ""},
            "backend.main:app",
            ".",
            ".",
            id="by its own name",
        ),
        pytest.param(
            {"backend/main.py": "from core import x\n" + APP, "backend/core/a.py": ""},
            "main:app",
            "backend",
            "backend",
            id="from inside",
        ),
        pytest.param(
            {"backend/main.py": "from core import x\n" + APP, "backend/core/a.py": ""}
            | {"backend/__init__.py": "", "backend/core/__init__.py": ""},
            "main:app",
            "backend",
            "backend",
            id="from inside, in spite of __init__",
        ),
        pytest.param(
            {"api/src/shop/main.py": APP, "api/pyproject.toml": ""},
            "shop.main:app",
            "api/src",
            "api",
            id="src of a part",
        ),
        pytest.param(
            {"app/main.py": "import redis\nfrom app.redis import x\n" + APP, "app/redis.py": ""},
            "app.main:app",
            ".",
            ".",
            id="a module named after a package",
        ),
        pytest.param(
            {"app/web/main.py": APP, "app/web/__init__.py": "", "app/__init__.py": ""}
            | {"app/fastapi/__init__.py": ""},
            "app.web.main:app",
            ".",
            ".",
            id="a folder named after FastAPI",
        ),
        pytest.param(
            {"backend/main.py": APP + "open('words.txt')", "backend/words.txt": ""},
            "backend.main:app",
            ".",
            "backend",
            id="relative paths are below backend",
        ),
        pytest.param(
            {"backend/main.py": "import core\n" + APP + "open('words.txt')", "words.txt": ""}
            | {"backend/core.py": ""},
            "main:app",
            "backend",
            ".",
            id="relative paths are not below backend",
        ),
        pytest.param(
            {"backend/main.py": APP + "open('a')", "backend/a": "", "a": ""},
            "backend.main:app",
            ".",
            ".",
            id="relative paths are below both",
        ),
    ],
)
def test_layouts(tmp_path: Path, files: Files, entrypoint: str, root: str, workdir: str) -> None:
    found = find_app(make(tmp_path, files))
    assert (found.entrypoint, found.root, found.workdir) == (entrypoint, root, workdir)


SAME = {"one/app/app.py": "from app.core import x\n" + APP, "one/app/core.py": ""} | {
    "two/app/app.py": "from app.core import x\n" + APP,
    "two/app/core.py": "",
}


def test_apps_of_one_name_are_told_apart_by_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_app(make(tmp_path, SAME))
    assert caught.value.code == "several_apps"
    assert "`deploytool init one`" in caught.value.hint
    assert caught.value.details == (
        "app.app:app (one/app/app.py): deploytool init one",
        "app.app:app (two/app/app.py): deploytool init two",
    )
    assert find_app(tmp_path / "two").entrypoint == "app.app:app"


def test_an_entrypoint_that_two_folders_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is in 2 folders: one, two") as caught:
        find_app(make(tmp_path, SAME), "app.app:app")
    assert "deploytool init one" in caught.value.hint
    (tmp_path / "two/app/app.py").write_text("server = 1")
    assert find_app(tmp_path, "app.app:app").file == "one/app/app.py"


def test_an_entrypoint_seen_from_the_folder_that_it_runs_in(tmp_path: Path) -> None:
    found = find_app(make(tmp_path, {"backend/main.py": APP}), "main:app")
    assert (found.entrypoint, found.root) == ("main:app", "backend")


TEMPLATE = {"{{cookiecutter.name}}/main.py": "from {{cookiecutter.name}} import x"}


def test_a_template_is_passed_over(tmp_path: Path) -> None:
    found = find_app(make(tmp_path, TEMPLATE | {"main.py": APP}))
    assert found.notes == ("{{cookiecutter.name}}/ is a template, and was passed over",)


@pytest.mark.parametrize(
    ("files", "details"),
    [
        (
            TEMPLATE | {"{% if x %}a.py{% endif %}": "", "{{x}}.py": "x = {{"},
            (
                "{{cookiecutter.name}} is a template, and was passed over",
                "{{x}}.py is a template, and was passed over",
            ),
        ),
        (
            {f"app{number}.py": "print 'x'" for number in range(8)},
            (*(f"app{n}.py: line 1: Missing parentheses" for n in range(5)), "and 3 more"),
        ),
    ],
)
def test_what_is_no_python_is_not_listed_without_end(
    tmp_path: Path, files: Files, details: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        find_app(make(tmp_path, files))
    assert len(caught.value.details) == len(details)
    for said, wanted in zip(caught.value.details, details, strict=True):
        assert said.startswith(wanted)


class Counted:
    """Counts the calls of functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        compared = ((PurePath, "relative_to"), (PurePath, "is_relative_to"))
        for owner, name in (*compared, (Path, "read_bytes"), (os, "scandir"), (ast, "walk")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, function: Any) -> Any:
        def counting(*given: Any, **named: Any) -> Any:
            self.calls += 1
            return function(*given, **named)

        return counting


def work(folder: Path, modules: int) -> int:
    """How many files are read, folders listed, trees walked and paths compared."""
    files = {"pkg/__init__.py": "", "pkg/main.py": "import pkg.m0\n" + APP}
    source = "import dep{0}, depa, depb, depc\nimport pkg.m{1}\nX = open('x{0}.json')\n"
    files |= {f"pkg/m{n}.py": source.format(n, (n + 1) % modules) for n in range(modules)}
    project = Project(make(folder, files))
    with pytest.MonkeyPatch.context() as monkeypatch:
        counted = Counted(monkeypatch)
        app = find_app(project)
        assert find_sources(project, app) == ("pkg/",)
    return counted.calls


def test_work_grows_with_the_number_of_modules_and_no_faster(tmp_path: Path) -> None:
    few, twice, many = (work(tmp_path / str(number), number) for number in (20, 40, 80))
    assert many - twice == 2 * (twice - few)
    assert (twice - few) / 20 < 25


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading(path: Path, **options: Any) -> bytes:
        read.append(path.name)
        return read_file(path, **options)

    monkeypatch.setattr(source, "read_file", reading)
    files = {"shop/web.py": "from shop import a\n" + APP, "shop/a.py": "import b", "b.py": ""}
    project = Project(make(tmp_path, files))
    find_sources(project, find_app(project))
    assert sorted(read) == ["a.py", "b.py", "web.py"]


def test_a_project_answers_for_what_is_there(tmp_path: Path) -> None:
    make(tmp_path, {"a/b.txt": "x"})
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "broken").symlink_to("nowhere")
    project = Project(tmp_path)
    there = {name: project.exists(PurePosixPath(name)) for name in ("a", "a/b.txt", "link/b.txt")}
    assert all(there.values())
    assert project.is_folder(PurePosixPath("link"))
    for name in ("broken", "a/b.txt/c", "../x", "/etc/passwd", "A", "a/c"):
        assert not project.exists(PurePosixPath(name))
