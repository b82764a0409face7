"""The double of Nomad satisfies a client that nobody here wrote: nomadpy, a port of the Go one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice

import nomadpy
import pytest

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.config.nomad import NomadSettings
from tests.builders import app, service
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running
from tests.unit.nomad.test_backend import deploy

PATIENCE = 20.0


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(scripts={"web": Script(output="one\ntwo\n", complaints="bad\n")})


@pytest.fixture
def other(cluster: Cluster) -> Iterator[nomadpy.Client]:
    with running(cluster, speed=20) as address:
        nomad = Nomad(Client(Connection(address)), NomadSettings())
        nomad.set_secrets("items", {"TOKEN": b"s3cret"})
        deploy(nomad, app(service(secrets=["TOKEN"])))
        yield nomadpy.Client(nomadpy.Config(address=address))


@pytest.fixture
def allocation(other: nomadpy.Client) -> str:
    (found,), _ = other.jobs.allocations("items", False)
    return str(found.id)


def test_job_and_its_variable(other: nomadpy.Client) -> None:
    job, _ = other.jobs.info("items")
    assert [group.name for group in job.task_groups] == ["web"]
    variable, _ = other.variables.read("nomad/jobs/items")
    assert variable.items == {"TOKEN__1": "s3cret"}


def test_logs_in_frames(other: nomadpy.Client, allocation: str) -> None:
    def logs(follow: bool, stream: str, origin: str, offset: int) -> Iterator[bytes]:
        found = other.alloc_fs.logs(allocation, follow, "web", stream, origin, offset)
        return (frame.data_bytes for frame in found)

    assert list(islice(logs(True, "stdout", "start", 0), 1)) == [b"one\ntwo\n"]
    assert list(logs(False, "stderr", "end", 2)) == [b"d\n"]


def test_command_in_a_task(other: nomadpy.Client, allocation: str) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    code = other.allocations.exec(
        allocation,
        "web",
        ["sh", "-c", "cat; echo err >&2; exit 4"],
        stdin=io.BytesIO(b"given"),
        stdout=out,
        stderr=err,
        timeout=PATIENCE,
    )
    assert (code, out.getvalue(), err.getvalue()) == (4, b"given", b"err\n")
    with pytest.raises(ConnectionError, match='Unknown task name "other"'):
        other.allocations.exec(allocation, "other", ["ls"], timeout=PATIENCE)


def test_use_and_checks(other: nomadpy.Client, allocation: str, cluster: Cluster) -> None:
    memory = other.allocations.stats(allocation).resource_usage.memory_stats
    assert (memory.usage, "Usage" in memory.measured) == (96 * 2**20, True)
    cluster.checks = [{"ID": "a", "Check": "health", "Status": "failure", "Output": "503"}]
    assert other.allocations.checks(allocation)["a"].status == "failure"
    assert other.nodes.stats(Node().id).memory.used == 2**31
