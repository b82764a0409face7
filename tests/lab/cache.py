"""What outlives a lab: engines, images, locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "deploytool")


@contextlib.contextmanager
def locked(what: str, *, shared: bool = False) -> Iterator[None]:
    """One change of it at a time, however many processes share the machine; while others share
    it, none."""
    path = cache_folder() / "locks" / what
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
