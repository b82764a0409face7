"""On which line of a TOML text a key stands. (The parsers keep values only.)"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import tomli

Path = tuple[str, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=\n]"
    r"|[^\"'\#\[\]{}=\n]+"
    r"|.",
    re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """The line of every table and key of a valid TOML text; inner keys of inline tables are at
    their table's line, and not in the answer."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for line, head, has_value in _statements(text):
        if has_value:
            path = table + _read_path(f"{head}=0")
        else:
            path = table = _read_path(head)
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def nearest(lines: Mapping[Path, int], path: Sequence[str]) -> tuple[int, int]:
    """How much of a path is in the text, and the line where that is; (0, 1) for nothing."""
    for length in range(len(path), 0, -1):
        line = lines.get(tuple(path[:length]))
        if line is not None:
            return length, line
    return 0, 1


def _statements(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line of each statement, its text up to the equals sign, and whether it has one."""
    line = start = 1
    depth, head, has_value = 0, "", False
    for match in _TOKEN.finditer(text + "\n"):
        token = match[0]
        if token == "\n" and depth <= 0:
            if head:
                yield start, head, has_value
            depth, head, has_value = 0, "", False
        elif not has_value and not token.startswith("#"):
            if not head:
                start, token = line, token.lstrip()
            has_value = token == "=" and depth == 0
            head += "" if has_value else token
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        line += match[0].count("\n")


def _read_path(statement: str) -> Path:
    """The path of `[a.b."c"]` or `a.b."c"=0`."""
    try:
        value: object = tomli.loads(statement)
    except (ValueError, RecursionError):
        return ()
    path: Path = ()
    while value:
        if isinstance(value, list):
            value = value[0]
        if not isinstance(value, dict) or not value:
            break
        key, value = next(iter(value.items()))
        path = (*path, key)
    return path
