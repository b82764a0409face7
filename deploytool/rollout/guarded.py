"""A rollout that writes only while the lock of its app is held."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType

from deploytool.backends.model import RouteCheck, ServiceProgress, Task
from deploytool.backends.protocol import Rollout
from deploytool.spec import Release


class GuardedRollout:
    """Calls `guard` before each write; it raises where the lock is lost."""

    def __init__(self, rollout: Rollout, guard: Callable[[], None] = lambda: None) -> None:
        self._rollout = rollout
        self.guard = guard

    def __enter__(self) -> GuardedRollout:
        self._rollout.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rollout.__exit__(kind, error, trace)

    def prepare(self) -> None:
        self.guard()
        self._rollout.prepare()

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        self.guard()
        self._rollout.start(release, services)

    def renew_logins(self) -> None:
        self.guard()
        self._rollout.renew_logins()

    def recover(self) -> None:
        self.guard()
        self._rollout.recover()

    def finish(self) -> None:
        self.guard()
        self._rollout.finish()

    def reverse(self) -> GuardedRollout:
        return GuardedRollout(self._rollout.reverse(), self.guard)

    def observe(self) -> list[ServiceProgress]:
        return self._rollout.observe()

    def wait_for_change(self, seconds: float) -> None:
        self._rollout.wait_for_change(seconds)

    def check_routes(self) -> RouteCheck:
        return self._rollout.check_routes()

    def failures(self) -> list[Task]:
        return self._rollout.failures()
