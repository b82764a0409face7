"""`run`: a one-off task of the current release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploytool.cli.common import Session, command, duration, warn_of_unread
from deploytool.cli.lock import noted
from deploytool.errors import JobFailed, UsageError

if TYPE_CHECKING:
    from rich.console import Console

INPUT_HINT = (
    "`deploytool exec SERVICE -- COMMAND` passes it on to a replica that runs; or put what it "
    "reads into `files` or a secret; < /dev/null says that there is none"
)
NO_OUTPUT = "it printed nothing: run it in a way that says more, or look at the code that exits so"


@command(
    "run",
    "deploytool run -- alembic current",
    "deploytool run --service worker -- python -m app.import",
)
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
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Pass escape sequences on to the terminal too."),
    ] = False,
) -> None:
    """Run a command once, in a container of its own."""
    from deploytool.backends import open_backend
    from deploytool.records import history
    from deploytool.rollout.one_off import one_off
    from deploytool.unread import has_input

    limit = duration("--timeout", timeout)
    if has_input():
        raise UsageError(
            f"Standard input cannot be passed on to a one-off task, so {words[0]} was not run",
            code="input_not_passed",
            hint=INPUT_HINT,
        )
    output = session.output
    name = session.config.config.app
    backend = open_backend(session.config.config)
    warn_of_unread(session, history.read(backend.store, name))

    def emit(line: str) -> None:
        if not output.as_json:
            output.of_replicas(raw=raw).print(line)

    def refuse_input() -> None:
        if has_input():
            raise JobFailed(
                f"{words[0]} was stopped: standard input came while it ran, and cannot be "
                "passed on to a one-off task",
                code="input_not_passed",
                hint=INPUT_HINT,
            )

    with noted(session, backend, f"run {words[0]}"):
        ended = one_off(
            backend,
            name,
            tuple(words),
            service=service,
            timeout=limit,
            emit=emit,
            guard=refuse_input,
        )
        if ended.exit_code != 0:
            raise JobFailed(
                f"{words[0]} {ended}",
                code="job_failed",
                hint=ended.fix or ("its output says why" if ended.lines else NO_OUTPUT),
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
