"""What an app was not allowed to write, by its last words."""

from __future__ import annotations

import pytest

from deploytool.backends.refused import GIVE, Refused, find_refused, refusal_hint

SQLITE = "sqlite3.OperationalError: unable to open database file"
READ_ONLY = "sqlite3.OperationalError: attempt to write a readonly database"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["OSError: [Errno 30] Read-only file system: 'logs'"], Refused("logs", False, True)),
        (
            ["OSError: [Errno 30] Read-only file system: '/code/logs/app.log'", "other"],
            Refused("/code/logs/app.log", False, True),
        ),
        (["mkdir: cannot create directory: Read-only file system"], Refused(None, False, True)),
        (
            ["PermissionError: [Errno 13] Permission denied: '/code/a.json'"],
            Refused("/code/a.json", False, False),
        ),
        ([SQLITE], Refused(None, True, None)),
        ([READ_ONLY], Refused(None, True, None)),
        (['    db = sqlite3.connect("data.db")', SQLITE], Refused("data.db", True, None)),
        (["url: sqlite+aiosqlite:///./db/a.db", SQLITE], Refused("./db/a.db", True, None)),
        (["url: sqlite:////data/a.db", SQLITE], Refused("/data/a.db", True, None)),
        (["PermissionError: [Errno 13] Permission denied"], None),
        (["[Errno 13] error while attempting to bind on address"], None),
        (["ModuleNotFoundError: No module named 'app'"], None),
        ([], None),
    ],
)
def test_found(lines: list[str], expected: Refused | None) -> None:
    assert find_refused(lines) == expected


ALLOW = "set read_only = false in [tool.deploytool.services.api], or"
LOG = "OSError: [Errno 30] Read-only file system: '/code/logs/app.log'"
DENIED = "PermissionError: [Errno 13] Permission denied: '/data/a'"


@pytest.mark.parametrize(
    ("line", "read_only", "hint"),
    [
        (
            LOG,
            None,
            "the app writes to /code/logs/app.log, and its files are read-only: "
            f"{ALLOW} mount a volume there",
        ),
        (
            "OSError: [Errno 30] Read-only file system",
            True,
            "the app writes to its own folder, and its files are read-only: "
            f"{ALLOW} mount a volume where it does",
        ),
        (SQLITE, None, f"the app cannot open its SQLite database: {ALLOW} keep it in a volume"),
        (
            READ_ONLY,
            True,
            "the app writes to its SQLite database, and its files are read-only: "
            f"{ALLOW} keep it in a volume",
        ),
        (
            SQLITE,
            False,
            "the app may not open its SQLite database, its user owns no such file or folder: "
            f"{GIVE}",
        ),
        (
            DENIED,
            True,
            f"the app may not open /data/a, its user owns no such file or folder: {GIVE}",
        ),
        ("ValueError: nothing of the kind", True, None),
    ],
)
def test_hint(line: str, read_only: bool | None, hint: str | None) -> None:
    assert refusal_hint("api", [line], has_read_only_files=read_only) == hint
