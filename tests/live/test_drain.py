"""Nobody notices: callers of every kind while the replicas they talk to are replaced."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Any

import pytest

from tests.lab.shell import try_run
from tests.live.clusters import both, both_thorough
from tests.live.conftest import Project
from tests.load import Result

pytestmark = pytest.mark.usefixtures("proxy")


@pytest.fixture
def deployed(project: Project, load_image: str) -> Project:
    """An app with a drain that is long enough for a slow machine."""
    project.deploy(load_image, drain="10s", stop_grace="40s")
    project.replicas_that_answer(0)
    return project


def under_load(project: Project, image: str, **settings: Any) -> Result:
    """A deploy that replaces every replica, with callers before, meanwhile and after."""
    given: dict[str, Any] = {"rate": 20, "seconds": 240, "websockets": 4, "timeout": 30}
    with project.callers(**(given | settings)) as load:
        time.sleep(2)
        load.mark("deploy")
        project.deploy(image, env={"ROUND": "2"})
        load.mark("deployed")
        time.sleep(15)
    return load.result().judged()


@both_thorough
@pytest.mark.thorough
def test_an_upload_of_more_than_a_minute_arrives(deployed: Project) -> None:
    """Traefik by itself would cut it off after one."""
    body = json.dumps({"name": "long", "price": 1}).encode().ljust(75)
    connection = http.client.HTTPConnection(deployed.address, deployed.cluster.http_port)
    connection.putrequest("POST", "/items", skip_host=True)
    for header, value in (
        ("Host", f"{deployed.app}.localhost"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    ):
        connection.putheader(header, value)
    connection.endheaders()
    for byte in body:
        connection.send(bytes([byte]))
        time.sleep(1)
    assert connection.getresponse().status == 201
    connection.close()


def said(project: Project) -> str:
    """What all replicas have said, those that are gone included."""
    service = f"{project.app}_web"
    texts = []
    for node in project.lab.nodes:
        listed = node.docker("ps", "--all", "--quiet", "--filter", f"name={service}")
        for container in listed.split():
            logs = try_run([node.engine.bin / "docker", "logs", container], env=node.env)
            texts.append(logs.stdout + logs.stderr)
    return "\n".join(texts)


@both
@pytest.mark.core
@pytest.mark.load
def test_every_caller_is_served_while_replicas_are_replaced(
    deployed: Project, load_image: str
) -> None:
    result = under_load(deployed, load_image)
    assert result.reasons() == {}, result.story()
    assert {"get", "get-fresh", "post", "post-fresh", "slow", "stream", "websocket"} == {
        sample.kind for sample in result.samples
    }
    # Each WebSocket was told that its server restarts, and its caller came back.
    assert set(result.closes) == {"1012"}
    assert len(result.of("websocket")) > 4


@pytest.mark.load
@pytest.mark.thorough
def test_replicas_end_in_good_order(deployed: Project, load_image: str) -> None:
    """Long answers are finished, and lifespan shutdown has its say."""
    result = under_load(deployed, load_image, slow_seconds=6, stream_seconds=8)
    assert result.reasons() == {}, result.story()
    text = said(deployed)
    ready = set(re.findall(r"replica (\w+) is ready", text))
    done = set(re.findall(r"replica (\w+) is done", text))
    assert len(ready) == 4
    assert len(done) == 2
    assert done < ready


@pytest.mark.load
@pytest.mark.thorough
def test_what_takes_longer_than_its_grace_is_cut_off(project: Project, load_image: str) -> None:
    """And only that: it is the promise of `stop_grace`, and its limit."""
    project.deploy(load_image, drain="3s", stop_grace="10s")
    project.replicas_that_answer(0)
    mix = {"get": 3, "post": 3, "stream": 1}
    result = under_load(project, load_image, stream_seconds=20, mix=mix)
    assert {sample.reason for sample in result.failures} == {"truncated"}, result.story()
    assert {sample.kind for sample in result.failures} == {"stream"}


@both_thorough
def test_a_process_in_a_shell_keeps_its_exit_code(project: Project, load_image: str) -> None:
    crash = ["python", "-c", "print('no database', flush=True); raise SystemExit(3)"]
    project.services["web"] |= {"command": crash, "drain": "4s"}
    project.configure()
    ran = project.run("deploy", "--image", load_image)
    assert ran.code == 1, ran.stdout + ran.stderr
    assert "exit code 3" in ran.error["message"]
    assert any("no database" in line for line in ran.error["details"])
