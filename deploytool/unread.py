"""Whether somebody has written to standard input what nobody reads."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import sys
import termios
from contextlib import suppress


def has_input() -> bool:
    """Whether standard input is a file, pipe or socket with something left in it. Nothing is read,
    and nothing waited for. What a person may type on a terminal does not count."""
    with suppress(OSError, ValueError, AttributeError):
        return _left(sys.stdin.fileno()) > 0
    return False


def _left(descriptor: int) -> int:
    """Bytes that can be read at once."""
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return found.st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        count = fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", count)[0])
    return 0
