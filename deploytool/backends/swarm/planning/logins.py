"""The login by which nodes pull a service's image: which a service was given, and another.

A Swarm keeps the login of whoever last created or updated a service, and never gives it back. So
a label says which one it is, by a slow, salted hash. Another login replaces no replica: the Swarm
compares everything else of a replica that runs.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from deploytool.backends.model import LOGIN, Action, Change, FieldChange, Plan, Task
from deploytool.backends.swarm.api.client import Client, image_of
from deploytool.backends.swarm.specification import labels
from deploytool.errors import RegistryError
from deploytool.image.reference import Reference
from deploytool.json_types import Json
from deploytool.secrets.versions import SALT, hash_of, is_value

if TYPE_CHECKING:
    from deploytool.backends.swarm.planning.plan import SwarmPlan, Target

NO_IMAGE = "No such image"
"""The engine's message for a replica whose image its node could not pull, whatever the reason."""
NOT_LET_IN = "does not let its node in"


def pass_on(plan: Plan, client: Client) -> Plan:
    """The plan with the logins that differ from those that services were given."""
    known, new = cache(is_value), cache(lambda login: hash_of(login, os.urandom(SALT)))

    def label(target: Target) -> str:
        given = _given(target.live["Spec"]) if target.live else ""
        login = credential(client, image_of(target.spec)) if target.spec else b""
        return new(login) if login and not (given and known(given, login)) else given

    swarm: SwarmPlan = plan.payload
    targets = tuple(_labelled(target, label(target)) for target in swarm.targets)
    renewed = {target.service for target in targets if _is_renewed(target)}
    changes = tuple(
        _renewed(change) if change.kind == "service" and change.name in renewed else change
        for change in plan.changes
    )
    return plan.model_copy(update={"changes": changes, "payload": replace(swarm, targets=targets)})


def _labelled(target: Target, label: str) -> Target:
    if target.spec is None or not label:
        return target
    labelled = replace(target, spec=_remembering(target.spec, label))
    return replace(labelled, action=Action.UPDATE) if _is_renewed(labelled) else labelled


def _is_renewed(target: Target) -> bool:
    """Whether a service that runs is given another login."""
    if target.live is None or target.spec is None:
        return False
    return _given(target.spec) != _given(target.live["Spec"])


def _renewed(change: Change) -> Change:
    renewed = FieldChange(path=LOGIN, after="renewed")
    return change.model_copy(update={"action": Action.UPDATE, "fields": (*change.fields, renewed)})


def only_renewed(live: Json, spec: Json) -> Json:
    """The live specification, with the label of the login that it is given now."""
    return _remembering(live["Spec"], _given(spec))


def _given(spec: Json) -> str:
    return str((spec.get("Labels") or {}).get(labels.LOGIN, ""))


def _remembering(spec: Json, label: str) -> Json:
    own = spec.get("Labels") or {}
    return spec | {"Labels": own | {labels.LOGIN: label}} if label else spec


def credential(client: Client, image: str) -> bytes:
    """This machine's login; empty where docker's own helper fails."""
    try:
        return client.credential(image)
    except RegistryError:
        return b""


def explained(client: Client, task: Task, spec: Json) -> Task:
    """A replica of a service whose image its node could not pull, with the reason where that is
    the login: the engine keeps it to itself."""
    image = image_of(spec)
    if not task.message.startswith(NO_IMAGE) or not client.refuses_login(image):
        return task
    has = "the login for it on this machine is refused"
    lacks = "there is no login for it on this machine"
    why = has if credential(client, image) else lacks
    text = f"{task.message}: the registry {Reference(image).host} {NOT_LET_IN}, {why}"
    return task.model_copy(update={"message": text})
