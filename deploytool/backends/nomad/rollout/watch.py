"""How far the services of a job are, from its deployment and its allocations. Pure.

A deployment is of the whole job: all groups take part in each (hashicorp/nomad,
scheduler/reconciler/reconcile_cluster.go, createDeployment), and it succeeds, fails and is reverted
as one. So its services are done, or back, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deploytool.backends.model import ServiceProgress, Task, Verdict
from deploytool.backends.nomad.api.allocations import is_unhealthy, on_nodes, read_task, runs
from deploytool.backends.nomad.planning.placement import why_unplaced
from deploytool.json_types import Json

REVERTING = " - rolling back to job version "
"""How the description of a failed deployment ends that the servers revert
(nomad/structs/structs.go, DeploymentStatusDescriptionRollback)."""
ENDED = frozenset({"failed", "cancelled", "successful"})


@dataclass(frozen=True)
class Seen:
    """A job at one moment."""

    version: int
    """The version of it that is being rolled out."""
    counts: Mapping[str, int]
    """Group → how many allocations that version wants."""
    deployments: Sequence[Json] = ()
    allocations: Sequence[Json] = ()
    unplaced: Mapping[str, Json] = field(default_factory=dict)
    """Group → why the scheduler found no node for all of it."""
    is_scheduled: bool = True
    """Of a job without deployments: whether the scheduler has nothing more to do."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """Of a job without deployments: allocation → what its checks say, where that is not good."""
    is_system: bool = False
    """Whether it has one allocation per node."""

    def deployment(self, version: int) -> Json | None:
        found = (d for d in self.deployments if d.get("JobVersion") == version)
        return max(found, key=lambda d: d.get("CreateIndex", 0), default=None)

    @property
    def reverted_to(self) -> Json | None:
        """The deployment of the version that the servers made of an earlier one, if any."""
        newer = (d for d in self.deployments if d.get("JobVersion", 0) > self.version)
        return min(newer, key=lambda d: d["JobVersion"], default=None)

    def of(self, group: str) -> list[Json]:
        """The group's allocations of this version."""
        return [
            allocation
            for allocation in self.allocations
            if allocation["TaskGroup"] == group and allocation.get("JobVersion") == self.version
        ]


def is_reverting(deployment: Json) -> bool:
    return REVERTING in str(deployment.get("StatusDescription", ""))


def progress(seen: Seen) -> list[ServiceProgress]:
    """How far each service is."""
    deployment = seen.deployment(seen.version)
    if seen.is_system and deployment is None:
        return [_on_nodes(name, seen) for name in sorted(seen.counts)]
    verdict, reason = _verdict(seen, deployment)
    return [_of_group(name, seen, deployment, verdict, reason) for name in sorted(seen.counts)]


def _verdict(seen: Seen, deployment: Json | None) -> tuple[Verdict | None, str]:
    """What became of the deployment; None where there is none, and each group is asked."""
    if deployment is None:
        return None, ""
    match deployment.get("Status"):
        case "successful":
            return Verdict.DONE, ""
        case "cancelled":
            return Verdict.FAILED, "somebody else changed the job meanwhile"
        case "failed" if is_reverting(deployment):
            return _of_the_reversion(seen.reverted_to), _failure(deployment)
        case "failed":
            return Verdict.FAILED, _failure(deployment)
        case "paused":
            return Verdict.MOVING, "its deployment is paused: nomad deployment resume"
    return Verdict.MOVING, ""


def _of_the_reversion(deployment: Json | None) -> Verdict:
    status = deployment.get("Status") if deployment else "running"
    if status == "successful":
        return Verdict.ROLLED_BACK
    return Verdict.FAILED if status in ENDED else Verdict.MOVING


def _failure(deployment: Json) -> str:
    text = str(deployment.get("StatusDescription", "")).partition(" - ")[0]
    return {
        "Failed due to unhealthy allocations": "its new replicas are not healthy",
        "Failed due to progress deadline": "its new replicas did not get healthy in time",
        "Deployment marked as failed": "its deployment was failed by hand",
    }.get(text, text)


def _of_group(
    name: str, seen: Seen, deployment: Json | None, verdict: Verdict | None, reason: str
) -> ServiceProgress:
    own = seen.of(name)
    state = ((deployment or {}).get("TaskGroups") or {}).get(name) or {}
    wanted = (seen.is_system and state.get("DesiredTotal")) or seen.counts[name]
    running = sum(map(runs, own))
    ready = min(wanted, state.get("HealthyAllocs", running)) if state else running
    if verdict is None:
        verdict = Verdict.DONE if running >= wanted else Verdict.MOVING
    if verdict is Verdict.MOVING and not reason and name in seen.unplaced:
        reason = why_unplaced(seen.unplaced[name])
    is_culprit = not state or state.get("UnhealthyAllocs") or ready < wanted
    return ServiceProgress(
        service=name,
        verdict=verdict,
        wanted=wanted,
        ready=wanted if verdict is Verdict.DONE else ready,
        tasks=tuple(map(read_task, own)),
        reason=reason if verdict is Verdict.MOVING or is_culprit else "",
    )


def _on_nodes(name: str, seen: Seen) -> ServiceProgress:
    """A group of one allocation per node, without a deployment: earlier servers replace them some
    at a time, by evaluations that follow each other. One whose node is away is not waited for."""
    group = [a for a in seen.allocations if a["TaskGroup"] == name]
    there = [a for a in on_nodes(group, seen.version) if a.get("ClientStatus") != "unknown"]
    own = [allocation for allocation in there if allocation.get("JobVersion") == seen.version]
    ready = [a for a in own if runs(a) and a["ID"] not in seen.unready]
    wanted = len(there) if seen.is_scheduled else max(len(there), seen.counts[name])
    verdict, reason = Verdict.MOVING, ""
    if any(map(is_unhealthy, own)):
        verdict, reason = Verdict.FAILED, "its new replicas are not healthy"
    elif seen.is_scheduled and there and len(ready) == len(there):
        verdict = Verdict.DONE
    elif name in seen.unplaced:
        reason = why_unplaced(seen.unplaced[name])
    else:
        reason = next((seen.unready[a["ID"]] for a in own if a["ID"] in seen.unready), "")
    return ServiceProgress(
        service=name,
        verdict=verdict,
        wanted=wanted,
        ready=len(ready),
        tasks=tuple(map(read_task, own)),
        reason=reason,
    )


def failures(seen: Seen) -> Iterator[Task]:
    """The allocations of this version that failed, the newest last."""
    mine = (a for a in seen.allocations if a.get("JobVersion") == seen.version)
    yield from map(read_task, sorted(filter(is_unhealthy, mine), key=_changed))


def _changed(allocation: Json) -> int:
    return int(allocation.get("ModifyTime") or 0)


def lacks_placement(deployment: Json | None) -> bool:
    """Whether the deployment waits for allocations that the scheduler has not placed."""
    if deployment is None or deployment.get("Status") in ENDED:
        return False
    states: Iterable[Json] = (deployment.get("TaskGroups") or {}).values()
    return any(
        state.get("PlacedAllocs", 0) < state.get("DesiredTotal", 0)
        or len(state.get("PlacedCanaries") or ()) < state.get("DesiredCanaries", 0)
        for state in states
    )
