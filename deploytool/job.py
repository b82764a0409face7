"""A command that runs once on the cluster: the release step, and one-off tasks.

    start ▶ (placed?) ▶ stream its output ▶ ended ▶ read the rest ▶ remove it

The cluster never starts it again: whether a migration that died half-way may run a second time is
for people to say.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from deploytool.backends.model import Job, Task
from deploytool.backends.protocol import OneOffTasks
from deploytool.errors import DeploytoolError, JobFailed, JobTimedOut
from deploytool.explain import cause_and_next_step
from deploytool.patience import patiently
from deploytool.rollout.limits import DEFAULT, Limits
from deploytool.units import format_duration

KEPT = 15
"""Lines of output that a failure repeats."""
WAITING = ("new", "pending")


@dataclass
class Run:
    """A job on its way, and what it has printed so far."""

    backend: OneOffTasks
    job: Job
    emit: Callable[[str], None]
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None
    mutex: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def follow(self) -> None:
        """Emit its output, from another thread: the engine's stream has no end of its own."""
        if self.reader is None:
            self.reader = threading.Thread(target=self._read, daemon=True)
            self.reader.start()

    def _read(self) -> None:
        with suppress(DeploytoolError, OSError, ValueError):
            for line in self.backend.job_output(self.job, follow=True):
                with self.mutex:
                    if self.ended:
                        return
                    self._say(line)

    def finish(self) -> list[str]:
        """Emit the output that the stream has not brought yet; the last lines of all."""
        with self.mutex:
            if self.ended:
                return self.lines[-KEPT:]
            self.ended = True
        with suppress(DeploytoolError):
            whole = list(self.backend.job_output(self.job, follow=False))
            # Not by their number: a cluster may keep two streams apart that came mixed.
            said = Counter(self.lines)
            for line in whole:
                if said[line]:
                    said[line] -= 1
                else:
                    self._say(line)
        return self.lines[-KEPT:]

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self.emit(line)


@dataclass(frozen=True)
class Ended:
    """A job that ran to its end, whatever its exit code."""

    exit_code: int
    lines: tuple[str, ...]
    seconds: float
    why: str = ""
    """What the exit code means, where it failed and that is known."""
    fix: str = ""
    """What to do then, where that is known."""

    def __str__(self) -> str:
        """What became of it, in words that follow its name."""
        return f"ended with exit code {self.exit_code}" + (f": {self.why}" if self.why else "")


def run_job(
    backend: OneOffTasks,
    job: Job,
    *,
    timeout: int,
    emit: Callable[[str], None],
    what: str,
    guard: Callable[[], None] = lambda: None,
    keep: bool = False,
    ended: Callable[[Ended], None] = lambda _: None,
    limits: Limits = DEFAULT,
) -> Ended:
    """Run a job to its end, call `ended`, and remove it. One that runs already is followed.

    `timeout` in milliseconds; `what` names it in errors. On Ctrl-C it is removed, unless `keep`.
    Raises JobFailed where it did not run to an end of its own, JobTimedOut.
    """
    started = time.monotonic()
    run = Run(backend, job, emit)
    guard()
    try:
        backend.start_job(job)
        task = _wait(run, started, timeout, what, guard, limits)
    except KeyboardInterrupt:
        if not keep:
            _remove(backend, job)
        raise
    except DeploytoolError:
        run.finish()
        _remove(backend, job)
        raise
    run.finish()
    code = task.exit_code if task.exit_code is not None else (0 if task.state == "complete" else 1)
    why, fix = _explained(backend, task) if code else ("", "")
    result = Ended(code, tuple(run.lines), time.monotonic() - started, why, fix)
    ended(result)
    _remove(backend, job)
    return result


def follow_job(
    backend: OneOffTasks,
    job: Job,
    *,
    timeout: int,
    emit: Callable[[str], None],
    what: str,
    guard: Callable[[], None] = lambda: None,
    limits: Limits = DEFAULT,
) -> None:
    """Wait until a job that somebody else started has ended, however it did, and remove it.

    Raises JobTimedOut, and leaves it as it is then.
    """
    run = Run(backend, job, emit)
    with suppress(JobFailed):
        _wait(run, time.monotonic(), timeout, what, guard, limits)
    run.finish()
    _remove(backend, job)


def _remove(backend: OneOffTasks, job: Job) -> None:
    with suppress(DeploytoolError):
        backend.remove_job(job)


def _wait(
    run: Run,
    started: float,
    timeout: int,
    what: str,
    guard: Callable[[], None],
    limits: Limits,
) -> Task:
    """The task, once it has ended by itself."""
    unplaced = started
    while True:
        guard()
        task = patiently(lambda: run.backend.look_at_job(run.job), limits.patience)
        now = time.monotonic()
        if task is not None and task.state not in WAITING:
            unplaced = now
            if task.state == "running":
                run.follow()
        if task is not None and task.dead:
            if task.state in ("complete", "failed") and task.exit_code is not None:
                return task
            if task.state == "complete":
                return task
            raise _died(run, task, what)
        if now - unplaced > limits.placing:
            raise _unplaced(task, what)
        if now - started > timeout / 1000:
            raise _late(run, task, what, timeout)
        time.sleep(limits.poll)


def _late(run: Run, task: Task | None, what: str, timeout: int) -> JobTimedOut:
    """The cluster may have been getting its image all the while: then it never ran."""
    waits = ""
    if task is not None and task.state != "running":
        waits = f": it is still {task.state}" + (f" on {task.node}" if task.node else "")
    return JobTimedOut(
        f"{what} timed out after {format_duration(timeout)}{waits}",
        code="job_timed_out",
        hint="give it a longer timeout, or find out what it waits for",
        details=run.finish(),
    )


def _explained(backend: OneOffTasks, task: Task) -> tuple[str, str]:
    """Why it failed, and what to do, as of a replica that failed."""
    try:
        return cause_and_next_step(backend.explain(task))
    except DeploytoolError:
        return "", ""


def _died(run: Run, task: Task, what: str) -> JobFailed:
    if task.state == "orphaned":
        return JobFailed(
            f"{what} was lost with its node: {task.message or task.node}",
            code="job_lost",
            hint="nobody knows how far it came: check what it changes, then deploy again",
            details=run.finish(),
        )
    why, fix = _explained(run.backend, task)
    return JobFailed(
        f"{what} could not start: {why or task.message or task.state}",
        code="job_not_started",
        hint=f"{fix or 'fix the cause'}; then run it again",
        details=run.finish(),
    )


def _unplaced(task: Task | None, what: str) -> JobFailed:
    reason = task.message if task is not None and task.message else "no node was found for it"
    return JobFailed(
        f"{what} was not placed: {reason}",
        code="job_not_placed",
        hint="make room, or change the service's memory, cpu or placement; `deploytool capacity` "
        "shows what is free",
    )
