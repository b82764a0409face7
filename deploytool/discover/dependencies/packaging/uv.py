"""Projects of uv, with a lock and without."""

from __future__ import annotations

from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from deploytool.discover.dependencies import requirements
from deploytool.discover.dependencies.locks import uv_lock_is_stale
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import FoundPackaging, Packaging
from deploytool.discover.dependencies.uv_lock import Lock
from deploytool.discover.source import (
    Project,
    table_at,
    texts_in,
)
from deploytool.errors import UsageError


def uv_locked(where: Folder) -> FoundPackaging:
    document = where.toml("uv.lock")
    lock = Lock(document)
    member = member_of(where, lock)
    local = lock.local_packages(member or canonicalize_name(where.name() or ""))
    refuse_outside(local)
    root = lock.folder(member) if member else "."
    install = [f for f in local.values() if f != root and lock.is_package(f)]
    if where.is_installed(where.folder / root):
        install.append(root)
    folders = dict.fromkeys((".", *lock.folders()))
    extras, groups = where.where_fastapi_is(where.folder / root)
    return FoundPackaging(
        Packaging.UV,
        f"{where.path('uv.lock')} is there",
        files=(*(where.path(f"{f}/pyproject.toml") for f in folders), where.path("uv.lock")),
        locked=True,
        stale=uv_lock_is_stale(where.toml(f"{root}/pyproject.toml"), document, member),
        computed=any(where.computes_dependencies(where.folder / folder) for folder in folders),
        name=member or where.name(),
        package=member if root != "." else None,
        extras=extras,
        groups=groups,
        install=tuple(sorted(map(where.path, install))),
        build_files=where.build_files() if "." in install else (),
    )


def member_of(where: Folder, lock: Lock) -> str | None:
    """The workspace member that the app's file is in, if the lock has it."""
    for folder in where.app_file.parents if where.app_file else ():
        for name, place in lock.local.items():
            if where.folder / place == folder and lock.is_member(name):
                return name
    return None


def refuse_outside(local: dict[str, str]) -> None:
    outside = {name: folder for name, folder in local.items() if folder.startswith("..")}
    for name, folder in outside.items():
        raise UsageError(
            f"{name} is installed from {folder}, outside the project: a build cannot see it",
            code="outside_project",
            hint="run this in the folder that holds both, or depend on a released version",
        )


def lock_above(where: Folder) -> str | None:
    """The folder, outside this project, of the workspace that it is a member of."""
    for above in where.project.path.resolve().parents:
        document = Project(above)
        if document.is_file(PurePosixPath("uv.lock")):
            workspace = table_at(document.pyproject, "tool", "uv", "workspace")
            members = workspace.get("members", [])
            here = where.project.path.resolve().relative_to(above)
            is_member = any(here.match(pattern) for pattern in texts_in(members))
            return str(above) if is_member and where.pyproject else None
    return None


def inside_workspace(where: Folder) -> FoundPackaging:
    above = lock_above(where)
    raise UsageError(
        f"This project is a member of the uv workspace in {above}, which has the uv.lock",
        code="workspace_member",
        hint=f"run `deploytool init {above}`, with --entrypoint for this app",
    )


def uv_unlocked(where: Folder) -> FoundPackaging:
    refuse_unlocked_sources(where)
    refuse_computed(where)
    tool = "[tool.uv]" if where.table("tool", "uv") else "[project] dependencies"
    extras, groups = where.where_fastapi_is(where.folder)
    install = (where.path("."),) if where.is_installed(where.folder) else ()
    return FoundPackaging(
        Packaging.UV,
        f"{where.path('pyproject.toml')} has {tool}; there is no lock" + passed_over(where),
        files=(where.path("pyproject.toml"),),
        name=where.name(),
        extras=extras,
        groups=groups,
        install=install,
        build_files=where.build_files() if install else (),
    )


def refuse_computed(where: Folder) -> None:
    if where.has_dynamic_dependencies() and not where.lists_dependencies():
        raise UsageError(
            "The project's dependencies are computed when it is built (dynamic), and there is "
            "neither a lock nor a requirements.txt",
            code="dependencies_unknown",
            hint="run `uv lock`, and this again",
        )


def passed_over(where: Folder) -> str:
    found = requirements.find(where.project, where.folder)
    return f", and {found} pins no versions" if found else ""


def refuse_unlocked_sources(where: Folder) -> None:
    for name, source in where.table("tool", "uv", "sources").items():
        if isinstance(source, dict) and {"path", "workspace"} & source.keys():
            raise UsageError(
                f"{name} is installed from a folder, and there is no uv.lock",
                code="lock_missing",
                hint="run `uv lock`, and this again",
            )
