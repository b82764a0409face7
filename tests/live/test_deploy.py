"""What the product is for, on real clusters: deploying, changing and rolling back."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import closing

import pytest

from deploytool.backends.swarm.api.client import open_client
from deploytool.backends.swarm.api.events import Listener
from tests.live.clusters import both, both_thorough, on_swarm
from tests.live.conftest import Project, registry_digest

pytestmark = pytest.mark.usefixtures("proxy")


@both
def test_build_deploy_change_and_back(project: Project) -> None:
    """The whole way of a developer: build, push, roll out, nothing to do, change, back, gone."""
    project.services["web"]["replicas"] = 4
    project.configure()
    first = project.ok("deploy")
    assert (first["release"], first["changed"]) == ("v1", True)
    assert len(project.replicas_that_answer()) == 4
    assert project.get()[2] == '{"Hello":"World"}'
    before = project.running()

    again = project.ok("deploy")
    assert (again["release"], again["changed"]) == ("v1", False)
    assert project.running() == before

    source = project.folder / "app" / "main.py"
    source.write_text(source.read_text().replace('"World"', '"Cluster"'))
    second = project.ok("deploy")
    assert (second["release"], second["changed"]) == ("v2", True)
    assert project.running().isdisjoint(before)
    assert project.get()[2] == '{"Hello":"Cluster"}'

    repository = f"{project.lab.registry}/{project.app}"
    assert second["images"]["web"] == f"{repository}@{registry_digest(repository, 'latest')}"

    back = project.ok("rollback", "--yes")
    assert back["release"] == "v3"
    assert back["images"] == first["images"]
    assert back["images"]["web"] == f"{repository}@{registry_digest(repository, 'latest')}"
    assert project.get()[2] == '{"Hello":"World"}'

    releases = project.ok("releases")["releases"]
    assert [r["release"] for r in releases] == ["v3", "v2", "v1"]
    assert {r["outcome"] for r in releases} == {"done"}
    assert releases[0]["note"] == "rollback to v1"

    removed = project.ok("destroy", "--yes")["removed"]
    assert removed
    assert project.run("status").error["code"] == "not_deployed"
    assert project.cluster.leftovers(project) == []


@pytest.mark.core
def test_the_engine_tells_of_a_change(deployed: Project) -> None:
    """Which is how a rollout knows of its end before it asks again."""
    name = f"{deployed.app}_web"
    client = open_client(host=deployed.lab.manager.docker_host)
    change = ("service", "update", "--detach", "--label-add", "changed=yes", name)
    changer = threading.Timer(1.0, deployed.docker, change)
    with closing(Listener(client, {name})) as listener:
        changer.start()
        begun = time.monotonic()
        listener.wait(60.0)
        took = time.monotonic() - begun
        changer.join()
    client.api.close()
    assert 0.9 < took < 30


@both
@pytest.mark.thorough
def test_configuration_change_replaces_replicas(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deployed.deploy(example_image, env={"LOG_LEVEL": "debug"})
    assert deployed.running().isdisjoint(before)
    assert "LOG_LEVEL=debug" in deployed.cluster.environment(deployed, "web")
    deployed.ok("rollback", "--yes")
    assert "LOG_LEVEL=debug" not in deployed.cluster.environment(deployed, "web")


@pytest.mark.thorough
def test_label_change_touches_no_replica(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deployed.deploy(example_image, labels={"team": "blue"})
    assert deployed.live("web")["Spec"]["Labels"]["team"] == "blue"
    assert deployed.running() == before


@both_thorough
def test_plan_says_what_deploy_does(deployed: Project, example_image: str) -> None:
    assert deployed.run("plan", "--image", example_image, "--exit-code").code == 0
    deployed.services["web"]["memory"] = "40MiB"
    deployed.configure()
    planned = deployed.run("plan", "--image", example_image, "--exit-code")
    assert planned.code == 5
    (change,) = [c for c in planned.data["changes"] if c["action"] == "update"]
    assert change["fields"] == [{"path": "memory", "before": "32MiB", "after": "40MiB"}]
    deployed.ok("deploy", "--image", example_image)
    assert deployed.run("plan", "--image", example_image, "--exit-code").code == 0


@both
def test_scale_restart_status_and_logs(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    scaled = deployed.run("scale", "web=3")
    assert scaled.code == 0
    says = {"swarm": "sets web back to 2", "nomad": "deploys leave web at 3"}
    assert says[deployed.cluster.name] in scaled.stdout
    assert len(deployed.running()) == 3
    assert before < deployed.running()
    (web,) = deployed.ok("status")["services"]
    assert (web["running"], web["replicas"], web["release"]) == (3, 3, "v1")
    before = deployed.running()
    deployed.ok("restart")
    assert deployed.running().isdisjoint(before)
    logged = deployed.ok("logs", "--tail", "50")["lines"]
    assert {line["service"] for line in logged} == {"web"}
    assert any("is ready" in line["text"] for line in logged)
    if deployed.cluster.name == "swarm":
        assert not checks_in(logged)
        assert checks_in(deployed.ok("logs", "--tail", "50", "--health")["lines"])
    assert deployed.run("scale", "nope=3").error["code"] == "unknown_service"


def checks_in(logged: list[dict[str, str]]) -> list[str]:
    """The replicas' own health checks in their output; not what came by the proxy."""
    texts = (line["text"] for line in logged)
    return [text for text in texts if '"GET /health ' in text and " 127.0.0.1:" in text]


