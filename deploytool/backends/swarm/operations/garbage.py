"""Garbage collection of old versions of secrets and of configuration files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.storage import secrets as versioned
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.records import history
from deploytool.secrets.versions import numbered
from deploytool.spec import Release


def collect(client: Client, app: str) -> None:
    """Remove the versions of secrets and files that no release to roll back to, no service
    and no next deploy needs. A removal that fails is left for the next time."""
    own = f"{labels.APP}={app}"
    secrets = client.secrets(label=[own, labels.SECRET])
    configs = client.configs(label=[own, labels.FILE])
    if not secrets and not configs:
        return
    past = history.read(SwarmStore(client), app)
    if not past.is_whole:
        return
    newest = {found[-1].name for found in numbered(versioned.read(app, secrets)).values()}
    kept = newest | {name for record in past.records for name in _needed(record.release)}
    for service in client.services(label=own):
        kept |= set(_used(service))
    for secret in secrets:
        if secret["Spec"]["Name"] not in kept:
            with suppress(DeploytoolError):
                client.remove_secret(secret["ID"])
    for config in configs:
        if config["Spec"]["Name"] not in kept:
            with suppress(DeploytoolError):
                client.remove_config(config["ID"])


def _needed(release: Release) -> Iterator[str]:
    yield from release.secrets.values()
    for path in release.spec.files:
        yield swarm.file_name(release.spec, path)


def _used(service: Json) -> Iterator[str]:
    """The secrets and configs of a service, now and if the engine reversed its update."""
    for spec in (service["Spec"], service.get("PreviousSpec")):
        container = spec["TaskTemplate"]["ContainerSpec"] if spec else {}
        for secret in container.get("Secrets") or ():
            yield secret["SecretName"]
        for config in container.get("Configs") or ():
            yield config["ConfigName"]
