"""What bad input gets on Nomad: an error with its code and exit code, the next step, and a cluster
on which nothing was changed."""

from __future__ import annotations

import copy
import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from tests.any_registry import any_registry
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running

CONFIG = """
app = "items"
backend = "nomad"
[services.web]
port = 8000
image = "{registry}/items:1"
memory = "64MiB"
memory_limit = "128MiB"
{more}
"""
READS = (("status",), ("logs",), ("releases",), ("secrets", "list"), ("lock", "status"), ("plan",))
WRITES = (
    ("deploy", "--yes"),
    ("scale", "web=2", "--yes"),
    ("restart", "--yes"),
    ("rollback", "--yes"),
    ("run", "--", "true"),
    ("destroy", "--yes"),
)
Project = Callable[[str], None]


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with any_registry() as address:
        yield address


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> Project:
    """Writes the configuration, with more keys of its service."""
    monkeypatch.chdir(tmp_path)
    for name in ("ADDR", "TOKEN", "NAMESPACE", "REGION", "CACERT", "CLIENT_CERT", "CLIENT_KEY"):
        monkeypatch.delenv(f"NOMAD_{name}", raising=False)

    def write(more: str = "") -> None:
        (tmp_path / "deploytool.toml").write_text(CONFIG.format(registry=registry, more=more))

    write()
    return write


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def address(cluster: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    del project
    with running(cluster, speed=20) as address:
        monkeypatch.setenv("NOMAD_ADDR", address)
        yield address


class Call:
    """Runs commands, and keeps what the last one said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.said = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and the code of the error."""
        self.capsys.readouterr()
        options = [word for word in arguments if word != "--"]
        at = arguments.index("--") if "--" in arguments else len(options)
        exit_code = run([*arguments[:at], "--json", *arguments[at:]])
        out, err = self.capsys.readouterr()
        assert "Traceback" not in out + err
        error = json.loads(out).get("error") or {}
        self.said = "\n".join(
            [error.get("message", ""), *error.get("details", ()), error.get("hint", "")]
        )
        assert exit_code == 0 or error.get("hint"), "no next step"
        return exit_code, error.get("code", "")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(capsys)


def is_untouched(cluster: Cluster) -> bool:
    """Whether there is no job, and no record, secret or lock."""
    return cluster.jobs == {} and cluster.state.variables == {}


# --- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*READS, *WRITES, ("capacity",), ("exec", "web", "--", "true")])
def test_server_that_is_not_there(
    project: Project, monkeypatch: pytest.MonkeyPatch, call: Call, command: tuple[str, ...]
) -> None:
    del project
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:1")
    assert call(*command) == (1, "engine_unreachable")
    assert "NOMAD_ADDR" in call.said


@pytest.mark.parametrize(
    "text",
    ["nonsense", "http://", "http://[::1", "http://ex ample", "http://h:99999", "unix:///run/n"],
)
def test_address_that_is_none(
    project: Project, monkeypatch: pytest.MonkeyPatch, call: Call, text: str
) -> None:
    del project
    monkeypatch.setenv("NOMAD_ADDR", text)
    assert call("status") == (2, "nomad_address")
    assert 'such as "http://127.0.0.1:4646"' in call.said


@pytest.mark.parametrize("text", ["http://me:hunter2@127.0.0.1:1", "ftp://me:hunter2@127.0.0.1:1"])
def test_password_of_an_address_is_not_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch, call: Call, text: str
) -> None:
    del project
    monkeypatch.setenv("NOMAD_ADDR", text)
    assert call("status")[0] in (1, 2)
    assert "127.0.0.1" in call.said
    assert "hunter2" not in call.said


