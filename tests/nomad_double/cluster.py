"""Jobs, evaluations, deployments and allocations of the double, on a clock that tests advance.

A scripted driver says what becomes of each task. Everything that happens later, such as a task that
starts or a deadline that passes, is an event in one queue.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.nomad_double import scheduler
from tests.nomad_double.diff import job_diff
from tests.nomad_double.scheduler import GroupPlan, is_live
from tests.nomad_double.state import Json, State
from tests.nomad_double.variables import Refusal

NS = 10**9
ACTIVE = ("running", "pending", "paused", "initializing")
OF_THE_SERVER = (
    *("CreateIndex", "JobModifyIndex", "ModifyIndex", "Stable", "Status", "StatusDescription"),
    *("SubmitTime", "Version", "VersionTag"),
)


@dataclass
class Script:
    """What becomes of the tasks of a group, by its image."""

    starts_after: float = 0.2
    healthy_after: float | None = 0.5
    """None: it never is."""
    exits_after: float | None = None
    exit_code: int = 1
    output: str = ""
    complaints: str = ""
    """What it writes to stderr."""


@dataclass
class Cluster:
    state: State = field(default_factory=State)
    scripts: dict[str, Script] = field(default_factory=dict)
    """Image or group → what becomes of its tasks."""
    capacity: int = 10_000
    """MiB of memory of the one node."""
    attributes: dict[str, str] = field(
        default_factory=lambda: {"driver.docker": "1", "driver.docker.volumes.enabled": "true"}
    )
    """Of the node; `volumes.enabled` is there only if it is so (drivers/docker/fingerprint.go)."""
    checks: list[Json] = field(default_factory=list)
    """Results of the checks of every allocation."""
    oversubscription: bool = True
    denied: str = ""
    """Calls, as a pattern of "METHOD path", for which the token has no right."""
    namespaces: set[str] = field(default_factory=lambda: {"default", "shop"})
    longest_kill: str = "30s"
    """`max_kill_timeout` of the agent's own client."""

    def __post_init__(self) -> None:
        self.time = 0.0
        self.jobs: dict[tuple[str, str], Json] = {}
        self.versions: dict[tuple[str, str], dict[int, Json]] = {}
        self.deployments: dict[str, Json] = {}
        self.allocations: dict[str, Json] = {}
        self.evaluations: dict[str, Json] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    @property
    def node(self) -> Json:
        return {
            "ID": "node-1",
            "Name": "node-1",
            "Datacenter": "dc1",
            "NodePool": "default",
            "Status": "ready",
            "SchedulingEligibility": "eligible",
            "Drain": False,
            "Version": "2.0.6",
            "Attributes": self.attributes,
            "Drivers": {
                "docker": {
                    "Detected": "driver.docker" in self.attributes,
                    "Healthy": "driver.docker" in self.attributes,
                    "HealthDescription": "Healthy",
                }
            },
            "NodeResources": {"Cpu": {"CpuShares": 8000}, "Memory": {"MemoryMB": self.capacity}},
            "ReservedResources": {"Cpu": {"CpuShares": 0}, "Memory": {"MemoryMB": 0}},
        }

    # --- time -----------------------------------------------------------------------------------

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.time + seconds, next(self._numbers), event))

    def advance(self, seconds: float) -> None:
        """Let time go by, and let happen what happens in it."""
        end = self.time + seconds
        with self.state.changed:
            while self._queue and self._queue[0][0] <= end:
                self.time, _, event = heapq.heappop(self._queue)
                event()
            self.time = end

    # --- jobs -----------------------------------------------------------------------------------

    def job(self, namespace: str, name: str) -> Json:
        found = self.jobs.get((namespace, name))
        if found is None:
            raise Refusal(404, "job not found")
        return found

    def register(self, namespace: str, body: Json) -> Json:
        """Make a version of a job, unless it is what there is already: then only an evaluation is
        made, and the answer's JobModifyIndex is the job's ModifyIndex (nomad/job_endpoint.go)."""
        job = _canonical(body["Job"], namespace)
        key = namespace, job["ID"]
        with self.state.changed:
            there = self.jobs.get(key)
            _enforce(body, there)
            if there is not None and not there.get("Stop") and _same(there, job):
                evaluation = self._evaluate(there)
                return _registered(evaluation, there["ModifyIndex"])
            with self.state.writing("jobs") as index:
                version = there["Version"] + 1 if there else 0
                job |= {
                    "Version": version,
                    "CreateIndex": there["CreateIndex"] if there else index,
                    "ModifyIndex": index,
                    "JobModifyIndex": index,
                    "Stable": False,
                    "Stop": False,
                    "Status": "pending",
                    "SubmitTime": self.state.now(),
                }
                self.jobs[key] = job
                self.versions.setdefault(key, {})[version] = copy.deepcopy(job)
            self._cancel_older(job)
            evaluation = self._evaluate(job)
            return _registered(evaluation, job["JobModifyIndex"])

    def plan(self, namespace: str, body: Json) -> Json:
        """A dry run: nothing is kept."""
        job = _canonical(body["Job"], namespace)
        there = self.jobs.get((namespace, job["ID"]))
        before = there if there and not there.get("Stop") else None
        changed = before is None or not _same(before, job)
        job["Version"] = (there["Version"] + 1 if changed else there["Version"]) if there else 0
        plans = self._group_plans(job, None)
        failed = self._unplaced(job, plans)
        updates = {name: plan.desired() for name, plan in plans.items()}
        return {
            "Annotations": {"DesiredTGUpdates": updates, "PreemptedAllocs": None},
            "CreatedEvals": None,
            "Diff": job_diff(before, job) if body.get("Diff") else None,
            "FailedTGAllocs": failed or None,
            "Index": self.state.index,
            "JobModifyIndex": there["JobModifyIndex"] if there else 0,
            "NextPeriodicLaunch": None,
            "Warnings": "",
        }

    def deregister(self, namespace: str, name: str, *, purge: bool) -> Json:
        job = self.job(namespace, name)
        with self.state.changed:
            with self.state.writing("jobs") as index:
                job |= {"Stop": True, "ModifyIndex": index, "Version": job["Version"] + 1}
            self._cancel_older(job, "Cancelled because job is stopped")
            for allocation in self._of(job):
                if is_live(allocation):
                    self._stop(allocation, "alloc not needed as job is stopped")
            if purge:
                del self.jobs[namespace, name]
                self.versions.pop((namespace, name), None)
        return {"EvalID": "", "EvalCreateIndex": 0, "JobModifyIndex": index, "Index": index}

    # --- scheduling -----------------------------------------------------------------------------

    def _of(self, job: Json) -> list[Json]:
        return [
            a
            for a in self.allocations.values()
            if (a["Namespace"], a["JobID"]) == (job["Namespace"], job["ID"])
        ]

    def _deployment(self, job: Json) -> Json | None:
        found = (
            d
            for d in self.deployments.values()
            if d["JobID"] == job["ID"]
            and d["Namespace"] == job["Namespace"]
            and d["JobVersion"] == job["Version"]
        )
        return max(found, key=lambda d: d["CreateIndex"], default=None)

    def _batch_plans(self, job: Json) -> dict[str, GroupPlan]:
        """What ran to its end is not run again by later evaluations, and a failed one that may not
        be rescheduled neither (scheduler/reconciler/filters.go, filterOldTerminalAllocs)."""
        plans = {}
        for group in job["TaskGroups"]:
            there = [a for a in self._of(job) if a["TaskGroup"] == group["Name"]]
            name = f"{job['ID']}.{group['Name']}[0]"
            place = [] if there else [scheduler.Placement(name)]
            plans[group["Name"]] = GroupPlan(place=place, ignore=len(there))
        return plans

    def _group_plans(self, job: Json, deployment: Json | None) -> dict[str, GroupPlan]:
        if job["Type"] == "batch":
            return self._batch_plans(job)
        versions = self.versions.get((job["Namespace"], job["ID"]), {})
        halted = bool(deployment and deployment["Status"] in ("failed", "paused", "cancelled"))
        states = (deployment or {}).get("TaskGroups") or {}
        plans = {
            group["Name"]: scheduler.reconcile(
                job,
                group,
                self._of(job),
                versions,
                states.get(group["Name"]),
                halted=halted,
            )
            for group in job["TaskGroups"]
        }
        for allocation in self._of(job):
            if allocation["TaskGroup"] not in plans and is_live(allocation):
                gone = plans.setdefault(f"-{allocation['TaskGroup']}", GroupPlan())
                gone.stop.append((allocation, "alloc not needed due to job update"))
        return {name.removeprefix("-"): plan for name, plan in plans.items()}

    def _evaluate(self, job: Json) -> Json:
        """Schedule a job, and keep the evaluation: "complete" says scheduled, not placed."""
        deployment = self._deployment(job)
        plans = self._group_plans(job, deployment)
        failed = self._unplaced(job, plans)
        evaluation = self._make_evaluation(job, failed)
        changes = any(plan.place or plan.in_place or plan.stop for plan in plans.values())
        if deployment is None and changes and job["Type"] == "service" and not job.get("Stop"):
            deployment = self._make_deployment(job, plans, evaluation)
        evaluation["DeploymentID"] = deployment["ID"] if deployment else ""
        for name, plan in plans.items():
            for allocation, why in plan.stop:
                self._stop(allocation, why)
            for allocation in plan.in_place:
                self._update_in_place(allocation, job, deployment)
            for placement in plan.place if name not in failed else ():
                self._place(job, name, placement, deployment, evaluation)
        return evaluation

    def _make_evaluation(self, job: Json, failed: Json) -> Json:
        with self.state.writing("evals") as index:
            made = {
                "ID": str(uuid.uuid4()),
                "JobID": job["ID"],
                "Namespace": job["Namespace"],
                "JobModifyIndex": job["JobModifyIndex"],
                "Status": "complete",
                "Type": job["Type"],
                "TriggeredBy": "job-register",
                "FailedTGAllocs": failed or None,
                "BlockedEval": "",
                "DeploymentID": "",
                "CreateIndex": index,
                "ModifyIndex": index,
            }
            self.evaluations[made["ID"]] = made
            if failed:
                blocked = made | {
                    "ID": str(uuid.uuid4()),
                    "Status": "blocked",
                    "StatusDescription": "created to place remaining allocations",
                    "TriggeredBy": "queued-allocs",
                    "PreviousEval": made["ID"],
                }
                made["BlockedEval"] = blocked["ID"]
                self.evaluations[blocked["ID"]] = blocked
        return made

    def _unplaced(self, job: Json, plans: dict[str, GroupPlan]) -> Json:
        """Groups for which the node has no memory left."""
        used = sum(_memory(self._group(a)) for a in self.allocations.values() if is_live(a))
        failed: Json = {}
        for group in job["TaskGroups"]:
            plan = plans[group["Name"]]
            freed = sum(_memory(group) for _ in plan.stop)
            needed = _memory(group) * len(plan.place)
            if plan.place and used - freed + needed > self.capacity:
                failed[group["Name"]] = {
                    "NodesEvaluated": 1,
                    "NodesFiltered": 0,
                    "NodesExhausted": 1,
                    "DimensionExhausted": {"memory": 1},
                    "ConstraintFiltered": None,
                    "CoalescedFailures": len(plan.place) - 1,
                }
            else:
                used += needed - freed
        return failed

    def _group(self, allocation: Json) -> Json:
        job = self.versions.get((allocation["Namespace"], allocation["JobID"]), {}).get(
            allocation["JobVersion"]
        )
        groups = (job or {}).get("TaskGroups") or ()
        return next((g for g in groups if g["Name"] == allocation["TaskGroup"]), {})

    # --- deployments ------------------------------------------------------------------------------

    def _make_deployment(self, job: Json, plans: dict[str, GroupPlan], evaluation: Json) -> Json:
        with self.state.writing("deployment") as index:
            groups = {}
            for group in job["TaskGroups"]:
                update = group.get("Update") or {}
                canaries = plans[group["Name"]].canaries
                groups[group["Name"]] = {
                    "AutoRevert": bool(update.get("AutoRevert")),
                    "AutoPromote": bool(update.get("AutoPromote")),
                    "DesiredCanaries": canaries,
                    "DesiredTotal": int(group.get("Count", 1)),
                    "HealthyAllocs": 0,
                    "PlacedAllocs": 0,
                    "PlacedCanaries": None,
                    "ProgressDeadline": int(update.get("ProgressDeadline") or 0),
                    "Promoted": False,
                    "RequireProgressBy": None,
                    "UnhealthyAllocs": 0,
                }
            made = {
                "ID": str(uuid.uuid4()),
                "JobID": job["ID"],
                "Namespace": job["Namespace"],
                "JobVersion": job["Version"],
                "JobModifyIndex": job["ModifyIndex"],
                "JobSpecModifyIndex": job["JobModifyIndex"],
                "JobCreateIndex": job["CreateIndex"],
                "IsMultiregion": False,
                "TaskGroups": groups,
                "Status": "running",
                "StatusDescription": "Deployment is running",
                "CreateIndex": index,
                "ModifyIndex": index,
            }
            self.deployments[made["ID"]] = made
        del evaluation
        deadline = max([int(str(g["ProgressDeadline"])) for g in groups.values()] or [0])
        if deadline:
            self._watch_progress(made, deadline / NS)
        return made

    def _watch_progress(self, deployment: Json, seconds: float) -> None:
        seen = _progress(deployment)

        def check() -> None:
            if deployment["Status"] != "running":
                return
            if _progress(deployment) == seen:
                self._fail(deployment, "Failed due to progress deadline")
            else:
                self._watch_progress(deployment, seconds)

        self.later(seconds, check)

    def _touch(self, deployment: Json) -> None:
        with self.state.writing("deployment") as index:
            deployment["ModifyIndex"] = index

    def _cancel_older(self, job: Json, why: str = "Cancelled due to newer version of job") -> None:
        for deployment in list(self.deployments.values()):
            mine = (deployment["Namespace"], deployment["JobID"]) == (job["Namespace"], job["ID"])
            older = deployment["JobVersion"] < job["Version"]
            if mine and older and deployment["Status"] in ACTIVE:
                deployment |= {"Status": "cancelled", "StatusDescription": why}
                self._touch(deployment)
                self._stop_canaries(deployment)

    def _stop_canaries(self, deployment: Json) -> None:
        for group in deployment["TaskGroups"].values():
            if not group["Promoted"]:
                for name in group["PlacedCanaries"] or ():
                    self._stop(self.allocations[name], "alloc not needed due to job update")

    def fail(self, name: str) -> Json:
        """The API's `fail` reverts too (nomad/deploymentwatcher/deployment_watcher.go)."""
        deployment = self.deployments.get(name)
        if deployment is None:
            raise Refusal(500, "deployment not found")
        if deployment["Status"] not in ACTIVE:
            raise Refusal(500, "can't fail terminal deployment")
        with self.state.changed:
            reverted = self._fail(deployment, "Deployment marked as failed")
        return {"RevertedJobVersion": reverted, "EvalID": "", "Index": self.state.index}

    def _fail(self, deployment: Json, why: str) -> int | None:
        """Fail a deployment, and re-register the newest stable version where a group wants that, as
        version latest + 1 with `Stable` (nomad/state/state_store.go)."""
        key = deployment["Namespace"], deployment["JobID"]
        job = self.jobs.get(key)
        wants = any(group["AutoRevert"] for group in deployment["TaskGroups"].values())
        stable = [
            version
            for number, version in sorted(self.versions.get(key, {}).items())
            if version.get("Stable") and number < deployment["JobVersion"]
        ]
        target = stable[-1] if wants and stable and job is not None else None
        if target is not None and job is not None and _same(job, target):
            number = target["Version"]
            target = None
            why += f" - not rolling back to stable job version {number} as current job has same "
            why += "specification"
        elif target is not None:
            why = f"{why} - rolling back to job version {target['Version']}"
        elif wants:
            why = f"{why} - no stable job version to auto revert to"
        deployment |= {"Status": "failed", "StatusDescription": why}
        self._touch(deployment)
        self._stop_canaries(deployment)
        if target is None or job is None:
            return None
        with self.state.writing("jobs") as index:
            made = copy.deepcopy(target) | {
                "Version": job["Version"] + 1,
                "ModifyIndex": index,
                "JobModifyIndex": index,
                "Stable": True,
            }
            self.jobs[key] = made
            self.versions[key][made["Version"]] = copy.deepcopy(made)
        self._evaluate(made)
        return int(target["Version"])

    def _follow(self, deployment: Json) -> None:
        """Promote, go on, or end, after a change of health."""
        if deployment["Status"] != "running":
            return
        groups = deployment["TaskGroups"].values()
        with_canaries = [g for g in groups if g["DesiredCanaries"] and not g["Promoted"]]
        ready = [g for g in with_canaries if self._healthy_canaries(g) >= g["DesiredCanaries"]]
        job = self.jobs.get((deployment["Namespace"], deployment["JobID"]))
        if job is None:
            return
        if with_canaries:
            if len(ready) < len(with_canaries) or not all(g["AutoPromote"] for g in with_canaries):
                return
            self._promote(deployment, with_canaries)
        self._evaluate(job)
        if all(
            g["HealthyAllocs"] >= g["DesiredTotal"] and (g["Promoted"] or not g["DesiredCanaries"])
            for g in groups
        ):
            deployment |= {
                "Status": "successful",
                "StatusDescription": "Deployment completed successfully",
            }
            job["Stable"] = True
            job["Status"] = "running"
            self.versions[job["Namespace"], job["ID"]][job["Version"]]["Stable"] = True
            self._touch(deployment)

    def _promote(self, deployment: Json, groups: list[Json]) -> None:
        """Canaries become what the others are (nomad/state/state_store.go,
        UpdateDeploymentPromotion)."""
        for group in groups:
            group["Promoted"] = True
            for name in group["PlacedCanaries"] or ():
                self.allocations[name]["DeploymentStatus"]["Canary"] = False
        self._touch(deployment)

    def _healthy_canaries(self, group: Json) -> int:
        found = (self.allocations[name] for name in group["PlacedCanaries"] or ())
        return sum((a["DeploymentStatus"] or {}).get("Healthy") is True for a in found)

    # --- allocations ------------------------------------------------------------------------------

    def _place(
        self,
        job: Json,
        group: str,
        placement: scheduler.Placement,
        deployment: Json | None,
        evaluation: Json,
    ) -> None:
        with self.state.writing("allocs") as index:
            made = {
                "ID": str(uuid.uuid4()),
                "EvalID": evaluation["ID"],
                "Name": placement.name,
                "Namespace": job["Namespace"],
                "NodeID": "node-1",
                "NodeName": "node-1",
                "JobID": job["ID"],
                "JobType": job["Type"],
                "JobVersion": job["Version"],
                "TaskGroup": group,
                "DesiredStatus": "run",
                "DesiredDescription": "",
                "ClientStatus": "pending",
                "ClientDescription": "",
                "DeploymentID": deployment["ID"] if deployment else "",
                "DeploymentStatus": {"Canary": True, "Healthy": None}
                if placement.is_canary
                else None,
                "TaskStates": None,
                "CreateIndex": index,
                "ModifyIndex": index,
                "CreateTime": self.state.now(),
                "ModifyTime": self.state.now(),
            }
            self.allocations[made["ID"]] = made
        if deployment is not None:
            state = deployment["TaskGroups"][group]
            state["PlacedAllocs"] += 1
            if placement.is_canary:
                state["PlacedCanaries"] = [*(state["PlacedCanaries"] or ()), made["ID"]]
            self._touch(deployment)
        self._run(made)

    def _script(self, allocation: Json) -> Script:
        if allocation["JobType"] == "batch":
            return self.scripts.get("batch") or Script(exits_after=0.2, exit_code=0)
        image, group = _image(self._group(allocation)), allocation["TaskGroup"]
        return self.scripts.get(image) or self.scripts.get(group) or Script()

    def _run(self, allocation: Json) -> None:
        script = self._script(allocation)
        self.later(script.starts_after, lambda: self._started(allocation))
        if script.exits_after is not None:
            self.later(
                script.starts_after + script.exits_after,
                lambda: self._ended(allocation, script.exit_code),
            )
        elif script.healthy_after is not None:
            self.later(
                script.starts_after + script.healthy_after, lambda: self._judged(allocation, True)
            )

    def output(self, name: str) -> str:
        allocation = self.allocations.get(name)
        if allocation is None:
            raise Refusal(404, f'Unknown allocation "{name}"')
        return self._script(allocation).output

    def complaints(self, name: str) -> str:
        return self._script(self.allocations[name]).complaints

    def _started(self, allocation: Json) -> None:
        if is_live(allocation):
            self._event(allocation, "running", "Started", "Task started by client")

    def _ended(self, allocation: Json, code: int) -> None:
        if not is_live(allocation):
            return
        text = f"Exit Code: {code}"
        if allocation["JobType"] == "batch" and code == 0:
            self._event(allocation, "complete", "Terminated", text, ExitCode=0)
            return
        self._event(allocation, "failed", "Terminated", text, ExitCode=code)
        self._event(
            allocation,
            "failed",
            "Not Restarting",
            'Exceeded allowed attempts 0 in interval 30m0s and mode is "fail"',
            FailsTask=True,
        )
        self._judged(allocation, False)

    def _event(self, allocation: Json, status: str, kind: str, text: str, **more: object) -> None:
        with self.state.writing("allocs") as index:
            tasks = self._group(allocation).get("Tasks") or [{"Name": allocation["TaskGroup"]}]
            states = allocation["TaskStates"] or {}
            event = {"Type": kind, "Time": self.state.now() + index, "DisplayMessage": text} | more
            for task in tasks:
                own = states.setdefault(task["Name"], {"Events": [], "Restarts": 0})
                own["Events"].append(event)
                own["State"] = "running" if status == "running" else "dead"
                own["Failed"] = status == "failed"
            allocation |= {
                "TaskStates": states,
                "ClientStatus": status,
                "ModifyIndex": index,
                "ModifyTime": self.state.now() + index,
            }

    def _judged(self, allocation: Json, healthy: bool) -> None:
        """The client says whether an allocation of a deployment is healthy."""
        deployment = self.deployments.get(allocation["DeploymentID"])
        if deployment is None or allocation["DesiredStatus"] != "run":
            return
        with self.state.writing("allocs") as index:
            status = allocation["DeploymentStatus"] or {"Canary": False}
            if status.get("Healthy") is not None:
                return
            allocation["DeploymentStatus"] = status | {"Healthy": healthy, "ModifyIndex": index}
            allocation["ModifyIndex"] = index
        group = deployment["TaskGroups"].get(allocation["TaskGroup"])
        if group is not None and deployment["Status"] in ACTIVE:
            group["HealthyAllocs" if healthy else "UnhealthyAllocs"] += 1
            self._touch(deployment)
            if not healthy:
                self._fail(deployment, "Failed due to unhealthy allocations")
            else:
                self._follow(deployment)

    def _update_in_place(self, allocation: Json, job: Json, deployment: Json | None) -> None:
        """Its health is cleared, and it needs `min_healthy_time` again
        (client/allocrunner/health_hook.go, Update)."""
        with self.state.writing("allocs") as index:
            allocation |= {
                "JobVersion": job["Version"],
                "DeploymentID": deployment["ID"] if deployment else "",
                "DeploymentStatus": None,
                "ModifyIndex": index,
            }
        if deployment is not None:
            deployment["TaskGroups"][allocation["TaskGroup"]]["PlacedAllocs"] += 1
            self._touch(deployment)
            if allocation["ClientStatus"] == "running":
                self.later(0.1, lambda: self._judged(allocation, True))

    def _stop(self, allocation: Json, why: str) -> None:
        with self.state.writing("allocs") as index:
            allocation |= {
                "DesiredStatus": "stop",
                "DesiredDescription": why,
                "ModifyIndex": index,
            }
            if allocation["ClientStatus"] not in scheduler.TERMINAL:
                allocation["ClientStatus"] = "complete"


