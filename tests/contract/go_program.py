"""Go programs of tests, built once in a run."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.lab.go import go


@cache
def build(folder: Path) -> str:
    """The program in a folder that is a Go module."""
    target = tempfile.mkdtemp(prefix=f"{folder.name}-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    program = str(Path(target) / folder.name)
    built = subprocess.run(
        [str(go()), "build", "-mod=readonly", "-buildvcs=false", "-o", program, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "GOTOOLCHAIN": "auto"},
    )
    assert built.returncode == 0, f"{folder} does not build:\n{built.stderr}"
    return program
