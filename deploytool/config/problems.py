"""What is wrong with a configuration, in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from deploytool.config.model import FREE_KEYS, Config, with_names
from deploytool.config.paths import quoted
from deploytool.config.schema import schema
from deploytool.errors import Problem
from deploytool.redact import hide_passwords, looks_secret

_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}


def problems_of(table: dict[str, Any], sources: Mapping[str, str]) -> list[Problem]:
    try:
        Config.model_validate(with_names(table))
    except ValidationError as error:
        return problems_in(error, sources)
    return []


def problems_in(error: ValidationError, sources: Mapping[str, str]) -> list[Problem]:
    return [_problem(dict(item), sources) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], sources: Mapping[str, str]) -> Problem:
    kind: str = item["type"]
    item["loc"] = _without_tags(item["loc"], kind)
    path = _path(item["loc"])
    message, hint = _say(kind, path, item)
    message = hide_passwords(message)
    source = sources.get(path, "")
    if source.startswith(("DEPLOYTOOL_", "--")):
        message = f"{message} [set by {source}]"
    return Problem(path, message, hint)


TAGS = ("[key]", "[list]", "[text]", "[table]", "[none]")
"""Parts of a location that are pydantic's or the model's own, and no keys."""


def _without_tags(location: Sequence[int | str], kind: str) -> tuple[int | str, ...]:
    """An unknown key is the user's, whatever it is called."""
    given = location[-1:] if kind == "extra_forbidden" else ()
    models = location[: len(location) - len(given)]
    return (*(part for part in models if part not in TAGS), *given)


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{quoted(part)}"
    return path


def _say(kind: str, path: str, item: dict[str, Any]) -> tuple[str, str]:
    """What is wrong, in words, and what would be right."""
    context = item.get("ctx", {})
    given = "" if _is_private(path) else f", not {_short(item['input'])}"
    if kind == "missing":
        return "is missing", ""
    if kind == "extra_forbidden":
        return _unknown_key(item["loc"])
    if kind == "value_error":
        message = str(context["error"])
        return message.replace(repr(item["input"]), "this") if _is_private(path) else message, ""
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}{given}", ""
    if kind == "string_pattern_mismatch":
        return f"is not written right{given and ': ' + given[6:]}", _PATTERNS.get(
            path.rpartition(".")[2].partition("[")[0], f"it has to match {context['pattern']}"
        )
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", ""
    for name, bound in (("ge", "at least"), ("gt", "more than"), ("le", "at most")):
        if name in context:
            return f"must be {bound} {context[name]:g}{given}", ""
    for name, words in _TYPE_NAMES.items():
        if kind.startswith(f"{name}_"):
            return f"must be {words}{given}", ""
    return f"{item['msg'][0].lower()}{item['msg'][1:]}{given}", ""


_PATTERNS = {
    "entrypoint": 'write "module:object", for example "app.main:app"',
    "path": 'start with a slash, for example "/health"',
    "path_prefix": 'start with a slash, for example "/api"',
    "constraints": 'write "attribute == value", for example "node.labels.disk == ssd"',
    "email": 'write an address, for example "ops@example.com"',
    "acme_directory": "write an address that begins with https://",
    "dns_provider": 'write lego\'s name of it, for example "cloudflare"',
    "dns_resolvers": 'write "address:port", for example "1.1.1.1:53"',
    "templates": 'write "env.NAME", with the name of a variable, "volumes" or "hostname"',
    "address": 'write it with http:// or https://, for example "https://nomad.example.com:4646"',
    "namespace": "use up to 128 letters, digits and hyphens",
    "node_pool": "use up to 128 letters, digits, hyphens and underscores",
    "capabilities": 'write the capability in capitals, for example "NET_BIND_SERVICE"',
}


def _is_private(path: str) -> bool:
    return any(f".{key}." in f".{path}." for key in FREE_KEYS) or looks_secret(path)


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _unknown_key(location: Sequence[int | str]) -> tuple[str, str]:
    key = str(location[-1])
    if tuple(location) == ("tool",):
        return "unknown key 'tool'", "in a deploytool.toml, [tool.deploytool.NAME] is [NAME]"
    known = _known_keys(location[:-1])
    if close := difflib.get_close_matches(key, known, 1, 0.6):
        return f"unknown key {key!r}", f"did you mean {close[0]!r}?"
    return f"unknown key {key!r}", f"known here: {', '.join(sorted(known))}" if known else ""


def _known_keys(location: Sequence[int | str]) -> list[str]:
    """The keys of the table at a location, read off the models."""
    node = described_at(location, schema())
    return [name for name in node.get("properties", ()) if name != "name"]


def described_at(location: Sequence[int | str], described: dict[str, Any]) -> dict[str, Any]:
    """What the schema says of a location; empty where it says nothing."""
    node, definitions = described, described["$defs"]
    for part in location:
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            additional = node.get("additionalProperties")
            node = additional if isinstance(additional, dict) else {}
        node = _resolve(node, definitions)
    return node


def _resolve(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    for choice in (node, *(c for kind in COMBINED for c in node.get(kind, ()))):
        if "$ref" in choice:
            return dict(definitions[choice["$ref"].rpartition("/")[2]])
        if "oneOf" in choice and choice is not node:
            return _resolve(choice, definitions)
    return node


COMBINED = ("anyOf", "allOf", "oneOf")


def unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
