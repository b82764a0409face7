"""The GET routes of an app that its source shows, and which of them suits a health check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deploytool.discover.names import Instance, LocalFunction, Names
from deploytool.discover.source import Function, Scope, argument

MAX_PLACES = 1_000
HEALTH_WORDS = (
    "health",
    "healthz",
    "_health",
    "health-check",
    "health_check",
    "healthcheck",
    "ready",
    "readyz",
    "readiness",
    "live",
    "livez",
    "liveness",
    "alive",
    "heartbeat",
    "ping",
    "up",
    "status",
)
UNAMBIGUOUS = frozenset(HEALTH_WORDS) - {"ready", "live", "up", "status", "alive"}
OPEN_PARENTS = re.compile(r"^(_?health\w*|api|v\d+|internal|_?system|probes?)$")
USABLE = re.compile(r"^/[!-z|~]*$")
LOGIN = re.compile(
    r"auth|user|token|api_?key|verify|login|permission|credential|security|bearer|admin|jwt",
    re.IGNORECASE,
)
"""Names of dependencies that refuse who is not known."""
INPUT_TYPES = frozenset({"int", "str", "float", "bool", "UUID", "date", "datetime"})


@dataclass(frozen=True)
class Route:
    path: str
    where: str
    is_plain: bool = False
    """Its function takes nothing: no request, no database, nothing for a template."""
    is_guarded: bool = False
    """Dependencies come before its function, which may refuse whoever is not logged in."""


def routes_of(names: Names, app: Instance) -> list[Route]:
    """The GET routes of an app that a health check can ask for."""
    return [route for route in Routes(names).of(app) if USABLE.match(route.path)]


def health_path(names: Names, app: Instance, routes: Sequence[Route]) -> tuple[str | None, str]:
    """The path for a health check, and why that one."""
    healthy = sorted(filter(_is_healthy, routes), key=_preference)
    if healthy and not healthy[0].is_guarded:
        return healthy[0].path, f"GET {healthy[0].path} in {healthy[0].where}"
    root = next((route for route in routes if route.path == "/"), None)
    docs = _documentation(names, app)
    if root and not root.is_guarded and (root.is_plain or docs[0] is None):
        return "/", f"no health route found; GET / in {root.where} answers"
    if docs[0] and (guarded := healthy or ([root] if root and root.is_plain else [])):
        why = f"GET {guarded[0].path} in {guarded[0].where} has dependencies that may refuse it"
        return docs[0], f"{why}; FastAPI's own documentation page answers"
    if not docs[0] and (guarded := healthy or ([root] if root else [])):
        return guarded[0].path, f"GET {guarded[0].path} in {guarded[0].where}"
    return docs


def guard_note(routes: Sequence[Route], path: str | None) -> str | None:
    """The next step where the only route for a health check has dependencies."""
    chosen = [route for route in routes if route.path == path]
    if not chosen or not all(route.is_guarded for route in chosen):
        return None
    return (
        f"GET {path} in {chosen[0].where} is the health check, and has dependencies: where they "
        "refuse a request without a login, no replica becomes healthy. Add a route without them "
        "and set its path in [tool.deploytool.services.web.healthcheck]"
    )


def _documentation(names: Names, app: Instance) -> tuple[str | None, str]:
    given = {keyword.arg: keyword.value for keyword in app.call.keywords} if app.call else {}
    for name in ("openapi_url", "docs_url"):
        if name in given and names.text(given[name], app.scope) is None:
            return None, f"no health route found, and the app sets {name}"
    if app.call is None or None in given:
        return None, "no health route found in the source"
    docs = names.text(given["docs_url"], app.scope) if "docs_url" in given else "/docs"
    return docs, "no health route found; FastAPI's own documentation page answers"


def _is_healthy(route: Route) -> bool:
    *parents, last = route.path.strip("/").lower().split("/")
    if last in UNAMBIGUOUS:
        return True
    return last in HEALTH_WORDS and all(OPEN_PARENTS.match(parent) for parent in parents)


def _preference(route: Route) -> tuple[bool, int, int, str]:
    last = route.path.strip("/").lower().rpartition("/")[2]
    return route.is_guarded, HEALTH_WORDS.index(last), len(route.path), route.path


class Routes:
    """Collects the GET routes of an app, also those of its routers, mounts and helpers."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._seen: set[tuple[int, str, str]] = set()
        self._open: set[tuple[int, str]] = set()

    def of(self, app: Instance) -> Iterator[Route]:
        yield from self._instance(app, "")

    def _instance(
        self, instance: Instance, prefix: str, *, is_guarded: bool = False
    ) -> Iterator[Route]:
        own = self._keyword(instance.call, "prefix", instance.scope) if instance.call else ""
        if instance.kind != "router":
            own = ""
        is_guarded = is_guarded or (instance.call is not None and _has_dependencies(instance.call))
        if own is not None:
            for scope, name in instance.places:
                for route in self._uses(scope, name, prefix + own):
                    yield replace(route, is_guarded=route.is_guarded or is_guarded)

    def _uses(self, scope: Scope, name: str, prefix: str) -> Iterator[Route]:
        key = id(scope), name, prefix
        if key in self._seen or key[:2] in self._open or len(self._seen) > MAX_PLACES:
            return
        self._seen.add(key)
        self._open.add(key[:2])
        for node in scope.nodes:
            if isinstance(node, Function):
                yield from self._decorated(node, scope, name, prefix)
            elif isinstance(node, ast.Call):
                yield from self._call(node, scope, name, prefix)
        self._open.discard(key[:2])

    def _decorated(self, node: Function, scope: Scope, name: str, prefix: str) -> Iterator[Route]:
        for decorator in node.decorator_list:
            method = _method(decorator, name)
            if method and isinstance(decorator, ast.Call) and _answers_get(method, decorator):
                path = self._argument(decorator, "path", scope)
                if path is not None and not _needs_input(node):
                    route = self._route(prefix + path, scope, is_plain=not _takes_anything(node))
                    is_guarded = _has_dependencies(decorator) or _wants_a_login(node)
                    yield replace(route, is_guarded=is_guarded)

    def _call(self, call: ast.Call, scope: Scope, name: str, prefix: str) -> Iterator[Route]:
        method = _method(call, name)
        if method in ("add_api_route", "add_route") and _answers_get("api_route", call):
            path = self._argument(call, "path", scope)
            if path is not None:
                yield self._route(prefix + path, scope)
        elif method == "include_router":
            yield from self._included(call, scope, prefix, self._keyword(call, "prefix", scope))
        elif method == "mount":
            path = self._argument(call, "path", scope)
            target = ast.Call(call.func, call.args[1:], call.keywords)
            yield from self._included(target, scope, prefix, path and path.rstrip("/"), "app")
        else:
            yield from self._helper(call, scope, name, prefix)

    def _included(
        self, call: ast.Call, scope: Scope, prefix: str, more: str | None, name: str = "router"
    ) -> Iterator[Route]:
        target = call.args[0] if call.args else argument(call, None, (name,))
        found = self._names.meaning(target, scope) if target is not None else None
        if more is not None and isinstance(found, Instance) and found.kind != "object":
            yield from self._instance(found, prefix + more, is_guarded=_has_dependencies(call))

    def _helper(self, call: ast.Call, scope: Scope, name: str, prefix: str) -> Iterator[Route]:
        """`register(app)`: the routes that a function of the project adds."""
        position = next((i for i, arg in enumerate(call.args) if _is_name(arg, name)), None)
        keyword = next((k.arg for k in call.keywords if _is_name(k.value, name)), None)
        if position is None and keyword is None:
            return
        function = self._names.meaning(call.func, scope)
        if isinstance(function, LocalFunction):
            arguments = function.node.args
            parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
            parameter = keyword or dict(enumerate(parameters)).get(position or 0)
            if parameter:
                yield from self._uses(self._names.function_scope(function), parameter, prefix)

    def _argument(self, call: ast.Call, name: str, scope: Scope) -> str | None:
        value = argument(call, 0, (name,))
        return None if value is None else self._names.text(value, scope)

    def _keyword(self, call: ast.Call, name: str, scope: Scope) -> str | None:
        value = argument(call, None, (name,))
        return "" if value is None else self._names.text(value, scope)

    def _route(self, path: str, scope: Scope, *, is_plain: bool = False) -> Route:
        return Route(path or "/", str(scope.file), is_plain)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _method(node: ast.expr, name: str) -> str | None:
    """The `get` of `NAME.get(…)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr if _is_name(node.func.value, name) else None
    return None


def _answers_get(method: str, call: ast.Call) -> bool:
    if method in ("get", "route", "api_route"):
        methods = argument(call, None, ("methods",))
        if isinstance(methods, ast.List | ast.Tuple | ast.Set):
            values = [part.value for part in methods.elts if isinstance(part, ast.Constant)]
            return any(isinstance(value, str) and value.upper() == "GET" for value in values)
        return True
    return False


def _has_dependencies(call: ast.Call) -> bool:
    given = argument(call, None, ("dependencies",))
    return given is not None and not (isinstance(given, ast.List | ast.Tuple) and not given.elts)


def _wants_a_login(node: Function) -> bool:
    """Whether a parameter depends on something that is named after who asks."""
    arguments = node.args
    parameters = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    declared = [*arguments.defaults, *arguments.kw_defaults, *(p.annotation for p in parameters)]
    calls = (part for value in declared if value is not None for part in ast.walk(value))
    return any(
        isinstance(call, ast.Call)
        and _last_name(call.func) in ("Depends", "Security")
        and any(LOGIN.search(_last_name(given)) for given in call.args)
        for call in calls
    )


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call():
            return _last_name(node.func)
    return ""


def _takes_anything(node: Function) -> bool:
    arguments = node.args
    return bool(arguments.posonlyargs or arguments.args or arguments.kwonlyargs)


def _needs_input(node: Function) -> bool:
    """Whether a request without parameters is refused."""
    positional = [*node.args.posonlyargs, *node.args.args]
    required = positional[: len(positional) - len(node.args.defaults)]
    defaults = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    required += [parameter for parameter, default in defaults if default is None]
    return any(
        isinstance(parameter.annotation, ast.Name) and parameter.annotation.id in INPUT_TYPES
        for parameter in required
    )
