"""What was done to an app that is no release, kept as a label of one Swarm config.

A config's data cannot change, its labels can, and the engine refuses a change that is based on an
old version: two people who write at once both get in.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from deploytool.backends.base import AuditEntry
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, Json, is_taken
from deploytool.errors import EngineError, PlanError

KEPT = 100
"""Entries that are remembered."""
ATTEMPTS = 5
_ENTRIES = TypeAdapter(list[AuditEntry])


def config_name(app: str) -> str:
    return f"{app}.audit"


def entries(client: Client, app: str) -> list[AuditEntry]:
    """What is remembered, oldest first."""
    config = _config(client, app)
    return _read(config) if config else []


def note(client: Client, app: str, entry: AuditEntry) -> None:
    """Remember one more, and forget the oldest beyond `KEPT`."""
    for _ in range(ATTEMPTS):
        config = _config(client, app)
        try:
            if config is None:
                return _create(client, app, entry)
            kept = [*_read(config), entry][-KEPT:]
            return client.label_config(config, {labels.AUDIT: _text(kept)})
        except PlanError:
            continue
        except EngineError as error:
            if not is_taken(error):
                raise
    raise EngineError(
        f"The audit log of {app} is being written by others all the time",
        code="audit_busy",
        hint="what was done is done; only its line in `deploytool audit` is missing",
    )


def _create(client: Client, app: str, entry: AuditEntry) -> None:
    own = {labels.STACK: app, labels.APP: app, labels.AUDIT: _text([entry])}
    client.create_config(config_name(app), b"see the label deploytool.audit", own)


def _config(client: Client, app: str) -> Json | None:
    found = client.configs(label=[f"{labels.APP}={app}", labels.AUDIT])
    return found[0] if found else None


def _read(config: Json) -> list[AuditEntry]:
    return _ENTRIES.validate_json(config["Spec"]["Labels"][labels.AUDIT])


def _text(found: list[AuditEntry]) -> str:
    return _ENTRIES.dump_json(found, exclude_defaults=True).decode()
