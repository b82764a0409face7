"""Routes of what operators do and look at: versions, summaries, deployments, evaluations, scaling,
stops, restarts, signals, and which nodes are given work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from tests.nomad_double import documents
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.nodes import Node
from tests.nomad_double.state import Json
from tests.nomad_double.variables import Refusal


def add_operations(app: FastAPI, cluster: Cluster) -> None:
    _add_jobs(app, cluster)
    _add_deployments(app, cluster)
    _add_evaluations(app, cluster)
    _add_allocations(app, cluster)
    _add_nodes(app, cluster)


def _table(cluster: Cluster, request: Request, name: str, read: Callable[[], Any]) -> Response:
    from tests.nomad_double.server import blocking

    state = cluster.state
    return blocking(state, request, lambda: (read(), state.table_index.get(name, 1)))


def _of(request: Request, things: dict[str, Json], namespace: str) -> list[Json]:
    prefix = request.query_params.get("prefix", "")
    return [
        thing
        for name, thing in things.items()
        if namespace in ("*", thing["Namespace"]) and name.startswith(prefix)
    ]


def _add_jobs(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, blocking, namespace_of

    @app.get("/v1/job/{name}/versions")
    def versions(name: str, request: Request) -> Response:
        """Newest first. Diffs between them are not known here."""
        if request.query_params.get("diffs") == "true":
            raise Refusal(501, "the double does not know the differences between versions")

        def read() -> Json:
            found = cluster.versions.get((namespace_of(request), name))
            if not found:
                raise Refusal(404, "job versions not found")
            return {
                "Versions": [found[number] for number in sorted(found, reverse=True)],
                "Diffs": None,
                "Index": cluster.state.table_index.get("jobs", 1),
                "KnownLeader": True,
                "LastContact": 0,
                "NextToken": "",
            }

        return _table(cluster, request, "jobs", read)

    @app.get("/v1/job/{name}/summary")
    def summary(name: str, request: Request) -> Response:
        job = cluster.job(namespace_of(request), name)
        return _table(
            cluster, request, "allocs", lambda: documents.summary(job, cluster.allocations_of(job))
        )

    @app.get("/v1/job/{name}/deployment")
    def newest(name: str, request: Request) -> Response:
        """The newest deployment, `null` where there is none (command/agent/job_endpoint.go,
        jobLatestDeployment)."""

        def read() -> tuple[Json | None, int]:
            key = namespace_of(request), name
            own = [d for d in cluster.deployments.values() if (d["Namespace"], d["JobID"]) == key]
            found = max(own, key=lambda d: int(d["CreateIndex"]), default=None)
            return found, found["ModifyIndex"] if found else 1

        return blocking(cluster.state, request, read)

    @app.get("/v1/job/{name}/services")
    def services(name: str, request: Request) -> Response:
        key = namespace_of(request), name
        return _table(
            cluster,
            request,
            "services",
            lambda: [
                s for s in cluster.state.services.values() if (s["Namespace"], s["JobID"]) == key
            ],
        )

    @app.post("/v1/job/{name}/revert")
    @app.put("/v1/job/{name}/revert")
    async def revert(name: str, request: Request) -> Response:
        return answer(cluster.revert(namespace_of(request), name, await request.json()))

    @app.post("/v1/job/{name}/scale")
    @app.put("/v1/job/{name}/scale")
    async def scale(name: str, request: Request) -> Response:
        return answer(cluster.scale(namespace_of(request), name, await request.json()))

    @app.get("/v1/job/{name}/scale")
    def scale_status(name: str, request: Request) -> Response:
        space = namespace_of(request)
        return _table(cluster, request, "allocs", lambda: cluster.scale_status(space, name))


def _add_deployments(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, namespace_of

    @app.get("/v1/deployments")
    def deployments(request: Request) -> Response:
        space = namespace_of(request)
        return _table(
            cluster, request, "deployment", lambda: _of(request, cluster.deployments, space)
        )

    @app.get("/v1/deployment/allocations/{name}")
    def allocations(name: str, request: Request) -> Response:
        return _table(
            cluster,
            request,
            "allocs",
            lambda: [
                documents.stub(a) for a in cluster.allocations.values() if a["DeploymentID"] == name
            ],
        )

    @app.post("/v1/deployment/fail/{name}")
    @app.put("/v1/deployment/fail/{name}")
    def fail(name: str) -> Response:
        return answer(cluster.fail(name))

    @app.post("/v1/deployment/pause/{name}")
    @app.put("/v1/deployment/pause/{name}")
    async def pause(name: str, request: Request) -> Response:
        return answer(cluster.pause(name, pause=bool((await request.json()).get("Pause"))))

    @app.post("/v1/deployment/promote/{name}")
    @app.put("/v1/deployment/promote/{name}")
    async def promote(name: str, request: Request) -> Response:
        body = await request.json()
        return answer(cluster.promote(name, None if body.get("All") else body.get("Groups") or []))


def _add_evaluations(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import blocking, namespace_of

    @app.get("/v1/evaluations")
    def evaluations(request: Request) -> Response:
        space = namespace_of(request)
        return _table(
            cluster,
            request,
            "evals",
            lambda: [documents.filled(e) for e in _of(request, cluster.evaluations, space)],
        )

    @app.get("/v1/evaluation/{name}")
    def evaluation(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.evaluations.get(name)
            if found is None:
                raise Refusal(404, "eval not found")
            return documents.filled(found), found["ModifyIndex"]

        return blocking(cluster.state, request, read)

    @app.get("/v1/evaluation/{name}/allocations")
    def placed(name: str, request: Request) -> Response:
        return _table(
            cluster,
            request,
            "allocs",
            lambda: [
                documents.stub(a) for a in cluster.allocations.values() if a["EvalID"] == name
            ],
        )


def _add_allocations(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer

    @app.post("/v1/allocation/{name}/stop")
    @app.put("/v1/allocation/{name}/stop")
    def stop(name: str) -> Response:
        return answer(cluster.stop_allocation(name))

    @app.post("/v1/client/allocation/{name}/restart")
    @app.put("/v1/client/allocation/{name}/restart")
    async def restart(name: str, request: Request) -> Response:
        body = await request.json()
        if body.get("AllTasks"):
            raise Refusal(501, "the double does not know restarts of all tasks")
        cluster.restart_tasks(name, known_task(name, body.get("TaskName") or ""))
        return answer({"Index": 0})

    @app.post("/v1/client/allocation/{name}/signal")
    @app.put("/v1/client/allocation/{name}/signal")
    async def signal(name: str, request: Request) -> Response:
        body = await request.json()
        task = known_task(name, body.get("Task") or "")
        cluster.signal_tasks(name, task, body["Signal"])
        return answer({"Index": 0})

    def known_task(name: str, task: str) -> str:
        if name not in cluster.allocations:
            raise Refusal(404, f'Unknown allocation "{name}"')
        allocation = cluster.allocations[name]
        if allocation["ClientStatus"] != "running":
            raise Refusal(501, "the double does not know what is said of tasks that do not run")
        if task and task not in (allocation["TaskStates"] or {}):
            raise Refusal(501, f"the double does not know what is said of the task {task}")
        return task


def _add_nodes(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer

    @app.post("/v1/node/{name}/eligibility")
    @app.put("/v1/node/{name}/eligibility")
    async def eligibility(name: str, request: Request) -> Response:
        wanted = (await request.json())["Eligibility"]
        return answer(cluster.node_eligibility(node_of(name), eligible=wanted == "eligible"))

    @app.get("/v1/node/{name}/allocations")
    def allocations(name: str, request: Request) -> Response:
        return _table(
            cluster,
            request,
            "allocs",
            lambda: [
                documents.allocation(a) for a in cluster.allocations.values() if a["NodeID"] == name
            ],
        )

    def node_of(name: str) -> Node:
        found = next((node for node in cluster.nodes if node.id == name), None)
        if found is None:
            raise Refusal(501, "the double does not know what is said of a node that is not there")
        return found
