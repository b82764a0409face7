"""Services have an init process, and go on without where a node has no docker-init."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Job, Plan, ServiceProgress, Verdict
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.doctor import _init
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.backends.swarm.rollout import watch
from deploytool.backends.swarm.rollout.session import SwarmRollout
from deploytool.backends.swarm.specification import labels
from deploytool.spec import AppSpec
from tests.builders import (
    OTHER_DIGEST,
    app,
    deploy,
    engine,
    images,
    proxy,
    release,
    service,
    worker,
)
from tests.fake_engine import FakeEngine

NO_INIT = 'starting container failed: exec: "docker-init": executable file not found in $PATH'
"""What engines 20.10 and 28.5 say of a container that cannot have an init."""
NONE_HERE = {"InitBinary": "docker-init", "InitCommit": {"ID": "N/A"}}


def container(made: FakeEngine, name: str = "items_web") -> dict[str, Any]:
    return dict(made.service(name)["Spec"]["TaskTemplate"]["ContainerSpec"])


def has_init(made: FakeEngine, name: str = "items_web") -> bool:
    return bool(container(made, name).get("Init"))


def remembered(made: FakeEngine, name: str = "items_web") -> str:
    return str(made.service(name)["Spec"]["Labels"].get(labels.NO_INIT, ""))


def planned(made: FakeEngine, spec: AppSpec, **keys: Any) -> Plan:
    return Swarm(made).plan(spec, images(spec, **keys))


def test_there_is_one_by_default() -> None:
    made = engine()
    deploy(made, app(service(), worker(init=False)))
    assert has_init(made)
    assert not has_init(made, "items_worker")
    assert planned(made, app(service(), worker(init=False))).is_empty


def test_the_proxy_has_no_init() -> None:
    made = engine()
    deploy(made, proxy())
    assert not has_init(made, "proxy_traefik")


def test_jobs_have_one_as_their_service_has() -> None:
    spec = app(service(), worker(init=False))
    for name, expected in (("web", True), ("worker", False)):
        job = Job(name="run-1", release=release(spec), service=name, command=("true",))
        assert job_spec(job, {})["TaskTemplate"]["ContainerSpec"]["Init"] is expected


# --- the engine says that it has none -------------------------------------------------------------


def test_an_engine_without_docker_init_gets_services_without() -> None:
    made = engine()
    made.engine_info |= NONE_HERE
    spec = app(service(), worker(init=True))
    plan = planned(made, spec)
    (warning,) = [w for w in plan.warnings if "docker-init" in w]
    assert warning.startswith("no init process for web: node-1 has no docker-init")
    deploy(made, spec)
    assert not has_init(made)
    assert remembered(made) == "id-of-node-1"
    assert has_init(made, "items_worker"), "init = true insists"
    assert planned(made, spec).is_empty


def test_a_node_that_takes_none_of_the_replicas_does_not_count() -> None:
    made = engine()
    made.engine_info |= NONE_HERE
    deploy(made, app(service(placement={"constraints": ["node.role == worker"]})))
    assert has_init(made)


def test_a_node_that_gets_docker_init_gives_them_one() -> None:
    made = engine()
    made.engine_info |= NONE_HERE
    deploy(made, app())
    made.engine_info["InitCommit"] = {"ID": ""}
    (change, *_) = planned(made, app()).changes
    assert [(f.path, f.after) for f in change.fields] == [("init", True)]
    assert change.replaces


def test_doctor_reports_a_missing_init() -> None:
    assert _init({"InitCommit": {"ID": ""}}) is None
    assert _init({}) is None
    found = _init(NONE_HERE)
    assert found is not None
    assert "no docker-init" in found.message


# --- another node turns out to have none ----------------------------------------------------------


def begun(spec: AppSpec, *, update: bool) -> tuple[FakeEngine, SwarmRollout]:
    """A rollout whose replicas are being started."""
    made = engine()
    if update:
        deploy(made, spec)
    made.settle = False
    backend = Swarm(made)
    plan = backend.plan(spec, images(spec, digest=OTHER_DIGEST))
    rollout = backend.rollout(plan)
    rollout.start(release(spec, 2))
    return made, rollout


def newest(made: FakeEngine, name: str = "items_web") -> dict[str, Any]:
    return made.tasks_of(name)[-1]


def fails(made: FakeEngine, name: str = "items_web", message: str = NO_INIT) -> str:
    """The newest replica does not start; the node that it was sent to."""
    found = newest(made, name)
    made.set_task(found["ID"], "failed", Err=message, wanted="shutdown")
    return str(found["NodeID"])


def seen(rollout: SwarmRollout, name: str = "web") -> ServiceProgress:
    """One poll of a rollout, and what it leads to."""
    found = rollout.observe()
    if any(progress.stalled for progress in found):
        rollout.recover()
    return next(p for p in found if p.service == name)


@pytest.mark.parametrize("update", [False, True])
def test_a_rollout_continues_without_an_init(update: bool) -> None:
    made, rollout = begun(app(service(replicas=1)), update=update)
    lacking = fails(made)
    if update:
        made.take_back("items_web", newest(made)["ID"])
    progress = seen(rollout)
    assert progress.verdict is Verdict.MOVING
    assert progress.reason == (
        f"continues without an init, as {lacking.removeprefix('id-of-')} has no docker-init"
    )
    assert not has_init(made)
    assert remembered(made) == lacking
    assert made.service("items_web")["Spec"]["Labels"][labels.RELEASE] == "v2"
    made.set_task(newest(made)["ID"], "running")
    made.set_update("items_web", "completed")
    assert rollout.failures() == []
    rollout.targets[0].steady = (0.0, frozenset({newest(made)["ID"]}))
    assert seen(rollout).verdict is Verdict.DONE


def test_it_is_asked_once_for_all_that_failed() -> None:
    made, rollout = begun(app(service(replicas=2)), update=False)
    for found in made.tasks_of("items_web"):
        made.set_task(found["ID"], "failed", Err=NO_INIT, wanted="shutdown")
    made.changes.clear()
    seen(rollout)
    seen(rollout)
    assert made.changes == ["update_service items_web"]


def test_a_surplus_replica_is_removed_after_the_init() -> None:
    """Who restarts replicas and who updates them may each have put one in the place of the one
    that did not start."""
    made, rollout = begun(app(service(replicas=1)), update=False)
    rollout.targets[0].settling = -1.0
    fails(made)
    seen(rollout)
    made.set_task(newest(made)["ID"], "running")
    made.add_task("items_web", 1, "running")
    made.set_update("items_web", "completed")
    assert seen(rollout).reason == "removes surplus replicas: 1"


def test_who_insists_on_one_is_told_why_it_fails() -> None:
    made, rollout = begun(app(service(replicas=1, init=True)), update=False)
    fails(made)
    progress = seen(rollout)
    assert (progress.verdict, progress.reason) == (Verdict.FAILED, NO_INIT)
    assert has_init(made)
    (failure,) = rollout.failures()
    assert "install it there, or set init = false" in "\n".join(Swarm(made).explain(failure))


def test_another_failure_is_none_of_it() -> None:
    made, rollout = begun(app(service(replicas=1)), update=False)
    fails(made, message='starting container failed: exec: "uvicorn": executable file not found')
    assert seen(rollout).verdict is Verdict.FAILED
    assert has_init(made)


def test_services_that_come_later_begin_without() -> None:
    spec = app(service(replicas=1), worker(replicas=1, depends_on=["web"]))
    made = engine()
    made.settle = False
    backend = Swarm(made)
    plan = backend.plan(spec, images(spec))
    rollout = backend.rollout(plan)
    rollout.start(release(spec), {"web"})
    lacking = fails(made)
    seen(rollout)
    rollout.start(release(spec), {"worker"})
    assert not has_init(made, "items_worker")
    assert remembered(made, "items_worker") == lacking


def test_a_replica_that_moves_to_such_a_node_later_is_seen_by_the_next_plan() -> None:
    made = engine()
    deploy(made, app(service(replicas=1)))
    made.add_task("items_web", 1, "rejected", Err=NO_INIT, wanted="shutdown")
    nodes = {task["NodeID"] for task in made.tasks_of("items_web")}
    assert len(nodes) == 2
    (change, *_) = planned(made, app(service(replicas=1))).changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [("init", True, None)]


def test_a_node_is_believed_to_have_it_where_a_container_with_one_runs() -> None:
    made = engine()
    deploy(made, app(service(replicas=3)))
    made.add_task("items_web", 1, "rejected", Err=NO_INIT, wanted="shutdown")
    assert planned(made, app(service(replicas=3))).is_empty


def test_scaling_continues_without_an_init() -> None:
    made = engine()
    deploy(made, app(service(replicas=1)))
    made.settle = False
    backend = Swarm(made)
    rollout = backend.rollout(backend.scale("items", {"web": 2}))
    rollout.start()
    fails(made)
    assert seen(rollout).verdict is Verdict.MOVING
    assert not has_init(made)


def test_an_undo_does_not_count_it_as_changed_by_somebody_else() -> None:
    made, rollout = begun(app(service(replicas=1)), update=True)
    fails(made)
    seen(rollout)
    live = made.service("items_web")
    assert watch.is_ours(rollout.targets[0], live)
    rollout.reverse().start()
    assert has_init(made)


# --- jobs -----------------------------------------------------------------------------------------


def started(made: FakeEngine, **keys: Any) -> tuple[Swarm, Job]:
    spec = app(service(**keys))
    deploy(made, spec)
    made.settle = False
    job = Job(name="run-1", release=release(spec), service="web", command=("true",))
    backend = Swarm(made)
    backend.start_job(job)
    return backend, job


def test_a_job_that_did_not_start_is_started_without() -> None:
    made = engine()
    backend, job = started(made)
    assert has_init(made, "items_run-1")
    fails(made, "items_run-1")
    assert backend.look_at_job(job) is None
    assert not has_init(made, "items_run-1")
    made.set_task(newest(made, "items_run-1")["ID"], "complete")
    found = backend.look_at_job(job)
    assert found is not None
    assert found.state == "complete"


def test_a_job_of_a_service_that_insists_fails() -> None:
    made = engine()
    backend, job = started(made, init=True)
    fails(made, "items_run-1")
    found = backend.look_at_job(job)
    assert found is not None
    assert (found.state, found.exit_code, found.message) == ("rejected", None, NO_INIT)


def test_a_job_begins_without_where_that_is_known() -> None:
    made = engine()
    made.engine_info |= NONE_HERE
    started(made)
    assert not has_init(made, "items_run-1")
