"""Templates of a task, as far as jobs of deploytool have them: contents, variables, base64. Pure.

What is not known here fails the task, instead of being guessed. Follows consul-template and
client/allocrunner/taskrunner/template.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from tests.nomad_double.state import Json

ITEM = r'(?:\.([A-Za-z_][A-Za-z0-9_]*)|\(index \. "([^"]+)"\))\.Value( \| base64Decode)?'
VARIABLE = re.compile(r'with nomadVar "([^"]+)"')
LITERAL = re.compile(r'"([A-Za-z0-9+/=]*)" \| base64Decode')


class Missing(Exception):
    """A variable that is not there, or that the task's identity may not read: the task waits."""


class Unknown(Exception):
    """A template that the double does not know."""


Read = Callable[[str], dict[str, str] | None]
"""Path → items of a variable."""


def may_read(path: str, allocation: Json, task: str) -> bool:
    """Exactly the paths of the job, the group and the task, nothing below (acl/acl.go)."""
    job, group = allocation["JobID"], allocation["TaskGroup"]
    own = f"nomad/jobs/{job}"
    return path in ("nomad/jobs", own, f"{own}/{group}", f"{own}/{group}/{task}")


def render(template: Json, read: Read) -> bytes:
    """Raises Missing and Unknown."""
    left = template.get("LeftDelim") or "{{"
    right = template.get("RightDelim") or "}}"
    text = template["EmbeddedTmpl"]
    parts = re.split(f"{re.escape(left)} ?(.*?) ?{re.escape(right)}", text)
    made, items = b"", None
    for number, part in enumerate(parts):
        if number % 2 == 0:
            made += part.encode()
        elif found := VARIABLE.fullmatch(part):
            items = read(found[1])
            if items is None:
                raise Missing(f"nomad.var.block({found[1]}@default.global)")
        elif part == "end":
            items = None
        else:
            made += _value(part, items)
    return made


def _value(action: str, items: dict[str, str] | None) -> bytes:
    if found := LITERAL.fullmatch(action):
        return base64.b64decode(found[1])
    item = re.fullmatch(ITEM, action)
    if item is None or items is None:
        raise Unknown(action)
    key = item[1] or item[2]
    if key not in items:
        raise Missing(f"map has no entry for key {key}")
    value = items[key]
    return base64.b64decode(value) if item[3] else value.encode()
