"""What an app was refused to write, by what it printed last, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_READ_ONLY = re.compile(r"\[Errno 30\]|Read-only file system")
_NOT_ITS_OWN = re.compile(r"PermissionError: \[Errno 13\]")
_CHANGES_OWNER = re.compile(
    r"(?:failed switching to|\b(?:chown|chmod|chgrp|mkdir|setpriv|su-exec|gosu|runuser|su|setuid"
    r"|setgid|setgroups|initgroups))\b.*(?:[Oo]peration not permitted|Permission denied"
    r"|Read-only file system)"
)
"""What entry points of ready-made images print that begin as root and go on as another user."""
_DATABASE = re.compile(r"unable to open database file|attempt to write a readonly database")
_PATH = re.compile(r"(?:Read-only file system|Permission denied):? '([^']+)'")
_DATABASE_PATH = re.compile(r"""connect\(\s*["']([^"':]+)["']|sqlite[+\w]*:///?(/?[\w./-]+)""")

GIVE = "make the folder for the image's user in the Dockerfile: RUN install -d -o USER FOLDER"


@dataclass(frozen=True)
class Refused:
    path: str | None
    """What the app wanted to write, where it says so."""
    is_database: bool
    is_read_only: bool | None
    """Whether the file system was read-only; None when the message can mean a missing folder or
    another owner too."""


def find_refused(lines: Sequence[str]) -> Refused | None:
    """The last refusal to write in what an app printed; None when it says nothing of the kind."""
    for line in reversed(lines):
        if _DATABASE.search(line):
            return Refused(_database(lines), is_database=True, is_read_only=None)
        path = _PATH.search(line)
        if _READ_ONLY.search(line):
            return Refused(path[1] if path else None, is_database=False, is_read_only=True)
        if path and _NOT_ITS_OWN.search(line):
            return Refused(path[1], is_database=False, is_read_only=False)
    return None


def _database(lines: Sequence[str]) -> str | None:
    for line in reversed(lines):
        if found := _DATABASE_PATH.search(line):
            return found[1] or found[2]
    return None


def refusal_hint(
    service: str,
    lines: Sequence[str],
    *,
    has_read_only_files: bool | None = None,
    volumes: Sequence[str] = (),
) -> str | None:
    """One line for people: what the app could not write, why, and what to set.

    `has_read_only_files` says how the replica ran, where that is known, `volumes` where it has
    some.
    """
    if any(map(_CHANGES_OWNER.search, lines)):
        return ready_made(service)
    refused = find_refused(lines)
    if refused is None:
        return None
    if not refused.is_read_only and (volume := _volume(refused, volumes)):
        whose = refused.path or "its SQLite database"
        return (
            f"the app may not open {whose}: the volume at {volume} is not its user's, as a new one "
            f"takes the owner of the image's folder: {GIVE}; a volume that is there already keeps "
            "its owner"
        )
    is_read_only = has_read_only_files if refused.is_read_only is None else refused.is_read_only
    what = refused.path or ("its SQLite database" if refused.is_database else "its own folder")
    if is_read_only:
        return f"the app writes to {what}, and its files are read-only: {_allow(service, refused)}"
    if is_read_only is None:
        return f"the app cannot open {what}: {_allow(service, refused)}"
    return f"the app may not open {what}, its user owns no such file or folder: {GIVE}"


def _volume(refused: Refused, volumes: Iterable[str]) -> str | None:
    """The volume that the app could not write to. A database of which nobody says where it is is in
    one, if there is one."""
    if refused.path is None:
        return next(iter(volumes), None) if refused.is_database else None
    path = PurePosixPath(refused.path)
    return next((volume for volume in volumes if path.is_relative_to(volume)), None)


def ready_made(service: str) -> str:
    """All that such an image needs, at once: what is missing shows up one by one."""
    return (
        "the image makes folders, or changes owner or user, at its start, as those of databases "
        f"do: in [tool.deploytool.services.{service}] set capabilities = "
        '["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"], and read_only = false or tmpfs '
        "for the folders that it makes; or set user to the one that it ends as"
    )


def _allow(service: str, refused: Refused) -> str:
    volume = f"mount a volume {'there' if refused.path else 'where it does'}"
    kept = "keep it in a volume" if refused.is_database else volume
    return f"set read_only = false in [tool.deploytool.services.{service}], or {kept}"
