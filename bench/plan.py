"""Rendering and planning apps of up to 1,000 services that run already.

Every service gets a new image, as in most deploys, and every hundredth a changed variable.

The cluster is a set of answers in memory: what is measured is the tool's own work, of which the
engine's time to answer is no part.
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
from bench.report import Report, Row, pair_by_pair
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import stack
from deploytool.spec import AppSpec, Image, Service
from tests import builders
from tests.fake_engine import FakeEngine, node
from tests.lab.cache import cache_folder

ROUNDS = 5
SIZES = (250, 500, 1000)
SECONDS = 2.0
GROWTH = 2.3
"""For twice the services. Linear is 2; the rest is for noise, and far below 4."""


@dataclass(frozen=True)
class Case:
    """A running app, and the next release of it."""

    spec: AppSpec
    images: Mapping[str, Image]
    engine: FakeEngine

    def render(self) -> str:
        return stack.render(self.spec)

    def plan(self) -> None:
        plan = Swarm(self.engine).plan(self.spec, self.images)
        assert not plan.is_empty


def make_case(size: int) -> Case:
    before = builders.app(*(_service(number) for number in range(size)))
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
    changed = [
        _service(number, LOG_LEVEL="debug") if number % 100 == 0 else service
        for number, service in enumerate(before.services[:-1])
    ]
    after = builders.app(*changed, _service(size))
    return Case(after, builders.images(after, digest=builders.OTHER_DIGEST), engine)


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


def run(rounds: int | None = None) -> Report:
    cases = {size: make_case(size) for size in SIZES}
    gc.collect()
    gc.freeze()  # the clusters in memory are no part of a deploy's own garbage
    measured: dict[str, Callable[[], Run]] = {}
    for size, case in cases.items():
        measured[f"render {size}"] = partial(_timed, case.render)
        measured[f"plan {size}"] = partial(_timed, case.plan)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        docker = _docker()
        if docker is not None:
            (folder / "stack.yml").write_text(cases[SIZES[-1]].render())
            env = clean_environment(folder)
            command = Command([docker, "stack", "config", "-c", "stack.yml"], env, folder)
            measured["docker"] = command.run
        found = in_turn(measured, rounds or ROUNDS)
    both = {size: _sum(found[f"render {size}"], found[f"plan {size}"]) for size in SIZES}
    busy = is_busy([run for runs in both.values() for run in runs])

    def seconds(runs: list[Run]) -> float:
        return median([run.cpu if busy else run.wall for run in runs])

    small, large = SIZES[-2], SIZES[-1]
    growth = pair_by_pair(
        f"render and plan, {large:,} services",
        f"{small} services",
        both[large],
        both[small],
        GROWTH,
        cpu=busy,
    )
    limit = Row(
        name=f"render and plan, {large:,} services",
        against="2 seconds",
        ours=seconds(both[large]),
        theirs=SECONDS,
        ratio=seconds(both[large]) / SECONDS,
        goal=1.0,
        measure="CPU" if busy else "wall",
    )
    rows = [limit, growth]
    if "docker" in found:
        name, other = f"render, {large:,} services", "docker stack config of it"
        ours = found[f"render {large}"]
        rows.append(pair_by_pair(name, other, ours, found["docker"], None, cpu=busy))
    table = {
        str(size): {
            "render": round(seconds(found[f"render {size}"]), 3),
            "plan": round(seconds(found[f"plan {size}"]), 3),
        }
        for size in SIZES
    }
    told = "; ".join(
        f"{size} services: {t['render']:.2f} s + {t['plan']:.2f} s" for size, t in table.items()
    )
    busy_note = "the machine was busy with others, so CPU time is judged, not wall time"
    return Report(
        name="plan",
        title="Rendering and planning large apps",
        rows=rows,
        notes=[
            *([busy_note] if busy else []),
            f"render + plan: {told}",
            "bounded by writing YAML and by comparing each service with the one that runs",
        ],
        details={"seconds": table},
    )


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
