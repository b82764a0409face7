import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from deploytool.discover import FoundApp, FoundPackaging, Packaging, Source
from deploytool.image import WRITTEN_BY_INIT, is_written_by_init
from deploytool.image.dockerfile import render_dockerfile, render_dockerignore
from deploytool.lint.dockerfile import parse
from deploytool.spec import uvicorn_app

HADOLINT = Path(sys.executable).with_name("hadolint")
APP = FoundApp("app.main:app", "app/main.py", ".", "why", "/health", "why", Source.FOUND)
SRC = replace(APP, entrypoint="shop.main:app", file="src/shop/main.py", root="src")
FILE = replace(APP, entrypoint="main:app", file="main.py")
BUILD_FILES = ("pyproject.toml", "README.md")


def packaging(kind: Packaging, *dependency_files: str, **more: object) -> FoundPackaging:
    return FoundPackaging(kind, "why", dependency_files, **more)  # type: ignore[arg-type]


UV = packaging(Packaging.UV, "pyproject.toml", "uv.lock", locked=True)
POETRY = packaging(Packaging.POETRY, "pyproject.toml", "poetry.lock", locked=True)
PLANS: dict[str, tuple[FoundApp, FoundPackaging, tuple[str, ...]]] = {
    "uv": (APP, UV, ("app/",)),
    "uv-unlocked": (APP, packaging(Packaging.UV, "pyproject.toml"), ("app/", "alembic.ini")),
    "uv-src-installed": (
        SRC,
        replace(UV, install=(".",), build_files=BUILD_FILES),
        ("src/shop/", "alembic.ini", "migrations/"),
    ),
    "uv-src-copied": (SRC, UV, ("src/shop/",)),
    "uv-workspace": (
        replace(SRC, root="packages/api/src", file="packages/api/src/shop/main.py"),
        replace(
            UV,
            files=("pyproject.toml", "packages/api/pyproject.toml", "uv.lock"),
            package="api",
            install=("packages/api", "packages/lib"),
        ),
        ("packages/api/src/shop/",),
    ),
    "uv-extra": (APP, replace(UV, extras=("server",), groups=("web",)), ("app/",)),
    "poetry": (APP, POETRY, ("app/",)),
    "poetry-unlocked": (APP, packaging(Packaging.POETRY, "pyproject.toml"), ("app/",)),
    "poetry-1": (APP, replace(POETRY, old_lock=True), ("app/",)),
    "poetry-stale": (APP, replace(POETRY, stale=True), ("app/",)),
    "beside-the-app": (
        replace(APP, file="backend/app/main.py", root="backend", workdir="backend"),
        replace(UV, files=("backend/pyproject.toml", "backend/uv.lock"), folder="backend"),
        ("backend/app/",),
    ),
    "requirements-beside-the-app": (
        replace(APP, file="backend/app/main.py", root="backend", workdir="backend"),
        packaging(Packaging.REQUIREMENTS, "backend/requirements.txt", folder="backend"),
        ("backend/app/",),
    ),
    "further-roots": (replace(APP, further_roots=("app",)), UV, ("app/",)),
    "metadata": (APP, replace(UV, metadata=True, build_files=BUILD_FILES), ("app/",)),
    "debian": (
        APP,
        packaging(
            Packaging.REQUIREMENTS,
            "requirements.txt",
            build_packages=("build-essential", "git"),
            run_packages=("libmagic1",),
        ),
        ("app/",),
    ),
    "factory": (replace(APP, entrypoint="app.main:create_app()"), UV, ("app/",)),
    "poetry-src": (
        SRC,
        replace(POETRY, install=(".",), build_files=BUILD_FILES, groups=("web",)),
        ("src/shop/",),
    ),
    "pdm": (APP, packaging(Packaging.PDM, "pyproject.toml", "pdm.lock", locked=True), ("app/",)),
    "pipenv": (APP, packaging(Packaging.PIPENV, "Pipfile", "Pipfile.lock", locked=True), ("app/",)),
    "pipenv-unlocked": (APP, packaging(Packaging.PIPENV, "Pipfile"), ("app/",)),
    "requirements": (APP, packaging(Packaging.REQUIREMENTS, "requirements.txt"), ("app/",)),
    "requirements-utf16": (
        APP,
        packaging(Packaging.REQUIREMENTS, "requirements.txt", utf16=True),
        ("app/",),
    ),
    "requirements-many": (
        APP,
        packaging(Packaging.REQUIREMENTS, "requirements/prod.txt", "requirements/base.txt"),
        ("app/",),
    ),
    "script": (FILE, packaging(Packaging.SCRIPT, "main.py"), ("main.py",)),
    "script-locked": (
        FILE,
        packaging(Packaging.SCRIPT, "main.py", "main.py.lock", locked=True),
        ("main.py",),
    ),
    "single-file": (FILE, packaging(Packaging.SINGLE_FILE), ("main.py", "static/")),
    "odd-names": (
        replace(FILE, file="my app/main.py", root="my app", workdir="my app"),
        packaging(
            Packaging.REQUIREMENTS,
            "my app/(new) requirements.txt",
            folder="my app",
            install=("(my) package",),
        ),
        ("my app/main.py", "my folder/", "a [b].txt"),
    ),
    "odd-extra": (APP, replace(UV, extras=("a b; c",), groups=("&",)), ("app/",)),
    "odd-poetry": (APP, replace(POETRY, groups=("a b",)), ("app/",)),
}
each_plan = pytest.mark.parametrize("name", PLANS)


