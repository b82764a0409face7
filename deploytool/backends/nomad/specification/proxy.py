"""Traefik described as an app, and what its job has that no other has. Pure.

It runs on every node of the data centres, in the node's own network: from there it meets a port
where nobody listens closed, and offers the request to another replica. In a network of Docker's it
would meet the engine's own proxy on that port, which accepts the connection and then closes it.

It asks the cluster through the socket that Nomad gives each task, with the task's own identity: no
address, certificate or token is in the job. Tried with Traefik 3.7.15; the socket always asks for a
token, which Traefik reads from NOMAD_TOKEN (command/agent/http.go, newAuthMiddleware).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from deploytool.backends.nomad.specification import literal, services
from deploytool.backends.nomad.specification.policies import ns
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import EVENTS_BY_IDENTITY
from deploytool.errors import ConfigError, Problem
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Backend, ProxySettings, Service
from deploytool.traefik import static
from deploytool.traefik.proxy import NAME, SERVICE
from deploytool.traefik.routing import ROUTERS

ROLE, PROXY = "deploytool.role", "proxy"
"""What says of a group, and in the catalogue, that it is the load balancer of all apps."""
HTTPS = "deploytool.https"
"""The port for HTTPS, in the catalogue."""
SERVES = "deploytool.namespaces"
"""The namespaces whose apps it serves, in the catalogue."""
API = "unix:///secrets/api.sock"
"""Nomad's API inside a container of Docker's (client/allocrunner/taskrunner/api_hook.go)."""
CERTIFICATES = "/certificates"
"""Where a volume keeps what the authority gave."""
PING = "ping"
READY = "/ready"
"""Answers 200 once the routes have been read: its router comes from the catalogue, with them."""
PING_ADDRESS = f"--entrypoints.ping.address=:${{NOMAD_PORT_{PING}}}"
DEFAULT_NAMESPACE = "default"
POLL = "1s"
"""Between two looks at the catalogue where events are not to be had."""
STAGGER = 15_000
"""Milliseconds between one node and the next where servers do not wait for it to be healthy."""
DYNAMIC = "nomad/proxy-dynamic.yml"
"""What the content of Traefik's file is called. It is part of the job."""


def app_spec(settings: ProxySettings) -> AppSpec:
    """The proxy of a cluster as an app. Raises ConfigError for settings that Nomad does not
    have."""
    if found := list(_problems(settings)):
        raise ConfigError(found, source="the configuration for Nomad")
    return AppSpec(
        name=NAME,
        backend=Backend.NOMAD,
        image=settings.image.partition("@")[0].rpartition(":")[0] or settings.image,
        services=(_traefik(settings),),
        proxy=settings,
        files={
            path: hashlib.sha256(content).hexdigest() for path, content in files(settings).items()
        },
    )


def _problems(settings: ProxySettings) -> Iterator[Problem]:
    if settings.network != ProxySettings().network:
        yield Problem(
            "proxy.network",
            "Nomad has no networks to attach to",
            "leave it out: the proxy sends to the addresses in Nomad's catalogue",
        )
    if settings.encrypted:
        yield Problem(
            "proxy.encrypted",
            "Nomad has no networks of its own to encrypt",
            "leave it out, and join the nodes by a network that is private or encrypted",
        )


def files(settings: ProxySettings) -> dict[str, bytes]:
    """The proxy's configuration files: path → content."""
    return {DYNAMIC: static.dynamic(settings)}


def _traefik(settings: ProxySettings) -> Service:
    return Service.model_validate(
        {
            "name": SERVICE,
            "image": settings.image,
            "command": (),
            "port": settings.http_port,
            "domains": (),
            "env": static.environment(settings),
            "secrets": static.secrets(settings),
            "files": {static.DYNAMIC_TARGET: DYNAMIC},
            "volumes": (f"certificates:{CERTIFICATES}",) if settings.email else (),
            "user": "0:0",
            "init": False,
            "capabilities": ("NET_BIND_SERVICE",),
            # Where the cluster lets nobody use more than is reserved, this is all there is.
            "memory": "256MiB",
            "memory_limit": "1GiB",
            "cpu": 0.1,
            "drain": "1s",
            "stop_grace": "10s",
            "labels": {
                ROLE: PROXY,
                **static.unknown(settings, port=settings.http_port),
                **_ready(),
            },
            "healthcheck": {"path": READY, "interval": "2s", "timeout": "2s", "retries": 10},
            "update": {"order": "stop-first", "monitor": "2s"},
            "placement": {"constraints": settings.constraints},
        }
    )


