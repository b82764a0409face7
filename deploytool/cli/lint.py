"""`lint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command
from deploytool.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.config import LoadedConfig
    from deploytool.lint import Report

_STYLES = {"error": "bad", "warning": "busy", "info": "quiet"}


@command("lint", "deploytool lint", "deploytool lint --json")
def lint(
    session: Session,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
) -> None:
    """Check the Dockerfile and the configuration, with hadolint too."""
    from deploytool.lint import Severity, inspect

    config = _config(session)
    report = inspect(config.project if config else Path.cwd(), config)
    for warning in report.warnings:
        session.output.warn(warning)
    data = {
        "findings": [finding.as_json() for finding in report.findings],
        "counts": {severity.value: report.count(severity) for severity in Severity},
    }
    session.output.result(data, lambda console: _show(console, report, session.output.verbose))
    failing = report.count(Severity.ERROR) + strict * report.count(Severity.WARNING)
    if failing:
        raise typer.Exit(1)


def _config(session: Session) -> LoadedConfig | None:
    try:
        return session.config
    except UsageError as error:
        if error.code != "no_config":
            raise
        return None


def _show(console: Console, report: Report, verbose: bool) -> None:
    from rich.text import Text

    file = ""
    width = max((len(finding.rule) for finding in report.findings), default=0)
    for finding in report.findings:
        if finding.file != file:
            file = finding.file
            console.print(Text(file, style="name"))
        line = Text(f"{finding.line:>5}  ")
        line.append(f"{finding.severity:<7}", style=_STYLES[finding.severity])
        line.append(f"  {finding.rule:<{width}}  {finding.message}")
        console.print(line)
        console.print(Text(f"{'':16}{finding.fix}", style="quiet"))
        if verbose:
            console.print(Text(f"{'':16}{finding.url}", style="quiet"))
    console.print(Text(_summary(report), style="name"))


def _summary(report: Report) -> str:
    from deploytool.lint import Severity

    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    counts = {word: report.count(severity) for severity, word in words.items()}
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items() if n]
    return ", ".join(parts) or "Nothing to fix"
