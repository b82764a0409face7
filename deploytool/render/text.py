"""Data → YAML that every reader reads alike.

Go's readers take 1e3 for a number where Python's do not, and they disagree about line breaks in
quotes: text is quoted wherever it could be anything else. What nearly all documents consist of is
written here, many times as fast as PyYAML does; rarities are PyYAML's. Both write the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml

from deploytool.json_types import Json

PLAIN = re.compile(r"(--?)?[A-Za-z/_$][ -~]*")
"""Text that is no number to any reader. What else has to be quoted, the dumper knows."""
BLOCK = re.compile(r"([!-~]([ -~]*[!-~])?\n)(([ -~]*[!-~])?\n)*(?<!\n\n)")
"""Lines that read best as they are."""
LONGEST_KEY = 100
"""Characters; somewhat beyond, YAML writes keys in another way."""


def to_yaml(document: Json) -> str:
    """The same bytes for the same data, keys sorted."""
    try:
        return "".join(f"{line}\n" for line in _lines(document, "")) or dump(document)
    except _Rarity:
        return dump(document)


def dump(document: Json) -> str:
    """The same by PyYAML, whatever is in it."""
    return yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=True,
        default_flow_style=False,
        width=2**31,
        allow_unicode=True,
    )


class _Dumper(yaml.SafeDumper):
    pass


def _quoted(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if PLAIN.fullmatch(text):
        style = None
    elif _is_block(text):
        style = "|"
    else:
        style = "'" if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


class _Rarity(Exception):
    """Something that is left to PyYAML."""


def _lines(table: Json, indent: str) -> Iterator[str]:
    for key, value in sorted(table.items()):
        if not 0 < len(key) < LONGEST_KEY:
            raise _Rarity
        head = f"{indent}{_text(key)}:"
        if value and isinstance(value, dict):
            yield head
            yield from _lines(value, f"{indent}  ")
        elif value and isinstance(value, list):
            yield head
            for item in value:
                yield from _item(item, indent)
        else:
            yield from _end(head, value, indent)


def _item(value: Any, indent: str) -> Iterator[str]:
    if value and isinstance(value, dict):
        first, *rest = _lines(value, f"{indent}  ")
        yield f"{indent}- {first.lstrip()}"
        yield from rest
    else:
        yield from _end(f"{indent}-", value, indent)


def _end(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, str) and _is_block(value):
        yield f"{head} |"
        for line in value.splitlines():
            yield f"{indent}  {line}" if line else ""
    else:
        yield f"{head} {_scalar(value)}"


def _is_block(text: str) -> bool:
    return "\n" in text and BLOCK.fullmatch(text) is not None


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and (text := repr(value)).replace(".", "", 1).isdecimal():
        return text
    if value == {} or value == []:
        return str(value)
    raise _Rarity


@lru_cache(maxsize=10_000)
def _text(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise _Rarity
    if PLAIN.fullmatch(text) and not (_reads_as_syntax(text) or _is_word(text)):
        return text
    return "'" + text.replace("'", "''") + "'"


def _reads_as_syntax(text: str) -> bool:
    return ": " in text or " #" in text or text.endswith((" ", ":"))


def _is_word(text: str) -> bool:
    """Whether it is true, no, null and the like."""
    known = yaml.SafeDumper.yaml_implicit_resolvers.get(text[0], ())
    return any(pattern.match(text) for _, pattern in known)
