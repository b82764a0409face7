"""Who may change an app.

Creating the entry takes the lock, as there can be only one. Renewing it changes a note, and so the
time at which the cluster last saw it change; a lease is expired when that is too long ago by the
cluster's own clock. Clocks of clients play no part.
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime

from deploytool.backends.model import Lease
from deploytool.errors import Locked
from deploytool.records.store import Changed, Entry, Kind, Store, Taken

SECONDS = 30.0
"""Time after which a lease that nobody renews is anybody's."""
RENEWED = "renewed"
_renewals = itertools.count(1)


def lock(store: Store, app: str, by: str, purpose: str) -> Lease:
    """Become the one who may change an app, in place of a holder whose lease has expired. Raises
    Locked, with the holder, where somebody else is."""
    data = json.dumps({"by": by, "purpose": purpose}).encode()
    for _ in range(3):
        try:
            made = store.entry(store.create(app, Kind.LOCK, "", data, {}))
        except Taken:
            pass
        else:
            if made is None:
                raise held(None)
            return _lease(made, None)
        entry = _entry(store, app)
        if entry is None:
            continue
        if not entry.is_ours:
            raise _in_the_way(app)
        found = _lease(entry, store.now())
        if found.left > 0:
            raise held(found)
        store.remove(found.handle)
    raise held(None)


def _in_the_way(app: str) -> Locked:
    return Locked(
        f"{app} cannot be locked: the cluster has something called {app}.lock that deploytool "
        "did not make",
        code="locked",
        hint="`deploytool lock release` removes it",
    )


def held(lease: Lease | None) -> Locked:
    """The error for an app that is locked by somebody else."""
    if lease is None:
        return Locked(
            "Several deploys lock and unlock the app at this moment",
            code="locked",
            hint="run the command again",
        )
    return Locked(
        f"{lease.app} is being changed by {lease.by} ({lease.purpose}, since "
        f"{lease.since.astimezone():%H:%M:%S})",
        code="locked",
        hint="wait for it, longer with --lock-timeout; where that process is dead its lock expires "
        f"in {lease.left:.0f} s, and `deploytool lock release` takes it away",
    )


def renew(store: Store, lease: Lease) -> None:
    """Hold on to a lock. Raises Locked where it is somebody else's by now."""
    for _ in range(3):
        entry = store.entry(lease.handle)
        if entry is None:
            break
        try:
            return store.annotate(entry, {RENEWED: str(next(_renewals))})
        except Changed:
            continue
    raise Locked(
        f"The lock of {lease.app} was taken away meanwhile",
        code="lock_lost",
        hint="`deploytool audit` shows who did; run the command again when they are done",
    )


def unlock(store: Store, lease: Lease) -> None:
    """Release it; no failure where it is gone."""
    store.remove(lease.handle)


def holder(store: Store, app: str) -> Lease | None:
    """Who holds the lock of an app, expired or not."""
    entry = _entry(store, app)
    return _lease(entry, store.now()) if entry else None


def _entry(store: Store, app: str) -> Entry | None:
    return next(iter(store.entries(app, Kind.LOCK)), None)


def _lease(entry: Entry, now: datetime | None) -> Lease:
    by, purpose = _read(entry.data)
    assert entry.created is not None
    assert entry.changed is not None
    age = (now - entry.changed).total_seconds() if now else 0.0
    return Lease(
        app=entry.app,
        by=by,
        purpose=purpose,
        since=entry.created,
        left=max(0.0, SECONDS - age),
        handle=entry.handle,
    )


def _read(data: bytes) -> tuple[str, str]:
    """Who holds a lock and what for, as far as it can be read: it is a lock all the same."""
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    known = found if isinstance(found, dict) else {}
    by, purpose = (known.get(key) for key in ("by", "purpose"))
    return (
        by if isinstance(by, str) else "somebody",
        purpose if isinstance(purpose, str) else "purpose unreadable",
    )
