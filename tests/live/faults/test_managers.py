"""The one of three managers that leads them restarts. The proxy is on another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab import Lab, Node
from tests.lab.shell import LabError, wait_until
from tests.live.faults.conftest import Case, Faulty, wait_until_it_answers

PROXY = "proxy_traefik"


@pytest.fixture
def leader(app: Faulty) -> Iterator[Node]:
    """The manager that leads two others, and that deploytool asks. The proxy is on the second."""
    lab = app.lab
    second, third = lab.nodes[1:3]
    for node in (second, third):
        lab.manager.docker("node", "promote", node.name)
    here = f"node.hostname=={second.name}"
    lab.manager.docker("service", "update", "--quiet", "--constraint-add", here, PROXY)
    app.project.entry = second
    wait_until_it_answers(app)
    yield lab.manager
    lab.manager.docker("service", "update", "--quiet", "--constraint-rm", here, PROXY)
    for node in (third, second):  # one after the other: most of them have to agree each time
        wait_until(partial(demoted, lab, node), f"{node.name} is a worker")
    app.project.entry = None
    wait_until_it_answers(app)


def demoted(lab: Lab, node: Node) -> bool:
    """Whether a node is a worker now; it is asked to be."""
    try:
        role = lab.manager.docker("node", "inspect", "-f", "{{.Spec.Role}}", node.name)
        if role.strip() != "worker":
            lab.manager.docker("node", "demote", node.name)
        return role.strip() == "worker" and lab.ready() == len(lab.nodes)
    except LabError:  # they are about to choose a leader
        return False


def test_the_leader_restarts(app: Faulty, leader: Node) -> None:
    """Replicas on it stop too, and the Swarm may then take the rollout back."""
    title = "the engine of the leading manager restarts during the rollout"
    case = Case(app, title, (0, 3))
    app.configure({"replicas": 6})
    assert app.deploy().code == 0
    app.configure({"replicas": 6})

    def restart() -> None:
        assert leader.docker("ps", "--quiet", "--filter", f"name={app.project.app}_web")
        app.lab.stop_node(leader)
        case.mark("stopped")
        app.lab.start_node(leader)
        case.mark("ready again")

    case.run(lambda: app.disturbed(("web.",), restart))
