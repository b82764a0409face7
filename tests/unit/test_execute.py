"""A command in a replica: which one, and what is said when none can be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploytool.backends.swarm.api.client import _cli_options
from deploytool.backends.swarm.backend import Swarm
from deploytool.errors import DeploytoolError, EngineError, ExitCode, UsageError
from tests.builders import app, deploy, engine, worker
from tests.fake_engine import FakeEngine


def cluster(replicas: int = 2) -> FakeEngine:
    made = engine(nodes=2)
    deploy(made, app(worker(replicas=replicas)))
    return made


def container(made: FakeEngine, number: int) -> str:
    return f"container-of-{made.tasks_of('items_worker')[number]['ID']}"


def refused(call: Callable[[], Any], kind: type[DeploytoolError]) -> DeploytoolError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def test_in_the_replica_of_this_engine() -> None:
    made = cluster()
    done = Swarm(made).execute("items", "worker", ["ls", "-l"])
    assert made.executed == [(container(made, 0), ["ls", "-l"])]
    assert (done.replica, done.node) == ("worker.1", "node-1")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_in_the_newest_then_the_first() -> None:
    made = cluster(4)
    for number, version in ((0, 5), (2, 9)):
        task = made.tasks_of("items_worker")[number]
        task["SpecVersion"] = {"Index": version}
    Swarm(made).execute("items", "worker", ["ls"])
    assert made.executed[0][0] == container(made, 2)
    made.set_task(made.tasks_of("items_worker")[2]["ID"], "failed")
    Swarm(made).execute("items", "worker", ["ls"])
    assert made.executed[1][0] == container(made, 0)


@pytest.mark.parametrize(
    ("terminal", "options"), [(False, ["--interactive"]), (True, ["--interactive", "--tty"])]
)
def test_with_the_callers_input_and_output(terminal: bool, options: list[str]) -> None:
    made = cluster()
    made.cli_options = ("--host", "ssh://manager")
    command = Swarm(made).attach_command("items", "worker", ["sh", "-c", "x"], terminal=terminal)
    target = container(made, 0)
    assert command == [
        *("docker", "--host", "ssh://manager", "exec", *options, target, "sh", "-c", "x"),
    ]


def test_the_docker_command_line_asks_the_same_engine() -> None:
    assert _cli_options("tcp://h:1", "c") == ("--host", "tcp://h:1")
    assert _cli_options(None, "c") == ("--context", "c")
    assert _cli_options(None, None) == ()


def test_a_replica_of_another_node() -> None:
    made = cluster(1)
    made.engine_info = {"Swarm": {"NodeID": "id-of-node-2"}}
    error = refused(lambda: Swarm(made).execute("items", "worker", ["ls"]), EngineError)
    assert (error.code, error.exit_code) == ("replica_elsewhere", ExitCode.FAILED)
    assert "worker runs on node-1; the engine of node-2" in error.message
    direct = f"docker --host ssh://node-1 exec -it {container(made, 0)[:12]} COMMAND; or "
    assert error.hint.startswith(direct)
    assert made.executed == []


def test_no_replica() -> None:
    made = cluster(0)
    error = refused(lambda: Swarm(made).execute("items", "worker", ["ls"]), UsageError)
    assert error.code == "no_replica"


@pytest.mark.parametrize(
    ("name", "service", "code"),
    [("other", "worker", "not_deployed"), ("items", "nope", "unknown_service")],
)
def test_what_is_not_there(name: str, service: str, code: str) -> None:
    made = cluster()
    error = refused(lambda: Swarm(made).execute(name, service, ["ls"]), UsageError)
    assert error.code == code
