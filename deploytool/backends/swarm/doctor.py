"""Is everything there that a deploy needs? Each check says what it found and what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.backends.build_checks import docker_command, output_of, registry
from deploytool.backends.kind import Check, State
from deploytool.backends.swarm.api.tasks import read_time
from deploytool.backends.swarm.specification import init_process, labels, offers
from deploytool.backends.swarm.specification.routing import ports
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json
from deploytool.traefik.static import version_in

if TYPE_CHECKING:
    from deploytool.backends.swarm.api.client import Client
    from deploytool.config import Config

OLDEST_ENGINE = (20, 10)
CLOCK_SECONDS = 30.0
LOW_DISK = 2 * 2**30
OLDEST_TRAEFIK = (3, 6, 1)
ADDRESSES = Path("/proc/net/if_inet6")


def examine(config: Config, connect: Callable[[], Client]) -> list[Check]:
    """Every check, in the order in which a deploy would meet them."""
    checks: list[Check | None] = [*docker_command()]
    try:
        client = connect()
        info, version = client.info(), client.version()
    except DeploytoolError as error:
        checks += [Check("engine", State.BAD, error.message, error.hint), registry(config)]
        return [check for check in checks if check is not None]
    checks += [_engine(version), _init(info), _at_boot(client), _clock(info), _disk(info, client)]
    checks.append(registry(config))
    swarm = _swarm(info)
    checks.append(swarm)
    if swarm.state is not State.BAD:
        checks += _cluster(client, config)
    checks.append(_ipvs(client))
    return [check for check in checks if check is not None]


def _engine(version: Json) -> Check:
    text = str(version.get("Version", "?"))
    api = version.get("ApiVersion", "?")
    if _numbers(text)[:2] < OLDEST_ENGINE:
        return Check("engine", State.BAD, f"Docker {text} is too old", "20.10 is the oldest")
    return Check("engine", State.GOOD, f"Docker {text}, API {api}")


def _init(info: Json) -> Check | None:
    """Whether replicas on this engine's node can have an init process."""
    if not init_process.has_none(info):
        return None
    return Check(
        "init process",
        State.WARNING,
        "this engine has no docker-init: replicas run without an init process",
        "install the package (tini on Debian and Ubuntu); other nodes need it too",
    )


def _numbers(text: str) -> tuple[int, ...]:
    import re

    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _at_boot(client: Client) -> Check | None:
    """Whether services come back after the machine restarts."""
    if not _is_local(client) or not Path("/run/systemd/system").is_dir():
        return None
    state = output_of("systemctl", "is-enabled", "docker.service")
    if state == "enabled":
        return Check("start on boot", State.GOOD, "the engine starts when the machine does")
    return Check(
        "start on boot",
        State.WARNING,
        "the engine does not start by itself when the machine does",
        "sudo systemctl enable docker",
    )


def _is_local(client: Client) -> bool:
    return "://" not in client.address or client.address.startswith(("unix:", "http+unix:"))


def _clock(info: Json) -> Check | None:
    engine = read_time(str(info.get("SystemTime", "")))
    if engine is None:
        return None
    skew = abs((datetime.now(UTC) - engine).total_seconds())
    if skew > CLOCK_SECONDS:
        return Check(
            "clock",
            State.WARNING,
            f"this machine's clock and the engine's differ by {skew:.0f} s",
            "turn on time synchronisation; ages and log times are off until then",
        )
    return Check("clock", State.GOOD, "agrees with the engine's")


def _disk(info: Json, client: Client) -> Check | None:
    root = Path(str(info.get("DockerRootDir", "")))
    if not _is_local(client) or not root.is_dir():
        return None
    free = shutil.disk_usage(root).free
    text = f"{free / 2**30:.1f} GiB free for images and containers"
    if free < LOW_DISK:
        return Check("disk", State.WARNING, text, "docker system prune removes what is unused")
    return Check("disk", State.GOOD, text)


