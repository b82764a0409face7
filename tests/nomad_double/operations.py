"""Routes of what operators do: scaling, failing and pausing deployments, stops, restarts, signals,
and which nodes are given work."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from tests.nomad_double import answers, drainer
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.history import table
from tests.nomad_double.nodes import Node
from tests.nomad_double.variables import Refusal


def add_operations(app: FastAPI, cluster: Cluster) -> None:
    _add_jobs(app, cluster)
    _add_deployments(app, cluster)
    _add_allocations(app, cluster)
    _add_nodes(app, cluster)


def _add_jobs(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer, namespace_of

    @app.get("/v1/job/{name}/services")
    def services(name: str, request: Request) -> Response:
        key = namespace_of(request), name
        return table(
            cluster,
            request,
            "services",
            lambda: [
                s for s in cluster.state.services.values() if (s["Namespace"], s["JobID"]) == key
            ],
        )

    @app.post("/v1/job/{name}/scale")
    @app.put("/v1/job/{name}/scale")
    async def scale(name: str, request: Request) -> Response:
        return answer(cluster.scale(namespace_of(request), name, await request.json()))

    @app.get("/v1/job/{name}/scale")
    def scale_status(name: str, request: Request) -> Response:
        space = namespace_of(request)
        return table(cluster, request, "allocs", lambda: cluster.scale_status(space, name))


def _add_deployments(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer

    @app.post("/v1/deployment/fail/{name}")
    @app.put("/v1/deployment/fail/{name}")
    def fail(name: str) -> Response:
        return answer(cluster.fail(name))

    @app.post("/v1/deployment/pause/{name}")
    @app.put("/v1/deployment/pause/{name}")
    async def pause(name: str, request: Request) -> Response:
        return answer(cluster.pause(name, pause=bool((await request.json()).get("Pause"))))


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

    @app.post("/v1/node/{name}/drain")
    @app.put("/v1/node/{name}/drain")
    async def drain(name: str, request: Request) -> Response:
        """Without a specification the draining ends (command/agent/node_endpoint.go)."""
        body = await request.json()
        found = node_of(name)
        with cluster.state.changed:
            drainer.drain(cluster, found, body.get("DrainSpec"))
            if body.get("MarkEligible"):
                drainer.set_eligible(cluster, found, eligible=True)
        return node_changed(found)

    @app.post("/v1/node/{name}/eligibility")
    @app.put("/v1/node/{name}/eligibility")
    async def eligibility(name: str, request: Request) -> Response:
        """Whether a node is given allocations; what it runs stays (nomad/node_endpoint.go)."""
        wanted = (await request.json())["Eligibility"]
        found = node_of(name)
        with cluster.state.changed:
            drainer.set_eligible(cluster, found, eligible=wanted == "eligible")
        return node_changed(found)

    def node_changed(node: Node) -> Response:
        index = {"Index": node.index, "NodeModifyIndex": node.index}
        return answer({"EvalCreateIndex": 0, "EvalIDs": None, **index})

    @app.get("/v1/node/{name}/allocations")
    def allocations(name: str, request: Request) -> Response:
        return table(
            cluster,
            request,
            "allocs",
            lambda: [
                answers.allocation(a) for a in cluster.allocations.values() if a["NodeID"] == name
            ],
        )

    def node_of(name: str) -> Node:
        found = next((node for node in cluster.nodes if node.id == name), None)
        if found is None:
            raise Refusal(501, "the double does not know what is said of a node that is not there")
        return found
