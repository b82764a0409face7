"""The release is all right, but something around it is not."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.swarm.specification.health import CUT_OFF
from tests.lab import Node
from tests.lab.cache import cache_folder, locked
from tests.lab.packages import unpack_files
from tests.live.clusters import NomadCluster, both, on_nomad, on_swarm
from tests.live.conftest import Ran
from tests.live.faults.conftest import RATE, Case, Faulty, read_until, write
from tests.load import Result

STEP = ["python", "-uc", "import time; print('migra' 'ting'); time.sleep(5)"]
"""Which says a word that its command does not have."""
PHASES = {
    "before it is planned": ("Deploying", "Waiting", "Plan for"),
    "in the release step": ("migrating",),
    "while replicas are replaced": ("web.",),
}


@both
def test_nothing_goes_wrong(app: Faulty) -> None:
    """For comparison."""
    case = Case(app, "nothing: a variable is changed", (0,))
    app.configure()
    case.run(app.deploy)


@both
def test_registry_is_down(app: Faulty) -> None:
    """An unchanged tag needs no answer, see tests/live/test_registry.py; another one does."""
    registry = app.lab.registry_process
    case = Case(app, "the registry is down, and the tag another one", (1,), "registry_unreachable")
    app.configure()

    def deploy() -> Ran:
        registry.stop()
        try:
            return app.deploy(image=app.image.partition("@")[0] + "-next")
        finally:
            registry.start()
            registry.wait()

    case.run(deploy)


@both
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
@pytest.mark.parametrize("phase", list(PHASES))
def test_the_tool_is_stopped(app: Faulty, phase: str, blow: signal.Signals) -> None:
    """The same command again finishes the work, and the step has run once."""
    word = "killed" if blow is signal.SIGKILL else "interrupted by Ctrl-C"
    case = Case(app, f"deploytool is {word} {phase}; then the same again", (0,))
    app.configure(release={"command": STEP})

    def deploy() -> Ran:
        process = app.start()
        read_until(process, PHASES[phase])
        process.send_signal(blow)
        _, rest = process.communicate(timeout=60)
        # A shell says 130 of one that SIGINT ended too: Python ends so where it was interrupted
        # while a module made its dataclasses.
        assert process.returncode in (-signal.SIGKILL, -signal.SIGINT, 130), rest
        assert "Traceback" not in rest
        ran = app.deploy()
        outcomes = [r["outcome"] for r in app.project.ok("releases")["releases"]]
        assert outcomes[0] == "done"
        assert "started" not in outcomes[:2]
        return ran

    case.run(deploy)


@both
def test_two_deploys_at_once(app: Faulty) -> None:
    case = Case(app, "two deploys at once: the second", (0,))
    app.configure(release={"command": STEP})

    def deploy() -> Ran:
        first = app.start()
        read_until(first, ("migrating",))
        app.configure(release={"command": STEP})
        second = app.deploy()
        _, stderr = first.communicate(timeout=120)
        assert first.returncode == 0, stderr
        assert "who is changing" in second.stderr
        return second

    case.run(deploy)


@both
def test_two_deploys_at_once_without_waiting(app: Faulty) -> None:
    case = Case(app, "two deploys at once: the second, with `--lock-timeout 0s`", (1,), "locked")
    app.configure(release={"command": STEP})

    def deploy() -> Ran:
        first = app.start()
        read_until(first, ("migrating",))
        second = app.deploy("--lock-timeout", "0s")
        _, stderr = first.communicate(timeout=120)
        assert first.returncode == 0, stderr
        return second

    case.run(deploy)


@both
def test_the_clock_of_the_client_is_wrong(
    app: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(app, "the client's clock is off by five hours", (0,))
    app.configure()
    # Its clock_nanosleep refuses the absolute times that time.sleep gives it.
    write(
        tmp_path,
        "sitecustomize.py",
        "import threading, time\ntime.sleep = lambda seconds: threading.Event().wait(seconds)\n",
    )
    path = f"{tmp_path}{os.pathsep}{app.project.env['PYTHONPATH']}"
    monkeypatch.setitem(app.project.env, "PYTHONPATH", path)
    monkeypatch.setitem(app.project.env, "LD_PRELOAD", str(install_faketime()))
    monkeypatch.setitem(app.project.env, "FAKETIME", "+5h")
    monkeypatch.setitem(app.project.env, "FAKETIME_DONT_FAKE_MONOTONIC", "1")
    case.run(app.deploy)


def install_faketime() -> Path:
    """The library that tells programs another time."""
    folder = cache_folder() / "faketime"
    with locked("faketime"):
        if not folder.exists():
            unpack_files("bookworm", ["libfaketime"], folder)
    return next(folder.rglob("libfaketime.so.1"))


@both
def test_the_disk_of_the_client_is_full(
    app: Faulty, small_engine: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It builds with an engine of its own for a cluster elsewhere."""
    case = Case(app, "the client's disk is full while it builds", (1,), "disk_full")
    app.configure(**({} if app.is_on_nomad else {"swarm": {"host": app.lab.manager.docker_host}}))
    dockerfile = app.project.folder / "Dockerfile"
    before = dockerfile.read_text()
    big = write(app.project.folder, "app/big", "")
    big.write_bytes(os.urandom(60 << 20))

    def build() -> Ran:
        with monkeypatch.context() as here:
            here.setitem(app.project.env, "DOCKER_HOST", small_engine.docker_host)
            return app.project.run("deploy")

    dockerfile.write_text("FROM scratch\nCOPY app /app\n")
    try:
        case.run(build)
    finally:
        big.unlink()
        dockerfile.write_text(before)