def _swarm(info: Json) -> Check:
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active":
        state = swarm.get("LocalNodeState", "inactive")
        return Check("swarm", State.BAD, f"Swarm mode is {state}", "deploytool cluster up")
    if not swarm.get("ControlAvailable"):
        return Check(
            "swarm",
            State.BAD,
            "this engine is a worker; only managers take deploys",
            'point [tool.deploytool.swarm] host at a manager, e.g. "ssh://user@manager"',
        )
    managers = swarm.get("Managers", 1)
    text = f"{_count(swarm.get('Nodes', 1), 'node')}, {_count(managers, 'manager')}"
    if managers == 2:
        return Check(
            "swarm",
            State.WARNING,
            f"{text}: with two, losing either stops the cluster's management",
            "promote a third node, or demote one",
        )
    return Check("swarm", State.GOOD, text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _cluster(client: Client, config: Config) -> list[Check]:
    nodes = client.nodes()
    away = [
        node["Description"]["Hostname"]
        for node in nodes
        if node["Status"]["State"] != "ready" or node["Spec"]["Availability"] != "active"
    ]
    state = State.WARNING if away else State.GOOD
    text = f"not taking work: {', '.join(away)}" if away else "all take work"
    hint = "docker node ls; docker node update --availability active NODE" if away else ""
    networks = client.networks(scope="swarm")
    return [
        Check("nodes", state, text, hint),
        *_between_nodes(nodes, networks),
        *_ipv6(client),
        _proxy(client, config, networks),
    ]


def _between_nodes(nodes: list[Json], networks: list[Json]) -> Iterator[Check]:
    """Whether what replicas say to one another crosses the internet in the clear."""
    public = [node["Description"]["Hostname"] for node in nodes if _is_public(node)]
    clear = [
        network["Name"]
        for network in networks
        if network.get("Driver") == "overlay"
        and not network.get("Ingress")
        and "encrypted" not in (network.get("Options") or {})
    ]
    if public and len(nodes) > 1 and clear:
        yield Check(
            "encryption",
            State.WARNING,
            f"{public[0]} has a public address, and the network {clear[0]} is not encrypted: "
            "anybody on the way between nodes reads what goes over it",
            "join the nodes by a private network, or set proxy.encrypted before the networks exist",
        )


def _is_public(node: Json) -> bool:
    try:
        return ip_address(str((node.get("Status") or {}).get("Addr", ""))).is_global
    except ValueError:
        return False


def _ipv6(client: Client) -> Iterator[Check]:
    """Whether callers by IPv6 keep their addresses on the way to the proxy."""
    if not _is_local(client) or not _has_global_ipv6(ADDRESSES):
        return
    bridges = [one for one in client.networks(scope="local") if one["Name"] == "docker_gwbridge"]
    if bridges and not bridges[0].get("EnableIPv6"):
        yield Check(
            "IPv6",
            State.WARNING,
            "callers by IPv6 all look like the engine's gateway: its docker_gwbridge has no IPv6",
            "leave AAAA records out, or make that bridge with --ipv6 before the node joins",
        )


def _has_global_ipv6(addresses: Path) -> bool:
    """Whether this machine has an address of scope 0, as /proc/net/if_inet6 lists them, other than
    unique local ones."""
    if not addresses.exists():
        return False
    rows = (line.split() for line in addresses.read_text().splitlines())
    return any(row[3] == "00" and row[0][:2] not in ("fc", "fd") for row in rows if len(row) > 3)


def _proxy(client: Client, config: Config, networks: list[Json]) -> Check:
    found = client.services(label=f"{labels.ROLE}=proxy")
    if not found:
        return Check("proxy", State.WARNING, "no proxy runs on the cluster", "deploytool proxy up")
    image = (found[0]["Spec"].get("Labels") or {}).get(labels.IMAGE, "")
    version = version_in(image)[:3]
    if version and version < OLDEST_TRAEFIK[: len(version)]:
        return Check(
            "proxy",
            State.BAD,
            f"{image} does not work with current engines",
            "3.6.1 is the oldest that does: deploytool proxy up",
        )
    names = {network["Id"]: network["Name"] for network in networks}
    listening = ports(found[0])
    if lacking := offers.unmet(client.services(), found[0], names):
        more = f", and {len(lacking) - 1} more" if lacking[1:] else ""
        return Check(
            "proxy",
            State.BAD,
            f"{image}, {listening}: {lacking[0]}{more}, which the proxy does not have",
            "deploytool proxy up, with the [tool.deploytool.proxy] of that app's project",
        )
    if config.proxy.https and listening.https is None:
        return Check(
            "proxy",
            State.WARNING,
            f"{image}, {listening}: without the HTTPS that the configuration asks for",
            "deploytool proxy up",
        )
    return Check("proxy", State.GOOD, f"{image}, {listening}")


def _ipvs(client: Client) -> Check | None:
    """Virtual IPs and the ingress mesh are the kernel's IPVS; without it they carry nothing."""
    if not _is_local(client) or not Path("/proc/net").exists():
        return None
    release = os.uname().release
    modules = Path(f"/lib/modules/{release}")
    loaded = Path("/proc/net/ip_vs").exists() or Path("/sys/module/ip_vs").exists()
    known = (modules / "modules.builtin", modules / "modules.dep")
    available = any("ip_vs" in path.read_text() for path in known if path.is_file())
    if loaded or available:
        return Check("kernel", State.GOOD, "IPVS is there: virtual IPs and ingress ports work")
    return Check(
        "kernel",
        State.WARNING,
        "this kernel has no IPVS: virtual IPs of services and ingress ports carry no traffic",
        'the proxy works all the same; publish ports in mode "host"',
    )
