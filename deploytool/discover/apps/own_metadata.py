"""Whether an app asks for the metadata of its own package, which only an installed one has."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from deploytool.discover.names import Names
from deploytool.discover.source import Project, Scope, called_name, table_at

MODULES = frozenset({"importlib.metadata", "importlib_metadata", "pkg_resources"})
ABOUT_A_PACKAGE = frozenset(
    {"version", "metadata", "distribution", "requires", "files", "get_distribution", "require"}
)
ENTRY_POINTS = frozenset({"entry_points", "iter_entry_points"})
CAUGHT = ("NotFound", "Exception", "ImportError", "ModuleNotFoundError")


def reads_own_metadata(
    project: Path | Project, files: Iterable[PurePosixPath], name: str | None
) -> str | None:
    """The file of `files` that asks for the metadata or the entry points of the project `name`.

    A question whose failure is caught does not count: the app starts without an answer.
    """
    finder = OwnMetadata(Project.at(project), name or "")
    return next((str(file) for file in files if finder.is_read_in(file)), None)


class OwnMetadata:
    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.names = Names(project)
        self.name = canonicalize_name(name)

    def is_read_in(self, file: PurePosixPath) -> bool:
        scope = self.project.scope(file)
        if scope is None or not _imports_metadata(scope):
            return False
        caught = set(_caught(scope))
        return any(self._is_question(call, scope) for call in scope.calls if id(call) not in caught)

    def _is_question(self, call: ast.Call, scope: Scope) -> bool:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if called_name(call) in ABOUT_A_PACKAGE and given:
            return bool(self.name) and self._is_own(given[0], scope)
        if called_name(call) in ENTRY_POINTS:
            return bool(self._groups().intersection(self._group(given, scope)))
        return False

    def _is_own(self, argument: ast.expr, scope: Scope) -> bool:
        named = {node.id for node in ast.walk(argument) if isinstance(node, ast.Name)}
        if named & {"__package__", "__name__"}:
            return canonicalize_name(self._package(scope.file)) == self.name
        text = self.names.text(argument, scope)
        return text is not None and canonicalize_name(text) == self.name

    def _package(self, file: PurePosixPath) -> str:
        top = file.relative_to(self.project.package_root(file)).parts[0]
        return top.removesuffix(".py")

    def _group(self, given: list[ast.expr], scope: Scope) -> set[str]:
        """The group that is asked for; all of the project's where it is unknown."""
        text = self.names.text(given[0], scope) if given else None
        return self._groups() if text is None else {text}

    def _groups(self) -> set[str]:
        document = self.project.pyproject
        return {
            *table_at(document, "project", "entry-points"),
            *table_at(document, "tool", "poetry", "plugins"),
        }


def _imports_metadata(scope: Scope) -> bool:
    return any(
        imported.module in MODULES or f"{imported.module}.{imported.name}" in MODULES
        for imported in scope.imported
    )


def _caught(scope: Scope) -> Iterator[int]:
    """The content of a `try` that continues without the package."""
    for node in scope.nodes:
        if isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
            for statement in node.body:
                yield from map(id, ast.walk(statement))


def _catches(handler: ast.ExceptHandler) -> bool:
    kind = ast.unparse(handler.type) if handler.type else CAUGHT[0]
    return any(name in kind for name in CAUGHT)
