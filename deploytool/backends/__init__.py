"""The clusters, and how the one that an app names is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploytool.spec import Backend as Name

if TYPE_CHECKING:
    from deploytool.backends.kind import Kind
    from deploytool.backends.protocol import Backend
    from deploytool.config import Config


def kind_of(name: Name) -> Kind:
    """A kind of cluster."""
    if name is Name.SWARM:
        from deploytool.backends.swarm.kind import SwarmKind

        return SwarmKind()
    from deploytool.backends.nomad.kind import NomadKind

    return NomadKind()


def open_backend(config: Config) -> Backend:
    """The cluster of a configuration, reached and checked. Raises EngineError."""
    return kind_of(config.backend).connect(config)
