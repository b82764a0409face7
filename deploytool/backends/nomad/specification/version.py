"""Versions of Nomad servers, and what each knows."""

from __future__ import annotations

import re
from typing import NamedTuple


class ServerVersion(NamedTuple):
    """A release of Nomad, as its servers call themselves: "1.10.2", "2.0.6-dev", "1.9.0+ent"."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> ServerVersion:
        """Raises ValueError for what is no version."""
        found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
        if found is None:
            raise ValueError(f"{text!r} is no version of Nomad")
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))


NEWEST = ServerVersion(2, 0, 6)
"""What is rendered for where no server is asked."""
OLDEST = ServerVersion(1, 8)
"""Older ones are not supported: they lack the `disconnect` block."""
EVENTS_BY_IDENTITY = ServerVersion(1, 9, 6)
"""The event stream takes identities of tasks, where tokens are asked for; earlier ones take tokens
alone (`stream` in nomad/event_endpoint.go at v1.9.5 and v1.9.6)."""
SYSTEM_DEPLOYMENTS = ServerVersion(1, 11)
"""Jobs of one allocation per node are rolled out by deployments, and a dry run's `Place` is all of
their nodes instead of those that are new (scheduler/scheduler_system.go)."""
TEMPLATE_ONCE = ServerVersion(1, 10, 2)
"""`once` of templates: what is not watched does not end with the servers (CHANGELOG)."""
NO_MEMORY_LIMIT = ServerVersion(1, 11, 2)
"""`memory_max = -1` (CHANGELOG)."""
