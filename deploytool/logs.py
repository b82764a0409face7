"""The output of many replicas as one stream, however a cluster delivers it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence

from deploytool.backends.model import LogLine
from deploytool.errors import DeploytoolError

AHEAD = 10_000
"""Lines that are read before somebody takes them."""


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
