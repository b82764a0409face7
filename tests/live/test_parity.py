"""What you reviewed is what runs: `docker stack deploy` of the rendered file and `deploytool
deploy` give the engine equal service specs, but for the release's own labels and the digest."""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import pytest

from deploytool.diff import walk
from tests.live.conftest import Project

Json = dict[str, Any]
RELEASE_ONLY = {
    "Labels.deploytool.release",
    "TaskTemplate.ContainerSpec.Labels.deploytool.release",
    "TaskTemplate.ContainerSpec.Image",
    "TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges",
}
"""Where the raw specs may differ. The command line writes out that a privilege is not asked for."""
EVERYTHING: Json = {
    "replicas": 2,
    "port": 8000,
    "memory": "32MiB",
    "memory_limit": "100MiB",
    "cpu": 0.012345678,
    "cpu_limit": 1.5,
    "env": {"PRICE": "5$ ${HOME} $$", "SLOT": "{{.Task.Slot}}", "EMPTY": ""},
    "secrets": ["TOKEN", "ANOTHER"],
    "files": {"/code/b.yml": "config/$b.yml", "/code/a.yml": "config/a.yml", "/z": "config/a.yml"},
    "domains": ["b.example.com", "a.example.com"],
    "path_prefix": "/api",
    "publish": [
        {"port": 8099},
        {"port": 8098, "target": 9000, "protocol": "udp"},
    ],
    "volumes": ["data:/data", "cache:/cache:ro", "/etc/ssl:/etc/ssl:ro"],
    "prestart": ["echo", "it's $HOME"],
    "user": "1000:1000",
    "capabilities": ["NET_BIND_SERVICE", "CHOWN"],
    "labels": {"team": "a$b"},
    "stop_grace": "1m30s",
    "healthcheck": {"path": "/health", "start_interval": "250ms"},
    "restart": {"condition": "on-failure", "delay": "1s", "max_attempts": 3, "window": "2m"},
    "update": {"parallelism": 2, "delay": "1s", "monitor": "3s", "max_failure_ratio": 0.3},
    "placement": {
        "constraints": ["node.role == manager", "node.hostname != nobody"],
        "spread": ["node.labels.zone", "node.labels.rack"],
        "max_per_node": 5,
    },
    "logging": {"max_size": "1MiB", "max_files": 2, "options": {"labels": "a$b"}},
    "tmpfs": {"/dev/shm": "8MiB", "/run/x": "0B"},
    "ulimits": {"nofile": "1024:2048", "core": 0, "memlock": -1},
    "hostname": "shop-{{.Task.Slot}}",
    "templates": ["hostname"],
    "extra_hosts": {"db.internal": "10.0.0.5", "node": "host-gateway", "six": "::1"},
}


@pytest.mark.thorough
def test_rendered_stack_is_what_deploy_sends(project: Project, example_image: str) -> None:
    for name in ("TOKEN", "ANOTHER"):
        value = project.folder / name
        value.write_text("x")
        project.docker("secret", "create", f"{project.app}_{name}", str(value))
    project.services = {
        "web": EVERYTHING,
        "plain": {"command": ["sleep", "1000"], "read_only": False},
        "each": {"command": ["sleep", "1000"], "mode": "global"},
        "other": {"image": example_image.partition("@")[0], "command": ["sleep", "1000"]},
    }
    project.configure()
    for name in ("a.yml", "$b.yml"):
        (project.folder / "config").mkdir(exist_ok=True)
        (project.folder / "config" / name).write_text(f"# {name}\n")
    project.ok("deploy", "--image", example_image, "--no-wait")
    ours = specs(project)
    rendered, *_ = project.ok("render")["files"]
    stack = project.folder / rendered
    tag = example_image.partition("@")[0]
    remove_services(project)
    subprocess.run(
        ["docker", "stack", "deploy", "--detach=true", "-c", str(stack), project.app],
        env=project.env | {"IMAGE": tag},
        check=True,
        capture_output=True,
        timeout=120,
    )
    theirs = specs(project)
    assert ours.keys() == theirs.keys()
    for name, spec in ours.items():
        different = {path for path, *_ in walk(in_order(spec), in_order(theirs[name]))}
        assert different <= RELEASE_ONLY, name
    planned = project.ok("plan", "--image", example_image)
    changed = [change for change in planned["changes"] if change["action"] != "keep"]
    assert [field["path"] for change in changed for field in change["fields"]] == ["networks"]
    assert f"use {project.app}_web there" in " ".join(planned["warnings"])
    project.run("destroy", "--yes", "--volumes")
    for name in ("TOKEN", "ANOTHER"):
        project.docker("secret", "rm", f"{project.app}_{name}")


def specs(project: Project) -> dict[str, Json]:
    return {name: project.live(name)["Spec"] for name in project.services}


def in_order(spec: Json) -> Json:
    """The order of ports and files has no meaning. The command line's differs between versions, and
    for a file with two places from one run to the next (ParseConfigs goes through a Go map). Short
    names on shared networks are the command line's alone, and nothing keeps it from them."""
    spec = copy.deepcopy(spec)
    container = spec["TaskTemplate"]["ContainerSpec"]
    for holder, key in ((spec["EndpointSpec"], "Ports"), (container, "Configs")):
        holder[key] = sorted(holder.get(key) or (), key=str)
    for network in spec["TaskTemplate"]["Networks"]:
        network.pop("Aliases", None)
    return spec


def remove_services(project: Project) -> None:
    """Only the services: with the networks kept, their ids stay the same."""
    names = [f"{project.app}_{name}" for name in project.services]
    project.docker("service", "rm", *names)
