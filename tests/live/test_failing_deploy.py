"""A deploy that fails leaves what was there, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.clusters import both, both_thorough
from tests.live.conftest import Project, Ran

pytestmark = pytest.mark.usefixtures("proxy")
CRASH = ["python", "-c", "print('no database', flush=True); raise SystemExit(3)"]


def attempt(project: Project, image: str, *options: str, **changes: Any) -> Ran:
    """A release of an image, with other settings of its service, however it ends."""
    project.services["web"].update(changes)
    project.configure()
    return project.run("deploy", "--image", image, *options)


def rolled_back(project: Project, image: str, **changes: Any) -> dict[str, Any]:
    """What is said of one that goes back."""
    ran = attempt(project, image, **changes)
    assert ran.code == 3, ran.stdout + ran.stderr
    return ran.error


@both
@pytest.mark.thorough
def test_unhealthy_rolls_back(deployed: Project, example_image: str) -> None:
    """Not one of the replicas that serve is touched, and the new ones count as failed: what ends
    with 0 when it is stopped would count as started."""
    deployed.deploy(example_image, drain="3s")
    before = deployed.running()
    check = {"path": "/nowhere", "start_period": "1s", "interval": "1s", "retries": 2}
    error = rolled_back(deployed, example_image, healthcheck=check)
    assert "its health check failed" in error["message"]
    assert any("/nowhere" in line for line in error["details"])
    assert deployed.running() == before


@both_thorough
@pytest.mark.core
def test_memory_limit_hit_rolls_back(deployed: Project, example_image: str) -> None:
    eat = "x = [b'x' * 10**6 for _ in range(10**4)]"
    error = rolled_back(deployed, example_image, command=["python", "-c", eat])
    assert "memory" in error["message"]


@both
@pytest.mark.thorough
def test_command_that_does_not_exist(deployed: Project, example_image: str) -> None:
    error = rolled_back(deployed, example_image, command=["no-such-program"])
    assert "the command was not found" in error["message"]


@both
@pytest.mark.thorough
def test_first_deploy_that_fails_leaves_nothing(project: Project, example_image: str) -> None:
    ran = attempt(project, example_image, command=CRASH)
    assert ran.code == 1, ran.stdout + ran.stderr
    assert ran.error["code"] == "rollout_failed"
    assert "exit code 3" in ran.error["message"]
    assert project.run("status").error["code"] == "not_deployed"
    del project.services["web"]["command"]
    project.configure()
    assert project.ok("deploy", "--image", example_image)["release"] == "v2"


@pytest.mark.thorough
def test_destroy_removes_what_a_first_deploy_that_failed_left(
    project: Project, example_image: str
) -> None:
    value = project.folder / "value"
    value.write_text("x")
    project.ok("secrets", "set", "DB", "--file", str(value))
    on_the_manager = {"constraints": ["node.role == manager"]}
    keys = {"secrets": ["DB"], "volumes": ["data:/data"], "placement": on_the_manager}
    ran = attempt(project, example_image, command=CRASH, **keys)
    assert ran.error["code"] == "rollout_failed", ran.stdout + ran.stderr
    done = project.ok("destroy", "--yes")
    assert f"network {project.app}_default" in done["removed"]
    assert f"secret {project.app}_DB.1" in done["removed"]
    assert done["kept"] == [f"volume {project.app}_data"]
    again = project.run("destroy", "--yes")
    assert again.error["code"] == "not_deployed"
    assert f"volume {project.app}_data" in again.error["hint"]
    assert project.ok("destroy", "--yes", "--volumes")["removed"] == done["kept"]
    for kind in ("network", "config", "secret", "volume"):
        assert f"{project.app}_" not in project.docker(kind, "ls")


@both_thorough
def test_one_failing_service_takes_all_back(deployed: Project, example_image: str) -> None:
    """A release is one thing: a service that came up goes back when another does not."""
    deployed.services["worker"] = {"command": CRASH, "restart": {"delay": "0s"}}
    error = rolled_back(deployed, example_image, env={"NEW": "1"})
    assert "worker.1" in error["message"]
    assert deployed.cluster.running(deployed, "worker") == set()
    assert "NEW=1" not in deployed.cluster.environment(deployed, "web")
    assert deployed.get()[0] == 200


@pytest.mark.thorough
def test_pause_leaves_it_to_look_at(deployed: Project, example_image: str) -> None:
    deployed.services["web"]["update"]["on_failure"] = "pause"
    deployed.deploy(example_image)
    ran = attempt(deployed, example_image, command=CRASH)
    assert (ran.code, ran.error["code"]) == (1, "rollout_paused"), ran.stdout + ran.stderr
    assert deployed.live("web")["UpdateStatus"]["State"] == "paused"
    del deployed.services["web"]["command"]
    deployed.deploy(example_image)
    assert deployed.replicas_that_answer()


@pytest.mark.thorough
def test_rollback_from_what_was_left_brings_what_served(
    deployed: Project, example_image: str
) -> None:
    deployed.services["web"]["update"]["on_failure"] = "pause"
    deployed.deploy(example_image, env={"ROUND": "2"})
    ran = attempt(deployed, example_image, command=CRASH, env={"ROUND": "3"})
    assert ran.error["code"] == "rollout_paused", ran.stdout + ran.stderr
    deployed.ok("rollback", "--yes")
    assert deployed.ok("releases")["releases"][0]["note"] == "rollback to v2"
    assert "ROUND=2" in deployed.live("web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    assert deployed.replicas_that_answer()


@both
@pytest.mark.thorough
def test_deadline_goes_back(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    ran = attempt(deployed, example_image, "--timeout", "6s", command=["sleep", "1000"])
    assert (ran.code, ran.error["code"]) == (4, "timed_out"), ran.stdout + ran.stderr
    assert "the previous release serves" in ran.error["message"]
    assert deployed.running() == before


@both_thorough
def test_what_cannot_work_changes_nothing(deployed: Project, example_image: str) -> None:
    version = deployed.cluster.version(deployed)
    cases: list[tuple[dict[str, object], str]] = [
        ({"memory": "900GiB", "memory_limit": None}, "does_not_fit"),
        ({"placement": {"constraints": ["node.labels.disk == ssd"]}}, "no_suitable_node"),
        ({"secrets": ["NO_SUCH"]}, "secret_missing"),
    ]
    if deployed.cluster.name == "swarm":
        cases += [
            ({"networks": ["no-such-network"]}, "network_missing"),
            ({"publish": {"port": 80, "mode": "ingress"}}, "port_taken"),
        ]
    good = dict(deployed.services["web"])
    for change, code in cases:
        deployed.services["web"] = good | change
        deployed.configure()
        ran = deployed.run("deploy", "--image", example_image)
        assert (ran.code, ran.error["code"]) == (1, code), ran.stdout + ran.stderr
        assert ran.error["hint"]
    assert deployed.cluster.version(deployed) == version
