"""What is installed: only what is used, and only what is known."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def imported() -> set[str]:
    """The distributions that deploytool and the example import, by their canonical names."""
    owners = packages_distributions()
    found: set[str] = set()
    for file in (*(PROJECT / "deploytool").rglob("*.py"), *(PROJECT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
            for name in names:
                found |= {canonicalize_name(o) for o in owners.get(name.partition(".")[0], ())}
    return found


def test_nothing_is_installed_that_is_not_used() -> None:
    wanted = [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]
    assert {canonicalize_name(w.name) for w in wanted} <= imported()
    assert {w.name: w.extras for w in wanted if w.extras} == {"fastapi": {"standard"}}


def test_ssh_needs_no_paramiko() -> None:
    """The SDK asks for it, and the ssh program does the work."""
    code = (
        "import sys\n"
        "from deploytool.backends.swarm.api.client import _load_sdk\n"
        "_load_sdk()\n"
        "import docker.api.client\n"
        "print(docker.api.client.SSHHTTPAdapter.__name__, 'paramiko' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.split() == ["SSHHTTPAdapter", "False"], done.stderr
    lock = tomllib.loads((PROJECT / "uv.lock").read_text())
    assert "paramiko" not in {package["name"] for package in lock["package"]}


def test_the_installer_is_the_locked_one() -> None:
    command = [sys.executable, str(PROJECT / "scripts/locked.py"), "uv"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.match(r"uv==\d+\.\d+\.\d+ --hash=sha256:[0-9a-f]{64} ", line)
    setup = (PROJECT / "scripts/bootstrap.sh").read_text()
    assert re.search(r"pip install [^|]*--require-hashes [^|]*locked\.py\" uv\)", setup, re.DOTALL)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ("active true 3", "one of several nodes of a Swarm"),
        ("active false 0", "one of several nodes of a Swarm"),
        ("active true 1", ""),
        ("inactive false 0", ""),
    ],
)
def test_stand_ins_have_official_names_on_one_node_alone(
    info: str, words: str, tmp_path: Path
) -> None:
    """`docker import` of them is what the stub refuses."""
    programs = tmp_path / "bin"
    programs.mkdir()
    stub = f'#!/bin/sh\ncase "$1" in info) echo {info};; import) echo imported >&2; exit 9;; esac\n'
    (programs / "docker").write_text(stub)
    (programs / "docker").chmod(0o755)
    cache = tmp_path / "deploytool/stand-ins"
    cache.mkdir(parents=True)
    script = PROJECT / "scripts/stand-ins.sh"
    # Every image counts as made already, whatever its cached file is called.
    code = f'source <(sed \'$d\' "{script}" | sed "s|^here=.*|here={script.parent}|"); '
    code += "ensure_all() { :; }; cached() { echo /dev/null; }; main registry:2"
    done = subprocess.run(
        ["bash", "-c", code],
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("imported" in done.stderr) is not bool(words), done.stderr
    assert words in done.stderr
