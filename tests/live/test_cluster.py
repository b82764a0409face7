"""One machine on its own: `cluster up`, `proxy up`, `deploy`, `cluster down`.

The machine is a network namespace with an engine that is in no Swarm yet.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, Node
from tests.lab.lab import number
from tests.live.conftest import LIMIT, REPOSITORY, Ran, make_project

On = Callable[..., Ran]


@pytest.fixture(scope="module")
def machine() -> Iterator[Node]:
    """A machine of a lab of its own, with an engine that is in no Swarm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPLOYTOOL_LAB", str((number() + 1) % 10))
        lab = Lab.up(nodes=1)
        try:
            node = lab.nodes[0]
            node.docker("swarm", "leave", "--force")
            yield node
        finally:
            lab.down()


@pytest.fixture
def on(machine: Node, lab_env: dict[str, str], tmp_path: Path, lab: Lab) -> On:
    """Run deploytool on that machine, in a copy of the example with its own configuration."""
    project = make_project(tmp_path, "items", lab, lab_env)
    (project.folder / "deploytool.toml").unlink()
    text = (REPOSITORY / "pyproject.toml").read_text()
    (project.folder / "pyproject.toml").write_text(text)

    def run(*arguments: str, **variables: str) -> Ran:
        command = [sys.executable, "-m", "deploytool", *arguments, "--json"]
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{machine.netns}", *command],
            cwd=project.folder,
            env=lab_env | machine.env | variables,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def checks(ran: Ran) -> dict[str, str]:
    return {check["name"]: check["state"] for check in ran.data["checks"]}


@pytest.mark.thorough
def test_one_machine(on: On, machine: Node) -> None:
    found = on("doctor")
    assert found.code == 1
    assert (checks(found)["swarm"], checks(found)["registry"]) == ("bad", "bad")
    refused = on("deploy", "--image", "whatever")
    assert (refused.code, json.loads(refused.stdout)["error"]["code"]) != (0, None)

    assert on("cluster", "up").data["registry"] == "running"
    assert on("cluster", "up").data["nodes"] == 1
    proxied = on("doctor", HTTP_PROXY="http://127.0.0.1:9")
    assert checks(proxied)["registry"] == "good"
    beside = {"DEPLOYTOOL_REGISTRY": "localhost:5001"}
    assert on("cluster", "status", **beside).data["registry"] == "absent"
    assert on("cluster", "up", **beside).data["registry"] == "running"
    assert on("cluster", "status").data["registry"] == "running"
    assert on("proxy", "up", "--yes").code == 0
    deployed = on("deploy", "--yes")
    assert deployed.code == 0, deployed.stdout + deployed.stderr
    assert deployed.data["urls"] == ["http://items.localhost"]
    assert len(replicas(machine)) == 4
    assert checks(on("doctor"))["proxy"] == "good"
    assert on("deploy", "--yes").data["changed"] is False

    assert on("destroy", "--yes").code == 0
    assert on("proxy", "down", "--yes").code == 0
    removed: Any = on("cluster", "down", "--yes", "--volumes").data["removed"]
    assert removed == ["swarm", "registry", "its images"]
    assert on("cluster", "status").data["swarm"] == "inactive"


def replicas(machine: Node) -> set[str]:
    """Who answers on loopback, as for somebody who sits at the machine."""
    url = "http://items.localhost/"
    curl = ("curl", "-sS", "--retry", "5", "--retry-all-errors", "--max-time", "10")
    found = set()
    for _ in range(24):
        headers = machine.run(
            *curl, "--resolve", "items.localhost:80:127.0.0.1", "-o", "/dev/null", "-D", "-", url
        )
        found |= {
            line.partition(":")[2].strip()
            for line in headers.splitlines()
            if line.lower().startswith("x-replica:")
        }
    return found
