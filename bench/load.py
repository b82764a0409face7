"""Who notices an update of four replicas, while 200 requests per second come in.

Three ways, in turn, on one lab of three nodes: `deploytool deploy` (and `deploytool rollback`);
`docker stack deploy` of the stack file that `deploytool render` wrote; and `docker stack deploy` of
the file that a reader of FastAPI's deployment docs would write, behind a Traefik as it comes. All
with the defaults of what is used. Each changes a variable, so that every replica is replaced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.measure import median, say
from bench.project import REPOSITORY, Project, lab_and_folder
from bench.report import Report, Row
from tests.lab.shell import try_run, wait_until
from tests.load import APP, Load, Result

ROUNDS = 5
BESIDE = 2
"""The rounds, from the first, in which the other ways are measured too."""
RATE = 200
LEAD = 3.0
"""Seconds of load before the update."""
TAIL = 17.0
"""Seconds of load after it: a proxy that looks every 15 s may not know yet."""
LIMIT = 300.0
RESULTS = REPOSITORY / "bench" / "results"
CONFIGURATION = """\
app = "bench"
registry = "{registry}"
entrypoint = "app.main:app"
proxy.image = "{registry}/traefik:v3.7"
proxy.socket_proxy_image = "{registry}/haproxy:3.0-alpine"

[services.web]
replicas = 4
port = 8000
memory = "32MiB"
memory_limit = "192MiB"
env = {{ ROUND = "{round}" }}
healthcheck = {{ path = "/health" }}
"""
DOCS_STACK = """\
services:
  web:
    image: {image}
    command: ["fastapi", "run", "app/main.py", "--port", "8000", "--proxy-headers"]
    environment:
      ROUND: "{round}"
    deploy:
      replicas: 4
      labels:
        proxy: docs
        traefik.enable: "true"
        traefik.http.routers.docs.rule: Host(`docs.localhost`)
        traefik.http.services.docs.loadbalancer.server.port: "8000"
  traefik:
    image: {registry}/traefik:v3.7
    command:
      - --providers.swarm=true
      - --providers.swarm.exposedbydefault=false
      - --providers.swarm.network=docs_default
      - --providers.swarm.constraints=Label(`proxy`, `docs`)
      - --entrypoints.http.address=:80
    ports:
      - {{target: 80, published: 81, mode: host}}
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
    deploy:
      placement:
        constraints: [node.role == manager]
"""


@dataclass(frozen=True)
class Way:
    """How an update is made, and where its callers go."""

    name: str
    update: Callable[[], None]
    host: str
    port: int


@dataclass(frozen=True)
class Trial:
    """One update under load."""

    way: str
    result: Result
    seconds: float
    """What the update took, from the command's start to its end."""


