"""A Swarm of several nodes on one machine: `Lab.up(nodes=3)`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.lab import engines, network, process
from tests.lab.cache import cache_folder, locked
from tests.lab.engines import Engine
from tests.lab.network import Network
from tests.lab.node import Node
from tests.lab.packages import install_tools
from tests.lab.registry import Registry
from tests.lab.shell import LabError, run, say, wait_until

STAND_INS = Path(__file__).resolve().parents[2] / "scripts" / "stand-ins.sh"
PROXIES = ("traefik:v3.7", "haproxy:3.0-alpine")
IMAGES = ("registry:2", "ghcr.io/astral-sh/uv:0.13", *PROXIES, "python:3.13-slim")


def number() -> int:
    """Which lab: DEPLOYTOOL_LAB=1 is another one, beside the default 0."""
    given = os.environ.get("DEPLOYTOOL_LAB") or "0"
    if not re.fullmatch(r"[0-9]", given):
        raise LabError(f"DEPLOYTOOL_LAB is a number from 0 to 9, not '{given}'")
    return int(given)


def state_folder(of: int) -> Path:
    return Path("/var/lib/deploytool-lab", str(of))


@dataclass(frozen=True)
class Lab:
    network: Network
    engine: Engine
    folder: Path
    started: bool = False  # by the call of `up` that returned this

    # --- up and down

    @classmethod
    def up(cls, nodes: int = 3, engine: str | None = None, managers: int = 1) -> Lab:
        """A running lab of at least so many nodes, all of them up and ready; what runs already
        with the same engine is used as it is."""
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and starts engines: run it as root")
        with locked(f"lab-{number()}"):
            install_tools()
            with prepared_images():
                wanted = engines.engine(engine or engines.chosen())
                lab = cls(Network(number()), wanted, state_folder(number()))
                lab = lab.fresh_or_running()
                lab.start(nodes)
            with ThreadPoolExecutor() as pool:  # neither needs the other, and both take seconds
                filled = pool.submit(lab.fill)
                lab.join(managers)
                filled.result()
        return lab

    @classmethod
    def current(cls) -> Lab:
        """The lab that is up, whatever its engine."""
        lab = cls(Network(number()), Engine("none", Path("/nonexistent")), state_folder(number()))
        with contextlib.suppress(OSError):
            suite = (lab.folder / "engine").read_text().strip()
            engine = Engine(suite, cache_folder() / "engines" / suite)
            return cls(lab.network, engine, lab.folder)
        raise LabError("no lab is up: python -m tests.lab up")

    def fresh_or_running(self) -> Lab:
        """Clear away a lab that is dead, or of another engine."""
        record = self.folder / "engine"
        before = record.read_text().strip() if record.exists() else ""
        usable = before == self.engine.suite and any(node.running for node in self.nodes)
        if self.folder.exists() and not usable:
            say(f"clearing away the lab before ({before or 'incomplete'})")
            self.clear()
        if not usable:
            network.check_free(self.network)
            self.folder.mkdir(parents=True)
            (self.folder / "forwarding").write_text(network.FORWARDING.read_text())
            record.write_text(self.engine.suite + "\n")
        return Lab(self.network, self.engine, self.folder, started=not usable)

    def start(self, nodes: int) -> None:
        self.network.up()
        self.registry_process.plant(seed())
        self.registry_process.start()
        self.docker_config(self.folder / "docker")
        count = max(nodes, len(self.nodes))
        all_nodes = [self.node(index) for index in range(1, count + 1)]
        for node in all_nodes:
            node.begin()
            if not node.connected:
                self.network.set_cable(node.index, True)
        for node in all_nodes:
            node.wait()
        self.registry_process.wait()

    def join(self, managers: int) -> None:
        nodes = self.nodes
        first = nodes[0]
        if not in_swarm(first):
            first.docker("swarm", "init", "--advertise-addr", first.address)
        for node in nodes[1:]:
            if not in_swarm(node):
                role = "manager" if node.index <= managers else "worker"
                token = first.docker("swarm", "join-token", "-q", role)
                address = ("--advertise-addr", node.address)
                node.docker("swarm", "join", "--token", token, *address, f"{first.address}:2377")
        wait_until(lambda: self.ready() >= len(nodes), "all nodes are ready")

    def fill(self) -> None:
        """Base images on node 1, the proxy's in the registry."""
        provide(self.manager, *IMAGES)
        missing = [i for i in PROXIES if not self.registry_process.has(*i.split(":"))]
        for image in missing:
            self.load(image)
        if missing:
            self.registry_process.harvest(seed())

    def down(self) -> None:
        with locked(f"lab-{number()}"):
            self.clear()

    def clear(self) -> None:
        """Everything of this lab, also what a crashed one left."""
        process.stop(self.folder / "nomad" / "pid", timeout=90)
        for node in self.nodes:
            node.remove()
        self.registry_process.stop()
        self.network.down()
        with contextlib.suppress(OSError):
            network.restore_forwarding((self.folder / "forwarding").read_text().strip())
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # only when no other lab is up

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # --- what is in it

    def node(self, index: int) -> Node:
        """Node `index`, counted from 1 as in its name."""
        name = self.network.namespace(index)
        config = self.folder / "docker"
        return Node(index, self.network, self.engine, self.folder / name, config)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, stopped ones too; `nodes[0]` is the manager `lab1`."""
        found = (re.fullmatch(r"lab(?:\d+-)?(\d+)", path.name) for path in self.folder.glob("lab*"))
        return [self.node(index) for index in sorted(int(match[1]) for match in found if match)]

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    @property
    def registry(self) -> str:
        return f"{self.network.gateway}:5000"

    @property
    def registry_process(self) -> Registry:
        return Registry(self.registry, self.folder / "registry", self.bin / "docker-registry")

    @property
    def bin(self) -> Path:
        """Folder of docker, dockerd, docker-init and so on: put it first on PATH."""
        return self.engine.bin

    @property
    def env(self) -> dict[str, str]:
        """Environment for programs that shall use this lab: engine of node 1, its client."""
        return self.manager.env

    def docker_config(self, folder: Path) -> Path:
        """Make buildx, where the engine has it, a plugin for DOCKER_CONFIG=folder."""
        plugin = folder / "cli-plugins" / "docker-buildx"
        plugin.parent.mkdir(parents=True, exist_ok=True)
        if self.engine.buildx and not plugin.exists():
            plugin.symlink_to(self.engine.buildx)
        return folder

    def ready(self) -> int:
        """How many nodes the Swarm calls ready."""
        return self.manager.docker("node", "ls", "--format", "{{.Status}}").split().count("Ready")

    def status(self, of: Node) -> str:
        """What the Swarm says of a node: ready, down, unknown or disconnected."""
        listed = self.manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        states = dict(line.split() for line in listed.splitlines())
        return states.get(of.name, "absent").lower()

    # --- what can happen to it

    def load(self, image: str, name: str | None = None) -> str:
        """Push an image of node 1 (a stand-in, if it is one) for all nodes to pull; its name."""
        node = self.manager
        provide(node, image)
        target = f"{self.registry}/{name or image.rpartition('/')[2]}"
        node.docker("tag", image, target)
        node.docker("push", target)
        return target

    def stop_node(self, node: Node | int) -> None:
        """The engine ends in good order, the machine stays on the network."""
        self.resolve(node).stop()

    def kill_node(self, node: Node | int) -> None:
        """The power fails: no good-byes, nothing answers any more."""
        self.resolve(node).kill()

    def start_node(self, node: Node | int) -> None:
        """On again after stop or kill; returns when the Swarm calls it ready."""
        self.resolve(node).start()
        self.wait_ready(node)

    def cut_node(self, node: Node | int) -> None:
        """The network cable is pulled: everything runs on, and packets vanish."""
        self.network.set_cable(self.resolve(node).index, False)

    def restore_node(self, node: Node | int) -> None:
        """The cable is back; returns when the Swarm calls the node ready."""
        self.network.set_cable(self.resolve(node).index, True)
        self.wait_ready(node)

    def wait_ready(self, node: Node | int, timeout: float = 60) -> None:
        """Ready on all sides: its own engine knows it is back, and so do the managers."""
        of = self.resolve(node)

        def ready() -> bool:
            return of.answers() and in_swarm(of) and self.status_ready(of)

        wait_until(ready, f"{of.name} ready", timeout)

    def status_ready(self, of: Node) -> bool:
        try:
            return self.status(of) == "ready"
        except LabError:  # no leader while the managers find each other again
            return False

    def resolve(self, node: Node | int) -> Node:
        return node if isinstance(node, Node) else self.node(node)


def in_swarm(node: Node) -> bool:
    return node.info("{{.Swarm.LocalNodeState}}") == "active"


def provide(node: Node, *images: str) -> None:
    """Stand-ins for what the node's engine does not have yet."""
    missing = [image for image in images if not node.docker("images", "--quiet", image)]
    if missing:
        run([STAND_INS, "--for-lab", *missing], env=node.env, timeout=900)


@contextlib.contextmanager
def prepared_images() -> Iterator[None]:
    """Missing stand-ins are made while engines are fetched and started."""
    prepare = subprocess.Popen(
        [STAND_INS, "--prepare"], stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    try:
        yield
    except BaseException:
        prepare.terminate()
        prepare.wait()
        raise
    if prepare.wait():
        raise LabError("the stand-ins could not be made")


def seed() -> Path:
    """A registry with the proxy in it: compressing and pushing that one takes longest of all."""
    made = cache_folder() / "stand-ins"
    files = (path.stem for i in PROXIES for path in made.glob(i.replace(":", "_") + "-*.tar"))
    return cache_folder() / "registry" / f"seed-{'-'.join(files) or 'none'}"
