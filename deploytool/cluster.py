"""A cluster of one node on this machine: Swarm mode and a registry, for trying and for small.

Everything here can be run again: what is there already is left as it is.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytool.errors import EngineError, ImageError, RegistryError, UsageError

if TYPE_CHECKING:
    from deploytool.backends.swarm.client import Client

Json = dict[str, Any]
REGISTRY_NAME = "deploytool-registry"
REGISTRY_IMAGE = "registry:2"
REGISTRY_VOLUME = "deploytool-registry"
LOCAL_HOSTS = ("localhost", "127.0.0.1")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ClusterStatus:
    swarm: str
    """"active", "inactive", …: the engine's own word."""
    manager: bool
    nodes: int
    registry: str
    """"running", "stopped", "not ours" or "absent"."""
    address: str


def up(
    client: Client, *, registry: str, advertise: str, step: Callable[[str], None]
) -> ClusterStatus:
    """Make this machine's engine a Swarm, and start a registry where the configuration wants one
    on this machine. `advertise` is the address by which other nodes could join."""
    if _swarm(client)["LocalNodeState"] == "inactive":
        step(f"Turning on Swarm mode, advertised at {advertise}")
        _init_swarm(client, advertise)
    host, port = split_registry(registry)
    if host in LOCAL_HOSTS and not answers(f"{LOOPBACK}:{port}"):
        step(f"Starting a registry at {host}:{port}")
        _start_registry(client, port)
        _wait_for_registry(port)
    return status(client, registry=registry)


def down(client: Client, *, volumes: bool, step: Callable[[str], None]) -> list[str]:
    """Leave Swarm mode and remove the registry. Raises UsageError on a Swarm of several nodes."""
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
    if _registry(client) is not None:
        step("Removing the registry")
        _call(lambda: client.api.remove_container(REGISTRY_NAME, force=True))
        removed.append("registry")
    if volumes and any(v["Name"] == REGISTRY_VOLUME for v in client.volumes()):
        client.remove_volume(REGISTRY_VOLUME)
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
        registry=_registry_state(client, registry),
        address=registry,
    )


def split_registry(registry: str) -> tuple[str, int]:
    """Host and port of "localhost:5000/team"."""
    host, _, port = registry.partition("/")[0].partition(":")
    return host, int(port) if port.isdecimal() else 443


def answers(address: str, *, timeout: float = 2.0) -> bool:
    """Whether a registry speaks at an address, in plain HTTP."""
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=timeout):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def _swarm(client: Client) -> Json:
    return dict(client.info().get("Swarm") or {"LocalNodeState": "inactive"})


def _init_swarm(client: Client, advertise: str) -> None:
    _call(lambda: client.api.init_swarm(advertise_addr=advertise))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if _swarm(client).get("ControlAvailable"):
            return
        time.sleep(0.1)
    raise EngineError(
        "The engine did not become a Swarm manager", code="swarm_init", hint="see its log"
    )


def _registry(client: Client) -> Json | None:
    return client.container(REGISTRY_NAME)


def _registry_state(client: Client, registry: str) -> str:
    host, port = split_registry(registry)
    found = _registry(client)
    if found is not None and host in LOCAL_HOSTS:
        return "running" if found["State"]["Running"] else "stopped"
    if host not in LOCAL_HOSTS or answers(f"{LOOPBACK}:{port}"):
        return "not ours"
    return "absent"


def _start_registry(client: Client, port: int) -> None:
    """On loopback only: it has neither encryption nor passwords."""
    api = client.api
    if _registry(client) is not None:
        _call(lambda: api.remove_container(REGISTRY_NAME, force=True))
    _ensure_image(client, REGISTRY_IMAGE)
    host_config = api.create_host_config(
        port_bindings={5000: (LOOPBACK, port)},
        restart_policy={"Name": "always"},
        binds={REGISTRY_VOLUME: {"bind": "/var/lib/registry", "mode": "rw"}},
    )
    try:
        _call(
            lambda: api.create_container(
                REGISTRY_IMAGE,
                name=REGISTRY_NAME,
                ports=[5000],
                host_config=host_config,
                environment={"OTEL_TRACES_EXPORTER": "none"},
            )
        )
        _call(lambda: api.start(REGISTRY_NAME))
    except EngineError as error:
        if "address already in use" in error.message or "already allocated" in error.message:
            _call(lambda: api.remove_container(REGISTRY_NAME, force=True))
            raise EngineError(
                f"Port {port} is taken by something that is no registry",
                code="port_taken",
                hint='set registry = "localhost:5001" (or another free port)',
            ) from error
        raise


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


def _wait_for_registry(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if answers(f"{LOOPBACK}:{port}"):
            return
        time.sleep(0.1)
    raise RegistryError(
        f"The registry does not answer at localhost:{port}",
        code="registry_unreachable",
        hint=f"docker logs {REGISTRY_NAME}",
    )


def _call(function: Callable[[], Any]) -> Any:
    """One call of the SDK, its failures made ours."""
    from deploytool.backends.swarm.client import translated

    return translated(function)()
