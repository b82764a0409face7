"""What an app gives away to whoever takes over one of its processes, or reaches its node. Pure.

None of it is refused: there are apps that need it. `lint` and every plan say it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.spec import RESERVED, AppSpec, Publish, Service, Volume

SOCKETS = frozenset({"containerd.sock", "crio.sock", "docker.sock", "podman.sock"})
"""What sockets are called by which containers are started."""
SECRET = ("/proc", "/root", "/var/lib/containerd", "/var/lib/docker", "/var/lib/nomad")
"""Folders of a node of which no part is anybody else's, to read either."""
PROGRAMS = ("/bin", "/boot", "/etc", "/lib", "/sbin", "/sys", "/usr")
"""Folders of which no part is anybody else's to write."""
WHOLE = ("/dev", "/home", "/run", "/var/run", "/var/spool/cron")
"""Folders that may have a part for an app, and are the node's as a whole."""
CAPABILITIES = frozenset({"ALL", "BPF", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO"})
"""Those with which a process gets out of its container."""
DATABASES = {
    1433: "SQL Server",
    1521: "Oracle",
    3306: "MySQL",
    5432: "PostgreSQL",
    5984: "CouchDB",
    6379: "Redis",
    9042: "Cassandra",
    9200: "Elasticsearch",
    11211: "Memcached",
    27017: "MongoDB",
}
"""Ports of what is meant for the services of an app."""
ENGINE = 2375
"""Port of an engine without TLS."""
_ADDRESS = re.compile(rf"tcp://[^\s/,]*:{ENGINE}\b")


@dataclass(frozen=True)
class Danger:
    rule: str
    """Lint's name for it."""
    path: tuple[str, ...]
    """The key that it is about."""
    message: str


def warnings(app: AppSpec) -> list[str]:
    """What a plan says of an app. The proxy is deploytool's own."""
    if app.name in RESERVED:
        return []
    return [danger.message for service in app.services for danger in of_service(service)]


def of_service(service: Service) -> Iterator[Danger]:
    """What a service gives away."""
    for rule, key, message in _of_service(service):
        path = ("services", service.name, *key)
        yield Danger(rule, path, f"{'.'.join(path)} {message}")


def of_engine(address: str) -> Iterator[Danger]:
    """What the address of an engine in the configuration gives away."""
    if _ADDRESS.search(address):
        path = ("swarm", "host")
        yield Danger("engine-without-tls", path, f"swarm.host is {address}: {_WITHOUT_TLS}")


_WITHOUT_TLS = "whoever reaches that port is root there"
_Found = tuple[str, tuple[str, ...], str]


def _of_service(service: Service) -> Iterator[_Found]:
    for volume in service.volumes:
        if volume.is_bind:
            yield from _of_mount(volume)
    names = () if service.capabilities == "default" else service.capabilities
    if given := sorted({name.removeprefix("CAP_") for name in names} & CAPABILITIES):
        why = "whoever takes over the process gets out of its container"
        yield "dangerous-capability", ("capabilities",), f"has {', '.join(given)}: {why}"
    for publish in service.publish:
        yield from _of_port(publish, service)
    for name, value in service.env.items():
        yield from _of_variable(name, value, service)


def _of_mount(volume: Volume) -> Iterator[_Found]:
    path = PurePosixPath(posixpath.normpath(f"/{volume.source.lstrip('/')}"))
    if path.name in SOCKETS:
        why = "whoever takes over the process is root on its node"
        yield "mounts-engine", ("volumes",), f"mounts {path}, the engine's socket: {why}"
    elif _is_nodes_own(path, read_only=volume.read_only):
        why = "whoever takes over the process has what is the node's own"
        yield "mounts-node", ("volumes",), f"mounts {path} of the node: {why}"


def _is_nodes_own(path: PurePosixPath, *, read_only: bool) -> bool:
    own = SECRET if read_only else (*SECRET, *PROGRAMS)
    folders = map(PurePosixPath, (*SECRET, *PROGRAMS, *WHOLE))
    holds_one = any(folder.is_relative_to(path) for folder in folders)
    return holds_one or any(map(path.is_relative_to, own))


def _of_port(publish: Publish, service: Service) -> Iterator[_Found]:
    target = publish.target or service.port
    name = DATABASES.get(target or 0) or DATABASES.get(publish.port)
    if publish.protocol == "tcp" and name:
        where = "every node" if publish.mode == "ingress" else "the nodes that run it"
        yield (
            "published-database",
            ("publish",),
            f"opens {name} at port {publish.port} of {where}: whoever reaches a node reaches it, "
            "and services of the app reach it without",
        )


def _of_variable(name: str, value: str, service: Service) -> Iterator[_Found]:
    is_engine = name == "DOCKER_HOST" and value.startswith(("tcp://", "http://"))
    if _ADDRESS.search(value) or (is_engine and "DOCKER_TLS_VERIFY" not in service.env):
        yield "engine-without-tls", ("env", name), f"leads to an engine without TLS: {_WITHOUT_TLS}"
