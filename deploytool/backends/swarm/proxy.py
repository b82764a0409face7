"""Traefik described as an app: deployed by the same pipeline as any other.

It runs on a manager, where the Swarm can be asked, listens on the node's own ports so that it
sees the callers' addresses, and sends to the addresses of the replicas, which works on kernels
without IPVS too. It polls the Swarm every second: what is replaced goes on serving for `drain`,
and a proxy that polls less often sends into the void.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from deploytool.backends.swarm.specification import labels
from deploytool.spec import AppSpec, ProxySettings, Service
from deploytool.traefik.proxy import NAME
from deploytool.traefik.routing import (
    ENABLE,
    HTTP,
    HTTPS,
    MIDDLEWARES,
    PORT,
    PROXY_STATUS,
    RESOLVER,
    ROUTERS,
)

PING = 8082
IDLE = "3s"
"""When the proxy closes a connection to a replica that nobody uses: before the replica does, which
for a Uvicorn as it comes is after 5 s."""
DIAL = "250ms"
"""How long a replica may take to accept a connection. One whose node has died never does, until the
cluster has noticed; the request then goes to another."""
GRACE = "200ms"
"""How long a proxy that stops finishes what it has, with its port closed for everybody: Traefik's
own ten seconds would go by whenever a WebSocket is open, and the next proxy starts only then."""
ENGINE_SOCKET = "/var/run/docker.sock"
CERTIFICATES = "/certificates"
"""Where a volume keeps what the authority gave: an order costs minutes, and they are limited."""


DYNAMIC = "stacks/proxy-dynamic.yml"
"""Traefik's dynamic configuration that comes from a file, in the project."""
DYNAMIC_TARGET = "/etc/traefik/dynamic.yml"
"""The same in the container."""
STARTING, UNKNOWN = "proxy_starting", "proxy_unknown"
"""Routers for what no app's router takes. The first comes from the file, and answers 503 until the
routes have been read from the Swarm, as nobody knows yet what exists. The second comes from the
Swarm with them, takes precedence, and answers 404."""
NOBODY = "255.255.255.255/32"
"""No caller's address: Traefik answers all others with the status for those it does not allow."""


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
    from deploytool.render.text import to_yaml

    paths = [f"/run/secrets/{name}" for name in settings.certificates]
    content: dict[str, object] = {"http": _starting(settings)}
    if paths:
        content["tls"] = {"certificates": [{"certFile": p, "keyFile": p} for p in paths]}
    return {DYNAMIC: to_yaml(content).encode()}


def _starting(settings: ProxySettings) -> dict[str, object]:
    """Answers 503 to what is asked before the routes are known."""
    route = {
        "rule": "PathPrefix(`/`)",
        "priority": -2,
        "service": "noop@internal",
        "middlewares": [f"{STARTING}_headers", STARTING],
    }
    routers = {STARTING: {**route, "entryPoints": ["http"]}}
    if settings.https:
        routers[f"{STARTING}_tls"] = {**route, "entryPoints": ["https"], "tls": {}}
    return {
        "routers": routers,
        "middlewares": {
            f"{STARTING}_headers": {
                "headers": {
                    "customResponseHeaders": {
                        "Retry-After": "1",
                        PROXY_STATUS: "traefik; error=destination_unavailable",
                    }
                }
            },
            STARTING: {"ipAllowList": {"sourceRange": [NOBODY], "rejectStatusCode": 503}},
        },
    }


def _unknown(settings: ProxySettings) -> dict[str, str]:
    """Labels that answer 404 to what no app's router takes."""
    rejects = f"{MIDDLEWARES}{UNKNOWN}.ipallowlist"
    header = f"{MIDDLEWARES}{UNKNOWN}_headers.headers.customresponseheaders.{PROXY_STATUS}"
    found = {
        ENABLE: "true",
        # Traefik wants a port of every service that it reads. Nothing is sent there.
        f"traefik.http.services.{UNKNOWN}{PORT}": str(PING),
        f"{rejects}.sourcerange": NOBODY,
        f"{rejects}.rejectstatuscode": "404",
        header: "traefik; error=destination_not_found",
    }
    names = {UNKNOWN: "http"} | ({f"{UNKNOWN}_tls": "https"} if settings.https else {})
    for name, entrypoint in names.items():
        found |= {
            f"{ROUTERS}{name}.entrypoints": entrypoint,
            f"{ROUTERS}{name}.rule": "PathPrefix(`/`)",
            f"{ROUTERS}{name}.priority": "-1",
            f"{ROUTERS}{name}.service": "noop@internal",
            f"{ROUTERS}{name}.middlewares": f"{UNKNOWN}_headers,{UNKNOWN}",
        }
        if entrypoint == "https":
            found[f"{ROUTERS}{name}.tls"] = "true"
    return found


