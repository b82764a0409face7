"""Files that are seldom meant for an image though they lie in a folder that is: keys, logins and
local databases. Everybody who has the image reads what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from deploytool.discover.source import SKIPPED_FOLDERS, Project

FOLDERS = frozenset({".aws", ".ssh"})
NAMES = frozenset(
    {".git-credentials", ".netrc", ".pgpass", ".pypirc", "id_dsa", "id_ecdsa", "id_ecdsa_sk"}
    | {"id_ed25519", "id_ed25519_sk", "id_rsa"}
)
OFTEN_PUBLIC = (".key", ".pem", ".sqlite", ".sqlite3")
"""Endings of certificates of authorities and of databases that come with an app too."""
ENDINGS = (".env", ".p12", ".pfx", *OFTEN_PUBLIC)
LOGINS = (".docker", "config.json")
EXAMPLES = (".example", ".sample", ".template", ".dist", ".default", ".defaults")
PATTERNS = (
    *("**/.env*", *(f"**/{name}" for name in sorted(FOLDERS | NAMES))),
    f"**/{'/'.join(LOGINS)}",
    *(f"**/*{ending}" for ending in ENDINGS),
    *("**/*.KEY", "**/*.P12", "**/*.PEM", "**/*.PFX"),
)
"""The same for a .dockerignore, which tells small letters from capitals."""
MAX_FILES = 20_000


def looks_private(path: PurePosixPath) -> bool:
    """By its name alone."""
    name = path.name
    if not FOLDERS.isdisjoint(path.parts[:-1]) or path.parts[-2:] == LOGINS:
        return True
    if name in NAMES or name.lower().endswith(ENDINGS):
        return True
    return name.startswith(".env.") and not name.endswith(EXAMPLES)


def private_in(project: Path, folders: Iterable[str]) -> list[PurePosixPath]:
    """Those in some folders of a project, from the project."""
    found = (file for folder in folders for file in _files_in(project, PurePosixPath(folder)))
    return sorted(file for file in found if looks_private(file))


def _files_in(project: Path, folder: PurePosixPath) -> Iterator[PurePosixPath]:
    seen = 0
    for below, folders, names in os.walk(project / folder):
        here = PurePosixPath(Path(below).relative_to(project).as_posix())
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (here / name for name in names)
        seen += len(names)
        if seen > MAX_FILES:
            return


SKIPPED = (SKIPPED_FOLDERS - {"build", "dist"}) | {".git", ".venv"}


def holds_private_key(project: Project, file: PurePosixPath) -> bool:
    try:
        return file.suffix.lower() in (".key", ".pem") and b"PRIVATE KEY" in project.data(file)
    except (OSError, ValueError):
        return False


def is_named(project: Project, file: PurePosixPath) -> bool:
    """Whether the code names a file, or all with its ending."""
    words = (file.name, f"*{file.suffix}")
    texts = (project.text(module) or "" for module in project.python_files)
    return any(word in text for text in texts for word in words)


def is_meant(project: Project, file: PurePosixPath) -> bool:
    """Whether one that looks private comes with the app: its code names it, and it is no key."""
    is_public = file.name.lower().endswith(OFTEN_PUBLIC) and not holds_private_key(project, file)
    return is_public and FOLDERS.isdisjoint(file.parts) and is_named(project, file)
