"""`secrets set/list/remove`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, command_group, duration
from deploytool.cli.lock import LOCK_TIMEOUT, LockTimeout, holding, note
from deploytool.errors import DeploytoolError
from deploytool.output import next_step, ticked

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.model import Secret, SecretSet
    from deploytool.config import Config
    from deploytool.spec import Service

OfProxy = Annotated[bool, typer.Option("--proxy", help="Of the proxy instead of the app.")]


@command(
    "set", "deploytool secrets set DATABASE_URL", "deploytool secrets set TOKEN --file token.txt"
)
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
    proxy: OfProxy = False,
) -> None:
    """Set secrets from a prompt, standard input or a file."""
    from deploytool.backends import open_backend
    from deploytool.secrets.values import ends_with_newline, read, request
    from deploytool.traefik.proxy import check_certificate

    asked = request(name or (), file, env_file)
    owner = Owner.of(session, proxy=proxy)
    backend = open_backend(owner.config)
    values = read(asked, can_ask=session.output.interactive, warn=session.output.warn)
    for secret, value in values.items():
        if proxy and secret in owner.config.proxy.certificates:
            check_certificate(secret, value)
        if ends_with_newline(value):
            session.output.warn(
                f"the value of {secret} ends with a line break, which is part of it: "
                "`printf %s` writes none"
            )
    done = backend.set_secrets(owner.app, values)
    if news := [secret.name for secret in done if secret.changed]:
        note(session, backend, f"secrets set {' '.join(news)}", app=owner.app)
    users = {s.name: owner.users(s.name) for s in done}
    for secret, services in users.items():
        if not services:
            where = (
                "certificates, dns_secrets or acme_ca in [tool.deploytool.proxy]"
                if proxy
                else "the secrets of one in the configuration"
            )
            session.output.warn(f"no service reads {secret}: add it to {where}")
    data = {
        "app": owner.app,
        "secrets": [s.model_dump() | {"services": users[s.name]} for s in done],
    }
    changed = sorted({user for s in done if s.changed for user in users[s.name]})
    session.output.result(data, lambda console: _show_set(console, done, changed, owner))


@command("list", "deploytool secrets list")
def list_(session: Session, proxy: OfProxy = False) -> None:
    """Show the secrets: version, age, who uses them. Never a value."""
    from deploytool.backends import open_backend

    owner = Owner.of(session, proxy=proxy)
    found = open_backend(owner.config).secrets(owner.app)
    wanted = {name for service in owner.services for name in service.secrets}
    missing = sorted(wanted - {secret.name for secret in found})
    data = {
        "app": owner.app,
        "secrets": [secret.model_dump(mode="json") for secret in found],
        "missing": missing,
    }
    session.output.result(data, lambda console: _show_list(console, found, missing))


@command("remove", "deploytool secrets remove TOKEN")
def remove(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    proxy: OfProxy = False,
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Remove a secret that no service uses, with all its versions."""
    from deploytool.backends import open_backend

    lock_limit = duration("--lock-timeout", lock_timeout)
    owner = Owner.of(session, proxy=proxy)
    backend = open_backend(owner.config)
    older = [s.older for s in backend.secrets(owner.app) if s.name == name]
    releases = sorted({release for versions in older for v in versions for release in v.releases})
    cost = f", and with it the rollback to {', '.join(releases)}" if releases else ""
    if not session.output.require_confirmation(
        f"Remove the secret {name}{cost}?", assume_yes=session.yes
    ):
        raise DeploytoolError("Nothing was removed", code="declined", hint="answer y")
    what = f"secrets remove {name}"
    with holding(session, backend, what, lock_limit, app=owner.app):
        removed = backend.remove_secret(owner.app, name)
        note(session, backend, what, app=owner.app)
    session.output.result(
        {"app": owner.app, "removed": removed},
        lambda console: console.print(ticked(f"Removed {', '.join(removed)}")),
    )


@dataclass(frozen=True)
class Owner:
    """Whose secrets they are: those of the project's app, or of the proxy, which needs none."""

    config: Config
    app: str
    services: Sequence[Service]
    roll_out: str
    """The command that brings them to the services."""

    @classmethod
    def of(cls, session: Session, *, proxy: bool) -> Owner:
        if not proxy:
            config = session.config.config
            return cls(config, config.app, tuple(config.services.values()), "deploytool deploy")
        from deploytool.backends import kind_of
        from deploytool.cli.cluster import settings
        from deploytool.traefik.proxy import NAME

        config = settings(session)
        services = kind_of(config.backend).proxy_app(config.proxy).services
        return cls(config, NAME, services, "deploytool proxy up")

    def users(self, secret: str) -> list[str]:
        """The services of the configuration that read a secret."""
        return sorted(service.name for service in self.services if secret in service.secrets)


def _show_set(
    console: Console, done: Sequence[SecretSet], services: Sequence[str], owner: Owner
) -> None:
    for secret in done:
        state = "is now" if secret.changed else "is unchanged:"
        console.print(ticked(f"{secret.name} {state} version {secret.version}"))
    if services:
        console.print(next_step(f"`{owner.roll_out}` rolls it out to {', '.join(services)}"))


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


group = command_group(
    "secrets", "Set, list and remove secrets: files in /run/secrets.", set_, list_, remove
)
