"""The proxy that serves a namespace: where it listens, by the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploytool.backends.nomad.api.catalogue import Listed, instances
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.specification.proxy import HTTPS, PROXY, ROLE, SERVES
from deploytool.traefik.routing import Ports


@dataclass(frozen=True)
class Proxy:
    namespace: str
    """The one that it is in."""
    addresses: tuple[str, ...]
    """Of the nodes that run it."""
    serves: tuple[str, ...]
    """The namespaces whose apps it serves."""
    ports: Ports


def find_proxy(client: Client, services: Iterable[Listed]) -> Proxy | None:
    """The proxy of the client's namespace, if deploytool made one that runs."""
    serving = (s for s in services if is_proxy(s) and client.namespace in served(s))
    service = min(serving, key=lambda s: s.namespace != client.namespace, default=None)
    if service is None:
        return None
    found = [one for one in instances(client, service) if one.labels.get(ROLE) == PROXY]
    if not found:
        return None
    https = found[0].labels.get(HTTPS, "")
    return Proxy(
        namespace=service.namespace,
        addresses=tuple(dict.fromkeys(one.address for one in found)),
        serves=tuple(served(service)),
        ports=Ports(found[0].port, int(https) if https.isdecimal() else None),
    )


def is_proxy(service: Listed) -> bool:
    return service.labels.get(ROLE) == PROXY


def served(service: Listed) -> list[str]:
    """The namespaces that a proxy serves."""
    return service.labels.get(SERVES, "").split(",")
