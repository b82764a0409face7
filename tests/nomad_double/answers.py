"""What the API shows of what the double keeps: which fields an answer has, and what they are where
there is nothing. Pure.

Names and nullness are those of recorded answers and of the types in nomad/structs. Full allocations
and evaluations leave empty fields out, everything else has them (the `codec` tags there).
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.nomad_double.state import Json

TERMINAL = ("complete", "failed", "lost")
EMPTY: tuple[object, ...] = ("", None, 0, False, [], {})
EVENT: Json = {
    "Type": "",
    "Time": 0,
    "Message": "",
    "DisplayMessage": "",
    "Details": {},
    "FailsTask": False,
    "RestartReason": "",
    "SetupError": "",
    "DriverError": "",
    "ExitCode": 0,
    "Signal": 0,
    "KillTimeout": 0,
    "KillError": "",
    "KillReason": "",
    "StartDelay": 0,
    "DownloadError": "",
    "ValidationError": "",
    "DiskLimit": 0,
    "FailedSibling": "",
    "VaultError": "",
    "TaskSignalReason": "",
    "TaskSignal": "",
    "DriverMessage": "",
    "GenericSource": "",
}
TASK_STATE: Json = {
    "State": "pending",
    "Failed": False,
    "Restarts": 0,
    "LastRestart": None,
    "StartedAt": None,
    "FinishedAt": None,
    "Events": None,
    "TaskHandle": None,
}
TRANSITION: Json = {"ForceReschedule": None, "Migrate": None, "Reschedule": None}
STUB = (
    *("ID", "EvalID", "Name", "Namespace", "NodeID", "NodeName", "JobID", "JobType", "JobVersion"),
    *("TaskGroup", "DesiredStatus", "DesiredDescription", "ClientStatus", "ClientDescription"),
    *("DeploymentStatus", "NextAllocation", "CreateIndex", "ModifyIndex"),
    *("CreateTime", "ModifyTime"),
)
OF_STUBS_ALONE = ("JobType", "JobVersion")
JOB_STUB = (
    *("ID", "ParentID", "Name", "Namespace", "Datacenters", "NodePool", "Multiregion", "Type"),
    *("Priority", "Stop", "Status", "StatusDescription", "CreateIndex", "ModifyIndex"),
    *("JobModifyIndex", "SubmitTime"),
)
SUMMARY = ("Queued", "Complete", "Failed", "Running", "Starting", "Lost", "Unknown")
BY_STATUS = {
    "pending": "Starting",
    "running": "Running",
    "complete": "Complete",
    "failed": "Failed",
    "lost": "Lost",
    "unknown": "Unknown",
}


def allocation_stub(allocation: Json, *, resources: bool = False, states: bool = True) -> Json:
    """An allocation in a list: without its job, and with what it was given only where somebody asks
    for that (nomad/structs/alloc.go, AllocListStub)."""
    shown = {name: allocation[name] for name in STUB} | {
        "DesiredTransition": TRANSITION,
        "FollowupEvalID": "",
        "PreemptedAllocations": None,
        "PreemptedByAllocation": "",
        "RescheduleTracker": None,
        "TaskStates": _states(allocation) if states else None,
    }
    return shown | ({"AllocatedResources": allocation["AllocatedResources"]} if resources else {})


def allocation(kept: Json) -> Json:
    """A whole allocation. Its job's version and type are in its job only."""
    shown = {name: value for name, value in kept.items() if name not in OF_STUBS_ALONE}
    return filled(shown | {"TaskStates": _states(kept)})


def evaluation(kept: Json) -> Json:
    return filled({name: value for name, value in kept.items() if name != "JobCreateIndex"})


def filled(document: Json) -> Json:
    """Without what is empty."""
    return {name: value for name, value in document.items() if value not in EMPTY}


def _states(allocation: Json) -> Json | None:
    """Every event has every field."""
    states: Json | None = allocation["TaskStates"]
    if states is None:
        return None
    return {
        task: TASK_STATE | state | {"Events": [EVENT | event for event in state["Events"]]}
        for task, state in states.items()
    }


def summary(job: Json, allocations: Iterable[Json]) -> Json:
    """How many allocations of each group are how; queued ones are those that found no room
    (nomad/state/state_store.go)."""
    groups = {group["Name"]: dict.fromkeys(SUMMARY, 0) for group in job.get("TaskGroups") or ()}
    for one in allocations:
        if one["TaskGroup"] in groups:
            groups[one["TaskGroup"]][BY_STATUS[one["ClientStatus"]]] += 1
    return {
        "JobID": job["ID"],
        "Namespace": job["Namespace"],
        "Summary": groups,
        "Children": {"Dead": 0, "Pending": 0, "Running": 0},
        "CreateIndex": job["CreateIndex"],
        "ModifyIndex": job["ModifyIndex"],
    }


def job_status(job: Json, allocations: Iterable[Json], *, waits: bool) -> str:
    """What a job's status is by what there is of it: "dead" says nothing of success
    (nomad/state/state_store.go, getJobStatus). `waits`: an evaluation of it is blocked."""
    if job["Type"] == "system":
        return "dead" if job.get("Stop") else "running"
    if any(one["ClientStatus"] not in TERMINAL for one in allocations):
        return "running"
    return "pending" if waits else "dead"


def job_stub(job: Json, allocations: list[Json], *, waits: bool, meta: bool) -> Json:
    """A job in a list; metadata only where it is asked for (command/agent/job_endpoint.go)."""
    return {name: job[name] for name in JOB_STUB} | {
        "JobSummary": summary(job, allocations),
        "Meta": job.get("Meta") if meta else None,
        "ParameterizedJob": job.get("ParameterizedJob") is not None,
        "Periodic": job.get("Periodic") is not None,
        "Status": job_status(job, allocations, waits=waits),
    }


def namespace(name: str) -> Json:
    return {
        "Name": name,
        "Description": "Default shared namespace" if name == "default" else "",
        "Quota": "",
        "Capabilities": None,
        "Meta": None,
        "NodePoolConfiguration": None,
        "VaultConfiguration": None,
        "ConsulConfiguration": None,
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }
