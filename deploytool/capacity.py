"""Whether the nodes of a cluster can take what a release asks for. Pure arithmetic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from deploytool.backends.model import (
    BAND,
    Amount,
    Capacity,
    Level,
    NodeCapacity,
    ServiceCapacity,
    Share,
)
from deploytool.errors import PlanError
from deploytool.spec import Image, Service
from deploytool.units import format_memory

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""What kernels call them → what images do."""
ADDRESS = "node.ip"
LABELS = ("node.labels.", "engine.labels.")
NO_LOG = "none"
"""The driver that needs none."""


@dataclass(frozen=True)
class Node:
    """A node and what is left on it."""

    id: str
    hostname: str
    attributes: Mapping[str, str]
    """What constraints are held against."""
    architecture: str
    system: str
    usable: bool
    why_not: str
    cpu: float
    memory: int
    free_cpu: float
    free_memory: int
    is_known: bool = True
    """Whether an attribute that is not among these is one that the node does not have."""
    log_drivers: frozenset[str] = frozenset()
    """Those that its engine has; empty where nobody says."""

    def has_log_driver(self, name: str) -> bool:
        """Whether replicas that log by it are placed there."""
        found = {name, f"{name}:latest"} & self.log_drivers
        return name == NO_LOG or not self.log_drivers or bool(found)

    def take(self, cpu: float, memory: int, count: int) -> Node:
        return replace(
            self,
            free_cpu=self.free_cpu - cpu * count,
            free_memory=self.free_memory - memory * count,
        )

    def fits(self, cpu: float, memory: int) -> int:
        """How many replicas of that size it can take."""
        by_cpu = int((self.free_cpu + 1e-9) // cpu) if cpu else 10_000
        by_memory = self.free_memory // memory if memory else 10_000
        return max(0, min(by_cpu, by_memory))


def size(service: Service) -> Amount:
    """What each replica of a service is to reserve."""
    return Amount(memory=service.memory or 0, cpu=service.cpu or 0.0)


def eligible(nodes: Sequence[Node], service: Service, image: Image, *, hint: str) -> list[Node]:
    """The nodes on which a replica may run. Raises PlanError, with a hint, when there are none, or
    one replica is to run on each and one of them cannot run the image."""
    reasons = {node.hostname: _why_not(node, service, image) for node in nodes}
    found = [node for node in nodes if not reasons[node.hostname]]
    if not found:
        raise PlanError(
            f"No node can run {service.name}",
            code="no_suitable_node",
            hint=hint,
            details=[f"{name}: {why}" for name, why in reasons.items()],
        )
    if service.is_global:
        _check_every_node(nodes, service, image)
    return found


def _check_every_node(nodes: Sequence[Node], service: Service, image: Image) -> None:
    """A cluster sends a replica to each node that the constraints allow, and lets it wait there for
    ever where the node is not of the image's platform, or has no such log driver."""
    allowed = (node for node in nodes if node.usable and not _why_excluded(node, service))
    for node in allowed:
        if why := _why_unfit(node, service, image):
            has_driver = node.has_log_driver(service.logging.driver)
            fix = "build the image for that platform too" if has_driver else "install its plugin"
            raise PlanError(
                f"{service.name} is to run on each node, and {node.hostname} {why}",
                code="no_suitable_node",
                hint=f"{fix}, or leave the node out with placement.constraints, for example "
                f'"node.hostname != {node.hostname}"',
            )


def _why_not(node: Node, service: Service, image: Image) -> str:
    if not node.usable:
        return f"is {node.why_not}"
    return why_never(node, service, image)


def why_never(node: Node, service: Service, image: Image) -> str:
    """What keeps a replica from a node that takes others; empty for nothing."""
    return _why_excluded(node, service) or _why_unfit(node, service, image)


def _why_excluded(node: Node, service: Service) -> str:
    for constraint in service.placement.constraints:
        if not _meets(node, constraint):
            found = node.attributes.get(parts_of(constraint)[0])
            return f"does not meet {constraint}" + (f": it has {found}" if found else "")
    return ""


def _why_unfit(node: Node, service: Service, image: Image) -> str:
    if not node.has_log_driver(service.logging.driver):
        return f"has no log driver {service.logging.driver}"
    if image.platforms and not any(_runs(node, platform) for platform in image.platforms):
        built_for = ", ".join(f"{system}/{arch}" for arch, system in image.platforms)
        return f"is {node.system}/{node.architecture}; the image is for {built_for}"
    return ""


def _runs(node: Node, platform: tuple[str, str]) -> bool:
    architecture, system = platform
    same = ARCHITECTURES.get(architecture, architecture) == node.architecture
    return same and system == node.system


def _meets(node: Node, constraint: str) -> bool:
    """As a Swarm compares them (moby/swarmkit, manager/constraint); keys that there are not are
    refused before."""
    key, operator, value = parts_of(constraint)
    if not node.is_known:
        found = node.attributes.get(key)
        return found is None or (found.lower() == value.lower()) == (operator == "==")
    key = folded(key)
    found = node.attributes.get(key, "")
    equal = _is_within(found, value) if key == ADDRESS else found.lower() == value.lower()
    return equal == (operator == "==")


def parts_of(constraint: str) -> tuple[str, str, str]:
    """Its key, operator and value."""
    key, operator, value = re.split("(==|!=)", constraint, maxsplit=1)
    return key.strip(), operator, value.strip()


def folded(key: str) -> str:
    """The key of a constraint as nodes have it: only the names of labels keep their capitals."""
    for prefix in LABELS:
        if key.lower().startswith(prefix):
            return prefix + key[len(prefix) :]
    return key.lower()


def _is_within(address: str, network: str) -> bool:
    """Whether an address is the wanted one, or in the wanted network."""
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False


@dataclass(frozen=True)
class Demand:
    """Replicas of one service that have to find a place."""

    service: Service
    image: Image
    count: int
    what: str
    present: Mapping[str, int] = field(default_factory=dict)
    """Node → replicas of the service that stay on it meanwhile."""
    beside: bool = False
    """Whether stopping the old ones first would do without."""
    each: frozenset[str] | None = None
    """The nodes that need room for one each, at the same time or in turn; None where it does not
    matter which nodes have room."""

    def room(self, node: Node) -> int:
        """How many of them a node can take."""
        room = node.fits(self.service.cpu or 0.0, self.service.memory or 0)
        most = self.service.placement.max_per_node
        return max(0, min(room, most - self.present.get(node.id, 0))) if most else room


def check_fit(nodes: Sequence[Node], demands: Sequence[Demand], *, hint: str) -> None:
    """Place every demand, first those that cannot choose, then the largest. Raises PlanError, with
    the arithmetic, when one does not fit; `hint` is for one that no node may run."""
    free = {node.id: node for node in nodes}
    for demand in sorted(demands, key=lambda d: (d.each is None, -(d.service.memory or 0))):
        service = demand.service
        if demand.each is not None:
            free |= _on_each([n for n in free.values() if n.id in demand.each], demand)
            continue
        if not demand.count:
            continue
        cpu, memory = service.cpu or 0.0, service.memory or 0
        candidates = eligible(list(free.values()), service, demand.image, hint=hint)
        left = demand.count
        for node in sorted(candidates, key=lambda n: -n.free_memory):
            count = min(left, demand.room(node))
            free[node.id] = node.take(cpu, memory, count)
            left -= count
        if left:
            raise _does_not_fit(demand, left, candidates)


def _on_each(nodes: Sequence[Node], demand: Demand) -> dict[str, Node]:
    """The nodes with one replica more on each, by id. Raises PlanError where one has no room."""
    service = demand.service
    full = [node for node in nodes if not demand.room(node)]
    if full:
        raise _no_room_on_each(demand, full, nodes)
    return {node.id: node.take(service.cpu or 0.0, service.memory or 0, 1) for node in nodes}


def _no_room_on_each(demand: Demand, full: Sequence[Node], nodes: Sequence[Node]) -> PlanError:
    service = demand.service
    names = ", ".join(node.hostname for node in full)
    beside = " beside the old one" if demand.beside else ""
    way_out = STOP_FIRST if demand.beside else ""
    return PlanError(
        f"{service.name} is to run on each node, and {names} has no room for a replica{beside}: "
        f"each reserves {_reserves(service)}",
        code="does_not_fit",
        hint=f"{way_out}lower memory or cpu, make room, or leave nodes out with "
        "placement.constraints",
        details=_rooms(demand, nodes),
    )


STOP_FIRST = 'set update.order = "stop-first", '


def _does_not_fit(demand: Demand, left: int, candidates: Sequence[Node]) -> PlanError:
    service = demand.service
    per_node = service.placement.max_per_node
    limit = f", at most {per_node} on a node" if per_node else ""
    way_out = STOP_FIRST if demand.beside else ""
    return PlanError(
        f"{left} of {demand.count} {demand.what} of {service.name} do not fit: each reserves "
        f"{_reserves(service)}{limit}",
        code="does_not_fit",
        hint=f"{way_out}lower replicas, memory or cpu, add a node, or make room",
        details=_rooms(demand, candidates),
    )


def _reserves(service: Service) -> str:
    cpu, memory = service.cpu or 0.0, service.memory or 0
    parts = (
        f"{format_memory(memory)} of memory" if memory else "",
        f"{cpu:g} cores" if cpu else "",
    )
    return " and ".join(part for part in parts if part) or "nothing"


def _rooms(demand: Demand, nodes: Sequence[Node]) -> list[str]:
    return [
        f"{node.hostname}: {_mebibytes(node.free_memory)} of {_mebibytes(node.memory)} and "
        f"{node.free_cpu:g} of {node.cpu:g} cores free, takes {demand.room(node)}"
        for node in nodes
    ]


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f}MiB"


