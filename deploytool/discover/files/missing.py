"""Finds folders and files that the app does not start without, and that are not there."""

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
    """Each file that serves files from a missing folder, without which Starlette's StaticFiles
    does not start, and the folder. `made` are those that the app makes itself."""
    paths, known = Paths(project, workdir), {*made}
    for file in files:
        scope = project.scope(file)
        for call in scope.calls if scope else ():
            folder = _folder(call, paths, scope) if scope else None
            if folder and folder not in known and not project.exists(folder):
                yield file, folder


def missing_files(
    project: Project,
    files: Iterable[PurePosixPath],
    workdir: PurePosixPath,
    made: Iterable[PurePosixPath] = (),
) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Each module that reads a file while it is imported, whatever happens, and the file."""
    paths, known = Paths(project, workdir), {*made}
    for file in files:
        scope = project.scope(file)
        for call in _calls_at_import(scope.body) if scope else ():
            read = _in_code(_read_path(call), paths, scope) if scope else None
            if read and read not in known and not project.exists(read):
                known.add(read)
                yield file, read


def missing_env_files(
    project: Project, files: Iterable[PurePosixPath], workdir: PurePosixPath
) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Each file that gives Starlette's Config a file that is not there, and that file."""
    paths = Paths(project, workdir)
    for file in files:
        scope = project.scope(file)
        for call in scope.calls if scope else ():
            given = argument(call, 0, ("env_file",)) if called_name(call) == "Config" else None
            read = _in_code(given, paths, scope) if scope and _is_starlette(scope) else None
            if read and not project.exists(read):
                yield file, read


def _is_starlette(scope: Scope) -> bool:
    return any(imported.module == "starlette.config" for imported in scope.imported)


def _calls_at_import(body: Iterable[ast.stmt]) -> Iterator[ast.Call]:
    """The calls of a module that no condition and no `try` comes before."""
    for statement in body:
        match statement:
            case ast.With():
                for item in statement.items:
                    yield from _calls(item.context_expr)
                yield from _calls_at_import(statement.body)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                yield from _calls(value)
            case ast.Expr(value=value):
                yield from _calls(value)


def _calls(value: ast.expr) -> Iterator[ast.Call]:
    """The calls in an expression that are made whatever the rest of it is."""
    skipped = (ast.IfExp, ast.BoolOp, ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.DictComp)
    waiting: list[ast.AST] = [value]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, skipped):
            waiting.extend(ast.iter_child_nodes(node))
            if isinstance(node, ast.Call):
                yield node


def _read_path(call: ast.Call) -> ast.expr | None:
    """The file that a call reads, where it is one of those that read a file and fail without it."""
    match call.func:
        case ast.Attribute(value=owner, attr="read_text" | "read_bytes"):
            return owner
        case ast.Name(id="open"):
            mode = argument(call, 1, ("mode",))
            is_read = mode is None or (isinstance(mode, ast.Constant) and "r" in str(mode.value))
            return argument(call, 0, ("file",)) if is_read else None
        case ast.Attribute(value=ast.Name(id="joblib"), attr="load"):
            return argument(call, 0, ("filename",))
    return None


def _folder(call: ast.Call, paths: Paths, scope: Scope) -> PurePosixPath | None:
    """The folder of a StaticFiles that insists on it, from the project's folder."""
    if called_name(call) != "StaticFiles" or argument(call, None, ("check_dir",)):
        return None
    return _in_code(argument(call, 0, ("directory",)), paths, scope)


def _in_code(given: ast.expr | None, paths: Paths, scope: Scope) -> PurePosixPath | None:
    """The path that an expression is, from the project's folder; None outside it."""
    text = paths.text(given, scope) if given else None
    path, only_its_folder = path_of(text, paths.workdir) if text else (None, False)
    if path is None or only_its_folder or not path.is_relative_to(CODE):
        return None
    return path.relative_to(CODE)
