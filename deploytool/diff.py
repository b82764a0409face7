"""What differs between two specifications, in the form that a plan shows. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from deploytool.backends.model import Change, FieldChange, Plan
from deploytool.redact import MASK, hide_passwords_in, is_plain, looks_secret

PRIVATE = ("env.", "labels.", "container labels.", "logging.options.", "args.")
"""Fields whose values somebody chose."""
_OWNER = re.compile(r"^(?:services\.[^.]+|[a-z]+)\.")
"""The table of a service, or of what else has such fields."""
ROUTING = re.compile(
    r"""labels\. (?: deploytool\..*
      | traefik\. (?: enable | (?:swarm|docker)\..*
        | (?:http|tcp|udp)\.routers\.[^.]+\. (?: rule | priority | entrypoints | service
          | middlewares | rulesyntax | tls(?:\..*)? )
        | (?:http|tcp|udp)\.services\. (?!.*headers) .* ) )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Labels that say where requests go. Middlewares may hold logins and keys."""


def differences(
    before: Any,
    after: Any,
    *,
    key_of: Callable[[str], str] = str,
    shown: Callable[[str, Any], Any] = lambda _, value: value,
) -> tuple[FieldChange, ...]:
    """Field by field. `key_of` is the configuration's word for a path of the cluster's, which is
    what a reader knows; `shown` is how a value at a path is written there."""
    return tuple(
        FieldChange(
            path=key_of(path),
            before=None if old is None else hide_passwords_in(shown(path, old)),
            after=None if new is None else hide_passwords_in(shown(path, new)),
        )
        for path, old, new in walk(before, after)
    )


def hidden(plan: Plan) -> Plan:
    """The plan without the values of variables and labels, which may be secrets whatever they are
    called, but for those that say of themselves that they are none and those of routes."""
    return plan.model_copy(update={"changes": tuple(map(_hidden, plan.changes))})


def _hidden(change: Change) -> Change:
    fields = tuple(
        field.model_copy(
            update={n: _hidden_value(field.path, getattr(field, n)) for n in ("before", "after")}
        )
        for field in change.fields
    )
    return change.model_copy(update={"fields": fields})


def hidden_setting(path: str, value: Any) -> Any:
    """The same for the value of a key of the configuration."""
    return _hidden_value(_OWNER.sub("", path).replace('"', ""), value)


def _hidden_value(path: str, value: Any) -> Any:
    is_shown = not path.startswith(PRIVATE) or ROUTING.fullmatch(path) or is_plain(value)
    return value if is_shown else MASK


def variable(name: str, value: Any) -> Any:
    """An environment variable as a plan shows it."""
    return MASK if looks_secret(name) else value


def walk(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, value before and value after of each leaf that differs. None is "not set"; a list is
    a leaf."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from walk(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, dict) and after is None:
        yield from walk(before, {}, path)
    elif isinstance(after, dict) and before is None:
        yield from walk({}, after, path)
    elif before != after:
        yield path, before, after