def describe(
    nodes: Sequence[Node],
    services: Sequence[Service],
    placed: Mapping[str, Mapping[str, int]],
    used: Mapping[str, Sequence[Amount]],
    measured: Mapping[str, Amount],
    *,
    unmeasured: str = "",
) -> Capacity:
    """What the nodes have and how much more they take.

    `placed` is service → node → its replicas there; `used` is service → what each measured
    replica uses; `measured` is node → what its containers use, for the nodes that were measured,
    and `unmeasured` why others were not.
    """
    described = tuple(
        _describe(node, services, placed, measured.get(node.id), unmeasured) for node in nodes
    )
    takes = [node for node in nodes if node.usable]
    known = [measured[node.id] for node in takes if node.id in measured]
    total = sum(known, Amount()) if len(known) == len(takes) else None
    memory, cpu = _shares(takes, total)
    return Capacity(
        nodes=described,
        services=tuple(
            _describe_service(service, described, used.get(service.name, ()))
            for service in services
        ),
        memory=memory,
        cpu=cpu,
        level=_worse(memory.level, cpu.level),
    )


def _describe(
    node: Node,
    services: Sequence[Service],
    placed: Mapping[str, Mapping[str, int]],
    use: Amount | None,
    unmeasured: str,
) -> NodeCapacity:
    memory, cpu = _shares([node], use)
    return NodeCapacity(
        node=node.hostname,
        state="active" if node.usable else node.why_not,
        memory=memory,
        cpu=cpu,
        level=_worse(memory.level, cpu.level),
        unmeasured="" if use else unmeasured,
        fits={s.name: _more(node, s, placed.get(s.name, {})) for s in services},
    )