def rendered(name: str) -> str:
    app, found, sources = PLANS[name]
    return render_dockerfile(app, found, sources)


@each_plan
def test_hadolint_has_nothing_to_say(name: str) -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", "-"], input=rendered(name), capture_output=True, text=True
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@each_plan
def test_what_the_docs_advise(name: str) -> None:
    text = rendered(name)
    app, found, _ = PLANS[name]
    final = text.rpartition("\nFROM ")[2]
    assert text.count("\nCMD ") == 1
    served = json.dumps(uvicorn_app(app.entrypoint)).strip("[]")
    assert f'CMD [{served}, "--host", "0.0.0.0", "--port", "8000"' in final
    assert "--proxy-headers" in final
    assert "--workers" not in text
    assert "--forwarded-allow-ips" not in text
    assert "USER 10001:10001" in final
    assert final.count("RUN") == 1
    assert final.index("/code/.venv .venv") < final.index("COPY --from=code")
    for file in found.files:
        assert file in text.partition("AS dependencies")[0] + text.partition("AS code")[0]


@each_plan
def test_the_legacy_builder_understands_it(name: str) -> None:
    text = rendered(name)
    assert not re.search(r"--mount|--link|--chmod|--parents|<<|^# *syntax", text, re.MULTILINE)
    assert max(len(line) for line in text.splitlines() if not line.startswith("CMD ")) <= 100
    assert "$$" not in text
    assert not text.endswith("\n\n")


