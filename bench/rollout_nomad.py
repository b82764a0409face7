"""A rolling update of four replicas on Nomad: what `deploytool deploy` adds to the time from the
registration of the job to the success of its deployment.

The cluster is the double, on a clock that runs as clocks do; its tasks are scripted and take no
processor time of their own.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command, Run, clean_environment, is_busy, median, say
from bench.report import Report, Row
from tests.any_registry import any_registry
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running
from tests.nomad_double.state import Json

ROUNDS = 5
SECONDS = 0.5
REPOSITORY = Path(__file__).parents[1]
CONFIGURATION = """\
app = "bench"
backend = "nomad"
registry = "{registry}"
entrypoint = "app.main:app"

[services.web]
replicas = 4
port = 8000
env = {{ ROUND = "{round}" }}
healthcheck = {{ path = "/health" }}
update = {{ monitor = "1s" }}
"""


@dataclass
class TimedCluster(Cluster):
    """Notes when a job was registered, and when its deployment had succeeded."""

    registered: float = 0.0
    succeeded: float = 0.0
    """0 while it has not."""

    def register(self, namespace: str, body: Json) -> Json:
        self.registered, self.succeeded = time.monotonic(), 0.0
        return super().register(namespace, body)

    @contextmanager
    def watched(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.005):
            with self.state.changed:
                states = {d["JobVersion"]: d["Status"] for d in self.deployments.values()}
            if states and states[max(states)] == "successful" and not self.succeeded:
                self.succeeded = time.monotonic()


def run(rounds: int | None = None) -> Report:
    cluster = TimedCluster()
    with (
        tempfile.TemporaryDirectory() as temporary,
        running(cluster, speed=1) as address,
        any_registry() as registry,
        cluster.watched(),
    ):
        folder = Path(temporary)
        env = clean_environment(folder / "cache") | {"NOMAD_ADDR": address}
        script = REPOSITORY / ".venv" / "bin" / "deploytool"
        command = Command(
            [script, "deploy", "--image", f"{registry}/bench:1", "--yes"], env, folder
        )
        found = []
        for number in range(-1, rounds or ROUNDS):
            (folder / "deploytool.toml").write_text(
                CONFIGURATION.format(round=number, registry=registry)
            )
            done = command.run()
            took = cluster.succeeded - cluster.registered
            say(f"  {done.wall:.2f} s, of which the cluster {took:.2f} s")
            if number >= 0:
                found.append(Run(done.wall - took, done.cpu))
    added = median([run.wall for run in found])
    return Report(
        name="rollout-nomad",
        title="A rolling update of four replicas on Nomad",
        rows=[
            Row(
                name="what deploytool adds to the cluster's time",
                against="half a second",
                ours=added,
                theirs=SECONDS,
                ratio=added / SECONDS,
                goal=1.0,
                other=f"CPU {median([run.cpu for run in found]):.2f} s",
            )
        ],
        notes=["the machine was busy with others"] if is_busy(found) else [],
        details={"added": [round(run.wall, 3) for run in found]},
    )
