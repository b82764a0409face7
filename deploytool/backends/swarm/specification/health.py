"""The health check that replicas run in themselves. It needs nothing in the image but Python.

Where the service is behind the proxy, that has to be reached too, until it was once.
"""

from __future__ import annotations

from deploytool.backends.swarm.specification.scripts import HEALTHCHECK
from deploytool.spec import AppSpec, HealthCheck, Service
from deploytool.traefik.routing import HTTP

PROXY = "proxy_traefik"
"""The proxy's service, as replicas on its network know it."""
CUT_OFF = f"no answer from {PROXY}"
"""What a replica says, to its log too, while it and the proxy do not reach each other."""


def test(app: AppSpec, service: Service, check: HealthCheck) -> list[str]:
    """The command of a health check, as the engine wants it; `site` is left out to be cheap."""
    if check.command:
        return ["CMD", *check.command]
    hosts = app.hosts(service)
    asked = [str(service.port), str(check.path), hosts[0] if hosts else "localhost"]
    proxy = [PROXY, str(HTTP)] if hosts else []
    timeout = str(max(1, check.timeout // 1000))
    return ["CMD", "python", "-IS", HEALTHCHECK.target, *asked, timeout, *proxy]
