"""Running programs: the lab is made of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class LabError(Exception):
    """The lab could not do what was asked; the message says why."""


def say(message: str) -> None:
    print(f"lab: {message}", file=sys.stderr, flush=True)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    env = {**os.environ, **(extra or {})}
    env["PATH"] = f"{env.get('PATH', '')}:{SBIN}"
    return env


def try_run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and return what came of it, whatever that is."""
    arguments = [str(part) for part in command]
    try:
        return subprocess.run(
            arguments,
            env=environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(arguments, 127, "", str(error))


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> str:
    """Standard output of a command that has to succeed, without the final newline."""
    done = try_run(command, env=env, cwd=cwd, timeout=timeout)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}")[-2000:]
        raise LabError(f"{shlex.join(map(str, command))}: {why}")
    return done.stdout.rstrip("\n")


def succeeds(command: Sequence[str | Path]) -> bool:
    return try_run(command).returncode == 0


def wait_until(check: Callable[[], bool], what: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(0.05)
