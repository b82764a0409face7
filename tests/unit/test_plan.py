"""What a deploy would change, found by reading the cluster."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import assume, given
from pydantic import ValidationError

from deploytool.backends.model import Action, Change, Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.errors import PlanError
from deploytool.precheck import unbuilt
from deploytool.spec import AppSpec, ProxySettings
from tests.builders import (
    OTHER_DIGEST,
    app,
    deploy,
    engine,
    images,
    maximal_app,
    proxy,
    release,
    service,
    with_proxy,
    worker,
)
from tests.fake_engine import FakeEngine, node
from tests.strategies import apps, quick


def plan(made: FakeEngine, spec: AppSpec, **keys: Any) -> Plan:
    return Swarm(made).plan(spec, images(spec, **keys))


def refused(made: FakeEngine, spec: AppSpec, **keys: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan(made, spec, **keys)
    return caught.value


def change(found: Plan, name: str = "web") -> Change:
    return next(c for c in found.changes if c.name == name and c.kind == "service")


def fields(found: Plan, name: str = "web") -> dict[str, tuple[Any, Any]]:
    return {f.path: (f.before, f.after) for f in change(found, name).fields}


def test_first_deploy_creates_services_and_network() -> None:
    found = plan(engine(), app(service(), worker()))
    assert [(c.kind, c.name, c.action) for c in found.changes] == [
        ("service", "web", Action.CREATE),
        ("service", "worker", Action.CREATE),
        ("network", "items_default", Action.CREATE),
    ]
    assert fields(found)["replicas"] == (None, 1)


def test_planning_changes_nothing() -> None:
    made = engine()
    plan(made, app())
    assert made.changes == []


def test_nothing_changed_nothing_touched() -> None:
    made = engine()
    deploy(made, app())
    before = len(made.changes)
    found = plan(made, app())
    assert found.is_empty
    Swarm(made).rollout(found).start(release(app(), 2))
    assert len(made.changes) == before


def test_new_image_replaces() -> None:
    made = engine()
    deploy(made, app())
    found = plan(made, app(), digest=OTHER_DIGEST)
    assert change(found).action is Action.UPDATE
    assert change(found).replaces
    assert list(fields(found)) == ["image"]


def test_an_image_that_is_not_built_yet_changes_the_image_alone() -> None:
    made = engine()
    deploy(made, app(), images(app(), platforms=(("amd64", "linux"),)))
    found = Swarm(made).plan(app(), unbuilt(Swarm(made), app(), "r/items:2"))
    assert list(fields(found)) == ["image"]
    assert fields(found)["image"][1] == "r/items:2 (not built yet)"
    assert not [warning for warning in found.warnings if "by its tag" in warning]


def test_a_check_that_comes_from_the_image_is_told_and_can_be_turned_off() -> None:
    made = engine()
    spec = app(service(), worker())
    made.image_checks = {image.reference: "curl -f localhost" for image in images(spec).values()}
    said = [w for w in plan(made, spec).warnings if "HEALTHCHECK" in w]
    assert len(said) == 1
    assert said[0].startswith("worker is checked by the HEALTHCHECK of its image (curl -f localho")
    off = app(service(), worker(healthcheck=False))
    found = plan(made, off)
    assert not [w for w in found.warnings if "HEALTHCHECK" in w]
    deploy(made, off)
    live = {s["Spec"]["Name"]: s["Spec"]["TaskTemplate"]["ContainerSpec"] for s in made.services()}
    assert live["items_worker"]["Healthcheck"] == {"Test": ["NONE"]}
    assert plan(made, off).is_empty
    assert fields(plan(made, spec), "worker")["healthcheck.test"] == (["NONE"], None)


def test_a_service_that_left_the_configuration_is_removed_last() -> None:
    made = engine()
    deploy(made, app(service(), worker()))
    found = plan(made, app())
    assert change(found, "worker").action is Action.REMOVE
    swarm_backend = Swarm(made)
    rollout = swarm_backend.rollout(found)
    rollout.start(release(app(), 2))
    assert len(made.services()) == 2
    rollout.finish()
    assert [s["Spec"]["Name"] for s in made.services()] == ["items_web"]


def test_labels_alone_replace_no_replica_and_keep_their_stamps() -> None:
    made = engine()
    deploy(made, app())
    before = made.tasks_of("items_web")
    spec = app(service(labels={"a": "b"}))
    found = plan(made, spec)
    assert change(found).action is Action.UPDATE
    assert not change(found).replaces
    Swarm(made).rollout(found).start(release(spec, 2))
    live = made.service("items_web")["Spec"]
    assert live["Labels"][labels.RELEASE] == "v2"
    assert live["TaskTemplate"]["ContainerSpec"]["Labels"][labels.RELEASE] == "v1"
    assert made.tasks_of("items_web") == before


def test_same_digest_by_another_tag_keeps_the_image_that_runs() -> None:
    made = engine()
    deploy(made, app())
    live = made.service("items_web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    spec = app(service(replicas=2))
    renamed = {"web": images(spec)["web"].model_copy(update={"tag": "items:other"})}
    swarm_backend = Swarm(made)
    swarm_backend.rollout(swarm_backend.plan(spec, renamed)).start(release(spec, 2))
    after = made.service("items_web")["Spec"]
    assert after["TaskTemplate"]["ContainerSpec"]["Image"] == live
    assert after["Labels"][labels.IMAGE] == "items:other"


def test_a_restart_is_not_taken_back_by_the_next_deploy() -> None:
    made = engine()
    deploy(made, app())
    Swarm(made).rollout(Swarm(made).restart("items", [])).start()
    assert plan(made, app()).is_empty
    spec = app(service(labels={"a": "b"}))
    Swarm(made).rollout(plan(made, spec)).start(release(spec, 2))
    assert made.service("items_web")["Spec"]["TaskTemplate"]["ForceUpdate"] == 1


def test_a_paused_update_is_taken_up() -> None:
    made = engine()
    deploy(made, app())
    made.set_update("items_web", "paused", "update paused due to failure")
    found = plan(made, app())
    assert change(found).action is Action.UPDATE
    assert fields(found) == {"update": ("paused", "completed")}


@pytest.mark.parametrize("state", ["completed", "updating", "rollback_completed"])
def test_other_update_states_are_no_change(state: str) -> None:
    made = engine()
    deploy(made, app())
    made.set_update("items_web", state)
    assert plan(made, app()).is_empty


@quick
@given(apps())
def test_planning_again_after_applying_finds_nothing(spec: AppSpec) -> None:
    words = {
        constraint.split()[0].removeprefix("node.labels."): constraint.split()[2]
        for one in spec.services
        for constraint in one.placement.constraints
        if "==" in constraint
    }
    roomy = node("big", cpu=1e9, memory=2**60, labels=words, role="manager")
    made = engine(spec, nodes=[roomy])
    try:
        deploy(made, spec)
    except PlanError as error:
        assume(error.code not in ("no_suitable_node", "does_not_fit"))
        raise
    again = plan(made, spec)
    assert again.is_empty, again


def test_every_key_settles() -> None:
    spec = maximal_app().model_copy(update={"release": None})
    made = engine(spec, nodes=[node(f"n{i}", labels={"disk": "ssd"}) for i in range(3)])
    auth = {"traefik.http.middlewares.auth.basicauth.users": "ann:x"}
    deploy(made, app(service(labels=auth), name="guard", proxy=spec.proxy))
    deploy(made, spec)
    assert plan(made, spec).is_empty


def test_an_engine_without_start_interval_checks_all_more_often() -> None:
    made = engine(api_version=(1, 41))
    deploy(made, app())
    check = made.service("items_web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
    assert "StartInterval" not in check
    assert (check["Interval"], check["Retries"]) == (3 * 10**9, 6), "healthy after 3 s, not 10"
    assert plan(made, app()).is_empty


def test_somebody_elses_stack_is_left_alone() -> None:
    made = engine()
    made.add_network("items_default")
    spec = swarm.service_spec(app(worker()), worker(), images(app(worker()))["worker"], None)
    del spec["Labels"][labels.APP]
    made.create_service(spec)
    error = refused(made, app())
    assert error.code == "not_ours"
    assert error.details == ("items_worker",)


def test_the_proxy_is_left_alone_by_an_app_of_its_name() -> None:
    made = with_proxy(engine())
    error = refused(made, app(name="proxy"))
    assert error.code == "not_ours"
    assert error.details == ("proxy_traefik",)


def test_an_app_is_left_alone_by_a_proxy_of_its_name() -> None:
    made = engine()
    deploy(made, app(name="proxy"))
    assert refused(made, proxy()).details == ("proxy_web",)


def test_a_service_of_our_name_without_an_owner_is_left_alone() -> None:
    made = engine()
    made.add_network("items_default")
    spec = swarm.service_spec(app(worker()), worker(), images(app(worker()))["worker"], None)
    spec["Labels"] = {}
    made.create_service(spec)
    assert refused(made, app(worker())).code == "not_ours"
    assert not plan(made, app()).is_empty


def test_missing_secret() -> None:
    error = refused(engine(), app(service(secrets=["DATABASE_URL"])))
    assert error.code == "secret_missing"
    assert "DATABASE_URL for items" in error.message


def test_secrets_get_their_ids_and_no_values() -> None:
    spec = app(service(secrets=["DATABASE_URL"]))
    made = engine(spec)
    found = plan(made, spec)
    container = found.payload.targets[0].spec["TaskTemplate"]["ContainerSpec"]
    assert container["Secrets"][0]["SecretID"] == made.secrets()[0]["ID"]
    assert "SecretID" not in found.model_dump_json()


def test_missing_network() -> None:
    error = refused(engine(), app(service(networks=["backbone"])))
    assert error.code == "network_missing"
    assert "backbone" in error.hint


def test_network_of_the_proxy_is_made_with_its_subnet() -> None:
    made = FakeEngine()
    deploy(made, app())
    (found,) = [n for n in made.networks() if n["Name"] == "deploytool-proxy"]
    assert found["IPAM"]["Config"][0]["Subnet"] == "10.253.0.0/20"


def test_network_of_the_proxy_with_other_addresses() -> None:
    made = FakeEngine()
    made.add_network("deploytool-proxy", subnet="10.1.0.0/16")
    error = refused(made, app())
    assert error.code == "proxy_subnet"
    assert error.hint == 'set [tool.deploytool.proxy] subnet = "10.1.0.0/16"'


@pytest.mark.parametrize(
    ("nodes", "theirs", "ours", "taken"),
    [
        (3, "ingress", "ingress", True),
        (3, "host", "ingress", True),
        (3, "ingress", "host", True),
        (3, "host", "host", False),
        (1, "host", "host", True),
    ],
)
def test_ports_of_other_apps(nodes: int, theirs: str, ours: str, taken: bool) -> None:
    made = engine(nodes=nodes)
    deploy(made, app(service(publish={"port": 80, "mode": theirs}), name="other"))
    spec = app(service(publish={"port": 80, "mode": ours}))
    if taken:
        error = refused(made, spec)
        assert error.code == "port_taken"
        assert "other_web" in error.message
    else:
        assert not plan(made, spec).is_empty


def test_the_same_number_for_another_protocol_is_free() -> None:
    made = engine()
    deploy(made, app(service(publish={"port": 53, "protocol": "udp"}), name="other"))
    assert not plan(made, app(service(publish={"port": 53}))).is_empty


def test_own_port_is_not_taken() -> None:
    made = engine()
    spec = app(service(publish={"port": 80}))
    deploy(made, spec)
    assert plan(made, spec).is_empty


def test_no_proxy_is_worth_a_warning() -> None:
    (warning,) = plan(engine(), app(service(domains=["api.example.com"]))).warnings
    assert "api.example.com answers nothing: deploytool proxy up" in warning
    assert plan(with_proxy(engine(nodes=1)), app()).warnings == ()
    assert plan(engine(), app(worker())).warnings == ()


HTTPS = ProxySettings(email="ops@example.com")


def routed(settings: ProxySettings, *domains: str) -> AppSpec:
    return app(service(domains=list(domains or ["api.example.com"])), proxy=settings)


def test_https_that_the_proxy_has_not_would_take_the_app_off_the_air() -> None:
    error = refused(with_proxy(engine()), routed(HTTPS))
    assert error.code == "proxy_without_https"
    assert plan(with_proxy(engine(), HTTPS), routed(HTTPS)).warnings == ()
    assert plan(with_proxy(engine(nodes=1)), app(proxy=HTTPS)).warnings == ()


def test_an_app_and_a_proxy_of_different_minds() -> None:
    made = with_proxy(engine(), HTTPS)
    (warning,) = plan(made, routed(ProxySettings())).warnings
    assert "api.example.com is served by HTTP" in warning
    moved = HTTPS.model_copy(update={"https_port": 8443})
    (warning,) = plan(made, routed(moved)).warnings
    assert "443" in warning
    assert "8443" in warning


def test_a_wildcard_without_dns_is_worth_a_warning() -> None:
    made = with_proxy(engine(), HTTPS)
    (warning,) = plan(made, routed(HTTPS, "*.example.com", "example.com")).warnings
    assert warning.startswith("*.example.com gets no certificate")
    dns = HTTPS.model_copy(update={"dns_provider": "cloudflare"})
    assert plan(made, routed(dns, "*.example.com")).warnings == ()


def test_the_proxy_itself_is_an_app() -> None:
    made = engine()
    deploy(made, proxy())
    assert plan(made, proxy()).is_empty


def test_a_plan_shows_no_secrets_and_no_payload() -> None:
    spec = app(service(env={"API_TOKEN": "hunter1", "URL": "redis://:hunter2@cache"}))
    text = plan(engine(), spec).model_dump_json() + repr(plan(engine(), spec))
    assert "hunter" not in text
    assert "payload" not in json.loads(plan(engine(), spec).model_dump_json())


def test_a_service_that_somebody_changes_meanwhile() -> None:
    made = engine()
    deploy(made, app())
    spec = app(service(replicas=2))
    found = plan(made, spec)
    Swarm(made).rollout(Swarm(made).scale("items", {"web": 3})).start()
    with pytest.raises(PlanError) as caught:
        Swarm(made).rollout(found).start(release(spec, 2))
    assert caught.value.code == "changed_meanwhile"


def test_reversal_restores_the_services() -> None:
    made = engine()
    deploy(made, app(service(env={"A": "1"})))
    before = made.service("items_web")["Spec"]
    spec = app(service(env={"A": "2"}), worker())
    found = plan(made, spec)
    backend = Swarm(made)
    rollout = backend.rollout(found)
    rollout.start(release(spec, 2))
    reversal = rollout.reverse()
    reversal.start()
    assert made.service("items_web")["Spec"] == before
    assert [s["Spec"]["Name"] for s in made.services()] == ["items_web"]
    assert all(progress.verdict == "done" for progress in reversal.observe())


def test_plan_is_the_same_after_its_rollout() -> None:
    made = engine()
    deploy(made, app(service()))
    spec = app(service(env={"A": "2"}), worker())
    found = plan(made, spec)
    before = copy.deepcopy(found)
    made.settle = False
    rollout = Swarm(made).rollout(found)
    rollout.start(release(spec, 2))
    made.add_task("items_web", 1, "failed", Err="task: non-zero exit (3)")
    rollout.observe()
    assert rollout.failures()
    rollout.recover()
    rollout.reverse().start()
    rollout.finish()
    assert found == before
    assert found.payload == before.payload


@pytest.mark.parametrize(
    ("part", "key"),
    [
        (lambda found: found, "app"),
        (lambda found: found.payload, "targets"),
        (lambda found: found.payload.targets[0], "spec"),
    ],
)
def test_plan_is_frozen(part: Callable[[Plan], object], key: str) -> None:
    found = plan(engine(), app())
    with pytest.raises((ValidationError, FrozenInstanceError)):
        setattr(part(found), key, None)


def test_plan_can_be_carried_out_by_two_rollouts() -> None:
    made = engine()
    found = plan(made, app())
    Swarm(made).rollout(found).prepare()
    Swarm(made).rollout(found).start(release(app(), 1))
    assert [s["Spec"]["Name"] for s in made.services()] == ["items_web"]


def test_a_port_that_moves_is_worth_a_warning() -> None:
    before, after = app(service(port=8000)), app(service(port=9000))
    made = engine(before)
    Swarm(made).rollout(plan(made, before)).start(release(before, 1))
    assert any("moves from port 8000 to 9000" in text for text in plan(made, after).warnings)
    assert not any("moves from port" in text for text in plan(made, before).warnings)


def test_on_several_nodes_a_name_for_trying_is_a_public_one() -> None:
    settings = ProxySettings(http_port=8081)
    made = with_proxy(engine(), settings)
    unset, off = app(service(), proxy=settings), app(service(domains=[]), proxy=settings)
    (warning,) = plan(made, unset).warnings
    assert "whoever reaches port 8081 of the proxy's node" in warning
    assert "Host: items.localhost" in warning
    assert plan(made, off).warnings == ()
    assert plan(made, app(service(domains=["a.example.com"]), proxy=settings)).warnings == ()
    assert plan(with_proxy(engine(nodes=1), settings), unset).warnings == ()


def test_a_service_is_taken_off_the_proxy() -> None:
    made = with_proxy(engine(nodes=1))
    deploy(made, app())
    found = plan(made, app(service(domains=[])))
    assert fields(found)["labels.traefik.enable"] == ("true", None)
    assert fields(found)["networks"][1] == [{"Target": "items_default", "Aliases": ["web"]}]
