"""The backend protocol on a Swarm: each method asks or tells the engine one thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from deploytool import capacity
from deploytool.backends.model import (
    Action,
    Amount,
    Belonging,
    Capacity,
    Change,
    Executed,
    Job,
    LogLine,
    Outcome,
    Plan,
    Secret,
    SecretSet,
    ServiceStatus,
    Status,
    Task,
    not_deployed,
)
from deploytool.backends.swarm.api.client import Client, image_of
from deploytool.backends.swarm.api.tasks import by_service, read_task, update_state
from deploytool.backends.swarm.operations import execute, garbage, jobs, measure
from deploytool.backends.swarm.operations.logs import Wanted, read_logs
from deploytool.backends.swarm.operations.remove import belongings, destroy
from deploytool.backends.swarm.planning.capacity import UNMEASURED, read_nodes
from deploytool.backends.swarm.planning.diff import (
    differences,
    is_global,
    normal,
    without_tag,
)
from deploytool.backends.swarm.planning.plan import (
    SwarmPlan,
    Target,
    complete_job,
    make_plan,
    own_networks,
    per_node,
    replicas,
)
from deploytool.backends.swarm.rollout.explain import explain
from deploytool.backends.swarm.rollout.session import SwarmRollout
from deploytool.backends.swarm.rollout.tracked import places
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.specification.compile import service_name
from deploytool.backends.swarm.specification.routing import ports
from deploytool.backends.swarm.storage.secrets import SwarmVault
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import DeploytoolError, UsageError
from deploytool.json_types import Json
from deploytool.records import history
from deploytool.records.store import Store
from deploytool.secrets import versions
from deploytool.spec import AppSpec, Image, Service, release_number
from deploytool.traefik import routing

UNFINISHED = (Outcome.STARTED, Outcome.INTERRUPTED)


class Swarm:
    """A Swarm, seen from one of its managers."""

    name = "swarm"
    keeps_scale = False

    def __init__(self, client: Client, *, sampling: float = measure.SECONDS) -> None:
        self.client = client
        self.sampling = sampling
        self.store: Store = SwarmStore(client)
        self.vault = SwarmVault(client)

    def resolve(self, reference: str) -> Image:
        return self.client.resolve(reference)

    def local_image(self, reference: str) -> Image | None:
        return self.client.local_image(reference)

    def running_images(self, app: str) -> dict[str, Image]:
        return {
            name.removeprefix(f"{app}_"): _image(service["Spec"])
            for name, service in self._services(app).items()
        }

    def collect_garbage(self, app: str) -> None:
        with suppress(DeploytoolError):
            garbage.collect(self.client, app)

    def plan(
        self,
        spec: AppSpec,
        images: Mapping[str, Image],
        *,
        files: Mapping[str, bytes] | None = None,
        secrets: Mapping[str, str] | None = None,
        take_over: bool = False,
    ) -> Plan:
        return make_plan(
            self.client, spec, images, files=files, secrets=secrets, take_over=take_over
        )

    def rollout(self, plan: Plan) -> SwarmRollout:
        return SwarmRollout(self.client, plan)

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        return explain(self.client, task, lines=lines)

    def status(self, app: str) -> Status:
        services = self._services(app)
        if not services:
            raise not_deployed(app)
        label = f"{labels.STACK}={app}"
        with ThreadPoolExecutor(max_workers=3) as pool:
            asked = pool.submit(self.client.tasks, label=label)
            recorded = pool.submit(history.read, self.store, app)
            proxies = pool.submit(self.client.services, label=f"{labels.ROLE}=proxy")
            nodes = {n["ID"]: n["Description"]["Hostname"] for n in self.client.nodes()}
            tasks = by_service(asked.result())
            listening = next(map(ports, proxies.result()), routing.Ports())
        found = (
            *(
                _service_status(app, service, tasks.get(service["ID"], ()), nodes, listening)
                for service in services.values()
            ),
            *_removed(recorded.result(), services),
        )
        releases = [service.release for service in found if service.release]
        newest = max(releases, key=release_number, default="")
        return Status(app=app, release=newest, services=tuple(sorted(found, key=lambda s: s.name)))

    def logs(
        self,
        app: str,
        services: Sequence[str],
        *,
        follow: bool,
        tail: int,
        since: int | None,
        hidden: Mapping[str, re.Pattern[str]],
        warn: Callable[[str], None],
    ) -> Iterator[LogLine]:
        live = self._services(app)
        if not live:
            raise not_deployed(app)
        chosen = {s["ID"]: short for short, s in self._choose(app, live, services).items()}
        wanted = Wanted(follow=follow, tail=tail, since=since, hidden=hidden)
        return read_logs(self.client, chosen, wanted, warn)

    def capacity(self, app: str, services: Sequence[Service]) -> Capacity:
        with ThreadPoolExecutor(max_workers=5) as pool:
            measuring = pool.submit(measure.measure, self.client, self.sampling)
            asked = pool.submit(self.client.nodes)
            tasks = self.client.tasks(**{"desired-state": ["running", "ready"]})
            live = self._services(app)
            here = str((self.client.info().get("Swarm") or {}).get("NodeID", ""))
            uses = measuring.result()
            nodes = read_nodes(asked.result(), tasks)
        placed = per_node(tasks)
        ids = {name.removeprefix(f"{app}_"): service["ID"] for name, service in live.items()}
        return capacity.describe(
            nodes,
            services,
            {name: placed.get(service_id, {}) for name, service_id in ids.items()},
            measure.by_service(uses, app),
            {here: sum((use for _, use in uses), Amount())},
            unmeasured=UNMEASURED,
        )

    def execute(self, app: str, service: str, command: Sequence[str]) -> Executed:
        return execute.execute(self.client, self._one(app, service), service, command)

    def attach_command(
        self, app: str, service: str, command: Sequence[str], *, terminal: bool
    ) -> list[str]:
        live = self._one(app, service)
        return execute.attach_command(self.client, live, service, command, terminal=terminal)

    def _one(self, app: str, service: str) -> Json:
        live = self._services(app)
        if not live:
            raise not_deployed(app)
        return self._choose(app, live, [service])[service]

    def scale(self, app: str, replicas: Mapping[str, int]) -> Plan:
        def change(spec: Json, service: str) -> None:
            if is_global(spec):
                raise UsageError(
                    f"{service} has no number of replicas to change: it runs one on each node",
                    code="scale_global",
                    hint="placement.constraints say on which nodes",
                )
            spec["Mode"] = {"Replicated": {"Replicas": replicas[service]}}

        return self._change(app, list(replicas), change)

    def restart(self, app: str, services: Sequence[str]) -> Plan:
        def change(spec: Json, _: str) -> None:
            template = spec["TaskTemplate"]
            template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1

        return self._change(app, services, change)

    def _change(
        self, app: str, services: Sequence[str], change: Callable[[Json, str], None]
    ) -> Plan:
        """A plan that changes running services in place."""
        import copy

        live = self._services(app)
        if not live:
            raise not_deployed(app)
        chosen = self._choose(app, live, services)
        running = by_service(self.client.tasks(label=f"{labels.STACK}={app}"))
        targets = []
        for short, service in chosen.items():
            spec = copy.deepcopy(service["Spec"])
            change(spec, short)
            known = frozenset(task["ID"] for task in running.get(service["ID"], ()))
            forced = spec["TaskTemplate"] != service["Spec"]["TaskTemplate"]
            targets.append(Target(short, spec["Name"], Action.UPDATE, spec, service, forced, known))
        nodes = {node["ID"]: node["Description"]["Hostname"] for node in self.client.nodes()}
        return Plan(
            app=app,
            changes=tuple(_in_place(target) for target in targets),
            payload=SwarmPlan(app, tuple(targets), nodes),
        )

    def secrets(self, app: str) -> list[Secret]:
        return versions.overview(self.vault, history.read(self.store, app), app)

    def set_secrets(self, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
        return versions.put(self.vault, history.read(self.store, app), app, values)

    def remove_secret(self, app: str, name: str) -> list[str]:
        return versions.remove(self.vault, app, name)

    def belongings(self, app: str) -> list[Belonging]:
        return belongings(self.client, app)

    def destroy(self, app: str, *, volumes: bool, secrets: bool = True) -> list[str]:
        return destroy(self.client, app, volumes=volumes, secrets=secrets)

    def start_job(self, job: Job) -> None:
        jobs.start(self.client, complete_job(self.client, job), own_networks(job.release.spec))

    def look_at_job(self, job: Job) -> Task | None:
        return jobs.look(self.client, job)

    def job_output(self, job: Job, *, follow: bool) -> Iterator[str]:
        return jobs.output(self.client, job, follow=follow)

    def remove_job(self, job: Job) -> None:
        jobs.remove(self.client, job)

    def jobs(self, app: str) -> list[str]:
        return jobs.names(self.client, app)

    def _services(self, app: str) -> dict[str, Json]:
        """The app's own services by full name."""
        found = self.client.services(label=f"{labels.APP}={app}")
        return {service["Spec"]["Name"]: service for service in found}

    def _choose(
        self, app: str, live: Mapping[str, Json], services: Sequence[str]
    ) -> dict[str, Json]:
        """The named services, all when none is named. Raises UsageError for an unknown one."""
        short = {name.removeprefix(f"{app}_"): service for name, service in live.items()}
        if unknown := [name for name in services if name not in short]:
            raise UsageError(
                f"{app} has no service {unknown[0]}",
                code="unknown_service",
                hint=f"there are: {', '.join(sorted(short))}",
            )
        return {name: short[name] for name in (services or sorted(short))}


