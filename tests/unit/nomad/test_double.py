"""What the double of Nomad answers, in itself: refusals, what is null and what is left out, locks
that end, tokens. Names and types of fields are compared with the official types in
tests/contract/test_nomad_clients.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests

from deploytool.backends.nomad.specification.compile import compile_app
from deploytool.backends.nomad.specification.task import Source
from deploytool.json_types import Json
from tests.builders import app, images, service
from tests.nomad_double import drainer, locks, tokens
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running
from tests.nomad_double.variables import Refusal

PLAIN = "text/plain; charset=utf-8"
ITEMS = {"Items": {"a": "1"}}
LONG = {"Items": {"a": "x" * 65_536}}
NOTHING = {
    "Namespace": "default",
    "Path": "held",
    "CreateIndex": 0,
    "ModifyIndex": 0,
    "CreateTime": 0,
    "ModifyTime": 0,
    "Items": None,
}
Ask = Callable[..., requests.Response]


def job(**keys: Any) -> Json:
    spec = app(service(domains=["a.example"], **keys))
    return compile_app(Source(app=spec, images=images(spec))).job


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The first deployment of `items` succeeded; `waits` never starts."""
    made = Cluster(scripts={"waits": Script(starts_after=10_000.0)})
    made.register("default", {"Job": job()})
    made.advance(30)
    waiting = job() | {"ID": "waits", "Name": "waits"}
    waiting["TaskGroups"][0]["Name"] = "waits"
    waiting["TaskGroups"][0]["Tasks"][0]["Name"] = "waits"
    waiting["TaskGroups"][0]["Tasks"][0]["Config"]["image"] = "waits"
    made.register("default", {"Job": waiting})
    locks.operate(made, "default", "held", "lock-acquire", ITEMS)
    return made


@pytest.fixture(scope="module")
def ask(cluster: Cluster) -> Iterator[Ask]:
    with running(cluster) as address, requests.Session() as session:

        def send(method: str, path: str, body: object = None) -> requests.Response:
            return session.request(method, f"{address}/v1/{path}", json=body, timeout=20)

        yield send


class Refused(NamedTuple):
    """A call, and what is answered: bodies are those of hashicorp/nomad."""

    call: str
    code: int
    text: str
    body: object = None


def registering(**keys: object) -> Json:
    return {"Job": job(), "EnforceIndex": True, **keys}


