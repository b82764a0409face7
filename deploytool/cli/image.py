"""`build` and `push`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command
from deploytool.output import signed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from deploytool.image.build import BuiltImage, Source
    from deploytool.output import Output

STEPS, PRINTED = 4, 6
"""Of a build that runs, a terminal shows the latest steps and what the last one printed."""


@command("build", "deploytool build", "deploytool build --push")
def build(
    session: Session,
    push: Annotated[bool, typer.Option("--push", help="Push it to the registry too.")] = False,
) -> None:
    """Build the image, tagged with its content."""
    started = time.monotonic()
    built, source = build_project(session, push=push)
    show(session, built, source, time.monotonic() - started)


@command("push", "deploytool push")
def push(session: Session) -> None:
    """Push the image that `build` made, and print its digest."""
    from deploytool.image.build import push as push_image

    started = time.monotonic()
    config = session.config.config
    source = project_source(session)
    repository = f"{config.registry}/{config.app}"
    session.output.step(f"Pushing {repository}:{source.tag}")
    with build_progress(session.output) as progress:
        pushed = push_image(repository, source, progress=progress, warn=session.output.warn)
    show(session, pushed, source, time.monotonic() - started)


def show(session: Session, image: BuiltImage, source: Source, seconds: float) -> None:
    data = {
        "repository": image.repository,
        "tag": image.tag,
        "digest": image.digest,
        "reference": image.reference,
        "revision": source.revision,
        "dirty": source.dirty,
        "seconds": round(seconds, 2),
    }

    def human(console: Console) -> None:
        line = signed("✓", "good", "").append(image.reference, "name")
        told = f" {'pushed' if image.digest else 'built'} in {seconds:.1f} s"
        console.print(line.append(told, "quiet"))

    session.output.result(data, human)


def build_project(
    session: Session, *, push: bool, source: Source | None = None
) -> tuple[BuiltImage, Source]:
    """Build the project's image, and push it if asked to; the image and what it is made from."""
    from deploytool.image.build import build, owned_volumes
    from deploytool.lint import modules_left_out

    config = session.config.config
    source = source or project_source(session)
    for finding in modules_left_out(session.config):
        session.output.warn(f"{finding.message}: {finding.fix}")
    repository = f"{config.registry}/{config.app}"
    doing = "Building and pushing" if push else "Building"
    session.output.step(f"{doing} {repository}:{source.tag}")
    with build_progress(session.output) as progress:
        built = build(
            session.config.project,
            config.build,
            repository,
            source=source,
            volumes=owned_volumes(config.services.values()),
            push=push,
            progress=progress,
            warn=session.output.warn,
        )
    if project_source(session).tag != source.tag:
        session.output.warn(
            f"Files changed while {source.tag} was built, which may have some of the changes: "
            "deploy again for all of them"
        )
    return built, source


def project_source(session: Session) -> Source:
    """What the project's image would be made from now."""
    from deploytool.image.build import owned_volumes, read_source

    config = session.config.config
    volumes = owned_volumes(config.services.values())
    return read_source(session.config.project, config.build, volumes)


@contextmanager
def build_progress(output: Output) -> Iterator[Callable[[str], None]]:
    """Where a build's lines go: a window of the latest on a terminal, else and with --verbose
    one after the other."""
    if output.verbose:
        yield output.line
        return
    with output.live() as show:
        if show is None:
            yield output.line
            return
        window = _Window()
        show(window)
        yield window.add


class _Window:
    """The latest steps of a build, what the last of them prints, and how long it has been at it."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._steps: list[str] = []
        self._printed: list[str] = []

    def add(self, line: str) -> None:
        if line.startswith(" "):
            self._printed = [*self._printed[1 - PRINTED :], line]
        else:
            self._steps, self._printed = [*self._steps[1 - STEPS :], line], []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for line in (*self._steps, *self._printed):
            yield Text(f"  {line}", style="quiet", no_wrap=True, overflow="ellipsis")
        yield Text(f"  {time.monotonic() - self._started:.0f} s", style="busy")