def _canonical(job: Json, namespace: str) -> Json:
    """With what servers fill in."""
    made = copy.deepcopy(job)
    made["Namespace"] = namespace
    made.setdefault("Region", "global")
    made.setdefault("Type", "service")
    made.setdefault("Priority", 50)
    for group in made.get("TaskGroups") or ():
        group.setdefault("Count", 1)
    for name in OF_THE_SERVER:
        made.pop(name, None)
    made.pop("Stop", None)
    return made


def _same(one: Json, other: Json) -> bool:
    strip = (*OF_THE_SERVER, "Stop")
    return {k: v for k, v in one.items() if k not in strip} == {
        k: v for k, v in other.items() if k not in strip
    }


def _enforce(body: Json, there: Json | None) -> None:
    """nomad/structs/job.go, EnforceIndex: 0 is "must not exist", and a stopped job exists."""
    if not body.get("EnforceIndex"):
        return
    wanted = int(body.get("JobModifyIndex") or 0)
    own = there["JobModifyIndex"] if there else 0
    if wanted == own:
        return
    if wanted == 0:
        raise Refusal(500, "Enforcing job modify index 0: job already exists")
    if there is None:
        raise Refusal(500, f"Enforcing job modify index {wanted}: job does not exist")
    raise Refusal(
        500,
        f"Enforcing job modify index {wanted}: job exists with conflicting job modify index: {own}",
    )


def _registered(evaluation: Json, index: int) -> Json:
    return {
        "EvalID": evaluation["ID"],
        "EvalCreateIndex": evaluation["CreateIndex"],
        "JobModifyIndex": index,
        "Warnings": "",
        "Index": index,
        "LastContact": 0,
        "KnownLeader": False,
    }


def _progress(deployment: Json) -> tuple[object, ...]:
    return tuple((g["HealthyAllocs"], g["Promoted"]) for g in deployment["TaskGroups"].values())


def _memory(group: Json) -> int:
    tasks = group.get("Tasks") or ()
    return sum(int((task.get("Resources") or {}).get("MemoryMB") or 0) for task in tasks)


def _image(group: Json) -> str:
    tasks: list[Json] = group.get("Tasks") or [{}]
    return str((tasks[0].get("Config") or {}).get("image") or "")
