"""Versions of secrets as Swarm secrets: each value is a secret of its own, APP_NAME.N, whose labels
say of what and with which hash. One that was made by hand is APP_NAME."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deploytool.backends.swarm.api.client import Client, is_taken
from deploytool.backends.swarm.api.tasks import read_time
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.errors import EngineError
from deploytool.json_types import Json
from deploytool.records.store import Taken
from deploytool.secrets import versions
from deploytool.secrets.versions import Version
from deploytool.spec import AppSpec

LARGEST = 500 * 1024
"""bytes; what every Swarm takes is smaller"""
LONGEST_NAME = 64
"""characters that the engine takes"""


class SwarmVault:
    """The secrets of a Swarm as versions."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def versions(self, app: str) -> list[Version]:
        return read(app, self.client.secrets())

    def create(self, app: str, name: str, number: int, value: bytes, digest: str) -> None:
        own = {
            labels.STACK: app,
            labels.APP: app,
            labels.SECRET: name,
            labels.HASH: digest,
            labels.VERSION: str(number),
        }
        try:
            self.client.create_secret(swarm.version_name(app, name, number), value, own)
        except EngineError as error:
            if is_taken(error):
                raise Taken from None
            raise

    def delete(self, version: Version) -> None:
        self.client.remove_secret(version.id)

    def readers(self, app: str) -> Iterator[tuple[str, str]]:
        for service in self.client.services(label=f"{labels.APP}={app}"):
            spec = service["Spec"]
            for reference in spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or ():
                yield spec["Name"].removeprefix(f"{app}_"), reference["SecretName"]

    def refusal(self, app: str, values: Mapping[str, bytes]) -> str:
        found = (self._refusal(app, name, value) for name, value in values.items())
        return next(filter(None, found), "")

    def _refusal(self, app: str, name: str, value: bytes) -> str:
        if not value:
            return f"The value of {name} is empty, and a Swarm keeps no empty secret"
        if len(value) >= LARGEST:
            return f"The value of {name} is too large: a Swarm keeps less than 500 KiB"
        if len(swarm.version_name(app, name, 10**4)) > LONGEST_NAME:
            return f"{name} is too long a name for a secret of {app}"
        return ""

    def number(self, app: str, name: str, on_cluster: str) -> int:
        number = on_cluster.removeprefix(f"{swarm.secret_name(app, name)}.")
        return int(number) if number != on_cluster and number.isdecimal() else 0

    def removal_by_hand(self, version: Version) -> str:
        return f"docker secret rm {version.name}"


def read(app: str, secrets: Iterable[Json]) -> list[Version]:
    """The engine's secrets → those of an app."""
    found = (_version(app, secret) for secret in secrets)
    return [version for version in found if version is not None]


def _version(app: str, secret: Json) -> Version | None:
    """None for a secret that is not the app's. No app has a _ in its name."""
    own = secret["Spec"].get("Labels") or {}
    full_name = secret["Spec"]["Name"]
    name, number = full_name.removeprefix(f"{app}_"), 0
    if own.get(labels.APP) == app and own.get(labels.VERSION, "").isdecimal():
        name, number = own.get(labels.SECRET, ""), int(own[labels.VERSION])
    elif labels.SECRET in own or name == full_name:
        return None
    return Version(
        secret=name,
        number=number,
        name=full_name,
        id=secret["ID"],
        at=read_time(secret.get("CreatedAt", "")),
        hash=own.get(labels.HASH, ""),
    )


def choose(app: AppSpec, secrets: Iterable[Json], pins: Mapping[str, str]) -> dict[str, str]:
    """Secret → name on the cluster of what the app's services read. Raises PlanError."""
    wanted = {name for service in app.services for name in service.secrets}
    of_proxy = any(service.labels.get(labels.ROLE) == labels.PROXY for service in app.services)
    found = read(app.name, secrets)
    return versions.choose(app.name, wanted, found, pins, options=" --proxy" if of_proxy else "")
