"""What runs once per release, before any replica changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from deploytool.backends.model import Action, AuditEntry, Job, Outcome, Record, Task
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.errors import (
    DeploytoolError,
    EngineError,
    JobFailed,
    JobTimedOut,
    RolledBack,
    UsageError,
)
from deploytool.records import audit
from deploytool.rollout.limits import Limits
from deploytool.rollout.one_off import one_off
from deploytool.rollout.release_step import Step
from deploytool.spec import AppSpec, ReleaseStep
from tests.builders import app, proxy, release, service, task, worker
from tests.memory_store import MemoryStore
from tests.unit.test_rollout import (
    DONE,
    FAILED,
    MOVING,
    Scripted,
    a_plan,
    ends,
    guard_that_fails_after,
    record,
    run,
)

SPEC = app(service(), release=ReleaseStep(command=("alembic", "upgrade", "head")))
RUNS = task("t1", 1, "running", service="release-v7")
ENDED = task("t1", 1, "complete", service="release-v7", exit_code=0)
BROKEN = task("t1", 1, "failed", service="release-v7", exit_code=3, message="non-zero exit (3)")


class Told:
    """What a person was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, **settings: Any) -> Step:
        return Step(emit=self.lines.append, say=self.lines.append, **settings)


@pytest.fixture
def told() -> Told:
    return Told()


def stepped(number: int = 3, outcome: Outcome = Outcome.ROLLED_BACK) -> Record:
    return record(outcome, number, spec=SPEC).model_copy(update={"stepped": True})


def test_it_runs_before_any_replica_changes(told: Told) -> None:
    backend = Scripted(DONE, job=[None, RUNS, ENDED])
    backend.printed = ["Running upgrade a -> b"]
    run(backend, spec=SPEC, step=told.step())
    assert backend.calls[:6] == [
        *("begin", "prepare", "start_job", "stepped", "remove_job", "start"),
    ]
    assert told.lines == ["Release step: alembic upgrade head", "Running upgrade a -> b"]
    (job,) = backend.started
    assert (job.name, job.service, job.command) == (
        "release-v7",
        "web",
        ("alembic", "upgrade", "head"),
    )


def test_release_without_a_step_runs_none(told: Told) -> None:
    backend = Scripted(DONE)
    run(backend, step=told.step())
    assert backend.started == []


def test_rollback_runs_no_step() -> None:
    backend = Scripted(DONE)
    run(backend, spec=SPEC, step=None)
    assert backend.started == []


def test_what_it_may_not_write_is_the_hint(told: Told) -> None:
    backend = Scripted(DONE, job=[BROKEN])
    backend.printed = ["sqlite3.OperationalError: unable to open database file"]
    error = ends(backend, JobFailed, spec=SPEC, step=told.step())
    assert error.hint is not None
    assert error.hint.startswith("the app writes to its SQLite database, and its files are read-")


def test_its_exit_code_decides(told: Told) -> None:
    backend = Scripted(DONE, job=[BROKEN])
    backend.printed = ["no such table"]
    error = ends(backend, JobFailed, spec=SPEC, step=told.step())
    assert (error.code, int(error.exit_code)) == ("release_step_failed", 1)
    assert "exit code 3; no replica was touched" in error.message
    assert error.details == ("no such table",)
    assert error.hint == "fix it; then deploy again: it runs again, as it did not succeed"
    assert "start" not in backend.calls
    assert "stepped" not in backend.calls
    assert backend.finished == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("seen", "printed", "why", "fix"),
    [
        (
            BROKEN.model_copy(update={"exit_code": 127, "message": "non-zero exit (127)"}),
            ["[FATAL tini (7)] exec alembic failed: No such file or directory"],
            "ended with exit code 127: the command was not found (non-zero exit (127)); no replica",
            "the command is not in the image",
        ),
        (
            BROKEN.model_copy(update={"exit_code": 137, "message": "non-zero exit (137)"}),
            ["migrating"],
            "ended with exit code 137: killed (SIGKILL; the engine reports no lack of memory",
            "fix it; then deploy again",
        ),
        (
            task(
                *("t1", 1, "rejected"),
                message='starting container failed: exec: "alembic": executable file not found',
            ),
            [],
            "could not start: the command was not found (starting container failed: exec",
            "the command is not in the image",
        ),
        (
            task("t1", 1, "rejected", message="starting container failed: unable to find user x"),
            [],
            "could not start: starting container failed: unable to find user x",
            "the image has no such user",
        ),
    ],
)
def test_why_it_failed_is_told_as_of_a_replica(
    told: Told, seen: Task, printed: list[str], why: str, fix: str
) -> None:
    backend = Scripted(DONE, job=[seen])
    backend.printed = printed
    error = ends(backend, JobFailed, spec=SPEC, step=told.step())
    assert why in error.message
    assert error.hint.startswith(fix)


