"""The state of the double: tables, one index for all writes, and who waits for it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST_WAIT = 300.0
"""Seconds; the code caps `wait` there, also where the documentation says ten minutes
(command/agent/http.go, parseWait)."""
FILTERED = {
    "Job": (),
    "Evaluation": ("JobID", "DeploymentID"),
    "Deployment": ("JobID",),
    "Allocation": ("JobID", "DeploymentID"),
    "Service": ("JobID", "ServiceName"),
}
"""Topic → by what its events are found too, besides their keys (nomad/state/events.go)."""
EVENTS_KEPT = 100
"""How many a new reader of index 0 gets (nomad/stream/event_buffer.go)."""
EVENTS_HELD = 10_000
"""How many who reads already may be behind."""


@dataclass
class State:
    """Every write raises the one index, as each is an entry of the servers' log."""

    clock: Callable[[], float] = time.time
    index: int = 10
    variables: dict[tuple[str, str], Json] = field(default_factory=dict)
    """(namespace, path) → the variable."""
    table_index: dict[str, int] = field(default_factory=dict)
    """Table → the index of its last write."""
    services: dict[str, Json] = field(default_factory=dict)
    """The catalogue: id → registration."""
    events: list[Json] = field(default_factory=list)
    """The newest events, oldest first, as lines of the event stream have them."""

    def __post_init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())

    @contextmanager
    def writing(self, *tables: str) -> Iterator[int]:
        """One write, with its index; whoever waits is woken when it is done."""
        with self.changed:
            self.index += 1
            yield self.index
            for table in tables:
                self.table_index[table] = self.index
            self.changed.notify_all()

    def publish(self, topic: str, kind: str, key: str, payload: Json) -> None:
        """Keep an event of the write that is under way."""
        thing = next(iter(payload.values()))
        event = {
            "Topic": topic,
            "Type": kind,
            "Key": key,
            "Namespace": thing.get("Namespace", ""),
            "FilterKeys": [thing[name] for name in FILTERED[topic] if thing.get(name)] or None,
            "Index": self.index,
            "Payload": {name: dict(value) for name, value in payload.items()},
        }
        with self.changed:
            self.events.append(event)
            if len(self.events) > 2 * EVENTS_HELD:
                self.events = self.events[-EVENTS_HELD:]

    def now(self) -> int:
        """Nanoseconds, as Go's UnixNano."""
        return int(self.clock() * 10**9)

    def wait(self, read: Callable[[], tuple[T, int]], index: int, seconds: float) -> tuple[T, int]:
        """What is there once its index is above another, or after a time: a blocking query answers
        at once for index 0 (nomad/rpc.go, blockingRPC)."""
        end = time.monotonic() + min(seconds, LONGEST_WAIT)
        with self.changed:
            while True:
                found, own = read()
                left = end - time.monotonic()
                if index <= 0 or own > index or left <= 0:
                    return found, own
                self.changed.wait(left)


def stamp(ns: int) -> str:
    """A moment as Go writes it in JSON."""
    whole = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}".rstrip("0").rstrip(".") + "Z"


def seconds(text: str) -> float:
    """Of a duration as Go writes it: "1m30s"."""
    return sum(float(number) * SECONDS[unit] for number, unit in DURATION.findall(text))
