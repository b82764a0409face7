"""Is everything there that a deploy to Nomad needs? Each check says what it found and what to do.

Nothing is changed: a dry run of a job and writes that cannot take place ask for the rights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from deploytool.backends.build_checks import docker_command, registry
from deploytool.backends.kind import Check, State
from deploytool.backends.nomad.api.catalogue import Listed, listed
from deploytool.backends.nomad.api.client import Conflict, NotFound
from deploytool.backends.nomad.planning.capacity import Where, is_far, mhz_of_a_core
from deploytool.backends.nomad.planning.neighbours import arguments_of
from deploytool.backends.nomad.planning.proxies import Proxy, find_proxy
from deploytool.backends.nomad.specification.secrets import paths
from deploytool.backends.nomad.specification.task import kill_timeout
from deploytool.backends.nomad.specification.version import OLDEST, ServerVersion
from deploytool.backends.nomad.storage.store import ROOT
from deploytool.errors import DeploytoolError, EngineError
from deploytool.http import is_loopback
from deploytool.json_types import Json
from deploytool.traefik import offers
from deploytool.traefik.proxy import NAME
from deploytool.units import format_duration

if TYPE_CHECKING:
    from deploytool.backends.nomad.api.client import Client
    from deploytool.config import Config

DRIVER = "docker"
VOLUMES = "driver.docker.volumes.enabled"
LONGEST_KILL = 30_000
"""Milliseconds of `max_kill_timeout`, unless a client is configured otherwise."""
NO_INDEX = "1"
"""An index that no variable was ever written at: checked and set by it, nothing is written."""
NAMED = 5
"""How many things are named before "and 3 more"."""
SUBMIT = "submit-job"
PROXIES = ("proxy", "traefik")
"""What the IDs of jobs that may be a proxy have in them."""


def examine(config: Config, connect: Callable[[], Client]) -> list[Check]:
    """Every check, in the order in which a deploy would meet them."""
    checks: list[Check] = [*docker_command(), registry(config)]
    try:
        client = connect()
        leader = client.get("/v1/status/leader")
    except DeploytoolError as error:
        return [*checks, Check("servers", State.BAD, error.message, error.hint)]
    checks += [*_servers(client, str(leader)), *_namespace(client)]
    checks += [*_rights(client, config, str(leader)), *_nodes(client, config)]
    checks += [*_oversubscription(client, config), *_kill_timeout(client, config)]
    return [*checks, *_proxy(client, config)]


def _servers(client: Client, leader: str) -> Iterator[Check]:
    try:
        text = client.version
        version = ServerVersion.parse(text)
    except ValueError:
        yield Check("servers", State.WARNING, f"{client.connection.shown} says no version")
    except DeploytoolError as error:
        yield Check("servers", State.BAD, f"its version is unknown: {error.message}", error.hint)
    else:
        if version < OLDEST:
            hint = "update the servers, then the clients"
            found = f"Nomad {text} is too old: {OLDEST.major}.{OLDEST.minor} is the oldest"
            yield Check("servers", State.BAD, found, hint)
        else:
            yield Check("servers", State.GOOD, f"Nomad {text}, led by {leader}")


def _namespace(client: Client) -> Iterator[Check]:
    try:
        client.get(f"/v1/namespace/{client.namespace}")
    except NotFound:
        yield Check(
            "namespace",
            State.BAD,
            f"there is no namespace {client.namespace}",
            f"nomad namespace apply {client.namespace}; or set namespace in "
            "[tool.deploytool.nomad]",
        )
    except DeploytoolError as error:
        yield Check("namespace", State.BAD, error.message, error.hint)
    else:
        yield Check("namespace", State.GOOD, client.namespace)


# --- rights ---------------------------------------------------------------------------------------


def _rights(client: Client, config: Config, leader: str) -> Iterator[Check]:
    """What the token may do: tried, as policies can be read by their managers alone."""
    tried = _tries(client, config.app)
    refused = {right: error for right, ask in tried if (error := _refusal(ask))}
    if not refused:
        allowed = ", ".join(right for right, _ in tried)
        yield Check("rights", State.GOOD, f"{allowed}; read-logs and alloc-exec were not tried")
    for right, error in refused.items():
        yield Check("rights", State.BAD, f"{right}: {error.message}", error.hint)
    # A task reaches the API too, by the socket that Nomad gives it.
    is_own_machine = is_loopback(leader.rpartition(":")[0].strip("[]"))
    if SUBMIT not in refused and not client.connection.token and not is_own_machine:
        yield Check(
            "ACLs",
            State.WARNING,
            "nobody is asked for a token: whoever reaches the API may change every job, and so "
            "may every task",
            "turn ACLs on: acl { enabled = true } in the configuration of all agents, then nomad "
            "acl bootstrap",
        )


def _tries(client: Client, app: str) -> Sequence[tuple[str, Callable[[], object]]]:
    records, secrets = f"/v1/var/{ROOT}/{app}/doctor", f"/v1/var/{paths(app, '')[0]}"
    return (
        ("list-jobs", lambda: client.get("/v1/jobs", prefix=app)),
        ("read-job", lambda: client.get(f"/v1/job/{app}")),
        (SUBMIT, lambda: client.post(f"/v1/job/{app}-doctor/plan", _dry_run(app))),
        ("listing records", lambda: client.get("/v1/vars", prefix=f"{ROOT}/{app}/")),
        ("reading records", lambda: client.get(records)),
        ("writing records", lambda: _write_nothing(client, records)),
        ("removing records", lambda: _remove_nothing(client, records)),
        ("reading secrets", lambda: client.get(secrets)),
        ("writing secrets", lambda: _write_nothing(client, secrets)),
        ("removing secrets", lambda: _remove_nothing(client, secrets)),
    )


def _write_nothing(client: Client, path: str) -> None:
    with suppress(Conflict):
        client.put(path, {"Items": {"deploytool": "doctor"}}, cas=NO_INDEX)


def _remove_nothing(client: Client, path: str) -> None:
    with suppress(Conflict):
        client.delete(path, cas=NO_INDEX)


def _dry_run(app: str) -> Json:
    name = f"{app}-doctor"
    task = {"Name": "doctor", "Driver": DRIVER, "Config": {"image": "doctor"}}
    group = {"Name": "doctor", "Count": 1, "Tasks": [task]}
    job = {"ID": name, "Name": name, "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group]}
    return {"Job": job, "Diff": False}


def _refusal(ask: Callable[[], object]) -> EngineError | None:
    try:
        ask()
    except NotFound:
        return None
    except EngineError as error:
        return error
    return None


# --- nodes ----------------------------------------------------------------------------------------


def _nodes(client: Client, config: Config) -> Iterator[Check]:
    try:
        found = client.get("/v1/nodes", resources="true") or ()
    except DeploytoolError as error:
        yield Check("nodes", State.BAD, error.message, error.hint)
        return
    settings = config.nomad
    own = list(filter(Where(settings.datacenters, settings.node_pool).has, found))
    away = [node for node in own if not _takes_work(node)]
    ready = [node for node in own if _takes_work(node)]
    if not ready:
        where = f"pool {settings.node_pool}, data centres {', '.join(settings.datacenters)}"
        text = f"no node takes work: {where}"
        yield Check("nodes", State.BAD, text, "nomad node status; see node_pool and datacenters")
        return
    if away:
        text = f"{len(ready)} take work; not taking it: {_names(away)}"
        yield Check("nodes", State.WARNING, text, "nomad node status; nomad node eligibility")
    else:
        yield Check("nodes", State.GOOD, f"{len(ready)}, all take work")
    yield from _drivers(ready)
    yield from _volumes(ready, config)
    yield from _cores(ready, settings.mhz_per_core)


def _takes_work(node: Json) -> bool:
    is_eligible = node.get("SchedulingEligibility") == "eligible" and not node.get("Drain")
    return node.get("Status") == "ready" and is_eligible


def _drivers(nodes: Sequence[Json]) -> Iterator[Check]:
    lacking = [node for node in nodes if not _driver(node).get("Healthy")]
    if not lacking:
        yield Check("docker driver", State.GOOD, "healthy on every node")
        return
    why = sorted({str(_driver(n).get("HealthDescription") or "not detected") for n in lacking})
    state = State.WARNING if len(lacking) < len(nodes) else State.BAD
    text = f"missing on {_names(lacking)}: {'; '.join(why)}"
    yield Check("docker driver", state, text, "start the engine there; nomad node status -verbose")


def _driver(node: Json) -> Json:
    found: Json = (node.get("Drivers") or {}).get(DRIVER) or {}
    return found


def _volumes(nodes: Sequence[Json], config: Config) -> Iterator[Check]:
    """Only what mounts a volume or a path of the node needs them; files and secrets do not."""
    users = sorted(name for name, service in config.services.items() if service.volumes)
    if not users:
        return
    lacking = [node for node in nodes if not _has_volumes(node)]
    if not lacking:
        yield Check("volumes", State.GOOD, "enabled on every node")
        return
    state = State.WARNING if len(lacking) < len(nodes) else State.BAD
    yield Check(
        "volumes",
        state,
        f"not enabled on {_names(lacking)}, where {', '.join(users)} cannot run",
        'in the client\'s configuration: plugin "docker" { config { volumes { enabled = true } } }',
    )


def _has_volumes(node: Json) -> bool:
    attributes = {**(node.get("Attributes") or {}), **(_driver(node).get("Attributes") or {})}
    return str(attributes.get(VOLUMES)) in ("true", "1")


def _cores(nodes: Sequence[Json], mhz_per_core: int) -> Iterator[Check]:
    found = sorted(filter(None, map(mhz_of_a_core, nodes)))
    if not found:
        return
    text = f"{found[0]} MHz on the slowest node, {found[-1]} on the fastest"
    if is_far(found[0], mhz_per_core):
        hint = f"set nomad.mhz_per_core = {found[0]}; it is {mhz_per_core}"
        yield Check("cores", State.WARNING, text, hint)
    else:
        yield Check("cores", State.GOOD, text)


def _names(nodes: Iterable[Json]) -> str:
    names = sorted(str(node.get("Name") or node.get("ID")) for node in nodes)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --- limits ---------------------------------------------------------------------------------------


def _oversubscription(client: Client, config: Config) -> Iterator[Check]:
    """Without it, what a service reserves is its limit too."""
    users = sorted(
        name for name, s in config.services.items() if s.memory and s.memory_limit != s.memory
    )
    if not users:
        return
    try:
        answer = client.get("/v1/operator/scheduler/configuration") or {}
    except DeploytoolError as error:
        yield Check("memory limits", State.WARNING, error.message, error.hint)
        return
    if (answer.get("SchedulerConfig") or {}).get("MemoryOversubscriptionEnabled"):
        yield Check("memory limits", State.GOOD, "may be above what is reserved")
        return
    yield Check(
        "memory limits",
        State.WARNING,
        f"the cluster takes what is reserved for the limit: memory_limit of {', '.join(users)} has "
        "no effect",
        "nomad operator scheduler set-config -memory-oversubscription=true; or raise memory",
    )


def _kill_timeout(client: Client, config: Config) -> Iterator[Check]:
    """Clients cut longer ones short. Only that of the agent which answers can be seen."""
    wanted = {name: kill_timeout(service) for name, service in config.services.items()}
    longest = max(wanted.values(), default=0)
    seen = _own_limit(client)
    if longest <= (LONGEST_KILL if seen is None else seen):
        return
    users = ", ".join(sorted(name for name, value in wanted.items() if value == longest))
    limit = f"{format_duration(LONGEST_KILL if seen is None else seen)}"
    known = "here" if seen is not None else "by default"
    yield Check(
        "stop_grace",
        State.WARNING,
        f"{users} may take {format_duration(longest)} to end, and clients kill after {limit} "
        f"{known}",
        f'in every client\'s configuration: client {{ max_kill_timeout = "{longest // 1000}s" }}',
    )


def _own_limit(client: Client) -> int | None:
    """Milliseconds; None where the agent runs no tasks, or does not say."""
    with suppress(DeploytoolError):
        own = (client.get("/v1/agent/self").get("config") or {}).get("Client") or {}
        if own.get("Enabled"):
            return _milliseconds(str(own.get("MaxKillTimeout") or ""))
    return None


def _milliseconds(text: str) -> int | None:
    """Of a duration as Go writes it, "1m30s"; None for what is none."""
    units = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    return round(sum(float(number) * units[unit] for number, unit in parts)) if parts else None


# --- proxy ----------------------------------------------------------------------------------------


def _proxy(client: Client, config: Config) -> Iterator[Check]:
    """Whether a Traefik reads this cluster's catalogue, as far as jobs of this namespace tell."""
    if not any(service.port for service in config.services.values()):
        return
    try:
        services = listed(client)
        if proxy := find_proxy(client, services):
            yield from _own_proxy(client, proxy, services)
            return
        stubs = [s for s in client.get("/v1/jobs") or () if s.get("Status") == "running"]
        named = [s["ID"] for s in stubs if any(word in s["ID"] for word in PROXIES)]
        jobs = {name: json.dumps(client.get(f"/v1/job/{name}")).lower() for name in named[:NAMED]}
    except DeploytoolError as error:
        yield Check("proxy", State.WARNING, error.message, error.hint)
        return
    reading = {name: text for name, text in jobs.items() if _reads_the_catalogue(text)}
    if not reading:
        yield Check(
            "proxy",
            State.WARNING,
            f"no Traefik with Nomad's provider was found in the namespace {client.namespace}",
            "deploytool proxy up; one of your own that is elsewhere is not seen from here",
        )
        return
    open_ones = [n for n, text in reading.items() if not _hides_by_default(text)]
    if open_ones:
        yield Check(
            "proxy",
            State.BAD,
            f"{open_ones[0]} routes to whatever is in the catalogue, new replicas that are not "
            "healthy yet too",
            "--providers.nomad.exposedByDefault=false",
        )
        return
    yield Check("proxy", State.GOOD, f"{', '.join(reading)} reads the catalogue")


def _own_proxy(client: Client, proxy: Proxy, services: Sequence[Listed]) -> Iterator[Check]:
    """Whether the proxy that deploytool made has all that routes need."""
    has = offers.offered(arguments_of(client.get(f"/v1/job/{NAME}", namespace=proxy.namespace)))
    lacking = [
        f"{service.name} needs the {needs[0]}"
        for service in services
        if service.namespace in proxy.serves
        and (needs := sorted(offers.needed(service.labels) - has))
    ]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        text = "; ".join(lacking[:NAMED]) + more
        yield Check("proxy", State.BAD, text, "deploytool proxy up, with the settings for it")
        return
    where = ", ".join(proxy.addresses[:NAMED])
    yield Check("proxy", State.GOOD, f"{proxy.ports}, at {where}")


def _reads_the_catalogue(text: str) -> bool:
    return re.search(r"providers[._]nomad|providers:\\n\s+nomad:", text) is not None


def _hides_by_default(text: str) -> bool:
    return re.search(r"exposedbydefault\W{0,6}false", text) is not None
