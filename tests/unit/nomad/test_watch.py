"""How far the services of a job are, from its deployment and allocations."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import ServiceProgress, Verdict
from deploytool.backends.nomad.api.allocations import read_task
from deploytool.backends.nomad.rollout.watch import Seen, failures, lacks_placement, progress

Json = dict[str, Any]
ROLLING_BACK = "Failed due to unhealthy allocations - rolling back to job version 3"


def deployment(status: str, version: int = 4, text: str = "", groups: Json | None = None) -> Json:
    return {
        "ID": f"d{version}",
        "JobVersion": version,
        "CreateIndex": version,
        "Status": status,
        "StatusDescription": text,
        "TaskGroups": groups
        or {
            "web": {"DesiredTotal": 2, "PlacedAllocs": 2, "HealthyAllocs": 1, "UnhealthyAllocs": 0}
        },
    }


def allocation(number: int = 0, version: int = 4, **keys: Any) -> Json:
    return {
        "ID": f"a{number}-{version}",
        "Name": f"items.web[{number}]",
        "TaskGroup": "web",
        "JobVersion": version,
        "NodeName": "one",
        "ClientStatus": "running",
        "DesiredStatus": "run",
        "ModifyTime": 1_700_000_000_000_000_000 + number,
    } | keys


def of_web(*deployments: Json, allocations: tuple[Json, ...] = (), **keys: Any) -> ServiceProgress:
    seen = Seen(4, {"web": 2}, deployments, allocations, **keys)
    (found,) = progress(seen)
    return found


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        ("running", "Deployment is running", Verdict.MOVING),
        ("running", "Deployment is running pending automatic promotion", Verdict.MOVING),
        ("successful", "Deployment completed successfully", Verdict.DONE),
        ("failed", "Failed due to progress deadline", Verdict.FAILED),
        ("failed", ROLLING_BACK, Verdict.MOVING),
        ("cancelled", "Cancelled due to newer version of job", Verdict.FAILED),
        ("paused", "Deployment is paused", Verdict.MOVING),
    ],
)
def test_verdict_follows_the_deployment(status: str, text: str, verdict: Verdict) -> None:
    assert of_web(deployment(status, text=text)).verdict is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("running", Verdict.MOVING),
        ("successful", Verdict.ROLLED_BACK),
        ("failed", Verdict.FAILED),
    ],
)
def test_reversion_by_the_servers_is_followed_to_its_end(status: str, verdict: Verdict) -> None:
    found = of_web(deployment("failed", text=ROLLING_BACK), deployment(status, version=5))
    assert found.verdict is verdict


def test_reason_says_what_the_deployment_failed_of() -> None:
    found = of_web(deployment("failed", text="Failed due to unhealthy allocations"))
    assert found.reason == "its new replicas are not healthy"


def test_services_that_were_fine_are_not_the_reason() -> None:
    groups = {
        "db": {"DesiredTotal": 1, "HealthyAllocs": 1, "UnhealthyAllocs": 0},
        "web": {"DesiredTotal": 2, "HealthyAllocs": 0, "UnhealthyAllocs": 1},
    }
    seen = Seen(
        4, {"db": 1, "web": 2}, [deployment("failed", text="Failed due to x", groups=groups)]
    )
    assert [(p.service, p.reason) for p in progress(seen)] == [
        ("db", ""),
        ("web", "Failed due to x"),
    ]


def test_allocations_count_where_there_is_no_deployment() -> None:
    assert of_web(allocations=(allocation(0),)).verdict is Verdict.MOVING
    assert of_web(allocations=(allocation(0), allocation(1))).verdict is Verdict.DONE
    assert of_web(allocations=(allocation(0, 3), allocation(1, 3))).ready == 0


def test_placement_that_waits_says_why() -> None:
    metric = {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}
    found = of_web(deployment("running"), unplaced={"web": metric})
    assert "does not have memory left" in found.reason


@pytest.mark.parametrize(
    ("status", "state", "lacks"),
    [
        ("running", {"DesiredTotal": 2, "PlacedAllocs": 1}, True),
        ("running", {"DesiredTotal": 2, "PlacedAllocs": 2}, False),
        ("running", {"DesiredTotal": 0, "DesiredCanaries": 1, "PlacedCanaries": None}, True),
        ("failed", {"DesiredTotal": 2, "PlacedAllocs": 1}, False),
    ],
)
def test_lack_of_placement(status: str, state: Json, lacks: bool) -> None:
    assert lacks_placement(deployment(status, groups={"web": state})) is lacks


def test_failures_are_those_of_this_version() -> None:
    failed = allocation(1, ClientStatus="failed")
    judged = allocation(0, DeploymentStatus={"Healthy": False})
    old = allocation(0, 3, ClientStatus="failed")
    seen = Seen(4, {"web": 2}, allocations=[failed, old, allocation(2), judged])
    assert [task.id for task in failures(seen)] == ["a0-4", "a1-4"]


def test_task_tells_exit_code_and_the_cause() -> None:
    events = [
        {"Type": "Started", "Time": 1, "DisplayMessage": "Task started by client"},
        {"Type": "Terminated", "Time": 2, "ExitCode": 3, "DisplayMessage": "Exit Code: 3"},
        {"Type": "Not Restarting", "Time": 3, "DisplayMessage": "Exceeded allowed attempts"},
    ]
    states = {"web": {"State": "dead", "Failed": True, "Events": events}}
    task = read_task(allocation(1, ClientStatus="failed", TaskStates=states))
    assert (task.slot, task.state, task.exit_code) == (2, "failed", 3)
    assert task.message == "Exit Code: 3"


def test_replica_whose_process_has_not_started_is_starting() -> None:
    task = read_task(allocation(TaskStates={"web": {"State": "pending", "Events": None}}))
    assert (task.state, task.running) == ("starting", False)


def test_replica_that_is_stopped_for_its_check_has_that_as_its_cause() -> None:
    why = 'healthcheck: check "GET /health" unhealthy'
    events = [
        {"Type": "Terminated", "Time": 0, "ExitCode": 0, "DisplayMessage": "Exit Code: 0"},
        {"Type": "Restart Signaled", "Time": 1, "DisplayMessage": why},
        {"Type": "Terminated", "Time": 2, "ExitCode": 0, "DisplayMessage": "Exit Code: 0"},
        {"Type": "Not Restarting", "Time": 3, "DisplayMessage": "Exceeded allowed attempts"},
    ]
    states = {"web": {"State": "dead", "Failed": True, "Events": events}}
    task = read_task(allocation(1, ClientStatus="failed", TaskStates=states))
    assert (task.exit_code, task.message) == (None, why)
