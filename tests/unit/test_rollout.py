"""The order of a deployment, and every way in which it can end."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import pytest

from deploytool.backends.model import (
    Action,
    Belonging,
    Capacity,
    Change,
    Executed,
    Job,
    LogLine,
    Outcome,
    Plan,
    Record,
    Refused,
    RouteCheck,
    Secret,
    SecretSet,
    ServiceProgress,
    Status,
    Task,
    Verdict,
)
from deploytool.errors import (
    DeploytoolError,
    EngineError,
    ExitCode,
    ImageError,
    Interrupted,
    PlanError,
    RegistryError,
    RolledBack,
    RolloutFailed,
    RolloutTimedOut,
    UsageError,
)
from deploytool.explain import Evidence
from deploytool.explain import explain as explained
from deploytool.records.history import OUTCOME, SECONDS, STEPPED, History, choose_rollback
from deploytool.records.store import Entry, Kind, Store, Taken
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.images import resolve_images
from deploytool.rollout.limits import Limits
from deploytool.rollout.release import whoami
from deploytool.rollout.roll_out import Result, roll_out
from deploytool.rollout.settle import settle
from deploytool.spec import AppSpec, Image, Release, Service
from tests.builders import NO_WAIT, OTHER_DIGEST, app, image, images, release, service, task, worker
from tests.memory_store import MemoryStore

MINUTE = 60_000
REFUSED = EngineError("The engine refused", code="engine_refused")


def progress(verdict: Verdict, reason: str = "", name: str = "web") -> ServiceProgress:
    return ServiceProgress(service=name, verdict=verdict, wanted=2, ready=1, reason=reason)


MOVING, DONE = progress(Verdict.MOVING), progress(Verdict.DONE)
FAILED = progress(Verdict.FAILED, "task: non-zero exit (1)")
ROLLED_BACK = progress(Verdict.ROLLED_BACK, "rollback completed")


def a_plan(action: Action = Action.UPDATE, *others: Change) -> Plan:
    return Plan(app="items", changes=(Change(kind="service", name="web", action=action), *others))


class Told(MemoryStore):
    """A store that tells a scripted cluster's test what it was asked. New releases are v7."""

    def __init__(self, cluster: Scripted, history: Sequence[Record]) -> None:
        super().__init__(history)
        self.cluster = cluster

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        if hasattr(self, "cluster"):
            if int(name) < 7:
                raise Taken
            self.cluster._call("begin")
        return super().create(app, kind, name, data, notes)

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        if STEPPED in notes:
            self.cluster._call("stepped")
        else:
            self.cluster.finished.append(Outcome(notes[OUTCOME]))
            assert float(notes[SECONDS]) >= 0
            self.cluster._call("finish")
        super().annotate(entry, notes)


