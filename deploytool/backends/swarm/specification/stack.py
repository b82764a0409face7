"""AppSpec → a Swarm stack file with everything explicit. Pure and deterministic.

Version 3.13 of the format is needed for `start_interval`: docker command lines from 25 on read it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import health, labels, refused, templates
from deploytool.backends.swarm.specification.scripts import Script
from deploytool.json_types import Json
from deploytool.render import RENDERED
from deploytool.render.files import RenderedFile
from deploytool.render.text import to_yaml
from deploytool.spec import AppSpec, Service
from deploytool.units import format_duration

HEADER = """\
# {app}: {rendered}{env}; change that instead.
# `docker stack deploy --compose-file {path} {app}` deploys it; $IMAGE names another image.
"""


def path(app: AppSpec) -> str:
    """Where the file belongs, relative to the project: stacks/APP.yml."""
    environment = f".{app.environment}" if app.environment else ""
    return f"stacks/{app.name}{environment}.yml"


def render(app: AppSpec) -> str:
    """The text of the stack file."""
    env = f" for {app.environment}" if app.environment else ""
    header = HEADER.format(app=app.name, rendered=RENDERED.decode(), env=env, path=path(app))
    header += "".join(f"# {warning}\n" for warning in warnings(app))
    return header + to_yaml(document(app))


def warnings(app: AppSpec) -> list[str]:
    """Where what `docker stack deploy` makes of the file is not what a deploy makes."""
    own = swarm.default_network(app.name)
    shared = sorted(
        f"{service.name} on {network}"
        for service in app.services
        for network in swarm.networks(app, service)
        if network != own
    )
    if not shared:
        return []
    return [
        "docker stack deploy gives services their short names on networks that other apps are on "
        f"too, which deploytool deploy does not: {', '.join(shared)}"
    ]


def document(app: AppSpec) -> Json:
    """The stack file as data."""
    used = {name for service in app.services for name in swarm.networks(app, service)}
    secrets = sorted({name for service in app.services for name in service.secrets})
    files = sorted({path for service in app.services for path in service.files.values()})
    configs = [*(_config(app, path) for path in files), *map(_script(app), swarm.all_scripts(app))]
    volumes = {v.source for s in app.services for v in s.volumes if not v.is_bind}
    own = swarm.default_network(app.name)
    return {
        "version": "3.13",
        "services": {
            service.name: _literal(_service(app, service)) | {"image": _image(app, service)}
            for service in app.services
        },
        "networks": ({"default": _default_network(app)} if own in used else {})
        | {name: {"external": True, "name": name} for name in sorted(used - {own})},
        **({"volumes": {name: {} for name in sorted(volumes)}} if volumes else {}),
        **({"secrets": {name: _secret(app, name) for name in secrets}} if secrets else {}),
        **({"configs": dict(configs)} if configs else {}),
    }


def _default_network(app: AppSpec) -> Json:
    options = {"driver_opts": {"encrypted": ""}} if app.proxy.encrypted else {}
    return {"driver": "overlay", **options}


def _secret(app: AppSpec, name: str) -> Json:
    """A secret of the cluster; a variable names a version of it, where one can be called so."""
    made_by_hand = swarm.secret_name(app.name, name)
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        return {"external": True, "name": made_by_hand}
    return {"external": True, "name": f"${{SECRET_{name}:-{made_by_hand}}}"}


def _config(app: AppSpec, path: str) -> tuple[str, Json]:
    name = swarm.file_name(app, path)
    own_labels = swarm.file_labels(app, path)
    del own_labels[labels.STACK]
    # The file's path is relative to the stack file, which is one folder below the project.
    file = posixpath.normpath(f"../{path}")
    return name, _literal({"file": file, "labels": own_labels, "name": name})


def _script(app: AppSpec) -> Callable[[Script], tuple[str, Json]]:
    """The entry of a script's config, whose file `render` writes beside the stack file."""

    def entry(script: Script) -> tuple[str, Json]:
        name, own_labels = script.config_name(app.name), script.config_labels(app.name)
        del own_labels[labels.STACK]
        return name, {"file": f"./{script.path}", "labels": own_labels, "name": name}

    return entry


def files(app: AppSpec) -> list[RenderedFile]:
    """The stack file, and the scripts that it refers to. Raises ConfigError for what a Swarm does
    not take."""
    refused.check(app)
    scripts = (
        RenderedFile(Path(f"stacks/{script.path}"), script.content.decode(), is_beside=True)
        for script in swarm.all_scripts(app)
    )
    return [RenderedFile(Path(path(app)), render(app)), *scripts]


def _environment(app: AppSpec, service: Service) -> Json:
    """An empty variable is a name that ends with "=": for `NAME: ""` the command line would take a
    value from its own environment (`updateEnvironment` in the docker CLI's cli/compose/loader)."""
    found = swarm.environment(app, service)
    return {name if value else f"{name}=": value or None for name, value in found.items()}


