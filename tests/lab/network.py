"""A bridge and one network namespace per node: every node a machine of its own on one wire."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tests.lab.shell import LabError, run, say, succeeds, try_run

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Network:
    """Network number `number`: 10.90.NUMBER.0/24, so that several labs can be up at once."""

    number: int

    @property
    def prefix(self) -> str:
        return f"10.90.{self.number}"

    @property
    def subnet(self) -> str:
        return f"{self.prefix}.0/24"

    @property
    def gateway(self) -> str:
        return f"{self.prefix}.1"

    @property
    def bridge(self) -> str:
        return f"br-lab{self.number or ''}"

    def address(self, node: int) -> str:
        return f"{self.prefix}.{10 + node}"

    def namespace(self, node: int) -> str:
        return f"lab{node}" if self.number == 0 else f"lab{self.number}-{node}"

    def cable(self, node: int) -> str:
        """The host's end of a node's cable; the other end is the node's eth0."""
        return f"v{self.namespace(node)}"

    def rules(self) -> list[list[str]]:
        """Nodes reach each other through a host whose engine drops forwarded packets (bridge
        netfilter), and the world behind the host's own address, to build images."""
        return [
            ["filter", "FORWARD", "-i", self.bridge, "-j", "ACCEPT"],
            ["filter", "FORWARD", "-o", self.bridge, "-j", "ACCEPT"],
            ["nat", "POSTROUTING", "-s", self.subnet, "!", "-o", self.bridge, "-j", "MASQUERADE"],
        ]

    def up(self) -> None:
        FORWARDING.write_text("1\n")
        if not exists(self.bridge):
            run(["ip", "link", "add", self.bridge, "type", "bridge"])
            run(["ip", "addr", "add", f"{self.gateway}/24", "dev", self.bridge])
            run(["ip", "link", "set", self.bridge, "up"])
        for table, *rule in self.rules():
            if not succeeds(["iptables", "-w", "-t", table, "-C", *rule]):
                run(["iptables", "-w", "-t", table, "-I", *rule])

    def down(self) -> None:
        for table, *rule in self.rules():
            while succeeds(["iptables", "-w", "-t", table, "-D", *rule]):
                pass
        if exists(self.bridge):
            run(["ip", "link", "del", self.bridge])

    def plug_in(self, node: int) -> None:
        name = self.namespace(node)
        if namespace_path(name).exists():
            return
        run(["ip", "netns", "add", name])
        cable = self.cable(node)
        run(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name])
        run(["ip", "link", "set", cable, "master", self.bridge, "up"])
        run(["ip", "-n", name, "link", "set", "lo", "up"])
        run(["ip", "-n", name, "addr", "add", f"{self.address(node)}/24", "dev", "eth0"])
        run(["ip", "-n", name, "link", "set", "eth0", "up"])
        run(["ip", "-n", name, "route", "add", "default", "via", self.gateway])

    def unplug(self, node: int) -> None:
        """The whole namespace, with every interface an engine made in it."""
        name = self.namespace(node)
        try_run(["ip", "link", "del", self.cable(node)])
        if namespace_path(name).exists():
            run(["ip", "netns", "del", name])

    def set_cable(self, node: int, connected: bool) -> None:
        run(["ip", "link", "set", self.cable(node), "up" if connected else "down"])

    def connected(self, node: int) -> bool:
        flags = try_run(["ip", "link", "show", "dev", self.cable(node), "up"])
        return flags.returncode == 0 and bool(flags.stdout)


def exists(interface: str) -> bool:
    return Path("/sys/class/net", interface).exists()


def namespace_path(name: str) -> Path:
    return Path("/run/netns", name)


def restore_forwarding(before: str) -> None:
    """As it was, unless an engine on the host needs it by now."""
    if before == "0" and not exists("docker0"):
        with contextlib.suppress(OSError):
            FORWARDING.write_text("0\n")


def check_free(network: Network) -> None:
    """Refuse to shadow a network the machine is already in."""
    routes = try_run(["ip", "-4", "route", "show", "to", "match", network.gateway]).stdout
    for line in routes.splitlines():
        if not line.startswith("default") and network.bridge not in line:
            say(f"the machine already routes {network.subnet}: {line}")
            raise LabError("set DEPLOYTOOL_LAB to a number from 0 to 9 for another network")
