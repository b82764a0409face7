"""An update that waits for a replica on a dead node is started anew, and only that one."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.base import Action, Task, Verdict
from deploytool.backends.swarm import unblock
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.plan import Target
from deploytool.errors import PlanError
from tests.builders import OTHER_DIGEST, app, deploy, engine, images, release, service, task
from tests.fake_engine import FakeEngine

UPDATING = {"ID": "s1", "UpdateStatus": {"State": "updating"}}
LATER = unblock.PATIENCE + 0.1


def lost(**keys: Any) -> Task:
    given: dict[str, Any] = {"state": "assigned", "wanted": False, "current": True}
    return task("lost", 2, **(given | keys))


def held_up_by(found: Task, service: dict[str, Any] = UPDATING, after: float = LATER) -> list[Task]:
    target = Target("web", "items_web", Action.UPDATE, {}, {})
    assert unblock.held_up_by(target, service, [found], 0.0) == []
    return unblock.held_up_by(target, service, [found], after)


@pytest.mark.parametrize("state", unblock.BEFORE_RUNNING)
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
def test_what_holds_nothing_up(found: Task) -> None:
    assert held_up_by(found) == []


def test_a_node_gets_a_moment_to_stop_it() -> None:
    assert held_up_by(lost(), after=unblock.PATIENCE) == []


@pytest.mark.parametrize("state", ["completed", "rollback_started", "paused", ""])
def test_only_an_update_under_way_is_started_anew(state: str) -> None:
    assert held_up_by(lost(), {"ID": "s1", "UpdateStatus": {"State": state}}) == []


def stuck(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeEngine, Swarm, Any]:
    monkeypatch.setattr(unblock, "PATIENCE", -1.0)
    made = engine()
    deploy(made, app(service(replicas=2)))
    made.settle = False
    backend = Swarm(made)
    spec = app(service(replicas=2))
    plan = backend.plan(spec, images(spec, digest=OTHER_DIGEST))
    backend.apply(plan, release(spec, 2))
    made.add_task("items_web", 1, "assigned", wanted="shutdown")
    made.changes.clear()
    return made, backend, plan


def test_it_ends_as_it_was_and_goes_back_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made, backend, plan = stuck(monkeypatch)
    before = made.service("items_web")
    for _ in range(3):
        (progress,) = backend.observe(plan)
        assert progress.verdict is Verdict.MOVING
        assert progress.reason.startswith("goes on without node-")
    assert made.changes == ["update_service items_web"] * 2
    after = made.service("items_web")
    assert after["Spec"] == before["Spec"]
    assert after["PreviousSpec"] == before["PreviousSpec"]


def test_somebody_elses_change_is_left_to_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    made, backend, plan = stuck(monkeypatch)
    made.refuses["update_service"] = PlanError("it changed", code="changed_meanwhile")
    (progress,) = backend.observe(plan)
    assert progress.verdict is Verdict.MOVING


def test_what_the_engine_notes_of_an_update_is_nobodys_change() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    seen = made.service("items_web")
    made.set_update("items_web", "completed")
    made.update_service(seen, seen["Spec"] | {"Labels": {"by": "us"}})
    assert made.service("items_web")["Spec"]["Labels"] == {"by": "us"}


def test_what_somebody_else_changed_is_not_overwritten() -> None:
    made = engine()
    deploy(made, app(service(replicas=2)))
    seen = made.service("items_web")
    made.update_service(seen, seen["Spec"] | {"Labels": {"by": "them"}})
    with pytest.raises(PlanError):
        made.update_service(seen, seen["Spec"] | {"Labels": {"by": "us"}})
    assert made.service("items_web")["Spec"]["Labels"] == {"by": "them"}
