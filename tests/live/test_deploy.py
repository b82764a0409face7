"""What the product is for, on a real Swarm: deploying, changing, failing and going back."""

from __future__ import annotations

import signal
import time

import pytest

from tests.live.conftest import Project

pytestmark = pytest.mark.usefixtures("proxy")
CRASH = ["python", "-c", "print('no database', flush=True); raise SystemExit(3)"]


@pytest.fixture
def deployed(project: Project, example_image: str) -> Project:
    """A project whose first release runs, of an image that was built before."""
    project.ok("deploy", "--image", example_image)
    return project


def deploy(project: Project, image: str, **changes: object) -> None:
    project.services["web"].update(changes)
    project.configure()
    project.ok("deploy", "--image", image)


@pytest.mark.core
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

    back = project.ok("rollback", "--yes")
    assert back["release"] == "v3"
    assert back["images"] == first["images"]
    assert project.get()[2] == '{"Hello":"World"}'

    releases = project.ok("releases")["releases"]
    assert [r["release"] for r in releases] == ["v3", "v2", "v1"]
    assert {r["outcome"] for r in releases} == {"done"}
    assert releases[0]["note"] == "rollback to v1"

    removed = project.ok("destroy", "--yes")["removed"]
    assert f"service {project.app}_web" in removed
    assert project.run("status").error["code"] == "not_deployed"
    assert project.app not in project.docker("network", "ls")
    assert project.app not in project.docker("config", "ls")


