"""The clusters that scenarios run on: a Swarm of the lab's engines, and the double of Nomad whose
tasks are containers on the same engines."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.lab import Lab, process
from tests.lab.cache import locked
from tests.lab.lab import number
from tests.lab.shell import wait_until

if TYPE_CHECKING:
    from tests.live.conftest import Project

REPOSITORY = Path(__file__).parents[2]
Json = dict[str, Any]
both = pytest.mark.parametrize("kind", ["swarm", "nomad"], scope="session")
"""For what users are promised on both kinds of cluster."""


class Cluster(Protocol):
    """What scenarios ask a cluster, past deploytool."""

    name: str
    http_port: int
    """Of its proxy."""

    def settings(self) -> Json:
        """What a configuration says of it."""

    def running(self, project: Project, service: str) -> set[str]:
        """Names of the replicas that shall run."""

    def version(self, project: Project) -> object:
        """What differs when anything of the app's services was changed."""

    def environment(self, project: Project, service: str) -> list[str]:
        """NAME=VALUE of the replicas."""

    def one_off_tasks(self, project: Project) -> list[str]:
        """Those of the app that are there."""

    def leftovers(self, project: Project) -> list[str]:
        """Whatever the cluster has of the app, but for volumes."""


class SwarmCluster:
    name = "swarm"
    http_port = 80

    def settings(self) -> Json:
        return {}

    def running(self, project: Project, service: str) -> set[str]:
        name = f"{project.app}_{service}"
        wanted = ("--filter", "desired-state=running", "-q", "--no-trunc")
        return set(project.docker("service", "ps", name, *wanted).split())

    def version(self, project: Project) -> object:
        names = project.docker("service", "ls", "-q", "--filter", f"name={project.app}_").split()
        services = json.loads(project.docker("service", "inspect", *names)) if names else []
        return sorted((s["ID"], s["Version"]["Index"]) for s in services)

    def environment(self, project: Project, service: str) -> list[str]:
        container = project.live(service)["Spec"]["TaskTemplate"]["ContainerSpec"]
        return list(container.get("Env") or ())

    def one_off_tasks(self, project: Project) -> list[str]:
        label = f"label=deploytool.job-of={project.app}"
        return project.docker("service", "ls", "-q", "--filter", label).split()

    def leftovers(self, project: Project) -> list[str]:
        found = []
        for kind in ("service", "network", "config", "secret"):
            listed = project.docker(kind, "ls", "--format", "{{.Name}}").split()
            found += [name for name in listed if name.startswith(f"{project.app}_")]
        return found


class NomadCluster:
    name = "nomad"
    http_port = 8080
    """The Swarm's proxy has the usual one."""

    def __init__(self, address: str) -> None:
        self.address = address

    def settings(self) -> Json:
        return {
            "backend": "nomad",
            "nomad": {"address": self.address},
            "proxy": {"http_port": self.http_port, "https_port": 8443},
        }

    def get(self, path: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.address}{path}", timeout=30) as answer:
            return json.load(answer)

    def job(self, project: Project) -> Json | None:
        with suppress(urllib.error.HTTPError):
            return dict(self.get(f"/v1/job/{project.app}"))
        return None

    def group(self, project: Project, service: str) -> Json:
        groups: list[Json] = (self.job(project) or {})["TaskGroups"]
        return next(group for group in groups if group["Name"] == service)

    def running(self, project: Project, service: str) -> set[str]:
        return {
            allocation["ID"]
            for allocation in self.get(f"/v1/job/{project.app}/allocations")
            if (allocation["TaskGroup"], allocation["DesiredStatus"]) == (service, "run")
            and allocation["ClientStatus"] in ("pending", "running")
        }

    def version(self, project: Project) -> object:
        job = self.job(project)
        return job and job["JobModifyIndex"]

    def environment(self, project: Project, service: str) -> list[str]:
        (task,) = self.group(project, service)["Tasks"]
        return [f"{name}={value}" for name, value in (task.get("Env") or {}).items()]

    def one_off_tasks(self, project: Project) -> list[str]:
        return [
            job["ID"]
            for job in self.get("/v1/jobs?meta=true")
            if job["Type"] == "batch" and (job["Meta"] or {}).get("deploytool.app") == project.app
        ]

    def leftovers(self, project: Project) -> list[str]:
        job = self.job(project)
        variables = self.get(f"/v1/vars?prefix=nomad/jobs/{project.app}")
        own = [v["Path"] for v in variables if v["Path"].split("/")[2] == project.app]
        return ([project.app] if job else []) + self.one_off_tasks(project) + own


def cluster(kind: str, lab: Lab) -> Cluster:
    return SwarmCluster() if kind == "swarm" else NomadCluster(running_double(lab))


def running_double(lab: Lab) -> str:
    """The address of the lab's double, which is started where there is none of this code."""
    folder = lab.folder / "nomad"
    record, address = folder / "pid", f"http://{lab.network.gateway}:4646"
    with locked(f"nomad-{number()}"):
        folder.mkdir(exist_ok=True)
        if process.living(record) is not None and record.stat().st_mtime > newest_source():
            return address
        process.stop(record, timeout=90)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        environment |= {k: v for k, v in os.environ.items() if k == "DEPLOYTOOL_LAB"}
        command = [sys.executable, "-m", "tests.nomad_double"]
        process.spawn(command, folder / "log", record, env=environment)
        wait_until(lambda: answers(address), "the double of Nomad answers", 60)
    return address


def answers(address: str) -> bool:
    with suppress(OSError):
        return bool(NomadCluster(address).get("/v1/status/leader"))
    return False


def newest_source() -> float:
    files = (REPOSITORY / "tests" / "nomad_double").rglob("*.py")
    return max(file.stat().st_mtime for file in files)
