"""Nodes of the double: what they have, what they hold, and which of them takes an allocation. Pure.

Follows `scheduler/feasible/` as far as jobs of deploytool go: constraints, memory, ports, and a
spread over the nodes.
"""

from __future__ import annotations

import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.nomad_double.state import Json
from tests.nomad_double.variables import Refusal

DYNAMIC_PORTS = range(20_000, 32_001)
"""client.min_dynamic_port and max_dynamic_port by default."""
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "is": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "regexp": lambda left, right: re.search(right, left) is not None,
    "semver": lambda left, right: _is_at_least(left, right),
}
REGISTERED = "2026-01-02T03:04:05Z"
OF_STUBS = (
    *("ID", "Name", "Datacenter", "NodeClass", "NodePool", "Status", "StatusDescription"),
    *("SchedulingEligibility", "Drain", "LastDrain", "Drivers", "CreateIndex", "ModifyIndex"),
)
DISTINCT = ("distinct_hosts", "distinct_property")


def _is_at_least(left: str, right: str) -> bool:
    """The one form that servers add by themselves: ">= 1.4.0"."""
    operator, _, version = right.partition(" ")
    if operator != ">=":
        raise Refusal(501, f"the double does not know the versions {right}")
    return _numbers(left) >= _numbers(version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split("."))


def _attributes() -> dict[str, str]:
    """`volumes.enabled` is there only if it is so (drivers/docker/fingerprint.go)."""
    return {
        "cpu.arch": "amd64",
        "driver.docker": "1",
        "driver.docker.volumes.enabled": "true",
        "kernel.name": "linux",
        "nomad.service_discovery": "true",
        "nomad.version": "2.0.6",
        "os.name": "debian",
    }


