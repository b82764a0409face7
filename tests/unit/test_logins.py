"""The login that nodes pull with: passed on when it changes, named when it is what is missing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.model import LOGIN, Action, Job, Plan
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import labels
from deploytool.errors import RegistryError, RolloutFailed
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.release import new_release
from deploytool.rollout.roll_out import Result, roll_out
from deploytool.rollout.settle import settle
from deploytool.secrets import versions
from deploytool.spec import AppSpec
from tests.builders import NO_WAIT, REGISTRY, app, deploy, engine, images, service, worker
from tests.fake_engine import FakeEngine

HOST = REGISTRY.partition("/")[0]
SPEC = app(service(), worker("cache", image="redis:8"))


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(versions.COST, "n", 2)


@pytest.fixture
def cluster() -> FakeEngine:
    """An app that was deployed with a login for the registry of one of its images."""
    made = engine(SPEC)
    made.logins = {HOST: b"ada\0one\0"}
    deploy(made, SPEC)
    return made


def planned(made: FakeEngine, spec: AppSpec = SPEC) -> Plan:
    return Swarm(made).plan(spec, images(spec))


def brought(made: FakeEngine, spec: AppSpec = SPEC) -> Result:
    release = new_release(spec, images(spec))
    return roll_out(Swarm(made), planned(made, spec), release, timeout=60_000, limits=NO_WAIT)


def fields(plan: Plan) -> dict[str, list[tuple[str, Any]]]:
    return {c.name: [(f.path, f.after) for f in c.fields] for c in plan.changes}


def label(made: FakeEngine, name: str = "items_web") -> str | None:
    found: dict[str, str] = made.service(name)["Spec"]["Labels"]
    return found.get(labels.LOGIN)


def test_the_same_login_is_no_change(cluster: FakeEngine) -> None:
    assert planned(cluster).is_empty
    assert label(cluster, "items_cache") is None


def test_a_changed_login_is_in_the_plan(cluster: FakeEngine) -> None:
    cluster.logins[HOST] = b"ada\0two\0"
    plan = planned(cluster)
    assert fields(plan) == {"web": [(LOGIN, "renewed")], "cache": []}
    (change,) = [c for c in plan.changes if c.name == "web"]
    assert (change.action, change.replaces) == (Action.UPDATE, False)
    assert (plan.is_empty, plan.makes_release) == (False, False)
    told = plan.model_dump_json()
    assert not any(word in told for word in ("one", "two", "scrypt"))


def test_it_is_passed_on_and_makes_no_release(cluster: FakeEngine) -> None:
    before, tasks = cluster.service("items_web")["Spec"], cluster.tasks_of("items_web")
    given = label(cluster)
    cluster.logins[HOST] = b"ada\0two\0"
    cluster.changes.clear()
    result = brought(cluster)
    assert (result.release, result.renewed) == (None, "web")
    assert cluster.changes == ["update_service items_web"]
    assert cluster.tasks_of("items_web") == tasks
    after = cluster.service("items_web")["Spec"]
    assert after["TaskTemplate"] == before["TaskTemplate"]
    assert label(cluster) != given
    assert after["Labels"] | {labels.LOGIN: given} == before["Labels"]
    assert planned(cluster).is_empty


def test_it_goes_with_another_change(cluster: FakeEngine) -> None:
    cluster.logins[HOST] = b"ada\0two\0"
    more = app(service(replicas=3), worker("cache", image="redis:8"))
    plan = planned(cluster, more)
    assert fields(plan)["web"] == [("replicas", 3), (LOGIN, "renewed")]
    assert plan.makes_release
    assert brought(cluster, more).release is not None
    assert planned(cluster, more).is_empty


def test_no_login_keeps_the_one_that_was_given(cluster: FakeEngine) -> None:
    """A machine without one deploys too, and the nodes go on with what they have."""
    given = label(cluster)
    cluster.logins = {}
    assert planned(cluster).is_empty
    deploy(cluster, app(service(replicas=3), worker("cache", image="redis:8")), number=2)
    assert label(cluster) == given


def test_a_service_from_before_logins_were_remembered() -> None:
    made = engine(SPEC)
    deploy(made, SPEC)
    made.logins = {HOST: b"ada\0one\0"}
    assert fields(planned(made))["web"] == [(LOGIN, "renewed")]


def test_a_helper_that_fails_is_no_login(cluster: FakeEngine) -> None:
    cluster.refuses["credential"] = RegistryError("no helper", code="registry_credentials")
    assert planned(cluster).is_empty


def test_the_login_is_not_found_out_from_the_cluster(cluster: FakeEngine) -> None:
    assert (label(cluster) or "").startswith("scrypt:")


def unpulled(made: FakeEngine, name: str) -> None:
    made.add_task(name, 1, "rejected", Err=f"No such image: {REGISTRY}/items@sha256:aaa")


@pytest.mark.parametrize(
    ("login", "why"), [(b"", "there is no login for it"), (b"ada\0old\0", "machine is refused")]
)
def test_an_unchanged_service_whose_image_cannot_be_pulled(
    cluster: FakeEngine, login: bytes, why: str
) -> None:
    """Nothing to change, and a replica that never comes: not a matter of waiting longer."""
    cluster.refused_logins = {HOST}
    cluster.logins = {HOST: login} if login else {}
    (running, *_) = cluster.tasks_of("items_web")
    plan = planned(cluster)
    swarm = Swarm(cluster)
    rollout = swarm.rollout(plan)
    rollout.renew_logins()
    cluster.set_task(running["ID"], "failed", wanted="shutdown")
    unpulled(cluster, "items_web")
    with pytest.raises(RolloutFailed) as caught:
        settle(
            swarm,
            GuardedRollout(rollout),
            plan,
            timeout=60_000,
            report=lambda _: None,
            limits=NO_WAIT,
        )
    assert f"the registry {HOST} does not let its node in" in caught.value.message
    assert why in caught.value.message
    assert "docker login" in caught.value.hint


def test_a_replica_that_began_with_the_login_before(cluster: FakeEngine) -> None:
    cluster.logins[HOST] = b"ada\0two\0"
    plan = planned(cluster)
    late = cluster.add_task("items_web", 1, "preparing")
    swarm = Swarm(cluster)
    rollout = swarm.rollout(plan)
    rollout.renew_logins()
    cluster.set_task(late, "rejected", wanted="shutdown", Err="No such image: x")
    (seen, _) = rollout.observe()
    assert seen.verdict == "done"


def test_a_registry_that_is_down_is_waited_for(cluster: FakeEngine) -> None:
    plan = planned(cluster)
    (running, *_) = cluster.tasks_of("items_web")
    cluster.set_task(running["ID"], "failed", wanted="shutdown")
    unpulled(cluster, "items_web")
    (seen, _) = Swarm(cluster).rollout(plan).observe()
    assert seen.verdict == "moving"


def test_a_job_whose_image_cannot_be_pulled(cluster: FakeEngine) -> None:
    cluster.refused_logins = {HOST}
    swarm = Swarm(cluster)
    release = new_release(SPEC, images(SPEC))
    job = Job(name="run-1", release=release, service="web", command=("ls",))
    swarm.start_job(job)
    (task,) = cluster.tasks_of("items_run-1")
    cluster.set_task(task["ID"], "rejected", Err=f"No such image: {REGISTRY}/items@sha256:aaa")
    seen = swarm.look_at_job(job)
    assert seen is not None
    assert "does not let its node in" in seen.message


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": base64.b64encode(b"ada:one").decode()}, b"ada\0one\0"),
        ({"identitytoken": "t"}, b"\0\0t"),
        ({}, b""),
    ],
)
def test_dockers_own_login(
    entry: dict[str, str], expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: entry}}))
    client = Client(None, "")  # type: ignore[arg-type]
    assert client.credential(f"{REGISTRY}/items@sha256:aaa") == expected
    assert client.credential("redis:8") == b""


@pytest.mark.filterwarnings("ignore:docker-credential-nowhere")
def test_dockers_helper_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "nowhere"}))
    with pytest.raises(RegistryError) as caught:
        Client(None, "").credential("redis:8")  # type: ignore[arg-type]
    assert caught.value.code == "registry_credentials"
