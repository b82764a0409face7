"""A kind of cluster, while none is reached: files, a proxy, checks, and a cluster on this machine
for trying things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from deploytool.backends.model import Job
    from deploytool.backends.protocol import Backend
    from deploytool.config import Config
    from deploytool.errors import Problem
    from deploytool.render.files import RenderedFile
    from deploytool.spec import AppSpec, ProxySettings, Release


class State(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    state: State
    message: str
    hint: str = ""


@dataclass(frozen=True)
class LocalCluster:
    """What there is of a cluster on this machine."""

    data: dict[str, Any]
    """For scripts."""
    lines: tuple[tuple[State, str], ...]
    """For people."""


class Kind(Protocol):
    @property
    def stop_pause(self) -> int:
        """Milliseconds for which the cluster itself lets a replica go on that it stops."""

    @property
    def embeds_files(self) -> bool:
        """Whether what is rendered has the content of configuration files in it, instead of
        naming them."""

    def connect(self, config: Config) -> Backend:
        """The cluster that a configuration names. Raises EngineError."""

    def render(
        self, app: AppSpec, config: Config, contents: Mapping[str, bytes], *, as_json: bool
    ) -> list[RenderedFile]:
        """The files that describe the app to the cluster's own tools; `as_json` what the cluster
        is given. `contents` are the app's configuration files: path in the project → content.
        Raises ConfigError for what the cluster cannot do, UsageError where it is given no JSON."""

    def render_warnings(self, app: AppSpec) -> list[str]:
        """Where what those tools make of the files is not what a deploy makes."""

    def refused(self, app: AppSpec) -> list[Problem]:
        """What such a cluster cannot do of an app, as far as is known without one."""

    def without_effect(self, app: AppSpec) -> list[Problem]:
        """What of an app has no effect there, and why."""

    def proxy_app(self, settings: ProxySettings) -> AppSpec:
        """The load balancer of all apps, as an app."""

    def proxy_files(self, settings: ProxySettings) -> dict[str, bytes]:
        """Its configuration files: path in the project → content."""

    def proxy_move(self, running: Release, release: Release, node: str) -> Job | None:
        """What has to run once on the node of a proxy of an earlier form, before this release
        takes its place."""

    def examine(self, config: Config) -> list[Check]:
        """Whether everything is there that a deploy needs, in the order in which one meets it."""

    def cluster_up(
        self, config: Config, *, advertise: str, step: Callable[[str], None]
    ) -> LocalCluster:
        """Make a cluster of this machine. `advertise` is the address by which others could join."""

    def cluster_status(self, config: Config) -> LocalCluster:
        """What there is of it."""

    def cluster_down(
        self, config: Config, *, volumes: bool, step: Callable[[str], None]
    ) -> list[str]:
        """Remove it with all that runs; the names of what was removed."""
