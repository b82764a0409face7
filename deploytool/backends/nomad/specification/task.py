"""The container of a replica: the Docker driver's settings, files, secrets, resources. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deploytool.backends.nomad.specification import literal, secrets, services
from deploytool.backends.nomad.specification.policies import SECOND, ns
from deploytool.backends.nomad.specification.version import (
    NEWEST,
    NO_MEMORY_LIMIT,
    TEMPLATE_ONCE,
    ServerVersion,
)
from deploytool.config.nomad import NomadSettings
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Image, ProxySettings, Service, tagged

MIB = 2**20
LEAST_MEMORY = 10
"""MiB that Nomad lets a task have at least."""
MEMORY = 300
"""MiB of a service that says nothing: Nomad schedules by a number, and this is its own."""
MHZ = 100
"""The same for its processor."""
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")
"""Networks in which the nodes are, and the bridge of each node's engine."""
BRIDGE = "172.17.0.0/16"
FILES = "local/deploytool"
SECRETS = "secrets/deploytool"
"""Folders of a task that are mounted into its container."""
ENVIRONMENT = "secrets/deploytool.env"


@dataclass(frozen=True)
class Source:
    """Everything that a job is made of."""

    app: AppSpec
    settings: NomadSettings = field(default_factory=NomadSettings)
    images: Mapping[str, Image] = field(default_factory=dict)
    """Service → the image that it runs; by its tag where it has none here."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Secret → the name of the version that replicas read."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path in the project → content."""
    version: ServerVersion = NEWEST


def task(source: Source, service: Service) -> Json:
    """The one task of a service's group, named as the service."""
    is_known = bool(source.app.command(service))
    is_served = service.port is not None
    found: Json = {
        "Name": service.name,
        "Driver": "docker",
        "Config": config(source, service, arguments(source.app, service)),
        "Env": environment(source.app, service),
        "Resources": resources(source, service),
        "KillTimeout": ns(kill_timeout(service)),
        "ShutdownDelay": ns(service.drain if is_served else 0),
        "LogConfig": log_config(service),
        "Templates": templates(source, service),
        "Services": services.services(source.app, service),
        "Meta": services.check_mark(source.app, service),
    }
    if is_known:
        found["KillSignal"] = "SIGTERM"
    if service.user is not None:
        found["User"] = service.user
    return {key: value for key, value in found.items() if value != [] and value != {}}


def kill_timeout(service: Service) -> int:
    """Milliseconds from the signal to the kill: `drain` is part of `stop_grace`."""
    return service.stop_grace - (service.drain if service.port is not None else 0)


def arguments(app: AppSpec, service: Service) -> list[str]:
    command = list(app.command(service))
    if not service.prestart:
        return command
    script = f'{shlex.join(service.prestart)} && exec "$0" "$@"'
    return ["/bin/sh", "-c", script, *command]


def config(source: Source, service: Service, command: Sequence[str]) -> Json:
    """The driver's settings. Blocks are lists, as in what Nomad itself makes of HCL."""
    app, image = source.app, source.images.get(service.name)
    mounts = _mounts(app, service)
    found: Json = {
        "image": image.reference if image else tagged(service.image or app.image),
        "image_pull_timeout": "5m",
        "args": list(command),
        "ports": services.port_labels(service),
        "init": service.init is True,
        "readonly_rootfs": service.read_only,
        "cap_drop": [] if service.capabilities == "default" else ["all"],
        "cap_add": capabilities(service),
        "cpu_hard_limit": service.cpu is not None and service.cpu == service.cpu_limit,
        "volumes": [*_mounted_files(service)],
    }
    if service.pids:
        found["pids_limit"] = service.pids
    if service.extra_hosts:
        found["extra_hosts"] = [f"{name}:{ip}" for name, ip in sorted(service.extra_hosts.items())]
    if service.ulimits:
        found["ulimit"] = [dict(sorted(service.ulimits.items()))]
    if log_driver := _log_driver(service):
        found["logging"] = [log_driver]
    kept = {key: value for key, value in found.items() if value != []}
    escaped: Json = literal.for_driver(kept)
    if service.hostname is not None:
        is_template = "hostname" in service.templates
        name = service.hostname
        escaped["hostname"] = name if is_template else literal.for_driver(name)
    unchecked = {"healthchecks": [{"disable": True}]} if service.healthcheck is False else {}
    return escaped | ({"mount": mounts} if mounts else {}) | unchecked


def _log_driver(service: Service) -> Json:
    """The engine's log driver, where that is not Nomad's own choice. Nomad reads the output from
    the engine, whatever the driver, and `logs` says how much of it is kept."""
    logging = service.logging
    if logging.driver == "json-file" and not logging.options:
        return {}
    options = {"config": [dict(sorted(logging.options.items()))]} if logging.options else {}
    return {"type": logging.driver, **options}


def capabilities(service: Service) -> list[str]:
    """What a process keeps of what is dropped, as Nomad's documentation names it."""
    if service.capabilities == "default":
        return []
    return sorted({name.removeprefix("CAP_").lower() for name in service.capabilities})


def _mounted_files(service: Service) -> Iterator[str]:
    for target in sorted(service.files):
        yield f"{FILES}/{file_name(target)}:{target}:ro"
    if service.secrets:
        yield f"{SECRETS}:/run/secrets:ro"


