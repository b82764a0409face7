"""Why a replica failed: what its node knows about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from deploytool import explain as evidence
from deploytool.backends.model import Task
from deploytool.backends.nomad.api.allocations import CHECK_FAILED
from deploytool.backends.nomad.api.checks import describe, read_checks
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.operations.logs import lines_of
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json

HINTS = (
    (
        "volumes are not enabled",
        "the client's Docker driver mounts nothing: set volumes { enabled = true } in its plugin",
    ),
    ("Failed Validation", "the client's Docker driver refuses a setting: see docs/nomad.md"),
    (
        "Failed to pull",
        "the node cannot pull the image: does it reach the registry, and is it logged in?",
    ),
    *evidence.HINTS,
)


def explain(client: Client, task: Task, *, lines: int) -> list[str]:
    """Lines of evidence about one failed replica, the cause first."""
    allocation = _allocation(client, task)
    found = evidence.Evidence(
        output=_last_words(client, task, lines),
        health=_failing_checks(client, task),
        out_of_memory=_is_out_of_memory(allocation),
        is_unhealthy=task.exit_code is None
        and (task.state in ("running", "complete") or task.message.startswith(CHECK_FAILED)),
        volumes=list(_volumes(allocation, task)),
    )
    return evidence.explain(task, found, HINTS)


def _allocation(client: Client, task: Task) -> Json:
    with suppress(DeploytoolError):
        return dict(client.get(f"/v1/allocation/{task.id}"))
    return {}


def _volumes(allocation: Json, task: Task) -> Iterator[str]:
    """Where its volumes are in a replica, without those that it only reads."""
    job: Json = allocation.get("Job") or {}
    for group in job.get("TaskGroups") or ():
        if group["Name"] == task.service:
            mounts = group["Tasks"][0]["Config"].get("mount") or ()
            yield from (m["target"] for m in mounts if m["type"] == "volume" and not m["readonly"])


def _last_words(client: Client, task: Task, lines: int) -> list[str]:
    with suppress(DeploytoolError):
        return list(lines_of(client, task.id, task.service, tail=lines))[-lines:]
    return []


def _failing_checks(client: Client, task: Task) -> list[str]:
    """Checks are known to the client of the node alone; the event that ends an allocation as
    unhealthy does not name them."""
    with suppress(DeploytoolError):
        checks = read_checks(client, task.id)
        return [describe(check) for check in checks if check.get("Status") == "failure"]
    return []


def _is_out_of_memory(allocation: Json) -> bool:
    """`oom_killed` is the text "true" in an event's details (drivers/docker)."""
    states: Json = allocation.get("TaskStates") or {}
    return any(
        (event.get("Details") or {}).get("oom_killed") == "true"
        for state in states.values()
        for event in state.get("Events") or ()
    )
