"""A cluster of one node on this machine, with a program that only looks like Nomad: what it is
called with, and what becomes of it. That Nomad itself takes this is not shown here."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.nomad.cluster import CONFIGURATION, Folder
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running

PROGRAM = """\
#!{python}
import json, os, re, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

here = os.environ["FAKE_NOMAD"]
with open(os.path.join(here, "arguments.json"), "w") as file:
    json.dump(sys.argv[1:], file)
print("==> starting", flush=True)
if os.environ.get("FAKE_NOMAD_FAILS"):
    sys.exit("Error: no room")
config = open(sys.argv[sys.argv.index("-config") + 1]).read()
port = int(re.search(r"http = (\\d+)", config)[1])
node = {{"Status": "ready", "SchedulingEligibility": "eligible",
        "Drivers": {{"docker": {{"Healthy": True}}}}}}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([node] if "nodes" in self.path else "127.0.0.1:4647").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def end(*_):
    print("==> interrupted", flush=True)
    os._exit(0)


signal.signal(signal.SIGINT, end)
ThreadingHTTPServer(("127.0.0.1", port), Api).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "deploytool.toml").write_text(
        'app = "items"\nbackend = "nomad"\nregistry = "registry.invalid"\n'
        "[services.web]\nport = 8000\n"
    )
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("NOMAD_ADDR", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("FAKE_NOMAD", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    yield Folder(tmp_path / "state/deploytool/nomad")
    if (tmp_path / "state/deploytool/nomad/agent.pid").exists():
        run(["cluster", "down", "--yes"])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program says what it was called with."""
    program = tmp_path / "bin/nomad"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "arguments.json"


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = run(["cluster", *arguments, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_starts_an_agent_and_says_so(
    installed: Path, folder: Folder, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, said = ran(capsys, "up")
    assert (code, found["data"]["agent"], found["data"]["nodes"]) == (0, "running", 1)
    configuration = str(folder.configuration)
    assert json.loads(installed.read_text()) == [
        *("agent", "-dev", "-bind", "127.0.0.1"),
        *("-config", configuration),
    ]
    assert folder.configuration.read_text() == CONFIGURATION.format(port=port)
    assert f"nomad agent -dev -bind 127.0.0.1 -config {configuration}" in said
    assert str(folder.log) in said
    assert "deploytool cluster down" in said
    assert "==> starting" in folder.log.read_text()


def test_it_goes_on_and_is_ended(
    installed: Path, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(capsys, "up")
    started = installed.stat().st_mtime_ns
    assert ran(capsys, "up")[1]["data"]["agent"] == "running"
    assert installed.stat().st_mtime_ns == started
    assert ran(capsys, "status")[1]["data"]["log"] == str(folder.log)
    code, found, _ = ran(capsys, "down", "--yes")
    assert (code, found["data"]["removed"]) == (0, ["nomad agent"])
    assert "==> interrupted" in folder.log.read_text()
    assert ran(capsys, "status")[1]["data"]["agent"] == "absent"
    assert ran(capsys, "down", "--yes")[1]["data"]["removed"] == []


def test_agent_that_ends_at_once_says_why(
    installed: Path,
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_NOMAD_FAILS", "1")
    code, found, _ = ran(capsys, "up")
    assert (code, found["error"]["code"]) == (1, "agent_failed")
    assert "Error: no room" in found["error"]["details"]
    assert not folder.pid.exists()


def test_without_the_program_it_says_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    code, found, _ = ran(capsys, "up")
    assert (code, found["error"]["code"]) == (1, "nomad_missing")
    assert "https://developer.hashicorp.com/nomad/install" in found["error"]["hint"]


@pytest.mark.parametrize("address", ["http://nomad.invalid:4646", "https://127.0.0.1:1"])
def test_agent_would_not_be_where_the_configuration_says(
    installed: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NOMAD_ADDR", address)
    code, found, _ = ran(capsys, "up")
    assert (code, found["error"]["code"]) == (2, "cluster_elsewhere")
    assert not installed.exists()


def test_agent_of_others_is_left_alone(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(Cluster(nodes=[Node()])) as address:
        monkeypatch.setenv("NOMAD_ADDR", address)
        assert ran(capsys, "up")[1]["data"]["agent"] == "not ours"
        code, found, _ = ran(capsys, "down", "--yes")
    assert (code, found["error"]["code"]) == (2, "agent_not_ours")
    assert not installed.exists()


def test_another_program_with_its_number_is_left_alone(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.path.mkdir(parents=True)
    folder.pid.write_text(str(os.getpid()))
    assert ran(capsys, "down", "--yes")[1]["data"]["removed"] == []
