"""Services that depend on one another, commands in replicas, and what the nodes take."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab import Lab
from tests.live.clusters import NomadCluster, both, both_thorough, cluster, on_swarm
from tests.live.conftest import DEPLOYTOOL, Json, Project, make_project

SLOW = "import pathlib,time; time.sleep(2); pathlib.Path('/tmp/up').touch(); time.sleep(1000)"
QUICK: Json = {
    "stop_grace": "1s",
    "drain": "0s",
    "restart": {"delay": "0s"},
    "update": {"monitor": "1s"},
}


@pytest.fixture(scope="module")
def shops(
    lab: Lab,
    lab_env: dict[str, str],
    example_image: str,
    tmp_path_factory: pytest.TempPathFactory,
    worker: str,
) -> Iterator[Callable[[str], Project]]:
    """db, which takes two seconds to come up, on the first node; cache on the others; and web,
    which depends on db: an app for each kind of cluster."""
    made: dict[str, Project] = {}

    def shop_on(kind: str) -> Project:
        if kind not in made:
            folder = tmp_path_factory.mktemp("shop")
            where = cluster(kind, lab)
            made[kind] = shop = make_project(folder, f"shop{worker}", lab, lab_env, where)
            shop.services = services(kind, lab)
            shop.configure()
            shop.ok("deploy", "--image", example_image)
        return made[kind]

    yield shop_on
    for shop in made.values():
        shop.run("destroy", "--yes", "--volumes")


def services(kind: str, lab: Lab) -> dict[str, Json]:
    first, others = "node.role == manager", "node.role == worker"
    db: Json = {
        "command": ["python", "-c", SLOW],
        "healthcheck": {"command": ["test", "-f", "/tmp/up"], "interval": "500ms"},
    }
    if kind == "nomad":  # which runs no commands as health checks, and knows no roles
        serving = SLOW.partition("time.sleep(1000)")[0] + "os.execlp(*['python'] * 2, *SERVE)"
        first, others = (f"node.hostname {sign} {lab.manager.name}" for sign in ("==", "!="))
        db = {
            "command": ["python", "-c", f"import os; SERVE = ['-m', 'http.server']; {serving}"],
            "port": 8000,
            "domains": [],
            "healthcheck": {"path": "/", "interval": "1s"},
        }
    return {
        "db": QUICK | db | {"memory": "16MiB", "placement": {"constraints": [first]}},
        "cache": QUICK
        | {
            "command": ["sleep", "1000"],
            "replicas": 2,
            "placement": {"constraints": [others]},
        },
        "web": QUICK | {"command": ["sleep", "1000"], "cpu": 0.01, "depends_on": ["db"]},
    }


@pytest.fixture
def shop(shops: Callable[[str], Project], kind: str) -> Project:
    return shops(kind)


def created(shop: Project, service: str) -> list[datetime]:
    """When the replicas of a service that shall run were made."""
    if shop.cluster.name == "nomad":
        return [moment(a["CreateTime"]) for a in allocations(shop, service)]
    return [datetime.fromisoformat(task["CreatedAt"]) for task in tasks(shop, service)]


def up(shop: Project) -> datetime:
    """When db was healthy."""
    if shop.cluster.name == "swarm":
        newest = max(tasks(shop, "db"), key=lambda task: str(task["CreatedAt"]))
        return datetime.fromisoformat(newest["Status"]["Timestamp"])
    allocation = max(allocations(shop, "db"), key=lambda found: int(found["CreateIndex"]))
    events = allocation["TaskStates"]["db"]["Events"]
    (started,) = [event["Time"] for event in events if event["Type"] == "Started"]
    return moment(started) + timedelta(seconds=2)


def tasks(shop: Project, service: str) -> list[Json]:
    """The tasks that shall run, as the engine tells of them."""
    found: list[Json] = json.loads(shop.docker("inspect", *shop.running(service)))
    return found


def allocations(shop: Project, service: str) -> list[Json]:
    assert isinstance(shop.cluster, NomadCluster)
    return [shop.cluster.get(f"/v1/allocation/{name}") for name in shop.running(service)]


def moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 10**9, UTC)


@both
def test_each_starts_in_its_turn(shop: Project) -> None:
    (web,) = created(shop, "web")
    assert web > up(shop)
    assert all(cache < up(shop) for cache in created(shop, "cache"))


@both_thorough
def test_what_waits_for_a_failure_is_never_touched(shop: Project, example_image: str) -> None:
    good = dict(shop.services["db"])
    before = {name: shop.cluster.version_of(shop, name) for name in ("web", "cache")}
    shop.services["db"] = good | {"command": ["python", "-c", "raise SystemExit(3)"]}
    shop.services["web"]["env"] = {"ROUND": "2"}
    shop.configure()
    ran = shop.run("deploy", "--image", example_image)
    shop.services["db"] = good
    assert (ran.code, ran.error["code"]) == (3, "rolled_back"), ran.stdout + ran.stderr
    assert "waits for db" in ran.stderr or "db.1" in ran.error["message"]
    assert {name: shop.cluster.version_of(shop, name) for name in ("web", "cache")} == before


@both
@pytest.mark.thorough
def test_without_waiting_the_order_holds(shop: Project, example_image: str) -> None:
    for name in ("db", "web"):
        shop.services[name]["env"] = {"ROUND": "3"}
    shop.configure()
    done = shop.ok("deploy", "--image", example_image, "--no-wait")
    assert done["waited"] is False
    assert max(created(shop, "web")) > up(shop)
    shop.ok("deploy", "--image", example_image)


@both
def test_a_command_in_a_replica(shop: Project) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    ran = shop.run("exec", "db", "--json", "--", "python", "-c", script, json_output=False)
    assert ran.code == 7, ran.stdout + ran.stderr
    assert ran.data == {
        "replica": "db.1",
        "node": shop.lab.manager.name,
        "exit_code": 7,
        "stdout": "out\n",
        "stderr": "err\n",
    }
    ran = shop.run("exec", "db", "--", "python", "-c", script, json_output=False)
    assert (ran.code, ran.stdout, ran.stderr) == (7, "out\n", "err\n")


@both_thorough
def test_what_is_piped_in_is_the_commands_input(shop: Project) -> None:
    done = subprocess.run(
        [*DEPLOYTOOL, "exec", "db", "--", "cat"],
        input=b"a\0b\n",
        cwd=shop.folder,
        env=shop.env,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\0b\n", b"")


@both_thorough
def test_on_a_terminal_the_command_has_it(shop: Project) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*DEPLOYTOOL, "exec", "db", "--", "sh", "-c", "test -t 0 && test -t 1; exit $((40 + $?))"],
        cwd=shop.folder,
        env=shop.env,
        stdin=terminal,
        stdout=terminal,
    )
    os.close(terminal)
    try:
        assert process.wait(60) == 40
    finally:
        os.close(controller)


@on_swarm
def test_a_replica_that_this_engine_does_not_reach(shop: Project) -> None:
    error = shop.run("exec", "cache", "--json", "--", "ls", json_output=False).error
    assert error["code"] == "replica_elsewhere"
    node, _, _, container, *_ = error["hint"].partition("ssh://")[2].split()
    there = next(one for one in shop.lab.nodes if one.name == node)
    assert there.docker("inspect", "--format", "{{.State.Running}}", container).strip() == "true"


@both
def test_capacity_of_the_nodes(shop: Project) -> None:
    found = shop.ok("capacity")
    nodes = {node["node"]: node for node in found["nodes"]}
    assert nodes.keys() == {node.name for node in shop.lab.nodes}
    manager = nodes.pop(shop.lab.manager.name)
    assert manager["memory"]["reserved"] >= 16 * 2**20
    assert manager["memory"]["used"] > 2**20
    assert manager["cpu"]["used"] is not None
    if shop.cluster.name == "swarm":  # other engines do not tell
        assert all(node["memory"]["used"] is None and node["unmeasured"] for node in nodes.values())
    services: dict[str, Any] = {service["service"]: service for service in found["services"]}
    assert services["db"]["measured"] == 1
    assert 2**20 < services["db"]["used"]["memory"] <= manager["memory"]["used"]
    assert manager["fits"]["db"] == manager["memory"]["free"] // (16 * 2**20)
    assert services["cache"]["fits"] is None


@both_thorough
def test_use_of_the_cores_is_seen(shop: Project) -> None:
    burn = ["exec", "db", "--", "timeout", "8", "python", "-c", "while True: pass"]
    with shop.start(*burn) as process:
        used = max(shop.ok("capacity")["services"][1]["used"]["cpu"] for _ in range(2))
        process.terminate()
        process.communicate(timeout=30)
    assert used > 0.1


@both_thorough
def test_all_that_was_printed_is_shown(project: Project, example_image: str) -> None:
    """By many replicas on one node too, of which the engine itself does not show all that they
    printed."""
    prints = "import time\nfor n in range(1000): print('line', n, '.' * 60)\ntime.sleep(1000)"
    node = project.lab.nodes[1].name
    project.services = {
        "chatty": QUICK
        | {
            "command": ["python", "-uc", prints],
            "replicas": 6,
            "placement": {"constraints": [f"node.hostname == {node}"]},
        }
    }
    project.configure()
    project.ok("deploy", "--image", example_image)
    shown = project.ok("logs", "--tail", "1000")["lines"]
    for slot in range(1, 7):
        printed = [line["text"].split()[1] for line in shown if line["slot"] == slot]
        assert printed == [str(number) for number in range(1000)]
    assert {line["node"] for line in shown} == {node}
