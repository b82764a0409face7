"""A service in one plain form, read from the engine's specification and from a stack file alike.

Numbers are in bytes, milliseconds and billionths of a core; lists whose order means nothing are
sorted; what is not there has its empty value.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from deploytool.backends.swarm.specification import labels

Json = dict[str, Any]
MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1, "µs": 0.001, "ns": 0.000001}


class GoLoader(yaml.SafeLoader):
    """YAML as Go's library means it, to which a lone "=" is text."""


GoLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith((":value", ":timestamp"))]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def of_engine(spec: Json, app: str) -> Json:
    """From a ServiceSpec."""
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    check = container.get("Healthcheck") or {}
    resources = template["Resources"]
    placement = template["Placement"]
    return {
        "command": container["Args"],
        "environment": dict(item.partition("=")[::2] for item in container["Env"]),
        "user": container.get("User", ""),
        "hostname": container.get("Hostname", ""),
        "extra_hosts": sorted(container.get("Hosts", [])),
        "ulimits": {u["Name"]: (u["Soft"], u["Hard"]) for u in container.get("Ulimits", [])},
        "read_only": container["ReadOnly"],
        "init": container["Init"],
        "stop_grace": round(container["StopGracePeriod"] / 10**6, 3),
        "cap_add": sorted(container["CapabilityAdd"]),
        "cap_drop": sorted(container["CapabilityDrop"]),
        "healthcheck": {
            "test": check.get("Test", []),
            "interval": check.get("Interval", 0) / 10**6,
            "timeout": check.get("Timeout", 0) / 10**6,
            "retries": check.get("Retries", 0),
            "start_period": check.get("StartPeriod", 0) / 10**6,
            "start_interval": check.get("StartInterval", 0) / 10**6,
        },
        "logging": template["LogDriver"],
        "secrets": sorted(
            (s["SecretName"], s["File"]["Name"], s["File"]["UID"], s["File"]["Mode"])
            for s in container["Secrets"]
        ),
        "files": sorted(
            (c["ConfigName"], c["File"]["Name"], c["File"]["UID"], c["File"]["Mode"])
            for c in container["Configs"]
        ),
        "volumes": sorted(
            (
                *(m["Type"], m.get("Source", ""), m["Target"], m.get("ReadOnly", False)),
                m.get("TmpfsOptions", {}).get("SizeBytes", 0),
            )
            for m in container["Mounts"]
        ),
        "networks": sorted(
            "default" if n["Target"] == f"{app}_default" else n["Target"]
            for n in template["Networks"]
        ),
        "ports": sorted(
            (p["TargetPort"], p["PublishedPort"], p["Protocol"], p["PublishMode"])
            for p in spec["EndpointSpec"]["Ports"]
        ),
        "endpoint_mode": spec["EndpointSpec"]["Mode"],
        "mode": "global" if "Global" in spec["Mode"] else "replicated",
        "replicas": spec["Mode"].get("Replicated", {}).get("Replicas"),
        "labels": {
            key: value
            for key, value in spec["Labels"].items()
            if key not in (labels.STACK, *labels.OF_RELEASE)
        },
        "limits": (*_amounts(resources["Limits"]), resources["Limits"].get("Pids", 0)),
        "reservations": _amounts(resources["Reservations"]),
        "restart": {
            "condition": template["RestartPolicy"]["Condition"],
            "delay": template["RestartPolicy"]["Delay"] / 10**6,
            "max_attempts": template["RestartPolicy"]["MaxAttempts"],
            "window": template["RestartPolicy"]["Window"] / 10**6,
        },
        "constraints": placement["Constraints"],
        "spread": [p["Spread"]["SpreadDescriptor"] for p in placement["Preferences"]],
        "max_per_node": placement["MaxReplicas"],
        "update": _engine_update(spec["UpdateConfig"]),
        "rollback": _engine_update(spec["RollbackConfig"]),
    }


