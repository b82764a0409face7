"""The operator's levers: `scale`, `restart`, `exec` and `destroy`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from deploytool.cli.common import Session, command, duration
from deploytool.cli.lock import LOCK_TIMEOUT, LockTimeout, holding, noted
from deploytool.errors import DeploytoolError, UsageError
from deploytool.output import next_step, ticked

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.model import Plan
    from deploytool.records.lock import Guard
    from deploytool.removal import Removal

DESTROY = "deploytool destroy"
Timeout = Annotated[str, typer.Option(help="Give up waiting after this long.")]


@command("scale", "deploytool scale web=6", "deploytool scale web=6 worker=2")
def scale(
    session: Session,
    replicas: Annotated[list[str], typer.Argument(metavar="SERVICE=N...")],
    timeout: Timeout = "10m",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Change the number of replicas without a new release."""
    from deploytool.backends import open_backend

    wanted = _read_replicas(replicas)
    limit = duration("--timeout", timeout)
    lock_limit = duration("--lock-timeout", lock_timeout)
    backend = open_backend(session.config.config)
    told = ", ".join(f"{name}={count}" for name, count in wanted.items())
    what = f"scale {told}"
    with (
        holding(session, backend, what, lock_limit) as guard,
        noted(session, backend, what),
    ):
        plan = backend.scale(session.config.config.app, wanted)
        seconds = _wait(session, backend, plan, limit, guard)
    services = session.config.config.services
    configured = {name: s.replicas for name, s in services.items() if not s.is_global}
    for name, count in wanted.items():
        if name in configured and configured[name] != count:
            session.output.warn(
                f"deploys leave {name} at {count}, until the configuration says another number "
                f"than {configured[name]}"
                if backend.keeps_scale
                else f"the next deploy sets {name} back to {configured[name]}, unless the "
                f"configuration says replicas = {count}"
            )
    _show(session, {"replicas": wanted, "seconds": seconds}, f"Scaled {told}", seconds)


@command("restart", "deploytool restart", "deploytool restart web")
def restart(
    session: Session,
    service: Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]...")] = None,
    timeout: Timeout = "10m",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Replace every replica by a new one of the same release."""
    from deploytool.backends import open_backend

    limit = duration("--timeout", timeout)
    lock_limit = duration("--lock-timeout", lock_timeout)
    backend = open_backend(session.config.config)
    what = " ".join(("restart", *(service or ())))
    with (
        holding(session, backend, what, lock_limit) as guard,
        noted(session, backend, what),
    ):
        plan = backend.restart(session.config.config.app, service or ())
        seconds = _wait(session, backend, plan, limit, guard)
    names = [change.name for change in plan.changes]
    _show(
        session,
        {"services": names, "seconds": seconds},
        f"Restarted {', '.join(names)}",
        seconds,
    )


@command("exec", "deploytool exec web -- python -m app.check", "deploytool exec web -- sh")
def execute(
    session: Session,
    service: Annotated[str, typer.Argument()],
    arguments: Annotated[list[str], typer.Argument(metavar="-- COMMAND...")],
) -> None:
    """Run a command in a running replica."""
    from deploytool.backends import open_backend

    backend = open_backend(session.config.config)
    name = session.config.config.app
    if session.output.as_json:
        done = backend.execute(name, service, arguments)
        session.output.result(done, lambda _: None)
        raise typer.Exit(done.exit_code)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    _become(backend.attach_command(name, service, arguments, terminal=terminal))


@command("destroy", "deploytool destroy", "deploytool destroy --volumes --yes")
def destroy(
    session: Session,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove its volumes and their data too.")
    ] = False,
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Remove the app from the cluster, all of it."""
    from deploytool.backends import open_backend
    from deploytool.removal import listed, plan_removal

    lock_limit = duration("--lock-timeout", lock_timeout)
    name = session.config.config.app
    output = session.output
    backend = open_backend(session.config.config)
    removal = plan_removal(backend, name, volumes=volumes, command=DESTROY)
    what = " and the data in its volumes" if volumes else ""
    if not output.require_confirmation(
        f"Remove {name}{what} from the cluster ({listed(removal.going)})?",
        assume_yes=session.yes,
    ):
        raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
    with holding(session, backend, "destroy", lock_limit):
        output.step(f"Removing {name}")
        removed = backend.destroy(name, volumes=volumes)
    show_removed(session, removal, removed, f"{name} is gone: {listed(removal.going)}", DESTROY)


def show_removed(
    session: Session, removal: Removal, removed: list[str], text: str, command: str
) -> None:
    """What is gone, what is kept, and what removes that too."""
    from deploytool.removal import listed

    for warning in removal.warnings():
        session.output.warn(warning)

    def human(console: Console) -> None:
        console.print(ticked(text))
        if removal.kept:
            kept = listed(removal.kept)
            console.print(next_step(f"{kept} is kept; `{command} --volumes` removes it"))

    kept = [str(thing) for thing in removal.kept]
    session.output.result({"app": removal.app, "removed": removed, "kept": kept}, human)


def _become(program: Sequence[str]) -> NoReturn:
    from deploytool.image.failures import docker_missing
    from deploytool.process import ProgramMissing, become

    try:
        become(program)
    except ProgramMissing:
        raise docker_missing() from None


def _read_replicas(arguments: list[str]) -> dict[str, int]:
    wanted = {}
    for argument in arguments:
        name, _, count = argument.partition("=")
        if not name or not count.isdecimal() or int(count) > 10_000:
            raise UsageError(
                f"{argument!r} does not say how many replicas of which service",
                code="usage",
                hint="for example: deploytool scale web=6 worker=2",
            )
        wanted[name] = int(count)
    return wanted


def _wait(session: Session, backend: Any, plan: Plan, timeout: int, guard: Guard) -> float:
    from deploytool.cli.views import rollout_view
    from deploytool.rollout.guarded import GuardedRollout
    from deploytool.rollout.settle import settle

    rollout = GuardedRollout(backend.rollout(plan), guard)
    with rollout_view(session.output) as report, rollout:
        rollout.start()
        seconds = settle(backend, rollout, plan, timeout=timeout, report=report)
    return round(seconds, 1)


def _show(session: Session, data: dict[str, Any], text: str, seconds: float) -> None:
    data = {"app": session.config.config.app} | data
    session.output.result(
        data, lambda console: console.print(ticked(f"{text}, after {seconds:.1f} s"))
    )
