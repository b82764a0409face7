"""Projects of Poetry, PDM and Pipenv."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploytool.discover.dependencies.locks import poetry_lock_is_stale
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import FASTAPI, FoundPackaging, Packaging
from deploytool.discover.dependencies.packaging.uv import uv_unlocked
from deploytool.discover.dependencies.requested import name_of
from deploytool.discover.source import (
    table_at,
)
from deploytool.errors import UsageError


def poetry(where: Folder) -> FoundPackaging:
    if not where.has("pyproject.toml"):
        raise UsageError(
            f"There is a {where.path('poetry.lock')} and no pyproject.toml beside it",
            code="dependencies_unknown",
            hint="put the pyproject.toml back",
        )
    locked = where.has("poetry.lock")
    lock = where.toml("poetry.lock")
    refuse_folders(where, lock)
    install = (where.path("."),) if where.is_installed(where.folder) else ()
    _, groups = where.where_fastapi_is(where.folder)
    names = ("pyproject.toml", *(["poetry.lock"] if locked else []))
    return FoundPackaging(
        Packaging.POETRY,
        f"{where.path('poetry.lock')} is there"
        if locked
        else f"{where.path('pyproject.toml')} has [tool.poetry]",
        files=tuple(map(where.path, names)),
        locked=locked,
        old_lock=locked and str(table_at(lock, "metadata").get("lock-version")) < "2.1",
        stale=locked and poetry_lock_is_stale(where.pyproject, lock),
        name=where.name(),
        groups=groups or poetry_group(where),
        install=install,
        build_files=where.build_files() if install else (),
    )


def poetry_dependencies(where: Folder) -> bool:
    groups = where.table("tool", "poetry", "group").values()
    tables = (table_at(group, "dependencies") for group in groups)
    own = where.table("tool", "poetry", "dependencies").keys() - {"python"}
    return bool(own) or any(tables)


def poetry_group(where: Folder) -> tuple[str, ...]:
    main = where.table("tool", "poetry", "dependencies")
    if FASTAPI in map(name_of, main) or where.lists_dependencies():
        return ()
    for name, group in sorted(where.table("tool", "poetry", "group").items()):
        if FASTAPI in map(name_of, table_at(table_at(group).get("dependencies"))):
            return (name,)
    return ()


def refuse_folders(where: Folder, lock: dict[str, Any]) -> None:
    packages = lock.get("package", [])
    sources = [table_at(table_at(p).get("source")) for p in packages if isinstance(p, dict)]
    found = [s.get("url") for s in sources if s.get("type") in ("directory", "file")]
    named = where.table("tool", "poetry", "dependencies").values() if not lock else ()
    for folder in (*found, *(path for value in named if (path := table_at(value).get("path")))):
        raise UsageError(
            f"Poetry installs {folder} from a folder of this machine",
            code="path_dependency",
            hint="depend on a released version or a Git repository, or manage the project "
            "with uv, whose path dependencies are understood",
        )


def pdm(where: Folder) -> FoundPackaging:
    return replace(
        uv_unlocked(where),
        kind=Packaging.PDM,
        why=f"{where.path('pdm.lock')} is there",
        files=(where.path("pyproject.toml"), where.path("pdm.lock")),
        locked=True,
    )


def pipenv(where: Folder) -> FoundPackaging:
    locked = where.has("Pipfile.lock")
    names = [name for name in ("Pipfile", "Pipfile.lock") if where.has(name)]
    return FoundPackaging(
        Packaging.PIPENV,
        f"{where.path(names[-1])} is there",
        files=tuple(map(where.path, names)),
        locked=locked,
        name=where.name(),
    )
