"""Allocations as Nomad lists them → tasks as every cluster has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from deploytool.backends.model import Task
from deploytool.json_types import Json

STATES = {"complete": "complete", "failed": "failed", "lost": "orphaned", "unknown": "unknown"}


def runs(allocation: Json) -> bool:
    return allocation.get("ClientStatus") == "running" and allocation.get("DesiredStatus") == "run"


def is_canary(allocation: Json) -> bool:
    """Whether callers do not reach it yet: its deployment has not promoted it."""
    return bool((allocation.get("DeploymentStatus") or {}).get("Canary"))


def on_nodes(allocations: Iterable[Json], version: object) -> list[Json]:
    """Of allocations one of which is on each node, those that count: the newest of each node. One
    that ended stays as it is, so that of earlier versions of the job those are left out."""
    newest: dict[str, Json] = {}
    for allocation in sorted(allocations, key=lambda a: int(a.get("CreateIndex") or 0)):
        newest[str(allocation.get("NodeID"))] = allocation
    return [
        allocation
        for allocation in newest.values()
        if allocation.get("DesiredStatus") == "run"
        and (allocation.get("JobVersion") == version or not has_ended(allocation))
    ]


def has_ended(allocation: Json) -> bool:
    return allocation.get("ClientStatus") in ("complete", "failed", "lost")


def is_unhealthy(allocation: Json) -> bool:
    """Whether it failed: by itself, or by the judgement of its deployment."""
    health = (allocation.get("DeploymentStatus") or {}).get("Healthy")
    return allocation.get("ClientStatus") in ("failed", "lost") or health is False


def read_task(allocation: Json) -> Task:
    """One replica of a service, which is an allocation of its group."""
    exit_code, message = _ending(allocation)
    changed = allocation.get("ModifyTime") or 0
    return Task(
        id=allocation["ID"],
        service=allocation["TaskGroup"],
        slot=slot_of(allocation) + 1,
        node=allocation.get("NodeName") or allocation.get("NodeID") or "",
        state=_state(allocation),
        wanted=allocation.get("DesiredStatus") == "run",
        message=message or str(allocation.get("ClientDescription") or ""),
        exit_code=exit_code,
        since=datetime.fromtimestamp(changed / 10**9, UTC) if changed else None,
        container=allocation["ID"],
    )


def slot_of(allocation: Json) -> int:
    """3 of `app.web[3]`, which a replacement keeps."""
    number = str(allocation.get("Name", "")).rpartition("[")[2].rstrip("]")
    return int(number) if number.isdigit() else 0


def _state(allocation: Json) -> str:
    status = str(allocation.get("ClientStatus") or "pending")
    if status == "running" and any(map(_is_waiting, _tasks(allocation))):
        return "starting"
    return STATES.get(status, status)


def _is_waiting(state: Json) -> bool:
    return state.get("State") == "pending"


def _tasks(allocation: Json) -> list[Json]:
    return list((allocation.get("TaskStates") or {}).values())


def _ending(allocation: Json) -> tuple[int | None, str]:
    """The exit code of the last process that ended, and the last event that tells of a failure;
    that it is not started again has a cause, which comes before."""
    events = [event for state in _tasks(allocation) for event in state.get("Events") or ()]
    events.sort(key=lambda event: event.get("Time") or 0)
    ended, is_killed = _last_end(events)
    told = [
        event
        for event in events
        if (event.get("FailsTask") or event.get("Type") in TELLING)
        and not (is_killed and event is ended)
    ]
    causes = [event for event in told if event.get("Type") != "Not Restarting"] or told
    message = str(causes[-1].get("DisplayMessage") or causes[-1].get("Type")) if causes else ""
    exit_code = int(ended.get("ExitCode") or 0) if ended and not is_killed else None
    return exit_code, message


def _last_end(events: Sequence[Json]) -> tuple[Json | None, bool]:
    """The event of the last process that ended, and whether its client stopped it for a failed
    check: how it ends then says nothing of why."""
    for number in range(len(events) - 1, -1, -1):
        if events[number].get("Type") == "Terminated":
            before = events[number - 1] if number else {}
            return events[number], before.get("Type") == UNHEALTHY
    return None, False


UNHEALTHY = "Restart Signaled"
"""Type of the event of a check that has failed too often (client/serviceregistration/checks)."""
CHECK_FAILED = "healthcheck: "
"""How its text begins."""
TELLING = frozenset(
    {"Driver Failure", "Failed Validation", "Setup Failure", "Terminated", "Not Restarting"}
    | {UNHEALTHY, "Alloc Unhealthy", "Template", "Failed Artifact Download"}
)
"""Types of events that tell why a task is not running (nomad/structs/structs.go)."""
