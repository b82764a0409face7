"""Whether the nodes can take it, with the arithmetic when they cannot."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Amount, Capacity, Level, Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.operations import measure
from deploytool.backends.swarm.planning.capacity import read_nodes
from deploytool.capacity import level
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
    assert error.message.startswith("1 of 2 more replicas of worker do not fit")
    assert "stop-first" not in error.hint


def test_what_keeps_its_replicas_needs_no_room_and_no_node() -> None:
    made = cluster()
    deploy(made, app(big(4)))
    made.set_nodes([node("n1", memory=1 * GIB, availability="drain")])
    assert plan(made, big(4, labels={"team": "blue"})).changes


def test_services_that_change_at_once_share_the_room() -> None:
    made = cluster(gib=6)
    two = (big(2), big(2, "other"))
    deploy(made, app(*two))
    assert plan(made, *two, digest=OTHER_DIGEST).changes
    smaller = cluster(gib=5)
    deploy(smaller, app(*two))
    error = refused(smaller, *two, digest=OTHER_DIGEST)
    assert error.details == ("n1: 0MiB of 5120MiB and 4 of 4 cores free, takes 0",)


def test_the_last_old_replica_runs_beside_all_the_new_ones() -> None:
    made = cluster(gib=6)
    deploy(made, app(worker(replicas=2, memory="1GiB")))
    larger = worker(replicas=2, memory="3GiB")
    error = refused(made, larger, digest=OTHER_DIGEST)
    assert error.message == (
        "1 of 1 old replicas that run beside all the new ones of worker do not fit: each reserves "
        "1GiB of memory"
    )
    assert 'update.order = "stop-first"' in error.hint
    stopping = worker(replicas=2, memory="3GiB", update={"order": "stop-first"})
    assert plan(made, stopping, digest=OTHER_DIGEST).changes


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
        ("node.platform.arch == x86_64", True),
        ("node.platform.arch == amd64", False),
        ("Node.Platform.Arch != amd64", True),
        ("NODE.LABELS.disk == ssd", True),
        ("node.labels.Disk == ssd", False),
        ("node.ip == 10.0.0.0/8", True),
        ("node.ip != 10.0.0.1", False),
        ("node.ip == 192.168.0.0/16", False),
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
        assert error.details[0].startswith(f"n1: does not meet {constraint}")


def test_what_a_node_has_instead_is_told() -> None:
    one = worker(placement={"constraints": ["node.platform.arch == amd64"]})
    assert refused(cluster(), one).details == (
        "n1: does not meet node.platform.arch == amd64: it has x86_64",
    )


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


# What a plan needs


def test_a_plan_says_what_it_needs() -> None:
    made = cluster(2)
    deploy(made, app(big(3, cpu=0.5)))
    need = plan(made, big(4, cpu=0.5, update={"parallelism": 2}), digest=OTHER_DIGEST).need
    assert need is not None
    assert need.before == Amount(memory=3 * GIB, cpu=1.5)
    assert need.most == Amount(memory=6 * GIB, cpu=3.0)
    assert need.after == Amount(memory=4 * GIB, cpu=2.0)
    assert need.free == Amount(memory=5 * GIB, cpu=6.5)


def test_what_is_removed_goes_last() -> None:
    made = cluster(2)
    deploy(made, app(big(3), big(2, "old")))
    need = plan(made, big(4)).need
    assert need is not None
    assert (need.before.memory, need.most.memory, need.after.memory) == (5 * GIB, 6 * GIB, 4 * GIB)


def test_larger_replicas_need_most_at_the_end() -> None:
    made = cluster(2, gib=8)
    deploy(made, app(big(2)))
    need = plan(made, worker(replicas=2, memory="3GiB"), digest=OTHER_DIGEST).need
    assert need is not None
    assert need.most.memory == 7 * GIB


# `capacity`


def described(made: FakeEngine, *services: Service) -> Capacity:
    return Swarm(made, sampling=0.0).capacity("items", services)


def look(second: int, cores: float, memory: int, **details: int) -> dict[str, Any]:
    """What the engine says of a container's use at a second of one minute."""
    return {
        "read": f"2026-11-22T03:04:{second:02}.5Z",
        "cpu_stats": {"cpu_usage": {"total_usage": round(cores * second * 10**9)}},
        "memory_stats": {"usage": memory, "stats": details},
    }


