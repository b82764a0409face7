"""The engine's tasks → our `Task`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from deploytool.backends.model import Task
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.specification.templates import hide_variables
from deploytool.json_types import Json

COMPARED = ("ContainerSpec", "Resources", "RestartPolicy", "LogDriver", "ForceUpdate")


def read_task(task: Json, service: Json | None, short: str, nodes: Mapping[str, str]) -> Task:
    """One replica. `service` is the live service it belongs to, to see whether it is current."""
    status = task["Status"]
    container = status.get("ContainerStatus") or {}
    spec = task["Spec"]
    exited = status["State"] in ("failed", "complete", "shutdown")
    return Task(
        id=task["ID"],
        service=short,
        slot=task.get("Slot", 0),
        node=nodes.get(task.get("NodeID", ""), task.get("NodeID", "")),
        state=status["State"],
        wanted=task["DesiredState"] in ("running", "ready"),
        release=(spec.get("ContainerSpec", {}).get("Labels") or {}).get(labels.RELEASE, ""),
        message=_reason(status, spec),
        exit_code=container.get("ExitCode") if exited else None,
        since=read_time(status.get("Timestamp", "")),
        container=container.get("ContainerID", ""),
        node_id=task.get("NodeID", ""),
        current=service is not None and _is_current(spec, service["Spec"]["TaskTemplate"]),
    )


def _reason(status: Json, spec: Json) -> str:
    """The engine's message for a task, which may quote the task's own values."""
    text = str(status.get("Err", ""))
    return hide_variables(text, spec.get("ContainerSpec", {}).get("Env") or ()) if text else ""


def update_state(service: Json) -> tuple[str, str]:
    """How far the engine's own update of a service is, and its words about it; empty for none."""
    status = service.get("UpdateStatus") or {}
    return status.get("State") or "", status.get("Message") or ""


def _is_current(spec: Json, template: Json) -> bool:
    return all((spec.get(key) or None) == (template.get(key) or None) for key in COMPARED)


def read_time(text: str) -> datetime | None:
    """RFC 3339 with up to nanoseconds and any offset, as Go writes it."""
    if not text or text.startswith("0001"):
        return None
    return datetime.fromisoformat(text)


def by_service(tasks: Iterable[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for task in tasks:
        found.setdefault(task.get("ServiceID", ""), []).append(task)
    return found
