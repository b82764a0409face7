"""What Traefik is told as it starts, and what its file has: the same on every cluster. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deploytool.spec import ProxySettings
from deploytool.traefik.routing import (
    ENABLE,
    MIDDLEWARES,
    PORT,
    PROXY_STATUS,
    RESOLVER,
    ROUTERS,
)

IDLE = "3s"
"""When the proxy closes a connection to a replica that nobody uses: before the replica does, which
for a Uvicorn as it comes is after 5 s."""
DIAL = "250ms"
"""How long a replica may take to accept a connection. One whose node has died never does, until the
cluster has noticed; the request then goes to another."""
GRACE = "200ms"
"""How long a proxy that stops finishes what it has, with its port closed for everybody: Traefik's
own ten seconds would go by whenever a WebSocket is open, and the next proxy starts only then."""
DYNAMIC_TARGET = "/etc/traefik/dynamic.yml"
"""Traefik's dynamic configuration that comes from a file, in the container."""
CALLER = "proxy_caller"
"""Middleware of each entry point: takes off the header `Forwarded` (RFC 7239), which Traefik itself
passes on as the caller wrote it."""
CIPHERS = tuple(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
)
"""Those of TLS 1.2 that authenticate what they encrypt, with keys that are never used again."""
LOGS_WITHOUT_QUERIES = (3, 7)
"""The first Traefik that can leave queries out of its log."""
STARTING, UNKNOWN = "proxy_starting", "proxy_unknown"
"""Routers for what no app's router takes. The first comes from the file, and answers 503 until the
routes have been read from the cluster, as nobody knows yet what exists. The second comes from the
cluster with them, takes precedence, and answers 404."""
NOBODY = "255.255.255.255/32"
"""No caller's address: Traefik answers all others with the status for those it does not allow."""


def arguments(
    settings: ProxySettings, *, http: int, https: int, provider: Sequence[str], certificates: str
) -> tuple[str, ...]:
    """How Traefik is called but for its ping. `http` and `https` are the ports that it listens on,
    `provider` is how it learns of routes, `certificates` the folder, on a volume, of those that the
    authority gave: an order costs minutes, and they are limited."""
    return (
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        *_entrypoint("http", http, settings),
        *(_entrypoint("https", https, settings) if settings.https else ()),
        *(_resolver(settings, certificates) if settings.email else ()),
        f"--providers.file.filename={DYNAMIC_TARGET}",
        "--providers.file.watch=false",
        *provider,
        "--providers.providersthrottleduration=100ms",
        f"--serverstransport.forwardingtimeouts.idleconntimeout={IDLE}",
        f"--serverstransport.forwardingtimeouts.dialtimeout={DIAL}",
        "--ping=true",
        "--ping.entrypoint=ping",
        *(_access_log() if settings.access_log and _can_log(settings.image) else ()),
    )


def _access_log() -> Iterator[str]:
    """Headers are left out by themselves. What is logged is as long as the engine keeps it."""
    yield "--accesslog=true"
    yield "--accesslog.format=json"
    yield "--accesslog.fields.queryparameters.defaultmode=drop"


def _can_log(image: str) -> bool:
    numbers = version_in(image)
    return not numbers or numbers >= LOGS_WITHOUT_QUERIES


def version_in(image: str) -> tuple[int, ...]:
    """The numbers in an image's tag; empty where it has none, as `latest`."""
    tag = image.rpartition(":")[2].partition("@")[0]
    return tuple(map(int, re.findall(r"\d+", tag)))


def _entrypoint(name: str, port: int, settings: ProxySettings) -> Iterator[str]:
    yield f"--entrypoints.{name}.address=:{port}"
    yield f"--entrypoints.{name}.transport.lifecycle.gracetimeout={GRACE}"
    yield f"--entrypoints.{name}.transport.respondingtimeouts.readtimeout={_seconds(settings)}"
    yield f"--entrypoints.{name}.http.middlewares={CALLER}@file"
    if settings.trusted_proxies:
        trusted = ",".join(settings.trusted_proxies)
        yield f"--entrypoints.{name}.forwardedheaders.trustedips={trusted}"


def _seconds(settings: ProxySettings) -> str:
    """How long a request may take to arrive, its body included: Traefik knows no limit for headers
    alone, and its own minute cuts uploads off."""
    return f"{settings.read_timeout / 1000:g}s"


def _resolver(settings: ProxySettings, certificates: str) -> Iterator[str]:
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
    yield f"{acme}.storage={certificates}/acme.json"
    if settings.dns_provider is None:
        yield f"{acme}.httpchallenge.entrypoint=http"
        return
    yield f"{acme}.dnschallenge.provider={settings.dns_provider}"
    if settings.dns_resolvers:
        yield f"{acme}.dnschallenge.resolvers={','.join(settings.dns_resolvers)}"
    if not settings.dns_check:
        yield f"{acme}.dnschallenge.propagation.disableanschecks=true"


def environment(settings: ProxySettings) -> dict[str, str]:
    """Traefik's variables. A credential is the name of a file."""
    return settings.env | {f"{name}_FILE": f"/run/secrets/{name}" for name in settings.dns_secrets}


def secrets(settings: ProxySettings) -> tuple[str, ...]:
    """The secrets that Traefik reads."""
    authority = [settings.acme_ca] if settings.acme_ca else []
    return tuple(sorted({*settings.dns_secrets, *settings.certificates, *authority}))


def dynamic(settings: ProxySettings) -> bytes:
    """The content of Traefik's file: certificates, and the answer before routes are known."""
    from deploytool.render.text import to_yaml

    paths = [f"/run/secrets/{name}" for name in settings.certificates]
    content: dict[str, object] = {"http": _http(settings)}
    if settings.https:
        own = {"certificates": [{"certFile": p, "keyFile": p} for p in paths]} if paths else {}
        content["tls"] = own | {
            "options": {"default": {"cipherSuites": list(CIPHERS), "sniStrict": True}}
        }
    return to_yaml(content).encode()


def _http(settings: ProxySettings) -> dict[str, object]:
    """What callers may not say, and the answer 503 to what is asked before routes are known."""
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
            CALLER: {"headers": {"customRequestHeaders": {"Forwarded": ""}}},
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


def unknown(settings: ProxySettings, *, port: int) -> dict[str, str]:
    """Labels that answer 404 to what no app's router takes. Traefik wants a `port` of every service
    that it reads: nothing is sent there."""
    rejects = f"{MIDDLEWARES}{UNKNOWN}.ipallowlist"
    header = f"{MIDDLEWARES}{UNKNOWN}_headers.headers.customresponseheaders.{PROXY_STATUS}"
    found = {
        ENABLE: "true",
        f"traefik.http.services.{UNKNOWN}{PORT}": str(port),
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
