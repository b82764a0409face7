"""A command in a running replica: `docker exec`, for a replica of the engine that we talk to."""

from __future__ import annotations

from collections.abc import Sequence

from deploytool.backends.model import Executed, replica_name
from deploytool.backends.swarm.api.client import Client
from deploytool.errors import EngineError, UsageError
from deploytool.json_types import Json


def execute(client: Client, service: Json, short: str, command: Sequence[str]) -> Executed:
    """Run a command, without input, in a replica of a service. Raises as `find_replica`."""
    task = find_replica(client, service, short)
    code, stdout, stderr = client.execute(_container(task), command)
    node = _hostnames(client)[task["NodeID"]]
    return Executed(
        replica=replica_name(short, task.get("Slot", 0), node),
        node=node,
        exit_code=code,
        stdout=stdout,
        stderr=stderr,
    )


def attach_command(
    client: Client, service: Json, short: str, command: Sequence[str], *, terminal: bool
) -> list[str]:
    """The docker command line that does the same with the caller's input and output."""
    container = _container(find_replica(client, service, short))
    options = ["--interactive", *(["--tty"] if terminal else [])]
    return ["docker", *client.cli_options, "exec", *options, container, *command]


def find_replica(client: Client, service: Json, short: str) -> Json:
    """The task of a replica that runs on this engine: one of the newest specification, the lowest
    slot. Raises UsageError where none runs, EngineError where all run elsewhere."""
    running = [
        task
        for task in client.tasks(service=service["ID"])
        if task["Status"]["State"] == "running" and task["DesiredState"] == "running"
    ]
    if not running:
        raise UsageError(
            f"No replica of {short} runs",
            code="no_replica",
            hint="`deploytool status --all` shows how they ended",
        )
    here = (client.info().get("Swarm") or {}).get("NodeID")
    found = [task for task in running if task["NodeID"] == here]
    if not found:
        raise _elsewhere(client, short, running, str(here))
    return max(found, key=lambda task: (_specified(task), -task.get("Slot", 0)))


def _specified(task: Json) -> int:
    """When the service was specified as this replica knows it."""
    return int((task.get("SpecVersion") or {}).get("Index", 0))


def _elsewhere(client: Client, short: str, running: Sequence[Json], here: str) -> EngineError:
    names = _hostnames(client)
    task = min(running, key=lambda task: task.get("Slot", 0))
    node = names[task["NodeID"]]
    nodes = sorted({names[task["NodeID"]] for task in running})
    return EngineError(
        f"{short} runs on {', '.join(nodes)}; the engine of {names.get(here, here)} reaches only "
        "its own replicas",
        code="replica_elsewhere",
        hint=f"docker --host ssh://{node} exec -it {_container(task)[:12]} COMMAND; or "
        "`deploytool run -- COMMAND` runs it in a container of its own",
    )


def _hostnames(client: Client) -> dict[str, str]:
    """Node → its name; every node on which something runs is known."""
    return {node["ID"]: node["Description"]["Hostname"] for node in client.nodes()}


def _container(task: Json) -> str:
    return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""))
