"""The double answers as servers did whose answers were recorded: names, types and what is null.

`nomad_recorded.json` has the form of those answers: for each place in them the kinds of value that
stood there, without the values. They are of Nomad 1.2 to 1.7; the names of later versions are
compared with the official types, in test_nomad_clients.py.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.nomad.specification.compile import compile_app
from deploytool.backends.nomad.specification.task import Source
from tests.builders import app, images, service
from tests.contract.test_nomad_clients import REPLICA
from tests.nomad_double import catalogue
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.server import running

pytestmark = pytest.mark.contract
Form = dict[str, set[str]]

RECORDED: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("nomad_recorded.json").read_text()
)
NAMED_BY_USERS = {
    *("AllocatedResources.Tasks", "AllocatedResources.TaskLifecycles", "FailedTGAllocs"),
    *("Annotations.DesiredTGUpdates", "JobSummary.Summary", "Summary"),
    *("QueuedAllocations", "TaskStates", "TaskGroups", "Updates", "NodesAvailable"),
}
"""Objects whose keys are names of groups, tasks and the like."""
FREE = {"Config", "Details", "Env", "Meta"}
"""What has any form."""


def form(value: Any, place: str = "", found: Form | None = None) -> Form:
    """The kinds of value at each place; [] stands for any element, * for any key."""
    found = {} if found is None else found
    found.setdefault(place, set()).add(kind(value))
    if isinstance(value, list):
        for element in value:
            form(element, f"{place}[]", found)
    elif isinstance(value, dict) and place.rpartition(".")[2] not in FREE:
        named = any(place == name or place.endswith(f".{name}") for name in NAMED_BY_USERS)
        for key, inner in value.items():
            form(inner, f"{place}.{'*' if named else key}".lstrip("."), found)
    return found


def kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array" if value else "empty array"
        case _:
            return "object" if value else "empty object"


CALLS = {
    "jobs": "/v1/jobs",
    "job": "/v1/job/items",
    "summary": "/v1/job/items/summary",
    "evaluations": "/v1/job/items/evaluations",
    "deployments": "/v1/job/items/deployment",
    "allocations": "/v1/job/items/allocations",
    "services": "/v1/services",
    "service": "/v1/service/items-web",
}


@pytest.fixture(scope="module")
def answered() -> dict[str, Form]:
    spec = app(service(replicas=2, domains=["items.example.com"]))
    job = compile_app(Source(app=spec, images=images(spec))).job
    cluster = Cluster(scripts={"web": Script()})
    with running(cluster, speed=20) as address:

        def ask(path: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            method = "GET" if body is None else "PUT"
            request = urllib.request.Request(address + path, data=data, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)

        plan = ask("/v1/job/items/plan", {"Job": job, "Diff": True})
        registered = ask("/v1/jobs", {"Job": job})
        ask(f"/v1/evaluation/{registered['EvalID']}?index=1&wait=10s")
        give_up = time.monotonic() + 20
        while not all(one["DeploymentStatus"] for one in ask(CALLS["allocations"])):
            assert time.monotonic() < give_up, "no allocation became healthy"
            time.sleep(0.05)
        catalogue.register(cluster.state, [REPLICA])
        found = {name: ask(path) for name, path in CALLS.items()}
        found |= {"plan": plan, "register": registered}
        found["allocation"] = ask(f"/v1/allocation/{found['allocations'][0]['ID']}")
    return {name: form(answer) for name, answer in found.items()}


EMPTY = {"null", "empty array", "empty object"}


def differences(answer: Form, recorded: Form) -> set[str]:
    """-PLACE: the answer lacks it; !PLACE: it is null, empty or of a type as it never was there."""
    lacks = {f"-{place}" for place in recorded if is_missing(place, answer)}
    return lacks | {
        f"!{place}"
        for place in recorded.keys() & answer.keys()
        if is_other(answer[place], recorded[place])
    }


def is_missing(place: str, answer: Form) -> bool:
    """Whether what it is a field of is there; lists and names may be none."""
    if place in answer or place.endswith(("[]", "*")) or not place:
        return False
    whole = place.rpartition(".")[0]
    return not answer.get(whole, set()).isdisjoint(("object", "empty object"))


def is_other(answer: set[str], recorded: set[str]) -> bool:
    types = [
        {name.removeprefix("empty ") for name in kinds} - {"null"} for kinds in (answer, recorded)
    ]
    if all(types) and types[0].isdisjoint(types[1]):
        return True
    is_null, was_null = "null" in answer, "null" in recorded
    return (is_null and not was_null) or (
        was_null and not is_null and answer <= EMPTY and not recorded & (EMPTY - {"null"})
    )


OF_BEFORE = {"-Resources", "-SharedResources", "-TaskResources"}
"""Of allocations: what `AllocatedResources` took the place of."""
TOKENS = {"-ConsulToken", "-VaultToken"}
"""Servers of today have none in a job."""
DIFFERENCES: dict[str, set[str]] = {
    "allocation": {"-NetworkStatus", "!Metrics.ScoreMetaData", *OF_BEFORE},
    "job": {"!TaskGroups[].Consul", "!TaskGroups[].Scaling", *TOKENS},
    # What the tree of a dry run says of the whole job, and its remarks, which nobody reads here.
    "plan": {
        *("!Diff.Fields", "!Diff.Objects", "!Diff.TaskGroups[].Updates"),
        *("!Diff.TaskGroups[].Fields[].Annotations", "!Diff.TaskGroups[].Tasks[].Annotations"),
    },
}
"""Null is what the rest of these may be; in the recorded answers it was not."""


@pytest.mark.parametrize("name", RECORDED)
def test_the_double_answers_as_servers_did(answered: dict[str, Form], name: str) -> None:
    recorded = {place: set(kinds) for place, kinds in RECORDED[name].items()}
    assert differences(answered[name], recorded) == DIFFERENCES.get(name, set())


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"A": [{"B": 1}]}, set()),
        ({"A": [{"B": "1"}]}, {"!A[].B"}),
        ({"A": [{}]}, {"-A[].B"}),
        ({"A": None}, {"!A"}),
        ({}, {"-A"}),
    ],
)
def test_what_differs_is_found(answer: Any, found: set[str]) -> None:
    assert differences(form(answer), form({"A": [{"B": 2}]})) == found
