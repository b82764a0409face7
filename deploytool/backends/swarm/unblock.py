"""An update that a dead node holds up, for ever if nobody helps.

The engine's updater waits for each replica that it starts to run, and has no time limit for that
(`updateTask` in swarmkit's manager/orchestrator/update/updater.go). One that was sent to a node
which then dies never will: the cluster starts another in its place, but the updater still waits
for the first. A new update looks at what there is, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from deploytool.backends.base import Task
from deploytool.backends.swarm.client import Client
from deploytool.backends.swarm.plan import Target
from deploytool.errors import PlanError

Json = dict[str, Any]
BEFORE_RUNNING = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting")
PATIENCE = 4.0
"""Seconds in which a node that lives stops a replica that is not wanted any more."""


def unblock(
    client: Client, target: Target, service: Json, tasks: Sequence[Task], now: float
) -> str:
    """Start the update anew where a dead node holds it up; say so from then on."""
    if lost := held_up_by(target, service, tasks, now):
        target.given_up |= {task.id: task.node for task in lost}
        with suppress(PlanError):  # Somebody else changed it: the next look tells.
            _tell_again(client, service)
    nodes = ", ".join(sorted(set(target.given_up.values())))
    return f"goes on without {nodes}, which did not answer" if nodes else ""


def held_up_by(target: Target, service: Json, tasks: Sequence[Task], now: float) -> list[Task]:
    """The replicas that an update waits for, though the cluster has given them up for a while."""
    if (service.get("UpdateStatus") or {}).get("State") != "updating":
        return []
    lost = [
        task
        for task in tasks
        if task.current
        and not task.wanted
        and task.state in BEFORE_RUNNING
        and task.id not in target.given_up
    ]
    return [
        task for task in lost if now - target.unwanted_since.setdefault(task.id, now) > PATIENCE
    ]


def _tell_again(client: Client, service: Json) -> None:
    """By way of the specification before, as the engine starts no update towards the one that it
    works on, and has to know what to go back to."""
    wanted, before = service["Spec"], service.get("PreviousSpec")
    if before:
        client.update_service(service, before)
        (service,) = client.services(id=service["ID"])
    client.update_service(service, wanted)
