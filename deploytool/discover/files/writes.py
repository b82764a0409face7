"""Finds what an app writes below its own folder, and elsewhere, as far as its source shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath

from deploytool.discover.names import External, LocalClass, LocalFunction
from deploytool.discover.paths import CODE, Default, Given, Paths, path_of
from deploytool.discover.source import (
    MAX_DEPTH,
    Function,
    Project,
    Scope,
    argument,
    called_name,
    statements,
)

TEMPORARY = ("/tmp", "/var/tmp", "/dev", "/proc")


class WriteKind(StrEnum):
    SQLITE = "sqlite"
    DATABASE = "database"
    """Another database in a file: TinyDB, shelve, DuckDB."""
    LOG = "log"
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True)
class Write:
    """A file or a folder that the app writes."""

    path: PurePosixPath
    """Relative to the project; absolute where it is outside of the app's folder."""
    kind: WriteKind
    is_folder: bool
    where: str
    """The file whose source says so."""
    variable: str | None = None
    """The environment variable that says otherwise."""
    value: str = "{path}"
    """The value of that variable, for example "sqlite:///{path}"."""
    is_shipped: bool = False
    """A database that is in the project, and whose tables nothing in the source makes."""


@dataclass(frozen=True)
class _Found:
    write: Write
    is_call: bool
    """Something is written there. Otherwise it is only named, or made as an empty folder."""


@dataclass(frozen=True)
class _Target:
    """The argument of a call that says what it writes."""

    kind: WriteKind
    position: int
    keywords: tuple[str, ...]
    mode: int | None = None
    """The position of the mode, where the call only writes in some of them."""


def find_writes(
    project: Project, files: Iterable[PurePosixPath], workdir: PurePosixPath
) -> tuple[Write, ...]:
    """The paths that the app writes, one entry for each file or folder, sorted.

    `files` are the modules that the app reaches, `workdir` is the process's folder, relative to
    the project.
    """
    search = _Search(project, [*files], workdir)
    writes = _merged([*search.find(), *search.in_alembic()])
    if any(map(search.makes_tables, search.scopes)):
        return writes
    return tuple(replace(write, is_shipped=_is_shipped(write, project)) for write in writes)


def _is_shipped(write: Write, project: Project) -> bool:
    is_database = write.kind in (WriteKind.SQLITE, WriteKind.DATABASE)
    return is_database and not write.path.is_absolute() and project.is_file(write.path)


# --- the search ------------------------------------------------------------------------------

_URL = re.compile(r"^(sqlite(?:\+\w+)?)://([^?#\s]*)(\?\S*)?$")
_MEMORY = re.compile(r"^$|:memory:|mode=memory")
_ALEMBIC_URL = re.compile(r"^\s*sqlalchemy\.url\s*=\s*(sqlite\S+)", re.MULTILINE)
_ALEMBIC_SCRIPTS = re.compile(r"^\s*script_location\s*=\s*(?:%\(here\)s/)?([\w./-]+)", re.MULTILINE)
_TABLES = re.compile(
    r"create_all|create_tables?|generate_schemas?|CREATE\s+(VIRTUAL\s+)?TABLE|executescript|migrat"
    r"|alembic|aerich",
    re.IGNORECASE,
)
_ORM = re.compile(r"^\s*(?:from|import)\s+(tortoise|sqlalchemy|sqlmodel)\b", re.MULTILINE)
_TELLING = (ast.Call, ast.Dict, ast.Constant, ast.JoinedStr, ast.BinOp, ast.BoolOp, ast.IfExp)
_IS_TEST = re.compile(r"^Test(s|ing)?([A-Z_]|$)")
"""Classes with the settings of tests."""
_WRITING = re.compile(r"[wax+]")

_SQLITE = _Target(WriteKind.SQLITE, 0, ("database", "path", "filename"))
_DATABASE = _Target(WriteKind.DATABASE, 0, ("path", "filename", "database"))
_HANDLER = _Target(WriteKind.LOG, 0, ("filename",))
_MADE = _Target(WriteKind.FOLDER, 0, ("name", "path"))
_FILLED = _Target(WriteKind.FOLDER, 0, ("path", "directory", "persist_directory", "uri"))
_OPENED = _Target(WriteKind.FILE, 0, ("file", "filename"), mode=1)
_COPIED = _Target(WriteKind.FILE, 1, ("dst", "filename", "file"))

