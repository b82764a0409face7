"""Jobs as values: what of one is registered when, and whether two are the same. Pure."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping

from deploytool.backends.nomad.specification.compile import RELEASE
from deploytool.json_types import Json

OF_THE_SERVER = frozenset(
    {"CreateIndex", "JobModifyIndex", "ModifyIndex", "Stable", "Status", "StatusDescription"}
    | {"SubmitTime", "Version", "VersionTag", "NomadTokenID", "ConsulNamespace", "Namespace"}
    | {"Region", "Dispatched", "DispatchIdempotencyToken", "ParentID", "Payload", "UI"}
    | {"ConsulToken", "VaultToken", "VaultNamespace", "Stop"}
)
"""What a job has that says nothing of what it runs."""


RESTARTED = "deploytool.restarted"
"""Key of a group's metadata that changes to have its allocations replaced."""
OF_REPLICAS = (RELEASE, RESTARTED)
"""Keys of a group's metadata that say something of its replicas, and not of what they shall be."""


def groups_of(job: Json | None) -> dict[str, Json]:
    return {group["Name"]: group for group in (job or {}).get("TaskGroups") or ()}


def counts(job: Json | None) -> dict[str, int]:
    """Group → how many allocations it wants; a group without a count wants one."""
    found = groups_of(job).items()
    return {name: 1 if (n := group.get("Count")) is None else int(n) for name, group in found}


def is_system(job: Json | None) -> bool:
    """Whether a job has one allocation of each group per node."""
    return (job or {}).get("Type") == "system"


def is_running(job: Json | None) -> bool:
    """Whether a job is there and was not stopped: a stopped one stays until it is purged."""
    return job is not None and not job.get("Stop")


def same(one: Json, other: Json) -> bool:
    """Whether two jobs that a server has are the same to run."""
    return _to_run(one) == _to_run(other)


def _to_run(job: Json) -> Json:
    return {key: value for key, value in job.items() if key not in OF_THE_SERVER}


def partial(wanted: Json, live: Json | None, started: Collection[str]) -> Json:
    """The job in which the started groups are as wanted, and all others as they are.

    Groups that are new and whose turn has not come are left out; those that go are still there.
    """
    job = {key: value for key, value in wanted.items() if key != "TaskGroups"}
    before, after = groups_of(live), groups_of(wanted)
    names = [*after, *(name for name in before if name not in after)]
    groups = ((after if name in started else before).get(name) for name in names)
    job["TaskGroups"] = [copy.deepcopy(group) for group in groups if group is not None]
    return job


def stamped(job: Json, release: str, replaced: Iterable[str]) -> Json:
    """The job with the release in the metadata of the groups that it replaces. A group's metadata
    is every task's, so that it replaces them all when it changes; others keep what they have."""
    own = frozenset(replaced)
    for group in job["TaskGroups"]:
        if group["Name"] in own:
            group["Meta"] = {**(group.get("Meta") or {}), RELEASE: release}
    return job


def with_releases_of(job: Json, live: Mapping[str, Json]) -> Json:
    """The job with the releases that its groups are of now, so that a plan of it shows nothing but
    what differs otherwise."""
    groups = []
    for group in job["TaskGroups"]:
        there = live.get(group["Name"], {}).get("Meta") or {}
        kept = {key: there[key] for key in OF_REPLICAS if key in there}
        meta = {k: v for k, v in (group.get("Meta") or {}).items() if k not in OF_REPLICAS}
        groups.append(group | {"Meta": {**meta, **kept} or None})
    return job | {"TaskGroups": groups}
