"""Text that a terminal shows and does not obey.

Output of apps, names and notes of other users may hold sequences that move the cursor, change what
was printed before, or turn the order of letters round.
"""

from __future__ import annotations

import re

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
"""What only colours text is left out without a trace."""
BEYOND_C0 = "\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""DEL, C1, separators of lines and marks of direction, which JSON leaves as they are."""
IN_JSON = re.compile(f"[{BEYOND_C0}]")
CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f{BEYOND_C0}]")
"""The same, and C0 but for tab and line feed."""


def printable(text: str) -> str:
    """A text whose control characters are spelled out: `\\x1b`, `\\u202e`."""
    if not CONTROL.search(text):
        return text
    return CONTROL.sub(_spelled, COLOUR.sub("", text))


def one_line(text: str) -> str:
    """A text whose line feeds are spelled out too: what follows one would pass for a line of
    ours."""
    return text.replace("\n", "\\n")


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def printable_json(text: str) -> str:
    """The same JSON without such characters."""
    return IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
