"""Rich's console for text that comes from outside. Import it when something is shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from deploytool.errors import DeploytoolError
from deploytool.printable import printable


class Stream(Console):
    """Goes on in silence when whoever reads it has had enough, as `head` has, or has no room for
    what is said on the way: what was begun is brought to its end."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.quiet = True
            discard(self.file)
            if not self.stderr:
                raise unwritable(error) from None


def unwritable(error: OSError) -> DeploytoolError:
    """What it means that a result cannot be shown."""
    return DeploytoolError(
        f"The output cannot be written: {error.strerror or error}",
        code="output_unwritable",
        hint="make room where it goes, or send it elsewhere; what the command changed is changed",
    )


def discard(stream: IO[str]) -> None:
    """Let everything that is still written to a stream vanish."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Terminal(Stream):
    """Its own styles are the only sequences that it prints."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
