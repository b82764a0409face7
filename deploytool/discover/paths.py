"""Paths in the source, also those that depend on a file's own place or on the environment.

The source is read as if the project was in the image's folder already: `__file__` is a path there,
and so is what a relative path means. A part that only the running app knows is a HOLE; what is
before it still gives the folder.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from deploytool.discover.names import (
    External,
    Instance,
    LocalClass,
    LocalFunction,
    Names,
)
from deploytool.discover.settings.settings_fields import Class, Fields
from deploytool.discover.source import (
    MAX_DEPTH,
    Assigned,
    Binding,
    Function,
    Project,
    Scope,
    argument,
    called_name,
    statements,
)

CODE = "/code"
"""Where the project is in the image."""
HOLE = "\0"
LONGEST = 1000
MAX_TEXT = 20
"""How many steps lead from an expression to its text at most."""

PATHS = frozenset(
    {"pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.PurePosixPath"}
    | {"anyio.Path", "aiopath.AsyncPath", "aiopath.Path", "upath.UPath", "fastapi.Path"}
)
_SAME = frozenset({"os.fspath", "os.fsdecode", "os.path.normpath", "pydantic.SecretStr"})
_ABSOLUTE = frozenset({"os.path.abspath", "os.path.realpath"})
_FIXED = {"tempfile.gettempdir": "/tmp", "tempfile.mkdtemp": "/tmp", "pathlib.Path.home": "/tmp"}
_HERE = frozenset({"os.getcwd", "pathlib.Path.cwd"})
_RESOURCES = frozenset({"importlib.resources.files", "importlib_resources.files"})
_ENVIRONMENT = frozenset({"os.getenv", "os.environ.get", "decouple.config", "environ.get"})
_ENVIRONMENT_READERS = frozenset({"config", "env", "getenv"})
_PERCENT = re.compile(r"%[-#0-9.]*[sdifr]|%\(\w+\)[sdifr]")
_BRACES = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class Parameter(Assigned):
    """A parameter; its value is the default."""

    name: str
    of: Function


@dataclass(frozen=True, eq=False)
class Given:
    """A call in the project's own code."""

    call: ast.Call
    scope: Scope


class Default(str):
    """A text that an environment variable replaces."""

    variable: str

    def __new__(cls, text: str, variable: str) -> Default:
        made = super().__new__(cls, text)
        made.variable = variable
        return made


