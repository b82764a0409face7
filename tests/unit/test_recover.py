"""Recovery of updates that stall or fail through the cluster, and of no other ones."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Action, ServiceProgress, Task, Verdict
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.planning.plan import Target
from deploytool.backends.swarm.rollout import recover
from deploytool.backends.swarm.rollout.session import SwarmRollout
from deploytool.backends.swarm.rollout.tracked import Tracked
from deploytool.errors import EngineError, PlanError
from tests.builders import OTHER_DIGEST, app, deploy, engine, images, release, service, task
from tests.fake_engine import FakeEngine

Updating = tuple[FakeEngine, SwarmRollout]
UPDATING = {"ID": "s1", "UpdateStatus": {"State": "updating"}}
SETTLING = 4.0
LATER = SETTLING + 0.1


def lost(**keys: Any) -> Task:
    given: dict[str, Any] = {"state": "assigned", "wanted": False, "current": True}
    return task("lost", 2, **(given | keys))


def held_up_by(found: Task, service: dict[str, Any] = UPDATING, after: float = LATER) -> list[Task]:
    target = Tracked.of(Target("web", "items_web", Action.UPDATE, {}, {}))
    assert recover.held_up_by(target, service, [found], 0.0) == []
    return recover.held_up_by(target, service, [found], after)


@pytest.mark.parametrize(
    "state", ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting"]
)
def test_a_replica_that_nobody_wants_and_nobody_stops(state: str) -> None:
    assert held_up_by(lost(state=state)) == [lost(state=state)]


@pytest.mark.parametrize(
    "found",
    [
        lost(wanted=True),
        lost(current=False),
        lost(state="running"),
        lost(state="shutdown"),
        lost(state="failed"),
    ],
)
def test_a_replica_that_ended_or_is_wanted_holds_no_update_up(found: Task) -> None:
    assert held_up_by(found) == []


def test_a_node_gets_a_moment_to_stop_it() -> None:
    assert held_up_by(lost(), after=SETTLING) == []


@pytest.mark.parametrize("state", ["completed", "rollback_started", "paused", ""])
def test_only_an_update_under_way_is_started_again(state: str) -> None:
    assert held_up_by(lost(), {"ID": "s1", "UpdateStatus": {"State": state}}) == []


def begun(*, settle: bool = False, settling: float = SETTLING) -> Updating:
    """An update that was applied; with `settle` it is done."""
    made = engine()
    deploy(made, app(service(replicas=2)))
    made.settle = settle
    backend = Swarm(made)
    spec = app(service(replicas=2))
    plan = backend.plan(spec, images(spec, digest=OTHER_DIGEST))
    rollout = backend.rollout(plan)
    set_settling(rollout, settling)
    rollout.start(release(spec, 2))
    return made, rollout


def set_settling(rollout: SwarmRollout, seconds: float) -> None:
    for target in rollout.targets:
        target.settling = seconds


def stuck() -> Updating:
    made, rollout = begun(settling=-1.0)
    made.add_task("items_web", 1, "assigned", wanted="shutdown")
    made.changes.clear()
    return made, rollout


def step(rollout: SwarmRollout) -> ServiceProgress:
    """One poll of a rollout, and what it leads to."""
    (progress,) = rollout.observe()
    if progress.stalled:
        rollout.recover()
    return progress


def die(made: FakeEngine) -> None:
    for found in made.nodes():
        found["Status"]["State"] = "down"


def test_what_a_living_node_stops_gets_its_grace() -> None:
    made, rollout = stuck()
    step(rollout)
    assert made.changes == []
    set_settling(rollout, -31.0)
    step(rollout)
    assert made.changes == ["update_service items_web"] * 2


def test_polling_alone_writes_nothing(crowded: Updating) -> None:
    taken_back = begun()
    take_back(taken_back[0], "shutdown")
    held_up = stuck()
    die(held_up[0])
    for made, rollout in (held_up, crowded, taken_back):
        for _ in range(2):
            assert [progress.stalled for progress in rollout.observe()] == [True]
            rollout.reverse().observe()
        assert made.changes == []


def test_reversal_never_begins_the_update_again(updating: Updating) -> None:
    """Whatever made the engine take it back: the release before is what shall run."""
    made, rollout = updating
    take_back(made, "shutdown")
    reversal = rollout.reverse()
    (progress,) = reversal.observe()
    reversal.recover()
    assert (progress.verdict, progress.stalled, made.changes) == (Verdict.MOVING, False, [])


def test_reversal_that_is_held_up_is_recovered() -> None:
    made, rollout = stuck()
    die(made)
    reversal = rollout.reverse()
    (progress,) = reversal.observe()
    assert progress.reason.startswith("continues without node-")
    reversal.recover()
    assert made.changes == ["update_service items_web"] * 2


def test_recovery_is_done_once(crowded: Updating) -> None:
    made, rollout = crowded
    rollout.observe()
    rollout.recover()
    rollout.recover()
    assert made.changes == ["update_service items_web"]


def test_an_update_that_was_started_again_keeps_its_specifications() -> None:
    made, rollout = stuck()
    die(made)
    before = made.service("items_web")
    for _ in range(3):
        progress = step(rollout)
        assert progress.verdict is Verdict.MOVING
        assert progress.reason.startswith("continues without node-")
    assert made.changes == ["update_service items_web"] * 2
    after = made.service("items_web")
    assert after["Spec"] == before["Spec"]
    assert after["PreviousSpec"] == before["PreviousSpec"]


def test_somebody_elses_change_is_left_to_the_next_poll() -> None:
    made, rollout = stuck()
    die(made)
    made.refuses["update_service"] = PlanError("it changed", code="changed_meanwhile")
    progress = step(rollout)
    assert progress.verdict is Verdict.MOVING


def test_the_engines_own_update_status_counts_as_no_change() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    seen = made.service("items_web")
    made.set_update("items_web", "completed")
    made.update_service(seen, seen["Spec"] | {"Labels": {"by": "us"}})
    assert made.service("items_web")["Spec"]["Labels"] == {"by": "us"}


def test_somebody_elses_change_is_not_overwritten() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    seen = made.service("items_web")
    made.update_service(seen, seen["Spec"] | {"Labels": {"by": "them"}})
    with pytest.raises(PlanError):
        made.update_service(seen, seen["Spec"] | {"Labels": {"by": "us"}})
    assert made.service("items_web")["Spec"]["Labels"] == {"by": "them"}


@pytest.fixture
def crowded() -> Updating:
    """An update that is completed, with two new replicas in the place of one."""
    made, rollout = begun(settle=True, settling=-1.0)
    made.add_task("items_web", 1, "running")
    made.changes.clear()
    return made, rollout


def test_a_slot_with_two_replicas_is_corrected_by_an_update(crowded: Updating) -> None:
    made, rollout = crowded
    before = made.service("items_web")["Spec"]
    progress = step(rollout)
    assert (progress.verdict, progress.ready) == (Verdict.MOVING, 2)
    assert progress.reason == "removes surplus replicas: 1"
    assert made.changes == ["update_service items_web"]
    assert made.service("items_web")["Spec"] == before


@pytest.mark.parametrize("state", ["updating", "paused", "rollback_started", "rollback_paused"])
def test_an_update_under_way_may_have_two_in_a_slot(crowded: Updating, state: str) -> None:
    made, rollout = crowded
    made.set_update("items_web", state)
    step(rollout)
    assert made.changes == []


def test_the_cluster_gets_a_moment_to_remove_the_second(crowded: Updating) -> None:
    made, rollout = crowded
    set_settling(rollout, 60.0)
    progress = step(rollout)
    assert (progress.verdict, made.changes) == (Verdict.MOVING, [])


UNHEALTHY = "task: non-zero exit (143): dockerexec: unhealthy container"
CUT_OFF = "no answer from proxy_traefik at 10.253.0.5"


def take_back(
    made: FakeEngine,
    state: str,
    code: int | None = None,
    message: str = "",
    output: tuple[str, ...] = (),
) -> None:
    """The engine takes an update back, as a new replica did not last."""
    ended = {"ContainerID": "c1", "ExitCode": code}
    exited = {"ContainerStatus": ended} if code is not None else {}
    found = made.add_task("items_web", 1, state, wanted="shutdown", Err=message, **exited)
    made.output[found] = list(output)
    made.take_back("items_web", found)
    made.changes.clear()


@pytest.fixture
def updating() -> Updating:
    return begun()


@pytest.mark.parametrize(
    ("state", "code", "message"),
    [
        ("shutdown", None, ""),
        ("failed", 143, "task: non-zero exit (143)"),
        ("rejected", None, "failed to set up container networking: Address already in use"),
        ("failed", None, "No such container: items_web.1.zq1wst3vrw08973thgq7bg6yv"),
        ("rejected", None, "cannot create a swarm scoped network when swarm is not active"),
    ],
)
def test_an_update_is_started_again_if_the_cluster_ended_its_replica(
    updating: Updating, state: str, code: int | None, message: str
) -> None:
    made, rollout = updating
    wanted = made.service("items_web")["Spec"]
    take_back(made, state, code, message)
    progress = step(rollout)
    assert progress.verdict is Verdict.MOVING
    assert progress.reason.startswith("update started again, as node-")
    assert made.changes == ["update_service items_web"]
    assert made.service("items_web")["Spec"] == wanted
    assert rollout.failures() == []


@pytest.mark.parametrize(
    ("state", "code", "message"),
    [
        ("failed", 1, "task: non-zero exit (1)"),
        ("failed", 137, "task: non-zero exit (137)"),
        ("failed", 143, UNHEALTHY),
        ("complete", 0, ""),
        ("failed", None, "listen tcp4 0.0.0.0:80: bind: address already in use"),
        ("rejected", None, "No such image: app:1"),
        ("running", None, ""),
    ],
)
def test_an_update_is_not_started_again_if_its_replica_ended_by_itself(
    updating: Updating, state: str, code: int | None, message: str
) -> None:
    made, rollout = updating
    take_back(made, state, code, message)
    progress = step(rollout)
    assert (progress.verdict, progress.reason[:19]) == (Verdict.MOVING, "update rolled back ")
    assert made.changes == []


def test_an_update_is_started_again_if_its_replica_was_cut_off(
    updating: Updating,
) -> None:
    made, rollout = updating
    take_back(made, "failed", 143, UNHEALTHY, ("started", CUT_OFF, CUT_OFF, "Shutting down"))
    progress = step(rollout)
    assert progress.reason.startswith("update started again, as node-")
    assert made.changes == ["update_service items_web"]
    assert rollout.failures() == []


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ("task: non-zero exit (1)", (CUT_OFF, "cannot do that")),
        (UNHEALTHY, ("GET /health HTTP/1.1 503",)),
    ],
)
def test_an_update_is_not_started_again_if_its_replica_failed_otherwise(
    updating: Updating, message: str, output: tuple[str, ...]
) -> None:
    made, rollout = updating
    take_back(made, "failed", 1, message, output)
    for _ in range(3):
        step(rollout)
    assert made.changes == []


def test_a_log_that_cannot_be_read_excuses_nothing(updating: Updating) -> None:
    made, rollout = updating
    take_back(made, "failed", 143, UNHEALTHY, (CUT_OFF,))
    made.refuses["task_output"] = EngineError("no", code="engine")
    step(rollout)
    assert made.changes == []


def test_an_update_is_started_again_three_times_at_most(updating: Updating) -> None:
    made, rollout = updating
    for _ in range(3):
        take_back(made, "shutdown")
        step(rollout)
        assert made.changes == ["update_service items_web"]
    take_back(made, "shutdown")
    step(rollout)
    assert made.changes == []


def test_a_rollback_by_hand_is_left_alone(updating: Updating) -> None:
    made, rollout = updating
    take_back(made, "shutdown")
    made.set_update("items_web", "rollback_started", "manually requested rollback")
    step(rollout)
    assert made.changes == []


def test_what_this_rollout_did_not_begin_is_not_begun_again(updating: Updating) -> None:
    made, rollout = updating
    take_back(made, "shutdown")
    rollout.targets[0].applied = False
    step(rollout)
    assert made.changes == []
