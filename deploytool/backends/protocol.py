"""What every cluster has to do, role by role.

A backend is the only code that knows its cluster. What uses one asks for the role that it needs;
nothing here knows Docker or Nomad.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from deploytool.backends.model import (
    Belonging,
    Capacity,
    Executed,
    Job,
    LogLine,
    Plan,
    RouteCheck,
    Secret,
    SecretSet,
    ServiceProgress,
    Status,
    Task,
)
from deploytool.records.store import Store
from deploytool.spec import AppSpec, Image, Release, Service


class Rollout(Protocol):
    """A plan that is being carried out. It owns what changes on the way: the plan is a value.

    Only `start`, `renew_logins`, `recover` and `finish` change the cluster, and `prepare`, which
    they need.
    """

    def __enter__(self) -> Rollout: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of connections. The cluster carries on."""

    def prepare(self) -> None:
        """Create what services and one-off tasks of the plan need, such as networks."""

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        """Ask the cluster for every change of the plan but the removals; of services, for those
        of the named ones only. `release` is what they become; None where it is no release."""

    def renew_logins(self) -> None:
        """Give services the registry logins that the plan renews, and change nothing else."""

    def observe(self) -> list[ServiceProgress]:
        """How far each service of the plan is. What it says of one that was not started yet means
        nothing. Reads the cluster only."""

    def wait_for_change(self, seconds: float) -> None:
        """Wait so long, less where the cluster says that a service has changed, and up to some
        seconds longer where it says so of every change."""

    def recover(self) -> None:
        """Do what gets the services going again that the last `observe` found to be stalled, such
        as to begin an update anew that waits for a node which died."""

    def reverse(self) -> Rollout:
        """What makes every service that was started what it was before."""

    def check_routes(self) -> RouteCheck:
        """Ask for every URL of the plan's services once, through the proxy, as soon as that knows
        of the changes."""

    def finish(self) -> None:
        """Remove what the plan removes, once everything else is done."""

    def failures(self) -> list[Task]:
        """The replicas that failed, the newest last."""


class Images(Protocol):
    """The images that services run."""

    def resolve(self, reference: str) -> Image:
        """The image behind a tag, by digest, as its registry says now. Raises ImageError where
        there is none, RegistryError where the registry does not answer."""

    def local_image(self, reference: str) -> Image | None:
        """An image that the cluster can run although no registry says which one it is."""

    def running_images(self, app: str) -> dict[str, Image]:
        """Service → the image that it is to run now; empty where there is no such app."""


class Planning(Protocol):
    """What a change would do. Reads the cluster only."""

    def plan(
        self,
        spec: AppSpec,
        images: Mapping[str, Image],
        *,
        files: Mapping[str, bytes] | None = None,
        secrets: Mapping[str, str] | None = None,
        take_over: bool = False,
    ) -> Plan:
        """What bringing the app to this state would change. Reads the cluster only. Raises
        PlanError where the cluster cannot take it.

        `files` is the content of the spec's configuration files, by path; the cluster has to have
        those that are missing there. `secrets` names the versions to take, as a release remembers
        them; of a secret that is missing there the newest is taken. With `take_over`, domains that
        other apps serve are taken away from them, once everything else is done.
        """

    def scale(self, app: str, replicas: Mapping[str, int]) -> Plan:
        """What asks for other numbers of replicas. Reads the cluster only."""

    def restart(self, app: str, services: Sequence[str]) -> Plan:
        """What replaces every replica by one of the same specification, as an update would. Reads
        the cluster only."""


class Inspection(Protocol):
    """What the cluster has of an app, and what is known about it."""

    def status(self, app: str) -> Status:
        """The app as it is. Raises UsageError where there is none."""

    def logs(
        self,
        app: str,
        services: Sequence[str],
        *,
        follow: bool,
        tail: int,
        since: int | None,
        hidden: Mapping[str, re.Pattern[str]],
        warn: Callable[[str], None],
    ) -> Iterator[LogLine]:
        """The last lines of every replica, and what follows as it comes; `since` in seconds before
        now. What cannot be had is warned of. `hidden` is what is left out of a service's lines as
        one of its own health checks, where those come from the replica itself."""

    def capacity(self, app: str, services: Sequence[Service]) -> Capacity:
        """What the nodes have, what of it is taken, and how many more replicas of these services
        of an app they take."""

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        """What is known about a replica that failed: cause, exit code, health, last output."""

    def belongings(self, app: str) -> list[Belonging]:
        """Everything that the cluster has of an app, running or not; nothing where a stack of that
        name is somebody else's."""


class OneOffTasks(Protocol):
    """Commands that run once."""

    def start_job(self, job: Job) -> None:
        """Start it once; one of the same name that was started before is left as it is."""

    def look_at_job(self, job: Job) -> Task | None:
        """The job's task; None while the cluster has made none."""

    def job_output(self, job: Job, *, follow: bool) -> Iterator[str]:
        """What it printed, from the start, line by line; `follow` goes on while it runs."""

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        """As of a replica: see `Inspection`."""

    def remove_job(self, job: Job) -> None:
        """Remove it, running or not."""

    def jobs(self, app: str) -> list[str]:
        """Names of the app's jobs that the cluster has, ended ones too."""


class Secrets(Protocol):
    """The secrets of an app. No cluster gives their values back."""

    def secrets(self, app: str) -> list[Secret]:
        """The app's secrets by name."""

    def set_secrets(self, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
        """Make each value the newest version of its secret; the next deploy brings it to the
        services. Raises UsageError for one that the cluster does not take."""

    def remove_secret(self, app: str, name: str) -> list[str]:
        """Remove a secret with all its versions; the names of what was removed. Raises
        UsageError while a service reads it."""


class Operations(Protocol):
    """What is done to an app that runs, beside rollouts."""

    def execute(self, app: str, service: str, command: Sequence[str]) -> Executed:
        """Run a command, without input, in a replica. Raises UsageError where there is none, and
        EngineError where none can be reached from here."""

    def attach_command(
        self, app: str, service: str, command: Sequence[str], *, terminal: bool
    ) -> list[str]:
        """The program of this machine that runs a command in a replica and connects it to the
        input and output of whoever starts it. Raises as `execute`."""

    def destroy(self, app: str, *, volumes: bool, secrets: bool = True) -> list[str]:
        """Remove everything of the app, its volumes and secrets where that is asked for; the names
        of what was removed."""

    def collect_garbage(self, app: str) -> None:
        """Remove the versions of secrets and files that nothing needs any more: no release that
        can be rolled back to, no service and no next deploy. What cannot be removed now is left."""


class Backend(Images, Planning, Inspection, OneOffTasks, Secrets, Operations, Protocol):
    """A cluster. Every method may raise DeploytoolError and nothing else."""

    name: str
    keeps_scale: bool
    """Whether a deploy leaves numbers of replicas that somebody changed on the cluster, until the
    configuration says another one."""
    store: Store
    """Where it keeps records."""

    def rollout(self, plan: Plan) -> Rollout:
        """What carries a plan out. Nothing is changed yet."""
