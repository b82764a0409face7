"""A rolling update of four replicas: `deploytool deploy --image` beside `docker stack deploy
--detach=false` of the stack file that `deploytool render` wrote.

Both update the same stack of a lab of three nodes by a changed variable, in turn. How long the
engine itself took is read from the service, so what a tool adds to it is known too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import Run, in_turn, median, say
from bench.project import Project, lab_and_folder
from bench.report import Report, Row, pair_by_pair
from tests.lab import Lab

ROUNDS = 3
GOAL = 1.05
NOISE = 0.03
"""Spread of the engine's own time from which on two runs are not comparable as they are."""
APP = "bench"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "one at a time, monitor 5 s": {"parallelism": 1, "monitor": "5s"},
    "two at a time, monitor 1 s": {"parallelism": 2, "monitor": "1s"},
}
CONFIGURATION = """\
app = "{app}"
registry = "{registry}"
entrypoint = "app.main:app"

[services.web]
replicas = 4
port = 8000
memory = "32MiB"
memory_limit = "192MiB"
stop_grace = "6s"
drain = "1s"
env = {{ ROUND = "{round}" }}
healthcheck = {{ path = "/health", timeout = "10s", start_period = "60s" }}
update = {{ parallelism = {parallelism}, monitor = "{monitor}", order = "start-first" }}
"""


@dataclass
class Rollouts(Project):
    """The example, its configuration changed before every run."""

    round: int = 0
    engine_seconds: dict[str, list[float]] = field(default_factory=dict)

    def configure(self, settings: Mapping[str, Any]) -> None:
        self.round += 1
        text = CONFIGURATION.format(
            app=APP, registry=self.lab.registry, round=self.round, **settings
        )
        self.write(text)

    def ours(self, settings: Mapping[str, Any]) -> Run:
        """Change a variable, deploy."""
        self.configure(settings)
        run = self.deploytool("deploy", "--image", self.image, "--yes").run()
        return self.checked("deploytool", run)

    def theirs(self, settings: Mapping[str, Any]) -> Run:
        """Change a variable, render, and deploy that file with the plain tool."""
        self.configure(settings)
        self.deploytool("render").run()
        file = f"stacks/{APP}.yml"
        run = self.docker("stack", "deploy", "--detach=false", "-c", file, APP).run()
        return self.checked("docker", run)

    def checked(self, tool: str, run: Run) -> Run:
        """The same, once it is sure that the update was made."""
        service = json.loads(self.lab.manager.docker("service", "inspect", f"{APP}_web"))[0]
        environment = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
        update = service.get("UpdateStatus") or {}
        if f"ROUND={self.round}" not in environment or update.get("State") != "completed":
            raise RuntimeError(f"{tool} did not finish the update: {update}")
        begin, end = (datetime.fromisoformat(update[k]) for k in ("StartedAt", "CompletedAt"))
        seconds = (end - begin).total_seconds()
        self.engine_seconds.setdefault(tool, []).append(seconds)
        say(
            f"  {tool:<10} {run.wall:6.2f} s, of which the engine {seconds:.2f} s; "
            f"CPU of the tool {run.cpu:.2f} s"
        )
        return run


def run(rounds: int | None = None) -> Report:
    with lab_and_folder(nodes=3) as (lab, folder):
        return _measure(lab, folder, rounds or ROUNDS)


def _measure(lab: Lab, folder: Path, rounds: int) -> Report:
    project = Rollouts.make(lab, folder, APP)
    rows: list[Row] = []
    notes: list[str] = []
    details: dict[str, Any] = {}
    try:
        for name, settings in SETTINGS.items():
            say(f"{name}:")
            project.configure(settings)
            project.deploytool("deploy", "--image", project.image, "--yes").run()
            project.engine_seconds.clear()
            runs = {
                "deploytool": partial(project.ours, settings),
                "docker": partial(project.theirs, settings),
            }
            found = in_turn(runs, rounds)
            engine = {tool: seconds[1:] for tool, seconds in project.engine_seconds.items()}
            rows.append(_row(name, found, engine))
            notes.append(_note(name, found, engine))
            details[name] = {
                tool: {
                    "wall": [round(run.wall, 3) for run in found[tool]],
                    "cpu": [round(run.cpu, 3) for run in found[tool]],
                    "engine": [round(seconds, 3) for seconds in engine[tool]],
                }
                for tool in found
            }
    finally:
        project.deploytool("destroy", "--yes").run()
    return Report(
        name="rollout",
        title="A rolling update of four replicas",
        rows=rows,
        notes=[
            *notes,
            "bounded by the engine: it starts replicas, waits for their health checks and for "
            "`monitor`; a tool adds what it does before the first replica and after the last",
            "the second ratio takes the median of the engine's time of all runs for both tools, "
            "as that time varies from run to run; it is judged where it varies by more than "
            f"{NOISE:.0%}",
        ],
        versions={"Docker": lab.engine.version},
        details=details,
    )


def _row(name: str, found: Mapping[str, list[Run]], engine: Mapping[str, list[float]]) -> Row:
    plain = pair_by_pair(
        name, "docker stack deploy", found["deploytool"], found["docker"], GOAL, cpu=False
    )
    level = median([seconds for tool in engine.values() for seconds in tool])
    own = {tool: _own(found[tool], engine[tool]) for tool in found}
    levelled = (level + own["deploytool"]) / (level + own["docker"])
    noisy = _spread(engine) > NOISE
    return Row(
        name=name,
        against=plain.against,
        ours=plain.ours,
        theirs=plain.theirs,
        ratio=levelled if noisy else plain.ratio,
        goal=GOAL,
        measure="levelled" if noisy else "wall",
        pairs=plain.pairs,
        other=f"wall {plain.ratio:.2f}" if noisy else f"levelled {levelled:.2f}",
    )


def _note(name: str, found: Mapping[str, list[Run]], engine: Mapping[str, list[float]]) -> str:
    parts = [
        f"{tool} adds {_own(found[tool], engine[tool]):.2f} s (CPU "
        f"{median([run.cpu for run in found[tool]]):.2f} s)"
        for tool in found
    ]
    seconds = [second for tool in engine.values() for second in tool]
    return (
        f"{name}: the engine takes {min(seconds):.1f} to {max(seconds):.1f} s; {', '.join(parts)}"
    )


def _own(runs: list[Run], engine: list[float]) -> float:
    """What a tool adds to the engine's own time."""
    return median([run.wall - seconds for run, seconds in zip(runs, engine, strict=True)])


def _spread(engine: Mapping[str, list[float]]) -> float:
    seconds = [second for tool in engine.values() for second in tool]
    return (max(seconds) - min(seconds)) / median(seconds)