def _image(spec: Json) -> Image:
    """The image that a service is to run, as it was found out when it was deployed."""
    template = spec["TaskTemplate"]
    platforms = (template.get("Placement") or {}).get("Platforms") or ()
    return Image(
        reference=without_tag(image_of(spec)),
        tag=(spec.get("Labels") or {}).get(labels.IMAGE, ""),
        platforms=tuple((p.get("Architecture", ""), p.get("OS", "")) for p in platforms),
    )


def _in_place(target: Target) -> Change:
    assert target.live is not None
    assert target.spec is not None
    fields = differences(normal(target.live["Spec"], {}), normal(target.spec, {}))
    return Change(
        kind="service",
        name=target.service,
        action=Action.UPDATE if fields or target.replaces else Action.KEEP,
        fields=fields,
        replaces=target.replaces,
    )


def _service_status(
    app: str,
    service: Json,
    tasks: Iterable[Json],
    nodes: Mapping[str, str],
    listening: routing.Ports,
) -> ServiceStatus:
    spec = service["Spec"]
    short = spec["Name"].removeprefix(f"{app}_")
    found = [read_task(task, service, short, nodes) for task in tasks]
    update, _ = update_state(service)
    own = spec.get("Labels") or {}
    wanted = len(places(found)) if is_global(spec) else replicas(spec)
    running = places(task for task in found if task.running)
    return ServiceStatus(
        name=short,
        image=own.get(labels.IMAGE, spec["TaskTemplate"]["ContainerSpec"]["Image"]),
        release=own.get(labels.RELEASE, ""),
        mode="global" if is_global(spec) else "replicated",
        replicas=wanted,
        running=sum(task.running for task in found),
        missing=max(0, wanted - len(running)),
        update="" if update == "completed" else update,
        urls=tuple(routing.urls(own, listening)),
        ports=tuple(_ports(spec)),
        tasks=tuple(sorted(found, key=lambda t: (*t.order, not t.wanted, _newest_first(t)))),
    )


