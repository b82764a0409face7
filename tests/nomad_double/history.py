"""Routes that deploytool does not use and other clients do: versions of jobs, reverting to them,
promoting by hand, summaries, and lists of everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from tests.nomad_double import answers
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.state import Json
from tests.nomad_double.variables import Refusal


def table(cluster: Cluster, request: Request, name: str, read: Callable[[], Any]) -> Response:
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


def _allocations(cluster: Cluster, request: Request, field: str, value: str) -> Response:
    """Those that have a value in a field."""
    return table(
        cluster,
        request,
        "allocs",
        lambda: [
            answers.allocation_stub(a) for a in cluster.allocations.values() if a[field] == value
        ],
    )


def add_history(app: FastAPI, cluster: Cluster) -> None:
    _add_versions(app, cluster)
    _add_deployments(app, cluster)
    _add_evaluations(app, cluster)


def _add_versions(app: FastAPI, cluster: Cluster) -> None:
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

        return table(cluster, request, "jobs", read)

    @app.get("/v1/job/{name}/summary")
    def summary(name: str, request: Request) -> Response:
        job = cluster.job(namespace_of(request), name)
        return table(
            cluster, request, "allocs", lambda: answers.summary(job, cluster.allocations_of(job))
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

    @app.post("/v1/job/{name}/revert")
    @app.put("/v1/job/{name}/revert")
    async def revert(name: str, request: Request) -> Response:
        return answer(cluster.revert(namespace_of(request), name, await request.json()))


def _add_deployments(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, namespace_of

    @app.get("/v1/deployments")
    def deployments(request: Request) -> Response:
        space = namespace_of(request)
        return table(
            cluster, request, "deployment", lambda: _of(request, cluster.deployments, space)
        )

    @app.get("/v1/deployment/allocations/{name}")
    def allocations(name: str, request: Request) -> Response:
        return _allocations(cluster, request, "DeploymentID", name)

    @app.post("/v1/deployment/promote/{name}")
    @app.put("/v1/deployment/promote/{name}")
    async def promote(name: str, request: Request) -> Response:
        body = await request.json()
        return answer(cluster.promote(name, None if body.get("All") else body.get("Groups") or []))


def _add_evaluations(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, blocking, namespace_of

    @app.get("/v1/evaluations")
    def evaluations(request: Request) -> Response:
        space = namespace_of(request)
        return table(
            cluster,
            request,
            "evals",
            lambda: [answers.evaluation(e) for e in _of(request, cluster.evaluations, space)],
        )

    @app.get("/v1/evaluation/{name}")
    def evaluation(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.evaluations.get(name)
            if found is None:
                raise Refusal(404, "eval not found")
            return answers.evaluation(found), found["ModifyIndex"]

        return blocking(cluster.state, request, read)

    @app.get("/v1/evaluation/{name}/allocations")
    def placed(name: str, request: Request) -> Response:
        return _allocations(cluster, request, "EvalID", name)

    @app.get("/v1/namespaces")
    def namespaces() -> Response:
        return answer([answers.namespace(name) for name in sorted(cluster.namespaces)], index=1)
