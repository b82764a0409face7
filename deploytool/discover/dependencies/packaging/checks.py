"""The Python that a project allows, and what may go wrong with its list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from deploytool.discover.dependencies import requirements
from deploytool.discover.dependencies.packaging.asked import listed
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import FoundPackaging, Packaging
from deploytool.discover.dependencies.packaging.plain import script_block
from deploytool.discover.dependencies.requirements import (
    brings_server,
)
from deploytool.discover.dependencies.uv_lock import Lock


def with_constraint(where: Folder, found: FoundPackaging) -> FoundPackaging:
    script = (script_block(where) or {}) if found.kind is Packaging.SCRIPT else {}
    lock = where.toml("uv.lock") if found.kind is Packaging.UV else {}
    poetry = where.table("tool", "poetry", "dependencies").get("python")
    for value, source in (
        (script.get("requires-python"), "the script's requires-python"),
        (where.table("project").get("requires-python"), "requires-python"),
        (poetry, "Poetry's python"),
        (lock.get("requires-python"), "uv.lock's requires-python"),
    ):
        if isinstance(value, str) and value.strip() not in ("", "*"):
            return replace(found, constraint=value, constraint_source=source)
    return found


def warnings(where: Folder, found: FoundPackaging) -> Iterator[str]:
    yield from reproducibility(where, found)
    yield from staleness(found)
    yield from encoding(found)
    yield from invalid_lines(where, found)
    if found.kind is not Packaging.SINGLE_FILE and not brings_uvicorn(where, found):
        yield (
            f"nothing in {' or '.join(found.files)} brings uvicorn, which serves the app: "
            "depend on fastapi[standard]"
        )


def reproducibility(where: Folder, found: FoundPackaging) -> Iterator[str]:
    advice = {
        Packaging.UV: "uv lock",
        Packaging.POETRY: "poetry lock",
        Packaging.PIPENV: "pipenv lock",
        Packaging.SCRIPT: f"uv lock --script {where.app_file}",
    }
    if not found.locked and found.kind in advice:
        yield (
            "versions are not locked: the same commit can become a different image; "
            f"`{advice[found.kind]}` writes them down, then run `deploytool init`"
        )


def staleness(found: FoundPackaging) -> Iterator[str]:
    if found.stale:
        lock = f"{found.files[-1]} is older than the dependencies of pyproject.toml"
        happens = "the build refuses it: run `uv lock`"
        if found.kind is Packaging.POETRY:
            happens = "the build locks them again: `poetry lock` does it here"
        yield f"{lock}, and {happens}"


def encoding(found: FoundPackaging) -> Iterator[str]:
    if found.utf16:
        yield (
            f"{found.files[0]} is UTF-16, as PowerShell writes it: the Dockerfile converts it "
            "for uv; saved as UTF-8 it no longer needs that"
        )


def invalid_lines(where: Folder, found: FoundPackaging) -> Iterator[str]:
    for file in found.files if found.kind is Packaging.REQUIREMENTS else ():
        for line in requirements.lines(where.project, PurePosixPath(file)):
            if not requirements.is_valid(line):
                yield f"{file} has a line that is no requirement, {line!r}: take it out"


def brings_uvicorn(where: Folder, found: FoundPackaging) -> bool:
    if found.kind is Packaging.UV and found.locked:
        return Lock(where.toml("uv.lock")).has("uvicorn")
    if not found.locked or found.kind in (Packaging.SCRIPT, Packaging.REQUIREMENTS):
        return brings_server(list(listed(where, found)))
    text = where.project.text(PurePosixPath(found.files[-1])) or ""
    return bool(re.search(r'(?m)^name = "uvicorn"$|^\s*"uvicorn": \{', text))
