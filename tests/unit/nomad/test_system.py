"""Jobs with one allocation per node: how many that is, and when they are rolled out."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import ServiceProgress, Verdict
from deploytool.backends.nomad.operations.jobs import look
from deploytool.backends.nomad.operations.status import describe
from deploytool.backends.nomad.planning.plan import check_ownership, wanted_of
from deploytool.backends.nomad.rollout.watch import Seen, progress
from deploytool.backends.nomad.specification.version import NEWEST, ServerVersion
from deploytool.errors import PlanError
from deploytool.traefik.proxy import pull_job
from deploytool.traefik.routing import Ports
from tests.builders import release
from tests.unit.nomad.test_proxy import proxy_spec

Json = dict[str, Any]
OLD = ServerVersion(1, 10)
JOB: Json = {
    "ID": "proxy",
    "Type": "system",
    "Version": 4,
    "Meta": {"deploytool.app": "proxy"},
    "TaskGroups": [{"Name": "traefik", "Count": 1, "Tasks": [{"Config": {"image": "traefik:v3"}}]}],
}


def dry_run(**updates: int) -> Json:
    return {"Annotations": {"DesiredTGUpdates": {"traefik": updates}}}


def allocation(node: int, version: int = 4, **keys: Any) -> Json:
    return {
        "ID": f"a{node}-{version}",
        "Name": "proxy.traefik[0]",
        "TaskGroup": "traefik",
        "JobVersion": version,
        "NodeID": f"n{node}",
        "NodeName": f"node-{node}",
        "ClientStatus": "running",
        "DesiredStatus": "run",
    } | keys


def seen(*allocations: Json, **keys: Any) -> ServiceProgress:
    (found,) = progress(Seen(4, {"traefik": 2}, (), allocations, is_system=True, **keys))
    return found


@pytest.mark.parametrize(
    ("version", "updates", "nodes"),
    [
        (OLD, {"Place": 3}, 3),
        (OLD, {"Place": 1, "Ignore": 2}, 3),
        (OLD, {"DestructiveUpdate": 3}, 3),
        (NEWEST, {"Place": 3, "Ignore": 2}, 3),
        (NEWEST, {"Place": 3, "DestructiveUpdate": 3}, 3),
    ],
)
def test_the_dry_run_says_how_many_nodes_there_are(
    version: ServerVersion, updates: dict[str, int], nodes: int
) -> None:
    """Newer servers count those of other kinds as placed too."""
    assert wanted_of(JOB, dry_run(**updates), version) == {"traefik": nodes}


@pytest.mark.parametrize("answer", [{}, dry_run(Place=0)])
def test_no_node_at_all_is_an_error(answer: Json) -> None:
    with pytest.raises(PlanError) as caught:
        wanted_of(JOB, answer, NEWEST)
    assert caught.value.code == "does_not_fit"


def test_the_proxy_takes_no_app_for_itself() -> None:
    app = JOB | {"Type": "service"}
    for one, other, word in ((JOB, app, "not the proxy"), (app, JOB, "the cluster's proxy")):
        with pytest.raises(PlanError) as caught:
            check_ownership(one, other)
        assert caught.value.code == "not_ours"
        assert word in caught.value.message


def test_done_when_every_node_runs_the_new_version() -> None:
    assert seen(allocation(1), allocation(2)).verdict is Verdict.DONE
    found = seen(allocation(1), allocation(2, version=3))
    assert (found.verdict, found.ready, found.wanted) == (Verdict.MOVING, 1, 2)


def test_not_done_while_the_scheduler_has_more_to_do() -> None:
    """It replaces some, and makes an evaluation for the next."""
    assert seen(allocation(1), is_scheduled=False).verdict is Verdict.MOVING
    assert seen(is_scheduled=True).verdict is Verdict.MOVING


def test_not_done_until_its_checks_succeed() -> None:
    found = seen(allocation(1), unready={"a1-4": "health: 404"})
    assert (found.verdict, found.reason) == (Verdict.MOVING, "health: 404")


def test_nodes_that_are_away_are_not_waited_for() -> None:
    away = allocation(2, version=3, ClientStatus="unknown")
    stopped = allocation(3, version=3, DesiredStatus="stop")
    assert seen(allocation(1), away, stopped).verdict is Verdict.DONE


def test_what_ended_before_is_not_waited_for() -> None:
    """It stays in the list, as one that shall run."""
    failed = allocation(1, version=3, ClientStatus="failed", CreateIndex=5)
    again = allocation(2, ClientStatus="failed", CreateIndex=6, ID="first")
    there = (failed, again, allocation(1, CreateIndex=7), allocation(2, CreateIndex=8))
    assert seen(*there).verdict is Verdict.DONE


def test_one_that_fails_ends_it() -> None:
    found = seen(allocation(1), allocation(2, ClientStatus="failed"))
    assert found.verdict is Verdict.FAILED


def test_a_port_that_is_taken_is_told() -> None:
    metric = {"NodesEvaluated": 1, "DimensionExhausted": {"network: port collision http=80": 1}}
    found = seen(allocation(1), is_scheduled=False, unplaced={"traefik": metric})
    assert "no node takes it" in found.reason
    assert "port" in found.reason


def test_a_deployment_says_how_many_nodes_there_are() -> None:
    state = {"DesiredTotal": 5, "PlacedAllocs": 2, "HealthyAllocs": 1, "UnhealthyAllocs": 0}
    deployment = {"ID": "d", "JobVersion": 4, "Status": "running", "TaskGroups": {"traefik": state}}
    (found,) = progress(Seen(4, {"traefik": 2}, (deployment,), (), is_system=True))
    assert (found.verdict, found.ready, found.wanted) == (Verdict.MOVING, 1, 5)


def test_status_counts_nodes() -> None:
    there = [
        allocation(1),
        allocation(2),
        allocation(3, ClientStatus="pending"),
        allocation(4, version=3, DesiredStatus="stop", ClientStatus="complete"),
    ]
    (service,) = describe(JOB, there, (), {}, Ports()).services
    assert (service.running, service.replicas, service.missing) == (2, 3, 1)


class Answers:
    def __init__(self, *allocations: Json) -> None:
        self.allocations = [a | {"JobType": "sysbatch"} for a in allocations]

    def get(self, path: str) -> list[Json]:
        assert path == "/v1/job/proxy-pull/allocations"
        return self.allocations


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        (["complete", "complete"], "complete"),
        (["complete", "pending"], "pending"),
        (["complete", "running", "failed"], "failed"),
    ],
)
def test_an_image_is_pulled_when_every_node_has_it(statuses: list[str], told: str) -> None:
    there = [allocation(n, ClientStatus=status) for n, status in enumerate(statuses)]
    found = look(Answers(*there), pull_job(release(proxy_spec())))  # type: ignore[arg-type]
    assert found is not None
    assert found.state == told
