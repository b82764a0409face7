"""Apps on one cluster: none takes another's routes, nor leads into another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.live.clusters import NomadCluster, both_thorough, cluster
from tests.live.conftest import Project, make_project

pytestmark = pytest.mark.usefixtures("proxy")
Make = Callable[..., Project]
_numbers = itertools.count(1)


@pytest.fixture
def make(
    lab: Lab, lab_env: dict[str, str], tmp_path: Path, worker: str, kind: str
) -> Iterator[Make]:
    """Makes further projects; services are called as said, each like the example's one."""
    made: list[Project] = []

    def one(*services: str, name: str = "", **keys: object) -> Project:
        number = next(_numbers)
        app, where = name or f"n{number}{worker}", cluster(kind, lab)
        project = make_project(tmp_path / str(number), app, lab, lab_env, where)
        web = project.services.pop("web") | {"replicas": 1} | keys
        project.services = {service: dict(web) for service in services or ("web",)}
        project.configure()
        made.append(project)
        return project

    yield one
    for project in made:
        project.run("destroy", "--yes", "--volumes")


def status(project: Project, host: str, wanted: int, path: str = "/") -> int:
    """What the proxy answers, once it has noticed; the last answer where it never is so."""
    deadline = time.monotonic() + 15
    while (code := project.get(path, host)[0]) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return code


@both_thorough
def test_hyphens_take_nobody_off_the_air(make: Make, example_image: str, worker: str) -> None:
    first = make("x-web", name=f"sec{worker}")
    second = make("web", name=f"sec{worker}-x")
    for project in (first, second):
        project.ok("deploy", "--image", example_image)
    time.sleep(3)
    for project in (first, second):
        assert status(project, f"{project.app}.localhost", 200) == 200


def is_enabled(project: Project) -> bool:
    """Whether its service web is served by the proxy, as it stands on the cluster."""
    if not isinstance(project.cluster, NomadCluster):
        return bool(project.live("web")["Spec"]["Labels"]["traefik.enable"] == "true")
    registered = project.cluster.get(f"/v1/service/{project.app}-web")
    return any("traefik.enable=true" in found["Tags"] for found in registered)


@both_thorough
@pytest.mark.thorough
@pytest.mark.load
def test_a_domain_has_one_app(make: Make, example_image: str) -> None:
    host = f"d{time.monotonic_ns()}.example.com"
    first, second = make(domains=[host]), make(domains=[host])
    first.ok("deploy", "--image", example_image)
    assert status(first, host, 200) == 200
    ran = second.run("deploy", "--image", example_image)
    assert (ran.code, ran.error["code"]) == (1, "domain_taken")
    holder = {
        "swarm": f"the service web of the app {first.app}",
        "nomad": f"the service {first.app}-web of the job {first.app}",
    }[first.cluster.name]
    assert holder in ran.error["message"]
    given: dict[str, Any] = {"rate": 50, "seconds": 120, "mix": {"get": 1}, "websockets": 0}
    with first.callers(host=host, **given) as load:
        time.sleep(2)
        second.ok("deploy", "--image", example_image, "--take-over")
        time.sleep(4)
    result = load.result().judged()
    assert result.reasons() == {}, result.story()
    replicas = {second.get("/", host)[1]["x-replica"] for _ in range(20)}
    assert len(replicas) == 1
    assert not is_enabled(first)
    assert first.run("deploy", "--image", example_image).error["code"] == "domain_taken"
    assert second.ok("deploy", "--image", example_image)["changed"] is False


@both_thorough
def test_a_prefix_is_one_of_whole_segments(make: Make, example_image: str) -> None:
    host = f"p{time.monotonic_ns()}.example.com"
    below = make(domains=[host], path_prefix="/api")
    below.ok("deploy", "--image", example_image)
    for path in ("/api", "/api/", "/api/health"):
        assert status(below, host, 200, path) == 200
    for path in ("/apiadmin", "/api.x", "/v1/api", "/"):
        assert below.get(path, host)[0] == 404
    beside = make(domains=[host], path_prefix="/apiadmin")
    beside.ok("deploy", "--image", example_image)
    assert status(beside, host, 200, "/apiadmin/health") == 200
    assert _replica(below, "/api/health", host) != _replica(beside, "/apiadmin/health", host)


