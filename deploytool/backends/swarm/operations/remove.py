"""Removing an app: services first, then what they used, which the engine frees some
seconds later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from deploytool.backends.model import Belonging
from deploytool.backends.swarm.api.client import Client, is_gone
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import DeploytoolError, EngineError
from deploytool.json_types import Json
from deploytool.records import history

AT_ONCE = 8
PATIENCE = 60.0
"""Seconds that the engine gets to stop the replicas and to free networks."""


@dataclass(frozen=True)
class Own:
    """Everything that carries an app's labels."""

    label: str
    services: Sequence[Json]
    """Its jobs too."""
    networks: Sequence[Json]
    configs: Sequence[Json]
    secrets: Sequence[Json]
    volumes: Sequence[Json]
    """Those of this node alone: each engine knows its own."""


def find(client: Client, app: str) -> Own:
    """Everything that an app has, running or not. Networks and volumes carry the label of the
    stack alone: where somebody else's services do too, they are not the app's."""
    stack = client.services(label=f"{labels.STACK}={app}")
    ours = all((s["Spec"].get("Labels") or {}).get(labels.APP) == app for s in stack)
    label = f"{labels.STACK if ours else labels.APP}={app}"
    services = client.services(label=f"{labels.APP}={app}")
    return Own(
        label=label,
        services=[*services, *client.services(label=f"{labels.JOB_OF}={app}")],
        networks=client.networks(label=label),
        configs=client.configs(label=label),
        secrets=client.secrets(label=label),
        volumes=client.volumes(label=label),
    )


def belongings(client: Client, app: str) -> list[Belonging]:
    """Everything of an app by kind and name, and the volumes that other nodes may have of it."""
    own = find(client, app)
    return [
        *(Belonging(kind="service", name=s["Spec"]["Name"]) for s in own.services),
        *(Belonging(kind="network", name=network["Name"]) for network in own.networks),
        *(Belonging(kind="secret", name=s["Spec"]["Name"]) for s in own.secrets),
        *(Belonging(kind="config", name=c["Spec"]["Name"]) for c in own.configs),
        *(Belonging(kind="volume", name=volume["Name"]) for volume in own.volumes),
        *_elsewhere(client, app, own),
    ]


def _elsewhere(client: Client, app: str, own: Own) -> Iterator[Belonging]:
    """The volumes of an app that other nodes may have: those that its replicas were on, or any
    where that is not known any more."""
    here = (client.info().get("Swarm") or {}).get("NodeID", "")
    others = {n["ID"]: n["Description"]["Hostname"] for n in client.nodes() if n["ID"] != here}
    names = set(_mounted(own.services)) | set(_remembered(client, app))
    if not others or not names:
        return
    tasks = client.tasks(label=own.label)
    ran = others.keys() & {task.get("NodeID", "") for task in tasks}
    nodes = tuple(sorted(others[node] for node in (ran if tasks else others)))
    if nodes:
        yield from (Belonging(kind="volume", name=name, nodes=nodes) for name in sorted(names))


def _mounted(services: Iterable[Json]) -> Iterator[str]:
    for service in services:
        for mount in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Mounts") or ():
            if mount.get("Type") == "volume" and mount.get("Source"):
                yield mount["Source"]


def _remembered(client: Client, app: str) -> Iterator[str]:
    for record in history.records(SwarmStore(client), app):
        for service in record.release.spec.services:
            for volume in service.volumes:
                if not volume.is_bind:
                    yield swarm.volume_name(app, volume.source)


def destroy(client: Client, app: str, *, volumes: bool, secrets: bool) -> list[str]:
    """Remove everything that carries the app's labels, volumes and secrets where that is asked for;
    the names of what was removed. The lock comes last, as it is one of the configs, and is
    not named: whoever removes an app holds it."""
    own = find(client, app)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        list(pool.map(lambda s: _remove(partial(client.remove_service, s["ID"])), own.services))
    _until(lambda: not client.tasks(label=own.label), "its replicas do not stop")
    removed = [f"service {service['Spec']['Name']}" for service in own.services]
    for network in own.networks:
        _patiently(partial(client.remove_network, network["Id"]))
        removed.append(f"network {network['Name']}")
    for secret in own.secrets if secrets else ():
        _remove(partial(client.remove_secret, secret["ID"]))
        removed.append(f"secret {secret['Spec']['Name']}")
    for volume in own.volumes if volumes else ():
        _patiently(partial(client.remove_volume, volume["Name"]))
        removed.append(f"volume {volume['Name']}")
    for config in own.configs:
        _remove(partial(client.remove_config, config["ID"]))
        if config["Spec"]["Labels"].get(labels.ROLE) != labels.LOCK:
            removed.append(f"config {config['Spec']['Name']}")
    return removed


def _remove(remove: Callable[[], None]) -> None:
    """Something that somebody else has removed meanwhile is no failure."""
    try:
        remove()
    except DeploytoolError as error:
        if not is_gone(error):
            raise


def _until(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise EngineError(
                f"The app is being removed, but {complaint}",
                code="still_there",
                hint="see `docker node ls` for nodes that are down, then run it again",
            )
        time.sleep(0.3)


def _patiently(remove: Callable[[], None]) -> None:
    """Networks and volumes are in use for some seconds after the last replica is gone."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return _remove(remove)
        except DeploytoolError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
