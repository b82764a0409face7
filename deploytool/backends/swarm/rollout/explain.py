"""Why a replica failed: what the engine knows about it."""

from __future__ import annotations

from contextlib import suppress

from deploytool import explain as evidence
from deploytool.backends.model import Task
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.planning.logins import NO_IMAGE, NOT_LET_IN
from deploytool.backends.swarm.specification.health import CUT_OFF
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json

UNHEALTHY = "unhealthy"
"""The engine's message for a replica whose health check failed."""
ANSWERED = ": HTTP/"
"""In the output of our own check where the app answered."""
HINTS = (
    (
        'exec: "docker-init"',
        "its node has no docker-init: install it there, or set init = false for the service",
    ),
    *evidence.HINTS,
    (
        CUT_OFF,
        "the network between its node and the proxy's is broken: let UDP 4789 and TCP and UDP 7946 "
        "through between all nodes, and IP protocol 50 (ESP) where `proxy.encrypted` is set; the "
        "nodes' kernels need ESP for it",
    ),
    (
        NOT_LET_IN,
        "log in to that registry (`docker login REGISTRY`); every deploy gives the nodes the login",
    ),
    (
        NO_IMAGE,
        "the node cannot pull the image: check that it reaches the registry and has a login",
    ),
)


def explain(client: Client, task: Task, *, lines: int) -> list[str]:
    """Lines of evidence about one failed replica, the cause first."""
    container = _container(client, task)
    wanted = _wanted(client, task)
    found = evidence.Evidence(
        output=last_words(client, task, lines),
        health=_health(container),
        out_of_memory=bool(container["State"].get("OOMKilled")) if container else None,
        is_unhealthy=UNHEALTHY in task.message,
        has_check_of_image=UNHEALTHY in task.message
        and wanted is not None
        and not wanted.get("Healthcheck"),
        has_read_only_files=(container.get("HostConfig") or {}).get("ReadonlyRootfs"),
        volumes=[
            mount["Target"]
            for mount in (wanted or {}).get("Mounts") or ()
            if mount["Type"] == "volume" and not mount.get("ReadOnly")
        ],
    )
    return evidence.explain(task, found, HINTS)


def _wanted(client: Client, task: Task) -> Json | None:
    """What the service wanted of a replica's container; None where the engine has forgotten it."""
    with suppress(DeploytoolError):
        for found in client.tasks(id=task.id):
            return dict(found["Spec"].get("ContainerSpec", {}))
    return None


def _container(client: Client, task: Task) -> Json:
    """The container's own state, where it ran on the engine that we talk to."""
    if not task.container:
        return {}
    try:
        return client.container(task.container) or {}
    except DeploytoolError:
        return {}


def _health(container: Json) -> list[str]:
    log = ((container.get("State") or {}).get("Health") or {}).get("Log") or []
    outputs = [entry.get("Output", "").strip() for entry in log if entry.get("ExitCode")]
    # One that runs while the process is stopped gets no answer, whatever the others got.
    answered = [output for output in outputs if ANSWERED in output]
    return [line for output in (answered or outputs)[-1:] for line in output.splitlines()[-1:]]


def last_words(client: Client, task: Task, lines: int) -> list[str]:
    """The last lines of a replica's output. One that never started has none."""
    if not task.container:
        return []
    try:
        return client.task_output(task.id, tail=lines).lines
    except DeploytoolError:
        return []
