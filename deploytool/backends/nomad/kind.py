# ruff: noqa: ARG002 - what is not there yet takes what it will take.
"""Nomad as a kind of cluster. What a command does not need is not imported for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from deploytool.backends.kind import Check, LocalCluster
from deploytool.errors import UsageError

if TYPE_CHECKING:
    from deploytool.backends.nomad.api.client import Client
    from deploytool.backends.protocol import Backend
    from deploytool.config import Config
    from deploytool.errors import Problem
    from deploytool.render.files import RenderedFile
    from deploytool.spec import AppSpec, ProxySettings


def _unavailable(what: str) -> NoReturn:
    raise UsageError(
        f"{what} is not there yet for Nomad",
        code="backend_unavailable",
        hint="docs/nomad.md says what is",
    )


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

    def examine(self, config: Config) -> list[Check]:
        from deploytool.backends.nomad.doctor import examine

        return examine(config, lambda: _client(config))

    def cluster_up(
        self, config: Config, *, advertise: str, step: Callable[[str], None]
    ) -> LocalCluster:
        _unavailable("A cluster on this machine")

    def cluster_status(self, config: Config) -> LocalCluster:
        _unavailable("A cluster on this machine")

    def cluster_down(
        self, config: Config, *, volumes: bool, step: Callable[[str], None]
    ) -> list[str]:
        _unavailable("A cluster on this machine")


def _client(config: Config) -> Client:
    from deploytool.backends.nomad.api.client import Client
    from deploytool.backends.nomad.api.connection import connection

    return Client(connection(config.nomad))
