"""What people and scripts see; the only module that prints.

Results go to standard output, everything on the way there to standard error. With `--json`,
standard output is exactly one object: {"data": …, "warnings": […]} or
{"error": {"code", "message", "hint"}}. Rich is imported when something is first shown.

No text is ever markup, and none moves the cursor: users' names, notes, commands and paths may look
like it. What has a style is a `Text`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deploytool.errors import DeploytoolError, UsageError
from deploytool.printable import one_line, printable_json

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType
    from rich.text import Text

UNWRITABLE = "output_unwritable"
"""The code of what nothing on standard output can tell."""
COLOURS = {
    "good": "green",
    "bad": "bold red",
    "busy": "yellow",
    "quiet": "dim",
    "name": "bold",
    "added": "green",
    "removed": "red",
    "changed": "yellow",
}


def signed(sign: str, style: str, text: str) -> Text:
    """A line that begins with a sign. In one piece: what moves on the terminal is drawn again
    between two."""
    from rich.text import Text

    return Text.assemble((sign, style), f" {one_line(text)}")


def ticked(text: str) -> Text:
    """A line that says what was done."""
    return signed("✓", "good", text)


def next_step(text: str) -> Text:
    """A line that says what to do next."""
    return signed("  →", "name", text)


class Output:
    """One command's output: for a person on a terminal, a log of a CI job, or a script."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self.warnings: list[str] = []
        self.as_written: Callable[[str], str] = str
        """Gives a text the names of tables that the project's file has, once that is known."""
        self._consoles: dict[str, Console] = {}

    @property
    def console(self) -> Console:
        """Standard output."""
        return self._console("stdout")

    def of_replicas(self, *, raw: bool) -> Console:
        """Standard output for what replicas print: as it is where that is wanted, and where it
        goes into a file or a pipe."""
        return self._console("stdout", raw=raw or not sys.stdout.isatty())

    @property
    def progress(self) -> Console:
        """Standard error."""
        return self._console("stderr")

    def _console(self, stream: str, *, raw: bool = False) -> Console:
        name = f"{stream} {raw}"
        if name not in self._consoles:
            from rich.theme import Theme

            from deploytool.terminal import Stream, Terminal

            self._consoles[name] = (Stream if raw else Terminal)(
                stderr=stream == "stderr",
                width=None if getattr(sys, stream).isatty() else 160,
                theme=Theme(COLOURS),
                highlight=False,
                emoji=False,
                markup=False,
                soft_wrap=True,
            )
        return self._consoles[name]

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked, and sees things move."""
        return not self.as_json and sys.stdin.isatty() and sys.stderr.isatty()

    def step(self, text: str) -> None:
        """The next thing that is being done."""
        self.progress.print(signed("●", "good", text))

    def line(self, text: str) -> None:
        """A line of somebody else's output: a build's, a log's."""
        self._quietly(text, "  ")

    def debug(self, text: str) -> None:
        if self.verbose:
            self._quietly(text, "  ")

    def _quietly(self, text: str, indent: str) -> None:
        for line in text.split("\n"):
            self.progress.print(f"{indent}{line}", style="quiet")

    def warn(self, text: str) -> None:
        """Something to know that is no failure; part of the JSON object too."""
        text = self.as_written(text)
        if text in self.warnings:
            return
        self.warnings.append(text)
        if not self.as_json:
            self.progress.print(signed("!", "busy", text))

    def result(self, data: BaseModel | dict[str, Any], human: Callable[[Console], None]) -> None:
        """What the command was run for. Called once, last."""
        if self.as_json:
            plain = data if isinstance(data, dict) else data.model_dump(mode="json")
            self._write_json({"data": plain, "warnings": self.warnings})
        else:
            human(self.console)

    def text(self, data: dict[str, Any], text: str) -> None:
        """Like `result`, for what goes into a file or a pipe: a rendered stack, a schema."""
        if self.as_json:
            self._write_json({"data": data, "warnings": self.warnings})
            return
        self._write(text)

    def error(self, error: DeploytoolError) -> None:
        if self.as_json and error.code != UNWRITABLE:
            body: dict[str, Any] = {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
            }
            if error.details:
                body["details"] = list(error.details)
            self._write_json({"error": body})
            return
        self.progress.print(signed("✗", "bad", error.message))
        for detail in error.details:
            self._quietly(detail, "    ")
        if error.hint:
            self.progress.print(next_step(error.hint))

    def traceback(self, error: BaseException) -> None:
        """For `--verbose`. Never with the values of variables: they hold secrets."""
        import traceback

        self.progress.print("".join(traceback.format_exception(error)), style="quiet", end="")

    def confirm(self, question: str) -> bool:
        """Ask, on a terminal. Without one nobody can answer, and the caller said no `--yes`."""
        if not self.interactive:
            return True
        from rich.text import Text

        asked = Text.assemble((question, "name"), " ", ("[y/N]", "quiet"), " ")
        self.progress.print(asked, end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def require_confirmation(self, question: str, *, assume_yes: bool) -> bool:
        """Like `confirm`, for what destroys: without a terminal it takes `--yes`.

        Raises UsageError when nobody can be asked and `--yes` is missing.
        """
        if assume_yes:
            return True
        if not self.interactive:
            raise UsageError(
                "This needs a confirmation, and there is no terminal to ask on",
                code="confirmation_required",
                hint="add --yes if you are sure",
            )
        return self.confirm(question)

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None] | None]:
        """A part of the terminal that is redrawn; None where there is no terminal to redraw."""
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.live import Live

        with Live(console=self.progress, refresh_per_second=10, transient=True) as live:
            yield lambda renderable: live.update(renderable)

    def _write_json(self, value: dict[str, Any]) -> None:
        text = printable_json(json.dumps(value, indent=2, ensure_ascii=False))
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json.dumps(value, indent=2)
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            from deploytool.terminal import discard, unwritable

            discard(sys.stdout)
            if not isinstance(error, BrokenPipeError):
                raise unwritable(error) from None
