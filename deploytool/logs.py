"""The output of many replicas as one stream, however a cluster delivers it."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterable, Iterator, Sequence

from deploytool.backends.model import LogLine
from deploytool.errors import DeploytoolError
from deploytool.spec import Service

AHEAD = 10_000
"""Lines that are read before somebody takes them."""


def check_requests(services: Iterable[Service]) -> dict[str, re.Pattern[str]]:
    """Service → what Uvicorn's and Gunicorn's access logs say of its health checks that succeed,
    where these come from the replica itself. Uvicorn writes the root path before the path."""
    return {
        service.name: re.compile(
            rf"(?<![\d.])127\.0\.0\.1(:\d+)? - .*"
            rf'"GET ({re.escape(service.path_prefix.rstrip("/"))})?{re.escape(service.check.path)} '
            r'HTTP/1\.[01]" [23]\d\d\b'
        )
        for service in services
        if service.check is not None and service.check.path
    }


class ReplicaNames:
    """What replicas are called where their lines are shown: service and slot or node, and for
    those that come there after another the beginning of their id."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def of(self, line: LogLine) -> str:
        name = line.name
        first = self._first.setdefault(name, line.task)
        return name if line.task == first else f"{name} {line.task[:8]}"


def by_time(lines: Iterable[LogLine]) -> list[LogLine]:
    """Lines of the past in the order in which they were printed."""
    return sorted(lines, key=lambda line: line.at)


def following(past: Sequence[LogLine], new: Iterable[LogLine]) -> Iterator[LogLine]:
    """What was printed, and what follows. The reading of both overlaps, so that nothing is missed
    between: what comes twice is shown once."""
    known = set(past)
    yield from past
    yield from (line for line in new if line not in known)


def merged(streams: Sequence[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Whatever any of the streams has next, until all have ended. They are read from now on."""
    arrived: queue.Queue[LogLine | DeploytoolError | None] = queue.Queue(maxsize=AHEAD)

    def drain(stream: Iterator[LogLine]) -> None:
        try:
            for line in stream:
                arrived.put(line)
            arrived.put(None)
        except DeploytoolError as error:
            arrived.put(error)
        except Exception:
            arrived.put(None)

    for stream in streams:
        threading.Thread(target=drain, args=(stream,), daemon=True).start()
    return _until_the_end(arrived, len(streams))


def _until_the_end(
    arrived: queue.Queue[LogLine | DeploytoolError | None], open_streams: int
) -> Iterator[LogLine]:
    while open_streams:
        item = arrived.get()
        if isinstance(item, DeploytoolError):
            raise item
        if item is None:
            open_streams -= 1
        else:
            yield item
