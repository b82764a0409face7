"""What a Nomad cluster has of an app. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from deploytool.backends.model import ServiceStatus, Status, Task
from deploytool.backends.nomad.api.allocations import is_canary, on_nodes, read_task, runs
from deploytool.backends.nomad.api.catalogue import Listed
from deploytool.backends.nomad.planning.job import counts, groups_of, is_system
from deploytool.backends.nomad.planning.proxies import Proxy
from deploytool.backends.nomad.specification.compile import RELEASE
from deploytool.json_types import Json
from deploytool.spec import release_number
from deploytool.traefik import routing

ACTIVE = frozenset({"running", "pending", "paused", "blocked", "unblocking", "initializing"})
"""States of a deployment that is not over (nomad/structs/structs.go)."""


def describe(
    job: Json,
    allocations: Iterable[Json],
    deployments: Iterable[Json],
    images: Mapping[str, str],
    ports: routing.Ports,
) -> Status:
    """The app as it is. `images` is the tag by which people know the image of each service."""
    found: dict[str, list[Json]] = {}
    for allocation in allocations:
        found.setdefault(allocation["TaskGroup"], []).append(allocation)
    newest = max(deployments, key=lambda d: d.get("CreateIndex", 0), default={})
    update = str(newest.get("Status") or "") if newest.get("Status") in ACTIVE else ""
    wanted = counts(job) | (_on_nodes(job, found) if is_system(job) else {})
    services = tuple(
        _service(group, wanted[name], found.get(name, ()), job, update, images.get(name, ""), ports)
        for name, group in sorted(groups_of(job).items())
    )
    releases = [service.release for service in services if service.release]
    return Status(
        app=job["ID"], release=max(releases, key=release_number, default=""), services=services
    )


def _on_nodes(job: Json, allocations: Mapping[str, Sequence[Json]]) -> dict[str, int]:
    """Of a job with one allocation per node, how many it comes to."""
    version = job.get("Version")
    return {name: len(on_nodes(own, version)) for name, own in allocations.items()}


def with_routes(status: Status, proxy: Proxy, services: Iterable[Listed]) -> Status:
    """The proxy as it is, with where it is reached and what it serves."""
    urls = {
        url
        for service in services
        if service.namespace in proxy.serves and routing.is_routed(service.labels)
        for url in routing.urls(service.labels, proxy.ports)
    }
    own = [proxy.ports.http, *([proxy.ports.https] if proxy.ports.https else [])]
    ports = [f"{port} of {address}" for address in proxy.addresses for port in own]
    found = [
        service.model_copy(update={"urls": tuple(sorted(urls)), "ports": tuple(ports)})
        for service in status.services
    ]
    return status.model_copy(update={"services": tuple(found)})


def _service(
    group: Json,
    replicas: int,
    own: Sequence[Json],
    job: Json,
    update: str,
    image: str,
    ports: routing.Ports,
) -> ServiceStatus:
    serving = sum(runs(allocation) and not is_canary(allocation) for allocation in own)
    tags = dict(_tags(group))
    return ServiceStatus(
        name=group["Name"],
        image=image or image_of(group),
        release=(group.get("Meta") or {}).get(RELEASE, ""),
        replicas=replicas,
        running=sum(map(runs, own)),
        missing=max(0, replicas - serving),
        update=update,
        urls=tuple(routing.urls(tags, ports)),
        ports=tuple(_ports(group)),
        tasks=tuple(sorted((_task(a, job) for a in own), key=_order)),
    )


def _task(allocation: Json, job: Json) -> Task:
    current = allocation.get("JobVersion") == job.get("Version")
    return read_task(allocation).model_copy(update={"current": current})


def _order(task: Task) -> tuple[int, bool, float]:
    return task.slot, not task.wanted, -task.since.timestamp() if task.since else 0.0


def _tags(group: Json) -> Iterator[tuple[str, str]]:
    """The tags of a group's services and of its tasks', as the labels that Traefik takes them
    for."""
    services = [*(group.get("Services") or ())]
    services += [s for task in group.get("Tasks") or () for s in task.get("Services") or ()]
    for service in services:
        for tag in service.get("Tags") or ():
            key, _, value = str(tag).partition("=")
            yield key, value


def _ports(group: Json) -> Iterator[str]:
    for network in group.get("Networks") or ():
        for port in network.get("ReservedPorts") or ():
            yield f"{port['Value']} to {port.get('To') or port['Value']}/tcp"


def image_of(group: Json) -> str:
    tasks: list[Json] = group.get("Tasks") or [{}]
    return str((tasks[0].get("Config") or {}).get("image") or "")
