"""What no engine mounts into a container, or not together. Pure."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from deploytool.errors import Problem
from deploytool.spec import AppSpec, Service

SECRETS = "/run/secrets"
LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes: NAME_MAX of file systems, PATH_MAX of the kernel without the NUL at its end."""
KERNELS = frozenset({"/dev", "/proc", "/sys"})
OF_LXCFS = frozenset({
    "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo",
    "/proc/stat", "/proc/swaps", "/proc/uptime",
})  # fmt: skip
"""What may be mounted below /proc (`checkProcMount` in runc's libcontainer/rootfs_linux.go)."""


class Mount(NamedTuple):
    place: str
    """Its path in the container."""
    key: str
    """What in the configuration it comes from."""
    is_file: bool = False
    source: str = ""
    """The node's path that is there, if it is one."""
    read_only: bool = False


def problems(app: AppSpec, service: Service, own: Iterable[Mount] = ()) -> Iterator[Problem]:
    """What cannot be mounted of a service. `own` is what is mounted beside what it says."""
    mounts = [*of(service), *own]
    for mount in mounts:
        if message := _refused(mount, service):
            yield Problem(mount.key, message, "name another folder")
    yield from _together(mounts)
    for volume in service.volumes:
        name = volume.source if volume.is_bind else f"{app.name}_{volume.source}"
        if _is_long(name):
            yield Problem("volumes", f"{_shown(name)} is longer than a node's files can be called")


def of(service: Service) -> Iterator[Mount]:
    """What a service has mounted by its configuration."""
    for volume in service.volumes:
        source = volume.source if volume.is_bind else ""
        place = _place(volume.target)
        yield Mount(place, "volumes", source=source, read_only=volume.read_only)
    yield from (Mount(_place(folder), "tmpfs") for folder, _ in service.in_memory)
    yield from (Mount(_place(target), "files", is_file=True) for target in service.files)
    yield from (Mount(f"{SECRETS}/{name}", "secrets", is_file=True) for name in service.secrets)


def _place(target: str) -> str:
    """A path in the container as the engine reads it."""
    return posixpath.normpath(f"/{target.lstrip('/')}")


def _refused(mount: Mount, service: Service) -> str:
    """Why nothing can be mounted at a place; empty where it can."""
    place = mount.place
    if place == "/":
        return "nothing can be mounted over the whole container"
    if (place in KERNELS and not mount.source) or (place == "/proc" and not _is_proc(mount.source)):
        return f"{place} is the kernel's, and no container starts without it"
    if place.startswith("/proc/") and place not in OF_LXCFS:
        return f"{place} is the kernel's, and nothing can be mounted there"
    if service.secrets and _hides_secrets(mount):
        return f"nothing else can be mounted at {place}, where the secrets are"
    if _is_long(place):
        return f"{_shown(place)} is longer than a path can be"
    return ""


def _is_proc(path: str) -> bool:
    """Whether a path of the node may be a file system of this kind, which can be mounted."""
    return posixpath.basename(path.rstrip("/")) == "proc"


def _hides_secrets(mount: Mount) -> bool:
    """A folder above can have them mounted in it, if something can be made in it."""
    return mount.place == SECRETS or (mount.read_only and _is_below(SECRETS, mount.place))


def _together(mounts: list[Mount]) -> Iterator[Problem]:
    times = Counter(mount.place for mount in mounts)
    keys = {mount.place: mount.key for mount in reversed(mounts)}
    for place in sorted(place for place, number in times.items() if number > 1):
        yield Problem(keys[place], f"{place} is mounted twice", "leave one of them out")
    files = [mount for mount in mounts if mount.is_file]
    for mount in mounts:
        for file in files:
            if _is_below(mount.place, file.place):
                message = f"{mount.place} cannot be below {file.place}, which is a file"
                yield Problem(mount.key, message, "name another path for one of them")


def _is_below(place: str, other: str) -> bool:
    return place.startswith(f"{other}/")


def _is_long(path: str) -> bool:
    names = path.split("/")
    return len(path.encode()) > LONGEST_PATH or any(len(n.encode()) > LONGEST_NAME for n in names)


def _shown(path: str) -> str:
    return f"{path[:40]}…"
