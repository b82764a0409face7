"""Draining a node: what runs there leaves it, some at a time.

Follows nomad/drainer: watch_jobs.go for service jobs, and system jobs at the end, as
watch_nodes.go does. Deadlines of a drain are not kept: batch jobs are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.nomad_double.nodes import Node
from tests.nomad_double.scheduler import TERMINAL, is_live, is_migrating
from tests.nomad_double.state import Json

if TYPE_CHECKING:
    from tests.nomad_double.cluster import Cluster

LOOKS = 0.25
"""Seconds between looks at a node that is drained; the servers hear of each change."""


def drain(cluster: Cluster, node: Node, specification: Json | None) -> None:
    """Begin, or end, the draining of a node (nomad/node_endpoint.go, UpdateDrain). It takes nothing
    new, also when it is over."""
    with cluster.state.writing("nodes") as index:
        node.drain, node.index = specification, index
        if specification is not None:
            node.eligible = False
    if specification is not None:
        _look(cluster, node)


def set_eligible(cluster: Cluster, node: Node, *, eligible: bool) -> None:
    with cluster.state.writing("nodes") as index:
        node.eligible, node.index = eligible, index
    if eligible:
        cluster.has_come(node)


def _look(cluster: Cluster, node: Node) -> None:
    if node.drain is None:
        return
    there = [a for a in cluster.allocations.values() if a["NodeID"] == node.id and _is_there(a)]
    of_services = [a for a in there if a["JobType"] not in ("system", "sysbatch")]
    for job in {(a["Namespace"], a["JobID"]) for a in of_services if a["JobType"] == "service"}:
        _migrate(cluster, cluster.jobs.get(job))
    if not of_services:
        if not node.drain.get("IgnoreSystemJobs"):
            for allocation in filter(is_live, there):
                cluster.end(allocation, "alloc not needed as node is being drained")
        with cluster.state.writing("nodes") as index:
            node.drain, node.index = None, index
        return
    cluster.later(LOOKS, lambda: _look(cluster, node))


def _is_there(allocation: Json) -> bool:
    return allocation["ClientStatus"] not in TERMINAL


def _migrate(cluster: Cluster, job: Json | None) -> None:
    """Have as many leave as `migrate.max_parallel` allows: so many of a group's count may be
    missing or not healthy (watch_jobs.go, handleTaskGroup)."""
    if job is None:
        return
    leaving = [a for group in job["TaskGroups"] for a in _leaving(cluster, job, group)]
    if not leaving:
        return
    with cluster.state.writing("allocs") as index:
        for allocation in leaving:
            allocation |= {"DesiredTransition": {"Migrate": True}, "ModifyIndex": index}
    cluster.evaluate(job)


def _leaving(cluster: Cluster, job: Json, group: Json) -> Iterator[Json]:
    draining = {node.id for node in cluster.nodes if node.drain is not None}
    live = [
        a
        for a in cluster.allocations.values()
        if (a["Namespace"], a["JobID"], a["TaskGroup"])
        == (job["Namespace"], job["ID"], group["Name"])
        and is_live(a)
    ]
    healthy = [a for a in live if (a["DeploymentStatus"] or {}).get("Healthy") is True]
    most = int((group.get("Migrate") or {}).get("MaxParallel") or 1)
    number = len(healthy) - (int(group.get("Count", 1)) - most)
    ready = [a for a in live if a["NodeID"] in draining and not is_migrating(a)]
    yield from ready[: max(0, number)]
