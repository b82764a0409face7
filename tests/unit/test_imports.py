"""Commands that need little load little: the first answer of a command line is its speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HEAVY = {"docker", "nomad", "fastapi", "requests", "yaml", "urllib3", "starlette", "uvicorn"}
SCRIPT = """
import json, sys
from deploytool.__main__ import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def loaded(script: str, *arguments: str) -> tuple[int, set[str]]:
    """The exit code and the packages that were loaded."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    return code, set(names)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("deploy", "--help"),
        ("config", "show", "--json"),
        ("config", "schema"),
    ],
)
def test_quick_commands(arguments: tuple[str, ...]) -> None:
    code, found = loaded(SCRIPT, *arguments)
    assert code == 0
    assert found & (HEAVY | {"rich"}) == set()


def test_a_table_takes_rich_and_no_more() -> None:
    code, found = loaded(SCRIPT, "config", "show")
    assert code == 0
    assert found & HEAVY == set()


def test_rendering_takes_yaml_and_no_engine() -> None:
    code, found = loaded(SCRIPT, "render", "--stdout")
    assert code == 0
    assert found & HEAVY == {"yaml"}


def test_the_command_line_itself_takes_no_configuration() -> None:
    script = (
        "import json, sys, deploytool.cli\n"
        "print(json.dumps([0, sorted(sys.modules)]), file=sys.stderr)"
    )
    _, found = loaded(script)
    assert not {name for name in found if name.partition(".")[0] in HEAVY | {"rich", "pydantic"}}
    assert "deploytool.config" not in found
    assert "deploytool.backends.swarm.api.client" not in found
