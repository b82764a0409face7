"""The one place that starts other programs.

A program runs in a session of its own: it cannot stop to ask on the terminal, and everything it
started goes with it when somebody presses Ctrl-C, or when SIGTERM ends a CI job.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

ENDING = ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))
"""How a program is asked to end, and for how long before the next, less polite request."""

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")


class ProgramMissing(Exception):
    """There is no such program on this machine, or it cannot be executed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed, or not on PATH")
        self.program = program


class TookTooLong(Exception):
    """The program did not end in the time it had; it was stopped."""


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def capture(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    errors: str = "replace",
) -> Finished:
    """Run a program to its end and return what it said.

    `env` is added to this process' environment; `errors` says what becomes of output that is no
    UTF-8. Raises ProgramMissing, TookTooLong.
    """
    with _running(command, cwd, env, with_stdin=stdin is not None) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{command[0]} did not end within {timeout:g} s") from None
    return Finished(
        process.returncode,
        stdout.decode("utf-8", errors),
        stderr.decode("utf-8", errors),
    )


def stream(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program, hand over each line of its output as it comes, and return its exit code.

    Standard error is part of the output; colours and rewritten lines are cleaned away.
    Raises ProgramMissing.
    """
    with _running(command, cwd, env, merged=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            on_line(plain_text(line))
        return process.wait()


def start_in_background(command: Sequence[str], *, log: Path, cwd: Path) -> int:
    """Start a program that goes on when this one ends; its process. What it says goes to a file,
    which is begun anew. Raises ProgramMissing."""
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError):
            raise ProgramMissing(command[0]) from None
    # It is nobody's business here how it ends.
    process.returncode = 0
    return process.pid


def become(command: Sequence[str]) -> NoReturn:
    """Be another program from now on: the terminal, signals and the exit code are its own.

    Raises ProgramMissing.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores it, and a program inherits that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except (FileNotFoundError, PermissionError):
        raise ProgramMissing(command[0]) from None


def plain_text(line: bytes) -> str:
    """What a terminal would show of a line in the end, without colours."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    return _CONTROL.sub("", text.rpartition("\r")[2]).rstrip()


@contextmanager
def _running(
    command: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    *,
    merged: bool = False,
    with_stdin: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not outlive the block."""
    with _termination_interrupts():
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError):
            if cwd is not None and not cwd.is_dir():
                raise
            raise ProgramMissing(command[0]) from None
        with process:
            try:
                yield process
            except BaseException:
                _end(process)
                raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all it started: politely, and by force when somebody is in a hurry."""
    for number, patience in ENDING:
        _signal_all(process, number)
        try:
            # Reading on, or a program that has much to say could never end.
            process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            pass
        break
    _signal_all(process, signal.SIGKILL)


def _signal_all(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal act as Ctrl-C does, unless somebody handles them already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    taken = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
