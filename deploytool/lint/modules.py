"""The rule about modules: what the app imports has to be in the image.

entrypoint, `python -m` ──imports──▶ files of the project ──┐
COPY, .dockerignore ──▶ what the image gets ────────────────┴─▶ findings for what is left out
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import PurePosixPath

from deploytool.discover.apps.app import find_app
from deploytool.discover.source import HERE, Project, is_standard
from deploytool.errors import UsageError
from deploytool.lint.rules import Finding, Severity
from deploytool.lint.subject import Subject

RULE = "module-not-copied"
KEPT_FIX = "add it to COPY and let it through .dockerignore"


@dataclass(frozen=True)
class Needed:
    """A file that the app is made of."""

    file: PurePosixPath
    why: str
    is_certain: bool
    """Whether nothing runs without it: no import on the way is in a function, `if` or `try`."""


def check(subject: Subject) -> Iterator[Finding]:
    """The modules that the app imports and the image does not get."""
    if subject.copies.is_known and subject.copies.all:
        yield from Modules(subject).check()


class Modules:
    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.project = Project(subject.loaded.project if subject.loaded else subject.context)

    def check(self) -> Iterator[Finding]:
        app = self._app_file()
        if app is None:
            return
        is_taken = self._is_taken(app)
        if not is_taken and self.subject.dockerfile.is_kept:
            return  # Its code comes from elsewhere: that is its author's own affair.
        needed = self._needed(app)
        taken = {file for file in needed if self._is_taken(file)}
        missing: dict[str, Needed] = {}
        for file in needed.keys() - taken:
            name = self._name(file, taken)
            known = missing.get(name)
            if known is None or (needed[file].is_certain and not known.is_certain):
                missing[name] = needed[file]
        for name, one in missing.items():
            yield self._finding(name, one, app)

    def _app_file(self) -> PurePosixPath | None:
        entrypoint = None
        if loaded := self.subject.loaded:
            entrypoint = loaded.config.entrypoint or loaded.fastapi_entrypoint
        try:
            return PurePosixPath(find_app(self.project.path, entrypoint).file)
        except UsageError:
            return None

    def _is_taken(self, file: PurePosixPath) -> bool:
        path = self._in_context(file)
        return path is not None and self.subject.copies.takes(path)

    def _in_context(self, file: PurePosixPath) -> PurePosixPath | None:
        path = PurePosixPath(os.path.relpath(self.project.path / file, self._context))
        return None if path.parts[0] == ".." else path

    @cached_property
    def _context(self) -> str:
        return os.path.normpath(self.subject.context)

    def _needed(self, app: PurePosixPath) -> dict[PurePosixPath, Needed]:
        found: dict[PurePosixPath, Needed] = {}
        waiting = [Needed(app, "is the app", True), *self._run_as_modules()]
        while waiting:
            one = waiting.pop()
            known = found.get(one.file)
            if known is None or (one.is_certain and not known.is_certain):
                found[one.file] = one
                waiting += self._imports(one)
        return found

    def _run_as_modules(self) -> Iterator[Needed]:
        """What `python -m MODULE` of a service's own command runs."""
        for service, command, _ in self.subject.own_commands():
            for option, module in pairwise(command.words if service.image is None else ()):
                place = self.project.locate(module, HERE / "x") if option == "-m" else None
                if place and place[1] and not is_standard(module.partition(".")[0]):
                    yield Needed(place[0], f"is run by services.{service.name}", True)

    def _imports(self, by: Needed) -> Iterator[Needed]:
        scope = self.project.scope(by.file)
        for statement, is_certain in _statements(scope.body if scope else []):
            for module, level in _modules(statement):
                place = self.project.locate(module, by.file, level)
                if place and place[1]:
                    why = f"is imported by {by.file}"
                    yield Needed(place[0], why, by.is_certain and is_certain)

    def _name(self, file: PurePosixPath, taken: set[PurePosixPath]) -> str:
        """The file, or the outermost folder of it of which nothing is in the image."""
        for folder in [*file.parents][-2::-1]:
            if not any(other.is_relative_to(folder) for other in taken):
                return f"{folder}/"
        return str(file)

    def _finding(self, name: str, one: Needed, app: PurePosixPath) -> Finding:
        copies, path = self.subject.copies, self._in_context(one.file)
        hidden_from = copies.line(path) if path else None
        what = ".dockerignore keeps it out" if hidden_from else "the Dockerfile does not copy it"
        line = hidden_from or copies.line(self._in_context(app) or HERE) or copies.all[-1].line
        finding = self.subject.in_dockerfile(RULE, line, f"{name} {one.why}, and {what}")
        if self.subject.dockerfile.is_kept:
            finding = replace(finding, fix=KEPT_FIX)
        return finding if one.is_certain else replace(finding, severity=Severity.WARNING)


def _statements(
    body: list[ast.stmt], is_certain: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements that may run, and whether they run whatever happens."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement, is_certain
        elif isinstance(statement, ast.If) and _is_never_true(statement.test):
            yield from _statements(statement.orelse, False)
        else:
            for node in ast.iter_child_nodes(statement):
                if isinstance(node, ast.ExceptHandler | ast.match_case):
                    yield from _statements(node.body, False)
                elif isinstance(node, ast.stmt):
                    yield from _statements([node], False)


def _is_never_true(test: ast.expr) -> bool:
    """`if TYPE_CHECKING` and `if __name__ == "__main__"`."""
    names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(test)}
    return not names.isdisjoint({"TYPE_CHECKING", "__name__"})


def _modules(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, int]]:
    """The modules that a statement may import, each with its leading dots; none of Python's own."""
    if isinstance(statement, ast.Import):
        found = [(alias.name, 0) for alias in statement.names]
    else:
        module, level = statement.module or "", statement.level
        names = [f"{module}.{alias.name}".strip(".") for alias in statement.names]
        found = [(name, level) for name in (module, *names) if name or level]
    for name, level in found:
        if level or not is_standard(name.partition(".")[0]):
            yield name, level