def test_something_else_that_listens_there(
    project: Project, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    del project

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("NOMAD_ADDR", f"http://127.0.0.1:{other.server_port}")
        assert call("deploy", "--yes") == (1, "nomad_refused")
        other.shutdown()
    assert "is not Nomad" in call.said


@pytest.mark.parametrize(
    ("variables", "expected", "words"),
    [
        ({}, (1, "nomad_tls"), "is not trusted"),
        ({"NOMAD_CACERT": "other.pem"}, (1, "nomad_tls"), "NOMAD_CACERT"),
        ({"NOMAD_CACERT": "gone.pem"}, (2, "nomad_file"), "gone.pem cannot be read"),
        ({"NOMAD_CACERT": "garbage.pem"}, (2, "nomad_file"), "garbage.pem"),
        (
            {"NOMAD_CLIENT_CERT": "garbage.pem", "NOMAD_CLIENT_KEY": "key.pem"},
            (2, "nomad_file"),
            "garbage.pem",
        ),
        ({"NOMAD_CLIENT_CERT": "cert.pem"}, (2, "nomad_file"), "NOMAD_CLIENT_KEY"),
    ],
)
def test_certificate_that_is_not_right(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    files: Path,
    cluster: Cluster,
    variables: dict[str, str],
    expected: tuple[int, str],
    words: str,
) -> None:
    del project
    (files / "garbage.pem").write_text("no certificate\n")
    with running(cluster, speed=20, tls=files) as address:
        monkeypatch.setenv("NOMAD_ADDR", address)
        for name, file in variables.items():
            monkeypatch.setenv(name, str(files / file))
        assert call("deploy", "--yes") == expected
    assert words in call.said
    assert is_untouched(cluster)


# --- rights ---------------------------------------------------------------------------------------


def test_no_token(address: str, cluster: Cluster, call: Call) -> None:
    del address
    cluster.denied = "/v1/(?!status)"
    assert call("status") == (1, "nomad_forbidden")
    assert "Nomad lets nobody read jobs without a token" in call.said
    assert "read-job in the namespace default" in call.said


def test_token_that_nomad_does_not_know(
    address: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    del address
    cluster.denied = "/v1/(?!status)"
    monkeypatch.setenv("NOMAD_TOKEN", "8f1c-wrong")
    for command in (*READS, *WRITES):
        assert call(*command) == (1, "nomad_forbidden")
        assert "does not know the token, or it has expired" in call.said
        assert "8f1c" not in call.said
    assert is_untouched(cluster)


def test_token_that_can_be_none(address: str, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    del address
    monkeypatch.setenv("NOMAD_TOKEN", "“abc”")
    assert call("status") == (2, "nomad_file")
    assert "abc" not in call.said


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        ("GET /v1/job/", "may not read jobs: it lacks read-job in the namespace default"),
        ("/plan$", "may not try changes of jobs: it lacks submit-job in the namespace default"),
        ("GET /v1/vars", "may not list variables: it lacks variables: list in the namespace"),
        (
            "PUT /v1/var/",
            "may not write the variable deploytool/items/lock: it lacks variables: write in",
        ),
        ("/v1/nodes", "may not read nodes: it lacks node:read"),
        ("/v1/agent", "may not ask for the servers' versions: it lacks node:read"),
    ],
)
def test_right_that_is_missing_for_a_deploy(
    address: str,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    denied: str,
    words: str,
) -> None:
    del address
    monkeypatch.setenv("NOMAD_TOKEN", "s3cret")
    cluster.denied = denied
    assert call("deploy", "--yes") == (1, "nomad_forbidden")
    assert words in call.said
    assert "docs/nomad.md" in call.said
    assert is_untouched(cluster)


@pytest.mark.parametrize(
    ("denied", "command", "right"),
    [
        ("/v1/client/allocation/.*/exec", ("exec", "web", "--", "true"), "alloc-exec"),
        ("/v1/client/fs", ("logs",), "read-logs"),
        ("GET /v1/jobs", ("destroy", "--yes"), "list-jobs"),
        ("DELETE /v1/job", ("destroy", "--yes"), "submit-job"),
        ("(PUT|POST) /v1/jobs", ("scale", "web=2", "--yes"), "submit-job"),
    ],
)
def test_right_that_is_missing_for_what_an_operator_does(
    address: str, cluster: Cluster, call: Call, denied: str, command: tuple[str, ...], right: str
) -> None:
    del address
    assert call("deploy", "--yes") == (0, "")
    before = copy.deepcopy(cluster.jobs)
    cluster.denied = denied
    assert call(*command) == (1, "nomad_forbidden")
    assert right in call.said
    assert cluster.jobs == before


# --- namespaces and versions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [*READS, *WRITES, ("secrets", "set", "TOKEN", "--file", "deploytool.toml")]
)
def test_namespace_that_there_is_not(
    address: str,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    command: tuple[str, ...],
) -> None:
    del address
    monkeypatch.setenv("NOMAD_NAMESPACE", "nowhere")
    assert call(*command) == (1, "nomad_namespace")
    assert "nomad namespace apply nowhere" in call.said
    assert is_untouched(cluster)


