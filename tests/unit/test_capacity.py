"""Whether the nodes can take it, with the arithmetic when they cannot."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.base import Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.capacity import read_nodes
from deploytool.errors import PlanError
from deploytool.spec import AppSpec, Service
from tests.builders import OTHER_DIGEST, app, deploy, engine, images, worker
from tests.fake_engine import GIB, FakeEngine, node


def plan(made: FakeEngine, *services: Service, **keys: Any) -> Plan:
    spec: AppSpec = app(*services)
    return Swarm(made).plan(spec, images(spec, **keys))


def refused(made: FakeEngine, *services: Service, **keys: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan(made, *services, **keys)
    return caught.value


def cluster(nodes: int = 1, gib: int = 4, **keys: Any) -> FakeEngine:
    return engine(nodes=[node(f"n{i}", memory=gib * GIB, **keys) for i in range(1, nodes + 1)])


def big(replicas: int = 1, name: str = "worker", **keys: Any) -> Service:
    return worker(name, replicas=replicas, memory="1GiB", **keys)


def test_what_fits_fits() -> None:
    assert plan(cluster(), big(4)).changes


def test_what_does_not_is_told_with_the_arithmetic() -> None:
    error = refused(cluster(2), big(10))
    assert error.code == "does_not_fit"
    assert error.message == "2 of 10 replicas of worker do not fit: each reserves 1GiB of memory"
    assert error.details == (
        "n1: 4096MiB of 4096MiB and 4 of 4 cores free, takes 4",
        "n2: 4096MiB of 4096MiB and 4 of 4 cores free, takes 4",
    )


def test_cores_count_too() -> None:
    error = refused(cluster(), worker(replicas=3, cpu=1.5))
    assert error.message == "1 of 3 replicas of worker do not fit: each reserves 1.5 cores"
    assert plan(cluster(cpu=0.3), worker(replicas=3, cpu=0.1)).changes


def test_other_apps_take_room() -> None:
    made = cluster()
    deploy(made, app(big(3), name="other"))
    assert refused(made, big(2)).details == (
        "n1: 1024MiB of 4096MiB and 4 of 4 cores free, takes 1",
    )


def test_a_new_replica_runs_beside_the_old() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    error = refused(made, big(4), digest=OTHER_DIGEST)
    assert "1 of 1 replicas that run beside the old ones of worker do not fit" in error.message
    assert 'update.order = "stop-first"' in error.hint


def test_stop_first_needs_no_room_beside() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    assert plan(made, big(4, update={"order": "stop-first"}), digest=OTHER_DIGEST).changes


def test_parallelism_is_how_many_run_beside() -> None:
    made = cluster(gib=6)
    deploy(made, app(big(4)))
    assert plan(made, big(4, update={"parallelism": 2}), digest=OTHER_DIGEST).changes
    assert refused(made, big(4, update={"parallelism": 3}), digest=OTHER_DIGEST)


def test_scaling_down_makes_room() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    assert plan(made, big(3), digest=OTHER_DIGEST).changes


def test_scaling_up_counts_only_the_new() -> None:
    made = cluster()
    deploy(made, app(big(3)))
    assert plan(made, big(4)).changes
    error = refused(made, big(5))
    assert error.message.startswith("1 of 5 replicas of worker do not fit")


def test_what_does_not_change_needs_no_room() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    made.set_nodes([node("n1", memory=1 * GIB)])
    assert plan(made, big(4)).is_empty


def test_removed_services_make_room_in_the_end() -> None:
    made = cluster()
    deploy(made, app(big(2), big(2, "other", update={"order": "stop-first"})))
    assert plan(made, big(2, update={"order": "stop-first"}), digest=OTHER_DIGEST).changes


def test_at_most_so_many_on_a_node() -> None:
    made = cluster(2)
    error = refused(made, worker(replicas=3, placement={"max_per_node": 1}))
    assert error.message == (
        "1 of 3 replicas of worker do not fit: each reserves nothing, at most 1 on a node"
    )


def test_full_nodes_take_no_replica_beside_the_old() -> None:
    made = cluster(2)
    one = worker(replicas=2, placement={"max_per_node": 1})
    deploy(made, app(one))
    error = refused(made, one, digest=OTHER_DIGEST)
    assert error.details[0].endswith("takes 0")
    roomy = worker(replicas=2, placement={"max_per_node": 2})
    assert plan(made, roomy, digest=OTHER_DIGEST).changes


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ("node.labels.disk == ssd", True),
        ("node.labels.disk==SSD", True),
        ("node.labels.disk != ssd", False),
        ("node.labels.zone != a", True),
        ("node.labels.zone == a", False),
        ("engine.labels.gpu == yes", True),
        ("node.role == worker", True),
        ("node.role == manager", False),
        ("node.hostname == n1", True),
        ("node.id == id-of-n1", True),
        ("node.platform.arch == amd64", True),
        ("node.platform.os == linux", True),
    ],
)
def test_constraints(constraint: str, fits: bool) -> None:
    made = cluster(labels={"disk": "ssd"}, engine_labels={"gpu": "yes"})
    one = worker(placement={"constraints": [constraint]})
    if fits:
        assert plan(made, one).changes
    else:
        error = refused(made, one)
        assert error.code == "no_suitable_node"
        assert error.details == (f"n1: does not meet {constraint}",)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"availability": "drain"}, "n1: is drain"),
        ({"availability": "pause"}, "n1: is pause"),
        ({"state": "down"}, "n1: is down"),
        ({"architecture": "aarch64"}, "n1: is linux/arm64; the image is for linux/amd64"),
    ],
)
def test_nodes_that_take_nothing(keys: dict[str, Any], why: str) -> None:
    error = refused(cluster(**keys), big(), platforms=(("amd64", "linux"),))
    assert error.code == "no_suitable_node"
    assert error.details == (why,)


@pytest.mark.parametrize("architecture", ["x86_64", "amd64", "aarch64"])
def test_an_image_for_several_platforms(architecture: str) -> None:
    made = cluster(architecture=architecture)
    assert plan(made, big(), platforms=(("amd64", "linux"), ("arm64", "linux"))).changes


def test_no_replicas_need_no_node() -> None:
    assert plan(cluster(state="down"), big(0)).changes


def test_dead_replicas_hold_nothing() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    for task in made.tasks_of("items_worker"):
        made.set_task(task["ID"], "failed")
    (found,) = read_nodes(made.nodes(), made.tasks())
    assert found.free_memory == 4 * GIB