class Cluster:
    """The two apps and their proxies on a lab."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.lab = project.lab
        self.changes = 0

    def up(self) -> None:
        self.configure()
        self.project.deploytool("proxy", "up", "--yes").run()
        self.deploy()
        self.docs()

    def down(self) -> None:
        self.project.deploytool("destroy", "--yes").run()
        wait_until(self.docs_removed, "the stack of the docs is removed")

    def docs_removed(self) -> bool:
        """Whether its network is gone: it is the last to go, and not before the replicas."""
        docker = self.lab.bin / "docker"
        try_run([docker, "stack", "rm", "docs"], env=self.lab.env)
        label = "label=com.docker.stack.namespace=docs"
        return not self.lab.manager.docker("network", "ls", "--quiet", "--filter", label)

    def configure(self) -> None:
        """Another value of the variable."""
        self.changes += 1
        self.project.write(CONFIGURATION.format(registry=self.lab.registry, round=self.changes))

    def deploy(self) -> None:
        self.configure()
        self.project.deploytool("deploy", "--image", self.project.image, "--yes").run()

    def roll_back(self) -> None:
        self.project.deploytool("rollback", "--yes").run()

    def rendered(self) -> None:
        self.configure()
        self.project.deploytool("render").run()
        file = "stacks/bench.yml"
        self.project.docker("stack", "deploy", "--detach=false", "-c", file, "bench").run()

    def docs(self) -> None:
        self.changes += 1
        text = DOCS_STACK.format(
            image=self.project.image, registry=self.lab.registry, round=self.changes
        )
        (self.project.folder / "docs.yml").write_text(text)
        self.project.docker("stack", "deploy", "--detach=false", "-c", "docs.yml", "docs").run()

    def ways(self) -> tuple[Way, ...]:
        ours = ("bench.localhost", 80)
        return (
            Way(OURS, self.deploy, *ours),
            Way(RENDERED, self.rendered, *ours),
            Way(DOCS, self.docs, "docs.localhost", 81),
            Way(BACK, self.roll_back, *ours),
        )

    def trial(self, way: Way) -> Trial:
        address = self.lab.manager.address
        with Load(address, port=way.port, host=way.host, rate=RATE, seconds=LIMIT) as load:
            time.sleep(LEAD)
            load.mark("update begins")
            begin = time.monotonic()
            way.update()
            seconds = time.monotonic() - begin
            load.mark("update ends")
            time.sleep(TAIL)
        result = load.result()
        say(
            f"  {way.name:<40} {result.failed:>5} of {result.sent} failed, {seconds:5.1f} s"
            f"  {result.reasons() or ''}"
        )
        return Trial(way.name, result, seconds)

    def wait_until_quiet(self, way: Way) -> None:
        """Until the proxy serves it without a failure."""
        for _ in range(20):
            with Load(
                self.lab.manager.address, port=way.port, host=way.host, rate=20, seconds=2
            ) as load:
                time.sleep(2.2)
            if not load.result().failed:
                return
        raise RuntimeError(f"{way.host} is not served: {load.result().reasons()}")


OURS = "deploytool deploy"
BACK = "deploytool rollback"
RENDERED = "docker stack deploy, rendered file"
DOCS = "docker stack deploy, as in the docs"


def run(rounds: int | None = None) -> Report:
    from bench.plot import draw  # told now if matplotlib is missing, not after the measuring

    with lab_and_folder(nodes=3) as (lab, folder):
        cluster = Cluster(Project.make(lab, folder, "bench", APP))
        try:
            trials = measure(cluster, rounds or ROUNDS)
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / "load.json").write_text(json.dumps([_data(trial) for trial in trials]))
            picture = RESULTS / "load.png"
            draw({way: _typical(trials, way) for way in (OURS, RENDERED, DOCS)}, picture)
            say(f"every request is in {RESULTS / 'load.json'}, the picture in {picture}")
        finally:
            cluster.down()
    return summarise(trials, {"Docker": lab.engine.version})


def measure(cluster: Cluster, rounds: int) -> list[Trial]:
    """Every way once per round, the order turned round each time; later only our own ones, which
    have to hold each time."""
    cluster.up()
    ways = cluster.ways()
    trials: list[Trial] = []
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        ours, rendered, docs, back = ways  # A rollback needs a deploy before it.
        turn = (ours, rendered, docs, back) if number % 2 else (docs, rendered, ours, back)
        for way in turn if number <= BESIDE else (ours, back):
            cluster.wait_until_quiet(way)
            trials.append(cluster.trial(way))
    return trials


def summarise(trials: list[Trial], versions: Mapping[str, str]) -> Report:
    rows = [_failures(trials, OURS, DOCS), _failures(trials, BACK, DOCS)]
    rows += [_failures(trials, RENDERED, DOCS)]
    rows += [_time(trials, OURS, RENDERED), _time(trials, OURS, DOCS)]
    return Report(
        name="load",
        title=f"An update of four replicas under {RATE} requests per second",
        rows=rows,
        notes=[note for way in (OURS, BACK, RENDERED, DOCS) for note in _notes(trials, way)],
        versions=dict(versions),
        details={"trials": [_data(trial)["summary"] for trial in trials]},
    )


def _of(trials: list[Trial], way: str) -> list[Trial]:
    return [trial for trial in trials if trial.way == way]


def _failures(trials: list[Trial], ours: str, theirs: str) -> Row:
    a, b = (_share(_of(trials, way)) for way in (ours, theirs))
    return Row(
        name=f"{ours}: failed requests in 10,000",
        against=theirs,
        ours=a * 10_000,
        theirs=b * 10_000,
        ratio=a / b if b else a,
        goal=0.0 if ours in (OURS, BACK) else None,
        unit="",
    )


def _share(trials: list[Trial]) -> float:
    sent = sum(trial.result.sent for trial in trials)
    return sum(trial.result.failed for trial in trials) / sent if sent else 0.0


def _time(trials: list[Trial], ours: str, theirs: str) -> Row:
    a, b = (median([trial.seconds for trial in _of(trials, way)]) for way in (ours, theirs))
    return Row(
        name=f"{ours}: time to converge",
        against=theirs,
        ours=a,
        theirs=b,
        ratio=a / b,
        goal=None,
    )


def _notes(trials: list[Trial], way: str) -> list[str]:
    """One way in words: failures by kind and reason, latencies, WebSockets."""
    found = _of(trials, way)
    sent = sum(trial.result.sent for trial in found)
    failed = sum(trial.result.failed for trial in found)
    reasons: dict[str, int] = {}
    closes: dict[str, int] = {}
    for trial in found:
        for reason, count in trial.result.reasons().items():
            reasons[reason] = reasons.get(reason, 0) + count
        for code, count in trial.result.closes.items():
            closes[code] = closes.get(code, 0) + count
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    lines = [f"{way}: {len(found)} updates, {failed} of {sent:,} failed{': ' * bool(told)}{told}"]
    for kind in ("get", "get-fresh", "post", "post-fresh", "slow", "echo"):
        ranks = [trial.result.latency(kind) for trial in found]
        middle = {
            name: median([rank[name] for rank in ranks if rank])
            for name in (ranks[0] if ranks else ())
        }
        words = ", ".join(f"{name} {value:.0f}" for name, value in middle.items())
        lines.append(f"  {kind}: milliseconds {words}")
    lag = max((trial.result.lag for trial in found), default=0.0)
    cpu = median([trial.result.cpu / trial.result.seconds for trial in found])
    lines.append(
        f"  the load generator took {cpu:.0%} of a core and was up to {lag:.0f} ms behind schedule"
    )
    if closes:
        codes = ", ".join(f"{count} with code {code}" for code, count in sorted(closes.items()))
        lines.append(f"  WebSockets closed as they should: {codes}")
    return lines


def _typical(trials: list[Trial], way: str) -> Result:
    """The trial with the median number of failures."""
    ordered = sorted(_of(trials, way), key=lambda trial: trial.result.failed)
    return ordered[len(ordered) // 2].result


def _data(trial: Trial) -> dict[str, Any]:
    return {
        "way": trial.way,
        "seconds": trial.seconds,
        "summary": {"way": trial.way, "seconds": trial.seconds, **trial.result.summary()},
        "samples": trial.result.data()["samples"],
    }
