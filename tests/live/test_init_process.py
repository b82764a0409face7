"""What runs as number 1 of a container, and values that look like templates, on real engines."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, Node
from tests.lab.process import living
from tests.live.conftest import Project, make_project

QUICK: dict[str, Any] = {
    "stop_grace": "20s",
    "update": {"monitor": "1s"},
    "restart": {"delay": "1s"},
}
IDLE = ["python", "-c", "import time\nwhile True: time.sleep(1)"]
"""A worker without a handler for SIGTERM."""


def worker(command: list[str], **keys: Any) -> dict[str, dict[str, Any]]:
    return {"worker": QUICK | {"command": command} | keys}


@pytest.fixture
def mixed(
    lab: Lab, lab_env: dict[str, str], tmp_path: Path, worker_number: int
) -> Iterator[tuple[Project, Node]]:
    """A project on a Swarm of its own, whose second node has no docker-init, and that node. What
    one service has found out about a node counts for all of its Swarm."""
    manager, lacking = (
        Node(
            index + worker_number,
            lab.network,
            lab.engine,
            tmp_path / str(index),
            lab.manager.docker_config,
        )
        for index in (60, 80)
    )
    try:
        for node in (manager, lacking):
            (node.folder / "data").mkdir(parents=True)
            node.start()
        hide_init(lacking)
        manager.docker("swarm", "init", "--advertise-addr", manager.address)
        token = manager.docker("swarm", "join-token", "-q", "worker").strip()
        lacking.docker("swarm", "join", "--token", token, f"{manager.address}:2377")
        env = lab_env | {"DOCKER_HOST": manager.docker_host}
        yield make_project(tmp_path / "project", "mixed", lab, env), lacking
    finally:
        for node in (lacking, manager):
            node.remove()


@pytest.fixture
def worker_number(worker: str) -> int:
    return int(worker.removeprefix("gw") or 0)


def hide_init(node: Node) -> None:
    """Let an engine find no docker-init, as where the package was not installed."""
    pid = living(node.pid_file)
    names = (node.engine.bin / "docker-init", Path("/usr/bin/docker-init"))
    for program in {name.resolve() for name in names if name.exists()}:
        hide = ["mount", "--bind", "/dev/null", str(program)]
        subprocess.run(["nsenter", f"--mount=/proc/{pid}/ns/mnt", *hide], check=True)
    assert node.info("{{.InitCommit.ID}}") == "N/A"


def on(node: Node) -> dict[str, Any]:
    return {"placement": {"constraints": [f"node.hostname == {node.name}"]}}


def has_init(project: Project, service: str = "worker") -> bool:
    return bool(project.live(service)["Spec"]["TaskTemplate"]["ContainerSpec"].get("Init"))


def test_a_worker_without_a_handler_stops_at_once(project: Project, example_image: str) -> None:
    project.services = worker(IDLE, **on(project.lab.manager))
    project.configure()
    project.ok("deploy", "--image", example_image)
    (first,) = project.running("worker")
    project.services["worker"]["env"] = {"CHANGE": "1"}
    project.configure()
    started = time.monotonic()
    project.ok("deploy", "--image", example_image)
    while _state(project, first) == "running":
        assert time.monotonic() - started < 15, "it is killed only after its grace"
        time.sleep(0.2)
    (second,) = project.running("worker")
    assert second != first


def _state(project: Project, task: str) -> str:
    return project.docker(
        "inspect", "--type", "task", "--format", "{{.Status.State}}", task
    ).strip()


def test_orphans_are_reaped(project: Project, example_image: str) -> None:
    orphans = "import subprocess, time; subprocess.run(['sh', '-c', '(sleep 0.3 &) ; exit 0']); "
    project.services = worker(["python", "-c", f"{orphans}time.sleep(1000)"])
    project.services["worker"] |= on(project.lab.manager)
    project.configure()
    project.ok("deploy", "--image", example_image)
    time.sleep(1)
    states = ["exec", "worker", "--", "sh", "-c", "cat /proc/[0-9]*/stat"]
    found = project.run(*states, json_output=False)
    assert found.code == 0, found.stderr
    assert [line for line in found.stdout.splitlines() if line.split()[2] == "Z"] == []
    assert "(docker-init)" in found.stdout


def test_a_node_without_docker_init_breaks_nothing(
    mixed: tuple[Project, Node], example_image: str
) -> None:
    """A first deploy with a release step, one-off tasks, an update, and who insists."""
    project, lacking = mixed
    project.services = worker(IDLE, replicas=2, drain="0s", stop_grace="3s", **on(lacking))
    project.extra["release"] = {"command": ["true"], "service": "worker"}
    project.configure()
    first = project.run("deploy", "--image", example_image, json_output=False)
    assert first.code == 0, first.stderr
    assert f"continues without an init, as {lacking.name} has no docker-init" in first.stderr
    assert not has_init(project)
    again = project.run("plan", "--exit-code", "--image", example_image)
    assert again.code == 0, again.stdout
    warnings = " ".join(json.loads(again.stdout)["warnings"])
    assert f"{lacking.name} has no docker-init" in warnings
    task = project.run("run", "--json", "--", "true", json_output=False)
    assert task.code == 0, task.stdout

    project.services["worker"]["init"] = True
    project.configure()
    insists = project.run("deploy", "--image", example_image)
    assert insists.error["code"] == "job_not_started"
    assert "docker-init" in insists.error["message"]
    del project.extra["release"]
    project.configure()
    insists = project.run("deploy", "--image", example_image)
    assert insists.code == 3
    assert "install it there, or set init = false" in json.dumps(insists.error, ensure_ascii=False)


def test_an_update_goes_on_where_a_node_has_no_docker_init(
    mixed: tuple[Project, Node], example_image: str
) -> None:
    """The release before ran without an init, as those of older versions of deploytool did."""
    project, lacking = mixed
    project.services = worker(
        IDLE, init=False, replicas=2, drain="0s", stop_grace="3s", **on(lacking)
    )
    project.configure()
    project.ok("deploy", "--image", example_image)
    del project.services["worker"]["init"]
    project.services["worker"]["env"] = {"CHANGE": "1"}
    project.configure()
    project.ok("deploy", "--image", example_image)
    assert not has_init(project)
    assert project.ok("releases")["releases"][0]["outcome"] == "done"
    status = project.ok("status")["services"][0]
    assert (status["running"], status["missing"]) == (2, 0)


def test_values_arrive_as_they_are_written(project: Project, example_image: str) -> None:
    given = {"GREETING": "{% raw %}{{ user }}", "API_TOKEN": "sk-123{{4}x", "ODD": "{{{`{{`}}-}"}
    project.services = worker(
        IDLE,
        env=given | {"NODE": "{{.Node.Hostname}}", "AS_IS": "{{.Node.Hostname}}"},
        templates=["env.NODE"],
        volumes=["data:/data/{{x}}"],
        user="0",
        **on(project.lab.manager),
    )
    project.configure()
    project.ok("deploy", "--image", example_image)
    reads = "import json, os; print(json.dumps([dict(os.environ), os.listdir('/data')]))"
    found = project.run("exec", "worker", "--", "python", "-c", reads, json_output=False)
    environment, folders = json.loads(found.stdout)
    assert {name: environment[name] for name in given} == given
    assert environment["AS_IS"] == "{{.Node.Hostname}}"
    assert environment["NODE"] == project.lab.manager.name
    assert folders == ["{{x}}"]
    assert project.run("plan", "--exit-code", "--image", example_image).code == 0


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{hunter2}}", "config_invalid"),
        # What only Go sees.
        ('{{index .Node.ID "hunter2"}}', "template_invalid"),
    ],
)
def test_a_template_that_is_none_tells_nothing(
    project: Project, example_image: str, template: str, code: str
) -> None:
    project.services = worker(IDLE, env={"API_TOKEN": template}, templates=["env.API_TOKEN"])
    project.configure()
    with project.start("deploy", "--image", example_image, "--verbose", "--json") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert json.loads(stdout)["error"]["code"] == code
    assert "Traceback" in stderr, "what is shown of where it failed tells nothing either"
    assert "hunter2" not in stdout + stderr


def test_an_image_with_nothing_but_a_program_has_an_init(
    project: Project, example_image: str
) -> None:
    """No /sbin, no shell, another user, and files that are read-only."""
    image = f"{project.lab.registry}/traefik:v3.7"
    project.services = {
        "bare": QUICK
        | {"image": image, "command": ["/entrypoint.sh", "--ping=true"], "user": "1:1"}
    }
    project.configure()
    project.ok("deploy", "--image", example_image)
    assert has_init(project, "bare")
