"""Why the scheduler finds no node, in words, and what to do about it. Pure.

The numbers are an AllocationMetric's (nomad/structs/structs.go, AllocMetric), as dry runs and
evaluations have them. Names of what filters are those of scheduler/feasible/feasible.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploytool.json_types import Json

DIMENSIONS = {
    "cpu": "CPU",
    "memory": "memory",
    "disk": "disk",
    "cores": "cores",
    "network: port collision": "the port, which is taken",
}
DRIVER = "missing drivers"
VOLUMES = "${attr.driver.docker.volumes.enabled} = true"
LACKING = {
    DRIVER: "have a healthy Docker driver",
    VOLUMES: "allow volumes",
    "distinct_hosts": "have room for another replica beside the one that it has (max_per_node)",
}
"""What keeps allocations from a node → what it does not do, in our words."""
MAKE_ROOM = (
    "lower replicas, memory or cpu, change the placement, add a node, or make room: "
    "deploytool capacity"
)


def why_unplaced(metric: Json) -> str:
    """One line: how many nodes were looked at, and what keeps an allocation from them."""
    reasons = ", ".join(_reasons(metric))
    evaluated = metric.get("NodesEvaluated") or 0
    if not evaluated:
        return "no node takes it: none is ready in its datacenters and node pool"
    return f"no node takes it, of {evaluated} that were asked: {reasons or 'no reason was given'}"


def lacks_room(metrics: Iterable[Json]) -> bool:
    """Whether a node would take them that had more left."""
    return any(m.get("DimensionExhausted") or m.get("QuotaExhausted") for m in metrics)


def way_out(metrics: Iterable[Json]) -> str:
    """What to do, so that the groups of some metrics are placed."""
    hints: dict[str, None] = {}
    for metric in metrics:
        hints |= dict.fromkeys(_hints(metric))
    return "; ".join(hints) or MAKE_ROOM


def _hints(metric: Json) -> Iterator[str]:
    filters = (metric.get("ConstraintFiltered") or {}).keys()
    if not metric.get("NodesEvaluated"):
        yield "see datacenters and node_pool in [tool.deploytool.nomad]: nomad node status"
    if DRIVER in filters:
        yield "start the engine of a node: deploytool doctor names them"
    if VOLUMES in filters:
        yield (
            'give a client plugin "docker" { config { volumes { enabled = true } } }, or leave '
            "volumes out"
        )
    if filters - {DRIVER, VOLUMES}:
        yield "change the placement, or a client: nomad node status -verbose"
    if lacks_room([metric]):
        yield MAKE_ROOM


def _reasons(metric: Json) -> Iterator[str]:
    for name, count in sorted((metric.get("ConstraintFiltered") or {}).items()):
        yield f"{_nodes(count)} not {LACKING.get(name) or f'meet {name}'}"
    for name, count in sorted((metric.get("ClassFiltered") or {}).items()):
        yield f"{_nodes(count)} not fit as {name}"
    for name, count in sorted((metric.get("DimensionExhausted") or {}).items()):
        yield f"{_nodes(count)} not have {DIMENSIONS.get(name, name)} left"
    for limit in metric.get("QuotaExhausted") or ():
        yield f"the quota is used up ({limit})"


def _nodes(count: int) -> str:
    return "1 node does" if count == 1 else f"{count} nodes do"
