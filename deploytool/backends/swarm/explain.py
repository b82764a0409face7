"""Why a replica failed: what the engine said, what its exit code means, what it last printed."""

from __future__ import annotations

from typing import Any

from deploytool.backends.base import LIKELY, Task
from deploytool.backends.refused import refusal_hint
from deploytool.backends.swarm.client import Client
from deploytool.backends.swarm.health import CUT_OFF
from deploytool.backends.swarm.logins import NO_IMAGE, NOT_LET_IN
from deploytool.errors import DeploytoolError
from deploytool.redact import hide_passwords

Json = dict[str, Any]
UNHEALTHY = "unhealthy"
"""What the engine says of a replica whose health check failed."""
SIGNALS = {
    137: "killed (SIGKILL)",
    139: "crashed (SIGSEGV)",
    143: "stopped (SIGTERM)",
    126: "the command cannot be run",
    127: "the command was not found",
}
HINTS = (
    (
        'exec: "docker-init"',
        "its node has no docker-init: install it there, or set init = false for the service",
    ),
    ("exec /bin/sh failed", 'the image has no shell: it needs drain = "2s" or less, no prestart'),
    ("Exec format error", "the image is for another platform: see build.platforms"),
    ("[FATAL tini", "the command is not in the image: see services.NAME.command"),
    ("Permission denied", "it runs without privileges: see user, capabilities and the Dockerfile"),
    ("ModuleNotFoundError", "a dependency or a part of the project is missing in the image"),
    ("exec format error", "the image is for another platform: see build.platforms"),
    ('exec: "/bin/sh"', 'the image has no shell: it needs drain = "2s" or less, and no prestart'),
    ("executable file not found", "the command is not in the image: see services.NAME.command"),
    (
        CUT_OFF,
        "the network between its node and the proxy's is broken: let UDP 4789 and TCP and UDP 7946 "
        "through between all nodes",
    ),
    ("address already in use", "something else on the node has the port"),
    (
        NOT_LET_IN,
        "log in to that registry (`docker login REGISTRY`); every deploy gives the nodes the login",
    ),
    (
        NO_IMAGE,
        "the node cannot pull the image: does it reach the registry, and is it logged in?",
    ),
)


def explain(client: Client, task: Task, *, lines: int) -> list[str]:
    """Lines of evidence about one failed replica, the cause first."""
    container = _container(client, task)
    cause = _cause(task, container)
    output = last_words(client, task, lines)
    health = _health(container)
    hint = _hint(task.service, [cause, *health, *output], container)
    where = f" on {task.node}" if task.node else ""
    return [
        hide_passwords(line)
        for line in (
            f"{task.service}.{task.slot}{where}: {cause}",
            *(f"health check: {line}" for line in health),
            *(f"| {line}" for line in output),
            *([f"{LIKELY}{hint}"] if hint else []),
        )
    ]


def _hint(service: str, lines: list[str], container: Json) -> str | None:
    """The likely reason, in one line that says what to do."""
    is_read_only = (container.get("HostConfig") or {}).get("ReadonlyRootfs")
    refused = refusal_hint(service, lines, has_read_only_files=is_read_only)
    text = "\n".join(lines)
    return refused or next((hint for pattern, hint in HINTS if pattern in text), None)


def _container(client: Client, task: Task) -> Json:
    """The container's own state, where it ran on the engine that we talk to."""
    if not task.container:
        return {}
    try:
        return client.container(task.container) or {}
    except DeploytoolError:
        return {}


def _cause(task: Task, container: Json) -> str:
    state = container.get("State") or {}
    reason = task.message or task.state
    if state.get("OOMKilled"):
        return f"out of memory: it used more than memory_limit allows ({reason})"
    code = task.exit_code
    if UNHEALTHY in reason:
        return f"its health check failed ({reason})"
    if code == 137:
        return f"killed, most likely for using more than memory_limit allows ({reason})"
    if task.state == "complete" and code in (None, 0):
        return "it ended with exit code 0: by itself, or stopped as its health check failed"
    if code in SIGNALS:
        return f"{SIGNALS[code]} ({reason})"
    return reason if code in (None, 0) else f"its process ended with exit code {code} ({reason})"


def _health(container: Json) -> list[str]:
    log = ((container.get("State") or {}).get("Health") or {}).get("Log") or []
    failed = [entry for entry in log if entry.get("ExitCode")]
    if not failed:
        return []
    return [line for line in failed[-1].get("Output", "").strip().splitlines() if line][-1:]


def last_words(client: Client, task: Task, lines: int) -> list[str]:
    """What a replica printed last. One that never started printed nothing."""
    if not task.container:
        return []
    try:
        return client.task_output(task.id, tail=lines).lines
    except DeploytoolError:
        return []
