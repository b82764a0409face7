"""The names for which an app answers: Starlette's TrustedHostMiddleware refuses all others."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from deploytool.discover.names import External, Instance, Names
from deploytool.discover.source import Scope, argument

MIDDLEWARE = "TrustedHostMiddleware"
MAKERS = ("add_middleware", "Middleware")
ANY = frozenset({"*", "localhost", "*.localhost"})


def hosts_note(names: Names, app: Instance) -> str | None:
    """The next step where the middleware would refuse the health check, which asks for the first of
    the app's domains, and without any for a name below localhost."""
    for call, scope in _calls(app):
        if not _adds(call, scope, names):
            continue
        given = argument(call, None, ("allowed_hosts",))
        allowed = _texts(given, scope, names)
        where = f"{MIDDLEWARE} in {scope.file}"
        if allowed is None:
            return (
                f"{where} answers 400 to names that it does not know: it has to know the first of "
                "the domains in [tool.deploytool.services.web], for which the health check asks"
            )
        if allowed and ANY.isdisjoint(allowed):
            plain = [host for host in allowed if not host.startswith("*")] or ["NAME"]
            quoted = ", ".join(f'"{host}"' for host in plain)
            return (
                f"{where} answers 400 to all names but {', '.join(allowed)}, to the health check "
                f"too: set domains = [{quoted}] in [tool.deploytool.services.web], or allow "
                '"*.localhost" as well'
            )
    return None


def _calls(app: Instance) -> Iterator[tuple[ast.Call, Scope]]:
    if app.call is not None:
        yield from ((node, app.scope) for node in ast.walk(app.call) if isinstance(node, ast.Call))
    for scope, _ in app.places:
        yield from ((node, scope) for node in scope.nodes if isinstance(node, ast.Call))


def _adds(call: ast.Call, scope: Scope, names: Names) -> bool:
    made = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if made not in MAKERS or not call.args:
        return False
    found = names.meaning(call.args[0], scope)
    return isinstance(found, External) and found.name.endswith(f".{MIDDLEWARE}")


def _texts(node: ast.expr | None, scope: Scope, names: Names) -> list[str] | None:
    """The texts of a list; None where one is unknown."""
    if node is None:
        return []
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        return None
    found = [names.text(part, scope) for part in node.elts]
    return None if None in found else [text for text in found if text is not None]
