"""The double's nodes: what becomes of allocations when a node is drained, or does not fit them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.nodes import Node
from tests.nomad_double.scheduler import is_live
from tests.nomad_double.server import running

Json = dict[str, Any]
NS = 10**9


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(nodes=[Node("one"), Node("two")])


def register(cluster: Cluster, count: int = 2, kind: str = "service", **group: Any) -> None:
    update = {"MaxParallel": 1, "Canary": 1, "AutoPromote": True, "MinHealthyTime": NS}
    made: Json = {
        "Name": "web",
        "Count": count,
        "Update": update | {"ProgressDeadline": 60 * NS},
        "Migrate": {"MaxParallel": 1},
        "Tasks": [{"Name": "web", "Config": {"image": "items"}, "Resources": {"MemoryMB": 32}}],
    }
    job = {"ID": "items", "Type": kind, "TaskGroups": [made | group]}
    cluster.register("default", {"Job": job})


def live(cluster: Cluster) -> list[Json]:
    return [a for a in cluster.allocations.values() if is_live(a)]


def places(cluster: Cluster) -> list[str]:
    return sorted(a["NodeName"] for a in live(cluster))


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    with running(cluster) as address:
        yield address


def put(address: str, path: str, body: Json) -> Json:
    request = urllib.request.Request(
        f"{address}/v1/node/{path}", json.dumps(body).encode(), method="PUT"
    )
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def drain(cluster: Cluster, address: str) -> Node:
    node = cluster.nodes[0]
    put(address, f"{node.id}/drain", {"DrainSpec": {"Deadline": 60 * NS}})
    return node


def test_one_after_the_other_leaves_a_drained_node(cluster: Cluster, address: str) -> None:
    register(cluster, count=4)
    cluster.advance(5)
    assert places(cluster) == ["one", "one", "two", "two"]
    cluster.scripts["items"] = Script(healthy_after=2)
    node = drain(cluster, address)
    for _ in range(40):
        healthy = [a for a in live(cluster) if (a["DeploymentStatus"] or {}).get("Healthy")]
        assert len(healthy) >= 3
        cluster.advance(0.25)
    assert places(cluster) == ["two"] * 4
    assert (node.drain, node.eligible) == (None, False)


def test_a_drain_waits_for_what_is_not_healthy(cluster: Cluster, address: str) -> None:
    register(cluster)
    cluster.advance(5)
    cluster.scripts["items"] = Script(healthy_after=None)
    register(cluster, Meta={"again": "1"})
    cluster.advance(1)
    node = drain(cluster, address)
    cluster.advance(10)
    assert node.drain is not None


def test_what_is_no_canary_comes_back_as_it_was(cluster: Cluster, address: str) -> None:
    register(cluster)
    cluster.advance(5)
    cluster.scripts["items"] = Script(healthy_after=8)
    register(cluster, Meta={"again": "1"})
    drain(cluster, address)
    cluster.advance(2)
    versions = sorted(a["JobVersion"] for a in live(cluster))
    assert versions == [0, 0, 1], "the canary is beside as many old ones as there were"
    cluster.advance(60)
    assert [a["JobVersion"] for a in live(cluster)] == [1, 1]
    assert places(cluster) == ["two", "two"]


def test_jobs_on_every_node_come_back_with_it(cluster: Cluster, address: str) -> None:
    register(cluster, kind="system")
    cluster.advance(5)
    node = drain(cluster, address)
    cluster.advance(5)
    assert places(cluster) == ["two"]
    put(address, f"{node.id}/eligibility", {"Eligibility": "eligible"})
    assert places(cluster) == ["one", "two"]


def test_a_constraint_that_its_node_does_not_meet_replaces(cluster: Cluster) -> None:
    register(cluster, count=1)
    cluster.advance(5)
    (before,) = live(cluster)
    for here in (True, False):
        operand = "=" if here else "!="
        target = {"LTarget": "${node.unique.name}", "RTarget": before["NodeName"]}
        register(cluster, count=1, Constraints=[target | {"Operand": operand}])
        cluster.advance(5)
        assert (places(cluster) == [before["NodeName"]]) == here
        assert (live(cluster) == [before]) == here
