"""Services start in dependency order."""

from __future__ import annotations

from collections.abc import Sequence

from deploytool.backends.model import Action, Plan, ServiceProgress, Verdict
from deploytool.backends.protocol import Rollout
from deploytool.spec import Release

DONE = Verdict.DONE
FAILURES = {Verdict.FAILED, Verdict.ROLLED_BACK}


class DependencyOrder:
    """Starts each service as soon as those that it depends on are done, those without an order
    between them at once."""

    def __init__(self, rollout: Rollout, plan: Plan, release: Release) -> None:
        self.rollout = rollout
        self.release = release
        changing = [c for c in plan.changes if c.action in (Action.CREATE, Action.UPDATE)]
        self.waiting = {c.name for c in changing if c.kind == "service"}
        """Services that change and were not started yet."""
        self.open: set[str] = set()
        """Services that may change by now and are not done; unchanged ones too."""
        self.order = release.spec.order()
        self.order.prepare()
        self.depends_on = {s.name: s.depends_on for s in release.spec.services}

    def begin(self) -> None:
        self.rollout.start(self.release, self._next())

    def _next(self) -> set[str]:
        """The services to start now."""
        ready = set(self.order.get_ready())
        self.open |= ready
        starting = self.waiting & ready
        self.waiting -= starting
        return starting

    def advance(self, seen: Sequence[ServiceProgress]) -> Sequence[ServiceProgress]:
        """Start the services whose dependencies are done now, unless one failed. A service that was
        not started when it was polled counts as moving."""
        if not self.waiting:
            return seen
        waited = frozenset(self.waiting)
        verdicts = {p.service: p.verdict for p in seen if p.service not in waited}
        starting: set[str] = set()
        if not FAILURES & set(verdicts.values()):
            while done := {s for s in self.open - waited if verdicts.get(s, DONE) is DONE}:
                self.open -= done
                self.order.done(*done)
                starting |= self._next()
        if starting:
            self.rollout.start(self.release, starting)
        return [self._moving(p) if p.service in waited else p for p in seen]

    def _moving(self, progress: ServiceProgress) -> ServiceProgress:
        waits = ", ".join(sorted(self.depends_on[progress.service]))
        reason = f"waits for {waits}" if progress.service in self.waiting else ""
        return progress.model_copy(update={"verdict": Verdict.MOVING, "reason": reason})
