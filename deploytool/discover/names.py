"""The meaning of an expression, as far as its text shows: a FastAPI app, a router, a constant."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from deploytool.discover.source import (
    MAX_DEPTH,
    Assigned,
    Binding,
    Function,
    Imported,
    Project,
    Scope,
    make_scope,
    parse_expression,
    statements,
)

APP_CLASSES = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})
ROUTER_CLASSES = frozenset({"fastapi.APIRouter", "fastapi.routing.APIRouter"})


@dataclass(frozen=True)
class External:
    """Something of another distribution, by its full name."""

    name: str


@dataclass(frozen=True)
class LocalModule:
    path: PurePosixPath
    is_file: bool


@dataclass(frozen=True, eq=False)
class LocalFunction:
    node: Function
    scope: Scope


@dataclass(frozen=True, eq=False)
class LocalClass:
    node: ast.ClassDef
    scope: Scope


@dataclass(frozen=True, eq=False)
class Instance:
    """An app, a router, or an object of one of the project's own classes."""

    kind: Literal["app", "router", "object"]
    call: ast.Call | None
    """Its maker; None when only an annotation says what it is."""
    scope: Scope
    """Where it was made."""
    places: tuple[tuple[Scope, str], ...] = ()
    """The names it goes by."""
    of: LocalClass | None = None


Meaning = External | LocalModule | LocalFunction | LocalClass | Instance


