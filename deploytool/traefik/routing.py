"""Traefik's routes: labels on a Swarm, tags on Nomad, written and read back. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deploytool.spec import AppSpec, Service
from deploytool.traefik import rules
from deploytool.traefik.rules import Claim, Part

HTTP = 8080
"""Entry point and port in the proxy's container: above 1024, as it has no privileges."""
HTTPS = 8443
RESOLVER = "acme"
"""Traefik's name for what gets certificates from the authority."""
REDIRECT, HSTS, RETRY = "_redirect", "_hsts", "_retry"
"""Endings of what a service has beside its router: the router and middleware that send HTTP to
HTTPS, and further middlewares. Neither apps nor services have an underscore in their names, so
that a name is of one service only."""
ENABLE = "traefik.enable"
ATTEMPTS = 30
"""Replicas that a request is offered to where none can be connected to. Traefik offers only what it
has not begun to send, so that nothing is done twice. So many, as two of three may have died without
the cluster knowing: of twelve attempts in turn, one request in a hundred met none but the dead."""
PAUSE = "20ms"
"""Before the second attempt, slowly growing to twice that, and each time up to half more or less by
chance (`newBackOff` in Traefik's middlewares/retry). Without it, requests that come at even times
meet the same dead replica each time, in step with the turns that replicas take."""
EXACT = 1000
"""Lead of a router whose names are all written out over one with a wildcard."""
PORT = ".loadbalancer.server.port"
ROUTERS = "traefik.http.routers."
TCP_ROUTERS = "traefik.tcp.routers."
MIDDLEWARES = "traefik.http.middlewares."
PROXY_STATUS = "Proxy-Status"
"""Header by which the proxy says that an answer is its own (RFC 9209)."""


@dataclass(frozen=True)
class Ports:
    """Where the proxy that runs listens on its node; `https` is None where it speaks HTTP only."""

    http: int = 80
    https: int | None = None

    def __str__(self) -> str:
        more = f", HTTPS on port {self.https}" if self.https else ""
        return f"HTTP on port {self.http}{more}"


def router_name(app: str, service: str) -> str:
    """What the router, the service and the first middleware of a service are called."""
    return f"{app}_{service}"


def routing_labels(app: AppSpec, service: Service) -> dict[str, str]:
    """How the proxy reaches a service; empty where it does not. With HTTPS there are two routers,
    of which the one for HTTP only redirects."""
    hosts = sorted(app.hosts(service))
    if not hosts:
        return {}
    name = router_name(app.name, service.name)
    prefix = service.path_prefix.rstrip("/")
    route = _Route(hosts, prefix)
    is_https = app.is_https(service)
    found = {
        ENABLE: "true",
        f"traefik.http.services.{name}{PORT}": str(service.port),
    }
    chain = []
    if is_https:
        found |= _redirect(app, name, route) | _tls(app, name, hosts)
        if app.proxy.hsts is not None:
            chain.append(f"{name}{HSTS}")
            header = f"{MIDDLEWARES}{name}{HSTS}.headers.customresponseheaders."
            found[f"{header}Strict-Transport-Security"] = f"max-age={app.proxy.hsts // 1000}"
    if prefix:
        chain.append(name)
        found[f"{MIDDLEWARES}{name}.stripprefix.prefixes"] = prefix
    chain.append(f"{name}{RETRY}")
    retry = f"{MIDDLEWARES}{name}{RETRY}.retry."
    found |= {f"{retry}attempts": str(ATTEMPTS), f"{retry}initialinterval": PAUSE}
    return found | _router(name, "https" if is_https else "http", route, name, chain)


@dataclass(frozen=True)
class _Route:
    """Which requests are a service's."""

    hosts: Sequence[str]
    prefix: str

    @property
    def rule(self) -> str:
        names = " || ".join(map(rules.match, self.hosts))
        return f"({names}) && {rules.prefix(self.prefix)}" if self.prefix else names

    @property
    def priority(self) -> int:
        """A name comes before a wildcard, a longer prefix before a shorter one. Traefik itself
        would go by the length of the rule, in which a wildcard is longer than a name."""
        is_exact = not any(map(is_wildcard, self.hosts))
        return 1 + len(self.prefix) + (EXACT if is_exact else 0)


def _router(
    name: str, entrypoint: str, route: _Route, service: str, chain: Sequence[str]
) -> dict[str, str]:
    return {
        f"{ROUTERS}{name}.entrypoints": entrypoint,
        f"{ROUTERS}{name}.priority": str(route.priority),
        f"{ROUTERS}{name}.rule": route.rule,
        f"{ROUTERS}{name}.service": service,
        **({f"{ROUTERS}{name}.middlewares": ",".join(chain)} if chain else {}),
    }


def _redirect(app: AppSpec, name: str, route: _Route) -> dict[str, str]:
    """Per service, not for all of port 80: other apps may serve HTTP."""
    own = f"{name}{REDIRECT}"
    scheme = f"{MIDDLEWARES}{own}.redirectscheme"
    port = app.proxy.https_port
    return {
        f"{scheme}.scheme": "https",
        f"{scheme}.permanent": "true",
        **({f"{scheme}.port": str(port)} if port != 443 else {}),
        **_router(own, "http", route, name, [own]),
    }