class Scripted:
    """A cluster that says what it is told to say, and remembers what it was asked."""

    name = "scripted"
    keeps_scale = False

    def __init__(
        self,
        *looks: ServiceProgress,
        back: Sequence[ServiceProgress] = (DONE,),
        failures: Sequence[Task] = (),
        history: Sequence[Record] = (),
        raises: Mapping[str, BaseException] | None = None,
        job: Sequence[Task | None] = (),
        left_jobs: Sequence[str] = (),
        checks: Sequence[RouteCheck] = (RouteCheck(),),
    ) -> None:
        self.checks = list(checks)
        self.looks = list(looks)
        self.back = list(back)
        self.failed = list(failures)
        self.store: Store = Told(self, history)
        self.raises = dict(raises or {})
        self.job = list(job)
        self.left_jobs = list(left_jobs)
        self.local: dict[str, Image] = {}
        self.running: dict[str, Image] = {}
        self.printed: list[str] = []
        self.started: list[Job] = []
        self.calls: list[str] = []
        self.turns: list[list[str]] = []
        """The services of each `apply`."""
        self.finished: list[Outcome] = []
        self.collected = ""

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.raises:
            raise self.raises[name]

    def resolve(self, reference: str) -> Image:
        self._call(f"resolve {reference}")
        return image(reference)

    def local_image(self, reference: str) -> Image | None:
        return self.local.get(reference)

    def running_images(self, app: str) -> dict[str, Image]:
        return self.running

    def collect_garbage(self, app: str) -> None:
        self.collected = app

    def plan(
        self,
        spec: AppSpec,
        images: Mapping[str, Image],
        *,
        files: Mapping[str, bytes] | None = None,
        secrets: Mapping[str, str] | None = None,
        take_over: bool = False,
    ) -> Plan:
        self._call("plan")
        return a_plan()

    def rollout(self, plan: Plan) -> Scripted:
        """It is its own rollout, and what reverses it."""
        return self

    def __enter__(self) -> Scripted:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def prepare(self) -> None:
        self._call("prepare")

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        self.turns.append(sorted(services or ()))
        known = release is None or release.id == "v7"
        self._call("start" if known or release is None else f"start {release.id}")

    def renew_logins(self) -> None:
        self._call("renew_logins")

    def wait_for_change(self, seconds: float) -> None:
        time.sleep(seconds)

    def observe(self) -> list[ServiceProgress]:
        self._call("observe")
        return [self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]]

    def recover(self) -> None:
        self._call("recover")

    def check_routes(self) -> RouteCheck:
        return self.checks.pop(0) if len(self.checks) > 1 else self.checks[0]

    def finish(self) -> None:
        self._call("clean_up")

    def reverse(self) -> Reversal:
        return Reversal(self)

    def failures(self) -> list[Task]:
        self._call("failures")
        return self.failed

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        if task in self.job:
            return explained(task, Evidence(output=self.printed))
        self._call("explain")
        return [f"{task.service}.{task.slot}: {task.message}", "| last line"]

    def status(self, app: str) -> Status:
        raise NotImplementedError

    def logs(
        self,
        app: str,
        services: Sequence[str],
        *,
        follow: bool,
        tail: int,
        since: int | None,
        hidden: Mapping[str, re.Pattern[str]],
        warn: Callable[[str], None],
    ) -> Iterator[LogLine]:
        raise NotImplementedError

    def capacity(self, app: str, services: Sequence[Service]) -> Capacity:
        raise NotImplementedError

    def execute(self, app: str, service: str, command: Sequence[str]) -> Executed:
        raise NotImplementedError

    def attach_command(
        self, app: str, service: str, command: Sequence[str], *, terminal: bool
    ) -> list[str]:
        raise NotImplementedError

    def scale(self, app: str, replicas: Mapping[str, int]) -> Plan:
        raise NotImplementedError

    def restart(self, app: str, services: Sequence[str]) -> Plan:
        raise NotImplementedError

    def secrets(self, app: str) -> list[Secret]:
        raise NotImplementedError

    def set_secrets(self, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
        raise NotImplementedError

    def remove_secret(self, app: str, name: str) -> list[str]:
        raise NotImplementedError

    def belongings(self, app: str) -> list[Belonging]:
        raise NotImplementedError

    def destroy(self, app: str, *, volumes: bool, secrets: bool = True) -> list[str]:
        raise NotImplementedError

    def start_job(self, job: Job) -> None:
        self.started.append(job)
        self._call("start_job")

    def look_at_job(self, job: Job) -> Task | None:
        if "look_at_job" in self.raises:
            raise self.raises["look_at_job"]
        return self.job.pop(0) if len(self.job) > 1 else self.job[0]

    def job_output(self, job: Job, *, follow: bool) -> Iterator[str]:
        return iter(self.printed)

    def remove_job(self, job: Job) -> None:
        self._call(f"remove_job {job.name}" if job not in self.started else "remove_job")

    def jobs(self, app: str) -> list[str]:
        return self.left_jobs


class Reversal(Scripted):
    """The way back of a scripted rollout: its calls are in the list of that one."""

    def __init__(self, forward: Scripted) -> None:
        super().__init__(*forward.back)
        self.calls, self.raises = forward.calls, forward.raises

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        assert (release, services) == (None, None)
        self._call("undo")

    def observe(self) -> list[ServiceProgress]:
        self._call("observe_undo")
        return [self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]]

    def finish(self) -> None:
        """It removes as it starts."""


def run(backend: Scripted, plan: Plan | None = None, **keys: Any) -> Result:
    spec = keys.pop("spec", app())
    given: dict[str, Any] = {"timeout": MINUTE, "limits": NO_WAIT} | keys
    return roll_out(backend, plan or a_plan(), release(spec, 0), **given)


def ends(
    backend: Scripted, kind: type[DeploytoolError], plan: Plan | None = None, **keys: Any
) -> DeploytoolError:
    with pytest.raises(kind) as caught:
        run(backend, plan, **keys)
    return caught.value


# Done


def test_rollout_that_succeeds_is_recorded_as_done() -> None:
    backend = Scripted(MOVING, MOVING, DONE)
    seen: list[Sequence[ServiceProgress]] = []
    result = run(backend, report=seen.append)
    assert backend.calls == ["begin", "prepare", "start", *["observe"] * 3, "clean_up", "finish"]
    assert backend.finished == [Outcome.DONE]
    assert result.release is not None
    assert result.release.id == "v7"
    assert result.waited
    assert seen == [[MOVING], [MOVING], [DONE]]


def test_rollout_without_wait_ends_as_started() -> None:
    backend = Scripted(MOVING)
    result = run(backend, wait=False)
    assert backend.calls == ["begin", "prepare", "start", "clean_up", "finish"]
    assert backend.finished == [Outcome.STARTED]
    assert not result.waited


def test_nothing_to_change_makes_no_release() -> None:
    backend = Scripted(MOVING, DONE)
    result = run(backend, a_plan(Action.KEEP))
    assert result.release is None
    assert backend.calls == ["observe", "observe"]


def record(outcome: Outcome, number: int = 1, **keys: Any) -> Record:
    return Record(release=release(keys.pop("spec", app()), number, **keys), outcome=outcome)


