"""Commands in replicas, followed logs, measuring: what the clients of nodes do, on the double."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from deploytool.backends.model import Job
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.nomad.operations.logs import MOST_FOLLOWED, frames
from deploytool.backends.nomad.operations.measure import used
from deploytool.config.nomad import NomadSettings
from deploytool.errors import EngineError, JobFailed, UsageError
from deploytool.job import run_job
from deploytool.rollout.release_step import Step
from tests.builders import NO_WAIT, app, release, service, worker
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running
from tests.unit.nomad.test_backend import deploy
from tests.unit.nomad.test_rollout import Losing


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def nomad(cluster: Cluster) -> Iterator[Nomad]:
    with running(cluster, speed=20) as address:
        yield Nomad(Client(Connection(address)), NomadSettings())


# --- commands in replicas -------------------------------------------------------------------------


def test_command_in_a_replica(nomad: Nomad) -> None:
    deploy(nomad, app(service(replicas=2)))
    done = nomad.execute("items", "web", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.replica, done.node) == ("web.1", "node-1")
    assert (done.exit_code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_command_gets_no_input_and_ends(nomad: Nomad) -> None:
    deploy(nomad, app(service()))
    assert nomad.execute("items", "web", ["cat"]).stdout == ""


def test_more_output_than_one_message_takes(nomad: Nomad) -> None:
    deploy(nomad, app(service()))
    done = nomad.execute("items", "web", ["sh", "-c", "yes | head -c 3000000"])
    assert len(done.stdout) == 3_000_000


def test_no_replica_and_no_service(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service()))
    with pytest.raises(UsageError) as caught:
        nomad.execute("items", "other", ["ls"])
    assert caught.value.code == "unknown_service"
    for allocation in cluster.allocations.values():
        allocation["ClientStatus"] = "failed"
    with pytest.raises(UsageError) as caught:
        nomad.execute("items", "web", ["ls"])
    assert caught.value.code == "no_replica"


def test_what_nomad_says_of_a_command_is_repeated(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service()))
    for allocation in cluster.allocations.values():
        allocation["TaskStates"] = {"other": {"State": "running", "Events": []}}
    with pytest.raises(EngineError, match='Unknown task name "web"'):
        nomad.execute("items", "web", ["ls"])


def test_command_with_the_callers_input_and_output(nomad: Nomad) -> None:
    deploy(nomad, app(service()))
    script = "cat; echo err >&2; exit 5"
    program = nomad.attach_command("items", "web", ["sh", "-c", script], terminal=False)
    done = subprocess.run(program, input=b"given\xff\n", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"given\xff\n", b"err\n")


def test_command_in_a_terminal_of_the_callers_size(nomad: Nomad) -> None:
    deploy(nomad, app(service()))
    script = "read line; stty size; test -t 0 && echo got $line; exit 3"
    program = nomad.attach_command("items", "web", ["sh", "-c", script], terminal=True)
    ours, theirs = pty.openpty()
    os.environ.pop("COLUMNS", None)
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs) as started:
        os.close(theirs)
        time.sleep(1.0)
        os.write(ours, b"hello\r")
        shown = b""
        while b"got hello" not in shown:
            shown += os.read(ours, 4096)
        assert started.wait(20) == 3
    os.close(ours)
    assert b"24 80" in shown


def test_token_is_no_argument_of_the_program(nomad: Nomad) -> None:
    deploy(nomad, app(service()))
    nomad.client.connection = Connection(nomad.client.connection.address, token="s3cret")
    program = nomad.attach_command("items", "web", ["ls"], terminal=False)
    assert program[0] == sys.executable
    assert "s3cret" not in " ".join(program)


# --- logs -----------------------------------------------------------------------------------------


def test_logs_are_followed_and_new_replicas_join(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["web"] = Script(output="old\n")
    deploy(nomad, app(service()))
    lines = nomad.logs("items", [], follow=True, tail=5, since=None, hidden={}, warn=lambda _: None)
    assert [(line.slot, line.text) for line in islice(lines, 1)] == [(1, "old")]
    cluster.scripts["web"] = Script(output="old\nnew\n", complaints="warned\n")
    assert sorted(line.text for line in islice(lines, 2)) == ["new", "warned"]
    deploying = threading.Thread(target=deploy, args=(nomad, app(service(replicas=2))))
    deploying.start()
    found = {(line.slot, line.text) for line in islice(lines, 3)}
    deploying.join()
    assert found == {(2, "old"), (2, "new"), (2, "warned")}


def test_many_followed_replicas_leave_connections_for_others(
    nomad: Nomad, cluster: Cluster
) -> None:
    """Each takes two, of which a server takes a hundred of one address."""
    cluster.scripts["web"] = Script(output="here\n")
    cluster.nodes[0].memory = 100_000
    deploy(nomad, app(service(replicas=MOST_FOLLOWED + 2)))
    warned: list[str] = []
    lines = nomad.logs("items", [], follow=True, tail=5, since=None, hidden={}, warn=warned.append)
    assert len(list(islice(lines, MOST_FOLLOWED))) == MOST_FOLLOWED
    assert nomad.status("items").is_complete
    assert len(warned) == 2
    assert "is not followed: 40 replicas are already" in warned[0]


def test_both_streams_of_a_release_step_are_printed_once(nomad: Nomad, cluster: Cluster) -> None:
    cluster.scripts["batch"] = Script(
        exits_after=3, exit_code=0, output="one\ntwo\n", complaints="three\n"
    )
    printed: list[str] = []
    deploy(nomad, app(service(), release={"command": ["migrate"]}), Step(emit=printed.append))
    assert sorted(printed) == ["one", "three", "two"]


def test_a_task_that_was_stopped_before_it_ran_has_not_succeeded(
    nomad: Nomad, cluster: Cluster
) -> None:
    cluster.scripts["batch"] = Script(starts_after=1000)
    spec = app(service(), release={"command": ["migrate"]})
    job = Job(name="run-1", release=release(spec), service="web", command=("migrate",))
    nomad.start_job(job)
    cluster.deregister("default", "items-run-1", purge=False)
    (ended,) = cluster.allocations.values()
    assert ended["ClientStatus"] == "complete"
    with pytest.raises(JobFailed) as caught:
        run_job(nomad, job, timeout=5000, emit=print, what="The task", limits=NO_WAIT)
    assert caught.value.code == "job_not_started"
    assert caught.value.message == (
        "The task could not start: it was stopped before it ran (alloc not needed as job is "
        "stopped)"
    )


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_however_they_are_cut(size: int) -> None:
    text = b'{}{"Data":"YQ==","File":"a"}{"File":"a","FileEvent":"file deleted"}\n{}'
    chunks = [text[i : i + size] for i in range(0, len(text), size)]
    assert [sorted(frame) for frame in frames(chunks)] == [
        [],
        ["Data", "File"],
        ["File", "FileEvent"],
        [],
    ]


# --- use ------------------------------------------------------------------------------------------


def test_capacity_has_what_is_used(nomad: Nomad) -> None:
    spec = app(service(replicas=2, memory="1GiB"), worker())
    deploy(nomad, spec)
    found = nomad.capacity("items", spec.services)
    web = found.services[0]
    assert web.used is not None
    assert (web.measured, web.used.memory, web.used.cpu) == (2, 64 * 2**20, 0.25)
    assert (found.memory.used, found.cpu.used) == (2**31, 0.5)


def test_use_where_rss_is_measured() -> None:
    stats = {
        "ResourceUsage": {
            "MemoryStats": {"Measured": ["RSS", "Cache"], "RSS": 5, "Cache": 9, "Usage": 14},
            "CpuStats": {"TotalTicks": 1300},
        }
    }
    assert (used(stats, 2600).memory, used(stats, 2600).cpu) == (5, 0.5)


# --- removal --------------------------------------------------------------------------------------


def test_destroy_removes_the_copies_of_secrets_that_one_off_tasks_had(
    nomad: Nomad, cluster: Cluster
) -> None:
    nomad.set_secrets("items", {"TOKEN": b"s3cret"})
    deploy(nomad, app(service(secrets=["TOKEN"])))
    body = {"Path": "nomad/jobs/items-run-1", "Items": {"TOKEN__1": "s3cret"}}
    nomad.client.put("/v1/var/nomad/jobs/items-run-1", body)
    nomad.client.post(
        "/v1/jobs",
        {
            "Job": {
                "ID": "items-run-1",
                "Name": "items-run-1",
                "Type": "batch",
                "Meta": {"deploytool.app": "items"},
                "TaskGroups": [{"Name": "web", "Tasks": [{"Name": "web"}]}],
            }
        },
    )
    nomad.destroy("items", volumes=False)
    assert cluster.jobs == {}
    assert cluster.state.variables == {}


def test_destroy_goes_on_where_the_answer_to_a_purge_is_lost(
    nomad: Nomad, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(nomad, app(service()))
    losing = Losing(nomad.client, "/v1/job/items")
    monkeypatch.setattr(nomad.client.session, "request", losing)
    nomad.destroy("items", volumes=False)
    assert (losing.lost, cluster.jobs, cluster.state.variables) == (1, {}, {})


def left_behind(nomad: Nomad, cluster: Cluster) -> str:
    """The path of a copy of a secret, whose task was collected before deploytool removed it; others
    are as another app's."""
    nomad.set_secrets("items", {"TOKEN": b"s3cret"})
    spec = app(service(secrets=["TOKEN"]))
    deploy(nomad, spec)
    made = release(spec, secrets={"TOKEN": "nomad/jobs/items:TOKEN__1"})
    nomad.start_job(Job(name="run-1", release=made, service="web", command=("ls",)))
    nomad.client.delete("/v1/job/items-run-1", purge="true")
    for path, items in (
        ("items-api", {"TOKEN__1": "other"}),
        ("items-api-run-1", {"TOKEN__1": "other", "deploytool.app": "items-api"}),
    ):
        where = f"nomad/jobs/{path}"
        nomad.client.put(f"/v1/var/{where}", {"Path": where, "Items": items})
    for variable in cluster.state.variables.values():
        variable["ModifyTime"] -= 2 * 3600 * 10**9
    return "nomad/jobs/items-run-1"


