"""Versions of secrets on Nomad: items of the variable that the app's replicas may read without a
policy. What is known of a version beside its value is kept with the records, where no replica sees
it.

    nomad/jobs/APP           TOKEN__3 = the value
    deploytool/APP/secrets   TOKEN__3 = its hash and when it was set
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from deploytool.backends.nomad.api.client import Client, Conflict, NotFound
from deploytool.backends.nomad.specification.secrets import (
    VERSION,
    SecretVersion,
    paths,
    read_by,
    version_key,
)
from deploytool.backends.nomad.storage.store import LIMIT, ROOT, size
from deploytool.errors import EngineError
from deploytool.json_types import Json
from deploytool.records.store import Taken
from deploytool.secrets.versions import Version

ATTEMPTS = 10


class NomadVault:
    """Implements `deploytool.secrets.versions.Vault`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def versions(self, app: str) -> list[Version]:
        path = _path(app)
        known = self._items(_notes_path(app))
        return [_version(path, key, known.get(key, "")) for key in sorted(self._items(path))]

    def create(self, app: str, name: str, number: int, value: bytes, digest: str) -> None:
        key, text = _written(name, number, value)
        note = json.dumps({"hash": digest, "at": datetime.now(UTC).isoformat()})

        def add(items: dict[str, str]) -> None:
            if any(_is_of(other, name, number) for other in items):
                raise Taken
            items[key] = text

        self._change(_path(app), add)
        self._change(_notes_path(app), lambda items: items.update({key: note}))

    def delete(self, version: Version) -> None:
        where = SecretVersion.parse(version.name)
        app = where.path.removeprefix("nomad/jobs/").partition("/")[0]
        for path in (where.path, _notes_path(app)):
            self._change(path, lambda items: items.pop(where.key, None))

    def readers(self, app: str) -> Iterator[tuple[str, str]]:
        try:
            job: Json = self.client.get(f"/v1/job/{app}")
        except NotFound:
            return
        for group in job.get("TaskGroups") or ():
            for task in group.get("Tasks") or ():
                for template in task.get("Templates") or ():
                    if read := read_by(str(template.get("EmbeddedTmpl") or "")):
                        yield group["Name"], str(read)

    def refusal(self, app: str, values: Mapping[str, bytes]) -> str:
        for name, value in values.items():
            if not value:
                return f"The value of {name} is empty, and Nomad gives replicas no empty secret"
        left = LIMIT - size(self._items(_path(app)))
        wanted = size(dict(_written(name, 10**4, value) for name, value in values.items()))
        if wanted <= left:
            return ""
        return (
            f"{', '.join(values)} would take {wanted:,} bytes: the secrets of {app} share the "
            f"{LIMIT // 1024} KiB of a Nomad variable, of which {left:,} bytes are left, older "
            "versions included"
        )

    def number(self, app: str, name: str, on_cluster: str) -> int:
        where = SecretVersion.parse(on_cluster)
        match = VERSION.match(where.key)
        is_of = match is not None and match["name"] == name and where.path == _path(app)
        return int(match["number"]) if match and is_of else 0

    def removal_by_hand(self, version: Version) -> str:
        where = SecretVersion.parse(version.name)
        return f"nomad var get -out hcl {where.path}, take {where.key} out, and nomad var put"

    def _items(self, path: str) -> Mapping[str, str]:
        with suppress(NotFound):
            return dict(self.client.get(f"/v1/var/{path}").get("Items") or {})
        return {}

    def _change(self, path: str, change: Callable[[dict[str, str]], object]) -> None:
        """Change the items of a variable, whoever else does at the same time."""
        for _ in range(ATTEMPTS):
            try:
                there: Json | None = self.client.get(f"/v1/var/{path}")
            except NotFound:
                there = None
            items = dict((there or {}).get("Items") or {})
            change(items)
            cas = str(there["ModifyIndex"] if there else 0)
            try:
                if items:
                    body = {"Path": path, "Items": items}
                    self.client.put(f"/v1/var/{path}", body, again=True, cas=cas)
                elif there is not None:
                    self.client.delete(f"/v1/var/{path}", cas=cas)
                return
            except Conflict as error:
                if error.is_repeated and self._items(path) == items:
                    return
        raise EngineError(
            f"The secrets in {path} change as fast as they can be read",
            code="record_busy",
            hint="wait for whoever sets secrets there, and run it again",
        )


def _path(app: str) -> str:
    return paths(app, "")[0]


def _notes_path(app: str) -> str:
    return f"{ROOT}/{app}/secrets"


def _written(name: str, number: int, value: bytes) -> tuple[str, str]:
    """The key and the text of a version: variables hold text only."""
    with suppress(UnicodeDecodeError):
        return version_key(name, number), value.decode()
    return version_key(name, number, is_text=False), base64.b64encode(value).decode()


def _is_of(key: str, name: str, number: int) -> bool:
    match = VERSION.match(key)
    return match is not None and (match["name"], int(match["number"])) == (name, number)


def _version(path: str, key: str, note: str) -> Version:
    name = str(SecretVersion(path, key))
    match = VERSION.match(key)
    if match is None:
        return Version(secret=key, number=0, name=name, id=name)
    known: dict[str, str] = json.loads(note) if note else {}
    at = known.get("at")
    return Version(
        secret=match["name"],
        number=int(match["number"]),
        name=name,
        id=name,
        at=datetime.fromisoformat(at) if at else None,
        hash=known.get("hash", ""),
    )
