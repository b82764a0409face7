"""Text that the Swarm leaves as it is, and text in which it fills something in.

It takes every variable, mount and host name for a template of Go's text/template
(`ExpandContainerSpec` in swarmkit's template/expand.go), and refuses a service with one that is
none. Outside of `{{ }}` a template is literal, so only what opens one has to be written otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploytool import redact
from deploytool.spec import Service

OPENS = "{{"
LITERAL = "{{`{{`}}"
"""A template that comes to what opens one."""
FILLED_IN = re.compile(r"\{\{-?\s*\.(Node|Service|Task)\b")
"""What somebody writes who wants the Swarm's templates."""
VOLUMES = "volumes"


def literal(text: str) -> str:
    """The template that comes to a text."""
    return text.replace(OPENS, LITERAL)


def environment(service: Service, variables: Mapping[str, str]) -> dict[str, str]:
    """Variables as the Swarm has to be given them."""
    return {
        name: value if f"env.{name}" in service.templates else literal(value)
        for name, value in variables.items()
    }


def path(service: Service, text: str) -> str:
    """A path of a volume as the Swarm has to be given it."""
    return text if VOLUMES in service.templates else literal(text)


def filled_in(service: Service) -> Iterator[tuple[str, str]]:
    """Key and text of each template of a service."""
    texts = {f"env.{name}": [value] for name, value in service.env.items()}
    texts["hostname"] = [service.hostname or ""]
    texts[VOLUMES] = [part for v in service.volumes for part in (v.source, v.target)]
    for key in sorted(set(service.templates)):
        yield from ((key, text) for text in texts[key])


def readable(value: Any) -> Any:
    """What comes of a template, for people to read, in lists and tables too."""
    if isinstance(value, Mapping):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    if not isinstance(value, str):
        return value
    by_the_swarm = OPENS in value.replace(LITERAL, "")
    return value.replace(LITERAL, OPENS) + (" (filled in by the Swarm)" if by_the_swarm else "")


def hide_variables(text: str, env: Iterable[str]) -> str:
    """The text without what a plan hides of variables, as they were written and as the Swarm was
    given them."""
    given = list(env)
    return redact.hide_variables(text, [*given, *(item.replace(LITERAL, OPENS) for item in given)])


def warnings(services: Iterable[Service]) -> Iterable[str]:
    """Where somebody may expect the Swarm to fill something in."""
    for service in services:
        asked = [f"env.{name}" for name, value in service.env.items() if FILLED_IN.search(value)]
        asked += ["hostname"] if FILLED_IN.search(service.hostname or "") else []
        paths = [text for volume in service.volumes for text in (volume.source, volume.target)]
        asked += [VOLUMES] if any(map(FILLED_IN.search, paths)) else []
        for key in sorted(set(asked) - set(service.templates)):
            yield (
                f"services.{service.name}.{key} is passed on as it is written; for the Swarm to "
                f'fill it in: templates = ["{key}"]'
            )
