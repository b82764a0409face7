"""The state of a rollout under way."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploytool.backends.model import Action, Task
from deploytool.backends.swarm.planning.diff import is_global
from deploytool.backends.swarm.planning.plan import SwarmPlan, Target, replicas
from deploytool.json_types import Json

if TYPE_CHECKING:
    from deploytool.backends.swarm.rollout.recover import Recovery


@dataclass
class Tracked:
    """A service of a plan during its rollout, and what was seen of it."""

    target: Target
    """As it was planned."""
    spec: Json | None
    """The specification to apply, by what is known by now."""
    known_tasks: frozenset[str]
    """Tasks that do not count as failures of this rollout: they were there before, or somebody
    else ended them."""
    settling: float = 4.0
    """Seconds in which the cluster settles: before, nothing is stalled."""
    failures: dict[str, Task] = field(default_factory=dict)
    first_seen: dict[str, float] = field(default_factory=dict)
    unwanted_since: dict[str, float] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    """Tasks that no update waits for any more, with their dead nodes."""
    without_init: dict[str, str] = field(default_factory=dict)
    """Tasks that did not start as their nodes have no docker-init, with those nodes."""
    forgiven: dict[str, str] = field(default_factory=dict)
    """Tasks that the cluster itself ended, for which the update was started again, with
    their nodes."""
    last_words: dict[str, list[str]] = field(default_factory=dict)
    """The last lines of tasks for which the engine reverses the update."""
    steady: tuple[float, frozenset[str]] | None = None
    nowhere_since: float | None = None
    """Since when no node takes a replica, of a service that has one on each."""
    is_let_in: bool = False
    """Whether a registry that a node could not pull from was asked, and takes the login."""
    recovery: Recovery | None = None
    """How to recover it, if the last poll found it stalled."""
    applied: bool = False
    """Whether it was sent to the engine, which may have it even if the answer was lost."""
    applied_at: float = 0.0
    """When it was sent, by the monotonic clock."""

    @classmethod
    def of(cls, target: Target) -> Tracked:
        return cls(target, copy.deepcopy(target.spec), target.known_tasks)

    @property
    def service(self) -> str:
        return self.target.service

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def action(self) -> Action:
        return self.target.action

    @property
    def live(self) -> Json | None:
        return self.target.live

    @property
    def replaces(self) -> bool:
        return self.target.replaces

    @property
    def is_global(self) -> bool:
        return self.spec is not None and is_global(self.spec)

    def wanted(self, tasks: Iterable[Task]) -> int:
        """How many replicas there shall be: with one on each node as many as the cluster has made
        tasks for, on nodes that come and go meanwhile too."""
        if self.is_global:
            return len(places(tasks))
        return replicas(self.spec) if self.spec else 0


def places(tasks: Iterable[Task]) -> set[str]:
    """Where replicas shall run."""
    return {task.place for task in tasks if task.wanted}


@dataclass
class Tracking:
    """All services of a plan."""

    app: str
    nodes: Mapping[str, str]
    """Node id → its name, of all that were ever seen."""
    targets: list[Tracked]

    @classmethod
    def of(cls, plan: SwarmPlan) -> Tracking:
        return cls(plan.app, plan.nodes, [Tracked.of(target) for target in plan.targets])
