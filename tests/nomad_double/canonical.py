"""A job as servers keep it: every field of its type is there, and what they add is. Pure.

Fields and what they are without a value are those of recorded jobs (GET /v1/job/ID) and of
nomad/structs/structs.go; the constraint is of nomad/job_endpoint_hooks.go.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.nomad_double.state import Json

OF_THE_SERVER = (
    *("CreateIndex", "JobModifyIndex", "ModifyIndex", "Stable", "Status", "StatusDescription"),
    *("SubmitTime", "Version", "VersionTag"),
)
JOB: Json = {
    "Region": "global",
    "ParentID": "",
    "Type": "service",
    "Priority": 50,
    "AllAtOnce": False,
    "Datacenters": ["*"],
    "NodePool": "default",
    "Constraints": None,
    "Affinities": None,
    "Spreads": None,
    "Multiregion": None,
    "Periodic": None,
    "ParameterizedJob": None,
    "Dispatched": False,
    "DispatchIdempotencyToken": "",
    "Payload": None,
    "Update": {
        "Stagger": 30_000_000_000,
        "MaxParallel": 1,
        "HealthCheck": "",
        "MinHealthyTime": 0,
        "HealthyDeadline": 0,
        "ProgressDeadline": 0,
        "AutoRevert": False,
        "AutoPromote": False,
        "Canary": 0,
    },
    "Meta": None,
    "UI": None,
    "ConsulNamespace": "",
    "VaultNamespace": "",
    "NomadTokenID": "",
}
GROUP: Json = {
    "Count": 1,
    "Constraints": None,
    "Affinities": None,
    "Spreads": None,
    "Scaling": None,
    "Update": None,
    "Migrate": None,
    "Disconnect": None,
    "Networks": None,
    "Consul": None,
    "Services": None,
    "Volumes": None,
    "Meta": None,
    "ShutdownDelay": None,
    "StopAfterClientDisconnect": None,
    "MaxClientDisconnect": None,
}
TASK: Json = {
    "User": "",
    "Env": None,
    "Services": None,
    "Vault": None,
    "Consul": None,
    "Templates": None,
    "Constraints": None,
    "Affinities": None,
    "DispatchPayload": None,
    "Lifecycle": None,
    "Meta": None,
    "Artifacts": None,
    "Leader": False,
    "VolumeMounts": None,
    "ScalingPolicies": None,
    "KillSignal": "",
    "Kind": "",
    "CSIPluginConfig": None,
    "Identity": None,
    "Identities": None,
    "Actions": None,
}
NETWORK: Json = {
    "Mode": "",
    "Device": "",
    "CIDR": "",
    "IP": "",
    "Hostname": "",
    "MBits": 0,
    "DNS": None,
    "ReservedPorts": None,
    "DynamicPorts": None,
}
PORT: Json = {"Value": 0, "To": 0, "HostNetwork": "default"}
RESOURCES: Json = {
    "CPU": 100,
    "Cores": 0,
    "MemoryMB": 300,
    "MemoryMaxMB": 0,
    "DiskMB": 0,
    "IOPS": 0,
    "Networks": None,
    "Devices": None,
}
SERVICE: Json = {
    "Address": "",
    "EnableTagOverride": False,
    "CanaryTags": None,
    "Checks": None,
    "Connect": None,
    "Meta": None,
    "CanaryMeta": None,
    "TaggedAddresses": None,
}
DISCOVERY: Json = {
    "LTarget": "${attr.nomad.service_discovery}",
    "RTarget": "true",
    "Operand": "=",
}
"""Groups whose services Nomad keeps itself get this one."""
HAS_CHECKS: Json = {
    "LTarget": "${attr.nomad.version}",
    "RTarget": ">= 1.4.0",
    "Operand": "semver",
}
"""And this one, where they have checks."""


ZERO: tuple[object, ...] = (None, "", 0, False, [], {})
VERBATIM = frozenset({"Config", "Env", "Header", "Meta"})
"""What is in these is not Nomad's, so that nothing in them may be left out."""


def bare(value: Any) -> Any:
    """To compare with: without what is left out or zero, which is one thing for servers, as they
    read into types. Where a type's own default is another than zero, they tell the two apart, and
    this does not."""
    if isinstance(value, dict):
        kept = {k: v if k in VERBATIM else bare(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in ZERO}
    return [bare(item) for item in value] if isinstance(value, list) else value


def canonical(job: Json, namespace: str) -> Json:
    """With what servers fill in, and without what they alone set."""
    made = JOB | copy.deepcopy(job)
    made["Namespace"] = namespace
    made.setdefault("Name", made["ID"])
    made["TaskGroups"] = [_group(group, namespace) for group in made.get("TaskGroups") or ()]
    for name in (*OF_THE_SERVER, "Stop"):
        made.pop(name, None)
    return made


def _group(group: Json, namespace: str) -> Json:
    made = GROUP | group
    made["Tasks"] = [_task(task, made, namespace) for task in made.get("Tasks") or ()]
    made["Networks"] = [_network(network) for network in made["Networks"] or ()] or None
    made["Services"] = _services(made, Namespace=namespace)
    owned = [made, *made["Tasks"]]
    services = [service for owner in owned for service in owner["Services"] or ()]
    own = [service for service in services if service.get("Provider") == "nomad"]
    wanted = [DISCOVERY] if own else []
    wanted += [HAS_CHECKS] if any(service["Checks"] for service in own) else []
    there = made["Constraints"] or []
    made["Constraints"] = [*there, *(one for one in wanted if one not in there)] or None
    return made


def _network(network: Json) -> Json:
    made = NETWORK | network
    for name in ("ReservedPorts", "DynamicPorts"):
        made[name] = [PORT | port for port in made[name] or ()] or None
    return made


def _services(owner: Json, **given: str) -> list[Json] | None:
    return [SERVICE | given | service for service in owner["Services"] or ()] or None


def _task(task: Json, group: Json, namespace: str) -> Json:
    """It has the group's policy of restarts, where it has none."""
    made = TASK | {"RestartPolicy": group.get("RestartPolicy")} | task
    made["Resources"] = RESOURCES | (made.get("Resources") or {})
    made["Services"] = _services(made, Namespace=namespace, TaskName=task["Name"])
    return made
