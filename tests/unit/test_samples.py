"""What the docs show commands print is what they print: each sample is made anew.

A sample is a fenced block behind `<!-- sample: NAME -->`. It comes from the command line itself, on
a cluster that is a few dictionaries; `UPDATE_DOCS=1` writes it into its pages.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from deploytool.__main__ import run
from deploytool.backends import open_backend
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.swarm import cluster as swarm_cluster
from deploytool.backends.swarm.backend import Swarm
from deploytool.cli import views
from deploytool.config import load
from deploytool.discover.dependencies.index import Index
from deploytool.image import build as build_module
from deploytool.image import users
from deploytool.lint import hadolint
from deploytool.process import Finished
from deploytool.secrets import versions
from deploytool.spec import Image
from docs import _generate
from tests.builders import DIGEST, app, deploy, with_proxy, worker
from tests.fake_engine import GIB, FakeEngine, node
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running
from tests.unit.test_capacity import look
from tests.unit.test_cluster import Api
from tests.unit.test_deploy_command import Docker
from tests.unit.test_docs import FENCE, PAGES, ROOT, TEXTS, arguments
from tests.unit.test_proxy import self_signed

SAMPLE = re.compile(r"^<!-- sample: ([\w-]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOUND = [(page, name) for page, text in TEXTS.items() for name, _ in SAMPLE.findall(text)]
NOW = datetime(2026, 11, 22, 3, 7, 30, tzinfo=UTC)
"""Three minutes after all that happens on a fake engine."""
MACHINE = (
    *("DOCKER_", "DEPLOYTOOL_", "NOMAD_", "BUILDX_", "PIP_", "UV_", "CI", "GITHUB_", "COLUMNS"),
    *("FORCE_COLOR", "NO_COLOR", "TTY_", "TERM", "FORWARDED_", "WEB_CONCURRENCY"),
)
"""How variables begin that could change what is printed."""
TOOK = re.compile(r"(after|in) \d+\.\d s\b")
"""The time that something took, which is another one each time."""
PINS = "fastapi==0.121.0\nuvicorn==0.38.0\n"
NO_ASYNCPG = (
    "error: No solution found when resolving dependencies\n  cause: Because asyncpg==0.29.0 has no "
    "usable wheels and you require asyncpg==0.29.0, we can conclude this.\n\nhint: Wheels are "
    "required for `asyncpg` because building from source is disabled for all packages"
)

APP = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
def read_health():
    return {"status": "ok"}
"""
FILES = {"app/__init__.py": "", "app/main.py": APP}
SHOP = """\
import sqlite3

from fastapi import FastAPI, Form
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    stripe_key: str
    sender: str


settings = Settings()
database = sqlite3.connect("shop.db")
app = FastAPI()


@app.get("/health")
def read_health():
    return {"status": "ok"}


@app.post("/orders")
def order(item: str = Form()):
    return {"item": item}
"""
OLD_DOCKERFILE = """\
FROM python:3.13
WORKDIR /code
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY . .
EXPOSE 9000
CMD alembic upgrade head && exec uvicorn app.main:app --host 0.0.0.0 --port 9000
"""
SHELL_FORM = """\
FROM python:3.14
WORKDIR /code
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY app app
RUN useradd --uid 10001 app
USER 10001
ENV LOG_LEVEL=info
CMD fastapi run app/main.py --port 80 --proxy-headers
"""
NO_MEMORY = """\
[project]
name = "items"
version = "0.1.0"
dependencies = ["fastapi[standard]"]

[tool.deploytool]
app = "items"
registry = "registry.example.com/team"
entrypoint = "app.main:app"

[tool.deploytool.services.web]
port = 80
memory_limit = "256MiB"
healthcheck.path = "/health"
"""
ITEMS = """\
app = "{app}"
registry = "registry.example.com"
entrypoint = "app.main:app"
backend = "{backend}"
{more}
[services.web]
port = 8000
replicas = {replicas}
memory = "{memory}"
cpu = 0.1
healthcheck.path = "/health"
update.monitor = "1ms"
{domains}
{web}
"""


