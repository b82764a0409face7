"""Conflicts between the apps behind one proxy: names that two of them have there, and domains that
two of them serve. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from deploytool.backends.model import Action, Change, FieldChange
from deploytool.errors import PlanError
from deploytool.traefik import routing
from deploytool.traefik.routing import Router
from deploytool.traefik.rules import Claim, Part


@dataclass(frozen=True)
class Routed:
    """A service as the proxy reads it."""

    name: str
    """Its name on the cluster."""
    described: str
    """The same in the words of its owner."""
    labels: Mapping[str, str]
    """Its labels, or its tags as such."""


@dataclass(frozen=True)
class Held:
    """What another app's router serves: requests to hosts that it names."""

    part: Part
    router: Router
    service: Routed

    def __str__(self) -> str:
        return str(self.part.claim or self.part)


@dataclass(frozen=True)
class Overtaking:
    """A router of the app that gets requests before another app's."""

    router: str
    part: str
    """The part of its rule that does."""
    held: Held

    def __str__(self) -> str:
        return (
            f"the router {self.router} takes {self.part} from {self.held}, which is served "
            f"by {self.held.service.described}"
        )


@dataclass(frozen=True)
class Routes:
    """The services of an app as they are and as they shall be, and those of all other apps."""

    app: str
    before: Sequence[Routed]
    after: Sequence[Routed]
    others: Sequence[Routed]
    provider: str
    """Traefik's word for the cluster."""

    def check_names(self) -> None:
        """Raises PlanError where a router, service or middleware would be called like one of
        another app, or where one goes away that another app uses."""
        holders = {
            named: service for service in self.others for named in routing.defined(service.labels)
        }
        wanted = {named for service in self.after for named in routing.defined(service.labels)}
        if taken := sorted(wanted & holders.keys()):
            raise PlanError(
                f"{holders[taken[0]].described} has the {taken[0]} too: the proxy would serve "
                "neither, or one for the other",
                code="route_name_taken",
                hint="give it another name in the labels, here or there",
                details=[f"{named}: {holders[named].described}" for named in taken],
            )
        before = {named for service in self.before for named in routing.defined(service.labels)}
        gone = before - wanted - holders.keys()
        for service in self.others:
            if lost := sorted(routing.referred(service.labels, self.provider) & gone):
                raise PlanError(
                    f"{service.described} refers to the {lost[0]} of {self.app}, which this "
                    "plan removes or renames: its routes would answer 404",
                    code="route_name_used",
                    hint=f"let {service.name} define one of its own first",
                    details=[str(named) for named in lost],
                )

    @cached_property
    def taken(self) -> dict[str, frozenset[Claim]]:
        """The names of other apps' services, and what of theirs the app claims."""
        wanted = frozenset[Claim]().union(*(routing.claims(s.labels) for s in self.after))
        found = {s.name: wanted & routing.claims(s.labels) for s in self.others}
        return {name: claims for name, claims in found.items() if claims}

    @cached_property
    def overtaking(self) -> list[Overtaking]:
        """The routers that come before those of other apps with the plan, and did not before."""
        known = {(found.router, str(found.held)) for found in self._overtaking(self.before)}
        return [
            found
            for found in self._overtaking(self.after)
            if (found.router, str(found.held)) not in known
        ]

    def _overtaking(self, own: Sequence[Routed]) -> Iterator[Overtaking]:
        for router, part in _parts(own):
            hosts = self._held if part.hosts is None else part.hosts
            for held in (held for host in hosts for held in self._held.get(host, ())):
                is_known = held.part.claim in self.taken.get(held.service.name, ())
                is_first = router.priority >= held.router.priority and router.meets(held.router)
                if is_first and not is_known and part.reaches(held.part):
                    yield Overtaking(router.name, str(part), held)

    @cached_property
    def _held(self) -> dict[str, list[Held]]:
        """What other apps serve, by host."""
        found: dict[str, list[Held]] = {}
        for service in self.others:
            for router in routing.http_routers(service.labels):
                for part in router.parts:
                    for name in part.names:
                        found.setdefault(name, []).append(Held(part, router, service))
        return found

    def warnings(self) -> Iterator[str]:
        """What Traefik would leave out, and nothing here can compare."""
        for service in self.after:
            for name in routing.unreadable(service.labels):
                yield (
                    f"the rule of the router {name} cannot be read: Traefik may leave the router "
                    "out, and whether it takes requests of other apps is not known"
                )

    def check_domains(self) -> None:
        """Raises PlanError where the app claims what another one serves, or gets its requests."""
        self._check_claims()
        for found in self.overtaking:
            raise PlanError(
                f"{str(found)[0].upper()}{str(found)[1:]}",
                code="domain_taken",
                hint="narrow its rule in the labels, or lower its priority; --take-over deploys it "
                "as it is",
                details=[f"{one.part}: {one.held.service.name}" for one in self.overtaking],
            )

    def _check_claims(self) -> None:
        for service in self.others:
            if claims := self.taken.get(service.name):
                raise PlanError(
                    f"{min(claims)} is served by {service.described} already",
                    code="domain_taken",
                    hint="take it out of the domains there, or here; --take-over moves it here "
                    "once the release runs",
                    details=[
                        f"{claim}: {name}"
                        for name, found in sorted(self.taken.items())
                        for claim in sorted(found)
                    ],
                )

    def take_overs(self) -> Iterator[Change]:
        """The changes of a take-over."""
        holders = {
            claim: service.name
            for service in self.after
            for claim in routing.claims(service.labels)
        }
        for name, claims in sorted(self.taken.items()):
            for claim in sorted(claims):
                moved = FieldChange(path="service", before=name, after=holders[claim])
                yield Change(kind="route", name=str(claim), action=Action.UPDATE, fields=(moved,))
        for found in self.overtaking:
            first = FieldChange(
                path="first router",
                before=found.held.service.name,
                after=f"{found.router}: {found.part}",
            )
            name = str(found.held)
            yield Change(kind="route", name=name, action=Action.UPDATE, fields=(first,))


def _parts(services: Sequence[Routed]) -> Iterator[tuple[Router, Part]]:
    for service in services:
        http, tcp = routing.http_routers(service.labels), routing.tcp_routers(service.labels)
        for router in chain(http, tcp):
            for part in router.parts:
                yield router, part
