"""A Swarm manager that is a few dictionaries: the `Client` of the real one, without an engine.

It answers in the engine's own JSON, with what the engine fills in and leaves out, and it settles
at once: what is created runs. Answers are shared, not copied, so that it carries thousands of
services; what changes is replaced by a new dictionary and what was answered before stays as it was.
"""

from __future__ import annotations

import base64
import copy
import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from deploytool.backends.swarm.api.client import Client, LogEntry, Output
from deploytool.backends.swarm.operations.measure import SERVICE
from deploytool.errors import DeploytoolError, EngineError, ImageError, PlanError
from deploytool.json_types import Json
from deploytool.spec import Image

GIB = 2**30
NOW = "2026-11-22T03:04:05.123456789Z"
KEPT_WHEN_EMPTY = (
    "Replicas",
    "Global",
    "Parallelism",
    "MaxFailureRatio",
    "MaxAttempts",
    "Labels",
    "Name",
)
"""Fields that the engine writes even where they hold nothing."""


def node(
    name: str = "node-1",
    *,
    cpu: float = 4,
    memory: int = 8 * GIB,
    role: str = "worker",
    architecture: str = "x86_64",
    system: str = "linux",
    state: str = "ready",
    availability: str = "active",
    labels: Mapping[str, str] | None = None,
    engine_labels: Mapping[str, str] | None = None,
    log_drivers: Sequence[str] = (),
) -> Json:
    """A node as the engine tells of it. Some name no log drivers."""
    return {
        "ID": f"id-of-{name}",
        "Version": {"Index": 1},
        "Spec": {"Labels": dict(labels or {}), "Role": role, "Availability": availability},
        "Description": {
            "Hostname": name,
            "Platform": {"Architecture": architecture, "OS": system},
            "Resources": {"NanoCPUs": round(cpu * 10**9), "MemoryBytes": memory},
            "Engine": {
                "EngineVersion": "28.2.2",
                "Labels": dict(engine_labels or {}),
                "Plugins": [
                    *({"Type": "Log", "Name": driver} for driver in log_drivers),
                    {"Type": "Network", "Name": "overlay"},
                    {"Type": "Volume", "Name": "local"},
                ],
            },
        },
        "Status": {"State": state, "Addr": "10.0.0.1"},
    }


def network(
    name: str,
    *,
    subnet: str = "10.0.9.0/24",
    labels: Json | None = None,
    options: Json | None = None,
) -> Json:
    return {
        "Name": name,
        "Id": f"id-of-{name}",
        "Scope": "swarm",
        "Driver": "overlay",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet, "Gateway": "10.0.9.1"}]},
        "Labels": dict(labels or {}),
        "Options": dict(options or {}),
    }