class Paths(Names):
    """Tells the texts of paths, also where they depend on where a file is."""

    def __init__(
        self,
        project: Project,
        workdir: PurePosixPath | None = None,
        calls: Callable[[], Iterable[Given]] = tuple,
    ) -> None:
        """`workdir` is the process's folder: without it, relative paths stay relative.

        `calls` are all of the project's, asked for only where a parameter's value is.
        """
        super().__init__(project)
        self._find_calls = calls
        self.workdir = "." if workdir is None else posixpath.normpath(f"{CODE}/{workdir}")
        self._told: dict[tuple[int, int], str | None] = {}
        self._made_by: dict[int, str] = {}
        self._settings: dict[ast.ClassDef, Class | None] = {}

    def text(self, node: ast.expr, scope: Scope, depth: int = 0) -> str | None:
        """Each expression is worked on once: asked again meanwhile, it goes round in a circle."""
        key = id(node), id(scope)
        if key not in self._told and depth <= MAX_TEXT:
            self._told[key] = None
            self._keep += (node, scope)
            self._told[key] = self._text(node, scope, depth)
        return self._told.get(key)

    def _text(self, node: ast.expr, scope: Scope, depth: int) -> str | None:
        match node:
            case ast.Name(id="__file__"):
                return f"{CODE}/{scope.file}"
            case ast.BinOp():
                return self._operation(node, scope, depth + 1)
            case ast.JoinedStr():
                parts = [p.value if isinstance(p, ast.FormattedValue) else p for p in node.values]
                return _joined(self._texts(parts, scope, depth + 1))
            case ast.BoolOp(op=ast.Or()):
                return self._first(node.values, scope, depth + 1)
            case ast.IfExp():
                return self._first([node.body, node.orelse], scope, depth + 1)
            case ast.NamedExpr() | ast.Await():
                return self.text(node.value, scope, depth + 1)
            case ast.Call():
                return self._call(node, scope, depth + 1)
            case ast.Subscript(value=ast.Attribute(attr="parents") as parents):
                return self._ancestor(parents.value, node.slice, scope, depth + 1)
            case ast.Attribute(attr="parent"):
                owner = self.text(node.value, scope, depth + 1)
                return super().text(node, scope, depth) if owner is None else _parent(owner)
            case ast.Attribute(attr="value"):
                return super().text(node, scope, depth) or self.text(node.value, scope, depth + 1)
        return super().text(node, scope, depth)

    def _texts(self, nodes: Iterable[ast.expr], scope: Scope, depth: int) -> Iterator[str | None]:
        return (self.text(node, scope, depth) for node in nodes)

    def _first(self, nodes: Sequence[ast.expr], scope: Scope, depth: int) -> str | None:
        """`os.getenv("X") or "text"`: the known text, and what replaces it."""
        text = next((text for text in self._texts(nodes, scope, depth) if text), None)
        variable = next(filter(None, (self.variable(node, scope) for node in nodes)), None)
        return Default(text, variable) if text and variable else text

    def variable(self, node: ast.expr, scope: Scope) -> str | None:
        """The environment variable that an expression reads."""
        match node:
            case ast.Call(args=[ast.Constant(value=str() as name), *_]):
                return name if self._reads_environment(node, scope) else None
            case ast.Subscript(slice=ast.Constant(value=str() as name)):
                is_environment = self.meaning(node.value, scope) == External("os.environ")
                return name if is_environment else None
        return None

    def _reads_environment(self, call: ast.Call, scope: Scope) -> bool:
        match self.meaning(call.func, scope):
            case External(name=name):
                return name in _ENVIRONMENT
            case None:
                owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
                return isinstance(owner, ast.Name) and owner.id in _ENVIRONMENT_READERS
        return False

    def _operation(self, node: ast.BinOp, scope: Scope, depth: int) -> str | None:
        left = self.text(node.left, scope, depth)
        if left is None:
            return None
        match node.op:
            case ast.Mod():
                return _PERCENT.sub(HOLE, left)
            case ast.Div():
                return _joined_path([left, self.text(node.right, scope, depth)])
            case ast.Add():
                return _joined([left, self.text(node.right, scope, depth)])
        return None

    def _ancestor(self, node: ast.expr, index: ast.expr, scope: Scope, depth: int) -> str | None:
        path = self.text(node, scope, depth)
        if path is None or not isinstance(index, ast.Constant) or type(index.value) is not int:
            return None
        for _ in range(min(abs(index.value), MAX_DEPTH) + 1):
            path = _parent(path)
        return path

    def _call(self, call: ast.Call, scope: Scope, depth: int) -> str | None:
        variable = self.variable(call, scope)
        if variable:
            default = self._argument(call, 1, ("default",), scope, depth)
            return None if default is None else Default(default, variable)
        match self.meaning(call.func, scope):
            case External(name=name):
                known = self._library_call(name, call, scope, depth)
            case LocalFunction() as function:
                known = self._returned_text(function, depth)
            case None if isinstance(call.func, ast.Name) and call.func.id == "str":
                known = self._argument(call, 0, (), scope, depth)
            case _:
                known = None
        return self._method(call, scope, depth) if known is None else known

    def _library_call(self, name: str, call: ast.Call, scope: Scope, depth: int) -> str | None:
        if name in _FIXED:
            return _FIXED[name]
        if name in _HERE:
            return self.workdir
        if name in PATHS or name == "os.path.join":
            return _joined_path(self._texts(call.args, scope, depth)) if call.args else "."
        if name.startswith("pydantic") and name.endswith(".Field"):
            return self._argument(call, 0, ("default", "default_factory"), scope, depth)
        if name in _RESOURCES and call.args:
            return self._package_folder(call.args[0], scope)
        text = self._argument(call, 0, (), scope, depth)
        if text is None:
            return None
        if name == "os.path.dirname":
            return _parent(text)
        if name == "os.path.expanduser":
            return _at_home(text)
        return text if name in _SAME else self._absolute(text) if name in _ABSOLUTE else None

    def _package_folder(self, package: ast.expr, scope: Scope) -> str | None:
        """`importlib.resources.files("pkg")`."""
        if isinstance(package, ast.Name) and package.id in ("__package__", "__name__"):
            return _parent(f"{CODE}/{scope.file}")
        name = self.text(package, scope)
        place = self.project.locate(name, scope.file) if name else None
        if place is None:
            return None
        return f"{CODE}/{place[0].parent if place[1] else place[0]}"

    def _method(self, call: ast.Call, scope: Scope, depth: int) -> str | None:
        """A method of a path or of a text."""
        if not isinstance(call.func, ast.Attribute):
            return None
        owner = self.text(call.func.value, scope, depth)
        if owner is None:
            return None
        match call.func.attr:
            case "resolve" | "absolute":
                return self._absolute(owner)
            case "expanduser":
                return _at_home(owner)
            case "as_posix" | "strip" | "lower" | "get_secret_value" | "rstrip":
                return owner
            case "format":
                return _BRACES.sub(HOLE, owner)
            case "joinpath":
                return _joined_path([owner, *self._texts(call.args, scope, depth)])
            case "with_name":
                return _joined_path([_parent(owner), *self._texts(call.args, scope, depth)])
            case "with_suffix":
                suffix = self._argument(call, 0, ("suffix",), scope, depth)
                return _joined([posixpath.splitext(owner)[0], suffix])
        return None

    def _absolute(self, text: str) -> str:
        return posixpath.normpath(posixpath.join(self.workdir, text))

    def _argument(
        self, call: ast.Call, position: int, keywords: Collection[str], scope: Scope, depth: int
    ) -> str | None:
        node = argument(call, position, keywords)
        node = node.body if isinstance(node, ast.Lambda) else node
        return self.text(node, scope, depth) if node else None

    def _returned_text(self, function: LocalFunction, depth: int) -> str | None:
        scope = self.function_scope(function)
        for statement in statements(function.node.body):
            if isinstance(statement, ast.Return) and statement.value:
                return self.text(statement.value, scope, depth)
        return None

    def function_scope(self, function: LocalFunction) -> Scope:
        """With the parameters, which hide what has their name outside."""
        is_new = id(function.node) not in self._functions
        scope = super().function_scope(function)
        if is_new:
            for name, default in _parameters(function.node.args):
                parameter = Parameter(default, None, name, function.node)
                scope.names.setdefault(name, []).insert(0, parameter)
        return scope

    def method_scope(self, function: LocalFunction, owner: ast.ClassDef) -> Scope:
        """The scope of a method, whose first parameter stands for its class."""
        scope = self.function_scope(function)
        if function.node.name == "__init__":
            self._made_by[id(function.node)] = owner.name
        if first := [*function.node.args.posonlyargs, *function.node.args.args][:1]:
            scope.names[first[0].arg] = [owner]
        return scope

    def _text_of(self, bindings: list[Binding], scope: Scope, depth: int) -> str | None:
        """Of several assignments the first whose text is known."""
        values = [b.value for b in bindings if isinstance(b, Assigned) and b.value]
        if len(bindings) > 1 and values and depth < MAX_TEXT:
            return self._first(values, scope, depth + 1)
        known = super()._text_of(bindings, scope, depth)
        match bindings:
            case [Parameter() as parameter] if known is None and depth < MAX_TEXT:
                return self._passed(parameter, depth + 1)
        return known

    def _passed(self, parameter: Parameter, depth: int) -> str | None:
        """The first text that a call of the function passes for a parameter."""
        for given in self._calls_of(parameter.of):
            node = argument(given.call, _position(parameter), (parameter.name,))
            text = self.text(node, given.scope, depth) if node else None
            if text is not None:
                return text
        return None

    def _calls_of(self, function: Function) -> Iterator[Given]:
        for given in self._calls_by_name.get(self._called_as(function), ()):
            match self.meaning(given.call.func, given.scope):
                case LocalFunction(node=node) if node is function:
                    yield given
                case LocalClass(node=node) if function in node.body:
                    yield given

    def _called_as(self, function: Function) -> str:
        return self._made_by.get(id(function), function.name)

    @cached_property
    def _calls_by_name(self) -> dict[str, list[Given]]:
        found: dict[str, list[Given]] = {}
        for given in self._find_calls():
            found.setdefault(called_name(given.call), []).append(given)
        return found

    def _member_text(self, node: ast.Attribute, scope: Scope, depth: int) -> str | None:
        owner = self.meaning(node.value, scope)
        of = owner.of if isinstance(owner, Instance) else owner
        if isinstance(of, LocalClass):
            return self._field(of, node.attr, depth + 1)
        return super()._member_text(node, scope, depth)

    def _field(self, owner: LocalClass, name: str, depth: int) -> str | None:
        """The text of a class's attribute, of an object's that its methods set, or inherited."""
        if depth > MAX_TEXT:
            return None
        text = self._module_text(self.class_scope(owner), name, depth) or self._set_by_method(
            owner, name, depth
        )
        if text is not None:
            variable = self.variable_of_field(owner, name)
            return Default(text, variable) if variable else text
        bases = (self.meaning(base, owner.scope) for base in owner.node.bases)
        found = (self._field(b, name, depth + 1) for b in bases if isinstance(b, LocalClass))
        return next((text for text in found if text is not None), None)

    def is_bound(self, name: str, scope: Scope) -> bool:
        return bool(self.bindings(name, scope))

    def _set_by_method(self, owner: LocalClass, name: str, depth: int) -> str | None:
        for function in owner.node.body:
            if isinstance(function, Function):
                for value in _set_on_self(function, name):
                    method = LocalFunction(function, owner.scope)
                    scope = self.method_scope(method, owner.node)
                    return self.text(value, scope, depth)
        return None

    def variable_of_field(self, owner: LocalClass, name: str) -> str | None:
        """The environment variable of a field, where the class is one of pydantic's settings."""
        settings = self.settings(owner)
        field = settings.fields.get(name) if settings else None
        return settings.variable(field) if settings and field else None

    def settings(self, owner: LocalClass) -> Class | None:
        """The settings of a class of pydantic's; None of another class."""
        if owner.node not in self._settings:
            self._settings[owner.node] = None
            with suppress(RecursionError):
                self._settings[owner.node] = Fields(self).read(owner)
        return self._settings[owner.node]


