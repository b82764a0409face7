"""`proxy up/status/down`."""

from __future__ import annotations

from typing import Annotated

import typer

from deploytool.cli.cluster import settings
from deploytool.cli.common import Session, command, duration
from deploytool.cli.render import Check, Stdout, put, warn_of_stack
from deploytool.errors import DeploytoolError
from deploytool.output import ticked

DOWN = "deploytool proxy down"


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Traefik on the cluster: the load balancer of all apps.", no_args_is_help=True
    )
    app.add_typer(group, name="proxy")

    @command(group, "up")
    def up(
        session: Session,
        timeout: Annotated[str, typer.Option(help="Give up after this long.")] = "5m",
    ) -> None:
        """Start the proxy, or bring it to what the configuration says."""
        from deploytool.backends import open_backend
        from deploytool.backends.swarm.routing import Ports
        from deploytool.cli.deploy import confirm_plan, roll_out_shown
        from deploytool.cli.lock import holding
        from deploytool.proxy import NAME, app_spec, files
        from deploytool.rollout import new_release, resolve_images

        limit = duration("--timeout", timeout)
        config = settings(session)
        spec = app_spec(config.proxy)
        backend = open_backend(config)
        images = resolve_images(backend, spec, None, session.output.warn)
        with holding(session, backend, "proxy up", limit, app=NAME) as guard:
            plan = backend.plan(spec, images, files=files(config.proxy))
            confirm_plan(session, plan, "Start this proxy?")
            release = new_release(spec, images)
            result = roll_out_shown(session, backend, plan, release, timeout=limit, guard=guard)
        listening = Ports(
            config.proxy.http_port, config.proxy.https_port if config.proxy.https else None
        )
        data = {
            "changed": result.release is not None,
            "image": images["traefik"].reference,
            "http_port": listening.http,
            "https_port": listening.https,
            "network": config.proxy.network,
            "seconds": round(result.seconds, 1),
        }
        text = f"The proxy runs: {listening}"
        session.output.result(data, lambda console: console.print(ticked(text)))

    @command(group, "render")
    def render(session: Session, check: Check = False, stdout: Stdout = False) -> None:
        """Write the stack file of the proxy, for review."""
        from pathlib import Path

        from deploytool.proxy import app_spec, files
        from deploytool.render.files import RenderedFile, render_files

        settings = session.config.config.proxy
        beside = [RenderedFile(Path(p), text.decode()) for p, text in files(settings).items()]
        spec = app_spec(settings)
        warn_of_stack(session, spec)
        put(session, [*render_files(spec), *beside], check=check, stdout=stdout)

    @command(group, "status")
    def status(session: Session) -> None:
        """Show where the proxy runs."""
        from deploytool.backends import open_backend
        from deploytool.cli.views import show_status
        from deploytool.proxy import NAME

        found = open_backend(settings(session)).status(NAME)
        session.output.result(found, lambda console: show_status(console, found, everything=False))

    @command(group, "down")
    def down(
        session: Session,
        volumes: Annotated[
            bool,
            typer.Option("--volumes", help="Forget its certificates and secrets too."),
        ] = False,
    ) -> None:
        """Remove the proxy. The apps go on, but nobody reaches them."""
        from deploytool.backends import open_backend
        from deploytool.cli.operate import tell_removed
        from deploytool.proxy import NAME
        from deploytool.removal import plan_removal

        backend = open_backend(settings(session))
        removal = plan_removal(backend, NAME, volumes=volumes, secrets=volumes, command=DOWN)
        if not session.output.require_confirmation(
            "Remove the proxy, so that nobody reaches the apps?", assume_yes=session.yes
        ):
            raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
        removed = backend.destroy(NAME, volumes=volumes, secrets=volumes)
        tell_removed(session, removal, removed, "The proxy is gone", DOWN)
