"""The engine's nodes and tasks → nodes with their free memory and cores. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from deploytool.backends.model import Amount
from deploytool.capacity import ARCHITECTURES, Node
from deploytool.json_types import Json

LIVE_STATES = (
    *("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"),
)
NO_NODE_HINT = (
    "change its placement, label a node (docker node update --label-add), or build the image for "
    "the nodes' platform"
)
UNMEASURED = "only a node's own engine measures its containers"


def reserved(template: Json) -> Amount:
    """The reservation of each replica of a TaskTemplate."""
    found = (template.get("Resources") or {}).get("Reservations") or {}
    return Amount(memory=found.get("MemoryBytes", 0), cpu=found.get("NanoCPUs", 0) / 10**9)


def read_nodes(nodes: Iterable[Json], tasks: Iterable[Json]) -> list[Node]:
    """The nodes with what the tasks on them leave of what they have, sorted by name."""
    cpu: defaultdict[str, float] = defaultdict(float)
    memory: defaultdict[str, int] = defaultdict(int)
    for task in tasks:
        if task["Status"]["State"] in LIVE_STATES and task.get("NodeID"):
            amount = reserved(task["Spec"])
            cpu[task["NodeID"]] += amount.cpu
            memory[task["NodeID"]] += amount.memory
    found = [_node(node, cpu[node["ID"]], memory[node["ID"]]) for node in nodes]
    return sorted(found, key=lambda node: node.hostname)


def _node(node: Json, cpu: float, memory: int) -> Node:
    description, spec = node["Description"], node["Spec"]
    resources = description.get("Resources", {})
    state, availability = node["Status"]["State"], spec["Availability"]
    platform = description.get("Platform", {})
    machine = platform.get("Architecture", "")
    architecture, system = ARCHITECTURES.get(machine, machine), platform.get("OS", "")
    labels = {f"node.labels.{k}": v for k, v in (spec.get("Labels") or {}).items()}
    engine = (description.get("Engine") or {}).get("Labels") or {}
    labels |= {f"engine.labels.{k}": v for k, v in engine.items()}
    total_cpu = resources.get("NanoCPUs", 0) / 10**9
    total_memory = resources.get("MemoryBytes", 0)
    return Node(
        id=node["ID"],
        hostname=description.get("Hostname", node["ID"]),
        architecture=architecture,
        system=system,
        attributes=labels
        | {
            "node.id": node["ID"],
            "node.hostname": description.get("Hostname", ""),
            "node.role": spec["Role"],
            "node.platform.arch": machine,
            "node.platform.os": system,
            "node.ip": node["Status"].get("Addr", ""),
        },
        usable=state == "ready" and availability == "active",
        why_not=state if state != "ready" else availability,
        cpu=total_cpu,
        memory=total_memory,
        free_cpu=total_cpu - cpu,
        free_memory=total_memory - memory,
        log_drivers=frozenset(_log_drivers(description.get("Engine") or {})),
    )


def _log_drivers(engine: Json) -> Iterator[str]:
    for plugin in engine.get("Plugins") or ():
        if plugin.get("Type") == "Log":
            yield plugin["Name"]
