"""The uses of other distributions in the code of one file, read from its syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploytool.discover.source import Assigned, Function, Scope, argument, guarded_body, is_true

MISSING = frozenset({"ImportError", "ModuleNotFoundError"})
ANYTHING = frozenset({"Exception", "BaseException"})
DATABASES = "postgresql|postgres|mysql|mariadb|sqlite|mssql|oracle|cockroachdb"
URL = re.compile(rf"({DATABASES})(?:\+(\w+))?://(.?)")
SCHEME = re.compile(rf"({DATABASES})\+(\w+)")
SIGNED = re.compile(r"(RS|ES|PS)(256|384|512)|EdDSA")
COMPARING = frozenset({"replace", "startswith", "removeprefix", "sub", "split", "match", "error"})
TELLING = frozenset({"description", "example", "examples", "title", "help", "summary"})
MULTIPART = ("python-multipart",)
TEST_CLIENT = ("httpx", "httpx2")
BCRYPT = ("bcrypt<5", "passlib[bcrypt]", "bcrypt")
EXCEL = ("openpyxl", "xlrd", "python-calamine", "xlsxwriter", "calamine")
PARQUET = ("pyarrow", "fastparquet")

FEATURES = {
    ("fastapi", "File"): MULTIPART,
    ("fastapi", "Form"): MULTIPART,
    ("fastapi", "Jinja2Templates"): ("jinja2",),
    ("fastapi", "OAuth2PasswordRequestForm"): MULTIPART,
    ("fastapi", "OAuth2PasswordRequestFormStrict"): MULTIPART,
    ("fastapi", "ORJSONResponse"): ("orjson",),
    ("fastapi", "UJSONResponse"): ("ujson",),
    ("fastapi", "UploadFile"): MULTIPART,
    ("pandas", "read_excel"): EXCEL,
    ("pandas", "read_html"): ("lxml", "html5lib"),
    ("pandas", "read_parquet"): PARQUET,
    ("passlib", "bcrypt"): BCRYPT,
    ("passlib", "argon2"): ("argon2-cffi",),
    ("pwdlib", "recommended"): ("pwdlib[argon2]", "argon2-cffi"),
    ("pydantic", "EmailStr"): ("email-validator",),
    ("pydantic", "NameEmail"): ("email-validator",),
    ("pydantic", "validate_email"): ("email-validator",),
    ("starlette", "Jinja2Templates"): ("jinja2",),
}
"""A name of a distribution -> what it needs as soon as it is used."""

PARTS = {
    "apscheduler.jobstores.redis": ("redis",),
    "apscheduler.jobstores.sqlalchemy": ("sqlalchemy",),
    "authlib.integrations.httpx_client": ("httpx",),
    "authlib.integrations.starlette_client": ("httpx",),
    "fastapi.templating": ("jinja2",),
    "fastapi.testclient": TEST_CLIENT,
    "fastapi_cache": ("jinja2",),
    "fastapi_cache.backends.redis": ("redis",),
    "sqlalchemy.ext.asyncio": ("sqlalchemy[asyncio]", "greenlet"),
    "sqlmodel.ext.asyncio": ("sqlalchemy[asyncio]", "greenlet"),
    "starlette.middleware.sessions": ("itsdangerous",),
    "starlette.templating": ("jinja2",),
    "starlette.testclient": TEST_CLIENT,
}
"""A module of a distribution -> what it imports that the distribution does not bring."""

METHODS = {
    ("pandas", "to_excel"): EXCEL,
    ("pandas", "to_parquet"): PARQUET,
}
"""A method's name, where a module is imported -> what it needs."""


@dataclass(frozen=True)
class Use:
    """Something that a file does, and the distributions of which one must be there for it."""

    text: str
    """The use: "uses Form"."""
    providers: tuple[str, ...]
    lazy: bool
    """Whether it runs only once a function is called."""


@dataclass(frozen=True)
class ImportedModule:
    name: str
    """The full name, with what is imported from it: "google.cloud.storage"."""
    module: str
    lazy: bool


@dataclass(frozen=True)
class DatabaseUrl:
    database: str
    driver: str | None
    lazy: bool


@dataclass(frozen=True)
class FileUses:
    imports: tuple[ImportedModule, ...]
    uses: tuple[Use, ...]
    urls: tuple[DatabaseUrl, ...]
    names: frozenset[str]
    """Full names of all that the file takes from other distributions and mentions."""


def read_uses(scope: Scope) -> FileUses:
    return Reader(scope).read()


