"""References of routing labels, and whether their targets exist: Traefik drops a router that
refers to something it does not know, and callers get 404. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploytool.errors import PlanError
from deploytool.traefik import routing
from deploytool.traefik.routing import is_routed

INTERNAL = "internal"
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


@dataclass(frozen=True, order=True)
class Reference:
    """One thing that a label refers to."""

    protocol: str
    kind: str
    name: str
    provider: str
    """Empty where it is that of the labels."""
    label: str

    def __str__(self) -> str:
        at = f"@{self.provider}" if self.provider else ""
        return f"{_WORDS.get(self.kind, self.kind)} {self.name}{at}"


def missing(
    own: Iterable[Mapping[str, str]],
    others: Iterable[tuple[str, Mapping[str, str]]],
    *,
    provider: str,
    sources: Collection[str] | None,
) -> list[Reference]:
    """References in the labels of an app that nobody defines. `others` are the names and labels of
    the other services, `provider` is Traefik's word for where all these are, and `sources` are the
    other ones that it reads: with None, references to any of them are believed."""
    own = list(own)
    known: set[tuple[str, str, str]] = set()
    for found in (*own, *(_with_default(name, labels) for name, labels in others)):
        known |= set(_defined(found))
    return sorted(
        reference
        for labels in own
        for reference in _references(labels, provider)
        if not _exists(reference, known, sources)
    )


def _exists(
    reference: Reference, known: set[tuple[str, str, str]], sources: Collection[str] | None
) -> bool:
    if reference.provider == INTERNAL:
        return True
    if reference.kind == "options" and reference.name == "default":
        return True
    if reference.provider:
        return sources is None or reference.provider in sources
    return (reference.protocol, reference.kind, reference.name) in known


def _defined(own: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for named in routing.defined(own):
        yield named.protocol, named.kind, named.name
    for key in own if is_routed(own) else ():
        if found := _TRANSPORT.match(key):
            yield found[1].lower(), "transport", found[2]


def _with_default(service: str, own: Mapping[str, str]) -> Mapping[str, str]:
    """The labels of a service. One that defines no service has one of its own name."""
    if any(named.kind == "service" for named in routing.defined(own)):
        return own
    name = "-".join(re.findall(r"[A-Za-z0-9]+", service))
    return {**own, f"traefik.http.services.{name}.loadbalancer": ""}


def _references(own: Mapping[str, str], provider: str) -> Iterator[Reference]:
    for key, value in own.items() if is_routed(own) else ():
        found = _REFERS.fullmatch(key)
        if found is None:
            continue
        groups = found.groupdict()
        protocol = groups.pop("protocol").lower()
        kind = next(kind for kind, matched in groups.items() if matched)
        for item in value.split(","):
            name, _, where = item.strip().partition("@")
            if name:
                yield Reference(protocol, kind, name, "" if where == provider else where, key)


def problem(app: str, lost: Sequence[Reference]) -> PlanError:
    """What a plan says of references that nobody defines."""
    return PlanError(
        f"There is no {lost[0]}, which a label of {app} refers to: the proxy would drop the route "
        "and answer 404",
        code="route_reference_missing",
        hint="correct the label, or define it in the labels here or of another app first",
        details=[f"{found}: {found.label}" for found in lost],
    )
