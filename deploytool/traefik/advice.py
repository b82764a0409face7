"""Where an app and the proxy that runs are of different minds. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deploytool.errors import PlanError
from deploytool.spec import AppSpec
from deploytool.traefik.routing import Ports, is_wildcard


def check_https(app: AppSpec, proxy: Ports | None) -> None:
    """Raises PlanError where HTTP would lead to a port where nobody listens. `proxy` is where the
    one that runs listens, if one does."""
    domains = [d for s in app.services if app.is_https(s) for d in s.names]
    if proxy is not None and proxy.https is None and domains:
        raise PlanError(
            f"The proxy has no HTTPS yet, so {', '.join(domains)} would answer nothing",
            code="proxy_without_https",
            hint="bring the proxy to this configuration first: deploytool proxy up",
        )


def warnings(app: AppSpec, proxy: Ports | None, *, nodes: int) -> Iterator[str]:
    """What callers would not expect."""
    if proxy is not None:
        yield from _https(app, proxy)
    yield from _public(app, proxy or Ports(app.proxy.http_port), nodes)
    routed = [service for service in app.services if app.hosts(service)]
    wildcards = ", ".join(h for s in routed if app.is_https(s) for h in s.names if is_wildcard(h))
    if wildcards and app.proxy.dns_provider is None:
        yield f"{wildcards} gets no certificate: wildcards need proxy.dns_provider"


def _https(app: AppSpec, proxy: Ports) -> Iterator[str]:
    domains = ", ".join(domain for service in app.services for domain in service.names)
    if not domains:
        return
    if proxy.https and not app.proxy.https:
        yield (
            f"the proxy has HTTPS, but {domains} is served by HTTP: "
            "set proxy.email as in the proxy's configuration"
        )
    if proxy.https and app.proxy.https and proxy.https != app.proxy.https_port:
        yield (
            f"the proxy has HTTPS on port {proxy.https}, and {domains} leads to port "
            f"{app.proxy.https_port}: set proxy.https_port, or deploytool proxy up"
        )


def _public(app: AppSpec, proxy: Ports, nodes: int) -> Iterator[str]:
    """On one's own machine a name for trying is a convenience. On a cluster it is a public one."""
    if nodes < 2:
        return
    for name, hosts in sorted(app.default_hosts.items()):
        yield (
            f"{name} has no domains: whoever reaches port {proxy.http} of the proxy's node gets it "
            f"with the header Host: {', '.join(hosts)}. Set its domains, or domains = [] to keep "
            "it off the proxy"
        )


def hosts(app: AppSpec) -> str:
    """All names of an app, for people."""
    return ", ".join(host for service in app.services for host in app.hosts(service))
