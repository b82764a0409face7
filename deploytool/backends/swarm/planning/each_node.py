"""Services with one replica on each node: what they need, and what a Swarm does not do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploytool import capacity
from deploytool.backends.swarm.planning.capacity import NO_NODE_HINT
from deploytool.backends.swarm.planning.diff import is_global
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.capacity import Demand, Node
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Image, Service


def check_modes(app: AppSpec, live: Mapping[str, Json]) -> None:
    """Raises PlanError where the mode of a service changes, which Swarms refuse (`UpdateService` in
    swarmkit's manager/controlapi/service.go). `live` is by full name."""
    for service in app.services:
        name = swarm.service_name(app.name, service.name)
        if name in live and is_global(live[name]["Spec"]) != service.is_global:
            before = "replicated" if service.is_global else "global"
            raise PlanError(
                f'{service.name} runs with mode = "{before}", and a Swarm does not change the mode '
                "of a service that runs",
                code="mode_change",
                hint="give it another name, and the deploy removes this one when the other runs; "
                f"or, if it may be away meanwhile, remove it first: docker service rm {name}",
            )


@dataclass(frozen=True)
class OnEach:
    """What a service needs of its nodes."""

    first: Demand
    """When a rollout begins."""
    last: Demand
    """When it ends."""
    overlap: int
    """Old replicas that run beside new ones at the same time."""


def on_each(
    service: Service,
    image: Image,
    nodes: Sequence[Node],
    present: Mapping[str, int],
    *,
    replaces: bool,
) -> OnEach:
    """Each node has to have room for its own replica, which cannot go elsewhere; start-first for
    the new one beside the old one, whenever its turn is. Raises PlanError where no node may run
    it."""
    allowed = {n.id for n in capacity.eligible(nodes, service, image, hint=NO_NODE_HINT)}
    running = allowed & present.keys()
    missing = allowed - running
    overlap = min(service.surge, len(running)) if replaces else 0
    first = Demand(
        service,
        image,
        len(missing) + overlap,
        "replicas",
        beside=overlap > 0,
        each=frozenset(allowed if overlap else missing),
    )
    every = Demand(service, image, len(allowed), "replicas", each=frozenset(allowed))
    return OnEach(first, every if replaces else first, overlap)


def count(service: Service, image: Image, nodes: Iterable[Node]) -> int:
    """How many replicas it has on these nodes."""
    return sum(node.usable and not capacity.why_never(node, service, image) for node in nodes)


def paused_warnings(
    services: Iterable[tuple[str, Json]],
    nodes: Iterable[Json],
    placed: Mapping[str, Mapping[str, int]],
) -> Iterator[str]:
    """A Swarm does not replace replicas on nodes that are paused. `services` are those whose
    replicas a plan replaces, by name, as they are."""
    paused = {
        node["ID"]: node["Description"]["Hostname"]
        for node in nodes
        if node["Spec"]["Availability"] == "pause"
    }
    for name, live in services:
        on = placed.get(live["ID"], {}) if is_global(live["Spec"]) else ()
        if kept := sorted(paused[node] for node in on if node in paused):
            yield (
                f"{name} stays as it is on {', '.join(kept)}, paused, until "
                "`docker node update --availability active`"
            )
