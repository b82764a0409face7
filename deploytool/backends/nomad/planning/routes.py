"""The part of a plan that is about the proxy: of an app that it serves, or of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploytool.backends.model import Action, Change
from deploytool.backends.nomad.api.catalogue import Listed
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.planning.job import groups_of, is_system
from deploytool.backends.nomad.planning.neighbours import (
    Neighbours,
    Taken,
    check_offers,
    read_neighbours,
    registered,
)
from deploytool.backends.nomad.planning.proxies import Proxy, find_proxy
from deploytool.backends.nomad.specification.services import service_name
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec
from deploytool.traefik import advice, probe
from deploytool.traefik.probe import Route


@dataclass(frozen=True)
class RoutePlan:
    """What a rollout does about routes."""

    routes: tuple[Route, ...] = ()
    """Those to check through the proxy once it is done."""
    proxy: Proxy | None = None
    """The one that serves the app."""
    taken: tuple[Taken, ...] = ()
    """What is taken over from other apps."""
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_routes(
    client: Client,
    app: AppSpec,
    job: Json,
    live: Json | None,
    services: Sequence[Listed],
    *,
    nodes: int,
    take_over: bool,
) -> RoutePlan:
    """Raises PlanError where the app cannot be served, or is in the way of another one."""
    neighbours = read_neighbours(client, job, live, services)
    neighbours.check(take_over=take_over)
    neighbours.check_references()
    if is_system(job):
        check_offers(job, live, neighbours)
        return RoutePlan(warnings=tuple(_moved_ports(job, live, neighbours)))
    proxy = find_proxy(client, services)
    ports = proxy.ports if proxy else None
    advice.check_https(app, ports)
    return RoutePlan(
        routes=tuple(_routes(app, dict(registered(job)))),
        proxy=proxy,
        taken=neighbours.taken,
        changes=tuple(neighbours.routes.take_overs()),
        warnings=(
            *_missing_proxy(client, app, proxy),
            *advice.warnings(app, ports, nodes=nodes),
            *neighbours.routes.warnings(),
        ),
    )


def _routes(app: AppSpec, tags: Mapping[str, Mapping[str, str]]) -> Iterator[Route]:
    for service in app.services:
        if service.replicas:
            yield from probe.routes(
                app, service, tags.get(service_name(app.name, service.name), {})
            )


def _missing_proxy(client: Client, app: AppSpec, proxy: Proxy | None) -> Iterator[str]:
    hosts = advice.hosts(app)
    if hosts and proxy is None:
        yield (
            f"no proxy of deploytool's serves the namespace {client.namespace}, so {hosts} answers "
            "nothing, unless another Traefik reads its catalogue: deploytool proxy up"
        )


# --- of the proxy ---------------------------------------------------------------------------------


def _moved_ports(job: Json, live: Json | None, neighbours: Neighbours) -> Iterator[str]:
    """The effect on callers of other apps where the proxy changes its ports."""
    if not neighbours.routes.others:
        return
    before, after = _ports(live), _ports(job)
    for label, old in before.items():
        new = after.get(label)
        if new and new != old:
            yield (f"all apps answer {label.upper()} on port {new} then, and on port {old} no more")


def _ports(job: Json | None) -> dict[str, int]:
    """Label → port of the node."""
    return {
        port["Label"]: int(port["Value"])
        for group in groups_of(job).values()
        for network in group.get("Networks") or ()
        for port in network.get("ReservedPorts") or ()
    }


def restart_warnings(job: Json, changes: Sequence[Change]) -> Iterator[str]:
    """The cost for all callers of replacing the proxy."""
    if is_system(job) and any(c.action is Action.UPDATE and c.replaces for c in changes):
        yield (
            "the proxy restarts, on one node after the other: callers of all apps that come to "
            "that node find its ports closed for some seconds, then get 503 until it has read its "
            "routes; WebSockets, and requests that take longer than a fifth of a second, are cut "
            "off"
        )


def check_nodes(app: AppSpec, job: Json, number: Mapping[str, int]) -> None:
    """Raises PlanError where the authority may ask another node than the one that asked it."""
    settings = app.proxy
    nodes = max(number.values(), default=0)
    if is_system(job) and nodes > 1 and settings.email and settings.dns_provider is None:
        raise PlanError(
            f"{nodes} nodes would run the proxy, and each would ask for certificates: the "
            "authority proves a name at whichever node the name leads to, and the others would "
            "not get theirs",
            code="proxy_several_nodes",
            hint="prove names by DNS (proxy.dns_provider), bring certificates "
            "(proxy.certificates), or run it on one node (proxy.constraints)",
        )
