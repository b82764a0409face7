"""A project's source, read and never imported: files, their syntax trees, and what names mean.

`Project` reads each file once and never fails on what it finds in one: a file that is not UTF-8,
not Python or absurdly large is listed in `unreadable` and otherwise ignored.
"""

from __future__ import annotations

import ast
import os
import sys
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from deploytool.errors import UsageError

SKIPPED_FOLDERS = frozenset(
    {"node_modules", "build", "dist", "site-packages", "venv", "env", "migrations", "alembic"}
    | {"test", "tests", "testing", "__pycache__", "__pypackages__"}
)
MAX_BYTES = 2**20
MAX_FILES = 5_000
MAX_DEPTH = 60
HERE = PurePosixPath()

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Imported:
    """`import module` (no name) or `from module import name`; level counts the leading dots."""

    module: str
    name: str | None
    level: int


@dataclass(frozen=True)
class Assigned:
    """`name: annotation = value`."""

    value: ast.expr | None
    annotation: ast.expr | None


Binding = Assigned | Imported | Function | ast.ClassDef


@dataclass
class Scope:
    """The names of a module or of a function's body."""

    file: PurePosixPath
    body: list[ast.stmt]
    names: dict[str, list[Binding]]
    stars: list[Imported] = field(default_factory=list)
    outer: Scope | None = None

    @property
    def module(self) -> Scope:
        return self.outer.module if self.outer else self


class Project:
    """A folder with a Python project in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable: dict[PurePosixPath, str] = {}
        self._scopes: dict[PurePosixPath, Scope | None] = {}

    def exists(self, file: PurePosixPath) -> bool:
        return self._is(Path.exists, file)

    def is_file(self, file: PurePosixPath) -> bool:
        return self._is(Path.is_file, file)

    def is_folder(self, file: PurePosixPath) -> bool:
        return self._is(Path.is_dir, file)

    def _is(self, check: Any, file: PurePosixPath) -> bool:
        try:
            return ".." not in file.parts and bool(check(self.path / file))
        except (OSError, ValueError):
            return False

    def text(self, file: PurePosixPath) -> str | None:
        """A small text file, or None."""
        try:
            data = (self.path / file).read_bytes()[: 64 * MAX_BYTES]
            return data.decode("utf-8-sig")
        except (OSError, ValueError):
            return None

    def toml(self, file: PurePosixPath) -> dict[str, Any]:
        """A TOML file, empty when there is none. Raises UsageError when it is not TOML."""
        if not self.is_file(file):
            return {}
        try:
            text = self.text(file)
            if text is None:
                raise ValueError("it is not UTF-8 text")
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{file} cannot be read: {error}",
                code="file_invalid",
                hint="correct it and run this again",
            ) from error

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """pyproject.toml, empty when there is none. Raises UsageError when it is not TOML."""
        return self.toml(PurePosixPath("pyproject.toml"))

    @cached_property
    def python_files(self) -> tuple[PurePosixPath, ...]:
        """The project's own Python files, near ones first; no tests, environments, hidden ones."""
        found: list[PurePosixPath] = []
        for folder, folders, files in os.walk(self.path):
            here = PurePosixPath(Path(folder).relative_to(self.path).as_posix())
            folders[:] = sorted(name for name in folders if self._is_own(here / name))
            found += [here / name for name in files if _is_own_module(name)]
            if len(found) > MAX_FILES:
                break
        return tuple(sorted(found, key=lambda file: (len(file.parts), file)))

    def _is_own(self, folder: PurePosixPath) -> bool:
        name = folder.name
        if name.startswith(".") or name in SKIPPED_FOLDERS or name.endswith(".egg-info"):
            return False
        return not self.is_file(folder / "pyvenv.cfg")

    def scope(self, file: PurePosixPath) -> Scope | None:
        """The module-level names of a file; None when it cannot be read or is not Python."""
        if file not in self._scopes:
            tree = self._parse(file)
            self._scopes[file] = make_scope(file, tree.body) if tree else None
        return self._scopes[file]

    def _parse(self, file: PurePosixPath) -> ast.Module | None:
        try:
            data = (self.path / file).read_bytes()
            if len(data) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
            with _no_warnings():
                return ast.parse(data, str(file))
        except SyntaxError as error:
            self.unreadable[file] = f"line {error.lineno}: {error.msg}"
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            self.unreadable[file] = str(error) or type(error).__name__
        return None

    def package_root(self, file: PurePosixPath) -> PurePosixPath:
        """The folder above the outermost package that a file belongs to."""
        folder = file.parent
        while folder != HERE and self.is_file(folder / "__init__.py"):
            folder = folder.parent
        return folder

    def locate(
        self, module: str, file: PurePosixPath, level: int = 0
    ) -> tuple[PurePosixPath, bool] | None:
        """The file (or the folder, without __init__.py) that an import in `file` means.

        The second value tells whether it is a file. None: it is not part of the project.
        """
        steps = PurePosixPath(*module.split(".")) if module else HERE
        if level:
            above = file.parent
            for _ in range(level - 1):
                above = above.parent
            return self._module_at(above / steps)
        roots = dict.fromkeys((self.package_root(file), HERE, PurePosixPath("src"), file.parent))
        found = (self._module_at(root / steps) for root in roots)
        return next((place for place in found if place), None) if module else None

    def _module_at(self, stem: PurePosixPath) -> tuple[PurePosixPath, bool] | None:
        if self.is_file(stem / "__init__.py"):
            return stem / "__init__.py", True
        if stem.name and self.is_file(stem.with_name(stem.name + ".py")):
            return stem.with_name(stem.name + ".py"), True
        return (stem, False) if self.is_folder(stem) else None

    def imported_files(self, file: PurePosixPath) -> Iterator[PurePosixPath]:
        """The project's own files that a file imports directly."""
        scope = self.scope(file)
        for statement in imports(scope.body) if scope else ():
            for imported in _imported(statement):
                yield from self._files_of(imported, file)

    def _files_of(self, imported: Imported, file: PurePosixPath) -> Iterator[PurePosixPath]:
        names = [imported.module]
        if imported.name:
            names.append(f"{imported.module}.{imported.name}".strip("."))
        for name in names:
            place = self.locate(name, file, imported.level)
            if place and place[1]:
                yield place[0]

    def reachable(self, file: PurePosixPath) -> set[PurePosixPath]:
        """The project's own files that are imported when a file is, itself included."""
        seen: set[PurePosixPath] = set()
        waiting = [file]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += self.imported_files(current)
        return seen


