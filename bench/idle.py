"""What a replica costs while nobody calls it: its health check, and the rest.

Eight replicas on one engine, with the health check of deploytool as it comes, with one as Compose
files have it, and with none, in turn. What the whole machine does is counted, so the engine and
what it starts in a replica for each check are in it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.measure import median, say
from bench.project import Project, lab_and_folder
from bench.report import Report, Row
from tests.lab import Lab

ROUNDS = 3
REPLICAS = 8
SETTLE = 30.0
"""Seconds until replicas have started, and are checked as any that runs is."""
SECONDS = 40.0
"""Time over which is counted: several checks of each replica."""
GOAL = 0.25
OURS, USUAL, NONE = "the default", "python -c with urllib every 5s", "no check"
CHECKS = {
    OURS: '{ path = "/health" }',
    USUAL: (
        '{ interval = "5s", command = ["python", "-c", "import urllib.request; '
        "urllib.request.urlopen('http://localhost:8000/health')\"] }"
    ),
    NONE: "false",
}
CONFIGURATION = """\
app = "bench"
registry = "{registry}"
entrypoint = "app.main:app"

[services.web]
replicas = {replicas}
port = 8000
memory = "32MiB"
memory_limit = "192MiB"
update = {{ parallelism = {replicas}, monitor = "1s" }}
healthcheck = {check}
"""


def run(rounds: int | None = None) -> Report:
    with lab_and_folder(nodes=1) as (lab, folder):
        return _measure(lab, folder, rounds or ROUNDS)


def _measure(lab: Lab, folder: Path, rounds: int) -> Report:
    project = Project.make(lab, folder, "bench")
    found: dict[str, list[float]] = {name: [] for name in CHECKS}
    try:
        for number in range(rounds):
            names = list(CHECKS) if number % 2 == 0 else list(reversed(CHECKS))
            for name in names:
                found[name].append(_cost(project, CHECKS[name]))
                say(f"  {name}: {found[name][-1]:.2f} % of a core for each replica")
    finally:
        project.deploytool("destroy", "--yes").run()
    rest = median(found[NONE])
    ours, usual = (median(found[name]) - rest for name in (OURS, USUAL))
    return Report(
        name="idle",
        title=f"What an idle replica costs, of {REPLICAS} on one engine",
        rows=[
            Row(
                name="its health check",
                against=USUAL,
                ours=ours,
                theirs=usual,
                ratio=ours / usual,
                goal=GOAL,
                unit="% of a core",
            )
        ],
        notes=[
            f"{rest:.2f} % of a core is what a replica and its share of the engine cost without "
            "a check, and of the machine without any replica"
        ],
        versions={"Docker": lab.engine.version},
        details={name: [round(cost, 3) for cost in costs] for name, costs in found.items()},
    )


def _cost(project: Project, check: str) -> float:
    """Hundredths of a core that the machine was busy, by replica."""
    project.write(
        CONFIGURATION.format(registry=project.lab.registry, replicas=REPLICAS, check=check)
    )
    project.deploytool("deploy", "--image", project.image, "--yes").run()
    time.sleep(SETTLE)
    before, begin = _busy(), time.monotonic()
    time.sleep(SECONDS)
    return 100 * (_busy() - before) / (time.monotonic() - begin) / REPLICAS


def _busy() -> float:
    """Seconds that the machine's processors have worked since it started, but for what gives way to
    everything else."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, _nice, system, _idle, _iowait, irq, softirq, *_ = map(int, fields)
    return (user + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
