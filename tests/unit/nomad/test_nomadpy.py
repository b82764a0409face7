"""The double of Nomad satisfies a client that nobody here wrote: nomadpy, a port of the Go one."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import nomadpy
import pytest

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.config.nomad import NomadSettings
from tests.builders import app, service
from tests.nomad_double import catalogue, tokens
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running
from tests.unit.nomad.test_backend import deploy

PATIENCE = 20.0
WAIT = timedelta(seconds=PATIENCE)


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


# --- jobs -----------------------------------------------------------------------------------------


def refusal_of(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(nomadpy.UnexpectedResponseError) as caught:
        call()
    return caught.value.status_code, caught.value.body


def another(other: nomadpy.Client) -> tuple[Any, Any]:
    """Register the job with other tasks, to be promoted by hand; as it was, and its deployment."""
    job, _ = other.jobs.info("items")
    for group in job.task_groups:
        group.update.auto_promote = False
        for task in group.tasks:
            task.env = {"CHANGED": str(job.version)}
    made, _ = other.jobs.register(job, enforce_index=True, modify_index=job.job_modify_index)
    assert made.job_modify_index > job.job_modify_index
    deployment, _ = other.jobs.latest_deployment("items")
    assert deployment.job_version == job.version + 1
    return job, deployment


def wait_for(other: nomadpy.Client, deployment: str, status: str, *, healthy: int = 0) -> Any:
    """A deployment of a status, with so many healthy allocations, by blocking queries."""
    index = 0
    while True:
        query = nomadpy.QueryOptions(wait_index=index, wait_time=WAIT)
        found, meta = other.deployments.info(deployment, query)
        assert meta.last_index != index, f"{found.status} and not {status}"
        if found.status == status and found.task_groups["web"].healthy_allocs >= healthy:
            return found
        index = meta.last_index


def test_dry_run_and_register_with_an_index(other: nomadpy.Client) -> None:
    job, _ = other.jobs.info("items")
    planned, _ = other.jobs.plan(job, diff=True)
    assert (planned.diff.type, planned.job_modify_index) == ("None", job.job_modify_index)
    assert planned.annotations.desired_tg_updates["web"].ignore == 1
    assert refusal_of(lambda: other.jobs.register(job, enforce_index=True, modify_index=1)) == (
        500,
        "Enforcing job modify index 1: job exists with conflicting job modify index: "
        f"{job.job_modify_index}",
    )


def test_promotion_by_hand_and_revert(other: nomadpy.Client) -> None:
    before, deployment = another(other)
    code, text = refusal_of(lambda: other.deployments.promote_all("none"))
    assert (code, text) == (500, "deployment not found")
    wait_for(other, deployment.id, "running", healthy=1)
    placed, _ = other.deployments.allocations(deployment.id)
    assert [stub.deployment_status.canary for stub in placed] == [True]
    done, _ = other.deployments.promote_groups(deployment.id, ["web"])
    assert done.eval_id
    ended = wait_for(other, deployment.id, "successful")
    assert ended.task_groups["web"].promoted
    versions, _, _ = other.jobs.versions("items")
    assert [one.version for one in versions] == [before.version + 1, before.version]
    reverted, _ = other.jobs.revert("items", before.version)
    assert reverted.job_modify_index > ended.modify_index
    summary, _ = other.jobs.summary("items")
    assert summary.summary["web"].failed == 0


def test_deployment_is_paused_and_failed(other: nomadpy.Client) -> None:
    before, deployment = another(other)
    other.deployments.pause(deployment.id, True)
    assert wait_for(other, deployment.id, "paused").status_description == "Deployment is paused"
    assert refusal_of(lambda: other.jobs.scale("items", "web", 3)) == (
        400,
        "job scaling blocked due to active deployment",
    )
    other.deployments.pause(deployment.id, False)
    failed, _ = other.deployments.fail(deployment.id)
    assert failed.reverted_job_version == before.version
    assert deployment.id in {one.id for one in other.deployments.list()[0]}
    assert refusal_of(lambda: other.deployments.fail(deployment.id)) == (
        500,
        "can't fail terminal deployment",
    )


def test_scale_and_deregister(other: nomadpy.Client) -> None:
    done, _ = other.jobs.scale("items", "web", 2, message="more")
    evaluation, _ = other.evaluations.info(done.eval_id)
    assert (evaluation.triggered_by, evaluation.queued_allocations) == ("job-scaling", {"web": 0})
    placed, _ = other.evaluations.allocations(done.eval_id)
    assert [stub.name for stub in placed] == ["items.web[1]"]
    deployment, _ = other.jobs.latest_deployment("items")
    wait_for(other, deployment.id, "successful")
    status, _ = other.jobs.scale_status("items")
    assert (status.task_groups["web"].desired, status.task_groups["web"].healthy) == (2, 2)
    evaluation_id, _ = other.jobs.deregister("items")
    assert other.evaluations.info(evaluation_id)[0].triggered_by == "job-deregister"
    stopped, _ = other.jobs.list(meta=True)
    assert [(stub.id, stub.stop, stub.status) for stub in stopped] == [("items", True, "dead")]
    other.jobs.deregister("items", purge=True)
    assert refusal_of(lambda: other.jobs.info("items")) == (404, "job not found")
    assert refusal_of(lambda: other.jobs.versions("items")) == (404, "job versions not found")


def test_blocking_query_ends_with_a_change(other: nomadpy.Client) -> None:
    job, meta = other.jobs.info("items")
    found: list[int] = []
    query = nomadpy.QueryOptions(wait_index=meta.last_index, wait_time=WAIT)
    waiting = threading.Thread(
        target=lambda: found.append(other.jobs.info("items", query)[0].priority)
    )
    waiting.start()
    job.priority = 70
    other.jobs.register(job)
    waiting.join(PATIENCE)
    assert found == [70]


def test_events_of_a_change(other: nomadpy.Client) -> None:
    job, meta = other.jobs.info("items")
    job.priority = 71
    other.jobs.register(job)
    topics = {"Job": ["items"], "Evaluation": ["*"], "Deployment": ["*"], "Allocation": ["*"]}
    heard: set[str] = set()
    for batch in other.event_stream.stream(topics, meta.last_index, timeout=PATIENCE):
        heard |= {event.topic for event in batch.events}
        if heard == topics.keys():
            break
    assert heard == topics.keys()


# --- allocations, nodes, services -----------------------------------------------------------------


def test_restart_signal_and_stop(other: nomadpy.Client, allocation: str) -> None:
    other.allocations.restart(allocation, "web")
    other.allocations.signal(allocation, "web", "SIGHUP")
    found, _ = other.allocations.info(allocation)
    events = [event.type for event in found.task_states["web"].events]
    assert events[-2:] == ["Started", "Signaling"]
    assert found.task_states["web"].restarts == 1
    done, _ = other.allocations.stop(allocation)
    assert other.evaluations.info(done.eval_id)[0].triggered_by == "alloc-stop"
    assert other.allocations.info(allocation)[0].desired_status == "stop"
    assert {stub.id for stub in other.allocations.list()[0]} > {allocation}
    assert refusal_of(lambda: other.allocations.info("none")) == (404, "alloc not found")
    assert refusal_of(lambda: other.allocations.stop("none")) == (404, "allocation not found")


def test_nodes(other: nomadpy.Client, allocation: str) -> None:
    (stub,), _ = other.nodes.list(nomadpy.QueryOptions(params={"resources": "true"}))
    assert stub.node_resources.memory.memory_mb == 10_000
    node, _ = other.nodes.info(stub.id)
    assert (node.attributes["kernel.name"], node.drivers["docker"].healthy) == ("linux", True)
    for eligible in (False, True):
        other.nodes.toggle_eligibility(stub.id, eligible)
        expected = "eligible" if eligible else "ineligible"
        assert other.nodes.info(stub.id)[0].scheduling_eligibility == expected
    assert allocation in {one.id for one in other.nodes.allocations(stub.id)[0]}
    other.nodes.update_drain(stub.id, nomadpy.DrainSpec())
    assert other.nodes.info(stub.id)[0].scheduling_eligibility == "ineligible"


def test_services_by_filter(other: nomadpy.Client, cluster: Cluster, allocation: str) -> None:
    found = {
        "ID": "1",
        "ServiceName": "items-web",
        "Namespace": "default",
        "NodeID": Node().id,
        "Datacenter": "dc1",
        "JobID": "items",
        "AllocID": allocation,
        "Tags": ["a"],
        "Address": "10.0.0.1",
        "Port": 20_000,
    }
    catalogue.register(cluster.state, [found, found | {"ID": "2", "Tags": ["b"]}])
    (space,), _ = other.services.list()
    assert [(one.service_name, one.tags) for one in space.services] == [("items-web", ["a", "b"])]
    query = nomadpy.QueryOptions(filter='Tags contains "b"')
    assert [one.id for one in other.services.get("items-web", query)[0]] == ["2"]
    assert len(other.jobs.services("items")[0]) == len(other.allocations.services(allocation)[0])
    unknown = nomadpy.QueryOptions(filter="Port == 1")
    assert refusal_of(lambda: other.services.get("items-web", unknown))[0] == 501


# --- variables, servers ---------------------------------------------------------------------------


def test_variables_with_check_and_set(other: nomadpy.Client) -> None:
    made, _ = other.variables.checked_create(nomadpy.Variable(path="a/b", items={"x": "1"}))
    with pytest.raises(nomadpy.ErrCASConflict) as caught:
        other.variables.checked_create(nomadpy.Variable(path="a/b", items={"x": "2"}))
    assert caught.value.conflict.items == {"x": "1"}
    made.items = {"x": "3"}
    changed, _ = other.variables.checked_update(made)
    assert [one.path for one in other.variables.prefix_list("a/")[0]] == ["a/b"]
    with pytest.raises(nomadpy.ErrCASConflict):
        other.variables.checked_delete("a/b", made.modify_index)
    other.variables.checked_delete("a/b", changed.modify_index)
    assert other.variables.peek("a/b")[0] is None


def test_locks(other: nomadpy.Client) -> None:
    lock = nomadpy.VariableLock(ttl="20s", lock_delay="10s")
    asked = nomadpy.Variable(path="held", items={"by": "me"}, lock=lock)
    held, _ = other.variables.acquire_lock(asked)
    assert refusal_of(lambda: other.variables.acquire_lock(asked))[0] == 409
    foreign = nomadpy.Variable(path="held", items={"by": "you"})
    assert refusal_of(lambda: other.variables.update(foreign))[0] == 409
    own = nomadpy.VariableLock(id=held.lock.id)
    renewed, _ = other.variables.renew_lock(nomadpy.Variable(path="held", lock=own))
    assert renewed.lock.id == held.lock.id
    other.variables.release_lock(nomadpy.Variable(path="held", lock=own))
    assert other.variables.update(foreign)[0].items == {"by": "you"}


def test_servers(other: nomadpy.Client) -> None:
    assert other.status.leader() in other.status.peers()
    assert other.regions.list() == [other.agent.region()]
    assert [one.name for one in other.namespaces.list()[0]] == ["default", "shop"]
    scheduler, _ = other.operator.scheduler_get_configuration()
    assert scheduler.scheduler_config.memory_oversubscription_enabled
    assert refusal_of(lambda: other.namespaces.info("none")) == (404, "Namespace not found")
    assert refusal_of(lambda: other.system.garbage_collect())[0] == 501
    assert refusal_of(lambda: other.acl_tokens.self()) == (400, "ACL support disabled")


def test_tokens() -> None:
    cluster = Cluster()
    tokens.make_token(cluster, "s3cret", name="deploys")
    with running(cluster) as address:

        def client(secret: str) -> nomadpy.Client:
            return nomadpy.Client(nomadpy.Config(address=address, secret_id=secret))

        own, _ = client("s3cret").acl_tokens.self()
        assert (own.name, own.type, own.policies) == ("deploys", "client", ["deploytool"])
        refused = (403, "Permission denied")
        assert refusal_of(lambda: client("other").acl_tokens.self()) == refused
        assert refusal_of(lambda: client("other").jobs.list()) == refused
        assert client("s3cret").jobs.list()[0] == []
