"""Registries that are down or ask for a login, while services with images of theirs run."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.model import LOGIN
from tests.lab import Lab
from tests.lab.lab import provide
from tests.lab.registry import Registry
from tests.live.conftest import Project

USERS = {
    "one": "ada:$2y$04$N3tBNxZIfFt4hIU3uc1c0OJMzp4UzUK5iqQcUecardlEeborh8mM6\n",
    "two": "ada:$2y$04$0zKIwAfYNsYlipoBVmTYJueM9PZY2TQLevdpATTr4MHuR.NZZGZtu\n",
}
"""Password → what a htpasswd file has for it."""
IMAGE = "registry:2"
"""Small, and it runs by itself."""


@dataclass
class Private:
    """A registry that lets ada in, with one image, and a project that runs it."""

    project: Project
    registry: Registry

    @property
    def image(self) -> str:
        return f"{self.registry.address}/app:1"

    def password(self, value: str) -> None:
        """From now on, this is what the registry wants."""
        self.registry.stop()
        self.registry = replace(self.registry, users=USERS[value])
        self.registry.start()
        self.registry.wait()

    def log_in(self, password: str) -> None:
        """As `docker login` leaves it."""
        login = base64.b64encode(f"ada:{password}".encode()).decode()
        config = Path(self.project.env["DOCKER_CONFIG"], "config.json")
        config.write_text(json.dumps({"auths": {self.registry.address: {"auth": login}}}))

    def wait_until_running(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.states().count("Running") < count:
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.5)

    def states(self) -> list[str]:
        """Of the replicas that are wanted."""
        name = f"{self.project.app}_cache"
        shown = ("--filter", "desired-state=running", "--format", "{{.CurrentState}}")
        listed = self.project.docker("service", "ps", name, *shown)
        return [line.partition(" ")[0] for line in listed.splitlines()]


@pytest.fixture
def private(lab: Lab, project: Project, tmp_path: Path, worker: str) -> Iterator[Private]:
    port = 5010 + int(worker.removeprefix("gw") or 0)
    config = tmp_path / "docker"
    shutil.copytree(project.env["DOCKER_CONFIG"], config, symlinks=True)
    project.env = project.env | {"DOCKER_CONFIG": str(config)}
    address = f"{lab.network.gateway}:{port}"
    program = lab.engine.bin / "docker-registry"
    made = Private(project, Registry(address, tmp_path / "registry", program, USERS["one"]))
    made.registry.start()
    try:
        made.registry.wait()
        made.log_in("one")
        provide(lab.manager, IMAGE)
        project.docker("tag", IMAGE, own_image(lab))
        label_anew(project, made.image)
        for name in (made.image, own_image(lab)):
            project.docker("push", "--quiet", name)
        project.docker("rmi", made.image)
        project.services = {"cache": runs(made.image), "other": runs(own_image(lab))}
        project.configure()
        project.ok("deploy")
        yield made
    finally:
        made.registry.stop()


def label_anew(project: Project, image: str) -> None:
    """Make it one that no node has, under whatever name: nobody pulls what is there."""
    container = project.docker("create", IMAGE).strip()
    project.docker("commit", "--change", f"LABEL at={time.time_ns()}", container, image)
    project.docker("rm", container)


def own_image(lab: Lab) -> str:
    return f"{lab.registry}/registry:2"


def runs(image: str, **keys: Any) -> dict[str, Any]:
    """A service of a ready image, of which a node has one replica at most."""
    return {
        "image": image,
        "command": [],
        "drain": "1s",
        "stop_grace": "4s",
        "read_only": False,
        "placement": {"max_per_node": 1},
        "restart": {"delay": "1s"},
        "update": {"monitor": "2s", "order": "stop-first"},
        **keys,
    }


def test_a_changed_login_reaches_the_nodes(private: Private) -> None:
    project = private.project
    before, releases = project.running("cache"), project.ok("releases")
    private.password("two")

    project.docker("service", "scale", "--detach", f"{project.app}_cache=2")
    project.services["cache"]["replicas"] = 2
    project.configure()
    started = time.monotonic()
    refused = project.run("deploy", "--timeout", "5m")
    assert time.monotonic() - started < 60
    assert (refused.code, refused.error["code"]) == (1, "rollout_failed")
    assert f"the registry {private.registry.address} does not let" in refused.error["message"]
    assert "docker login" in refused.error["hint"]
    assert before <= project.running("cache")

    private.log_in("two")
    (change,) = [c for c in project.ok("plan")["changes"] if c["action"] == "update"]
    assert (change["name"], change["replaces"]) == ("cache", False)
    assert [field["path"] for field in change["fields"]] == [LOGIN]
    done = project.ok("deploy")
    assert done["changed"] is False
    private.wait_until_running(2)
    assert before <= project.running("cache")
    assert project.ok("releases") == releases
    assert project.run("plan", "--exit-code").code == 0

    project.docker("service", "scale", "--detach", f"{project.app}_cache=3")
    private.wait_until_running(3)
    told = json.dumps(project.live("cache"))
    assert '"ada"' not in told
    assert "ada:" not in told
    assert base64.b64encode(b"ada:two").decode() not in told


def test_an_outage_of_a_registry(private: Private) -> None:
    project = private.project
    cache, other = project.running("cache"), project.running("other")
    private.registry.stop()

    unchanged = project.run("deploy")
    assert unchanged.code == 0, unchanged.stdout
    assert unchanged.data["changed"] is False
    (warning,) = json.loads(unchanged.stdout)["warnings"]
    assert f"the registry {private.registry.address} did not resolve" in warning
    assert project.running("cache") == cache

    project.services["other"]["env"] = {"A": "1"}
    project.configure()
    assert project.ok("deploy")["changed"] is True
    assert project.running("cache") == cache
    assert project.running("other").isdisjoint(other)

    project.services["cache"]["image"] = f"{private.registry.address}/app:2"
    project.configure()
    changed = project.run("deploy")
    assert (changed.code, changed.error["code"]) == (1, "registry_unreachable")
    assert project.running("cache") == cache
