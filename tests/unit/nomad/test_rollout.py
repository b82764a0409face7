"""Deploys on Nomad: planned, carried out, watched and reversed, on the double."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from deploytool.backends.model import Action, Plan, Verdict
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.planning.plan import plan_job, take_snapshot
from deploytool.backends.nomad.rollout.session import NomadRollout
from deploytool.backends.nomad.specification.compile import compile_app
from deploytool.backends.nomad.specification.task import Source
from deploytool.config.nomad import NomadSettings
from deploytool.errors import EngineError, PlanError
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import Deadline, Limits
from deploytool.rollout.order import DependencyOrder
from deploytool.rollout.watch import Unsuccessful, watch
from deploytool.spec import AppSpec
from tests.builders import app, images, release, service, worker
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running


@dataclass
class Nomad:
    cluster: Cluster
    client: Client
    settings: NomadSettings = field(default_factory=NomadSettings)

    def plan(self, spec: AppSpec) -> Plan:
        compiled = compile_app(Source(app=spec, images=images(spec), settings=self.settings))
        snapshot = take_snapshot(self.client, spec.name)
        return plan_job(self.client, spec, compiled.job, snapshot, mhz_per_core=2000)

    def deploy(self, spec: AppSpec, number: int = 1, seconds: float = 20) -> NomadRollout:
        plan = self.plan(spec)
        rollout = NomadRollout(self.client, plan)
        wanted = release(spec, number)
        order = DependencyOrder(rollout, plan, wanted)
        order.begin()
        deadline = Deadline.after(seconds)
        watch(GuardedRollout(rollout), deadline, lambda _: None, order, limits=Limits(poll=1.0))
        rollout.finish()
        return rollout

    def live(self) -> dict[str, int]:
        """Group → allocations that run."""
        found: dict[str, int] = {}
        for allocation in self.cluster.allocations.values():
            if (allocation["DesiredStatus"], allocation["ClientStatus"]) == ("run", "running"):
                found[allocation["TaskGroup"]] = found.get(allocation["TaskGroup"], 0) + 1
        return found

    def fails(self, spec: AppSpec, script: Script) -> None:
        """Let the image of a spec's services end so."""
        for image in images(spec).values():
            self.cluster.scripts[image.reference] = script


@pytest.fixture
def nomad() -> Iterator[Nomad]:
    cluster = Cluster()
    with running(cluster, speed=20) as address:
        yield Nomad(cluster, Client(Connection(address)))


def test_first_deploy_places_every_service(nomad: Nomad) -> None:
    spec = app(service(replicas=2), worker())
    plan = nomad.plan(spec)
    assert {(c.name, c.action) for c in plan.changes} == {
        ("web", Action.CREATE),
        ("worker", Action.CREATE),
    }
    nomad.deploy(spec)
    assert nomad.live() == {"web": 2, "worker": 1}
    assert nomad.cluster.job("default", "items")["Stable"]


def test_same_again_changes_nothing(nomad: Nomad) -> None:
    spec = app(service(replicas=2))
    nomad.deploy(spec)
    assert nomad.plan(spec).is_empty


@pytest.mark.parametrize(
    ("settings", "serving"),
    [
        ({"replicas": 4}, (3, 4)),
        ({"replicas": 1}, (1, 1)),
        ({"replicas": 4, "update": {"parallelism": 2}}, (2, 4)),
        ({"replicas": 4, "update": {"parallelism": 4}}, (4, 4)),
        ({"replicas": 4, "update": {"order": "blue-green"}}, (4, 4)),
        ({"replicas": 4, "update": {"order": "stop-first"}}, (3, 4)),
    ],
)
def test_plan_says_how_many_serve(nomad: Nomad, settings: dict[str, Any], serving: Any) -> None:
    nomad.deploy(app(service(**settings), backend="nomad"))
    changed = app(service(env={"A": "b"}, **settings), backend="nomad")
    (change,) = nomad.plan(changed).changes
    assert change.serving == serving


