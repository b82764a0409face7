"""`python -m tests.nomad_double`: the double on the engines of the lab that is up, until it gets a
signal. It says its address when it answers. SIGHUP restarts its servers, which keep their state, as
a Raft log does; the clients of the nodes, and their tasks, go on."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from tests.lab import Lab
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.node.agents import Agents
from tests.nomad_double.node.runner import TASK_API
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import answering, ticking, unix_socket

PORT = 4646
AWAY = 3.0
"""Seconds for which servers that restart do not answer."""
ELECTION = 2.0
"""Seconds for which they have no leader then."""


def cluster_of(lab: Lab) -> Cluster:
    docker = str(lab.bin / "docker")
    return Cluster(
        nodes=[Node(n.name, n.address, n.docker_host, docker, memory=4_000) for n in lab.nodes]
    )


def serve(lab: Lab, folder: Path) -> None:
    done, woken = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        done.set()
        woken.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, lambda *_: woken.set())
    cluster = cluster_of(lab)
    agents = Agents(cluster, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TASK_API).unlink(missing_ok=True)
    with ExitStack() as stack:
        stack.enter_context(ticking(cluster, 1))
        of_tasks = stack.enter_context(unix_socket(folder / TASK_API))
        while not done.is_set():
            _answer_until(woken, cluster, (lab.network.gateway, PORT), of_tasks)
            if done.is_set():
                agents.close()
            else:
                cluster.leaderless = True
                with cluster.state.changed:  # nothing is decided, and no client is heard
                    time.sleep(AWAY)


def _answer_until(
    woken: threading.Event, cluster: Cluster, listen: tuple[str, int], of_tasks: socket.socket
) -> None:
    cluster.http_address = "{}:{}".format(*listen)
    with socket.create_server(listen) as listening, answering(cluster, listening, of_tasks):
        if cluster.leaderless:
            with cluster.state.changed:
                time.sleep(ELECTION)
            cluster.leaderless = False
        sys.stdout.write(f"http://{cluster.http_address}\n")
        sys.stdout.flush()
        woken.wait()
        woken.clear()


if __name__ == "__main__":
    current = Lab.current()
    serve(current, current.folder / "nomad" / "allocations")