def _tls(app: AppSpec, name: str, hosts: Sequence[str]) -> dict[str, str]:
    """Traefik reads which certificates to get from the rule, where wildcards are patterns: with
    one of them the names are written out one by one."""
    found = {f"{ROUTERS}{name}.tls": "true"}
    if app.proxy.email is None:
        return found
    found[f"{ROUTERS}{name}.tls.certresolver"] = RESOLVER
    if app.proxy.dns_provider and any(map(is_wildcard, hosts)):
        found |= {
            f"{ROUTERS}{name}.tls.domains[{number}].main": host for number, host in enumerate(hosts)
        }
    return found


def is_wildcard(host: str) -> bool:
    return host.startswith("*.")


def urls(own: Mapping[str, str], listening: Ports) -> Iterator[str]:
    """Where the proxy serves a service, read from its labels."""
    for key, rule in sorted(own.items()):
        router = key.removeprefix(ROUTERS).removesuffix(".rule")
        if f"{ROUTERS}{router}.rule" != key or _only_redirects(own, router):
            continue
        is_tls = own.get(f"{ROUTERS}{router}.tls") == "true"
        scheme, port = ("https", listening.https or 443) if is_tls else ("http", listening.http)
        shown = "" if port == (443 if is_tls else 80) else f":{port}"
        prefix = rules.shown_prefix(rule)
        for host in re.findall(r"Host\(`([^`]+)`\)", rule):
            yield f"{scheme}://{host}{shown}{prefix}"


def _only_redirects(own: Mapping[str, str], router: str) -> bool:
    return f"{MIDDLEWARES}{router}.redirectscheme.scheme" in own


