"""A cluster of one node on this machine: Swarm mode and a registry, for trying and for small.

Everything here can be run again: what is there already is left as it is.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploytool.backends.kind import LocalCluster, State
from deploytool.errors import EngineError, ImageError, RegistryError, UsageError
from deploytool.http import status_of
from deploytool.image import registry_failures
from deploytool.json_types import Json

if TYPE_CHECKING:
    from deploytool.backends.swarm.api.client import Client

REGISTRY_NAME = "deploytool-registry"
"""The container and the volume of the registry at the usual port; of one at another port, the port
follows."""
USUAL_PORT = 5000
REGISTRY_IMAGE = "registry:2"
LOCAL_HOSTS = ("localhost", "127.0.0.1")
LOOPBACK = "127.0.0.1"
MANAGEMENT_PORT = 2377


@dataclass(frozen=True)
class ClusterStatus:
    swarm: str
    """"active", "inactive", …: the engine's own word."""
    manager: bool
    nodes: int
    registry: str
    """"running", "stopped", "not ours", "absent", or "silent" where something should answer at the
    address and does not."""
    address: str

    @property
    def described(self) -> LocalCluster:
        nodes = f", {self.nodes} node{'s' if self.nodes != 1 else ''}" if self.nodes else ""
        return LocalCluster(
            asdict(self),
            (
                (State.GOOD if self.manager else State.WARNING, f"Swarm mode {self.swarm}{nodes}"),
                registry_line(self.registry, self.address),
            ),
        )


@dataclass(frozen=True)
class Registry:
    """A registry that `up` made."""

    name: str
    """The container's; its volume has the same."""
    port: int
    running: bool


def up(
    client: Client, *, registry: str, advertise: str, step: Callable[[str], None]
) -> ClusterStatus:
    """Make this machine's engine a Swarm, and start a registry where the configuration wants one
    on this machine. `advertise` is the address by which other nodes could join."""
    if _swarm(client)["LocalNodeState"] == "inactive":
        step(f"Turning on Swarm mode, advertised at {advertise}")
        _init_swarm(client, advertise)
    if is_local(registry):
        ensure_registry(client, registry, step)
    return status(client, registry=registry)


def down(client: Client, *, volumes: bool, step: Callable[[str], None]) -> list[str]:
    """Leave Swarm mode and remove every registry that `up` made. Raises UsageError on a Swarm of
    several nodes."""
    removed = []
    if _swarm(client)["LocalNodeState"] == "active":
        if len(client.nodes()) > 1:
            raise UsageError(
                "This Swarm has other nodes: it is not the one-node cluster that `cluster up` made",
                code="several_nodes",
                hint="docker swarm leave takes a single machine out",
            )
        step("Leaving Swarm mode")
        _call(lambda: client.api.leave_swarm(force=True))
        removed.append("swarm")
    return [*removed, *remove_registries(client, volumes=volumes, step=step)]


def is_local(registry: str) -> bool:
    """Whether a registry is one on this machine."""
    return split_registry(registry)[0] in LOCAL_HOSTS


def ensure_registry(client: Client, registry: str, step: Callable[[str], None]) -> None:
    """Have a registry on this machine answer."""
    if not registry_answers(registry):
        port = split_registry(registry)[1]
        name = _bring_up(client, port, step)
        _wait_for_registry(name, port)


def remove_registries(client: Client, *, volumes: bool, step: Callable[[str], None]) -> list[str]:
    """Remove every registry that `ensure_registry` made; what was removed, in words."""
    removed = []
    registries = list(_registries(client))
    for found in registries:
        step(f"Removing the registry at localhost:{found.port}")
        _remove(client, found.name)
    if registries:
        removed.append("registry")
    kept = [v["Name"] for v in client.volumes() if _is_own_name(v["Name"])] if volumes else []
    for name in kept:
        client.remove_volume(name)
    if kept:
        removed.append("its images")
    return removed


def status(client: Client, *, registry: str) -> ClusterStatus:
    """What is there of it."""
    swarm = _swarm(client)
    manager = bool(swarm.get("ControlAvailable"))
    return ClusterStatus(
        swarm=swarm["LocalNodeState"],
        manager=manager,
        nodes=len(client.nodes()) if manager else 0,
        registry=registry_state(client, registry),
        address=registry,
    )


def registry_line(state: str, address: str) -> tuple[State, str]:
    """A registry in words."""
    words = {"not ours": "not run by deploytool", "silent": "does not answer"}
    is_there = state in ("running", "not ours")
    mark = State.GOOD if is_there else State.WARNING
    return mark, f"registry {address}: {words.get(state, state)}"


def split_registry(registry: str) -> tuple[str, int]:
    """Host and port of "localhost:5000/team"."""
    host, _, port = registry.partition("/")[0].partition(":")
    return host, int(port) if port.isdecimal() else 443


def registry_answers(registry: str) -> bool:
    return registry_problem(registry) is None


def registry_problem(registry: str) -> RegistryError | None:
    """Why no registry speaks at the address that the configuration names, by HTTPS or, as on this
    machine, by plain HTTP; None where one does."""
    host, port = split_registry(registry)
    address = registry.partition("/")[0]
    if host in LOCAL_HOSTS:
        return problem_at(f"http://{LOOPBACK}:{port}", address, timeout=2)
    problem = problem_at(f"https://{address}", address, timeout=5)
    if problem is None or problem_at(f"http://{address}", address, timeout=2) is None:
        return None
    return problem


