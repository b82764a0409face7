"""`lock status/release` and `audit`: who changes an app, and who did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, command_group, warn_of_unread
from deploytool.errors import DeploytoolError, ExitCode, UsageError
from deploytool.output import ticked
from deploytool.printable import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.model import AuditEntry, Lease
    from deploytool.backends.protocol import Backend
    from deploytool.records.lock import Guard

LOCK_TIMEOUT = "1m"
LockTimeout = Annotated[
    str,
    typer.Option(
        "--lock-timeout", help="Wait this long for somebody else who is changing the app."
    ),
]


@command("status", "deploytool lock status")
def status(session: Session) -> None:
    """Show who is changing the app."""
    from deploytool.backends import open_backend
    from deploytool.records.lease import holder

    name = session.config.config.app
    lease = holder(open_backend(session.config.config).store, name)
    data = {"app": name, "lease": lease.model_dump(mode="json") if lease else None}
    session.output.result(data, lambda console: _show_lease(console, name, lease))


@command("release", "deploytool lock release")
def release(session: Session) -> None:
    """Take the lock away from a process that is dead."""
    from deploytool.backends import open_backend
    from deploytool.records.lease import holder, unlock

    name = session.config.config.app
    backend = open_backend(session.config.config)
    lease = holder(backend.store, name)
    if lease is not None:
        if not session.output.require_confirmation(
            f"Take the lock away from {lease.by} ({lease.purpose})?", assume_yes=session.yes
        ):
            raise DeploytoolError("Nothing was changed", code="declined", hint="answer y")
        unlock(backend.store, lease)
        note(session, backend, f"lock release, of {lease.by}")
    text = f"{name} is not locked" + (" any more" if lease else "")
    data = {"app": name, "released": lease.model_dump(mode="json") if lease else None}
    session.output.result(data, lambda console: console.print(ticked(text)))


@command("audit", "deploytool audit")
def audit(session: Session) -> None:
    """Show who did what to the app, the newest first."""
    from deploytool.backends import open_backend
    from deploytool.records.audit import trail, unread
    from deploytool.records.history import read

    name = session.config.config.app
    store = open_backend(session.config.config).store
    found = trail(store, name)
    warn_of_unread(session, read(store, name))
    if lines := unread(store, name):
        session.output.warn(
            f"{lines} line{'s' if lines > 1 else ''} of the audit log cannot be read by this "
            f"version of deploytool and {'are' if lines > 1 else 'is'} left out"
        )
    data = {"app": name, "entries": [entry.model_dump(mode="json") for entry in found]}
    session.output.result(data, lambda console: _show_entries(console, found))


@contextmanager
def holding(
    session: Session, backend: Backend, purpose: str, timeout: int, *, app: str | None = None
) -> Iterator[Guard]:
    """Hold the lock of the app, and say for whom one waits. `timeout` in milliseconds."""
    from deploytool.records.lock import locked
    from deploytool.rollout.release import whoami

    def waiting(lease: Lease) -> None:
        session.output.step(f"Waiting for {lease.by}, who is changing {lease.app}: {lease.purpose}")

    with locked(
        backend.store,
        app or session.config.config.app,
        by=whoami(),
        purpose=purpose,
        timeout=timeout,
        waiting=waiting,
    ) as guard:
        yield guard


@contextmanager
def noted(session: Session, backend: Backend, action: str) -> Iterator[None]:
    """Remember what is done here, how long it took, and how it ended where that is no success. Of
    what was refused, nothing was done."""
    started = time.monotonic()
    outcome = ""
    try:
        yield
    except UsageError:
        action = ""
        raise
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except BaseException as error:
        late = getattr(error, "exit_code", None) is ExitCode.TIMED_OUT
        outcome = "timed_out" if late else "failed"
        raise
    finally:
        if action:
            note(session, backend, action, time.monotonic() - started, outcome=outcome)


def note(
    session: Session,
    backend: Backend,
    action: str,
    seconds: float | None = None,
    *,
    outcome: str = "",
    app: str | None = None,
) -> None:
    """Remember what was done. That it cannot be is no failure of what was done."""
    from datetime import UTC, datetime

    from deploytool.backends.model import AuditEntry
    from deploytool.records import audit
    from deploytool.rollout.release import whoami

    entry = AuditEntry(
        at=datetime.now(UTC),
        by=whoami(),
        action=action,
        outcome=outcome,
        seconds=None if seconds is None else round(seconds, 1),
    )
    try:
        audit.note(backend.store, app or session.config.config.app, entry)
    except DeploytoolError as error:
        session.output.warn(f"not in the audit log: {error.message}")


def _show_lease(console: Console, app: str, lease: Lease | None) -> None:
    if lease is None:
        console.print(f"Nobody is changing {app}")
        return
    who = one_line(f"{lease.by} is changing {app}: {lease.purpose}")
    console.print(f"{who}, since {lease.since.astimezone():%Y-%m-%d %H:%M:%S}")
    expires = f"expires in {lease.left:.0f} s" if lease.left else "has expired"
    console.print(f"The lease {expires} unless it is renewed", style="quiet")


def _show_entries(console: Console, entries: list[AuditEntry]) -> None:
    from rich.table import Table

    from deploytool.cli.views import short_commit

    table = Table(box=None, pad_edge=False, header_style="quiet")
    for heading in ("when", "who", "what", "release", "outcome", "took", "commit"):
        table.add_column(heading)
    for entry in entries:
        table.add_row(
            f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}",
            one_line(entry.by),
            one_line(entry.action),
            entry.release,
            entry.outcome,
            f"{entry.seconds:.1f} s" if entry.seconds is not None else "",
            short_commit(entry.commit),
        )
    console.print(table)


group = command_group(
    "lock",
    "Show or release the lock of the app.",
    status,
    release,
)
