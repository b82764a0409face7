"""The differences between two ServiceSpecs. Pure.

The engine fills in and leaves out: empty values are dropped as its own JSON does, network ids
become names, and what belongs to a release rather than to the service is not compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deploytool import diff
from deploytool.backends.model import FieldChange
from deploytool.backends.swarm.planning import scripts
from deploytool.backends.swarm.specification import labels, templates
from deploytool.json_types import Json

DEFAULTS: Json = {"Isolation": "default", "Runtime": "container"}
FREE_TEXT = ("Env", "Labels", "Options", "Secrets", "Configs", "Hosts", "Ulimits", "Tmpfs")
"""Tables of the user's own: an empty value in them is a value, and not left out."""
COUNTS = ("Replicas",)
"""Numbers of which the engine keeps a zero too."""
NANOSECOND_FIELDS = (
    *("Interval", "Timeout", "StartPeriod", "StartInterval"),
    *("StopGracePeriod", "Delay", "Monitor", "Window"),
)


def normal(spec: Json, network_names: Mapping[str, str]) -> Json:
    """A ServiceSpec in the one form in which two can be compared."""
    flat = dict(spec)
    flat["Labels"] = _without_release(spec.get("Labels"))
    if is_global(spec):
        flat["Mode"] = {"Name": "global"}
    template = dict(spec.get("TaskTemplate", {}))
    template.pop("ForceUpdate", None)
    template["Networks"] = sorted(
        (
            attachment | {"Target": network_names.get(attachment["Target"], attachment["Target"])}
            for attachment in template.get("Networks") or spec.get("Networks") or ()
        ),
        key=lambda attachment: str(attachment["Target"]),
    )
    container = dict(template.get("ContainerSpec", {}))
    container["Labels"] = _without_release(container.get("Labels"))
    container["Image"] = without_tag(str(container.get("Image", "")))
    container["Env"] = _variables(container.get("Env"))
    container["Secrets"] = _mounted(container.get("Secrets"), "SecretName")
    container["Configs"] = _mounted(container.get("Configs"), "ConfigName")
    container["Hosts"] = dict(host.split(" ", 1)[::-1] for host in container.get("Hosts") or ())
    container["Ulimits"] = _ulimits(container.get("Ulimits"))
    scripts.separate(container)
    _separate_tmpfs(container)
    template["ContainerSpec"] = container
    placement = dict(template.get("Placement") or {})
    placement["Platforms"] = sorted(
        placement.get("Platforms") or (), key=lambda p: (p.get("Architecture"), p.get("OS"))
    )
    template["Placement"] = placement
    flat["TaskTemplate"] = template
    endpoint = dict(spec.get("EndpointSpec") or {})
    endpoint["Ports"] = sorted(endpoint.get("Ports") or (), key=_port_key)
    flat["EndpointSpec"] = endpoint
    flat.pop("Networks", None)
    pruned = _prune(flat)
    return pruned if isinstance(pruned, dict) else {}


def differences(before: Json, after: Json) -> tuple[FieldChange, ...]:
    """Field by field, between two normal forms; secrets in variables are masked."""
    return diff.differences(before, after, key_of=key_of, shown=_shown)


KEYS = (
    ("TaskTemplate.ContainerSpec.Healthcheck.StartPeriod", "healthcheck.start_period"),
    ("TaskTemplate.ContainerSpec.Healthcheck.StartInterval", "healthcheck.start_interval"),
    ("TaskTemplate.ContainerSpec.Healthcheck.", "healthcheck."),
    ("TaskTemplate.ContainerSpec.Args", "command"),
    ("TaskTemplate.ContainerSpec.Drain", "drain"),
    ("TaskTemplate.ContainerSpec.Scripts.", ""),
    ("TaskTemplate.ContainerSpec.Mounts", "volumes"),
    ("TaskTemplate.ContainerSpec.TmpSize", "tmp_size"),
    ("TaskTemplate.ContainerSpec.Hosts.", "extra_hosts."),
    ("TaskTemplate.ContainerSpec.StopGracePeriod", "stop_grace"),
    ("TaskTemplate.ContainerSpec.ReadOnly", "read_only"),
    ("TaskTemplate.ContainerSpec.CapabilityAdd", "capabilities"),
    ("TaskTemplate.ContainerSpec.CapabilityDrop", "dropped capabilities"),
    ("TaskTemplate.ContainerSpec.Labels.", "container labels."),
    ("TaskTemplate.ContainerSpec.Env.", "env."),
    ("TaskTemplate.ContainerSpec.Secrets.", "secrets."),
    ("TaskTemplate.ContainerSpec.Configs.", "files."),
    ("TaskTemplate.ContainerSpec.", ""),
    ("TaskTemplate.Resources.Limits.MemoryBytes", "memory_limit"),
    ("TaskTemplate.Resources.Limits.NanoCPUs", "cpu_limit"),
    ("TaskTemplate.Resources.Limits.Pids", "pids"),
    ("TaskTemplate.Resources.Reservations.MemoryBytes", "memory"),
    ("TaskTemplate.Resources.Reservations.NanoCPUs", "cpu"),
    ("TaskTemplate.RestartPolicy.MaxAttempts", "restart.max_attempts"),
    ("TaskTemplate.RestartPolicy.", "restart."),
    ("TaskTemplate.Placement.Preferences", "placement.spread"),
    ("TaskTemplate.Placement.MaxReplicas", "placement.max_per_node"),
    ("TaskTemplate.Placement.", "placement."),
    ("TaskTemplate.LogDriver.Options.max-size", "logging.max_size"),
    ("TaskTemplate.LogDriver.Options.max-file", "logging.max_files"),
    ("TaskTemplate.LogDriver.Options.", "logging.options."),
    ("TaskTemplate.LogDriver.Name", "logging.driver"),
    ("TaskTemplate.Networks", "networks"),
    ("Mode.Replicated.Replicas", "replicas"),
    ("Mode.Name", "mode"),
    ("UpdateConfig.FailureAction", "update.on_failure"),
    ("UpdateConfig.MaxFailureRatio", "update.max_failure_ratio"),
    ("UpdateConfig.", "update."),
    ("RollbackConfig.FailureAction", "rollback.on_failure"),
    ("RollbackConfig.MaxFailureRatio", "rollback.max_failure_ratio"),
    ("RollbackConfig.", "rollback."),
    ("EndpointSpec.Ports", "publish"),
    ("EndpointSpec.", "endpoint."),
    ("Labels.", "labels."),
    ("Name", "name"),
)
"""The engine's fields and the configuration's keys that they come from."""