class Ground:
    """A project, its cluster, and somebody who types."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.engine = self.on(with_proxy(FakeEngine(nodes=2)))
        self.engine.images["redis:8"] = Image(reference=f"redis@{DIGEST}", tag="redis:8")
        self.docker = Docker(self.engine.images)
        patch.setattr(build_module, "stream", self.docker.stream)
        patch.setattr(build_module, "capture", self.docker.capture)
        patch.setattr(users, "capture", self.docker.capture)
        self.write(
            {"app/__init__.py": "", "app/main.py": APP, "Dockerfile": "FROM x\nCOPY app .\n"}
        )

    def on(self, engine: FakeEngine) -> FakeEngine:
        """Another cluster from now on."""
        self.engine = engine
        self.patch.setattr(
            "deploytool.backends.open_backend", lambda _: Swarm(engine, sampling=0.0)
        )
        return engine

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def configure(
        self,
        *,
        app: str = "items",
        backend: str = "swarm",
        replicas: int = 4,
        memory: str = "96MiB",
        web: str = "",
        more: str = "",
        domains: str = 'domains = ["api.example.com"]',
    ) -> None:
        keys = {"app": app, "backend": backend, "replicas": replicas, "memory": memory}
        self.write({"deploytool.toml": ITEMS.format(**keys, web=web, more=more, domains=domains)})

    def empty(self) -> None:
        for file in ("app/__init__.py", "app/main.py", "Dockerfile"):
            (self.folder / file).unlink()
        (self.folder / "app").rmdir()

    def answer(self, index: Callable[[str, str], Finished]) -> None:
        """What the package index says for a Python, and for what is to be left out of it."""

        def finish(_: Index, command: list[str], __: object) -> Finished:
            file = Path(command[command.index("--overrides") + 1])
            return index(command[command.index("--python-version") + 1], file.read_text())

        self.patch.setattr(Index, "_finish", finish)
        self.patch.setattr("deploytool.discover.dependencies.index.find_uv", lambda: "uv")

    def type(self, line: str, *, stdin: bytes = b"", code: int = 0) -> str:
        """A command line, and behind it what appears on a terminal that shows both streams."""
        shown = io.StringIO()
        piped = SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False)
        self.patch.setattr("sys.stdin", piped)
        with redirect_stdout(shown), redirect_stderr(shown):
            done = run(arguments(line.rpartition(" | ")[2]) or [])
        assert done == code, shown.getvalue()
        printed = (line.rstrip() for line in shown.getvalue().splitlines())
        return "".join(f"{line}\n" for line in (f"$ {line}", *printed))


def part(text: str, first: str, last: str = "") -> str:
    """A command and a part of its output, from the line that begins with a text to the next that
    begins with another. "…" stands for the rest."""
    command, *lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    ends = (i for i, line in enumerate(lines) if i >= start and line.startswith(last))
    end = next(ends) + 1 if last else len(lines)
    shown = [*["…"] * bool(start), *lines[start:end], *["…"] * bool(lines[end:])]
    return "\n".join([command, *shown]) + "\n"


def output(text: str, first: str, last: str = "") -> str:
    """The same without the command, and without saying that there is more."""
    return "".join(f"{x}\n" for x in part(text, first, last).splitlines()[1:] if x != "…")


# --- the samples ----------------------------------------------------------------------------------


def plan(ground: Ground) -> str:
    ground.configure(replicas=4, memory="96MiB")
    ground.type("deploytool deploy")
    ground.configure(replicas=6, memory="128MiB", web='env = { LOG_LEVEL = "info" }')
    return ground.type("deploytool plan")


def capacity_line(ground: Ground) -> str:
    return output(plan(ground), "  capacity", "  capacity")


def quickstart(ground: Ground) -> str:
    """The last lines of the deploy, and the one that the script prints then."""
    ground.configure(domains="")
    script = (ROOT / "scripts/quickstart.sh").read_text()
    said = re.search(r'^  say "(.* requests to .*)"$', script, re.MULTILINE)
    count = re.search(r"^REQUESTS=(\d+)$", script, re.MULTILINE)
    assert said
    assert count
    answered = said[1].replace('$(wc -l <<<"$answers")', count[1])
    answered = answered.replace("$REQUESTS", count[1]).replace("$URL", "http://items.localhost")
    assert "$" not in answered
    return output(ground.type("deploytool deploy"), "✓ v1") + f"==> {answered}\n"


def deploy_fails(ground: Ground) -> str:
    ground.on(FakeEngine(nodes=[node("node-1", memory=8 * GIB)]))
    for replicas in (3, 4):
        ground.configure(replicas=replicas)
        ground.type("deploytool deploy")
    engine, update = ground.engine, ground.engine._update_service

    def fail(service_id: str, version: int, spec: dict[str, Any]) -> None:
        """The first new replica ends, and the engine reverses the update."""
        engine.settle = False
        update(service_id, version, spec)
        new = next(t for t in engine.tasks_of("items_web") if t["Status"]["State"] == "preparing")
        container = {"ContainerID": "container", "ExitCode": 3}
        ended = {"Err": "task: non-zero exit (3)", "ContainerStatus": container}
        engine.set_task(new["ID"], "failed", wanted="shutdown", **ended)
        engine.output[new["ID"]] = ["no database"]
        engine.take_back("items_web", new["ID"])
        engine.settle = True
        engine._reconcile(service_id)
        engine.set_update("items_web", "rollback_completed", "rollback completed")
        ground.patch.setattr(engine, "_update_service", update)

    ground.patch.setattr(engine, "_update_service", fail)
    ground.configure(replicas=4, web='env = { LOG_LEVEL = "info" }')
    return part(ground.type("deploytool deploy --yes", code=3), "✗")


def does_not_fit(ground: Ground) -> str:
    ground.on(FakeEngine(nodes=[node(f"node-{i}", memory=4 * GIB) for i in (1, 2)]))
    ground.configure(replicas=1, memory="96MiB", more="", web=LARGE_WORKER)
    return output(ground.type("deploytool plan", code=1), "✗")


LARGE_WORKER = """
[services.worker]
command = ["python", "-m", "app.worker"]
replicas = 10
memory = "1GiB"
"""


def capacity(ground: Ground) -> str:
    nodes = [node(f"node-{i}", memory=round(7.8 * GIB), cpu=4) for i in (1, 2)]
    engine = ground.on(FakeEngine(nodes=nodes))
    for number, (memory, cpu) in enumerate((("512MiB", 1.7), ("4GiB", 2.6)), start=1):
        one = worker(f"job-{number}", memory=memory, cpu=cpu)
        deploy(engine, app(one, name=f"reports-{number}"))
    ground.configure(replicas=4, memory="128MiB")
    deploy(engine, load(ground.folder).app_spec())
    for task in engine.tasks(**{"desired-state": ["running"]}):
        is_web = task["ServiceID"] == engine.service("items_web")["ID"]
        used = 61 * 2**20 if is_web else 2 * GIB
        rate = 0.02 if is_web else 0.26
        engine.usage[f"container-of-{task['ID']}"] = [look(s, rate, used) for s in (10, 12)]
    return ground.type("deploytool capacity")


def config_error(ground: Ground) -> str:
    ground.write({"deploytool.toml": 'app = "items"\n\n[services.web]\nport = 8000\nreplica = 3\n'})
    return ground.type("deploytool plan", code=2)


def default_command(ground: Ground) -> str:
    ground.configure()
    spec = load(ground.folder).app_spec()
    return shlex.join(spec.command(spec.services[0])) + "\n"


def a_new_project(ground: Ground) -> None:
    """The project of FastAPI's page on containers, in a folder of its name."""
    ground.empty()
    (ground.folder / "items").mkdir()
    ground.folder /= "items"
    ground.patch.chdir(ground.folder)
    ground.write(
        {"app/__init__.py": "", "app/main.py": APP, "requirements.txt": "fastapi[standard]"}
    )
    ground.answer(lambda *_: Finished(0, PINS, ""))


