"""Jobs, evaluations, deployments and allocations of the double, on a clock that tests advance.

On nodes with an engine, tasks are containers (`node/`); on others a script says what becomes of
them. What the servers do later, such as when a deadline passes, is an event in one queue.
"""

from __future__ import annotations

import copy
import functools
import heapq
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.nomad_double import answers, catalogue, scheduler
from tests.nomad_double.canonical import OF_THE_SERVER, bare, canonical
from tests.nomad_double.diff import job_diff
from tests.nomad_double.nodes import Node, Spot, Usage, choose, key_of, unmet_constraint
from tests.nomad_double.scheduler import GroupPlan, is_live
from tests.nomad_double.state import Json, State, stamp
from tests.nomad_double.variables import Refusal

if TYPE_CHECKING:
    from tests.nomad_double.node.runner import Runner

NS = 10**9
BATCH = ("batch", "sysbatch")
"""Types of jobs that run to an end."""
VERSION = "2.0.6"
RUNNING = "Deployment is running"
Key = tuple[str, str | None, str | None]
NEVER = "0001-01-01T00:00:00Z"
"""A time that Go's types do not have."""
HEALTH: Json = {"Canary": False, "Healthy": None, "Timestamp": None, "ModifyIndex": 0}
EVENTS_OF_A_TASK = 10
"""client/config: the newest ten are kept."""
MOMENTS = {"Started": "StartedAt", "Restarting": "LastRestart"}
"""Event → what it sets in a task's state (client/allocrunner/taskrunner, appendEvent)."""
DESCRIPTIONS = {
    "running": "Tasks are running",
    "complete": "All tasks have completed",
    "failed": "Failed tasks",
}
"""client/allocrunner/alloc_runner.go, getClientStatus"""
ACTIVE = ("running", "pending", "paused", "initializing")


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


class Clients(Protocol):
    """The clients of nodes that have an engine."""

    runners: dict[str, Runner]
    """Allocation → what runs it."""

    def start(self, allocation: Json, node: Node) -> None:
        """Run an allocation until the servers want it stopped."""


