"""Names of a project in a Dockerfile are read back as they are, or refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytool.discover.files.storage import Storage
from deploytool.errors import UsageError
from deploytool.image.dockerfile import render_dockerfile, render_dockerignore
from deploytool.image.quoting import copy_line, in_shell, in_value, path_in_shell
from deploytool.lint.dockerignore import Pattern
from tests.strategies import quick
from tests.unit.test_dockerfile import APP, UV

odd = st.text(" '\"$`;&|<>()[]{}!#~-=:@,%^aé/", min_size=1, max_size=8)
UNWRITABLE = ("a\nRUN x", "a\\", "*.py", "a?", "a\0b", "\x7f", " a", "a ", "\udce9")
names = odd.filter(lambda name: name.strip() == name)


def processed(word: str) -> str:
    """What BuildKit makes of a word without variables: quotes taken off, escapes resolved."""
    if word.startswith('"'):
        assert word.endswith('"')
        return processed(word[1:-1].replace("'", "\\'"))
    return "".join(_characters(iter(word)))


def _characters(text: Iterator[str]) -> Iterator[str]:
    for character in text:
        assert character not in "'\"$", "a quote or a variable"
        yield next(text) if character == "\\" else character


@quick
@given(st.lists(names, min_size=1, max_size=4))
def test_a_shell_gets_each_word_whole(words: list[str]) -> None:
    script = f"printf '%s\\0' {' '.join(map(in_shell, words))}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == words


@given(names)
def test_no_path_is_an_option(path: str) -> None:
    assert not path_in_shell(path).startswith(("-", "'-"))


@given(names)
def test_a_value_is_one_word(name: str) -> None:
    assert processed(in_value(name)) == name


@given(st.lists(names, min_size=1, max_size=3), names)
def test_what_is_copied_is_no_pattern(sources: list[str], target: str) -> None:
    line = copy_line(sources, target).removeprefix("COPY ")
    *patterns, into = json.loads(line) if line.startswith("[") else line.split(" ")
    assert processed(into) == target
    for source, pattern in zip(sources, map(processed, patterns), strict=True):
        assert fnmatchcase(source, pattern)
        assert not fnmatchcase(f"{source}x", pattern)
        assert "[" not in source or not fnmatchcase(source.replace("[", "x"), pattern)


@pytest.mark.parametrize(
    "name", ["a\nRUN x", "a\\", "*.py", "a?", "a\0b", "\x7f", " a", "a ", "\udce9"]
)
def test_what_cannot_be_written_is_refused(name: str) -> None:
    for write in (in_shell, in_value, lambda name: copy_line([name], "x")):
        with pytest.raises(UsageError) as caught:
            write(name)
        assert caught.value.code == "unwritable_name"


def test_lint_reads_what_is_written() -> None:
    pattern = json.loads(copy_line(["it's [new]"], "x").removeprefix("COPY "))[0]
    assert Pattern(False, pattern).matches("it's [new]")
    assert not Pattern(False, pattern).matches("it's n")


def test_a_database_with_an_odd_name() -> None:
    found = Storage(links=(("/code/a;b.db", "/data/a;b.db"),))
    text = render_dockerfile(APP, UV, ["app/"], storage=found)
    assert "ln -s '/data/a;b.db' '/code/a;b.db'\n" in text


def test_a_folder_of_tests_ignores_nothing_else() -> None:
    lines = render_dockerignore(UV, ["app/"], ["app/x\n!secrets"]).splitlines()
    assert lines[-1] == "app/x??secrets"
