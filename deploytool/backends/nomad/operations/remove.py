"""Removing an app from Nomad, and what nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from deploytool.backends.model import Belonging
from deploytool.backends.nomad.api.client import Client, NotFound
from deploytool.backends.nomad.operations import jobs
from deploytool.backends.nomad.specification.compile import APP
from deploytool.backends.nomad.specification.secrets import paths
from deploytool.backends.nomad.storage import files
from deploytool.backends.nomad.storage.secrets import NomadVault
from deploytool.backends.nomad.storage.store import ROOT, NomadStore
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.records import history
from deploytool.secrets.versions import numbered

BEGINNING = timedelta(hours=1)
"""Time within which a one-off task has surely been registered."""


def own_job(client: Client, app: str) -> Json | None:
    """The app's job; None where there is none, or it is somebody else's."""
    try:
        job: Json = client.get(f"/v1/job/{app}")
    except NotFound:
        return None
    return job if (job.get("Meta") or {}).get(APP) == app else None


def belongings(client: Client, app: str) -> list[Belonging]:
    """Everything that the cluster has of an app. Volumes stay on the nodes that have them."""
    job = own_job(client, app)
    services = [f"{app}.{group['Name']}" for group in (job or {}).get("TaskGroups") or ()]
    services += [f"{app}-{name}" for name in jobs.names(client, app)]
    secrets = [version.name for version in NomadVault(client).versions(app)]
    listed = client.get("/v1/vars", prefix=f"{ROOT}/{app}/") or ()
    return [
        *(Belonging(kind="service", name=name) for name in services),
        *(Belonging(kind="secret", name=name) for name in secrets),
        *(Belonging(kind="config", name=variable["Path"]) for variable in listed),
        *_volumes(client, app, job),
    ]


def _volumes(client: Client, app: str, job: Json | None) -> Iterator[Belonging]:
    """Named volumes of the job's groups, and the nodes where these ran."""
    nodes: dict[str, set[str]] = {}
    for allocation in client.get(f"/v1/job/{app}/allocations") or () if job else ():
        nodes.setdefault(allocation["TaskGroup"], set()).add(allocation["NodeName"])
    found: dict[str, set[str]] = {}
    for group in (job or {}).get("TaskGroups") or ():
        for task in group.get("Tasks") or ():
            for mount in (task.get("Config") or {}).get("mount") or ():
                if mount.get("type") == "volume" and group["Name"] in nodes:
                    found.setdefault(mount["source"], set()).update(nodes[group["Name"]])
    for name, where in sorted(found.items()):
        yield Belonging(kind="volume", name=name, nodes=tuple(sorted(where)))


def destroy(client: Client, app: str, *, secrets: bool) -> list[str]:
    """Remove everything of an app; the names of what was removed. The lock comes last, and is not
    named: whoever removes an app holds it."""
    gone = [b for b in belongings(client, app) if not b.nodes and (secrets or b.kind != "secret")]
    removed = [str(b) for b in gone if not b.name.endswith("/lock")]
    if own_job(client, app) is not None:
        _purge(client, app)
    for name in jobs.names(client, app):
        _purge(client, f"{app}-{name}")
        client.delete(f"/v1/var/{paths(f'{app}-{name}', '')[0]}")
    for variable in jobs.copies(client, app):
        client.delete(f"/v1/var/{variable['Path']}")
    paths_of = [v["Path"] for v in client.get("/v1/vars", prefix=f"{ROOT}/{app}/") or ()]
    paths_of = [p for p in paths_of if secrets or not p.endswith("/secrets")]
    if secrets:
        paths_of.append(paths(app, "")[0])
    for path in sorted(paths_of, key=lambda path: path.endswith("/lock")):
        client.delete(f"/v1/var/{path}")
    return removed


def _purge(client: Client, job: str) -> None:
    """It may be gone: by somebody else, or by a request whose answer was lost."""
    with suppress(NotFound):
        client.delete(f"/v1/job/{job}", purge="true")


def collect_garbage(client: Client, app: str) -> None:
    """Remove the versions of secrets and the files that no release which can be rolled back to, no
    service, no one-off task and no next deploy needs. What cannot be removed now is left."""
    _forget_copies(client, app)
    past = history.read(NomadStore(client), app)
    if not past.is_whole:
        return
    specs = [record.release.spec for record in past.records]
    files.forget(client, app, {digest for spec in specs for digest in spec.files.values()})
    vault = NomadVault(client)
    found = vault.versions(app)
    kept = {versions[-1].name for versions in numbered(found).values()}
    kept |= {name for record in past.records for name in record.release.secrets.values()}
    kept |= {name for _, name in vault.readers(app)}
    for version in found:
        if version.number and version.name not in kept:
            with suppress(DeploytoolError):
                vault.delete(version)


def _forget_copies(client: Client, app: str) -> None:
    """Remove the copies of secrets whose one-off tasks are gone. A task that begins has its copy
    before it has its job: new ones are left."""
    now = NomadStore(client).now()
    old = list(jobs.copies(client, app, now - BEGINNING)) if now else []
    there = {paths(f"{app}-{name}", "")[0] for name in jobs.names(client, app)} if old else set()
    for variable in old:
        if variable["Path"] not in there:
            with suppress(DeploytoolError):
                client.delete(f"/v1/var/{variable['Path']}", cas=str(variable["ModifyIndex"]))
