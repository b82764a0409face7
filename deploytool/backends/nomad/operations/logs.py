"""The output of replicas, as the clients of their nodes keep it.

Nomad keeps no times of lines: those of several replicas come replica by replica, and followed ones
as they arrive. A stream that is followed has no end of its own, even when its task has ended: who
follows says when.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploytool.backends.model import LogLine
from deploytool.backends.nomad.api.allocations import read_task, runs
from deploytool.backends.nomad.api.client import LONGEST_WAIT, Client, NotFound
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json

AT_ONCE = 8
BYTES_PER_LINE = 400
"""How far before the end reading begins, for each line that is asked for."""
STREAMS = ("stdout", "stderr")
QUIET = 30.0
"""Seconds after which a followed stream is taken for broken: its node says something each second
(client/lib/streamframer)."""
ASKED = 2.0
"""Seconds between two looks at whether a task has ended."""
MOST_FOLLOWED = 40
"""Replicas that are followed at once. Each takes two connections, and servers take a hundred of one
address (limits.http_max_conns_per_client)."""
FORBIDDEN = "nomad_forbidden"
"""The code of an error that comes again however often one asks."""
AHEAD = 10_000
"""Lines that are read before somebody takes them."""
_decoder = json.JSONDecoder()


def read_logs(
    client: Client,
    allocations: list[Json],
    *,
    tail: int,
    warn: Callable[[str], None],
) -> Iterator[LogLine]:
    """The last lines of each replica. What cannot be had is warned of. Raises EngineError where
    the token may read none."""
    started = [a for a in allocations if a.get("TaskStates")]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for lines in pool.map(lambda a: _past(client, a, tail, warn), started):
            yield from lines


def _past(
    client: Client, allocation: Json, tail: int, warn: Callable[[str], None]
) -> list[LogLine]:
    try:
        texts = list(lines_of(client, allocation["ID"], allocation["TaskGroup"], tail=tail))
    except DeploytoolError as error:
        if error.code == FORBIDDEN:
            raise
        warn(f"{allocation['Name']}: {error.message}")
        return []
    return [_line(allocation, text) for text in texts]


def _line(allocation: Json, text: str) -> LogLine:
    task = read_task(allocation)
    return LogLine(
        at="", service=task.service, slot=task.slot, node=task.node, task=task.id, text=text
    )


def lines_of(client: Client, allocation: str, task: str, *, tail: int | None = None) -> list[str]:
    """Lines of both streams of a task: the last ones of each, all for None. Raises EngineError
    where its node does not answer."""
    found: list[str] = []
    for stream in STREAMS:
        query = {"plain": "true", "follow": "false", **_from(tail)}
        text = b"".join(_asked(client, allocation, task, stream, query, quiet=60.0))
        lines = _split(text)
        found += lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]
    return found


def _split(text: bytes) -> list[str]:
    """As processes end lines: a carriage return or a form feed is text."""
    parts = text.decode("utf-8", "replace").split("\n")
    return parts if parts[-1] else parts[:-1]


def _from(tail: int | None) -> dict[str, str]:
    if tail is None:
        return {"origin": "start", "offset": "0"}
    return {"origin": "end", "offset": str(tail * BYTES_PER_LINE)}


def _asked(
    client: Client, allocation: str, task: str, stream: str, query: dict[str, str], *, quiet: float
) -> Iterator[bytes]:
    path = f"/v1/client/fs/logs/{allocation}"
    try:
        yield from client.stream(path, quiet=quiet, task=task, type=stream, **query)
    except NotFound:
        return


# --- following ------------------------------------------------------------------------------------


def follow_task(
    client: Client,
    allocation: str,
    task: str,
    *,
    tail: int | None,
    has_ended: Callable[[], bool] | None = None,
) -> Iterator[str]:
    """Lines of both streams of a task as they come, until it has ended. Raises EngineError."""
    of_task, over = has_ended or Ended(client, allocation), threading.Event()
    arrived: queue.Queue[str | DeploytoolError | None] = queue.Queue(maxsize=AHEAD)

    def ended() -> bool:
        return over.is_set() or of_task()

    def read(stream: str) -> None:
        try:
            for line in _lines(_followed(client, allocation, task, stream, tail, ended)):
                arrived.put(line)
            arrived.put(None)
        except DeploytoolError as error:
            arrived.put(error)

    for stream in STREAMS:
        threading.Thread(target=read, args=(stream,), daemon=True).start()
    left = len(STREAMS)
    try:
        while left:
            item = arrived.get()
            if isinstance(item, DeploytoolError):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        over.set()


def _followed(
    client: Client,
    allocation: str,
    task: str,
    stream: str,
    tail: int | None,
    has_ended: Callable[[], bool],
) -> Iterator[bytes]:
    """What a stream brings, until its task has ended and it brings nothing any more."""
    query = {"follow": "true", **_from(tail)}
    last = False
    for frame in frames(_asked(client, allocation, task, stream, query, quiet=QUIET)):
        if data := frame.get("Data"):
            yield base64.b64decode(data)
            last = False
        elif last:
            return
        elif not frame:
            last = has_ended()


def frames(chunks: Iterable[bytes]) -> Iterator[Json]:
    """JSON objects back to back, as logs are framed; an empty one says that the node is there."""
    rest = ""
    for chunk in chunks:
        # Data is base64, and names of files are what Nomad makes them: all of it is ASCII.
        rest = (rest + chunk.decode("utf-8", "replace")).lstrip()
        while rest:
            try:
                frame, end = _decoder.raw_decode(rest)
            except ValueError:
                break
            rest = rest[end:].lstrip()
            yield frame


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")


@dataclass
class Ended:
    """Whether an allocation has ended, asked for seldom however often one wants to know."""

    client: Client
    allocation: str
    at: float = 0.0
    ended: bool = False

    def __call__(self) -> bool:
        if not self.ended and time.monotonic() - self.at > ASKED:
            self.at = time.monotonic()
            try:
                self.ended = not runs(self.client.get(f"/v1/allocation/{self.allocation}"))
            except NotFound:
                self.ended = True
        return self.ended


def follow_app(
    client: Client,
    app: str,
    services: Iterable[str],
    *,
    tail: int,
    warn: Callable[[str], None],
) -> Iterator[LogLine]:
    """The last lines of every replica of these services, and what follows as it comes, of replicas
    that come meanwhile too."""
    return _Following(client, app, frozenset(services), tail, warn).lines()


@dataclass
class _Following:
    client: Client
    app: str
    services: frozenset[str]
    tail: int
    warn: Callable[[str], None]
    known: set[str] = field(default_factory=set)
    """Allocations that were met."""
    live: frozenset[str] = frozenset()
    """Those that run."""

    def __post_init__(self) -> None:
        self.arrived: queue.Queue[LogLine | DeploytoolError] = queue.Queue(maxsize=AHEAD)
        self.places = threading.Semaphore(MOST_FOLLOWED)

    def lines(self) -> Iterator[LogLine]:
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            item = self.arrived.get()
            if isinstance(item, DeploytoolError):
                raise item
            yield item

    def _watch(self) -> None:
        index = 0
        tail: int | None = self.tail
        try:
            while True:
                path = f"/v1/job/{self.app}/allocations"
                answer = self.client.poll(path, index, LONGEST_WAIT)
                own = [a for a in answer.value or () if a["TaskGroup"] in self.services]
                self.live = frozenset(a["ID"] for a in own if runs(a))
                for allocation in own:
                    self._meet(allocation, tail)
                # Of replicas that come later, everything is new.
                index, tail = answer.index, None
        except DeploytoolError as error:
            self.arrived.put(error)

    def _meet(self, allocation: Json, tail: int | None) -> None:
        name = allocation["ID"]
        if name in self.known or allocation["ClientStatus"] == "pending":
            return
        self.known.add(name)
        if not self.places.acquire(blocking=False):
            self.warn(f"{allocation['Name']} is not followed: {MOST_FOLLOWED} replicas are already")
            return
        threading.Thread(target=self._read, args=(allocation, tail), daemon=True).start()

    def _read(self, allocation: Json, tail: int | None) -> None:
        name = allocation["ID"]
        task: str = allocation["TaskGroup"]

        def ended() -> bool:
            return name not in self.live

        try:
            if ended():
                for text in lines_of(self.client, name, task, tail=tail):
                    self.arrived.put(_line(allocation, text))
            while not ended():
                self._follow(allocation, tail, ended)
                tail = 0
                time.sleep(ASKED)
        except DeploytoolError as error:
            self.warn(f"{allocation['Name']}: {error.message}")
        finally:
            self.places.release()

    def _follow(self, allocation: Json, tail: int | None, ended: Callable[[], bool]) -> None:
        """Until it ends, or its node does not answer."""
        name, task = allocation["ID"], allocation["TaskGroup"]
        try:
            for text in follow_task(self.client, name, task, tail=tail, has_ended=ended):
                self.arrived.put(_line(allocation, text))
        except DeploytoolError as error:
            if error.code == FORBIDDEN:
                raise
            self.warn(f"{allocation['Name']}: lines may be missing here: {error.message}")
