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
        config = _config(client, app)
        if config is None:
            continue
        if labels.ROLE not in (config["Spec"].get("Labels") or {}):
            raise _in_the_way(app)
        found = _lease(config, app, _now(client))
        if found.left > 0:
            raise held(found)
        _remove(client, found.handle)
    raise held(None)


def _in_the_way(app: str) -> Locked:
    return Locked(
        f"{app} cannot be locked: there is a config {lock_name(app)} that deploytool did not make",
        code="locked",
        hint="`deploytool lock release` removes it",
    )


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
    config = _config(client, app)
    return _lease(config, app, _now(client)) if config else None


def _config(client: Client, app: str) -> Json | None:
    found = client.configs(name=lock_name(app))
    return next((c for c in found if c["Spec"]["Name"] == lock_name(app)), None)


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
    by, purpose = _told(config["Spec"].get("Data") or "")
    renewed = read_time(config["UpdatedAt"])
    assert renewed is not None
    age = (now - renewed).total_seconds() if now else 0.0
    return Lease(
        app=app,
        by=by,
        purpose=purpose,
        since=read_time(config["CreatedAt"]),
        left=max(0.0, SECONDS - age),
        handle=config["ID"],
    )


def _told(data: str) -> tuple[str, str]:
    """Who holds a lock and what for, as far as it can be read: it is a lock all the same."""
    try:
        found = json.loads(base64.b64decode(data))
    except ValueError:
        found = None
    known = found if isinstance(found, dict) else {}
    by, purpose = (known.get(key) for key in ("by", "purpose"))
    return (
        by if isinstance(by, str) else "somebody",
        purpose if isinstance(purpose, str) else "what for cannot be read",
    )