def table_at(document: object, *keys: str) -> dict[str, Any]:
    """The table under some keys of a TOML document; empty when there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _is_own_module(name: str) -> bool:
    is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
    return name.endswith(".py") and not is_test and name not in ("setup.py", "noxfile.py")


@contextmanager
def _no_warnings() -> Iterator[None]:
    """What Python finds doubtful in the project's source is not this program's to report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_expression(text: str) -> ast.expr | None:
    try:
        with _no_warnings():
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_standard(module: str) -> bool:
    """Whether a top-level module comes with Python."""
    return module in sys.stdlib_module_names


def imports(body: Iterable[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements, wherever they are."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run in the same scope: also those inside if, try, with and loops."""
    waiting = list(body)[::-1]
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If) and is_main_guard(statement.test):
            continue
        yield statement
        if not isinstance(statement, Function | ast.ClassDef):
            waiting += list(_inner(statement))[::-1]


def _inner(statement: ast.stmt) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
    )


def make_scope(file: PurePosixPath, body: list[ast.stmt], outer: Scope | None = None) -> Scope:
    scope = Scope(file, body, {}, outer=outer)
    for statement in statements(body):
        for name, binding in _bindings(statement):
            if name == "*" and isinstance(binding, Imported):
                scope.stars.append(binding)
            else:
                scope.names.setdefault(name, []).append(binding)
    return scope


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, Binding]]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, statement
        case ast.Import() | ast.ImportFrom():
            yield from _imported_names(statement)
        case ast.Assign():
            for target in statement.targets:
                yield from _targets(target, statement.value)
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name, Assigned(statement.value, statement.annotation)


def _targets(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Binding]]:
    match target, value:
        case ast.Name(), _:
            yield target.id, Assigned(value, None)
        case ast.Tuple() | ast.List(), ast.Tuple() | ast.List():
            for part, part_value in zip(target.elts, value.elts, strict=False):
                yield from _targets(part, part_value)


def _imported_names(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    for alias, imported in zip(statement.names, _imported(statement), strict=True):
        if isinstance(statement, ast.Import) and not alias.asname:
            first = alias.name.partition(".")[0]
            yield first, Imported(first, None, 0)
        else:
            yield alias.asname or alias.name, imported


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[Imported]:
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            yield Imported(alias.name, None, 0)
        else:
            yield Imported(statement.module or "", alias.name, statement.level)


def first_names(file_scope: Scope) -> set[str]:
    """The top-level modules that a file imports absolutely."""
    found = set()
    for statement in imports(file_scope.body):
        for imported in _imported(statement):
            if not imported.level:
                found.add(imported.module.partition(".")[0])
    return found
