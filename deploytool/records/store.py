"""The small store that a backend keeps records in.

An entry has data, which never changes, and notes, which do. Nothing more is asked of a cluster, so
that a Swarm's configs and Nomad's variables do alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Kind(StrEnum):
    RELEASE = "release"
    LOCK = "lock"
    AUDIT = "audit"


class Taken(Exception):
    """There is an entry of that kind and name already."""


class Changed(Exception):
    """Somebody else has changed the entry since it was read."""


@dataclass(frozen=True)
class Entry:
    """One record, as it was when it was read."""

    app: str
    kind: Kind
    name: str
    """Tells entries of a kind apart; empty where there is only one."""
    data: bytes
    notes: Mapping[str, str]
    handle: str
    """The store's own name for it."""
    created: datetime | None = None
    changed: datetime | None = None
    """When it was created and its notes were last changed, by the cluster's clock."""
    is_ours: bool = True
    """False for something that has the entry's place and that deploytool did not make."""
    payload: Any = field(default=None, compare=False, repr=False)
    """The store's own, by which it tells whether the entry has changed since."""


class Store(Protocol):
    """Every method may raise DeploytoolError too, where the cluster does not do it."""

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        """Make an entry, and return its handle. Of two who do so at once one succeeds: the other
        gets Taken."""

    def entries(self, app: str, kind: Kind) -> list[Entry]:
        """All entries of a kind, in no order."""

    def entry(self, handle: str) -> Entry | None:
        """One entry; None where it is gone."""

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        """Set some notes of an entry, and leave the others. Raises Changed where it is not as it
        was read any more, or gone."""

    def remove(self, handle: str) -> None:
        """Remove an entry; no failure where it is gone."""

    def now(self) -> datetime | None:
        """The time on the clock that `created` and `changed` are from."""