def test_change_while_it_is_planned_is_told(nomad: Nomad) -> None:
    spec = app(service(replicas=2))
    nomad.deploy(spec)
    snapshot = take_snapshot(nomad.client, spec.name)
    nomad.deploy(app(service(replicas=3)), 2)
    compiled = compile_app(Source(app=spec, images=images(spec)))
    with pytest.raises(PlanError) as caught:
        plan_job(nomad.client, spec, compiled.job, snapshot, mhz_per_core=2000)
    assert caught.value.code == "changed_meanwhile"


def test_other_datacenters_are_a_change(nomad: Nomad) -> None:
    spec = app(service(replicas=2))
    nomad.deploy(spec)
    nomad.settings = NomadSettings(datacenters=["dc1"])
    (change,) = nomad.plan(spec).changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [
        ("nomad.datacenters", "*", "dc1")
    ]
    nomad.deploy(spec)
    assert nomad.cluster.job("default", "items")["Datacenters"] == ["dc1"]
    assert nomad.plan(spec).is_empty


def test_change_of_one_service_replaces_no_other(nomad: Nomad) -> None:
    nomad.deploy(app(service(replicas=2), worker()))
    before = {a["ID"] for a in nomad.cluster.allocations.values() if a["TaskGroup"] == "worker"}
    changed = app(service(replicas=2, env={"A": "b"}), worker())
    plan = nomad.plan(changed)
    replaced = {c.name: c.replaces for c in plan.changes}
    assert replaced == {"web": True, "worker": False}
    (web,) = (c for c in plan.changes if c.name == "web")
    assert [(f.path, f.after) for f in web.fields] == [("env.A", "b")]
    nomad.deploy(changed, 2)
    after = {a["ID"] for a in nomad.cluster.allocations.values() if a["TaskGroup"] == "worker"}
    assert before == after
    metas = {
        group["Name"]: group["Meta"].get("deploytool.release")
        for group in nomad.cluster.job("default", "items")["TaskGroups"]
    }
    assert metas == {"web": "v2", "worker": "v1"}


def test_number_of_replicas_replaces_none(nomad: Nomad) -> None:
    nomad.deploy(app(service(replicas=2)))
    more = app(service(replicas=4))
    (change,) = nomad.plan(more).changes
    assert not change.replaces
    assert [(f.path, f.before, f.after) for f in change.fields] == [("replicas", 2, 4)]
    nomad.deploy(more, 2)
    assert nomad.live() == {"web": 4}


def test_removed_service_goes_last(nomad: Nomad) -> None:
    nomad.deploy(app(service(), worker()))
    fewer = app(service())
    assert ("worker", Action.REMOVE) in {(c.name, c.action) for c in nomad.plan(fewer).changes}
    nomad.deploy(fewer, 2)
    assert nomad.live() == {"web": 1}


def test_services_start_in_dependency_order(nomad: Nomad) -> None:
    spec = app(service(depends_on=["worker"]), worker())
    nomad.deploy(spec)
    versions = nomad.cluster.versions["default", "items"]
    assert [[g["Name"] for g in v["TaskGroups"]] for v in versions.values()] == [
        ["worker"],
        ["web", "worker"],
    ]
    assert all(version["Stable"] for version in versions.values())


