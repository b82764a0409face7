"""References of routing labels, and whether their targets exist: Traefik drops a router that
refers to something it does not know, and callers get 404. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deploytool.backends.swarm.specification.offers import arguments
from deploytool.backends.swarm.specification.routing import labels_of
from deploytool.json_types import Json
from deploytool.traefik import routing
from deploytool.traefik.routing import is_routed

SWARM, INTERNAL = "swarm", "internal"
_REFERS = re.compile(
    r"traefik\.(?P<protocol>http|tcp|udp)\.(?:"
    r"(?:routers|middlewares)\.[^.]+\.(?:[a-z.]+\.)?(?P<middleware>middlewares)"
    r"|routers\.[^.]+\.(?P<service>service)"
    r"|routers\.[^.]+\.tls\.(?P<options>options)"
    r"|services\.[^.]+\.loadbalancer\.(?P<transport>serverstransport))",
    re.IGNORECASE,
)
_TRANSPORT = re.compile(r"traefik\.(http|tcp)\.serverstransports\.([^.]+)\.", re.IGNORECASE)
_WORDS = {"options": "TLS options", "transport": "transport"}
_PROVIDER = re.compile(r"--providers\.([^.=]+)", re.IGNORECASE)
OWN_FILE = (
    "--providers.file.filename=/etc/traefik/dynamic.yml",
    "--providers.file.filename=/etc/traefik/certificates.yml",
    "--providers.file.watch=false",
)
"""How deploytool's own proxy, now and before, reads its file. It defines nothing that labels refer
to."""


@dataclass(frozen=True, order=True)
class Reference:
    """One thing that a label refers to."""

    protocol: str
    kind: str
    name: str
    provider: str
    label: str

    def __str__(self) -> str:
        at = "" if self.provider == SWARM else f"@{self.provider}"
        return f"{_WORDS.get(self.kind, self.kind)} {self.name}{at}"


def missing(
    own: Iterable[Mapping[str, str]], others: Iterable[Json], proxy: Json | None
) -> list[Reference]:
    """References in the labels of an app that nobody defines. Other sources than labels are known
    where the proxy is deploytool's own; else they are believed."""
    own = list(own)
    known: set[tuple[str, str, str]] = set()
    for found in (*own, *(_with_default(service) for service in others)):
        known |= set(_defined(found))
    providers = None if proxy is None else _providers(proxy)
    return sorted(
        reference
        for labels in own
        for reference in _references(labels)
        if not _exists(reference, known, providers)
    )


def _exists(
    reference: Reference, known: set[tuple[str, str, str]], providers: frozenset[str] | None
) -> bool:
    if reference.provider == INTERNAL:
        return True
    if reference.kind == "options" and reference.name == "default":
        return True
    if reference.provider != SWARM:
        return providers is None or reference.provider in providers
    return (reference.protocol, reference.kind, reference.name) in known


def _defined(own: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for named in routing.defined(own):
        yield named.protocol, named.kind, named.name
    for key in own if is_routed(own) else ():
        if found := _TRANSPORT.match(key):
            yield found[1].lower(), "transport", found[2]


def _with_default(service: Json) -> dict[str, str]:
    """The labels of a service. One that defines no service has one of its own name."""
    own = labels_of(service)
    if any(named.kind == "service" for named in routing.defined(own)):
        return own
    name = "-".join(re.findall(r"[A-Za-z0-9]+", service["Spec"]["Name"]))
    return own | {f"traefik.http.services.{name}.loadbalancer": ""}


def _references(own: Mapping[str, str]) -> Iterator[Reference]:
    for key, value in own.items() if is_routed(own) else ():
        found = _REFERS.fullmatch(key)
        if found is None:
            continue
        groups = found.groupdict()
        protocol = groups.pop("protocol").lower()
        kind = next(kind for kind, matched in groups.items() if matched)
        for item in value.split(","):
            name, _, provider = item.strip().partition("@")
            if name:
                yield Reference(protocol, kind, name, provider or SWARM, key)


def _providers(proxy: Json) -> frozenset[str]:
    """Where the proxy that runs reads definitions from, beside labels."""
    named = (_PROVIDER.match(a) for a in arguments(proxy["Spec"]) if a.lower() not in OWN_FILE)
    return frozenset(found[1].lower() for found in named if found)
