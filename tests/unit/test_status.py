"""`status`: what runs, and what should run and does not."""

from __future__ import annotations

import pytest

from deploytool.backends.model import Outcome, ServiceStatus, Status
from deploytool.backends.swarm.backend import Swarm
from deploytool.cli.views import status_parts
from deploytool.records import history
from tests.builders import app, deploy, engine, release, service, worker
from tests.fake_engine import FakeEngine

SPEC = app(service(replicas=3), worker(replicas=2))


@pytest.fixture
def made() -> FakeEngine:
    found = engine()
    deploy(found, SPEC)
    return found


def of(made: FakeEngine) -> dict[str, ServiceStatus]:
    return {found.name: found for found in Swarm(made).status("items").services}


def shown(status: Status) -> str:
    return "\n".join(str(part) for part in status_parts(status, everything=False))


def test_all_replicas_run(made: FakeEngine) -> None:
    status = Swarm(made).status("items")
    assert status.is_complete
    assert "missing" not in shown(status)


def test_replicas_that_do_not_run_are_missing(made: FakeEngine) -> None:
    first, second, _ = made.tasks_of("items_web")
    made.set_task(first["ID"], "failed", wanted="shutdown", Err="task: non-zero exit (1)")
    made.set_task(second["ID"], "pending", Err="no suitable node")
    status = Swarm(made).status("items")
    assert not status.is_complete
    assert {s.name: s.missing for s in status.services} == {"web": 2, "worker": 0}
    assert "✗ replicas are missing: 2 of 3 of web" in shown(status)


def test_two_replicas_in_one_slot_do_not_make_up_for_an_empty_one(made: FakeEngine) -> None:
    made.set_task(made.tasks_of("items_web")[0]["ID"], "failed", wanted="shutdown")
    made.add_task("items_web", 2, "running")
    assert of(made)["web"].missing == 1


def test_a_service_that_somebody_removed_is_missing(made: FakeEngine) -> None:
    remember(made)
    made.remove_service(made.service("items_worker")["ID"])
    found = of(made)["worker"]
    assert (found.replicas, found.running, found.missing) == (2, 0, 2)
    assert found.release == "v1"


def test_a_service_that_the_next_release_does_without_is_not_missing(made: FakeEngine) -> None:
    swarm = remember(made)
    history.begin(swarm.store, release(app(service(replicas=3))))
    made.remove_service(made.service("items_worker")["ID"])
    assert swarm.status("items").is_complete


def test_a_release_that_failed_is_not_what_should_run(made: FakeEngine) -> None:
    swarm = remember(made)
    failed = history.begin(swarm.store, release(app(*SPEC.services, worker("late"))))
    history.finish(swarm.store, failed, Outcome.ROLLED_BACK, 1.0)
    assert swarm.status("items").is_complete


def remember(made: FakeEngine) -> Swarm:
    """Put the release that runs into the history."""
    swarm = Swarm(made)
    history.finish(swarm.store, history.begin(swarm.store, release(SPEC)), Outcome.DONE, 1.0)
    return swarm
