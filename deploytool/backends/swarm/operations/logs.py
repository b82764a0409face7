"""The output of the replicas of services."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploytool.backends.model import LogLine
from deploytool.backends.swarm.api.client import Client, LogEntry, Output
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.logs import by_time, following, merged

AT_ONCE = 8
"""Replicas whose output is read at the same time."""
MORE = 20
"""How many times as many lines are read where some are hidden, for so many to be left."""


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted."""

    follow: bool = False
    tail: int = 100
    """The last ones of each replica."""
    since: int | None = None
    """Seconds before now."""
    hidden: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    """Service → what is left out of its lines."""

    def shows(self, service: str, entry: LogEntry) -> bool:
        pattern = self.hidden.get(service)
        return pattern is None or pattern.search(entry.text) is None

    def read(self, client: Client, service: str, task: str) -> Output:
        """The last lines of a replica."""
        tail = self.tail * MORE if service in self.hidden else self.tail
        found = client.task_output(task, tail=tail, since=self.since)
        shown = [entry for entry in found.entries if self.shows(service, entry)]
        return Output(shown[len(shown) - min(self.tail, len(shown)) :], found.missing)


class _Names:
    """Slots and nodes by id; asked again when an unknown replica speaks."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.slots: dict[str, int] = {}
        self.nodes: dict[str, str] = {}
        self.lock = threading.Lock()

    def tasks(self, *services: str) -> list[Json]:
        """The tasks of services, newly asked for, as are the nodes."""
        tasks = self.client.tasks(service=list(services))
        self.slots.update({task["ID"]: task.get("Slot", 0) for task in tasks})
        self.nodes.update({n["ID"]: n["Description"]["Hostname"] for n in self.client.nodes()})
        return tasks

    def line(self, service: str, service_id: str, entry: LogEntry) -> LogLine:
        with self.lock:
            if entry.task not in self.slots:
                self.tasks(service_id)
            slot = self.slots.setdefault(entry.task, 0)
        node = self.nodes.get(entry.node, entry.node)
        return LogLine(
            at=entry.at, service=service, slot=slot, node=node, task=entry.task, text=entry.text
        )


def read_logs(
    client: Client,
    services: Mapping[str, str],
    wanted: Wanted,
    warn: Callable[[str], None],
) -> Iterator[LogLine]:
    """Lines of the services (id → name). Those of the past are sorted by time; followed ones
    come as they come, after them. A warning names any output that is missing."""
    names = _Names(client)

    def followed(service_id: str) -> Iterator[LogLine]:
        service = services[service_id]
        for entry in client.service_output(service_id, tail=0):
            if wanted.shows(service, entry):
                yield names.line(service, service_id, entry)

    if not wanted.follow:
        return iter(_past(client, names, services, wanted, warn))
    # Before the past is read, so that what is printed meanwhile is not missed.
    new = merged([followed(service_id) for service_id in services])
    return following(_past(client, names, services, wanted, warn), new)


def _past(
    client: Client,
    names: _Names,
    services: Mapping[str, str],
    wanted: Wanted,
    warn: Callable[[str], None],
) -> list[LogLine]:
    """The last lines of each replica. They are asked one by one: see `Client.service_output`."""
    tasks = [task for task in names.tasks(*services) if _has_printed(task)]

    problems: list[DeploytoolError] = []

    def read(task: Json) -> Output:
        try:
            return wanted.read(client, services[str(task["ServiceID"])], task["ID"])
        except DeploytoolError as problem:
            problems.append(problem)
            return Output([], str(problem))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outputs = list(pool.map(read, tasks))
    if problems and len(problems) == len(outputs):
        raise problems[0]
    lines = []
    for task, output in zip(tasks, outputs, strict=True):
        service_id, node = str(task["ServiceID"]), str(task["NodeID"])
        service = services[service_id]
        lines += [names.line(service, service_id, entry) for entry in output.entries]
        if output.missing:
            name = names.nodes.get(node, node)
            reason = output.missing.rpartition("reasons: ")[2].replace(node, name)
            slot = names.slots[task["ID"]]
            which = f"{service}.{slot} on {name}" if slot else f"{service}.{name}"
            warn(f"output of {which} is missing: {reason}")
    return by_time(lines)


def _has_printed(task: Json) -> bool:
    return bool((task["Status"].get("ContainerStatus") or {}).get("ContainerID"))
