"""A cluster of one node on this machine: `nomad agent -dev`, and a registry, for trying.

The agent keeps nothing: when it ends, so does all that runs on it. Everything here can be run
again: what is there already is left as it is.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploytool.backends.kind import LocalCluster, State
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection, connection
from deploytool.errors import DeploytoolError, EngineError, UsageError
from deploytool.process import ProgramMissing, TookTooLong, capture, start_in_background

if TYPE_CHECKING:
    from deploytool.backends.swarm.api.client import Client as Engine
    from deploytool.config import Config

PROGRAM = "nomad"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
STARTING = 60.0
"""Seconds for an agent to lead itself and to have a node that takes work."""
ENDING = 60.0
"""Seconds for an agent to end what runs on it."""
CONFIGURATION = """\
# Written by deploytool for `nomad agent -dev`, and overwritten.
ports {{
  http = {port}
}}

plugin "docker" {{
  config {{
    volumes {{
      enabled = true
    }}
  }}
}}

client {{
  max_kill_timeout = "10m"
}}

server {{
  default_scheduler_config {{
    memory_oversubscription_enabled = true
  }}
}}
"""
"""Volumes are off otherwise, what a service reserves would be its limit, and every replica would be
killed after 30 s at most."""


@dataclass(frozen=True)
class Folder:
    """Where the agent's files are: ~/.local/state/deploytool/nomad."""

    path: Path

    @classmethod
    def usual(cls) -> Folder:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return cls(Path(state).expanduser() / "deploytool" / "nomad")

    @property
    def configuration(self) -> Path:
        return self.path / "agent.hcl"

    @property
    def log(self) -> Path:
        return self.path / "agent.log"

    @property
    def pid(self) -> Path:
        return self.path / "agent.pid"


@dataclass(frozen=True)
class ClusterStatus:
    agent: str
    """"running", "not ours" where another answers, "silent" where ours does not, or "absent"."""
    nodes: int
    """That take work."""
    address: str
    log: str
    """Of the agent that `up` started; empty where it did not."""
    registry: str
    """As on a Swarm."""
    registry_address: str

    @property
    def described(self) -> LocalCluster:
        from deploytool.backends.swarm.cluster import registry_line

        words = {"not ours": "not started by deploytool", "silent": "does not answer"}
        nodes = f", {self.nodes} node{'s' if self.nodes != 1 else ''}" if self.nodes else ""
        log = f"; its log: {self.log}" if self.log else ""
        text = f"Nomad at {self.address}: {words.get(self.agent, self.agent)}{nodes}{log}"
        return LocalCluster(
            asdict(self),
            (
                (State.GOOD if self.nodes else State.WARNING, text),
                registry_line(self.registry, self.registry_address),
            ),
        )


def up(
    config: Config,
    engine: Callable[[], Engine],
    *,
    bind: str,
    step: Callable[[str], None],
    folder: Folder | None = None,
) -> ClusterStatus:
    """Start an agent where none answers at the address that the configuration names, and a registry
    where it wants one on this machine."""
    from deploytool.backends.swarm.cluster import ensure_registry, is_local

    folder = folder or Folder.usual()
    where = connection(config.nomad)
    if not _answers(where):
        _start(where, bind, folder, step)
    if is_local(config.registry):
        ensure_registry(engine(), config.registry, step)
    return status(config, engine, folder=folder)


def status(
    config: Config, engine: Callable[[], Engine], *, folder: Folder | None = None
) -> ClusterStatus:
    """What is there of it."""
    from deploytool.backends.swarm.cluster import registry_answers, registry_state

    folder = folder or Folder.usual()
    where = connection(config.nomad)
    is_ours = _running(folder) is not None
    is_there = _answers(where)
    agent = "running" if is_ours else "not ours"
    if not is_there:
        agent = "silent" if is_ours else "absent"
    try:
        registry = registry_state(engine(), config.registry)
    except DeploytoolError:
        # There may be no engine here: the nodes have their own.
        registry = "not ours" if registry_answers(config.registry) else "absent"
    return ClusterStatus(
        agent=agent,
        nodes=_ready_nodes(where) if is_there else 0,
        address=where.address,
        log=str(folder.log) if is_ours else "",
        registry=registry,
        registry_address=config.registry,
    )


