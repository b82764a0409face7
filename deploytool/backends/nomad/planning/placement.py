"""Why the scheduler finds no node, in words. Pure.

The numbers are an AllocationMetric's (nomad/structs/structs.go, AllocMetric), as dry runs and
evaluations have them.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploytool.json_types import Json

DIMENSIONS = {
    "cpu": "CPU",
    "memory": "memory",
    "disk": "disk",
    "cores": "cores",
    "network: port collision": "the port, which is taken",
}


def why_unplaced(metric: Json) -> str:
    """One line: how many nodes were looked at, and what keeps an allocation from them."""
    reasons = ", ".join(_reasons(metric))
    evaluated = metric.get("NodesEvaluated") or 0
    if not evaluated:
        return "no node takes it: none is ready in its datacenters and node pool"
    return f"no node takes it, of {evaluated} that were asked: {reasons or 'no reason was given'}"


def _reasons(metric: Json) -> Iterator[str]:
    for name, count in sorted((metric.get("ConstraintFiltered") or {}).items()):
        yield f"{_nodes(count)} not meet {name}"
    for name, count in sorted((metric.get("ClassFiltered") or {}).items()):
        yield f"{_nodes(count)} not fit as {name}"
    for name, count in sorted((metric.get("DimensionExhausted") or {}).items()):
        yield f"{_nodes(count)} not have {DIMENSIONS.get(name, name)} left"
    for limit in metric.get("QuotaExhausted") or ():
        yield f"the quota is used up ({limit})"


def _nodes(count: int) -> str:
    return "1 node does" if count == 1 else f"{count} nodes do"
