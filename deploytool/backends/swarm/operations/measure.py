"""The use of memory and cores by the containers of one engine: a manager measures only its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from deploytool.backends.model import Amount
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.tasks import read_time
from deploytool.json_types import Json

SECONDS = 1.0
"""Seconds between two samples: the use of cores is the difference."""
AT_ONCE = 8
SERVICE = "com.docker.swarm.service.name"


def measure(client: Client, seconds: float = SECONDS) -> list[tuple[str, Amount]]:
    """Every running container of the engine: the full name of its service, if it is of any, and
    what it uses during these seconds. One that ends meanwhile is left out."""
    containers = client.running_containers()
    first = _sample(client, containers)
    time.sleep(seconds)
    second = _sample(client, containers)
    return [
        ((container.get("Labels") or {}).get(SERVICE, ""), used(before, after))
        for container, before, after in zip(containers, first, second, strict=True)
        if before and after
    ]


def _sample(client: Client, containers: Iterable[Json]) -> list[Json]:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda container: client.stats(container["Id"]), containers))


def used(before: Json, after: Json) -> Amount:
    """Memory without what the kernel can reclaim, and the cores used between two samples."""
    return Amount(memory=_memory(after), cpu=round(max(0.0, _cores(before, after)), 3))


def _memory(stats: Json) -> int:
    found = stats.get("memory_stats") or {}
    details: Mapping[str, int] = found.get("stats") or {}
    reclaimable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(found.get("usage", 0)) - reclaimable)


def _cores(before: Json, after: Json) -> float:
    begin, end = read_time(before.get("read", "")), read_time(after.get("read", ""))
    if begin is None or end is None or end <= begin:
        return 0.0
    worked = _worked(after) - _worked(before)
    return worked / 10**9 / (end - begin).total_seconds()


def _worked(stats: Json) -> int:
    """Nanoseconds of processor time since the container started."""
    return int((stats.get("cpu_stats") or {}).get("cpu_usage", {}).get("total_usage", 0))


def by_service(uses: Sequence[tuple[str, Amount]], app: str) -> dict[str, list[Amount]]:
    """The use of each measured replica of an app, by service."""
    found: dict[str, list[Amount]] = {}
    for name, use in uses:
        if name.startswith(f"{app}_"):
            found.setdefault(name.removeprefix(f"{app}_"), []).append(use)
    return found
