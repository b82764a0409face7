"""Whether callers reach an app through the proxy."""

from __future__ import annotations

import time

from deploytool.backends.model import Refused, ServiceProgress, Verdict
from deploytool.patience import patiently
from deploytool.rollout.guarded import GuardedRollout
from deploytool.rollout.limits import Deadline, Limits
from deploytool.rollout.watch import Unsuccessful


def check_routes(rollout: GuardedRollout, app: str, limits: Limits) -> tuple[str, ...]:
    """Request every URL; the checks that were not possible, in words. Raises Unsuccessful where the
    proxy answers in place of the app."""
    deadline = Deadline.after(limits.routes)
    found = patiently(rollout.check_routes, limits.patience)
    while (found.refused or found.unsure) and not deadline.passed:
        rollout.guard()
        time.sleep(limits.poll)
        found = patiently(rollout.check_routes, limits.patience)
    if found.refused:
        raise Unsuccessful([_unreached(refused) for refused in found.refused], of_replicas=False)
    if found.unchecked:
        return (f"whether callers reach {app} was not checked: {found.unchecked}",)
    if found.unsure:
        urls = ", ".join(found.unsure)
        return (
            f"{urls} answers 404, as the proxy does without a route: check that it is the app's",
        )
    return ()


def _unreached(refused: Refused) -> ServiceProgress:
    reason = f"the proxy itself answers {refused.status} to {refused.url}"
    return ServiceProgress(
        service=refused.service, verdict=Verdict.FAILED, wanted=0, ready=0, reason=reason
    )
