"""Long-running processes that outlive this one, known by pid and start time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab.shell import run

# The background process of a shell that ends at once: adopted by init, so never our zombie.
DETACH = 'log=$1; shift; setsid nohup "$@" </dev/null >>"$log" 2>&1 & echo $!'


def started_at(pid: int) -> str | None:
    """Kernel start time of a living process (pids are reused, these pairs are not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def spawn(
    command: Sequence[str | Path], log: Path, pid_file: Path, env: Mapping[str, str] | None = None
) -> int:
    output = run(["sh", "-c", DETACH, "sh", log, *command], env=env)
    pid = int(output)
    pid_file.write_text(f"{pid} {started_at(pid)}\n")
    return pid


def living(pid_file: Path) -> int | None:
    """The pid in the file, if that very process still runs."""
    try:
        pid, start = pid_file.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if started_at(int(pid)) == start else None


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def ended(pid: int, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while started_at(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def stop(pid_file: Path, timeout: float = 30) -> None:
    """SIGTERM, SIGKILL when that takes too long."""
    pid = living(pid_file)
    if pid is not None:
        send(pid, signal.SIGTERM)
        if not ended(pid, timeout):
            send(pid, signal.SIGKILL)
            ended(pid, 5)
    pid_file.unlink(missing_ok=True)


def mount_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return None


def pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def in_mount_namespace(namespace: str) -> list[int]:
    return [pid for pid in pids() if mount_namespace(pid) == namespace]
