"""The services that run, as Nomad's own catalogue has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deploytool.backends.nomad.api.client import Client
from deploytool.traefik.routing import ENABLE

EVERYWHERE = "*"
"""All namespaces that a token may read."""


@dataclass(frozen=True)
class Listed:
    """A service, with what its instances have for tags, all together."""

    namespace: str
    name: str
    tags: tuple[str, ...]

    @property
    def labels(self) -> dict[str, str]:
        return as_labels(self.tags)


@dataclass(frozen=True)
class Instance:
    """A service of one allocation."""

    namespace: str
    name: str
    job: str
    allocation: str
    address: str
    port: int
    labels: Mapping[str, str]


def as_labels(tags: Iterable[str]) -> dict[str, str]:
    """Tags as the labels that Traefik takes them for. Where instances differ, a route of any of
    them is a route."""
    found: dict[str, str] = {}
    for tag in sorted(tags):
        key, _, value = tag.partition("=")
        if key in found and key.lower().endswith(".rule"):
            value = f"({found[key]}) || ({value})"
        elif key.lower() == ENABLE and "true" in (found.get(key), value.lower()):
            value = "true"
        found[key] = value
    return found


def listed(client: Client, namespace: str = EVERYWHERE) -> list[Listed]:
    """Every service, in one request."""
    spaces = client.get("/v1/services", namespace=namespace) or ()
    return [
        Listed(space["Namespace"], service["ServiceName"], tuple(service.get("Tags") or ()))
        for space in spaces
        for service in space.get("Services") or ()
    ]


def instances(client: Client, service: Listed) -> list[Instance]:
    found = client.get(f"/v1/service/{service.name}", namespace=service.namespace) or ()
    return [
        Instance(
            namespace=one["Namespace"],
            name=one["ServiceName"],
            job=one["JobID"],
            allocation=one["AllocID"],
            address=one["Address"],
            port=int(one["Port"]),
            labels=as_labels(one.get("Tags") or ()),
        )
        for one in found
    ]
