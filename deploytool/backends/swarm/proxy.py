"""Traefik described as an app: deployed by the same pipeline as any other.

It runs on a manager, where the Swarm can be asked, listens on the node's own ports so that it
sees the callers' addresses, and sends to the addresses of the replicas, which works on kernels
without IPVS too. It polls the Swarm every second: what is replaced goes on serving for `drain`,
and a proxy that polls less often sends into the void.
"""

from __future__ import annotations

import hashlib

from deploytool.backends.swarm.specification import labels
from deploytool.spec import AppSpec, ProxySettings, Service
from deploytool.traefik import static
from deploytool.traefik.proxy import NAME
from deploytool.traefik.routing import HTTP, HTTPS
from deploytool.traefik.static import DYNAMIC_TARGET

PING = 8082
ENGINE_SOCKET = "/var/run/docker.sock"
DYNAMIC = "stacks/proxy-dynamic.yml"
"""Traefik's dynamic configuration that comes from a file, in the project."""


def app_spec(settings: ProxySettings) -> AppSpec:
    """The proxy of a cluster as an app of one replica on a manager."""
    return AppSpec(
        name=NAME,
        image=settings.image.partition("@")[0].rpartition(":")[0] or settings.image,
        services=(_traefik(settings),),
        proxy=settings,
        files={
            path: hashlib.sha256(content).hexdigest() for path, content in files(settings).items()
        },
    )


def files(settings: ProxySettings) -> dict[str, bytes]:
    """The proxy's configuration files: path in the project → content."""
    return {DYNAMIC: static.dynamic(settings)}


def _traefik(settings: ProxySettings) -> Service:
    ping = f"--entrypoints.ping.address=127.0.0.1:{PING}"
    ports = {settings.http_port: HTTP} | ({settings.https_port: HTTPS} if settings.https else {})
    return Service.model_validate(
        {
            "name": "traefik",
            "image": settings.image,
            "command": (*_arguments(settings), ping),
            "env": static.environment(settings),
            "secrets": static.secrets(settings),
            "files": {DYNAMIC_TARGET: DYNAMIC},
            "publish": tuple(
                {"port": port, "target": target, "mode": "host"} for port, target in ports.items()
            ),
            "volumes": (
                f"{ENGINE_SOCKET}:{ENGINE_SOCKET}:ro",
                *static.volumes(settings),
            ),
            "user": "0:0",
            # Traefik handles signals and starts no children; and nobody is served while it is
            # replaced for this.
            "init": False,
            "memory": "64MiB",
            # Room for thousands of requests that wait for busy replicas: nobody is served while
            # the one proxy is started again.
            "memory_limit": "1GiB",
            "cpu": 0.1,
            "networks": (settings.network,),
            "labels": {labels.ROLE: NAME, **static.unknown(settings, port=PING)},
            "healthcheck": {
                "command": (
                    *("traefik", "healthcheck", "--ping=true", "--ping.entrypoint=ping"),
                    ping,
                ),
                "timeout": "10s",
                "retries": 5,
            },
            "placement": {"constraints": ("node.role == manager", *settings.constraints)},
        }
    )


def _arguments(settings: ProxySettings) -> tuple[str, ...]:
    provider = (
        "--providers.swarm=true",
        "--providers.swarm.exposedbydefault=false",
        f"--providers.swarm.network={settings.network}",
        "--providers.swarm.refreshseconds=1",
    )
    return static.arguments(settings, http=HTTP, https=HTTPS, provider=provider)