def down(
    config: Config,
    engine: Callable[[], Engine],
    *,
    volumes: bool,
    step: Callable[[str], None],
    folder: Folder | None = None,
) -> list[str]:
    """End the agent that `up` started, with all that runs on it, and remove every registry that it
    made. Raises UsageError where another agent answers."""
    from deploytool.backends.swarm.cluster import remove_registries

    folder = folder or Folder.usual()
    where = connection(config.nomad)
    pid = _running(folder)
    if pid is None and _answers(where):
        raise UsageError(
            f"The Nomad at {where.address} was not started by `cluster up`",
            code="agent_not_ours",
            hint="end it the way it was started, for example: systemctl stop nomad",
        )
    removed = []
    if pid is not None:
        step("Ending nomad agent -dev, and what runs on it")
        _end(pid, folder)
        removed.append("nomad agent")
    folder.pid.unlink(missing_ok=True)
    with suppress(DeploytoolError):
        removed += remove_registries(engine(), volumes=volumes, step=step)
    return removed


# --- the agent ------------------------------------------------------------------------------------


def _start(where: Connection, bind: str, folder: Folder, step: Callable[[str], None]) -> None:
    """Raises UsageError for an address that an agent here cannot have, EngineError where it does
    not come up."""
    url = urlsplit(where.address)
    if url.scheme != "http" or url.hostname not in {*LOOPBACK, bind}:
        raise UsageError(
            f"{where.address} does not answer, and no agent on this machine would be there",
            code="cluster_elsewhere",
            hint="leave address out of [tool.deploytool.nomad], and NOMAD_ADDR unset: "
            "`cluster up` starts one at http://127.0.0.1:4646",
        )
    if shutil.which(PROGRAM) is None:
        raise EngineError(
            "There is no nomad program on this machine",
            code="nomad_missing",
            hint="install it: https://developer.hashicorp.com/nomad/install",
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.configuration.write_text(CONFIGURATION.format(port=url.port or 4646), encoding="utf-8")
    command = [PROGRAM, "agent", "-dev", "-bind", bind, "-config", str(folder.configuration)]
    step(f"Starting {' '.join(command)}")
    step(f"Its log: {folder.log}; to stop it: deploytool cluster down")
    pid = start_in_background(command, log=folder.log, cwd=folder.path)
    folder.pid.write_text(f"{pid}\n", encoding="utf-8")
    _wait_until_ready(where, folder)


def _wait_until_ready(where: Connection, folder: Folder) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if _answers(where) and _ready_nodes(where):
            return
        if _running(folder) is None:
            folder.pid.unlink(missing_ok=True)
            raise EngineError(
                "nomad agent -dev ended at once",
                code="agent_failed",
                hint=f"fix what its log says: {folder.log}",
                details=_last_lines(folder.log),
            )
        time.sleep(0.2)
    raise EngineError(
        f"nomad agent -dev runs, and has no node with Docker that takes work after {STARTING:g} s",
        code="agent_failed",
        hint=f"does Docker run here? see nomad node status -verbose, and {folder.log}; "
        "`deploytool cluster down` ends it",
        details=_last_lines(folder.log),
    )


def _last_lines(log: Path) -> list[str]:
    with suppress(OSError):
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
    return []


def _end(pid: int, folder: Folder) -> None:
    """As Ctrl-C would, which has it end its tasks first."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + ENDING
    while time.monotonic() < deadline:
        if _running(folder) is None:
            return
        time.sleep(0.1)
    raise EngineError(
        f"nomad agent -dev (process {pid}) does not end",
        code="agent_failed",
        hint=f"see {folder.log}; kill {pid} ends it and leaves its containers",
    )


def _running(folder: Folder) -> int | None:
    """The process of the agent that `up` started; None where it has ended. Its number may be
    another program's by now."""
    try:
        pid = int(folder.pid.read_text(encoding="utf-8"))
        found = capture(["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)], timeout=10)
    except (OSError, ValueError, ProgramMissing, TookTooLong):
        return None
    has_ended = found.stdout.lstrip().startswith("Z")
    return pid if str(folder.configuration) in found.stdout and not has_ended else None


def _answers(where: Connection) -> bool:
    with suppress(DeploytoolError):
        return bool(Client(where, patience=0).get("/v1/status/leader"))
    return False


def _ready_nodes(where: Connection) -> int:
    """That have Docker and take work."""
    with suppress(DeploytoolError):
        nodes = Client(where, patience=0).get("/v1/nodes") or ()
        return sum(
            node.get("Status") == "ready"
            and node.get("SchedulingEligibility") == "eligible"
            and bool(((node.get("Drivers") or {}).get("docker") or {}).get("Healthy"))
            for node in nodes
        )
    return 0
