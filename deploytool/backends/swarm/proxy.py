"""Traefik described as an app: deployed by the same pipeline as any other.

Traefik listens on its node's own ports so that it sees the callers' addresses, and sends to the
addresses of the replicas, which works on kernels without IPVS too. It polls the Swarm every second:
what is replaced goes on serving for `drain`, and a proxy that polls less often sends into the void.

What it asks goes through a second service, the only one with the engine's socket, on a network of
the two: whoever takes over Traefik can read what runs, and change nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploytool.backends.model import Job
from deploytool.backends.swarm.specification import labels
from deploytool.spec import AppSpec, ProxySettings, Release, Service
from deploytool.traefik import static
from deploytool.traefik.proxy import NAME, SERVICE
from deploytool.traefik.routing import HTTP, HTTPS
from deploytool.traefik.static import DYNAMIC_TARGET

PING = 8082
FORMER_VOLUME = "certificates:/certificates"
"""Of a Traefik that was root."""
SOCKET_PROXY = "socket-proxy"
SOCKET_PROXY_PORT = 2375
USER = "65532:65532"
"""Traefik's user, of no name and no privilege."""
CERTIFICATES = "/var/tmp"
"""Where Traefik keeps the authority's certificates. The engine gives a new volume the mode of the
image's folder, and in this one every user may write, in each image that has a system."""
ENGINE_SOCKET = "/var/run/docker.sock"
DYNAMIC = "stacks/proxy-dynamic.yml"
"""Traefik's dynamic configuration that comes from a file, in the project."""
RULES = "stacks/proxy-socket-proxy.cfg"
"""What the socket proxy lets through, in the project."""
RULES_TARGET = "/usr/local/etc/haproxy/haproxy.cfg"


def app_spec(settings: ProxySettings) -> AppSpec:
    """The proxy of a cluster as an app: Traefik, and what it asks the Swarm through."""
    return AppSpec(
        name=NAME,
        image=settings.image.partition("@")[0].rpartition(":")[0] or settings.image,
        services=(_traefik(settings), _socket_proxy(settings)),
        proxy=settings,
        files={
            path: hashlib.sha256(content).hexdigest() for path, content in files(settings).items()
        },
    )


def files(settings: ProxySettings) -> dict[str, bytes]:
    """The proxy's configuration files: path in the project → content."""
    rules = Path(__file__).with_name("socket-proxy.cfg").read_bytes()
    return {DYNAMIC: static.dynamic(settings), RULES: rules}


def _socket_proxy(settings: ProxySettings) -> Service:
    return Service.model_validate(
        {
            "name": SOCKET_PROXY,
            # On each manager: one that goes away takes no other's with it, and Traefik learns of
            # new replicas all the time.
            "mode": "global",
            "image": settings.socket_proxy_image,
            "command": ("haproxy", "-f", RULES_TARGET),
            "files": {RULES_TARGET: RULES},
            "volumes": (f"{ENGINE_SOCKET}:{ENGINE_SOCKET}:ro",),
            # The socket's owner, and without capabilities nothing else.
            "user": "0:0",
            "init": False,
            "memory": "16MiB",
            "memory_limit": "64MiB",
            "healthcheck": {
                "command": (
                    *("wget", "-q", "-T", "5", "-O", "/dev/null"),
                    f"http://127.0.0.1:{SOCKET_PROXY_PORT}/_ping",
                ),
                "interval": "5s",
                "timeout": "10s",
                "retries": 3,
            },
            "restart": {"delay": "1s"},
            "placement": {"constraints": ("node.role == manager",)},
        }
    )


def move(running: Release, release: Release, node: str) -> Job | None:
    """A job that takes over the certificates of a proxy whose Traefik was root: on the node that
    it runs on, whose volume has them, and without touching what that one may go on with."""
    app = release.spec
    past = next((s for s in running.spec.services if s.name == SERVICE), None)
    if not app.proxy.email or past is None or FORMER_VOLUME not in map(str, past.volumes):
        return None
    mover = Service.model_validate(
        {
            "name": SERVICE,
            "image": app.proxy.image,
            "volumes": (FORMER_VOLUME, f"acme:{CERTIFICATES}"),
            "user": "0:0",
            "init": False,
            "capabilities": ("CHOWN",),
            "placement": {"constraints": (f"node.hostname == {node}",)},
        }
    )
    former, new = f"{FORMER_VOLUME.partition(':')[2]}/acme.json", f"{CERTIFICATES}/acme.json"
    copy = f"cp -p {former} {new}.new && chown {USER} {new}.new && mv {new}.new {new}"
    return Job(
        name="certificates",
        release=release.model_copy(update={"spec": app.model_copy(update={"services": (mover,)})}),
        service=SERVICE,
        command=("/bin/sh", "-c", f"[ ! -e {former} ] || [ -e {new} ] || {{ {copy}; }}"),
    )


def _traefik(settings: ProxySettings) -> Service:
    ping = f"--entrypoints.ping.address=127.0.0.1:{PING}"
    ports = {settings.http_port: HTTP} | ({settings.https_port: HTTPS} if settings.https else {})
    return Service.model_validate(
        {
            "name": SERVICE,
            "image": settings.image,
            "command": (*_arguments(settings), ping),
            "env": static.environment(settings),
            "secrets": static.secrets(settings),
            "files": {DYNAMIC_TARGET: DYNAMIC},
            "publish": tuple(
                {"port": port, "target": target, "mode": "host"} for port, target in ports.items()
            ),
            "volumes": (f"acme:{CERTIFICATES}",) if settings.email else (),
            "user": USER,
            "depends_on": (SOCKET_PROXY,),
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
                "interval": "5s",
                "retries": 5,
            },
            "placement": {"constraints": settings.constraints or ("node.role == manager",)},
        }
    )


def _arguments(settings: ProxySettings) -> tuple[str, ...]:
    # By the address of its replica: the name alone leads to a virtual one, which needs IPVS.
    endpoint = f"tasks.{NAME}_{SOCKET_PROXY}:{SOCKET_PROXY_PORT}"
    provider = (
        "--providers.swarm=true",
        f"--providers.swarm.endpoint=tcp://{endpoint}",
        "--providers.swarm.exposedbydefault=false",
        f"--providers.swarm.network={settings.network}",
        "--providers.swarm.refreshseconds=1",
        # A socket proxy whose node died never answers.
        "--providers.swarm.httpclienttimeout=5s",
    )
    return static.arguments(
        settings, http=HTTP, https=HTTPS, provider=provider, certificates=CERTIFICATES
    )
