"""`render`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deploytool.cli.common import Session, command
from deploytool.errors import DeploytoolError, ExitCode, UsageError
from deploytool.output import ticked
from deploytool.redact import hide_entries

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.render.files import RenderedFile
    from deploytool.spec import AppSpec


Check = Annotated[bool, typer.Option("--check", help="Fail, with a diff, when a file is stale.")]
Cluster = Annotated[
    Literal["swarm", "nomad"] | None,
    typer.Option("--backend", help="Render for this cluster instead."),
]
Stdout = Annotated[bool, typer.Option("--stdout", help="Print, write no file.")]


class StaleFile(DeploytoolError):
    exit_code = ExitCode.FAILED


@command("render", "deploytool render", "deploytool render --check", "deploytool render --stdout")
def render(
    session: Session,
    backend: Cluster = None,
    written_as: Annotated[
        Literal["hcl", "json"] | None,
        typer.Option("--format", help="Of a Nomad job: HCL, or the JSON that is submitted."),
    ] = None,
    check: Check = False,
    stdout: Stdout = False,
) -> None:
    """Write the stack or job file of the app, for review."""
    from deploytool.render.files import render_files

    choose_cluster(session, backend)
    loaded = session.config
    files = render_files(session.spec, loaded.config, loaded.files, as_json=written_as == "json")
    warn_of_stack(session, session.spec)
    put(session, files, check=check, stdout=stdout)


def choose_cluster(session: Session, backend: str | None) -> None:
    """Render for another cluster than the configuration's."""
    if backend is not None:
        session.flags["backend"] = ("--backend", backend)


def warn_of_stack(session: Session, app: AppSpec) -> None:
    """Say what the cluster's own tools make of a rendered file that a deploy does not."""
    from deploytool.backends import kind_of

    for warning in kind_of(app.backend).render_warnings(app):
        session.output.warn(warning)


def put(session: Session, files: Sequence[RenderedFile], *, check: bool, stdout: bool) -> None:
    """Write rendered files into the project, or print them, or say which are stale."""
    from deploytool.render.files import diff, is_by_hand
    from deploytool.writing import write_whole

    project = session.config.project
    if stdout:
        texts = {str(file.path): file.text for file in files}
        shown = "".join(file.text for file in files if not file.is_beside)
        session.output.text({"files": texts}, shown)
        return
    stale = [(file, lines) for file in files if (lines := diff(project, file))]
    if check and stale:
        raise _stale(stale)
    if by_hand := [str(file.path) for file, _ in stale if is_by_hand(project, file)]:
        raise UsageError(
            f"{', '.join(by_hand)} was not rendered by deploytool, and would be lost",
            code="not_rendered",
            hint="move it out of the way, or delete it, and render again",
        )
    for file, _ in stale:
        write_whole(project, str(file.path), file.text)
    changed = {str(file.path) for file, _ in stale}

    def human(console: Console) -> None:
        for file in files:
            word = "wrote" if str(file.path) in changed else "is up to date:"
            console.print(ticked(f"{word} {file.path}"))

    data = {"files": [str(file.path) for file in files], "changed": sorted(changed)}
    session.output.result(data, human)


def _stale(stale: list[tuple[RenderedFile, list[str]]]) -> StaleFile:
    names = ", ".join(str(file.path) for file, _ in stale)
    return StaleFile(
        f"{names} is not what the configuration says",
        code="stale",
        hint="run it without --check and commit the result",
        details=[hide_entries(line) for _, lines in stale for line in lines],
    )
