"""Waiting for a change that is no release: a scale, a restart, another login."""

from __future__ import annotations

import time

from deploytool.backends.model import Plan
from deploytool.backends.protocol import Backend
from deploytool.errors import RolloutFailed, RolloutTimedOut
from deploytool.rollout.evidence import evidence_of, likely_cause, reason_of
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import DEFAULT, Deadline, Limits
from deploytool.rollout.watch import Report, Unsuccessful, watch
from deploytool.units import format_duration


def settle(
    backend: Backend,
    rollout: GuardedRollout,
    plan: Plan,
    *,
    timeout: int,
    report: Report,
    limits: Limits = DEFAULT,
) -> float:
    """Wait until every service is done; `timeout` in milliseconds. Seconds it took.

    Raises RolloutFailed or RolloutTimedOut; the change stays, as the operator asked for it.
    """
    started = time.monotonic()
    try:
        watch(rollout, Deadline.after(timeout / 1000), report, limits=limits)
    except Unsuccessful as failure:
        likely, details = likely_cause(evidence_of(backend, rollout))
        if failure.timed_out:
            raise RolloutTimedOut(
                f"{plan.app} timed out after {format_duration(timeout)}: {reason_of(failure)}",
                code="timed_out",
                hint="`deploytool status --watch` shows how it continues",
                details=details,
            ) from None
        raise RolloutFailed(
            f"{plan.app} did not come up: {reason_of(failure)}",
            code="rollout_failed",
            hint=likely or "`deploytool status` and `deploytool logs` show more",
            details=details,
        ) from None
    return time.monotonic() - started
