"""Who answers the URLs of an app: the app, or the proxy in its place. One request for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploytool.backends.model import Refused, RouteCheck
from deploytool.spec import AppSpec, Service
from deploytool.traefik import routing
from deploytool.traefik.routing import PROXY_STATUS, Ports
from deploytool.traefik.rules import Claim

CONNECT = 2.0
"""Seconds to wait for the proxy to accept a connection."""
ANSWER = 10.0
"""Seconds to wait for an answer. Whoever is slower is not the proxy itself."""
WORDS = {404: b"404 page not found\n", 503: b"no available server\n"}
"""What Traefik answers by itself, without a header that says so: where it has no router (a proxy
that an earlier version set up), and no replica to send to."""
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
ANY = "deploytool-check"
"""A name for what a wildcard covers."""


@dataclass(frozen=True)
class Route:
    """A URL of a service, with a path that the service is most likely to know."""

    service: str
    host: str
    path: str
    is_tls: bool
    is_sure: bool = True
    """Whether the app's own answer cannot look like the proxy's 404."""

    def url(self, listening: Ports) -> str:
        scheme, port, usual = (
            ("https", listening.https or 443, 443) if self.is_tls else ("http", listening.http, 80)
        )
        return f"{scheme}://{self.host}{'' if port == usual else f':{port}'}{self.path}"


def routes(app: AppSpec, service: Service, own: Mapping[str, str]) -> Iterator[Route]:
    """What of a service is asked for, by its labels: the hosts of its routers that have no other
    conditions."""
    main = routing.router_name(app.name, service.name)
    health = service.check.path if service.check else None
    for router, claims in routing.routers(own):
        path = health if router == main else None
        is_sure = bool(path) or service.image is None
        for claim in sorted(claims):
            if host := _host(claim):
                yield Route(
                    service=service.name,
                    host=host,
                    path=f"{claim.prefix}{path or ('' if claim.prefix else '/')}",
                    is_tls=own.get(f"{routing.ROUTERS}{router}.tls") == "true",
                    is_sure=is_sure,
                )


def _host(claim: Claim) -> str | None:
    host = claim.host.replace("*", ANY, 1) if claim.host.startswith("*.") else claim.host
    return host if _HOST.fullmatch(host) else None


def ask(wanted: Sequence[Route], addresses: Sequence[str], listening: Ports) -> RouteCheck:
    """Ask for every URL at the first of the addresses that answers."""
    from concurrent.futures import ThreadPoolExecutor

    address = next((a for a in addresses if _connects(a, listening.http)), None)
    if address is None:
        where = " or ".join(f"{a} port {listening.http}" for a in addresses) or "any address"
        return RouteCheck(unchecked=f"the proxy cannot be reached from here at {where}")
    with ThreadPoolExecutor(max_workers=8) as pool:
        statuses = pool.map(lambda route: _own_answer(route, address, listening), wanted)
        answers = [
            (route, status) for route, status in zip(wanted, statuses, strict=True) if status
        ]
    return RouteCheck(
        refused=tuple(
            Refused(service=route.service, url=route.url(listening), status=status)
            for route, status in answers
            if route.is_sure or status != 404
        ),
        unsure=tuple(route.url(listening) for route, status in answers if not route.is_sure),
    )


def _connects(address: str, port: int) -> bool:
    import socket

    try:
        socket.create_connection((address, port), CONNECT).close()
    except OSError:
        return False
    return True


def _own_answer(route: Route, address: str, listening: Ports) -> int:
    """The status that the proxy itself answers; 0 where it passes the request on."""
    import http.client
    import socket
    import ssl

    port = (listening.https if route.is_tls else listening.http) or 443
    try:
        with socket.create_connection((address, port), CONNECT) as plain:
            plain.settimeout(ANSWER)
            stream = plain
            if route.is_tls:
                # Only who answers is asked, not whether to trust it: its certificate may be new.
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                stream = context.wrap_socket(plain, server_hostname=route.host)
            connection = http.client.HTTPConnection(route.host, port)
            connection.sock = stream
            headers = {"Host": route.host, "User-Agent": "deploytool", "Connection": "close"}
            connection.request("GET", route.path, headers=headers)
            response = connection.getresponse()
            if response.headers.get(PROXY_STATUS, "").startswith("traefik; error="):
                return response.status
            words = WORDS.get(response.status)
            is_own = words is not None and response.read(len(words) + 1) == words
            return response.status if is_own and response.getheader("Server") is None else 0
    except (OSError, http.client.HTTPException):
        return 0
