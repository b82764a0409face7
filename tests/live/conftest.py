"""A real three-node Swarm for every live test, and projects that are deployed on it for real.

What cannot run fails: nothing here skips. Tests may run side by side (pytest -n): they share the
lab, the proxy and the example's image, and each has an app of its own. `make test-live` keeps the
lab up around them all.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, Node
from tests.lab.cache import locked
from tests.lab.lab import number
from tests.live.clusters import Cluster, SwarmCluster, cluster
from tests.load import APP, Load

REPOSITORY = Path(__file__).parents[2]
DEPLOYTOOL = (sys.executable, "-m", "deploytool")
LIMIT = 300
"""seconds that any one command may take"""
Json = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """File by file: first who needs the proxy for itself, then who needs none. Side by side they
    keep nobody waiting."""
    fixtures: dict[Path, set[str]] = {}
    for item in items:
        needed = fixtures.setdefault(item.path, set())
        needed.update(getattr(item, "fixturenames", ()))

    def rank(item: pytest.Item) -> int:
        needed = fixtures[item.path]
        return 0 if "operator" in needed else 2 if "running_proxy" in needed else 1

    items.sort(key=rank)


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> Any:
        return json.loads(self.stdout)["data"]

    @property
    def error(self) -> Json:
        return dict(json.loads(self.stdout)["error"])


@dataclass
class Project:
    """A project's folder and the cluster that it is deployed to."""

    folder: Path
    app: str
    lab: Lab
    env: dict[str, str]
    services: dict[str, Json] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    entry: Node | None = None
    """The node whose proxy is called; the first one by default."""
    cluster: Cluster = field(default_factory=SwarmCluster)

    @property
    def address(self) -> str:
        return (self.entry or self.lab.manager).address

    @property
    def proxy_images(self) -> dict[str, str]:
        """The proxy's images, where all nodes find them."""
        return {
            "image": f"{self.lab.registry}/traefik:v3.7",
            "socket_proxy_image": f"{self.lab.registry}/haproxy:3.0-alpine",
        }

    def configure(self) -> None:
        """Write what `services` says as deploytool.toml."""
        import tomlkit

        document = {
            "app": self.app,
            "registry": self.lab.registry,
            "proxy": self.proxy_images,
            "entrypoint": "app.main:app",
            "services": self.services,
        }
        for key, value in self.cluster.settings().items():
            document[key] = document[key] | value if key in document else value
        text = tomlkit.dumps(_without_none(document | self.extra))
        (self.folder / "deploytool.toml").write_text(text)

    def run(self, *arguments: str, json_output: bool = True) -> Ran:
        """Run deploytool in the project as a user would."""
        process = self.start(*arguments, *(["--json"] if json_output else []))
        try:
            stdout, stderr = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert "Traceback" not in stderr, stderr
        return Ran(process.returncode, stdout, stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        return subprocess.Popen(
            [*DEPLOYTOOL, *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ok(self, *arguments: str) -> Any:
        """The data of a command that has to succeed."""
        ran = self.run(*arguments)
        assert ran.code == 0, ran.stdout + ran.stderr
        return ran.data

    def deploy(self, image: str, **changes: Any) -> None:
        """A release of an image, with other settings of its service."""
        self.services["web"].update(changes)
        self.configure()
        self.ok("deploy", "--image", image)

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments], env=self.env, capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def live(self, service: str) -> Json:
        """The service as the engine knows it."""
        return dict(json.loads(self.docker("service", "inspect", f"{self.app}_{service}"))[0])

    def running(self, service: str = "web") -> set[str]:
        """Ids of the replicas that shall run."""
        return self.cluster.running(self, service)

    def callers(self, **settings: Any) -> Load:
        """Load on the app, through the proxy."""
        given = {"host": f"{self.app}.localhost", "port": self.cluster.http_port} | settings
        return Load(self.address, **given)

    def get(self, path: str = "/", host: str | None = None) -> tuple[int, dict[str, str], str]:
        """One request through the proxy, on a connection of its own."""
        return self.request("GET", path, host)

    def request(
        self, method: str, path: str, host: str | None = None
    ) -> tuple[int, dict[str, str], str]:
        """The same with any method."""
        import http.client

        connection = http.client.HTTPConnection(self.address, self.cluster.http_port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": host or f"{self.app}.localhost"})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read().decode()
        finally:
            connection.close()

    def replicas_that_answer(self, requests: int = 60) -> set[str]:
        """Which replicas answered, once the proxy has noticed all of them."""
        deadline = time.monotonic() + 15
        while self.get()[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.5)
        return {self.get()[1]["x-replica"] for _ in range(requests)}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three engines, one Swarm, one registry."""
    lab = Lab.up(nodes=3)
    yield lab
    if lab.started:
        lab.down()


@pytest.fixture(scope="session")
def lab_env(lab: Lab) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DEPLOYTOOL_", "DOCKER_"))}
    return clean | lab.env | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "160"}


@pytest.fixture(scope="session")
def example_image(
    lab: Lab, lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory, worker: str
) -> str:
    """The example of this repository, built and pushed by deploytool once."""
    project = make_project(tmp_path_factory.mktemp("example"), "example", lab, lab_env)
    return built_once(project, tmp_path_factory, worker)


@pytest.fixture(scope="session")
def load_image(
    lab: Lab, lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory, worker: str
) -> str:
    """An app that answers slowly, in parts and over WebSockets too: what the load asks for."""
    project = make_project(tmp_path_factory.mktemp("load"), "load", lab, lab_env)
    shutil.copy(APP, project.folder / "app" / "main.py")
    return built_once(project, tmp_path_factory, worker)


def built_once(project: Project, factory: pytest.TempPathFactory, worker: str) -> str:
    """The reference of a project's image. A second build would give the tag another digest under
    the feet of others."""

    def build() -> str:
        return str(project.ok("build", "--push")["reference"])

    return by_the_first(factory, worker, f"image-{project.app}", build)


def by_the_first(
    factory: pytest.TempPathFactory, worker: str, name: str, do: Callable[[], str]
) -> str:
    """What `do` returns; the first of the processes that run tests side by side does it."""
    if not worker:
        return do()
    known = factory.getbasetemp().parent / name
    with locked(f"{name}-{number()}"):
        if not known.exists():
            known.write_text(do())
    return known.read_text()


PROXY = f"proxy-{number()}"
"""Lock of the lab's proxy: whoever needs it as it is shares it."""


@pytest.fixture(scope="session")
def running_proxy(
    lab: Lab, lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory, worker: str
) -> Project:
    """The proxy that all share, by HTTP alone, and the project of who looks after it."""
    made = make_project(tmp_path_factory.mktemp("proxy"), "proxied", lab, lab_env)

    def up() -> str:
        with locked(PROXY):  # the others need not wait until nobody uses it
            made.ok("proxy", "up", "--yes")
        return ""

    by_the_first(tmp_path_factory, worker, "proxy-up", up)
    return made


@pytest.fixture(scope="session")
def kind() -> str:
    """Which kind of cluster a test needs; `both` has it run on each."""
    return "swarm"


@pytest.fixture(scope="session")
def nomad_proxy(
    lab: Lab, lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory, worker: str
) -> Project:
    """The proxy of the double of Nomad, and the project of who looks after it."""
    nomad = cluster("nomad", lab)
    made = make_project(tmp_path_factory.mktemp("proxy"), "proxied", lab, lab_env, nomad)

    def up() -> str:
        made.ok("proxy", "up", "--yes")
        return ""

    by_the_first(tmp_path_factory, worker, "nomad-proxy-up", up)
    return made


@pytest.fixture
def proxy(running_proxy: Project, kind: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """The proxy, left alone by all others while the test runs."""
    if kind == "nomad":
        request.getfixturevalue("nomad_proxy")
        yield
        return
    with locked(PROXY, shared=True):
        yield


@pytest.fixture(scope="session")
def worker() -> str:
    """Which of the processes that run tests side by side this is; empty for the only one."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")


@pytest.fixture(scope="session")
def removals(lab: Lab) -> Iterator[list[subprocess.Popen[str]]]:
    """The removals of projects that are under way. One that fails fails the run: what tests leave
    behind is in the way of others."""
    started: list[subprocess.Popen[str]] = []
    yield started
    failed = []
    for process in started:
        stdout, stderr = process.communicate(timeout=LIMIT)
        if process.returncode and "is not deployed" not in stderr:
            failed.append(stdout + stderr)
    assert not failed, "\n".join(failed)


_numbers = itertools.count(1)


@pytest.fixture
def project(
    lab: Lab,
    lab_env: dict[str, str],
    tmp_path: Path,
    worker: str,
    removals: list[subprocess.Popen[str]],
    kind: str,
) -> Iterator[Project]:
    """A copy of the example as a project of its own, removed from the cluster afterwards while
    the next test runs."""
    made = make_project(tmp_path, f"t{next(_numbers)}{worker}", lab, lab_env, cluster(kind, lab))
    yield made
    removals.append(made.start("destroy", "--yes", "--volumes"))


@pytest.fixture
def deployed(project: Project, example_image: str) -> Project:
    """A project whose first release runs, of an image that was built before."""
    project.ok("deploy", "--image", example_image)
    return project


def make_project(
    folder: Path, app: str, lab: Lab, env: dict[str, str], where: Cluster | None = None
) -> Project:
    """The example's sources with a configuration that makes rollouts quick."""
    shutil.copytree(
        REPOSITORY / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("Dockerfile", ".dockerignore", "uv.lock"):
        shutil.copy(REPOSITORY / name, folder / name)
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(pyproject.partition("[tool.deploytool]")[0])
    made = Project(folder, app, lab, env, cluster=where or SwarmCluster())
    made.services["web"] = {
        "replicas": 2,
        "port": 8000,
        "memory": "32MiB",
        "memory_limit": "192MiB",
        "healthcheck": {"path": "/health", "timeout": "10s", "start_period": "60s"},
        "update": {"parallelism": 2, "monitor": "2s"},
        "restart": {"delay": "1s"},
        "stop_grace": "6s",
        "drain": "1s",
    }
    made.configure()
    return made


def lines(text: str, *wanted: str) -> Sequence[str]:
    """The lines that contain every wanted word."""
    return [line for line in text.splitlines() if all(word in line for word in wanted)]


def registry_digest(repository: str, tag: str) -> str:
    """What the registry itself says."""
    host, _, path = repository.partition("/")
    accepted = "application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(
        f"http://{host}/v2/{path}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": f"{accepted}, application/vnd.oci.image.manifest.v1+json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=10) as response:
        return str(response.headers["Docker-Content-Digest"])


@pytest.fixture
def spare_engine(lab: Lab, worker: str, tmp_path: Path) -> Iterator[Node]:
    """An engine beside the Swarm, not started yet: whatever happens to it is nobody else's."""
    index = 40 + int(worker.removeprefix("gw") or 0)
    node = Node(index, lab.network, lab.engine, tmp_path / "engine", lab.manager.docker_config)
    (node.folder / "data").mkdir(parents=True)
    yield node
    node.remove()


@pytest.fixture
def small_engine(spare_engine: Node) -> Iterator[Node]:
    """One whose disk takes 40 MiB."""
    data = spare_engine.folder / "data"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", data], check=True)
    try:
        spare_engine.start()
        yield spare_engine
    finally:
        spare_engine.stop()
        subprocess.run(["umount", "--lazy", data], check=True)