def _ready() -> dict[str, str]:
    return {
        f"{ROUTERS}proxy_ready.entrypoints": PING,
        f"{ROUTERS}proxy_ready.rule": f"Path(`{READY}`)",
        f"{ROUTERS}proxy_ready.service": "ping@internal",
    }


def is_proxy(service: Service) -> bool:
    return service.labels.get(ROLE) == PROXY


def of_system(app: AppSpec) -> bool:
    """Whether an app is one replica on each node, instead of a number of them."""
    return any(map(is_proxy, app.services))


def group(usual: Json, source: Source, service: Service) -> Json:
    """The group of the proxy. Jobs of this type have no count, spread, rescheduling or migration
    (`Validate` of TaskGroup in nomad/structs/structs.go)."""
    left = {k: v for k, v in usual.items() if k not in ("Spreads", "ReschedulePolicy", "Migrate")}
    (own,) = usual["Tasks"]
    return left | {
        "Count": 1,
        "Update": usual["Update"] | {"Stagger": ns(STAGGER)},
        "Networks": [_network(source.app.proxy)],
        "Tasks": [_task(own, source, service)],
    }


def _network(settings: ProxySettings) -> Json:
    ports = {"http": settings.http_port} | (
        {"https": settings.https_port} if settings.https else {}
    )
    return {
        "Mode": "host",
        "DynamicPorts": [{"Label": PING}],
        "ReservedPorts": [{"Label": label, "Value": port} for label, port in ports.items()],
    }


def _task(usual: Json, source: Source, service: Service) -> Json:
    config = {key: value for key, value in usual["Config"].items() if key != "ports"}
    called = literal.for_driver(list(_arguments(source)))
    return usual | {
        "Config": config | {"args": [*called, PING_ADDRESS], "network_mode": "host"},
        "Identity": {"Env": True, "File": False},
        "KillSignal": "SIGTERM",
        "Services": [_in_catalogue(source, service)],
    }


def _arguments(source: Source) -> tuple[str, ...]:
    settings = source.app.proxy
    return static.arguments(
        settings,
        http=settings.http_port,
        https=settings.https_port,
        provider=tuple(_provider(source)),
        certificates=CERTIFICATES,
    )


def _provider(source: Source) -> Iterator[str]:
    yield "--entrypoints.http.asdefault=true"
    if source.app.proxy.https:
        yield "--entrypoints.https.asdefault=true"
    yield "--providers.nomad=true"
    yield f"--providers.nomad.endpoint.address={API}"
    yield "--providers.nomad.exposedbydefault=false"
    served = namespaces(source)
    if served != [DEFAULT_NAMESPACE]:
        yield f"--providers.nomad.namespaces={','.join(served)}"
    if source.version >= EVENTS_BY_IDENTITY:
        yield "--providers.nomad.watch=true"
    else:
        yield f"--providers.nomad.refreshinterval={POLL}"


def namespaces(source: Source) -> list[str]:
    """The namespaces whose apps the proxy serves."""
    own = source.settings.namespace or DEFAULT_NAMESPACE
    return sorted({own, *source.app.proxy.namespaces})


def _in_catalogue(source: Source, service: Service) -> Json:
    settings = source.app.proxy
    (usual,) = services.services(source.app, service)
    told = [f"{ROLE}={PROXY}", f"{SERVES}={','.join(namespaces(source))}"]
    told += [f"{HTTPS}={settings.https_port}"] if settings.https else []
    checks = [check | {"PortLabel": PING} for check in usual["Checks"]]
    left = {key: value for key, value in usual.items() if key != "CanaryTags"}
    return left | {"Tags": sorted([*usual["Tags"], *told]), "Checks": checks}


def pulling(usual: Json) -> Json:
    """The job that brings an image to the nodes of the proxy, of one that runs a command once."""
    (group_,) = usual["TaskGroups"]
    (own,) = group_["Tasks"]
    config = {key: value for key, value in own["Config"].items() if key != "network_mode"}
    left = {key: value for key, value in group_.items() if key != "ReschedulePolicy"}
    return usual | {
        "Type": "sysbatch",
        "TaskGroups": [left | {"Tasks": [own | {"Config": config}]}],
    }