@pytest.mark.parametrize("outcome", [Outcome.STARTED, Outcome.INTERRUPTED])
def test_what_was_interrupted_is_finished(outcome: Outcome) -> None:
    backend = Scripted(DONE, history=[record(outcome)])
    result = run(backend, a_plan(Action.KEEP))
    assert result.release is not None
    assert backend.finished == [Outcome.DONE]


@pytest.mark.parametrize(
    "newest",
    [
        record(Outcome.DONE, 2),
        record(Outcome.FAILED, 2),
        record(Outcome.INTERRUPTED, 2, spec=app(service(replicas=2))),
        record(Outcome.INTERRUPTED, 2, images=images(app(), digest=OTHER_DIGEST)),
    ],
)
def test_a_finished_or_another_release_is_not_resumed(newest: Record) -> None:
    backend = Scripted(DONE, history=[record(Outcome.INTERRUPTED), newest])
    assert run(backend, a_plan(Action.KEEP)).release is None
    assert backend.finished == []


# Routes

BY_PROXY = RouteCheck(
    refused=(Refused(service="web", url="http://items.localhost/health", status=404),)
)


def test_the_proxy_is_waited_for() -> None:
    backend = Scripted(DONE, checks=[BY_PROXY, BY_PROXY, RouteCheck()])
    assert run(backend).warnings == ()
    assert backend.finished == [Outcome.DONE]


def test_an_answer_by_the_proxy_itself_fails() -> None:
    backend = Scripted(DONE, checks=[BY_PROXY], failures=[task(message="of another attempt")])
    error = ends(backend, RolledBack, limits=Limits(poll=0.0, routes=0.0))
    assert error.message.endswith(
        "the previous release serves: web: the proxy itself answers 404 to "
        "http://items.localhost/health"
    )
    assert "clean_up" not in backend.calls
    assert "undo" in backend.calls


def test_nobody_waits_for_routes_without_wait() -> None:
    assert run(Scripted(DONE, checks=[BY_PROXY]), wait=False).release is not None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (RouteCheck(unchecked="no way"), "whether callers reach items was not checked: no way"),
        (RouteCheck(unsure=("http://a/",)), "http://a/ answers 404, as the proxy does"),
    ],
)
def test_what_is_not_known_is_said(found: RouteCheck, words: str) -> None:
    limits = Limits(poll=0.0, routes=0.0)
    (warning,) = run(Scripted(DONE, checks=[found]), limits=limits).warnings
    assert warning.startswith(words)


# Failed


def test_the_cluster_rolled_back_by_itself() -> None:
    backend = Scripted(MOVING, ROLLED_BACK)
    error = ends(backend, RolledBack)
    assert int(error.exit_code) == 3
    assert error.code == "rolled_back"
    assert error.message == (
        "v7 of items failed; the previous release serves: web: rollback completed"
    )
    assert backend.calls[-3:] == ["undo", "observe_undo", "finish"]
    assert "clean_up" not in backend.calls
    assert backend.finished == [Outcome.ROLLED_BACK]


def test_a_failed_first_deploy_is_removed() -> None:
    backend = Scripted(FAILED)
    error = ends(backend, RolloutFailed, a_plan(Action.CREATE))
    assert int(error.exit_code) == 1
    assert "it was a first deploy, now removed" in error.message
    assert "undo" in backend.calls
    assert backend.finished == [Outcome.FAILED]


def test_a_new_service_beside_an_old_one_is_no_first_deploy() -> None:
    other = Change(kind="service", name="worker", action=Action.KEEP)
    ends(Scripted(FAILED), RolledBack, a_plan(Action.CREATE, other))


def test_a_new_network_does_not_make_it_a_first_deploy() -> None:
    other = Change(kind="network", name="items_default", action=Action.CREATE)
    ends(Scripted(FAILED), RolledBack, a_plan(Action.UPDATE, other))


def test_the_evidence_comes_first() -> None:
    broken = task("t1", 2, "failed", message="task: non-zero exit (3)", exit_code=3)
    error = ends(Scripted(FAILED, failures=[broken]), RolledBack)
    assert error.message.endswith("web.2: task: non-zero exit (3)")
    assert error.details == ("| last line",)


def test_the_newest_failure_of_each_service_is_told() -> None:
    tasks = [
        task("t1", 1, "failed", message="first"),
        task("t2", 1, "failed", message="second"),
        task("t3", 1, "failed", message="third", service="worker"),
    ]
    error = ends(Scripted(FAILED, failures=tasks), RolledBack)
    assert "second" in error.message
    assert error.details == ("| last line", "worker.1: third", "| last line")


def test_pausing_leaves_a_failed_release_as_it_is() -> None:
    backend = Scripted(FAILED)
    error = ends(backend, RolloutFailed, spec=app(service(update={"on_failure": "pause"})))
    assert error.exit_code == ExitCode.FAILED
    assert error.code == "rollout_paused"
    assert "undo" not in backend.calls
    assert backend.finished == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("before", "advice"),
    [([Outcome.DONE], "`deploytool rollback` to v1"), ([], "`deploytool destroy`")],
)
def test_what_was_left_can_be_got_rid_of(before: list[Outcome], advice: str) -> None:
    backend = Scripted(FAILED, history=past(*before).records)
    error = ends(backend, RolloutFailed, spec=app(service(update={"on_failure": "pause"})))
    assert advice in error.hint


