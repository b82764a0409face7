"""Each thing that a deploy to Nomad needs, there and not there, on the double."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from deploytool.backends import build_checks
from deploytool.backends.kind import Check, State
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.doctor import examine
from deploytool.config import Config
from deploytool.config.nomad import NomadSettings
from deploytool.image.registry_failures import silent
from tests.builders import service
from tests.nomad_double import server
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(build_checks, "output_of", lambda *command: "buildx v0.20")
    monkeypatch.setattr(build_checks, "registry_problem", lambda registry: None)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    with running(cluster) as address:
        yield address


def checks(address: str, namespace: str = "default", **keys: Any) -> dict[str, Check]:
    config = Config(app="items", backend="nomad", services={"web": service(**keys)})
    client = Client(Connection(address, namespace=namespace), patience=0)
    return {check.name: check for check in examine(config, lambda: client)}


def proxy(*args: str) -> dict[str, Any]:
    task = {"Name": "traefik", "Config": {"image": "traefik:v3.6", "args": list(args)}}
    group = {"Name": "traefik", "Count": 1, "Tasks": [task]}
    return {"Job": {"ID": "traefik", "Name": "traefik", "Type": "service", "TaskGroups": [group]}}


HIDES = "--providers.nomad.exposedByDefault=false"


def test_all_is_well(address: str, cluster: Cluster) -> None:
    cluster.register("default", proxy("--providers.nomad", HIDES))
    cluster.advance(5)
    cluster.jobs["default", "traefik"]["Status"] = "running"
    before = cluster.state.index
    found = checks(address, volumes=["data:/data"], memory="64MiB", memory_limit="128MiB")
    assert {name: check.state for name, check in found.items()} == dict.fromkeys(
        (
            *("servers", "namespace", "rights", "nodes", "docker driver", "volumes"),
            *("cores", "memory limits", "proxy", "buildx", "registry"),
        ),
        State.GOOD,
    )
    assert found["servers"].message == "Nomad 2.0.6, led by 127.0.0.1:4647"
    assert cluster.state.index == before, "nothing was written"
    assert cluster.state.variables == {}


def test_nobody_answers() -> None:
    found = checks("http://127.0.0.1:1")
    assert list(found) == ["buildx", "registry", "servers"]
    assert found["servers"].state is State.BAD
    assert "NOMAD_ADDR" in found["servers"].hint


def test_namespace_that_is_missing(address: str) -> None:
    found = checks(address, namespace="gone")["namespace"]
    assert (found.state, found.message) == (State.BAD, "there is no namespace gone")


@pytest.mark.parametrize(
    ("denied", "right"),
    [
        ("GET /v1/jobs$", "list-jobs"),
        ("GET /v1/job/items$", "read-job"),
        ("/plan$", "submit-job"),
        ("GET /v1/vars", "variables: list"),
        ("GET /v1/var/nomad/jobs", "variables: read"),
        ("DELETE /v1/var/deploytool", "variables: destroy"),
        ("PUT /v1/var/deploytool", "variables: write"),
    ],
)
def test_right_that_is_missing_is_named(
    address: str, cluster: Cluster, denied: str, right: str
) -> None:
    cluster.denied = denied
    found = checks(address)["rights"]
    assert found.state is State.BAD
    assert right in found.hint


@pytest.mark.parametrize(
    ("leader", "token", "is_told"),
    [
        ("10.0.0.5:4647", "", True),
        ("[fd00::5]:4647", "", True),
        ("127.0.0.1:4647", "", False),
        ("10.0.0.5:4647", "s3cret", False),
    ],
)
def test_cluster_that_asks_nobody_for_a_token(
    address: str, monkeypatch: pytest.MonkeyPatch, leader: str, token: str, is_told: bool
) -> None:
    monkeypatch.setattr(server, "LEADER", leader)
    client = Client(Connection(address, token=token), patience=0)
    config = Config(app="items", backend="nomad", services={"web": service()})
    found = {check.name: check for check in examine(config, lambda: client)}
    assert ("ACLs" in found) is is_told


def test_what_may_not_be_looked_at(address: str, cluster: Cluster) -> None:
    """No job is compiled for a version that is unknown."""
    cluster.denied = "GET /v1/(agent/members|operator)"
    found = checks(address, memory="64MiB", memory_limit="128MiB")
    assert found["servers"].state is State.BAD
    assert "node:read" in found["servers"].hint
    assert found["memory limits"].state is State.WARNING
    assert "operator:read" in found["memory limits"].hint


def test_nodes_without_docker_or_volumes(address: str, cluster: Cluster) -> None:
    del cluster.nodes[0].attributes["driver.docker.volumes.enabled"]
    found = checks(address, volumes=["data:/data"])
    assert found["volumes"].state is State.BAD
    assert "node-1, where web cannot run" in found["volumes"].message
    assert "volumes" not in checks(address)
    cluster.nodes[0].attributes.clear()
    assert checks(address)["docker driver"].state is State.BAD


def test_limit_above_what_is_reserved_needs_oversubscription(
    address: str, cluster: Cluster
) -> None:
    cluster.oversubscription = False
    found = checks(address, memory="64MiB", memory_limit="128MiB")["memory limits"]
    assert found.state is State.WARNING
    assert "-memory-oversubscription=true" in found.hint
    assert "memory limits" not in checks(address, memory="64MiB", memory_limit="64MiB")


def test_grace_that_clients_cut_short(address: str, cluster: Cluster) -> None:
    found = checks(address, stop_grace="50s", drain="5s")["stop_grace"]
    assert found.state is State.WARNING
    assert 'max_kill_timeout = "45s"' in found.hint
    cluster.longest_kill = "1m30s"
    assert "stop_grace" not in checks(address, stop_grace="50s", drain="5s")


@pytest.mark.parametrize(
    ("args", "state", "words"),
    [
        (None, State.WARNING, "no Traefik"),
        (["--providers.docker"], State.WARNING, "no Traefik"),
        (["--providers.nomad"], State.BAD, "whatever is in the catalogue"),
    ],
)
def test_proxy_that_is_none(
    address: str, cluster: Cluster, args: list[str] | None, state: State, words: str
) -> None:
    if args is not None:
        cluster.register("default", proxy(*args))
        cluster.jobs["default", "traefik"]["Status"] = "running"
    found = checks(address)["proxy"]
    assert found.state is state
    assert words in found.message
    assert found.hint


def test_machine_that_cannot_build_or_push(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(build_checks, "registry_problem", lambda r: silent(r, "refused"))
    found = checks(address)
    assert found["docker command"].state is State.BAD
    assert "does not answer" in found["registry"].message


def test_cores_of_other_speed(address: str) -> None:
    assert checks(address)["cores"].state is State.GOOD
    settings = NomadSettings(mhz_per_core=900)
    config = Config(app="items", backend="nomad", services={"web": service()}, nomad=settings)
    client = Client(Connection(address), patience=0)
    found = {check.name: check for check in examine(config, lambda: client)}["cores"]
    assert found.state is State.WARNING
    assert found.hint == "set nomad.mhz_per_core = 2000; it is 900"
