"""AppSpec → the engine's ServiceSpec. Pure.

What `docker stack deploy` makes of the rendered stack file and what this makes of the same AppSpec
are equal, but for the release's own labels and the image's digest; docker/cli's
cli/compose/convert is what it is held against, in tests/contract and tests/live.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from deploytool.backends.swarm import labels
from deploytool.spec import AppSpec, HealthCheck, Image, Release, Service

Json = dict[str, Any]
CHAINED = ".middlewares"
"""A routing label that lists several: a user's own come after those of the path prefix."""
NANOSECONDS = 1_000_000
"""per millisecond"""

HEALTH_SCRIPT = (
    "import socket,sys;"
    "s=socket.create_connection(('127.0.0.1',{port}),{timeout});"
    "s.sendall(b'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n');"
    "r=s.recv(256).split(b'\\r\\n')[0].decode();"
    "ok=r[9:10] in ('2','3');"
    "sys.exit(0 if ok else 'GET {path}: '+(r or 'no answer'))"
)


ENGINE_PAUSE = 2_000
"""Milliseconds that the engine itself waits between taking a replica off the network and stopping
it."""
DRAIN_SCRIPT = (
    '"$0" "$@" & p=$!; '
    'd() {{ trap "kill -$1 $p" TERM QUIT; {{ sleep {seconds}; kill -$1 $p; }} >/dev/null 2>&1 & '
    "s=$!; }}; "
    "trap 'd TERM' TERM; trap 'd QUIT' QUIT; trap 'kill $p' INT; "
    "while wait $p; c=$?; kill -0 $p; do :; done 2>/dev/null; kill $s 2>/dev/null; exit $c"
)
"""A process whose stop comes later: what it is asked by TERM or QUIT it is told after a while, and
at once when it is asked again, or by INT. The shell ends when the process does, with its exit code.
"""


def service_spec(app: AppSpec, service: Service, image: Image, release: Release | None) -> Json:
    """The complete specification of one service, every list sorted."""
    return {
        "Name": service_name(app.name, service.name),
        "Labels": service_labels(app, service)
        | {labels.IMAGE: image.tag}
        | ({labels.RELEASE: release.id} if release else {}),
        "TaskTemplate": {
            "ContainerSpec": _container(app, service, image, release),
            "LogDriver": {
                "Name": "json-file",
                "Options": logging_options(service),
            },
            "Resources": _resources(service),
            "RestartPolicy": _restart_policy(service),
            "Placement": _placement(service, image),
            "Networks": [
                {"Target": name, "Aliases": [service.name]} for name in networks(app, service)
            ],
            "ForceUpdate": 0,
        },
        "Mode": {"Replicated": {"Replicas": service.replicas}},
        "UpdateConfig": _update_config(service, service.update.on_failure),
        "RollbackConfig": _update_config(service, "pause"),
        "EndpointSpec": {"Mode": "vip", "Ports": _ports(service)},
    }


def service_name(app: str, service: str) -> str:
    return f"{app}_{service}"


def default_network(app: str) -> str:
    return f"{app}_default"


def secret_name(app: str, secret: str) -> str:
    return f"{app}_{secret}"


def networks(app: AppSpec, service: Service) -> list[str]:
    """The networks of a service: the app's own, the proxy's where it is routed, and the named."""
    names = {default_network(app.name), *service.networks}
    if app.hosts(service):
        names.add(app.proxy.network)
    return sorted(names)


def service_labels(app: AppSpec, service: Service) -> dict[str, str]:
    """The labels of a service that do not change from release to release."""
    routing = _proxy_labels(app, service)
    own = {
        name: f"{routing[name]},{value}" if name in routing and name.endswith(CHAINED) else value
        for name, value in service.labels.items()
    }
    return {labels.STACK: app.name, labels.APP: app.name} | routing | own


def environment(app: AppSpec, service: Service) -> dict[str, str]:
    """Variables of the process. Forwarded headers are believed from the proxy's network only."""
    proxied = {"FORWARDED_ALLOW_IPS": app.proxy.subnet} if app.hosts(service) else {}
    return proxied | service.env


def arguments(app: AppSpec, service: Service) -> list[str]:
    """What the container runs: the process, with the steps before it and the delay of its stop."""
    command = list(app.command(service))
    delay = stop_delay(app, service)
    if not (delay or service.prestart):
        return command
    run = DRAIN_SCRIPT.format(seconds=f"{delay / 1000:g}") if delay else 'exec "$0" "$@"'
    step = f"{shlex.join(service.prestart)} && " if service.prestart else ""
    return ["/bin/sh", "-c", f"{step}{{ {run}; }}" if delay and step else f"{step}{run}", *command]


def stop_delay(app: AppSpec, service: Service) -> int:
    """Milliseconds that a replica which shall stop goes on serving, beyond the engine's own pause.

    Only what is behind the proxy gets any, and only where its command is known here: an image's
    own cannot be wrapped.
    """
    if not app.hosts(service) or not app.command(service):
        return 0
    return max(0, service.drain - ENGINE_PAUSE)


