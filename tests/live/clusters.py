"""The clusters that scenarios run on: a Swarm of the lab's engines, and the double of Nomad whose
tasks are containers on the same engines."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from deploytool.backends.swarm.specification import labels
from tests.lab import Lab, process
from tests.lab.cache import locked
from tests.lab.lab import number
from tests.lab.shell import wait_until

if TYPE_CHECKING:
    from tests.lab import Node
    from tests.live.conftest import Project

REPOSITORY = Path(__file__).parents[2]
Json = dict[str, Any]
HOUR = 3600 * 10**9
"""In nanoseconds."""
on_the_double = pytest.param("nomad", marks=pytest.mark.double)
both = pytest.mark.parametrize("kind", ["swarm", on_the_double], scope="session")
"""For what users are promised on both kinds of cluster."""
_thorough = pytest.param("nomad", marks=[pytest.mark.double, pytest.mark.thorough])
both_thorough = pytest.mark.parametrize("kind", ["swarm", _thorough], scope="session")
"""The same, on Nomad with `make test-all` alone: what the proxy does is Traefik's on both."""
on_swarm = pytest.mark.parametrize("kind", ["swarm"], scope="session")
on_nomad = pytest.mark.parametrize("kind", [on_the_double], scope="session")
"""For what one of them alone has, beside tests for both."""


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

    def version_of(self, project: Project, service: str) -> object:
        """What differs when one service was changed, or its replicas replaced."""

    def environment(self, project: Project, service: str) -> list[str]:
        """NAME=VALUE of the replicas."""

    def container(self, project: Project, service: str) -> tuple[Node, str]:
        """The node of a service's one replica, and its container there."""

    def shown(self, project: Project) -> str:
        """All that the cluster shows of an app to who may see its services."""

    def one_off_tasks(self, project: Project) -> list[str]:
        """Those of the app that are there."""

    def node_memory(self, project: Project) -> int:
        """MiB that its nodes have, by what it plans with."""

    def step_node(self, project: Project) -> Node:
        """Where the app's one-off task runs."""

    def drained(self, project: Project, node: Node) -> None:
        """Have a node drained, as its operator does."""

    def undrained(self, project: Project, node: Node) -> None:
        """Have it take replicas again."""

    def occupied(self, project: Project, image: str) -> AbstractContextManager[None]:
        """Meanwhile somebody else has what is called as the app."""

    def leftovers(self, project: Project) -> list[str]:
        """Whatever the cluster has of the app, but for volumes."""


