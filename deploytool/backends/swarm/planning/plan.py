"""The plan of a deploy on a Swarm. Reads the cluster, changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

from deploytool import capacity, dangers
from deploytool.backends import engine_limits
from deploytool.backends.model import Action, Amount, Change, FieldChange, Job, Need, Plan
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.tasks import update_state
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.backends.swarm.planning import each_node, log_drivers, logins, scripts
from deploytool.backends.swarm.planning import files as config_files
from deploytool.backends.swarm.planning.capacity import (
    LIVE_STATES,
    NO_NODE_HINT,
    read_nodes,
    reserved,
)
from deploytool.backends.swarm.planning.diff import (
    differences,
    is_global,
    normal,
    replaces_tasks,
)
from deploytool.backends.swarm.planning.neighbours import Neighbours
from deploytool.backends.swarm.rollout import probe
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import init_process, labels, refused, templates
from deploytool.backends.swarm.specification.routing import (
    is_proxy,
    labels_of,
    ports,
    routed_port,
)
from deploytool.backends.swarm.storage import secrets as versioned
from deploytool.capacity import Demand, Node
from deploytool.errors import PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Image, Service
from deploytool.traefik import advice
from deploytool.traefik.probe import Route
from deploytool.traefik.routing import Ports, renamed
from deploytool.traefik.rules import Claim


@dataclass(frozen=True)
class Snapshot:
    """The cluster at one moment, asked once."""

    services: Sequence[Json]
    tasks: Sequence[Json]
    nodes: Sequence[Json]
    networks: Sequence[Json]
    secrets: Sequence[Json] = ()
    configs: Sequence[Json] = ()
    """Those that hold configuration files of the app."""
    past: Sequence[Json] = ()
    """All tasks of the app, those that ended too."""
    info: Json = field(default_factory=dict)
    """The engine's data about itself."""

    def of_app(self, app: str) -> dict[str, Json]:
        """The app's services by their full name."""
        return {
            service["Spec"]["Name"]: service
            for service in self.services
            if labels_of(service).get(labels.STACK) == app
        }

    @property
    def network_names(self) -> dict[str, str]:
        return {network["Id"]: network["Name"] for network in self.networks}


@dataclass(frozen=True)
class Target:
    """One service: what it is, and what it shall be."""

    service: str
    name: str
    action: Action
    spec: Json | None
    live: Json | None
    replaces: bool = False
    known_tasks: frozenset[str] = frozenset()
    """Tasks that were there before."""


@dataclass(frozen=True)
class SwarmPlan:
    """The data that a rollout of the plan needs. A rollout does not change it."""

    app: str
    targets: tuple[Target, ...]
    nodes: Mapping[str, str]
    """Node id → its name."""
    networks: tuple[Json, ...] = ()
    """The networks of the app that deploytool makes, whether they are there or not."""
    new_networks: tuple[Json, ...] = ()
    new_configs: tuple[Json, ...] = ()
    taken: Mapping[str, frozenset[Claim]] = field(default_factory=dict)
    """Services of other apps by full name, and the domains that are taken over from them."""
    routes: tuple[Route, ...] = ()
    """The routes to check through the proxy once it is done."""
    proxy: Json | None = None
    """The proxy of the app's network."""