def test_namespaces_together_are_none(
    address: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    del address
    monkeypatch.setenv("NOMAD_NAMESPACE", "*")
    assert call("deploy", "--yes") == (2, "nomad_namespace")
    assert is_untouched(cluster)


def test_servers_that_are_too_old(address: str, cluster: Cluster, call: Call) -> None:
    del address
    tags = {"role": "nomad", "region": "global", "build": "1.7.7"}
    cluster.other_servers = [{"Name": "old.global", "Status": "alive", "Tags": tags}]
    assert call("deploy", "--yes") == (1, "nomad_version")
    assert "1.8 is the oldest" in call.said
    assert is_untouched(cluster)


# --- nodes ----------------------------------------------------------------------------------------


def test_driver_that_is_missing(address: str, cluster: Cluster, call: Call) -> None:
    del address
    del cluster.nodes[0].attributes["driver.docker"]
    for command in (("plan",), ("deploy", "--yes")):
        assert call(*command) == (1, "no_suitable_node")
        assert "of 1 that were asked: 1 node does not have a healthy Docker driver" in call.said
        assert "start the engine of a node" in call.said
    assert is_untouched(cluster)


def test_clients_that_mount_no_volumes(
    address: str, cluster: Cluster, project: Project, call: Call
) -> None:
    del address
    project('volumes = ["data:/data"]')
    del cluster.nodes[0].attributes["driver.docker.volumes.enabled"]
    assert call("deploy", "--yes") == (1, "no_suitable_node")
    assert "1 node does not allow volumes" in call.said
    assert "volumes { enabled = true }" in call.said
    assert is_untouched(cluster)


def test_constraint_that_filters_every_node(
    address: str, cluster: Cluster, project: Project, call: Call
) -> None:
    del address
    project('placement.constraints = ["node.labels.disk == ssd"]')
    assert call("deploy", "--yes") == (1, "no_suitable_node")
    assert "1 node does not meet ${meta.disk} = ssd" in call.said
    assert "change the placement" in call.said
    assert is_untouched(cluster)


def test_no_node_that_takes_work(address: str, cluster: Cluster, call: Call) -> None:
    del address
    cluster.nodes[0].status = "down"
    assert call("deploy", "--yes") == (1, "no_suitable_node")
    assert "datacenters and node_pool" in call.said
    assert is_untouched(cluster)


def test_more_than_the_nodes_have(
    address: str, cluster: Cluster, project: Project, call: Call
) -> None:
    del address
    project("replicas = 200")
    assert call("deploy", "--yes") == (1, "does_not_fit")
    assert "memory left" in call.said
    assert "deploytool capacity" in call.said
    assert is_untouched(cluster)


# --- what others do -------------------------------------------------------------------------------


def of_somebody_else() -> dict[str, Any]:
    task = {"Name": "web", "Driver": "docker", "Config": {"image": "x"}}
    group = {"Name": "web", "Count": 1, "Tasks": [task | {"Resources": {"MemoryMB": 10}}]}
    job = {"ID": "items", "Name": "items", "Type": "service", "Datacenters": ["*"]}
    return {"Job": job | {"TaskGroups": [group]}}


def test_job_of_that_name_that_deploytool_did_not_make(
    address: str, cluster: Cluster, call: Call
) -> None:
    del address
    cluster.register("default", of_somebody_else())
    before = cluster.jobs["default", "items"]["JobModifyIndex"]
    for command in (("plan",), ("deploy", "--yes")):
        assert call(*command) == (1, "not_ours")
        assert "choose another name for the app" in call.said
    for words in (("status",), ("scale", "web=2", "--yes"), ("destroy", "--yes")):
        assert call(*words) == (2, "not_deployed")
        assert "NOMAD_ADDR" in call.said
    assert cluster.jobs["default", "items"]["JobModifyIndex"] == before
    assert cluster.state.variables == {}


def test_job_that_somebody_else_changes_meanwhile(
    address: str, cluster: Cluster, project: Project, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the dry run and the change."""
    del address
    assert call("deploy", "--yes") == (0, "")
    project('env = { LOG_LEVEL = "debug" }')
    plan = cluster.plan

    def plan_and_change(namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = plan(namespace, body)
        job = copy.deepcopy(cluster.jobs["default", "items"])
        job["TaskGroups"][0]["Count"] = 3
        cluster.register("default", {"Job": job})
        return answer

    monkeypatch.setattr(cluster, "plan", plan_and_change)
    assert call("deploy", "--yes") == (1, "changed_meanwhile")
    assert "deploy again" in call.said
    assert not cluster.jobs["default", "items"]["TaskGroups"][0]["Tasks"][0]["Env"]
    assert cluster.jobs["default", "items"]["TaskGroups"][0]["Count"] == 3


# --- secrets and records --------------------------------------------------------------------------


def test_secret_that_was_never_set(
    address: str, cluster: Cluster, project: Project, call: Call
) -> None:
    del address
    project('secrets = ["DATABASE_URL"]')
    for command in (("plan",), ("deploy", "--yes")):
        assert call(*command) == (1, "secret_missing")
        assert "deploytool secrets set DATABASE_URL" in call.said
    assert is_untouched(cluster)


def test_secret_that_does_not_fit(
    address: str, cluster: Cluster, call: Call, tmp_path: Path
) -> None:
    del address
    file = tmp_path / "value"
    file.write_text("x" * 70_000)
    assert call("secrets", "set", "A", "--file", str(file)) == (2, "secret_invalid")
    assert "A would take 70," in call.said
    assert "64 KiB of a Nomad variable, of which 65,536 bytes are left" in call.said
    assert "goes into `files`" in call.said
    assert is_untouched(cluster)


def test_secrets_that_do_not_fit_together(
    address: str, cluster: Cluster, call: Call, tmp_path: Path
) -> None:
    del address
    file = tmp_path / "values"
    file.write_text(f"A={'x' * 40_000}\nB={'y' * 40_000}\n")
    assert call("secrets", "set", "--env-file", str(file)) == (2, "secret_invalid")
    assert is_untouched(cluster)


def test_release_that_no_variable_takes(
    address: str, cluster: Cluster, project: Project, call: Call
) -> None:
    del address
    chance = random.Random(0)
    parts = [f'{name} = "{chance.randbytes(50_000).hex()}"' for name in "AB"]
    project(f"env = {{ {', '.join(parts)} }}")
    assert call("deploy", "--yes") == (1, "record_too_large")
    assert is_untouched(cluster)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("items.nomad.hcl", 'job "items" {}\n', ()),
        ("items.nomad.json", '{"Job": {"ID": "items"}}\n', ("--format", "json")),
    ],
)
def test_job_file_that_somebody_wrote(
    project: Project, call: Call, tmp_path: Path, name: str, text: str, options: tuple[str, ...]
) -> None:
    del project
    file = tmp_path / "nomad" / name
    file.parent.mkdir()
    file.write_text(text)
    assert call("render", *options) == (2, "not_rendered")
    assert "move it out of the way" in call.said
    assert file.read_text() == text
    file.unlink()
    assert call("render", *options) == (0, "")
    (tmp_path / "deploytool.toml").write_text(
        (tmp_path / "deploytool.toml").read_text().replace("64MiB", "65MiB")
    )
    assert call("render", *options) == (0, "")
    assert "65" in file.read_text()