def test_failed_release_is_taken_back_by_the_servers(nomad: Nomad) -> None:
    good = app(service(replicas=2))
    nomad.deploy(good)
    bad = app(service(replicas=2, env={"BAD": "1"}))
    plan = nomad.plan(bad)
    rollout = NomadRollout(nomad.client, plan)
    nomad.fails(bad, Script(exits_after=0.3, exit_code=3))
    rollout.start(release(bad, 2))
    with pytest.raises(Unsuccessful) as caught:
        watch(GuardedRollout(rollout), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    (progress,) = caught.value.seen
    assert progress.verdict is Verdict.ROLLED_BACK
    assert [task.exit_code for task in rollout.failures()] == [3]
    assert nomad.live() == {"web": 2}
    with rollout.reverse() as reversal:
        reversal.start()
        watch(GuardedRollout(reversal), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    assert nomad.plan(good).is_empty


def test_first_deploy_that_fails_is_removed(nomad: Nomad) -> None:
    spec = app(service())
    nomad.fails(spec, Script(exits_after=0.2))
    rollout = NomadRollout(nomad.client, nomad.plan(spec))
    rollout.start(release(spec))
    with pytest.raises(Unsuccessful):
        watch(GuardedRollout(rollout), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    with rollout.reverse() as reversal:
        reversal.start()
        assert {p.verdict for p in reversal.observe()} == {Verdict.DONE}
    assert nomad.cluster.jobs == {}
    assert nomad.live() == {}


def test_second_step_that_fails_goes_back_to_before_the_first(nomad: Nomad) -> None:
    good = app(service(depends_on=["worker"]), worker())
    nomad.deploy(good)
    bad = app(
        service(depends_on=["worker"], env={"BAD": "1"}),
        worker().model_copy(update={"env": {"B": "1"}}),
    )
    plan = nomad.plan(bad)
    rollout = NomadRollout(nomad.client, plan)
    order = DependencyOrder(rollout, plan, release(bad, 2))
    order.begin()
    nomad.cluster.scripts["web"] = Script(exits_after=0.2)
    with pytest.raises(Unsuccessful):
        watch(GuardedRollout(rollout), Deadline.after(20), lambda _: None, order, limits=Limits())
    assert nomad.cluster.job("default", "items")["Version"] == 4
    del nomad.cluster.scripts["web"]
    with rollout.reverse() as reversal:
        reversal.start()
        watch(GuardedRollout(reversal), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    assert nomad.plan(good).is_empty


def test_job_that_was_reverted_before_it_could_be_read_has_failed(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    nomad.deploy(app(service(replicas=2)))
    bad = app(service(replicas=2, env={"BAD": "1"}))
    rollout = NomadRollout(nomad.client, nomad.plan(bad))
    nomad.cluster.scripts["web"] = Script(exits_after=0.2)
    post = nomad.client.post

    def slowly(path: str, body: object, **keys: object) -> object:
        answer = post(path, body)
        while nomad.cluster.job("default", "items")["Version"] < 2:
            time.sleep(0.01)
        return answer

    monkeypatch.setattr(nomad.client, "post", slowly)
    rollout.start(release(bad, 2))
    with pytest.raises(Unsuccessful) as caught:
        watch(GuardedRollout(rollout), Deadline.after(20), lambda _: None, limits=Limits())
    assert {progress.verdict for progress in caught.value.seen} == {Verdict.ROLLED_BACK}


def test_deadline_leaves_no_canary(nomad: Nomad) -> None:
    good = app(service(replicas=2))
    nomad.deploy(good)
    slow = app(service(replicas=2, env={"SLOW": "1"}))
    rollout = NomadRollout(nomad.client, nomad.plan(slow))
    nomad.fails(slow, Script(healthy_after=None))
    rollout.start(release(slow, 2))
    with pytest.raises(Unsuccessful) as caught:
        watch(GuardedRollout(rollout), Deadline.after(0.5), lambda _: None, limits=Limits(poll=0.2))
    assert caught.value.timed_out
    nomad.fails(slow, Script())
    with rollout.reverse() as reversal:
        reversal.start()
        watch(GuardedRollout(reversal), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    assert nomad.live() == {"web": 2}
    assert nomad.plan(good).is_empty


def test_job_of_somebody_else_is_left_alone(nomad: Nomad) -> None:
    spec = app(service())
    nomad.client.post("/v1/jobs", {"Job": {"ID": "items", "TaskGroups": []}})
    with pytest.raises(PlanError) as caught:
        nomad.plan(spec)
    assert caught.value.code == "not_ours"


def test_change_in_between_is_noticed(nomad: Nomad) -> None:
    spec = app(service())
    plan = nomad.plan(spec)
    nomad.deploy(spec)
    with pytest.raises(EngineError) as caught:
        NomadRollout(nomad.client, plan).start(release(spec, 2))
    assert caught.value.code == "changed_meanwhile"


@dataclass
class Losing:
    """Loses the first answer to a write, by its path; then `meanwhile` happens."""

    client: Client
    path: str
    meanwhile: Callable[[], object] = lambda: None
    lost: int = 0

    def __post_init__(self) -> None:
        self.request = self.client.session.request

    def __call__(self, method: str, url: str, **keys: Any) -> requests.Response:
        response = self.request(method, url, **keys)
        if method == "GET" or self.lost or not urlsplit(url).path.startswith(self.path):
            return response
        self.lost += 1
        self.meanwhile()
        raise requests.ConnectionError


def test_registration_whose_answer_is_lost_is_gone_on_with(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    nomad.deploy(app(service(replicas=2)))
    losing = Losing(nomad.client, "/v1/jobs")
    monkeypatch.setattr(nomad.client.session, "request", losing)
    rollout = nomad.deploy(app(service(replicas=2, env={"A": "b"})), 2)
    assert (losing.lost, rollout.version, rollout.own_versions) == (1, 1, {1})
    assert nomad.cluster.job("default", "items")["Version"] == 1


def test_registration_while_no_server_leads_is_repeated(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = app(service())
    rollout = NomadRollout(nomad.client, nomad.plan(spec))
    nomad.cluster.leaderless = True
    monkeypatch.setattr(time, "sleep", lambda _: setattr(nomad.cluster, "leaderless", False))
    rollout.start(release(spec))
    monkeypatch.undo()
    assert rollout.version == 0


def test_change_by_somebody_else_is_not_taken_for_an_own_registration(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    nomad.deploy(app(service(replicas=2)))
    changed = app(service(replicas=2, env={"A": "b"}))
    rollout = NomadRollout(nomad.client, nomad.plan(changed))

    def scale() -> None:
        """Instead of the registration, which is undone."""
        job = nomad.cluster.versions["default", "items"][0] | {"Version": 0}
        nomad.cluster.jobs["default", "items"] = job
        nomad.cluster.scale("default", "items", {"Target": {"Group": "web"}, "Count": 3})

    losing = Losing(nomad.client, "/v1/jobs", scale)
    monkeypatch.setattr(nomad.client.session, "request", losing)
    with pytest.raises(EngineError) as caught:
        rollout.start(release(changed, 2))
    assert (losing.lost, caught.value.code) == (1, "changed_meanwhile")
    assert rollout.version is None


def test_deployment_is_failed_although_the_answer_is_lost(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = app(service(replicas=2))
    nomad.deploy(good)
    slow = app(service(replicas=2, env={"SLOW": "1"}))
    rollout = NomadRollout(nomad.client, nomad.plan(slow))
    nomad.fails(slow, Script(healthy_after=None))
    rollout.start(release(slow, 2))
    losing = Losing(nomad.client, "/v1/deployment/fail/")
    monkeypatch.setattr(nomad.client.session, "request", losing)
    nomad.fails(slow, Script())
    with rollout.reverse() as reversal:
        reversal.start()
        watch(GuardedRollout(reversal), Deadline.after(20), lambda _: None, limits=Limits(poll=1.0))
    assert (losing.lost, nomad.live()) == (1, {"web": 2})
    assert nomad.plan(good).is_empty


def test_deployment_that_begins_while_it_is_looked_for_is_waited_for(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    nomad.deploy(app(service(replicas=2)))
    fewer = app(service(replicas=1))
    rollout = NomadRollout(nomad.client, nomad.plan(fewer))
    rollout.start(release(fewer, 2))
    begun = [d | {"Status": "running"} for d in rollout._deployments() if d["JobVersion"] == 1]
    listed = iter([[], begun])
    monkeypatch.setattr(rollout, "_deployments", lambda: next(listed))
    (progress,) = rollout.observe()
    assert [task.state for task in progress.tasks if task.wanted] == ["running"]
    assert progress.verdict is Verdict.MOVING


def test_what_does_not_fit_is_said_before_anything_is_changed(nomad: Nomad) -> None:
    nomad.cluster.nodes[0].memory = 100
    spec = app(service(memory="1GiB"))
    with pytest.raises(PlanError) as caught:
        nomad.plan(spec)
    assert caught.value.code == "does_not_fit"
    assert "does not have memory left" in caught.value.details[0]
    assert "each reserves 1GiB of memory and 0.05 cores" in caught.value.details[0]
    assert nomad.cluster.jobs == {}