@both_thorough
def test_worker_comes_and_goes(deployed: Project, example_image: str) -> None:
    deployed.services["worker"] = {"command": ["sleep", "1000"], "stop_grace": "1s", "drain": "0s"}
    deployed.configure()
    before = deployed.running()
    deployed.ok("deploy", "--image", example_image)
    assert len(deployed.running("worker")) == 1
    del deployed.services["worker"]
    deployed.configure()
    planned = deployed.ok("plan", "--image", example_image)["changes"]
    assert ("worker", "remove") in {(c["name"], c["action"]) for c in planned}
    deployed.ok("deploy", "--image", example_image)
    assert deployed.running("worker") == set()
    assert deployed.running() == before


@both
@pytest.mark.parametrize("after", [0.0, pytest.param(1.5, marks=pytest.mark.thorough)])
def test_interrupted_deploy_is_finished_by_the_next(
    deployed: Project, example_image: str, after: float
) -> None:
    deployed.services["web"]["env"] = {"ROUND": "2"}
    deployed.configure()
    version = deployed.cluster.version(deployed)
    process = deployed.start("deploy", "--image", example_image)
    deadline = time.monotonic() + 60
    while deployed.cluster.version(deployed) == version and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    finished = deployed.ok("deploy", "--image", example_image)
    assert finished["release"] == "v2"
    outcomes = [r["outcome"] for r in deployed.ok("releases")["releases"]]
    assert outcomes == ["done", "done"]
    assert "ROUND=2" in deployed.cluster.environment(deployed, "web")
    assert len(deployed.running()) == 2


@both_thorough
def test_what_somebody_else_runs_is_left_alone(project: Project, example_image: str) -> None:
    """A stack of the app's name, or a job."""
    with project.cluster.occupied(project, example_image):
        ran = project.run("deploy", "--image", example_image)
        assert (ran.code, ran.error["code"]) == (1, "not_ours")


@on_swarm
@pytest.mark.thorough
def test_a_deploy_right_after_docker_stack_rm(project: Project, example_image: str) -> None:
    """Its network is being removed until the last replica has ended."""
    project.deploy(example_image, replicas=4)
    project.docker("stack", "rm", "--detach=true", project.app)
    project.deploy(example_image)
    assert len(project.replicas_that_answer()) == 4
