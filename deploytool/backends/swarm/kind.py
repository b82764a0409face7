"""Docker Swarm as a kind of cluster. What a command does not need is not imported for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deploytool.backends.kind import Check, LocalCluster
from deploytool.errors import UsageError

if TYPE_CHECKING:
    from deploytool.backends.model import Job
    from deploytool.backends.swarm.api.client import Client
    from deploytool.backends.swarm.backend import Swarm
    from deploytool.config import Config
    from deploytool.errors import Problem
    from deploytool.render.files import RenderedFile
    from deploytool.spec import AppSpec, ProxySettings, Release


class SwarmKind:
    """Implements `deploytool.backends.kind.Kind`."""

    @property
    def stop_pause(self) -> int:
        from deploytool.backends.swarm.specification.compile import ENGINE_PAUSE

        return ENGINE_PAUSE

    @property
    def embeds_files(self) -> bool:
        return False

    def connect(self, config: Config) -> Swarm:
        from deploytool.backends.swarm import connect

        return connect(host=config.swarm.host, context=config.swarm.context)

    def render(
        self,
        app: AppSpec,
        config: Config,  # noqa: ARG002
        contents: Mapping[str, bytes],  # noqa: ARG002
        *,
        as_json: bool,
    ) -> list[RenderedFile]:
        from deploytool.backends.swarm.specification import stack

        if as_json:
            raise UsageError(
                "A Swarm is given a stack file, not JSON",
                code="usage",
                hint="leave --format out; a job of Nomad can be JSON",
            )
        return stack.files(app)

    def render_warnings(self, app: AppSpec) -> list[str]:
        from deploytool.backends.swarm.specification import stack

        return stack.warnings(app)

    def refused(self, app: AppSpec) -> list[Problem]:
        from deploytool.backends.swarm.specification import refused

        return list(refused.problems(app))

    def without_effect(self, app: AppSpec) -> list[Problem]:  # noqa: ARG002
        return []

    def proxy_app(self, settings: ProxySettings) -> AppSpec:
        from deploytool.backends.swarm.proxy import app_spec

        return app_spec(settings)

    def proxy_files(self, settings: ProxySettings) -> dict[str, bytes]:
        from deploytool.backends.swarm.proxy import files

        return files(settings)

    def proxy_move(self, running: Release, release: Release, node: str) -> Job | None:
        from deploytool.backends.swarm.proxy import move

        return move(running, release, node)

    def examine(self, config: Config) -> list[Check]:
        from deploytool.backends.swarm.doctor import examine

        return examine(config, lambda: _client(config))

    def cluster_up(
        self, config: Config, *, advertise: str, step: Callable[[str], None]
    ) -> LocalCluster:
        from deploytool.backends.swarm.cluster import up

        client = _client(config)
        return up(client, registry=config.registry, advertise=advertise, step=step).described

    def cluster_status(self, config: Config) -> LocalCluster:
        from deploytool.backends.swarm.cluster import status

        return status(_client(config), registry=config.registry).described

    def cluster_down(
        self, config: Config, *, volumes: bool, step: Callable[[str], None]
    ) -> list[str]:
        from deploytool.backends.swarm.cluster import down

        return down(_client(config), volumes=volumes, step=step)


def _client(config: Config) -> Client:
    from deploytool.backends.swarm.api.client import open_client

    return open_client(host=config.swarm.host, context=config.swarm.context)
