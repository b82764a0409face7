"""Finds folders that the app serves files from and that are not there: Starlette's StaticFiles
does not start without its folder."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from deploytool.discover.paths import CODE, Paths, path_of
from deploytool.discover.source import Project, Scope, argument, called_name


def missing_folders(
    project: Project,
    files: Iterable[PurePosixPath],
    workdir: PurePosixPath,
    made: Iterable[PurePosixPath] = (),
) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Each file that names a missing folder, and the folder. `made` are those that the app makes
    itself."""
    paths, known = Paths(project, workdir), {*made}
    for file in files:
        scope = project.scope(file)
        for call in scope.calls if scope else ():
            folder = _folder(call, paths, scope) if scope else None
            if folder and folder not in known and not project.exists(folder):
                yield file, folder


def _folder(call: ast.Call, paths: Paths, scope: Scope) -> PurePosixPath | None:
    """The folder of a StaticFiles that insists on it, from the project's folder."""
    if called_name(call) != "StaticFiles" or argument(call, None, ("check_dir",)):
        return None
    given = argument(call, 0, ("directory",))
    text = paths.text(given, scope) if given else None
    path, only_its_folder = path_of(text, paths.workdir) if text else (None, False)
    if path is None or only_its_folder or not path.is_relative_to(CODE):
        return None
    return path.relative_to(CODE)