class Reader:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes = list(running(scope.body))
        self.imports = list(_imported_modules(self.nodes))
        self.names = dict(_local_names(self.nodes))
        self.stars = [i.module for i in self.imports if i.name.endswith(".*")]
        self.modules = {name.partition(".")[0] for name in self.names.values()}
        self.passed_over: set[int] = set()

    def read(self) -> FileUses:
        uses: list[Use] = []
        urls: list[DatabaseUrl] = []
        mentioned: set[str] = set()
        for node, lazy in self.nodes:
            match node:
                case ast.Name() | ast.Attribute():
                    name = self.full(node)
                    if name:
                        mentioned.add(name)
                        uses += self._feature(name, lazy)
                case ast.Call():
                    self._pass_over_compared(node)
                    uses += self._call(node, lazy)
                    urls += self._schemes(node, lazy)
                case ast.Await():
                    uses += self._form(node)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    uses += self._web_socket(node)
                case ast.Compare():
                    self._pass_over([node.left, *node.comparators])
                case ast.Expr(value=ast.Constant() as text):
                    self._pass_over([text])
                case ast.JoinedStr():
                    urls += self._joined_url(node, lazy)
                case ast.Constant(value=str() as value) if id(node) not in self.passed_over:
                    urls += _urls(value, lazy)
        uses += self._parts()
        return FileUses(tuple(self.imports), tuple(uses), tuple(urls), frozenset(mentioned))

    def full(self, node: ast.expr) -> str | None:
        """The full name of something that another distribution has."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        first = self._first(node.id) if isinstance(node, ast.Name) else None
        return ".".join([first, *reversed(parts)]) if first else None

    def _first(self, name: str) -> str | None:
        if name in self.names or not self.stars:
            return self.names.get(name)
        starred = (star for star in self.stars if (star.partition(".")[0], name) in FEATURES)
        return next((f"{star}.{name}" for star in starred), None)

    def _feature(self, name: str, lazy: bool) -> Iterator[Use]:
        last = name.rpartition(".")[2]
        providers = FEATURES.get((name.partition(".")[0], last))
        if providers:
            yield Use(f"uses {_shown(name)}", providers, lazy)

    def _parts(self) -> Iterator[Use]:
        for imported in self.imports:
            for part, providers in PARTS.items():
                if imported.name == part or imported.name.startswith(f"{part}."):
                    yield Use(f"imports {part}", providers, imported.lazy)

    def _call(self, call: ast.Call, lazy: bool) -> Iterator[Use]:
        name = self.full(call.func) or ""
        module, _, rest = name.partition(".")
        last = name.rpartition(".")[2]
        if module == "passlib" and last == "CryptContext":
            yield from self._schemes_of_passwords(call)
        elif module == "jwt" and rest in ("encode", "decode"):
            signed = next(filter(SIGNED.fullmatch, self._texts(call)), None)
            if signed:
                yield Use(f"signs with {signed}", ("pyjwt[crypto]", "cryptography"), True)
        elif module == "httpx" and is_true(argument(call, None, ("http2",))):
            yield Use("uses httpx with http2=True", ("httpx[http2]", "h2"), lazy)
        elif last == "BeautifulSoup" and module == "bs4":
            yield from (
                Use(f'uses BeautifulSoup with "{text}"', (text,), True)
                for text in self._texts(call)
                if text in ("lxml", "html5lib")
            )
        elif module == "celery" and last == "Celery":
            if any(text.startswith("redis://") for text in self._texts(call)):
                yield Use("uses Celery with redis://", ("celery[redis]", "redis"), lazy)
        elif isinstance(call.func, ast.Attribute):
            for owner in self.modules & {"pandas"}:
                providers = METHODS.get((owner, call.func.attr))
                if providers:
                    yield Use(f"uses {call.func.attr}", providers, lazy)

    def _schemes_of_passwords(self, call: ast.Call) -> Iterator[Use]:
        for text in self._texts(call):
            if text.startswith("bcrypt"):
                yield Use(f"hashes passwords with passlib and {text}", BCRYPT, True)
            elif text == "argon2":
                yield Use("hashes passwords with passlib and argon2", ("argon2-cffi",), True)

    def _form(self, node: ast.Await) -> Iterator[Use]:
        match node.value:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="form"), args=[]):
                if name.lower() in ("request", "req", "_request"):
                    yield Use(f"reads {name}.form()", MULTIPART, True)

    def _web_socket(self, function: Function) -> Iterator[Use]:
        for decorator in function.decorator_list:
            match decorator:
                case ast.Call(func=ast.Attribute(attr="websocket"), args=[_, *_]):
                    yield Use("has a WebSocket route", ("websockets", "wsproto"), True)

    def _schemes(self, call: ast.Call, lazy: bool) -> Iterator[DatabaseUrl]:
        """`PostgresDsn.build(scheme="postgresql+asyncpg", …)`, `URL.create("mysql+pymysql", …)`."""
        values = [k.value for k in call.keywords if k.arg in ("scheme", "drivername")]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "create":
            values += call.args[:1]
        for text in filter(None, map(self._text, values)):
            scheme = SCHEME.fullmatch(text)
            if scheme:
                yield DatabaseUrl(scheme[1], scheme[2], lazy)

    def _joined_url(self, node: ast.JoinedStr, lazy: bool) -> Iterator[DatabaseUrl]:
        first = node.values[0] if node.values else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._pass_over(node.values)
            yield from _urls(f"{first.value}x", lazy)

    def _pass_over_compared(self, call: ast.Call) -> None:
        """Texts that are compared with, replaced or shown are no URL that is opened."""
        if isinstance(call.func, ast.Attribute) and call.func.attr in COMPARING:
            self._pass_over(call.args[:1])
        self._pass_over(k.value for k in call.keywords if k.arg in TELLING)

    def _pass_over(self, nodes: Iterable[ast.expr]) -> None:
        for node in nodes:
            self.passed_over.update(id(inner) for inner in ast.walk(node))

    def _texts(self, call: ast.Call) -> Iterator[str]:
        """The texts among a call's arguments, also in lists and in constants of the module."""
        for value in (*call.args, *(keyword.value for keyword in call.keywords)):
            inner = value.elts if isinstance(value, ast.List | ast.Tuple | ast.Set) else [value]
            yield from filter(None, map(self._text, inner))

    def _text(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            match self.scope.names.get(node.id):
                case [Assigned(value=ast.Constant() as value)]:
                    node = value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return None


# --- what runs -----------------------------------------------------------------------------------


def running(body: Iterable[ast.AST]) -> Iterator[tuple[ast.AST, bool]]:
    """All that runs for certain, and whether only once a function is called.

    Left out is what the code can do without: below TYPE_CHECKING, where a missing module is
    caught, for other versions of Python, other systems, and for `python -m`.
    """
    waiting = [(node, False) for node in body][::-1]
    while waiting:
        node, lazy = waiting.pop()
        yield node, lazy
        waiting += list(_below(node, lazy))[::-1]


def _below(node: ast.AST, lazy: bool) -> Iterable[tuple[ast.AST, bool]]:
    match node:
        case ast.Name() | ast.Constant() | ast.expr_context():
            return []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            outside = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
            return [*((part, lazy) for part in outside), *((part, True) for part in node.body)]
        case ast.Lambda():
            return [(node.args, lazy), (node.body, True)]
        case ast.If():
            return [(part, lazy) for part in _certain_branch(node)]
        case ast.Try() | ast.TryStar() if _does_without(node, lazy):
            return [(part, lazy) for part in node.finalbody]
        case ast.With() if any(_suppresses(item.context_expr) for item in node.items):
            return []
    return [(child, lazy) for child in ast.iter_child_nodes(node)]


def _certain_branch(node: ast.If) -> list[ast.AST]:
    test = node.test
    if (body := guarded_body(node)) is not None:
        return [*body]
    if _is_type_checking(test):
        return [*node.orelse]
    if isinstance(test, ast.UnaryOp) and _is_type_checking(test.operand):
        return [*node.body]
    return [] if _asks_surroundings(test) else [test, *node.body, *node.orelse]


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return isinstance(test, ast.Constant) and not test.value


def _asks_surroundings(test: ast.expr) -> bool:
    """Whether a condition asks for the Python, the system, or whether a module is there."""
    for node in ast.walk(test):
        match node:
            case ast.Attribute(value=ast.Name(id="sys"), attr="version_info" | "platform"):
                return True
            case ast.Attribute(value=ast.Name(id="os"), attr="name"):
                return True
            case ast.Attribute(value=ast.Name(id="platform"), attr="system"):
                return True
            case ast.Name(id="find_spec") | ast.Attribute(attr="find_spec"):
                return True
    return False


def _does_without(node: ast.Try | ast.TryStar, lazy: bool) -> bool:
    """Whether the program continues without the content of a `try`.

    A function that catches all that fails in it still fails, unless it is an import.
    """
    imports = any(isinstance(statement, ast.Import | ast.ImportFrom) for statement in node.body)
    caught = MISSING if lazy and not imports else MISSING | ANYTHING
    return any(_goes_on(handler, caught) for handler in node.handlers)


def _goes_on(handler: ast.ExceptHandler, caught: frozenset[str]) -> bool:
    if handler.type is None:
        if ANYTHING.isdisjoint(caught):
            return False
    elif caught.isdisjoint(_names(handler.type)):
        return False
    last = handler.body[-1]
    return not (isinstance(last, ast.Raise) or _exits(last))


def _names(node: ast.expr) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _exits(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="exit") | ast.Attribute(attr="exit"))):
            return True
    return False


def _suppresses(item: ast.expr) -> bool:
    match item:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress")):
            return any(_names(argument) & (MISSING | ANYTHING) for argument in item.args)
    return False


def _imported_modules(nodes: Iterable[tuple[ast.AST, bool]]) -> Iterator[ImportedModule]:
    for node, lazy in nodes:
        if isinstance(node, ast.Import):
            yield from (ImportedModule(alias.name, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                yield ImportedModule(f"{node.module}.{alias.name}", node.module, lazy)


def _local_names(nodes: Iterable[tuple[ast.AST, bool]]) -> Iterator[tuple[str, str]]:
    for node, _ in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _urls(text: str, lazy: bool) -> Iterator[DatabaseUrl]:
    url = URL.match(text)
    if url and (url[2] or url[3]):
        yield DatabaseUrl(url[1], url[2], lazy)


def _shown(name: str) -> str:
    """A name as the code would show it: `pandas.read_excel`, but `Form`."""
    last = name.rpartition(".")[2]
    return last if last[:1].isupper() else f"{name.partition('.')[0]}.{last}"