def test_step_past_its_timeout_fails(told: Told) -> None:
    spec = SPEC.model_copy(update={"release": ReleaseStep(command=("sleep", "9"), timeout="1ms")})
    backend = Scripted(DONE, job=[RUNS])
    backend.printed = ["sleeping"]
    error = ends(backend, JobTimedOut, spec=spec, step=told.step())
    assert error.details == ("sleeping",)
    assert (error.code, int(error.exit_code)) == ("job_timed_out", 4)
    assert "remove_job" in backend.calls
    assert "start" not in backend.calls
    assert backend.finished == [Outcome.TIMED_OUT]


def test_step_past_its_timeout_before_it_ran_says_so(told: Told) -> None:
    spec = SPEC.model_copy(update={"release": ReleaseStep(command=("sleep", "9"), timeout="1ms")})
    gets_its_image = task("t1", 1, "preparing", service="release-v7")
    error = ends(Scripted(DONE, job=[gets_its_image]), JobTimedOut, spec=spec, step=told.step())
    assert error.message.endswith(f"it is still preparing on {gets_its_image.node}")


def lost(state: str, message: str) -> Task:
    return task("t1", 1, state, service="release-v7", message=message)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (lost("rejected", "No such image: x"), "job_not_started"),
        (lost("orphaned", "its node box is down"), "job_lost"),
        (lost("shutdown", ""), "job_not_started"),
    ],
)
def test_what_the_cluster_may_do_to_it(told: Told, seen: Task, code: str) -> None:
    backend = Scripted(DONE, job=[seen])
    backend.printed = ["Running upgrade a -> b"]
    error = ends(backend, JobFailed, spec=SPEC, step=told.step())
    assert error.code == code
    assert error.details == ("Running upgrade a -> b",)
    assert told.lines[-1:] == ["Running upgrade a -> b"]
    assert seen.message in error.message
    assert "start" not in backend.calls


def test_a_step_without_room_fails(told: Told) -> None:
    limits = Limits(poll=0.0, placing=0.0)
    waits = task("t1", 1, "pending", service="release-v7", message="insufficient resources")
    backend = Scripted(DONE, job=[waits])
    error = ends(backend, JobFailed, spec=SPEC, step=told.step(), limits=limits)
    assert error.code == "job_not_placed"
    assert "insufficient resources" in error.message


def test_step_that_has_run_is_not_run_again(told: Told) -> None:
    backend = Scripted(DONE, history=[stepped()])
    run(backend, spec=SPEC, step=told.step())
    assert backend.started == []
    assert "has run for this release already" in told.lines[0]


def test_step_runs_again_if_asked(told: Told) -> None:
    backend = Scripted(DONE, history=[stepped()], job=[ENDED])
    run(backend, spec=SPEC, step=told.step(rerun=True))
    assert len(backend.started) == 1


def test_step_runs_again_if_asked_with_nothing_else_to_change(told: Told) -> None:
    backend = Scripted(DONE, history=[stepped(outcome=Outcome.DONE)], job=[ENDED])
    result = run(backend, a_plan(Action.KEEP), spec=SPEC, step=told.step(rerun=True))
    assert len(backend.started) == 1
    assert result.release is not None


def test_another_step_alone_makes_a_release(told: Told) -> None:
    backend = Scripted(DONE, history=[record(Outcome.DONE, 3)], job=[ENDED])
    assert run(backend, a_plan(Action.KEEP), spec=SPEC, step=told.step()).release is not None
    assert len(backend.started) == 1
    backend = Scripted(DONE, history=[stepped(outcome=Outcome.DONE)])
    assert run(backend, a_plan(Action.KEEP), spec=SPEC, step=told.step()).release is None
    assert backend.started == []


def test_another_release_runs_its_own(told: Told) -> None:
    other = stepped().model_copy(update={"release": release(app(service(replicas=9)), 3)})
    backend = Scripted(DONE, history=[other], job=[ENDED])
    run(backend, spec=SPEC, step=told.step())
    assert len(backend.started) == 1


def test_step_waits_for_one_that_an_earlier_deploy_left(told: Told) -> None:
    backend = Scripted(DONE, left_jobs=["release-v6", "run-1"], job=[RUNS, ENDED, ENDED])
    run(backend, spec=SPEC, step=told.step())
    assert "remove_job release-v6" in backend.calls
    assert backend.calls.index("remove_job release-v6") < backend.calls.index("start_job")
    assert not any("run-1" in call for call in backend.calls)
    assert "Waiting for the release step of v6" in told.lines[0]


