"""The login by which nodes pull a service's image: which a service was given, and another.

A Swarm keeps the login of whoever last created or updated a service, and never gives it back. So
a label says which one it is, by a slow, salted hash. Another login replaces no replica: the Swarm
compares everything else of a replica that runs.
"""

from __future__ import annotations

import copy
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from deploytool.backends.base import LOGIN, Action, Change, FieldChange, Plan, Task
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, image_of
from deploytool.backends.swarm.secrets import SALT, hash_of, is_value
from deploytool.errors import RegistryError
from deploytool.image.reference import Reference

if TYPE_CHECKING:
    from deploytool.backends.swarm.plan import Target

Json = dict[str, Any]
NO_IMAGE = "No such image"
"""What the engine says of a replica whose image its node could not pull, whatever the reason."""
NOT_LET_IN = "does not let its node in"


def pass_on(plan: Plan, client: Client) -> Plan:
    """The plan with the logins that differ from those that services were given."""
    known, new = cache(is_value), cache(lambda login: hash_of(login, os.urandom(SALT)))
    targets: dict[str, Target] = {target.service: target for target in plan.payload.targets}

    def told(change: Change) -> Change:
        target = targets.get(change.name) if change.kind == "service" else None
        if target is None or target.spec is None:
            return change
        given = _given(target.live)
        login = credential(client, image_of(target.spec))
        if not login or (given and known(given, login)):
            _remember(target.spec, given)
            return change
        _remember(target.spec, new(login))
        return _renewed(target, change)

    return plan.model_copy(update={"changes": tuple(told(change) for change in plan.changes)})


def _renewed(target: Target, change: Change) -> Change:
    if target.live is None:
        return change
    target.action = Action.UPDATE
    renewed = FieldChange(path=LOGIN, after="renewed")
    return change.model_copy(update={"action": Action.UPDATE, "fields": (*change.fields, renewed)})


def only_renewed(target: Target) -> Json:
    """What runs, with the label of the login that it is given now."""
    assert target.live is not None
    assert target.spec is not None
    spec: Json = copy.deepcopy(target.live["Spec"])
    _remember(spec, target.spec["Labels"].get(labels.LOGIN, ""))
    return spec


def _given(live: Json | None) -> str:
    return str(((live or {}).get("Spec", {}).get("Labels") or {}).get(labels.LOGIN, ""))


def _remember(spec: Json, label: str) -> None:
    if label:
        spec["Labels"][labels.LOGIN] = label


def credential(client: Client, image: str) -> bytes:
    """This machine's login; none where docker's own helper does not tell it."""
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
