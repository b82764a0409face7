"""Finds how a project's dependencies are written down: uv, Poetry, requirements, or not at all.

What lists them may be beside the app instead of at the project's root: the folder nearest to the
app counts, upwards from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from deploytool.discover.dependencies.packaging.asked import listed, optional
from deploytool.discover.dependencies.packaging.checks import warnings, with_constraint
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import FoundPackaging
from deploytool.discover.dependencies.packaging.plain import (
    from_requirements,
    script,
    script_block,
    single_file,
)
from deploytool.discover.dependencies.packaging.poetry_pdm_pipenv import (
    pdm,
    pipenv,
    poetry,
    poetry_dependencies,
)
from deploytool.discover.dependencies.packaging.uv import (
    inside_workspace,
    lock_above,
    uv_locked,
    uv_unlocked,
)
from deploytool.discover.source import (
    HERE,
    SKIPPED_FOLDERS,
    Project,
    table_at,
)


def found_in(where: Folder) -> FoundPackaging:
    found = with_constraint(where, replace(kind(where), folder=str(where.folder)))
    found = replace(found, listed=tuple(listed(where, found)), optional=optional(where, found))
    return replace(found, warnings=tuple(warnings(where, found)))


def kind(where: Folder) -> FoundPackaging:
    has, table = where.has, where.table
    checks: tuple[tuple[object, Callable[[], FoundPackaging]], ...] = (
        (has("uv.lock"), partial(uv_locked, where)),
        (has("poetry.lock"), partial(poetry, where)),
        (poetry_dependencies(where), partial(poetry, where)),
        (where.folder == HERE and lock_above(where), partial(inside_workspace, where)),
        (has("pdm.lock") and where.lists_dependencies(), partial(pdm, where)),
        (has("Pipfile.lock") and not where.requirements, partial(pipenv, where)),
        (where.lists_dependencies() and not where.requirements, partial(uv_unlocked, where)),
        (table("tool", "uv") and not where.requirements, partial(uv_unlocked, where)),
        (where.requirements, partial(from_requirements, where)),
        (table("tool", "poetry"), partial(poetry, where)),
        (has("Pipfile"), partial(pipenv, where)),
        (script_block(where) is not None, partial(script, where)),
    )
    for applies, find in checks:
        if applies:
            return find()
    return single_file(where)


def added_metadata(where: Folder, found: FoundPackaging) -> FoundPackaging:
    if not table_at(where.pyproject, "build-system") or found.install:
        return found
    return replace(
        found,
        metadata=True,
        build_files=where.build_files(),
        versions_from_history=where.takes_version_from_history(where.folder),
    )


def find_packaging(project: Path, app_file: str | None = None) -> FoundPackaging:
    """How the dependencies of the project, or of the member that `app_file` is in, are listed.

    Raises UsageError when they are listed in a way that cannot be built.
    """
    whole = Project(Path(project))
    file = PurePosixPath(app_file) if app_file else None
    return found_in(Folder(whole, file, nearest(whole, file)))


def with_metadata(project: Project, found: FoundPackaging) -> FoundPackaging:
    """The same, with the package's own metadata installed too, where it can be built."""
    return added_metadata(Folder(project, None, PurePosixPath(found.folder)), found)


def nearest(project: Project, app_file: PurePosixPath | None) -> PurePosixPath:
    """The folder whose files list what the app needs."""
    above = list(app_file.parents) if app_file else [HERE]
    finders = [Folder(project, app_file, folder) for folder in above]
    listing = [finder for finder in finders if finder.lists()]
    for finder in listing:
        if root := finder.workspace():
            return root
    listing.sort(key=lambda finder: not finder.lists_fastapi())
    if listing:
        return listing[0].folder
    elsewhere = [folder for folder in _folders(project) if folder not in above]
    found = [f for folder in elsewhere if (f := Folder(project, app_file, folder)).lists_fastapi()]
    return found[0].folder if len(found) == 1 else HERE


def _folders(project: Project) -> Iterator[PurePosixPath]:
    """All folders of a project that may be part of it, near ones first."""
    waiting = [HERE]
    while waiting:
        folder = waiting.pop(0)
        yield folder
        try:
            names = sorted(e.name for e in os.scandir(project.path / folder) if e.is_dir())
        except OSError:
            names = []
        if len(folder.parts) < 4:
            own = (n for n in names if not n.startswith(".") and n not in SKIPPED_FOLDERS)
            waiting += [folder / name for name in own]
