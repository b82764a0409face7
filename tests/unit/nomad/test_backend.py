"""An app on Nomad from its first deploy to its removal, through what all clusters share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploytool.backends.model import Action, Outcome
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.config.nomad import NomadSettings
from deploytool.errors import JobFailed, RolledBack, RolloutFailed, UsageError
from deploytool.precheck import unbuilt
from deploytool.records import history
from deploytool.removal import plan_removal
from deploytool.rollout.limits import Limits
from deploytool.rollout.release_step import Step
from deploytool.rollout.roll_out import Result, roll_out
from deploytool.spec import AppSpec
from tests.builders import app, images, release, service, worker
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running

LIMITS = Limits(poll=1.0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def nomad(cluster: Cluster) -> Iterator[Nomad]:
    with running(cluster, speed=20) as address:
        yield Nomad(Client(Connection(address)), NomadSettings())


def deploy(nomad: Nomad, spec: AppSpec, step: Step | None = None) -> Result:
    plan = nomad.plan(spec, images(spec))
    return roll_out(nomad, plan, release(spec, 0), timeout=20_000, step=step, limits=LIMITS)


def outcomes(nomad: Nomad) -> list[tuple[int, Outcome]]:
    return [(r.release.number, r.outcome) for r in history.records(nomad.store, "items")]


def test_an_image_that_is_not_built_yet_changes_the_image_alone(nomad: Nomad) -> None:
    spec = app(service())
    built = images(spec, platforms=(("amd64", "linux"),))
    done = roll_out(
        nomad,
        nomad.plan(spec, built),
        release(spec, 0, images=built),
        timeout=20_000,
        limits=LIMITS,
    )
    assert done.release is not None
    (found,) = [c for c in nomad.plan(spec, unbuilt(nomad, spec, "r/items:2")).changes if c.fields]
    assert [field.path for field in found.fields] == ["image"]


def test_deploy_is_recorded_and_seen(nomad: Nomad) -> None:
    done = deploy(nomad, app(service(replicas=2), worker()))
    assert done.release is not None
    assert outcomes(nomad) == [(1, Outcome.DONE)]
    status = nomad.status("items")
    assert status.is_complete
    assert status.release == "v1"
    assert [(s.name, s.running, s.replicas) for s in status.services] == [
        ("web", 2, 2),
        ("worker", 1, 1),
    ]
    assert status.services[0].urls == ("http://items.localhost",)


def test_same_again_makes_no_release(nomad: Nomad) -> None:
    spec = app(service())
    deploy(nomad, spec)
    assert deploy(nomad, spec).release is None
    assert outcomes(nomad) == [(1, Outcome.DONE)]


def test_failed_release_is_rolled_back_and_said(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service(replicas=2)))
    cluster.scripts["web"] = Script(exits_after=0.2, exit_code=3, output="no database\n")
    with pytest.raises(RolledBack) as caught:
        deploy(nomad, app(service(replicas=2, env={"BAD": "1"})))
    assert "its process ended with exit code 3" in caught.value.message
    assert "| no database" in caught.value.details
    assert outcomes(nomad)[-1] == (2, Outcome.ROLLED_BACK)
    assert nomad.status("items").is_complete


def test_first_deploy_that_fails_leaves_nothing(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["web"] = Script(exits_after=0.2)
    with pytest.raises(RolloutFailed):
        deploy(nomad, app(service()))
    assert cluster.jobs == {}


def test_rollback_brings_the_earlier_release_back(nomad: Nomad) -> None:
    first = app(service())
    deploy(nomad, first)
    deploy(nomad, app(service(env={"A": "b"})))
    deploy(nomad, first)
    job = nomad.client.get("/v1/job/items")
    assert "A" not in job["TaskGroups"][0]["Tasks"][0].get("Env", {})


def test_release_step_runs_once_before_any_replica(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["batch"] = Script(exits_after=0.1, exit_code=0, output="migrated\n")
    printed: list[str] = []
    spec = app(service(), release={"command": ["migrate"]})
    deploy(nomad, spec, Step(emit=printed.append))
    assert printed == ["migrated"]
    assert nomad.jobs("items") == []
    batch = [a for a in cluster.allocations.values() if a["JobType"] == "batch"]
    assert len(batch) == 1
    assert batch[0]["CreateIndex"] < min(
        a["CreateIndex"] for a in cluster.allocations.values() if a["JobType"] == "service"
    )


def test_release_step_that_fails_touches_no_replica(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["batch"] = Script(exits_after=0.1, exit_code=4, output="no table\n")
    with pytest.raises(JobFailed) as caught:
        deploy(nomad, app(service(), release={"command": ["migrate"]}), Step())
    assert "exit code 4" in caught.value.message
    assert "no table" in caught.value.details
    assert not [a for a in cluster.allocations.values() if a["JobType"] == "service"]


def test_scale_and_restart(nomad: Nomad) -> None:
    deploy(nomad, app(service(replicas=2), worker()))

    def carry_out(plan: Any) -> None:
        spec = app(service(replicas=2), worker())
        roll_out(nomad, plan, release(spec, 0), timeout=20_000, limits=LIMITS)

    carry_out(nomad.scale("items", {"web": 4}))
    assert nomad.status("items").services[0].running == 4
    before = {t.id for t in nomad.status("items").services[0].tasks if t.running}
    plan = nomad.restart("items", ["web"])
    assert [(c.name, c.action, c.replaces) for c in plan.changes] == [("web", Action.UPDATE, True)]
    carry_out(plan)
    after = {t.id for t in nomad.status("items").services[0].tasks if t.running}
    assert len(after) == 4
    assert not before & after


def test_restart_is_no_change_of_the_next_plan(nomad: Nomad) -> None:
    spec = app(service())
    deploy(nomad, spec)
    plan = nomad.restart("items", [])
    roll_out(nomad, plan, release(spec, 0), timeout=20_000, limits=LIMITS)
    assert nomad.plan(spec, images(spec)).is_empty


def test_number_that_somebody_else_set_stays(nomad: Nomad, cluster: Cluster) -> None:
    """Such as an autoscaler."""
    deploy(nomad, app(service(replicas=2)))
    job = nomad.client.get("/v1/job/items")
    job["TaskGroups"][0]["Count"] = 5
    nomad.client.post("/v1/jobs", {"Job": job})
    cluster.advance(5)
    spec = app(service(replicas=2))
    assert nomad.plan(spec, images(spec)).is_empty
    (change,) = nomad.plan(app(service(replicas=3)), images(spec)).changes
    assert [(f.before, f.after) for f in change.fields] == [(5, 3)]


def test_logs_of_every_replica(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["web"] = Script(output="one\ntwo\nthree\n")
    deploy(nomad, app(service(replicas=2), worker()))
    lines = nomad.logs(
        "items",
        ["web"],
        follow=False,
        tail=2,
        since=None,
        hidden={},
        warn=lambda text: pytest.fail(text),
    )
    found = [(line.service, line.slot, line.text) for line in lines]
    assert sorted(found) == [
        ("web", 1, "three"),
        ("web", 1, "two"),
        ("web", 2, "three"),
        ("web", 2, "two"),
    ]


def test_secrets_reach_the_job_by_version_alone(nomad: Nomad) -> None:
    nomad.set_secrets("items", {"TOKEN": b"s3cret"})
    spec = app(service(secrets=["TOKEN"]))
    deploy(nomad, spec)
    assert "s3cret" not in str(nomad.client.get("/v1/job/items"))
    assert nomad.plan(spec, images(spec)).is_empty
    nomad.set_secrets("items", {"TOKEN": b"other"})
    (change,) = nomad.plan(spec, images(spec)).changes
    assert change.replaces
    deploy(nomad, spec)
    (secret,) = nomad.secrets("items")
    assert (secret.version, secret.services) == (2, {"web": 2})


def test_volumes_stay_on_the_nodes_that_had_the_service(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service(volumes=["data:/data", "/srv:/srv"])))
    removal = plan_removal(nomad, "items", volumes=True, command="deploytool destroy")
    (volume,) = removal.elsewhere
    assert (volume.kind, volume.name, volume.nodes) == ("volume", "items_data", ("node-1",))
    assert "docker --host ssh://node-1 volume rm items_data" in next(removal.warnings())
    assert not any("volume" in name for name in nomad.destroy("items", volumes=True))


def test_destroy_leaves_nothing(nomad: Nomad, cluster: Cluster) -> None:
    nomad.set_secrets("items", {"TOKEN": b"s3cret"})
    deploy(nomad, app(service(secrets=["TOKEN"])))
    removed = nomad.destroy("items", volumes=False)
    assert "service items.web" in removed
    assert cluster.jobs == {}
    assert cluster.state.variables == {}
    with pytest.raises(UsageError) as caught:
        nomad.status("items")
    assert caught.value.code == "not_deployed"


def test_capacity_counts_what_is_placed(nomad: Nomad) -> None:
    spec = app(service(replicas=2, memory="1GiB"))
    deploy(nomad, spec)
    found = nomad.capacity("items", spec.services)
    assert [node.node for node in found.nodes] == ["node-1"]
    assert found.services[0].fits is not None