def test_configuration_change_replaces_replicas(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deploy(deployed, example_image, env={"LOG_LEVEL": "debug"})
    assert deployed.running().isdisjoint(before)
    assert "LOG_LEVEL=debug" in deployed.live("web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    deployed.ok("rollback", "--yes")
    container = deployed.live("web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert not any(variable.startswith("LOG_LEVEL") for variable in container["Env"])


def test_label_change_touches_no_replica(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deploy(deployed, example_image, labels={"team": "blue"})
    assert deployed.live("web")["Spec"]["Labels"]["team"] == "blue"
    assert deployed.running() == before


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


@pytest.mark.core
def test_scale_restart_status_and_logs(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    scaled = deployed.run("scale", "web=3")
    assert scaled.code == 0
    assert "sets web back to 2" in scaled.stdout
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
    assert deployed.run("scale", "nope=3").error["code"] == "unknown_service"


def test_crash_at_start_rolls_back(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deployed.services["web"]["command"] = CRASH
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert ran.code == 3, ran.stdout + ran.stderr
    assert ran.error["code"] == "rolled_back"
    assert "exit code 3" in ran.error["message"]
    assert any("no database" in line for line in ran.error["details"])
    assert deployed.running() == before
    assert deployed.get()[0] == 200
    assert deployed.ok("releases")["releases"][0]["outcome"] == "rolled_back"
    del deployed.services["web"]["command"]
    deploy(deployed, example_image, env={"MENDED": "yes"})


def test_unhealthy_rolls_back(deployed: Project, example_image: str) -> None:
    """Not one of the replicas that serve is touched, and the new ones count as failed: what ends
    with 0 when it is stopped would count as started."""
    deploy(deployed, example_image, drain="3s")
    before = deployed.running()
    deployed.services["web"]["healthcheck"] = {
        "path": "/nowhere",
        "start_period": "1s",
        "interval": "1s",
        "retries": 2,
    }
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert ran.code == 3, ran.stdout + ran.stderr
    assert "its health check failed" in ran.error["message"]
    assert any("/nowhere" in line for line in ran.error["details"])
    assert deployed.running() == before, deployed.docker(
        "service", "ps", "--no-trunc", f"{deployed.app}_web"
    )


@pytest.mark.core
def test_memory_limit_hit_rolls_back(deployed: Project, example_image: str) -> None:
    eat = "x = [b'x' * 10**6 for _ in range(10**4)]"
    deployed.services["web"]["command"] = ["python", "-c", eat]
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert ran.code == 3, ran.stdout + ran.stderr
    assert "memory" in ran.error["message"]


def test_command_that_does_not_exist(deployed: Project, example_image: str) -> None:
    deployed.services["web"]["command"] = ["no-such-program"]
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert ran.code == 3, ran.stdout + ran.stderr
    assert "the command was not found" in ran.error["message"]


def test_image_that_does_not_exist_changes_nothing(deployed: Project) -> None:
    before = deployed.live("web")["Version"]
    ran = deployed.run("deploy", "--image", f"{deployed.lab.registry}/example:no-such-tag")
    assert (ran.code, ran.error["code"]) == (1, "image_missing")
    assert deployed.live("web")["Version"] == before


def test_first_deploy_that_fails_leaves_nothing(project: Project, example_image: str) -> None:
    project.services["web"]["command"] = CRASH
    project.configure()
    ran = project.run("deploy", "--image", example_image)
    assert ran.code == 1, ran.stdout + ran.stderr
    assert ran.error["code"] == "rollout_failed"
    assert "exit code 3" in ran.error["message"]
    assert project.app not in project.docker("service", "ls")
    del project.services["web"]["command"]
    project.configure()
    assert project.ok("deploy", "--image", example_image)["release"] == "v2"


def test_one_failing_service_takes_all_back(deployed: Project, example_image: str) -> None:
    """A release is one thing: a service that came up goes back when another does not."""
    before = deployed.running()
    deployed.services["web"]["env"] = {"NEW": "1"}
    deployed.services["worker"] = {"command": CRASH, "restart": {"delay": "0s"}}
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert ran.code == 3, ran.stdout + ran.stderr
    assert "worker.1" in ran.error["message"]
    assert f"{deployed.app}_worker" not in deployed.docker("service", "ls")
    container = deployed.live("web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert "NEW=1" not in container["Env"]
    assert before
    assert deployed.get()[0] == 200


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
    assert f"{deployed.app}_worker" not in deployed.docker("service", "ls")
    assert deployed.running() == before


def test_pause_leaves_it_to_look_at(deployed: Project, example_image: str) -> None:
    deployed.services["web"]["update"]["on_failure"] = "pause"
    deploy(deployed, example_image)
    deployed.services["web"]["command"] = CRASH
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image)
    assert (ran.code, ran.error["code"]) == (1, "rollout_paused"), ran.stdout + ran.stderr
    assert deployed.live("web")["UpdateStatus"]["State"] == "paused"
    del deployed.services["web"]["command"]
    deploy(deployed, example_image)
    assert deployed.replicas_that_answer()


def test_deadline_goes_back(deployed: Project, example_image: str) -> None:
    before = deployed.running()
    deployed.services["web"]["command"] = ["sleep", "1000"]
    deployed.configure()
    ran = deployed.run("deploy", "--image", example_image, "--timeout", "6s")
    assert (ran.code, ran.error["code"]) == (4, "timed_out"), ran.stdout + ran.stderr
    assert "the previous release serves" in ran.error["message"]
    assert deployed.running() == before


@pytest.mark.parametrize("after", [0.0, 1.5])
def test_interrupted_deploy_is_finished_by_the_next(
    deployed: Project, example_image: str, after: float
) -> None:
    deployed.services["web"]["env"] = {"ROUND": "2"}
    deployed.configure()
    version = deployed.live("web")["Version"]
    process = deployed.start("deploy", "--image", example_image)
    deadline = time.monotonic() + 60
    while deployed.live("web")["Version"] == version and time.monotonic() < deadline:
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
    container = deployed.live("web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert "ROUND=2" in container["Env"]
    assert len(deployed.running()) == 2


def test_what_cannot_work_changes_nothing(deployed: Project, example_image: str) -> None:
    version = deployed.live("web")["Version"]
    cases: list[tuple[dict[str, object], str]] = [
        ({"memory": "900GiB", "memory_limit": None}, "does_not_fit"),
        ({"placement": {"constraints": ["node.labels.disk == ssd"]}}, "no_suitable_node"),
        ({"networks": ["no-such-network"]}, "network_missing"),
        ({"secrets": ["NO_SUCH"]}, "secret_missing"),
        ({"publish": {"port": 80, "mode": "ingress"}}, "port_taken"),
    ]
    good = dict(deployed.services["web"])
    for change, code in cases:
        deployed.services["web"] = good | change
        deployed.configure()
        ran = deployed.run("deploy", "--image", example_image)
        assert (ran.code, ran.error["code"]) == (1, code), ran.stdout + ran.stderr
        assert ran.error["hint"]
    assert deployed.live("web")["Version"] == version


def test_a_stack_of_somebody_else_is_left_alone(project: Project, example_image: str) -> None:
    label = f"com.docker.stack.namespace={project.app}"
    name = f"{project.app}_other"
    project.docker(
        *("service", "create", "--detach", "--quiet", "--name", name, "--label", label),
        *("--replicas", "0", example_image),
    )
    try:
        ran = project.run("deploy", "--image", example_image)
        assert (ran.code, ran.error["code"]) == (1, "not_ours")
    finally:
        project.docker("service", "rm", name)


def test_secrets_are_files_and_never_shown(project: Project, example_image: str) -> None:
    secret = project.folder / "value"
    secret.write_text("s3cr3t-value")
    project.docker("secret", "create", f"{project.app}_TOKEN", str(secret))
    read = "import pathlib,time;print(len(pathlib.Path('/run/secrets/TOKEN').read_text()));"
    project.services = {
        "worker": {
            "command": ["python", "-uc", f"{read}time.sleep(1000)"],
            "secrets": ["TOKEN"],
            "stop_grace": "1s",
            "drain": "0s",
        }
    }
    project.configure()
    try:
        ran = project.run("deploy", "--image", example_image, "--verbose")
        assert ran.code == 0, ran.stdout + ran.stderr
        assert "s3cr3t-value" not in ran.stdout + ran.stderr
        assert [line["text"] for line in project.ok("logs")["lines"]] == ["12"]
    finally:
        project.run("destroy", "--yes")
        project.docker("secret", "rm", f"{project.app}_TOKEN")
