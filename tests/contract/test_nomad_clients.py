"""The double of Nomad satisfies clients that nobody here wrote: Nomad's own Go library, what
Prometheus finds targets with, and nomad-tools. For nomadpy see tests/unit/nomad/test_nomadpy.py,
and for Traefik the live tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.nomad.specification.compile import compile_app
from deploytool.backends.nomad.specification.task import Source
from tests.builders import app, images, service
from tests.contract.go_program import build
from tests.nomad_double import catalogue, tokens, variables
from tests.nomad_double.cluster import VERSION, Cluster, Script
from tests.nomad_double.server import running

pytestmark = pytest.mark.contract
HERE = Path(__file__).parent
NOMAD_TOOLS = "nomad-tools==0.5.8"
REPLICA = {
    "ID": "1",
    "ServiceName": "items-web",
    "Namespace": "default",
    "NodeID": "0b0b",
    "Datacenter": "dc1",
    "JobID": "items",
    "AllocID": "0a0a",
    "Tags": ["traefik.enable=true"],
    "Address": "10.0.0.1",
    "Port": 20_000,
}
"""In the catalogue, where only real tasks come by themselves."""
CHECK = {
    "ID": "1",
    "Check": "GET /health",
    "Group": "items.web[0]",
    "Mode": "healthiness",
    "Output": "nomad: http ok",
    "Service": "items-web",
    "Status": "success",
    "StatusCode": 200,
    "Task": "web",
    "Timestamp": 1_767_323_045,
}


@pytest.fixture(scope="module")
def job() -> Any:
    spec = app(service(replicas=2, domains=["items.example.com"]))
    return compile_app(Source(app=spec, images=images(spec))).job


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    script = Script(healthy_after=2.0, output="one\ntwo\n")
    made = Cluster(scripts={"web": script}, checks=[CHECK])
    variables.put(made.state, "default", "nomad/jobs/kept", {"Items": {"A": "1"}}, None)
    catalogue.register(made.state, [REPLICA, REPLICA | {"ID": "2", "Tags": []}])
    return made


@pytest.fixture(scope="module")
def found(cluster: Cluster, job: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Nomad's own client library found, step by step."""
    file = tmp_path_factory.mktemp("client") / "job.json"
    file.write_text(json.dumps({"Job": job}))
    program = build(HERE / "nomad_client")
    with running(cluster, speed=20) as address:
        done = subprocess.run(
            [program, address, str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


STEPS: dict[str, object] = {
    "server": {
        "leader": "127.0.0.1:4647",
        "version": VERSION,
        "oversubscription": True,
        "namespace": "default",
        "missing": 404,
    },
    "variables": {
        "conflict": True,
        "there": "1",
        "items": {"A": "1", "B": "2"},
        "listed": 2,
        "stale": True,
        "gone": True,
    },
    "events": "listening",
    "plan": {"diff": "Added", "places": {"web": 2}, "index": 0},
    "register": {"status": "complete", "job": "items"},
    "deployment": {
        "status": "successful",
        "description": "Deployment completed successfully",
        "allocations": 2,
        "running": 2,
    },
    "blocking": {"waited": True, "woken": True, "version": 1},
    "logs": "one\ntwo\n",
    "exec": {"code": 3, "out": "given", "complaints": "bad\n"},
    "catalogue": {"names": ["items-web"], "instances": 1, "ports": True},
    "promotion": {"early": 500, "status": "successful"},
    "versions": [2, 1, 0],
    "revert": {"current": 500, "version": 3, "status": "successful"},
    "stream": ["Allocation", "Deployment", "Evaluation", "Job"],
    "scale": {
        "because": "job-scaling",
        "version": 5,
        "counts": [3, 3, 3, 3],
    },
    "tasks": {
        "restarts": 1,
        "events": [
            *("Started", "Restart Signaled", "Terminated", "Restarting", "Started", "Signaling"),
        ],
        "last": ["Task being sent signal SIGHUP", "SIGHUP"],
        "missing": [404, 'Unknown allocation "nothing"'],
    },
    "stop": {"because": "alloc-stop", "desired": "stop", "name": True},
    "pause": {
        "said": ["paused", "running"],
        "scale": [400, "job scaling blocked due to active deployment"],
        "reverted": True,
        "again": [500, "can't fail terminal deployment"],
        "missing": [500, "deployment not found"],
    },
    "nodes": {"status": "ready", "docker": True, "memory": True},
    "eligibility": {"said": ["ineligible", "eligible"], "holds": True, "drain": 0},
    "locks": {
        "lock": ["20s", "10s"],
        "second": 409,
        "short": [400, "1 error occurred:\n\t* TTL must be between 10 seconds and 24 hours"],
        "foreign": 409,
        "renewed": True,
        "late": [409, "attempting to modify locked variable"],
        "none": [404, "variable doesn't exist"],
        "released": True,
        "unlocked": [409, "variable doesn't hold a lock"],
        "items": {"by": "still me"},
    },
    "lists": {
        "namespaces": ["default", "shop"],
        "peers": ["127.0.0.1:4647"],
        "regions": ["global"],
        "acl": [400, "ACL support disabled"],
    },
    "unknown": {"status": 501, "gc": 501},
    "deregister": {"status": 404, "body": "job not found"},
}


@pytest.mark.parametrize("step", STEPS)
def test_nomads_own_client_library(found: Any, step: str) -> None:
    assert found[step] == STEPS[step]


def test_register_with_an_old_index_is_refused(found: Any) -> None:
    assert found["enforced"]["status"] == 500
    assert found["enforced"]["body"].startswith("Enforcing job modify index 0")


def test_allocation_has_what_the_library_reads_of_it(found: Any) -> None:
    allocation = dict(found["allocation"])
    assert allocation.pop("events") == ["Started"]
    expected = {"group": "web", "job": "items", "healthy": True, "memory": True, "checks": 1}
    assert allocation == expected


def test_events_are_of_kinds_that_the_library_knows(found: Any) -> None:
    kinds = set(found["events of the deployment"])
    assert kinds == {"Service ServiceRegistration"}


OF_STATES = {"+.TaskStates.*.TaskHandle", "-.TaskStates.*.Events.DiskSize"}
OF_STUBS = OF_STATES | {"+.DesiredTransition"}
OF_DEPLOYMENTS = {"+.EvalPriority", "+.TaskGroups.*.AutoPromote"}
META = {"+.Index", "+.KnownLeader", "+.LastContact", "+.NextToken"}
LIFECYCLES = {"+.AllocatedResources.TaskLifecycles"}
CLAIMS = {"-.OptionalExtraClaims", "-.RequiredExtraClaims"}
"""Newer than the version that the double says it is."""
DIFFERENCES: dict[str, set[str]] = {
    # The server says these, and its library does not read them: they are in recorded answers. What
    # they lack of an event is in the library alone.
    "allocation": OF_STATES | LIFECYCLES | {"+.Job.TaskGroups.Tasks.Services.Namespace"},
    "job": {"+.TaskGroups.Tasks.Services.Namespace"},
    "allocations": OF_STUBS | LIFECYCLES,
    "every allocation": OF_STUBS,
    "job's allocations": OF_STUBS,
    "jobs": {"+.Multiregion", "+.NodePool"},
    **dict.fromkeys(("deployment", "deployments"), OF_DEPLOYMENTS),
    **dict.fromkeys(("every deployment", "newest deployment"), OF_DEPLOYMENTS),
    "nodes": {"+.NodeResources.NodeNetworks"},
    "node": {
        *("+.ComputedClass", "+.NodeResources.NodeNetworks"),
        *("-.GCVolumesOnNodeGC", "-.NodeMaxAllocs"),
    },
    "scheduler": META | {"-.SchedulerConfig.NodeLimitForFeasibilityChecks"},
    "versions": META | {"+.Versions.TaskGroups.Tasks.Services.Namespace"},
    **dict.fromkeys(("namespace", "namespaces"), CLAIMS),
}
"""Of the double's answers from the official types: fields that an answer lacks, and fields that the
types lack."""


def test_answers_have_the_fields_of_the_official_types(found: Any) -> None:
    differing = {name: set(fields) for name, fields in found["conformance"].items() if fields}
    assert differing == DIFFERENCES
    assert len(found["conformance"]) == 28


def test_tokens_of_a_server_with_acls() -> None:
    cluster = Cluster()
    tokens.make_token(cluster, "s3cret", name="deploys")
    with running(cluster) as address:
        done = subprocess.run(
            [build(HERE / "nomad_client"), address, "tokens", "s3cret"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    refused = [403, "Permission denied"]
    nobody = {"self": refused, "jobs": refused, "leader": 0}
    assert json.loads(done.stdout) == {
        "known": {
            "self": [0, ""],
            "jobs": [0, ""],
            "leader": 0,
            "name": "deploys",
            "type": "client",
            "policies": ["deploytool"],
        },
        "unknown": nobody,
        "none": nobody,
    }


def test_prometheus_finds_replicas(cluster: Cluster) -> None:
    with running(cluster, speed=20) as address:
        done = subprocess.run(
            [build(HERE / "nomad_prometheus"), address],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    targets = json.loads(done.stdout)
    assert sorted(target.get("__meta_nomad_tags", "") for target in targets) == [
        "",
        ",traefik.enable=true,",
    ]
    common = {
        "__address__": "10.0.0.1:20000",
        "__meta_nomad_address": "10.0.0.1",
        "__meta_nomad_dc": "dc1",
        "__meta_nomad_namespace": "default",
        "__meta_nomad_node_id": "0b0b",
        "__meta_nomad_service": "items-web",
        "__meta_nomad_service_port": "20000",
    }
    for target in targets:
        assert common.items() <= target.items()


@pytest.fixture(scope="module")
def nomadtools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In an environment of its own."""
    environment = tmp_path_factory.mktemp("nomad-tools")
    uv, python = Path(sys.executable).with_name("uv"), environment / "bin/python"
    for command in (
        ("venv", "--clear", "--python", sys.executable, environment),
        ("pip", "install", "--python", python, NOMAD_TOOLS),
    ):
        subprocess.run([uv, *command], check=True, capture_output=True, timeout=300)
    return environment / "bin/nomadtools"


Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def deployed(job: Any) -> Cluster:
    cluster = Cluster(scripts={"web": Script(output="one\ntwo\n")})
    cluster.register("default", {"Job": job})
    return cluster


@pytest.fixture
def tool(nomadtools: Path, deployed: Cluster, tmp_path: Path) -> Iterator[Tool]:
    with running(deployed, speed=20) as address:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [nomadtools, *arguments],
                env={**os.environ, "NOMAD_ADDR": address, "XDG_CACHE_HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )

        yield run


def test_nomad_tools_watch_a_job_until_it_runs(tool: Tool, deployed: Cluster) -> None:
    watched = tool("watch", "-a", "started", "items")
    ports = tool("port", "items")
    assert watched.returncode == 0, watched.stderr
    assert "Healthy=2 Unhealthy=0 Deployment completed successfully" in watched.stdout
    assert watched.stdout.count("> one\n") == 2
    addresses = {
        f"{port['HostIP']}:{port['Value']}"
        for allocation in deployed.allocations.values()
        for port in allocation["AllocatedResources"]["Shared"]["Ports"]
    }
    assert set(ports.stdout.split()) == addresses


def test_nomad_tools_stop_a_job_and_purge_it(tool: Tool, deployed: Cluster) -> None:
    """They hear of its end in the event stream."""
    assert tool("watch", "started", "items").returncode == 0
    stopped = tool("watch", "-a", "stop", "items")
    assert stopped.returncode == 0, stopped.stderr
    assert "dead with no active allocations" in stopped.stderr
    assert stopped.stdout.count("Killed Task successfully killed") == 2
    purged = tool("watch", "-a", "--purge", "stop", "items")
    assert "purged with no active allocations" in purged.stderr
    assert deployed.jobs == {}
    missing = tool("watch", "started", "items")
    assert missing.returncode != 0
    assert "Job named 'items' not found in default namespace" in missing.stderr


def test_nomad_tools_keep_variables(tool: Tool, deployed: Cluster) -> None:
    """Without check and set: 0.5.8 sends no index, whatever it is told."""
    directory = ("vardir", "nomad/jobs/items")
    for key, value in (("A", "1"), ("B", "2")):
        assert tool(*directory, "set", key, value).returncode == 0
    assert tool(*directory, "ls", "-1").stdout.split() == ["A", "B"]
    assert tool(*directory, "cat", "B").stdout.strip() == "2"
    assert tool(*directory, "rm", "A").returncode == 0
    assert deployed.state.variables["default", "nomad/jobs/items"]["Items"] == {"B": "2"}


def test_nomad_tools_look_at_jobs_and_nodes(tool: Tool, deployed: Cluster) -> None:
    assert tool("watch", "started", "items").returncode == 0
    (node,) = deployed.nodes
    assert tool("nodenametoid", node.name).stdout.split() == [node.id]
    assert "attr.kernel.name" in tool("listnodeattributes", node.name).stdout
    topology = tool("info", "topology")
    assert "2allocs" in topology.stdout, topology.stderr
    reference = deployed.jobs["default", "items"]["TaskGroups"][0]["Tasks"][0]["Config"]["image"]
    for of_versions in ("-j", "-a"):
        assert tool("dockers", of_versions, "items").stdout.split() == [reference]