def test_pausing_is_up_to_the_service_that_failed() -> None:
    paused = worker(update={"on_failure": "pause"})
    backend = Scripted(FAILED)
    ends(backend, RolledBack, spec=app(service(), paused))
    assert "undo" in backend.calls


# Timed out


def test_rollout_past_its_timeout_is_reversed() -> None:
    backend = Scripted(MOVING)
    error = ends(backend, RolloutTimedOut, timeout=0)
    assert int(error.exit_code) == 4
    assert error.message == (
        "v7 of items timed out; the previous release serves: web has 1 of 2 replicas ready"
    )
    assert "undo" in backend.calls
    assert backend.finished == [Outcome.TIMED_OUT]


def test_done_at_the_last_moment_is_done() -> None:
    assert run(Scripted(DONE), timeout=0).release is not None


# On the way back


def test_reversal_that_times_out_is_a_failure() -> None:
    backend = Scripted(FAILED, back=[MOVING])
    error = ends(backend, RolloutFailed, limits=Limits(poll=0.0, reversal=0.01))
    assert error.exit_code == ExitCode.FAILED
    assert "the rollback is not done yet" in error.message
    assert backend.finished == [Outcome.FAILED]


def test_reversal_that_fails_is_a_failure() -> None:
    error = ends(Scripted(FAILED, back=[MOVING, FAILED]), RolloutFailed)
    assert "the rollback is not done yet" in error.message


@pytest.mark.parametrize("step", ["undo", "observe_undo"])
def test_reversal_that_is_refused_does_not_hide_the_cause(step: str) -> None:
    backend = Scripted(FAILED, raises={step: REFUSED})
    error = ends(backend, RolloutFailed)
    assert "task: non-zero exit (1)" in error.message
    assert error.details == ("rollback: The engine refused",)
    assert backend.finished == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("evidence", "hint"),
    [
        (("web.1: ended", "| Boom"), "fix the cause and deploy again"),
        (("web.1: ended", "| Boom", "likely: set X"), "likely: set X; then deploy again"),
    ],
)
def test_the_hint_is_what_the_last_words_tell(
    monkeypatch: pytest.MonkeyPatch, evidence: tuple[str, ...], hint: str
) -> None:
    backend = Scripted(FAILED, failures=[task(state="failed")])
    monkeypatch.setattr(backend, "explain", lambda _: [*evidence])
    error = ends(backend, RolledBack)
    assert (error.hint, error.details) == (hint, ("| Boom",))


def test_evidence_that_cannot_be_had_is_a_failure_too() -> None:
    backend = Scripted(FAILED, failures=[task(state="failed")], raises={"explain": REFUSED})
    ends(backend, EngineError)
    assert backend.finished == [Outcome.FAILED]


def test_resumed_first_release_has_nothing_to_reverse() -> None:
    backend = Scripted(FAILED, history=[record(Outcome.INTERRUPTED)])
    error = ends(backend, RolloutFailed, a_plan(Action.KEEP))
    assert "was left as it is" in error.message
    assert "rollback" in error.hint
    assert "undo" not in backend.calls
    assert backend.finished == [Outcome.FAILED]


def test_resumed_release_can_time_out() -> None:
    backend = Scripted(MOVING, history=[record(Outcome.INTERRUPTED)])
    ends(backend, RolloutTimedOut, a_plan(Action.KEEP), timeout=0)
    assert backend.finished == [Outcome.TIMED_OUT]


@pytest.mark.parametrize(
    ("look", "kind"), [(FAILED, RolloutFailed), (MOVING, RolloutTimedOut)], ids=["failed", "late"]
)
def test_an_unchanged_app_that_does_not_run(
    look: ServiceProgress, kind: type[DeploytoolError]
) -> None:
    backend = Scripted(look)
    ends(backend, kind, a_plan(Action.KEEP), timeout=0)
    assert backend.finished == []
    assert "undo" not in backend.calls


# By turns


class Ordered(Scripted):
    """A cluster of several services, each of which says in turn what it is told to say; before it
    was applied a service looks as if it had failed, as nothing of it is there."""

    def __init__(self, stories: Mapping[str, Sequence[Verdict]], **keys: Any) -> None:
        super().__init__(**keys)
        self.stories = {name: list(story) for name, story in stories.items()}
        self.told: set[str] = set()

    def rollout(self, plan: Plan) -> Ordered:
        self.plan_of_it = plan
        return self

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        self.told |= set(services or ())
        super().start(release, services)

    def observe(self) -> list[ServiceProgress]:
        self._call("observe")
        changes = self.plan_of_it.changes
        return [self._look(change) for change in changes if change.action is not Action.REMOVE]

    def _look(self, change: Change) -> ServiceProgress:
        if change.action is not Action.KEEP and change.name not in self.told:
            return progress(Verdict.FAILED, "not there", change.name)
        story = self.stories[change.name]
        return progress(story.pop(0) if len(story) > 1 else story[0], "", change.name)


