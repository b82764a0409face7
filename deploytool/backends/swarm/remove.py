"""Removing an app: services first, then what they held, patiently, as the engine lets go late."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, is_gone
from deploytool.errors import DeploytoolError, EngineError

Json = dict[str, Any]
AT_ONCE = 8
PATIENCE = 60.0
"""Seconds that the engine gets to stop the replicas and to let go of networks."""


def destroy(client: Client, app: str, *, volumes: bool, secrets: bool) -> list[str]:
    """Remove everything that carries the app's label, volumes and secrets where that is asked for;
    the names of what was removed."""
    label = f"{labels.STACK}={app}"
    services = client.services(label=f"{labels.APP}={app}")
    services += client.services(label=f"{labels.JOB_OF}={app}")
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        list(pool.map(lambda service: client.remove_service(service["ID"]), services))
    _until(lambda: not client.tasks(label=label), "its replicas do not stop")
    removed = [f"service {service['Spec']['Name']}" for service in services]
    for network in client.networks(label=label):
        _patiently(partial(client.remove_network, network["Id"]))
        removed.append(f"network {network['Name']}")
    for config in client.configs(label=label):
        client.remove_config(config["ID"])
    for secret in client.secrets(label=label) if secrets else ():
        client.remove_secret(secret["ID"])
        removed.append(f"secret {secret['Spec']['Name']}")
    if volumes:
        for volume in client.volumes(label=label):
            _patiently(partial(client.remove_volume, volume["Name"]))
            removed.append(f"volume {volume['Name']}")
    return removed


def _until(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise EngineError(
                f"The app is being removed, but {complaint}",
                code="still_there",
                hint="look at `docker node ls` for nodes that are down, then run it again",
            )
        time.sleep(0.3)


def _patiently(remove: Callable[[], None]) -> None:
    """Networks and volumes are in use for some seconds after the last replica is gone."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return remove()
        except DeploytoolError as error:
            if is_gone(error):
                return None
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
