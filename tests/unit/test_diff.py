"""What differs between two specifications, in the words of the configuration, without secrets."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given

from deploytool.backends.model import Action, Change, FieldChange, Plan
from deploytool.backends.swarm.planning.diff import (
    differences,
    key_of,
    normal,
    replaces_tasks,
    without_tag,
)
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.diff import hidden
from deploytool.json_types import Json
from deploytool.redact import MASK
from deploytool.spec import AppSpec, Service
from tests.builders import app, image, images, maximal_app, service
from tests.fake_engine import FakeEngine
from tests.strategies import apps, quick

ENGINE_WORDS = ("TaskTemplate", "Mode", "UpdateConfig", "RollbackConfig", "EndpointSpec", "Labels")


def compiled(one: Service) -> Json:
    return swarm.service_spec(app(one), one, image(), None)


def changed(before: Service, after: Service) -> dict[str, tuple[Any, Any]]:
    old, new = (normal(compiled(one), {}) for one in (before, after))
    return {field.path: (field.before, field.after) for field in differences(old, new)}


@quick
@given(apps())
def test_what_the_engine_fills_in_and_leaves_out_is_no_difference(spec: AppSpec) -> None:
    engine = FakeEngine()
    for one in spec.services:
        for name in swarm.networks(spec, one):
            engine.add_network(name)
        given_to_it = swarm.service_spec(spec, one, images(spec)[one.name], None)
        engine.create_service(given_to_it)
        stored = engine.service(given_to_it["Name"])["Spec"]
        names = {network["Id"]: network["Name"] for network in engine.networks()}
        assert normal(stored, names) == normal(given_to_it, names)


def test_limits_of_processes_and_tmp_are_told_by_their_keys() -> None:
    before = service(pids=0, tmp_size="0B")
    assert changed(before, service()) == {
        "pids": (None, 1024),
        "tmp_size": ("no limit", "64MiB"),
    }
    assert changed(service(), service(tmp_size="1MiB")) == {"tmp_size": ("64MiB", "1MiB")}
    assert changed(service(), service(read_only=False)) == {
        "read_only": (True, None),
        "tmp_size": ("64MiB", None),
    }


def test_keys_of_containers_are_told_by_their_names() -> None:
    set_up = service(
        tmpfs={"/dev/shm": "1MiB", "/run/a.b": "0B"},
        ulimits={"nofile": 1024, "core": 0},
        hostname="shop",
        extra_hosts={"db.internal": "10.0.0.5"},
        logging={"driver": "splunk", "options": {"splunk-token": "s3cr3t", "Tag": "a"}},
    )
    assert changed(service(), set_up) == {
        "tmpfs./dev/shm": (None, "1MiB"),
        "tmpfs./run/a.b": (None, "no limit"),
        "ulimits.core": (None, "0:0"),
        "ulimits.nofile": (None, "1024:1024"),
        "hostname": (None, "shop"),
        "extra_hosts.db.internal": (None, "10.0.0.5"),
        "logging.driver": ("json-file", "splunk"),
        "logging.max_files": ("3", None),
        "logging.max_size": ("10485760", None),
        "logging.options.splunk-token": (None, MASK),
        "logging.options.Tag": (None, "a"),
    }
    assert changed(set_up, set_up) == {}


def test_release_and_tag_are_no_difference() -> None:
    one, other = compiled(service()), compiled(service())
    for spec, number in ((one, 1), (other, 2)):
        spec["Labels"] |= {
            "deploytool.release": f"v{number}",
            "com.docker.stack.image": f"x:{number}",
        }
        container = spec["TaskTemplate"]["ContainerSpec"]
        container["Labels"] = {labels.RELEASE: f"v{number}"}
        container["Image"] = f"r/items:{number}@sha256:{'a' * 64}"
        spec["TaskTemplate"]["ForceUpdate"] = number
    assert normal(one, {}) == normal(other, {})


def test_normal_changes_nothing_of_what_it_is_given() -> None:
    spec = compiled(service())
    before = copy.deepcopy(spec)
    normal(spec, {})
    assert spec == before


def test_a_mode_is_a_field_though_the_engine_has_nothing_in_it() -> None:
    one, each = (normal(compiled(service(**keys)), {}) for keys in ({}, {"mode": "global"}))
    assert normal({"Mode": {"Global": {}}}, {})["Mode"] == each["Mode"]
    assert {(f.path, f.before, f.after) for f in differences(one, each)} == {
        ("mode", None, "global"),
        ("replicas", 1, None),
    }


def test_every_field_is_told_in_the_words_of_the_configuration() -> None:
    spec = maximal_app()
    for one in spec.services:
        after = normal(swarm.service_spec(spec, one, images(spec)[one.name], None), {})
        for field in differences({}, after):
            assert field.path[0].islower(), field.path
            assert not any(word in field.path.split(".") for word in ENGINE_WORDS), field.path


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("Name", "name"),
        ("Mode.Replicated.Replicas", "replicas"),
        ("Mode.Name", "mode"),
        ("Labels.traefik.http.routers.A.rule", "labels.traefik.http.routers.A.rule"),
        ("TaskTemplate.ContainerSpec.Env.DB_Host", "env.DB_Host"),
        ("TaskTemplate.ContainerSpec.Image", "image"),
        ("TaskTemplate.ContainerSpec.Args", "command"),
        ("TaskTemplate.ContainerSpec.Mounts", "volumes"),
        ("TaskTemplate.ContainerSpec.Healthcheck.StartPeriod", "healthcheck.start_period"),
        ("TaskTemplate.ContainerSpec.Healthcheck.Retries", "healthcheck.retries"),
        ("TaskTemplate.Resources.Limits.MemoryBytes", "memory_limit"),
        ("TaskTemplate.Resources.Reservations.NanoCPUs", "cpu"),
        ("TaskTemplate.RestartPolicy.MaxAttempts", "restart.max_attempts"),
        ("TaskTemplate.Placement.MaxReplicas", "placement.max_per_node"),
        ("TaskTemplate.LogDriver.Options.max-size", "logging.max_size"),
        ("UpdateConfig.FailureAction", "update.on_failure"),
        ("UpdateConfig.Order", "update.order"),
        ("EndpointSpec.Ports", "publish"),
    ],
)
def test_key_of(path: str, key: str) -> None:
    assert key_of(path) == key


@pytest.mark.parametrize(
    ("keys", "path", "before", "after"),
    [
        ({"replicas": 0}, "replicas", 1, 0),
        ({"memory": "64MiB"}, "memory", None, "64MiB"),
        ({"cpu_limit": 1.5}, "cpu_limit", None, 1.5),
        ({"stop_grace": "1m30s"}, "stop_grace", "30s", "1m30s"),
        ({"env": {"A": ""}}, "env.A", None, ""),
        ({"env": {"A": "b"}}, "env.A", None, "b"),
        ({"labels": {"a": ""}}, "labels.a", None, ""),
        ({"update": {"parallelism": 3}}, "update.parallelism", 1, 3),
        ({"restart": {"delay": "1m"}}, "restart.delay", "5s", "1m"),
        ({"read_only": False}, "read_only", True, None),
        ({"user": "app"}, "user", None, "app"),
    ],
)
def test_values_as_they_are_written(
    keys: dict[str, Any], path: str, before: object, after: object
) -> None:
    assert changed(service(), service(**keys))[path] == (before, after)


def test_nothing_differs_from_itself() -> None:
    assert changed(service(), service()) == {}


def test_order_of_what_has_none_is_no_difference() -> None:
    keys: dict[str, Any] = {"secrets": ["A", "B"], "networks": ["x", "y"], "env": {"A": 1, "B": 2}}
    turned: dict[str, Any] = {
        "secrets": ["B", "A"],
        "networks": ["y", "x"],
        "env": {"B": 2, "A": 1},
    }
    assert changed(service(**keys), service(**turned)) == {}


def test_secrets_are_masked() -> None:
    before = service(env={"API_TOKEN": "hunter1", "URL": "postgres://app:hunter2@db/x"})
    after = service(
        env={"API_TOKEN": "hunter3", "URL": "postgres://app:hunter4@db/x"},
        command=["run", "--db", "postgres://app:hunter5@db/x"],
        labels={"db": "postgres://app:hunter6@db/x"},
        healthcheck={"command": ["check", "redis://:hunter7@cache"]},
    )
    found = changed(before, after)
    assert found["env.API_TOKEN"] == (MASK, MASK)
    assert found["env.URL"][1] == f"postgres://app:{MASK}@db/x"
    assert found["command"][1][-3:] == ["run", "--db", f"postgres://app:{MASK}@db/x"]
    assert "hunter" not in json.dumps(found)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, False),
        ({"replicas": 5}, False),
        ({"labels": {"a": "b"}}, False),
        ({"update": {"parallelism": 3}}, False),
        ({"publish": {"port": 81}}, False),
        ({"publish": {"port": 80, "mode": "host"}}, True),
        ({"env": {"A": "b"}}, True),
        ({"memory": "64MiB"}, True),
        ({"restart": {"delay": "1m"}}, True),
        ({"networks": ["x"]}, True),
    ],
)
def test_what_replaces_replicas(keys: dict[str, Any], expected: bool) -> None:
    start = service(publish={"port": 80})
    given_keys = {"publish": {"port": 80}} | keys
    old, new = (normal(compiled(one), {}) for one in (start, service(**given_keys)))
    assert replaces_tasks(old, new) is expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("r:5000/a:1@sha256:aa", "r:5000/a@sha256:aa"),
        ("r:5000/a@sha256:aa", "r:5000/a@sha256:aa"),
        ("a:1", "a:1"),
    ],
)
def test_without_tag(reference: str, expected: str) -> None:
    assert without_tag(reference) == expected


@pytest.mark.parametrize(
    ("path", "is_shown"),
    [
        ("labels.traefik.http.routers.web.rule", True),
        ("labels.traefik.http.routers.web.entryPoints", True),
        ("labels.traefik.http.routers.web.tls.certresolver", True),
        ("labels.traefik.http.services.web.loadbalancer.server.port", True),
        ("labels.traefik.http.services.web.loadbalancer.healthcheck.headers.X-Key", False),
        ("labels.traefik.http.middlewares.a.headers.customrequestheaders.X-Api-Key", False),
        ("labels.traefik.http.middlewares.a.digestauth.users", False),
        ("labels.traefik.http.middlewares.a.plugin.oidc.clientsecret", False),
        ("labels.deploytool.app", True),
        ("labels.note", False),
    ],
)
def test_labels_of_routes_alone_are_shown(path: str, is_shown: bool) -> None:
    fields = (FieldChange(path=path, after="abc xyz"),)
    change = Change(kind="service", name="web", action=Action.UPDATE, fields=fields)
    (found,) = hidden(Plan(app="items", changes=(change,))).changes
    assert found.fields[0].after == ("abc xyz" if is_shown else MASK)
