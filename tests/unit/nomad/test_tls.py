"""Certificates of both sides, on a server that has those which Nomad's own authority makes: for
"server.global.nomad", not for its address."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.config.nomad import NomadSettings
from deploytool.errors import EngineError
from tests.builders import app, service
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running
from tests.unit.nomad.conftest import NAME
from tests.unit.nomad.test_backend import deploy


@pytest.fixture
def address(files: Path) -> Iterator[str]:
    with running(Cluster(), speed=20, tls=files) as address:
        yield address


def settings(address: str, files: Path, **keys: str) -> NomadSettings:
    own = {
        "ca_cert": str(files / "ca.pem"),
        "client_cert": str(files / "cert.pem"),
        "client_key": str(files / "key.pem"),
        "tls_server_name": NAME,
    }
    return NomadSettings(address=address, **(own | keys))


def client(found: NomadSettings, **environ: str) -> Client:
    return Client(connection(found, environ))


def test_deploy_and_command_with_certificates_of_both_sides(address: str, files: Path) -> None:
    own = settings(address, files)
    nomad = Nomad(client(own), own)
    deploy(nomad, app(service()))
    assert nomad.execute("items", "web", ["echo", "here"]).stdout == "here\n"
    program = nomad.attach_command("items", "web", ["cat"], terminal=False)
    done = subprocess.run(program, input=b"given", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"given")


@pytest.mark.parametrize(
    "keys",
    [
        {"ca_cert": "other.pem"},
        {"tls_server_name": "server.eu.nomad"},
        {"tls_server_name": ""},
        {"ca_cert": ""},
    ],
)
def test_server_that_is_not_trusted(address: str, files: Path, keys: dict[str, str]) -> None:
    given = {k: str(files / v) if k == "ca_cert" and v else v for k, v in keys.items()}
    own = settings(address, files).model_copy(update={k: v or None for k, v in given.items()})
    with pytest.raises(EngineError) as caught:
        client(own).get("/v1/nodes")
    assert caught.value.code == "nomad_tls"
    assert "NOMAD_CACERT" in caught.value.hint


def test_client_without_a_certificate(address: str, files: Path) -> None:
    own = settings(address, files).model_copy(update={"client_cert": None, "client_key": None})
    with pytest.raises(EngineError) as caught:
        client(own).get("/v1/nodes")
    assert caught.value.code in ("nomad_tls", "engine_unreachable")


def test_verification_that_is_skipped(address: str, files: Path) -> None:
    own = settings(address, files).model_copy(update={"ca_cert": None, "tls_server_name": None})
    found = client(own, NOMAD_SKIP_VERIFY="true")
    assert [node["Name"] for node in found.get("/v1/nodes")] == ["node-1"]
