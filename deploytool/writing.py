"""Files of a project are written whole or not at all, even when that is interrupted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from deploytool.errors import UsageError
from deploytool.reading import refuse_outside


def write_whole(project: Path, path: str, text: str) -> None:
    """Write a file of a project. Raises UsageError where it cannot be written, or where links lead
    out of the project."""
    refuse_outside(project, Path(path))
    try:
        _write(project / path, text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            code="not_writable",
            hint="nothing is half-written; free the way and run this again",
        ) from error


def _write(path: Path, text: str) -> None:
    """Through a file beside it and a rename; permissions of an existing file are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = Path(os.path.realpath(path))  # Unlike Path.resolve, it takes links in a circle.
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
