"""The clients of all nodes that have an engine: their allocations, and their heartbeats."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import requests

from tests.nomad_double.cluster import Cluster
from tests.nomad_double.node.runner import Runner
from tests.nomad_double.nodes import Node
from tests.nomad_double.state import Json

HEARTBEAT = 1.0
"""seconds"""
GRACE = 15.0
"""Seconds without an answer after which a node is down: at least 10 s of TTL and 10 s of grace on a
small cluster (nomad/heartbeat.go, heartbeat_grace); shorter here."""


class Agents:
    """Implements `Clients`."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.runners: dict[str, Runner] = {}
        self.heard: dict[str, float] = {}
        self._beating = threading.Thread(target=self._beat, daemon=True)
        cluster.clients = self
        self._beating.start()

    def start(self, allocation: Json, node: Node) -> None:
        runner = Runner(self.cluster, allocation, node, self.folder / allocation["ID"])
        self.runners[allocation["ID"]] = runner
        runner.thread.start()

    def _beat(self) -> None:
        nodes = [node for node in self.cluster.nodes if node.engine is not None]
        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            while not self.cluster.closing:
                for node, answers in zip(nodes, pool.map(_answers, nodes), strict=True):
                    self._heard(node, answers=answers)
                time.sleep(HEARTBEAT)

    def _heard(self, node: Node, *, answers: bool) -> None:
        now = time.monotonic()
        if answers:
            self.heard[node.id] = now
            if node.status == "down":
                self.cluster.node_status(node, "ready")
        elif node.status == "ready" and now - self.heard.setdefault(node.id, now) > GRACE:
            self.cluster.node_status(node, "down")

    def close(self) -> None:
        """End all tasks, and remove what they left."""
        self.cluster.closing = True
        for runner in self.runners.values():
            runner.ended.wait(60)
        self._beating.join(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def _answers(node: Node) -> bool:
    try:
        with contextlib.closing(docker.APIClient(base_url=node.engine, timeout=3)) as api:
            return bool(api.ping())
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return False