def _service(app: AppSpec, service: Service) -> Json:
    own = swarm.default_network(app.name)
    described: Json = {
        "depends_on": sorted(set(service.depends_on)),
        "command": swarm.arguments(app, service),
        "environment": _environment(app, service),
        "cap_add": swarm.capabilities(service),
        "cap_drop": swarm.dropped_capabilities(service),
        "init": swarm.has_init(service),
        "read_only": service.read_only,
        "user": service.user,
        "hostname": service.hostname,
        "extra_hosts": [f"{name}:{ip}" for name, ip in sorted(service.extra_hosts.items())],
        "ulimits": {n: {"soft": s, "hard": h} for n, s, h in swarm.ulimits(service)},
        "stop_grace_period": format_duration(service.stop_grace),
        "healthcheck": _healthcheck(app, service),
        "logging": _logging(service),
        "networks": ["default" if name == own else name for name in swarm.networks(app, service)],
        "ports": _ports(service),
        "secrets": [
            {"source": name, "target": name, "uid": "0", "gid": "0", "mode": 0o444}
            for name in sorted(service.secrets)
        ],
        "configs": [
            {"source": name, "target": target, "uid": "0", "gid": "0", "mode": 0o444}
            for name, target in swarm.mounted_files(app, service)
        ],
        "volumes": _volumes(service),
        "deploy": _deploy(app, service),
    }
    return {key: value for key, value in described.items() if value not in (None, [], {})}


def _image(app: AppSpec, service: Service) -> str:
    if service.image:
        return str(_literal(service.image))
    return f"${{IMAGE:-{_literal(app.image)}:latest}}"


def _literal(value: Any) -> Any:
    """The same with all text such that the docker command line's interpolation leaves it as it
    is."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _healthcheck(app: AppSpec, service: Service) -> Json | None:
    check = service.check
    if check is None:
        return {"disable": True} if service.healthcheck is False else None
    interval, retries = health.pace(check)
    return {
        "test": health.test(app, service, check),
        "interval": format_duration(interval),
        "timeout": format_duration(check.timeout),
        "retries": retries,
        "start_period": format_duration(check.start_period),
        "start_interval": format_duration(check.start_interval),
    }


def _logging(service: Service) -> Json:
    options = swarm.logging_options(service)
    return {"driver": service.logging.driver} | ({"options": options} if options else {})


def _ports(service: Service) -> list[Json]:
    return [
        {
            "mode": publish.mode,
            "protocol": publish.protocol,
            "published": publish.port,
            "target": publish.target or service.port,
        }
        for publish in sorted(service.publish, key=lambda p: (p.target or 0, p.port, p.protocol))
    ]


def _volumes(service: Service) -> list[Json]:
    mounts: list[Json] = [
        {
            "type": "bind" if volume.is_bind else "volume",
            "source": templates.path(service, volume.source),
            "target": templates.path(service, volume.target),
            "read_only": volume.read_only,
        }
        for volume in sorted(service.volumes, key=lambda v: v.target)
    ]
    for folder, limit in service.in_memory:
        size = {"tmpfs": {"size": limit}} if limit else {}
        mounts.append({"type": "tmpfs", "target": templates.literal(folder), **size})
    return mounts


def _deploy(app: AppSpec, service: Service) -> Json:
    own_labels = swarm.service_labels(app, service)
    del own_labels[labels.STACK]
    return {
        "mode": service.mode,
        **({} if service.is_global else {"replicas": service.replicas}),
        "endpoint_mode": "vip",
        "labels": own_labels,
        "resources": _resources(service),
        "restart_policy": _restart_policy(service),
        "placement": _placement(service),
        "update_config": _update_config(service, service.update.on_failure),
        "rollback_config": _update_config(service, "pause"),
    }


def _resources(service: Service) -> Json:
    def amounts(cores: float | None, memory: int | None) -> Json:
        found: Json = {}
        if cores:
            found["cpus"] = f"{cores:.9f}".rstrip("0").rstrip(".")
        if memory:
            found["memory"] = f"{memory}b"
        return found

    pids = {"pids": service.pids} if service.pids else {}
    return {
        "limits": amounts(service.cpu_limit, service.memory_limit) | pids,
        "reservations": amounts(service.cpu, service.memory),
    }


def _restart_policy(service: Service) -> Json:
    policy = service.restart
    return {
        "condition": policy.condition,
        "delay": format_duration(policy.delay),
        "max_attempts": policy.max_attempts,
        "window": format_duration(policy.window),
    }


def _placement(service: Service) -> Json:
    placement = service.placement
    return {
        "constraints": sorted(placement.constraints),
        "preferences": [{"spread": name} for name in placement.spread],
        "max_replicas_per_node": placement.max_per_node,
    }


def _update_config(service: Service, on_failure: str) -> Json:
    update = service.update
    return {
        "parallelism": update.parallelism,
        "delay": format_duration(update.delay),
        "failure_action": on_failure,
        "monitor": format_duration(update.monitor),
        "max_failure_ratio": update.max_failure_ratio,
        "order": service.update_order,
    }