IN_FLIGHT = 20
"""Requests that one of three replicas may have under way, streams and slow answers included."""
RESTART = 45
"""Seconds that the only manager, and the proxy on it, may take to be back."""


def lost_with_a_node(result: Result) -> int:
    """What was in flight on it is lost with it, and what the proxy sent to it on connections that
    it had, which it closes after 3 s; nothing that came later."""
    died = result.moment("died")
    late = [s for s in result.failures if s.at > died + 4]
    assert not late, result.story()
    return IN_FLIGHT


@both
@pytest.mark.parametrize(
    ("when", "after"), [("during the rollout", 4.0), ("just before the rollout", 0.0)]
)
def test_a_worker_node_dies(app: Faulty, when: str, after: float) -> None:
    case = Case(app, f"a worker node dies {when}", (0,), lost=lost_with_a_node)
    app.configure({} if after else {"replicas": 6})
    victim = app.lab.nodes[-1]

    def deploy() -> Ran:
        def kill() -> None:
            app.lab.kill_node(victim)
            case.mark("died")

        killer = threading.Timer(after, kill)
        killer.start()
        try:
            if not after:
                killer.join()
            return app.deploy("--timeout", "2m")
        finally:
            killer.join()
            app.lab.start_node(victim)

    case.run(deploy)


@both
def test_a_node_is_drained(app: Faulty) -> None:
    """For maintenance, as its operator should. To the Swarm a new replica that has to leave within
    `monitor` has failed, and it takes the rollout back: deploytool begins it again."""
    case = Case(app, "a node is drained by its operator during the rollout", (0,))
    app.configure({"replicas": 6})
    victim, project = app.lab.nodes[-1], app.project

    def drain() -> None:
        project.cluster.drained(project, victim)

    try:
        case.run(lambda: app.disturbed(("web.",), drain))
    finally:
        project.cluster.undrained(project, victim)


@both
def test_the_node_of_the_release_step_dies(app: Faulty) -> None:
    """Nobody knows how far it came, so that it is not started again."""
    case = Case(app, "the release step's node dies while it runs", (1,), "job_lost")
    case.lost = lost_with_a_node
    step = [*STEP[:-1], STEP[-1].replace("sleep(5)", "sleep(90)")]
    away = {"constraints": [f"node.hostname != {app.lab.manager.name}"]}
    app.configure({"placement": away}, release={"command": step})

    dead: list[Node] = []

    def kill() -> None:
        victim = app.project.cluster.step_node(app.project)
        dead.append(victim)
        app.lab.kill_node(victim)
        case.mark("died")

    def deploy() -> Ran:
        try:
            return app.disturbed(("migrating",), kill)
        finally:
            for node in dead:
                app.lab.start_node(node)

    case.run(deploy)