REFUSED = (
    Refused("POST jobs", 500, "Enforcing job modify index 0: job already exists", registering()),
    Refused(
        "POST jobs",
        500,
        "Enforcing job modify index 3: job does not exist",
        registering(JobModifyIndex=3) | {"Job": job() | {"ID": "new"}},
    ),
    Refused("POST job/other", 400, "Job ID does not match name", {"Job": job()}),
    Refused("POST job/other/plan", 400, "Job ID does not match", {"Job": job()}),
    Refused(
        "POST jobs?namespace=prod",
        500,
        'job "items" is in nonexistent namespace "prod"',
        {"Job": job()},
    ),
    Refused("GET job/none", 404, "job not found"),
    Refused("GET job/none/versions", 404, "job versions not found"),
    Refused("GET job/none/summary", 404, "job not found"),
    Refused("PUT job/items/revert", 500, "can't revert to current version", {"JobVersion": 0}),
    Refused(
        "PUT job/items/revert",
        500,
        'job "items" in namespace "default" at version 9 not found',
        {"JobVersion": 9},
    ),
    Refused(
        "PUT job/items/revert",
        500,
        "Current job has version 0; enforcing version 4",
        {"JobVersion": 9, "EnforcePriorVersion": 4},
    ),
    Refused(
        "PUT job/waits/scale",
        400,
        "job scaling blocked due to active deployment",
        {"Count": 2, "Target": {"Group": "waits"}},
    ),
    Refused("GET deployment/none", 404, "deployment not found"),
    Refused("PUT deployment/fail/none", 500, "deployment not found"),
    Refused("PUT deployment/promote/none", 500, "deployment not found", {"All": True}),
    Refused("GET evaluation/none", 404, "eval not found"),
    Refused("GET allocation/none", 404, "alloc not found"),
    Refused("GET node/none", 404, "node not found"),
    Refused("GET namespace/none", 404, "Namespace not found"),
    Refused("GET client/allocation/none/stats", 404, 'Unknown allocation "none"'),
    Refused("GET client/allocation/none/checks", 404, 'Unknown allocation "none"'),
    Refused("GET client/fs/logs/none?type=stdout", 404, 'Unknown allocation "none"'),
    Refused("GET client/fs/logs/{items}?task=no&type=stdout", 400, 'unknown task name "no"'),
    Refused("GET client/fs/logs/{items}?task=web", 500, "must provide log type (stdout/stderr)"),
    Refused(
        "GET client/fs/logs/{waits}?task=waits&type=stdout",
        404,
        'task "waits" not started yet. No logs available',
    ),
    Refused("GET var/none", 404, "variable not found"),
    Refused("PUT var/a", 400, "variable missing required Items object", {"Items": {}}),
    Refused("PUT var/a", 400, "variables are limited to 64KiB in total size", LONG),
    Refused("PUT var/a%20b", 400, 'invalid path "a b"', ITEMS),
    Refused(
        "PUT var/nomad/other",
        400,
        'only paths at "nomad/jobs" or "nomad/job-templates" and below are valid paths under the '
        'top-level "nomad" directory',
        ITEMS,
    ),
    Refused(
        "PUT var/a",
        400,
        "variable should not contain lock definition",
        ITEMS | {"Lock": {"TTL": "20s"}},
    ),
    Refused("PUT var/a?lock-acquire&cas=0", 400, "CAS can't be used with lock operations", ITEMS),
    Refused(
        "PUT var/a?lock-acquire",
        400,
        "1 error occurred:\n\t* TTL must be between 10 seconds and 24 hours\n\n",
        ITEMS | {"Lock": {"TTL": "9s"}},
    ),
    Refused("PUT var/none?lock-renew", 404, "variable doesn't exist", {}),
    Refused(
        "PUT var/held?lock-renew",
        409,
        "attempting to modify locked variable",
        {"Lock": {"ID": "other"}},
    ),
    Refused("GET jobs?index=1&wait=long", 400, "Invalid wait time"),
    Refused("GET jobs?index=one", 400, "Invalid index"),
    Refused("GET acl/token/self", 400, "ACL support disabled"),
)


@pytest.mark.parametrize("refused", REFUSED, ids=lambda one: f"{one.call}: {one.text[:30]}")
def test_refusals_are_plain_text(ask: Ask, cluster: Cluster, refused: Refused) -> None:
    own = {a["JobID"]: a["ID"] for a in cluster.allocations.values()}
    method, path = refused.call.split()
    answer = ask(method, path.format(**own), refused.body)
    assert (answer.status_code, answer.text) == (refused.code, refused.text)
    assert answer.headers["Content-Type"] == PLAIN


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "volumes"),
        ("PUT", "system/gc"),
        ("GET", "job/items/submission"),
        ("GET", "job/items/versions?diffs=true"),
        ("GET", "service/a?filter=Port%20==%201"),
        ("GET", "agent/servers"),
    ],
)
def test_what_it_does_not_know_is_501(ask: Ask, method: str, path: str) -> None:
    answer = ask(method, path)
    assert answer.status_code == 501
    assert answer.text.startswith("the double does not know")


@pytest.mark.parametrize(
    ("method", "query", "body"),
    [
        ("PUT", "", ITEMS),
        ("PUT", "?cas=0", ITEMS),
        ("PUT", "?lock-acquire", ITEMS),
        ("PUT", "?lock-release", {"Lock": {"ID": "other"}}),
        ("DELETE", "", None),
    ],
)
def test_conflict_of_a_held_variable_says_nothing_of_it(
    ask: Ask, method: str, query: str, body: object
) -> None:
    answer = ask(method, f"var/held{query}", body)
    assert (answer.status_code, answer.json()) == (409, NOTHING)