def init(ground: Ground) -> str:
    a_new_project(ground)
    return ground.type("deploytool init")


def init_warns(ground: Ground) -> str:
    ground.empty()
    files = {"shop/__init__.py": "", "shop/main.py": SHOP}
    ground.write(
        files | {"requirements.txt": "fastapi\nuvicorn\npydantic-settings\nasyncpg==0.29.0\n"}
    )
    found = Finished(0, PINS + "asyncpg==0.29.0\npydantic-settings==2.12.0\n", "")

    def index(python: str, left_out: str) -> Finished:
        fits = not python.startswith("3.13") or "asyncpg" in left_out
        return found if fits else Finished(1, "", NO_ASYNCPG)

    ground.answer(index)
    return part(ground.type("deploytool init"), "●", "✓ deploytool.toml")


def init_keeps(ground: Ground) -> str:
    ground.empty()
    (ground.folder / "hello").mkdir()
    ground.folder /= "hello"
    ground.patch.chdir(ground.folder)
    ground.write(
        {
            "app/__init__.py": "",
            "app/main.py": APP,
            "requirements.txt": "fastapi\nuvicorn\nalembic\n",
            "alembic.ini": "[alembic]\nscript_location = alembic\n",
            "alembic/env.py": "",
            "alembic/versions/0001_first.py": "revision = '0001'\n",
            "Dockerfile": OLD_DOCKERFILE,
            ".dockerignore": ".git\n.venv\n",
        }
    )
    return ground.type("deploytool init")


