"""Rendering and planning apps of up to 1,000 services that run already.

Every service gets a new image, as in most deploys, and every hundredth a changed variable.

The cluster is a set of answers in memory, on Nomad those that the double gave once: what is
measured is the tool's own work, of which the cluster's time to answer is no part.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.measure import Command, Run, clean_environment, in_turn, is_busy, median
from bench.nomad import KeptAnswers
from bench.report import Report, Row, pair_by_pair
from deploytool.__main__ import THRESHOLD
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.nomad.render import render_files
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import stack
from deploytool.config.nomad import NomadSettings
from deploytool.spec import AppSpec, Image, Service
from tests import builders
from tests.fake_engine import node
from tests.lab.cache import cache_folder
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running

ROUNDS = 5
SIZES = (250, 500, 1000)
SECONDS = 2.0
GROWTH = 2.3
"""For twice the services. Linear is 2; the rest is for noise, and far below 4."""


@dataclass(frozen=True)
class Case:
    """A running app, and the next release of it."""

    render: Callable[[], object]
    backend: Nomad | Swarm
    spec: AppSpec
    images: Mapping[str, Image]

    def plan(self) -> None:
        plan = self.backend.plan(self.spec, self.images)
        assert not plan.is_empty


def _apps(size: int) -> tuple[AppSpec, AppSpec]:
    """What runs, and what shall run."""
    before = builders.app(*(_service(number) for number in range(size)))
    changed = [
        _service(number, LOG_LEVEL="debug") if number % 100 == 0 else service
        for number, service in enumerate(before.services[:-1])
    ]
    return before, builders.app(*changed, _service(size))


def on_swarm(size: int) -> Case:
    before, after = _apps(size)
    machines = [
        node(f"node-{i}", cpu=64, memory=256 * 2**30, role="worker" if i else "manager")
        for i in range(10)
    ]
    engine = builders.with_proxy(builders.engine(before, nodes=machines))
    running = Swarm(engine).plan(before, builders.images(before)).payload
    for network in running.new_networks:
        engine.add_network(network["name"])
    for target in running.targets:
        engine.create_service(target.spec)
    images = builders.images(after, digest=builders.OTHER_DIGEST)
    return Case(partial(stack.render, after), Swarm(engine), after, images)


def on_nomad(size: int) -> Case:
    before, after = _apps(size)
    nodes = [Node(f"node-{i}", memory=256 * 2**10, cpu=64 * 2600) for i in range(10)]
    with running(Cluster(nodes=nodes)) as address:
        client = KeptAnswers(Connection(address))
        nomad = Nomad(client, NomadSettings())
        nomad.vault.create(before.name, "DATABASE_URL", 1, b"value", "")
        job = nomad.plan(before, builders.images(before)).payload.job
        client.post("/v1/jobs", {"Job": job})
        client.forget()
        images = builders.images(after, digest=builders.OTHER_DIGEST)
        case = Case(partial(render_files, after, NomadSettings(), {}), nomad, after, images)
        case.plan()
    return case


def _service(number: int, **env: str) -> Service:
    keys = {
        "replicas": 2,
        "env": {"LOG_LEVEL": "info", "NUMBER": str(number), **env},
        "memory": "64MiB",
        "memory_limit": "128MiB",
        "cpu": 0.05,
        "secrets": ["DATABASE_URL"],
    }
    if number % 3:
        host = f"service-{number}.example.com"
        return builders.service(f"web-{number}", domains=[host], **keys)
    return builders.worker(f"worker-{number}", **keys)


CLUSTERS: Mapping[str, Callable[[int], Case]] = {"Swarm": on_swarm, "Nomad": on_nomad}


def run(rounds: int | None = None) -> Report:
    cases = {f"{size} on {name}": make(size) for size in SIZES for name, make in CLUSTERS.items()}
    gc.collect()
    gc.freeze()  # the clusters in memory are no part of a deploy's own garbage
    gc.set_threshold(THRESHOLD)
    measured: dict[str, Callable[[], Run]] = {}
    for name, case in cases.items():
        measured[f"render {name}"] = partial(_timed, case.render)
        measured[f"plan {name}"] = partial(_timed, case.plan)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        docker = _docker()
        if docker is not None:
            (folder / "stack.yml").write_text(stack.render(cases[f"{SIZES[-1]} on Swarm"].spec))
            env = clean_environment(folder)
            command = Command([docker, "stack", "config", "-c", "stack.yml"], env, folder)
            measured["docker"] = command.run
        found = in_turn(measured, rounds or ROUNDS)
    both = {name: _sum(found[f"render {name}"], found[f"plan {name}"]) for name in cases}
    busy = is_busy([run for runs in both.values() for run in runs])

    def seconds(runs: list[Run]) -> float:
        return median([run.cpu if busy else run.wall for run in runs])

    rows = [row for name in CLUSTERS for row in _rows(name, both, seconds, busy=busy)]
    if "docker" in found:
        name, other = f"render, {SIZES[-1]:,} services", "docker stack config of it"
        ours = found[f"render {SIZES[-1]} on Swarm"]
        rows.append(pair_by_pair(name, other, ours, found["docker"], None, cpu=busy))
    table = {
        name: {
            "render": round(seconds(found[f"render {name}"]), 3),
            "plan": round(seconds(found[f"plan {name}"]), 3),
        }
        for name in cases
    }
    told = "; ".join(
        f"{name}: {t['render']:.2f} s + {t['plan']:.2f} s" for name, t in table.items()
    )
    busy_note = "the machine was busy with others, so CPU time is judged, not wall time"
    return Report(
        name="plan",
        title="Rendering and planning large apps",
        rows=rows,
        notes=[
            *([busy_note] if busy else []),
            f"render + plan of services: {told}",
            "bounded by writing files and by comparing each service with the one that runs",
        ],
        details={"seconds": table},
    )


def _rows(
    name: str,
    both: Mapping[str, list[Run]],
    seconds: Callable[[list[Run]], float],
    *,
    busy: bool,
) -> list[Row]:
    """The time that the largest app takes, and how it grows with the app."""
    small, large = (f"{size} on {name}" for size in SIZES[-2:])
    what = f"render and plan, {SIZES[-1]:,} services on {name}"
    limit = Row(
        name=what,
        against="2 seconds",
        ours=seconds(both[large]),
        theirs=SECONDS,
        ratio=seconds(both[large]) / SECONDS,
        goal=1.0,
        measure="CPU" if busy else "wall",
    )
    of_half = f"{SIZES[-2]} services"
    return [limit, pair_by_pair(what, of_half, both[large], both[small], GROWTH, cpu=busy)]


def _timed(work: Callable[[], object]) -> Run:
    gc.collect()
    wall, cpu = time.monotonic(), time.process_time()
    work()
    return Run(time.monotonic() - wall, time.process_time() - cpu)


def _sum(first: list[Run], second: list[Run]) -> list[Run]:
    return [Run(a.wall + b.wall, a.cpu + b.cpu) for a, b in zip(first, second, strict=True)]


def _docker() -> Path | None:
    """The docker command line, if there is one; it needs no engine for this."""
    unpacked = sorted((cache_folder() / "engines").glob("*/docker"), reverse=True)
    path = os.pathsep.join(str(found.parent) for found in unpacked)
    found = shutil.which("docker") or shutil.which("docker", path=path)
    return Path(found) if found else None