_NAMED = re.compile(
    r"traefik\.(http|tcp|udp)\.(router|service|middleware)s\.([^.]+)\.", re.IGNORECASE
)
_REFERS = re.compile(
    r"traefik\.(http|tcp|udp)\.(?:routers|middlewares|services)\.[^.]+\."
    r"(?:[a-z.]+\.)?(service|middleware)s?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class Named:
    """A router, service or middleware of the proxy."""

    protocol: str
    kind: str
    name: str

    def __str__(self) -> str:
        shown = "" if self.protocol == "http" else f"{self.protocol.upper()} "
        return f"{shown}{self.kind} {self.name}"


def is_routed(own: Mapping[str, str]) -> bool:
    """Whether the proxy reads the labels of a service at all."""
    return any(k.lower() == ENABLE and v.lower() in ("true", "t", "1") for k, v in own.items())


def defined(own: Mapping[str, str]) -> set[Named]:
    """What a service's labels define at the proxy."""
    if not is_routed(own):
        return set()
    found = map(_NAMED.match, own)
    return {Named(m[1].lower(), m[2].lower(), m[3]) for m in found if m}


def referred(own: Mapping[str, str], provider: str) -> set[Named]:
    """What a service's labels refer to, defined by labels here or elsewhere. `provider` is
    Traefik's word for the cluster."""
    found = set()
    for key, value in own.items() if is_routed(own) else ():
        if refers := _REFERS.match(key):
            names = (item.strip().partition("@") for item in value.split(","))
            here = {name for name, _, where in names if where in ("", provider)}
            found |= {Named(refers[1].lower(), refers[2].lower(), name) for name in here}
    return found


def claims(own: Mapping[str, str]) -> frozenset[Claim]:
    """What a service's routers serve, and nobody else may."""
    found: frozenset[Claim] = frozenset()
    for _, rule in _rules(own) if is_routed(own) else ():
        found |= rules.claims(rule)
    return found


@dataclass(frozen=True)
class Router:
    """An HTTP router as its labels define it, or one of connections as if it were one."""

    name: str
    rule: str
    priority: int
    """The highest comes first: what a label says, or the length of the rule."""
    entry_points: frozenset[str] = frozenset()
    """Where it listens; empty for wherever the proxy says."""
    is_tls: bool = False
    is_tcp: bool = False

    @property
    def parts(self) -> list[Part]:
        return rules.parts(self.rule)

    def meets(self, other: Router) -> bool:
        """Whether both may be asked for one request."""
        both = self.entry_points and other.entry_points
        is_apart = both and self.entry_points.isdisjoint(other.entry_points)
        return not is_apart and (not self.is_tcp or self.is_tls == other.is_tls)


def http_routers(own: Mapping[str, str]) -> Iterator[Router]:
    """The HTTP routers that a service's labels define."""
    for key, rule in _rules(own) if is_routed(own) else ():
        labels = _RouterLabels(own, key)
        given = labels.value("priority")
        priority = int(given) if re.fullmatch(r"-?[0-9]{1,18}", given) else 0
        written = _from_v2(rule) if labels.value("rulesyntax") == "v2" else rule
        name = key[len(ROUTERS) : -len(".rule")]
        yield Router(name, written, priority or len(rule), labels.entry_points, labels.is_tls)


def tcp_routers(own: Mapping[str, str]) -> Iterator[Router]:
    """The TCP routers that a service's labels define. On an entry point they are asked before all
    of HTTP (doc.traefik.io/traefik/reference/routing-configuration/tcp/router/rules-and-priority).
    """
    for key, rule in _rules(own, TCP_ROUTERS) if is_routed(own) else ():
        labels = _RouterLabels(own, key)
        name = f"{key[len(TCP_ROUTERS) : -len('.rule')]} of TCP connections"
        where = labels.entry_points
        yield Router(name, _as_http(rule), sys.maxsize, where, labels.is_tls, is_tcp=True)


@dataclass(frozen=True)
class _RouterLabels:
    """What labels say of the router whose rule is in one of them. Traefik reads their names in any
    case."""

    own: Mapping[str, str]
    key: str

    def value(self, name: str) -> str:
        wanted = f"{self.key[: -len('rule')]}{name}".lower()
        return next((value for key, value in self.own.items() if key.lower() == wanted), "")

    @property
    def entry_points(self) -> frozenset[str]:
        return frozenset(name.strip() for name in self.value("entrypoints").split(",")) - {""}

    @property
    def is_tls(self) -> bool:
        tls = f"{self.key[: -len('rule')]}tls".lower()
        found = (k.lower() for k, v in self.own.items() if v.lower() != "false")
        return any(key == tls or key.startswith(f"{tls}.") for key in found)


def _as_http(rule: str) -> str:
    """A rule of TCP connections in the words of HTTP's."""
    everything = re.sub(r"HostSNI\(\s*[`\"]\*[`\"]\s*\)", "PathPrefix(`/`)", rule, flags=re.I)
    return re.sub(r"HostSNI(Regexp)?\(", r"Host\1(", everything, flags=re.I)


def _from_v2(rule: str) -> str:
    """A rule in the syntax of Traefik 2 in that of today: its patterns stand in braces, after a
    name."""

    def pattern(found: re.Match[str]) -> str:
        pieces = re.split(r"\{[^{}:]*:?((?:[^{}]|\{[^{}]*\})*)\}", found[2])
        fixed, own = map(re.escape, pieces[::2]), [*pieces[1::2], None]
        written = (
            f"{text}(?:{inner or '[^.]+'})" if inner is not None else text
            for text, inner in zip(fixed, own, strict=True)
        )
        return f"{found[1]}`^{''.join(written)}$`"

    return re.sub(r"(HostRegexp\(\s*|,\s*)`([^`]*\{[^`]*)`", pattern, rule)


def routers(own: Mapping[str, str]) -> Iterator[tuple[str, frozenset[Claim]]]:
    """The HTTP routers of a service that do not only redirect, and what each claims."""
    for router in http_routers(own):
        if not _only_redirects(own, router.name):
            yield router.name, rules.claims(router.rule)


def unreadable(own: Mapping[str, str]) -> list[str]:
    """The routers whose rules cannot be read."""
    return [r.name for r in (*http_routers(own), *tcp_routers(own)) if not r.parts]


def withdrawn(own: Mapping[str, str], taken: Iterable[Claim]) -> dict[str, str]:
    """The labels without what another app takes over. A service that has no router left is none of
    the proxy's: Traefik would make it a router of its own."""
    gone, left = frozenset(taken), dict(own)
    for key, rule in _rules(own):
        if not rules.claims(rule) & gone:
            continue
        if remaining := rules.without(rule, gone):
            left[key] = remaining
        else:
            router = key[: -len("rule")]
            left = {name: value for name, value in left.items() if not name.startswith(router)}
    if not any(_rules(left)):
        left = {name: value for name, value in left.items() if name.lower() != ENABLE}
        left[ENABLE] = "false"
    return left


def _rules(own: Mapping[str, str], kind: str = ROUTERS) -> Iterator[tuple[str, str]]:
    """The labels with the rules of routers."""
    for key, value in own.items():
        found = _NAMED.match(key)
        if found and found[0].lower().startswith(kind) and key.lower().endswith(".rule"):
            yield key, value


@lru_cache(maxsize=2)
def _current(app: str, served: tuple[str, ...]) -> Mapping[str, str]:
    """Former name → that of today, of what deploytool defines for these services."""
    return {
        f"{app}-{service}{ending}": f"{router_name(app, service)}{ending}"
        for service in served
        for ending in ("", REDIRECT, HSTS, RETRY)
    }


def renamed(app: AppSpec, own: Mapping[str, str]) -> dict[str, str]:
    """A user's labels with the names that deploytool gives now, where they say APP-SERVICE, as it
    did before: a middleware that protects a router must not be lost with its name."""
    found: dict[str, str] = {}
    current = _current(app.name, app.served) if own else {}
    for key, value in own.items():
        if (named := _NAMED.match(key)) and named[3] in current:
            key = f"{key[: named.start(3)]}{current[named[3]]}{key[named.end(3) :]}"
        items = [item.strip().partition("@") for item in value.split(",")]
        if _REFERS.match(key) and any(name in current for name, _, _ in items):
            value = ",".join(f"{current.get(name, name)}{at}{rest}" for name, at, rest in items)
        found.setdefault(key, value)
    return found