@each_plan
def test_nothing_else_of_the_project_is_in_a_build(name: str) -> None:
    _, found, sources = PLANS[name]
    lines = render_dockerignore(found, sources, ["app/tests"]).splitlines()
    assert lines[1] == "*"
    assert lines[-1] == "app/tests"
    assert {f"!{file}" for file in (*found.files, *found.build_files)} <= set(lines)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("uv", ["COPY pyproject.toml uv.lock ./", "COPY app app", "--no-emit-project"]),
        ("uv-unlocked", ["uv pip compile --quiet pyproject.toml", "COPY alembic.ini ./"]),
        (
            "uv-src-installed",
            [
                "COPY pyproject.toml README.md /build/",
                "COPY src /build/src",
                "uv pip install --no-deps --target lib /build",
                "PYTHONPATH=/code/lib",
                "COPY migrations migrations",
            ],
        ),
        ("uv-src-copied", ["COPY src/shop src/shop", "PYTHONPATH=/code/src"]),
        (
            "uv-workspace",
            [
                "COPY packages/api/pyproject.toml packages/api/",
                "COPY packages/lib /build/packages/lib",
                "--package api --no-emit-workspace --no-emit-local",
                "--target lib /build/packages/api /build/packages/lib",
            ],
        ),
        ("uv-extra", ["--extra server --group web"]),
        ("poetry", ['"poetry>=2,<3"', "poetry export --only main --output requirements.txt"]),
        ("poetry-1", ['"poetry>=1.8,<2" --with "poetry-plugin-export<1.9"']),
        ("poetry-unlocked", ["poetry lock &&"]),
        ("poetry-stale", ["poetry lock &&"]),
        (
            "poetry-src",
            ["--only main,web --output", "uv pip install --no-deps --target lib /build"],
        ),
        ("pdm", ["pdm.lock > constraints.txt", "--constraint constraints.txt", "uv pip sync"]),
        ("pipenv", ["COPY Pipfile Pipfile.lock ./", "pipenv requirements --hash > locked.txt"]),
        ("pipenv-unlocked", ["pipenv lock &&"]),
        ("requirements", ["COPY requirements.txt ./", "uv pip install --requirements requ"]),
        ("requirements-utf16", ["UTF-8 requirements.txt > utf8.txt", "--requirements utf8.txt"]),
        (
            "requirements-many",
            [
                "COPY requirements/prod.txt requirements/base.txt requirements/",
                "--requirements requirements/prod.txt",
            ],
        ),
        (
            "beside-the-app",
            [
                "COPY backend/pyproject.toml backend/uv.lock ./",
                "COPY backend/app backend/app",
                "WORKDIR /code/backend\n",
                "PYTHONPATH=/code/backend",
            ],
        ),
        (
            "requirements-beside-the-app",
            [
                "COPY backend/requirements.txt backend/\n",
                "uv pip install --requirements backend/requirements.txt",
            ],
        ),
        ("further-roots", ["PYTHONPATH=/code/app \\"]),
        (
            "metadata",
            [
                "COPY pyproject.toml README.md /build/",
                "RUN cp -R /code/. /build && mkdir lib",
                "mv /tmp/own/*.dist-info lib",
                "PYTHONPATH=/code/lib",
                "COPY app app",
            ],
        ),
        (
            "debian",
            [
                "apt-get install --yes --no-install-recommends build-essential git &&",
                "apt-get install --yes --no-install-recommends libmagic1 &&",
            ],
        ),
        ("factory", ['CMD ["uvicorn", "--factory", "app.main:create_app", "--host"']),
        ("script", ["main.py > dependencies.py", "--requirements dependencies.py"]),
        ("script-locked", ["uv export --quiet --locked --script main.py"]),
        ("single-file", ['"fastapi[standard]', "COPY main.py ./", "COPY static static"]),
        (
            "odd-names",
            [
                'COPY ["my folder", "my folder"]',
                'COPY ["a [[]b].txt", "./"]',
                "--requirements 'my app/(new) requirements.txt'\n",
                "--target lib '/build/(my) package' &&",
                'PYTHONPATH="/code/lib:/code/my app" \\\n',
                'WORKDIR "/code/my app"\n',
            ],
        ),
        ("odd-extra", ["--extra 'a b; c' --group '&' "]),
        ("odd-poetry", ["--only 'main,a b' "]),
    ],
)
def test_rendered(name: str, lines: list[str]) -> None:
    text = rendered(name)
    for line in lines:
        assert line in text


def test_python_and_port_are_the_projects_own() -> None:
    app, found, sources = PLANS["uv"]
    text = render_dockerfile(app, replace(found, python="3.12.4"), sources, port=80)
    assert "FROM python:3.12.4-slim AS base" in text
    assert "EXPOSE 80\n" in text
    assert '"--port", "80"' in text


def test_templates_are_package_data() -> None:
    templates = files("deploytool.image").joinpath("templates")
    assert {file.name for file in templates.iterdir()} >= {"base.Dockerfile", "final.Dockerfile"}


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        (f"{WRITTEN_BY_INIT}; yours to edit. (0)\nFROM a\n", True),
        (f"# syntax=docker/dockerfile:1\n# escape = `\n{WRITTEN_BY_INIT}\nFROM a\n", True),
        (f"# a remark\n{WRITTEN_BY_INIT}\nFROM a\n", False),
        ("# syntax=docker/dockerfile:1\nFROM a\n", False),
    ],
)
def test_directives_before_its_first_line_leave_it_ours(text: str, is_ours: bool) -> None:
    assert is_written_by_init(text) is is_ours
    assert parse(text).is_kept is not is_ours
