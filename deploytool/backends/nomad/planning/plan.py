"""What a deploy would change on a Nomad cluster. Reads the cluster, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploytool.backends.model import Action, Amount, Change, Need, Plan
from deploytool.backends.nomad.api.catalogue import Listed, listed
from deploytool.backends.nomad.api.client import Client, NotFound
from deploytool.backends.nomad.planning.capacity import Where, clock_warnings, read_nodes
from deploytool.backends.nomad.planning.diff import changes
from deploytool.backends.nomad.planning.job import (
    counts,
    groups_of,
    is_running,
    is_system,
    mounted_files,
    with_releases_of,
)
from deploytool.backends.nomad.planning.placement import lacks_room, way_out, why_unplaced
from deploytool.backends.nomad.planning.routes import (
    RoutePlan,
    check_nodes,
    plan_routes,
    restart_warnings,
)
from deploytool.backends.nomad.specification.compile import APP
from deploytool.backends.nomad.specification.version import (
    NEWEST,
    SYSTEM_DEPLOYMENTS,
    ServerVersion,
)
from deploytool.capacity import Node
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec
from deploytool.units import format_memory


@dataclass(frozen=True)
class NomadPlan:
    """What a rollout of the plan needs to know. It is not changed by one."""

    app: str
    job: Json
    """The job as it shall be, with all its groups."""
    live: Json | None
    """The job as it is; None where there is none."""
    index: int
    """The modify index of the job that was planned against; 0 where there is none."""
    names: frozenset[str]
    """The services of both."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Service → how many allocations it comes to."""
    routing: RoutePlan = field(default_factory=RoutePlan)
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The configuration files that it has, by their hashes."""


@dataclass(frozen=True)
class Snapshot:
    """The cluster at one moment, asked once."""

    live: Json | None
    nodes: Sequence[Json]
    allocations: Sequence[Json]
    services: Sequence[Listed] = ()
    """The catalogue."""


def read_job(client: Client, app: str) -> Json | None:
    try:
        return dict(client.get(f"/v1/job/{app}"))
    except NotFound:
        return None


def take_snapshot(client: Client, app: str) -> Snapshot:
    """Everything that planning needs to know, in questions that run side by side."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        live = pool.submit(read_job, client, app)
        nodes = pool.submit(client.get, "/v1/nodes", resources="true")
        allocations = pool.submit(
            client.get, "/v1/allocations", resources="true", task_states="false", namespace="*"
        )
        services = pool.submit(listed, client)
        return Snapshot(
            live.result(), nodes.result() or (), allocations.result() or (), services.result()
        )


def check_ownership(job: Json, live: Json | None) -> None:
    """Raises PlanError for a job of the app's name that deploytool did not make, and for the proxy
    in an app's place or the other way round."""
    app = str(job["ID"])
    if live is None:
        return
    if (live.get("Meta") or {}).get(APP) != app:
        raise PlanError(
            f"The cluster has a job {app} that deploytool did not make",
            code="not_ours",
            hint="choose another name for the app, or remove it first: "
            f"nomad job stop -purge {app}",
        )
    if is_system(job) != is_system(live):
        what = "the cluster's proxy" if is_system(live) else "an app, and not the proxy"
        raise PlanError(
            f"The job {app} runs, and is {what}",
            code="not_ours",
            hint="choose another name for the app"
            if is_system(live)
            else f"deploy it under another name, and remove it: nomad job stop -purge {app}",
        )


