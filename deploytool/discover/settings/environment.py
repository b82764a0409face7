"""The variables that source reads while it is imported, and that it cannot do without."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from deploytool.discover.names import (
    External,
    LocalClass,
    LocalFunction,
    Names,
)
from deploytool.discover.processes.makers import Makers
from deploytool.discover.settings.setting import Setting, is_secret_name
from deploytool.discover.source import (
    Assigned,
    Binding,
    Function,
    Imported,
    Scope,
    called_name,
    guarded_body,
)

GETS = frozenset({"os.getenv", "os.environ.get"})
FAILS_ON_NONE = frozenset(
    {"int", "float", "bytes", "len", "pathlib.Path", "json.loads", "ast.literal_eval"}
    | {"create_engine", "create_async_engine", "make_url", "engine_from_config", "from_url"}
    | {"psycopg2.connect", "SimpleConnectionPool", "ThreadedConnectionPool", "create_client"}
    | {"Fernet", "b64decode", "TeleBot", "Bot", "Database", "import_string"}
)
DECISIVE = frozenset({"url", "dsn", "token", "key", "supabase_url", "supabase_key", "db_url"})
KEYS = {
    "openai.OpenAI": "OPENAI_API_KEY",
    "openai.AsyncOpenAI": "OPENAI_API_KEY",
    "langchain_openai.ChatOpenAI": "OPENAI_API_KEY",
    "langchain_openai.OpenAIEmbeddings": "OPENAI_API_KEY",
    "groq.Groq": "GROQ_API_KEY",
    "groq.AsyncGroq": "GROQ_API_KEY",
    "langchain_groq.ChatGroq": "GROQ_API_KEY",
}
"""Clients that are not made without their key."""
READERS = {
    "starlette.config.Config": 2,
    "decouple.AutoConfig": 1,
    "decouple.Config": 1,
    "environ.Env": 2,
    "environs.Env": 1,
}
"""Objects that are called with a variable's name, and at which position they take a default."""
FORGIVEN = frozenset({"KeyError", "LookupError", "Exception", "BaseException"})
MAX_CALLS = 4
MAX_STEPS = 12


@dataclass(frozen=True)
class Here:
    """Where the reading is, and what was asked on the way there."""

    scope: Scope
    asked: frozenset[str] = frozenset()
    """Names and texts that a condition around it mentions."""
    forgiving: bool = False
    """Whether a missing variable is caught."""
    calls: int = 0


