"""The audit log: changes of an app that are no releases.

All of it is one note of one entry: two people who write at once both get in, as the second reads
again what the first wrote.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from deploytool.backends.model import AuditEntry
from deploytool.errors import EngineError
from deploytool.records import history
from deploytool.records.store import Changed, Entry, Kind, Store, Taken

KEPT = 100
"""Entries that are kept."""
ATTEMPTS = 5
NOTE = "audit"
UNKNOWN = {"by": "unknown", "action": "unknown"}


def entries(store: Store, app: str) -> list[AuditEntry]:
    """The entries, oldest first, as far as they can be read."""
    found = store.entries(app, Kind.AUDIT)[:1]
    read = (_read(line) for entry in found for line in _lines(entry))
    return [entry for entry in read if entry is not None]


def unread(store: Store, app: str) -> int:
    """How many lines cannot be read here, and `entries` leaves out."""
    found = store.entries(app, Kind.AUDIT)[:1]
    return sum(_read(line) is None for entry in found for line in _lines(entry))


def trail(store: Store, app: str) -> list[AuditEntry]:
    """Everything that was done to an app, its releases included, the newest first."""
    released = [
        AuditEntry(
            at=record.release.at,
            by=record.release.by,
            action=record.release.note or "deploy",
            release=record.release.id,
            outcome=record.outcome,
            seconds=record.seconds,
            commit=record.release.commit,
        )
        for record in history.records(store, app)
    ]
    return sorted([*released, *entries(store, app)], key=lambda entry: entry.at, reverse=True)


def note(store: Store, app: str, done: AuditEntry, *, keep: int = KEPT) -> None:
    """Add an entry, and drop the oldest beyond the newest `keep`."""
    for _ in range(ATTEMPTS):
        found = store.entries(app, Kind.AUDIT)
        kept = [line for entry in found[:1] for line in _lines(entry)]
        notes = {NOTE: json.dumps([*kept, _line(done)][-keep:])}
        try:
            if found:
                store.annotate(found[0], notes)
            else:
                store.create(app, Kind.AUDIT, "", b"see the label deploytool.audit", notes)
        except (Changed, Taken):
            continue
        return
    raise EngineError(
        f"The audit log of {app} could not be written: others keep changing it",
        code="audit_busy",
        hint="the change itself was made; only its line in `deploytool audit` is missing",
    )


def _lines(entry: Entry) -> list[Any]:
    """The lines of the note, whatever wrote them: one that cannot be read here is kept as it is."""
    text = entry.notes[NOTE]
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    return found if isinstance(found, list) else [found]


def _line(entry: AuditEntry) -> Any:
    return entry.model_dump(mode="json", exclude_defaults=True)


def _read(line: Any) -> AuditEntry | None:
    """The entry of a line, as far as it is known; None if its time is not."""
    if not isinstance(line, dict):
        return None
    known = {key: line[key] for key in AuditEntry.model_fields if key in line}
    try:
        return AuditEntry.model_validate(known)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors()}
    rest = {key: value for key, value in known.items() if key not in wrong}
    return AuditEntry.model_validate(UNKNOWN | rest) if "at" in rest else None