def test_conflict_of_a_variable_is_what_is_there(ask: Ask) -> None:
    made = ask("PUT", "var/free?cas=0", ITEMS).json()
    for method in ("PUT", "DELETE"):
        answer = ask(method, "var/free?cas=1", ITEMS)
        assert (answer.status_code, answer.json()) == (409, made)
    assert ask("DELETE", f"var/free?cas={made['ModifyIndex']}").status_code == 204
    assert ask("DELETE", "var/free").status_code == 204


def test_keys_are_sorted_and_indexes_told(ask: Ask) -> None:
    answer = ask("GET", "job/items")
    assert answer.headers["X-Nomad-KnownLeader"] == "true"
    found = answer.json()
    assert int(answer.headers["X-Nomad-Index"]) == found["ModifyIndex"]
    assert answer.text == json.dumps(found, sort_keys=True)


# --- what is null, and what is left out -----------------------------------------------------------


def first(ask: Ask, path: str) -> Json:
    found = ask("GET", path).json()
    return dict(found[0] if isinstance(found, list) else found)


def test_lists_of_allocations_leave_nothing_out(ask: Ask) -> None:
    stub = first(ask, "job/items/allocations")
    assert stub["FollowupEvalID"] == stub["NextAllocation"] == ""
    assert stub["RescheduleTracker"] is None
    assert stub["DesiredTransition"] == dict.fromkeys(("ForceReschedule", "Migrate", "Reschedule"))
    assert not {"Job", "AllocatedResources", "DeploymentID"} & stub.keys()
    state = stub["TaskStates"]["web"]
    assert (state["FinishedAt"], state["LastRestart"], state["TaskHandle"]) == (None, None, None)
    assert state["StartedAt"].endswith("Z")
    assert {len(event) for event in state["Events"]} == {24}
    assert first(ask, "job/waits/allocations")["TaskStates"] is None
    assert first(ask, "job/waits/allocations")["DeploymentStatus"] is None


def test_what_lists_of_allocations_have_is_asked_for(ask: Ask) -> None:
    stub = first(ask, "allocations?resources=true&task_states=false")
    assert stub["TaskStates"] is None
    assert stub["AllocatedResources"]["Shared"]["Networks"] is None
    assert ask("GET", "allocations?namespace=shop").json() == []


def test_whole_allocations_and_evaluations_leave_out_what_is_empty(ask: Ask) -> None:
    stub = first(ask, "job/items/allocations")
    whole = first(ask, f"allocation/{stub['ID']}")
    assert not {"NextAllocation", "DesiredDescription", "JobVersion", "JobType"} & whole.keys()
    assert whole["Job"]["Version"] == stub["JobVersion"]
    assert whole["Metrics"]["QuotaExhausted"] is None
    evaluation = first(ask, f"evaluation/{stub['EvalID']}")
    assert not {"FailedTGAllocs", "BlockedEval", "StatusDescription"} & evaluation.keys()
    assert evaluation["QueuedAllocations"] == {"web": 0}


def test_lists_of_nodes_have_no_attributes_and_no_metadata(ask: Ask) -> None:
    stub = first(ask, "nodes")
    assert not {"Attributes", "Meta", "NodeResources", "HTTPAddr"} & stub.keys()
    assert stub["Drivers"]["docker"]["Attributes"]["driver.docker.volumes.enabled"] == "true"
    assert "NodeResources" in first(ask, "nodes?resources=true")
    assert first(ask, "nodes?os=true")["Attributes"] == {"os.name": "debian"}
    assert first(ask, f"node/{stub['ID']}")["Attributes"]["cpu.arch"] == "amd64"


def test_lists_of_jobs_have_metadata_if_it_is_asked_for(ask: Ask) -> None:
    assert first(ask, "jobs")["Meta"] is None
    stub = first(ask, "jobs?meta=true")
    assert stub["Meta"] == {"deploytool.app": "items"}
    assert stub["JobSummary"]["Summary"]["web"]["Running"] == 1
    assert (stub["Status"], stub["Periodic"]) == ("running", False)


