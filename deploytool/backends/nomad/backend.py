"""The backend protocol on Nomad: each method asks the cluster one thing, or tells it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from deploytool import capacity, dangers
from deploytool.backends import engine_limits
from deploytool.backends.model import (
    Action,
    Belonging,
    Capacity,
    Change,
    Executed,
    FieldChange,
    Job,
    LogLine,
    Plan,
    Secret,
    SecretSet,
    Status,
    Task,
    not_deployed,
)
from deploytool.backends.nomad.api.allocations import runs
from deploytool.backends.nomad.api.catalogue import listed
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.operations import execute, jobs, measure, remove
from deploytool.backends.nomad.operations.explain import explain
from deploytool.backends.nomad.operations.logs import follow_app, read_logs
from deploytool.backends.nomad.operations.status import describe, image_of, with_routes
from deploytool.backends.nomad.planning.capacity import Where, holds_resources, read_nodes
from deploytool.backends.nomad.planning.job import RESTARTED, groups_of, is_running, is_system
from deploytool.backends.nomad.planning.plan import (
    NomadPlan,
    plan_job,
    take_snapshot,
    with_live_counts,
)
from deploytool.backends.nomad.planning.proxies import find_proxy
from deploytool.backends.nomad.rollout.session import NomadRollout
from deploytool.backends.nomad.specification.compile import compile_app, compile_one_off
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import NEWEST, OLDEST, ServerVersion
from deploytool.backends.nomad.storage import files as file_storage
from deploytool.backends.nomad.storage.secrets import NomadVault
from deploytool.backends.nomad.storage.store import NomadStore
from deploytool.config.nomad import NomadSettings
from deploytool.errors import DeploytoolError, EngineError, UsageError
from deploytool.json_types import Json
from deploytool.records import history
from deploytool.records.store import Store
from deploytool.secrets import versions
from deploytool.spec import AppSpec, Image, Service, repository_of
from deploytool.traefik.routing import Ports


class Nomad:
    """A Nomad cluster, seen from one of its servers."""

    name = "nomad"
    keeps_scale = True

    def __init__(self, client: Client, settings: NomadSettings) -> None:
        self.client = client
        self.settings = settings.model_copy(
            update={
                "namespace": client.namespace,
                "region": client.connection.region or None,
            }
        )
        self.store: Store = NomadStore(client)
        self.vault = NomadVault(client)

    @property
    def version(self) -> ServerVersion:
        with suppress(ValueError):
            return ServerVersion.parse(self.client.version)
        return NEWEST

    def _check_version(self) -> None:
        if self.version < OLDEST:
            raise EngineError(
                f"Nomad {self.client.version} is too old: {OLDEST.major}.{OLDEST.minor} is the "
                "oldest that deploytool knows",
                code="nomad_version",
                hint="update the servers, then the clients",
            )

    # --- images -----------------------------------------------------------------------------------

    def resolve(self, reference: str) -> Image:
        from deploytool.image.registry import Registry

        return Registry().resolve(reference)

    def local_image(self, reference: str) -> Image | None:
        """Nodes have their own engines: what this machine has is nothing to them."""
        del reference
        return None

    def running_images(self, app: str) -> dict[str, Image]:
        found = {}
        recorded = self._recorded_images(app)
        for name, group in groups_of(remove.own_job(self.client, app)).items():
            reference = image_of(group)
            known = recorded.get(name)
            found[name] = Image(
                reference=reference,
                tag=known.tag if known else repository_of(reference),
                platforms=known.platforms if known and known.reference == reference else (),
            )
        return found

    def _recorded_images(self, app: str) -> dict[str, Image]:
        """Service → its image, by the newest release."""
        recorded = history.records(self.store, app)
        return recorded[-1].release.images if recorded else {}

    # --- plans ------------------------------------------------------------------------------------

    def plan(
        self,
        spec: AppSpec,
        images: Mapping[str, Image],
        *,
        files: Mapping[str, bytes] | None = None,
        secrets: Mapping[str, str] | None = None,
        take_over: bool = False,
    ) -> Plan:
        self._check_version()
        wanted = {name for service in spec.services for name in service.secrets}
        found = versions.choose(
            spec.name, wanted, self.vault.versions(spec.name) if wanted else (), secrets or {}
        )
        contents = file_storage.contents(self.client, spec, files or {})
        source = Source(
            app=spec,
            settings=self.settings,
            images=images,
            secrets=found,
            files=contents,
            version=self.version,
        )
        compiled = compile_app(source)
        snapshot = take_snapshot(self.client, spec.name)
        job = with_live_counts(compiled.job, snapshot.live, self._counts(spec.name))
        return plan_job(
            self.client,
            spec,
            job,
            snapshot,
            mhz_per_core=self.settings.mhz_per_core,
            warnings=(
                *dangers.warnings(spec),
                *engine_limits.warnings(spec),
                *compiled.notes,
            ),
            secrets=found,
            files={spec.files[path]: content for path, content in contents.items()},
            version=source.version,
            take_over=take_over,
        )

    def _counts(self, app: str) -> dict[str, int]:
        """Service → its number of replicas in the last good release."""
        good = history.good(history.records(self.store, app))
        return {s.name: s.replicas for s in good[-1].spec.services} if good else {}

    def scale(self, app: str, replicas: Mapping[str, int]) -> Plan:
        def change(group: Json) -> FieldChange | None:
            before, after = group.get("Count"), replicas[group["Name"]]
            group["Count"] = after
            return FieldChange(path="replicas", before=before, after=after)

        return self._change(app, list(replicas), change, replaces=False)

    def restart(self, app: str, services: Sequence[str]) -> Plan:
        def change(group: Json) -> FieldChange | None:
            meta = dict(group.get("Meta") or {})
            meta[RESTARTED] = str(int(meta.get(RESTARTED) or 0) + 1)
            group["Meta"] = meta
            return None

        return self._change(app, services, change, replaces=True)

    def _change(
        self,
        app: str,
        services: Sequence[str],
        change: Callable[[Json], FieldChange | None],
        *,
        replaces: bool,
    ) -> Plan:
        """A plan that changes groups of the running job."""
        live = self._job(app)
        chosen = self._choose(app, live, services)
        job = copy.deepcopy(live)
        changes = []
        for group in job["TaskGroups"]:
            if group["Name"] in chosen:
                field = change(group)
                fields = (field,) if field and field.before != field.after else ()
                action = Action.UPDATE if fields or replaces else Action.KEEP
                changes.append(
                    Change(
                        kind="service",
                        name=group["Name"],
                        action=action,
                        fields=fields,
                        replaces=replaces,
                    )
                )
        payload = NomadPlan(
            app=app,
            job=job,
            live=live,
            index=int(live["JobModifyIndex"]),
            names=frozenset(groups_of(live)),
        )
        return Plan(app=app, changes=tuple(changes), payload=payload)

    def rollout(self, plan: Plan) -> NomadRollout:
        return NomadRollout(self.client, plan)

    # --- what there is ----------------------------------------------------------------------------

    def status(self, app: str) -> Status:
        job = self._job(app)
        services = listed(self.client)
        proxy = find_proxy(self.client, services)
        found = describe(
            job,
            self.client.get(f"/v1/job/{app}/allocations") or (),
            self.client.get(f"/v1/job/{app}/deployments") or (),
            {name: image.tag for name, image in self._recorded_images(app).items()},
            proxy.ports if proxy else Ports(),
        )
        return with_routes(found, proxy, services) if proxy and is_system(job) else found

    def _job(self, app: str) -> Json:
        job = remove.own_job(self.client, app)
        if job is None or not is_running(job):
            raise not_deployed(app)
        return job

    def _choose(self, app: str, job: Json, services: Sequence[str]) -> list[str]:
        """The named services, all when none is named. Raises UsageError for an unknown one."""
        known = sorted(groups_of(job))
        if unknown := [name for name in services if name not in known]:
            raise UsageError(
                f"{app} has no service {unknown[0]}",
                code="unknown_service",
                hint=f"there are: {', '.join(known)}",
            )
        return list(services) or known

    def logs(
        self,
        app: str,
        services: Sequence[str],
        *,
        follow: bool,
        tail: int,
        since: int | None,
        hidden: Mapping[str, re.Pattern[str]],  # noqa: ARG002
        warn: Callable[[str], None],
    ) -> Iterator[LogLine]:
        chosen = self._choose(app, self._job(app), services)
        if since is not None:
            warn("Nomad keeps no times of lines: --since is passed over")
        if follow:
            return follow_app(self.client, app, chosen, tail=tail, warn=warn)
        found = self.client.get(f"/v1/job/{app}/allocations") or ()
        own = [a for a in found if a["TaskGroup"] in chosen]
        return read_logs(self.client, own, tail=tail, warn=warn)

    def capacity(self, app: str, services: Sequence[Service]) -> Capacity:
        snapshot = take_snapshot(self.client, app)
        where = Where(self.settings.datacenters, self.settings.node_pool)
        mhz = self.settings.mhz_per_core
        nodes = read_nodes(snapshot.nodes, snapshot.allocations, mhz, where)
        placed: dict[str, dict[str, int]] = {}
        for allocation in filter(holds_resources, snapshot.allocations):
            if allocation["JobID"] == app:
                own = placed.setdefault(allocation["TaskGroup"], {})
                own[allocation["NodeID"]] = own.get(allocation["NodeID"], 0) + 1
        mine = [a for a in snapshot.allocations if a["JobID"] == app and runs(a)]
        return capacity.describe(
            nodes,
            services,
            placed,
            measure.by_service(self.client, mine, mhz),
            measure.by_node(self.client, [node.id for node in nodes if node.usable], mhz),
            unmeasured=measure.UNMEASURED,
        )

    def explain(self, task: Task, *, lines: int = 15) -> list[str]:
        return explain(self.client, task, lines=lines)

    def belongings(self, app: str) -> list[Belonging]:
        return remove.belongings(self.client, app)

    # --- one-off tasks ----------------------------------------------------------------------------

    def start_job(self, job: Job) -> None:
        app = job.release.spec
        service = next(s for s in app.services if s.name == job.service)
        source = Source(
            app=app,
            settings=self.settings,
            images=job.release.images,
            secrets=job.release.secrets,
            files=file_storage.contents(self.client, app, {}),
            version=self.version,
        )
        command, release = list(job.command), job.release.id
        specification = compile_one_off(source, service, jobs.job_id(job), command, release)
        jobs.start(self.client, job, specification)

    def look_at_job(self, job: Job) -> Task | None:
        return jobs.look(self.client, job)

    def job_output(self, job: Job, *, follow: bool) -> Iterator[str]:
        return jobs.output(self.client, job, follow=follow)

    def remove_job(self, job: Job) -> None:
        jobs.remove(self.client, job)

    def jobs(self, app: str) -> list[str]:
        return jobs.names(self.client, app)

    # --- secrets ----------------------------------------------------------------------------------

    def secrets(self, app: str) -> list[Secret]:
        return versions.overview(self.vault, history.read(self.store, app), app)

    def set_secrets(self, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
        return versions.put(self.vault, history.read(self.store, app), app, values)

    def remove_secret(self, app: str, name: str) -> list[str]:
        return versions.remove(self.vault, app, name)

    # --- operations -------------------------------------------------------------------------------

    def execute(self, app: str, service: str, command: Sequence[str]) -> Executed:
        self._choose(app, self._job(app), [service])
        return execute.execute(self.client, app, service, command)

    def attach_command(
        self, app: str, service: str, command: Sequence[str], *, terminal: bool
    ) -> list[str]:
        self._choose(app, self._job(app), [service])
        return execute.attach_command(
            self.client, self.settings, app, service, command, terminal=terminal
        )

    def destroy(self, app: str, *, volumes: bool, secrets: bool = True) -> list[str]:
        del volumes  # They are the nodes'.
        return remove.destroy(self.client, app, secrets=secrets)

    def collect_garbage(self, app: str) -> None:
        with suppress(DeploytoolError):
            remove.collect_garbage(self.client, app)