class FakeEvents:
    """What happens to services, as a test tells it, until somebody closes it."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Json | None] = SimpleQueue()
        self.closed = threading.Event()

    def tell(self, name: str) -> None:
        self._queue.put({"Action": "update", "Actor": {"Attributes": {"name": name}}})

    def close(self) -> None:
        self.closed.set()
        self._queue.put(None)

    def __iter__(self) -> Iterator[Json]:
        return iter(self._queue.get, None)


class FakeEngine(Client):
    """The methods of `Client`, and the means to make the cluster what a test needs."""

    def __init__(
        self,
        *,
        nodes: int | Sequence[Json] = 3,
        api_version: tuple[int, ...] = (1, 48),
        settle: bool = True,
    ) -> None:
        self.address = "unix:///var/run/docker.sock"
        self.api: Any = None
        self._api_version = api_version
        self.settle = settle
        """Whether a replica runs as soon as it is asked for; else it stays "preparing"."""
        self.changes: list[str] = []
        """What the engine was told to change, in order."""
        self.refuses: dict[str, DeploytoolError] = {}
        """Method → what it raises."""
        self.images: dict[str, Image] = {}
        """Reference → what `resolve` answers; any reference is known while this is empty."""
        self.logins: dict[str, bytes] = {}
        """Registry → this machine's login."""
        self.refused_logins: set[str] = set()
        """Registries that let nobody in."""
        self.local_images: set[str] = set()
        self.image_checks: dict[str, str] = {}
        """References that this engine has, whatever registries say."""
        self.containers: dict[str, Json] = {}
        self.usage: dict[str, list[Json]] = {}
        """Container → what it used, look by look; what is gone has none."""
        self.executed: list[tuple[str, list[str]]] = []
        """Containers in which commands were run, and the commands."""
        self.output: dict[str, list[str]] = {}
        self.later: dict[str, list[LogEntry]] = {}
        """What tasks print while they are followed."""
        self.missing: dict[str, str] = {}
        """Task → the lines that it printed."""
        self.engine_info: Json = {
            "Swarm": {
                "LocalNodeState": "active",
                "ControlAvailable": True,
                "Managers": 1,
                "NodeID": "id-of-node-1",
            },
            "SystemTime": NOW,
            "DockerRootDir": "/nowhere",
        }
        self.events: SimpleQueue[FakeEvents] = SimpleQueue()
        """Every stream of events that was opened."""
        self._ids = itertools.count(1)
        named = range(1, nodes + 1) if isinstance(nodes, int) else ()
        made = [node(f"node-{i}", role="manager" if i == 1 else "worker") for i in named]
        self._nodes = made or list(nodes if not isinstance(nodes, int) else ())
        self._load: Counter[str] = Counter()
        self._services: dict[str, Json] = {}
        self._tasks: dict[str, list[Json]] = {}
        self._networks: list[Json] = []
        self.leaving: dict[str, int] = {}
        """Networks that are removed and still listed → how often they are asked for until they are
        gone."""
        self._volumes: list[Json] = []
        self._secrets: list[Json] = []
        self.values: dict[str, bytes] = {}
        """Secret → its value, which no engine gives back."""
        self._configs: list[Json] = []

    @property
    def api_version(self) -> tuple[int, ...]:
        return self._api_version

    # What there is

    def info(self) -> Json:
        self._meet("info")
        return self.engine_info

    def version(self) -> Json:
        self._meet("version")
        api = ".".join(str(part) for part in self._api_version)
        return {"Version": "28.2.2", "ApiVersion": api}

    def services(self, **filters: str | list[str]) -> list[Json]:
        self._meet("services")
        ids = _as_list(filters.pop("id", []))
        return [
            found
            for service_id, found in self._services.items()
            if not ids or service_id in ids
            if _has(found["Spec"].get("Labels"), filters)
        ]

    def service_events(self) -> FakeEvents:
        self._meet("service_events")
        events = FakeEvents()
        self.events.put(events)
        return events

    def tasks(self, **filters: str | list[str]) -> list[Json]:
        self._meet("tasks")
        wanted = _as_list(filters.pop("desired-state", []))
        of = _as_list(filters.pop("service", []))
        ids = _as_list(filters.pop("id", []))
        return [
            task
            for service_id, tasks in self._tasks.items()
            if not of or service_id in of
            for task in tasks
            if not wanted or task["DesiredState"] in wanted
            if not ids or task["ID"] in ids
            if _has(task["Labels"], filters)
        ]

    def nodes(self) -> list[Json]:
        self._meet("nodes")
        return list(self._nodes)

    def networks(self, **filters: str | list[str]) -> list[Json]:
        self._meet("networks")
        filters.pop("scope", None)
        return [n for n in self._networks if _has(n["Labels"], filters)]

    def volumes(self, **filters: str | list[str]) -> list[Json]:
        self._meet("volumes")
        return [v for v in self._volumes if _has(v["Labels"], filters)]

    def secrets(self, **filters: str | list[str]) -> list[Json]:
        self._meet("secrets")
        return [s for s in self._secrets if _has(s["Spec"]["Labels"], filters)]

    def configs(self, **filters: str | list[str]) -> list[Json]:
        self._meet("configs")
        named = filters.get("name", "")
        return [
            c
            for c in self._configs
            if _has(c["Spec"]["Labels"], filters) and str(named) in c["Spec"]["Name"]
        ]

    def config(self, config_id: str) -> Json | None:
        self._meet("config")
        return next((c for c in self._configs if c["ID"] == config_id), None)

    def resolve(self, reference: str) -> Image:
        self._meet("resolve")
        if reference in self.images:
            return self.images[reference]
        if self.images:
            raise ImageError(f"The image {reference} does not exist", code="image_missing")
        bare = reference.partition("@")[0]
        return Image(reference=f"{bare}@sha256:{'d' * 64}", tag=bare)

    def credential(self, reference: str) -> bytes:
        self._meet("credential")
        return self.logins.get(reference.partition("/")[0], b"")

    def refuses_login(self, reference: str) -> bool:
        self._meet("refuses_login")
        return reference.partition("/")[0] in self.refused_logins

    def local_image(self, reference: str) -> Image | None:
        known = reference in self.local_images
        return Image(reference=reference, tag=reference) if known else None

    def image_check(self, reference: str) -> str:
        return self.image_checks.get(reference, "")

    def container(self, container_id: str) -> Json | None:
        self._meet("container")
        return self.containers.get(container_id)

    def containers_named(self, prefix: str) -> list[str]:
        self._meet("containers_named")
        return sorted(name for name in self.containers if name.startswith(prefix))

    def running_containers(self) -> list[Json]:
        self._meet("running_containers")
        here = self.engine_info["Swarm"]["NodeID"]
        return [
            {"Id": f"container-of-{task['ID']}", "Labels": {SERVICE: service["Spec"]["Name"]}}
            for service in self._services.values()
            for task in self._tasks[service["ID"]]
            if task["NodeID"] == here and _is_wanted(task)
        ]

    def stats(self, container_id: str) -> Json:
        self._meet("stats")
        looks = self.usage.get(container_id)
        return looks.pop(0) if looks else {}

    def execute(self, container_id: str, command: Sequence[str]) -> tuple[int, str, str]:
        self._meet("execute")
        self.executed.append((container_id, list(command)))
        return 3, "out\n", "err\n"

    def task_output(self, task_id: str, *, tail: int, since: int | None = None) -> Output:
        self._meet("task_output")
        known = {task["ID"]: task for tasks in self._tasks.values() for task in tasks}
        task = known.get(task_id, {"ID": task_id, "NodeID": ""})
        return Output(self._printed(task, tail), self.missing.get(task_id, ""))

    def service_output(
        self, service_id: str, *, tail: int | None, follow: bool = True
    ) -> Iterator[LogEntry]:
        self._meet("service_output")
        for task in self._tasks.get(service_id, ()):
            yield from self._printed(task, tail)
            yield from self.later.get(task["ID"], ())

    def _printed(self, task: Json, tail: int | None) -> list[LogEntry]:
        texts = self.output.get(task["ID"], [])
        first = 0 if tail is None else max(0, len(texts) - tail)
        return [
            LogEntry(task["ID"], task["NodeID"], f"{NOW[:-1]}{number}Z", text)
            for number, text in enumerate(texts[first:])
        ]

    # What changes it

    def create_service(self, spec: Json) -> str:
        self._meet("create_service", spec["Name"])
        if any(s["Spec"]["Name"] == spec["Name"] for s in self._services.values()):
            raise EngineError(
                f"The engine refused: name conflicts with an existing object: {spec['Name']}",
                code="engine_refused",
            )
        service_id = self._id("service")
        self._services[service_id] = self._service(service_id, spec, 1)
        self._tasks[service_id] = []
        self._reconcile(service_id)
        return service_id

    def _update_service(self, service_id: str, version: int, spec: Json) -> None:
        self._meet("update_service", spec["Name"])
        live = self._services[service_id]
        if live["Version"]["Index"] != version:
            raise PlanError("Somebody else changed the service", code="changed_meanwhile")
        updated = self._service(service_id, spec, version + 1)
        updated["PreviousSpec"] = live["Spec"]
        self._services[service_id] = updated
        if self._reconcile(service_id):
            state = "completed" if self.settle else "updating"
            self.set_update(spec["Name"], state)

    def remove_service(self, service_id: str) -> None:
        self._meet("remove_service", self._services[service_id]["Spec"]["Name"])
        del self._services[service_id]
        for task in self._tasks.pop(service_id):
            self._load[task["NodeID"]] -= _is_wanted(task)

    def create_network(self, name: str, **settings: Any) -> None:
        self._meet("create_network", name)
        if self.leaving.get(name):
            raise EngineError(f"network with name {name} already exists", code="engine_refused")
        if name in self.leaving:
            self._networks = [n for n in self._networks if n["Name"] != name]
            del self.leaving[name]
        if name in {n["Name"] for n in self._networks}:
            raise EngineError(f"network with name {name} already exists", code="engine_refused")
        pools = (settings.get("ipam") or {}).get("Config") or [{"Subnet": "10.0.9.0/24"}]
        subnet = pools[0]["Subnet"]
        more = {key: settings.get(key) for key in ("labels", "options")}
        self._networks.append(network(name, subnet=subnet, **more))

    def remove_network(self, network_id: str) -> None:
        self._meet("remove_network", network_id)
        self._networks = [n for n in self._networks if n["Id"] != network_id]

    def remove_volume(self, name: str) -> None:
        self._meet("remove_volume", name)
        self._volumes = [v for v in self._volumes if v["Name"] != name]

    def create_secret(self, name: str, value: bytes, labels: dict[str, str]) -> str:
        self._meet("create_secret", name)
        if any(secret["Spec"]["Name"] == name for secret in self._secrets):
            raise EngineError(
                f"The engine refused: rpc error: code = AlreadyExists desc = secret {name} "
                "already exists",
                code="engine_refused",
            )
        self.add_secret(name, labels)
        self.values[name] = value
        return str(self._secrets[-1]["ID"])

    def remove_secret(self, secret_id: str) -> None:
        self._meet("remove_secret", secret_id)
        self._secrets = [s for s in self._secrets if s["ID"] != secret_id]

    def create_config(self, name: str, data: bytes, labels: dict[str, str]) -> str:
        self._meet("create_config", name)
        if any(config["Spec"]["Name"] == name for config in self._configs):
            raise EngineError(
                f"The engine refused: rpc error: code = AlreadyExists desc = config {name} "
                "already exists",
                code="engine_refused",
            )
        if not data:
            raise EngineError(
                "The engine refused: rpc error: code = InvalidArgument desc = config data must be "
                "larger than 0 and less than 1024000 bytes",
                code="engine_refused",
            )
        config_id = self._id("config")
        text = base64.b64encode(data).decode()
        spec = {"Name": name, "Labels": {k: str(v) for k, v in labels.items()}, "Data": text}
        now = self.engine_info["SystemTime"]
        times = {"CreatedAt": now, "UpdatedAt": now}
        self._configs.append({"ID": config_id, "Version": {"Index": 1}, "Spec": spec} | times)
        return config_id

    def label_config(self, config: Json, labels: dict[str, str]) -> None:
        self._meet("label_config", config["Spec"]["Name"])
        spec = config["Spec"] | {"Labels": config["Spec"]["Labels"] | labels}
        found = self.config(config["ID"])
        if found is None:
            raise EngineError(f"config {config['ID']} not found", code="engine_refused")
        if found["Version"] != config["Version"]:
            raise PlanError("Somebody else changed it", code="changed_meanwhile")
        labelled = config | {
            "Spec": spec,
            "Version": {"Index": config["Version"]["Index"] + 1},
            "UpdatedAt": self.engine_info["SystemTime"],
        }
        self._configs = [labelled if c["ID"] == config["ID"] else c for c in self._configs]

    def remove_config(self, config_id: str) -> None:
        self._meet("remove_config", config_id)
        if self.config(config_id) is None:
            raise EngineError(f"config {config_id} not found", code="engine_refused")
        self._configs = [c for c in self._configs if c["ID"] != config_id]

    # What tests do to it

    def add_network(self, name: str, *, subnet: str = "10.0.9.0/24") -> None:
        self._networks.append(network(name, subnet=subnet))

    def add_secret(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        spec = {"Name": name, "Labels": dict(labels or {})}
        made = {"ID": self._id("secret"), "Version": {"Index": 1}, "CreatedAt": NOW, "Spec": spec}
        self._secrets.append(made)

    def add_volume(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        self._volumes.append({"Name": name, "Labels": dict(labels or {})})

    def set_nodes(self, nodes: Iterable[Json]) -> None:
        """Other nodes. Services with a replica on each get and lose them as the engine does."""
        self._nodes = list(nodes)
        for service_id, service in self._services.items():
            if "Global" in service["Spec"]["Mode"]:
                self._reconcile(service_id)

    def service(self, name: str) -> Json:
        """The service of a full name, APP_SERVICE."""
        return next(s for s in self._services.values() if s["Spec"]["Name"] == name)

    def tasks_of(self, name: str) -> list[Json]:
        return self._tasks[self.service(name)["ID"]]

    def set_update(self, name: str, state: str, message: str = "") -> None:
        """What the engine says of its own update of a service."""
        live = self.service(name)
        self._services[live["ID"]] = live | {
            "UpdateStatus": {"State": state, "Message": message},
            "Version": {"Index": live["Version"]["Index"] + 1},
        }

    def take_back(self, name: str, task_id: str) -> None:
        """Begin to roll a service back, as the engine does when a replica of an update ends."""
        live = dict(self.service(name))
        live["Spec"] = live.pop("PreviousSpec")
        self._services[live["ID"]] = live
        text = f"update rolled back due to failure or early termination of task {task_id}"
        self.set_update(name, "rollback_started", text)

    def set_task(self, task_id: str, state: str, **status: Any) -> None:
        """Move one replica on: `Err`, `ContainerStatus`, and `wanted` for its desired state."""
        wanted = status.pop("wanted", None)
        for service_id, tasks in self._tasks.items():
            for index, task in enumerate(tasks):
                if task["ID"] == task_id:
                    moved = task | {"Status": task["Status"] | {"State": state} | status}
                    if wanted is not None:
                        moved["DesiredState"] = wanted
                    self._tasks[service_id] = [*tasks[:index], moved, *tasks[index + 1 :]]
                    return
        raise KeyError(task_id)

    def add_task(self, name: str, place: int | str, state: str, **status: Any) -> str:
        """One more replica of a service, of its present specification, in a slot or on a node."""
        service = self.service(name)
        task = self._task(service, place)
        self._tasks[service["ID"]] = [*self._tasks[service["ID"]], task]
        self.set_task(task["ID"], state, **status)
        return str(task["ID"])

    # How it works

    def _meet(self, method: str, name: str | None = None) -> None:
        if method in self.refuses:
            raise self.refuses[method]
        if name is not None:
            self.changes.append(f"{method} {name}")

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids)}"

    def _service(self, service_id: str, spec: Json, version: int) -> Json:
        stored = self._as_stored(spec)
        ports = (stored.get("EndpointSpec") or {}).get("Ports")
        return {
            "ID": service_id,
            "Version": {"Index": version},
            "CreatedAt": NOW,
            "UpdatedAt": NOW,
            "Spec": stored,
            "Endpoint": {"Spec": stored.get("EndpointSpec", {}), "VirtualIPs": []}
            | ({"Ports": ports} if ports else {}),
        }

    def _as_stored(self, spec: Json) -> Json:
        """A specification as the engine gives it back."""
        stored: Json = _without_empty(copy.deepcopy(spec))
        template = stored["TaskTemplate"]
        template["Runtime"] = "container"
        template["ContainerSpec"] |= {"Isolation": "default", "DNSConfig": {}}
        template.setdefault("Resources", {"Limits": {}, "Reservations": {}})
        known = {n["Name"]: n["Id"] for n in self._networks}
        for attachment in template.get("Networks", ()):
            target = attachment["Target"]
            if target in self.leaving:
                self.leaving[target] = max(0, self.leaving[target] - 1)
            if target in self.leaving or target not in {*known, *known.values()}:
                raise EngineError(
                    f"The engine refused: network {target} not found", code="engine_refused"
                )
            attachment["Target"] = known.get(target, target)
        return stored

    def _reconcile(self, service_id: str) -> bool:
        """Replicas as the service wants them; whether any was replaced."""
        service = self._services[service_id]
        template = service["Spec"]["TaskTemplate"]
        places = self._places(service["Spec"])
        paused = {n["ID"] for n in self._nodes if n["Spec"]["Availability"] == "pause"}
        tasks, kept, replaced = [], set(), False
        for task in self._tasks[service_id]:
            current = _comparable(task["Spec"]) == _comparable(template)
            place = task.get("Slot") or task["NodeID"]
            if _is_wanted(task) and current and place in places:
                kept.add(place)
            elif place in paused:
                pass
            elif _is_wanted(task):
                replaced |= place in places
                self._load[task["NodeID"]] -= 1
                task = task | {
                    "DesiredState": "shutdown",
                    "Status": task["Status"] | {"State": "shutdown"},
                }
            tasks.append(task)
        new = [self._task(service, place) for place in places if place not in kept]
        self._tasks[service_id] = tasks + new
        return replaced

    def _places(self, spec: Json) -> list[int | str]:
        """The slots of a service, or the nodes of one with a replica on each. Nodes that are paused
        get none, and keep theirs."""
        if "Global" not in spec["Mode"]:
            return list(range(1, spec["Mode"]["Replicated"]["Replicas"] + 1))
        constraints = (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or ()
        return [
            node["ID"]
            for node in self._nodes
            if node["Spec"]["Availability"] == "active" and node["Status"]["State"] == "ready"
            if all(_allows(node, constraint) for constraint in constraints)
        ]

    def _task(self, service: Json, place: int | str) -> Json:
        """A replica in a slot, on the node with the fewest, or on a node by its id."""
        if isinstance(place, str):
            where = place
        else:
            loaded = min(self._nodes, key=lambda n: self._load[n["ID"]], default={"ID": ""})
            where = loaded["ID"]
        self._load[where] += 1
        task_id = self._id("task")
        return {
            "ID": task_id,
            "Version": {"Index": 1},
            "CreatedAt": NOW,
            "Labels": service["Spec"].get("Labels") or {},
            "Spec": service["Spec"]["TaskTemplate"],
            "ServiceID": service["ID"],
            **({} if isinstance(place, str) else {"Slot": place}),
            "NodeID": where,
            "Status": {
                "Timestamp": NOW,
                "State": "running" if self.settle else "preparing",
                "Message": "started",
                "ContainerStatus": {"ContainerID": f"container-of-{task_id}", "PID": 1},
            },
            "DesiredState": "running",
        }


def _allows(node: Json, constraint: str) -> bool:
    """Whether a node meets a constraint on its labels, name or role."""
    key, operator, value = constraint.split()
    described = {
        "node.hostname": node["Description"]["Hostname"],
        "node.role": node["Spec"]["Role"],
    }
    labelled = {f"node.labels.{k}": v for k, v in node["Spec"]["Labels"].items()}
    return ((described | labelled).get(key) == value) is (operator == "==")


def _is_wanted(task: Json) -> bool:
    return bool(task["DesiredState"] == "running")


def _comparable(template: Json) -> Json:
    """What replaces a replica when it changes. The engine finds image and labels in there too."""
    return {key: value for key, value in template.items() if key not in ("Runtime", "Placement")}


def _has(labels: Mapping[str, str] | None, filters: Mapping[str, str | list[str]]) -> bool:
    """Whether labels meet the filters "label" of a question, all of them."""
    found = labels or {}
    for wanted in _as_list(filters.get("label", [])):
        key, equals, value = wanted.partition("=")
        if key not in found or (equals and found[key] != value):
            return False
    return True


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _without_empty(value: Any) -> Any:
    """Without what the engine's own JSON leaves out."""
    if isinstance(value, dict):
        kept = {
            key: item if key in ("Labels", "Options") else _without_empty(item)
            for key, item in value.items()
        }
        return {
            key: item
            for key, item in kept.items()
            if key in KEPT_WHEN_EMPTY or item not in (None, "", 0, False, [], {})
        }
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