class Environment:
    """Goes through some modules as an import does, into the functions that they call."""

    def __init__(self, names: Names, scopes: Iterable[Scope]) -> None:
        self.names = names
        self.scopes = tuple(scopes)
        self.makers = Makers(names)
        self._seen: set[ast.AST] = set()
        self._set: set[str] = set()
        """Variables that the source sets itself."""

    def find(self) -> Iterator[Setting]:
        for scope in self.scopes:
            wanted = [pair for one in scope.body for pair in self._statement(one, Here(scope))]
            for name, why in wanted:
                if name not in self._set:
                    yield Setting(name, str(scope.file), is_secret_name(name), why)

    def _statement(self, statement: ast.stmt, here: Here) -> list[tuple[str, str]]:
        try:
            return list(self._visit(statement, here))
        except RecursionError:
            return []

    # --- what runs at import ----------------------------------------------------------------

    def _visit(self, node: ast.AST, here: Here) -> Iterator[tuple[str, str]]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if any(_is_startup(one) for one in node.decorator_list):
                    yield from self._enter(LocalFunction(node, here.scope), here)
            case ast.Lambda():
                return
            case ast.If() if (body := guarded_body(node)) is not None:
                yield from self._each(body, here)
            case ast.If():
                yield from self._refused(node, here)
                yield from self._guarded(node, here)
            case ast.IfExp() | ast.BoolOp() | ast.While():
                yield from self._guarded(node, here)
            case ast.Assert(test=test):
                yield from self._named_variables(test, here, "is asserted")
            case ast.Try(handlers=handlers):
                caught = here.forgiving or any(_forgives(handler) for handler in handlers)
                yield from self._each(node.body, replace(here, forgiving=caught))
                yield from self._each([*node.orelse, *node.finalbody], here)
            case ast.ClassDef():
                inside = self.names.class_scope(LocalClass(node, here.scope))
                yield from self._each(node.body, replace(here, scope=inside))
            case _:
                yield from self._wanted(node, here)
                yield from self._each(ast.iter_child_nodes(node), here)

    def _each(self, nodes: Iterable[ast.AST], here: Here) -> Iterator[tuple[str, str]]:
        for node in nodes:
            yield from self._visit(node, here)

    def _guarded(
        self, node: ast.If | ast.IfExp | ast.BoolOp | ast.While, here: Here
    ) -> Iterator[tuple[str, str]]:
        test = node.values[0] if isinstance(node, ast.BoolOp) else node.test
        yield from self._visit(test, here)
        inside = replace(here, asked=here.asked | _mentioned(test))
        rest = [child for child in ast.iter_child_nodes(node) if child is not test]
        yield from self._each(rest, inside)

    def _refused(self, node: ast.If, here: Here) -> Iterator[tuple[str, str]]:
        """`if not NAME: raise …`."""
        ends = any(isinstance(one, ast.Raise) or _is_exit(one) for one in node.body)
        if ends and not here.asked:
            yield from self._named_variables(_denied(node.test), here, "is checked")

    def _named_variables(
        self, test: ast.expr | None, here: Here, what: str
    ) -> Iterator[tuple[str, str]]:
        for node in ast.walk(test) if test is not None else ():
            if isinstance(node, ast.Name | ast.Attribute | ast.Call):
                name = self._variable(node, here)
                if name and not here.forgiving:
                    yield name, f"{here.scope.file} ends without it: it {what}"

    # --- what is wanted ---------------------------------------------------------------------

    def _wanted(self, node: ast.AST, here: Here) -> Iterator[tuple[str, str]]:
        match node:
            case ast.Subscript(value=value, slice=key) if self._is_environ(value, here):
                yield from self._subscript(node, key, here)
            case ast.Call():
                yield from self._called(node, here)
            case ast.Attribute(value=value, ctx=ast.Load()) if not isinstance(value, ast.Attribute):
                yield from self._used(value, here)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from self._used(left, here)
                yield from self._used(right, here)

    def _subscript(
        self, node: ast.Subscript, key: ast.expr, here: Here
    ) -> Iterator[tuple[str, str]]:
        name = self.names.text(key, here.scope)
        if name and isinstance(node.ctx, ast.Store):
            self._set.add(name)
        elif name and isinstance(node.ctx, ast.Load) and not self._is_safe({name}, here):
            yield name, f'os.environ["{name}"] is read when {here.scope.file} is imported'

    def _called(self, call: ast.Call, here: Here) -> Iterator[tuple[str, str]]:
        meaning = self.names.meaning(call.func, here.scope)
        full = meaning.name if isinstance(meaning, External) else ""
        if full == "os.environ.setdefault" and call.args:
            self._set.add(self.names.text(call.args[0], here.scope) or "")
        elif full in KEYS:
            name = self._key(call, KEYS[full], here)
            if name and not self._is_safe({name}, here):
                yield name, f"{full} in {here.scope.file} is not made without it"
        elif self._fails_on_none(call, full):
            for value in _decisive(call):
                yield from self._used(value, here)
        elif full.rpartition(".")[2][:1].isupper():
            yield from self._credentials(call, here)
        yield from self._read(call, full, here)
        for function in self._entered(meaning):
            yield from self._enter(function, here)
        for keyword in call.keywords:
            if keyword.arg == "lifespan":
                started = self.names.meaning(keyword.value, here.scope)
                yield from self._enter(started, here) if isinstance(started, LocalFunction) else ()

    def _credentials(self, call: ast.Call, here: Here) -> Iterator[tuple[str, str]]:
        """The arguments of a client of somebody's service; few take None for it."""
        for value in call.args:
            yield from (found for found in self._used(value, here) if is_secret_name(found[0]))

    def _key(self, call: ast.Call, usual: str, here: Here) -> str | None:
        """The variable that has a client's key; None where it is given in another way."""
        given = [keyword.value for keyword in call.keywords if "key" in (keyword.arg or "key")]
        return self._variable(given[0], here) if given else usual

    def _fails_on_none(self, call: ast.Call, full: str) -> bool:
        last = full.rpartition(".")[2]
        plain = call.func.id if isinstance(call.func, ast.Name) else ""
        return full in FAILS_ON_NONE or last in FAILS_ON_NONE or plain in FAILS_ON_NONE

    def _used(self, value: ast.expr, here: Here) -> Iterator[tuple[str, str]]:
        """A value that must not be None, and is where its variable is missing."""
        name = self._variable(value, here) if _is_reference(value) else None
        if name and not self._is_safe({name, *_mentioned(value)}, here):
            yield name, f"{here.scope.file} uses it at once, and it has no default"
        for part in self._parts(value, here.scope):
            yield from self._used(part, here)

    def _parts(self, value: ast.expr, scope: Scope) -> Iterator[ast.expr]:
        """What is put into the text that a value is: f"postgresql://{user}:{password}@{host}"."""
        if isinstance(value, ast.Name) and (where := self.names.holder(value.id, scope)):
            match where.names[value.id]:
                case [Assigned(value=ast.JoinedStr() as text)] if where is scope:
                    value = text
        if isinstance(value, ast.JoinedStr):
            formatted = (part for part in value.values if isinstance(part, ast.FormattedValue))
            yield from (part.value for part in formatted)

    def _read(self, call: ast.Call, full: str, here: Here) -> Iterator[tuple[str, str]]:
        """`config("NAME")` of starlette and decouple, `env.str("NAME")` of environs."""
        default = self._default_position(call, full, here)
        name = self.names.text(call.args[0], here.scope) if call.args else None
        if default is None or name is None or not name.isidentifier():
            return
        has_default = len(call.args) > default or any(k.arg == "default" for k in call.keywords)
        if not has_default and not self._is_safe({name}, here):
            yield name, f"{here.scope.file} reads it without a default"

    def _default_position(self, call: ast.Call, full: str, here: Here) -> int | None:
        if full == "decouple.config":
            return 1
        owner = call.func
        is_method = isinstance(owner, ast.Attribute)
        if isinstance(owner, ast.Attribute):
            if owner.attr.startswith("read_") or owner.attr in ("prefixed", "seal"):
                return None
            owner = owner.value
        if not isinstance(owner, ast.Name):
            return None
        for made in self._made(owner, here.scope):
            if made in READERS:
                return 1 if is_method else READERS[made]
        return None

    def _made(self, name: ast.Name, scope: Scope) -> Iterator[str]:
        """The maker of an object of this module, or one that it imports."""
        where = self.names.holder(name.id, scope)
        if where is None:
            return
        yield from (made.name for made in self.makers.calls(name, where))
        for binding in where.names[name.id]:
            if isinstance(binding, Imported) and (there := self.names.origin(binding, where)):
                target = ast.Name(binding.name or "")
                yield from (made.name for made in self.makers.calls(target, there))

    # --- what a value is --------------------------------------------------------------------

    def _variable(self, value: ast.expr, here: Here) -> str | None:
        return variable_read(value, here.scope, self.names)

    def _is_environ(self, value: ast.expr, here: Here) -> bool:
        return self.names.meaning(value, here.scope) == External("os.environ")

    def _is_safe(self, words: set[str], here: Here) -> bool:
        return here.forgiving or not here.asked.isdisjoint(words)

    # --- into functions ---------------------------------------------------------------------

    def _entered(self, meaning: object) -> Iterator[LocalFunction]:
        """The functions of the project that run when something is called."""
        if isinstance(meaning, LocalFunction):
            yield meaning
        if isinstance(meaning, LocalClass):
            for statement in meaning.node.body:
                if isinstance(statement, Function) and statement.name in STARTS:
                    yield LocalFunction(statement, meaning.scope)

    def _enter(self, function: LocalFunction, here: Here) -> Iterator[tuple[str, str]]:
        if function.node in self._seen or here.calls >= MAX_CALLS:
            return
        self._seen.add(function.node)
        inside = self.names.function_scope(function)
        yield from self._each(function.node.body, replace(here, scope=inside, calls=here.calls + 1))


