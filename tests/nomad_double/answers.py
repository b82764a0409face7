"""What the API says of a thing: the fields that Nomad's own types have, those too that nothing here
fills in (github.com/hashicorp/nomad/api; tests/contract/test_nomad_clients.py compares them)."""

from __future__ import annotations

from typing import Any

from tests.nomad_double.state import Json

NEVER = "0001-01-01T00:00:00Z"
"""How Go writes a time that is not set."""
EVENT: Json = {
    "FailsTask": False,
    "RestartReason": "",
    "SetupError": "",
    "DriverError": "",
    "DriverMessage": "",
    "ExitCode": 0,
    "Signal": 0,
    "KillReason": "",
    "KillTimeout": 0,
    "KillError": "",
    "StartDelay": 0,
    "DownloadError": "",
    "ValidationError": "",
    "DiskLimit": 0,
    "DiskSize": 0,
    "FailedSibling": "",
    "VaultError": "",
    "TaskSignalReason": "",
    "TaskSignal": "",
    "GenericSource": "",
}
EVALUATION: Json = {
    "Priority": 50,
    "NodeID": "",
    "NodeModifyIndex": 0,
    "StatusDescription": "",
    "Wait": 0,
    "WaitUntil": NEVER,
    "NextEval": "",
    "PreviousEval": "",
    "RelatedEvals": None,
    "PlanAnnotations": None,
    "ClassEligibility": None,
    "EscapedComputedClass": False,
    "QuotaLimitReached": "",
    "MissingNonNodeResources": None,
    "AnnotatePlan": False,
    "QueuedAllocations": {},
    "SnapshotIndex": 0,
}
LISTED_ALLOCATION: Json = {
    "FollowupEvalID": "",
    "RescheduleTracker": None,
    "PreemptedAllocations": None,
    "PreemptedByAllocation": "",
}
ALLOCATION: Json = {
    **LISTED_ALLOCATION,
    "DesiredTransition": {
        "Migrate": None,
        "Reschedule": None,
        "ForceReschedule": None,
        "NoShutdownDelay": None,
        "MigrateDisablePlacement": None,
    },
    "Metrics": None,
    "NetworkStatus": None,
    "Resources": None,
    "TaskResources": None,
    "Services": None,
}
JOB_STUB = (
    *("ID", "Name", "Namespace", "Datacenters", "Type", "Priority", "Status", "Stop"),
    *("SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex"),
)
NODE_STUB = (
    *("Address", "ID", "Datacenter", "Name", "NodeClass", "NodePool", "Version", "Drain"),
    *("SchedulingEligibility", "Status", "StatusDescription", "Drivers", "LastDrain"),
    *("CreateIndex", "ModifyIndex"),
)
NOT_IN_LISTS = ("Job", "AllocatedResources", "DeploymentID", "PreviousAllocation")


def allocation(thing: Json) -> Json:
    known = {k: v for k, v in _with_states(thing).items() if k not in ("JobType", "JobVersion")}
    index = {"AllocModifyIndex": thing["ModifyIndex"]}
    return {**ALLOCATION, **index, **known, "Job": job(thing["Job"])}


def allocation_stub(thing: Json, *, resources: bool = False) -> Json:
    """An allocation in a list is without its job and some more, and without what it was given
    unless somebody asks for that (nomad/structs/alloc.go, AllocListStub)."""
    listed = {k: v for k, v in _with_states(thing).items() if k not in NOT_IN_LISTS}
    given = {"AllocatedResources": thing["AllocatedResources"]} if resources else {}
    return {**LISTED_ALLOCATION, **listed, **given}


def _with_states(thing: Json) -> Json:
    states = {
        name: state | {"Events": [{**EVENT, **event} for event in state.get("Events") or ()]}
        for name, state in (thing["TaskStates"] or {}).items()
    }
    status = thing["DeploymentStatus"]
    return thing | {
        "TaskStates": states or None,
        "DeploymentStatus": {"Timestamp": NEVER, **status} if status else None,
    }


def evaluation(thing: Json) -> Json:
    return {**EVALUATION, **{k: v for k, v in thing.items() if k != "JobCreateIndex"}}


def job(thing: Json) -> Json:
    return {"StatusDescription": "", "VersionTag": None, **thing}


def job_stub(thing: Json, *, meta: bool) -> Json:
    """Metadata only where it is asked for (command/agent/job_endpoint.go)."""
    found: dict[str, Any] = {name: thing.get(name) for name in JOB_STUB}
    found |= {"ParentID": "", "Periodic": False, "ParameterizedJob": False, "JobSummary": None}
    found |= {"StatusDescription": ""}
    return found | ({"Meta": thing.get("Meta")} if meta else {})


def node_stub(node: Json, *, resources: bool, system: bool) -> Json:
    """A node in a list has no metadata, of its attributes those of its system at most, and its
    resources where they are asked for (nomad/structs/structs.go, Node.Stub)."""
    found: dict[str, Any] = {name: node[name] for name in NODE_STUB}
    if resources:
        found |= {name: node[name] for name in ("NodeResources", "ReservedResources")}
    if system:
        attributes = node["Attributes"].items()
        found |= {"Attributes": {k: v for k, v in attributes if k.startswith("os.")}}
    return found


def node(node: Json) -> Json:
    return {k: v for k, v in node.items() if k not in ("Address", "Version")}


def namespace(name: str) -> Json:
    return {
        "Name": name,
        "Description": "",
        "Quota": "",
        "Capabilities": None,
        "Meta": None,
        "NodePoolConfiguration": None,
        "VaultConfiguration": None,
        "ConsulConfiguration": None,
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }
