"""AppSpec → the engine's ServiceSpec. Pure.

What `docker stack deploy` makes of the rendered stack file and what this makes of the same AppSpec
are equal, but for the release's own labels and the image's digest; docker/cli's
cli/compose/convert is what it is held against, in tests/contract and tests/live.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from deploytool.backends.swarm.specification import health, labels, templates
from deploytool.backends.swarm.specification.routing import routing_labels
from deploytool.backends.swarm.specification.scripts import DRAIN, HEALTHCHECK, Script
from deploytool.json_types import Json
from deploytool.spec import ROTATED, AppSpec, Image, Release, Service
from deploytool.traefik.routing import renamed

CHAINED = ".middlewares"
"""A routing label that lists several: a user's own come after those that are made here."""
NANOSECONDS = 1_000_000
"""per millisecond"""

ENGINE_PAUSE = 2_000
"""Milliseconds that the engine itself waits between taking a replica off the network and stopping
it."""


def service_spec(
    app: AppSpec,
    service: Service,
    image: Image,
    release: Release | None,
    secrets: Mapping[str, str] | None = None,
    *,
    start_interval: bool = True,
) -> Json:
    """The complete specification of one service, every list sorted. `secrets` names the versions
    that it reads; those of the release where there is one. Its short name is one on the app's own
    network only: on a network that apps share, another app's service may have the same.
    `start_interval` is whether the engines check new replicas more often than others."""
    if secrets is None:
        secrets = release.secrets if release else {}
    own = default_network(app.name)
    return {
        "Name": service_name(app.name, service.name),
        "Labels": service_labels(app, service)
        | {labels.IMAGE: image.tag}
        | ({labels.RELEASE: release.id} if release else {}),
        "TaskTemplate": {
            "ContainerSpec": _container(app, service, image, release, secrets)
            | _healthcheck(app, service, start_interval=start_interval),
            "LogDriver": {
                "Name": service.logging.driver,
                "Options": logging_options(service),
            },
            "Resources": _resources(service),
            "RestartPolicy": _restart_policy(service),
            "Placement": _placement(service, image),
            "Networks": [
                {"Target": name, **({"Aliases": [service.name]} if name == own else {})}
                for name in networks(app, service)
            ],
            "ForceUpdate": 0,
        },
        "Mode": _mode(service),
        "UpdateConfig": _update_config(service, service.update.on_failure),
        "RollbackConfig": _update_config(service, "pause"),
        "EndpointSpec": {"Mode": "vip", "Ports": _ports(service)},
    }


def _mode(service: Service) -> Json:
    return {"Global": {}} if service.is_global else {"Replicated": {"Replicas": service.replicas}}


def service_name(app: str, service: str) -> str:
    return f"{app}_{service}"


def default_network(app: str) -> str:
    return f"{app}_default"


def volume_name(app: str, volume: str) -> str:
    return f"{app}_{volume}"


def secret_name(app: str, secret: str) -> str:
    """What a secret is called that was made without deploytool."""
    return f"{app}_{secret}"


def version_name(app: str, secret: str, version: int) -> str:
    return f"{secret_name(app, secret)}.{version}"


def file_name(app: AppSpec, path: str) -> str:
    """The Swarm config that holds a file of the project: another content has another name.

    64 characters is what the engine takes.
    """
    digest = app.files[path][:12]
    file = re.sub(r"[^A-Za-z0-9_.-]", "-", path.rpartition("/")[2])
    return f"{app.name}_{file[: 64 - len(app.name) - len(digest) - 2]}-{digest}"


def file_labels(app: AppSpec, path: str) -> dict[str, str]:
    """The labels of the config that holds a file of the project."""
    return {labels.STACK: app.name, labels.APP: app.name, labels.FILE: path}


def networks(app: AppSpec, service: Service) -> list[str]:
    """The networks of a service: the app's own, the proxy's where it is routed, and the named."""
    names = {default_network(app.name), *service.networks}
    if app.hosts(service):
        names.add(app.proxy.network)
    return sorted(names)


def service_labels(app: AppSpec, service: Service) -> dict[str, str]:
    """The labels of a service that do not change from release to release."""
    routing = routing_labels(app, service)
    own = {
        name: f"{routing[name]},{value}" if name in routing and name.endswith(CHAINED) else value
        for name, value in renamed(app, service.labels).items()
    }
    required = {labels.INIT: labels.REQUIRED} if service.init else {}
    return {labels.STACK: app.name, labels.APP: app.name} | required | routing | own


def environment(app: AppSpec, service: Service) -> dict[str, str]:
    """Variables of the process, as the Swarm has to be given them. Forwarded headers are believed
    from the proxy's network only, and from the load balancers that the proxy believes."""
    own = templates.environment(service, service.env)
    if not app.hosts(service):
        return own
    trusted = ",".join((app.proxy.subnet, *app.proxy.trusted_proxies))
    return {"FORWARDED_ALLOW_IPS": trusted} | own


def arguments(app: AppSpec, service: Service) -> list[str]:
    """What the container runs: the process, with the steps before it and the delay of its stop."""
    command = list(app.command(service))
    delay = stop_delay(app, service)
    if not (delay or service.prestart):
        return command
    drain = ["/bin/sh", DRAIN.target, f"{delay / 1000:g}"] if delay else []
    if not service.prestart:
        return [*drain, *command]
    process = " ".join(["exec", *drain, '"$0" "$@"'])
    return ["/bin/sh", "-c", f"{shlex.join(service.prestart)} && {process}", *command]


