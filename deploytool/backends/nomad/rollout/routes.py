"""Who answers the URLs of an app on Nomad."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from deploytool.backends.model import RouteCheck
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.planning.routes import RoutePlan
from deploytool.traefik.probe import ask


def check(client: Client, plan: RoutePlan) -> RouteCheck:
    """Ask for every URL of a plan through the proxy."""
    if not plan.routes or plan.proxy is None:
        return RouteCheck()
    where = addresses(plan.proxy.addresses, client.connection.address)
    return ask(plan.routes, where, plan.proxy.ports)


def addresses(nodes: Iterable[str], api: str) -> list[str]:
    """Where nodes are reached from here: one that calls itself by a loopback address is where its
    API is."""
    host = urlsplit(api).hostname or "127.0.0.1"
    return list(dict.fromkeys(host if _is_loopback(node) else node for node in nodes))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
