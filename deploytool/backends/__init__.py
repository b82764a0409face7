"""The clusters, and how the one that an app names is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploytool.spec import Backend as Name

if TYPE_CHECKING:
    from deploytool.backends.protocol import Backend
    from deploytool.config import Config


def open_backend(config: Config) -> Backend:
    """The cluster of a configuration, reached and checked. Raises EngineError."""
    if config.backend is Name.SWARM:
        from deploytool.backends.swarm import connect

        return connect(host=config.swarm.host, context=config.swarm.context)
    from deploytool.errors import UsageError

    raise UsageError(
        "Deploying to Nomad is not there yet",
        code="backend_unavailable",
        hint='set backend = "swarm"',
    )
