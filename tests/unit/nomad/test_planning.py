"""Jobs, nodes and placement on Nomad, as values."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.nomad.planning.capacity import Where, clock_warnings, read_nodes
from deploytool.backends.nomad.planning.job import (
    counts,
    is_running,
    partial,
    same,
    stamped,
    with_releases_of,
)
from deploytool.backends.nomad.planning.placement import why_unplaced
from deploytool.capacity import eligible
from deploytool.errors import PlanError
from deploytool.spec import Image
from tests.builders import service

Json = dict[str, Any]
MIB = 2**20


def group(name: str, **keys: Any) -> Json:
    return {"Name": name, "Count": 2} | keys


def job(*groups: Json, **keys: Any) -> Json:
    return {"ID": "items", "TaskGroups": list(groups)} | keys


def test_groups_whose_turn_has_not_come_stay_as_they_are() -> None:
    wanted = job(group("db", Count=1), group("web", Count=3), group("new"))
    live = job(group("db"), group("web"), group("gone"))
    assert counts(partial(wanted, live, {"db"})) == {"db": 1, "web": 2, "gone": 2}
    assert counts(partial(wanted, live, {"db", "web", "new"})) == {
        "db": 1,
        "web": 3,
        "new": 2,
        "gone": 2,
    }


def test_first_step_of_a_new_job_has_its_groups_alone() -> None:
    assert counts(partial(job(group("db"), group("web")), None, {"db"})) == {"db": 2}


def test_release_is_stamped_where_the_group_is_replaced() -> None:
    found = stamped(job(group("db", Meta={"a": "b"}), group("web")), "v2", ["db"])
    assert [g.get("Meta") for g in found["TaskGroups"]] == [
        {"a": "b", "deploytool.release": "v2"},
        None,
    ]


def test_groups_keep_their_release_in_a_plan() -> None:
    live = {"db": {"Meta": {"deploytool.release": "v1"}}}
    found = with_releases_of(job(group("db"), group("web", Meta={"x": "y"})), live)
    assert [g["Meta"] for g in found["TaskGroups"]] == [{"deploytool.release": "v1"}, {"x": "y"}]


def test_what_a_server_notes_makes_no_other_job() -> None:
    one = job(group("web"), Version=1, JobModifyIndex=7, Stable=True, Status="running")
    assert same(one, job(group("web"), Version=3, JobModifyIndex=9, Stable=False))
    assert not same(one, job(group("web", Count=3)))


def test_stopped_job_does_not_run() -> None:
    assert [is_running(one) for one in (None, job(), job(Stop=True))] == [False, True, False]


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ({"NodesEvaluated": 0}, "none is ready in its datacenters"),
        (
            {"NodesEvaluated": 3, "DimensionExhausted": {"memory": 2, "cpu": 1}},
            "of 3 that were asked: 1 node does not have CPU left, 2 nodes do not have memory left",
        ),
        (
            {"NodesEvaluated": 1, "ConstraintFiltered": {"${attr.cpu.arch} = arm64": 1}},
            "1 node does not meet ${attr.cpu.arch} = arm64",
        ),
    ],
)
def test_why_a_group_is_not_placed(metric: Json, text: str) -> None:
    assert text in why_unplaced(metric)


def node(**keys: Any) -> Json:
    return {
        "ID": "n1",
        "Name": "one",
        "Status": "ready",
        "SchedulingEligibility": "eligible",
        "Drain": False,
        "NodeResources": {"Cpu": {"CpuShares": 4000}, "Memory": {"MemoryMB": 1024}},
        "ReservedResources": {"Cpu": {"CpuShares": 0}, "Memory": {"MemoryMB": 24}},
    } | keys


def allocation(**keys: Any) -> Json:
    resources = {"Tasks": {"web": {"Cpu": {"CpuShares": 500}, "Memory": {"MemoryMB": 100}}}}
    return {
        "NodeID": "n1",
        "DesiredStatus": "run",
        "ClientStatus": "running",
        "AllocatedResources": resources,
    } | keys


def test_nodes_have_what_allocations_leave() -> None:
    over = allocation(ClientStatus="complete", DesiredStatus="stop")
    (found,) = read_nodes([node()], [allocation(), over], 1000)
    assert (found.cpu, found.free_cpu) == (4.0, 3.5)
    assert (found.memory, found.free_memory) == (1000 * MIB, 900 * MIB)
    assert found.usable


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"Status": "down"}, "down"),
        ({"Drain": True, "SchedulingEligibility": "ineligible"}, "drained"),
        ({"SchedulingEligibility": "ineligible"}, "ineligible"),
    ],
)
def test_nodes_that_take_nothing(keys: Json, why: str) -> None:
    (found,) = read_nodes([node(**keys)], [], 1000)
    assert (found.usable, found.why_not) == (False, why)


@pytest.mark.parametrize(
    ("where", "usable"),
    [
        (Where(), True),
        (Where(["dc1"], "default"), True),
        (Where(["dc*"], "all"), True),
        (Where(["dc2"], "default"), False),
        (Where(["*"], "gpu"), False),
    ],
)
def test_nodes_that_a_job_may_not_use(where: Where, usable: bool) -> None:
    (found,) = read_nodes([node(Datacenter="dc1")], [], 1000, where)
    assert found.usable is usable
    assert ("nomad.datacenters" in found.why_not) is not usable


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ("node.labels.edge == true", True),
        ("attr.kernel.name == linux", True),
        ("node.platform.arch == x86_64", True),
        ("node.datacenter == dc1", True),
        ("node.datacenter == dc2", False),
    ],
)
def test_what_a_list_does_not_tell_rules_no_node_out(constraint: str, fits: bool) -> None:
    nodes = read_nodes([node(Datacenter="dc1")], [], 1000)
    asking = service(placement={"constraints": [constraint]})
    image = Image(reference="a@sha256:1", tag="a:1")
    if fits:
        assert eligible(nodes, asking, image, hint="") == nodes
    else:
        with pytest.raises(PlanError, match="No node can run web"):
            eligible(nodes, asking, image, hint="")


def clocked(mhz: int, name: str = "one") -> Json:
    cpu = {"CpuShares": 4 * mhz, "TotalCpuCores": 4}
    return node(Name=name, NodeResources={"Cpu": cpu, "Memory": {"MemoryMB": 1024}})


def test_cores_are_compared_with_the_configuration() -> None:
    assert list(clock_warnings([clocked(2400), node()], 2000)) == []
    assert list(clock_warnings([clocked(3500), clocked(2000, "two")], 2000)) == []
    (warning,) = clock_warnings([clocked(3500), clocked(2600, "two")], 2000)
    assert "2600 MHz on the slowest node and 3500 on the fastest" in warning
    assert warning.endswith("set nomad.mhz_per_core = 2600")
