"""Traefik described as an app: deployed by the same pipeline as any other.

It runs on a manager, where the Swarm can be asked, listens on the node's own ports so that it
sees the callers' addresses, and sends to the addresses of the replicas, which works on kernels
without IPVS too. It looks at the Swarm every second: the engine waits two seconds between taking a
replica off the network and stopping it, and a proxy that looks less often sends into the void.
"""

from __future__ import annotations

from deploytool.backends.swarm import labels
from deploytool.spec import AppSpec, Line, ProxySettings, Service

NAME = "proxy"
HTTP = 8080
"""Port in the container: above 1024, as the process has no privileges."""
PING = 8082
ENGINE_SOCKET = "/var/run/docker.sock"


def app_spec(settings: ProxySettings) -> AppSpec:
    """The proxy of a cluster as an app of one replica on a manager."""
    return AppSpec(
        name=NAME,
        image=settings.image.partition("@")[0].rpartition(":")[0] or settings.image,
        services=(_traefik(settings),),
        proxy=settings,
    )


def _traefik(settings: ProxySettings) -> Service:
    ping = f"--entrypoints.ping.address=127.0.0.1:{PING}"
    return Service.model_validate(
        {
            "name": "traefik",
            "image": settings.image,
            "command": (*_arguments(settings), ping),
            "publish": {"port": settings.http_port, "target": HTTP, "mode": "host"},
            "volumes": (f"{ENGINE_SOCKET}:{ENGINE_SOCKET}:ro",),
            "user": "0:0",
            "memory": "64MiB",
            "memory_limit": "256MiB",
            "cpu": 0.1,
            "networks": (settings.network,),
            "labels": {labels.ROLE: NAME},
            "healthcheck": {
                "command": ("traefik", "healthcheck", "--ping=true", "--ping.entrypoint=ping", ping)
            },
            "placement": {"constraints": ("node.role == manager",)},
        }
    )


def _arguments(settings: ProxySettings) -> tuple[Line, ...]:
    return (
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        f"--entrypoints.http.address=:{HTTP}",
        "--providers.swarm=true",
        "--providers.swarm.exposedbydefault=false",
        f"--providers.swarm.network={settings.network}",
        "--providers.swarm.refreshseconds=1",
        "--providers.providersthrottleduration=100ms",
        "--ping=true",
        "--ping.entrypoint=ping",
    )