def _position(parameter: Parameter) -> int | None:
    """The place of a parameter among a call's arguments."""
    names = [node.arg for node in (*parameter.of.args.posonlyargs, *parameter.of.args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return names.index(parameter.name) if parameter.name in names else None


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    plain = [*arguments.posonlyargs, *arguments.args]
    missing = len(plain) - len(arguments.defaults)
    for parameter, default in zip(plain, [*[None] * missing, *arguments.defaults], strict=True):
        yield parameter.arg, default
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield parameter.arg, default
    for rest in (arguments.vararg, arguments.kwarg):
        if rest:
            yield rest.arg, None


def _set_on_self(function: Function, name: str) -> Iterator[ast.expr]:
    for statement in statements(function.body):
        match statement:
            case (
                ast.Assign(targets=[ast.Attribute(attr=found, value=ast.Name())], value=value)
                | ast.AnnAssign(
                    target=ast.Attribute(attr=found, value=ast.Name()), value=ast.expr() as value
                )
            ) if found == name:
                yield value


def _joined(parts: Iterable[str | None]) -> str | None:
    """Texts one after the other; unknown when the first of them is."""
    known = list(parts)
    if not known or known[0] is None:
        return None
    return "".join(HOLE if part is None else part for part in known)


def _joined_path(parts: Iterable[str | None]) -> str | None:
    known = list(parts)
    if not known or known[0] is None:
        return None
    if len(known) == 1:
        return known[0]
    return posixpath.join(*(HOLE if part is None else part for part in known))


def path_of(text: str, start: str = "") -> tuple[PurePosixPath | None, bool]:
    """The path that a text means for a process in `start`, and whether only its folder is known."""
    if not text or text.startswith((HOLE, "~")) or "://" in text or len(text) > LONGEST:
        return None, False
    known, hole, _ = posixpath.join(start, text).partition(HOLE)
    path = posixpath.normpath(posixpath.dirname(known) if hole else known)
    return PurePosixPath(path), bool(hole)


def _parent(path: str) -> str:
    """The folder of a path, as both pathlib and os.path see it in the cases that matter."""
    return posixpath.dirname(path.rstrip("/")) or ("/" if path.startswith("/") else "")


def _at_home(path: str) -> str:
    """The image's home is /tmp."""
    return f"/tmp{path[1:]}" if path.startswith("~/") else path
