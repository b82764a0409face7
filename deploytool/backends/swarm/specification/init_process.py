"""The init process of a container, which needs `docker-init` on its node, and nodes without it.

An init passes signals on to the command and reaps what its children leave behind. Distributions
only recommend the package that brings docker-init, and a container that asks for an init does not
start without. The engine that we talk to says whether it has one; of other nodes nobody knows
before a container fails to start there (their description has engine version and plugins only).
So a service begins with an init, and goes on without where a node has none: what ran before runs
again, and the service remembers the node in a label.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence

from deploytool.backends.swarm.specification import labels
from deploytool.json_types import Json

MISSING = re.compile(r'exec: "?docker-init"?: executable file not found')
"""How an engine says that it has none (`exec.LookPath` in moby's daemon/oci_linux.go)."""
UNKNOWN = "N/A"
"""What an engine writes for the version of an init that it cannot run."""


def is_missing(message: str) -> bool:
    """Whether that is why a container did not start: its command never ran."""
    return MISSING.search(message) is not None


def may_do_without(spec: Json) -> bool:
    """Whether a service has an init only because that is the default."""
    is_required = (spec.get("Labels") or {}).get(labels.INIT) == labels.REQUIRED
    return _has_init(spec["TaskTemplate"]) and not is_required


def without(spec: Json, nodes: Iterable[str]) -> Json:
    """The same service without an init, remembering the nodes that have none."""
    found = copy.deepcopy(spec)
    found["TaskTemplate"]["ContainerSpec"]["Init"] = False
    found["Labels"] = (spec.get("Labels") or {}) | {
        labels.NO_INIT: ",".join(sorted({*remembered(spec), *nodes}))
    }
    return found


def nodes_without(services: Iterable[Json], tasks: Iterable[Json], info: Json) -> set[str]:
    """The nodes that are known to have no docker-init: those that services remember or where a
    task failed for want of it, unless a container with an init runs there now, and the engine that
    was asked."""
    found = {node for service in services for node in remembered(service["Spec"])}
    has_one = set()
    for task in tasks:
        if is_missing(task["Status"].get("Err", "")):
            found.add(task["NodeID"])
        elif task["Status"]["State"] == "running" and _has_init(task["Spec"]):
            has_one.add(task["NodeID"])
    found -= has_one
    here = str((info.get("Swarm") or {}).get("NodeID", ""))
    return found | {here} if has_none(info) else found - {here}


def has_none(info: Json) -> bool:
    """Whether an engine says that it has no init that it can run."""
    return (info.get("InitCommit") or {}).get("ID") == UNKNOWN


def warning(services: Sequence[str], nodes: Sequence[str]) -> str:
    """What to know about services that go without, and how they get an init."""
    return (
        f"no init process for {', '.join(services)}: {', '.join(nodes)} has no docker-init. "
        "Install it there (tini on Debian and Ubuntu) and deploy with init = true; init = false "
        "says that none is wanted"
    )


def remembered(spec: Json) -> list[str]:
    """The nodes for which a service goes without."""
    found = (spec.get("Labels") or {}).get(labels.NO_INIT, "")
    return [node for node in found.split(",") if node]


def _has_init(template: Json) -> bool:
    return bool((template.get("ContainerSpec") or {}).get("Init"))
