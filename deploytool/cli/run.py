"""`run`: a one-off task of the current release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, duration
from deploytool.cli.lock import noted
from deploytool.errors import JobFailed

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    @command(app, "run")
    def run(
        session: Session,
        words: Annotated[list[str], typer.Argument(metavar="-- COMMAND...")],
        service: Annotated[
            str | None,
            typer.Option(
                help="The service whose environment, secrets and networks it gets; by default "
                "the one of the release step, or the first with a port."
            ),
        ] = None,
        timeout: Annotated[str, typer.Option(help="Stop it after this long.")] = "1h",
    ) -> None:
        """Run a command once on the cluster, in a container like those of a service."""
        from deploytool.backends import open_backend
        from deploytool.rollout import one_off

        limit = duration("--timeout", timeout)
        output = session.output
        name = session.config.config.app
        backend = open_backend(session.config.config)

        def emit(line: str) -> None:
            if not output.as_json:
                output.console.print(line)

        with noted(session, backend, f"run {words[0]}"):
            ended = one_off(backend, name, tuple(words), service=service, timeout=limit, emit=emit)
            if ended.exit_code != 0:
                raise JobFailed(
                    f"{words[0]} ended with exit code {ended.exit_code}",
                    code="job_failed",
                    hint="its output says why",
                    details=ended.lines[-15:] if output.as_json else (),
                )
        data = {
            "app": name,
            "exit_code": ended.exit_code,
            "lines": list(ended.lines),
            "seconds": round(ended.seconds, 1),
        }

        def human(_: Console) -> None:
            output.debug(f"{words[0]} ended after {ended.seconds:.1f} s")

        output.result(data, human)
