"""The quick YAML writer and PyYAML write the same bytes, and every text is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploytool.render import text
from tests.strategies import quick

WORDS = [
    "true",
    "yes",
    "no",
    "Off",
    "null",
    "y",
    "N",
    "~",
    "-n",
    "---",
    ".inf",
    "=",
    "<<",
    "--yes",
    "a:",
]
TEXT = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    st.text("-:# ayn'\"\\$_/", max_size=8),
    st.sampled_from(WORDS),
    st.lists(st.text("ab:#-' \t\r", max_size=4)).map("\n".join),
)
SCALAR = st.one_of(TEXT, st.integers(), st.booleans(), st.floats(allow_nan=False), st.none())


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3)


@quick
@given(st.dictionaries(TEXT, st.recursive(SCALAR, nested, max_leaves=8), max_size=4))
def test_same_bytes_as_pyyaml(document: dict[str, Any]) -> None:
    assert text.to_yaml(document) == text.dump(document)


@quick
@given(st.dictionaries(TEXT, TEXT))
def test_read_back(document: dict[str, str]) -> None:
    assert yaml.safe_load(text.to_yaml(document)) == document


def test_a_script_is_written_line_by_line() -> None:
    written = text.to_yaml({"run": ["sh", "-c", "if a; then\n  b: c # d\n\nfi\n"]})
    assert written == "run:\n- sh\n- -c\n- |\n  if a; then\n    b: c # d\n\n  fi\n"


@pytest.mark.parametrize("word", ["1e3", "0x1f", "012", "1:30", "2026-11-22", "yes", "=", ""])
def test_text_that_looks_like_something_else_is_quoted(word: str) -> None:
    assert text.to_yaml({"key": word}) == f"key: '{word}'\n"
