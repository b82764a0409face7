"""What was done to an app that is no release, kept as a label of one Swarm config.

A config's data cannot change, its labels can, and the engine refuses a change that is based on an
old version: two people who write at once both get in.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from deploytool.backends.base import AuditEntry
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, Json, is_taken
from deploytool.errors import EngineError, PlanError

KEPT = 100
"""Entries that are remembered."""
ATTEMPTS = 5
UNKNOWN = {"by": "unknown", "action": "unknown"}


def config_name(app: str) -> str:
    return f"{app}.audit"


def entries(client: Client, app: str) -> list[AuditEntry]:
    """What is remembered, oldest first, as far as it can be read."""
    config = _config(client, app)
    found = (_entry(line) for line in _lines(config)) if config else ()
    return [entry for entry in found if entry is not None]


def note(client: Client, app: str, entry: AuditEntry) -> None:
    """Remember one more, and forget the oldest beyond `KEPT`."""
    for _ in range(ATTEMPTS):
        config = _config(client, app)
        try:
            if config is None:
                return _create(client, app, entry)
            kept = [*_lines(config), _line(entry)][-KEPT:]
            return client.label_config(config, {labels.AUDIT: json.dumps(kept)})
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
    own = {labels.STACK: app, labels.APP: app, labels.AUDIT: json.dumps([_line(entry)])}
    client.create_config(config_name(app), b"see the label deploytool.audit", own)


def _config(client: Client, app: str) -> Json | None:
    found = client.configs(label=[f"{labels.APP}={app}", labels.AUDIT])
    return found[0] if found else None


def _lines(config: Json) -> list[Any]:
    """What the label holds, whatever wrote it: what cannot be read here is kept as it is."""
    text = config["Spec"]["Labels"][labels.AUDIT]
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    return found if isinstance(found, list) else [found]


def _line(entry: AuditEntry) -> Json:
    return entry.model_dump(mode="json", exclude_defaults=True)


def _entry(line: Any) -> AuditEntry | None:
    """What is known of a line; None where nobody knows when it was."""
    if not isinstance(line, dict):
        return None
    known = {key: line[key] for key in AuditEntry.model_fields if key in line}
    try:
        return AuditEntry.model_validate(known)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors()}
    rest = {key: value for key, value in known.items() if key not in wrong}
    return AuditEntry.model_validate(UNKNOWN | rest) if "at" in rest else None
