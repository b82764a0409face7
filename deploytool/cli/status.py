"""`status` and `logs`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, duration
from deploytool.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.model import LogLine
    from deploytool.logs import ReplicaNames

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red")


@contextmanager
def ended_by_interrupt(has_no_end: bool = True) -> Iterator[None]:
    """Ctrl-C is how a command ends that has no end of its own."""
    try:
        yield
    except KeyboardInterrupt:
        if not has_no_end:
            raise


@command("status", "deploytool status", "deploytool status --watch")
def status(
    session: Session,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and follow.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show replicas of the past too.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 6 when replicas are missing.")
    ] = False,
) -> None:
    """Show every replica: state, node, release, health."""
    from deploytool.backends import open_backend
    from deploytool.cli.views import show_status, status_parts

    if watch and session.output.as_json:
        raise UsageError(
            "--watch and --json do not go together",
            code="usage",
            hint="run `deploytool status --json` as often as you like",
        )
    if watch and exit_code:
        raise UsageError(
            "--watch and --exit-code do not go together",
            code="usage",
            hint="--watch ends with Ctrl-C; run `deploytool status --exit-code` by itself",
        )
    backend = open_backend(session.config.config)
    name = session.config.config.app
    if not watch:
        found = backend.status(name)
        session.output.result(
            found, lambda console: show_status(console, found, everything=everything)
        )
        if exit_code and not found.is_complete:
            raise typer.Exit(ExitCode.INCOMPLETE)
        return
    with ended_by_interrupt(), session.output.live() as redraw:
        while not session.output.console.quiet:
            found = backend.status(name)
            if redraw is None:
                show_status(session.output.console, found, everything=everything)
            else:
                from rich.console import Group

                redraw(Group(*status_parts(found, everything=everything)))
            time.sleep(1)


@command(
    "logs",
    "deploytool logs",
    "deploytool logs -f --service web",
    "deploytool logs --since 10m --tail 1000",
)
def logs(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and follow.")] = False,
    service: Annotated[
        list[str] | None, typer.Option("--service", "-s", help="Only of this service.")
    ] = None,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Lines of each.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="D", help='Not older, for example "5m".')
    ] = None,
    health: Annotated[
        bool,
        typer.Option("--health", help="Show health checks that replicas answered well, too."),
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Pass escape sequences on to the terminal too."),
    ] = False,
) -> None:
    """Show the output of every replica."""
    from deploytool.backends import open_backend
    from deploytool.logs import ReplicaNames, check_requests

    if follow and session.output.as_json:
        raise UsageError(
            "--follow and --json do not go together",
            code="usage",
            hint="`deploytool logs --json --since 1m` gives what there is",
        )
    seconds = duration("--since", since) // 1000 if since else None
    backend = open_backend(session.config.config)
    lines = backend.logs(
        session.config.config.app,
        service or (),
        follow=follow,
        tail=tail,
        since=seconds,
        hidden={} if health else check_requests(session.config.config.services.values()),
        warn=session.output.warn,
    )
    if session.output.as_json:
        found = [line.model_dump(mode="json") for line in lines]
        session.output.result({"lines": found}, lambda _: None)
        return
    console, names = session.output.of_replicas(raw=raw), ReplicaNames()
    with ended_by_interrupt(follow):
        for line in lines:
            _show(console, line, names)
            if console.quiet:
                break


def _show(console: Console, line: LogLine, names: ReplicaNames) -> None:
    from rich.text import Text

    number = line.slot or sum(map(ord, line.node))
    colour = COLOURS[(sum(map(ord, line.service)) + number) % len(COLOURS)]
    console.print(Text(f"{names.of(line)} ", colour) + Text(line.text))
