"""The release step: a command that runs once per release, before any replica changes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploytool.backends.model import Job, Record
from deploytool.backends.protocol import Backend
from deploytool.backends.refused import refusal_hint
from deploytool.errors import JobFailed
from deploytool.job import KEPT, Ended, follow_job, run_job
from deploytool.records import history
from deploytool.rollout.limits import DEFAULT, Limits
from deploytool.spec import Release

STEP_NAME = "release-"
"""The names of release steps on the cluster begin with it; the release follows."""


@dataclass(frozen=True)
class Step:
    """Whether and how the release step runs."""

    emit: Callable[[str], None] = lambda _: None
    """Called with each line of its output."""
    say: Callable[[str], None] = lambda _: None
    """Called with each message about its progress."""
    rerun: bool = False
    """Run it although it has run for this release."""


def has_step_to_run(records: Sequence[Record], release: Release, step: Step | None) -> bool:
    """Whether the release step alone makes a release: it is another one, or was asked for."""
    if step is None or release.spec.release is None:
        return False
    good = history.good(records)
    return step.rerun or not good or good[-1].spec.release != release.spec.release


def run_step(
    backend: Backend,
    release: Release,
    records: Sequence[Record],
    step: Step,
    guard: Callable[[], None],
    limits: Limits = DEFAULT,
) -> None:
    """Run the release step, unless it has run for a release of the same content.

    Raises JobFailed or JobTimedOut; no replica has been touched then.
    """
    spec = release.spec
    wanted = spec.release
    if wanted is None:
        return
    if not step.rerun and any(r.stepped and r.is_of(release) for r in records):
        step.say(f"The release step has run for this release already: {shlex.join(wanted.command)}")
        return
    what = f"The release step of {release.id}"
    job = Job(
        name=f"{STEP_NAME}{release.id}",
        release=release,
        service=spec.step_service,
        command=wanted.command,
    )
    _await_other_steps(backend, job, wanted.timeout, step, guard, limits)
    step.say(f"Release step: {shlex.join(wanted.command)}")

    def remember(ended: Ended) -> None:
        if ended.exit_code == 0:
            history.stepped(backend.store, release)

    ended = run_job(
        backend,
        job,
        timeout=wanted.timeout,
        emit=step.emit,
        what=what,
        guard=guard,
        keep=True,
        ended=remember,
        limits=limits,
    )
    if ended.exit_code != 0:
        service = next(s for s in spec.services if s.name == spec.step_service)
        fix = refusal_hint(service.name, ended.lines, has_read_only_files=service.read_only)
        raise JobFailed(
            f"{what} {ended}; no replica was touched",
            code="release_step_failed",
            hint=f"{fix or ended.fix or 'fix it'}; then deploy again: it runs again, as it did "
            "not succeed",
            details=ended.lines[-KEPT:],
        )


def _await_other_steps(
    backend: Backend,
    job: Job,
    timeout: int,
    step: Step,
    guard: Callable[[], None],
    limits: Limits,
) -> None:
    """Two migrations must not run at once: a deploy that was killed may have left one."""
    for name in backend.jobs(job.release.spec.name):
        if name == job.name or not name.startswith(STEP_NAME):
            continue
        other = job.model_copy(update={"name": name})
        what = f"The release step of {name.removeprefix(STEP_NAME)}, left by an earlier deploy,"
        step.say(f"Waiting for the release step of {name.removeprefix(STEP_NAME)}, still there")
        follow_job(
            backend,
            other,
            timeout=timeout,
            emit=step.emit,
            what=what,
            guard=guard,
            limits=limits,
        )
