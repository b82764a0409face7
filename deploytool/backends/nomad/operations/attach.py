"""A program: a command in a replica, with the input and output of whoever starts it.

    python -m deploytool.backends.nomad.operations.attach SETTINGS ALLOCATION TASK MODE COMMAND…

Its exit code is the command's.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import connection
from deploytool.backends.nomad.api.websocket import Exec
from deploytool.config.nomad import NomadSettings
from deploytool.errors import DeploytoolError
from deploytool.output import Output

AT_ONCE = 2048
"""Bytes of input that are sent at once, as Nomad's own program does."""
INTERRUPTED = 130
DESCRIPTORS = {"stdout": 1, "stderr": 2}


def main(arguments: Sequence[str]) -> int:
    settings, allocation, task, mode, *command = arguments
    try:
        client = Client(connection(NomadSettings.model_validate_json(settings)))
        return attach(client, allocation, task, command, terminal=mode == "terminal")
    except DeploytoolError as error:
        Output().error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1


def attach(
    client: Client, allocation: str, task: str, command: Sequence[str], *, terminal: bool
) -> int:
    running = Exec(client, allocation, task, command, terminal=terminal)
    threading.Thread(target=_send_input, args=(running,), daemon=True).start()
    if not terminal:
        return running.run(_write)
    with _raw_terminal(), _following_its_size(running.resize):
        return running.run(_write)


def _send_input(running: Exec) -> None:
    with suppress(OSError):
        while data := os.read(0, AT_ONCE):
            running.send(data)
    running.end_input()


def _write(stream: str, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(DESCRIPTORS[stream], left) :]


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key is the command's, Ctrl-C too."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _following_its_size(resize: Callable[[int, int], None]) -> Iterator[None]:
    def tell(*_: object) -> None:
        size = shutil.get_terminal_size()
        # In a thread: it may be that the connection is being written to where the signal comes.
        threading.Thread(target=resize, args=(size.lines, size.columns), daemon=True).start()

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
