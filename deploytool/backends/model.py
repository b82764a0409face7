"""What every cluster has in common: the values that backends and their users exchange."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from deploytool.errors import UsageError
from deploytool.spec import RESERVED, Model, Moment, Release


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


LOGIN = "registry login"
"""The field of a service whose nodes get another login for its image's registry. Its values are
never shown."""


class Change(Model):
    """What a deploy would do to one thing on the cluster."""

    kind: str
    """"service", "network", …"""
    name: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    replaces: bool = False
    """Whether running replicas are replaced; a change of their number alone replaces none."""
    serving: tuple[int, int] | None = None
    """How many replicas serve at least while they are replaced, and of how many; None where the
    cluster's settings do not tell."""

    @property
    def renews_login(self) -> bool:
        return self.action is Action.UPDATE and any(field.path == LOGIN for field in self.fields)

    @property
    def makes_release(self) -> bool:
        """Whether anything differs but the login, which is no part of a release."""
        if self.action is Action.KEEP:
            return False
        return self.replaces or not self.renews_login or len(self.fields) > 1


class Amount(Model):
    """Memory in bytes, and cores."""

    memory: int = 0
    cpu: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(memory=self.memory + other.memory, cpu=round(self.cpu + other.cpu, 9))

    def __mul__(self, count: int) -> Amount:
        return Amount(memory=self.memory * count, cpu=round(self.cpu * count, 9))


class Need(Model):
    """What an app reserves of its cluster: before a deploy, at most on the way, and after it."""

    before: Amount
    most: Amount
    after: Amount
    free: Amount
    """What the nodes that take replicas have left before it."""


class Plan(Model):
    """Everything that a deploy would do. `payload` is the backend's own and is never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    app: str
    changes: tuple[Change, ...]
    secrets: dict[str, str] = Field(default_factory=dict)
    """Secret → the name that the cluster has for the version which the replicas will read."""
    warnings: tuple[str, ...] = ()
    need: Need | None = None
    """The capacity it takes; None where the cluster was not asked."""
    payload: Any = Field(default=None, exclude=True, repr=False)

    @property
    def is_empty(self) -> bool:
        return all(change.action is Action.KEEP for change in self.changes)

    @property
    def makes_release(self) -> bool:
        return any(change.makes_release for change in self.changes)

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)


LIKELY = "likely: "
"""Begins the line of `Backend.explain` that says what to do."""


def replica_name(service: str, slot: int, node: str) -> str:
    """What people know a replica by: "web.2", and with one on each node "web.node-1"."""
    return f"{service}.{slot or node}"


class Task(Model):
    """One replica, or one that was."""

    id: str
    service: str
    slot: int
    """0 for a replica of a service that has one on each node."""
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
    node_id: str = Field(default="", exclude=True)
    current: bool = True
    """Whether it is of the service as it is now specified."""

    @property
    def name(self) -> str:
        return replica_name(self.service, self.slot, self.node)

    @property
    def place(self) -> str:
        """What one replica has at a time: its slot, or where there are none its node. Names of
        nodes may occur twice."""
        return str(self.slot) if self.slot else self.node_id or self.node

    @property
    def order(self) -> tuple[int, str]:
        """By slot, or by node."""
        return self.slot, "" if self.slot else self.node

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
    missing: int = 0
    """Replicas that should run and do not."""
    mode: Literal["replicated", "global"] = "replicated"
    """"global" is one replica on each node, so that `replicas` is how many nodes take one."""
    update: str = ""
    """What the cluster is doing to it: "updating", "rollback_completed", …; empty for nothing."""
    urls: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """Ports of the nodes that lead to it, for example "443 to 8443/tcp"."""
    tasks: tuple[Task, ...] = ()

    @property
    def is_nowhere(self) -> bool:
        """Whether no node takes a replica, of a service that has one on each."""
        return self.mode == "global" and not self.replicas

    @property
    def addresses(self) -> tuple[str, ...]:
        """NODE:PORT of each published port, on the nodes that run it."""
        nodes = sorted({task.node for task in self.tasks if task.running})
        return tuple(f"{node}:{port.split()[0]}" for port in self.ports for node in nodes)


class Status(Model):
    app: str
    release: str
    services: tuple[ServiceStatus, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every replica runs that should."""
        return not any(service.missing or service.is_nowhere for service in self.services)


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
    stalled: bool = Field(default=False, exclude=True)
    """Whether it does not go on by itself, and `Backend.recover` would help."""


class Outcome(StrEnum):
    """How a release ended; "started" is one that nobody has finished, "unknown" what another
    version of deploytool wrote."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


class Record(Model):
    """A release and how it ended, as the cluster remembers it."""

    release: Release
    outcome: Outcome
    seconds: float | None = None
    stepped: bool = False
    """Whether its release step has run to its end."""
    unknown: tuple[str, ...] = ()
    """What else it says that this version of deploytool does not know, as paths."""

    def is_of(self, release: Release) -> bool:
        """Whether it is known to be of the same thing to run."""
        return not self.unknown and self.release.runs_the_same(release)


class Lease(Model):
    """Who may change an app at the moment."""

    app: str
    by: str
    purpose: str
    """What for: "deploy", "rollback", "scale"."""
    since: datetime
    left: float
    """Seconds until it expires, unless it is renewed; 0 for one that has expired."""
    handle: str = Field(default="", exclude=True)
    """The backend's own name for it."""