def init_again(ground: Ground) -> str:
    a_new_project(ground)
    ground.type("deploytool init")
    written = (ground.folder / "Dockerfile").read_text()
    edited = written.replace("WORKDIR /code\n", "WORKDIR /code\nENV TZ=Europe/Vienna\n", 1)
    ground.write({"Dockerfile": edited, ".python-version": "3.12\n"})
    return part(ground.type("deploytool init"), "· Dockerfile", "  →")


def cluster_up(ground: Ground) -> str:
    engine = FakeEngine(nodes=1)
    engine.engine_info["Swarm"] = {"LocalNodeState": "inactive"}
    engine.api = Api(engine)
    ground.patch.setattr("deploytool.backends.swarm.api.client.open_client", lambda **_: engine)
    ground.patch.setattr(
        swarm_cluster, "registry_answers", lambda _: "create_container" in engine.api.said
    )
    return ground.type("deploytool cluster up") + "$ deploytool proxy up\n"


def scale(ground: Ground) -> str:
    ground.configure(replicas=6)
    ground.type("deploytool deploy")
    return part(ground.type("deploytool scale web=8"), "!")


def certificate(ground: Ground) -> str:
    ground.configure(more='proxy.certificates = ["example.com"]')
    pem = b"".join(self_signed(ground.folder, "example.com"))
    line = "cat fullchain.pem privkey.pem | deploytool secrets set example.com --proxy"
    return ground.type(line, stdin=pem) + "$ deploytool proxy up\n"


def lint(ground: Ground) -> str:
    ground.write(
        {
            "Dockerfile": SHELL_FORM,
            ".dockerignore": ".git\n.venv\n__pycache__\n.env\n",
            "pyproject.toml": NO_MEMORY,
            "requirements.txt": "fastapi[standard]\n",
        }
    )
    return ground.type("deploytool lint", code=1)


def nomad_deploy(ground: Ground) -> str:
    """Without the lines in which replicas move: they come in another order each time."""
    limit = 'memory_limit = "256MiB"'
    ground.configure(
        app="shop", backend="nomad", replicas=2, memory="128MiB", web=limit, domains=""
    )
    ground.docker.repository = "registry.example.com/shop"
    ground.docker.builds = 0xDE3BBDAB960C << 208  # digests are numbers there, padded with noughts
    ground.patch.setattr("deploytool.backends.open_backend", open_backend)
    ground.patch.setattr(Nomad, "resolve", lambda _, reference: ground.engine.resolve(reference))
    nodes = [Node(f"node-{i}", address=f"192.0.2.{i}", memory=4000, cpu=4000) for i in (1, 2, 3)]
    with running(Cluster(nodes=nodes), speed=20) as address:
        ground.patch.setenv("NOMAD_ADDR", address)
        printed = output(ground.type("deploytool deploy"), "● Plan")
    planned, end, rest = printed.partition(" to remove\n")
    return f"{planned}{end}…\n✓ {rest.partition('✓ ')[2]}"