M, OK, BAD = Verdict.MOVING, Verdict.DONE, Verdict.FAILED


def shop(**actions: Action) -> tuple[Plan, AppSpec]:
    """web ▶ api ▶ db, and mail ▶ queue; everything is updated but what is named otherwise."""
    spec = app(
        service("web", depends_on=["api"]),
        worker("api", depends_on=["db"]),
        worker("db"),
        worker("mail", depends_on=["queue"]),
        worker("queue"),
    )
    changes = tuple(
        Change(kind="service", name=s.name, action=actions.get(s.name, Action.UPDATE))
        for s in spec.services
    )
    return Plan(app="items", changes=changes), spec


def stories(**different: list[Verdict]) -> dict[str, list[Verdict]]:
    return {name: [OK] for name in ("web", "api", "db", "mail", "queue")} | different


def turns(backend: Scripted, **actions: Action) -> list[list[str]]:
    plan, spec = shop(**actions)
    run(backend, plan, spec=spec)
    return backend.turns


def test_services_without_dependencies_start_at_once() -> None:
    plan = a_plan(Action.UPDATE, Change(kind="service", name="worker", action=Action.CREATE))
    backend = Ordered({"web": [M, OK], "worker": [M, OK]})
    run(backend, plan, spec=app(service(), worker()))
    assert backend.turns == [["web", "worker"]]


def test_each_waits_for_its_own_and_for_no_other() -> None:
    backend = Ordered(stories(db=[M, M, M, OK], queue=[OK]))
    assert turns(backend) == [["db", "queue"], ["mail"], ["api"], ["web"]]
    assert backend.finished == [Outcome.DONE]


def test_a_waiting_service_names_its_dependencies() -> None:
    plan, spec = shop()
    seen: list[dict[str, ServiceProgress]] = []
    backend = Ordered(stories(db=[M, OK]))
    run(backend, plan, spec=spec, report=lambda look: seen.append({p.service: p for p in look}))
    assert (seen[0]["web"].verdict, seen[0]["web"].reason) == (M, "waits for api")
    assert (seen[0]["mail"].verdict, seen[0]["mail"].reason) == (M, "")
    assert seen[-1]["web"].verdict is OK


def test_an_unchanged_service_counts_as_done() -> None:
    keep = {"db": Action.KEEP, "api": Action.KEEP}
    assert turns(Ordered(stories()), **keep) == [["queue"], ["mail", "web"]]


def test_order_holds_across_unchanged_services() -> None:
    backend = Ordered(stories(db=[M, M, OK]))
    told = turns(backend, api=Action.KEEP, mail=Action.KEEP, queue=Action.KEEP)
    assert told == [["db"], ["web"]]


def test_what_is_still_coming_up_since_an_interruption_is_waited_for() -> None:
    keep = dict.fromkeys(("db", "mail", "queue"), Action.KEEP)
    backend = Ordered(stories(db=[M, M, OK]))
    assert turns(backend, **keep) == [[], ["api"], ["web"]]
    assert backend.calls.count("observe") == 5


def test_after_a_failure_nobody_else_is_touched() -> None:
    plan, spec = shop()
    backend = Ordered(stories(db=[BAD], queue=[OK]), back=[DONE])
    ends(backend, RolledBack, plan, spec=spec)
    assert backend.turns == [["db", "queue"]]
    assert "undo" in backend.calls


def test_a_deadline_says_what_was_waited_for() -> None:
    plan, spec = shop()
    error = ends(Ordered(stories(db=[M])), RolloutTimedOut, plan, spec=spec, timeout=0)
    assert "db has 1 of 2 replicas ready" in error.message
    assert "web waits for api" in error.message


def test_without_waiting_those_that_others_depend_on_are_waited_for() -> None:
    plan, spec = shop()
    backend = Ordered(stories(db=[M, OK], web=[M], mail=[M]))
    result = run(backend, plan, spec=spec, wait=False)
    assert backend.turns == [["db", "queue"], ["mail"], ["api"], ["web"]]
    assert backend.finished == [Outcome.STARTED]
    assert not result.waited


def test_a_dependent_service_that_is_refused_reverses_all() -> None:
    class Refusing(Ordered):
        def start(
            self, release: Release | None = None, services: Collection[str] | None = None
        ) -> None:
            super().start(release, services)
            if "api" in self.told:
                raise REFUSED

    plan, spec = shop()
    backend = Refusing(stories())
    assert ends(backend, EngineError, plan, spec=spec) is REFUSED
    assert backend.calls[-2:] == ["undo", "finish"]


# Errors and interruptions


@pytest.mark.parametrize("step", ["start", "observe", "clean_up"])
def test_an_error_is_recorded_as_a_failure(step: str) -> None:
    backend = Scripted(DONE, raises={step: REFUSED})
    assert ends(backend, EngineError) is REFUSED
    assert backend.finished == [Outcome.FAILED]


