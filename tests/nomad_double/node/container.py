"""A task's settings → what the engine is told to create, as `drivers/docker/driver.go` does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from docker.types import LogConfig, Mount, Ulimit

from tests.nomad_double.nodes import Node
from tests.nomad_double.state import Json

KNOWN = frozenset(
    {"image", "image_pull_timeout", "args", "command", "entrypoint", "ports", "init"}
    | {"readonly_rootfs", "cap_drop", "cap_add", "cpu_hard_limit", "volumes", "mount", "mounts"}
    | {"network_mode", "pids_limit", "hostname", "extra_hosts", "shm_size", "group_add"}
    | {"ulimit", "logging"}
)
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Refused(Exception):
    """Settings that the driver does not take."""


def settings(allocation: Json, task: Json, node: Node, folder: Path, env: dict[str, str]) -> Json:
    """Arguments of `create_container` of the engine's low-level client. Raises Refused."""
    config = task["Config"]
    if unknown := sorted(config.keys() - KNOWN):
        raise Refused(f"failed to parse config: Invalid label: No argument or block type is named "
                      f'"{unknown[0]}".')  # fmt: skip
    filled = interpolated(config, env, node)
    resources = task.get("Resources") or {}
    host: dict[str, Any] = {
        "cap_drop": filled.get("cap_drop") or None,
        "cap_add": [name.upper() for name in filled.get("cap_add") or ()] or None,
        "read_only": bool(filled.get("readonly_rootfs")),
        "init": bool(filled.get("init")),
        "log_config": _log_config(filled),
        "ulimits": _ulimits(filled),
        "network_mode": filled.get("network_mode") or "default",
        "pids_limit": filled.get("pids_limit"),
        "cpu_shares": int(resources.get("CPU") or 0) or None,
        "extra_hosts": dict(h.split(":", 1) for h in filled.get("extra_hosts") or ()) or None,
        **_memory(resources),
        **_ports(allocation, filled),
    }
    binds, mounts = _volumes(filled, node, folder)
    ports = [(to, kind) for to in _targets(allocation, filled) for kind in ("tcp", "udp")]
    return {
        "image": filled["image"],
        "command": [*_list(filled.get("command")), *(filled.get("args") or ())] or None,
        "entrypoint": filled.get("entrypoint"),
        "user": task.get("User") or None,
        "environment": env,
        "hostname": filled.get("hostname") or None,
        "ports": ports,
        "stop_signal": task.get("KillSignal") or None,
        "host_config": host | {"binds": binds, "mounts": mounts},
    }


def _log_config(config: Json) -> LogConfig:
    """What the configuration says, else what the driver's `pluginConfig` has by default."""
    for logging in config.get("logging") or ():
        options = {key: value for one in logging.get("config") or () for key, value in one.items()}
        return LogConfig(type=logging.get("type") or logging.get("driver"), config=options)
    return LogConfig(type="json-file", config={"max-size": "2m", "max-file": "2"})


def _ulimits(config: Json) -> list[Ulimit]:
    """A limit without a colon is both (`sliceMergeUlimit`)."""
    found = []
    for name, text in (item for one in config.get("ulimit") or () for item in one.items()):
        soft, _, hard = text.partition(":")
        found.append(Ulimit(name=name, soft=int(soft), hard=int(hard or soft)))
    return found


def _list(value: str | None) -> list[str]:
    return [value] if value else []


def _memory(resources: Json) -> Json:
    """`memory_max` is the limit, and `memory` what is reserved then; -1 is none."""
    reserved, most = int(resources["MemoryMB"]), int(resources.get("MemoryMaxMB") or 0)
    if most < 0:
        return {"mem_reservation": f"{reserved}m"}
    if most:
        limit = {"mem_limit": f"{most}m", "memswap_limit": f"{most}m"}
        return limit | {"mem_reservation": f"{reserved}m"}
    return {"mem_limit": f"{reserved}m", "memswap_limit": f"{reserved}m"}


def _chosen(allocation: Json, config: Json) -> list[Json]:
    wanted = config.get("ports") or ()
    shared = allocation["AllocatedResources"]["Shared"]["Ports"]
    return [port for port in shared if port["Label"] in wanted]


def _ports(allocation: Json, config: Json) -> Json:
    if config.get("network_mode") == "host":
        return {}
    bound: dict[str, Any] = {}
    for port in _chosen(allocation, config):
        for kind in ("tcp", "udp"):
            bound.setdefault(f"{port['To']}/{kind}", []).append((port["HostIP"], port["Value"]))
    return {"port_bindings": bound}


def _targets(allocation: Json, config: Json) -> list[int]:
    return sorted({int(port["To"]) for port in _chosen(allocation, config)})


