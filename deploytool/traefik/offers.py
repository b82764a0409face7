"""What only a proxy's own settings can give, and what routes need of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from deploytool.traefik.routing import Named, is_routed

ENTRY_POINT, RESOLVER = "entry point", "certificate resolver"
_HAS = {
    ENTRY_POINT: re.compile(r"--entrypoints\.([^.=]+)\.address=", re.IGNORECASE),
    RESOLVER: re.compile(r"--certificatesresolvers\.([^.=]+)\.", re.IGNORECASE),
}
_NEEDS = {
    ENTRY_POINT: re.compile(r"traefik\.(http|tcp|udp)\.routers\.[^.]+\.entrypoints", re.I),
    RESOLVER: re.compile(r"traefik\.(http|tcp)\.routers\.[^.]+\.tls\.certresolver", re.I),
}


def thing(kind: str, name: str) -> Named:
    return Named("http", kind, name)


def offered(arguments: Iterable[str]) -> frozenset[Named]:
    """What a proxy offers by the arguments that it is called with."""
    found = set()
    for argument in arguments:
        for kind, pattern in _HAS.items():
            if has := pattern.match(argument):
                found.add(thing(kind, has[1].lower()))
    return frozenset(found)


def needed(own: Mapping[str, str]) -> frozenset[Named]:
    """What the labels of a service need of the proxy."""
    found = set()
    for key, value in own.items() if is_routed(own) else ():
        for kind, pattern in _NEEDS.items():
            if pattern.fullmatch(key):
                names = (name.strip().lower() for name in value.split(","))
                found |= {thing(kind, name) for name in names if name}
    return frozenset(found)