def of_stack(document: Json, service: str, app: str) -> Json:
    """From a parsed stack file, the command line's own output included."""
    found = document["services"][service]
    deploy = found["deploy"]
    check = found.get("healthcheck") or {}
    placement = deploy.get("placement") or {}
    resources = deploy.get("resources") or {}
    restart = deploy["restart_policy"]
    external = document.get("secrets") or {}
    configs = document.get("configs") or {}
    return {
        "command": found.get("command", []),
        "environment": {
            # As the command line makes variables of it (`convertEnvironment`).
            name.removesuffix("=") if value is None else name: value or ""
            for name, value in found.get("environment", {}).items()
        },
        "user": found.get("user", ""),
        "hostname": found.get("hostname", ""),
        "extra_hosts": sorted(map(_host, found.get("extra_hosts", []))),
        "ulimits": {
            name: (limit, limit)
            if isinstance(limit, int)
            else (limit.get("soft", 0), limit.get("hard", 0))
            for name, limit in found.get("ulimits", {}).items()
        },
        "read_only": found.get("read_only", False),
        "init": found.get("init"),
        "stop_grace": _milliseconds(found["stop_grace_period"]),
        "cap_add": sorted(found.get("cap_add", [])),
        "cap_drop": sorted(found.get("cap_drop", [])),
        "healthcheck": {
            "test": check.get("test", []),
            "interval": _milliseconds(check.get("interval")),
            "timeout": _milliseconds(check.get("timeout")),
            "retries": check.get("retries", 0),
            "start_period": _milliseconds(check.get("start_period")),
            "start_interval": _milliseconds(check.get("start_interval")),
        },
        "logging": {
            "Name": found["logging"]["driver"],
            "Options": found["logging"].get("options", {}),
        },
        "secrets": sorted(
            (external[s["source"]]["name"], s["target"], s["uid"], s["mode"])
            for s in found.get("secrets", [])
        ),
        "files": sorted(
            (configs[c["source"]]["name"], c["target"], c["uid"], c["mode"])
            for c in found.get("configs", [])
        ),
        "volumes": sorted(
            (
                v["type"],
                f"{app}_{v['source']}" if v["type"] == "volume" else v.get("source", ""),
                v["target"],
                v.get("read_only", False),
                int(v.get("tmpfs", {}).get("size", 0)),
            )
            for v in found.get("volumes", [])
        ),
        "networks": sorted(found["networks"]),
        "ports": sorted(
            (p["target"], p["published"], p["protocol"], p["mode"]) for p in found.get("ports", [])
        ),
        "endpoint_mode": deploy["endpoint_mode"],
        "mode": deploy["mode"],
        "replicas": deploy.get("replicas"),
        "labels": deploy.get("labels", {}),
        "limits": (
            *_written_amounts(resources.get("limits") or {}),
            (resources.get("limits") or {}).get("pids", 0),
        ),
        "reservations": _written_amounts(resources.get("reservations") or {}),
        "restart": {
            "condition": restart["condition"],
            "delay": _milliseconds(restart["delay"]),
            "max_attempts": restart["max_attempts"],
            "window": _milliseconds(restart["window"]),
        },
        "constraints": placement.get("constraints", []),
        "spread": [p["spread"] for p in placement.get("preferences", [])],
        "max_per_node": placement.get("max_replicas_per_node", 0),
        "update": _stack_update(deploy["update_config"]),
        "rollback": _stack_update(deploy["rollback_config"]),
    }


def _host(entry: str) -> str:
    """As the command line makes an entry of /etc/hosts of it (`convertExtraHosts`)."""
    name, _, address = entry.partition(":")
    return f"{address} {name}"


def unescaped(value: Any) -> Any:
    """What interpolation makes of a stack file's text where no variable is set."""
    if isinstance(value, dict):
        return {key: unescaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unescaped(item) for item in value]
    return re.sub(DOLLARS, _interpolated, value) if isinstance(value, str) else value


DOLLARS = r"\$\$|\$\{\w+:-([^}]*)\}"


def _interpolated(found: re.Match[str]) -> str:
    return "$" if found[0] == "$$" else found[1]


def _amounts(resources: Json) -> tuple[int, int]:
    return resources["NanoCPUs"], resources["MemoryBytes"]


def _written_amounts(resources: Json) -> tuple[int, int]:
    memory = str(resources.get("memory", "0")).removesuffix("b")
    return round(float(resources.get("cpus", 0)) * 10**9), int(memory)


def _engine_update(config: Json) -> Json:
    return {
        "parallelism": config["Parallelism"],
        "delay": config["Delay"] / 10**6,
        "failure_action": config["FailureAction"],
        "monitor": config["Monitor"] / 10**6,
        "max_failure_ratio": config["MaxFailureRatio"],
        "order": config["Order"],
    }


def _stack_update(config: Json) -> Json:
    return {
        "parallelism": config["parallelism"],
        "delay": _milliseconds(config.get("delay")),
        "failure_action": config["failure_action"],
        "monitor": _milliseconds(config.get("monitor")),
        "max_failure_ratio": config.get("max_failure_ratio", 0),
        "order": config["order"],
    }


def _milliseconds(text: str | None) -> float:
    parts = re.findall(r"([0-9.]+)(h|ms|µs|ns|m|s)", text or "")
    return round(sum(float(number) * MILLISECONDS[unit] for number, unit in parts), 3)