def test_services_that_were_applied_before_an_error_are_reversed() -> None:
    backend = Scripted(DONE, raises={"start": REFUSED})
    ends(backend, EngineError)
    assert backend.calls == ["begin", "prepare", "start", "undo", "finish"]


class Away(Scripted):
    """A cluster whose manager does not answer the first questions."""

    def __init__(self, code: str, times: int) -> None:
        super().__init__(DONE)
        self.code, self.times = code, times

    def observe(self) -> list[ServiceProgress]:
        self.times -= 1
        if self.times >= 0:
            raise EngineError("nobody there", code=self.code)
        return super().observe()


@pytest.mark.parametrize("code", ["engine_unreachable", "no_quorum"])
def test_a_manager_that_restarts_is_waited_for(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    backend = Away(code, 3)
    run(backend)
    assert backend.finished == [Outcome.DONE]


def test_a_manager_that_stays_away_is_a_failure() -> None:
    backend = Away("engine_unreachable", 100)
    ends(backend, EngineError, limits=Limits(poll=0.0, patience=-1.0))
    assert backend.finished == [Outcome.FAILED]


def test_an_error_before_anything_was_begun_records_nothing() -> None:
    backend = Scripted(DONE, raises={"begin": REFUSED})
    ends(backend, EngineError)
    assert backend.calls == ["begin"]


@pytest.mark.parametrize("step", ["start", "observe", "clean_up"])
def test_interrupt_is_recorded_and_leaves_the_cluster(step: str) -> None:
    backend = Scripted(DONE, raises={step: KeyboardInterrupt()})
    error = ends(backend, Interrupted)
    assert int(error.exit_code) == 130
    assert backend.finished == [Outcome.INTERRUPTED]
    assert "undo" not in backend.calls


@pytest.mark.parametrize("step", ["failures", "explain", "undo", "observe_undo"])
def test_interrupt_during_a_reversal_is_recorded(step: str) -> None:
    broken = task("t1", 1, "failed")
    backend = Scripted(FAILED, failures=[broken], raises={step: KeyboardInterrupt()})
    ends(backend, Interrupted)
    assert backend.finished == [Outcome.INTERRUPTED]


def test_interrupted_before_anything_was_begun() -> None:
    backend = Scripted(DONE, raises={"begin": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run(backend)
    assert backend.finished == []


def test_a_record_that_cannot_be_written_does_not_hide_the_cause() -> None:
    ends(Scripted(FAILED, raises={"finish": REFUSED}), RolledBack)
    ends(Scripted(DONE, raises={"finish": REFUSED, "observe": KeyboardInterrupt()}), Interrupted)


def test_a_success_that_cannot_be_recorded_is_told() -> None:
    assert ends(Scripted(DONE, raises={"finish": REFUSED}), EngineError) is REFUSED


# A scale, a restart


def settled(backend: Scripted, timeout: int) -> float:
    rollout = GuardedRollout(backend)
    return settle(
        backend, rollout, a_plan(), timeout=timeout, report=lambda _: None, limits=NO_WAIT
    )


def test_settle_returns_when_all_services_are_done() -> None:
    backend = Scripted(MOVING, DONE)
    assert settled(backend, timeout=MINUTE) >= 0
    assert backend.calls == ["observe", "observe"]


@pytest.mark.parametrize(
    ("look", "kind", "code"),
    [(FAILED, RolloutFailed, "rollout_failed"), (MOVING, RolloutTimedOut, "timed_out")],
)
def test_settle_that_fails_leaves_the_change(
    look: ServiceProgress, kind: type[DeploytoolError], code: str
) -> None:
    backend = Scripted(look, failures=[task("t1", 1, "failed", message="boom")])
    with pytest.raises(kind) as caught:
        settled(backend, timeout=0)
    assert caught.value.code == code
    assert "web.1: boom" in caught.value.details
    assert "undo" not in backend.calls


# Images


def test_each_image_is_asked_for_once() -> None:
    spec = app(service(), worker(), worker("cache", image="redis:8"))
    backend = Scripted(DONE)
    found = resolve_images(backend, spec, None)
    assert sorted(backend.calls) == [
        "resolve redis:8",
        "resolve registry.example.com/team/items:latest",
    ]
    assert found["web"] == found["worker"] != found["cache"]


def test_what_was_built_is_what_runs() -> None:
    found = resolve_images(Scripted(DONE), app(), "r/items:abc")
    assert found["web"].tag == "r/items:abc"


def test_an_image_that_is_not_there() -> None:
    missing = ImageError("no", code="image_missing")
    backend = Scripted(DONE, raises={"resolve r/items:abc": missing})
    with pytest.raises(ImageError):
        resolve_images(backend, app(), "r/items:abc")


SILENT = RegistryError(
    "The registry of redis:8 does not answer: 503", code="registry_unreachable", hint="wait"
)
REDIS = image("docker.io/redis:8", digest=OTHER_DIGEST).model_copy(update={"tag": "redis:8"})


def with_cache(reference: str = "redis:8") -> AppSpec:
    return app(service(), worker("cache", image=reference))


def no_answer(reference: str, error: DeploytoolError = SILENT) -> Scripted:
    """A cluster whose engine gets no answer about one image, with a cache that runs."""
    backend = Scripted(DONE, raises={f"resolve {reference}": error})
    backend.running = {"cache": REDIS}
    return backend


@pytest.mark.parametrize(
    "error",
    [
        SILENT,
        RegistryError("The registry refuses to show it", code="registry_denied"),
        ImageError("The image does not exist", code="image_missing"),
    ],
)
def test_an_outage_of_a_registry_leaves_what_runs(error: DeploytoolError) -> None:
    backend = no_answer("redis:8", error)
    backend.local = {"redis:8": Image(reference="redis:8", tag="redis:8")}
    warnings: list[str] = []
    found = resolve_images(backend, with_cache(), "r/items:abc", warnings.append)
    assert found["cache"] == REDIS
    assert found["web"].tag == "r/items:abc"
    (warning,) = warnings
    assert warning.startswith("cache keeps the image that it runs, docker.io/redis@sha256:bbbb")
    assert "the registry docker.io did not resolve redis:8" in warning
    assert error.message in warning


def test_the_tag_that_is_meant_without_one() -> None:
    backend = no_answer("redis")
    backend.running = {"cache": REDIS.model_copy(update={"tag": "redis:latest"})}
    assert resolve_images(backend, with_cache("redis"), "r/items:abc")["cache"].digest


@pytest.mark.parametrize(
    "reference",
    ["redis:9", "other/redis:8", f"docker.io/redis@{image().digest}", f"redis@{OTHER_DIGEST}"],
)
def test_a_changed_tag_needs_an_answer(reference: str) -> None:
    backend = no_answer(reference)
    with pytest.raises(RegistryError):
        resolve_images(backend, with_cache(reference), "r/items:abc")


def test_the_digest_that_runs_is_known_without_a_registry() -> None:
    reference = f"docker.io/redis:8@{OTHER_DIGEST}"
    assert resolve_images(no_answer(reference), with_cache(reference), "x")["cache"] == REDIS


def test_an_image_that_this_engine_alone_has() -> None:
    backend = no_answer("redis:8")
    backend.running = {"cache": Image(reference="redis:8", tag="redis:8")}
    backend.local = {"redis:8": Image(reference="redis:8", tag="redis:8")}
    warnings: list[str] = []
    found = resolve_images(backend, with_cache(), "r/items:abc", warnings.append)
    assert (found["cache"].reference, warnings) == ("redis:8", [])


def test_a_failure_of_the_engine_is_none_of_a_registry() -> None:
    backend = no_answer("redis:8", REFUSED)
    with pytest.raises(EngineError):
        resolve_images(backend, with_cache(), "r/items:abc")


def test_who_deploys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop")
    assert whoami({}) == "root@laptop"
    assert whoami({"LOGNAME": "ada", "USER": "ada", "LNAME": "ada"}) == "root@laptop"


def test_who_deploys_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert whoami({}).startswith("4000000@")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ada"}, "ada (GitHub Actions)"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "a[bot]"}, "a[bot] (GitHub Actions)"),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "ada"}, "ada (GitLab CI)"),
        ({"GITHUB_ACTOR": "ada"}, None),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ada\nroot@prod"}, None),
    ],
)
def test_who_deploys_in_ci_is_marked_as_such(
    environment: dict[str, str], expected: str | None
) -> None:
    assert whoami(environment) == (expected or whoami({}))


# Which release to roll back to

D, F, S, R = Outcome.DONE, Outcome.FAILED, Outcome.STARTED, Outcome.ROLLED_BACK


def past(*outcomes: Outcome) -> History:
    return History(tuple(record(outcome, n) for n, outcome in enumerate(outcomes, 1)), {})


@pytest.mark.parametrize(
    ("outcomes", "wanted", "expected"),
    [
        ([D, D], None, 1),
        ([D, D, D], None, 2),
        ([D, D, F], None, 1),
        ([D, D, R], None, 1),
        ([D, F, D], None, 1),
        ([D, S], None, 1),
        ([D, Outcome.INTERRUPTED], None, 1),
        ([D, Outcome.TIMED_OUT, F, D], None, 1),
        ([D, D, D], "v1", 1),
        ([D, D, D], "1", 1),
        ([D, F, D], "v2", 2),
    ],
)
def test_choose_rollback(outcomes: list[Outcome], wanted: str | None, expected: int) -> None:
    assert choose_rollback(past(*outcomes), "items", wanted).number == expected


@pytest.mark.parametrize(
    ("outcomes", "running", "expected"),
    [
        ([D, D, F], 3, 2),
        ([D, F], 2, 1),
        ([D, D, F, F], 4, 2),
        ([D, D, F, F], 3, 2),
        ([D, D, F], 2, 1),
        ([D, D, Outcome.TIMED_OUT], 3, 2),
        ([D, D], 0, 1),
        ([D, D, D], 1, 2),
    ],
)
def test_what_failed_and_was_left_is_what_one_goes_back_from(
    outcomes: list[Outcome], running: int, expected: int
) -> None:
    assert choose_rollback(past(*outcomes), "items", None, running).number == expected


@pytest.mark.parametrize(
    ("outcomes", "wanted", "code"),
    [
        ([], None, "no_earlier_release"),
        ([D], None, "no_earlier_release"),
        ([F, F], None, "no_earlier_release"),
        ([F, D], None, "no_earlier_release"),
        ([D, D], "v9", "unknown_release"),
        ([], "v1", "unknown_release"),
        ([D], "latest", "unknown_release"),
    ],
)
def test_rollback_to_no_release_is_refused(
    outcomes: list[Outcome], wanted: str | None, code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choose_rollback(past(*outcomes), "items", wanted)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "make",
    [
        lambda: ends(Scripted(FAILED), RolledBack),
        lambda: ends(Scripted(FAILED), RolloutFailed, a_plan(Action.CREATE)),
        lambda: ends(Scripted(MOVING), RolloutTimedOut, timeout=0),
        lambda: ends(Scripted(DONE, raises={"start": KeyboardInterrupt()}), Interrupted),
    ],
)
def test_every_failure_says_what_to_do_next(make: Callable[[], DeploytoolError]) -> None:
    error = make()
    assert error.hint
    assert error.code
    assert not isinstance(error, PlanError)


# --- who may write ------------------------------------------------------------------------------

STALLED = MOVING.model_copy(update={"stalled": True})


def guard_that_fails_after(backend: Scripted, call: str) -> Callable[[], None]:
    """The lock is lost as soon as the cluster was asked that."""

    def guard() -> None:
        if call in backend.calls:
            raise DeploytoolError("somebody else has the lock", code="lock_lost")

    return guard


def test_stalled_service_is_recovered() -> None:
    backend = Scripted(STALLED, MOVING, DONE)
    run(backend)
    assert backend.calls.count("recover") == 1
    assert backend.calls.index("recover") == backend.calls.index("observe") + 1


def test_stalled_service_is_recovered_during_a_reversal() -> None:
    backend = Scripted(FAILED, back=(STALLED, DONE))
    ends(backend, RolledBack)
    assert backend.calls[-4:] == ["observe_undo", "recover", "observe_undo", "finish"]


@pytest.mark.parametrize("looks", [(STALLED, DONE), (MOVING, FAILED), (DONE,)])
def test_nothing_is_written_once_the_lock_is_lost(looks: tuple[ServiceProgress, ...]) -> None:
    backend = Scripted(*looks)
    ends(backend, DeploytoolError, guard=guard_that_fails_after(backend, "observe"))
    assert set(backend.calls).isdisjoint({"recover", "undo", "clean_up"})
    assert backend.finished == [Outcome.FAILED]


def test_a_rollback_ends_where_the_lock_is_lost() -> None:
    backend = Scripted(FAILED, back=(STALLED, DONE))
    error = ends(backend, RolloutFailed, guard=guard_that_fails_after(backend, "observe_undo"))
    assert "the rollback is not done yet" in error.message
    assert any("somebody else has the lock" in line for line in error.details)
    assert "recover" not in backend.calls


WRITES = {"prepare", "start", "renew_logins", "recover", "undo", "clean_up"}


@pytest.mark.parametrize("call", ["begin", "prepare", "start", "observe", "clean_up"])
def test_lock_lost_at_any_step_nothing_is_written_after_it(call: str) -> None:
    plan, spec = shop()
    backend = Ordered(stories(db=[M, OK]))
    with suppress(DeploytoolError):
        run(backend, plan, spec=spec, guard=guard_that_fails_after(backend, call))
    assert WRITES.isdisjoint(backend.calls[backend.calls.index(call) + 1 :])
    assert not backend.collected


def test_lock_lost_after_the_last_write_the_deploy_is_done() -> None:
    backend = Scripted(DONE)
    assert run(backend, guard=guard_that_fails_after(backend, "clean_up")).release is not None
    assert backend.finished == [Outcome.DONE]


def test_lock_lost_before_the_begin_no_release_is_made() -> None:
    def guard() -> None:
        raise DeploytoolError("somebody else has the lock", code="lock_lost")

    backend = Scripted(DONE)
    ends(backend, DeploytoolError, guard=guard)
    assert backend.calls == []


@pytest.mark.parametrize("looks", [(DONE,), (MOVING, DONE)])
def test_empty_plan_writes_nothing(looks: tuple[ServiceProgress, ...]) -> None:
    backend = Scripted(*looks)
    run(backend, a_plan(Action.KEEP))
    assert set(backend.calls) == {"observe"}
    assert backend.finished == []


def test_empty_plan_of_a_stalled_service_without_the_lock_writes_nothing() -> None:
    backend = Scripted(STALLED, DONE)
    guard = guard_that_fails_after(backend, "observe")
    ends(backend, DeploytoolError, a_plan(Action.KEEP), guard=guard)
    assert backend.calls == ["observe"]
