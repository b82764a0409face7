"""The one of three managers that leads them restarts. The proxy is on another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab import Lab, Node
from tests.lab.shell import LabError, wait_until
from tests.live.clusters import on_swarm
from tests.live.faults.conftest import Case, Faulty, wait_until_it_answers
from tests.load import Result, Sample

PROXY = "proxy_traefik"
SECONDS_SERVED = 2
"""What a `drain` of 4 s leaves of it beyond the engine's own pause."""
LONGER = "14s"
"""Leaves Uvicorn five seconds for what it has begun. The proxy is not told that a replica stops
with its engine, so that streams of three seconds begin up to the moment in which it closes."""


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


@on_swarm
@pytest.mark.parametrize("place", ["elsewhere", "on it too"])
def test_the_leader_restarts(app: Faulty, leader: Node, place: str) -> None:
    """Replicas on it stop too. If the Swarm takes the rollout back then, it is begun again."""
    title = f"the engine of the leading manager restarts during the rollout, replicas {place}"
    on_it = place == "on it too"
    case = Case(app, title, (0,))
    case.alone = "Nomad's servers run no replicas; their restart has a row of its own."
    if on_it:
        case.lost = sent_as_they_close
    away: dict[str, Any] = {"placement": {"constraints": [f"node.hostname != {leader.name}"]}}
    keys = {"replicas": 6, "stop_grace": LONGER} if on_it else away
    app.configure(keys)
    assert app.deploy().code == 0
    app.configure(keys)

    def restart() -> None:
        there = leader.docker("ps", "--quiet", "--filter", f"name={app.project.app}_web")
        assert bool(there) == on_it
        case.mark("stops")
        app.lab.stop_node(leader)
        case.mark("stopped")
        app.lab.start_node(leader)
        case.mark("ready again")

    case.run(lambda: app.disturbed(("web.",), restart))


def sent_as_they_close(result: Result) -> int:
    """What comes in the very moment in which a replica closes its connections, as the proxy is not
    told of that: one for each replica on the node."""
    closing = result.moment("stops") + SECONDS_SERVED

    def is_one(sample: Sample) -> bool:
        return -0.5 < sample.at - closing < 1 and sample.reason == "status 502"

    assert all(map(is_one, result.failures)), result.story()
    return 2
