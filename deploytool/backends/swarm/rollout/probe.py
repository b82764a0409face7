"""The addresses at which the proxy is requested, and the URLs of an app."""

from __future__ import annotations

from collections.abc import Iterable

from deploytool.json_types import Json
from deploytool.spec import AppSpec
from deploytool.traefik import probe
from deploytool.traefik.probe import Route

SETTLED = 2.5
"""Seconds after which the proxy has read new labels: it polls every second."""


def addresses(
    tasks: Iterable[Json], nodes: Iterable[Json], *, here: str, client_host: str | None
) -> list[str]:
    """Where the proxy's nodes may be reached. `here` is the node whose engine is asked, and
    `client_host` is where that is, None for this machine."""
    by_id = {node["ID"]: node for node in nodes}
    found: list[str] = []
    for task in tasks:
        node = by_id.get(task.get("NodeID", ""))
        if node is None or task["Status"]["State"] != "running":
            continue
        is_here = node["ID"] == here
        own = str(node["Status"].get("Addr", ""))
        if own and own != "0.0.0.0" and (not _is_loopback(own) or (is_here and not client_host)):
            found.append(own)
        if is_here:
            found.append(client_host or "127.0.0.1")
    return list(dict.fromkeys(found))


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")


def of_specs(app: AppSpec, specs: Iterable[Json]) -> tuple[Route, ...]:
    """The routes of all services of an app that have replicas."""
    by_name = {f"{app.name}_{service.name}": service for service in app.services}
    chosen = ((by_name[spec["Name"]], spec) for spec in specs)
    return tuple(
        route
        for service, spec in chosen
        if service.replicas
        for route in probe.routes(app, service, spec["Labels"])
    )
