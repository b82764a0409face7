"""Reading files that a project names: nobody knows what a repository of somebody else's has there.

A FIFO that nobody writes to would hang, a device or a huge file fill the memory, and a link could
lead to any file of the machine.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from deploytool.errors import UsageError

MIB = 2**20
LARGEST_TEXT = MIB
"""Bytes of a configuration or a Dockerfile."""


def read_file(path: Path, *, limit: int, within: Path | None = None, pipes: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes, which is `within` a folder wherever
    links lead. `pipes` are for paths that somebody typed, such as a shell's <(command).

    Raises OSError, whose `strerror` says what is wrong, and ValueError for a path that cannot be
    one.
    """
    if within is not None and leaves(path, within):
        raise OSError(errno.EXDEV, "it leads out of the project", str(path))
    # Without waiting: a FIFO opens when somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) and not pipes:
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {in_words(limit)}", str(path))
    return content


def read_text(path: Path, *, limit: int = LARGEST_TEXT) -> str:
    """The same as text. Raises UnicodeDecodeError, a ValueError, for what is no UTF-8."""
    return read_file(path, limit=limit).decode("utf-8")


def leaves(path: Path, folder: Path) -> bool:
    """Whether links lead a path out of a folder; it need not exist."""
    return not _resolved(path).is_relative_to(_resolved(folder))


def _resolved(path: Path) -> Path:
    """Unlike Path.resolve, it takes links that lead in a circle."""
    return Path(os.path.realpath(path))


def refuse_outside(project: Path, path: Path) -> None:
    """Raises UsageError where links lead a file that is to be written out of the project."""
    if leaves(project / path, project):
        raise UsageError(
            f"{path} leads out of the project, to {_resolved(project / path)}: nothing is written",
            code="not_writable",
            hint="remove the link, and what it leads to stays as it is",
        )


def in_words(size: int) -> str:
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // 1024} KiB"
