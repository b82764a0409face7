"""Layers of values, of which the later ones win, and where each value came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tomli

from deploytool.config.file import DEEPEST, depth
from deploytool.config.model import FREE_KEYS, Config
from deploytool.config.paths import join, quoted
from deploytool.config.problems import described_at
from deploytool.config.schema import schema


class Layers:
    """Tables merged one over the other, and who set what."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.merged: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def add(self, table: Mapping[str, Any], source: str) -> None:
        for path, value in _leaves(table):
            if value != {} or not self._has_table(path):
                self.set(path, value, source)

    def _has_table(self, path: Sequence[str]) -> bool:
        node: Any = self.merged
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return isinstance(node, dict)

    def set(self, path: Sequence[str], value: Any, source: str) -> None:
        table = self.merged
        for key in path[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        written = join(path)
        if isinstance(table.get(path[-1]), dict):
            for inner in [known for known in self.sources if known.startswith(f"{written}.")]:
                del self.sources[inner]
        table[path[-1]] = {} if value == {} else value
        self.sources[written] = source

    def add_variables(self, environ: Mapping[str, str]) -> list[str]:
        """DEPLOYTOOL_SERVICES__WEB__REPLICAS=6 sets services.web.replicas."""
        warnings = []
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name in _OWN_VARIABLES:
                continue
            path = self._variable_path(name)
            if self._may_set(path):
                self.set(path, _variable_value(path, environ[name]), name)
            else:
                warnings.append(f"{name} sets nothing{self._meant(name)}")
        return warnings

    def _may_set(self, path: Sequence[str]) -> bool:
        """Whether a variable can set a path: services are the files' to name, so that none that is
        mistyped becomes one more."""
        if path[0] == "services" and len(path) > 1:
            return path[1] in self._services
        return path[0] in Config.model_fields and path[0] != "environments"

    @property
    def _services(self) -> tuple[str, ...]:
        services = self.merged.get("services")
        return tuple(services) if isinstance(services, dict) else ()

    def _meant(self, name: str) -> str:
        """The variable that was meant by one that sets nothing, as far as names tell."""
        paths = sorted(_paths(schema(), self._services), key=len)
        wanted = name.removeprefix(PREFIX).lower()
        near = {"_".join(path).replace("-", "_"): path for path in reversed(paths)}
        close = [near[found] for found in difflib.get_close_matches(wanted, near, 1, 0.75)]
        same = [path for path in paths if path[-1] == wanted]
        found = next(iter((*same, *close)), None)
        if found is None and wanted.startswith("services__"):
            return f", as there is no such service: there are {', '.join(sorted(self._services))}"
        if found is None:
            return ", as it begins with no key of the configuration"
        return f"; did you mean {PREFIX}{'__'.join(found).replace('-', '_').upper()}?"

    def _variable_path(self, name: str) -> list[str]:
        path: list[str] = []
        rest = name.removeprefix(PREFIX)
        while rest:
            if _is_free(path):
                path.append(rest)
                break
            segment, _, rest = rest.partition("__")
            path.append(segment.lower())
        if len(path) > 1 and path[0] == "services":
            hyphened = path[1].replace("_", "-")
            path[1] = hyphened if hyphened in self._services else path[1]
        return [segment or "_" for segment in path] or ["_"]


PREFIX = "DEPLOYTOOL_"
_OWN_VARIABLES = {"DEPLOYTOOL_ENV"}


def _paths(
    described: dict[str, Any], services: Sequence[str], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The paths of all keys that a variable can set."""
    for key in described_at(path, described).get("properties", ()):
        here = (*path, key)
        if here == ("services",):
            for name in services:
                yield from _paths(described, services, (*here, name))
        elif here != ("environments",):
            yield here
            yield from _paths(described, services, here)


def _is_free(path: Sequence[str]) -> bool:
    """Whether the keys of the table at a path are the user's own."""
    return list(path) in (["build", "args"], ["proxy", "env"]) or (
        len(path) == 3 and path[0] == "services" and path[2] in FREE_KEYS
    )


def _variable_value(path: Sequence[str], text: str) -> Any:
    """A number, true, false, a list or a table as TOML writes it; anything else is text, and so
    is everything where text is meant."""
    if _is_free(path[:-1]):
        return text
    try:
        table = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = table.pop("value")
    if isinstance(value, str):
        return value
    is_deep = depth([value]) > DEEPEST
    return text if table or is_deep or _takes_text(path) else value


def _takes_text(path: Sequence[str]) -> bool:
    """Whether the key at a path is text and nothing else."""
    described = schema()
    node = described_at(path, described)
    kinds = {choice.get("type") for choice in node.get("anyOf", [node])} - {"null"}
    return kinds == {"string"}


def _leaves(
    table: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths and values of a table of tables. An empty table is a value of its own."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{quoted(key)}" if path else quoted(key))
    else:
        yield path, value
