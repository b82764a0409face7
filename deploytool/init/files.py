"""Files of a project: what would become of each, and writing them whole or not at all."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deploytool.image import without_directives
from deploytool.reading import read_text, refuse_outside
from deploytool.redact import hide_assignments
from deploytool.writing import write_whole

MARK = re.compile(r" \(([0-9a-f]{12})\)$")
"""The digest at the end of a first line."""


class Fate(StrEnum):
    WRITTEN = "written"
    REPLACED = "replaced"
    ADDED = "added to"
    KEPT = "kept"
    SAME = "already as it should be"


@dataclass(frozen=True)
class FileWrite:
    """A file as it should be, relative to the project, and what happens to the one there."""

    path: str
    text: str
    fate: Fate
    diff: tuple[str, ...] = ()
    """Of a kept file that was written before and changed since: what would be written now."""
    is_stale: bool = False
    """Whether a kept file was rendered, from another configuration than that of now."""

    @property
    def changes(self) -> bool:
        return self.fate not in (Fate.KEPT, Fate.SAME)


def marked(text: str) -> str:
    """The text with its digest at the end of the first line, a remark: who reads it again knows
    whether somebody has changed it since."""
    first, _, rest = text.partition("\n")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{first} ({digest})\n{rest}"


def is_untouched(text: str) -> bool:
    """Whether a text is as it was marked."""
    first, _, rest = text.partition("\n")
    bare, _, _ = first.rpartition(" (")
    return bool(bare) and marked(f"{bare}\n{rest}") == text


def plan_file(project: Path, path: str, text: str, *, force: bool) -> FileWrite:
    """One file that is ours alone. One that nobody changed since is brought up to date."""
    current = read(project / path)
    if current is None and not (project / path).exists():
        return FileWrite(path, text, Fate.WRITTEN)
    if current == text:
        return FileWrite(path, text, Fate.SAME)
    if force or (current is not None and is_untouched(current)):
        return FileWrite(path, text, Fate.REPLACED)
    return FileWrite(path, text, Fate.KEPT, drift(path, current or "", text))


def drift(path: str, current: str, text: str) -> tuple[str, ...]:
    """How a marked file that somebody changed differs from what would be written now, in the lines
    of a unified diff and without secrets. Empty where the same was written then: all that differs
    is of their own."""
    (title, then), (our_title, now) = _first_line(current), _first_line(text)
    if not now or title != our_title or then == now:
        return ()
    before, after = ([hide_assignments(x) for x in t.splitlines()] for t in (current, text))
    return tuple(difflib.unified_diff(before, after, path, f"{path} by init", lineterm=""))


def _first_line(text: str) -> tuple[str, str]:
    """The first line without its digest, and the digest; empty for none."""
    first = without_directives(text).partition("\n")[0].rstrip("\r")
    found = MARK.search(first)
    return (first[: found.start()], found[1]) if found else (first, "")


def write(project: Path, planned: Iterable[FileWrite]) -> None:
    """Write what changes. Raises UsageError when a file cannot be written, or links lead it out of
    the project: then nothing is written."""
    changed = [file for file in planned if file.changes]
    for file in changed:
        refuse_outside(project, Path(file.path))
    for file in changed:
        write_whole(project, file.path, file.text)


def read(path: Path) -> str | None:
    """The text of a file; None when there is none, or it is not text."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return None
