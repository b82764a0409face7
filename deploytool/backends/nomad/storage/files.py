"""Configuration files of releases. A job has the content of each in a template, and Nomad forgets
old versions of jobs: what a rollback writes again is kept with the records.

    deploytool/APP/file/3f2c81aa90de/0   Items: data, and the number of parts

The name is the content's hash, so that files are written once and never change.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from deploytool.backends.nomad.api.client import Client, Conflict, NotFound
from deploytool.backends.nomad.storage.store import ROOT
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec

PART = 60_000
"""Characters of a part: a variable keeps 64 KiB."""
DATA, PARTS = "data", "parts"


def contents(client: Client, app: AppSpec, given: Mapping[str, bytes]) -> dict[str, bytes]:
    """The content of each file that the app's services have, by its path: as it is given, or as an
    earlier release had it. Raises PlanError for one that is gone."""
    used = sorted({path for service in app.services for path in service.files.values()})
    found = {path: given.get(path) or read(client, app.name, app.files[path]) for path in used}
    for path, content in found.items():
        if content is None:
            raise PlanError(
                f"The cluster no longer has the file {path} of that release",
                code="file_gone",
                hint="deploy that commit again instead: deploytool deploy",
            )
    return {path: content for path, content in found.items() if content is not None}


def read(client: Client, app: str, digest: str) -> bytes | None:
    try:
        first: Json = client.get(f"/v1/var/{_path(app, digest, 0)}")
        rest = [
            client.get(f"/v1/var/{_path(app, digest, number)}")
            for number in range(1, int(first["Items"][PARTS]))
        ]
    except NotFound:
        return None
    return zlib.decompress(base64.b85decode("".join(p["Items"][DATA] for p in (first, *rest))))


def keep(client: Client, app: str, files: Mapping[str, bytes]) -> None:
    """Keep contents by their hashes. The first part comes last: with it a file is complete."""
    there = _kept(client, app) if files else {}
    for digest, content in files.items():
        if _path(app, digest, 0) in there.get(_name(digest), ()):
            continue
        text = base64.b85encode(zlib.compress(content, 9)).decode()
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        for number in reversed(range(len(parts))):
            path = _path(app, digest, number)
            items = {DATA: parts[number], PARTS: str(len(parts))}
            with suppress(Conflict):  # another deploy has written the same
                body = {"Path": path, "Items": items}
                client.put(f"/v1/var/{path}", body, again=True, cas="0")


def forget(client: Client, app: str, needed: Iterable[str]) -> None:
    """Remove all files but for those with the needed hashes."""
    names = {_name(digest) for digest in needed}
    for name, paths in _kept(client, app).items():
        if name not in names:
            for path in paths:
                client.delete(f"/v1/var/{path}")


def _kept(client: Client, app: str) -> dict[str, Collection[str]]:
    """Name → the paths of its parts, the first one first."""
    prefix = f"{ROOT}/{app}/file/"
    found: dict[str, list[str]] = {}
    for path in sorted(one["Path"] for one in client.get("/v1/vars", prefix=prefix) or ()):
        found.setdefault(path.removeprefix(prefix).partition("/")[0], []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def _path(app: str, digest: str, number: int) -> str:
    return f"{ROOT}/{app}/file/{_name(digest)}/{number}"


def _name(digest: str) -> str:
    """Paths have 128 characters at most."""
    return digest[:32]
