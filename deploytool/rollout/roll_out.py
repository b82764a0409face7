"""Bringing a cluster to a release."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deploytool.backends.model import Outcome, Plan, Record
from deploytool.backends.protocol import Backend
from deploytool.errors import (
    DeploytoolError,
    Interrupted,
    JobTimedOut,
    RolledBack,
    RolloutTimedOut,
)
from deploytool.records import history
from deploytool.rollout.failure import Attempt, roll_back
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import DEFAULT, Deadline, Limits
from deploytool.rollout.order import DependencyOrder
from deploytool.rollout.release_step import Step, has_step_to_run, run_step
from deploytool.rollout.routes import check_routes
from deploytool.rollout.settle import settle
from deploytool.rollout.watch import Report, Unsuccessful, watch
from deploytool.spec import Release


@dataclass(frozen=True)
class Result:
    """The result of a rollout. `release` is None where nothing had to change."""

    release: Release | None
    plan: Plan
    seconds: float
    waited: bool = True
    warnings: tuple[str, ...] = ()
    """Checks that were not possible."""

    @property
    def renewed(self) -> str:
        """The services that were given another login for their registry."""
        return ", ".join(change.name for change in self.plan.changes if change.renews_login)


def roll_out(
    backend: Backend,
    plan: Plan,
    release: Release,
    *,
    timeout: int,
    wait: bool = True,
    report: Report = lambda _: None,
    step: Step | None = None,
    guard: Callable[[], None] = lambda: None,
    limits: Limits = DEFAULT,
) -> Result:
    """Bring the cluster to a release and stay until every replica of it runs.

    `timeout` in milliseconds, the release step apart, which has its own. `step` is None where
    none is to run, `guard` raises when the lock is lost: nothing is changed any more then. Raises
    RolledBack, RolloutFailed, RolloutTimedOut, JobFailed, JobTimedOut, Interrupted; whatever is
    raised, the cluster remembers how it ended.
    """
    started = time.monotonic()
    release = release.model_copy(update={"secrets": plan.secrets})
    records = history.records(backend.store, release.spec.name)
    resumed = _is_unfinished(records, release)
    rollout = GuardedRollout(backend.rollout(plan), guard)
    if not (plan.makes_release or resumed or has_step_to_run(records, release, step)):
        with rollout:
            if not plan.is_empty:
                rollout.renew_logins()
            seconds = settle(backend, rollout, plan, timeout=timeout, report=report, limits=limits)
        return Result(None, plan, seconds)
    guard()
    release = history.begin(backend.store, release)
    earlier = _last_good(records, release)
    attempt = Attempt(backend, rollout, plan, release, report, limits, earlier, resumed)
    outcome = Outcome.INTERRUPTED
    try:
        with rollout:
            warnings = _carry_out(attempt, records, step, timeout, wait=wait)
        outcome = Outcome.DONE if wait else Outcome.STARTED
    except KeyboardInterrupt:
        raise _interrupted(release) from None
    except DeploytoolError as error:
        outcome = _outcome(error)
        raise
    finally:
        _remember(attempt, outcome, time.monotonic() - started)
    return Result(release, plan, time.monotonic() - started, wait, warnings)


def _carry_out(
    attempt: Attempt, records: Sequence[Record], step: Step | None, timeout: int, *, wait: bool
) -> tuple[str, ...]:
    """Change everything, and reverse it where it fails; the checks that were not possible, in
    words."""
    rollout = attempt.rollout
    try:
        rollout.prepare()
        if step is not None:
            backend, release = attempt.backend, attempt.release
            run_step(backend, release, records, step, rollout.guard, attempt.limits)
        warnings = _start(attempt, timeout, wait=wait)
    except Unsuccessful as failure:
        raise roll_back(attempt, failure) from None
    except DeploytoolError:
        with suppress(DeploytoolError):
            rollout.reverse().start()
        raise
    rollout.finish()
    return warnings


def _start(attempt: Attempt, timeout: int, *, wait: bool) -> tuple[str, ...]:
    """Start the services, and wait until callers reach them."""
    rollout, limits = attempt.rollout, attempt.limits
    deadline = Deadline.after(timeout / 1000)
    order = DependencyOrder(rollout, attempt.plan, attempt.release)
    order.begin()
    watch(rollout, deadline, attempt.report, order, limits=limits, wait=wait)
    return check_routes(rollout, attempt.plan.app, limits) if wait else ()


def _remember(attempt: Attempt, outcome: Outcome, seconds: float) -> None:
    """Write into the release's own record how it ended. Where that fails after a failure, the first
    is raised."""
    try:
        history.finish(attempt.backend.store, attempt.release, outcome, seconds)
    except DeploytoolError:
        if outcome in (Outcome.DONE, Outcome.STARTED):
            raise
        return
    with suppress(DeploytoolError):
        attempt.rollout.guard()
        attempt.backend.collect_garbage(attempt.plan.app)


def _is_unfinished(records: Sequence[Record], release: Release) -> bool:
    """Whether the newest release is this one, and nobody finished it."""
    if not records:
        return False
    newest = records[-1]
    return newest.outcome in (Outcome.STARTED, Outcome.INTERRUPTED) and newest.is_of(release)


def _last_good(records: Sequence[Record], release: Release) -> Release | None:
    before = [r for r in history.good(records) if r.number < release.number]
    return before[-1] if before else None


def _outcome(error: DeploytoolError) -> Outcome:
    if isinstance(error, RolledBack):
        return Outcome.ROLLED_BACK
    late = isinstance(error, RolloutTimedOut | JobTimedOut)
    return Outcome.TIMED_OUT if late else Outcome.FAILED


def _interrupted(release: Release) -> Interrupted:
    return Interrupted(
        f"Interrupted during {release.id}: the cluster continues what has been applied",
        code="interrupted",
        hint="`deploytool status --watch` shows it; `deploytool deploy` finishes it, "
        "`deploytool rollback` reverses it",
    )