def _replica(project: Project, path: str, host: str) -> str:
    return project.get(path, host)[1]["x-replica"]


@both_thorough
def test_no_domains_are_no_way_in(make: Make, example_image: str) -> None:
    project = make(domains=[])
    project.ok("deploy", "--image", example_image)
    time.sleep(3)
    assert project.get("/", f"{project.app}.localhost")[0] == 404
    project.services["web"].pop("domains")
    project.configure()
    ran = project.run("deploy", "--image", example_image)
    assert any("web has no domains" in line for line in ran.data["plan"]["warnings"])
    assert status(project, f"{project.app}.localhost", 200) == 200


def test_short_names_lead_into_no_other_app(make: Make, example_image: str) -> None:
    here = {"placement": {"constraints": ["node.role == manager"]}}
    caller, other = make("web", **here), make("web", "api")
    for project in (caller, other):
        project.ok("deploy", "--image", example_image)

    def finds(name: str) -> bool:
        look = f"import socket; socket.gethostbyname({name!r})"
        command = ("exec", "web", "--json", "--", "python", "-c", look)
        return bool(caller.run(*command, json_output=False).data["exit_code"] == 0)

    assert finds(f"{other.app}_api")
    assert finds("web")
    assert not finds("api")


@both_thorough
@pytest.mark.core
def test_what_the_proxy_answers_itself_fails_the_rollout(make: Make, example_image: str) -> None:
    """A reference that is missing is found by the plan; what only Traefik knows, afterwards."""
    project = make()
    project.ok("deploy", "--image", example_image)
    host = f"{project.app}.localhost"
    router = f"traefik.http.routers.{project.app}_web"
    project.services["web"]["labels"] = {f"{router}.middlewares": "auht"}
    project.configure()
    missing = project.run("deploy", "--image", example_image)
    assert missing.error["code"] == "route_reference_missing"
    middleware = f"traefik.http.middlewares.{project.app}-list"
    project.services["web"]["labels"] = {
        f"{router}.middlewares": f"{project.app}-list",
        f"{middleware}.ipallowlist.sourcerange": "no address",
    }
    project.configure()
    ran = project.run("deploy", "--image", example_image)
    assert (ran.code, ran.error["code"]) == (3, "rolled_back"), ran.stderr
    port = "" if project.cluster.http_port == 80 else f":{project.cluster.http_port}"
    assert f"the proxy itself answers 404 to http://{host}{port}/health" in ran.error["message"]
    assert status(project, host, 200) == 200
    project.services["web"]["labels"] = {
        f"{router}.middlewares": f"{project.app}-list",
        f"{middleware}.ipallowlist.sourcerange": "192.0.2.1/32",
    }
    project.configure()
    done = project.run("deploy", "--image", example_image)
    assert done.code == 0, "an answer that a middleware gives is the app's business"
    assert status(project, host, 403) == 403


@pytest.mark.load
@pytest.mark.thorough
def test_nobody_notices_the_change_of_names(project: Project, load_image: str) -> None:
    """From the names and labels of the version before: APP-SERVICE, short names everywhere."""
    project.deploy(load_image, drain="10s", stop_grace="40s")
    former = [
        option
        for key, value in project.live("web")["Spec"]["Labels"].items()
        if key.startswith("traefik.")
        for old in (f"{project.app}-web",)
        for option in (
            *("--label-rm", key),
            *("--label-add", f"{key}={value}".replace(f"{project.app}_web", old)),
        )
        if f"{project.app}_web" in f"{key}={value}"
    ]
    project.docker("service", "update", "--detach", *former, f"{project.app}_web")
    host = f"{project.app}.localhost"
    assert status(project, host, 200) == 200
    time.sleep(3)
    with project.callers(rate=40, seconds=240, timeout=30) as load:
        time.sleep(2)
        project.deploy(load_image)
        time.sleep(3)
        project.deploy(load_image, env={"ROUND": "2"})
        time.sleep(5)
    result = load.result().judged()
    assert result.reasons() == {}, result.story()
    labels = project.live("web")["Spec"]["Labels"]
    assert f"traefik.http.routers.{project.app}_web.rule" in labels
    assert f"traefik.http.routers.{project.app}-web.rule" not in labels