def plan_job(
    client: Client,
    spec: AppSpec,
    job: Json,
    snapshot: Snapshot,
    *,
    mhz_per_core: int,
    warnings: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
    version: ServerVersion = NEWEST,
    take_over: bool = False,
) -> Plan:
    """The plan that makes a job what it shall be, by the cluster's own dry run.

    Raises PlanError where the cluster cannot take it.
    """
    app = str(job["ID"])
    live = snapshot.live
    check_ownership(job, live)
    wanted = with_releases_of(job, groups_of(live))
    answer = client.post(f"/v1/job/{app}/plan", {"Job": wanted, "Diff": True}, again=True)
    _check_index(live, answer)
    found = _with_stopped(changes(answer, mounted_files(wanted, live)), live)
    found = _with_serving(found, wanted, live)
    _check_placement(answer, found, wanted, mhz_per_core)
    number = wanted_of(wanted, answer, version)
    check_nodes(spec, job, number)
    routing = plan_routes(
        client,
        spec,
        wanted,
        live,
        snapshot.services,
        nodes=len(snapshot.nodes),
        take_over=take_over,
    )
    where = Where(job["Datacenters"], job["NodePool"])
    nodes = read_nodes(snapshot.nodes, snapshot.allocations, mhz_per_core, where)
    return Plan(
        app=app,
        changes=(*found, *routing.changes),
        secrets=dict(secrets or {}),
        warnings=(
            *warnings,
            *routing.warnings,
            *restart_warnings(job, found),
            *clock_warnings(filter(where.has, snapshot.nodes), mhz_per_core),
            *_server_warnings(answer),
        ),
        need=_need(job, live, found, nodes, mhz_per_core, number),
        payload=NomadPlan(
            app=app,
            job=wanted,
            live=live,
            index=int(answer.get("JobModifyIndex") or 0),
            names=frozenset(groups_of(job).keys() | groups_of(live).keys()),
            wanted=number,
            routing=routing,
            files=files or {},
        ),
    )


def _check_index(live: Json | None, answer: Json) -> None:
    """Raises PlanError where the dry run saw another job than the one that was read."""
    if int((live or {}).get("JobModifyIndex") or 0) != int(answer.get("JobModifyIndex") or 0):
        raise PlanError(
            "The job was changed by somebody else while it was planned",
            code="changed_meanwhile",
            hint="run this again",
        )


def wanted_of(job: Json, answer: Json, version: ServerVersion) -> dict[str, int]:
    """Group → how many allocations it comes to, which for one per node the dry run alone knows.
    Raises PlanError where that is none."""
    if not is_system(job):
        return counts(job)
    updates = (answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}
    found = {name: _on_nodes(updates.get(name) or {}, version) for name in groups_of(job)}
    if lacking := sorted(name for name, number in found.items() if not number):
        raise PlanError(
            f"No node can run {', '.join(lacking)}",
            code="does_not_fit",
            hint="see datacenters, node_pool and the placement: nomad node status",
        )
    return found


def _on_nodes(update: Mapping[str, int], version: ServerVersion) -> int:
    """What a dry run calls placed is all of them from that version on, and those that are new
    before."""
    placed = update.get("Place", 0)
    there = sum(update.get(n, 0) for n in ("Ignore", "InPlaceUpdate", "DestructiveUpdate"))
    return max(placed, there) if version >= SYSTEM_DEPLOYMENTS else placed + there


def _with_stopped(found: tuple[Change, ...], live: Json | None) -> tuple[Change, ...]:
    """Of a job that was stopped every service is made anew, whatever differs."""
    if live is None or is_running(live):
        return found
    return tuple(
        change
        if change.action is Action.REMOVE
        else change.model_copy(update={"action": Action.CREATE, "replaces": True})
        for change in found
    )


def _with_serving(found: tuple[Change, ...], job: Json, live: Json | None) -> tuple[Change, ...]:
    """With how many replicas serve at least, where a service's are replaced one after the other."""
    if is_system(job):
        return found
    now, groups = counts(live), groups_of(job)
    return tuple(
        change.model_copy(update={"serving": _serving(groups[change.name], now[change.name])})
        if change.action is Action.UPDATE and change.replaces and now.get(change.name)
        else change
        for change in found
    )