def test_what_nodes_have_and_how_much_more_they_take() -> None:
    made = engine(nodes=[node("node-1", memory=4 * GIB), node("node-2", memory=8 * GIB, cpu=2)])
    deploy(made, app(big(3, cpu=0.5)))
    found = described(made, big(3, cpu=0.5), worker("free"))
    first, second = found.nodes
    assert (first.memory.total, first.memory.reserved, first.memory.free) == (
        *(4 * GIB, 2 * GIB, 2 * GIB),
    )
    assert (first.cpu.reserved, first.cpu.free) == (1.0, 3.0)
    assert first.fits == {"worker": 2, "free": None}
    assert second.fits == {"worker": 3, "free": None}
    assert [s.fits for s in found.services] == [5, None]
    assert (found.memory.total, found.memory.reserved) == (12 * GIB, 3 * GIB)


def test_nodes_and_limits_that_take_no_more() -> None:
    made = engine(
        nodes=[node("node-1"), node("node-2", availability="drain"), node("node-3", state="down")]
    )
    one = worker(placement={"max_per_node": 2})
    deploy(made, app(one))
    found = described(made, one, worker("ssd", placement={"constraints": ["node.labels.a == b"]}))
    assert [n.state for n in found.nodes] == ["active", "drain", "down"]
    assert [n.fits for n in found.nodes] == [
        *({"worker": 1, "ssd": 0}, {"worker": 0, "ssd": 0}, {"worker": 0, "ssd": 0}),
    ]


def test_use_is_measured_where_the_engine_can() -> None:
    made = engine(nodes=2)
    deploy(made, app(worker(replicas=2, memory="1GiB"), worker("gone")))
    here, there = made.tasks_of("items_worker")
    assert (here["NodeID"], there["NodeID"]) == ("id-of-node-1", "id-of-node-2")
    made.usage[f"container-of-{here['ID']}"] = [
        look(10, 0.5, 300 * 2**20),
        look(12, 0.5, 300 * 2**20, inactive_file=200 * 2**20),
    ]
    found = described(made, worker(replicas=2, memory="1GiB"))
    first, second = found.nodes
    assert (first.memory.used, first.cpu.used) == (100 * 2**20, 0.5)
    assert first.unmeasured == ""
    assert (second.memory.used, second.cpu.used) == (None, None)
    assert "own engine" in second.unmeasured
    (service,) = found.services
    assert service.used == Amount(memory=100 * 2**20, cpu=0.5)
    assert service.measured == 1
    assert found.memory.used is None


def test_the_old_way_of_counting_memory() -> None:
    stats = look(1, 0, 5000, total_inactive_file=4000, inactive_file=1)
    assert measure.used(look(0, 0, 0), stats).memory == 1000


def test_without_containers_nothing_is_used() -> None:
    (only,) = described(engine(nodes=1)).nodes
    assert (only.memory.used, only.cpu.used) == (0, 0)


@pytest.mark.parametrize(
    ("share", "where"),
    [
        (0.0, Level.BELOW),
        (0.49, Level.BELOW),
        (0.5, Level.WITHIN),
        (0.9, Level.WITHIN),
        (0.91, Level.ABOVE),
    ],
)
def test_the_band(share: float, where: Level) -> None:
    assert level(share) is where


@pytest.mark.parametrize(
    ("memory", "cpu", "where"),
    [
        ("1GiB", 0.1, Level.BELOW),
        ("3GiB", 0.1, Level.WITHIN),
        ("1GiB", 3.0, Level.WITHIN),
        ("3900MiB", 0.1, Level.ABOVE),
        ("1GiB", 3.9, Level.ABOVE),
    ],
)
def test_a_node_is_as_full_as_its_fullest(memory: str, cpu: float, where: Level) -> None:
    made = engine(nodes=[node("node-1", cpu=64, memory=64 * GIB), node("node-2", memory=4 * GIB)])
    placed = {"constraints": ["node.hostname == node-2"]}
    made.set_nodes(made.nodes()[1:])
    deploy(made, app(worker(memory=memory, cpu=cpu, placement=placed)))
    (found,) = described(made).nodes
    assert found.level is where