def health_test(app: AppSpec, service: Service, check: HealthCheck) -> list[str]:
    """A check that needs nothing in the image but Python, started without `site` to be cheap."""
    if check.command:
        return ["CMD", *check.command]
    hosts = app.hosts(service)
    script = HEALTH_SCRIPT.format(
        port=service.port,
        path=check.path,
        timeout=max(1, check.timeout // 1000),
        host=hosts[0] if hosts else "localhost",
    )
    return ["CMD", "python", "-I", "-S", "-c", script]


def capabilities(service: Service) -> list[str]:
    """What a process keeps of what is dropped, as the engine names it."""
    names = {name.removeprefix("CAP_") for name in service.capabilities}
    return sorted("ALL" if name == "ALL" else f"CAP_{name}" for name in names)


def logging_options(service: Service) -> dict[str, str]:
    return {
        "max-file": str(service.logging.max_files),
        "max-size": str(service.logging.max_size),
    }


def _proxy_labels(app: AppSpec, service: Service) -> dict[str, str]:
    """Routing, as Traefik's Swarm provider reads it."""
    hosts = app.hosts(service)
    if not hosts:
        return {}
    router = f"{app.name}-{service.name}"
    rule = " || ".join(_match(host) for host in sorted(hosts))
    prefix = service.path_prefix.rstrip("/")
    found = {
        "traefik.enable": "true",
        "traefik.swarm.network": app.proxy.network,
        f"traefik.http.routers.{router}.entrypoints": "http",
        f"traefik.http.routers.{router}.rule": rule,
        f"traefik.http.routers.{router}.service": router,
        f"traefik.http.services.{router}.loadbalancer.server.port": str(service.port),
    }
    if prefix:
        found |= {
            f"traefik.http.routers.{router}.rule": f"({rule}) && PathPrefix(`{prefix}`)",
            f"traefik.http.routers.{router}.middlewares": router,
            f"traefik.http.middlewares.{router}.stripprefix.prefixes": prefix,
        }
    return found


def _match(host: str) -> str:
    if not host.startswith("*."):
        return f"Host(`{host}`)"
    return f"HostRegexp(`^[a-z0-9-]+{host[1:].replace('.', chr(92) + '.')}$`)"


def _container(app: AppSpec, service: Service, image: Image, release: Release | None) -> Json:
    check = service.healthcheck
    spec: Json = {
        "Image": image.reference,
        "Labels": {labels.STACK: app.name} | ({labels.RELEASE: release.id} if release else {}),
        "Args": arguments(app, service),
        "Env": sorted(f"{name}={value}" for name, value in environment(app, service).items()),
        "Mounts": list(_mounts(app, service)),
        "StopGracePeriod": service.stop_grace * NANOSECONDS,
        "Secrets": [
            {
                "SecretName": secret_name(app.name, name),
                "File": {"Name": name, "UID": "0", "GID": "0", "Mode": 0o444},
            }
            for name in sorted(service.secrets)
        ],
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": capabilities(service),
        "ReadOnly": service.read_only,
    }
    if service.user is not None:
        spec["User"] = service.user
    if check is not None:
        spec["Healthcheck"] = {
            "Test": health_test(app, service, check),
            "Interval": check.interval * NANOSECONDS,
            "Timeout": check.timeout * NANOSECONDS,
            "Retries": check.retries,
            "StartPeriod": check.start_period * NANOSECONDS,
            "StartInterval": check.start_interval * NANOSECONDS,
        }
    return spec


def _mounts(app: AppSpec, service: Service) -> Iterator[Json]:
    for volume in sorted(service.volumes, key=lambda v: v.target):
        mount: Json = {"Target": volume.target, "ReadOnly": volume.read_only}
        if volume.is_bind:
            yield mount | {"Type": "bind", "Source": volume.source}
        else:
            yield mount | {
                "Type": "volume",
                "Source": f"{app.name}_{volume.source}",
                "VolumeOptions": {"Labels": {labels.STACK: app.name}},
            }
    if has_tmp(service):
        yield {"Type": "tmpfs", "Target": "/tmp"}


def has_tmp(service: Service) -> bool:
    """Whether /tmp is made writable: where the rest is not, unless it is already mounted."""
    return service.read_only and all(volume.target != "/tmp" for volume in service.volumes)


def _resources(service: Service) -> Json:
    return {
        "Limits": {
            "NanoCPUs": _nano_cpus(service.cpu_limit),
            "MemoryBytes": service.memory_limit or 0,
        },
        "Reservations": {
            "NanoCPUs": _nano_cpus(service.cpu),
            "MemoryBytes": service.memory or 0,
        },
    }


def _nano_cpus(cores: float | None) -> int:
    return round((cores or 0) * 10**9)


def _restart_policy(service: Service) -> Json:
    policy = service.restart
    return {
        "Condition": policy.condition,
        "Delay": policy.delay * NANOSECONDS,
        "MaxAttempts": policy.max_attempts,
        "Window": policy.window * NANOSECONDS,
    }


def _placement(service: Service, image: Image) -> Json:
    placement = service.placement
    return {
        "Constraints": sorted(placement.constraints),
        "Preferences": [{"Spread": {"SpreadDescriptor": name}} for name in placement.spread],
        "MaxReplicas": placement.max_per_node,
        "Platforms": [{"Architecture": arch, "OS": os} for arch, os in image.platforms],
    }


def _update_config(service: Service, on_failure: str) -> Json:
    update = service.update
    return {
        "Parallelism": update.parallelism,
        "Delay": update.delay * NANOSECONDS,
        "FailureAction": on_failure,
        "Monitor": update.monitor * NANOSECONDS,
        "MaxFailureRatio": update.max_failure_ratio,
        "Order": service.update_order,
    }


def _ports(service: Service) -> list[Json]:
    ports = [
        {
            "Protocol": publish.protocol,
            "TargetPort": publish.target or service.port,
            "PublishedPort": publish.port,
            "PublishMode": publish.mode,
        }
        for publish in service.publish
    ]
    return sorted(ports, key=lambda p: (p["TargetPort"], p["PublishedPort"], p["Protocol"]))
