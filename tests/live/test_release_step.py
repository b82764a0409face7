"""The release step, one-off tasks and the lock."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.live.clusters import both, both_thorough
from tests.live.conftest import Project, Ran

pytestmark = pytest.mark.usefixtures("proxy")
STEP = ["python", "-c", "import time; print('migrating', flush=True); time.sleep({}); {}"]


def step(seconds: float = 0, then: str = "print('migrated')") -> list[str]:
    return [*STEP[:2], STEP[2].format(seconds, then)]


def with_step(project: Project, command: list[str], **settings: object) -> None:
    project.extra["release"] = {"command": command, **settings}
    project.configure()


def changed(project: Project) -> None:
    """Another release of the same image."""
    env = project.services["web"].setdefault("env", {})
    env["CHANGE"] = str(int(env.get("CHANGE", "0")) + 1)
    project.configure()


def finished(process: subprocess.Popen[str]) -> Ran:
    stdout, stderr = process.communicate(timeout=180)
    return Ran(process.returncode, stdout, stderr)


def one_off(project: Project, code: str) -> Ran:
    return project.run("run", "--json", "--", "python", "-c", code, json_output=False)


def jobs(project: Project) -> list[str]:
    return project.cluster.one_off_tasks(project)


@both_thorough
@pytest.mark.core
def test_once_per_release(project: Project, example_image: str) -> None:
    """Before any replica; not again for the same release; again when asked; its failure ends
    the deploy with nothing touched; a rollback runs none."""
    with_step(project, step())
    ran = project.run("deploy", "--image", example_image)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.stderr.index("migrating") < ran.stderr.index("web.1 on")
    assert "migrated" in ran.stderr
    assert jobs(project) == []
    again = project.run("deploy", "--image", example_image)
    assert again.data["changed"] is False
    assert "migrating" not in again.stderr
    asked = project.run("deploy", "--image", example_image, "--rerun-release-step")
    assert "migrating" in asked.stderr
    before = project.running()

    with_step(project, step(then="raise SystemExit('no such table: items')"))
    failed = project.run("deploy", "--image", example_image)
    assert (failed.code, failed.error["code"]) == (1, "release_step_failed")
    assert "no such table: items" in " ".join(failed.error["details"])
    assert project.running() == before
    assert project.get()[0] == 200
    assert jobs(project) == []

    with_step(project, step(60), timeout="20s")
    late = project.run("deploy", "--image", example_image)
    assert (late.code, late.error["code"]) == (4, "job_timed_out")
    assert "migrating" in " ".join(late.error.get("details", ())), late.stdout + late.stderr
    assert project.running() == before
    outcomes = [r["outcome"] for r in project.ok("releases")["releases"]]
    assert outcomes == ["timed_out", "failed", "done", "done"]

    with_step(project, step())
    changed(project)
    project.ok("deploy", "--image", example_image)
    back = project.run("rollback", "--yes")
    assert back.code == 0
    assert "migrating" not in back.stderr

    hello = one_off(project, "print('hello from', end=' '); print(42)")
    assert hello.data["lines"] == ["hello from 42"]
    wrong = one_off(project, "raise SystemExit(7)")
    assert (wrong.code, wrong.error["code"]) == (1, "job_failed")
    assert "exit code 7" in wrong.error["message"]
    actions = [e["action"] for e in project.ok("audit")["entries"]]
    assert actions[:3] == ["run python", "run python", "rollback to v2"]


@pytest.mark.thorough
def test_a_step_nowhere_to_run(project: Project, example_image: str) -> None:
    project.ok("deploy", "--image", example_image)
    before = project.running()
    with_step(project, step(), service="elsewhere")
    project.services["elsewhere"] = {
        "command": ["sleep", "1000"],
        "replicas": 0,
        "placement": {"constraints": ["node.labels.nowhere == yes"]},
    }
    project.configure()
    ran = project.run("deploy", "--image", example_image)
    assert (ran.code, ran.error["code"]) == (1, "job_not_placed"), ran.stdout + ran.stderr
    assert project.running() == before
    assert jobs(project) == []


@both
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.thorough
def test_a_deploy_that_dies_in_the_step(
    project: Project, example_image: str, blow: signal.Signals
) -> None:
    """The step goes on; the next deploy of the same release takes it up and does not run it
    twice."""
    project.ok("deploy", "--image", example_image)
    before = project.running()
    with_step(project, step(12))
    process = project.start("deploy", "--image", example_image)
    deadline = time.monotonic() + 60
    while not jobs(project) and time.monotonic() < deadline:
        time.sleep(0.3)
    time.sleep(1.5)
    process.send_signal(blow)
    died = finished(process)
    assert died.code in (130, -9)
    assert jobs(project)
    assert project.running() == before
    holder = project.ok("lock", "status")["lease"]
    assert (holder is None) == (blow is signal.SIGINT)
    ran = project.run("deploy", "--image", example_image)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [line.strip() for line in ran.stderr.splitlines()].count("migrating") == 1
    releases = project.ok("releases")["releases"]
    assert [(r["release"], r["outcome"]) for r in releases] == [("v2", "done"), ("v1", "done")]
    assert jobs(project) == []


@both
@pytest.mark.thorough
def test_two_deploys_at_once(project: Project, example_image: str) -> None:
    """The second waits for the first, or fails at once, as told."""
    with_step(project, step(8))
    first = project.start("deploy", "--image", example_image, "--json")
    deadline = time.monotonic() + 60
    while project.run("lock", "status").data["lease"] is None and time.monotonic() < deadline:
        time.sleep(0.2)
    refused = project.run("deploy", "--image", example_image, "--lock-timeout", "0s")
    assert (refused.code, refused.error["code"]) == (1, "locked"), refused.stdout
    assert "(deploy, since" in refused.error["message"]
    waited = project.run("deploy", "--image", example_image)
    assert waited.code == 0, waited.stdout + waited.stderr
    assert "who is changing" in waited.stderr
    assert waited.data["changed"] is False
    assert finished(first).code == 0
    assert project.ok("lock", "status")["lease"] is None
