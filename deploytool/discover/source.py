"""A project's source, read and never imported: files, their syntax trees, and what names mean.

`Project` reads each file once and never fails on what it finds in one: a file that is not UTF-8,
not Python or absurdly large is listed in `unreadable` and otherwise ignored.
"""

from __future__ import annotations

import ast
import os
import posixpath
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import tomli

from deploytool.errors import UsageError
from deploytool.reading import read_file

SKIPPED_FOLDERS = frozenset(
    {"node_modules", "build", "dist", "site-packages", "venv", "env", "migrations", "alembic"}
    | {"test", "tests", "testing", "__pycache__", "__pypackages__"}
)
ASIDE = frozenset(
    {"bench", "benchmarks", "demo", "demos", "doc", "docs", "docs_src", "examples", "example"}
    | {"samples", "scripts", "tools", "notebooks"}
)
OFTEN_EXTERNAL = frozenset(
    {"aiohttp", "alembic", "boto3", "celery", "dash", "discord", "django", "docker", "fastapi"}
    | {"flask", "google", "graphene", "grpc", "gunicorn", "httpx", "jwt", "kafka", "langchain"}
    | {"minio", "mongoengine", "motor", "mysql", "nats", "openai", "pika", "prometheus_client"}
    | {"psycopg2", "pydantic", "pymongo", "redis", "requests", "sentry_sdk", "slack_sdk"}
    | {"socketio", "sqlalchemy", "sqlmodel", "starlette", "stripe", "strawberry", "telegram"}
    | {"telethon", "torch", "uvicorn"}
)
"""Packages of others after which people name folders: `adapters/fastapi/` is not FastAPI."""
TEMPLATE_MARKS = ("{{", "}}", "{%", "%}")
MAX_BYTES = 2**20
MAX_FILES = 5_000
PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
"""The Python of deploytool, by whose syntax it reads source: it cannot read newer ones."""
MAX_DEPTH = 60
HERE = PurePosixPath()
LOCKS = {
    "uv.lock": "`uv lock` writes it again",
    "poetry.lock": "`poetry lock --regenerate` writes it again",
    "pdm.lock": "`pdm lock` writes it again",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Place = tuple[PurePosixPath, bool]
"""Where a module is, and whether that is a file."""


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

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Everything in it, outer before inner: a tree is walked once, whoever asks."""
        return tuple(node for statement in self.body for node in ast.walk(statement))

    @cached_property
    def imported(self) -> tuple[Imported, ...]:
        """Its imports, wherever the statement is."""
        found = (node for node in self.nodes if isinstance(node, ast.Import | ast.ImportFrom))
        return tuple(imported for statement in found for imported in _imported(statement))

    @cached_property
    def calls(self) -> tuple[ast.Call, ...]:
        return tuple(node for node in self.nodes if isinstance(node, ast.Call))


class Project:
    """A folder with a Python project in it. Each file is read and each folder listed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable: dict[PurePosixPath, str] = {}
        self.templates: list[PurePosixPath] = []
        """Folders and files that a template engine makes projects from."""
        self._scopes: dict[PurePosixPath, Scope | None] = {}
        self._data: dict[PurePosixPath, bytes | OSError | ValueError] = {}
        self._listings: dict[PurePosixPath, dict[str, bool]] = {}
        self._places: dict[tuple[str, PurePosixPath, int], Place | None] = {}
        self._package_roots: dict[PurePosixPath, PurePosixPath] = {}
        self._direct: dict[PurePosixPath, tuple[PurePosixPath, ...]] = {}

    @classmethod
    def at(cls, project: Path | Project) -> Project:
        """The project itself, or the one in a folder."""
        return project if isinstance(project, Project) else cls(Path(project))

    def exists(self, file: PurePosixPath) -> bool:
        return self._kind(file) is not None

    def is_file(self, file: PurePosixPath) -> bool:
        return self._kind(file) is False

    def is_folder(self, file: PurePosixPath) -> bool:
        return self._kind(file) is True

    def _kind(self, file: PurePosixPath) -> bool | None:
        """Whether a path is a folder; None when nothing is there."""
        if not file.parts:
            return self.path.is_dir() or None
        if ".." in file.parts or file.is_absolute():
            return None
        return self.listing(file.parent).get(file.name)

    def listing(self, folder: PurePosixPath) -> dict[str, bool]:
        """The names in a folder, and whether each is a folder."""
        if folder not in self._listings:
            self._listings[folder] = _listed(self.path / folder)
        return self._listings[folder]

    def text(self, file: PurePosixPath) -> str | None:
        """A small text file, or None."""
        try:
            return _decoded(self.data(file))
        except (OSError, ValueError):
            return None

    def needed_text(self, file: PurePosixPath) -> str:
        """A text file that nothing can be said without. Raises UsageError."""
        try:
            return _decoded(self.data(file))
        except UnicodeError as error:
            raise _invalid(file, "it is not UTF-8 text") from error
        except (OSError, ValueError) as error:
            raise _invalid(file, getattr(error, "strerror", None) or error) from error

    def data(self, file: PurePosixPath) -> bytes:
        """A file's content. Raises OSError or ValueError when it cannot be read."""
        if file not in self._data:
            try:
                self._data[file] = read_file(
                    self.path / file, limit=64 * MAX_BYTES, within=self.path
                )
            except (OSError, ValueError) as error:
                self._data[file] = error
        data = self._data[file]
        if isinstance(data, Exception):
            raise data
        return data

    def toml(self, file: PurePosixPath) -> dict[str, Any]:
        """A TOML file, empty when there is none. Raises UsageError when it is not TOML."""
        if not self.is_file(file):
            return {}
        try:
            return tomli.loads(self.needed_text(file))
        except (ValueError, RecursionError) as error:
            raise _invalid(file, error) from error

    def helpful_toml(self, file: PurePosixPath) -> dict[str, Any]:
        """A TOML file that only helps: one that cannot be read says nothing."""
        try:
            return self.toml(file)
        except UsageError:
            return {}

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
            own = self._without_templates(here, sorted(folders))
            folders[:] = [name for name in own if self._is_own(here / name)]
            modules = [name for name in sorted(files) if _is_own_module(name)]
            found += [here / name for name in self._without_templates(here, modules)]
            if len(found) > MAX_FILES:
                break
        return tuple(sorted(found, key=lambda file: (len(file.parts), file)))

    def _without_templates(self, folder: PurePosixPath, names: list[str]) -> list[str]:
        marked = [name for name in names if any(mark in name for mark in TEMPLATE_MARKS)]
        self.templates += [folder / name for name in marked]
        return [name for name in names if name not in marked]

    def _is_own(self, folder: PurePosixPath) -> bool:
        name = folder.name
        if name.startswith(".") or name in SKIPPED_FOLDERS or name.endswith(".egg-info"):
            return False
        return not (self.path / folder / "pyvenv.cfg").is_file()

    def python_below(self, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """The project's own Python files in a folder and the folders in it."""
        return tuple(self._python_below.get(folder, ()))

    @cached_property
    def _python_below(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        below: dict[PurePosixPath, list[PurePosixPath]] = {}
        for file in self.python_files:
            for folder in file.parents:
                below.setdefault(folder, []).append(file)
        return below

    def scope(self, file: PurePosixPath) -> Scope | None:
        """The module-level names of a file; None when it cannot be read or is not Python."""
        if file not in self._scopes:
            tree = self._parse(file)
            self._scopes[file] = make_scope(file, tree.body) if tree else None
        return self._scopes[file]

    def _parse(self, file: PurePosixPath) -> ast.Module | None:
        try:
            data = self.data(file)
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
        if folder not in self._package_roots:
            is_package = folder != HERE and self.is_file(folder / "__init__.py")
            self._package_roots[folder] = self.package_root(folder) if is_package else folder
        return self._package_roots[folder]

    def locate(self, module: str, file: PurePosixPath, level: int = 0) -> Place | None:
        """The file (or the folder, without __init__.py) that an import in `file` means.

        The second value is whether it is a file. None: it is not part of the project.
        """
        key = module, file.parent, level
        if key not in self._places:
            self._places[key] = self._locate(module, file, level)
        return self._places[key]

    def _locate(self, module: str, file: PurePosixPath, level: int) -> Place | None:
        steps = PurePosixPath(*module.split(".")) if module else HERE
        if level:
            above = file.parent
            for _ in range(level - 1):
                above = above.parent
            return self.module_at(above / steps)
        if not module:
            return None
        name = module.partition(".")[0]
        roots = dict.fromkeys((self.package_root(file), HERE, PurePosixPath("src"), *file.parents))
        for root in list(roots)[: 3 if name in OFTEN_EXTERNAL else None]:
            place = self.module_at(root / steps)
            if place and (place[1] or name not in OFTEN_EXTERNAL):
                return place
        return None

    def module_at(self, stem: PurePosixPath) -> Place | None:
        """The module or package of a path without its suffix."""
        if self.is_file(stem / "__init__.py"):
            return stem / "__init__.py", True
        if stem.name and self.is_file(stem.with_name(stem.name + ".py")):
            return stem.with_name(stem.name + ".py"), True
        return (stem, False) if stem in self._python_below else None

    def imported_files(self, file: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """The project's own files that a file imports directly."""
        if file not in self._direct:
            scope = self.scope(file)
            found = (
                self._files_of(imported, file) for imported in (scope.imported if scope else ())
            )
            self._direct[file] = tuple(dict.fromkeys(place for places in found for place in places))
        return self._direct[file]

    def _files_of(self, imported: Imported, file: PurePosixPath) -> Iterator[PurePosixPath]:
        names = [imported.module]
        if imported.name:
            names.append(f"{imported.module}.{imported.name}".strip("."))
        for name in names:
            place = self.locate(name, file, imported.level)
            if place and place[1]:
                yield place[0]
            if place:
                yield from self._packages_above(place[0])

    def _packages_above(self, file: PurePosixPath) -> Iterator[PurePosixPath]:
        """The __init__.py files that are run before a module is."""
        folder = file.parent
        while folder != HERE and self.is_file(folder / "__init__.py"):
            yield folder / "__init__.py"
            folder = folder.parent

    def reachable(self, *files: PurePosixPath) -> set[PurePosixPath]:
        """The project's own files that are imported when some are, themselves included."""
        seen: set[PurePosixPath] = set()
        waiting = list(files)
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                waiting += self.imported_files(current)
        return seen


def below(folder: PurePosixPath, path: PurePosixPath | str) -> PurePosixPath | None:
    """A path from a folder of the project, without ".."; None outside the project."""
    found = PurePosixPath(posixpath.normpath(folder / path))
    return None if found.is_absolute() or found.parts[:1] == ("..",) else found


def _invalid(file: PurePosixPath, why: object) -> UsageError:
    return UsageError(
        f"{file} cannot be read: {why}",
        code="file_invalid",
        hint=LOCKS.get(file.name, "correct it and run this again"),
    )


def _decoded(data: bytes) -> str:
    """Windows' PowerShell writes some files in UTF-16."""
    return data.decode("utf-16" if is_utf16(data) else "utf-8-sig")


def is_utf16(data: bytes) -> bool:
    """Whether a text begins with the mark of UTF-16."""
    return data.startswith((b"\xff\xfe", b"\xfe\xff"))


def table_at(document: object, *keys: str) -> dict[str, Any]:
    """The table under some keys of a TOML document; empty when there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def texts_in(value: object) -> list[str]:
    """The texts of a list; empty for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def in_words(names: Iterable[str]) -> str:
    """ "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _listed(folder: Path) -> dict[str, bool]:
    """The files and folders in a folder; a link is what it leads to."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if (is_folder := _is_folder(entry)) is not None:
                    found[entry.name] = is_folder
    except (OSError, ValueError):
        pass
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    try:
        return True if entry.is_dir() else False if entry.is_file() else None
    except OSError:
        return None


def _is_own_module(name: str) -> bool:
    is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
    return name.endswith(".py") and not is_test and name not in ("setup.py", "noxfile.py")


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Python's warnings about the project's source are not this program's to report."""
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


def called_name(call: ast.Call) -> str:
    """The last part of the name that a call calls."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def argument(
    call: ast.Call, position: int | None, keywords: Collection[str] = ()
) -> ast.expr | None:
    """An argument of a call, by its place or one of its names."""
    for keyword in call.keywords:
        if keyword.arg in keywords:
            return keyword.value
    if position is None or position >= len(call.args):
        return None
    before = call.args[: position + 1]
    return None if any(isinstance(node, ast.Starred) for node in before) else before[-1]


def is_true(node: ast.expr | None) -> bool:
    """Whether it is the constant True."""
    return isinstance(node, ast.Constant) and node.value is True


def imports(body: Iterable[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements, wherever they are."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run in the same scope when it is imported: also inside if, try and loops."""
    waiting = list(body)[::-1]
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If) and (runs := guarded_body(statement)) is not None:
            waiting += runs[::-1]
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


def guarded_body(statement: ast.If) -> list[ast.stmt] | None:
    """The branch of `if __name__ == "__main__"`, or its opposite, on import; None: another test."""
    match statement.test:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if _is_main(left, right):
            if isinstance(op, ast.Eq):
                return statement.orelse
            if isinstance(op, ast.NotEq):
                return statement.body
    return None


def _is_main(*sides: ast.expr) -> bool:
    """Whether the module's name is compared to that of the program, either way round."""
    names = [side.id for side in sides if isinstance(side, ast.Name)]
    texts = [side.value for side in sides if isinstance(side, ast.Constant)]
    return names == ["__name__"] and texts == ["__main__"]


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


def first_names(scope: Scope) -> set[str]:
    """The top-level modules that a file imports absolutely."""
    found = scope.imported
    return {imported.module.partition(".")[0] for imported in found if not imported.level}
