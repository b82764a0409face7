"""A plan that is being carried out on a Nomad cluster, and its reversal."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from deploytool.backends.model import Action, Plan, RouteCheck, ServiceProgress, Task, Verdict
from deploytool.backends.nomad.api.allocations import runs
from deploytool.backends.nomad.api.checks import why_unready
from deploytool.backends.nomad.api.client import Client, NotFound, Outdated
from deploytool.backends.nomad.planning.job import (
    counts,
    groups_of,
    is_running,
    is_system,
    partial,
    same,
    stamped,
)
from deploytool.backends.nomad.planning.neighbours import withdraw
from deploytool.backends.nomad.planning.plan import NomadPlan
from deploytool.backends.nomad.rollout import watch
from deploytool.backends.nomad.rollout.routes import check
from deploytool.backends.nomad.rollout.watch import Seen
from deploytool.backends.nomad.storage import files
from deploytool.errors import EngineError
from deploytool.json_types import Json
from deploytool.spec import Release

LONGEST_WAIT = 2.0
"""Seconds for a question that the server answers as soon as the deployment moves: what is known of
the lock and of the deadline is this old at most."""
AT_ONCE = 8
"""Requests that are under way at the same time."""


class NomadRollout:
    """Implements `deploytool.backends.protocol.Rollout`. What it knows is its own: the plan is
    left as it is."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self.client = client
        self.plan = plan
        self.nomad: NomadPlan = plan.payload
        self.started: set[str] = set()
        self.index = self.nomad.index
        """The job's modify index, which the next registration insists on."""
        self.version: int | None = None
        """The version that was registered last; None while nothing was."""
        self.own_versions: set[int] = set()
        self.job: Json | None = self.nomad.live
        """The job as it is registered now."""
        self.deployment_id = ""
        self.deployment_index = 0
        self.list_index = 0
        self.seen: Seen | None = None
        self.healthy_since: dict[str, float] = {}
        """Allocation → when it was first seen healthy, where no deployment says so."""
        self.is_stale = True
        """Whether the cluster may have changed since `seen`."""

    def __enter__(self) -> NomadRollout:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held: connections are the client's."""

    @property
    def path(self) -> str:
        return f"/v1/job/{self.nomad.app}"

    # --- changes --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """A job brings all that it needs; a rollback to it later needs its files once more."""
        files.keep(self.client, self.nomad.app, self.nomad.files)

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        changing = {
            change.name
            for change in self.plan.changes
            if change.kind == "service" and change.action in (Action.CREATE, Action.UPDATE)
        }
        now = changing if services is None else changing & set(services)
        if not now:
            return
        self.started |= now
        job = partial(self.nomad.job, self.nomad.live, self.started)
        if release is not None:
            stamped(job, release.id, self._replaced & self.started)
        self._register(job)

    @property
    def _replaced(self) -> set[str]:
        return {change.name for change in self.plan.changes if change.replaces}

    def _register(self, job: Json) -> None:
        """Register the job if it still is what it was when it was read last."""
        before = int(self.job["Version"]) if self.job else -1
        body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": self.index}
        try:
            self.client.post("/v1/jobs", body, again=True)
        except Outdated as error:
            if not (error.is_repeated and self._has_arrived(job, before)):
                raise EngineError(
                    f"{self.nomad.app} was changed by somebody else meanwhile",
                    code="changed_meanwhile",
                    hint="look at what it is now, and deploy again: deploytool status",
                ) from None
        self.job = self._registered(before)
        self.index = int(self.job["JobModifyIndex"])
        self.version = int(self.job["Version"])
        self.own_versions.add(self.version)
        self.deployment_id, self.deployment_index, self.is_stale = "", 0, True

    def _has_arrived(self, job: Json, before: int) -> bool:
        """Whether the version on top of that one is this job, registered by a request whose answer
        was lost. Servers add to what they are sent, so that they are asked what differs."""
        live = self._current()
        if live is None or int(live["Version"]) != before + 1:
            return False
        found = self.client.post(f"{self.path}/plan", {"Job": job, "Diff": True}, again=True)
        is_same = (found.get("Diff") or {}).get("Type") == "None"
        return bool(is_same and found.get("JobModifyIndex") == live["JobModifyIndex"])

    def _registered(self, before: int) -> Json:
        """The job as it was registered on top of a version. The answer to that may name the wrong
        index, so the job itself is asked for; the servers may have reverted it already."""
        job = dict(self.client.get(self.path))
        if int(job["Version"]) <= before + 1:
            return job
        known = (self.client.get(f"{self.path}/versions") or {}).get("Versions") or ()
        return next((dict(v) for v in known if int(v["Version"]) == before + 1), job)

    def renew_logins(self) -> None:
        """Nomad's clients have their own logins: no job brings one."""

    def recover(self) -> None:
        """The cluster places what it could not place as soon as it can."""

    def reverse(self) -> NomadReversal:
        return NomadReversal(self)

    def finish(self) -> None:
        """Remove the groups of services that are gone, and take over routes of other apps."""
        self._remove()
        withdraw(self.client, self.nomad.routing.taken)

    def _remove(self) -> None:
        gone = {c.name for c in self.plan.changes if c.action is Action.REMOVE}
        left = groups_of(self.job).keys() - gone
        if not gone & groups_of(self.job).keys():
            return
        if not left:
            self._purge()
            return
        job = dict(self.job or {})
        job["TaskGroups"] = [g for g in job["TaskGroups"] if g["Name"] in left]
        self._register(job)

    def _purge(self) -> None:
        with suppress(NotFound):
            self.client.delete(self.path, purge="true")

    # --- what has become of it ------------------------------------------------------------------

    def observe(self) -> list[ServiceProgress]:
        if self.seen is None or self.is_stale:
            self.seen = self._look()
            self.is_stale = False
        return watch.progress(self.seen)

    def _look(self) -> Seen:
        job = self.job if self.version is not None else self._current()
        version = int(job["Version"]) if job else -1
        # Allocations last: they tell why a deployment failed.
        seen = Seen(
            version=version,
            counts=self.nomad.wanted or counts(self.nomad.job),
            deployments=self._deployments(),
            allocations=self._list("allocations"),
            is_system=is_system(job or self.nomad.job),
        )
        if seen.deployment(version) is None:
            # Allocations that are changed in place come with it, and run already.
            seen = replace(seen, deployments=self._deployments())
        deployment = seen.deployment(version)
        if deployment is not None:
            self._follow(seen.reverted_to or deployment)
        elif seen.is_system:
            return self._without_deployment(seen)
        if watch.lacks_placement(deployment):
            seen = replace(seen, unplaced=self._unplaced())
        return seen

    def _without_deployment(self, seen: Seen) -> Seen:
        """What a deployment would say: servers before 1.11 have none for jobs of this type."""
        evaluations = self._list("evaluations")
        running = [a for a in seen.allocations if runs(a) and a.get("JobVersion") == seen.version]
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            said = pool.map(lambda a: why_unready(self.client, a["ID"]), running)
            unready = {a["ID"]: text for a, text in zip(running, said, strict=True) if text}
        for allocation in running:
            if allocation["ID"] not in unready and not self._has_stayed_healthy(allocation):
                unready[allocation["ID"]] = "it has not been healthy for long yet"
        return replace(
            seen,
            unplaced=self._unplaced(evaluations),
            is_scheduled=not any(e.get("Status") == "pending" for e in evaluations),
            unready=unready,
        )

    def _has_stayed_healthy(self, allocation: Json) -> bool:
        """Whether one that this rollout replaced has been healthy for `min_healthy_time`."""
        if self.version is None:
            return True
        now = time.monotonic()
        since = self.healthy_since.setdefault(allocation["ID"], now)
        update = groups_of(self.nomad.job)[allocation["TaskGroup"]].get("Update") or {}
        return now - since >= int(update.get("MinHealthyTime") or 0) / 10**9

    def _deployments(self) -> list[Json]:
        answer = self.client.poll(f"{self.path}/deployments", 0, 0)
        self.list_index = answer.index
        return list(answer.value or ())

    def _current(self) -> Json | None:
        try:
            return dict(self.client.get(self.path))
        except NotFound:
            return None

    def _list(self, what: str) -> list[Json]:
        try:
            return list(self.client.get(f"{self.path}/{what}") or ())
        except NotFound:
            return []

    def _unplaced(self, evaluations: Sequence[Json] | None = None) -> dict[str, Json]:
        """Group → why it has no node, by the evaluations that wait for one."""
        found: dict[str, Json] = {}
        for evaluation in self._list("evaluations") if evaluations is None else evaluations:
            of_this = evaluation.get("JobModifyIndex", self.index) >= self.index
            if of_this and (evaluation.get("Status") == "blocked" or evaluation.get("BlockedEval")):
                found |= evaluation.get("FailedTGAllocs") or {}
        return found

    def _follow(self, deployment: Json) -> None:
        if deployment["ID"] != self.deployment_id:
            self.deployment_id = deployment["ID"]
            self.deployment_index = int(deployment["ModifyIndex"])

    def wait_for_change(self, seconds: float) -> None:
        """A deployment moves with placement, health, promotion and status; restarts of its tasks
        alone do not, and do not decide anything."""
        if not self.deployment_id:
            self.client.poll(f"{self.path}/deployments", self.list_index, seconds)
            self.is_stale = True
            return
        path = f"/v1/deployment/{self.deployment_id}"
        if not (self.seen and self.seen.unplaced):
            seconds = max(seconds, LONGEST_WAIT)
        answer = self.client.poll(path, self.deployment_index, seconds)
        moved = answer.index != self.deployment_index
        self.is_stale = moved or bool(self.seen and self.seen.unplaced)
        self.deployment_index = answer.index

    def failures(self) -> list[Task]:
        return list(watch.failures(self.seen)) if self.seen else []

    def check_routes(self) -> RouteCheck:
        return check(self.client, self.nomad.routing)