def set_secret(ground: Ground, variable: str = "DATABASE_URL", value: bytes = b"one") -> str:
    ground.configure(web='secrets = ["DATABASE_URL"]')
    line = f'printf %s "${variable}" | deploytool secrets set DATABASE_URL'
    return ground.type(line, stdin=value)


def change_secret(ground: Ground) -> str:
    set_secret(ground)
    ground.type("deploytool deploy")
    changed = set_secret(ground, "NEW_URL", b"two")
    deployed = ground.type("deploytool deploy")
    return changed + part(deployed, "● Plan", "    secrets")


def list_secrets(ground: Ground) -> str:
    set_secret(ground)
    for replicas in (4, 5):
        ground.configure(replicas=replicas, web='secrets = ["DATABASE_URL"]')
        ground.type("deploytool deploy")
    set_secret(ground, value=b"two")
    ground.configure(web='secrets = ["DATABASE_URL", "API_KEY"]')
    return ground.type("deploytool secrets list")


def change_file(ground: Ground) -> str:
    ground.configure(web='files = { "/code/logging.yml" = "config/logging.yml" }')
    ground.write({"config/logging.yml": "level: info\n"})
    ground.type("deploytool deploy")
    ground.write({"config/logging.yml": "level: debug\n"})
    return ground.type("deploytool plan")


SAMPLES: dict[str, Callable[[Ground], str]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(plan, capacity_line, quickstart, deploy_fails, does_not_fit, capacity, config_error),
        *(default_command, init, init_warns, init_keeps, init_again, cluster_up, scale),
        *(certificate, lint, nomad_deploy, set_secret, change_secret, list_secrets, change_file),
    )
}


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return cls.fromtimestamp(NOW.timestamp(), tz)

    for name in [name for name in os.environ if name.startswith(MACHINE)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(views, "datetime", Clock)
    monkeypatch.setattr(versions, "COST", {"n": 2, "r": 1, "p": 1})
    monkeypatch.setattr(hadolint, "run", lambda *_: ())
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Ground(folder, monkeypatch)


def with_times_of(made: str, shown: str) -> str:
    """A sample with the times that the page shows: they differ each time that it is made."""
    times = iter(TOOK.finditer(shown))

    def known(found: re.Match[str]) -> str:
        there = next(times, None)
        return there[0] if there else found[0]

    return TOOK.sub(known, made)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_what_commands_print(name: str, ground: Ground) -> None:
    printed = SAMPLES[name](ground)
    for page in (page for page, found in FOUND if found == name):
        shown = dict(SAMPLE.findall(TEXTS[page]))[name]
        made = with_times_of(printed, shown)
        if os.environ.get("UPDATE_DOCS"):
            _replace(ROOT / page, shown, made)
            continue
        assert shown == made, f"UPDATE_DOCS=1 pytest tests/unit/test_samples.py writes {page}"


def _replace(page: Path, shown: str, made: str) -> None:
    page.write_text(page.read_text().replace(f"\n{shown}```", f"\n{made}```", 1))


def test_every_sample_is_on_a_page() -> None:
    assert {name for _, name in FOUND} == SAMPLES.keys()


DRAWN = ("check ─▶ build", "0 s       the Swarm takes", "client ─▶ port 80")
"""How blocks begin that are no output of a command."""


def unproved(text: str) -> Iterator[str]:
    """Output in a page that is no sample, by its first line."""
    written = re.sub(f"{re.escape(_generate.BEGIN)}.*?{_generate.END}", "", text, flags=re.DOTALL)
    for language, body in FENCE.findall(SAMPLE.sub("", written)):
        if language == "text" and not body.startswith(DRAWN):
            yield body.partition("\n")[0]
        ours = False
        for line in body.splitlines() if language == "console" else ():
            ours = "deploytool" in line if line.startswith("$ ") else ours
            if ours and not line.startswith("$ "):
                yield line


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_output_of_commands_is_a_sample(page: str) -> None:
    assert list(unproved(TEXTS[page])) == []


def test_output_that_is_no_sample_would_be_seen() -> None:
    page = "```console\n$ deploytool status\nitems v1\n$ cat x\ny\n```\n```text\n✓ done\n```\n"
    assert list(unproved(page)) == ["items v1", "✓ done"]
