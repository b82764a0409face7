"""Why a rollout failed, from what is known of its replicas."""

from __future__ import annotations

from collections.abc import Sequence

from deploytool.backends.model import LIKELY, Verdict
from deploytool.backends.protocol import Inspection
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.order import FAILURES
from deploytool.rollout.watch import Unsuccessful


def evidence_of(backend: Inspection, rollout: GuardedRollout) -> list[str]:
    """The known facts about the newest failed replica of each service."""
    newest = {task.service: task for task in rollout.failures()}
    return [line for task in newest.values() for line in backend.explain(task)]


def likely_cause(evidence: Sequence[str]) -> tuple[str, list[str]]:
    """The next step, where it is known, and the rest of the evidence."""
    likely = next((line for line in evidence if line.startswith(LIKELY)), "")
    return likely, [line for line in evidence if line != likely]


def reason_of(failure: Unsuccessful) -> str:
    """One line: the first service that failed, and why."""
    for progress in failure.seen:
        if progress.verdict in FAILURES and progress.reason:
            return f"{progress.service}: {progress.reason}"
    late = [p for p in failure.seen if p.verdict is Verdict.MOVING]
    states = ", ".join(
        f"{p.service} {p.reason or f'has {p.ready} of {p.wanted} replicas ready'}" for p in late
    )
    return states or "the cluster gave no reason"