def stop_grace(spec: Json | None) -> float:
    """Seconds that a replica may take to stop."""
    container = ((spec or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return float(container.get("StopGracePeriod") or 0) / 10**9


def replicas(spec: Json) -> int:
    """How many a specification asks for; 0 where it asks for one on each node."""
    return int(spec["Mode"].get("Replicated", {}).get("Replicas", 0))


def take_snapshot(
    client: Client, app: str, *, with_secrets: bool = False, with_files: bool = False
) -> Snapshot:
    """Everything that planning needs to know, in concurrent requests."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        info = pool.submit(client.info)
        services = pool.submit(client.services)
        tasks = pool.submit(lambda: client.tasks(**{"desired-state": ["running", "ready"]}))
        nodes = pool.submit(client.nodes)
        networks = pool.submit(lambda: client.networks(scope="swarm"))
        secrets = pool.submit(client.secrets) if with_secrets else None
        own = f"{labels.STACK}={app}"
        configs = pool.submit(client.configs, label=[own, labels.FILE]) if with_files else None
        past = pool.submit(client.tasks, label=own)
        return Snapshot(
            services=services.result(),
            tasks=tasks.result(),
            nodes=nodes.result(),
            networks=networks.result(),
            secrets=secrets.result() if secrets else (),
            configs=configs.result() if configs else (),
            past=past.result(),
            info=info.result(),
        )


def make_plan(
    client: Client,
    app: AppSpec,
    images: Mapping[str, Image],
    *,
    files: Mapping[str, bytes] | None = None,
    secrets: Mapping[str, str] | None = None,
    take_over: bool = False,
) -> Plan:
    """The plan that brings an app from what the cluster runs to what it shall run.

    Raises PlanError where the cluster cannot take it.
    """
    snapshot = take_snapshot(
        client,
        app.name,
        with_secrets=any(service.secrets for service in app.services),
        with_files=bool(app.files or swarm.all_scripts(app)),
    )
    plan = plan_from(
        snapshot,
        app,
        images,
        files=files or {},
        pins=secrets or {},
        start_interval=client.has_start_interval,
        take_over=take_over,
    )
    warnings = (*plan.warnings, *_check_warnings(client, app, images))
    return logins.pass_on(plan.model_copy(update={"warnings": warnings}), client)


def plan_from(
    snapshot: Snapshot,
    app: AppSpec,
    images: Mapping[str, Image],
    *,
    files: Mapping[str, bytes] = MappingProxyType({}),
    pins: Mapping[str, str] = MappingProxyType({}),
    start_interval: bool = True,
    take_over: bool = False,
) -> Plan:
    """The plan, from a snapshot. Pure."""
    refused.check(app)
    live = snapshot.of_app(app.name)
    _check_ownership(app, snapshot)
    each_node.check_modes(app, live)
    secrets = versioned.choose(app, snapshot.secrets, pins)
    secret_ids, config_ids = _ids(snapshot.secrets), _ids(snapshot.configs)
    targets, changes = [], []
    past = _tasks_by_service(snapshot.past)
    names = snapshot.network_names
    nodes = read_nodes(snapshot.nodes, snapshot.tasks)
    without_init = _nodes_without_init(snapshot, nodes)
    for service in app.services:
        image = images[service.name]
        spec = swarm.service_spec(app, service, image, None, secrets, start_interval=start_interval)
        spec = _fitting_init(spec, service, image, without_init)
        _complete(spec, secret_ids, config_ids)
        current = live.pop(spec["Name"], None)
        known = frozenset(past.get(current["ID"], ())) if current else frozenset()
        target, change = _compare(service.name, spec, current, names, known)
        targets.append(target)
        changes.append(change)
    for name, service_json in sorted(live.items()):
        short = name.removeprefix(f"{app.name}_")
        targets.append(Target(short, name, Action.REMOVE, None, service_json))
        changes.append(Change(kind="service", name=short, action=Action.REMOVE))
    nodes = read_nodes(snapshot.nodes, snapshot.tasks)
    specs = [target.spec for target in targets if target.spec]
    neighbours = Neighbours(app, snapshot.services, specs, names)
    neighbours.routes.check_names()
    neighbours.check_offers()
    if not take_over:
        neighbours.routes.check_domains()
    changes += neighbours.routes.take_overs()
    new_networks = _missing_networks(app, snapshot.networks)
    new_configs = config_files.missing(app, files, snapshot.configs)
    _check_ports(app, snapshot)
    _check_cores(app, nodes)
    changing = _changing(app, targets)
    log_drivers.check(changing, images, nodes)
    advice.check_https(app, _proxy(app, snapshot))
    proxy = _proxy_service(app, snapshot)
    neighbours.check_references(proxy)
    need = _check_capacity(app, images, nodes, targets, snapshot.tasks)
    new = [("network", n["name"]) for n in new_networks]
    scripts_of_app = {script.config_name(app.name) for script in swarm.all_scripts(app)}
    new += [("config", c["name"]) for c in new_configs if c["name"] not in scripts_of_app]
    changes += [Change(kind=kind, name=name, action=Action.CREATE) for kind, name in new]
    return Plan(
        app=app.name,
        changes=tuple(changes),
        secrets=secrets,
        warnings=(
            *_warnings(app, snapshot, images),
            *log_drivers.warnings(changing, images, nodes),
            *_port_warnings(targets),
            *_restart_warnings(targets),
            *neighbours.warnings(),
            *_init_warnings(targets, nodes),
            *_paused_warnings(targets, snapshot),
        ),
        need=need,
        payload=SwarmPlan(
            app=app.name,
            targets=tuple(targets),
            nodes={node.id: node.hostname for node in nodes},
            networks=tuple(own_networks(app)),
            new_networks=tuple(new_networks),
            new_configs=tuple(new_configs),
            taken=neighbours.routes.taken,
            routes=probe.of_specs(app, specs),
            proxy=proxy,
        ),
    )


def _changing(app: AppSpec, targets: Iterable[Target]) -> list[Service]:
    """The services of which replicas are to start, or to run otherwise."""
    kept = {target.service for target in targets if target.action is Action.KEEP}
    return [s for s in app.services if (s.replicas or s.is_global) and s.name not in kept]


def _nodes_without_init(snapshot: Snapshot, nodes: Sequence[Node]) -> list[Node]:
    tasks = (*snapshot.tasks, *snapshot.past)
    known = init_process.nodes_without(snapshot.services, tasks, snapshot.info)
    return [node for node in nodes if node.id in known]


def _fitting_init(spec: Json, service: Service, image: Image, lacking: Sequence[Node]) -> Json:
    """The specification without the init that it asks for by default, where a node that may run a
    replica is known to have none."""
    nodes = [n.id for n in lacking if not capacity.why_never(n, service, image)]
    goes_without = nodes and init_process.may_do_without(spec)
    return init_process.without(spec, nodes) if goes_without else spec


def _init_warnings(targets: Iterable[Target], nodes: Sequence[Node]) -> Iterable[str]:
    names = {node.id: node.hostname for node in nodes}
    lacking = {t.service: init_process.remembered(t.spec) for t in targets if t.spec}
    if services := sorted(name for name, found in lacking.items() if found):
        where = {names.get(node, node) for found in lacking.values() for node in found}
        yield init_process.warning(services, sorted(where))


def _paused_warnings(targets: Iterable[Target], snapshot: Snapshot) -> Iterable[str]:
    changing = [(t.service, t.live) for t in targets if t.live and t.spec and t.replaces]
    yield from each_node.paused_warnings(changing, snapshot.nodes, per_node(snapshot.tasks))


def _compare(
    name: str, spec: Json, live: Json | None, networks: Mapping[str, str], known: frozenset[str]
) -> tuple[Target, Change]:
    after = normal(spec, networks)
    if live is None:
        target = Target(name, spec["Name"], Action.CREATE, spec, None, replaces=True)
        fields = differences({}, after)
        return target, Change(kind="service", name=name, action=Action.CREATE, fields=fields)
    before = normal(live["Spec"], networks)
    fields = differences(before, after)
    if not fields and update_state(live)[0] == "paused":
        fields = (FieldChange(path="update", before="paused", after="completed"),)
    action = Action.UPDATE if fields else Action.KEEP
    replaces = replaces_tasks(before, after)
    _keep_counter(spec, live)
    scripts.keep(spec, live["Spec"])
    target = Target(name, spec["Name"], action, spec, live, replaces, known)
    change = Change(kind="service", name=name, action=action, fields=fields, replaces=replaces)
    return target, change


def _keep_counter(spec: Json, live: Json) -> None:
    """A restart counts this up; setting it back would replace every replica."""
    counter = live["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
    spec["TaskTemplate"]["ForceUpdate"] = counter


def _complete(spec: Json, secret_ids: Mapping[str, str], config_ids: Mapping[str, str]) -> None:
    """Fill in what only this cluster knows. Configs that are new get their ids when they are
    created."""
    container = spec["TaskTemplate"]["ContainerSpec"]
    for secret in container["Secrets"]:
        secret["SecretID"] = secret_ids[secret["SecretName"]]
    for config in container["Configs"]:
        if config["ConfigName"] in config_ids:
            config["ConfigID"] = config_ids[config["ConfigName"]]


def complete_job(client: Client, job: Job) -> Json:
    """The specification of a job, with what only this cluster knows."""
    app, pins = job.release.spec, job.release.secrets
    secrets = client.secrets() if any(service.secrets for service in app.services) else []
    own = f"{labels.STACK}={app.name}"
    configs = client.configs(label=[own, labels.FILE]) if app.files else []
    config_files.missing(app, {}, configs)
    spec = job_spec(job, versioned.choose(app, secrets, pins))
    _complete(spec, _ids(secrets), _ids(configs))
    service = next(s for s in app.services if s.name == job.service)
    running = client.tasks(**{"desired-state": ["running", "ready"]})
    snapshot = Snapshot(client.services(), running, client.nodes(), (), info=client.info())
    lacking = _nodes_without_init(snapshot, read_nodes(snapshot.nodes, snapshot.tasks))
    return _fitting_init(spec, service, job.release.images[service.name], lacking)


def _ids(things: Iterable[Json]) -> dict[str, str]:
    """Names of secrets or configs → ids."""
    return {thing["Spec"]["Name"]: thing["ID"] for thing in things}


def _tasks_by_service(tasks: Iterable[Json]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.get("ServiceID", ""), []).append(task["ID"])
    return found


def _check_ownership(app: AppSpec, snapshot: Snapshot) -> None:
    """Nothing is changed or removed that is not the app's own, and of the same role."""
    stack = snapshot.of_app(app.name)
    strangers = [
        name for name, live in stack.items() if labels_of(live).get(labels.APP) != app.name
    ]
    if strangers:
        raise PlanError(
            f"The cluster has a stack {app.name} that deploytool did not make",
            code="not_ours",
            hint="choose another name for the app, or remove it first: "
            f'docker stack rm "{app.name}"',
            details=strangers[:5],
        )
    proxies = [name for name, live in stack.items() if is_proxy(live)]
    is_for_proxy = any(service.labels.get(labels.ROLE) == labels.PROXY for service in app.services)
    if stack and bool(proxies) != is_for_proxy:
        others = proxies or list(stack)
        what = "the cluster's proxy" if proxies else "an app, and not the proxy"
        raise PlanError(
            f"{others[0]} runs under the name {app.name}, and is {what}",
            code="not_ours",
            hint="choose another name for the app"
            if proxies
            else f'deploy it under another name, and remove it: docker stack rm "{app.name}"',
            details=others[:5],
        )
    wanted = {swarm.service_name(app.name, service.name) for service in app.services}
    names = {service["Spec"]["Name"] for service in snapshot.services}
    if taken := sorted(wanted & names - stack.keys()):
        raise PlanError(
            f"The cluster has a service {taken[0]} that is not of this app",
            code="not_ours",
            hint=f"choose another name, or remove it first: docker service rm {taken[0]}",
            details=taken[:5],
        )


def _missing_networks(app: AppSpec, networks: Iterable[Json]) -> list[Json]:
    """Networks to create. Raises PlanError for one that is named and does not exist."""
    known = {network["Name"]: network for network in networks}
    wanted = {name for service in app.services for name in swarm.networks(app, service)}
    own = swarm.default_network(app.name)
    proxy = app.proxy
    if proxy.network in wanted & known.keys():
        _check_subnet(known[proxy.network], proxy.subnet)
    for name in sorted({proxy.network, own} & wanted & known.keys()) if proxy.encrypted else ():
        _check_encryption(known[name])
    if foreign := sorted(wanted - known.keys() - {own, proxy.network}):
        raise PlanError(
            f"The cluster has no network {foreign[0]}",
            code="network_missing",
            hint=f"create it: docker network create --driver overlay {foreign[0]}",
        )
    return [network for network in own_networks(app) if network["name"] not in known]


def own_networks(app: AppSpec) -> list[Json]:
    """The networks of an app that deploytool makes."""
    wanted = {name for service in app.services for name in swarm.networks(app, service)}
    options = {"options": {"encrypted": ""}} if app.proxy.encrypted else {}
    own = {"name": swarm.default_network(app.name), "labels": {labels.STACK: app.name}}
    shared = {"name": app.proxy.network, "subnet": app.proxy.subnet}
    found = ({"driver": "overlay", **network, **options} for network in (own, shared))
    return sorted((n for n in found if n["name"] in wanted), key=lambda n: str(n["name"]))


def _check_encryption(network: Json) -> None:
    if "encrypted" not in (network.get("Options") or {}):
        raise PlanError(
            f"The network {network['Name']} exists and is not encrypted, which cannot be changed",
            code="network_unencrypted",
            hint="remove what is on it (deploytool destroy; for the proxy's, deploytool proxy down "
            f"and docker network rm {network['Name']}), or leave proxy.encrypted out",
        )


def _check_subnet(network: Json, subnet: str) -> None:
    configs = (network.get("IPAM") or {}).get("Config") or []
    found = [config.get("Subnet") for config in configs]
    if found and subnet not in found:
        raise PlanError(
            f"The network {network['Name']} has the addresses {', '.join(found)}, the "
            f"configuration says {subnet}",
            code="proxy_subnet",
            hint=f'set [tool.deploytool.proxy] subnet = "{found[0]}"',
        )


def _check_ports(app: AppSpec, snapshot: Snapshot) -> None:
    taken: dict[tuple[str, int], tuple[str, str]] = {}
    for service in snapshot.services:
        if labels_of(service).get(labels.STACK) == app.name:
            continue
        for port in (service.get("Endpoint") or {}).get("Ports") or ():
            key = (port.get("Protocol", "tcp"), port.get("PublishedPort", 0))
            taken[key] = (service["Spec"]["Name"], port.get("PublishMode", "ingress"))
    nodes = len(snapshot.nodes)
    for own in app.services:
        for publish in own.publish:
            holder = taken.get((publish.protocol, publish.port))
            if holder and (nodes == 1 or "ingress" in (holder[1], publish.mode)):
                raise PlanError(
                    f"Port {publish.port}/{publish.protocol} of {own.name} is taken by the "
                    f"service {holder[0]}",
                    code="port_taken",
                    hint="publish another port",
                )


def _check_cores(app: AppSpec, nodes: Sequence[Node]) -> None:
    """An engine refuses a limit of more cores than its node has."""
    most = max((node.cpu for node in nodes), default=0.0)
    for service in app.services:
        if service.cpu_limit and 0 < most < service.cpu_limit:
            raise PlanError(
                f"{service.name} has cpu_limit = {service.cpu_limit:g}, and no node has more than "
                f"{most:g} cores: their engines refuse it",
                code="no_suitable_node",
                hint=f"lower cpu_limit to {most:g} or less",
            )


def _check_capacity(
    app: AppSpec,
    images: Mapping[str, Image],
    nodes: Sequence[Node],
    targets: Sequence[Target],
    tasks: Sequence[Json],
) -> Need:
    """When it begins, what starts has to fit beside what runs; when it ends, all that is new
    beside the last of the old. Returns what that comes to. Raises PlanError."""
    placed = per_node(tasks)
    first, last, leaving = _demands(app, images, nodes, targets, placed)
    moving = {t.live["ID"] for t in targets if t.live and (t.replaces or not t.spec)}
    freed = {task["ID"] for task in tasks if task.get("ServiceID") in moving}
    capacity.check_fit(_with_tasks(nodes, tasks, freed), last, hint=NO_NODE_HINT)
    capacity.check_fit(nodes, first, hint=NO_NODE_HINT)
    before = sum((_reserved(target.live, placed) for target in targets), Amount())
    after = sum((_reserves(s, images[s.name], nodes) for s in app.services), Amount())
    removed = [target.live for target in targets if target.action is Action.REMOVE]
    begins = sum((capacity.size(demand.service) * demand.count for demand in first), before)
    ends = sum((_reserved(live, placed) for live in removed), after + leaving)
    free = (Amount(memory=node.free_memory, cpu=node.free_cpu) for node in nodes if node.usable)
    return Need(
        before=before,
        most=Amount(memory=max(begins.memory, ends.memory), cpu=max(begins.cpu, ends.cpu)),
        after=after,
        free=sum(free, Amount()),
    )


def _demands(
    app: AppSpec,
    images: Mapping[str, Image],
    nodes: Sequence[Node],
    targets: Sequence[Target],
    placed: Mapping[str, Counter[str]],
) -> tuple[list[Demand], list[Demand], Amount]:
    """What has to find a place when it begins and when it ends, and what the old replicas reserve
    that end last."""
    by_name = {target.service: target for target in targets}
    first: list[Demand] = []
    last: list[Demand] = []
    leaving = Amount()
    for service in app.services:
        target, image = by_name[service.name], images[service.name]
        if target.action is Action.KEEP:
            continue
        running = replicas(target.live["Spec"]) if target.live else 0
        present = placed.get(target.live["ID"] if target.live else "", Counter())
        if service.is_global:
            found = each_node.on_each(service, image, nodes, present, replaces=target.replaces)
            first.append(found.first)
            last.append(found.last)
            leaving += _size(target.live) * found.overlap
            continue
        overlap = min(service.surge, running) if target.replaces else 0
        count = max(0, service.replicas - running + overlap)
        what = _words(running, overlap)
        first.append(Demand(service, image, count, what, present, beside=overlap > 0))
        if target.replaces:
            last.append(Demand(service, image, service.replicas, "replicas"))
            last += _last_to_go(service, image, target, overlap)
            leaving += _size(target.live) * overlap
        else:
            last.append(first[-1])
    return first, last, leaving


def _words(running: int, overlap: int) -> str:
    if overlap:
        return "replicas that run beside the old ones"
    return "more replicas" if running else "replicas"


def _last_to_go(service: Service, image: Image, target: Target, overlap: int) -> list[Demand]:
    """The old replicas that end only when all new ones run. Where they are no smaller than the
    new, there is room for them if there was any for the first new ones."""
    if not overlap or target.live is None:
        return []
    old = _size(target.live)
    if (service.memory or 0) <= old.memory and (service.cpu or 0.0) <= old.cpu:
        return []
    sizes = {"memory": old.memory or None, "cpu": old.cpu or None}
    what = "old replicas that run beside all the new ones"
    return [Demand(service.model_copy(update=sizes), image, overlap, what, beside=True)]


def _size(live: Json | None) -> Amount:
    """The reservation of each replica of a live service."""
    return reserved(live["Spec"]["TaskTemplate"]) if live else Amount()


def _reserved(live: Json | None, placed: Mapping[str, Counter[str]]) -> Amount:
    """What all replicas of a live service reserve."""
    if live is None:
        return Amount()
    on_nodes = len(placed.get(live["ID"], ()))
    return _size(live) * (on_nodes if is_global(live["Spec"]) else replicas(live["Spec"]))


def _reserves(service: Service, image: Image, nodes: Sequence[Node]) -> Amount:
    """What all replicas of a service are to reserve."""
    on_nodes = each_node.count(service, image, nodes) if service.is_global else service.replicas
    return capacity.size(service) * on_nodes


def per_node(tasks: Iterable[Json]) -> dict[str, Counter[str]]:
    """Service → node → its replicas there now."""
    found: dict[str, Counter[str]] = {}
    for task in tasks:
        if task.get("NodeID") and task["Status"]["State"] in LIVE_STATES:
            found.setdefault(task.get("ServiceID", ""), Counter())[task["NodeID"]] += 1
    return found


def _with_tasks(nodes: Sequence[Node], tasks: Sequence[Json], freed: set[str]) -> list[Node]:
    """The nodes as they are when some tasks are gone."""
    left = {node.id: node for node in nodes}
    for task in tasks:
        if task["ID"] in freed and task.get("NodeID") in left:
            if task["Status"]["State"] not in LIVE_STATES:
                continue
            amount = reserved(task["Spec"])
            node = left[task["NodeID"]]
            left[node.id] = node.take(amount.cpu, amount.memory, -1)
    return list(left.values())


def _check_warnings(client: Client, app: AppSpec, images: Mapping[str, Image]) -> Iterable[str]:
    """The services that are checked by what their image says, as far as this engine has it."""
    for service in app.services:
        if service.healthcheck is not None or service.name not in images:
            continue
        if test := client.image_check(images[service.name].reference):
            yield (
                f"{service.name} is checked by the HEALTHCHECK of its image ({test}): if it runs "
                "something else, set a check of its own, or healthcheck = false in "
                f"[tool.deploytool.services.{service.name}]"
            )


def _port_warnings(targets: Iterable[Target]) -> Iterable[str]:
    """The proxy reads a service's port from the service, and so sends there for replicas old and
    new from the moment that the service changes."""
    for target in targets:
        if target.live is None or target.spec is None:
            continue
        before, after = (routed_port(spec) for spec in (target.live["Spec"], target.spec))
        if before and after and before != after:
            yield (
                f"{target.service} moves from port {before} to {after}: the proxy sends to one for "
                "all replicas, so requests fail until all are replaced. Let the process listen on "
                "both first, or keep the port"
            )


def _restart_warnings(targets: Iterable[Target]) -> Iterable[str]:
    """The cost for all callers of replacing the proxy."""
    for target in targets:
        if target.live is not None and target.spec and target.replaces and is_proxy(target.live):
            yield (
                "the proxy restarts: for about a second callers of all apps find its port closed, "
                "then get 503 until it has read its routes; WebSockets, and requests that take "
                "longer than a fifth of a second, are cut off"
            )


def _warnings(app: AppSpec, snapshot: Snapshot, images: Mapping[str, Image]) -> Iterable[str]:
    local = {image.tag for image in images.values() if image.is_local}
    for tag in sorted(local):
        yield f"no registry has {tag}: it runs by its tag, on this node alone"
    yield from dangers.warnings(app)
    yield from engine_limits.warnings(app)
    yield from templates.warnings(app.services)
    proxy = _proxy(app, snapshot)
    if (hosts := advice.hosts(app)) and proxy is None:
        yield f"no proxy runs on this cluster, so {hosts} answers nothing: deploytool proxy up"
    yield from advice.warnings(app, proxy, nodes=len(snapshot.nodes))
    yield from _former_names(app)


def _former_names(app: AppSpec) -> Iterable[str]:
    for service in app.services:
        if renamed(app, service.labels) != service.labels:
            yield (
                f"labels of {service.name} name a router, service or middleware {app.name}-…: it "
                f"is called {app.name}_… now, and the labels are taken for it. Write them so"
            )


def _proxy_service(app: AppSpec, snapshot: Snapshot) -> Json | None:
    """The proxy of the app's network, if there is one."""
    names = snapshot.network_names
    for service in filter(is_proxy, snapshot.services):
        attached = service["Spec"]["TaskTemplate"].get("Networks") or ()
        if any(names.get(network["Target"]) == app.proxy.network for network in attached):
            return service
    return None


def _proxy(app: AppSpec, snapshot: Snapshot) -> Ports | None:
    """Where that proxy listens."""
    found = _proxy_service(app, snapshot)
    return ports(found) if found else None
