"""The store of records on Nomad: an entry is a variable.

    deploytool/APP/release/12    Items: deploytool, data, and note.NAME for each note

Variables are written by check and set: two cannot be made at one path, and a change that is based
on an old version is refused. A variable keeps 64 KiB of keys and values together, so that data
which is long is compressed.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import uuid4

from deploytool.backends.nomad.api.client import Client, Conflict, NotFound
from deploytool.errors import EngineError
from deploytool.json_types import Json
from deploytool.records.store import Changed, Entry, Kind, Taken

ROOT = "deploytool"
"""Where in a namespace they are: outside nomad/jobs, which tasks may read."""
DATA = "data"
NOTE = "note."
MARK = "deploytool"
"""The item by which an entry is known as ours. Its value is of one entry alone, so that whoever
made it knows it from another with the same data."""
LIMIT = 65_536
"""Bytes that the keys and values of a variable may have (nomad/structs/variables.go)."""
PLAIN = 8_192
"""Bytes up to which data is kept as it is, to be read with Nomad's own tools."""
COMPRESSED = "zlib+base85:"
AT_ONCE = 8
ATTEMPTS = 5

T = TypeVar("T")


class NomadStore:
    """Implements `deploytool.records.store.Store`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def create(self, app: str, kind: Kind, name: str, data: bytes, notes: Mapping[str, str]) -> str:
        path = _path(app, kind, name)
        items = {MARK: uuid4().hex, DATA: _written(data)} | _items(notes)
        try:
            made = self._put(path, items, cas=0)
        except Conflict:
            raise Taken from None
        return _handle(made)

    def entries(self, app: str, kind: Kind) -> list[Entry]:
        listed = self.client.get("/v1/vars", prefix=f"{ROOT}/{app}/{kind}") or ()
        wanted = _path(app, kind, "")
        paths = [one["Path"] for one in listed if _is_below(one["Path"], wanted)]
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            found = pool.map(self._read, paths)
        return [entry for variable in found if variable and (entry := _entry(variable))]

    def entry(self, handle: str) -> Entry | None:
        path, _, index = handle.rpartition("@")
        variable = self._read(path)
        return _entry(variable) if variable and str(variable["CreateIndex"]) == index else None

    def annotate(self, entry: Entry, notes: Mapping[str, str]) -> None:
        variable: Json = entry.payload
        items = {**variable["Items"], **_items(notes)}
        try:
            self._put(variable["Path"], items, cas=int(variable["ModifyIndex"]))
        except (Conflict, NotFound):
            raise Changed from None

    def remove(self, handle: str) -> None:
        path, _, index = handle.rpartition("@")
        for _ in range(ATTEMPTS):
            variable = self._read(path)
            if variable is None or str(variable["CreateIndex"]) != index:
                return
            with suppress(Conflict):
                self.client.delete(f"/v1/var/{path}", cas=str(variable["ModifyIndex"]))
                return
        raise EngineError(
            f"{path} changes as fast as it can be read",
            code="record_busy",
            hint="wait for the other deploytool, and run it again",
        )

    def now(self) -> datetime | None:
        with suppress(ValueError, TypeError):
            return parsedate_to_datetime(self.client.date()).astimezone(UTC)
        return None

    def _read(self, path: str) -> Json | None:
        try:
            return dict(self.client.get(f"/v1/var/{path}"))
        except NotFound:
            return None

    def _put(self, path: str, items: Mapping[str, str], *, cas: int) -> Json:
        if size(items) > LIMIT:
            raise EngineError(
                f"{path} would have {size(items):,} bytes, and a Nomad variable keeps {LIMIT:,}",
                code="record_too_large",
                hint="shorten the environment and the commands of the configuration",
            )
        body = {"Path": path, "Items": dict(items)}
        try:
            return dict(self.client.put(f"/v1/var/{path}", body, again=True, cas=str(cas)))
        except Conflict as error:
            there = self._read(path) if error.is_repeated else None
            if there is None or there.get("Items") != body["Items"]:
                raise
            return there


def size(items: Mapping[str, str]) -> int:
    """Bytes of a variable, as Nomad counts them."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in items.items())


def _path(app: str, kind: Kind, name: str) -> str:
    return f"{ROOT}/{app}/{kind}/{name}" if name else f"{ROOT}/{app}/{kind}"


def _is_below(path: str, wanted: str) -> bool:
    return path == wanted or path.startswith(f"{wanted}/")


def _handle(variable: Json) -> str:
    return f"{variable['Path']}@{variable['CreateIndex']}"


def _items(notes: Mapping[str, str]) -> dict[str, str]:
    return {f"{NOTE}{name}": value for name, value in notes.items()}


def _entry(variable: Json) -> Entry | None:
    """None for a path that is of no kind."""
    parts = str(variable["Path"]).split("/", 3)
    if len(parts) < 3 or parts[0] != ROOT or parts[2] not in set(Kind):
        return None
    items: Mapping[str, str] = variable.get("Items") or {}
    return Entry(
        app=parts[1],
        kind=Kind(parts[2]),
        name=parts[3] if len(parts) > 3 else "",
        data=_data(items.get(DATA, "")),
        notes={k.removeprefix(NOTE): v for k, v in items.items() if k.startswith(NOTE)},
        handle=_handle(variable),
        created=_moment(variable.get("CreateTime")),
        changed=_moment(variable.get("ModifyTime")),
        is_ours=MARK in items,
        payload=variable,
    )


def _written(data: bytes) -> str:
    if len(data) <= PLAIN:
        with suppress(UnicodeDecodeError):
            text = data.decode()
            if not text.startswith(COMPRESSED):
                return text
    return COMPRESSED + base64.b85encode(zlib.compress(data, 9)).decode()


def _data(text: str) -> bytes:
    if not text.startswith(COMPRESSED):
        return text.encode()
    try:
        return zlib.decompress(base64.b85decode(text.removeprefix(COMPRESSED)))
    except (ValueError, zlib.error):
        return b""


def _moment(nanoseconds: object) -> datetime | None:
    if not isinstance(nanoseconds, int) or not nanoseconds:
        return None
    return datetime.fromtimestamp(nanoseconds / 10**9, UTC)
