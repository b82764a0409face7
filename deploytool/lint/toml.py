"""On which line of a TOML text a key stands. (The parsers keep values only.)"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence

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
    for line, statement, equals in _statements(text):
        if equals is None:
            table = _read_path(statement)
            path = table
        else:
            path = table + _read_path(f"{statement[:equals]}=0")
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


def _statements(text: str) -> Iterator[tuple[int, str, int | None]]:
    """Line, text and position of the equals sign of each statement."""
    line = start = 1
    depth, parts, equals = 0, "", None
    for match in _TOKEN.finditer(text + "\n"):
        token = match[0]
        if token == "\n" and depth <= 0:
            if parts.strip():
                yield start, parts.strip(), equals
            depth, parts, equals = 0, "", None
            line += 1
            continue
        if not parts.strip():
            start, parts = line, ""
            token = token.lstrip()
        if token == "=" and depth == 0 and equals is None:
            equals = len(parts)
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        line += token.count("\n")
        parts += "" if token.startswith("#") else token


def _read_path(statement: str) -> Path:
    """The path of `[a.b."c"]` or `a.b."c"=0`."""
    try:
        value: object = tomllib.loads(statement)
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
