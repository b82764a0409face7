"""Whether what an app's labels refer to exists on a Swarm. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from deploytool.backends.swarm.specification.offers import arguments
from deploytool.backends.swarm.specification.routing import labels_of
from deploytool.json_types import Json
from deploytool.traefik import references
from deploytool.traefik.references import Reference

SWARM = "swarm"
_PROVIDER = re.compile(r"--providers\.([^.=]+)", re.IGNORECASE)
OWN_FILE = (
    "--providers.file.filename=/etc/traefik/dynamic.yml",
    "--providers.file.filename=/etc/traefik/certificates.yml",
    "--providers.file.watch=false",
)
"""How deploytool's own proxy, now and before, reads its file. It defines nothing that labels refer
to."""


def missing(
    own: Iterable[Mapping[str, str]], others: Iterable[Json], proxy: Json | None
) -> list[Reference]:
    """References in the labels of an app that nobody defines. Other sources than labels are known
    where the proxy is deploytool's own; else they are believed."""
    return references.missing(
        own,
        [(service["Spec"]["Name"], labels_of(service)) for service in others],
        provider=SWARM,
        sources=None if proxy is None else _providers(proxy),
    )


def _providers(proxy: Json) -> frozenset[str]:
    """Where the proxy that runs reads definitions from, beside labels."""
    named = (_PROVIDER.match(a) for a in arguments(proxy["Spec"]) if a.lower() not in OWN_FILE)
    return frozenset(found[1].lower() for found in named if found)
