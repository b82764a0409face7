"""Releases: new ones, and the one that runs."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

from deploytool.backends.protocol import Inspection
from deploytool.errors import UsageError
from deploytool.spec import AppSpec, Image, Release, release_number

CI = (
    ("GITHUB_ACTIONS", "GITHUB_ACTOR", "GitHub Actions"),
    ("GITLAB_CI", "GITLAB_USER_LOGIN", "GitLab CI"),
)
"""Variable that a CI system sets, the one with who started the job, and the system's name."""


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


def whoami(environment: Mapping[str, str] = os.environ) -> str:
    """Who does it, as far as this machine knows: account@machine, whatever the environment calls
    the user; in CI, whom its own variables name, marked with the system that says so."""
    for is_there, actor, system in CI:
        if environment.get(is_there) and re.fullmatch(
            r"[\w.@\[\]-]{1,64}", environment.get(actor, "")
        ):
            return f"{environment[actor]} ({system})"
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"


def running_release(backend: Inspection, app: str) -> int:
    """The number of the newest release that a service is of; 0 where there is none."""
    try:
        return release_number(backend.status(app).release)
    except UsageError:
        return 0
