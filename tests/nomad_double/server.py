"""The double's HTTP server."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.datastructures import QueryParams
from fastapi.requests import HTTPConnection

from tests.nomad_double import answers, locks, tokens, variables
from tests.nomad_double.catalogue import add_catalogue
from tests.nomad_double.clients import add_clients
from tests.nomad_double.cluster import VERSION, Cluster
from tests.nomad_double.events import add_events
from tests.nomad_double.history import add_history, table
from tests.nomad_double.operations import add_operations
from tests.nomad_double.state import DURATION, LONGEST_WAIT, Json, State
from tests.nomad_double.state import seconds as seconds_of
from tests.nomad_double.variables import Refusal

DURATIONS = re.compile(rf"({DURATION.pattern})+")
TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
LEADER = "127.0.0.1:4647"
MEMBER: Json = {
    "Name": "server-1.global",
    "Addr": "127.0.0.1",
    "Port": 4648,
    "Tags": {"role": "nomad", "region": "global", "dc": "dc1", "build": VERSION},
    "Status": "alive",
    "ProtocolMin": 1,
    "ProtocolMax": 5,
    "ProtocolCur": 2,
    "DelegateMin": 2,
    "DelegateMax": 5,
    "DelegateCur": 4,
}


def make_app(cluster: Cluster) -> FastAPI:
    def check_right(asked: HTTPConnection) -> None:
        what = f"{asked.scope.get('method', 'GET')} {asked.url.path}"
        if not asked.client or not asked.client.port:
            _check_identity(cluster, asked)
        else:
            tokens.check(cluster, asked)
        if cluster.leaderless:
            raise Refusal(500, "No cluster leader")
        if cluster.denied and re.search(cluster.denied, what):
            raise Refusal(403, "Permission denied")

    app = FastAPI(openapi_url=None, dependencies=[Depends(check_right)])
    state = cluster.state

    @app.exception_handler(Refusal)
    def refuse(_: Request, refusal: Refusal) -> Response:
        """Errors are plain text, but for a variable's conflict, which is the variable."""
        if isinstance(refusal.body, str):
            return Response(refusal.body, refusal.status, media_type="text/plain; charset=utf-8")
        return answer(refusal.body, refusal.status)

    @app.get("/v1/status/leader")
    def leader() -> Response:
        return answer(LEADER)

    @app.get("/v1/agent/members")
    def members() -> Response:
        """Servers of all regions, each with its build (nomad/status_endpoint.go)."""
        here = {"ServerName": "server-1", "ServerRegion": "global", "ServerDC": "dc1"}
        return answer({**here, "Members": [MEMBER, *cluster.other_servers]})

    @app.get("/v1/agent/self")
    def agent() -> Response:
        """Of the configuration what is asked for; its `Version` became an object in 0.9
        (command/agent/agent_endpoint.go)."""
        client = {"Enabled": True, "MaxKillTimeout": cluster.longest_kill}
        configuration = {
            "Region": "global",
            "Datacenter": "dc1",
            "NodeName": "server-1",
            "Version": {"Version": VERSION, "VersionPrerelease": "", "VersionMetadata": ""},
            "Client": client,
        }
        return answer({"config": configuration, "member": MEMBER, "stats": {}})

    @app.get("/v1/vars")
    def list_variables(request: Request) -> Response:
        query = request.query_params
        namespace, prefix = namespace_of(request), query.get("prefix", "")
        return blocking(
            state,
            request,
            lambda: (
                variables.listed(state, namespace, prefix),
                state.table_index.get("variables", 1),
            ),
        )

    @app.get("/v1/var/{path:path}")
    def read_variable(path: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = variables.get(state, namespace_of(request), path)
            return found, found["ModifyIndex"]

        return blocking(state, request, read)

    @app.put("/v1/var/{path:path}")
    async def write_variable(path: str, request: Request) -> Response:
        body, space, cas = await request.json(), namespace_of(request), cas_of(request)
        operations = [name for name in locks.OPERATIONS if name in request.query_params]
        if not operations:
            return answer(variables.put(state, space, path, body, cas))
        if cas is not None:
            raise Refusal(400, "CAS can't be used with lock operations")
        if len(operations) > 1:
            raise Refusal(501, f"the double does not know {' and '.join(operations)} together")
        return answer(locks.operate(cluster, space, path, operations[0], body))

    @app.delete("/v1/var/{path:path}")
    def delete_variable(path: str, request: Request) -> Response:
        variables.delete(state, namespace_of(request), path, cas_of(request))
        return Response(status_code=204)

    _add_jobs(app, cluster)
    add_clients(app, cluster)
    add_catalogue(app, state)
    add_events(app, cluster)
    add_history(app, cluster)
    add_operations(app, cluster)
    tokens.add_tokens(app, cluster)
    _add_operator(app, cluster)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    def unknown(path: str) -> Response:
        return Response(f"the double does not know /{path}", 501, media_type="text/plain")

    return app


def _check_identity(cluster: Cluster, asked: HTTPConnection) -> None:
    """On the socket in a task's secrets folder everyone has to say who they are, also where tokens
    are not asked for (command/agent/task_api.go; docs: api-docs/task-api)."""
    token = asked.headers.get("X-Nomad-Token") or asked.headers.get("Authorization", "")
    if token.removeprefix("Bearer ") not in cluster.identities:
        raise Refusal(401, "Unauthorized")


def _add_jobs(app: FastAPI, cluster: Cluster) -> None:
    state = cluster.state

    @app.get("/v1/jobs")
    def jobs(request: Request) -> Response:
        query = request.query_params
        space, prefix = namespace_of(request), query.get("prefix", "")
        has_meta = is_set(query, "meta")
        return table(
            cluster, request, "jobs", lambda: cluster.job_stubs(space, prefix, meta=has_meta)
        )

    @app.get("/v1/allocation/{name}")
    def allocation(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.allocations.get(name)
            if found is None:
                raise Refusal(404, "alloc not found")
            return answers.allocation(found), found["ModifyIndex"]

        return blocking(state, request, read)

    @app.post("/v1/job/{name}")
    @app.put("/v1/job/{name}")
    async def register_as(name: str, request: Request) -> Response:
        body = await request.json()
        if body["Job"]["ID"] != name:
            raise Refusal(400, "Job ID does not match name")
        return answer(cluster.register(namespace_of(request), body))

    @app.post("/v1/jobs")
    @app.put("/v1/jobs")
    async def register(request: Request) -> Response:
        return answer(cluster.register(namespace_of(request), await request.json()))

    @app.post("/v1/job/{name}/plan")
    @app.put("/v1/job/{name}/plan")
    async def plan(name: str, request: Request) -> Response:
        body = await request.json()
        if body["Job"]["ID"] != name:
            raise Refusal(400, "Job ID does not match")
        return answer(cluster.plan(namespace_of(request), body))

    @app.get("/v1/job/{name}")
    def job(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.job(namespace_of(request), name)
            return cluster.shown(found), found["ModifyIndex"]

        return blocking(state, request, read)

    @app.delete("/v1/job/{name}")
    def deregister(name: str, request: Request) -> Response:
        purge = is_set(request.query_params, "purge")
        return answer(cluster.deregister(namespace_of(request), name, purge=purge))

    def of_job(request: Request, name: str, things: dict[str, Json]) -> list[Json]:
        """Lists of a job that there is not are empty. What belongs to a job of the same name that
        was purged is left out, unless `all` asks for it (nomad/state/state_store.go,
        AllocsByJob)."""
        key = namespace_of(request), name
        found = [t for t in things.values() if (t["Namespace"], t["JobID"]) == key]
        job = cluster.jobs.get(key)
        if job is None or is_set(request.query_params, "all"):
            return found
        return [t for t in found if created(t) == job["CreateIndex"]]

    def created(thing: Json) -> int:
        """The index of its job's creation."""
        index: int = thing.get("JobCreateIndex", 0)
        return index or int((thing.get("Job") or {}).get("CreateIndex", 0))

    @app.get("/v1/job/{name}/deployments")
    def deployments(name: str, request: Request) -> Response:
        return table(
            cluster, request, "deployment", lambda: of_job(request, name, cluster.deployments)
        )

    @app.get("/v1/job/{name}/allocations")
    def allocations(name: str, request: Request) -> Response:
        return table(
            cluster,
            request,
            "allocs",
            lambda: list(map(answers.allocation_stub, of_job(request, name, cluster.allocations))),
        )

    @app.get("/v1/job/{name}/evaluations")
    def evaluations(name: str, request: Request) -> Response:
        return table(
            cluster,
            request,
            "evals",
            lambda: list(map(answers.evaluation, of_job(request, name, cluster.evaluations))),
        )

    @app.get("/v1/deployment/{name}")
    def deployment(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = cluster.deployments.get(name)
            if found is None:
                raise Refusal(404, "deployment not found")
            return found, found["ModifyIndex"]

        return blocking(state, request, read)

    @app.get("/v1/allocations")
    def all_allocations(request: Request) -> Response:
        query, space = request.query_params, namespace_of(request)
        resources = is_set(query, "resources")
        states, prefix = is_set(query, "task_states", usual=True), query.get("prefix", "")
        return table(
            cluster,
            request,
            "allocs",
            lambda: [
                answers.allocation_stub(a, resources=resources, states=states)
                for a in cluster.allocations.values()
                if space in ("*", a["Namespace"]) and a["ID"].startswith(prefix)
            ],
        )

    @app.get("/v1/nodes")
    def nodes(request: Request) -> Response:
        query = request.query_params
        resources, system = is_set(query, "resources"), is_set(query, "os")
        return table(
            cluster,
            request,
            "nodes",
            lambda: [
                node.stub(VERSION, resources=resources, system=system)
                for node in cluster.nodes
                if node.id.startswith(query.get("prefix", ""))
            ],
        )

    @app.get("/v1/node/{name}")
    def node(name: str, request: Request) -> Response:
        def read() -> tuple[Json, int]:
            found = next((n for n in cluster.nodes if n.id == name), None)
            if found is None:
                raise Refusal(404, "node not found")
            return found.document(cluster.http_address, VERSION), found.index

        return blocking(state, request, read)


def _add_operator(app: FastAPI, cluster: Cluster) -> None:
    @app.get("/v1/operator/scheduler/configuration")
    def scheduler() -> Response:
        settings = {
            "SchedulerAlgorithm": "binpack",
            "PreemptionConfig": {
                "SystemSchedulerEnabled": True,
                "SysBatchSchedulerEnabled": False,
                "BatchSchedulerEnabled": False,
                "ServiceSchedulerEnabled": False,
            },
            "MemoryOversubscriptionEnabled": cluster.oversubscription,
            "RejectJobRegistration": False,
            "PauseEvalBroker": False,
            "CreateIndex": 5,
            "ModifyIndex": 5,
        }
        return answer(
            {
                "SchedulerConfig": settings,
                "Index": 5,
                "KnownLeader": True,
                "LastContact": 0,
                "NextToken": "",
            }
        )

    @app.get("/v1/namespace/{name}")
    def namespace(name: str) -> Response:
        """Text of the 404: command/agent/namespace_endpoint.go."""
        if name not in cluster.namespaces:
            raise Refusal(404, "Namespace not found")
        return answer(answers.namespace(name), index=1)

    @app.get("/v1/status/peers")
    def peers() -> Response:
        return answer([LEADER])

    @app.get("/v1/regions")
    def regions() -> Response:
        return answer(["global"])


def answer(value: Any, status: int = 200, index: int = 0) -> Response:
    """Keys are sorted, as Nomad's encoder does."""
    headers = {"X-Nomad-Index": str(index), "X-Nomad-KnownLeader": "true"} if index else {}
    text = json.dumps(value, sort_keys=True)
    return Response(text, status, headers=headers, media_type="application/json")


def blocking(state: State, request: Request, read: Callable[[], tuple[Any, int]]) -> Response:
    query = request.query_params
    wait, since = query.get("wait", ""), query.get("index") or "0"
    if wait and not DURATIONS.fullmatch(wait):
        raise Refusal(400, "Invalid wait time")
    if not since.isdecimal():
        raise Refusal(400, "Invalid index")
    value, index = state.wait(read, int(since), seconds_of(wait) or LONGEST_WAIT)
    return answer(value, index=index)


def namespace_of(request: Request) -> str:
    return request.query_params.get("namespace") or "default"


def is_set(query: QueryParams, name: str, *, usual: bool = False) -> bool:
    """As Go reads it: nomad-tools says True, and others 1 (command/agent/http.go, parseBool)."""
    given = query.get(name, "")
    if not given:
        return usual
    if given not in (*TRUE, *FALSE):
        raise Refusal(501, f"the double does not know what is said of {name}={given}")
    return given in TRUE


def cas_of(request: Request) -> int | None:
    given = request.query_params.get("cas")
    return int(given) if given is not None else None


@contextmanager
def running(
    cluster: Cluster,
    *,
    speed: float = 0.0,
    tls: Path | None = None,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    task_api: Path | None = None,
) -> Iterator[str]:
    """The address of a server, on loopback by default. With `speed` its clock runs, so many times
    as fast.
    `tls` is a folder with cert.pem, key.pem and ca.pem, whose certificates clients have to show
    (tls.verify_https_client). `task_api` is where to put the socket that tasks get."""
    with ExitStack() as stack:
        stack.enter_context(ticking(cluster, speed))
        listening = stack.enter_context(socket.create_server(listen))
        cluster.http_address = "{}:{}".format(*listening.getsockname())
        task_socket = stack.enter_context(unix_socket(task_api)) if task_api else None
        with answering(cluster, listening, task_socket, tls):
            yield f"{'https' if tls else 'http'}://{cluster.http_address}"


@contextmanager
def answering(
    cluster: Cluster,
    listening: socket.socket,
    task_socket: socket.socket | None = None,
    tls: Path | None = None,
) -> Iterator[None]:
    """Requests are answered meanwhile. The socket that tasks have stays open: it is their
    client's."""
    sockets = [listening, *([task_socket.dup()] if task_socket else ())]
    settings = uvicorn.Config(
        make_app(cluster),
        log_level="warning",
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
        **_secured(tls),
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def unix_socket(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    path.chmod(0o777)
    return made


def _secured(tls: Path | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl_certfile": str(tls / "cert.pem"),
        "ssl_keyfile": str(tls / "key.pem"),
        "ssl_ca_certs": str(tls / "ca.pem"),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


@contextmanager
def ticking(cluster: Cluster, speed: float) -> Iterator[None]:
    done = threading.Event()

    def tick() -> None:
        before = time.monotonic()
        while not done.wait(0.005):
            now = time.monotonic()
            cluster.advance((now - before) * speed)
            before = now

    thread = threading.Thread(target=tick, daemon=True)
    if speed:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if speed:
            thread.join()