def _removed(past: history.History, live: Mapping[str, Json]) -> Iterator[ServiceStatus]:
    """Services that the cluster does not have any more: of the last good release, and of what was
    begun since and not finished. Nothing is known where that cannot be read."""
    records = past.records
    good = [number for number, record in enumerate(records) if record.outcome is Outcome.DONE]
    if not good or max(past.unread, default=0) > records[good[-1]].release.number:
        return
    release, *since = [
        r.release for r in records[good[-1] :] if r.outcome in (Outcome.DONE, *UNFINISHED)
    ]
    for service in release.spec.services:
        kept = all(service.name in {s.name for s in later.spec.services} for later in since)
        if kept and service_name(release.spec.name, service.name) not in live:
            yield ServiceStatus(
                name=service.name,
                image=release.images[service.name].tag,
                release=release.id,
                mode=service.mode,
                replicas=service.replicas,
                running=0,
                missing=service.replicas,
            )


def _ports(spec: Json) -> Iterator[str]:
    for port in (spec.get("EndpointSpec") or {}).get("Ports") or ():
        if published := port.get("PublishedPort"):
            yield f"{published} to {port['TargetPort']}/{port.get('Protocol', 'tcp')}"


def _newest_first(task: Task) -> float:
    return -task.since.timestamp() if task.since else 0.0