@both
def test_the_engine_of_the_manager_restarts(app: Faulty) -> None:
    """With the only manager the proxy is away for a moment too: callers notice that; the deploy
    goes on. On Nomad it is the node whose proxy they call."""
    title = (
        "the engine of the proxy's node restarts during the rollout, the only manager's on Swarm"
    )
    case = Case(app, title, (0,))
    case.lost = lambda _: round(RESTART * RATE)
    app.configure()

    def restart() -> None:
        app.lab.stop_node(app.lab.manager)
        app.lab.start_node(app.lab.manager)

    case.run(lambda: app.disturbed(("web.",), restart))


@on_nomad
def test_the_servers_restart(app: Faulty) -> None:
    """They keep what they know, as their log does; nodes and tasks go on without them."""
    case = Case(app, "Nomad's servers restart during the rollout", (0,))
    case.alone = "The managers of a Swarm are engines, whose restarts have rows of their own."
    nomad = app.project.cluster
    assert isinstance(nomad, NomadCluster)
    app.configure()
    case.run(lambda: app.disturbed(("web.",), lambda: nomad.restart_servers(app.lab)))


NO_NETWORK = (
    "Nomad has no network of its own between the nodes, which could learn of a replica late: the "
    "proxy calls a port of the replica's node."
)


def cut_off(app: Faulty, node: Node) -> None:
    """What containers on a node send shall not arrive at those of the proxy's."""
    app.lab.manager.run("iptables", "-I", *_from(node))


def let_through(app: Faulty, node: Node) -> None:
    app.lab.manager.run("iptables", "-D", *_from(node))


def _from(node: Node) -> tuple[str, ...]:
    return ("INPUT", "-p", "udp", "--dport", "4789", "-s", node.address, "-j", "DROP")


def printed(app: Faulty, node: Node) -> list[str]:
    """What each replica printed that is on a node or was there."""
    its = ("ps", "--all", "--quiet", "--filter", f"name={app.project.app}_web")
    return [node.docker("logs", container) for container in node.docker(*its).split()]


def moved_between_workers(app: Faulty, **service: Any) -> Node:
    """An app that shall move from one worker to another, which is returned."""
    here, there = (
        {"placement": {"constraints": [f"node.hostname == {node.name}"]}}
        for node in app.lab.nodes[1:]
    )
    app.configure(here)
    assert app.deploy().code == 0
    app.configure(there | service)
    return app.lab.nodes[2]


@on_swarm
def test_the_proxy_reaches_new_replicas_late(app: Faulty) -> None:
    """As it happens by itself where word of a new replica gets lost between the engines."""
    case = Case(app, "the proxy reaches new replicas 8 s after they are up", (0,))
    case.alone = NO_NETWORK
    node = moved_between_workers(app)

    def deploy() -> Ran:
        cut_off(app, node)
        healing = threading.Timer(8, let_through, (app, node))
        healing.start()
        try:
            return app.deploy()
        finally:
            healing.join()

    case.run(deploy)
    assert any(CUT_OFF in output for output in printed(app, node))


@on_swarm
def test_the_proxy_never_reaches_new_replicas(app: Faulty) -> None:
    title = "nothing arrives at the proxy from the node of a new replica (UDP 4789 is closed)"
    case = Case(app, title, (3,), "rolled_back", CUT_OFF)
    case.alone = NO_NETWORK
    check = {"path": "/health", "start_period": "2s", "interval": "1s", "retries": 2}
    node = moved_between_workers(app, healthcheck=check)

    def deploy() -> Ran:
        cut_off(app, node)
        try:
            return app.deploy()
        finally:
            let_through(app, node)

    ran = case.run(deploy)
    assert "its health check failed" in ran.error["message"]
    assert "UDP 4789" in ran.error["hint"]
