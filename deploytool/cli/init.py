"""`init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deploytool.cli.common import Session, command
from deploytool.output import next_step, signed

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.discover.kept.kept import Kept
    from deploytool.init import FileWrite, Findings
    from deploytool.init.configuration import Settings
    from deploytool.spec import Backend


NEXT = {
    "swarm": "`deploytool cluster up`",
    "nomad": "`deploytool doctor`, which asks the cluster of NOMAD_ADDR,",
}
"""What comes between the files and a deploy."""
SHOWN = 60
"""Lines of a difference that are shown, but for --verbose."""
LINES = {"+": "added", "-": "removed"}
"""First character of a line → its style."""


@command(
    "init",
    "deploytool init",
    "deploytool init --registry registry.example.com/team --yes",
    "deploytool init --backend nomad",
    "deploytool init --entrypoint app.main:app --force",
)
def init(
    session: Session,
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the Dockerfile and other made files.")
    ] = False,
    entrypoint: Annotated[
        str | None, typer.Option(help='The FastAPI app, as "module:object".')
    ] = None,
    registry: Annotated[
        str | None, typer.Option(help="Where images are pushed, as host[:port]/path.")
    ] = None,
    backend: Annotated[
        Literal["swarm", "nomad"] | None,
        typer.Option(help="The cluster that the app is deployed to; a Swarm if nothing says."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--app", help="The app's name on the cluster.")
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Do not ask the package index which Python has wheels for all."
        ),
    ] = False,
) -> None:
    """Find the app, and write its configuration, Dockerfile and stack or job."""
    from deploytool.init import inspect_project, plan_files, plan_rendered, write
    from deploytool.spec import Backend

    findings = inspect_project(
        path,
        entrypoint=entrypoint,
        registry=registry,
        name=name,
        backend=Backend(backend) if backend else None,
        force=force,
        offline=offline,
    )
    for line in _explained(findings):
        session.output.step(line)
    for warning in findings.warnings:
        session.output.warn(warning)
    files = plan_files(findings, force=force)
    write(path, files)
    rendered = plan_rendered(path, force=force)
    write(path, rendered)
    if stale := [file.path for file in rendered if file.is_stale]:
        session.output.warn(
            f"not what the configuration says now: {', '.join(stale)}; `deploytool render --check` "
            "shows the difference, `deploytool render` writes it"
        )
    _tell(session, findings, (*files, *rendered))


def _explained(findings: Findings) -> list[str]:
    app = findings.app
    health = (
        f"{app.health_path}: {app.health_why}" if app.health_path else f"none: {app.health_why}"
    )
    return [
        f"App {app.entrypoint}: {app.why}",
        *(_about_kept(findings.kept) if findings.kept else _about_image(findings)),
        f"Health check {health}",
        *_about_processes(findings.settings),
    ]


def _about_processes(settings: Settings) -> list[str]:
    step, workers = settings.release, settings.workers
    lines = [f"Release step {shlex.join(step.command)}: {step.why}"] if step else []
    return [*lines, *(f"Worker {worker.name}: {worker.why}" for worker in workers)]


def _about_image(findings: Findings) -> list[str]:
    packaging = findings.packaging
    return [
        f"Packaging {packaging.kind}: {packaging.why}",
        f"Python {packaging.python}: {packaging.python_why}",
        f"In the image: {', '.join(findings.sources)}",
    ]


def _about_kept(kept: Kept) -> list[str]:
    lines = ["Dockerfile: it was there, and its image runs as it says"]
    if kept.port:
        lines.append(f"Port {kept.port}: {kept.port_why}")
    return lines


def _tell(session: Session, findings: Findings, files: tuple[FileWrite, ...]) -> None:
    app, packaging, settings = findings.app, findings.packaging, findings.settings
    data = {
        "app": findings.name,
        "backend": settings.backend.value,
        "entrypoint": app.entrypoint,
        "entrypoint_why": app.why,
        "packaging": packaging.kind.value,
        "packaging_why": packaging.why,
        "python": packaging.python,
        "health_path": app.health_path,
        "sources": list(findings.sources),
        "release_step": list(settings.release.command) if settings.release else None,
        "workers": {worker.name: list(worker.command) for worker in settings.workers},
        "files": [
            {"path": file.path, "result": file.fate.value, "diff": list(file.diff)}
            for file in files
        ],
    }
    shown = None if session.output.verbose else SHOWN
    session.output.result(data, lambda console: _print(console, files, settings.backend, shown))


def _print(
    console: Console, files: tuple[FileWrite, ...], backend: Backend, shown: int | None
) -> None:
    from deploytool.init import CONFIGURATION, Fate

    for file in files:
        mark = ("✓", "good") if file.changes else ("·", "quiet")
        console.print(signed(*mark, f"{file.path}: {file.fate.value}"))
        if file.diff:
            _print_diff(console, file, shown)
    if any(file.fate is Fate.KEPT and file.path not in CONFIGURATION for file in files):
        console.print("Files that were there are kept; --force replaces all but the configuration.")
    console.print(f"Next: review them, then {NEXT[backend]} and `deploytool deploy`.")


def _print_diff(console: Console, file: FileWrite, shown: int | None) -> None:
    """What would be written instead of a kept file, and what to do with that."""
    console.print(f"  You changed what `init` wrote, and it would write another {file.path} now:")
    for line in file.diff[:shown]:
        console.print(f"    {line}", style=LINES.get(line[:1], "quiet"))
    if more := len(file.diff[shown:] if shown else ()):
        console.print(f"    … {more} more lines: --verbose shows them", style="quiet")
    console.print(
        next_step(
            "take over what you want, with the first line to see this no more; or remove "
            f"{file.path} and run `deploytool init` again"
        )
    )
