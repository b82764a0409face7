"""`python -m tests.nomad_double`: the double on the engines of the lab that is up, until it gets a
signal. It says its address when it answers."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.lab import Lab
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.node.agents import Agents
from tests.nomad_double.node.runner import TASK_API
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running

PORT = 4646


def cluster_of(lab: Lab) -> Cluster:
    docker = str(lab.bin / "docker")
    return Cluster(
        nodes=[Node(n.name, n.address, n.docker_host, docker, memory=4_000) for n in lab.nodes]
    )


def serve(lab: Lab, folder: Path) -> None:
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    cluster = cluster_of(lab)
    agents = Agents(cluster, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TASK_API).unlink(missing_ok=True)
    listen = (lab.network.gateway, PORT)
    with running(cluster, speed=1, listen=listen, task_api=folder / TASK_API) as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        done.wait()
        agents.close()


if __name__ == "__main__":
    current = Lab.current()
    serve(current, current.folder / "nomad" / "allocations")
