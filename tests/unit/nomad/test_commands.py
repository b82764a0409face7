"""The command line on an app that runs on Nomad, on the double."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.config.nomad import NomadSettings
from tests.builders import app, service
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running
from tests.unit.nomad.test_backend import deploy

CONFIG = """
app = "items"
backend = "nomad"
registry = "registry.example.com"

[services.web]
port = 8000
"""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(scripts={"web": Script(output="hello\n")})


@pytest.fixture
def address(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "deploytool.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    with running(cluster, speed=20) as address:
        monkeypatch.setenv("NOMAD_ADDR", address)
        yield address


@pytest.fixture
def deployed(address: str) -> str:
    deploy(Nomad(Client(Connection(address)), NomadSettings()), app(service(replicas=2)))
    return address


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_status_logs_and_releases(deployed: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = ran(capsys, "status")
    assert (code, found["data"]["services"][0]["running"]) == (0, 2)
    assert run(["logs"]) == 0
    assert capsys.readouterr().out.count("hello") == 2
    code, found = ran(capsys, "releases")
    assert code == 0
    assert "v1" in json.dumps(found)


def test_exit_code_of_a_command_is_ours(deployed: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["exec", "--json", "web", "--", "sh", "-c", "echo out; exit 9"])
    assert (code, json.loads(capsys.readouterr().out)["data"]["stdout"]) == (9, "out\n")


def test_doctor_sees_the_cluster(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = ran(capsys, "doctor")
    names = [check["name"] for check in found["data"]["checks"]]
    first = names.index("servers")
    assert names[first : first + 3] == ["servers", "namespace", "rights"]
    assert "registry" in names[:first]


def test_destroy(deployed: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = ran(capsys, "destroy", "--yes")
    assert code == 0
    assert "service items.web" in found["data"]["removed"]
    assert "lock" not in json.dumps(found["data"]["removed"])
    assert cluster.jobs == {}
    assert cluster.state.variables == {}
    code, found = ran(capsys, "status")
    assert (code, found["error"]["code"]) == (2, "not_deployed")


def test_servers_that_are_not_there(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:1")
    code, found = ran(capsys, "status")
    assert (code, found["error"]["code"]) == (1, "engine_unreachable")


def test_token_without_rights(
    deployed: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.denied = "GET /v1/job/"
    code, found = ran(capsys, "status")
    assert (code, found["error"]["code"]) == (1, "nomad_forbidden")
    assert "read-job" in found["error"]["hint"]
