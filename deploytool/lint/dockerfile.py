"""Dockerfile text → stages of instructions, by the rules that BuildKit reads it.

`dockerfile-parse` (last release 2023, no types, no heredocs) and `dockerfile` (a Go extension
without wheels for today's Pythons) were considered; what lint needs is less than either.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from deploytool.image import is_written_by_init

KEYWORDS = frozenset(
    {
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    }
)
_LONGEST = 8192
"""Characters of a value that are kept: `ENV A=$A$A` doubles with each line."""
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})
_DIRECTIVE = re.compile(r"^\s*#\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(.*?)\s*$")
_HEREDOC = re.compile(r"(?:^|(?<=\s))\d*<<(-?)([\"']?)([^\s<\"']+)\2(?=\s|$)")
_FLAG = re.compile(r"\s*--([a-z][a-z-]*)(?:=(\S*))?(?=\s|$)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^{}]*))?\})")
_LEGACY_ENV = re.compile(r"^([^\s=]+)\s+(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    line: int
    keyword: str
    text: str
    """Everything after the keyword and its flags."""
    flags: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    """The values of `--mount`, which may be there more than once."""
    heredocs: tuple[str, ...] = ()

    @cached_property
    def arguments(self) -> tuple[str, ...] | None:
        """The arguments of the JSON (exec) form; None for the shell form."""
        if not self.text.startswith("["):
            return None
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        return None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The arguments of the JSON form, or the words that a shell would see."""
        arguments = self.arguments
        return split_words(self.text) if arguments is None else arguments

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """What COPY and ADD take from the build context; nothing with `--from`."""
        if self.keyword not in ("COPY", "ADD") or "from" in self.flags:
            return ()
        return tuple(word for word in self.words[:-1] if not _HEREDOC.match(word))

    @cached_property
    def mounts_context(self) -> bool:
        """Whether it reads the build context where it is, or may: `bind` is the usual kind."""
        return any(o.get("type", "bind") == "bind" and "from" not in o for o in self._mounted)

    @property
    def other_stages(self) -> tuple[str, ...]:
        """The stages, or images, that it takes something from."""
        named = (options.get("from", "") for options in (self.flags, *self._mounted))
        return tuple(filter(None, named))

    @cached_property
    def _mounted(self) -> tuple[dict[str, str], ...]:
        return tuple(dict(o.partition("=")[::2] for o in m.split(",")) for m in self.mounts)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str | None], ...]:
        """Names and values of ENV and ARG; None for an ARG without a default."""
        legacy = _LEGACY_ENV.match(self.text)
        if self.keyword == "ENV" and legacy:
            return ((legacy[1], legacy[2]),)
        split = (word.partition("=") for word in split_words(self.text))
        return tuple((name, value if equals else None) for name, equals, value in split)


