"""Releases: new ones, and the one that runs."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

from deploytool.backends.protocol import Inspection
from deploytool.errors import UsageError
from deploytool.spec import AppSpec, Image, Release, release_number


def new_release(
    spec: AppSpec, images: Mapping[str, Image], *, commit: str | None = None, note: str = ""
) -> Release:
    """A release that has no number yet."""
    return Release(
        number=0,
        spec=spec,
        images=dict(images),
        commit=commit,
        by=whoami(),
        at=datetime.now(UTC).replace(microsecond=0),
        note=note,
    )


def whoami() -> str:
    """user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def running_release(backend: Inspection, app: str) -> int:
    """The number of the newest release that a service is of; 0 where there is none."""
    try:
        return release_number(backend.status(app).release)
    except UsageError:
        return 0
