"""`secrets set/list/remove`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command
from deploytool.errors import DeploytoolError

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.base import Secret, SecretSet


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Secrets of the app: each a file /run/secrets/NAME.", no_args_is_help=True
    )
    app.add_typer(group, name="secrets")

    @command(group, "set")
    def set_(
        session: Session,
        name: Annotated[
            list[str] | None,
            typer.Argument(metavar="[NAME]", help="The secret; its value is never an argument."),
        ] = None,
        file: Annotated[
            Path | None, typer.Option("--file", metavar="PATH", help="Take this file's content.")
        ] = None,
        env_file: Annotated[
            Path | None,
            typer.Option("--env-file", metavar="PATH", help="Set every NAME=value of this file."),
        ] = None,
    ) -> None:
        """Set a secret from standard input, a prompt or a file, or several from an env-file."""
        from deploytool.backends import open_backend
        from deploytool.secrets import ends_with_newline, read, request

        asked = request(name or (), file, env_file)
        config = session.config.config
        backend = open_backend(config)
        values = read(asked, can_ask=session.output.interactive)
        for secret, value in values.items():
            if ends_with_newline(value):
                session.output.warn(
                    f"the value of {secret} ends with a line break, which is part of it: "
                    "`printf %s` writes none"
                )
        done = backend.set_secrets(config.app, values)
        users = {s.name: _users(session, s.name) for s in done}
        for secret, services in users.items():
            if not services:
                session.output.warn(
                    f"no service reads {secret}: add it to the secrets of one in the configuration"
                )
        data = {
            "app": config.app,
            "secrets": [s.model_dump() | {"services": users[s.name]} for s in done],
        }
        changed = sorted({user for s in done if s.changed for user in users[s.name]})
        session.output.result(data, lambda console: _show_set(console, done, changed))

    @command(group, "list")
    def list_(session: Session) -> None:
        """Show the secrets: version, age, who uses them. Never a value."""
        from deploytool.backends import open_backend

        config = session.config.config
        found = open_backend(config).secrets(config.app)
        wanted = {name for service in config.services.values() for name in service.secrets}
        missing = sorted(wanted - {secret.name for secret in found})
        data = {
            "app": config.app,
            "secrets": [secret.model_dump(mode="json") for secret in found],
            "missing": missing,
        }
        session.output.result(data, lambda console: _show_list(console, found, missing))

    @command(group, "remove")
    def remove(session: Session, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
        """Remove a secret that no service uses, with all its versions."""
        from deploytool.backends import open_backend

        app_name = session.config.config.app
        backend = open_backend(session.config.config)
        older = [s.older for s in backend.secrets(app_name) if s.name == name]
        releases = sorted(
            {release for versions in older for v in versions for release in v.releases}
        )
        cost = f", and with it the way back to {', '.join(releases)}" if releases else ""
        if not session.output.require_confirmation(
            f"Remove the secret {name}{cost}?", assume_yes=session.yes
        ):
            raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
        removed = backend.remove_secret(app_name, name)
        session.output.result(
            {"app": app_name, "removed": removed},
            lambda console: console.print(f"[good]✓[/] Removed {', '.join(removed)}"),
        )


def _users(session: Session, secret: str) -> list[str]:
    """The services of the configuration that read a secret."""
    services = session.config.config.services
    return sorted(name for name, service in services.items() if secret in service.secrets)


def _show_set(console: Console, done: Sequence[SecretSet], services: Sequence[str]) -> None:
    for secret in done:
        state = "is now" if secret.changed else "is unchanged:"
        console.print(f"[good]✓[/] {secret.name} {state} version {secret.version}")
    if services:
        console.print(f"  [name]→[/] `deploytool deploy` rolls it out to {', '.join(services)}")


def _show_list(console: Console, found: Sequence[Secret], missing: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from deploytool.cli.views import age

    table = Table(box=None, pad_edge=False, header_style="quiet")
    for title in ("secret", "version", "set", "read by", "older versions"):
        table.add_column(title)
    for secret in found:
        table.add_row(
            Text(secret.name, "name"),
            str(secret.version) if secret.version else "by hand",
            f"{age(secret.at)} ago" if secret.at else "",
            ", ".join(_reader(secret, *item) for item in secret.services.items()),
            ", ".join(f"{v.version} ({', '.join(v.releases) or 'unused'})" for v in secret.older),
        )
    for name in missing:
        table.add_row(Text(name, "name"), Text("not set", "bad"))
    console.print(table)


def _reader(secret: Secret, service: str, version: int) -> str:
    behind = version != secret.version
    return f"{service} (version {version})" if behind and version else service