@dataclass(frozen=True)
class Stage:
    """A stage and, when it starts from an earlier one, that one."""

    line: int
    name: str | None
    image: str
    """What FROM names, build arguments filled in by their defaults."""
    parent: Stage | None
    base: str
    """The image from outside that the stage rests on."""
    instructions: tuple[Instruction, ...] = ()

    @cached_property
    def chain(self) -> tuple[Instruction, ...]:
        """All instructions that make the stage, those of the stages under it first."""
        stages = []
        stage: Stage | None = self
        while stage:
            stages.append(stage)
            stage = stage.parent
        return tuple(item for stage in reversed(stages) for item in stage.instructions)

    @cached_property
    def in_folders(self) -> tuple[tuple[Instruction, str], ...]:
        """All instructions, each with the folder that it works in: WORKDIR in its own."""
        folder = "/"
        found = []
        for item in self.chain:
            if item.keyword == "WORKDIR" and item.text:
                text = self.expand(item.text.strip("\"'"))
                folder = posixpath.normpath(posixpath.join(folder, text))
            found.append((item, folder))
        return tuple(found)

    @property
    def workdir(self) -> str:
        """The folder that the stage's processes start in."""
        return self.in_folders[-1][1] if self.in_folders else "/"

    def last(self, keyword: str) -> Instruction | None:
        """The instruction of this keyword that counts."""
        return next((item for item in reversed(self.chain) if item.keyword == keyword), None)

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment variables that the stage's image has."""
        names = {name for item in self.chain if item.keyword == "ENV" for name, _ in item.pairs}
        return {name: value for name, value in self._values.items() if name in names}

    def expand(self, text: str) -> str:
        """The text with the stage's variables filled in as far as they are known."""
        return expand(text, self._values)

    @cached_property
    def _values(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for item in self.chain:
            for name, value in item.pairs if item.keyword in ("ENV", "ARG") else ():
                if value is not None:
                    values[name] = expand(value, values)
        return values


@dataclass(frozen=True)
class Dockerfile:
    stages: tuple[Stage, ...]
    preamble: tuple[Instruction, ...]
    """What stands before the first FROM: ARG, and nothing else in a valid file."""
    lines: tuple[str, ...]

    def stage(self, target: str | None = None) -> Stage | None:
        """The stage that is built: the target, or the last."""
        named = [stage for stage in self.stages if target and stage.name == target.lower()]
        return (named or self.stages or (None,))[-1]

    def named(self, name: str) -> Stage | None:
        """The stage that `--from` names, by its name or its number."""
        if name.isdecimal() and int(name) < len(self.stages):
            return self.stages[int(name)]
        return next((s for s in reversed(self.stages) if s.name == name.lower()), None)

    def built_for(self, stage: Stage) -> tuple[Stage, ...]:
        """The stage and all that go into it, the only ones that BuildKit builds for it."""
        found: dict[int, Stage] = {}
        waiting: list[Stage | None] = [stage]
        while waiting:
            one = waiting.pop()
            if one and one.line not in found:
                found[one.line] = one
                named = (name for item in one.instructions for name in item.other_stages)
                waiting += [one.parent, *map(self.named, map(one.expand, named))]
        return tuple(found[line] for line in sorted(found))

    @property
    def is_kept(self) -> bool:
        """Whether it was there before `init`, or its first line was taken out since."""
        return not is_written_by_init("\n".join(self.lines))

    @property
    def instructions(self) -> Iterator[Instruction]:
        yield from self.preamble
        for stage in self.stages:
            yield from stage.instructions


def parse(content: str | bytes) -> Dockerfile:
    """The Dockerfile that a text describes. Never raises: what makes no sense stays text."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    lines = tuple(line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n"))
    preamble: list[Instruction] = []
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for item in _instructions(lines):
        if item.keyword == "FROM":
            stages.append(_start_stage(item, stages, arguments))
        elif stages:
            stage = stages[-1]
            stages[-1] = replace(stage, instructions=(*stage.instructions, item))
        else:
            preamble.append(item)
            if item.keyword == "ARG":
                arguments |= {name: value for name, value in item.pairs if value is not None}
    return Dockerfile(tuple(stages), tuple(preamble), lines)


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text with $NAME, ${NAME}, ${NAME:-default} and ${NAME:+text} filled in where known."""

    def fill(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[2], match[3], match[4]
        known = values.get(name, "") if operator and operator[0] == ":" else values.get(name)
        if operator and operator[-1] == "+":
            return word if known else ""
        if known:
            return known
        return word if operator else match[0]

    return _VARIABLE.sub(fill, text)[:_LONGEST]


def split_words(text: str) -> tuple[str, ...]:
    """The words of a command line; text with unbalanced quotes is split at blanks."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def _start_stage(item: Instruction, stages: Sequence[Stage], values: Mapping[str, str]) -> Stage:
    words = item.text.split()
    image = expand(words[0], values) if words else ""
    named = len(words) >= 3 and words[1].upper() == "AS"
    parent = next((stage for stage in reversed(stages) if stage.name == image.lower()), None)
    name = words[2].lower() if named else None
    return Stage(item.line, name, image, parent, parent.base if parent else image)


def _instructions(lines: Sequence[str]) -> Iterator[Instruction]:
    continues = re.compile(re.escape(_escape(lines)) + r"[ \t]*$")
    index = 0
    while index < len(lines):
        start = index
        if _is_blank(lines[index]):
            index += 1
            continue
        parts: list[str] = []
        while index < len(lines):
            line = lines[index]
            index += 1
            if _is_blank(line):
                continue
            parts.append(continues.sub("", line))
            if not continues.search(line):
                break
        item = _instruction(start + 1, "".join(parts))
        if item.keyword in _HEREDOC_KEYWORDS:
            heredocs, index = _heredocs(item.text, lines, index)
            item = replace(item, heredocs=heredocs)
        yield item


def _escape(lines: Sequence[str]) -> str:
    """The escape character: a directive in the comments at the very top can change it."""
    for line in lines:
        directive = _DIRECTIVE.match(line)
        if not directive:
            break
        if directive[1].lower() == "escape" and directive[2] in ("`", "\\"):
            return directive[2]
    return "\\"


def _is_blank(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _instruction(line: int, text: str) -> Instruction:
    keyword, _, rest = text.strip().replace("\t", " ").partition(" ")
    flags: dict[str, str] = {}
    mounts: list[str] = []
    position = 0
    while match := _FLAG.match(rest, position):
        flags[match[1]] = match[2] or ""
        if match[1] == "mount":
            mounts.append(flags["mount"])
        position = match.end()
    return Instruction(line, keyword.upper(), rest[position:].strip(), flags, tuple(mounts))


def _heredocs(text: str, lines: Sequence[str], index: int) -> tuple[tuple[str, ...], int]:
    """The bodies of the heredocs that a text opens, and the index of the line after them."""
    bodies = []
    for match in _HEREDOC.finditer(text):
        dash, end = match[1], match[3]
        body: list[str] = []
        while index < len(lines):
            line = lines[index].lstrip("\t") if dash else lines[index]
            index += 1
            if line == end:
                break
            body.append(line)
        bodies.append("\n".join(body))
    return tuple(bodies), index
