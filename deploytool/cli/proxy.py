"""`proxy up/status/down`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.cluster import settings
from deploytool.cli.common import Session, command, command_group, duration
from deploytool.cli.render import Check, Cluster, Stdout, choose_cluster, put, warn_of_stack
from deploytool.errors import DeploytoolError, UsageError
from deploytool.output import ticked

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploytool.backends.model import Job, Plan, Status
    from deploytool.backends.protocol import Backend
    from deploytool.spec import ProxySettings, Release

DOWN = "deploytool proxy down"


@command("up", "deploytool proxy up")
def up(
    session: Session,
    timeout: Annotated[str, typer.Option(help="Give up after this long.")] = "5m",
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Drop what the proxy that runs has and this project does not set."
        ),
    ] = False,
) -> None:
    """Start the proxy, or apply changes of its settings."""
    from deploytool.backends import kind_of, open_backend
    from deploytool.cli.deploy import confirm_plan, roll_out_shown
    from deploytool.cli.lock import holding
    from deploytool.rollout.images import resolve_images
    from deploytool.rollout.release import new_release
    from deploytool.traefik.proxy import NAME, SERVICE
    from deploytool.traefik.routing import Ports

    limit = duration("--timeout", timeout)
    config = settings(session)
    backend = open_backend(config)
    with holding(session, backend, "proxy up", limit, app=NAME) as guard:
        found = _status(backend)
        running = _running(backend) if found else None
        wanted = config.proxy
        if running is not None and not replace:
            wanted = _joined(session, wanted, running.spec.proxy)
        kind = kind_of(config.backend)
        spec = kind.proxy_app(wanted)
        images = resolve_images(backend, spec, None, session.output.warn)
        plan = backend.plan(spec, images, files=kind.proxy_files(wanted))
        confirm_plan(session, plan, "Start this proxy?")
        release = new_release(spec, images)
        node = _node(found) if found else None
        move = kind.proxy_move(running, release, node) if running and node else None
        _prepare(session, backend, plan, release, move, timeout=limit, guard=guard)
        result = roll_out_shown(session, backend, plan, release, timeout=limit, guard=guard)
    listening = Ports(wanted.http_port, wanted.https_port if wanted.https else None)
    data = {
        "changed": result.release is not None,
        "image": images[SERVICE].reference,
        "http_port": listening.http,
        "https_port": listening.https,
        "network": next((n for service in spec.services for n in service.networks), None),
        "seconds": round(result.seconds, 1),
    }
    text = f"The proxy runs: {listening}"
    session.output.result(data, lambda console: console.print(ticked(text)))


@command("render", "deploytool proxy render --check")
def render(
    session: Session, backend: Cluster = None, check: Check = False, stdout: Stdout = False
) -> None:
    """Write the stack or job file of the proxy, for review."""
    from pathlib import Path

    from deploytool.backends import kind_of
    from deploytool.render.files import RenderedFile, render_files

    choose_cluster(session, backend)
    config = session.config.config
    kind = kind_of(config.backend)
    contents = kind.proxy_files(config.proxy)
    apart = {} if kind.embeds_files else contents
    beside = [RenderedFile(Path(path), text.decode()) for path, text in apart.items()]
    spec = kind.proxy_app(config.proxy)
    warn_of_stack(session, spec)
    put(session, [*render_files(spec, config, contents), *beside], check=check, stdout=stdout)


@command("status", "deploytool proxy status")
def status(session: Session) -> None:
    """Show where the proxy runs."""
    from deploytool.backends import open_backend
    from deploytool.cli.views import show_status
    from deploytool.traefik.proxy import NAME

    found = open_backend(settings(session)).status(NAME)
    session.output.result(found, lambda console: show_status(console, found, everything=False))


@command("down", "deploytool proxy down")
def down(
    session: Session,
    volumes: Annotated[
        bool,
        typer.Option("--volumes", help="Forget its certificates and secrets too."),
    ] = False,
) -> None:
    """Remove the proxy. The apps go on, but nobody reaches them."""
    from deploytool.backends import open_backend
    from deploytool.cli.operate import show_removed
    from deploytool.removal import plan_removal
    from deploytool.traefik.proxy import NAME

    backend = open_backend(settings(session))
    removal = plan_removal(backend, NAME, volumes=volumes, secrets=volumes, command=DOWN)
    if not session.output.require_confirmation(
        "Remove the proxy, so that nobody reaches the apps?", assume_yes=session.yes
    ):
        raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
    removed = backend.destroy(NAME, volumes=volumes, secrets=volumes)
    show_removed(session, removal, removed, "The proxy is gone", DOWN)


def _prepare(
    session: Session,
    backend: Backend,
    plan: Plan,
    release: Release,
    move: Job | None,
    *,
    timeout: int,
    guard: Callable[[], None],
) -> None:
    """Do what can be done before the proxy that runs is stopped."""
    from deploytool.job import run_job
    from deploytool.rollout.guarded import GuardedRollout
    from deploytool.traefik.proxy import SERVICE, pull_job, restarts_with

    jobs: dict[str, Job] = {}
    if restarts_with(plan, "image"):
        jobs[f"Pulling {release.images[SERVICE].tag}"] = pull_job(release)
    if move is not None:
        jobs["Copying the certificates to the new volume"] = move
    if jobs:
        with GuardedRollout(backend.rollout(plan), guard) as rollout:
            rollout.prepare()
    for what, job in jobs.items():
        session.output.step(f"{what}, before the proxy stops")
        emit = session.output.debug
        run_job(backend, job, timeout=timeout, emit=emit, what=what, guard=guard)


def _status(backend: Backend) -> Status | None:
    """The proxy as it is, where there is one."""
    from deploytool.traefik.proxy import NAME

    try:
        return backend.status(NAME)
    except UsageError:
        return None


def _running(backend: Backend) -> Release | None:
    """The release of the proxy that runs, where it is known."""
    from deploytool.records.history import current_release, records
    from deploytool.traefik.proxy import NAME

    try:
        return current_release(records(backend.store, NAME), NAME)
    except UsageError:
        return None


def _node(found: Status) -> str | None:
    """The node that the proxy runs on."""
    from deploytool.traefik.proxy import SERVICE

    tasks = (task for one in found.services if one.name == SERVICE for task in one.tasks)
    return next((task.node for task in tasks if task.wanted and task.node), None)


def _joined(session: Session, own: ProxySettings, running: ProxySettings) -> ProxySettings:
    """The settings of the project, and of the proxy that runs what the project does not set."""
    from deploytool.traefik.proxy import join

    joined = join(own, running)
    if joined.kept:
        session.output.warn(
            f"the proxy keeps what this project does not set: {', '.join(joined.kept)}. "
            "--replace drops it"
        )
    return joined.settings


group = command_group(
    "proxy", "Run Traefik, the load balancer of all apps.", up, render, status, down
)
