"""The use of memory and cores, as the clients of the nodes measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deploytool.backends.model import Amount
from deploytool.backends.nomad.api.client import Client
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json

AT_ONCE = 8
UNMEASURED = "the client of the node does not answer"

T = TypeVar("T")


def by_service(
    client: Client, allocations: Sequence[Json], mhz_per_core: int
) -> dict[str, list[Amount]]:
    """Service → what each of these allocations uses. One that ends meanwhile is left out."""
    found: dict[str, list[Amount]] = {}
    stats = _all(lambda a: client.get(f"/v1/client/allocation/{a['ID']}/stats"), allocations)
    for allocation, measured in zip(allocations, stats, strict=True):
        if measured is not None:
            use = used(measured, mhz_per_core)
            found.setdefault(allocation["TaskGroup"], []).append(use)
    return found


def by_node(client: Client, nodes: Sequence[str], mhz_per_core: int) -> dict[str, Amount]:
    """Node → what everything on it uses, the system too."""
    stats = _all(lambda node: client.get("/v1/client/stats", node_id=node), nodes)
    return {
        node: node_used(measured, mhz_per_core)
        for node, measured in zip(nodes, stats, strict=True)
        if measured is not None
    }


def _all(ask: Callable[[T], Json], things: Iterable[T]) -> list[Json | None]:
    def one(thing: T) -> Json | None:
        try:
            return ask(thing)
        except DeploytoolError:
            return None

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(one, things))


def used(stats: Json, mhz_per_core: int) -> Amount:
    """What an allocation uses. `TotalTicks` are MHz; what the kernel can reclaim is in `Usage` and
    not in `RSS`, which cgroup v2 does not measure (drivers/docker/util/stats_posix.go)."""
    usage = stats.get("ResourceUsage") or {}
    memory, cpu = usage.get("MemoryStats") or {}, usage.get("CpuStats") or {}
    if "RSS" in (memory.get("Measured") or ()):
        size = int(memory.get("RSS") or 0)
    else:
        size = max(0, int(memory.get("Usage") or 0) - int(memory.get("Cache") or 0))
    ticks = float(cpu.get("TotalTicks") or 0.0)
    return Amount(memory=size, cpu=round(ticks / mhz_per_core, 3))


def node_used(stats: Json, mhz_per_core: int) -> Amount:
    ticks = float(stats.get("CPUTicksConsumed") or 0.0)
    memory = int((stats.get("Memory") or {}).get("Used") or 0)
    return Amount(memory=memory, cpu=round(ticks / mhz_per_core, 3))