OWN_NAMES = ("Labels.", "Env.", "Secrets.", "Configs.", "Scripts.", "Hosts.", "Options.")
"""Fields under which names are the user's own."""


def key_of(path: str) -> str:
    """The configuration's word for a field of the engine, which is what a reader knows."""
    for prefix, key in KEYS:
        if path.startswith(prefix):
            rest = path.removeprefix(prefix)
            return key + (rest if prefix.endswith(OWN_NAMES) else rest.lower())
    return path


def is_global(spec: Json) -> bool:
    """Whether a ServiceSpec is of one replica on each node."""
    return "Global" in (spec.get("Mode") or {})


def replaces_tasks(before: Json, after: Json) -> bool:
    """Whether going from one normal form to the other makes the cluster replace replicas."""
    return bool(
        before.get("TaskTemplate") != after.get("TaskTemplate")
        or _host_ports(before) != _host_ports(after)
    )


def without_tag(reference: str) -> str:
    """repo:tag@digest → repo@digest, which is what runs."""
    return re.sub(r":[\w.-]+@", "@", reference)


def _port_key(port: Json) -> tuple[Any, ...]:
    return (port.get("TargetPort", 0), port.get("PublishedPort", 0), port.get("Protocol", ""))


def _host_ports(spec: Json) -> list[Json]:
    ports = spec.get("EndpointSpec", {}).get("Ports", [])
    return [port for port in ports if port.get("PublishMode") == "host"]


def _without_release(found: Mapping[str, str] | None) -> dict[str, str]:
    return {k: v for k, v in (found or {}).items() if k not in labels.OF_RELEASE}


def _mounted(references: list[Json] | None, name: str) -> dict[str, str]:
    """Where secrets or configs are in the container → which; with the owner and the permissions
    where those are not what deploytool writes."""
    found = {}
    for reference in references or ():
        file = reference.get("File") or {}
        owner = f"{file.get('UID', '')}:{file.get('GID', '')}"
        rights = f"{owner} {file.get('Mode', 0):o}"
        usual = rights == "0:0 444"
        found[file.get("Name", "")] = reference[name] + ("" if usual else f" {rights}")
    return found


def _ulimits(found: list[Json] | None) -> dict[str, str]:
    return {u["Name"]: f"{u.get('Soft', 0)}:{u.get('Hard', 0)}" for u in found or ()}


def _separate_tmpfs(container: Json) -> None:
    """Take what is in memory out of what is mounted: it is no volume of the configuration's."""
    kept, in_memory = [], {}
    for mount in container.get("Mounts") or ():
        if mount.get("Type") == "tmpfs":
            size = (mount.get("TmpfsOptions") or {}).get("SizeBytes")
            in_memory[mount["Target"]] = size or "no limit"
        else:
            kept.append(mount)
    container["Mounts"] = kept
    container["TmpSize"] = in_memory.pop("/tmp", None)
    container["Tmpfs"] = in_memory


def _variables(env: list[str] | None) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in env or ())


def _prune(value: Any) -> Any:
    """Without empty values, as the engine's JSON omits them. Lists keep their length."""
    if isinstance(value, dict):
        pruned = {
            key: dict(item) if key in FREE_TEXT and item else _prune(item)
            for key, item in value.items()
        }
        return {
            key: item
            for key, item in pruned.items()
            if (item or key in COUNTS) and DEFAULTS.get(key) != item
        }
    if isinstance(value, list | tuple):
        return [_prune(item) for item in value]
    return value


_SECRETS = "TaskTemplate.ContainerSpec.Secrets."


def _version(secret: str, name: str) -> str:
    """The version in a secret's name on the cluster; the name itself where it was made
    without deploytool."""
    found = re.search(rf"_{re.escape(secret)}\.(\d+)$", name)
    return f"version {found[1]}" if found else name


def _shown(path: str, value: Any) -> Any:
    name = path.rpartition(".")[2]
    if path.startswith(_SECRETS):
        return _version(path.removeprefix(_SECRETS), str(value))
    if ".Env." in path:
        value = diff.variable(name, value)
    if name in NANOSECOND_FIELDS and isinstance(value, int):
        from deploytool.units import format_duration

        return format_duration(value // 1_000_000)
    if ".LogDriver.Options." in path:
        return diff.variable(name, value)
    is_memory = name in ("MemoryBytes", "TmpSize") or ".ContainerSpec.Tmpfs." in path
    if is_memory and isinstance(value, int):
        from deploytool.units import format_memory

        return format_memory(value)
    if name == "NanoCPUs" and isinstance(value, int):
        return value / 10**9
    if ".ContainerSpec.Env." in path or path.endswith(".ContainerSpec.Mounts"):
        return templates.readable(value)
    return value
