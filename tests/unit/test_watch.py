"""How far a rollout is: the engine's states, its replicas, and what both mean together."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Action, Task, Verdict
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.planning.plan import Target
from deploytool.backends.swarm.rollout import watch
from deploytool.backends.swarm.rollout.session import SwarmRollout
from deploytool.backends.swarm.rollout.tracked import Tracked
from deploytool.backends.swarm.specification import labels
from tests.builders import OTHER_DIGEST, app, deploy, engine, images, release, service, task
from tests.fake_engine import FakeEngine

SPEC: dict[str, Any] = {
    "Name": "items_web",
    "Labels": {labels.RELEASE: "v2"},
    "TaskTemplate": {"ContainerSpec": {"Image": "r/items", "Labels": {labels.RELEASE: "v2"}}},
    "Mode": {"Replicated": {"Replicas": 2}},
    "UpdateConfig": {"Monitor": 5 * 10**9},
}
LIVE = {"ID": "s1", "Spec": SPEC}


def target(action: Action = Action.UPDATE, **keys: Any) -> Tracked:
    live = None if action is Action.CREATE else LIVE
    given: dict[str, Any] = {"replaces": True, "known_tasks": frozenset({"old1", "old2"})}
    return Tracked.of(Target("web", "items_web", action, SPEC, live, **(given | keys)))


def judged(
    state: str,
    tasks: list[Task],
    *,
    action: Action = Action.UPDATE,
    now: float = 0.0,
    message: str = "",
) -> tuple[Verdict, str]:
    status = {"UpdateStatus": {"State": state, "Message": message}} if state else {}
    return watch.judge(target(action), LIVE | status, tasks, now)


def new(*slots: int, **keys: Any) -> list[Task]:
    return [task(f"new{slot}", slot, **keys) for slot in slots]


def old(*slots: int) -> list[Task]:
    return [task(f"old{slot}", slot, release="v1", current=False) for slot in slots]


@pytest.mark.parametrize(
    ("state", "tasks", "verdict"),
    [
        ("", [*old(1, 2)], Verdict.MOVING),
        ("", new(1, 2), Verdict.MOVING),
        ("updating", [*new(1), *old(2)], Verdict.MOVING),
        ("updating", new(1, 2), Verdict.MOVING),
        ("completed", new(1, 2), Verdict.DONE),
        ("completed", new(1), Verdict.MOVING),
        ("completed", [*new(1, 2), *old(2)], Verdict.MOVING),
        ("completed", [*new(1), *new(2, state="starting")], Verdict.MOVING),
        ("paused", new(1), Verdict.FAILED),
        ("rollback_started", old(1, 2), Verdict.MOVING),
        ("rollback_paused", old(1), Verdict.FAILED),
        ("rollback_completed", old(1, 2), Verdict.ROLLED_BACK),
    ],
)
def test_states_of_the_engine(state: str, tasks: list[Task], verdict: Verdict) -> None:
    assert judged(state, tasks)[0] is verdict


@pytest.mark.parametrize("state", ["paused", "rollback_paused", "rollback_completed"])
def test_the_engines_words_are_passed_on(state: str) -> None:
    assert judged(state, [], message="update paused: task t1")[1] == "update paused: task t1"


@pytest.mark.parametrize("state", ["", "completed", "rollback_completed", "rollback_paused"])
def test_a_service_that_is_kept_may_carry_the_state_of_long_ago(state: str) -> None:
    found = watch.judge(
        target(Action.KEEP, replaces=False, known_tasks=frozenset({"new1", "new2"})),
        LIVE | {"UpdateStatus": {"State": state}},
        new(1, 2),
        0.0,
    )
    assert found == (Verdict.DONE, "")


def test_a_kept_service_that_still_updates_is_waited_for() -> None:
    assert judged("updating", new(1, 2), action=Action.KEEP)[0] is Verdict.MOVING


def test_somebody_elses_change_is_no_success() -> None:
    theirs = LIVE | {"Spec": SPEC | {"Labels": {labels.RELEASE: "v3"}}}
    verdict, reason = watch.judge(target(), theirs, new(1, 2), 0.0)
    assert verdict is Verdict.FAILED
    assert "somebody else" in reason


def waiting(message: str = "no suitable node (insufficient memory)") -> list[Task]:
    return [*old(1, 2), task("new1", 1, "pending", message=message)]


def test_a_replica_that_finds_no_node_is_given_some_time() -> None:
    moving = target()
    service_json = LIVE | {"UpdateStatus": {"State": "updating"}}
    assert watch.judge(moving, service_json, waiting(), 100.0)[0] is Verdict.MOVING
    assert watch.judge(moving, service_json, waiting(), 109.0)[0] is Verdict.MOVING
    assert watch.judge(moving, service_json, waiting(), 111.0) == (
        Verdict.FAILED,
        "no suitable node (insufficient memory)",
    )


def test_waiting_without_a_reason_is_no_failure() -> None:
    moving = target()
    for now in (0.0, 100.0):
        assert watch.judge(moving, LIVE, waiting(""), now)[0] is Verdict.MOVING


def failed(moving: Tracked, *tasks: Task) -> tuple[Verdict, str]:
    watch._remember_failures(FakeEngine(), moving, LIVE, tasks)
    return watch.judge(moving, LIVE, list(tasks), 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "No such image",
        "executable file not found",
        "exec format error",
        "OCI runtime create failed",
        "invalid mount config",
        "bind source path does not exist",
    ],
)
def test_a_failure_that_no_restart_fixes_fails_at_once(text: str) -> None:
    verdict, reason = failed(target(Action.CREATE), task(state="rejected", message=f"{text}: x"))
    assert (verdict, reason) == (Verdict.FAILED, f"{text}: x")


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_an_init_cannot_run_fails_at_once(code: int) -> None:
    found = task(state="failed", message=f"task: non-zero exit ({code})", exit_code=code)
    verdict, reason = failed(target(Action.CREATE), found)
    assert (verdict, reason) == (Verdict.FAILED, f"task: non-zero exit ({code})")


def test_three_failures_of_one_replica_are_enough() -> None:
    moving = target(Action.CREATE)
    tasks = [task(f"t{i}", 1, "failed", message="task: non-zero exit (1)") for i in range(3)]
    assert failed(moving, *tasks[:2])[0] is Verdict.MOVING
    verdict, reason = failed(moving, *tasks)
    assert verdict is Verdict.FAILED
    assert reason == "replica 1 failed 3 times: task: non-zero exit (1)"


@pytest.mark.parametrize(
    "text", ["Address already in use", "No such container", "swarm is not active"]
)
def test_what_an_engine_that_restarts_does_to_a_replica_is_not_counted(text: str) -> None:
    moving = target(Action.CREATE)
    tasks = [task(f"t{i}", 1, "rejected", message=f"{text}: x") for i in range(9)]
    assert failed(moving, *tasks)[0] is Verdict.MOVING
    assert len(moving.failures) == 9


def test_failures_of_different_replicas_do_not_add_up() -> None:
    moving = target(Action.CREATE)
    assert failed(moving, *[task(f"t{i}", i, "failed") for i in range(3)])[0] is Verdict.MOVING


def test_failures_the_engine_forgot_are_remembered() -> None:
    moving = target(Action.CREATE)
    for number in range(2):
        failed(moving, task(f"t{number}", 1, "failed"))
    assert failed(moving, task("t2", 1, "failed"))[0] is Verdict.FAILED


@pytest.mark.parametrize(
    "other",
    [
        task("old1", 1, "failed"),
        task("x", 1, "failed", release="v1"),
        task("x", 1, "shutdown"),
        task("x", 1, "running"),
        task("x", 1, "failed", message="starting container failed: Canceled: context canceled"),
        task("x", 1, "rejected", message="assigned node no longer meets constraints"),
    ],
)
def test_what_is_no_failure_of_this_release(other: Task) -> None:
    moving = target()
    watch._remember_failures(FakeEngine(), moving, LIVE, [other])
    assert moving.failures == {}


def test_while_the_engine_watches_an_update_it_decides() -> None:
    moving = target()
    tasks = [task(f"t{i}", 1, "failed") for i in range(4)]
    watch._remember_failures(FakeEngine(), moving, LIVE, tasks)
    service_json = LIVE | {"UpdateStatus": {"State": "updating"}}
    assert watch.judge(moving, service_json, tasks, 0.0)[0] is Verdict.MOVING


def test_replicas_that_no_update_watches_have_to_stay_up() -> None:
    first = target(Action.CREATE, known_tasks=frozenset())
    assert watch.judge(first, LIVE, new(1, 2), 10.0)[0] is Verdict.MOVING
    assert watch.judge(first, LIVE, new(1, 2), 14.9)[0] is Verdict.MOVING
    assert watch.judge(first, LIVE, new(1, 2), 15.0)[0] is Verdict.DONE


def test_another_replica_restarts_the_proving_time() -> None:
    first = target(Action.CREATE, known_tasks=frozenset())
    watch.judge(first, LIVE, new(1, 2), 10.0)
    again = [*new(1), task("other2", 2)]
    assert watch.judge(first, LIVE, again, 15.0)[0] is Verdict.MOVING
    assert watch.judge(first, LIVE, again, 20.0)[0] is Verdict.DONE


def test_a_lost_replica_restarts_the_proving_time() -> None:
    first = target(Action.CREATE, known_tasks=frozenset())
    watch.judge(first, LIVE, new(1, 2), 10.0)
    watch.judge(first, LIVE, new(1), 12.0)
    assert watch.judge(first, LIVE, new(1, 2), 16.0)[0] is Verdict.MOVING


def test_the_engine_gets_a_moment_to_begin() -> None:
    known = target(known_tasks=frozenset({"new1", "new2"}))
    assert watch.judge(known, LIVE, new(1, 2), 0.0)[0] is Verdict.MOVING
    assert watch.judge(known, LIVE, new(1, 2), watch.SETTLE_SECONDS)[0] is Verdict.DONE


def test_what_replaces_nothing_is_done_at_once() -> None:
    labels_only = target(replaces=False, known_tasks=frozenset({"new1", "new2"}))
    assert watch.judge(labels_only, LIVE, new(1, 2), 0.0)[0] is Verdict.DONE


def test_too_many_replicas_are_not_done() -> None:
    assert judged("completed", new(1, 2, 3))[0] is Verdict.MOVING


def test_no_replicas_wanted_no_replicas_there() -> None:
    spec = SPEC | {"Mode": {"Replicated": {"Replicas": 0}}}
    idle = Tracked.of(Target("web", "items_web", Action.CREATE, spec, None))
    assert watch.judge(idle, {"ID": "s1", "Spec": spec}, [], 0.0)[0] is Verdict.DONE


# Through the whole backend, on the cluster in memory


def applied(made: FakeEngine, **keys: Any) -> SwarmRollout:
    backend = Swarm(made)
    spec = app(service(replicas=2, **keys))
    plan = backend.plan(spec, images(spec, digest=OTHER_DIGEST))
    rollout = backend.rollout(plan)
    rollout.start(release(spec, 2))
    return rollout


def test_an_update_as_the_engine_does_it() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    made.settle = False
    rollout = applied(made)
    (progress,) = rollout.observe()
    assert (progress.verdict, progress.ready, progress.wanted) == (Verdict.MOVING, 0, 2)
    for one in made.tasks_of("items_web"):
        if one["DesiredState"] == "running":
            made.set_task(one["ID"], "running")
    made.set_update("items_web", "completed")
    (progress,) = rollout.observe()
    assert (progress.verdict, progress.ready) == (Verdict.DONE, 2)


def test_a_removed_service_has_failed() -> None:
    made = engine()
    rollout = applied(made)
    made.remove_service(made.service("items_web")["ID"])
    (progress,) = rollout.observe()
    assert progress.verdict is Verdict.FAILED
    assert "removed" in progress.reason


def test_failures_are_kept_with_their_reasons() -> None:
    made = engine()
    rollout = applied(made)
    exited = {"ExitCode": 3, "ContainerID": "c9"}
    made.add_task("items_web", 1, "failed", Err="task: non-zero exit (3)", ContainerStatus=exited)
    rollout.observe()
    (found,) = rollout.failures()
    assert (found.exit_code, found.message, found.container) == (3, "task: non-zero exit (3)", "c9")


def test_a_reversal_is_watched() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    rollout = applied(made)
    reversal = rollout.reverse()
    assert reversal.observe()[0].verdict is Verdict.MOVING
    made.settle = False
    reversal.start()
    assert reversal.observe()[0].verdict is Verdict.MOVING
    made.set_update("items_web", "paused", "stuck")
    assert reversal.observe()[0].verdict is Verdict.FAILED


def test_a_first_deploy_is_back_when_it_is_gone() -> None:
    made = engine()
    rollout = applied(made)
    reversal = rollout.reverse()
    assert reversal.observe()[0].verdict is Verdict.MOVING
    reversal.start()
    assert reversal.observe()[0].verdict is Verdict.DONE
    assert made.services() == []


def test_scale_and_restart_are_watched_like_an_update() -> None:
    made = engine()
    deploy(made, app(service(replicas=2, update={"monitor": "0s"})))
    backend = Swarm(made)
    plan = backend.scale("items", {"web": 4})
    assert [f.path for f in plan.changes[0].fields] == ["replicas"]
    rollout = backend.rollout(plan)
    rollout.start()
    assert rollout.observe()[0].verdict is Verdict.DONE
    again = backend.restart("items", ["web"])
    assert again.changes[0].replaces
    rollout = backend.rollout(again)
    rollout.start()
    assert rollout.observe()[0].verdict is Verdict.DONE