class Names:
    """Resolves expressions of a project. Follows imports into the project's own files only."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._known: dict[tuple[object, int], Meaning | None] = {}
        self._functions: dict[int, Scope] = {}
        self._classes: dict[int, Scope] = {}
        self._keep: list[object] = []
        self._depth = 0

    def meaning(self, node: ast.expr, scope: Scope) -> Meaning | None:
        self._keep.append(node)
        return self._once((id(node), id(scope)), scope, lambda: self._meaning(node, scope))

    def named(self, name: str, scope: Scope) -> Meaning | None:
        """The meaning of a name in a scope, or in those around it."""
        return self._once((name, id(scope)), scope, lambda: self._named(name, scope))

    def _once(
        self, key: tuple[object, int], scope: Scope, find: Callable[[], Meaning | None]
    ) -> Meaning | None:
        """Each question is worked on once: asked again meanwhile, it goes round in a circle."""
        if key not in self._known and self._depth < MAX_DEPTH:
            self._known[key] = None
            self._keep.append(scope)
            self._depth += 1
            try:
                self._known[key] = find()
            finally:
                self._depth -= 1
        return self._known.get(key)

    def _meaning(self, node: ast.expr, scope: Scope) -> Meaning | None:
        match node:
            case ast.Name():
                return self.named(node.id, scope)
            case ast.Attribute():
                return self._member(self.meaning(node.value, scope), node.attr)
            case ast.Call():
                return self._called(self.meaning(node.func, scope), node, scope)
            case ast.NamedExpr():
                return self.meaning(node.value, scope)
            case ast.IfExp():
                return self.meaning(node.body, scope) or self.meaning(node.orelse, scope)
        return None

    def _named(self, name: str, scope: Scope) -> Meaning | None:
        current: Scope | None = scope
        while current:
            for binding in reversed(current.names.get(name, ())):
                found = self._bound(binding, name, current)
                if found:
                    return found
            if name in current.names:
                return None
            for star in current.stars:
                found = self._imported(replace(star, name=name), current.file)
                if found and found != External(name):
                    return found
            current = current.outer
        return None

    def _bound(self, binding: Binding, name: str, scope: Scope) -> Meaning | None:
        match binding:
            case Imported():
                found = self._imported(binding, scope.file)
            case Assigned():
                found = self._assigned(binding, scope)
            case ast.ClassDef():
                found = LocalClass(binding, scope)
            case _:
                found = LocalFunction(binding, scope)
        if isinstance(found, Instance):
            return replace(found, places=(*found.places, (scope, name)))
        return found

    def _assigned(self, binding: Assigned, scope: Scope) -> Meaning | None:
        found = self.meaning(binding.value, scope) if binding.value else None
        if found is None and binding.value and binding.annotation:
            return self._annotated(binding.annotation, scope)
        return found

    def _annotated(self, annotation: ast.expr, scope: Scope) -> Instance | None:
        meaning = self.meaning(_unquoted(annotation), scope)
        kind = self._kind(meaning) if meaning else None
        return Instance(kind, None, scope) if kind in ("app", "router") else None

    def _imported(self, imported: Imported, file: PurePosixPath) -> Meaning | None:
        place = self.project.locate(imported.module, file, imported.level)
        full = f"{imported.module}.{imported.name}" if imported.name else imported.module
        if place is None:
            return None if imported.level else External(full)
        module = LocalModule(*place)
        return self._member(module, imported.name) if imported.name else module

    def _member(self, owner: Meaning | None, name: str) -> Meaning | None:
        match owner:
            case External():
                return External(f"{owner.name}.{name}")
            case LocalModule():
                return self._module_member(owner, name)
            case LocalClass():
                return self._class_member(owner, name)
            case Instance(of=LocalClass() as owner_class):
                return self._class_member(owner_class, name)
        return None

    def _module_member(self, module: LocalModule, name: str) -> Meaning | None:
        scope = self.project.scope(module.path) if module.is_file else None
        if scope and (found := self.named(name, scope)):
            return found
        if module.is_file and module.path.name != "__init__.py":
            return None
        folder = module.path.parent if module.is_file else module.path
        place = self.project.locate(name, folder / "__init__.py", level=1)
        return LocalModule(*place) if place else None

    def _class_member(self, owner: LocalClass, name: str) -> Meaning | None:
        for statement in owner.node.body:
            if isinstance(statement, Function) and statement.name == name:
                return LocalFunction(statement, owner.scope)
        return self._set_in_class(owner, name)

    def _set_in_class(self, owner: LocalClass, name: str) -> Meaning | None:
        """The attributes that a class, or its __init__, sets: `self.app = FastAPI()`."""
        for statement in owner.node.body:
            if isinstance(statement, Function) and statement.name == "__init__":
                scope = self.function_scope(LocalFunction(statement, owner.scope))
                for inner in statements(statement.body):
                    if (value := _set_on_self(inner, name)) is not None:
                        return self.meaning(value, scope)
            elif isinstance(statement, ast.Assign) and _is_target(statement, name):
                return self.meaning(statement.value, owner.scope)
        return None

    def _called(self, target: Meaning | None, call: ast.Call, scope: Scope) -> Meaning | None:
        match target:
            case LocalFunction():
                return self.returned(target)
            case External() | LocalClass():
                kind = self._kind(target)
                of = target if isinstance(target, LocalClass) else None
                return Instance(kind, call, scope, of=of) if kind else None
        return None

    def _kind(
        self, target: Meaning, below: tuple[ast.ClassDef, ...] = ()
    ) -> Literal["app", "router", "object"] | None:
        match target:
            case External(name=name) if name in APP_CLASSES:
                return "app"
            case External(name=name) if name in ROUTER_CLASSES:
                return "router"
            case LocalClass(node=node) if node not in below and len(below) < MAX_DEPTH:
                bases = (self.meaning(base, target.scope) for base in node.bases)
                below = (*below, node)
                kinds = {self._kind(base, below) for base in bases if base} - {None, "object"}
                return "app" if "app" in kinds else "router" if kinds else "object"
        return None

    def returned(self, function: LocalFunction) -> Instance | None:
        """The result of a call of a function, by its return statements, else its annotation."""
        node = function.node
        if isinstance(node, ast.AsyncFunctionDef):
            return None
        scope = self.function_scope(function)
        for statement in statements(node.body):
            if isinstance(statement, ast.Return) and statement.value:
                found = self.meaning(statement.value, scope)
                if isinstance(found, Instance):
                    return found
        return self._annotated(node.returns, function.scope) if node.returns else None

    def function_scope(self, function: LocalFunction) -> Scope:
        node = function.node
        if id(node) not in self._functions:
            self._functions[id(node)] = make_scope(function.scope.file, node.body, function.scope)
        return self._functions[id(node)]

    def text(self, node: ast.expr, scope: Scope, depth: int = 0) -> str | None:
        """The text that an expression is, when that is known; None otherwise."""
        if depth > 20:
            return None
        match node:
            case ast.Constant(value=str() as value):
                return value
            case ast.Name(id=name):
                return self._text_of(self.bindings(name, scope), scope, depth)
            case ast.Attribute():
                return self._member_text(node, scope, depth)
            case ast.BinOp(op=ast.Add()):
                sides = (node.left, node.right)
                return _joined(self.text(part, scope, depth + 1) for part in sides)
            case ast.JoinedStr():
                parts = (p.value if isinstance(p, ast.FormattedValue) else p for p in node.values)
                return _joined(self.text(part, scope, depth + 1) for part in parts)
        return None

    def bindings(self, name: str, scope: Scope) -> list[Binding]:
        holder = self.holder(name, scope)
        return holder.names[name] if holder else []

    def holder(self, name: str, scope: Scope) -> Scope | None:
        """The scope that has a name, looking outward."""
        current: Scope | None = scope
        while current and name not in current.names:
            current = current.outer
        return current

    def origin(self, imported: Imported, scope: Scope) -> Scope | None:
        """The module of the project that a name is imported from."""
        place = self.project.locate(imported.module, scope.file, imported.level)
        return self.project.scope(place[0]) if place and place[1] else None

    def members(self, node: ast.expr, scope: Scope) -> Scope | None:
        """The names in what an expression is: a module, a class, or an object of one."""
        owner = self.meaning(node, scope)
        of = owner.of if isinstance(owner, Instance) else owner
        if isinstance(of, LocalClass):
            return self.class_scope(of)
        if isinstance(of, LocalModule) and of.is_file:
            return self.project.scope(of.path)
        return None

    def class_scope(self, owner: LocalClass) -> Scope:
        key = id(owner.node)
        if key not in self._classes:
            self._classes[key] = make_scope(owner.scope.file, owner.node.body, owner.scope)
        return self._classes[key]

    def _text_of(self, bindings: list[Binding], scope: Scope, depth: int) -> str | None:
        match bindings:
            case [Assigned(value=ast.expr() as value)]:
                return self.text(value, scope, depth + 1)
            case [Imported(name=str() as name) as imported]:
                return self._module_text(self.origin(imported, scope), name, depth)
        return None

    def _module_text(self, module: Scope | None, name: str, depth: int) -> str | None:
        return self._text_of(module.names.get(name, []), module, depth + 1) if module else None

    def _member_text(self, node: ast.Attribute, scope: Scope, depth: int) -> str | None:
        return self._module_text(self.members(node.value, scope), node.attr, depth)


def _is_target(statement: ast.Assign, name: str) -> bool:
    return any(isinstance(t, ast.Name) and t.id == name for t in statement.targets)


def _set_on_self(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value in `self.NAME = value`."""
    match statement:
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)]):
            return statement.value if attribute == name else None
        case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=attribute)):
            return statement.value if attribute == name else None
    return None


def _unquoted(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return parse_expression(annotation.value) or annotation
    return annotation


def _joined(parts: Iterator[str | None]) -> str | None:
    known = list(parts)
    return None if None in known else "".join(part or "" for part in known)