_CALLS: dict[str, _Target] = {
    "sqlite3.connect": _SQLITE,
    "sqlite3.dbapi2.connect": _SQLITE,
    "aiosqlite.connect": _SQLITE,
    "pysqlite3.connect": _SQLITE,
    "peewee.SqliteDatabase": _SQLITE,
    "playhouse.sqlite_ext.SqliteExtDatabase": _SQLITE,
    "playhouse.sqliteq.SqliteQueueDatabase": _SQLITE,
    "playhouse.pool.PooledSqliteDatabase": _SQLITE,
    "playhouse.apsw_ext.APSWDatabase": _SQLITE,
    "peewee_async.SqliteDatabase": _SQLITE,
    "piccolo.engine.sqlite.SQLiteEngine": _SQLITE,
    "piccolo.engine.SQLiteEngine": _SQLITE,
    "sqlitedict.SqliteDict": _SQLITE,
    "sqlite_utils.Database": _SQLITE,
    "apsw.Connection": _SQLITE,
    "tinydb.TinyDB": _DATABASE,
    "tinydb.database.TinyDB": _DATABASE,
    "shelve.open": _DATABASE,
    "dbm.open": _DATABASE,
    "duckdb.connect": _DATABASE,
    "logging.FileHandler": _HANDLER,
    "logging.handlers.RotatingFileHandler": _HANDLER,
    "logging.handlers.TimedRotatingFileHandler": _HANDLER,
    "logging.handlers.WatchedFileHandler": _HANDLER,
    "concurrent_log_handler.ConcurrentRotatingFileHandler": _HANDLER,
    "logging.basicConfig": _Target(WriteKind.LOG, MAX_DEPTH, ("filename",)),
    "loguru.logger.add": _Target(WriteKind.LOG, 0, ("sink",)),
    "os.makedirs": _MADE,
    "os.mkdir": _MADE,
    "aiofiles.os.makedirs": _MADE,
    "aiofiles.os.mkdir": _MADE,
    "chromadb.PersistentClient": _FILLED,
    "lancedb.connect": _FILLED,
    "diskcache.Cache": _FILLED,
    "open": _OPENED,
    "io.open": _OPENED,
    "codecs.open": _OPENED,
    "gzip.open": _OPENED,
    "aiofiles.open": _OPENED,
    "aiofiles.threadpool.open": _OPENED,
    "anyio.open_file": _OPENED,
    "shutil.copy": _COPIED,
    "shutil.copy2": _COPIED,
    "shutil.copyfile": _COPIED,
    "shutil.move": _COPIED,
    "os.rename": _COPIED,
    "os.replace": _COPIED,
    "joblib.dump": _COPIED,
}
_METHODS: dict[str, WriteKind] = {
    "mkdir": WriteKind.FOLDER,
    "write_text": WriteKind.FILE,
    "write_bytes": WriteKind.FILE,
    "touch": WriteKind.FILE,
    "open": WriteKind.FILE,
}
_EXPORTS = frozenset({"to_csv", "to_excel", "to_parquet", "to_pickle", "to_json", "savefig"})
_ENGINES = frozenset(
    {"create_engine", "create_async_engine", "Database", "register_tortoise", "RegisterTortoise"}
    | {"init", "SQLAlchemyJobStore", "connect", "from_url"}
)
_CALLED = frozenset(name.rpartition(".")[2] for name in _CALLS)
_WORDS = "|".join(sorted(_CALLED | _METHODS.keys() | _EXPORTS | _ENGINES))
_MENTIONS = re.compile(rf"sqlite|\b(?:{_WORDS}|filename|file_path)\b")
"""Words that a module has if there is anything to find in it."""


