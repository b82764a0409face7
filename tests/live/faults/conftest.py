"""An app that is called all the time while a deploy of it goes wrong.

Each test is a row of docs/faults.md: what went wrong, what the tool made of it, and what the
callers noticed. A row is written when its test has passed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.shell import wait_until
from tests.live.clusters import cluster
from tests.live.conftest import Project, Ran, make_project
from tests.live.faults.table import Row, remember
from tests.load import Load, Result

RATE = 60.0
AROUND = 1.5
"""Seconds of load before and after."""
LONGEST = 280.0
SERVICE: dict[str, Any] = {
    "replicas": 3,
    "port": 8000,
    "memory": "32MiB",
    "memory_limit": "192MiB",
    "healthcheck": {"path": "/health", "timeout": "10s", "start_period": "60s"},
    "update": {"parallelism": 1, "monitor": "5s"},
    "restart": {"delay": "1s"},
    "stop_grace": "12s",
    "drain": "4s",
}


@dataclass
class Faulty:
    """A deployed app, its callers, and what is done to it."""

    project: Project
    image: str
    round: int = 0
    is_good: bool = False
    """Whether what runs is a version that works."""

    @property
    def lab(self) -> Lab:
        return self.project.lab

    def configure(self, service: dict[str, Any] | None = None, **extra: Any) -> None:
        """A configuration that differs from every one before, by these keys too."""
        self.round += 1
        self.is_good = False
        web = SERVICE | {"env": {"ROUND": str(self.round)}} | (service or {})
        self.project.services = {"web": web}
        self.project.extra = extra
        self.project.configure()

    def deploy(self, *arguments: str, image: str | None = None) -> Ran:
        return self.project.run("deploy", "--image", image or self.image, *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self.project.start("deploy", "--image", self.image, *arguments)

    def disturbed(self, words: Sequence[str], harm: Callable[[], object]) -> Ran:
        """A deploy to which something happens as soon as it says one of the words."""
        process = self.start("--json")
        read_until(process, words)
        harm()
        try:
            stdout, stderr = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
            replicas = self.project.run("status", "--all", json_output=False).stdout
            raise AssertionError(f"it hangs: {said}{replicas}") from None
        return Ran(process.returncode, stdout, stderr)

    @property
    def is_on_nomad(self) -> bool:
        return self.project.cluster.name == "nomad"

    def load(self, **settings: Any) -> Load:
        given = {"rate": RATE, "websockets": 4, "seconds": LONGEST} | settings
        return self.project.callers(**given)

    def good(self) -> None:
        """The next deploy, of a version that works."""
        self.configure()
        ran = self.deploy()
        assert ran.code == 0, f"the next deploy: {ran.stdout}{ran.stderr}"
        self.is_good = True


@dataclass
class Case:
    """One row: a fault, and what came of it."""

    app: Faulty
    title: str
    exits: tuple[int, ...] = ()
    code: str = ""
    says: str = ""
    lost: Callable[[Result], int] = lambda _: 0
    """How many requests nobody could have saved: those in flight on a machine that dies."""
    mark: Callable[[str], None] = lambda _: None
    alone: str = ""
    """Why it is no row of the other kind of cluster, if it is none."""

    def run(self, action: Callable[[], Ran]) -> Ran:
        """Do it under load, check what the tool said and that nobody noticed, and deploy a good
        version afterwards, under load too."""
        with self.app.load() as load:
            self.mark = load.mark
            time.sleep(AROUND)
            begun = time.monotonic()
            ran = action()
            seconds = time.monotonic() - begun
            load.mark("ended")
            time.sleep(AROUND)
            self.check(ran)
            self.app.good()
            load.mark("good again")
            time.sleep(AROUND)
        result = load.result().judged()
        lost = self.lost(result)
        assert result.failed <= lost, result.story()
        error = ran.error if ran.code else {"code": "", "message": ""}
        remember(
            Row(
                cluster=self.app.project.cluster.name,
                title=self.title,
                alone=self.alone,
                exit_code=ran.code,
                code=error["code"],
                message=error["message"],
                seconds=round(seconds, 1),
                sent=result.sent,
                failed=result.failed,
            ),
            app=self.app.project.app,
            registry=self.app.lab.registry,
        )
        return ran

    def check(self, ran: Ran) -> None:
        assert ran.code in self.exits, ran.stdout + ran.stderr
        if self.code:
            assert ran.error["code"] == self.code, ran.stdout
        if self.says:
            told = " ".join([ran.error["message"], *ran.error.get("details", ())])
            assert self.says in told, told


@pytest.fixture(scope="session")
def faulty_apps(
    lab: Lab,
    lab_env: dict[str, str],
    load_image: str,
    tmp_path_factory: pytest.TempPathFactory,
    worker: str,
) -> Iterator[Callable[[str], Faulty]]:
    """One app for all faults of a kind of cluster, as each has to leave it in a state from which it
    can go on."""
    made: dict[str, Faulty] = {}

    def on(kind: str) -> Faulty:
        if kind not in made:
            folder = tmp_path_factory.mktemp("faulty")
            project = make_project(folder, f"faulty{worker}", lab, lab_env, cluster(kind, lab))
            app = Faulty(project, load_image)
            app.good()
            wait_until_it_answers(app)
            made[kind] = app
        return made[kind]

    yield on
    for app in made.values():
        app.project.run("destroy", "--yes", "--volumes")


@pytest.fixture
def proxy_project(kind: str, request: pytest.FixtureRequest) -> Project:
    """Of who looks after the proxy."""
    found: Project = request.getfixturevalue("nomad_proxy" if kind == "nomad" else "running_proxy")
    return found


@pytest.fixture
def faulty(proxy_project: Project, faulty_apps: Callable[[str], Faulty], kind: str) -> Faulty:
    return faulty_apps(kind)


@pytest.fixture
def app(faulty: Faulty, proxy: None) -> Iterator[Faulty]:
    yield faulty
    if not faulty.is_good:
        faulty.good()


def wait_until_it_answers(app: Faulty) -> None:
    def answers() -> bool:
        with suppress(OSError):
            return app.project.get("/health")[0] == 200
        return False

    wait_until(answers, "the app answers", 60)
    time.sleep(AROUND)


def python(code: str) -> list[str]:
    return ["python", "-uc", code]


def read_until(process: subprocess.Popen[str], wanted: Sequence[str], seconds: float = 90) -> str:
    """What a deploy says until one of the words comes."""
    assert process.stderr
    deadline = time.monotonic() + seconds
    seen = ""
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        if not line:
            break
        seen += line
        if any(word in line for word in wanted):
            return seen
    raise AssertionError(f"none of {wanted} was said: {seen}")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
