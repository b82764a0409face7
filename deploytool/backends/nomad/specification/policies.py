"""How replicas of a service are replaced, restarted and moved. Pure.

Nomad refuses what does not go together (`Validate` of UpdateStrategy, RestartPolicy and
ReschedulePolicy in nomad/structs/structs.go); what is written here always does.
"""

from __future__ import annotations

from deploytool.json_types import Json
from deploytool.spec import HealthCheck, Service

MILLISECOND = 1_000_000
"""nanoseconds"""
SECOND = 1_000
PULL = 300 * SECOND
"""What a node has for the image, which counts towards the time to become healthy."""
LEAST_DELAY = 5 * SECOND
"""The least time before a replica is placed anew."""
FOR_EVER = 365 * 24 * 3600 * SECOND
ATTEMPTS = 3
"""Restarts in place before a replica is placed anew, maybe on another node. One that cannot start
fails its deployment as soon as it has used them up."""


INTERVAL = 5 * SECOND
"""Between two checks, where the configuration does not say."""
RETRIES = 3


def ns(milliseconds: int) -> int:
    return milliseconds * MILLISECOND


def health_check(service: Service) -> str:
    return "checks" if service.check is not None else "task_states"


def interval(check: HealthCheck) -> int:
    """Milliseconds between two checks."""
    return INTERVAL if check.interval is None else max(check.interval, SECOND)


def retries(check: HealthCheck) -> int:
    """Failures in a row that restart a replica."""
    return RETRIES if check.retries is None else check.retries


def healthy_deadline(service: Service) -> int:
    """Milliseconds in which a replica has to become healthy, from when its node hears of it."""
    check = service.check
    start = check.start_period + retries(check) * interval(check) if check else 30 * SECOND
    return PULL + start + service.update.monitor


def canaries(service: Service) -> int:
    """Replicas of the next release that run before any of the last is stopped."""
    return service.surge


def update(service: Service) -> Json:
    """Without a progress deadline, the first replica that is not healthy fails its deployment. With
    one, and replicas that may be placed anew without end, only its end does
    (nomad/deploymentwatcher/deployment_watcher.go, shouldFailEarly)."""
    settings = service.update
    return {
        "MaxParallel": settings.parallelism,
        "HealthCheck": health_check(service),
        "MinHealthyTime": ns(settings.monitor),
        "HealthyDeadline": ns(healthy_deadline(service)),
        "ProgressDeadline": 0,
        "AutoRevert": settings.on_failure == "rollback",
        "AutoPromote": canaries(service) > 0,
        "Canary": canaries(service),
        "Stagger": ns(30 * SECOND),
    }


def migrate(service: Service) -> Json:
    """How a node that is drained is left."""
    return {
        "MaxParallel": service.update.parallelism,
        "HealthCheck": health_check(service),
        "MinHealthyTime": ns(service.update.monitor),
        "HealthyDeadline": ns(healthy_deadline(service)),
    }


def restart(service: Service) -> Json:
    """In place, on the same node."""
    policy = service.restart
    attempts = policy.max_attempts or ATTEMPTS
    window = (policy.window or FOR_EVER) if policy.max_attempts else 60 * SECOND
    return {
        "Attempts": attempts,
        "Interval": ns(max(window, attempts * policy.delay, LEAST_DELAY)),
        "Delay": ns(policy.delay),
        "Mode": "fail",
        "RenderTemplates": False,
    }


def reschedule(service: Service) -> Json:
    """Elsewhere, when restarts in place are used up; never, where the configuration says after how
    many the cluster shall give up."""
    delay = max(service.restart.delay, LEAST_DELAY)
    return {
        "Attempts": 0,
        "Interval": 0,
        "Delay": ns(delay),
        "DelayFunction": "exponential",
        "MaxDelay": ns(max(delay, 60 * SECOND)),
        "Unlimited": service.restart.max_attempts == 0,
    }


def disconnect() -> Json:
    """A replica whose node is lost is replaced at once, and stopped should the node come back."""
    return {"Replace": True, "Reconcile": "best_score"}