class SwarmCluster:
    name = "swarm"
    http_port = 80

    def settings(self) -> Json:
        return {}

    def running(self, project: Project, service: str) -> set[str]:
        name = f"{project.app}_{service}"
        listed = project.docker("service", "ls", "--format", "{{.Name}}").split()
        if name not in listed:
            return set()
        wanted = ("--filter", "desired-state=running", "-q", "--no-trunc")
        return set(project.docker("service", "ps", name, *wanted).split())

    def version(self, project: Project) -> object:
        names = project.docker("service", "ls", "-q", "--filter", f"name={project.app}_").split()
        services = json.loads(project.docker("service", "inspect", *names)) if names else []
        return sorted((s["ID"], s["Version"]["Index"]) for s in services)

    def version_of(self, project: Project, service: str) -> object:
        return project.live(service)["Version"]

    def container(self, project: Project, service: str) -> tuple[Node, str]:
        (task,) = json.loads(
            project.docker("inspect", "--type", "task", *self.running(project, service))
        )
        (found,) = json.loads(project.docker("node", "inspect", task["NodeID"]))
        node = _named(project, found["Description"]["Hostname"])
        return node, task["Status"]["ContainerStatus"]["ContainerID"]

    def shown(self, project: Project) -> str:
        shown = [
            project.docker("service", "inspect", f"{project.app}_{n}") for n in project.services
        ]
        for kind in ("secret", "config"):
            of_app = f"label={labels.APP}={project.app}"
            names = project.docker(kind, "ls", "-q", "-f", of_app).split()
            shown += [project.docker(kind, "inspect", *names)] if names else []
        return "".join(shown)

    def environment(self, project: Project, service: str) -> list[str]:
        container = project.live(service)["Spec"]["TaskTemplate"]["ContainerSpec"]
        return list(container.get("Env") or ())

    def one_off_tasks(self, project: Project) -> list[str]:
        label = f"label=deploytool.job-of={project.app}"
        return project.docker("service", "ls", "-q", "--filter", label).split()

    def node_memory(self, project: Project) -> int:
        return int(project.docker("info", "--format", "{{.MemTotal}}")) // 2**20

    def step_node(self, project: Project) -> Node:
        its = ("ps", "--quiet", "--filter", f"name={project.app}_release-")
        (found,) = [node for node in project.lab.nodes if node.docker(*its).strip()]
        return found

    def drained(self, project: Project, node: Node) -> None:
        self._become("drain", project, node)

    def undrained(self, project: Project, node: Node) -> None:
        self._become("active", project, node)

    def _become(self, availability: str, project: Project, node: Node) -> None:
        project.lab.manager.docker("node", "update", "--availability", availability, node.name)

    @contextmanager
    def occupied(self, project: Project, image: str) -> Iterator[None]:
        label = f"com.docker.stack.namespace={project.app}"
        name = f"{project.app}_other"
        project.docker(
            *("service", "create", "--detach", "--quiet", "--name", name, "--label", label),
            *("--replicas", "0", image),
        )
        try:
            yield
        finally:
            project.docker("service", "rm", name)

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
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Json | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.address}{path}", data, method=method)
        with opener.open(request, timeout=30) as answer:
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

    def version_of(self, project: Project, service: str) -> object:
        return self.group(project, service), sorted(self.running(project, service))

    def container(self, project: Project, service: str) -> tuple[Node, str]:
        (name,) = self.running(project, service)
        allocation = self.get(f"/v1/allocation/{name}")
        return _named(project, allocation["NodeName"]), f"{service}-{name}"

    def shown(self, project: Project) -> str:
        of_job = ("", "/allocations?all=true", "/deployments", "/evaluations")
        shown = [self.get(f"/v1/job/{project.app}{path}") for path in of_job]
        shown += [self.get("/v1/vars")]
        shown += [self.get(f"/v1/allocation/{a['ID']}") for a in shown[1]]
        return json.dumps(shown)

    def environment(self, project: Project, service: str) -> list[str]:
        (task,) = self.group(project, service)["Tasks"]
        return [f"{name}={value}" for name, value in (task.get("Env") or {}).items()]

    def one_off_tasks(self, project: Project) -> list[str]:
        return [
            job["ID"]
            for job in self.get("/v1/jobs?meta=true")
            if job["Type"] == "batch" and (job["Meta"] or {}).get("deploytool.app") == project.app
        ]

    def node_memory(self, project: Project) -> int:
        return int(self.get("/v1/nodes?resources=true")[0]["NodeResources"]["Memory"]["MemoryMB"])

    def step_node(self, project: Project) -> Node:
        (job,) = self.one_off_tasks(project)
        (allocation,) = self.get(f"/v1/job/{job}/allocations")
        return _named(project, allocation["NodeName"])

    def drained(self, project: Project, node: Node) -> None:
        """`nomad node drain -enable`."""
        self.send("PUT", f"/v1/node/{self.node(node)}/drain", {"DrainSpec": {"Deadline": HOUR}})

    def undrained(self, project: Project, node: Node) -> None:
        """`nomad node eligibility -enable`, and an end to draining."""
        body = {"DrainSpec": None, "MarkEligible": True}
        self.send("PUT", f"/v1/node/{self.node(node)}/drain", body)

    def node(self, wanted: Node) -> str:
        """Its id."""
        return next(str(n["ID"]) for n in self.get("/v1/nodes") if n["Name"] == wanted.name)

    def restart_servers(self, lab: Lab) -> None:
        """The double's servers restart, and keep their state; see `tests.nomad_double`."""
        pid = process.living(lab.folder / "nomad" / "pid")
        assert pid is not None
        process.send(pid, signal.SIGHUP)
        wait_until(lambda: not answers(self.address), "the servers are away", 10)
        wait_until(lambda: answers(self.address), "the servers answer again", 30)

    @contextmanager
    def occupied(self, project: Project, image: str) -> Iterator[None]:
        task = {"Name": "other", "Driver": "docker", "Config": {"image": image}}
        group = {"Name": "other", "Count": 0, "Tasks": [task]}
        job = {"ID": project.app, "Name": project.app, "Type": "service", "TaskGroups": [group]}
        self.send("PUT", "/v1/jobs", {"Job": job})
        try:
            yield
        finally:
            self.send("DELETE", f"/v1/job/{project.app}?purge=true")

    def leftovers(self, project: Project) -> list[str]:
        job = self.job(project)
        variables = self.get(f"/v1/vars?prefix=nomad/jobs/{project.app}")
        own = [v["Path"] for v in variables if v["Path"].split("/")[2] == project.app]
        return ([project.app] if job else []) + self.one_off_tasks(project) + own


def _named(project: Project, name: str) -> Node:
    return next(node for node in project.lab.nodes if node.name == name)


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
