"""The entry point and the only place where an exception becomes an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytool.errors import DeploytoolError, ExitCode, UsageError
from deploytool.output import Output

THRESHOLD = 100_000
"""Objects after which garbage is looked for. A command is short, and most of what it makes, modules
first, stays to its end: looking takes a sixth of the start-up time, and a tenth of a second at the
end."""


def main() -> None:
    gc.set_threshold(THRESHOLD)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _as_interrupt)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell, >&-; open to the end of the process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def _as_interrupt(_number: int, _frame: object) -> None:
    """A CI job that is cancelled and a terminal that is closed end things as Ctrl-C does."""
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises."""
    import typer
    from typer.exceptions import TyperException

    from deploytool.cli import app
    from deploytool.cli.common import interrupted

    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    output = Output(as_json="--json" in flags, verbose=_wants_more(flags))
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments), prog_name="deploytool", standalone_mode=False
        )
        return code if isinstance(code, int) else ExitCode.DONE
    except DeploytoolError as error:
        return _fail(output, error)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            output.progress.print(str(error))
            return ExitCode.USAGE
        return _fail(output, _usage(error))
    except (KeyboardInterrupt, typer.Abort):
        return _fail(output, interrupted())
    except Exception as error:
        return _fail(output, _unexpected(error), cause=error)


def _wants_more(arguments: Sequence[str]) -> bool:
    return "--verbose" in arguments or "-v" in arguments


def _fail(output: Output, error: DeploytoolError, cause: BaseException | None = None) -> int:
    try:
        output.error(error)
    except DeploytoolError as unwritable:
        output.error(unwritable)
    if output.verbose:
        output.traceback(cause or error)
    return error.exit_code


def _usage(error: Exception) -> UsageError:
    format_message = getattr(error, "format_message", lambda: str(error))
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "deploytool"
    arguments = _arguments(context) if context else []
    if type(error).__name__ == "NoSuchOption" and any("-- " in name for name in arguments):
        hint = f"options of the command come after --: `{path} {' '.join(arguments)}`"
    else:
        hint = f"see `{path} --help`"
    return UsageError(format_message(), code="usage", hint=hint)


def _arguments(context: Any) -> list[str]:
    """What a command is called with, as its help names it."""
    found = (p for p in context.command.params if p.param_type_name == "argument")
    return [str(p.metavar or p.name.upper()) for p in found]


def _unexpected(error: Exception) -> DeploytoolError:
    return DeploytoolError(
        f"Unexpected error: {type(error).__name__}: {error}",
        code="unexpected",
        hint="run it again with --verbose to see where, and please report it",
    )


if __name__ == "__main__":
    main()
