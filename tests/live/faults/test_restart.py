"""After a restart everything comes back unaided."""

from __future__ import annotations

import json
import time

from tests.lab.cache import locked
from tests.live.clusters import both
from tests.live.conftest import PROXY, Project
from tests.live.faults.conftest import RATE, Case, Faulty

pytestmark = both


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


def test_the_proxy_restarts(faulty: Faulty, proxy_project: Project) -> None:
    """Callers find its port closed until it runs again, and get 503 until it has read its routes;
    open WebSockets are cut off. The plan says so beforehand. On Nomad the new one starts while the
    old one has the port, fails, and is tried again after `restart.delay`."""
    title = "`proxy up` with a setting that restarts the proxy: `trusted_proxies`"
    away = 10.0 if faulty.is_on_nomad else 2.5
    case = Case(faulty, title, (0,), lost=lambda _: round(away * RATE))
    usual = proxy_project.extra
    with locked(PROXY):
        try:
            given = proxy_project.cluster.settings().get("proxy", {})
            more = proxy_project.proxy_images | {"trusted_proxies": ["192.0.2.0/24"]}
            proxy_project.extra = {"proxy": given | more}
            proxy_project.configure()
            ran = case.run(lambda: proxy_project.run("proxy", "up", "--yes"))
            assert "the proxy restarts" in " ".join(json.loads(ran.stdout)["warnings"])
        finally:
            proxy_project.extra = usual
            proxy_project.configure()
            proxy_project.ok("proxy", "up", "--yes", "--replace")
            answers_again(faulty)
