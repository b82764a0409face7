"""What is wrong with a template of Go's text/template, without filling it in. Pure.

Nothing of the template is repeated: it may be a value that nobody shall see.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

OPENS = "{{"
TOKEN = r"""
    "(?:[^"\\\n]|\\.)*" | `[^`]*` | '(?:[^'\\\n]|\\.)+'
    | \$\w*(?:\.\w+)* | (?:\.\w+)+ | \. | [^\W\d]\w*(?:\.\w+)*
    | [+-]?\d[\w.]*(?:(?<=[eEpP])[+-]\d+)? | :?= | [()|,]
"""
_TOKEN = re.compile(TOKEN, re.VERBOSE)
_ACTION = re.compile(
    rf"""\{{\{{ (?:-(?=\s))? (?: \s*/\*.*?\*/\s* | (?P<body>(?>\s+|{TOKEN})*+) )
    (?:(?<=\s)-)? \}}\}}""",
    re.DOTALL | re.VERBOSE,
)
BLOCKS = frozenset({"if", "range", "with", "block", "define"})
KEYWORDS = BLOCKS | {"else", "end", "template", "break", "continue", "nil", "true", "false"}
FUNCTIONS = frozenset({
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
})  # fmt: skip
"""Those that every template has."""

Fields = Mapping[str, Any]
"""What a template is filled in with: name → the fields of what is there."""


def problem(
    text: str, *, fields: Fields | None = None, functions: Collection[str] | None = None
) -> str:
    """What is wrong with a template; empty where nothing is, as far as is known. `fields` are all
    that there are, `functions` all beside Go's own; None where nobody knows them."""
    return next(_problems(text, fields, functions), "")


def _problems(text: str, fields: Fields | None, functions: Collection[str] | None) -> Iterator[str]:
    blocks: list[str] = []
    at = text.find(OPENS)
    while at >= 0:
        action = _ACTION.match(text, at)
        if action is None:
            yield f"what {{{{ opens at character {at + 1} is not closed, or nothing that Go reads"
            return
        if (body := action["body"]) is not None:
            tokens = _TOKEN.findall(body)
            yield from _of_action(tokens, blocks)
            yield from _of_functions(tokens, functions)
            # Inside of {{with}} and {{range}} the dot is something else.
            yield from _of_fields(tokens, fields, is_dot_known=set(blocks) <= {"if"})
        at = text.find(OPENS, action.end())
    if blocks:
        yield f"{{{{{blocks[-1]}}}}} has no {{{{end}}}}"


def _of_action(tokens: Sequence[str], blocks: list[str]) -> Iterator[str]:
    """What is wrong with one action, which opens or closes a block."""
    first = tokens[0] if tokens else ""
    if not first:
        yield "{{}} has no value in it"
    if tokens.count("(") != tokens.count(")"):
        yield "a parenthesis is not closed"
    if first in ("else", "end") and not blocks:
        yield f"{{{{{first}}}}} stands for itself"
    if first == "end":
        blocks.pop()
    if first in BLOCKS:
        blocks.append(first)


def _of_functions(tokens: Sequence[str], functions: Collection[str] | None) -> Iterator[str]:
    if functions is None:
        return
    known = {*FUNCTIONS, *functions}
    names = {token.partition(".")[0] for token in tokens if token[0].isalpha() or token[0] == "_"}
    if names - known - KEYWORDS:
        yield f"it calls what is none of its functions: {', '.join(sorted(known))}"


def _of_fields(
    tokens: Sequence[str], fields: Fields | None, *, is_dot_known: bool
) -> Iterator[str]:
    for before, token in zip(["", *tokens], tokens, strict=False):
        is_of_dot = token.startswith(".") and before != ")" and is_dot_known
        if fields is not None and (is_of_dot or token.startswith("$.")):
            yield from _unknown(token.lstrip("$")[1:], fields)


def _unknown(chain: str, fields: Fields) -> Iterator[str]:
    known, above = fields, ""
    for name in chain.split(".") if chain else ():
        if name not in known:
            there = ", ".join(f"{above}.{field}" for field in known)
            yield f"it has a field that is none of {there}" if there else f"{above} has no fields"
            return
        known, above = known[name], f"{above}.{name}"
