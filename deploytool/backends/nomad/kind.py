"""Nomad as a kind of cluster. What a command does not need is not imported for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deploytool.backends.kind import Check, LocalCluster

if TYPE_CHECKING:
    from deploytool.backends.model import Job
    from deploytool.backends.nomad.api.client import Client
    from deploytool.backends.protocol import Backend
    from deploytool.backends.swarm.api.client import Client as Engine
    from deploytool.config import Config
    from deploytool.errors import Problem
    from deploytool.render.files import RenderedFile
    from deploytool.spec import AppSpec, ProxySettings, Release


class NomadKind:
    """Implements `deploytool.backends.kind.Kind`."""

    @property
    def stop_pause(self) -> int:
        return 0

    @property
    def embeds_files(self) -> bool:
        return True

    def connect(self, config: Config) -> Backend:
        from deploytool.backends.nomad.backend import Nomad

        client = _client(config)
        client.get("/v1/status/leader")
        client.check_namespace()
        return Nomad(client, config.nomad)

    def render(
        self, app: AppSpec, config: Config, contents: Mapping[str, bytes], *, as_json: bool
    ) -> list[RenderedFile]:
        from deploytool.backends.nomad.render import render_files

        return render_files(app, config.nomad, contents, as_json=as_json)

    def render_warnings(self, app: AppSpec) -> list[str]:
        from deploytool.backends.nomad.render import warnings

        return warnings(app)

    def refused(self, app: AppSpec) -> list[Problem]:
        from deploytool.backends.nomad.specification import refused

        return list(refused.problems(app))

    def without_effect(self, app: AppSpec) -> list[Problem]:
        from deploytool.backends.nomad.specification.compile import without_effect

        return list(without_effect(app))

    def proxy_app(self, settings: ProxySettings) -> AppSpec:
        from deploytool.backends.nomad.specification.proxy import app_spec

        return app_spec(settings)

    def proxy_files(self, settings: ProxySettings) -> dict[str, bytes]:
        from deploytool.backends.nomad.specification.proxy import files

        return files(settings)

    def proxy_move(self, running: Release, release: Release, node: str) -> Job | None:  # noqa: ARG002
        return None

    def examine(self, config: Config) -> list[Check]:
        from deploytool.backends.nomad.doctor import examine

        return examine(config, lambda: _client(config))

    def cluster_up(
        self, config: Config, *, advertise: str, step: Callable[[str], None]
    ) -> LocalCluster:
        from deploytool.backends.nomad.cluster import up

        return up(config, _engine, bind=advertise, step=step).described

    def cluster_status(self, config: Config) -> LocalCluster:
        from deploytool.backends.nomad.cluster import status

        return status(config, _engine).described

    def cluster_down(
        self, config: Config, *, volumes: bool, step: Callable[[str], None]
    ) -> list[str]:
        from deploytool.backends.nomad.cluster import down

        return down(config, _engine, volumes=volumes, step=step)


def _engine() -> Engine:
    """This machine's, for a registry on it."""
    from deploytool.backends.swarm.api.client import open_client

    return open_client(host=None, context=None)


def _client(config: Config) -> Client:
    from deploytool.backends.nomad.api.client import Client
    from deploytool.backends.nomad.api.connection import connection

    return Client(connection(config.nomad))
