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
_ACTION = re.compile(r"\{\{(?P<inside>(?:`[^`]*`|\"(?:[^\"\\\n]|\\.)*\"|(?!\}\}|\{\{)[^`\"])*)\}\}")
_TEXT = re.compile(r"`[^`]*`|\"(?:[^\"\\]|\\.)*\"")
_FIELD = re.compile(r"(?<![\w.)$])(?:\.[A-Za-z_]\w*)+")
_KNOWN = re.compile(
    r"\.Service(\.(ID|Name|Labels(\.\w+)?))?|\.Task(\.(ID|Name|Slot))?"
    r"|\.Node(\.(ID|Hostname|Platform(\.(Architecture|OS))?))?"
)
"""What a template may name (swarmkit's template/context.go)."""
FIELDS = (
    *(".Service.ID", ".Service.Name", ".Service.Labels", ".Node.ID", ".Node.Hostname"),
    *(".Node.Platform.Architecture", ".Node.Platform.OS", ".Task.ID", ".Task.Name", ".Task.Slot"),
)


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


def fault(text: str) -> str:
    """What the Swarm would refuse a template for; empty for what it may take. Functions are not
    looked at, nor fields where a block changes what they are of."""
    if OPENS in _ACTION.sub("", text):
        return f"it opens {OPENS} and does not close it"
    inside = [_TEXT.sub("", found["inside"]) for found in _ACTION.finditer(text)]
    if any(re.search(r"\b(range|with)\b", action) for action in inside):
        return ""
    for field in (field for action in inside for field in _FIELD.findall(action)):
        if not _KNOWN.fullmatch(field):
            return f"the Swarm has no {field}: there are {', '.join(FIELDS)}"
    return ""


def problems(service: Service) -> Iterator[tuple[str, str]]:
    """Field and fault of each template that the Swarm would refuse, after the release step."""
    texts = [(f"env.{name}", value) for name, value in service.env.items()]
    texts += [("hostname", service.hostname or "")]
    texts += [(VOLUMES, text) for v in service.volumes for text in (v.source or "", v.target)]
    for key, text in texts:
        if key in service.templates and (found := fault(text)):
            yield key, found


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
