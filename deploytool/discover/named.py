"""The files and folders that source code names, as far as its text tells.

A path that begins at `__file__` belongs to the folder of that file, wherever the process runs; a
plain relative one belongs to the process's working folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.discover.names import Instance, LocalClass, LocalModule, Names
from deploytool.discover.source import HERE, Assigned, Binding, Imported, Scope, make_scope

READING_CALLS = frozenset(
    {"StaticFiles", "Jinja2Templates", "FileSystemLoader", "open", "FileResponse", "Config"}
    | {"fileConfig", "read_text", "read_bytes"}
)
PATH_CLASSES = frozenset({"Path", "PurePath", "PosixPath", "PurePosixPath", "AnyioPath"})
SAME_PATH = frozenset({"resolve", "absolute", "expanduser", "as_posix"})
SAME_ARGUMENT = frozenset({"str", "fspath", "abspath", "realpath", "normpath", "expanduser"})
SUFFIX = re.compile(r"[\w./-]{1,200}\.\w{1,10}")
MAX_DEPTH = 20
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


class Paths:
    """Works out the paths in a project's source."""

    def __init__(self, names: Names) -> None:
        self._names = names

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
            found = self.value(part, scope)
            if found and (found.anchored or not isinstance(node, ast.JoinedStr)):
                yield part, found

    def value(self, node: ast.expr, scope: Scope, depth: int = 0) -> NamedPath | None:
        """The path that an expression is; where only its beginning can be told, that folder."""
        if depth > MAX_DEPTH:
            return None
        match node:
            case ast.Constant(value=str() as text):
                return _relative(text)
            case ast.Name(id="__file__"):
                return NamedPath(scope.file, anchored=True)
            case ast.Name(id=name):
                return self._bound(self._names.bindings(name, scope), scope, depth)
            case ast.Attribute(attr="parent"):
                return _up(self.value(node.value, scope, depth + 1), 1)
            case ast.Attribute():
                return self._member(node, scope, depth)
            case ast.Subscript(
                value=ast.Attribute(attr="parents", value=inner), slice=ast.Constant(value=int(n))
            ) if n >= 0:
                return _up(self.value(inner, scope, depth + 1), n + 1)
            case ast.BinOp(op=ast.Div()):
                return self._joined([node.left, node.right], scope, depth)
            case ast.BinOp(op=ast.Add()):
                return self._added([node.left, node.right], scope, depth)
            case ast.JoinedStr():
                return self._added(node.values, scope, depth)
            case ast.FormattedValue():
                return self.value(node.value, scope, depth + 1)
            case ast.Call():
                return self._called(node, scope, depth)
        return None

    def _bound(self, bindings: Sequence[Binding], scope: Scope, depth: int) -> NamedPath | None:
        match bindings:
            case [Assigned(value=ast.expr() as value)]:
                return self.value(value, scope, depth + 1)
            case [Imported(name=str() as name) as imported]:
                project = self._names.project
                place = project.locate(imported.module, scope.file, imported.level)
                there = project.scope(place[0]) if place and place[1] else None
                return self._bound(there.names.get(name, []), there, depth + 1) if there else None
        return None

    def _member(self, node: ast.Attribute, scope: Scope, depth: int) -> NamedPath | None:
        owner = self._names.meaning(node.value, scope)
        of = owner.of if isinstance(owner, Instance) else owner
        inside: Scope | None = None
        if isinstance(of, LocalClass):
            inside = make_scope(of.scope.file, of.node.body, of.scope)
        elif isinstance(of, LocalModule) and of.is_file:
            inside = self._names.project.scope(of.path)
        return self._bound(inside.names.get(node.attr, []), inside, depth + 1) if inside else None

    def _called(self, call: ast.Call, scope: Scope, depth: int) -> NamedPath | None:
        name = called_name(call)
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name in PATH_CLASSES:
            return self._joined(call.args, scope, depth) if call.args else NamedPath(HERE)
        if name in ("cwd", "getcwd"):
            return NamedPath(HERE)
        if name in SAME_ARGUMENT and call.args:
            return self.value(call.args[0], scope, depth + 1)
        if name == "dirname" and call.args:
            return _up(self.value(call.args[0], scope, depth + 1), 1)
        if name == "join" and isinstance(owner, ast.Attribute | ast.Name):
            return self._joined(call.args, scope, depth)
        if name == "files" and call.args:
            return self._resources(call.args[0], scope)
        if owner is None:
            return None
        if name in SAME_PATH:
            return self.value(owner, scope, depth + 1)
        if name == "joinpath":
            return self._joined([owner, *call.args], scope, depth)
        if name == "with_name" and call.args:
            above = _up(self.value(owner, scope, depth + 1), 1)
            return _join(above, self.value(call.args[0], scope, depth + 1))
        return None

    def _resources(self, package: ast.expr, scope: Scope) -> NamedPath | None:
        """`importlib.resources.files("pkg")`."""
        if isinstance(package, ast.Name) and package.id in ("__package__", "__name__"):
            return NamedPath(scope.file.parent, anchored=True)
        name = self._names.text(package, scope)
        place = self._names.project.locate(name, scope.file) if name else None
        if place is None:
            return None
        return NamedPath(place[0].parent if place[1] else place[0], anchored=True)

    def _joined(self, parts: Sequence[ast.expr], scope: Scope, depth: int) -> NamedPath | None:
        found = self.value(parts[0], scope, depth + 1) if parts else None
        for part in parts[1:]:
            more = self.value(part, scope, depth + 1)
            if found is None or more is None:
                return found
            found = _join(found, more)
        return found

    def _added(self, parts: Sequence[ast.expr], scope: Scope, depth: int) -> NamedPath | None:
        """Texts one behind the other: `BASE + "/data"`, f"data/{name}.json"."""
        found, tail = self._beginning(parts[0], scope, depth) if parts else (None, "")
        for part in parts[1:]:
            text = self._names.text(part, scope)
            if text is None:
                return _join(found, _relative(tail.rpartition("/")[0] or "."))
            tail += text
        return _join(found, _relative(tail.lstrip("/") or "."))

    def _beginning(self, part: ast.expr, scope: Scope, depth: int) -> tuple[NamedPath | None, str]:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            return (None, "") if part.value.startswith("/") else (NamedPath(HERE), part.value)
        return self.value(part, scope, depth + 1), ""


