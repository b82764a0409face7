"""The files and folders that source code names, as far as its text shows.

A path that begins at `__file__` belongs to the folder of that file, wherever the process runs; a
plain relative one belongs to the process's working folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.discover.paths import CODE, PATHS, Paths, path_of
from deploytool.discover.source import Project, Scope, called_name

READING_CALLS = frozenset(
    {"StaticFiles", "Jinja2Templates", "FileSystemLoader", "open", "FileResponse", "Config"}
    | {"fileConfig", "read_text", "read_bytes"}
)
MAKING_CALLS = frozenset(
    {name.rpartition(".")[2] for name in PATHS} | {"join", "joinpath", "with_name"}
)
SUFFIX = re.compile(r"[\w./-]{1,200}\.\w{1,10}")
LONGEST = 200


@dataclass(frozen=True)
class NamedPath:
    """A path in a project's source."""

    path: PurePosixPath
    """From the project when anchored, else from the working folder."""
    anchored: bool = False
    """It begins at `__file__`."""
    sure: bool = True
    """It is known where it begins; else any text that looks like one."""


class NamedPaths:
    """Finds the paths that the modules of a project name."""

    def __init__(self, project: Project) -> None:
        self._paths = Paths(project)

    def named_in(self, scope: Scope) -> Iterator[NamedPath]:
        """Every path that a module names; of a longer one not also its beginnings."""
        done: set[int] = set()
        for node in scope.nodes:
            if id(node) not in done:
                for part, found in self._whole(node, scope):
                    done.update(map(id, ast.walk(part)))
                    yield found
        for node in scope.nodes:
            if id(node) not in done:
                yield from (NamedPath(path, sure=False) for path in _loose(node))

    def _whole(self, node: ast.AST, scope: Scope) -> Iterator[tuple[ast.expr, NamedPath]]:
        for part in _path_expressions(node):
            found = self._value(part, scope)
            if found and (found.anchored or not isinstance(node, ast.JoinedStr)):
                yield part, found

    def _value(self, node: ast.expr, scope: Scope) -> NamedPath | None:
        """The path that an expression is; where only its beginning is known, that folder."""
        path, _ = path_of(self._paths.text(node, scope) or "")
        if path and path.is_relative_to(CODE):
            return NamedPath(path.relative_to(CODE), anchored=True)
        return NamedPath(path) if path and not path.is_absolute() else None


def _path_expressions(node: ast.AST) -> Iterable[ast.expr]:
    """The expressions of a node that are paths when they can be worked out."""
    match node:
        case ast.BinOp(op=ast.Div()) | ast.JoinedStr():
            return [node]
        case ast.BinOp(op=ast.Add()) if not isinstance(node.left, ast.Constant):
            return [node]
        case ast.Call() if called_name(node) in MAKING_CALLS:
            return [node]
        case ast.Call() if called_name(node) in READING_CALLS:
            return [*node.args, *(keyword.value for keyword in node.keywords)]
    return []


def _loose(node: ast.AST) -> Iterator[PurePosixPath]:
    """Texts that may name files: behind a path that is not known, or with a suffix."""
    parts = [node] if isinstance(node, ast.Constant) and _has_suffix(node.value) else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts = [node.right] if isinstance(node.right, ast.Constant) else []
    elif isinstance(node, ast.Call) and called_name(node) in ("join", "joinpath", *READING_CALLS):
        parts = [argument for argument in node.args if isinstance(argument, ast.Constant)]
    for part in parts:
        if isinstance(part.value, str) and len(part.value) <= LONGEST:
            path, _ = path_of(part.value)
            if path and not path.is_absolute():
                yield path


def _has_suffix(value: object) -> bool:
    return isinstance(value, str) and SUFFIX.fullmatch(value) is not None
