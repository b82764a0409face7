"""Conflicts between the apps of a Swarm: what their labels refer to, what they need of the proxy,
short names that lead from one into the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from deploytool.backends.swarm.planning import references
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels, offers
from deploytool.backends.swarm.specification.offers import described
from deploytool.backends.swarm.specification.routing import PROVIDER, is_proxy, labels_of, ports
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec
from deploytool.traefik import routing
from deploytool.traefik.neighbours import Routed, Routes
from deploytool.traefik.references import problem


class Neighbours:
    """The services of a cluster that are not of an app, and those of it as they are and will be."""

    def __init__(
        self,
        app: AppSpec,
        services: Iterable[Json],
        specs: Sequence[Json],
        names: Mapping[str, str],
    ) -> None:
        self.app = app
        self.specs = specs
        self.network_names = names
        self.own: list[Json] = []
        self.others: list[Json] = []
        for service in services:
            is_own = labels_of(service).get(labels.STACK) == app.name
            (self.own if is_own else self.others).append(service)

    @cached_property
    def routes(self) -> Routes:
        return Routes(
            app=self.app.name,
            before=list(map(_routed, self.own)),
            after=[Routed(spec["Name"], spec["Name"], spec["Labels"]) for spec in self.specs],
            others=list(map(_routed, self.others)),
            provider=PROVIDER,
        )

    def check_references(self, proxy: Json | None) -> None:
        """Raises PlanError where labels refer to what nobody defines."""
        own = [spec["Labels"] for spec in self.specs]
        if lost := references.missing(own, self.others, proxy):
            raise problem(self.app.name, lost)

    # --- the proxy itself ------------------------------------------------------------------------

    def check_offers(self) -> None:
        """Raises PlanError where the app is the proxy and would lose what others' routes need."""
        proxies = [live for live in self.own if is_proxy(live)]
        for spec in self.specs if proxies else ():
            after = offers.offered(spec, self.network_names)
            for live in proxies:
                if live["Spec"]["Name"] != spec["Name"]:
                    continue
                lost = offers.offered(live["Spec"], self.network_names) - after
                users = list(offers.users(self.others, lost))
                if not users:
                    continue
                service, things = users[0]
                raise PlanError(
                    f"The proxy would lose the {things[0]}, which {described(service)} needs",
                    code="proxy_in_use",
                    hint="write the [tool.deploytool.proxy] of the project that set the proxy up "
                    "here too, or first deploy those apps without what they need it for",
                    details=[
                        f"{thing}: {user['Spec']['Name']}"
                        for user, needs in users
                        for thing in needs
                    ],
                )

    def _moved_ports(self) -> Iterator[str]:
        """The effect on callers of other apps where the app is the proxy and changes its ports."""
        if not any(routing.is_routed(labels_of(service)) for service in self.others):
            return
        for live in filter(is_proxy, self.own):
            name = live["Spec"]["Name"]
            spec = next((spec for spec in self.specs if spec["Name"] == name), None)
            before = ports(live)
            after = ports({"Spec": spec}) if spec else before
            pairs = {"HTTP": (before.http, after.http), "HTTPS": (before.https, after.https)}
            for what, (old, new) in pairs.items():
                if old and new and old != new:
                    yield (f"all apps answer {what} on port {new} then, and on port {old} no more")

    # --- short names -----------------------------------------------------------------------------

    def warnings(self) -> Iterator[str]:
        yield from self.routes.warnings()
        yield from self._moved_ports()
        yield from self._lost_names()
        yield from self._foreign_names()

    def _lost_names(self) -> Iterator[str]:
        after = {spec["Name"]: set(self._aliases(spec)) for spec in self.specs}
        for live in self.own:
            name = live["Spec"]["Name"]
            for network, alias in sorted(set(self._aliases(live["Spec"])) - after.get(name, set())):
                if name in after and network in self._networks(name):
                    yield (
                        f"{alias} is no name on the network {network} any more, where other apps "
                        f"would meet it: use {name} there"
                    )

    def _foreign_names(self) -> Iterator[str]:
        """`docker stack deploy` gives services their short names on every network."""
        own = {service.name for service in self.app.services}
        shared = {network for spec in self.specs for network in self._networks(spec["Name"])}
        shared -= {swarm.default_network(self.app.name)}
        for service in self.others:
            name = service["Spec"]["Name"]
            for network, alias in sorted(set(self._aliases(service["Spec"]))):
                if network in shared and alias in own:
                    yield (
                        f"{name} answers to {alias} too on the network {network}: call your own "
                        f"{swarm.service_name(self.app.name, alias)}, and deploy {name} with "
                        "deploytool, which gives no short names there"
                    )

    def _aliases(self, spec: Json) -> Iterator[tuple[str, str]]:
        """The networks of a service, and its short names there."""
        for attached in spec["TaskTemplate"].get("Networks") or ():
            network = self.network_names.get(attached["Target"], attached["Target"])
            for alias in attached.get("Aliases") or ():
                yield network, alias

    def _networks(self, name: str) -> set[str]:
        """The networks that a service of the app will be on."""
        spec = next(spec for spec in self.specs if spec["Name"] == name)
        return {attached["Target"] for attached in spec["TaskTemplate"]["Networks"]}


def _routed(service: Json) -> Routed:
    return Routed(service["Spec"]["Name"], described(service), labels_of(service))
