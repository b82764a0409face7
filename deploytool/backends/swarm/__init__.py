"""Docker Swarm, through the engine's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploytool.backends.swarm.backend import Swarm


def connect(*, host: str | None = None, context: str | None = None) -> Swarm:
    """The Swarm whose manager is at a host, of a context, or where docker itself would look.

    Raises EngineError where it does not answer.
    """
    from deploytool.backends.swarm.api.client import open_client
    from deploytool.backends.swarm.backend import Swarm

    return Swarm(open_client(host=host, context=context))