@dataclass
class Cluster:
    state: State = field(default_factory=State)
    scripts: dict[str, Script] = field(default_factory=dict)
    """Image or group → what becomes of its tasks."""
    nodes: list[Node] = field(default_factory=lambda: [Node()])
    http_address: str = "127.0.0.1:4646"
    """Where the server is, and the clients of all nodes."""
    checks: list[Json] = field(default_factory=list)
    """Results of the checks of every allocation."""
    oversubscription: bool = True
    denied: str = ""
    """Calls, as a pattern of "METHOD path", for which the token has no right."""
    namespaces: set[str] = field(default_factory=lambda: {"default", "shop"})
    other_servers: list[Json] = field(default_factory=list)
    """Members, of this region or another."""
    system_deployments: bool = True
    """Whether jobs of one allocation per node have deployments, as from 1.11 on."""
    longest_kill: str = "30s"
    """`max_kill_timeout` of the agent's own client."""

    def __post_init__(self) -> None:
        self.time = 0.0
        self.jobs: dict[tuple[str, str], Json] = {}
        self.versions: dict[tuple[str, str], dict[int, Json]] = {}
        self.deployments: dict[str, Json] = {}
        self.allocations: dict[str, Json] = {}
        self.evaluations: dict[str, Json] = {}
        self.closing = False
        self.leaderless = False
        """Whether its servers have no leader, and can do nothing."""
        self.identities: set[str] = set()
        """Tokens that tasks have of the servers."""
        self.tokens: dict[str, Json] = {}
        """Secret → token. Without any, ACLs are off."""
        self.delays: dict[tuple[str, str], float] = {}
        """Variable → when its lock can be had again."""
        self.renewed: dict[tuple[str, str], int] = {}
        """Variable → how often its lock was got or renewed."""
        self.clients: Clients | None = None
        """Runs the tasks of nodes that have an engine."""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

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

    def shown(self, job: Json) -> Json:
        """A job as the API shows it, with its status as it is now."""
        return job | {
            "Status": answers.job_status(job, self.allocations_of(job), waits=self._waits(job))
        }

    def job_stubs(self, namespace: str, prefix: str, *, meta: bool) -> list[Json]:
        return [
            answers.job_stub(job, self.allocations_of(job), waits=self._waits(job), meta=meta)
            for (space, name), job in sorted(self.jobs.items())
            if namespace in ("*", space) and name.startswith(prefix)
        ]

    def _waits(self, job: Json) -> bool:
        """Whether some of it found no room."""
        key = job["Namespace"], job["ID"], "blocked"
        found = self.evaluations.values()
        return any((e["Namespace"], e["JobID"], e["Status"]) == key for e in found)

    def register(self, namespace: str, body: Json) -> Json:
        """Make a version of a job, unless it is what there is already: then only an evaluation is
        made, and the answer's JobModifyIndex is the job's ModifyIndex (nomad/job_endpoint.go)."""
        return self._register(namespace, body, "job-register")

    def _register(self, namespace: str, body: Json, trigger: str) -> Json:
        job = canonical(body["Job"], namespace)
        key = namespace, job["ID"]
        if namespace not in self.namespaces:
            where = f'job "{job["ID"]}" is in nonexistent namespace "{namespace}"'
            raise Refusal(500, where)
        with self.state.changed:
            there = self.jobs.get(key)
            _enforce(body, there)
            if there is not None and not there.get("Stop") and _same(there, job):
                evaluation = self.evaluate(there)
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
                    "StatusDescription": "",
                    "SubmitTime": self.state.now(),
                    "VersionTag": None,
                }
                self.jobs[key] = job
                self.versions.setdefault(key, {})[version] = copy.deepcopy(job)
                self.state.publish("Job", "JobRegistered", job["ID"], {"Job": job})
            self._cancel_older(job)
            evaluation = self.evaluate(job, trigger)
            return _registered(evaluation, job["JobModifyIndex"])

    def plan(self, namespace: str, body: Json) -> Json:
        """A dry run: nothing is kept."""
        job = canonical(body["Job"], namespace)
        there = self.jobs.get((namespace, job["ID"]))
        before = there if there and not there.get("Stop") else None
        changed = before is None or not _same(before, job)
        job["Version"] = (there["Version"] + 1 if changed else there["Version"]) if there else 0
        plans = self._group_plans(job, None)
        _, failed = self._spots(job, plans)
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
                # Unverified: whether the version that stops a job keeps `Stable`.
                self.versions[namespace, name][job["Version"]] = job | {"Stable": False}
            self._cancel_older(job, "Cancelled because job is stopped")
            for allocation in self.allocations_of(job):
                if is_live(allocation):
                    self._stop(allocation, "alloc not needed as job is stopped")
            self.state.publish("Job", "JobDeregistered", job["ID"], {"Job": self.shown(job)})
            self.retry_blocked()
            evaluation = self._make_evaluation(job, {}, "job-deregister")
            if purge:
                del self.jobs[namespace, name]
                self.versions.pop((namespace, name), None)
        answer = _registered(evaluation, index)
        return {name: value for name, value in answer.items() if name != "Warnings"}

    def revert(self, namespace: str, name: str, body: Json) -> Json:
        """Register an older version anew (nomad/job_endpoint.go, Revert)."""
        with self.state.changed:
            job = self.job(namespace, name)
            wanted, enforced = int(body["JobVersion"]), body.get("EnforcePriorVersion")
            if wanted == job["Version"]:
                raise Refusal(500, "can't revert to current version")
            if enforced is not None and enforced != job["Version"]:
                text = f"Current job has version {job['Version']}; enforcing version {enforced}"
                raise Refusal(500, text)
            target = self.versions[namespace, name].get(wanted)
            if target is None:
                where = f'job "{name}" in namespace "{namespace}"'
                raise Refusal(500, f"{where} at version {wanted} not found")
            index = job["JobModifyIndex"]
            body = {"Job": target, "EnforceIndex": True, "JobModifyIndex": index}
            return self.register(namespace, body)

    def scale(self, namespace: str, name: str, body: Json) -> Json:
        """Another count of a group is a new version (nomad/job_endpoint.go, Scale)."""
        with self.state.changed:
            job = self.job(namespace, name)
            wanted, count = (body.get("Target") or {}).get("Group"), body.get("Count")
            made = copy.deepcopy(job)
            group = next((g for g in made["TaskGroups"] if g["Name"] == wanted), None)
            if group is None or count is None:
                raise Refusal(501, "the double scales groups that there are, to a count")
            deployment = self._deployment(job)
            if deployment is not None and deployment["Status"] in ACTIVE:
                raise Refusal(400, "job scaling blocked due to active deployment")
            policy = group.get("Scaling") or {}
            least, most = policy.get("Min"), policy.get("Max")
            text = "group count was {} than scaling policy {}: {}"
            if least is not None and count < least:
                raise Refusal(400, text.format("less", "minimum", f"{count} < {least}"))
            if most is not None and count > most:
                raise Refusal(400, text.format("greater", "maximum", f"{count} > {most}"))
            group["Count"] = count
            index = job["JobModifyIndex"]
            answer = {"Job": made, "EnforceIndex": True, "JobModifyIndex": index}
            return self._register(namespace, answer, "job-scaling")

    def scale_status(self, namespace: str, name: str) -> Json:
        job = self.job(namespace, name)
        groups = {}
        for group in job["TaskGroups"]:
            own = [
                a
                for a in self.allocations_of(job)
                if a["TaskGroup"] == group["Name"] and is_live(a)
            ]
            health = [(a["DeploymentStatus"] or {}).get("Healthy") for a in own]
            groups[group["Name"]] = {
                "Desired": group["Count"],
                "Placed": len(own),
                "Running": sum(a["ClientStatus"] == "running" for a in own),
                "Healthy": health.count(True),
                "Unhealthy": health.count(False),
                "Events": None,
            }
        return {
            "JobID": name,
            "Namespace": namespace,
            "JobCreateIndex": job["CreateIndex"],
            "JobModifyIndex": job["ModifyIndex"],
            "JobStopped": bool(job.get("Stop")),
            "TaskGroups": groups,
        }

    # --- scheduling -----------------------------------------------------------------------------

    def allocations_of(self, job: Json) -> list[Json]:
        return [
            a
            for a in self.allocations.values()
            if (a["Namespace"], a["JobID"]) == (job["Namespace"], job["ID"])
            and a["Job"]["CreateIndex"] == job.get("CreateIndex", a["Job"]["CreateIndex"])
        ]

    def _deployment(self, job: Json) -> Json | None:
        found = (
            d
            for d in self.deployments.values()
            if d["JobID"] == job["ID"]
            and d["Namespace"] == job["Namespace"]
            and d["JobVersion"] == job["Version"]
            and d["JobCreateIndex"] == job.get("CreateIndex")
        )
        return max(found, key=lambda d: d["CreateIndex"], default=None)

    def _batch_plans(self, job: Json) -> dict[str, GroupPlan]:
        """What ran to its end is not run again by later evaluations, and a failed one that may not
        be rescheduled neither (scheduler/reconciler/filters.go, filterOldTerminalAllocs)."""
        plans = {}
        for group in job["TaskGroups"]:
            there = [a for a in self.allocations_of(job) if a["TaskGroup"] == group["Name"]]
            name = f"{job['ID']}.{group['Name']}[0]"
            place = [] if there else [scheduler.Placement(name)]
            plans[group["Name"]] = GroupPlan(place=place, ignore=len(there))
        return plans

    def _system_plans(self, job: Json, deployment: Json | None) -> dict[str, GroupPlan]:
        """One allocation on each node that can take it; one that is replaced is stopped as its
        successor is placed (scheduler/scheduler_system.go). What ran to its end once per node is
        not run again."""
        halted = bool(deployment and deployment["Status"] in ("failed", "paused", "cancelled"))
        versions = self.versions.get((job["Namespace"], job["ID"]), {})
        plans = {}
        for group in job["TaskGroups"]:
            plan = plans[group["Name"]] = GroupPlan()
            usage = self._usage({a["ID"] for a in self.allocations_of(job)})
            for node in self.nodes:
                own = [
                    a
                    for a in self.allocations_of(job)
                    if (a["TaskGroup"], a["NodeID"]) == (group["Name"], node.id)
                    and (is_live(a) or job["Type"] == "sysbatch")
                ]
                fits = node.takes_tasks and not unmet_constraint(node, job, group, usage)
                scheduler.on_node(plan, job, group, node.id, own, versions, fits=fits)
            if self.system_deployments and job["Type"] == "system":
                scheduler.limit(plan, job, group, self.allocations_of(job), halted=halted)
        return plans

    def _group_plans(self, job: Json, deployment: Json | None) -> dict[str, GroupPlan]:
        if job["Type"] == "batch":
            return self._batch_plans(job)
        if job["Type"] in ("system", "sysbatch"):
            return self._system_plans(job, deployment)
        versions = self.versions.get((job["Namespace"], job["ID"]), {})
        halted = bool(deployment and deployment["Status"] in ("failed", "paused", "cancelled"))
        states = (deployment or {}).get("TaskGroups") or {}
        there: dict[str, list[Json]] = {}
        for allocation in self.allocations_of(job):
            there.setdefault(allocation["TaskGroup"], []).append(allocation)
        plans = {
            group["Name"]: scheduler.reconcile(
                job,
                group,
                there.get(group["Name"], []),
                versions,
                states.get(group["Name"]),
                halted=halted,
                stays=lambda allocation, group: self._stays(job, allocation, group),
            )
            for group in job["TaskGroups"]
        }
        for name in there.keys() - plans.keys():
            if live := [
                (a, "alloc not needed due to job update") for a in there[name] if is_live(a)
            ]:
                plans[f"-{name}"] = GroupPlan(stop=live)
        return {name.removeprefix("-"): plan for name, plan in plans.items()}

    def _stays(self, job: Json, allocation: Json, group: Json) -> bool:
        """Whether the node of an allocation meets the constraints of its group."""
        without = self._usage({allocation["ID"]})
        node = self.node(allocation["NodeID"])
        return unmet_constraint(node, job, group, without) is None

    def evaluate(self, job: Json, trigger: str = "job-register") -> Json:
        """Schedule a job, and keep the evaluation: "complete" says scheduled, not placed."""
        deployment = self._deployment(job)
        plans = self._group_plans(job, deployment)
        spots, failed = self._spots(job, plans)
        evaluation = self._make_evaluation(job, failed, trigger)
        changes = any(plan.place or plan.in_place or plan.stop for plan in plans.values())
        kinds = ("service", "system") if self.system_deployments else ("service",)
        if deployment is None and changes and job["Type"] in kinds and not job.get("Stop"):
            deployment = self._make_deployment(job, plans)
        evaluation["DeploymentID"] = deployment["ID"] if deployment else ""
        for plan in plans.values():
            kept = {p.replaces for p in plan.place if p.key not in spots}
            for allocation, why in plan.stop:
                if allocation["ID"] not in kept:
                    self._stop(allocation, why)
            for allocation in plan.in_place:
                self._update_in_place(allocation, job, deployment)
        versions = self.versions.get((job["Namespace"], job["ID"]), {})
        for name, plan in plans.items():
            for placement in plan.place:
                if (spot := spots.get(placement.key)) is None:
                    continue
                if placement.version is None:
                    self._place(job, name, placement, spot, deployment, evaluation)
                else:
                    older = versions[placement.version]
                    self._place(older, name, placement, spot, None, evaluation)
        return evaluation

    def retry_blocked(self) -> None:
        """Room became free: what waits for it is scheduled again (nomad/blocked_evals.go)."""
        for evaluation in list(self.evaluations.values()):
            if evaluation["Status"] == "blocked":
                with self.state.writing("evals") as index:
                    evaluation |= {"Status": "complete", "ModifyIndex": index}
                job = self.jobs.get((evaluation["Namespace"], evaluation["JobID"]))
                if job is not None and not job.get("Stop"):
                    self.evaluate(job)

    def _make_evaluation(self, job: Json, failed: Json, trigger: str) -> Json:
        with self.state.writing("evals") as index:
            now = self.state.now()
            groups = [group["Name"] for group in job["TaskGroups"]]
            made = {
                "ID": str(uuid.uuid4()),
                "JobID": job["ID"],
                "Namespace": job["Namespace"],
                "JobModifyIndex": job["JobModifyIndex"],
                "JobCreateIndex": job["CreateIndex"],
                "Status": "complete",
                "Type": job["Type"],
                "Priority": job["Priority"],
                "TriggeredBy": trigger,
                "FailedTGAllocs": failed or None,
                "QueuedAllocations": {name: _queued(failed.get(name)) for name in groups},
                "SnapshotIndex": index,
                "BlockedEval": "",
                "DeploymentID": "",
                "CreateIndex": index,
                "ModifyIndex": index,
                "CreateTime": now,
                "ModifyTime": now,
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
            self._tell_evaluation(made)
        return made

    def _tell_evaluation(self, evaluation: Json) -> None:
        payload = {"Evaluation": answers.evaluation(evaluation)}
        self.state.publish("Evaluation", "EvaluationUpdated", evaluation["ID"], payload)

    def _spots(self, job: Json, plans: dict[str, GroupPlan]) -> tuple[dict[Key, Spot], Json]:
        """Where each new allocation goes, and why the rest goes nowhere: group → metric. What is
        stopped for others has left its room to them already."""
        stopped = {a["ID"] for plan in plans.values() for a, _ in plan.stop}
        usage = self._usage(stopped)
        spots: dict[Key, Spot] = {}
        failed: Json = {}
        for group in job["TaskGroups"]:
            for placement in plans[group["Name"]].place:
                nodes = [n for n in self.nodes if placement.node in (None, n.id)]
                found = choose(nodes, job, group, usage)
                if isinstance(found, Spot):
                    usage.take(found, key_of(job, group), group)
                    spots[placement.key] = found
                elif group["Name"] in failed:
                    failed[group["Name"]]["CoalescedFailures"] += 1
                else:
                    failed[group["Name"]] = found
        return spots, failed

    def _usage(self, stopped: set[str]) -> Usage:
        usage = Usage()
        for allocation in self.allocations.values():
            if is_live(allocation) and allocation["ID"] not in stopped:
                job, group = self._job_of(allocation), self.group(allocation)
                usage.add(allocation["NodeID"], key_of(job, group), group)
            ended = allocation["ClientStatus"] in scheduler.TERMINAL
            if not ended:
                which = usage.closing if allocation["ID"] in stopped else usage.ports
                which |= {(allocation["NodeID"], p["Value"]) for p in ports_of(allocation)}
        return usage

    def _job_of(self, allocation: Json) -> Json:
        """The version of its job that an allocation is of."""
        found: Json = allocation["Job"]
        return found

    def group(self, allocation: Json) -> Json:
        """What an allocation is made of; a purged job's is kept with its allocations."""
        groups: list[Json] = self._job_of(allocation).get("TaskGroups") or []
        return next((g for g in groups if g["Name"] == allocation["TaskGroup"]), {})

    # --- deployments ------------------------------------------------------------------------------

    def _make_deployment(self, job: Json, plans: dict[str, GroupPlan]) -> Json:
        with self.state.writing("deployment") as index:
            groups = {}
            for group in job["TaskGroups"]:
                update = group.get("Update") or {}
                plan = plans[group["Name"]]
                canaries, count = plan.canaries, int(group.get("Count", 1))
                groups[group["Name"]] = {
                    "AutoRevert": bool(update.get("AutoRevert")),
                    "AutoPromote": bool(update.get("AutoPromote")),
                    "DesiredCanaries": canaries,
                    "DesiredTotal": count if plan.nodes is None else plan.nodes,
                    "HealthyAllocs": 0,
                    "PlacedAllocs": 0,
                    "PlacedCanaries": None,
                    "ProgressDeadline": int(update.get("ProgressDeadline") or 0),
                    "Promoted": False,
                    "RequireProgressBy": NEVER,
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
                "StatusDescription": RUNNING,
                "EvalPriority": job["Priority"],
                "CreateIndex": index,
                "ModifyIndex": index,
                "CreateTime": self.state.now(),
                "ModifyTime": self.state.now(),
            }
            self.deployments[made["ID"]] = made
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

    def _expect_progress(self, group: Json) -> None:
        """By when another one has to be healthy (nomad/deploymentwatcher/deployment_watcher.go)."""
        if deadline := int(group["ProgressDeadline"]):
            group["RequireProgressBy"] = stamp(self.state.now() + deadline)

    def _tell(self, allocation: Json, kind: str = "AllocationUpdated") -> None:
        """Events have allocations without their jobs (nomad/state/events.go)."""
        shown = answers.allocation({k: v for k, v in allocation.items() if k != "Job"})
        self.state.publish("Allocation", kind, allocation["ID"], {"Allocation": shown})

    def _touch(self, deployment: Json) -> None:
        with self.state.writing("deployment") as index:
            deployment |= {"ModifyIndex": index, "ModifyTime": self.state.now()}
            payload = {"Deployment": deployment}
            self.state.publish("Deployment", "DeploymentStatusUpdate", deployment["ID"], payload)

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
        with self.state.changed:
            deployment = self._unfinished(name, "fail")
            reverted = self._fail(deployment, "Deployment marked as failed")
            return self._deployment_answer(deployment, self._noted(deployment), reverted)

    def pause(self, name: str, *, pause: bool) -> Json:
        """A paused one places and replaces nothing (nomad/structs/structs.go,
        DeploymentStatusDescriptionPaused)."""
        with self.state.changed:
            deployment = self._unfinished(name, "pause" if pause else "resume")
            what = ("paused", "Deployment is paused") if pause else ("running", RUNNING)
            deployment |= {"Status": what[0], "StatusDescription": what[1]}
            self._touch(deployment)
            job = self.jobs.get((deployment["Namespace"], deployment["JobID"]))
            evaluation = None
            if job is not None and not pause:
                evaluation = self.evaluate(job, "deployment-watcher")
                self._follow(deployment)
            return self._deployment_answer(deployment, evaluation)

    def promote(self, name: str, groups: list[str] | None) -> Json:
        """Of some groups, or of all: their canaries become what the others are, if there are enough
        healthy ones (nomad/state/state_store.go, UpdateDeploymentPromotion)."""
        with self.state.changed:
            deployment = self._unfinished(name, "promote")
            chosen = {
                group: state
                for group, state in deployment["TaskGroups"].items()
                if state["DesiredCanaries"] and (groups is None or group in groups)
            }
            lacking = [
                f'\t* Task group "{group}" has {healthy}/{state["DesiredCanaries"]} healthy '
                "allocations\n"
                for group, state in chosen.items()
                if (healthy := self._healthy_canaries(state)) < state["DesiredCanaries"]
            ]
            if lacking:
                errors = f"{len(lacking)} error{'s' if len(lacking) > 1 else ''} occurred:\n"
                raise Refusal(500, f"{errors}{''.join(lacking)}\n")
            self._promote(deployment, list(chosen.values()))
            evaluation = self._noted(deployment)
            self._follow(deployment)
            return self._deployment_answer(deployment, evaluation)

    def _unfinished(self, name: str, what: str) -> Json:
        """nomad/deployment_endpoint.go; texts: nomad/structs/errors.go."""
        deployment = self.deployments.get(name)
        if deployment is None:
            raise Refusal(500, "deployment not found")
        if deployment["Status"] not in ACTIVE:
            raise Refusal(500, f"can't {what} terminal deployment")
        return deployment

    def _noted(self, deployment: Json) -> Json | None:
        """The evaluation that a change of a deployment makes."""
        job = self.jobs.get((deployment["Namespace"], deployment["JobID"]))
        return self._make_evaluation(job, {}, "deployment-watcher") if job else None

    def _deployment_answer(
        self, deployment: Json, evaluation: Json | None, reverted: int | None = None
    ) -> Json:
        return {
            "EvalID": evaluation["ID"] if evaluation else "",
            "EvalCreateIndex": evaluation["CreateIndex"] if evaluation else 0,
            "DeploymentModifyIndex": deployment["ModifyIndex"],
            "RevertedJobVersion": reverted,
            "Index": self.state.index,
        }

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
        self.evaluate(made)
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
        self.evaluate(job)
        is_there = all(
            g["HealthyAllocs"] >= g["DesiredTotal"] and (g["Promoted"] or not g["DesiredCanaries"])
            for g in groups
        )
        # Neither while others are to be replaced (scheduler/reconciler, isDeploymentComplete).
        older = [
            a for a in self.allocations_of(job) if is_live(a) and a["JobVersion"] != job["Version"]
        ]
        if is_there and not older:
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
        self._hear_of_the_promotion([n for g in groups for n in g["PlacedCanaries"] or ()])

    def _hear_of_the_promotion(self, names: list[str]) -> None:
        """The promotion has an index of its own, before the evaluation that stops others is worked
        through: clients give canaries their own tags first. Unverified: nothing makes the stop on
        another node wait for that."""
        for name in names:
            if self.clients is not None and name in self.clients.runners:
                self.clients.runners[name].register()

    def _healthy_canaries(self, group: Json) -> int:
        found = (self.allocations[name] for name in group["PlacedCanaries"] or ())
        return sum((a["DeploymentStatus"] or {}).get("Healthy") is True for a in found)

    # --- allocations ------------------------------------------------------------------------------

    def _place(
        self,
        job: Json,
        group: str,
        placement: scheduler.Placement,
        spot: Spot,
        deployment: Json | None,
        evaluation: Json,
    ) -> None:
        failed = (
            a
            for a in self.allocations_of(job)
            if a["Name"] == placement.name
            and (a["ClientStatus"] in ("failed", "lost") or scheduler.is_migrating(a))
        )
        before = max(failed, key=lambda a: int(a["CreateIndex"]), default=None)
        with self.state.writing("allocs") as index:
            made = {
                "ID": str(uuid.uuid4()),
                "EvalID": evaluation["ID"],
                "Name": placement.name,
                "Namespace": job["Namespace"],
                "NodeID": spot.node.id,
                "NodeName": spot.node.name,
                "JobID": job["ID"],
                "JobType": job["Type"],
                "JobVersion": job["Version"],
                "TaskGroup": group,
                "DesiredStatus": "run",
                "DesiredDescription": "",
                "ClientStatus": "pending",
                "ClientDescription": "",
                "DeploymentID": deployment["ID"] if deployment else "",
                "DeploymentStatus": HEALTH | {"Canary": True, "ModifyIndex": index}
                if placement.is_canary
                else None,
                "TaskStates": None,
                "Metrics": spot.metric,
                "AllocatedResources": {
                    "Tasks": {task["Name"]: _reserved(task) for task in self._tasks_of(job, group)},
                    "TaskLifecycles": {
                        task["Name"]: task.get("Lifecycle") for task in self._tasks_of(job, group)
                    },
                    "Shared": {"DiskMB": 300, "Networks": None, "Ports": list(spot.ports)},
                },
                "PreviousAllocation": before["ID"] if before else "",
                "NextAllocation": "",
                "Job": job,
                "CreateIndex": index,
                "ModifyIndex": index,
                "AllocModifyIndex": index,
                "CreateTime": self.state.now(),
                "ModifyTime": self.state.now(),
            }
            self.allocations[made["ID"]] = made
            if before is not None:
                before |= {"NextAllocation": made["ID"], "ModifyIndex": index}
            self._tell(made, "PlanResult")
        if deployment is not None:
            state = deployment["TaskGroups"][group]
            state["PlacedAllocs"] += 1
            if state["RequireProgressBy"] == NEVER:
                self._expect_progress(state)
            if placement.is_canary:
                state["PlacedCanaries"] = [*(state["PlacedCanaries"] or ()), made["ID"]]
            self._touch(deployment)
        self._run(made)

    def _tasks_of(self, job: Json, group: str) -> list[Json]:
        return list(next(g for g in job["TaskGroups"] if g["Name"] == group).get("Tasks") or ())

    def _script(self, allocation: Json) -> Script:
        if allocation["JobType"] in BATCH:
            return self.scripts.get("batch") or Script(exits_after=0.2, exit_code=0)
        image, group = _image(self.group(allocation)), allocation["TaskGroup"]
        return self.scripts.get(image) or self.scripts.get(group) or Script()

    def _run(self, allocation: Json) -> None:
        node = self.node(allocation["NodeID"])
        if node.engine is not None:
            assert self.clients is not None, "nodes with engines need clients"
            self.clients.start(allocation, node)
            return
        script = self._script(allocation)
        self.later(script.starts_after, lambda: self._started(allocation))
        if script.exits_after is not None:
            self.later(
                script.starts_after + script.exits_after,
                lambda: self._ended(allocation, script.exit_code),
            )
        elif script.healthy_after is not None:
            self.later(
                script.starts_after + script.healthy_after, lambda: self.judged(allocation, True)
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
        if allocation["JobType"] in BATCH and code == 0:
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
        self.judged(allocation, False)

    def _event(self, allocation: Json, status: str, kind: str, text: str, **more: object) -> None:
        """An event of all tasks, which are in one state."""
        state = "running" if status == "running" else "dead"
        for task in self.group(allocation).get("Tasks") or [{"Name": allocation["TaskGroup"]}]:
            self.task_event(allocation, task["Name"], state, kind, text, **more)
        self.client_status(allocation, status)

    def task_event(
        self, allocation: Json, task: str, state: str, kind: str, text: str, **more: object
    ) -> None:
        """What a client says of a task: an event, and its state."""
        with self.state.writing("allocs") as index:
            event = {
                "Type": kind,
                "Time": self.state.now() + index,
                "DisplayMessage": text,
                "Message": "",
                "Details": {},
            }
            states = allocation["TaskStates"] or {}
            own = states.setdefault(
                task,
                {
                    "Events": [],
                    "Restarts": 0,
                    "LastRestart": None,
                    "StartedAt": None,
                    "FinishedAt": None,
                },
            )
            now = stamp(self.state.now())
            if kind in MOMENTS:
                own[MOMENTS[kind]] = now
            if state == "dead" and own.get("State") != "dead":
                own["FinishedAt"] = now
            event |= more
            own["Events"] = [*own["Events"], event][-EVENTS_OF_A_TASK:]
            own["State"] = state
            own["Failed"] = bool(more.get("FailsTask")) or bool(own.get("Failed"))
            own["Restarts"] += kind == "Restarting"
            allocation |= {"TaskStates": states, "ModifyIndex": index}
            self._tell(allocation)

    def client_status(self, allocation: Json, status: str) -> None:
        with self.state.writing("allocs") as index:
            allocation |= {
                "ClientStatus": status,
                "ClientDescription": DESCRIPTIONS.get(status, ""),
                "ModifyIndex": index,
                "ModifyTime": self.state.now() + index,
            }
            self._tell(allocation)
        self._tell_job(allocation)
        if status in scheduler.TERMINAL:
            self._has_ended(allocation)

    def _tell_job(self, allocation: Json) -> None:
        """An allocation changes its job's status (nomad/state/state_store.go, setJobStatus).
        Unverified: the type of the event."""
        job = self.jobs.get((allocation["Namespace"], allocation["JobID"]))
        if job is not None and (shown := self.shown(job))["Status"] != job["Status"]:
            job["Status"] = shown["Status"]
            self.state.publish("Job", "AllocationUpdated", job["ID"], {"Job": shown})

    def _has_ended(self, allocation: Json) -> None:
        """Its room is free; what failed is placed anew, unless its deployment is about to end."""
        job = self.jobs.get((allocation["Namespace"], allocation["JobID"]))
        if job is None or job.get("Stop"):
            self.retry_blocked()
            return
        if allocation["ClientStatus"] == "failed" and job["Type"] == "service":
            delay = self._reschedule_delay(allocation)
            deployment = self.deployments.get(allocation["DeploymentID"])
            if delay is not None and (deployment is None or deployment["Status"] not in ACTIVE):
                self.later(delay, lambda: self._reschedule(allocation))
        self.retry_blocked()

    def _reschedule_delay(self, allocation: Json) -> float | None:
        """Seconds until a failed allocation is placed anew; None for never. Delays that grow do so
        with each replacement (nomad/structs/structs.go, NextDelay)."""
        policy = self.group(allocation).get("ReschedulePolicy") or {}
        if not policy.get("Unlimited") and not policy.get("Attempts"):
            return None
        delay, most = int(policy.get("Delay") or 0) / NS, int(policy.get("MaxDelay") or 0) / NS
        before = self.allocations.get(allocation["PreviousAllocation"])
        while before is not None and policy.get("DelayFunction") == "exponential":
            delay = min(delay * 2, most)
            before = self.allocations.get(before["PreviousAllocation"])
        return delay

    def _reschedule(self, allocation: Json) -> None:
        job = self.jobs.get((allocation["Namespace"], allocation["JobID"]))
        if job is not None and not job.get("Stop"):
            self.evaluate(job)

    def judged(self, allocation: Json, healthy: bool) -> None:
        """The client says whether an allocation is healthy: for a deployment, or for who waits
        for it before more of its group leave their nodes."""
        deployment = self.deployments.get(allocation["DeploymentID"])
        if allocation["DesiredStatus"] != "run":
            return
        with self.state.writing("allocs") as index:
            status = allocation["DeploymentStatus"] or HEALTH
            if status.get("Healthy") is not None:
                return
            allocation["DeploymentStatus"] = status | {
                "Healthy": healthy,
                "ModifyIndex": index,
                "Timestamp": stamp(self.state.now()),
            }
            allocation["ModifyIndex"] = index
            self._tell(allocation)
        if deployment is None:
            return
        group = deployment["TaskGroups"].get(allocation["TaskGroup"])
        if group is None or deployment["Status"] not in ACTIVE:
            return
        group["HealthyAllocs" if healthy else "UnhealthyAllocs"] += 1
        if healthy:
            self._expect_progress(group)
        self._touch(deployment)
        if healthy:
            self._follow(deployment)
        elif not group["ProgressDeadline"] or self._reschedule_delay(allocation) is None:
            self._fail(deployment, "Failed due to unhealthy allocations")
        else:
            self._replace_unhealthy(allocation)

    def _replace_unhealthy(self, allocation: Json) -> None:
        """With a progress deadline, an unhealthy allocation that may be placed anew fails no
        deployment: it is replaced until the time is over
        (nomad/deploymentwatcher/deployment_watcher.go, handleAllocUpdate, shouldFailEarly)."""
        self._stop(allocation, "alloc was rescheduled because it failed")
        delay = self._reschedule_delay(allocation) or 0.0
        self.later(delay, lambda: self._reschedule(allocation))

    def _update_in_place(self, allocation: Json, job: Json, deployment: Json | None) -> None:
        """Its health is cleared, and it needs `min_healthy_time` again
        (client/allocrunner/health_hook.go, Update)."""
        with self.state.writing("allocs") as index:
            allocation |= {
                "Job": job,
                "JobVersion": job["Version"],
                "DeploymentID": deployment["ID"] if deployment else "",
                "DeploymentStatus": None,
                "ModifyIndex": index,
                "AllocModifyIndex": index,
            }
        if deployment is not None:
            deployment["TaskGroups"][allocation["TaskGroup"]]["PlacedAllocs"] += 1
            self._touch(deployment)
            is_scripted = self.node(allocation["NodeID"]).engine is None
            if allocation["ClientStatus"] == "running" and is_scripted:
                self.later(0.1, lambda: self.judged(allocation, True))

    def end(self, allocation: Json, why: str) -> None:
        self._stop(allocation, why)

    def _stop(self, allocation: Json, why: str) -> None:
        """The client of a node ends it; a scripted one is gone at once."""
        with self.state.writing("allocs") as index:
            allocation |= {
                "DesiredStatus": "stop",
                "DesiredDescription": why,
                "ModifyIndex": index,
                "AllocModifyIndex": index,
            }
            is_real = self.node(allocation["NodeID"]).engine is not None
            if allocation["ClientStatus"] not in scheduler.TERMINAL and not is_real:
                allocation["ClientStatus"] = "complete"
                allocation["ClientDescription"] = DESCRIPTIONS["complete"]
                for task in allocation["TaskStates"] or ():
                    say = functools.partial(self.task_event, allocation, task, "dead")
                    say("Terminated", "Exit Code: 0", ExitCode=0)
                    say("Killed", "Task successfully killed")
                catalogue.deregister(self.state, allocation["ID"])
            self._tell(allocation, "PlanResult")

    def stop_allocation(self, name: str) -> Json:
        """Stopped and placed anew by one evaluation, which is not start-first
        (nomad/alloc_endpoint.go, Stop). Unverified: the description."""
        with self.state.changed:
            allocation = self.allocations.get(name)
            if allocation is None:
                raise Refusal(404, "allocation not found")
            self._stop(allocation, "alloc is being migrated")
            job = self.jobs.get((allocation["Namespace"], allocation["JobID"]))
            evaluation = self.evaluate(job, "alloc-stop") if job else None
            return {"EvalID": evaluation["ID"] if evaluation else "", "Index": self.state.index}

    def restart_tasks(self, name: str, task: str) -> None:
        """At once, and not counted by the policy (client/allocrunner/taskrunner/lifecycle.go).
        Unverified: what is said of a restart of all that runs, and of one without a delay."""
        allocation, asked = self.allocations[name], task or "running tasks"
        reason = "User requested task to restart" if task else f"User requested {asked} to restart"
        if self.clients is not None and name in self.clients.runners:
            self.clients.runners[name].restart_for(reason)
            return
        with self.state.changed:
            states = allocation["TaskStates"] or {}
            for own in [task] if task else list(states):
                say = functools.partial(self.task_event, allocation, own)
                say("running", "Restart Signaled", reason)
                say("dead", "Terminated", "Exit Code: 0", ExitCode=0)
                say("pending", "Restarting", "Task restarting in 0s")
                say("running", "Started", "Task started by client")

    def signal_tasks(self, name: str, task: str, signal: str) -> None:
        allocation = self.allocations[name]
        for own in [task] if task else list(allocation["TaskStates"] or {}):
            text = f"Task being sent signal {signal}"
            details = {"signal": signal}
            self.task_event(allocation, own, "running", "Signaling", text, Details=details)
        if self.clients is not None and name in self.clients.runners:
            self.clients.runners[name].send(signal)

    # --- nodes ------------------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.id == name)

    def node_status(self, node: Node, status: str) -> None:
        """A node that misses its heartbeats is down: its allocations are lost, and replaced
        (nomad/heartbeat.go; scheduler/reconciler/filters.go)."""
        with self.state.changed:
            with self.state.writing("nodes") as index:
                node.status, node.index = status, index
            if status == "ready":
                self.has_come(node)
                return
            jobs = {}
            for allocation in self.allocations.values():
                if allocation["NodeID"] == node.id and is_live(allocation):
                    jobs[allocation["Namespace"], allocation["JobID"]] = True
                    self._lose(allocation)
            for key in jobs:
                if (job := self.jobs.get(key)) is not None and not job.get("Stop"):
                    self.evaluate(job)

    def has_come(self, node: Node) -> None:
        """A node takes allocations again: jobs that have one on each node are scheduled, and what
        waits for room (nomad/node_endpoint.go, createNodeEvals)."""
        with self.state.changed:
            for job in list(self.jobs.values()):
                if job["Type"] == "system" and not job.get("Stop"):
                    self.evaluate(job)
            self.retry_blocked()

    def _lose(self, allocation: Json) -> None:
        with self.state.writing("allocs") as index:
            allocation |= {
                "DesiredStatus": "stop",
                "DesiredDescription": "alloc is lost since its node is down",
                "ClientStatus": "lost",
                "ModifyIndex": index,
                "ModifyTime": self.state.now(),
            }
        catalogue.deregister(self.state, allocation["ID"])


def _same(one: Json, other: Json) -> bool:
    strip = (*OF_THE_SERVER, "Stop")
    first, second = (bare({k: v for k, v in job.items() if k not in strip}) for job in (one, other))
    return bool(first == second)


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


def _reserved(task: Json) -> Json:
    resources = task.get("Resources") or {}
    return {
        "Cpu": {"CpuShares": int(resources.get("CPU") or 0), "ReservedCores": None},
        "Memory": {
            "MemoryMB": int(resources.get("MemoryMB") or 0),
            "MemoryMaxMB": int(resources.get("MemoryMaxMB") or 0),
        },
        "Networks": None,
        "Devices": None,
    }


def _queued(metric: Json | None) -> int:
    """How many of a group found no room."""
    return 0 if metric is None else 1 + int(metric["CoalescedFailures"])


def ports_of(allocation: Json) -> list[Json]:
    shared: Json = allocation["AllocatedResources"]["Shared"]
    return list(shared["Ports"])


def _image(group: Json) -> str:
    tasks: list[Json] = group.get("Tasks") or [{}]
    return str((tasks[0].get("Config") or {}).get("image") or "")
