"""The output of replicas, as the clients of their nodes keep it.

Nomad keeps no times of lines: those of several replicas come replica by replica, and followed ones
as they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from deploytool.backends.model import LogLine
from deploytool.backends.nomad.api.allocations import read_task
from deploytool.backends.nomad.api.client import Client, NotFound
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.logs import merged

AT_ONCE = 8
BYTES_PER_LINE = 400
"""How far before the end reading begins, for each line that is asked for."""
STREAMS = ("stdout", "stderr")
QUIET = 24 * 3600.0
"""Seconds for which a replica that is followed may print nothing."""


def read_logs(
    client: Client,
    allocations: list[Json],
    *,
    follow: bool,
    tail: int,
    warn: Callable[[str], None],
) -> Iterator[LogLine]:
    """The last lines of each replica, and what follows as it comes. What cannot be had is warned
    of."""
    started = [a for a in allocations if a.get("TaskStates")]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        past = list(pool.map(lambda a: _past(client, a, tail, warn), started))
    yield from (line for lines in past for line in lines)
    if follow:
        yield from merged([_followed(client, allocation) for allocation in started])


def _past(
    client: Client, allocation: Json, tail: int, warn: Callable[[str], None]
) -> list[LogLine]:
    try:
        texts = list(lines_of(client, allocation["ID"], allocation["TaskGroup"], tail=tail))
    except DeploytoolError as error:
        warn(f"{allocation['Name']}: {error.message}")
        return []
    return [_line(allocation, text) for text in texts]


def _followed(client: Client, allocation: Json) -> Iterator[LogLine]:
    for text in lines_of(client, allocation["ID"], allocation["TaskGroup"], tail=0, follow=True):
        yield _line(allocation, text)


def _line(allocation: Json, text: str) -> LogLine:
    task = read_task(allocation)
    return LogLine(at="", service=task.service, slot=task.slot, node=task.node, text=text)


def lines_of(
    client: Client, allocation: str, task: str, *, tail: int | None = None, follow: bool = False
) -> Iterator[str]:
    """Lines of both streams of a task: the last ones, all for None; and what follows. Raises
    EngineError where its node does not answer."""
    if not follow:
        for stream in STREAMS:
            text = b"".join(_chunks(client, allocation, task, stream, tail, follow=False))
            lines = text.decode("utf-8", "replace").splitlines()
            yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]
        return
    yield from merged_lines(
        [_chunks(client, allocation, task, stream, tail, follow=True) for stream in STREAMS]
    )


def merged_lines(streams: list[Iterator[bytes]]) -> Iterator[str]:
    """The lines of streams of bytes, each as it is whole."""
    found = merged([_as_lines(stream) for stream in streams])
    yield from (line.text for line in found)


def _as_lines(chunks: Iterator[bytes]) -> Iterator[LogLine]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            text = line.decode("utf-8", "replace")
            yield LogLine(at="", service="", slot=0, node="", text=text)
    if rest:
        yield LogLine(at="", service="", slot=0, node="", text=rest.decode("utf-8", "replace"))


def _chunks(
    client: Client, allocation: str, task: str, stream: str, tail: int | None, *, follow: bool
) -> Iterator[bytes]:
    query: Mapping[str, str] = {
        "task": task,
        "type": stream,
        "plain": "true",
        "follow": "true" if follow else "false",
        "origin": "start" if tail is None else "end",
        "offset": "0" if tail is None else str(tail * BYTES_PER_LINE),
    }
    try:
        yield from client.stream(
            f"/v1/client/fs/logs/{allocation}", quiet=QUIET if follow else 60.0, **query
        )
    except NotFound:
        return
