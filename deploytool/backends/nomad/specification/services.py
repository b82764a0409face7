"""What the catalogue has of a service: name, port, the proxy's tags, and its check. Pure.

It is the task's and not the group's: a task's is registered after its process has started, and
taken out when that ends, so that callers meet fewer replicas that do not listen.
"""

from __future__ import annotations

import hashlib
import json

from deploytool.backends.nomad.specification import policies
from deploytool.backends.nomad.specification.policies import SECOND, ns
from deploytool.json_types import Json
from deploytool.spec import AppSpec, HealthCheck, Service
from deploytool.traefik import routing
from deploytool.units import format_duration

PORT_LABEL = "http"
CHAINED = ".middlewares"
"""A routing tag that lists several: a user's own come after those that are made here."""
CANARY = ["traefik.enable=false"]
"""The tags of a replica until it is promoted. None at all would mean the usual ones."""
CHECK_MARK = "deploytool.healthcheck"
LONGEST_NAME = 63


def service_name(app: str, service: str) -> str:
    """The name in the catalogue, of 63 characters at most."""
    name = f"{app}-{service}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def is_tag(label: str) -> bool:
    """Whether a label of the configuration is the proxy's; others are metadata."""
    return label.lower().startswith("traefik.")


def tags(app: AppSpec, service: Service) -> list[str]:
    own = {key: value for key, value in service.labels.items() if is_tag(key)}
    own = routing.renamed(app, own) if own else {}
    routed = _routing(app, service)
    chained = {
        key: f"{routed[key]},{value}" if key in routed and key.endswith(CHAINED) else value
        for key, value in own.items()
    }
    return sorted(f"{key}={value}" for key, value in (routed | chained).items())


def _routing(app: AppSpec, service: Service) -> dict[str, str]:
    """How the proxy reaches a service: at the address and port that the catalogue has."""
    found = routing.routing_labels(app, service)
    if not found:
        return {}
    balancer = f"traefik.http.services.{routing.router_name(app.name, service.name)}.loadbalancer"
    found.pop(f"{balancer.removesuffix('.loadbalancer')}{routing.PORT}")
    found[f"{balancer}.passhostheader"] = "true"
    check = service.check
    if check is not None and check.path:
        found |= {
            f"{balancer}.healthcheck.path": check.path,
            f"{balancer}.healthcheck.interval": format_duration(policies.interval(check)),
            f"{balancer}.healthcheck.timeout": format_duration(check.timeout or SECOND),
            f"{balancer}.healthcheck.hostname": host(app, service),
        }
    return found


def host(app: AppSpec, service: Service) -> str:
    """A name that a service answers to, for what asks it whether it works."""
    hosts = app.hosts(service)
    exact = [name for name in hosts if not routing.is_wildcard(name)]
    return next(iter((*exact, *(name.replace("*", "health") for name in hosts))), "localhost")


def services(app: AppSpec, service: Service) -> list[Json]:
    """The service in the catalogue; none where it has no port."""
    if service.port is None:
        return []
    own_tags = tags(app, service)
    check = service.check
    return [
        {
            "Name": service_name(app.name, service.name),
            "Provider": "nomad",
            "PortLabel": PORT_LABEL,
            "AddressMode": "host",
            "OnUpdate": "require_healthy",
            **({"Tags": own_tags} if own_tags else {}),
            "CanaryTags": CANARY,
            **({"Checks": [_check(app, service, check)]} if check and check.path else {}),
        }
    ]


def _check(app: AppSpec, service: Service, check: HealthCheck) -> Json:
    return {
        "Name": f"GET {check.path}",
        "Type": "http",
        "Path": check.path,
        "Method": "GET",
        "PortLabel": PORT_LABEL,
        "Interval": ns(policies.interval(check)),
        "Timeout": ns(max(check.timeout, SECOND)),
        "OnUpdate": "require_healthy",
        "Header": {"Host": [host(app, service)]},
        "CheckRestart": {
            "Limit": policies.retries(check),
            "Grace": ns(check.start_period),
            "IgnoreWarnings": False,
        },
    }


def check_mark(app: AppSpec, service: Service) -> dict[str, str]:
    """Metadata that differs when the check does: another check replaces the replicas one after the
    other. Nomad by itself would put it on all that serve at once, and restart them if it fails."""
    check = service.check
    if service.port is None or check is None or not check.path:
        return {}
    text = json.dumps(_check(app, service, check), sort_keys=True)
    return {CHECK_MARK: hashlib.sha256(text.encode()).hexdigest()[:8]}


def network(service: Service) -> list[Json]:
    """The ports of a replica on its node."""
    if service.port is None and not service.publish:
        return []
    dynamic = [{"Label": PORT_LABEL, "To": service.port}] if service.port is not None else []
    reserved = [
        {"Label": f"publish_{port}", "Value": port, "To": target}
        for port, target in sorted(published(service).items())
    ]
    found: Json = {"Mode": "host"}
    if dynamic:
        found["DynamicPorts"] = dynamic
    if reserved:
        found["ReservedPorts"] = reserved
    return [found]


def published(service: Service) -> dict[int, int]:
    """Port of the node → port of the process. A port of Nomad's is of both protocols."""
    return {p.port: p.target or service.port or p.port for p in service.publish}


def port_labels(service: Service) -> list[str]:
    return [
        port["Label"]
        for one in network(service)
        for kind in ("DynamicPorts", "ReservedPorts")
        for port in one.get(kind, ())
    ]
