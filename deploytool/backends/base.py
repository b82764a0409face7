"""What every cluster has in common: the value types and the small protocol.

A backend is the only code that knows its cluster. The rollout tells it what to do in which order
and reads what it answers; nothing here knows Docker or Nomad.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import ConfigDict, Field

from deploytool.spec import AppSpec, Image, Model, Release


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    KEEP = "keep"


class FieldChange(Model):
    """One field of a service: its value now and its value after. None is "not set"."""

    path: str
    before: Any = None
    after: Any = None


class Change(Model):
    """What a deploy would do to one thing on the cluster."""

    kind: str
    """"service", "network", …"""
    name: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    replaces: bool = False
    """Whether running replicas are replaced; a change of their number alone replaces none."""


class Plan(Model):
    """Everything that a deploy would do. `payload` is the backend's own and is never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    app: str
    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
    payload: Any = Field(default=None, exclude=True, repr=False)

    @property
    def is_empty(self) -> bool:
        return all(change.action is Action.KEEP for change in self.changes)

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)


class Task(Model):
    """One replica, or one that was."""

    id: str
    service: str
    slot: int
    node: str
    state: str
    """"running", "starting", "pending", "failed", …: the cluster's word."""
    wanted: bool
    """Whether the cluster wants it to run."""
    release: str = ""
    message: str = ""
    """The cluster's own reason, in its words."""
    exit_code: int | None = None
    since: datetime | None = None
    container: str = Field(default="", exclude=True)
    current: bool = True
    """Whether it is of the service as it is now specified."""

    @property
    def running(self) -> bool:
        return self.state == "running" and self.wanted

    @property
    def dead(self) -> bool:
        return self.state in ("failed", "rejected", "orphaned", "complete", "shutdown", "remove")


class ServiceStatus(Model):
    """A service as it is on the cluster now."""

    name: str
    image: str
    release: str
    replicas: int
    running: int
    update: str = ""
    """What the cluster is doing to it: "updating", "rollback_completed", …; empty for nothing."""
    urls: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()


class Status(Model):
    app: str
    release: str
    services: tuple[ServiceStatus, ...]


class Verdict(StrEnum):
    """What has become of one service's part of a rollout."""

    MOVING = "moving"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class ServiceProgress(Model):
    """One service during a rollout."""

    service: str
    verdict: Verdict
    wanted: int
    ready: int
    tasks: tuple[Task, ...] = ()
    reason: str = ""


class Outcome(StrEnum):
    """How a release ended; "started" is one that nobody has finished."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


class Record(Model):
    """A release and how it ended, as the cluster remembers it."""

    release: Release
    outcome: Outcome
    seconds: float | None = None


class LogLine(Model):
    at: str
    service: str
    slot: int
    node: str
    text: str


class Backend(Protocol):
    """A cluster. Every method may raise DeploytoolError and nothing else."""

    name: str

    def resolve(self, reference: str) -> Image:
        """The image behind a tag, by digest. Raises ImageError where there is none."""

    def records(self, app: str) -> list[Record]:
        """The history that the cluster keeps, oldest first."""

    def plan(self, spec: AppSpec, images: Mapping[str, Image]) -> Plan:
        """What bringing the app to this state would change. Reads the cluster only. Raises
        PlanError where the cluster cannot take it."""

    def begin(self, release: Release) -> Release:
        """Remember that a release is being rolled out; it gets its number here. An unfinished
        release of the same content is taken up again."""

    def finish(self, release: Release, outcome: Outcome, seconds: float) -> None:
        """Remember how it ended, and forget what is too old to go back to."""

    def apply(self, plan: Plan, release: Release, services: Collection[str] | None = None) -> None:
        """Ask the cluster for every change of the plan but the removals; of services, for those
        of the named ones only."""

    def observe(self, plan: Plan) -> list[ServiceProgress]:
        """How far each service of the plan is. What it says of one that was not applied yet means
        nothing."""

    def clean_up(self, plan: Plan) -> None:
        """Remove what the plan removes, once everything else is done."""

    def undo(self, plan: Plan) -> None:
        """Ask the cluster for every service that was applied to be as it was before."""

    def observe_undo(self, plan: Plan) -> list[ServiceProgress]:
        """How far each service is on its way back."""

    def failures(self, plan: Plan) -> list[Task]:
        """The replicas of a rollout that failed, the newest last."""

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        """What is known about a replica that failed: cause, exit code, health, last output."""

    def status(self, app: str) -> Status:
        """The app as it is. Raises UsageError where there is none."""

    def logs(
        self, app: str, services: Sequence[str], *, follow: bool, tail: int, since: int | None
    ) -> Iterator[LogLine]:
        """The output of every replica, as it comes; `since` in seconds before now."""

    def scale(self, app: str, replicas: Mapping[str, int]) -> Plan:
        """Ask for other numbers of replicas; observe the plan to see it done."""

    def restart(self, app: str, services: Sequence[str]) -> Plan:
        """Replace every replica by one of the same specification, as an update would."""

    def destroy(self, app: str, *, volumes: bool) -> list[str]:
        """Remove everything of the app; the names of what was removed."""
