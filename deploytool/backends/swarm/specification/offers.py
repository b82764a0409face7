"""What the proxy has beside what labels define, and what routes need of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.specification.routing import labels_of
from deploytool.json_types import Json
from deploytool.traefik import offers
from deploytool.traefik.routing import Named, is_routed

NETWORK = "network"
_NEEDS_NETWORK = re.compile(r"traefik\.(?:swarm|docker)\.network", re.I)


def offered(proxy: Json, network_names: Mapping[str, str]) -> frozenset[Named]:
    """What a proxy offers by its specification."""
    attached = (network["Target"] for network in proxy["TaskTemplate"].get("Networks") or ())
    networks = {offers.thing(NETWORK, network_names.get(target, target)) for target in attached}
    return offers.offered(arguments(proxy)) | networks


def arguments(proxy: Json) -> list[str]:
    """How a service's process is called."""
    container = proxy["TaskTemplate"]["ContainerSpec"]
    return [*(container.get("Command") or ()), *(container.get("Args") or ())]


def needed(own: Mapping[str, str]) -> frozenset[Named]:
    """What the labels of a service need of the proxy."""
    named = [v for k, v in own.items() if is_routed(own) and _NEEDS_NETWORK.fullmatch(k)]
    names = {name.strip() for value in named for name in value.split(",")}
    return offers.needed(own) | {offers.thing(NETWORK, name) for name in names if name}


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