def stop_delay(app: AppSpec, service: Service) -> int:
    """Milliseconds that a replica which shall stop goes on serving, beyond the engine's own pause.

    Only what is behind the proxy needs any, and only a command that is known here can be wrapped.
    """
    if not app.hosts(service) or not app.command(service):
        return 0
    return max(0, service.drain - ENGINE_PAUSE)


def has_init(service: Service) -> bool:
    """Whether a service asks for an init process, which a node may not have."""
    return service.init is not False


def dropped_capabilities(service: Service) -> list[str]:
    """What is taken from a process of what the engine gives all."""
    return [] if service.capabilities == "default" else ["ALL"]


def capabilities(service: Service) -> list[str]:
    """What a process keeps of what is dropped, as the engine names it."""
    if service.capabilities == "default":
        return []
    names = {name.removeprefix("CAP_") for name in service.capabilities}
    return sorted("ALL" if name == "ALL" else f"CAP_{name}" for name in names)


def logging_options(service: Service) -> dict[str, str]:
    logging = service.logging
    if logging.driver not in ROTATED:
        return dict(logging.options)
    return logging.options | {
        "max-file": str(logging.max_files),
        "max-size": str(logging.max_size),
    }


def ulimits(service: Service) -> list[tuple[str, int, int]]:
    """Name, soft and hard value of each limit."""
    found = ((name, *limit.split(":")) for name, limit in service.ulimits.items())
    return sorted((name, int(soft), int(hard)) for name, soft, hard in found)


def _container(
    app: AppSpec,
    service: Service,
    image: Image,
    release: Release | None,
    secrets: Mapping[str, str],
) -> Json:
    spec: Json = {
        "Image": image.reference,
        "Labels": {labels.STACK: app.name} | ({labels.RELEASE: release.id} if release else {}),
        "Args": arguments(app, service),
        "Env": sorted(f"{name}={value}" for name, value in environment(app, service).items()),
        "Mounts": list(_mounts(app, service)),
        "StopGracePeriod": service.stop_grace * NANOSECONDS,
        "Secrets": [
            {
                "SecretName": on_cluster,
                "File": {"Name": name, "UID": "0", "GID": "0", "Mode": 0o444},
            }
            for on_cluster, name in sorted(
                (secrets.get(name, secret_name(app.name, name)), name) for name in service.secrets
            )
        ],
        "Configs": [
            {
                "ConfigName": name,
                "File": {"Name": target, "UID": "0", "GID": "0", "Mode": 0o444},
            }
            for name, target in mounted_files(app, service)
        ],
        "CapabilityDrop": dropped_capabilities(service),
        "CapabilityAdd": capabilities(service),
        "ReadOnly": service.read_only,
        "Init": has_init(service),
    }
    if service.user is not None:
        spec["User"] = service.user
    if service.hostname is not None:
        spec["Hostname"] = service.hostname
    if service.extra_hosts:
        spec["Hosts"] = [f"{ip} {name}" for name, ip in sorted(service.extra_hosts.items())]
    if service.ulimits:
        spec["Ulimits"] = [{"Name": n, "Soft": s, "Hard": h} for n, s, h in ulimits(service)]
    return spec


def _healthcheck(app: AppSpec, service: Service, *, start_interval: bool) -> Json:
    check = service.check
    if check is None:
        return {"Healthcheck": {"Test": ["NONE"]}} if service.healthcheck is False else {}
    interval, retries = health.pace(check, start_interval=start_interval)
    found: Json = {
        "Test": health.test(app, service, check),
        "Interval": interval * NANOSECONDS,
        "Timeout": check.timeout * NANOSECONDS,
        "Retries": retries,
        "StartPeriod": check.start_period * NANOSECONDS,
    }
    if start_interval:
        found["StartInterval"] = check.start_interval * NANOSECONDS
    return {"Healthcheck": found}


def mounted_files(app: AppSpec, service: Service) -> list[tuple[str, str]]:
    """The configs of a service and where each is in the container."""
    own = [(file_name(app, path), target) for target, path in service.files.items()]
    run = [(script.config_name(app.name), script.target) for script in scripts(app, service)]
    return sorted([*own, *run])


def scripts(app: AppSpec, service: Service) -> list[Script]:
    """The scripts that replicas of a service run."""
    check = service.check
    is_checked = check is not None and not check.command
    needed = {DRAIN: stop_delay(app, service) > 0, HEALTHCHECK: is_checked}
    return [script for script, is_needed in needed.items() if is_needed]


def all_scripts(app: AppSpec) -> list[Script]:
    """The scripts that replicas of an app run."""
    used = {script for service in app.services for script in scripts(app, service)}
    return sorted(used, key=lambda script: script.file)


def _mounts(app: AppSpec, service: Service) -> Iterator[Json]:
    for volume in sorted(service.volumes, key=lambda v: v.target):
        target = templates.path(service, volume.target)
        mount: Json = {"Target": target, "ReadOnly": volume.read_only}
        if volume.is_bind:
            yield mount | {"Type": "bind", "Source": templates.path(service, volume.source)}
        else:
            yield mount | {
                "Type": "volume",
                "Source": volume_name(app.name, volume.source),
                "VolumeOptions": {"Labels": {labels.STACK: app.name}},
            }
    for folder, limit in service.in_memory:
        size = {"TmpfsOptions": {"SizeBytes": limit}} if limit else {}
        yield {"Type": "tmpfs", "Target": templates.literal(folder), **size}


def _resources(service: Service) -> Json:
    return {
        "Limits": {
            "NanoCPUs": _nano_cpus(service.cpu_limit),
            "MemoryBytes": service.memory_limit or 0,
            "Pids": service.pids,
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
