"""A failed rollout is reversed, unless the configuration wants it left as it is."""

from __future__ import annotations

from dataclasses import dataclass

from deploytool.backends.model import Action, Plan, Verdict
from deploytool.backends.protocol import Backend
from deploytool.errors import DeploytoolError, RolledBack, RolloutFailed, RolloutTimedOut
from deploytool.rollout.evidence import evidence_of, likely_cause, reason_of
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import Deadline, Limits
from deploytool.rollout.watch import Report, Unsuccessful, watch
from deploytool.spec import Release


@dataclass(frozen=True)
class Attempt:
    """One attempt to bring a cluster to a release."""

    backend: Backend
    rollout: GuardedRollout
    plan: Plan
    release: Release
    report: Report
    limits: Limits
    last_good: Release | None
    """The newest release before it that succeeded."""
    resumed: bool
    """Whether an earlier deploy of the same release began the work: the plan does not know all
    that was changed then."""

    @property
    def name(self) -> str:
        return f"{self.release.id} of {self.plan.app}"

    @property
    def return_to(self) -> Release | None:
        """The release to roll out in place of a reversal, which would reverse the second half."""
        return self.last_good if self.resumed else None

    @property
    def replaced_something(self) -> bool:
        return self.return_to is not None or any(
            c.kind == "service" and c.action is not Action.CREATE for c in self.plan.changes
        )


def roll_back(attempt: Attempt, failure: Unsuccessful) -> DeploytoolError:
    """Reverse the changes, unless the configuration wants them left as they are; the error to
    raise."""
    found = evidence_of(attempt.backend, attempt.rollout) if failure.of_replicas else []
    reason, *evidence = found or [reason_of(failure)]
    if _pauses(attempt.release, failure):
        return _paused(attempt, reason, evidence)
    if attempt.plan.is_empty and attempt.return_to is None:
        return _nothing_to_reverse(attempt, failure, reason, evidence)
    try:
        is_reversed = _reverse(attempt)
    except DeploytoolError as error:
        is_reversed = False
        evidence.append(f"rollback: {error.message}")
    return _ended(attempt, failure, reason, evidence, is_reversed=is_reversed)


def _reverse(attempt: Attempt) -> bool:
    """Whether it was done before its deadline. A reversal is a rollout too."""
    reversal, release = _reversal(attempt)
    limits = attempt.limits
    with reversal:
        reversal.start(release)
        try:
            deadline = Deadline.after(limits.reversal)
            watch(reversal, deadline, attempt.report, limits=limits)
        except Unsuccessful:
            return False
        reversal.finish()
    return True


def _reversal(attempt: Attempt) -> tuple[GuardedRollout, Release | None]:
    """The rollout that reverses, and the release that services then belong to, if any."""
    back = attempt.return_to
    if back is None:
        return attempt.rollout.reverse(), None
    plan = attempt.backend.plan(back.spec, back.images, secrets=back.secrets)
    return GuardedRollout(attempt.backend.rollout(plan), attempt.rollout.guard), back


def _pauses(release: Release, failure: Unsuccessful) -> bool:
    failed = {p.service for p in failure.seen if p.verdict is Verdict.FAILED}
    services = release.spec.services
    return any(s.name in failed and s.update.on_failure == "pause" for s in services)


def _paused(attempt: Attempt, reason: str, evidence: list[str]) -> DeploytoolError:
    earlier = attempt.last_good
    return RolloutFailed(
        f"{attempt.name} failed and was left as it is: {reason}",
        code="rollout_paused",
        hint="see `deploytool status`; then deploy a fixed version, or "
        + (f"`deploytool rollback` to {earlier.id}" if earlier else "`deploytool destroy`"),
        details=evidence,
    )


def _nothing_to_reverse(
    attempt: Attempt, failure: Unsuccessful, reason: str, evidence: list[str]
) -> DeploytoolError:
    """A release that was resumed: the state before it is not known any more."""
    kind = RolloutTimedOut if failure.timed_out else RolloutFailed
    return kind(
        f"{attempt.name} {_what(failure)} and was left as it is: {reason}",
        code="timed_out" if failure.timed_out else "rollout_failed",
        hint="`deploytool rollback` restores the release before; or deploy a fixed version",
        details=evidence,
    )


def _ended(
    attempt: Attempt, failure: Unsuccessful, reason: str, evidence: list[str], *, is_reversed: bool
) -> DeploytoolError:
    state = _state_after(had_before=attempt.replaced_something, is_reversed=is_reversed)
    message = f"{attempt.name} {_what(failure)}; {state}: {reason}"
    if failure.timed_out:
        return RolloutTimedOut(
            message,
            code="timed_out",
            hint="give it longer with --timeout, or fix the reason",
            details=evidence,
        )
    kind = RolledBack if attempt.replaced_something and is_reversed else RolloutFailed
    likely, details = likely_cause(evidence)
    return kind(
        message,
        code="rolled_back" if kind is RolledBack else "rollout_failed",
        hint=f"{likely}; then deploy again" if likely else "fix the cause and deploy again",
        details=details,
    )


def _what(failure: Unsuccessful) -> str:
    return "timed out" if failure.timed_out else "failed"


def _state_after(*, had_before: bool, is_reversed: bool) -> str:
    if not is_reversed:
        return "the rollback is not done yet, see `deploytool status`"
    return "the previous release serves" if had_before else "it was a first deploy, now removed"
