"""A plan that is being carried out on a Swarm, and its reversal."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from deploytool.backends.model import Action, Plan, RouteCheck, ServiceProgress, Task
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.events import Listener
from deploytool.backends.swarm.operations import networks
from deploytool.backends.swarm.planning import files as config_files
from deploytool.backends.swarm.planning import logins
from deploytool.backends.swarm.planning.diff import normal
from deploytool.backends.swarm.planning.plan import SwarmPlan
from deploytool.backends.swarm.rollout import probe, recover, watch
from deploytool.backends.swarm.rollout.tracked import Tracked, Tracking
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.specification.routing import labels_of, ports
from deploytool.json_types import Json
from deploytool.spec import Release
from deploytool.traefik import routing
from deploytool.traefik.probe import ask
from deploytool.traefik.rules import Claim

AT_ONCE = 8
"""Services that are created or updated at the same time."""


class SwarmRollout:
    """Implements `deploytool.backends.protocol.Rollout`. It owns its state and never
    changes the plan."""

    def __init__(self, client: Client, plan: Plan, *, tracking: Tracking | None = None) -> None:
        self.client = client
        self.plan = plan
        self.swarm: SwarmPlan = plan.payload
        self.tracking = tracking or Tracking.of(self.swarm)
        self.is_prepared = False
        self._listener = Listener(client, {target.name for target in self.tracking.targets})

    def __enter__(self) -> SwarmRollout:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    @property
    def targets(self) -> list[Tracked]:
        return self.tracking.targets

    # --- changes --------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self.is_prepared:
            return
        for network in self.swarm.new_networks:
            networks.create(self.client, network)
        specs = [target.spec for target in self.targets if target.spec is not None]
        config_files.create(self.client, self.swarm.new_configs, specs)
        self.is_prepared = True

    def start(
        self, release: Release | None = None, services: Collection[str] | None = None
    ) -> None:
        self.prepare()
        changing = [
            target
            for target in self.targets
            if target.action in (Action.CREATE, Action.UPDATE)
            and (services is None or target.service in services)
        ]
        _in_parallel(lambda target: self._start(target, release), changing)

    def _start(self, target: Tracked, release: Release | None) -> None:
        spec = target.spec
        assert spec is not None
        if release is not None:
            _stamp(target, spec, release)
        target.applied = True
        target.applied_at = time.monotonic()
        if target.live is None:
            networks.create_service(self.client, spec, self.swarm.networks)
        else:
            self._update(target, target.live, spec)

    def _update(self, target: Tracked, live: Json, spec: Json) -> None:
        """Failures of replicas that exist by now do not count against the update: the plan may be
        old, and their login may be wrong by now. Replicas that the update replaces are known by
        their release."""
        if not target.replaces:
            there = self.client.tasks(service=live["ID"])
            target.known_tasks |= {task["ID"] for task in there}
        self.client.update_service(live, spec)

    def renew_logins(self) -> None:
        changing = [target for target in self.targets if target.action is Action.UPDATE]
        _in_parallel(self._renew_login, changing)

    def _renew_login(self, target: Tracked) -> None:
        assert target.live is not None
        assert target.spec is not None
        target.spec = logins.only_renewed(target.live, target.spec)
        self._update(target, target.live, target.spec)

    def recover(self) -> None:
        recover.recover(self.client, self.tracking)

    def reverse(self) -> SwarmReversal:
        return SwarmReversal(self)

    def finish(self) -> None:
        gone = [target.live for target in self.targets if target.action is Action.REMOVE]
        _in_parallel(lambda live: self.client.remove_service(live["ID"]), list(filter(None, gone)))
        taken = self.swarm.taken
        others = self.client.services() if taken else []
        _in_parallel(
            lambda live: self._withdraw(live, taken[live["Spec"]["Name"]]),
            [live for live in others if live["Spec"]["Name"] in taken],
        )

    def _withdraw(self, live: Json, taken: Collection[Claim]) -> None:
        """Take routes from a service, and leave its replicas alone."""
        kept = routing.withdrawn(labels_of(live), taken)
        self.client.update_service(live, live["Spec"] | {"Labels": kept})

    # --- progress -------------------------------------------------------------------------------

    def observe(self) -> list[ServiceProgress]:
        return watch.observe(self.client, self.tracking)

    def wait_for_change(self, seconds: float) -> None:
        self._listener.wait(seconds)

    def failures(self) -> list[Task]:
        return [task for target in self.targets for task in target.failures.values()]

    def check_routes(self) -> RouteCheck:
        swarm = self.swarm
        if not swarm.routes or swarm.proxy is None:
            return RouteCheck()
        changed = (t.applied_at for t in self.targets if t.applied and _is_rerouted(t))
        time.sleep(max(0.0, max(changed, default=0.0) + probe.SETTLED - time.monotonic()))
        asked = self.client.tasks(service=swarm.proxy["ID"], **{"desired-state": ["running"]})
        found = probe.addresses(
            asked,
            self.client.nodes(),
            here=str((self.client.info().get("Swarm") or {}).get("NodeID", "")),
            client_host=_host_of(self.client.address),
        )
        return ask(swarm.routes, found, ports(swarm.proxy))


class SwarmReversal(SwarmRollout):
    """The reversal of a rollout: every service that it changed becomes what it was before."""

    def __init__(self, forward: SwarmRollout) -> None:
        changed = [target for target in forward.targets if target.applied]
        tracking = Tracking(forward.tracking.app, forward.tracking.nodes, changed)
        super().__init__(forward.client, forward.plan, tracking=tracking)
        self.is_prepared = True

    def start(
        self,
        release: Release | None = None,  # noqa: ARG002
        services: Collection[str] | None = None,  # noqa: ARG002
    ) -> None:
        own = self.client.services(label=f"{labels.APP}={self.tracking.app}")
        live = {service["Spec"]["Name"]: service for service in own}
        _in_parallel(lambda target: self._revert(target, live.get(target.name)), self.targets)

    def _revert(self, target: Tracked, live: Json | None) -> None:
        if live is None or not watch.is_ours(target, live):
            return
        if target.live is None:
            self.client.remove_service(live["ID"])
        elif normal(live["Spec"], {}) != normal(target.live["Spec"], {}):
            self.client.update_service(live, target.live["Spec"])

    def observe(self) -> list[ServiceProgress]:
        return watch.observe_reversal(self.client, self.tracking)

    def check_routes(self) -> RouteCheck:
        return RouteCheck()

    def finish(self) -> None:
        """It removes as it starts."""


def _stamp(target: Tracked, spec: Json, release: Release) -> None:
    """Say which release a service is of. Replicas keep the release that they started with, as
    changing a label of theirs would replace them."""
    spec["Labels"][labels.RELEASE] = release.id
    container = spec["TaskTemplate"]["ContainerSpec"]
    if target.live is not None and not target.replaces:
        live = target.live["Spec"]["TaskTemplate"]["ContainerSpec"]
        container["Labels"] = live.get("Labels", {})
        container["Image"] = live["Image"]
    else:
        container["Labels"][labels.RELEASE] = release.id


def _is_rerouted(target: Tracked) -> bool:
    """Whether the proxy has something new to read of a service."""
    after = (target.spec or {}).get("Labels") or {}
    before = labels_of(target.live) if target.live else {}
    return _routing(before) != _routing(after)


def _routing(own: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in own.items() if key.lower().startswith("traefik.")}


def _host_of(address: str) -> str | None:
    """Where an engine is; None for this machine."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme in ("unix", "http+unix", "npipe"):
        return None
    return urlsplit(f"//{rest}").hostname


def _in_parallel(function: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do it for all, then fail if any failed: what can go ahead is not held up."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        futures = [pool.submit(function, item) for item in items]
    for future in futures:
        future.result()
