"""Reads what builders print: tidy lines while they work, and what failed when they fail.

BuildKit's plain progress prefixes every line with its step's number, "#7 0.311 text"; what comes
after the steps is the error. The legacy builder prints "Step 2/4 : RUN …" and then whatever the
step prints.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

KEPT = 20
"""Lines of a step's output that an error shows."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """Why a build or a push failed."""

    step: str
    """The step that failed, for example "[2/4] RUN uv sync"; empty when it was none of them."""
    output: tuple[str, ...]
    """The last lines that the step printed."""
    cause: str
    """The builder's own error."""
    place: str = ""
    """Where in the Dockerfile, for example "Dockerfile:7"."""
    excerpt: tuple[str, ...] = ()
    """The lines of the Dockerfile there."""


class BuilderLog(Protocol):
    """The output of a builder so far."""

    started: bool
    """Whether it got as far as a step."""

    def feed(self, line: str) -> None: ...

    def failure(self) -> Failure: ...


class BuildKitLog:
    """`docker buildx build --progress=plain`, and `docker build` where it has BuildKit."""

    def __init__(self, progress: Progress) -> None:
        self.started = False
        self._progress = progress
        self._names: dict[str, str] = {}
        self._output: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._failed: str | None = None
        self._shown = ""
        self._after: deque[str] = deque(maxlen=300)

    def feed(self, line: str) -> None:
        numbered = re.fullmatch(r"#(\d+) (.*)", line)
        if numbered is None:
            self._after.append(line)
            return
        number, text = numbered.groups()
        self.started = True
        self._after.clear()
        if number == "0" or text == "...":
            return
        if self._names.setdefault(number, text) == text:
            self._show_step(text)
        else:
            self._event(number, text)

    def _show_step(self, name: str) -> None:
        if name != self._shown and not _is_bookkeeping(name):
            self._shown = name
            self._progress(name.removeprefix("[internal] "))

    def _event(self, number: str, text: str) -> None:
        if text.startswith("ERROR: "):
            self._failed = self._failed or number
        elif text == "CACHED":
            self._detail(number, "cached")
        elif printed := re.fullmatch(r"\d+\.\d+ ?(.*)", text):
            self._printed(number, printed[1])
        elif not _is_status(text):
            self._printed(number, text)
        elif _is_worth_telling(text):
            self._detail(number, text)

    def _printed(self, number: str, text: str) -> None:
        if text:
            self._output[number].append(text)
            self._detail(number, text)

    def _detail(self, number: str, text: str) -> None:
        if not _is_bookkeeping(self._names[number]):
            self._show_step(self._names[number])
            self._progress(f"  {text}")

    def failure(self) -> Failure:
        place, excerpt, rest = _take_apart(self._after)
        return Failure(
            step=self._names[self._failed] if self._failed else "",
            output=tuple(self._output[self._failed]) if self._failed else (),
            cause=_cause(rest),
            place=place,
            excerpt=tuple(excerpt),
        )


_BOOKKEEPING = (
    "[internal] load build definition",
    "[internal] load .dockerignore",
    "resolving provenance",
)
_STATUS = re.compile(
    r"(DONE|CANCELED)\b.*|sha256:[0-9a-f]{64}\b.*"
    r"|(transferring|exporting|writing|naming|pushing|extracting|resolve|preparing|unpacking"
    r"|sending|importing|loading|copying|rewriting)\b.*"
)


def _is_bookkeeping(name: str) -> bool:
    return name.startswith(_BOOKKEEPING)


def _is_status(text: str) -> bool:
    """BuildKit's own words about a step, not the step's output."""
    return bool(_STATUS.fullmatch(text))


def _is_worth_telling(text: str) -> bool:
    return bool(re.search(r"\d[MG]B\b", text)) and not text.endswith("done")


def _take_apart(lines: deque[str]) -> tuple[str, list[str], list[str]]:
    """The place in the Dockerfile, the lines there, and what else comes after the steps."""
    place, excerpt, rest = "", list[str](), list[str]()
    in_output = in_excerpt = False
    for line in lines:
        if line == "------":
            in_output = not in_output
        elif line and not line.strip("-") and len(line) > 6:
            if not in_excerpt and rest:
                place = rest.pop()
            in_excerpt = not in_excerpt
        elif in_excerpt:
            excerpt.append(line)
        elif not in_output and line.strip():
            rest.append(line)
    return place, excerpt, rest


_PREFIX = re.compile(
    r"ERROR: |failed to build: |failed to solve: |failed to solve with frontend dockerfile\.v0: "
    r"|failed to create LLB definition: |ResourceExhausted: |failed to read dockerfile: "
    r"|rpc error: code = \w+ desc = |Error response from daemon: "
)


def _cause(rest: list[str]) -> str:
    errors = [index for index, line in enumerate(rest) if line.startswith("ERROR: ")]
    return without_prefixes("\n".join(rest[errors[-1] :] if errors else rest))


def without_prefixes(cause: str) -> str:
    """An error without the names of the layers it came through."""
    while found := _PREFIX.match(cause):
        cause = cause[found.end() :]
    return cause.strip()


class LegacyLog:
    """`docker build` without BuildKit."""

    def __init__(self, progress: Progress) -> None:
        self.started = False
        self._progress = progress
        self._step = ""
        self._output: deque[str] = deque(maxlen=KEPT + 1)

    def feed(self, line: str) -> None:
        if step := re.fullmatch(r"Step (\d+/\d+) : (.*)", line):
            self.started = True
            self._step = f"[{step[1]}] {step[2]}"
            self._output.clear()
            self._progress(self._step)
        elif line == " ---> Using cache":
            self._progress("  cached")
        elif line and not _LEGACY_NOISE.match(line):
            self._output.append(line)
            if self.started:
                self._progress(f"  {line}")

    def failure(self) -> Failure:
        lines = list(self._output) or [""]
        code = re.fullmatch(r"The command .* returned a non-zero code: (\d+)", lines[-1])
        return Failure(
            step=self._step,
            output=tuple(lines[:-1]),
            cause=f"exit code: {code[1]}" if code else without_prefixes(lines[-1]),
        )


_LEGACY_NOISE = re.compile(
    r" ---> |Removing intermediate container |Sending build context |Successfully (built|tagged) "
)


class PushLog:
    """`docker push`."""

    def __init__(self, progress: Progress) -> None:
        self.digest: str | None = None
        self._progress = progress
        self._last = ""

    def feed(self, line: str) -> None:
        if done := re.fullmatch(r"\S+: digest: (sha256:[0-9a-f]{64}) size: \d+", line):
            self.digest = done[1]
        elif layer := re.fullmatch(r"([0-9a-f]{12}): (.*)", line):
            if layer[2] == "Pushed":
                self._progress(f"  layer {layer[1]} pushed")
        elif line:
            self._last = line

    def failure(self, reference: str) -> Failure:
        return Failure(f"pushing {reference}", (), without_prefixes(self._last))
