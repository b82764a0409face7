"""`releases` and `rollback`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, ShowValues, command, duration, warn_of_unread
from deploytool.cli.deploy import (
    TakeOver,
    confirm_plan,
    move_latest,
    roll_out_shown,
    show,
)
from deploytool.cli.lock import LOCK_TIMEOUT, LockTimeout, holding

if TYPE_CHECKING:
    from deploytool.backends.model import Record


@command("releases", "deploytool releases")
def releases(session: Session) -> None:
    """Show the releases that the cluster remembers."""
    from deploytool.backends import open_backend
    from deploytool.cli.views import show_records
    from deploytool.records import history

    backend = open_backend(session.config.config)
    past = history.read(backend.store, session.config.config.app)
    found = past.records
    _warn_of_partly(session, found)
    warn_of_unread(session, past)
    data = {
        "app": session.config.config.app,
        "releases": [
            {
                "release": record.release.id,
                "outcome": record.outcome,
                "seconds": record.seconds,
                "by": record.release.by,
                "at": record.release.at.isoformat(),
                "commit": record.release.commit,
                "note": record.release.note,
                "images": {k: i.reference for k, i in record.release.images.items()},
            }
            for record in reversed(found)
        ],
    }
    session.output.result(data, lambda console: show_records(console, found))


@command("rollback", "deploytool rollback", "deploytool rollback v12 --yes")
def rollback(
    session: Session,
    release: Annotated[
        str | None, typer.Argument(help="A release, for example v3; else the previous.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="Give up after this long.")] = "10m",
    take_over: TakeOver = False,
    show_values: ShowValues = False,
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Go back to an earlier release: image, settings, secrets."""
    from deploytool.backends import open_backend
    from deploytool.records import history
    from deploytool.rollout.release import new_release, running_release

    limit = duration("--timeout", timeout)
    lock_limit = duration("--lock-timeout", lock_timeout)
    name = session.config.config.app
    backend = open_backend(session.config.config)
    with holding(session, backend, "rollback", lock_limit) as guard:
        running = running_release(backend, name)
        past = history.read(backend.store, name)
        earlier = history.choose_rollback(past, name, release, running)
        _warn_of_partly(session, [r for r in past.records if r.release == earlier])
        warn_of_unread(session, past)
        plan = backend.plan(
            earlier.spec, earlier.images, secrets=earlier.secrets, take_over=take_over
        )
        confirm_plan(session, plan, f"Go back to {earlier.id}?", show_values=show_values)
        again = new_release(
            earlier.spec,
            earlier.images,
            commit=earlier.commit,
            note=f"rollback to {earlier.id}",
        )
        result = roll_out_shown(session, backend, plan, again, timeout=limit, guard=guard)
        move_latest(session, backend, earlier.spec, earlier.images)
    show(session, backend, earlier.images, result)


def _warn_of_partly(session: Session, records: Sequence[Record]) -> None:
    """Say what of these releases is not known here."""
    from deploytool.records import history

    if partly := history.in_part(records):
        session.output.warn(partly)
