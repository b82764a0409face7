"""What .dockerignore keeps out of a build, by the rules of the builder.

`docker.utils.build.PatternMatcher` was considered: it does not find `**/.git` above a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from deploytool.reading import LARGEST_TEXT, read_file


@dataclass(frozen=True)
class Pattern:
    lets_in: bool
    """Whether it starts with "!"."""
    text: str

    @cached_property
    def _regex(self) -> re.Pattern[str] | None:
        try:
            return re.compile(_translated(self.text))
        except re.error:
            return None

    def matches(self, path: str) -> bool:
        return self._regex is not None and self._regex.fullmatch(path) is not None


@dataclass(frozen=True)
class Dockerignore:
    patterns: tuple[Pattern, ...] = ()

    def hides(self, path: PurePosixPath | str) -> bool:
        """Whether a path, relative to the build context, stays outside; the last word counts."""
        own = PurePosixPath(path)
        paths = [str(part) for part in (own, *own.parents) if part != PurePosixPath()]
        hidden = False
        for pattern in self.patterns:
            if any(pattern.matches(part) for part in paths):
                hidden = not pattern.lets_in
        return hidden

    def hides_all(self, path: PurePosixPath | str) -> bool:
        """Whether neither a path nor, of a folder, anything below it gets in."""
        below = f"{path}/"
        if any(p.lets_in and p.text.startswith(below) for p in self.patterns):
            return False
        return self.hides(path)


def read(file: Path | None) -> Dockerignore:
    """The patterns of a file; none without one or where it cannot be read."""
    try:
        data = read_file(file, limit=LARGEST_TEXT) if file else b""
    except OSError:
        data = b""
    text = data.decode("utf-8-sig", "replace")
    return Dockerignore(tuple(_patterns(text.splitlines())))


def find(dockerfile: Path, context: Path) -> Path | None:
    """The file that keeps things out of the build; one beside the Dockerfile comes first."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    return next((file for file in (own, context / ".dockerignore") if file.is_file()), None)


def _patterns(lines: Iterable[str]) -> Iterable[Pattern]:
    for line in lines:
        text = line.strip()
        if line.startswith("#") or text in ("", "!"):
            continue
        if path := cleaned(text.removeprefix("!").strip()):
            yield Pattern(text.startswith("!"), path)


def cleaned(text: str) -> str:
    """A path below the context, whose borders nothing leaves: "/a/", "./a" and "../a" are "a"."""
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


_TOKENS = re.compile(r"\*\*/?|\*|\?|\\.|\[[^]/]+\]|.", re.DOTALL)


def _translated(text: str) -> str:
    return "".join(_token(match, text) for match in _TOKENS.finditer(text))


def _token(match: re.Match[str], text: str) -> str:
    token = match[0]
    if token.startswith("**"):
        return ".*" if match.end() == len(text) else "(.*/)?"
    if token in ("*", "?"):
        return "[^/]*" if token == "*" else "[^/]"
    if token.startswith("[") and len(token) > 1:
        return "[" + re.sub(r"([\[&~|])", r"\\\1", token[1:])
    return re.escape(token[1:] if token.startswith("\\") and len(token) > 1 else token)
