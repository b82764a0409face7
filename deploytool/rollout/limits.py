"""The time limits of a rollout."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """In seconds."""

    poll: float = 0.25
    """Between two polls of the cluster, at most."""
    routes: float = 10.0
    """After which the proxy should know of every route."""
    reversal: float = 180.0
    """For a reversal, before it is given up."""
    placing: float = 20.0
    """In which the cluster has to find a node for a one-off task."""
    patience: float = 60.0
    """That the cluster's manager may be away."""


DEFAULT = Limits()


@dataclass(frozen=True)
class Deadline:
    """A moment that does not move when the clock is set."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        return time.monotonic() > self.at
