"""What a scheduler makes of a service job: which allocations are placed, stopped and updated. Pure.

Follows `scheduler/reconciler/reconcile_cluster.go` as far as service jobs of deploytool go: updates
in place or destructive ones, canaries, `max_parallel`, stops, replacements of what failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.nomad_double.canonical import bare

Json = dict[str, Any]
TERMINAL = frozenset({"complete", "failed", "lost"})
IN_PLACE = frozenset({"KillTimeout", "Services", "RestartPolicy", "ShutdownDelay", "KillSignal"})
"""Fields of a task whose change replaces no allocation (scheduler/util.go, tasksUpdated)."""
GROUP_FIELDS = ("Networks", "Volumes", "EphemeralDisk")


@dataclass
class GroupPlan:
    """What becomes of a group."""

    place: list[Placement] = field(default_factory=list)
    stop: list[tuple[Json, str]] = field(default_factory=list)
    """An allocation, and why."""
    in_place: list[Json] = field(default_factory=list)
    ignore: int = 0
    canaries: int = 0
    destructive: int = 0
    nodes: int | None = None
    """Of a system job: on how many it is to run."""
    migrating: int = 0
    """How many are stopped here because their node is drained, and placed elsewhere."""

    def desired(self) -> Json:
        """As `Annotations.DesiredTGUpdates` says it."""
        placed = [p for p in self.place if not p.is_canary and p.replaces is None]
        return {
            "Canary": self.canaries,
            "DestructiveUpdate": self.destructive,
            "Ignore": self.ignore,
            "InPlaceUpdate": len(self.in_place),
            "Migrate": self.migrating,
            "Place": len(placed) - self.migrating if self.nodes is None else self.nodes,
            "Preemptions": 0,
            "Stop": len(self.stop) - self.destructive - self.migrating,
        }


@dataclass(frozen=True)
class Placement:
    name: str
    is_canary: bool = False
    replaces: str | None = None
    """The allocation that is stopped for it."""

    node: str | None = None
    """Where it has to go, if it matters."""
    version: int | None = None
    """The version of the job that it is of, if that is not the newest."""

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        return self.name, self.replaces, self.node


def is_live(allocation: Json) -> bool:
    return allocation["DesiredStatus"] == "run" and allocation["ClientStatus"] not in TERMINAL


def is_migrating(allocation: Json) -> bool:
    """Whether the drainer has its allocation leave its node."""
    return bool((allocation.get("DesiredTransition") or {}).get("Migrate"))


def is_destructive(before: Json, after: Json, meta: tuple[Json, Json]) -> bool:
    """Whether going from one group to another replaces its allocations. Metadata of the job and the
    group are every task's (scheduler/util.go, tasksUpdated)."""
    if _combined(meta[0], before) != _combined(meta[1], after):
        return True
    if any(bare(before.get(name)) != bare(after.get(name)) for name in GROUP_FIELDS):
        return True
    old = {task["Name"]: task for task in before.get("Tasks") or ()}
    new = {task["Name"]: task for task in after.get("Tasks") or ()}
    if old.keys() != new.keys():
        return True
    return any(_compared(old[name]) != _compared(new[name]) for name in new)


def _compared(task: Json) -> Json:
    return dict(bare({key: value for key, value in task.items() if key not in IN_PLACE}))


def _combined(job_meta: Json, group: Json) -> Json:
    return {**(job_meta or {}), **(group.get("Meta") or {})}


def reconcile(
    job: Json,
    group: Json,
    allocations: Iterable[Json],
    jobs_by_version: Mapping[int, Json],
    state: Json | None,
    *,
    halted: bool = False,
    stays: Callable[[Json, Json], bool] = lambda allocation, group: True,
) -> GroupPlan:
    """One group of a job. `state` is its part of the deployment of this version, if there is one;
    `halted`: that failed or is paused, so that nothing more is replaced. `stays`: whether the node
    of an allocation can have it as the group is now; else it is replaced, whatever has changed
    (scheduler/util.go, genericAllocUpdateFn)."""
    plan = GroupPlan()
    version, count = job["Version"], int(group.get("Count", 1))
    there = [a for a in allocations if a["TaskGroup"] == group["Name"] and is_live(a)]
    live = [a for a in there if not is_migrating(a)]
    leaving = [a for a in there if is_migrating(a)]
    plan.migrating = len(leaving)
    plan.stop += [(a, "alloc is being migrated") for a in leaving]
    current = [a for a in live if a["JobVersion"] == version]
    old, moved = [], []
    for allocation in live:
        if allocation["JobVersion"] == version:
            continue
        before = jobs_by_version.get(allocation["JobVersion"])
        known = next(
            (g for g in (before or {}).get("TaskGroups", ()) if g["Name"] == group["Name"]), None
        )
        meta = ((before or {}).get("Meta") or {}, job.get("Meta") or {})
        replaced = before is None or known is None or is_destructive(known, group, meta)
        if replaced or not stays(allocation, group):
            old.append(allocation)
        else:
            moved.append(allocation)
    plan.in_place = moved
    kept = current + moved
    canaries = [a for a in kept if (a.get("DeploymentStatus") or {}).get("Canary")]
    promoted = bool(state and state.get("Promoted"))
    update = group.get("Update") or {}
    wants_canaries = bool(old) and int(update.get("Canary") or 0) > 0
    if wants_canaries and not promoted:
        missing = min(int(update["Canary"]), count) - len(canaries)
        if not halted and missing > 0:
            plan.place += [
                Placement(name, is_canary=True) for name in _free(job, group, canaries, missing)
            ]
            plan.canaries = missing
        # What is no canary is placed as it was (downgradeNonCanary in computeMigrations).
        plan.place += [
            Placement(a["Name"], version=a["JobVersion"])
            for a in leaving
            if a["JobVersion"] != version
        ]
        surplus = max(0, len(old) - count)
        plan.stop += [(a, "alloc not needed due to job update") for a in _last(old, surplus)]
        plan.ignore = len(old) - surplus + len(kept) - len(moved)
        return plan
    _settle(plan, job, group, kept, old, count, update, halted=halted, first=state is None)
    return plan