def test_job_has_what_servers_add(ask: Ask) -> None:
    found = first(ask, "job/items")
    assert (found["Payload"], found["ParentID"], found["VersionTag"]) == (None, "", None)
    (group,) = found["TaskGroups"]
    operands = [one["Operand"] for one in group["Constraints"]]
    assert operands[-2:] == ["=", "semver"]
    assert group["Tasks"][0]["RestartPolicy"] == group["RestartPolicy"]
    assert first(ask, "job/items/deployments")["StatusDescription"].endswith("successfully")


# --- time -----------------------------------------------------------------------------------------


def refusal_of(call: Callable[[], object]) -> int:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.status


def test_lock_ends_after_twice_its_time_and_is_free_after_its_delay() -> None:
    cluster = Cluster()
    body = ITEMS | {"Lock": {"TTL": "10s", "LockDelay": "5s"}}

    def operate(operation: str, body: Json) -> Json:
        return locks.operate(cluster, "default", "a", f"lock-{operation}", body)

    held = operate("acquire", body)
    cluster.advance(19)
    operate("renew", held)
    cluster.advance(19)
    assert cluster.state.variables["default", "a"]["Lock"]["ID"] == held["Lock"]["ID"]
    cluster.advance(2)
    assert "Lock" not in cluster.state.variables["default", "a"]
    assert refusal_of(lambda: operate("renew", held)) == 409
    assert refusal_of(lambda: operate("acquire", body)) == 409
    cluster.advance(5)
    assert operate("acquire", body)["Lock"]["ID"] != held["Lock"]["ID"]


def test_acquiring_replaces_the_items_by_none_if_none_are_sent() -> None:
    cluster = Cluster()
    held = locks.operate(cluster, "default", "a", "lock-acquire", ITEMS)
    locks.operate(cluster, "default", "a", "lock-release", held)
    assert locks.operate(cluster, "default", "a", "lock-acquire", {})["Items"] == {}


def test_promotion_waits_for_healthy_canaries() -> None:
    cluster = Cluster()
    cluster.register("default", {"Job": job()})
    cluster.advance(30)
    cluster.scripts["web"] = Script(healthy_after=20.0)
    changed = job(env={"A": "1"})
    changed["TaskGroups"][0]["Update"]["AutoPromote"] = False
    cluster.register("default", {"Job": changed})
    deployment = list(cluster.deployments.values())[-1]
    with pytest.raises(Refusal) as caught:
        cluster.promote(deployment["ID"], None)
    text = '1 error occurred:\n\t* Task group "web" has 0/1 healthy allocations\n\n'
    assert (caught.value.status, caught.value.body) == (500, text)
    cluster.advance(30)
    assert deployment["Status"] == "running"
    cluster.promote(deployment["ID"], ["web"])
    cluster.advance(30)
    assert deployment["Status"] == "successful"


def test_ineligible_node_is_given_nothing_until_it_is_eligible_again() -> None:
    cluster = Cluster()
    (node,) = cluster.nodes
    drainer.set_eligible(cluster, node, eligible=False)
    cluster.register("default", {"Job": job()})
    assert not cluster.allocations
    drainer.set_eligible(cluster, node, eligible=True)
    assert len(cluster.allocations) == 1


def test_calls_without_a_known_token_are_refused_once_there_are_tokens() -> None:
    cluster = Cluster()
    tokens.make_token(cluster, "s3cret", name="deploys")
    with running(cluster) as address, requests.Session() as session:

        def code(path: str, **headers: str) -> int:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return session.get(f"{address}/v1/{path}", headers=headers, timeout=20).status_code

        assert code("status/leader") == 200
        assert code("jobs") == code("jobs", X_Nomad_Token="other") == 403
        assert code("acl/token/self", X_Nomad_Token="other") == 403
        assert code("jobs", X_Nomad_Token="s3cret") == 200
        assert code("jobs", Authorization="Bearer s3cret") == 200
        cluster.denied = "GET /v1/jobs"
        assert code("jobs", X_Nomad_Token="s3cret") == 403
        assert code("acl/token/self", X_Nomad_Token="s3cret") == 200