class _Search:
    def __init__(
        self, project: Project, files: Sequence[PurePosixPath], workdir: PurePosixPath
    ) -> None:
        self.paths = Paths(project, workdir, self._calls)
        scopes = (project.scope(file) for file in files)
        self.project = project
        self.scopes = [scope for scope in scopes if scope]
        self.texts = {scope.file: project.text(scope.file) or "" for scope in self.scopes}
        imported = {name for text in self.texts.values() for name in _ORM.findall(text)}
        self.is_tortoise = imported == {"tortoise"}
        self.nodes: dict[PurePosixPath, list[tuple[ast.AST, Scope]]] = {}
        self.seen: set[int] = set()

    def find(self) -> Iterator[_Found]:
        for scope in self.scopes:
            if not _MENTIONS.search(self.texts[scope.file]):
                continue
            try:
                for node, place in self._in_module(scope):
                    yield from self._at(node, place)
            except RecursionError:
                continue

    def makes_tables(self, scope: Scope) -> bool:
        """Whether a module makes the tables of a database, or migrations beside it do."""
        has_migrations = (self.project.is_file(f / "alembic.ini") for f in scope.file.parents)
        return bool(_TABLES.search(self.texts[scope.file])) or any(has_migrations)

    def in_alembic(self) -> Iterator[_Found]:
        """The database of an alembic.ini, unless its env.py takes the app's own."""
        folders = {folder for scope in self.scopes for folder in scope.file.parents}
        for file in sorted(folder / "alembic.ini" for folder in folders):
            text = self.project.text(file) or ""
            url, scripts = _ALEMBIC_URL.search(text), _ALEMBIC_SCRIPTS.search(text)
            environment = file.parent / (scripts[1] if scripts else "alembic") / "env.py"
            if url and "sqlalchemy.url" not in (self.project.text(environment) or ""):
                here = f"{CODE}/{file.parent}".removesuffix("/.")
                place = Scope(file, [], {})
                yield from self._url(url[1].replace("%(here)s", here), place, is_call=True)

    def _calls(self) -> Iterator[Given]:
        for scope in self.scopes:
            for node, place in self._in_module(scope):
                if isinstance(node, ast.Call):
                    yield Given(node, place)

    def _in_module(self, scope: Scope) -> list[tuple[ast.AST, Scope]]:
        """The result of `_nodes`, computed once."""
        if scope.file not in self.nodes:
            try:
                self.nodes[scope.file] = list(self._nodes(scope.body, scope))
            except RecursionError:
                self.nodes[scope.file] = []
        return self.nodes[scope.file]

    def _nodes(
        self, body: list[ast.stmt], scope: Scope, owner: LocalClass | None = None
    ) -> Iterator[tuple[ast.AST, Scope]]:
        """Expressions and classes with their scopes; those of a class's body know its names."""
        here = self.paths.class_scope(owner) if owner else scope
        for statement in statements(body):
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    inner = self._inside(statement, scope, owner)
                    yield from self._nodes(statement.body, inner)
                case ast.ClassDef():
                    if not _IS_TEST.match(statement.name):
                        yield statement, scope
                        yield from self._nodes(statement.body, scope, LocalClass(statement, scope))
                case _:
                    yield from ((node, here) for node in _expressions(statement))

    def _inside(self, function: Function, scope: Scope, owner: LocalClass | None) -> Scope:
        local = LocalFunction(function, scope)
        if owner is None:
            return self.paths.function_scope(local)
        return self.paths.method_scope(local, owner.node)

    def _in_settings(self, node: ast.ClassDef, scope: Scope) -> Iterator[_Found]:
        owner = LocalClass(node, scope)
        if not self.paths.settings(owner):
            return
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                value = statement.value
                variable = self.paths.variable_of_field(owner, statement.target.id)
                text = self.paths.text(value, scope) if value else None
                if value and variable and text and _URL.match(text):
                    self._skip(value)
                    yield from self._url(Default(text, variable), scope, is_call=False)

    def _at(self, node: ast.AST, scope: Scope) -> Iterator[_Found]:
        if id(node) in self.seen:
            return
        match node:
            case ast.ClassDef():
                yield from self._in_settings(node, scope)
            case ast.Call():
                yield from self._in_call(node, scope)
            case ast.Dict():
                yield from self._in_dict(node, scope)
            case ast.Constant() | ast.JoinedStr() | ast.BinOp() if _starts_url(node):
                self._skip(node)
                yield from self._url(self.paths.text(node, scope), scope, is_call=False)
            case ast.BoolOp() | ast.IfExp():
                text = self.paths.text(node, scope)
                if isinstance(text, Default) and _URL.match(text):
                    self._skip(node)
                    yield from self._url(text, scope, is_call=False)

    def _skip(self, node: ast.AST) -> None:
        self.seen |= {id(inner) for inner in ast.walk(node)}

    def _in_call(self, call: ast.Call, scope: Scope) -> Iterator[_Found]:
        name = called_name(call)
        if target := self._target(call, name, scope):
            yield from self._argument(call, target, scope)
        elif name in _METHODS and isinstance(call.func, ast.Attribute):
            yield from self._in_method(call, call.func, _METHODS[name], scope)
        elif name in _EXPORTS:
            export = _Target(WriteKind.FILE, 0, ("path_or_buf", "fname", "path", "excel_writer"))
            yield from self._argument(call, export, scope)
        if name in _ENGINES:
            for node in (*call.args, *(keyword.value for keyword in call.keywords)):
                if isinstance(node, ast.Name | ast.Attribute | ast.Call):
                    yield from self._url(self.paths.text(node, scope), scope, is_call=True)
        elif self.paths.variable(call, scope):
            text = self.paths.text(call, scope)
            if text and _URL.match(text):
                self._skip(call)
                yield from self._url(text, scope, is_call=False)

    def _target(self, call: ast.Call, name: str, scope: Scope) -> _Target | None:
        if isinstance(call.func, ast.Attribute) and name not in _CALLED:
            return None
        match self.paths.meaning(call.func, scope):
            case External(name=full):
                return _CALLS.get(full)
            case None if isinstance(call.func, ast.Name) and name == "open":
                return None if self.paths.is_bound("open", scope) else _OPENED
        return None

    def _argument(self, call: ast.Call, target: _Target, scope: Scope) -> Iterator[_Found]:
        if target.mode is not None and not self._writes(call, target.mode, scope):
            return
        node = argument(call, target.position, target.keywords)
        text = self.paths.text(node, scope) if node else None
        if text is None or _URL.match(text):
            return
        is_call = target is not _MADE
        if target.kind is WriteKind.SQLITE:
            text = _without_uri(text)
        yield from self._write(text, target.kind, scope, is_call=is_call)

    def _in_method(
        self, call: ast.Call, function: ast.Attribute, kind: WriteKind, scope: Scope
    ) -> Iterator[_Found]:
        if function.attr == "open" and not self._writes(call, 0, scope):
            return
        text = self.paths.text(function.value, scope)
        if text is not None:
            yield from self._write(text, kind, scope, is_call=function.attr != "mkdir")

    def _writes(self, call: ast.Call, position: int, scope: Scope) -> bool:
        node = argument(call, position, ("mode",))
        mode = self.paths.text(node, scope) if node else None
        return bool(mode and _WRITING.search(mode))

    def _in_dict(self, node: ast.Dict, scope: Scope) -> Iterator[_Found]:
        """The file of a handler in a logging configuration, or of Tortoise's credentials."""
        texts = (key.value if isinstance(key, ast.Constant) else None for key in node.keys)
        values = dict(zip(texts, node.values, strict=True))
        is_handler = "class" in values or "()" in values
        for key, kind in (("filename", WriteKind.LOG), ("file_path", WriteKind.SQLITE)):
            is_meant = key in values and (is_handler or kind is WriteKind.SQLITE)
            text = self.paths.text(values[key], scope) if is_meant else None
            if text is not None:
                yield from self._write(text, kind, scope, is_call=True)

    def _url(self, text: str | None, scope: Scope, *, is_call: bool) -> Iterator[_Found]:
        """The file of an SQLite URL: sqlite:///relative, sqlite:////absolute, Tortoise's own."""
        url = _URL.match(text or "")
        if (
            text is None
            or url is None
            or _MEMORY.search(url[2])
            or _MEMORY.match(url[2].strip("/"))
        ):
            return
        scheme, place, query = url[1], url[2], url[3] or ""
        if query and _MEMORY.search(query.replace("?", "", 1) or "-"):
            return
        is_plain = self.is_tortoise or not place.startswith("/")
        path = _without_uri(place if is_plain else place[1:])
        slashes = "://" if is_plain else ":///"
        for found in self._write(path, WriteKind.SQLITE, scope, is_call=is_call):
            variable = text.variable if isinstance(text, Default) else None
            value = f"{scheme}{slashes}{{path}}{query}"
            yield replace(found, write=replace(found.write, variable=variable, value=value))

    def _write(
        self, text: str, kind: WriteKind, scope: Scope, *, is_call: bool
    ) -> Iterator[_Found]:
        is_file_database = kind in (WriteKind.SQLITE, WriteKind.DATABASE)
        if is_file_database and _MEMORY.search(text):
            return
        place = _place(text, self.paths.workdir)
        if place is None:
            return
        path, is_folder = place
        if kind is WriteKind.FILE and path.suffix == ".log" and not is_folder:
            kind = WriteKind.LOG
        if (
            is_folder
            and kind is WriteKind.FILE
            and path
            not in (
                PurePosixPath(),
                scope.file.parent,
            )
        ):
            kind = WriteKind.FOLDER
        variable = text.variable if isinstance(text, Default) else None
        is_folder = is_folder or kind is WriteKind.FOLDER
        yield _Found(Write(path, kind, is_folder, str(scope.file), variable), is_call)


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """The telling expressions of a statement, outer ones first; not those of statements in it."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr | ast.withitem):
            yield from (node for node in ast.walk(child) if isinstance(node, _TELLING))


def _starts_url(node: ast.expr) -> bool:
    """Whether an expression begins with the text of an SQLite URL."""
    match node:
        case ast.Constant(value=str() as text):
            return text.startswith("sqlite")
        case ast.JoinedStr(values=[first, *_]):
            return _starts_url(first)
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            while isinstance(node, ast.BinOp):
                node = node.left
            return _starts_url(node)
    return False


def _without_uri(text: str) -> str:
    """The path in SQLite's own `file:path?mode=rwc`."""
    if not text.startswith("file:"):
        return text
    path, _, query = text.removeprefix("file:").partition("?")
    return ":memory:" if _MEMORY.search(query or "-") else re.sub("^//(?=/)", "", path)