def _shares(nodes: Sequence[Node], use: Amount | None) -> tuple[Share, Share]:
    memory = _share(
        sum(node.memory for node in nodes),
        sum(node.free_memory for node in nodes),
        use.memory if use else None,
    )
    cpu = _share(
        sum(node.cpu for node in nodes),
        round(sum(node.free_cpu for node in nodes), 9),
        round(use.cpu, 3) if use else None,
    )
    return memory, cpu


def _share(total: float, free: float, used: float | None) -> Share:
    taken = total - free
    return Share(
        total=total,
        reserved=round(taken, 9),
        free=free,
        used=used,
        level=level((taken if used is None else used) / total if total else 0.0),
    )


def level(share: float) -> Level:
    """Where a share from 0 to 1 is, against the band."""
    low, high = BAND
    return Level.BELOW if share < low else Level.ABOVE if share > high else Level.WITHIN


def _worse(memory: Level, cpu: Level) -> Level:
    both = {memory, cpu}
    if Level.ABOVE in both:
        return Level.ABOVE
    return Level.BELOW if both == {Level.BELOW} else Level.WITHIN


ANY_PLATFORM = Image(reference="", tag="")


def _more(node: Node, service: Service, present: Mapping[str, int]) -> int | None:
    """How many more replicas of a service a node takes; None is no limit."""
    if _why_not(node, service, ANY_PLATFORM):
        return 0
    if service.is_global:
        fits = node.fits(service.cpu or 0.0, service.memory or 0)
        return int(fits > 0 and not present.get(node.id))
    if not (service.cpu or service.memory or service.placement.max_per_node):
        return None
    return Demand(service, ANY_PLATFORM, 0, "replicas", present).room(node)


def _describe_service(
    service: Service, nodes: Sequence[NodeCapacity], used: Sequence[Amount]
) -> ServiceCapacity:
    fits = [node.fits[service.name] for node in nodes]
    total = sum(used, Amount())
    return ServiceCapacity(
        service=service.name,
        reserved=size(service),
        used=Amount(memory=total.memory // len(used), cpu=round(total.cpu / len(used), 3))
        if used
        else None,
        measured=len(used),
        fits=None if None in fits else sum(count or 0 for count in fits),
    )
