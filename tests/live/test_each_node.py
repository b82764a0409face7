"""`mode = "global"`: one replica on each node, while nodes are drained and come back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab import Node
from tests.lab.shell import wait_until
from tests.live.conftest import Json, Project

pytestmark = [pytest.mark.usefixtures("proxy"), pytest.mark.load, pytest.mark.thorough]
EACH: Json = {
    "mode": "global",
    "replicas": None,
    "update": {"parallelism": 1, "monitor": "2s"},
    "drain": "8s",
    "stop_grace": "40s",
}


@pytest.fixture
def last(project: Project) -> Iterator[Node]:
    """A node without the proxy, active again afterwards."""
    node = project.lab.nodes[-1]
    yield node
    project.cluster.undrained(project, node)


def served(project: Project) -> Json:
    (found,) = project.ok("status")["services"]
    return dict(found)


def nodes(project: Project) -> list[str]:
    """The nodes on which a replica runs, one entry for each."""
    tasks = served(project)["tasks"]
    return sorted(t["node"] for t in tasks if t["state"] == "running" and t["wanted"])


def names(project: Project, *without: Node) -> list[str]:
    return sorted({node.name for node in project.lab.nodes} - {node.name for node in without})


@pytest.mark.core
def test_nobody_notices_updates_and_nodes_that_come_and_go(
    project: Project, load_image: str, last: Node
) -> None:
    project.deploy(load_image, **EACH)
    assert nodes(project) == names(project)
    project.replicas_that_answer(0)
    assert len({json.loads(project.get()[2])["replica"] for _ in range(60)}) == 3
    with project.callers(rate=20, seconds=280, websockets=2, timeout=30) as load:
        project.deploy(load_image, env={"ROUND": "2"})
        load.mark("updated")
        project.cluster.drained(project, last)
        wait_until(lambda: nodes(project) == names(project, last), "it leaves the node", 60)
        load.mark("drained")
        project.deploy(load_image, env={"ROUND": "3"})
        assert nodes(project) == names(project, last)
        project.cluster.undrained(project, last)
        wait_until(lambda: nodes(project) == names(project), "it comes to the node", 60)
        load.mark("back")
        found = served(project)
        assert (found["mode"], found["replicas"], found["missing"]) == ("global", 3, 0)
        assert project.ok("plan", "--image", load_image)["changes"][0]["action"] == "keep"
    result = load.result().judged()
    assert result.reasons() == {}, result.story()


def test_a_node_that_is_drained_during_an_update_does_not_hold_it_up(
    project: Project, load_image: str, last: Node
) -> None:
    """The update may have updated that node already, or come to it when it is drained."""
    project.deploy(load_image, **EACH)
    project.services["web"] |= {
        "env": {"ROUND": "2"},
        "update": {"parallelism": 1, "monitor": "2s", "delay": "5s"},
    }
    project.configure()
    process = project.start("deploy", "--image", load_image, "--json", "--timeout", "3m")
    wait_until(lambda: state(project) == "updating", "the update begins", 60)
    project.cluster.drained(project, last)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stdout + stderr
    assert nodes(project) == names(project, last)


def state(project: Project) -> str:
    return str((project.live("web").get("UpdateStatus") or {}).get("State", ""))


def test_what_a_swarm_does_not_change_is_refused(project: Project, load_image: str) -> None:
    project.deploy(load_image, **EACH)
    ran = project.run("scale", "web=2")
    assert (ran.code, ran.error["code"]) == (2, "scale_global")
    project.services["web"] |= {"mode": "replicated", "replicas": 2}
    project.configure()
    ran = project.run("deploy", "--image", load_image)
    assert (ran.code, ran.error["code"]) == (1, "mode_change")
    # The way that the hint names first.
    project.services = {"other": project.services["web"]}
    project.configure()
    project.ok("deploy", "--image", load_image)
    listed = project.docker("service", "ls", "--format", "{{json .}}")
    found = [json.loads(line) for line in listed.splitlines()]
    assert [f["Name"] for f in found if f["Name"].startswith(f"{project.app}_")] == [
        f"{project.app}_other"
    ]
