"""The output of every replica of several services as one stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

from deploytool.backends.base import LogLine
from deploytool.backends.swarm.client import Client, LogEntry
from deploytool.errors import DeploytoolError


class _Names:
    """Slots and nodes by id; asked again when an unknown replica speaks."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.slots: dict[str, int] = {}
        self.nodes: dict[str, str] = {}
        self.lock = threading.Lock()

    def line(self, service: str, service_id: str, entry: LogEntry) -> LogLine:
        with self.lock:
            if entry.task not in self.slots:
                self._ask(service_id)
            slot = self.slots.setdefault(entry.task, 0)
        node = self.nodes.get(entry.node, entry.node)
        return LogLine(at=entry.at, service=service, slot=slot, node=node, text=entry.text)

    def _ask(self, service_id: str) -> None:
        tasks = self.client.tasks(service=service_id)
        self.slots.update({task["ID"]: task.get("Slot", 0) for task in tasks})
        self.nodes.update({n["ID"]: n["Description"]["Hostname"] for n in self.client.nodes()})


def read_logs(
    client: Client, services: Mapping[str, str], *, follow: bool, tail: int, since: int | None
) -> Iterator[LogLine]:
    """Lines of the services (id → name). Those of the past are sorted by time; followed ones
    come as they come."""
    names = _Names(client)

    def lines(service_id: str) -> Iterator[LogLine]:
        entries = client.service_output(service_id, follow=follow, tail=tail, since=since)
        for entry in entries:
            yield names.line(services[service_id], service_id, entry)

    if follow:
        return _merged([lines(service_id) for service_id in services])
    past = [line for service_id in services for line in lines(service_id)]
    return iter(sorted(past, key=lambda line: line.at))


def _merged(streams: list[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Whatever any of the streams has next, until all have ended."""
    arrived: queue.Queue[LogLine | DeploytoolError | None] = queue.Queue(maxsize=10_000)

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
    open_streams = len(streams)
    while open_streams:
        item = arrived.get()
        if isinstance(item, DeploytoolError):
            raise item
        if item is None:
            open_streams -= 1
        else:
            yield item