def test_a_manager_that_restarts_meanwhile(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    away = EngineError("nobody answers", code="engine_unreachable")
    backend = Scripted(DONE, job=[ENDED], raises={"look_at_job": away})

    def back(_: float) -> None:
        backend.raises.clear()

    monkeypatch.setattr("deploytool.patience.time.sleep", back)
    run(backend, spec=SPEC, step=told.step())
    assert "start" in backend.calls


def test_a_resumed_release_that_fails_is_rolled_back_to_the_one_before() -> None:
    before = record(Outcome.DONE, 3, spec=app(service(replicas=9)))
    backend = Scripted(FAILED, history=[before, record(Outcome.INTERRUPTED, 7)])
    backend.looks = [FAILED, MOVING, DONE]
    error = ends(backend, RolledBack, a_plan(Action.KEEP))
    assert error.code == "rolled_back"
    assert "start v3" in backend.calls
    assert "undo" not in backend.calls


def test_the_service_it_borrows_from() -> None:
    step = ReleaseStep(command=("true",))
    assert app(worker(), service(), release=step).step_service == "web"
    assert app(worker(), release=step).step_service == "worker"
    named = ReleaseStep(command=("true",), service="worker")
    assert app(worker(), service(), release=named).step_service == "worker"
    with pytest.raises(ValueError, match="names no service"):
        app(service(), release=ReleaseStep(command=("true",), service="nope"))
    redis = service(image="redis:8", command=None)
    with pytest.raises(ValueError, match=r"set release\.service"):
        app(redis, release=step)


def a_job(spec: AppSpec) -> Job:
    return Job(name="release-v7", release=release(spec, 7), service="web", command=("true",))


def test_its_container_is_like_a_replicas_but_gets_no_requests() -> None:
    web = service(
        env={"A": "b"},
        secrets=("TOKEN",),
        memory="64MiB",
        publish={"port": 8080},
        placement={"max_per_node": 1},
    )
    spec = job_spec(a_job(app(web)), {})
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert "A=b" in container["Env"]
    assert container["Secrets"][0]["File"]["Name"] == "TOKEN"
    assert container["Args"] == ["true"]
    assert container["Healthcheck"] == {"Test": ["NONE"]}
    assert container["ReadOnly"] is True
    assert spec["TaskTemplate"]["RestartPolicy"]["Condition"] == "none"
    assert spec["TaskTemplate"]["Resources"]["Reservations"]["MemoryBytes"] == 64 * 2**20
    assert spec["TaskTemplate"]["Networks"] == [{"Target": "items_default"}]
    assert "MaxReplicas" not in spec["TaskTemplate"]["Placement"]
    assert spec["EndpointSpec"] == {"Mode": "dnsrr"}
    assert not any("traefik" in label for label in spec["Labels"])
    assert "deploytool.app" not in spec["Labels"]
    assert spec["Name"] == "items_release-v7"


def test_a_one_off_is_of_the_current_release() -> None:
    backend = Scripted(
        DONE, history=[record(Outcome.DONE, 3), record(Outcome.FAILED, 4)], job=[BROKEN]
    )
    backend.printed = ["hello"]
    lines: list[str] = []
    ended = one_off(
        backend, "items", ("echo", "hello"), service=None, timeout=1000, emit=lines.append
    )
    assert (ended.exit_code, lines) == (3, ["hello"])
    (job,) = backend.started
    assert job.release.id == "v3"
    assert backend.calls[-1] == "remove_job"


@pytest.mark.parametrize(
    ("records", "wanted", "code"),
    [([], None, "not_deployed"), ([record(Outcome.DONE)], "nope", "unknown_service")],
)
def test_a_one_off_that_cannot_be(records: list[Record], wanted: str | None, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        one_off(
            Scripted(DONE, history=records),
            "items",
            ("true",),
            service=wanted,
            timeout=1,
            emit=print,
        )
    assert caught.value.code == code


def test_a_one_off_that_is_interrupted_is_stopped() -> None:
    backend = Scripted(
        DONE, history=[record(Outcome.DONE)], raises={"look_at_job": KeyboardInterrupt()}
    )
    with pytest.raises(KeyboardInterrupt):
        one_off(backend, "items", ("true",), service=None, timeout=1000, emit=print)
    assert backend.calls[-1] == "remove_job"


def test_everything_that_was_done() -> None:
    store = MemoryStore([record(Outcome.DONE, 3), record(Outcome.FAILED, 4)])
    at = datetime(2026, 1, 2, tzinfo=UTC)
    audit.note(store, "items", AuditEntry(at=at, by="ann@box", action="scale web=6"))
    found = audit.trail(store, "items")
    assert {entry.action for entry in found} == {"deploy", "scale web=6"}
    assert found == sorted(found, key=lambda entry: entry.at, reverse=True)


def test_the_proxy_has_none() -> None:
    assert proxy().release is None


def test_lock_lost_before_the_release_step_it_is_not_started(told: Told) -> None:
    backend = Scripted(DONE, job=[ENDED])
    guard = guard_that_fails_after(backend, "prepare")
    ends(backend, DeploytoolError, spec=SPEC, step=told.step(), guard=guard)
    assert backend.started == []
    assert backend.calls == ["begin", "prepare", "finish"]
