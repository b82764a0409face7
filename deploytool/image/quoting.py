"""Names of a project in the text of a Dockerfile, each of which is read back as it is. Pure.

RUN hands its text to a shell. All other instructions fill in variables and take quotes off, also
in their JSON form (`ProcessWord` in BuildKit's frontend/dockerfile/shell), and COPY takes its
sources for patterns (Go's path/filepath.Match).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable

from deploytool.errors import UsageError

_PLAIN = re.compile(r"(?!-)[\w./+@-]+")
_UNREADABLE = re.compile(r"[\\*?\x00-\x1f\x7f\ud800-\udfff]|^\s|\s$")
"""What no instruction can be told in one way that all builders read alike."""


def is_plain(text: str) -> bool:
    """Whether a text is one word, and itself, wherever it stands."""
    return _PLAIN.fullmatch(text) is not None


def in_shell(name: str) -> str:
    """A word of RUN."""
    return shlex.quote(_readable(name))


def path_in_shell(path: str) -> str:
    """A path of the project that is a word of RUN, and never an option."""
    return in_shell(f"./{path}" if path.startswith("-") else path)


def in_value(text: str) -> str:
    """A value of ENV, or the path of WORKDIR."""
    if re.fullmatch(r"[\w./:+@-]*", text):
        return text
    return '"' + re.sub(r'(["$])', r"\\\1", _readable(text)) + '"'


def copy_line(sources: Iterable[str], target: str, options: str = "") -> str:
    """COPY of paths that are no patterns."""
    words = [*sources, target]
    if all(map(is_plain, words)):
        return f"COPY{options} {' '.join(words)}"
    patterns = (_literal(path).replace("[", "[[]") for path in words[:-1])
    written = json.dumps([*patterns, _literal(target)], ensure_ascii=False)
    return f"COPY{options} {written}"


def _literal(path: str) -> str:
    return re.sub(r"(['\"$])", r"\\\1", _readable(path))


def _readable(name: str) -> str:
    """The name as it is. Raises UsageError for one that cannot be written."""
    if _UNREADABLE.search(name):
        raise UsageError(
            f"A Dockerfile cannot name {name!r}: it has an asterisk, question mark, backslash or "
            "control character, a blank at an end, or is not in UTF-8",
            code="unwritable_name",
            hint="rename it, or write the Dockerfile yourself",
        )
    return name
