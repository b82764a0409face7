"""The health check that replicas run in themselves. It needs nothing in the image but Python.

Where the service is behind the proxy, that has to be reached too, until it was once.
"""

from __future__ import annotations

from deploytool.backends.swarm.specification.scripts import HEALTHCHECK
from deploytool.spec import AppSpec, HealthCheck, Service
from deploytool.traefik.routing import HTTP

INTERVAL = 10_000
"""Milliseconds. What a check costs is mostly what the engine does to start a process in a replica:
`python -m bench idle` measures it."""
RETRIES = 2
"""What answers no more is replaced after 20 s at most."""
INTERVAL_OF_ALL, RETRIES_OF_ALL = 3_000, 6
"""For engines that check a new replica no more often than others, so that it is known to be healthy
after 3 s. What answers no more is replaced after 18 s at most."""
PROXY = "proxy_traefik"
"""The proxy's service, as replicas on its network know it."""
CUT_OFF = f"no answer from {PROXY}"
"""What a replica says, to its log too, while it and the proxy do not reach each other."""


def pace(check: HealthCheck, *, start_interval: bool = True) -> tuple[int, int]:
    """Milliseconds between two checks, and failures in a row that make a replica unhealthy."""
    retries = RETRIES if check.retries is None else check.retries
    if check.interval is not None:
        return check.interval, retries
    if start_interval:
        return INTERVAL, retries
    return INTERVAL_OF_ALL, check.retries or RETRIES_OF_ALL


def test(app: AppSpec, service: Service, check: HealthCheck) -> list[str]:
    """The command of a health check, as the engine wants it; `site` is left out to be cheap."""
    if check.command:
        return ["CMD", *check.command]
    hosts = app.hosts(service)
    asked = [str(service.port), str(check.path), hosts[0] if hosts else "localhost"]
    proxy = [PROXY, str(HTTP)] if hosts else []
    timeout = str(max(1, check.timeout // 1000))
    return ["CMD", "python", "-IS", HEALTHCHECK.target, *asked, timeout, *proxy]