def test_destroy_removes_copies_of_secrets_whose_tasks_are_gone(
    nomad: Nomad, cluster: Cluster
) -> None:
    assert ("default", left_behind(nomad, cluster)) in cluster.state.variables
    nomad.destroy("items", volumes=False)
    left = {path for _, path in cluster.state.variables}
    assert left == {"nomad/jobs/items-api", "nomad/jobs/items-api-run-1"}


def test_a_deploy_removes_copies_of_secrets_whose_tasks_are_gone(
    nomad: Nomad, cluster: Cluster
) -> None:
    path = left_behind(nomad, cluster)
    begun = {"Items": {"TOKEN__1": "s3cret", "deploytool.app": "items"}}
    nomad.client.put("/v1/var/nomad/jobs/items-run-2", begun)
    nomad.collect_garbage("items")
    left = {path for _, path in cluster.state.variables if path.startswith("nomad/jobs/items-")}
    assert path not in left
    assert len(left) == 3


# --- what is there, and why not -------------------------------------------------------------------


def test_status_of_5000_replicas_takes_few_requests(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service(), worker()))
    (first,) = [a for a in cluster.allocations.values() if a["TaskGroup"] == "web"]
    for number in range(1, 5000):
        name = f"{first['ID']}-{number}"
        cluster.allocations[name] = first | {"ID": name, "Name": f"items.web[{number}]"}
    cluster.jobs["default", "items"]["TaskGroups"][0]["Count"] = 5000
    asked: list[str] = []
    nomad.client.session.hooks["response"].append(lambda answer, **_: asked.append(answer.url))
    begin = time.monotonic()
    status = nomad.status("items")
    assert time.monotonic() - begin < 5
    assert (status.services[0].running, status.is_complete) == (5000, True)
    assert len(asked) < 10


def test_failing_check_and_lack_of_memory_are_named(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service()))
    (allocation,) = cluster.allocations.values()
    cluster.checks = [
        {"ID": "a", "Check": "health", "Status": "failure", "Output": "nomad: 503"},
        {"ID": "b", "Check": "other", "Status": "success", "Output": "nomad: http ok"},
    ]
    (task,) = nomad.status("items").services[0].tasks
    lines = nomad.explain(task)
    assert "health check: health: nomad: 503" in lines
    assert not any("other" in line for line in lines)
    event = {
        "Type": "Terminated",
        "ExitCode": 137,
        "Time": 2**62,
        "Details": {"oom_killed": "true"},
    }
    allocation["TaskStates"]["web"]["Events"].append(event)
    assert "out of memory" in nomad.explain(task)[0]


def test_a_volume_that_is_not_the_users_is_named(nomad: Nomad, cluster: Cluster) -> None:
    refusal = "PermissionError: [Errno 13] Permission denied: '/data/x'\n"
    cluster.scripts["web"] = Script(output=refusal)
    deploy(nomad, app(service(volumes=["data:/data"])))
    (task,) = nomad.status("items").services[0].tasks
    assert "the volume at /data is not its user's" in nomad.explain(task)[-1]
