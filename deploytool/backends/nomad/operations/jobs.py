"""Commands that run once: batch jobs that are made only if there are none of their names.

A job's status says nothing of success: it is judged by the exit code of its task. Nothing starts it
again, not even the loss of its node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from deploytool.backends.model import Job, Task
from deploytool.backends.nomad.api.allocations import read_task
from deploytool.backends.nomad.api.client import Client, NotFound, Outdated
from deploytool.backends.nomad.specification.compile import APP
from deploytool.backends.nomad.specification.secrets import paths
from deploytool.backends.nomad.storage.store import LIMIT, size
from deploytool.errors import EngineError
from deploytool.json_types import Json

SEPARATOR = "-"
NEVER_RAN = "it was stopped before it ran"


def job_id(job: Job) -> str:
    return f"{job.release.spec.name}{SEPARATOR}{job.name}"


def start(client: Client, job: Job, specification: Json) -> None:
    """Register it, unless there is one: two registrations at once make one job."""
    body = {"Job": specification, "EnforceIndex": True, "JobModifyIndex": 0}
    _copy_secrets(client, job)
    try:
        client.post("/v1/jobs", body, again=True)
    except Outdated:
        return


def _copy_secrets(client: Client, job: Job) -> None:
    """Its identity may read the variable at its own path alone. Marked as the app's, where there is
    room for that: deploytool may be killed before it removes it."""
    app = job.release.spec
    service = next(s for s in app.services if s.name == job.service)
    if not service.secrets:
        return
    source = client.get(f"/v1/var/{paths(app.name, '')[0]}")["Items"]
    names = {job.release.secrets.get(name, name).rpartition(":")[2] for name in service.secrets}
    items = {key: value for key, value in source.items() if key in names}
    marked = items | {APP: app.name}
    path = paths(job_id(job), "")[0]
    body = {"Path": path, "Items": marked if size(marked) <= LIMIT else items}
    client.put(f"/v1/var/{path}", body, again=True)


def copies(client: Client, app: str, before: datetime | None = None) -> Iterator[Json]:
    """The variables that were made for jobs of an app, whether these are still there or not; if
    `before` is given, those alone that have not changed since. The mark tells them from those of
    apps whose names begin the same."""
    latest = before.timestamp() * 10**9 if before else math.inf
    for listed in client.get("/v1/vars", prefix=paths(f"{app}{SEPARATOR}", "")[0]) or ():
        if listed["ModifyTime"] < latest:
            variable = _readable(client, listed["Path"])
            if (variable.get("Items") or {}).get(APP) == app:
                yield variable


def _readable(client: Client, path: str) -> Json:
    """A variable; empty where it is gone, or another app's that the token may not read."""
    try:
        return dict(client.get(f"/v1/var/{path}"))
    except EngineError as error:
        if isinstance(error, NotFound) or error.code == "nomad_forbidden":
            return {}
        raise


def look(client: Client, job: Job) -> Task | None:
    """Its one task; None while none was placed. Where it runs on every node, one that failed, or
    else one that has not ended."""
    allocations = _allocations(client, job)
    if not allocations:
        return None
    if any(a.get("JobType") == "sysbatch" for a in allocations):
        return read_task(min(allocations, key=_progress))
    return _judged(max(allocations, key=lambda a: a.get("CreateIndex", 0)))


def _judged(allocation: Json) -> Task:
    """Nomad calls it complete too if it was stopped before there was a process to end: while its
    image was pulled, say."""
    task = read_task(allocation)
    if task.state != "complete" or task.exit_code is not None:
        return task
    why = allocation.get("DesiredDescription")
    message = f"{NEVER_RAN} ({why})" if why else NEVER_RAN
    return task.model_copy(update={"state": "failed", "message": message})


def _progress(allocation: Json) -> int:
    """The order in which what became of allocations is told."""
    status = allocation.get("ClientStatus")
    return {"failed": 0, "lost": 0, "complete": 3}.get(str(status), 1)


def _allocations(client: Client, job: Job) -> list[Json]:
    try:
        return list(client.get(f"/v1/job/{job_id(job)}/allocations") or ())
    except NotFound:
        return []


def output(client: Client, job: Job, *, follow: bool) -> Iterator[str]:
    """Every line that it printed; those of one stream in their order."""
    from deploytool.backends.nomad.operations.logs import follow_task, lines_of

    for allocation in _allocations(client, job):
        name = allocation["ID"]
        if not allocation.get("TaskStates"):
            continue
        if follow:
            yield from follow_task(client, name, job.service, tail=None)
        else:
            yield from lines_of(client, name, job.service)


def remove(client: Client, job: Job) -> None:
    path = paths(job_id(job), "")[0]
    with suppress(NotFound):
        client.delete(f"/v1/job/{job_id(job)}", purge="true")
    client.delete(f"/v1/var/{path}")


def names(client: Client, app: str) -> list[str]:
    """The jobs of an app that the cluster has, ended ones too."""
    found = client.get("/v1/jobs", prefix=f"{app}{SEPARATOR}", meta="true") or ()
    return sorted(
        stub["ID"].removeprefix(f"{app}{SEPARATOR}")
        for stub in found
        if stub.get("Type") in ("batch", "sysbatch") and (stub.get("Meta") or {}).get(APP) == app
    )
