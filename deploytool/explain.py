"""Why a replica failed: what its exit code means, and what its last words say to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploytool.backends.model import LIKELY, Task
from deploytool.backends.refused import refusal_hint
from deploytool.redact import hide_passwords

KILLED = 137
PLAIN_END = "its process ended with exit code"
MEANINGS = {
    139: "crashed (SIGSEGV)",
    143: "stopped (SIGTERM)",
    126: "the command cannot be run",
    127: "the command was not found",
}
"""Exit code → what it means, on every cluster."""
NOT_STARTED = "starting container failed"
"""How an engine says that a command never ran; the exit code that it gives is of no process."""
NOT_FOUND = "executable file not found"
"""How an engine says that it cannot start a command, which gives no exit code everywhere."""
NO_COMMAND = "the command is not in the image: check how it is written, and the Dockerfile"
HINTS: tuple[tuple[str, str], ...] = (
    ("exec /bin/sh failed", 'the image has no shell: it needs drain = "2s" or less, no prestart'),
    ("Exec format error", "the image is for another platform: see build.platforms"),
    ("[FATAL tini", NO_COMMAND),
    ("Permission denied", "it runs without privileges: see user, capabilities and the Dockerfile"),
    ("ModuleNotFoundError", "a dependency or a part of the project is missing in the image"),
    ("exec format error", "the image is for another platform: see build.platforms"),
    ('exec: "/bin/sh"', 'the image has no shell: it needs drain = "2s" or less, and no prestart'),
    (NOT_FOUND, NO_COMMAND),
    (
        "error setting rlimit",
        "ulimits.nofile is above what the node's kernel takes: lower it, or raise fs.nr_open there",
    ),
    (
        "bind source path does not exist",
        "a path of the service's volumes is not on that node: make it on every node that may run "
        "the service, or keep to those that have it with placement.constraints",
    ),
    ("unable to find user", "the image has no such user: see the service's user"),
    ("address already in use", "something else on the node has the port"),
)
"""A piece of text → what to do where a container's last words have it, on every cluster that runs
containers. The first that occurs counts."""


_TAKES_NO_NETWORK = re.compile(r"'[0-9a-f.:]+/\d+' does not appear to be an IPv4 or IPv6 address")
NETWORKS = (
    "the network is that of the proxy, to which deploytool sets FORWARDED_ALLOW_IPS, and Gunicorn "
    "takes networks there since 24.1: update it, or set env.FORWARDED_ALLOW_IPS to addresses alone"
)


@dataclass(frozen=True)
class Evidence:
    """What is known about a replica that failed, beside what the cluster says of it."""

    output: Sequence[str] = ()
    """What it printed last."""
    health: Sequence[str] = ()
    """What its last failed health check printed."""
    out_of_memory: bool | None = False
    """None where nobody knows."""
    is_unhealthy: bool = False
    """Whether it was stopped as its health check failed."""
    has_check_of_image: bool = False
    """Whether that is the image's own, for want of one in the configuration."""
    has_read_only_files: bool | None = None
    """None where nobody knows."""
    volumes: Sequence[str] = ()
    """Where it has volumes that it may write to."""


def explain(task: Task, found: Evidence, hints: Iterable[tuple[str, str]] = HINTS) -> list[str]:
    """Lines about one failed replica, the cause first and what to do last."""
    why = cause(task, found)
    hint = _hint(task.service, [why, *found.health, *found.output], found, hints)
    where = f" on {task.node}" if task.slot and task.node else ""
    return [
        hide_passwords(line)
        for line in (
            f"{task.name}{where}: {why}",
            *(f"health check: {line}" for line in found.health),
            *(f"| {line}" for line in found.output),
            *([f"{LIKELY}{hint}"] if hint else []),
        )
    ]


def cause(task: Task, found: Evidence) -> str:
    """Why it ended, in one line, with the cluster's own words."""
    reason, code = task.message or task.state, task.exit_code
    if found.out_of_memory:
        return f"out of memory: it used more than memory_limit allows ({reason})"
    if found.is_unhealthy:
        whose = ", the HEALTHCHECK of its image," if found.has_check_of_image else ""
        return f"its health check{whose} failed ({reason})"
    if code == KILLED:
        return f"killed ({_killed(task, found)}{reason})"
    if task.state == "complete" and code in (None, 0):
        return "it ended with exit code 0: by itself, or stopped as its health check failed"
    if code in MEANINGS:
        return f"{MEANINGS[code]} ({reason})"
    if NOT_FOUND in reason:
        return f"{MEANINGS[127]} ({reason})"
    if code in (None, 0) or reason.startswith(NOT_STARTED):
        return reason
    return f"{PLAIN_END} {code} ({reason})"


def _killed(task: Task, found: Evidence) -> str:
    """Only the engine that had the container knows of a lack of memory."""
    if found.out_of_memory is None:
        return f"SIGKILL; whether for lack of memory, the engine on {task.node} alone knows: "
    return "SIGKILL; the engine reports no lack of memory: "


def cause_and_next_step(told: Sequence[str]) -> tuple[str, str]:
    """Of what `explain` told of one replica: why it failed, without its name and where that says
    more than its exit code, and what to do, where that is known."""
    why = told[0].partition(": ")[2]
    likely = next((line for line in told if line.startswith(LIKELY)), "")
    return ("" if why.startswith(PLAIN_END) else why), likely.removeprefix(LIKELY)


def _hint(
    service: str, lines: Sequence[str], found: Evidence, hints: Iterable[tuple[str, str]]
) -> str | None:
    """The likely reason, in one line that says what to do."""
    refused = refusal_hint(
        service, lines, has_read_only_files=found.has_read_only_files, volumes=found.volumes
    )
    text = "\n".join(lines)
    known = next((hint for pattern, hint in hints if pattern in text), None)
    if found.is_unhealthy and found.has_check_of_image:
        return (
            f"set a health check of its own in [tool.deploytool.services.{service}], or "
            "healthcheck = false"
        )
    return refused or (NETWORKS if _TAKES_NO_NETWORK.search(text) else known)
