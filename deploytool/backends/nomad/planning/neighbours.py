"""The other apps of a cluster, as its catalogue has them: who serves which domain, and what would
be called alike at the proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from deploytool.backends.nomad.api.catalogue import Instance, Listed, as_labels, instances
from deploytool.backends.nomad.api.client import Client, NotFound, Outdated
from deploytool.backends.nomad.planning.job import groups_of, is_system
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.traefik import offers, references, routing
from deploytool.traefik.neighbours import Routed, Routes
from deploytool.traefik.rules import Claim

PROVIDER = "nomad"
"""Traefik's word for this cluster."""


@dataclass(frozen=True)
class Taken:
    """Domains that are taken over from a service of another app."""

    job: str
    namespace: str
    service: str
    claims: frozenset[Claim]


@dataclass(frozen=True)
class Neighbours:
    """An app among the others."""

    client: Client
    routes: Routes
    holders: tuple[Instance, ...] = ()
    """Those of the others that are in the way."""

    def check(self, *, take_over: bool) -> None:
        """Raises PlanError where the app is in another one's way. What routers are called matters
        in one namespace alone: Traefik reads each apart."""
        here = [other for other in self.routes.others if "/" not in other.name]
        replace(self.routes, others=here).check_names()
        if not take_over:
            self.routes.check_domains()

    def check_references(self) -> None:
        """Raises PlanError where tags refer to what nobody defines. What other sources of the
        proxy define is believed, other namespaces among them."""
        others = [(one.name, one.labels) for one in self.routes.others if "/" not in one.name]
        own = [one.labels for one in self.routes.after]
        if lost := references.missing(own, others, provider=PROVIDER, sources=None):
            raise references.problem(self.routes.app, lost)

    @property
    def taken(self) -> tuple[Taken, ...]:
        jobs = {_full_name(self.client, one): one for one in self.holders}
        return tuple(
            Taken(jobs[name].job, jobs[name].namespace, jobs[name].name, claims)
            for name, claims in sorted(self.routes.taken.items())
            if name in jobs
        )


def read_neighbours(
    client: Client, job: Json, live: Json | None, services: Sequence[Listed]
) -> Neighbours:
    """The other apps. Whose a service is asks the cluster once more, and only of those that are in
    the way."""
    own = {name for side in (job, live) for name, _ in registered(side)}
    others = [
        Routed(_full_name(client, one), f"the service {_full_name(client, one)}", one.labels)
        for one in services
        if one.namespace != client.namespace or one.name not in own
    ]
    routes = Routes(
        app=str(job["ID"]),
        before=[Routed(name, name, labels) for name, labels in registered(live)],
        after=[Routed(name, name, labels) for name, labels in registered(job)],
        others=[other for other in others if routing.is_routed(other.labels)],
        provider=PROVIDER,
    )
    names = _in_the_way(routes)
    found = [
        one
        for service in services
        if _full_name(client, service) in names
        for one in instances(client, service)
    ]
    jobs = {_full_name(client, one): one.job for one in found}
    described = [
        replace(other, described=f"{other.described} of the job {jobs[other.name]}")
        if other.name in jobs
        else other
        for other in routes.others
    ]
    return Neighbours(client, replace(routes, others=described), tuple(found))


def _full_name(client: Client, service: Listed | Instance) -> str:
    is_here = service.namespace == client.namespace
    return service.name if is_here else f"{service.namespace}/{service.name}"


def _in_the_way(routes: Routes) -> set[str]:
    """The services of others that define, refer to or claim what the app does, now or then."""
    mine = [*routes.before, *routes.after]
    named = {name for service in mine for name in routing.defined(service.labels)}
    return set(routes.taken) | {
        other.name
        for other in routes.others
        if named & (routing.defined(other.labels) | routing.referred(other.labels, PROVIDER))
    }


def registered(job: Json | None) -> Iterator[tuple[str, dict[str, str]]]:
    """The services that a job puts into the catalogue, and their tags."""
    for service in _services(job or {}):
        yield service["Name"], as_labels(service.get("Tags") or ())


# --- the proxy itself -----------------------------------------------------------------------------


def check_offers(job: Json, live: Json | None, neighbours: Neighbours) -> None:
    """Raises PlanError where the job is the proxy and would lose what others' routes need."""
    if not (is_system(job) and is_system(live)):
        return
    lost = offers.offered(arguments_of(live)) - offers.offered(arguments_of(job))
    users = [
        (other, needs)
        for other in neighbours.routes.others
        if (needs := sorted(offers.needed(other.labels) & lost))
    ]
    if users:
        other, things = users[0]
        raise PlanError(
            f"The proxy would lose the {things[0]}, which {other.described} needs",
            code="proxy_in_use",
            hint="write the [tool.deploytool.proxy] of the project that set the proxy up here too, "
            "or first deploy those apps without what they need it for",
            details=[f"{thing}: {user.name}" for user, needs in users for thing in needs],
        )


def arguments_of(job: Json | None) -> list[str]:
    """How the tasks of a job are called."""
    return [
        str(argument)
        for group in groups_of(job).values()
        for task in group.get("Tasks") or ()
        for argument in (task.get("Config") or {}).get("args") or ()
    ]


# --- taking over ----------------------------------------------------------------------------------


def withdraw(client: Client, taken: Iterable[Taken]) -> None:
    """Take routes from services of other jobs, and leave their replicas alone: tags change in
    place."""
    for one in taken:
        try:
            job = client.get(f"/v1/job/{one.job}", namespace=one.namespace)
        except NotFound:
            continue
        for service in _services(job):
            if service["Name"] == one.service:
                kept = routing.withdrawn(as_labels(service.get("Tags") or ()), one.claims)
                service["Tags"] = sorted(f"{key}={value}" for key, value in kept.items())
        body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": job["JobModifyIndex"]}
        try:
            client.post("/v1/jobs", body, again=True, namespace=one.namespace)
        except Outdated as error:
            if not error.is_repeated:
                raise
            withdraw(client, [one])


def _services(job: Json) -> Iterator[Json]:
    for group in job.get("TaskGroups") or ():
        yield from group.get("Services") or ()
        for task in group.get("Tasks") or ():
            yield from task.get("Services") or ()
