"""The store of records on a Swarm: an entry is a config.

Two configs cannot have one name, and a config's data cannot change, its labels can: they are the
notes. The engine refuses a change that is based on an old version. The configs carry the stack's
label, so that removing the stack removes them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from deploytool.backends.swarm.api.client import Client, is_gone, is_taken
from deploytool.backends.swarm.api.tasks import read_time
from deploytool.backends.swarm.specification import labels
from deploytool.errors import EngineError, PlanError
from deploytool.json_types import Json
from deploytool.records.store import Changed, Entry, Kind, Taken
from deploytool.spec import release_number

PREFIX = "deploytool."
"""Before the name of a note in the label that holds it."""


class SwarmStore:
    """Implements `deploytool.records.store.Store`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        own = {labels.STACK: app, labels.APP: app} | _mark(kind, name)
        own |= {f"{PREFIX}{key}": value for key, value in notes.items()}
        try:
            return self.client.create_config(record_name(app, kind, name), data, own)
        except EngineError as error:
            if is_taken(error):
                raise Taken from None
            raise

    def entries(self, app: str, kind: Kind) -> list[Entry]:
        if kind is Kind.LOCK:
            wanted = record_name(app, kind)
            found = self.client.configs(name=wanted)
            return [_entry(app, c) for c in found if c["Spec"]["Name"] == wanted]
        mark = labels.RELEASE if kind is Kind.RELEASE else labels.AUDIT
        found = self.client.configs(label=[f"{labels.APP}={app}", mark])
        entries = [_entry(app, config) for config in found]
        return [entry for entry in entries if kind is not Kind.RELEASE or entry.name]

    def entry(self, handle: str) -> Entry | None:
        config = self.client.config(handle)
        return _entry(_labels(config).get(labels.APP, ""), config) if config else None

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        found = {f"{PREFIX}{key}": value for key, value in notes.items()}
        try:
            self.client.label_config(entry.payload, found)
        except PlanError:
            raise Changed from None
        except EngineError as error:
            if is_gone(error):
                raise Changed from None
            raise

    def remove(self, handle: str) -> None:
        try:
            self.client.remove_config(handle)
        except EngineError as error:
            if not is_gone(error):
                raise

    def now(self) -> datetime | None:
        return read_time(self.client.info().get("SystemTime", ""))


def record_name(app: str, kind: Kind, name: str = "") -> str:
    return f"{app}.{kind}.{name}" if name else f"{app}.{kind}"


def _mark(kind: Kind, name: str) -> dict[str, str]:
    """The label by which entries of a kind are found."""
    match kind:
        case Kind.RELEASE:
            return {labels.RELEASE: f"v{name}"}
        case Kind.LOCK:
            return {labels.ROLE: labels.LOCK}
        case Kind.AUDIT:
            return {}  # its note is the mark


def _entry(app: str, config: Json) -> Entry:
    found = _labels(config)
    number = release_number(found.get(labels.RELEASE, ""))
    is_lock = config["Spec"]["Name"] == record_name(app, Kind.LOCK)
    kind = Kind.LOCK if is_lock else Kind.RELEASE if labels.RELEASE in found else Kind.AUDIT
    return Entry(
        app=app,
        kind=kind,
        name=str(number) if kind is Kind.RELEASE and number else "",
        data=_decoded(config["Spec"].get("Data") or ""),
        notes={k.removeprefix(PREFIX): v for k, v in found.items() if k.startswith(PREFIX)},
        handle=config["ID"],
        created=read_time(config.get("CreatedAt", "")),
        changed=read_time(config.get("UpdatedAt", "")),
        is_ours=not is_lock or labels.ROLE in found,
        payload=config,
    )


def _labels(config: Json) -> dict[str, str]:
    return config["Spec"].get("Labels") or {}


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except ValueError:
        return b""
