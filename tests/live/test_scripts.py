"""The scripts that replicas run, as real engines hand them over."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploytool.backends.swarm.specification import scripts
from deploytool.backends.swarm.specification.scripts import BY_TARGET, DRAIN, HEALTHCHECK
from tests.lab import Lab
from tests.live.conftest import Project

pytestmark = pytest.mark.live


@pytest.mark.usefixtures("lab")
def test_shellcheck_finds_nothing() -> None:
    script = Path(scripts.__file__).parent / DRAIN.file
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.core
def test_replica_reads_its_scripts_without_root(
    project: Project, example_image: str, lab: Lab
) -> None:
    """Its root is read-only, and its process is some user."""
    project.deploy(example_image, user="1234:1234", drain="3s")
    found = []
    for node in lab.nodes:
        listed = node.docker("ps", "--quiet", "--filter", f"name={project.app}_web")
        for container in listed.split():
            found.append(json.loads(node.docker("inspect", container))[0])
            for target, script in BY_TARGET.items():
                there = node.docker("exec", container, "cat", target)
                assert there.strip() == script.content.decode().strip()
    assert found
    for container in found:
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["Config"]["User"] == "1234:1234"
        assert container["Config"]["Cmd"][:3] == ["/bin/sh", DRAIN.target, "1"]
        check = ["CMD", "python", "-IS", HEALTHCHECK.target]
        assert container["Config"]["Healthcheck"]["Test"][:4] == check
