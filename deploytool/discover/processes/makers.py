"""The maker of an object, where that is a class or a function of another distribution."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from deploytool.discover.names import External, LocalClass, LocalFunction, Names
from deploytool.discover.source import Assigned, Scope, argument, statements

MAX_STEPS = 12


class Makers:
    """Resolves values to the full names of what makes them: "celery.Celery"."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def calls(self, value: ast.expr | None, scope: Scope, left: int = MAX_STEPS) -> Iterator[Made]:
        """The calls that may have made a value, through functions of the project."""
        match value:
            case ast.Call(func=ast.Attribute(value=ast.Call() as inner, attr=attribute)) if (
                attribute.startswith("with_")
            ):
                yield from self.calls(inner, scope, left - 1) if left else ()
            case ast.Call():
                yield from self._called(value, scope, left) if left else ()
            case ast.Name(id=name):
                for binding in scope.names.get(name, ()) if left else ():
                    if isinstance(binding, Assigned):
                        yield from self.calls(binding.value, scope, left - 1)

    def _called(self, call: ast.Call, scope: Scope, left: int) -> Iterator[Made]:
        target = self.names.meaning(call.func, scope)
        if isinstance(target, LocalFunction):
            inside = self.names.function_scope(target)
            for statement in statements(target.node.body):
                if isinstance(statement, ast.Return):
                    yield from self.calls(statement.value, inside, left - 1)
        elif isinstance(target, External):
            yield Made(target.name, call, scope)
        elif isinstance(target, LocalClass):
            yield from (Made(name, call, scope) for name in self.bases(target))

    def bases(self, local: LocalClass, left: int = MAX_STEPS) -> Iterator[str]:
        """The classes of other distributions that a class of the project is derived from."""
        for base in local.node.bases if left else ():
            meaning = self.names.meaning(base, local.scope)
            if isinstance(meaning, External):
                yield meaning.name
            elif isinstance(meaning, LocalClass) and meaning.node is not local.node:
                yield from self.bases(meaning, left - 1)


class Made:
    """A call of something that another distribution brings."""

    def __init__(self, name: str, call: ast.Call, scope: Scope) -> None:
        self.name = name
        self.call = call
        self.scope = scope

    def argument(self, *names: str) -> ast.expr | None:
        """The value of the first of some keywords that is given."""
        return argument(self.call, None, names)
