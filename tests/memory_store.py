"""A store of records in memory, for what needs no cluster."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from deploytool.backends.model import Record
from deploytool.records.history import OUTCOME, SECONDS, STEPPED
from deploytool.records.store import Changed, Entry, Kind, Taken


class MemoryStore:
    """Implements `deploytool.records.store.Store`."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.held: dict[str, Entry] = {}
        self._handles = map(str, itertools.count(1))
        for record in records:
            notes = {OUTCOME: str(record.outcome)}
            notes |= {SECONDS: str(record.seconds)} if record.seconds is not None else {}
            notes |= {STEPPED: "yes"} if record.stepped else {}
            release = record.release
            data = release.model_dump_json().encode()
            self.create(release.spec.name, Kind.RELEASE, str(release.number), data, notes)

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        if any((e.app, e.kind, e.name) == (app, kind, name) for e in self.held.values()):
            raise Taken
        handle = next(self._handles)
        at = datetime.now(UTC)
        self.held[handle] = Entry(app, kind, name, data, dict(notes), handle, at, at, payload=0)
        return handle

    def entries(self, app: str, kind: Kind) -> list[Entry]:
        return [e for e in self.held.values() if (e.app, e.kind) == (app, kind)]

    def entry(self, handle: str) -> Entry | None:
        return self.held.get(handle)

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        held = self.held.get(entry.handle)
        if held is None or held.payload != entry.payload:
            raise Changed
        self.held[entry.handle] = replace(
            held,
            notes={**held.notes, **notes},
            changed=datetime.now(UTC),
            payload=held.payload + 1,
        )

    def remove(self, handle: str) -> None:
        self.held.pop(handle, None)

    def now(self) -> datetime | None:
        return datetime.now(UTC)
