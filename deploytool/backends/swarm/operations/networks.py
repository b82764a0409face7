"""The networks that deploytool makes, and services on them.

A network that was removed a moment ago, as by `docker stack rm`, is still listed, and its name
taken, until the last replica on it has ended. Services are refused until it is made anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from deploytool.backends.swarm.api.client import Client, is_taken
from deploytool.errors import EngineError
from deploytool.json_types import Json

PATIENCE = 60.0
"""Seconds that what is being removed gets to be gone."""
PAUSE = 0.5


def create(client: Client, network: Json) -> None:
    """Create a network; one of the same name is left as it is."""
    from docker.types import IPAMConfig, IPAMPool

    settings: Json = {"driver": network["driver"]}
    if subnet := network.get("subnet"):
        settings["ipam"] = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
    if found := network.get("labels"):
        settings["labels"] = found
    if options := network.get("options"):
        settings["options"] = options
    try:
        client.create_network(network["name"], **settings)
    except EngineError as error:
        if not is_taken(error):
            raise


def create_service(client: Client, spec: Json, networks: Sequence[Json]) -> None:
    """Create a service; those of its networks that are being removed are waited for and made anew.
    `networks` are those that deploytool makes."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.create_service(spec)
        except EngineError as error:
            gone = [n for n in networks if f"network {n['name']} not found" in error.message]
            if not gone or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(PAUSE)
        for network in gone:
            create(client, network)
