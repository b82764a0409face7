"""Projects that deploytool has never seen run after nothing but `init` and `deploy`."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.live.conftest import Project

APP = """\
from fastapi import FastAPI


{definition}


@{name}.get("/")
def read_root() -> dict[str, str]:
    return {{"project": "{project}"}}
"""


def plain(project: str) -> str:
    return APP.format(definition="app = FastAPI()", name="app", project=project)


PROJECTS = {
    "uv-src": {
        "pyproject.toml": """\
[project]
name = "uv-src"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = ["fastapi>=0.125", "uvicorn>=0.35"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
""",
        "src/uv_src/__init__.py": (
            "from importlib.metadata import version\n\n__version__ = version('uv-src')\n"
        ),
        "src/uv_src/web.py": APP.format(
            definition=(
                "from uv_src import __version__\n\n\n"
                "def create_service() -> FastAPI:\n"
                "    return FastAPI(version=__version__)\n\n\n"
                "service = create_service()"
            ),
            name="service",
            project="uv-src",
        ),
    },
    "poetry": {
        "pyproject.toml": """\
[tool.poetry]
name = "poetry-project"
version = "0.1.0"
description = ""
authors = []
package-mode = false

[tool.poetry.dependencies]
python = "^3.11"
fastapi = ">=0.125"
uvicorn = ">=0.35"

[[tool.poetry.source]]
name = "index"
url = "https://pypi.org/simple/"
priority = "primary"
""",
        "poetry_project/__init__.py": "",
        "poetry_project/main.py": plain("poetry"),
    },
    "single-file": {"main.py": plain("single-file")},
}


@pytest.mark.usefixtures("proxy")
@pytest.mark.thorough
@pytest.mark.parametrize("kind", PROJECTS)
def test_init_and_deploy(kind: str, lab: Lab, lab_env: dict[str, str], tmp_path: Path) -> None:
    for name, text in PROJECTS[kind].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if kind == "uv-src":
        uv = shutil.which("uv") or str(Path(".venv/bin/uv").resolve())
        subprocess.run([uv, "lock", "--quiet"], cwd=tmp_path, check=True, timeout=120)
    project = Project(tmp_path, kind, lab, lab_env)
    made = project.ok("init", "--app", kind, "--registry", lab.registry)
    assert {"Dockerfile", ".dockerignore", f"stacks/{kind}.yml"} <= {
        file["path"] for file in made["files"]
    }
    assert not [f for f in project.run("lint").data["findings"] if f["severity"] == "error"]
    try:
        assert project.ok("deploy", "--yes")["release"] == "v1"
        deadline = time.monotonic() + 15
        while project.get()[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert project.get()[2] == f'{{"project":"{kind}"}}'
        status = project.ok("status")
        assert status["services"][0]["running"] == status["services"][0]["replicas"] == 2
    finally:
        project.run("destroy", "--yes")