def _place(text: str, workdir: str) -> tuple[PurePosixPath, bool] | None:
    """The path that a text means, and whether only the folder is known."""
    path, is_folder = path_of(text, workdir)
    if path is None or str(path).startswith(TEMPORARY) or path == PurePosixPath("/"):
        return None
    inside = path.is_relative_to(CODE)
    return (path.relative_to(CODE) if inside else path), is_folder


# --- one entry for each place ----------------------------------------------------------------

_ORDER = (
    WriteKind.SQLITE,
    WriteKind.DATABASE,
    WriteKind.LOG,
    WriteKind.FOLDER,
    WriteKind.FILE,
)


def _merged(found: Iterable[_Found]) -> tuple[Write, ...]:
    places: dict[PurePosixPath, list[_Found]] = {}
    for one in found:
        places.setdefault(one.write.path, []).append(one)
    merged = [_strongest(group) for group in places.values()]
    kept = [one.write for one in merged if not _is_told_by_another(one, merged)]
    return tuple(sorted(kept, key=lambda write: write.path))


def _strongest(group: list[_Found]) -> _Found:
    """The most telling of one place. A variable counts if everything that writes there reads it."""
    strong = [one for one in group if one.is_call] or group
    best = min(strong, key=lambda one: _ORDER.index(one.write.kind))
    same = [one.write for one in strong if one.write.kind is best.write.kind]
    if len({(write.variable, write.value) for write in same}) > 1:
        return replace(best, write=replace(best.write, variable=None))
    return best


def _is_told_by_another(one: _Found, others: Iterable[_Found]) -> bool:
    """A folder that is only made says less than what is written in it, a file less than the
    folder that is filled."""
    path, kind = one.write.path, one.write.kind
    called = [other.write for other in others if other.is_call]
    if kind is WriteKind.FOLDER and not one.is_call:
        return any(path in other.path.parents for other in called)
    if kind is WriteKind.FILE:
        filled = {other.path for other in called if other.kind is WriteKind.FOLDER}
        return not filled.isdisjoint(path.parents)
    return False
