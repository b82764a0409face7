"""After a restart everything comes back unaided."""

from __future__ import annotations

import time

from tests.live.faults.conftest import Faulty


def answers_again(app: Faulty, seconds: float = 120) -> None:
    """All replicas run and answer through the proxy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            ran = app.project.run("status")
            (web,) = ran.data["services"]
            answers = {app.project.get()[0] for _ in range(6)}
        except (OSError, AssertionError, ValueError, KeyError):
            time.sleep(1)
            continue
        if web["running"] == web["replicas"] and answers == {200}:
            return
        time.sleep(1)
    raise AssertionError("it did not come back")


def test_every_engine_restarts(app: Faulty) -> None:
    for node in app.lab.nodes:
        app.lab.stop_node(node)
        app.lab.start_node(node)
    answers_again(app)


def test_a_node_reboots(app: Faulty) -> None:
    """The power fails and comes back."""
    for node in (app.lab.nodes[1], app.lab.manager):
        app.lab.kill_node(node)
        app.lab.start_node(node)
        answers_again(app)


def test_all_nodes_lose_their_power(app: Faulty) -> None:
    nodes = app.lab.nodes
    for node in nodes:
        app.lab.kill_node(node)
    for node in nodes:
        node.begin()
    for node in nodes:
        app.lab.start_node(node)
    answers_again(app)