def called_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _path_expressions(node: ast.AST) -> Iterable[ast.expr]:
    """The expressions of a node that are paths when they can be worked out."""
    match node:
        case ast.BinOp(op=ast.Div()) | ast.JoinedStr():
            return [node]
        case ast.BinOp(op=ast.Add()) if not isinstance(node.left, ast.Constant):
            return [node]
        case ast.Call() if called_name(node) in {*PATH_CLASSES, "join", "joinpath", "with_name"}:
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
        found = _relative(part.value) if isinstance(part.value, str) else None
        if found:
            yield found.path


def _has_suffix(value: object) -> bool:
    return isinstance(value, str) and SUFFIX.fullmatch(value) is not None


def _relative(text: str) -> NamedPath | None:
    if not 0 < len(text) <= LONGEST or "\0" in text or "\n" in text:
        return None
    path = PurePosixPath(text)
    return None if path.is_absolute() else NamedPath(path)


def _up(found: NamedPath | None, steps: int) -> NamedPath | None:
    for _ in range(steps):
        found = _join(found, NamedPath(PurePosixPath("..")))
    return found


def _join(first: NamedPath | None, second: NamedPath | None) -> NamedPath | None:
    """One path behind the other, without "..": None above the project, or two beginnings."""
    if first is None or second is None or second.anchored:
        return second if first and second else None
    path = below(first.path, second.path)
    return None if path is None else NamedPath(path, first.anchored)


def below(folder: PurePosixPath, path: PurePosixPath) -> PurePosixPath | None:
    """A relative path from a folder of the project, without ".."; None outside the project."""
    parts = list(folder.parts)
    for part in path.parts:
        if part == "/" or (part == ".." and not parts):
            return None
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