def _serving(group: Json, now: int) -> tuple[int, int]:
    """Canaries run beside all of the old ones. What they do not replace at once is stopped
    `MaxParallel` at a time, as its successors are placed (scheduler/reconciler)."""
    update = group.get("Update") or {}
    number = min(now, int(group.get("Count", 1)))
    if int(update.get("Canary") or 0) >= number:
        return number, number
    return max(0, number - int(update.get("MaxParallel") or 1)), number


def _server_warnings(answer: Json) -> Iterable[str]:
    lines = str(answer.get("Warnings") or "").splitlines()
    return [line.strip(" *\t") for line in lines if line.strip(" *\t")]


def _check_placement(answer: Json, found: Sequence[Change], job: Json, mhz_per_core: int) -> None:
    """Raises PlanError for services that change and that no node takes."""
    failed: Json = answer.get("FailedTGAllocs") or {}
    changing = {c.name for c in found if c.action in (Action.CREATE, Action.UPDATE)}
    lacking = {name: failed[name] for name in sorted(changing & failed.keys())}
    if not lacking:
        return
    raise PlanError(
        f"No node can run {', '.join(lacking)}",
        code="does_not_fit" if lacks_room(lacking.values()) else "no_suitable_node",
        hint=way_out(lacking.values()),
        details=[
            f"{name}: {why_unplaced(metric)}{_each(groups_of(job)[name], metric, mhz_per_core)}"
            for name, metric in lacking.items()
        ],
    )


def _each(group: Json, metric: Json, mhz_per_core: int) -> str:
    """What a replica asks for, where there is no room for that."""
    if not lacks_room([metric]):
        return ""
    size = _of_group(group, mhz_per_core)
    return f"; each reserves {format_memory(size.memory)} of memory and {size.cpu:g} cores"


def _need(
    job: Json,
    live: Json | None,
    found: Sequence[Change],
    nodes: Sequence[Node],
    mhz_per_core: int,
    wanted: Mapping[str, int],
) -> Need:
    """What the job reserves before, on the way and after, and what the nodes have left."""
    number = wanted if is_system(live) else counts(live)
    before = _reserved(live if is_running(live) else None, mhz_per_core, number)
    after = _reserved(job, mhz_per_core, wanted)
    canaries = sum(
        (
            _of_group(group, mhz_per_core) * int((group.get("Update") or {}).get("Canary") or 0)
            for name, group in groups_of(job).items()
            if any(c.name == name and c.replaces and c.action is Action.UPDATE for c in found)
        ),
        Amount(),
    )
    usable = [node for node in nodes if node.usable]
    free = Amount(
        memory=sum(node.free_memory for node in usable),
        cpu=round(sum(node.free_cpu for node in usable), 9),
    )
    most = Amount(
        memory=max(before.memory, after.memory) + canaries.memory,
        cpu=round(max(before.cpu, after.cpu) + canaries.cpu, 9),
    )
    return Need(before=before, most=most, after=after, free=free)


def _reserved(job: Json | None, mhz_per_core: int, number: Mapping[str, int]) -> Amount:
    return sum(
        (_of_group(g, mhz_per_core) * number.get(name, 0) for name, g in groups_of(job).items()),
        Amount(),
    )


def _of_group(group: Json, mhz_per_core: int) -> Amount:
    found = [task.get("Resources") or {} for task in group.get("Tasks") or ()]
    memory = sum(int(r.get("MemoryMB") or 0) for r in found) * 2**20
    return Amount(memory=memory, cpu=sum(int(r.get("CPU") or 0) for r in found) / mhz_per_core)


def with_live_counts(job: Json, live: Json | None, configured: Mapping[str, int]) -> Json:
    """The job with the number of allocations that somebody else set, such as an autoscaler, where
    the configuration has not changed it since the last release. `configured` is that release's."""
    number = counts(live)
    for group in job["TaskGroups"]:
        name = group["Name"]
        if name in number and configured.get(name) == group["Count"]:
            group["Count"] = number[name]
    return job


def replicas_of(spec: AppSpec) -> dict[str, int]:
    return {service.name: service.replicas for service in spec.services}
