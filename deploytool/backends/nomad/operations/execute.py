"""A command in a running replica, on whichever node that is."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deploytool.backends.model import Executed, Task
from deploytool.backends.nomad.api.allocations import read_task, runs
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.websocket import Exec
from deploytool.config.nomad import NomadSettings
from deploytool.errors import UsageError


def execute(client: Client, app: str, service: str, command: Sequence[str]) -> Executed:
    """Run a command, without input, in a replica. Raises as `find_replica`."""
    task = find_replica(client, app, service)
    found = {"stdout": b"", "stderr": b""}

    def keep(stream: str, data: bytes) -> None:
        found[stream] += data

    running = Exec(client, task.id, service, command)
    running.end_input()
    code = running.run(keep)
    return Executed(
        replica=f"{service}.{task.slot}",
        node=task.node,
        exit_code=code,
        stdout=found["stdout"].decode("utf-8", "replace"),
        stderr=found["stderr"].decode("utf-8", "replace"),
    )


def attach_command(
    client: Client,
    settings: NomadSettings,
    app: str,
    service: str,
    command: Sequence[str],
    *,
    terminal: bool,
) -> list[str]:
    """This program again, with the caller's input and output. The token is not among its
    arguments: it reads it where this one did."""
    task = find_replica(client, app, service)
    where = settings.model_copy(update={"address": client.connection.address})
    return [
        *(sys.executable, "-P", "-m", "deploytool.backends.nomad.operations.attach"),
        where.model_dump_json(exclude_defaults=True),
        *(task.id, service, "terminal" if terminal else "pipe"),
        *command,
    ]


def find_replica(client: Client, app: str, service: str) -> Task:
    """A replica that runs: one of the newest version of the job, the lowest slot. Raises UsageError
    where none does."""
    found = client.get(f"/v1/job/{app}/allocations") or ()
    running = [a for a in found if a["TaskGroup"] == service and runs(a)]
    if not running:
        raise UsageError(
            f"No replica of {service} runs",
            code="no_replica",
            hint="`deploytool status --all` shows how they ended",
        )
    tasks = [(a.get("JobVersion") or 0, read_task(a)) for a in running]
    return max(tasks, key=lambda found: (found[0], -found[1].slot))[1]
