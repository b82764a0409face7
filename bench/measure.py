"""Running commands in turn, and what each of them took."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BUSY = 1.25
"""Wall time over CPU time of a computation from which on others had the processors too."""


@dataclass(frozen=True)
class Run:
    """What one run took, in seconds. `cpu` is user and system time together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Command:
    arguments: Sequence[str | Path]
    env: Mapping[str, str]
    folder: Path

    def output(self) -> str:
        """Run it and return what it printed."""
        done = subprocess.run(
            self.arguments,
            env=dict(self.env),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.arguments} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def run(self) -> Run:
        """Run it to its end. Raises RuntimeError with its last lines when it fails."""
        begin = time.monotonic()
        process = subprocess.Popen(
            self.arguments,
            env=dict(self.env),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said = "\n".join(output.splitlines()[-20:])
            raise RuntimeError(f"{self.arguments} ended with {process.returncode}:\n{said}")
        return Run(wall, usage.ru_utime + usage.ru_stime)


def in_turn(
    runs: Mapping[str, Callable[[], Run]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[Run]]:
    """A/B/A/B: every one once per round, the order turned round each time."""
    found: dict[str, list[Run]] = {name: [] for name in runs}
    for number in range(-warm_up, rounds):
        names = list(runs) if number % 2 == 0 else list(reversed(list(runs)))
        for name in names:
            run = runs[name]()
            if number >= 0:
                found[name].append(run)
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def is_busy(runs: Sequence[Run]) -> bool:
    """Whether the machine was so busy with others that wall time says little of these runs."""
    return median([run.wall / max(run.cpu, 1e-9) for run in runs]) > BUSY


def clean_environment(cache: Path) -> dict[str, str]:
    """As on a user's machine: byte code is kept, in a folder that goes away afterwards."""
    dropped = ("DEPLOYTOOL_", "DOCKER_", "PYTHON", "COVERAGE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"PYTHONPYCACHEPREFIX": str(cache), "COLUMNS": "100"}


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)