def on_node(
    plan: GroupPlan,
    job: Json,
    group: Json,
    node: str,
    own: list[Json],
    versions: Mapping[int, Json],
    *,
    fits: bool,
) -> None:
    """What becomes of a system job's allocation on one node."""
    name = f"{job['ID']}.{group['Name']}[0]"
    if not fits:
        plan.stop += [(a, "alloc not needed due to job update") for a in own]
        return
    plan.nodes = (plan.nodes or 0) + 1
    if not own:
        plan.place.append(Placement(name, node=node))
    for allocation in own:
        if allocation["JobVersion"] == job["Version"]:
            plan.ignore += 1
            continue
        before = versions.get(allocation["JobVersion"]) or {}
        known = next((g for g in before.get("TaskGroups", ()) if g["Name"] == group["Name"]), None)
        meta = (before.get("Meta") or {}, job.get("Meta") or {})
        if known is not None and not is_destructive(known, group, meta):
            plan.in_place.append(allocation)
            continue
        plan.place.append(Placement(name, node=node, replaces=allocation["ID"]))
        plan.stop.append((allocation, "alloc is being updated due to job update"))
        plan.destructive += 1


def limit(
    plan: GroupPlan, job: Json, group: Json, allocations: Iterable[Json], *, halted: bool
) -> None:
    """Of a system job with a deployment, replace no more at a time than `max_parallel`
    (scheduler/scheduler_system.go, evictAndPlace)."""
    waiting = [
        a
        for a in allocations
        if a["TaskGroup"] == group["Name"]
        and a["JobVersion"] == job["Version"]
        and is_live(a)
        and not _is_healthy(a)
    ]
    most = int((group.get("Update") or {}).get("MaxParallel") or 0)
    left = 0 if halted else max(0, most - len(waiting))
    replacing = [placement for placement in plan.place if placement.replaces is not None]
    later = {placement.replaces for placement in replacing[left:]}
    plan.place = [p for p in plan.place if p.replaces not in later or p.replaces is None]
    plan.stop = [(a, why) for a, why in plan.stop if a["ID"] not in later]


def _settle(
    plan: GroupPlan,
    job: Json,
    group: Json,
    kept: list[Json],
    old: list[Json],
    count: int,
    update: Json,
    *,
    halted: bool,
    first: bool,
) -> None:
    """Without canaries, or after their promotion: each replacement stops an old allocation as it is
    placed, `max_parallel` at a time."""
    surplus = len(kept) + len(old) - count
    gone = _superseded(old, kept, max(0, min(surplus, len(old))))
    plan.stop += [(a, "alloc not needed due to job update") for a in gone]
    rest = [a for a in old if a not in gone]
    surplus -= len(gone)
    if surplus > 0:
        plan.stop += [(a, "alloc not needed due to job update") for a in _last(kept, surplus)]
        kept = [a for a in kept if a not in _last(kept, surplus)]
    waiting = [a for a in kept if not _is_healthy(a)]
    limit = 0 if halted else max(0, int(update.get("MaxParallel") or len(rest)) - len(waiting))
    if any((a.get("DeploymentStatus") or {}).get("Healthy") is False for a in kept):
        limit = 0
    for allocation in rest[:limit]:
        plan.place.append(Placement(allocation["Name"], replaces=allocation["ID"]))
        plan.stop.append((allocation, "alloc is being updated due to job update"))
        plan.destructive += 1
    missing = count - len(kept) - len(rest)
    if halted:  # what is lost or leaves is placed anew all the same (computePlacements)
        missing = min(missing, plan.migrating)
    if missing > 0:
        free = _free(job, group, [*kept, *rest], missing)
        plan.place += [Placement(name) for name in free]
    plan.ignore = len(kept) - len(plan.in_place) + max(0, len(rest) - plan.destructive)


def _is_healthy(allocation: Json) -> bool:
    return (allocation.get("DeploymentStatus") or {}).get("Healthy") is True


def _free(job: Json, group: Json, taken: Iterable[Json], count: int) -> list[str]:
    """Names that no allocation has: the lowest numbers."""
    used = {a["Name"] for a in taken}
    names = (f"{job['ID']}.{group['Name']}[{number}]" for number in range(10**6))
    found: list[str] = []
    for name in names:
        if len(found) == count:
            break
        if name not in used:
            found.append(name)
    return found


def _superseded(old: list[Json], kept: list[Json], count: int) -> list[Json]:
    """Those whose names promoted canaries have are stopped first (computeStop)."""
    names = {allocation["Name"] for allocation in kept}
    same = [allocation for allocation in old if allocation["Name"] in names][:count]
    rest = [allocation for allocation in old if allocation not in same]
    return same + _last(rest, count - len(same))


def _last(allocations: list[Json], count: int) -> list[Json]:
    """Those with the highest numbers are stopped first."""
    ordered = sorted(allocations, key=lambda a: int(a["Name"].rpartition("[")[2][:-1]))
    return ordered[len(ordered) - count :] if count > 0 else []