def _traefik(settings: ProxySettings) -> Service:
    ping = f"--entrypoints.ping.address=127.0.0.1:{PING}"
    ports = {settings.http_port: HTTP} | ({settings.https_port: HTTPS} if settings.https else {})
    credentials = {name: f"/run/secrets/{name}" for name in settings.dns_secrets}
    return Service.model_validate(
        {
            "name": "traefik",
            "image": settings.image,
            "command": (*_arguments(settings), ping),
            "env": settings.env | {f"{name}_FILE": path for name, path in credentials.items()},
            "secrets": _secrets(settings),
            "files": {DYNAMIC_TARGET: DYNAMIC},
            "publish": tuple(
                {"port": port, "target": target, "mode": "host"} for port, target in ports.items()
            ),
            "volumes": (
                f"{ENGINE_SOCKET}:{ENGINE_SOCKET}:ro",
                *((f"certificates:{CERTIFICATES}",) if settings.email else ()),
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
            "labels": {labels.ROLE: NAME, **_unknown(settings)},
            "healthcheck": {
                "command": (
                    *("traefik", "healthcheck", "--ping=true", "--ping.entrypoint=ping"),
                    ping,
                ),
                "timeout": "10s",
                "retries": 5,
            },
            "placement": {"constraints": ("node.role == manager",)},
        }
    )


def _secrets(settings: ProxySettings) -> tuple[str, ...]:
    authority = [settings.acme_ca] if settings.acme_ca else []
    return tuple(sorted({*settings.dns_secrets, *settings.certificates, *authority}))


def _arguments(settings: ProxySettings) -> tuple[str, ...]:
    return (
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        *_entrypoint("http", HTTP, settings),
        *(_entrypoint("https", HTTPS, settings) if settings.https else ()),
        *(_resolver(settings) if settings.email else ()),
        f"--providers.file.filename={DYNAMIC_TARGET}",
        "--providers.file.watch=false",
        "--providers.swarm=true",
        "--providers.swarm.exposedbydefault=false",
        f"--providers.swarm.network={settings.network}",
        "--providers.swarm.refreshseconds=1",
        "--providers.providersthrottleduration=100ms",
        f"--serverstransport.forwardingtimeouts.idleconntimeout={IDLE}",
        f"--serverstransport.forwardingtimeouts.dialtimeout={DIAL}",
        "--ping=true",
        "--ping.entrypoint=ping",
    )


def _entrypoint(name: str, port: int, settings: ProxySettings) -> Iterator[str]:
    yield f"--entrypoints.{name}.address=:{port}"
    yield f"--entrypoints.{name}.transport.lifecycle.gracetimeout={GRACE}"
    if settings.trusted_proxies:
        trusted = ",".join(settings.trusted_proxies)
        yield f"--entrypoints.{name}.forwardedheaders.trustedips={trusted}"


def _resolver(settings: ProxySettings) -> Iterator[str]:
    """What gets certificates from the authority and renews them."""
    acme = f"--certificatesresolvers.{RESOLVER}.acme"
    yield f"{acme}.email={settings.email}"
    yield f"{acme}.caserver={settings.acme_directory}"
    if settings.acme_ca:
        yield f"{acme}.cacertificates=/run/secrets/{settings.acme_ca}"
    if settings.acme_profile:
        yield f"{acme}.profile={settings.acme_profile}"
    yield f"{acme}.certificatesduration={settings.certificate_lifetime // 3_600_000}"
    yield f"{acme}.keytype=EC256"
    yield f"{acme}.storage={CERTIFICATES}/acme.json"
    if settings.dns_provider is None:
        yield f"{acme}.httpchallenge.entrypoint=http"
        return
    yield f"{acme}.dnschallenge.provider={settings.dns_provider}"
    if settings.dns_resolvers:
        yield f"{acme}.dnschallenge.resolvers={','.join(settings.dns_resolvers)}"
    if not settings.dns_check:
        yield f"{acme}.dnschallenge.propagation.disableanschecks=true"
