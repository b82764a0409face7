"""What a Dockerfile takes from its build context."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import PurePosixPath

from deploytool.lint.dockerfile import Dockerfile, Instruction, Stage
from deploytool.lint.dockerignore import Dockerignore, Pattern, cleaned

_ALL = PurePosixPath()
_REMOTE = re.compile(r"^(https?|git|ssh|ftp)://|^git@", re.IGNORECASE)


@dataclass(frozen=True)
class Copy:
    """A path or pattern that COPY or ADD names, relative to the context."""

    line: int
    path: PurePosixPath
    is_known: bool
    """Whether it says all: no variable in it that only the build knows, nothing excluded."""

    def takes(self, path: PurePosixPath) -> bool:
        """Whether it is the path, a folder above it, or a pattern for one of them."""
        depth = len(self.path.parts)
        if depth > len(path.parts):
            return False
        return self._pattern.matches("/".join(path.parts[:depth])) if depth else True

    def leads_through(self, link: PurePosixPath) -> bool:
        """Whether it is the path, or a path or pattern below it."""
        first = PurePosixPath(*self.path.parts[: len(link.parts)])
        return bool(self.path.parts) and Copy(self.line, first, self.is_known).takes(link)

    @cached_property
    def is_plain(self) -> bool:
        return self.is_known and not re.search(r"[*?\[]", str(self.path))

    @cached_property
    def _pattern(self) -> Pattern:
        # COPY knows no **, which is the same as * in one segment.
        return Pattern(False, re.sub(r"\*+", "*", str(self.path)))


@dataclass(frozen=True)
class Copies:
    dockerfile: Dockerfile
    ignored: Dockerignore

    @cached_property
    def all(self) -> tuple[Copy, ...]:
        """What all stages take from the context."""
        return tuple(
            copy
            for stage in self.dockerfile.stages
            for item in stage.instructions
            for copy in copies(item, stage)
        )

    @property
    def only_patterns(self) -> Iterator[tuple[int, tuple[PurePosixPath, ...]]]:
        """The line and sources of each instruction that names patterns alone."""
        for line, found in groupby(self.all, key=lambda copy: copy.line):
            sources = tuple(found)
            if all(copy.is_known and not copy.is_plain for copy in sources):
                yield line, tuple(copy.path for copy in sources)

    @cached_property
    def is_known(self) -> bool:
        """Whether the instructions say all that gets into the image."""
        return all(copy.is_known for copy in self.all)

    def line(self, path: PurePosixPath) -> int | None:
        """The line of the last instruction that names a path or a folder above it."""
        lines = [copy.line for copy in self.all if copy.takes(path)]
        return lines[-1] if lines else None

    def takes(self, path: PurePosixPath) -> bool:
        return self.line(path) is not None and not self.ignored.hides(path)

    @cached_property
    def hidden(self) -> tuple[PurePosixPath, ...]:
        """What is named and .dockerignore hides, so that the build fails."""
        plain = dict.fromkeys(copy.path for copy in self.all if copy.is_plain)
        return tuple(path for path in plain if path != _ALL and self.ignored.hides_all(path))


def copies(item: Instruction, stage: Stage) -> Iterator[Copy]:
    """What one instruction takes from the context."""
    for source in item.sources:
        if not _REMOTE.match(source):
            path = stage.expand(source)
            is_known = "$" not in path and "exclude" not in item.flags
            yield Copy(item.line, PurePosixPath(cleaned(path)), is_known)
