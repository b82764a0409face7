"""The lock of an app: held by one process at a time, and renewed for as long as it is needed.

It is released on every orderly end; a process that is killed leaves a lease that expires.
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
    poll: float = POLL,
    renew_every: float = RENEW_EVERY,
) -> Iterator[Guard]:
    """Hold the lock of an app; `timeout` in milliseconds is how long to wait for it.

    Raises Locked, with its holder, when it is still taken then. `waiting` is called once. `poll`
    and `renew_every` are in seconds.
    """
    lease = _acquire(store, app, by, purpose, timeout, waiting, poll)
    guard = Guard()
    keeper = threading.Thread(target=_keep, args=(store, lease, guard, renew_every), daemon=True)
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
    poll: float,
) -> Lease:
    give_up = time.monotonic() + timeout / 1000
    notified = False
    while True:
        try:
            return leases.lock(store, app, by, purpose)
        except Locked:
            if time.monotonic() >= give_up:
                raise
        if not notified and (lease := leases.holder(store, app)):
            waiting(lease)
            notified = True
        time.sleep(min(poll, max(0.0, give_up - time.monotonic())))


def _keep(store: Store, lease: Lease, guard: Guard, every: float) -> None:
    """Renew until the work is done. A manager that is away is called again the next time."""
    while not guard.ended.wait(every):
        try:
            leases.renew(store, lease)
        except Locked as lost:
            guard.lost = lost
            return
        except DeploytoolError:
            continue
