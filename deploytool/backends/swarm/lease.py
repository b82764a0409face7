"""Who may change an app, kept in the cluster as a Swarm config.

Two configs cannot have one name, so creating it takes the lock. Renewing it sets a label, which
moves the time at which the managers last saw it change; a lease is expired when that is too long
ago by the managers' own clock. Clocks of clients play no part.
"""

from __future__ import annotations

import base64
import itertools
import json
from datetime import datetime
from typing import Any

from deploytool.backends.base import Lease
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, is_gone, is_taken
from deploytool.backends.swarm.tasks import read_time
from deploytool.errors import EngineError, Locked, PlanError

Json = dict[str, Any]
ROLE = "lock"
SECONDS = 30.0
"""Time after which a lease that nobody renews is anybody's."""
RENEWED = "deploytool.renewed"
_renewals = itertools.count(1)


def lock_name(app: str) -> str:
    return f"{app}.lock"


def lock(client: Client, app: str, by: str, purpose: str) -> Lease:
    """Take the lock of an app. Raises Locked, with the holder, where it is taken."""
    data = json.dumps({"by": by, "purpose": purpose}).encode()
    own = {labels.STACK: app, labels.APP: app, labels.ROLE: ROLE}
    for _ in range(3):
        try:
            handle = client.create_config(lock_name(app), data, own)
        except EngineError as error:
            if not is_taken(error):
                raise
        else:
            return _lease(client.config(handle), app, None)
        found = holder(client, app)
        if found is not None and found.left > 0:
            raise held(found)
        if found is not None:
            _remove(client, found.handle)
    raise held(found)


def held(lease: Lease | None) -> Locked:
    """What somebody is told who finds an app locked."""
    if lease is None:
        return Locked(
            "Several people lock and unlock the app at this moment",
            code="locked",
            hint="run the command again",
        )
    return Locked(
        f"{lease.app} is being changed by {lease.by} ({lease.purpose}, since "
        f"{lease.since.astimezone():%H:%M:%S})",
        code="locked",
        hint="wait for it, longer with --lock-timeout; where that process is dead its lock expires "
        f"in {lease.left:.0f} s, and `deploytool lock release` takes it away",
    )


def renew(client: Client, lease: Lease) -> None:
    """Hold on to a lock. Raises Locked where it is somebody else's by now."""
    for _ in range(3):
        config = client.config(lease.handle)
        if config is None:
            break
        try:
            return client.label_config(config, {RENEWED: str(next(_renewals))})
        except PlanError:
            continue
    raise Locked(
        f"The lock of {lease.app} was taken away meanwhile",
        code="lock_lost",
        hint="`deploytool audit` shows who did; run the command again when they are done",
    )


def unlock(client: Client, lease: Lease) -> None:
    _remove(client, lease.handle)


def holder(client: Client, app: str) -> Lease | None:
    """Who holds the lock of an app, expired or not."""
    found = client.configs(name=lock_name(app))
    mine = [config for config in found if config["Spec"]["Name"] == lock_name(app)]
    return _lease(mine[0], app, _now(client)) if mine else None


def _remove(client: Client, handle: str) -> None:
    try:
        client.remove_config(handle)
    except EngineError as error:
        if not is_gone(error):
            raise


def _now(client: Client) -> datetime | None:
    return read_time(client.info().get("SystemTime", ""))


def _lease(config: Json | None, app: str, now: datetime | None) -> Lease:
    if config is None:
        raise held(None)
    data = json.loads(base64.b64decode(config["Spec"]["Data"]))
    renewed = read_time(config["UpdatedAt"])
    assert renewed is not None
    age = (now - renewed).total_seconds() if now else 0.0
    return Lease(
        app=app,
        by=data["by"],
        purpose=data["purpose"],
        since=read_time(config["CreatedAt"]),
        left=max(0.0, SECONDS - age),
        handle=config["ID"],
    )
