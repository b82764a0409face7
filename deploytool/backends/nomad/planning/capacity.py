"""Nodes and allocations as Nomad lists them → nodes with what is left on them. Pure.

Field names are those of `GET /v1/nodes?resources=true` and `GET /v1/allocations?resources=true`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from deploytool.backends.model import Amount
from deploytool.capacity import Node
from deploytool.json_types import Json

MIB = 2**20
LIVE = frozenset({"pending", "running"})
OUTSIDE = "outside of nomad.datacenters or nomad.node_pool"
NO_NODE_HINT = "change its placement, or let a node take it: nomad node status -verbose"


def holds_resources(allocation: Json) -> bool:
    return allocation.get("DesiredStatus") == "run" and allocation.get("ClientStatus") in LIVE


def taken_by(allocation: Json, mhz_per_core: int) -> Amount:
    """What an allocation reserves, all its tasks together."""
    tasks = ((allocation.get("AllocatedResources") or {}).get("Tasks") or {}).values()
    mhz = sum((task.get("Cpu") or {}).get("CpuShares") or 0 for task in tasks)
    memory = sum((task.get("Memory") or {}).get("MemoryMB") or 0 for task in tasks)
    return Amount(memory=memory * MIB, cpu=mhz / mhz_per_core)


@dataclass(frozen=True)
class Where:
    """The nodes that a job may use."""

    datacenters: Sequence[str] = ("*",)
    """Names, with * for any part of one."""
    pool: str = "all"

    def has(self, node: Json) -> bool:
        is_near = any(fnmatchcase(str(node.get("Datacenter")), name) for name in self.datacenters)
        return is_near and self.pool in (node.get("NodePool") or "default", "all")


ANYWHERE = Where()


def read_nodes(
    nodes: Iterable[Json], allocations: Iterable[Json], mhz_per_core: int, where: Where = ANYWHERE
) -> list[Node]:
    """The nodes with what the allocations on them leave of what they have, sorted by name."""
    taken: defaultdict[str, Amount] = defaultdict(Amount)
    for allocation in filter(holds_resources, allocations):
        taken[allocation["NodeID"]] += taken_by(allocation, mhz_per_core)
    found = [_node(node, taken[node["ID"]], mhz_per_core, where) for node in nodes]
    return sorted(found, key=lambda node: node.hostname)


def clock_warnings(nodes: Iterable[Json], mhz_per_core: int) -> Iterator[str]:
    """Where a core of the slowest node is far from what the configuration takes it for."""
    found = sorted(filter(None, map(mhz_of_a_core, nodes)))
    if found and is_far(found[0], mhz_per_core):
        yield (
            f"A core has {found[0]} MHz on the slowest node and {found[-1]} on the fastest, and "
            f"nomad.mhz_per_core is {mhz_per_core}, so that `cpu = 1` is no core; set "
            f"nomad.mhz_per_core = {found[0]}"
        )


def mhz_of_a_core(node: Json) -> int:
    """0 where the node does not say."""
    cpu = (node.get("NodeResources") or {}).get("Cpu") or {}
    cores = int(cpu.get("TotalCpuCores") or 0)
    return int(cpu.get("CpuShares") or 0) // cores if cores else 0


def is_far(mhz: int, mhz_per_core: int) -> bool:
    return abs(mhz - mhz_per_core) > mhz_per_core / 4


def _node(node: Json, taken: Amount, mhz_per_core: int, where: Where) -> Node:
    attributes: Mapping[str, str] = node.get("Attributes") or {}
    total = _usable(node, mhz_per_core)
    why_not = _why_not(node) or ("" if where.has(node) else OUTSIDE)
    return Node(
        id=node["ID"],
        hostname=node.get("Name") or node["ID"],
        attributes=_known(node),
        is_known=False,
        architecture=attributes.get("cpu.arch", ""),
        system=attributes.get("kernel.name", ""),
        usable=not why_not,
        why_not=why_not,
        cpu=total.cpu,
        memory=total.memory,
        free_cpu=total.cpu - taken.cpu,
        free_memory=total.memory - taken.memory,
    )


def _known(node: Json) -> dict[str, str]:
    """What constraints may ask of a node, as far as a list of nodes tells it."""
    attributes: Mapping[str, str] = node.get("Attributes") or {}
    name = str(node.get("Name") or "")
    return {f"attr.{key}": str(value) for key, value in attributes.items()} | {
        "node.id": node["ID"],
        "node.unique.id": node["ID"],
        "node.unique.name": name,
        "node.hostname": attributes.get("unique.hostname") or name,
        "node.class": str(node.get("NodeClass") or ""),
        "node.datacenter": str(node.get("Datacenter") or ""),
        "node.pool": str(node.get("NodePool") or ""),
    }


def _usable(node: Json, mhz_per_core: int) -> Amount:
    """What a node has for allocations: without what its operator reserved."""
    has, reserved = node.get("NodeResources") or {}, node.get("ReservedResources") or {}
    mhz = _at(has, "Cpu", "CpuShares") - _at(reserved, "Cpu", "CpuShares")
    memory = _at(has, "Memory", "MemoryMB") - _at(reserved, "Memory", "MemoryMB")
    return Amount(memory=memory * MIB, cpu=mhz / mhz_per_core)


def _at(resources: Json, kind: str, name: str) -> int:
    return int((resources.get(kind) or {}).get(name) or 0)


def _why_not(node: Json) -> str:
    """Why a node takes no allocations; empty for one that does."""
    if node.get("Status") != "ready":
        return str(node.get("Status") or "unknown")
    if node.get("Drain"):
        return "drained"
    return "" if node.get("SchedulingEligibility") == "eligible" else "ineligible"
