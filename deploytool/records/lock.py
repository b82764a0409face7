"""One at a time: the lock of an app, renewed for as long as it is needed.

The lease is given back on every way out; what is killed leaves one that expires by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from deploytool.backends.model import Lease
from deploytool.errors import DeploytoolError, Locked
from deploytool.records import lease as leases
from deploytool.records.store import Store

RENEW_EVERY = 8.0
"""Seconds between two renewals: several may fail before the lease expires."""
POLL = 1.0
"""Seconds between two attempts to get a lock that is taken."""


@dataclass
class Guard:
    """Whether the lock is still ours."""

    lost: Locked | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        """Raises Locked when somebody else took the lock: whoever goes on undoes their work."""
        if self.lost:
            raise self.lost


@contextmanager
def locked(
    store: Store,
    app: str,
    *,
    by: str,
    purpose: str,
    timeout: int,
    waiting: Callable[[Lease], None] = lambda _: None,
) -> Iterator[Guard]:
    """Hold the lock of an app; `timeout` in milliseconds is how long to wait for it.

    Raises Locked, with who has it, when it could not be had. `waiting` is told once.
    """
    lease = _acquire(store, app, by, purpose, timeout, waiting)
    guard = Guard()
    keeper = threading.Thread(target=_keep, args=(store, lease, guard), daemon=True)
    keeper.start()
    try:
        yield guard
    finally:
        guard.ended.set()
        with suppress(DeploytoolError):
            leases.unlock(store, lease)


def _acquire(
    store: Store,
    app: str,
    by: str,
    purpose: str,
    timeout: int,
    waiting: Callable[[Lease], None],
) -> Lease:
    give_up = time.monotonic() + timeout / 1000
    told = False
    while True:
        try:
            return leases.lock(store, app, by, purpose)
        except Locked:
            if time.monotonic() >= give_up:
                raise
        if not told and (lease := leases.holder(store, app)):
            waiting(lease)
            told = True
        time.sleep(min(POLL, max(0.0, give_up - time.monotonic())))


def _keep(store: Store, lease: Lease, guard: Guard) -> None:
    """Renew until the work is done. A manager that is away is asked again."""
    while not guard.ended.wait(RENEW_EVERY):
        try:
            leases.renew(store, lease)
        except Locked as lost:
            guard.lost = lost
            return
        except DeploytoolError:
            continue
