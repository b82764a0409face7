"""Routes that deploytool does not use and other clients do: versions of jobs, reverting to them,
promoting by hand, summaries, and lists of everything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from tests.nomad_double import answers
from tests.nomad_double.cluster import ACTIVE, Cluster
from tests.nomad_double.state import Json
from tests.nomad_double.variables import Refusal

COUNTED = {
    "pending": "Starting",
    "running": "Running",
    "complete": "Complete",
    "failed": "Failed",
    "lost": "Lost",
}
"""A client's status → what a summary counts it as (nomad/structs/job.go, TaskGroupSummary)."""


def add_history(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, blocking, namespace_of

    state = cluster.state

    def table(request: Request, name: str, read: Callable[[], Any]) -> Response:
        return blocking(state, request, lambda: (read(), state.table_index.get(name, 1)))

    def versions_of(request: Request, name: str) -> dict[int, Json]:
        found = cluster.versions.get((namespace_of(request), name))
        if found is None:
            raise Refusal(404, "job versions not found")
        return found

    @app.get("/v1/job/{name}/versions")
    def versions(name: str, request: Request) -> Response:
        def read() -> Json:
            found = versions_of(request, name)
            newest_first = [found[number] for number in sorted(found, reverse=True)]
            return {"Versions": newest_first, "Diffs": None}

        return table(request, "jobs", read)

    @app.post("/v1/job/{name}/revert")
    @app.put("/v1/job/{name}/revert")
    async def revert(name: str, request: Request) -> Response:
        """The version is registered anew, and is not stable before its own deployment succeeds
        (nomad/job_endpoint.go, Revert)."""
        body = await request.json()
        space, number = namespace_of(request), int(body["JobVersion"])
        live, found = cluster.job(space, name), versions_of(request, name).get(number)
        prior = body.get("EnforcePriorVersion")
        if found is None:
            raise Refusal(404, f'job "{name}" in namespace "{space}" at version {number} not found')
        if number == live["Version"]:
            raise Refusal(500, f"can't revert to current version: {number}")
        if prior is not None and prior != live["Version"]:
            raise Refusal(
                500, f"Current job has version {live['Version']}; enforcing version {prior}"
            )
        job = copy.deepcopy(found) | {"Stable": False, "Stop": False}
        return answer(cluster.register(space, {"Job": job}))

    @app.get("/v1/job/{name}/summary")
    def summary(name: str, request: Request) -> Response:
        def read() -> Json:
            job = cluster.job(namespace_of(request), name)
            counts = {
                group["Name"]: dict.fromkeys((*COUNTED.values(), "Queued", "Unknown"), 0)
                for group in job["TaskGroups"]
            }
            for allocation in cluster.allocations.values():
                is_of = (allocation["Namespace"], allocation["JobID"]) == (job["Namespace"], name)
                if is_of and allocation["TaskGroup"] in counts:
                    counts[allocation["TaskGroup"]][COUNTED[allocation["ClientStatus"]]] += 1
            return {
                "JobID": name,
                "Namespace": job["Namespace"],
                "Summary": counts,
                "Children": {"Pending": 0, "Running": 0, "Dead": 0},
                "CreateIndex": job["CreateIndex"],
                "ModifyIndex": state.table_index.get("allocs", job["ModifyIndex"]),
            }

        return table(request, "allocs", read)

    @app.get("/v1/job/{name}/deployment")
    def latest(name: str, request: Request) -> Response:
        space = namespace_of(request)

        def read() -> Json | None:
            found = [
                d
                for d in cluster.deployments.values()
                if (d["Namespace"], d["JobID"]) == (space, name)
            ]
            return max(found, key=lambda d: d["CreateIndex"], default=None)

        return table(request, "deployment", read)

    @app.get("/v1/deployments")
    def deployments(request: Request) -> Response:
        return table(request, "deployment", lambda: _listed(request, cluster.deployments))

    @app.get("/v1/deployment/allocations/{name}")
    def of_deployment(name: str, request: Request) -> Response:
        def read() -> list[Json]:
            found = cluster.allocations.values()
            return [answers.allocation_stub(a) for a in found if a["DeploymentID"] == name]

        return table(request, "allocs", read)

    @app.post("/v1/deployment/promote/{name}")
    @app.put("/v1/deployment/promote/{name}")
    async def promote(name: str, request: Request) -> Response:
        """Of all groups, or of those that are named (nomad/state/state_store.go,
        UpdateDeploymentPromotion)."""
        body = await request.json()
        deployment = cluster.deployments.get(name)
        if deployment is None:
            raise Refusal(404, "deployment not found")
        if deployment["Status"] not in ACTIVE:
            raise Refusal(500, "can't promote terminal deployment")
        wanted = None if body.get("All") else set(body.get("Groups") or ())
        with state.changed:
            cluster.promote(deployment, wanted)
        index = deployment["ModifyIndex"]
        return answer(
            {"EvalID": "", "EvalCreateIndex": index, "DeploymentModifyIndex": index, "Index": index}
        )

    @app.get("/v1/evaluations")
    def evaluations(request: Request) -> Response:
        return table(
            request,
            "evals",
            lambda: list(map(answers.evaluation, _listed(request, cluster.evaluations))),
        )

    @app.get("/v1/evaluation/{name}")
    def evaluation(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.evaluations.get(name)
            if found is None:
                raise Refusal(404, "eval not found")
            return answers.evaluation(found), found["ModifyIndex"]

        return blocking(state, request, read)

    @app.get("/v1/evaluation/{name}/allocations")
    def of_evaluation(name: str, request: Request) -> Response:
        def read() -> list[Json]:
            found = cluster.allocations.values()
            return [answers.allocation_stub(a) for a in found if a["EvalID"] == name]

        return table(request, "allocs", read)

    @app.get("/v1/namespaces")
    def namespaces() -> Response:
        return answer([answers.namespace(name) for name in sorted(cluster.namespaces)])


def _listed(request: Request, things: dict[str, Json]) -> list[Json]:
    from tests.nomad_double.server import namespace_of

    space, prefix = namespace_of(request), request.query_params.get("prefix", "")
    return [
        thing
        for name, thing in things.items()
        if space in ("*", thing["Namespace"]) and name.startswith(prefix)
    ]
