"""A release that does not work: the one before serves on, and the error says why."""

from __future__ import annotations

import subprocess

import pytest

from tests.live.clusters import both
from tests.live.conftest import Ran
from tests.live.faults.conftest import Case, Faulty, python, write

pytestmark = both
HUNGRY = "x = []\nwhile True: x.append(bytearray(8 << 20))"


@pytest.mark.core
def test_crash_at_start(app: Faulty) -> None:
    case = Case(app, "the process ends at its start", (3,), "rolled_back", "exit code 3")
    app.configure({"command": python("print('no database'); raise SystemExit(3)")})
    ran = case.run(app.deploy)
    assert "no database" in " ".join(ran.error["details"])
    assert app.project.ok("releases")["releases"][1]["outcome"] == "rolled_back"


def test_crash_after_seconds(app: Faulty) -> None:
    """Before it is healthy nobody is sent there."""
    slow = "import time; print('connecting'); time.sleep(3); raise SystemExit('no database')"
    case = Case(app, "the process ends after 3 s", (3,), "rolled_back", "exit code 1")
    app.configure({"command": python(slow)})
    case.run(app.deploy)


def test_never_healthy(app: Faulty) -> None:
    check = {"path": "/nowhere", "start_period": "1s", "interval": "1s", "retries": 2}
    case = Case(app, "the health check never succeeds", (3,), "rolled_back", "health")
    app.configure({"healthcheck": check})
    case.run(app.deploy)


def test_out_of_memory(app: Faulty) -> None:
    case = Case(app, "it uses more than `memory_limit`", (3,), "rolled_back", "memory")
    app.configure({"command": python(HUNGRY)})
    case.run(app.deploy)


def test_wrong_port(app: Faulty) -> None:
    command = ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "9000"]
    check = {"path": "/health", "start_period": "2s", "interval": "1s", "retries": 2}
    case = Case(app, "the process listens on another port", (3,), "rolled_back", "health")
    app.configure({"command": command, "healthcheck": check})
    case.run(app.deploy)


def test_nodes_cannot_pull(app: Faulty) -> None:
    """The image exists, but two of three nodes cannot reach the registry."""
    image = another_image(app)
    says = "Failed to pull" if app.is_on_nomad else "No such image"
    case = Case(app, "nodes cannot pull the image", (3,), "rolled_back", says)
    app.configure()
    rule = ("OUTPUT", "-p", "tcp", "--dport", "5000", "-j", "REJECT")

    def deploy() -> Ran:
        workers = app.lab.nodes[1:]
        for node in workers:
            node.run("iptables", "-I", *rule)
        try:
            return app.deploy(image=image)
        finally:
            for node in workers:
                node.run("iptables", "-D", *rule)

    case.run(deploy)


def another_image(app: Faulty) -> str:
    """One that no node but the manager's has."""
    project = app.project
    source = project.folder / "other"
    write(source, "Dockerfile", f"FROM {app.image.partition('@')[0]}\nENV OTHER=1\n")
    name = f"{app.lab.registry}/other:{app.project.app}"
    subprocess.run(
        ["docker", "build", "-q", "-t", name, str(source)],
        env=project.env,
        check=True,
        capture_output=True,
        timeout=120,
    )
    project.docker("push", "-q", name)
    return name


def test_image_that_does_not_exist(app: Faulty) -> None:
    case = Case(app, "the image does not exist", (1,), "image_missing", "does not exist")
    app.configure()

    def deploy() -> Ran:
        before = app.project.cluster.version(app.project)
        ran = app.deploy(image=f"{app.lab.registry}/items:nope")
        assert app.project.cluster.version(app.project) == before
        return ran

    case.run(deploy)


def test_wrong_architecture(app: Faulty) -> None:
    """Built for another kind of processor than any node has."""
    folder = app.project.folder / "arm"
    write(folder, "Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    name = f"{app.lab.registry}/arm:{app.project.app}"
    app.project.docker(
        *("buildx", "build", "--platform", "linux/arm64", "--provenance=false"),
        *("--push", "-t", name, str(folder)),
    )
    says = "arm64" if app.is_on_nomad else "linux/arm64"
    case = Case(app, "the image is for another architecture", (1,), "no_suitable_node", says)
    app.configure()
    case.run(lambda: app.deploy(image=name))


def test_no_node_meets_the_constraints(app: Faulty) -> None:
    says = "3 nodes do not meet" if app.is_on_nomad else "does not meet"
    case = Case(app, "no node meets the constraints", (1,), "no_suitable_node", says)
    app.configure({"placement": {"constraints": ["node.labels.disk == ssd"]}})
    case.run(app.deploy)


def test_no_room_for_the_surge(app: Faulty) -> None:
    """All replicas fit, one more beside them does not."""
    much = f"{app.project.cluster.node_memory(app.project) * 6 // 10}MiB"
    case = Case(app, "no room for a replica beside the old ones", (1,), "does_not_fit", much[:-3])
    roomy = {"memory": much, "memory_limit": None}
    app.configure(roomy)
    assert app.deploy().code == 0
    app.configure(roomy)
    case.run(app.deploy)


def test_release_step_fails(app: Faulty) -> None:
    case = Case(app, "the release step fails", (1,), "release_step_failed", "no such table")
    app.configure(release={"command": python("raise SystemExit('no such table: items')")})
    case.run(app.deploy)


def test_release_step_hangs(app: Faulty) -> None:
    case = Case(app, "the release step hangs", (4,), "job_timed_out")
    app.configure(release={"command": ["sleep", "1000"], "timeout": "4s"})
    case.run(app.deploy)


def test_deadline(app: Faulty) -> None:
    case = Case(app, "it is not up when `--timeout` passes", (4,), "timed_out")
    app.configure({"command": ["sleep", "1000"]})
    case.run(lambda: app.deploy("--timeout", "6s"))