def problem_at(url: str, address: str, *, timeout: float) -> RegistryError | None:
    """Why no registry speaks there, if only to ask who wants to know."""
    try:
        status = status_of(f"{url}/v2/", timeout=timeout)
    except OSError as error:
        return registry_failures.by_exception(address, error)
    if status < 400 or status in (401, 403):
        return None
    said = f"{status} of {url}/v2/"
    return registry_failures.by_status(address, status, said) or registry_failures.silent(
        address, f"{said}, as no registry does"
    )


def _swarm(client: Client) -> Json:
    return dict(client.info().get("Swarm") or {"LocalNodeState": "inactive"})


def _init_swarm(client: Client, advertise: str) -> None:
    host = f"[{advertise}]" if ":" in advertise else advertise
    is_here = _is_of_this_machine(advertise)
    more = {"listen_addr": f"{host}:{MANAGEMENT_PORT}"} if is_here else {}
    _call(lambda: client.api.init_swarm(advertise_addr=advertise, **more))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if _swarm(client).get("ControlAvailable"):
            return
        time.sleep(0.1)
    raise EngineError(
        "The engine did not become a Swarm manager", code="swarm_init", hint="see its log"
    )


def _is_of_this_machine(address: str) -> bool:
    """Whether an address is one that can be listened on here, not one that a router translates."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family):
            return True
    except (OSError, ValueError):
        return False


def _registries(client: Client) -> Iterator[Registry]:
    """Those that `up` made on this engine, whatever their ports."""
    for name in filter(_is_own_name, client.containers_named(REGISTRY_NAME)):
        found = client.container(name)
        if found is not None:
            yield Registry(name, _bound_port(found), bool(found["State"]["Running"]))


def _is_own_name(name: str) -> bool:
    prefix, _, port = name.rpartition("-")
    return name == REGISTRY_NAME or (prefix == REGISTRY_NAME and port.isdecimal())


def _bound_port(container: Json) -> int:
    """The port of this machine that leads to it; what it is bound to is known while it is stopped
    too."""
    bindings = (container.get("HostConfig") or {}).get("PortBindings") or {}
    return next((int(b["HostPort"]) for found in bindings.values() for b in found or ()), 0)


def _registry_at(client: Client, port: int) -> Registry | None:
    return next((found for found in _registries(client) if found.port == port), None)


def registry_state(client: Client, registry: str) -> str:
    host, port = split_registry(registry)
    ours = _registry_at(client, port) if host in LOCAL_HOSTS else None
    if ours is not None and not ours.running:
        return "stopped"
    if registry_answers(registry):
        return "running" if ours else "not ours"
    return "silent" if ours or host not in LOCAL_HOSTS else "absent"


def _bring_up(client: Client, port: int, step: Callable[[str], None]) -> str:
    """Have a registry at a port, where none answers; its name. Others are left as they are, and
    one that runs is only waited for: a container that is slow holds the images all the same."""
    found = _registry_at(client, port)
    if found is None:
        step(f"Starting a registry at localhost:{port}")
        return _make_registry(client, port)
    if not found.running:
        step(f"Starting the registry at localhost:{port} again")
        with _port_taken(port):
            _call(lambda: client.api.start(found.name))
    return found.name


def _make_registry(client: Client, port: int) -> str:
    """On loopback only: it has neither encryption nor passwords."""
    api = client.api
    name = _free_name(client, port)
    _ensure_image(client, REGISTRY_IMAGE)
    host_config = api.create_host_config(
        port_bindings={5000: (LOOPBACK, port)},
        restart_policy={"Name": "always"},
        binds={name: {"bind": "/var/lib/registry", "mode": "rw"}},
    )
    _call(
        lambda: api.create_container(
            REGISTRY_IMAGE,
            name=name,
            ports=[5000],
            host_config=host_config,
            environment={"OTEL_TRACES_EXPORTER": "none"},
        )
    )
    try:
        with _port_taken(port):
            _call(lambda: api.start(name))
    except EngineError:
        _remove(client, name)
        raise
    return name


def _free_name(client: Client, port: int) -> str:
    """Before registries had ports in their names, one at any port had the short name."""
    numbered = f"{REGISTRY_NAME}-{port}"
    if port != USUAL_PORT or client.container(REGISTRY_NAME) is not None:
        return numbered
    return REGISTRY_NAME


@contextmanager
def _port_taken(port: int) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        if "address already in use" in error.message or "already allocated" in error.message:
            raise EngineError(
                f"Port {port} is taken by something that is no registry",
                code="port_taken",
                hint=f'set registry = "localhost:{port + 1}" (or another free port)',
            ) from error
        raise


def _remove(client: Client, name: str) -> None:
    _call(lambda: client.api.remove_container(name, force=True))


def _ensure_image(client: Client, image: str) -> None:
    from docker.errors import DockerException, NotFound

    try:
        client.api.inspect_image(image)
        return
    except NotFound:
        pass
    try:
        client.api.pull(image)
        client.api.inspect_image(image)
    except DockerException as error:
        raise ImageError(
            f"The image {image} cannot be pulled: {error}",
            code="image_missing",
            hint="check the connection to Docker Hub, or give the engine the image by other means",
        ) from error


def _wait_for_registry(name: str, port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if registry_answers(f"localhost:{port}"):
            return
        time.sleep(0.1)
    raise RegistryError(
        f"The registry does not answer at localhost:{port}",
        code="registry_unreachable",
        hint=f"docker logs {name}; docker restart {name}",
    )


def _call(function: Callable[[], Any]) -> Any:
    """One call of the SDK, its failures made ours."""
    from deploytool.backends.swarm.api.client import translated

    return translated(function)()