STARTS = ("__init__", "__post_init__", "__new__")


def variable_read(
    value: ast.expr | None, scope: Scope, names: Names, left: int = MAX_STEPS
) -> str | None:
    """The variable that a value is, and without which it is None."""
    match value if left else None:
        case ast.Call(func=func, args=[key], keywords=[]):
            meaning = names.meaning(func, scope)
            if isinstance(meaning, External) and meaning.name in GETS:
                return names.text(key, scope)
        case ast.Name(id=name):
            where = names.holder(name, scope)
            return _bound(where.names[name], where, names, left) if where else None
        case ast.Attribute(value=owner, attr=attribute):
            inside = names.members(owner, scope)
            return _bound(inside.names.get(attribute, []), inside, names, left) if inside else None
    return None


def _bound(bindings: list[Binding], scope: Scope, names: Names, left: int) -> str | None:
    match bindings:
        case [Assigned(value=ast.expr() as value)]:
            return variable_read(value, scope, names, left - 1)
        case [Imported(name=str() as name) as imported]:
            there = names.origin(imported, scope)
            return _bound(there.names.get(name, []), there, names, left - 1) if there else None
    return None


def _is_reference(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute | ast.Call)


def _is_startup(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=ast.Attribute(attr="on_event"), args=[ast.Constant(value="startup")]):
            return True
    return False


def _mentioned(test: ast.expr) -> frozenset[str]:
    """The names and texts in an expression."""
    found = set()
    for node in ast.walk(test):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str() as name):
                found.add(name)
    return frozenset(found - {"os", "environ", "getenv", "get"})


def _forgives(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or not FORGIVEN.isdisjoint(_mentioned(handler.type))


def _decisive(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call without which it fails."""
    yield from call.args[: 2 if called_name(call) == "create_client" else 1]
    yield from (keyword.value for keyword in call.keywords if keyword.arg in DECISIVE)


def _is_exit(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="exit" | "_exit"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="exit" | "quit"))):
            return True
    return False


def _denied(test: ast.expr) -> ast.expr | None:
    """The variables that a condition wants unset: `not X`, `X is None`, and either of several."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.Compare(
            left=left, ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None)]
        ):
            return left
        case ast.BoolOp(op=ast.Or(), values=values):
            parts = [part for value in values if (part := _denied(value)) is not None]
            return ast.Tuple(parts) if len(parts) == len(values) else None
    return None
