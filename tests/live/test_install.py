"""An installed deploytool is whole: its templates come along, and nothing shadows python-nomad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.live.conftest import REPOSITORY

APP = "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get('/')\ndef root() -> None: ...\n"


def uv(*arguments: str, cwd: Path) -> None:
    program = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([program, *arguments], cwd=cwd, check=True, timeout=300, capture_output=True)


@pytest.mark.parametrize(
    "how",
    [(), pytest.param(("--editable",), marks=pytest.mark.thorough)],
    ids=["installed", "editable"],
)
def test_installed_tool_makes_a_project(how: tuple[str, ...], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    uv("venv", "--python", sys.executable, str(environment), cwd=tmp_path)
    python = environment / "bin" / "python"
    uv("pip", "install", "--python", str(python), *how, str(REPOSITORY), cwd=tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text(APP)
    done = subprocess.run(
        [environment / "bin" / "deploytool", "init", "--json"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["data"]["entrypoint"] == "main:app"
    assert 'CMD ["uvicorn"' in (project / "Dockerfile").read_text()
    where = subprocess.run(
        [python, "-c", "import nomad; print(nomad.__file__)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "site-packages" in where.stdout


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    uv("build", "--wheel", "--out-dir", str(tmp_path), str(REPOSITORY), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"deploytool"}
    templates = {f"deploytool/image/templates/{p.name}" for p in template_files()}
    assert templates <= set(names)
    assert "deploytool/py.typed" in names


def template_files() -> list[Path]:
    found = list((REPOSITORY / "deploytool" / "image" / "templates").glob("*.Dockerfile"))
    assert found
    return found
