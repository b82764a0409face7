"""The proxy as the engine knows it: where its labels are, and the ports on which the one that runs
listens. Pure."""

from __future__ import annotations

from deploytool.backends.swarm.specification import labels
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Service
from deploytool.traefik import routing
from deploytool.traefik.routing import HTTP, HTTPS, PORT, Ports

PROVIDER = "swarm"
"""Traefik's word for this cluster."""


def labels_of(service: Json) -> dict[str, str]:
    """The labels of a service on the cluster."""
    return service["Spec"].get("Labels") or {}


def is_proxy(service: Json) -> bool:
    return labels_of(service).get(labels.ROLE) == labels.PROXY


def ports(proxy: Json) -> Ports:
    """The ports that a proxy on the cluster publishes."""
    published = (proxy["Spec"].get("EndpointSpec") or {}).get("Ports") or ()
    found = {port.get("TargetPort"): port.get("PublishedPort") for port in published}
    return Ports(http=found.get(HTTP) or Ports.http, https=found.get(HTTPS))


def routed_port(spec: Json) -> str:
    """The port of its replicas to which the proxy sends, as its labels say; empty for none."""
    found = spec.get("Labels") or {}
    return next((found[key] for key in found if key.endswith(PORT)), "")


def routing_labels(app: AppSpec, service: Service) -> dict[str, str]:
    """How the proxy reaches a service; empty where it does not."""
    found = routing.routing_labels(app, service)
    return found | {"traefik.swarm.network": app.proxy.network} if found else {}