def _volumes(config: Json, node: Node, folder: Path) -> tuple[list[str], list[Mount]]:
    """Paths of the task are bound; the node's own, and named volumes, are only where
    `volumes.enabled` says so (containerBinds, toDockerMount)."""
    allowed = node.attributes.get("driver.docker.volumes.enabled") == "true"
    binds = [f"{folder / name}:/{name}" for name in ("alloc", "local", "secrets")]
    mounts = []
    for volume in config.get("volumes") or ():
        source, _, rest = volume.partition(":")
        if source.startswith("/"):
            if not allowed:
                raise Refused(f"volumes are not enabled; cannot mount host path: {source!r}")
            binds.append(volume)
        else:
            binds.append(f"{folder / source}:{rest}")
    for mount in [*(config.get("mount") or ()), *(config.get("mounts") or ())]:
        kind: Literal["bind", "volume", "tmpfs"] = mount.get("type") or "volume"
        source = str(mount.get("source") or "")
        is_own = kind == "bind" and not source.startswith("/")
        if kind != "tmpfs" and not is_own and not allowed:
            raise Refused(f"volumes are not enabled; cannot mount volume: {source!r}")
        options = (mount.get("tmpfs_options") or [{}])[0] if kind == "tmpfs" else {}
        mounts.append(
            Mount(
                target=mount["target"],
                source=str(folder / source) if is_own else source or None,
                type=kind,
                read_only=bool(mount.get("readonly")),
                tmpfs_size=options.get("size") or None,
            )
        )
    return binds, mounts


def environment(allocation: Json, task: Json, node: Node, extra: dict[str, str]) -> dict[str, str]:
    """The task's own variables, and Nomad's (client/taskenv)."""
    group = allocation["TaskGroup"]
    index = allocation["Name"].rpartition("[")[2].rstrip("]")
    found = {
        "NOMAD_ALLOC_ID": allocation["ID"],
        "NOMAD_SHORT_ALLOC_ID": allocation["ID"][:8],
        "NOMAD_ALLOC_NAME": allocation["Name"],
        "NOMAD_ALLOC_INDEX": index,
        "NOMAD_TASK_NAME": task["Name"],
        "NOMAD_GROUP_NAME": group,
        "NOMAD_JOB_NAME": allocation["JobID"],
        "NOMAD_JOB_ID": allocation["JobID"],
        "NOMAD_NAMESPACE": allocation["Namespace"],
        "NOMAD_DC": "dc1",
        "NOMAD_REGION": "global",
        "NOMAD_ALLOC_DIR": "/alloc",
        "NOMAD_TASK_DIR": "/local",
        "NOMAD_SECRETS_DIR": "/secrets",
    }
    for port in allocation["AllocatedResources"]["Shared"]["Ports"]:
        label = port["Label"]
        found |= {
            f"NOMAD_PORT_{label}": str(port["To"]),
            f"NOMAD_HOST_PORT_{label}": str(port["Value"]),
            f"NOMAD_IP_{label}": port["HostIP"],
            f"NOMAD_ADDR_{label}": f"{port['HostIP']}:{port['Value']}",
        }
    own = {k: replaced(v, found, node) for k, v in (task.get("Env") or {}).items()}
    return found | own | extra


def replaced(text: str, env: dict[str, str], node: Node) -> str:
    """`${NAME}` of a field: what is not known stays (helper/args, ReplaceEnv)."""

    def known(found: re.Match[str]) -> str:
        name = found[1]
        value = env.get(name) or env.get(name.removeprefix("env."))
        return value or node.value(f"${{{name}}}") or found[0]

    return REFERENCE.sub(known, text)


def interpolated(value: Any, env: dict[str, str], node: Node) -> Any:
    """A driver's settings are read as HCL once more: `$${` is `${`, and a quoted text in `${}` is
    itself (helper/pluginutils/hclutils, ParseHclInterface)."""
    if isinstance(value, dict):
        return {key: interpolated(item, env, node) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, env, node) for item in value]
    return _template(value, env, node) if isinstance(value, str) else value


def _template(text: str, env: dict[str, str], node: Node) -> str:
    def part(found: re.Match[str]) -> str:
        if found[1]:
            return found[1][1:]
        inner = found[2].strip()
        if literal := LITERAL.fullmatch(inner):
            return literal[1]
        value = env.get(inner) or env.get(inner.removeprefix("env."))
        value = value or node.value(f"${{{inner}}}")
        if value is None:
            raise Refused(f'There is no variable named "{inner}".')
        return value

    return re.sub(r"([$%][$%]\{)|\$\{([^{}]*)\}", part, text)
