"""The output of the replicas of services."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from deploytool.backends.model import LogLine
from deploytool.backends.swarm.api.client import Client, LogEntry, Output
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.logs import by_time, following, merged

AT_ONCE = 8
"""Replicas whose output is read at the same time."""


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
        return LogLine(at=entry.at, service=service, slot=slot, node=node, text=entry.text)


def read_logs(
    client: Client,
    services: Mapping[str, str],
    *,
    follow: bool,
    tail: int,
    since: int | None,
    warn: Callable[[str], None],
) -> Iterator[LogLine]:
    """Lines of the services (id → name). Those of the past are sorted by time; followed ones
    come as they come, after them. A warning names any output that is missing."""
    names = _Names(client)

    def followed(service_id: str) -> Iterator[LogLine]:
        for entry in client.service_output(service_id, tail=0):
            yield names.line(services[service_id], service_id, entry)

    if not follow:
        return iter(_past(client, names, services, tail, since, warn))
    # Before the past is read, so that what is printed meanwhile is not missed.
    new = merged([followed(service_id) for service_id in services])
    return following(_past(client, names, services, tail, since, warn), new)


def _past(
    client: Client,
    names: _Names,
    services: Mapping[str, str],
    tail: int,
    since: int | None,
    warn: Callable[[str], None],
) -> list[LogLine]:
    """The last lines of each replica. They are asked one by one: see `Client.service_output`."""
    tasks = [task for task in names.tasks(*services) if _has_printed(task)]

    problems: list[DeploytoolError] = []

    def read(task: Json) -> Output:
        try:
            return client.task_output(task["ID"], tail=tail, since=since)
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
            warn(f"output of {service}.{names.slots[task['ID']]} on {name} is missing: {reason}")
    return by_time(lines)


def _has_printed(task: Json) -> bool:
    return bool((task["Status"].get("ContainerStatus") or {}).get("ContainerID"))
