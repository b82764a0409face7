"""What a project asks for by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from deploytool.discover.dependencies import requirements
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import (
    PLAIN_FASTAPI,
    FoundPackaging,
    Packaging,
)
from deploytool.discover.dependencies.packaging.plain import script_block
from deploytool.discover.dependencies.requested import name_of
from deploytool.discover.source import (
    table_at,
    texts_in,
)


def listed(where: Folder, found: FoundPackaging) -> Iterator[str]:
    match found.kind:
        case Packaging.REQUIREMENTS:
            for file in map(PurePosixPath, found.files):
                lines = requirements.lines(where.project, file)
                yield from (line for line in lines if not line.startswith("-"))
        case Packaging.SCRIPT:
            yield from texts_in((script_block(where) or {}).get("dependencies"))
        case Packaging.PIPENV:
            yield from _named(table_at(where.toml("Pipfile"), "packages"))
        case Packaging.SINGLE_FILE:
            yield PLAIN_FASTAPI
        case _:
            yield from project_dependencies(where, found)


def project_dependencies(where: Folder, found: FoundPackaging) -> Iterator[str]:
    project, poetry = member_table(where, found, "project"), where.table("tool", "poetry")
    yield from texts_in(project.get("dependencies"))
    yield from _named(table_at(poetry, "dependencies"))
    for name in found.extras:
        yield from texts_in(table_at(project, "optional-dependencies").get(name))
    for name in found.groups:
        yield from texts_in(member_table(where, found, "dependency-groups").get(name))
        yield from _named(table_at(poetry, "group", name, "dependencies"))


def member_table(where: Folder, found: FoundPackaging, key: str) -> dict[str, Any]:
    """A table of the pyproject.toml of the workspace's member that is installed."""
    if found.package:
        for file in found.files:
            document = where.project.toml(PurePosixPath(file)) if file.endswith(".toml") else {}
            name = table_at(document, "project").get("name")
            if isinstance(name, str) and canonicalize_name(name) == canonicalize_name(
                found.package
            ):
                return table_at(document, key)
    return where.table(key)


def optional(where: Folder, found: FoundPackaging) -> tuple[tuple[str, str], ...]:
    extras = member_table(where, found, "project").get("optional-dependencies")
    groups = member_table(where, found, "dependency-groups")
    kinds = (("extra", table_at(extras), found.extras), ("group", groups, found.groups))
    return tuple(
        (name, f"{kind} {key}")
        for kind, tables, installed in kinds
        for key, lines in sorted(tables.items())
        if key not in installed
        for line in texts_in(lines)
        if (name := name_of(line))
    )


def _named(table: dict[str, Any]) -> Iterator[str]:
    """Requirement lines of a table of Poetry's or Pipenv's: name = version, or a table."""
    for name, value in table.items():
        extras = texts_in(table_at(value).get("extras"))
        if name != "python" and not table_at(value).get("optional"):
            yield f"{name}[{','.join(extras)}]" if extras else name
