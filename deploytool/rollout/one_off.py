"""A command that runs once in a container of the current release."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable

from deploytool.backends.model import Job
from deploytool.backends.protocol import Backend
from deploytool.errors import UsageError
from deploytool.job import Ended, run_job
from deploytool.records import history


def one_off(
    backend: Backend,
    app: str,
    command: tuple[str, ...],
    *,
    service: str | None,
    timeout: int,
    emit: Callable[[str], None],
    guard: Callable[[], None] = lambda: None,
) -> Ended:
    """Run it; `timeout` in milliseconds. It is stopped where `guard`, which is called until it has
    ended, raises.

    Raises UsageError where the app or the service does not exist, JobFailed, JobTimedOut.
    """
    release = history.current_release(history.records(backend.store, app), app)
    names = [s.name for s in release.spec.services]
    if service is not None and service not in names:
        raise UsageError(
            f"{app} has no service {service}",
            code="unknown_service",
            hint=f"there are: {', '.join(names)}",
        )
    job = Job(
        name=f"run-{secrets.token_hex(4)}",
        release=release,
        service=service or release.spec.step_service or names[0],
        command=command,
    )
    what = shlex.join(command[:1])
    return run_job(backend, job, timeout=timeout, emit=emit, what=what, guard=guard)
