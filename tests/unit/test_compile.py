"""AppSpec → ServiceSpec: everything explicit, everything sorted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.json_types import Json
from deploytool.spec import AppSpec
from tests.builders import app, image, images, maximal_app, proxy, release, service, worker
from tests.strategies import apps, quick


def compiled(spec: AppSpec, name: str = "web") -> Json:
    found = next(s for s in spec.services if s.name == name)
    return swarm.service_spec(spec, found, images(spec)[name], release(spec, 7))


@pytest.mark.parametrize("name", ["web", "worker", "cache"])
def test_every_key(name: str, snapshot: SnapshotAssertion) -> None:
    assert compiled(maximal_app(), name) == snapshot(extension_class=JSONSnapshotExtension)


def test_the_proxy(snapshot: SnapshotAssertion) -> None:
    assert compiled(proxy(), "traefik") == snapshot(extension_class=JSONSnapshotExtension)


@quick
@given(apps())
def test_compiles_to_the_same_json_twice(spec: AppSpec) -> None:
    again = AppSpec.model_validate_json(spec.model_dump_json())
    for one in spec.services:
        first = json.dumps(compiled(spec, one.name))
        assert first == json.dumps(compiled(again, one.name))


def test_runs_the_digest_and_remembers_the_tag() -> None:
    spec = compiled(app())
    assert spec["TaskTemplate"]["ContainerSpec"]["Image"] == image().reference
    assert spec["Labels"][labels.IMAGE] == image().tag


def test_release_is_on_service_and_replicas() -> None:
    spec = compiled(app())
    assert spec["Labels"][labels.RELEASE] == "v7"
    assert spec["TaskTemplate"]["ContainerSpec"]["Labels"][labels.RELEASE] == "v7"


def test_a_spec_of_no_release_says_nothing_of_one() -> None:
    spec = swarm.service_spec(app(), service(), image(), None)
    assert labels.RELEASE not in json.dumps(spec)


def test_engine_defaults_that_hurt_are_never_left_to_it() -> None:
    spec = compiled(app())
    assert spec["UpdateConfig"]["FailureAction"] == "rollback"
    assert spec["UpdateConfig"]["Order"] == "start-first"
    assert spec["RollbackConfig"] | {"FailureAction": "rollback"} == spec["UpdateConfig"]
    assert spec["EndpointSpec"]["Mode"] == "vip"
    assert spec["TaskTemplate"]["ContainerSpec"]["CapabilityDrop"] == ["ALL"]
    assert spec["TaskTemplate"]["LogDriver"]["Options"] == {"max-file": "3", "max-size": "10485760"}


def test_forwarded_headers_are_believed_from_the_proxy_alone() -> None:
    routed = compiled(app())["TaskTemplate"]["ContainerSpec"]["Env"]
    assert routed == ["FORWARDED_ALLOW_IPS=10.253.0.0/20"]
    behind = compiled(app(proxy={"trusted_proxies": ["192.0.2.0/24"]}))
    assert behind["TaskTemplate"]["ContainerSpec"]["Env"] == [
        "FORWARDED_ALLOW_IPS=10.253.0.0/20,192.0.2.0/24"
    ]
    unrouted = compiled(app(worker()), "worker")["TaskTemplate"]["ContainerSpec"]["Env"]
    assert unrouted == []


def test_own_variable_wins_over_the_one_for_the_proxy() -> None:
    spec = compiled(app(service(env={"FORWARDED_ALLOW_IPS": "*"})))
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == ["FORWARDED_ALLOW_IPS=*"]


def test_what_has_no_domains_is_on_no_proxy_network() -> None:
    spec = compiled(app(service(domains=[])))
    assert spec["TaskTemplate"]["Networks"] == [{"Target": "items_default", "Aliases": ["web"]}]
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == []


def test_worker_is_on_no_proxy_network_and_has_no_routes() -> None:
    spec = compiled(app(worker()), "worker")
    assert [n["Target"] for n in spec["TaskTemplate"]["Networks"]] == ["items_default"]
    assert not [key for key in spec["Labels"] if key.startswith("traefik")]


def test_prestart_runs_before_the_process_and_gives_way_to_it() -> None:
    given = service(prestart=["python", "-m", "a b"], command=["run", "it"], drain="2s")
    args = swarm.arguments(app(), given)
    assert args == ["/bin/sh", "-c", 'python -m \'a b\' && exec "$0" "$@"', "run", "it"]


@pytest.mark.parametrize(
    ("read_only", "volumes", "expected"),
    [
        (True, [], True),
        (False, [], False),
        (True, ["data:/tmp"], False),
        (True, ["data:/tmp/x"], True),
    ],
)
def test_tmp_is_writable_where_the_rest_is_not(
    read_only: bool, volumes: list[str], expected: bool
) -> None:
    spec = compiled(app(service(read_only=read_only, volumes=volumes)))
    mounts = spec["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert any((m["Type"], m["Target"]) == ("tmpfs", "/tmp") for m in mounts) is expected


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({}, 64 * 2**20),
        ({"memory_limit": "256MiB"}, 256 * 2**20),
        ({"memory_limit": "256MiB", "tmp_size": "1MiB"}, 2**20),
        ({"memory_limit": "256MiB", "tmp_size": "0B"}, None),
    ],
)
def test_tmp_takes_no_more_than_a_replica_may(keys: dict[str, Any], size: int | None) -> None:
    mounts = compiled(app(service(**keys)))["TaskTemplate"]["ContainerSpec"]["Mounts"]
    options = {"TmpfsOptions": {"SizeBytes": size}} if size else {}
    assert mounts == [{"Type": "tmpfs", "Target": "/tmp", **options}]


@pytest.mark.parametrize(("keys", "pids"), [({}, 1024), ({"pids": 9}, 9), ({"pids": 0}, 0)])
def test_processes_are_limited(keys: dict[str, Any], pids: int) -> None:
    limits = compiled(app(service(**keys)))["TaskTemplate"]["Resources"]["Limits"]
    assert limits["Pids"] == pids


def test_a_host_port_is_given_up_before_it_is_taken_again() -> None:
    spec = compiled(app(service(publish={"port": 80, "mode": "host"})))
    assert spec["UpdateConfig"]["Order"] == "stop-first"


@pytest.mark.parametrize(
    ("capabilities", "dropped", "added"),
    [
        ([], ["ALL"], []),
        (["CHOWN"], ["ALL"], ["CAP_CHOWN"]),
        ("default", [], []),
    ],
)
def test_capabilities(capabilities: object, dropped: list[str], added: list[str]) -> None:
    container = compiled(app(service(capabilities=capabilities)))["TaskTemplate"]["ContainerSpec"]
    assert (container["CapabilityDrop"], container["CapabilityAdd"]) == (dropped, added)


def test_a_capability_written_both_ways_is_one() -> None:
    assert swarm.capabilities(service(capabilities=["CHOWN", "CAP_CHOWN"])) == ["CAP_CHOWN"]


def test_prefix_is_routed_and_taken_off() -> None:
    found = compiled(app(service(domains=["b.example", "a.example"], path_prefix="/v1/")))["Labels"]
    rule = "(Host(`a.example`) || Host(`b.example`)) && PathRegexp(`^/v1(/|$)`)"
    assert found["traefik.http.routers.items_web.rule"] == rule
    assert found["traefik.http.middlewares.items_web.stripprefix.prefixes"] == "/v1"


def test_health_check_asks_for_a_name_that_is_served() -> None:
    served = compiled(app(service(domains=["api.example.com"])))
    test = served["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["Test"]
    assert test[4:7] == ["8000", "/health", "api.example.com"]


def test_secrets_are_files_and_never_values() -> None:
    found = compiled(app(service(secrets=["B", "A"])))["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [s["SecretName"] for s in found] == ["items_A", "items_B"]
    assert [s["File"]["Name"] for s in found] == ["A", "B"]