class NomadReversal(NomadRollout):
    """The reversal of a rollout: the job becomes what it was before its first step.

    The servers' own revert goes back one step at most, to the last stable version; a deployment
    that is not over is failed first, so that none of its canaries is left.
    """

    def __init__(self, forward: NomadRollout) -> None:
        super().__init__(forward.client, forward.plan)
        self.forward = forward
        self.own_versions = forward.own_versions
        self.job, self.index = forward.job, forward.index
        self.gone = False

    def start(
        self,
        release: Release | None = None,  # noqa: ARG002
        services: Collection[str] | None = None,  # noqa: ARG002
    ) -> None:
        if self.forward.version is None:
            return
        self._fail_deployment()
        live = self._current()
        if live is None or not self._is_ours(live):
            return
        before = self.nomad.live
        if not is_running(before):
            self._purge()
            self.gone = True
        elif before is not None and not same(live, before):
            self.job, self.index = live, int(live["JobModifyIndex"])
            self._register({k: v for k, v in before.items() if k != "VersionTag"})
        else:
            self.job, self.version = live, int(live["Version"])

    def _fail_deployment(self) -> None:
        """With auto-revert this goes back one step; without, it stops the canaries."""
        for deployment in self._list("deployments"):
            is_own = deployment.get("JobVersion") in self.own_versions
            if is_own and deployment.get("Status") not in watch.ENDED:
                self._fail(deployment["ID"])

    def _fail(self, deployment: str) -> None:
        """One that has ended meanwhile cannot be failed, whatever ended it: even this request, if
        its answer was lost."""
        path = f"/v1/deployment/fail/{deployment}"
        try:
            self.client.post(path, {"DeploymentID": deployment}, again=True)
        except EngineError:
            found = self.client.get(f"/v1/deployment/{deployment}")
            if found["Status"] not in watch.ENDED:
                raise

    def _is_ours(self, live: Json) -> bool:
        """Whether the newest version is one of this rollout, or the servers' revert of one."""
        version = int(live["Version"])
        if version in self.own_versions:
            return True
        deployments = self._list("deployments")
        reverted = [
            d
            for d in deployments
            if d.get("JobVersion") in self.own_versions and watch.is_reverting(d)
        ]
        return bool(reverted) and version == max(self.own_versions) + 1

    def observe(self) -> list[ServiceProgress]:
        if self.forward.version is None or self.gone:
            return self._removed()
        if self.version is None:
            return self._removed()
        found = super().observe()
        if is_system(self.nomad.live):
            return found
        before = counts(self.nomad.live)
        return [
            progress.model_copy(update={"wanted": before.get(progress.service, 0)})
            for progress in found
            if progress.service in before
        ]

    def _removed(self) -> list[ServiceProgress]:
        return [
            ServiceProgress(service=name, verdict=Verdict.DONE, wanted=0, ready=0)
            for name in sorted(self.nomad.names)
        ]

    def check_routes(self) -> RouteCheck:
        return RouteCheck()

    def finish(self) -> None:
        """It removes as it starts."""