def file_name(target: str) -> str:
    """What a file of a container is called in the task's own folder."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", target.rpartition("/")[2])
    return f"{hashlib.sha256(target.encode()).hexdigest()[:8]}-{name}"


def _mounts(app: AppSpec, service: Service) -> list[Json]:
    found: list[Json] = []
    for volume in sorted(service.volumes, key=lambda v: v.target):
        source = volume.source if volume.is_bind else f"{app.name}_{volume.source}"
        found.append(
            {
                "type": "bind" if volume.is_bind else "volume",
                "source": source,
                "target": volume.target,
                "readonly": volume.read_only,
            }
        )
    if "volumes" not in service.templates:
        found = literal.for_driver(found)
    for folder, limit in service.in_memory:
        size = {"tmpfs_options": [{"size": limit}]} if limit else {}
        target = literal.for_driver(folder)
        found.append({"type": "tmpfs", "target": target, "readonly": False, **size})
    return found


def environment(app: AppSpec, service: Service) -> dict[str, str]:
    """Variables of the process but for those that Nomad fills in. Forwarded headers are believed
    from the nodes, where the proxy is, and from the load balancers that the proxy believes."""
    filled_in = set(service.templates)
    own = {name: value for name, value in service.env.items() if f"env.{name}" not in filled_in}
    if not app.hosts(service) or "env.FORWARDED_ALLOW_IPS" in filled_in:
        return own
    is_told = app.proxy.subnet != ProxySettings().subnet
    nodes = (app.proxy.subnet, BRIDGE) if is_told else PRIVATE
    trusted = ",".join((*nodes, *app.proxy.trusted_proxies))
    return {"FORWARDED_ALLOW_IPS": trusted} | own


def resources(source: Source, service: Service) -> Json:
    reserved, most = memory(service)
    found: Json = {
        "CPU": mhz(service, source.settings.mhz_per_core),
        "MemoryMB": reserved,
    }
    if most is not None:
        found["MemoryMaxMB"] = most
    elif source.version >= NO_MEMORY_LIMIT:
        found["MemoryMaxMB"] = -1
    return found


def mhz(service: Service, per_core: int) -> int:
    return max(1, round(service.cpu * per_core)) if service.cpu else MHZ


def memory(service: Service) -> tuple[int, int | None]:
    """MiB that are reserved, and MiB at most. Without a reservation it is the limit: where
    the cluster allows no more than is reserved, that is all there is."""
    limit = service.memory_limit
    wanted = service.memory if service.memory is not None else limit
    reserved = MEMORY if wanted is None else max(LEAST_MEMORY, math.ceil(wanted / MIB))
    return reserved, None if limit is None else max(reserved, math.ceil(limit / MIB))


def log_config(service: Service) -> Json:
    """Of each of the two streams."""
    return {
        "MaxFiles": service.logging.max_files,
        "MaxFileSizeMB": log_size(service),
        "Disabled": False,
    }


def log_size(service: Service) -> int:
    return max(1, math.ceil(service.logging.max_size / MIB))


def templates(source: Source, service: Service) -> list[Json]:
    found = [
        _template(source, f"{FILES}/{file_name(target)}", *_content(source.files.get(path, b"")))
        for target, path in sorted(service.files.items())
    ]
    for name in sorted(service.secrets):
        text = secrets.template(secret_version(source, name))
        found.append(_template(source, f"{SECRETS}/{name}", text, ("{{", "}}")))
    if filled_in := _filled_in(service):
        found.append(_environment_template(filled_in))
    return found


def secret_version(source: Source, secret: str) -> secrets.SecretVersion:
    """The version of a secret that replicas read."""
    if given := source.secrets.get(secret):
        return secrets.SecretVersion.parse(given)
    return secrets.without_version(source.app.name, secret)


def _content(content: bytes) -> tuple[str, tuple[str, str]]:
    """The template that comes to a content, and its delimiters."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if text and literal.is_normal(text) and "\0" not in text:
        return text, literal.delimiters(text)
    return f'{{{{ "{base64.b64encode(content).decode()}" | base64Decode }}}}', ("{{", "}}")


def _template(source: Source, path: str, text: str, delimiters: tuple[str, str]) -> Json:
    """A file that is written once: another version is another text, which replaces the replica."""
    once = {"Once": True} if source.version >= TEMPLATE_ONCE else {}
    return {
        "DestPath": path,
        "EmbeddedTmpl": text,
        "LeftDelim": delimiters[0],
        "RightDelim": delimiters[1],
        "ChangeMode": "noop",
        "Splay": 0,
        "Perms": "0444",
        "Envvars": False,
        "ErrMissingKey": True,
        **once,
    }


def _filled_in(service: Service) -> dict[str, str]:
    names: Collection[str] = sorted(key for key in service.templates if key.startswith("env."))
    return {name: service.env[name] for name in (key.removeprefix("env.") for key in names)}


def _environment_template(variables: Mapping[str, str]) -> Json:
    """Variables that consul-template fills in. One that changes restarts the process."""
    return {
        "DestPath": ENVIRONMENT,
        "EmbeddedTmpl": "".join(f"{name}={text}\n" for name, text in variables.items()),
        "LeftDelim": "{{",
        "RightDelim": "}}",
        "ChangeMode": "restart",
        "Splay": ns(5 * SECOND),
        "Perms": "0400",
        "Envvars": True,
        "ErrMissingKey": True,
    }