class AuditEntry(Model):
    """Something that somebody did to an app."""

    at: Moment
    by: str
    action: str
    """"deploy", "scale web=6", "secrets set TOKEN", …"""
    release: str = ""
    outcome: str = ""
    seconds: float | None = None
    commit: str | None = None


class Job(Model):
    """A command that runs once, beside the replicas, in a container like those of a service."""

    name: str
    """Names it on the cluster: the same name is the same job."""
    release: Release
    service: str
    """The service whose image, environment, secrets, networks and reservations it gets."""
    command: tuple[str, ...]


class LogLine(Model):
    at: str
    service: str
    slot: int
    """0 for a replica of a service that has one on each node."""
    node: str
    task: str = ""
    """The replica that printed it; of one slot there are several after each other."""
    text: str

    @property
    def name(self) -> str:
        """The replica's."""
        return replica_name(self.service, self.slot, self.node)


class Level(StrEnum):
    """Where a share of a resource is, against the band that is worth aiming for."""

    BELOW = "below"
    WITHIN = "within"
    ABOVE = "above"


BAND = (0.5, 0.9)
"""The share of its memory and cores that a machine should be used for: below, money is wasted;
above, processes are killed and requests wait."""


class Share(Model):
    """One resource of one or all nodes: bytes of memory, or cores."""

    total: int | float
    reserved: int | float
    free: int | float
    """What is not reserved."""
    used: int | float | None = None
    """What containers use, measured; None where it cannot be."""
    level: Level
    """By what is used; where that is unknown, by what is reserved."""


class NodeCapacity(Model):
    """A node, and what is left on it."""

    node: str
    state: str
    """"active", or why it takes no replicas: "drain", "pause", "down", …"""
    memory: Share
    cpu: Share
    level: Level
    """Above where one of both is, below where both are."""
    unmeasured: str = ""
    """Why it is unknown what is used."""
    fits: dict[str, int | None]
    """Service → how many more replicas of it the node takes; None is no limit, as it reserves
    nothing."""


class ServiceCapacity(Model):
    """What each replica of a service reserves and, on average of those measured, uses."""

    service: str
    reserved: Amount
    used: Amount | None = None
    measured: int = 0
    """Replicas that were measured."""
    fits: int | None
    """How many more replicas the cluster takes; None is no limit, as it reserves nothing."""


class Capacity(Model):
    """What the nodes of a cluster have, and what of it is taken."""

    nodes: tuple[NodeCapacity, ...]
    services: tuple[ServiceCapacity, ...]
    memory: Share
    """Of all nodes that take replicas together; use is unknown unless all were measured."""
    cpu: Share
    level: Level
    band: tuple[float, float] = BAND


class Belonging(Model):
    """Something on the cluster that is an app's, whether the app runs or not."""

    kind: Literal["service", "network", "config", "secret", "volume"]
    name: str
    nodes: tuple[str, ...] = ()
    """Nodes that may have it and whose own engines alone could remove it; empty for what can be
    removed from here."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Executed(Model):
    """A command that ran in a replica."""

    replica: str
    """SERVICE.SLOT, or SERVICE.NODE where there is one on each node."""
    node: str
    exit_code: int
    stdout: str
    stderr: str


class SecretSet(Model):
    """What became of a secret that was set."""

    name: str
    version: int
    changed: bool
    """False where the newest version had that value already."""


class OlderVersion(Model):
    """A version of a secret that is not the newest."""

    version: int
    releases: tuple[str, ...]
    """The releases that can be rolled back to and need it."""


class Secret(Model):
    """A secret of an app, without its value, which no cluster gives back."""

    name: str
    version: int
    """The newest, which the next deploy takes; 0 for one that was made without deploytool."""
    at: datetime | None
    """When that was set."""
    services: dict[str, int]
    """The services that read it → the version that they read."""
    older: tuple[OlderVersion, ...] = ()


def not_deployed(app: str, hint: str = "") -> UsageError:
    if app in RESERVED:
        return UsageError(
            "No proxy of deploytool's runs on this cluster",
            code="not_deployed",
            hint=hint or "`deploytool proxy up` starts it",
        )
    return UsageError(
        f"{app} is not deployed on this cluster",
        code="not_deployed",
        hint=hint
        or "deploytool deploy; or do --env or the environment (docker context, NOMAD_ADDR) name "
        "another cluster?",
    )


class Refused(Model):
    """A URL that the proxy answers by itself, in place of the app."""

    service: str
    url: str
    status: int


class RouteCheck(Model):
    """Who answers the URLs of an app."""

    refused: tuple[Refused, ...] = ()
    unsure: tuple[str, ...] = ()
    """URLs whose answer looks like the proxy's, and may be the app's."""
    unchecked: str = ""
    """Why nobody was asked."""
