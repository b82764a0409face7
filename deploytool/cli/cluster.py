"""`cluster up/status/down`, `proxy up/status/down` and `doctor`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, command_group
from deploytool.errors import DeploytoolError, ExitCode
from deploytool.output import next_step, signed, ticked

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.kind import Check, LocalCluster
    from deploytool.config import Config

MARKS = {"good": ("✓", "good"), "warning": ("!", "busy"), "bad": ("✗", "bad")}


@command("doctor", "deploytool doctor")
def doctor(session: Session) -> None:
    """Check engine, cluster, registry, proxy, kernel and clock."""
    from deploytool.backends import kind_of
    from deploytool.backends.kind import State

    config = settings(session)
    checks = [
        replace(check, hint=session.output.as_written(check.hint))
        for check in kind_of(config.backend).examine(config)
    ]
    bad = [check for check in checks if check.state is State.BAD]
    data = {"healthy": not bad, "checks": [asdict(check) for check in checks]}
    session.output.result(data, lambda console: _show_checks(console, checks))
    if bad:
        raise typer.Exit(ExitCode.FAILED)


@command("up", "deploytool cluster up")
def up(
    session: Session,
    advertise: Annotated[
        str,
        typer.Option(
            "--advertise-addr",
            help="Address by which other nodes could join; on Nomad, that the agent listens on.",
        ),
    ] = "127.0.0.1",
) -> None:
    """Make this machine a cluster of one node with a registry on localhost."""
    from deploytool.backends import kind_of

    config = settings(session)
    kind = kind_of(config.backend)
    found = kind.cluster_up(config, advertise=advertise, step=session.output.step)
    session.output.result(found.data, lambda console: _show_cluster(console, found))


@command("status", "deploytool cluster status")
def status(session: Session) -> None:
    """Show what there is of the cluster on this machine."""
    from deploytool.backends import kind_of

    config = settings(session)
    found = kind_of(config.backend).cluster_status(config)
    session.output.result(found.data, lambda console: _show_cluster(console, found))


@command("down", "deploytool cluster down")
def down(
    session: Session,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove the registry's images too.")
    ] = False,
) -> None:
    """End the cluster on this machine with all that runs, and the registry."""
    from deploytool.backends import kind_of

    config = settings(session)
    kind = kind_of(config.backend)
    kind.cluster_status(config)
    if not session.output.require_confirmation(
        "Remove this machine's cluster and everything that runs on it?", assume_yes=session.yes
    ):
        raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
    removed = kind.cluster_down(config, volumes=volumes, step=session.output.step)
    session.output.result(
        {"removed": removed},
        lambda console: console.print(
            ticked(f"Removed: {', '.join(removed)}") if removed else "There was nothing"
        ),
    )


def settings(session: Session) -> Config:
    """The project's configuration; where there is none, the defaults: a cluster needs no app."""
    from deploytool.config import Config
    from deploytool.spec import Service

    defaults = {"none": Service(name="none")}
    return project_settings(session) or Config(app="none", services=defaults)


def project_settings(session: Session) -> Config | None:
    """The project's configuration; None where there is no project."""
    try:
        return session.config.config
    except DeploytoolError as error:
        if error.code != "no_config":
            raise
    return None


def _show_cluster(console: Console, found: LocalCluster) -> None:
    for state, line in found.lines:
        console.print(signed(*MARKS[state], line))


def _show_checks(console: Console, checks: list[Check]) -> None:
    for check in checks:
        console.print(signed(*MARKS[check.state], f"{check.name}: {check.message}"))
        if check.hint:
            console.print(next_step(check.hint))


group = command_group(
    "cluster", "Run a cluster of one node here, with a registry.", up, status, down
)
