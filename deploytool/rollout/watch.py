"""Polling a rollout until it is done, and recovering it where it is stalled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploytool.backends.model import ServiceProgress
from deploytool.patience import patiently
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import Deadline, Limits
from deploytool.rollout.order import DONE, FAILURES, DependencyOrder

Report = Callable[[Sequence[ServiceProgress]], None]


class Unsuccessful(Exception):
    """A rollout that failed or timed out, with its last progress."""

    def __init__(
        self,
        seen: Sequence[ServiceProgress],
        *,
        timed_out: bool = False,
        of_replicas: bool = True,
    ) -> None:
        super().__init__()
        self.seen = seen
        self.timed_out = timed_out
        self.of_replicas = of_replicas
        """Whether a replica may have failed."""


def watch(
    rollout: GuardedRollout,
    deadline: Deadline,
    report: Report,
    order: DependencyOrder | None = None,
    *,
    limits: Limits,
    wait: bool = True,
) -> None:
    """Wait until every service is done; without `wait`, until each was started.

    Raises Unsuccessful when one has failed for good, or when the deadline passes; what the guard
    raises as soon as the lock is lost.
    """
    while wait or (order and order.waiting):
        rollout.guard()
        polled = patiently(rollout.observe, limits.patience)
        seen = order.advance(polled) if order else polled
        report(seen)
        verdicts = {progress.verdict for progress in seen}
        if verdicts <= {DONE}:
            return
        if verdicts & FAILURES:
            raise Unsuccessful(seen)
        if deadline.passed:
            raise Unsuccessful(seen, timed_out=True)
        if any(progress.stalled for progress in seen):
            patiently(rollout.recover, limits.patience)
        rollout.wait_for_change(limits.poll)
