"""`init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command
from deploytool.output import signed

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.discover.kept import Kept
    from deploytool.init import FileWrite, Findings


def register(app: typer.Typer) -> None:
    @command(app, "init")
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
        """Find the app, and write its configuration, Dockerfile and stack."""
        from deploytool.init import inspect_project, plan_files, plan_rendered, write

        findings = inspect_project(
            path,
            entrypoint=entrypoint,
            registry=registry,
            name=name,
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
    ]


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
    app, packaging = findings.app, findings.packaging
    data = {
        "app": findings.name,
        "entrypoint": app.entrypoint,
        "entrypoint_why": app.why,
        "packaging": packaging.kind.value,
        "packaging_why": packaging.why,
        "python": packaging.python,
        "health_path": app.health_path,
        "sources": list(findings.sources),
        "files": [{"path": file.path, "result": file.fate.value} for file in files],
    }
    session.output.result(data, lambda console: _print(console, files))


def _print(console: Console, files: tuple[FileWrite, ...]) -> None:
    from deploytool.init import Fate

    for file in files:
        mark = ("✓", "good") if file.changes else ("·", "quiet")
        console.print(signed(*mark, f"{file.path}: {file.fate.value}"))
    if any(file.fate is Fate.KEPT for file in files):
        console.print("Files that were there are kept; --force replaces all but the configuration.")
    console.print("Next: look through them, then `deploytool cluster up` and `deploytool deploy`.")
