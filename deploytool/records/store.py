"""The small store that a backend keeps records in.

An entry has data, which never changes, and notes, which do. Nothing more is asked of a cluster, so
that a Swarm's configs and Nomad's variables do alike: a config's labels change if its version is
the one that was read, a variable's items if its ModifyIndex is.
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
    """The store's own name for this very entry: one that is created in its place later has another
    (a config's ID; a variable's path with its CreateIndex)."""
    created: datetime | None = None
    changed: datetime | None = None
    """When it was created and its notes were last changed, by the cluster's clock."""
    is_ours: bool = True
    """False for something that has the entry's place and that deploytool did not make."""
    payload: Any = field(default=None, compare=False, repr=False)
    """The store's own, by which it knows whether the entry has changed since."""


class Store(Protocol):
    """Every method may raise DeploytoolError too, where the cluster does not do it.

    An answer is what the cluster as a whole agreed on: who has created or changed an entry can rely
    on it that nobody else has, and every read after it sees it. 64 KiB of data and notes together
    fit into an entry, compressed where they have to be; what does not fit is refused, and nothing
    is changed.
    """

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        """Make an entry, and return its handle. Of those who do so at once one succeeds, and the
        others get Taken. `data` must not be empty: a Swarm takes no empty config."""

    def entries(self, app: str, kind: Kind) -> list[Entry]:
        """All entries of a kind, in no order; of locks also what is in the place of one and not
        ours."""

    def entry(self, handle: str) -> Entry | None:
        """This very entry; None where it is gone, whatever has its place by now."""

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        """Set some notes of an entry, and leave the others, those too that another version of
        deploytool knows. `changed` moves even where the values are the same. Raises Changed where
        the entry is not as it was read any more, or gone, and then sets none."""

    def remove(self, handle: str) -> None:
        """Remove this very entry, however it has changed; no failure where it is gone, and nothing
        happens to another that has its place by now."""

    def now(self) -> datetime | None:
        """The time on the clock that `created` and `changed` are from: expiry is judged by that
        alone, and by no client's. None where the cluster has none: nothing expires then."""
