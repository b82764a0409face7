"""What the proxy has beside what labels define, and what routes need of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.specification.routing import labels_of
from deploytool.json_types import Json
from deploytool.traefik.routing import Named, is_routed

ENTRY_POINT, RESOLVER, NETWORK = "entry point", "certificate resolver", "network"
"""Kinds of what only the proxy's own settings can give."""
_HAS = {
    ENTRY_POINT: re.compile(r"--entrypoints\.([^.=]+)\.address=", re.IGNORECASE),
    RESOLVER: re.compile(r"--certificatesresolvers\.([^.=]+)\.", re.IGNORECASE),
}
_NEEDS = {
    ENTRY_POINT: re.compile(r"traefik\.(http|tcp|udp)\.routers\.[^.]+\.entrypoints", re.I),
    RESOLVER: re.compile(r"traefik\.(http|tcp)\.routers\.[^.]+\.tls\.certresolver", re.I),
    NETWORK: re.compile(r"traefik\.(?:swarm|docker)\.network", re.I),
}


def _thing(kind: str, name: str) -> Named:
    return Named("http", kind, name)


def offered(proxy: Json, network_names: Mapping[str, str]) -> frozenset[Named]:
    """What a proxy offers by its specification."""
    template = proxy["TaskTemplate"]
    attached = (network["Target"] for network in template.get("Networks") or ())
    found = {_thing(NETWORK, network_names.get(target, target)) for target in attached}
    for argument in arguments(proxy):
        for kind, pattern in _HAS.items():
            if has := pattern.match(argument):
                found.add(_thing(kind, has[1].lower()))
    return frozenset(found)


def arguments(proxy: Json) -> list[str]:
    """How a service's process is called."""
    container = proxy["TaskTemplate"]["ContainerSpec"]
    return [*(container.get("Command") or ()), *(container.get("Args") or ())]


def needed(own: Mapping[str, str]) -> frozenset[Named]:
    """What the labels of a service need of the proxy."""
    found = set()
    for key, value in own.items() if is_routed(own) else ():
        for kind, pattern in _NEEDS.items():
            if pattern.fullmatch(key):
                names = (name.strip() for name in value.split(","))
                found |= {_thing(kind, n if kind == NETWORK else n.lower()) for n in names if n}
    return frozenset(found)


def users(services: Iterable[Json], things: frozenset[Named]) -> Iterator[tuple[Json, list[Named]]]:
    """The services whose routes need any of these things, with those."""
    for service in services:
        if found := sorted(needed(labels_of(service)) & things):
            yield service, found


def unmet(services: Iterable[Json], proxy: Json, network_names: Mapping[str, str]) -> list[str]:
    """What routes need that the proxy of their network has not, in words."""
    has = offered(proxy["Spec"], network_names)
    lines = []
    for service in services:
        needs = needed(labels_of(service))
        networks = {need for need in needs if need.kind == NETWORK}
        if networks <= has and (lacking := sorted(needs - has)):
            lines.append(f"{described(service)} needs the {lacking[0]}")
    return lines


def described(service: Json) -> str:
    """A service in the words of its owner."""
    name = service["Spec"]["Name"]
    stack = labels_of(service).get(labels.STACK)
    if not stack:
        return f"the service {name}"
    return f"the service {name.removeprefix(f'{stack}_')} of the app {stack}"