@dataclass
class Node:
    name: str = "node-1"
    address: str = "127.0.0.1"
    engine: str | None = None
    """Address of the Docker engine that runs its tasks; they are scripted without one."""
    docker: str = "docker"
    """The engine's command line."""
    memory: int = 10_000
    """MiB"""
    cpu: int = 8_000
    """MHz"""
    meta: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=_attributes)
    status: str = "ready"
    eligible: bool = True
    drain: Json | None = None
    """How it is being drained, while it is."""
    index: int = 5

    @cached_property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))

    @property
    def takes_tasks(self) -> bool:
        return self.status == "ready" and self.eligible

    def value(self, target: str) -> str | None:
        """What a constraint's `${…}` is here; None where the node has none of it."""
        name = target.removeprefix("${").removesuffix("}")
        known = {
            "node.unique.id": self.id,
            "node.unique.name": self.name,
            "attr.unique.hostname": self.name,
            "node.datacenter": "dc1",
            "node.pool": "default",
            "node.class": "",
        }
        if name in known:
            return known[name]
        kind, _, rest = name.partition(".")
        return {"attr": self.attributes, "meta": self.meta}.get(kind, {}).get(rest)

    def document(self, http_address: str, version: str) -> Json:
        """The whole node (nomad/structs/structs.go, Node)."""
        del version
        return {
            "ID": self.id,
            "Name": self.name,
            "HTTPAddr": http_address,
            "TLSEnabled": False,
            "Datacenter": "dc1",
            "NodeClass": "",
            "NodePool": "default",
            "ComputedClass": "",
            "CgroupParent": "",
            "Status": self.status,
            "StatusDescription": "",
            "StatusUpdatedAt": 0,
            "SchedulingEligibility": "eligible" if self.eligible else "ineligible",
            "Drain": self.drain is not None,
            "DrainStrategy": self.drain,
            "LastDrain": None,
            "Attributes": {"unique.hostname": self.name} | self.attributes,
            "Meta": self.meta,
            "Links": None,
            "Events": [
                {
                    "CreateIndex": 5,
                    "Details": None,
                    "Message": "Node registered",
                    "Subsystem": "Cluster",
                    "Timestamp": REGISTERED,
                }
            ],
            "Drivers": {"docker": self._driver()},
            "Resources": None,
            "Reserved": None,
            "HostNetworks": None,
            "HostVolumes": None,
            "CSIControllerPlugins": None,
            "CSINodePlugins": None,
            **self._resources(),
            "CreateIndex": 5,
            "ModifyIndex": self.index,
        }

    def stub(self, version: str, *, resources: bool, system: bool) -> Json:
        """A node in a list: resources, and of its attributes `os.name`, only where somebody asks
        for them, and no metadata (nomad/structs/structs.go, Node.Stub)."""
        whole = self.document("", version)
        shown = {name: whole[name] for name in OF_STUBS} | {
            "Address": self.address,
            "Version": version,
        }
        if resources:
            shown |= self._resources()
        if system:
            shown["Attributes"] = {"os.name": self.attributes.get("os.name", "")}
        return shown

    def _driver(self) -> Json:
        found = {name: v for name, v in self.attributes.items() if name.startswith("driver.docker")}
        return {
            "Attributes": found or None,
            "Detected": bool(found),
            "Healthy": "driver.docker" in self.attributes,
            "HealthDescription": "Healthy" if "driver.docker" in self.attributes else "",
            "UpdateTime": REGISTERED,
        }

    def _resources(self) -> Json:
        return {
            "NodeResources": {
                "Cpu": {
                    "CpuShares": self.cpu,
                    "TotalCpuCores": -(-self.cpu // 2_000),
                    "ReservableCpuCores": None,
                },
                "Memory": {"MemoryMB": self.memory},
                "Disk": {"DiskMB": 50_000},
                "Networks": None,
                "NodeNetworks": None,
                "Devices": None,
                "MinDynamicPort": DYNAMIC_PORTS.start,
                "MaxDynamicPort": DYNAMIC_PORTS.stop - 1,
            },
            "ReservedResources": {
                "Cpu": {"CpuShares": 0},
                "Memory": {"MemoryMB": 0},
                "Disk": {"DiskMB": 0},
                "Networks": {"ReservedHostPorts": ""},
            },
        }


@dataclass(frozen=True)
class Spot:
    """Where an allocation goes, and its ports there."""

    node: Node
    ports: tuple[Json, ...] = ()
    """As `AllocatedResources.Shared.Ports`."""
    metric: Json = field(default_factory=dict)
    """As an AllocationMetric."""


@dataclass
class Usage:
    """What is taken while allocations are placed one after the other."""

    memory: Counter[str] = field(default_factory=Counter)
    """Node id → MiB that are reserved there."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Node id and what is spread together → allocations."""
    ports: set[tuple[str, int]] = field(default_factory=set)
    """Node id and port."""
    closing: set[tuple[str, int]] = field(default_factory=set)
    """Those of allocations that are about to be stopped."""

    def add(self, node: str, together: str, group: Json) -> None:
        self.memory[node] += memory(group)
        self.counts[node, together] += 1

    def take(self, spot: Spot, together: str, group: Json) -> None:
        self.add(spot.node.id, together, group)
        self.ports |= {(spot.node.id, int(port["Value"])) for port in spot.ports}


def memory(group: Json) -> int:
    """MiB that an allocation of a group reserves."""
    tasks = group.get("Tasks") or ()
    return sum(int((task.get("Resources") or {}).get("MemoryMB") or 0) for task in tasks)


def choose(nodes: Sequence[Node], job: Json, group: Json, usage: Usage) -> Spot | Json:
    """Where an allocation goes: of the nodes that can take it, the one that has the fewest of its
    group; or why it goes nowhere, as an AllocationMetric."""
    together = key_of(job, group)
    ready = [node for node in nodes if node.takes_tasks]
    metric: Json = {
        "NodesEvaluated": len(ready),
        "NodesFiltered": 0,
        "NodesInPool": len(ready),
        "NodePool": "default",
        "NodesAvailable": {"dc1": len(ready)},
        "ClassFiltered": None,
        "ConstraintFiltered": None,
        "NodesExhausted": 0,
        "ClassExhausted": None,
        "DimensionExhausted": None,
        "QuotaExhausted": None,
        "ResourcesExhausted": None,
        "ScoreMetaData": None,
        "Scores": None,
        "AllocationTime": 0,
        "CoalescedFailures": 0,
    }
    found = []
    for node in ready:
        if unmet := unmet_constraint(node, job, group, usage):
            _count(metric, "NodesFiltered", "ConstraintFiltered", unmet)
        elif lacking := _lacking(node, group, usage):
            _count(metric, "NodesExhausted", "DimensionExhausted", lacking)
        else:
            found.append(node)
    if not found:
        return metric
    best = min(found, key=lambda node: (usage.counts[node.id, together], usage.memory[node.id]))
    return Spot(best, tuple(_ports(best, group, usage)), metric)


def key_of(job: Json, group: Json) -> str:
    return f"{job['Namespace']}/{job['ID']}/{group['Name']}"


def _count(metric: Json, total: str, table: str, reason: str) -> None:
    metric[total] += 1
    metric[table] = (metric[table] or {}) | {reason: (metric[table] or {}).get(reason, 0) + 1}


def unmet_constraint(node: Node, job: Json, group: Json, usage: Usage) -> str | None:
    """The first constraint that a node does not meet, as ConstraintFiltered writes it. The driver
    of a task is one (scheduler/feasible/feasible.go)."""
    if "driver.docker" not in node.attributes:
        return "missing drivers"
    for constraint in _constraints(job, group):
        operand, right = constraint.get("Operand") or "=", constraint.get("RTarget") or ""
        left = constraint.get("LTarget") or ""
        if operand in DISTINCT:
            most = 1 if operand == "distinct_hosts" else int(right or 1)
            if usage.counts[node.id, key_of(job, group)] >= most:
                return operand if operand == "distinct_hosts" else f"{operand}: {left}"
            continue
        if operand not in OPERATORS:
            raise Refusal(501, f"the double does not know constraints with {operand}")
        value = node.value(left) if left.startswith("${") else left
        if value is None and operand == "!=":
            continue
        if value is None or not OPERATORS[operand](value, right):
            return f"{left} {operand} {right}"
    return None


def _constraints(job: Json, group: Json) -> Iterator[Json]:
    yield from job.get("Constraints") or ()
    yield from group.get("Constraints") or ()
    for task in group.get("Tasks") or ():
        yield from task.get("Constraints") or ()


def _lacking(node: Node, group: Json, usage: Usage) -> str | None:
    if usage.memory[node.id] + memory(group) > node.memory:
        return "memory"
    wanted = {int(port["Value"]) for port in _of_networks(group, "ReservedPorts")}
    if any((node.id, port) in usage.ports for port in wanted):
        return "network: port collision"
    return None


def _ports(node: Node, group: Json, usage: Usage) -> Iterator[Json]:
    """Dynamic ones by chance, as Nomad does (nomad/structs/network.go, getDynamicPortsStochastic):
    those that are about to be free have a listener for a while."""
    busy = usage.ports | usage.closing
    free = (
        port
        for port in random.sample(DYNAMIC_PORTS, len(DYNAMIC_PORTS))
        if (node.id, port) not in busy
    )
    for kind in ("ReservedPorts", "DynamicPorts"):
        for port in _of_networks(group, kind):
            value = int(port["Value"]) if kind == "ReservedPorts" else next(free)
            yield {
                "Label": port["Label"],
                "Value": value,
                "To": int(port.get("To") or value),
                "HostIP": node.address,
            }


def _of_networks(group: Json, kind: str) -> Iterable[Json]:
    for network in group.get("Networks") or ():
        yield from network.get(kind) or ()
