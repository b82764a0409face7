"""Text that reaches a replica as it is written. Pure.

Three things fill something in: HCL in a job file (`hcl.py` escapes for it), the client in what a
driver is given, which it reads as HCL once more (`ParseHclInterface` in Nomad's
helper/pluginutils/hclutils), and the client in all other fields, where it replaces `${NAME}` by
what it knows of that name (`ReplaceEnv` in helper/args). The last has no escape.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

FILLED_IN = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_.-]*\}")
"""What a client may know: node attributes, NOMAD_* and the task's own variables. A name that begins
with a digit, such as Traefik's `${1}`, is none of these and stays."""
BYTE_ORDER_MARK = "\ufeff"
OPENS = re.compile(r"[$%]\{")
SPECIAL = re.compile(r"([$%]*)(\{|\r)")


def for_driver(value: Any) -> Any:
    """A driver's setting such that the client's HCL comes to it, in lists and tables too."""
    if isinstance(value, dict):
        return {key: for_driver(item) for key, item in value.items()}
    if isinstance(value, list):
        return [for_driver(item) for item in value]
    return _escaped(value) if isinstance(value, str) else value


def _escaped(text: str) -> str:
    """Of `$${`, HCL would read the escape itself: a sign before the last is one that a template
    comes to, and so is a carriage return, behind which HCL misses templates. A byte order mark at
    the beginning, which HCL leaves out, stands behind one."""
    before = '${""}' if text.startswith(BYTE_ORDER_MARK) else ""
    return before + (SPECIAL.sub(_replaced, text) if OPENS.search(text) else text)


def _replaced(found: re.Match[str]) -> str:
    signs, after = found.groups()
    if after == "\r":
        return _as_template(signs) + '${"\\r"}'
    return _as_template(signs[:-1]) + signs[-1:] * 2 + after


def _as_template(signs: str) -> str:
    return "".join(f'${{"{sign}"}}' for sign in signs)


def is_filled_in(text: str) -> bool:
    """Whether a client may replace a part of a text that has no escape."""
    return FILLED_IN.search(text) is not None


def is_normal(text: str) -> bool:
    """Whether HCL keeps a text: it composes characters (Unicode's NFC), wherever it reads any."""
    return unicodedata.is_normalized("NFC", text)


def delimiters(content: str) -> tuple[str, str]:
    """What opens and closes a template's actions such that a content has none: the usual ones
    where they are not in it."""
    number, left, right = 0, "{{", "}}"
    while left in content:
        left, right, number = f"<<deploytool{number}:", ":>>", number + 1
    return left, right
