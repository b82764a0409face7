"""The operator's levers, as commands: what they say, and what they leave in the audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.model import AuditEntry, Outcome
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import EngineError
from deploytool.output import Output
from deploytool.records import audit, history
from tests.builders import app, deploy, engine, release, service, with_proxy, worker
from tests.fake_engine import FakeEngine

CONFIGURATION = """
app = "items"
entrypoint = "app.main:app"
registry = "registry.example.com/team"

[services.web]
port = 8000
"""
SPEC = app(service())


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A cluster without the app, and the project to deploy it from."""
    made = engine()
    (tmp_path / "deploytool.toml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    return made


@pytest.fixture
def cluster(empty: FakeEngine) -> FakeEngine:
    """The cluster with the app on it."""
    begun = history.begin(SwarmStore(empty), release(SPEC, 0))
    deploy(empty, SPEC)
    history.finish(SwarmStore(empty), begun, Outcome.DONE, 1.0)
    return empty


class Command:
    """Runs commands and reads the one object that they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        before, dashes, after = " ".join(arguments).partition(" -- ")
        code = run([*before.split(), "--json", *(dashes + after).split()])
        return code, json.loads(self.capsys.readouterr().out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def log(made: FakeEngine) -> list[AuditEntry]:
    return audit.entries(SwarmStore(made), "items")


LEVERS = [
    (("scale", "web=3", "--timeout", "50ms"), "scale web=3"),
    (("restart", "web", "--timeout", "50ms"), "restart web"),
    (("run", "--timeout", "50ms", "--", "sleep", "1000"), "run sleep"),
]


@pytest.mark.parametrize(("arguments", "action"), LEVERS)
def test_what_timed_out_is_in_the_audit_log(
    cluster: FakeEngine, command: Command, arguments: tuple[str, ...], action: str
) -> None:
    cluster.settle = False
    code, said = command(*arguments)
    assert (code, said["error"]["code"][-9:]) == (4, "timed_out")
    (entry,) = log(cluster)
    assert (entry.action, entry.outcome) == (action, "timed_out")
    assert entry.seconds is not None


@pytest.mark.parametrize(("arguments", "action"), LEVERS)
@pytest.mark.parametrize(
    ("raised", "outcome", "exit_code"),
    [
        (EngineError("The engine refused", code="engine_refused"), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
)
def test_failed_and_interrupted_changes_are_audited(
    cluster: FakeEngine,
    command: Command,
    arguments: tuple[str, ...],
    action: str,
    raised: Any,
    outcome: str,
    exit_code: int,
) -> None:
    cluster.settle = False
    told = cluster.tasks

    def tasks(**filters: Any) -> Any:
        if any(change.startswith(("update_service", "create_service")) for change in changes()):
            raise raised
        return told(**filters)

    before = len(cluster.changes)

    def changes() -> list[str]:
        return cluster.changes[before:]

    cluster.tasks = tasks  # type: ignore[method-assign]
    code, _ = command(*arguments)
    assert code == exit_code
    assert [(entry.action, entry.outcome) for entry in log(cluster)] == [(action, outcome)]


def test_what_was_done_has_no_outcome_of_its_own(cluster: FakeEngine, command: Command) -> None:
    assert command("restart", "web")[0] == 0
    (entry,) = log(cluster)
    assert (entry.action, entry.outcome) == ("restart web", "")


@pytest.mark.parametrize(
    "arguments", [("scale", "nope=3"), ("restart", "nope"), ("run", "--service", "nope", "--", "x")]
)
def test_what_was_refused_is_not_there(
    cluster: FakeEngine, command: Command, arguments: tuple[str, ...]
) -> None:
    code, said = command(*arguments)
    assert (code, said["error"]["code"]) == (2, "unknown_service")
    assert log(cluster) == []


def changed(text: str) -> None:
    Path("deploytool.toml").write_text(CONFIGURATION + text)


@pytest.mark.parametrize("good", [1, 2])
def test_a_rollback_after_a_failure_that_was_left_goes_to_what_served_last(
    cluster: FakeEngine, command: Command, good: int
) -> None:
    for number in range(2, good + 1):
        changed(f'env = {{ N = "{number}" }}\n')
        assert command("deploy", "--yes", "--image", "r/items:1")[1]["data"]["release"] == "v2"
    cluster.settle = False
    changed('env = { N = "bad" }\nupdate = { on_failure = "pause" }\n')
    paused(cluster, command)
    cluster.settle = True
    code, said = command("rollback", "--yes")
    assert code == 0, said
    assert history.records(SwarmStore(cluster), "items")[-1].release.note == f"rollback to v{good}"
    container = cluster.service("items_web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert "N=bad" not in container["Env"]


def paused(cluster: FakeEngine, command: Command) -> None:
    """A release whose update the engine pauses."""
    told = cluster.services

    def services(**filters: Any) -> Any:
        live = cluster.service("items_web")
        if live.get("UpdateStatus", {}).get("State") == "updating":
            cluster.set_update("items_web", "paused", "update paused due to failure")
        return told(**filters)

    cluster.services = services  # type: ignore[method-assign]
    code, said = command("deploy", "--yes", "--image", "r/items:bad")
    assert (code, said["error"]["code"]) == (1, "rollout_paused")
    cluster.services = told  # type: ignore[method-assign]


def test_a_service_whose_release_is_none_is_no_obstacle(
    cluster: FakeEngine, command: Command
) -> None:
    cluster.service("items_web")["Spec"]["Labels"]["deploytool.release"] = "latest"
    assert command("status")[1]["data"]["release"] == "latest"
    assert command("rollback")[1]["error"]["code"] == "no_earlier_release"


# destroy

STACK = {"com.docker.stack.namespace": "items"}


def left(made: FakeEngine) -> list[str]:
    return [str(thing) for thing in Swarm(made).belongings("items") if not thing.nodes]


def test_destroy_names_the_volumes_that_it_keeps(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.add_volume("items_data", STACK)
    assert run(["destroy", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "items is gone: service items_web, network items_default, 3 configs\n" in out
    assert "volume items_data is kept; `deploytool destroy --volumes` removes it" in out
    assert left(cluster) == ["volume items_data"]


def test_destroy_with_volumes_afterwards_removes_them(
    cluster: FakeEngine, command: Command
) -> None:
    cluster.add_volume("items_data", STACK)
    assert command("destroy", "--yes")[1]["data"]["kept"] == ["volume items_data"]
    code, said = command("destroy", "--yes")
    assert (code, said["error"]["code"]) == (2, "not_deployed")
    assert "volume items_data" in said["error"]["hint"]
    assert "`deploytool destroy --volumes`" in said["error"]["hint"]
    code, said = command("destroy", "--yes", "--volumes")
    assert (code, said["data"]["removed"], said["data"]["kept"]) == (0, ["volume items_data"], [])
    assert left(cluster) == []
    assert command("destroy", "--yes", "--volumes")[1]["error"]["code"] == "not_deployed"


def test_destroy_removes_what_a_first_deploy_that_failed_left(
    empty: FakeEngine, command: Command
) -> None:
    Swarm(empty).set_secrets("items", {"DB": b"x"})
    changed('secrets = ["DB"]\nvolumes = ["data:/data"]\n')
    empty.settle = False
    code, _ = command("deploy", "--yes", "--image", "r/items:1", "--timeout", "50ms")
    assert code == 4
    assert empty.services() == []
    empty.add_volume("items_data", STACK)
    empty.add_volume("other_data", {"com.docker.stack.namespace": "other"})
    said = command("destroy", "--yes", "--volumes")[1]
    assert said["data"]["removed"] == [
        "network items_default",
        "secret items_DB.1",
        "volume items_data",
        "config items.release.1",
    ]
    assert left(empty) == []
    assert [volume["Name"] for volume in empty.volumes()] == ["other_data"]


def test_destroy_asks_with_the_names(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_volume("items_data", STACK)
    monkeypatch.setattr(Output, "interactive", True)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n")
    assert run(["destroy", "--volumes"]) == 1
    asked = capsys.readouterr().err
    assert "Remove items and the data in its volumes from the cluster (service items_web" in asked
    assert "volume items_data" in asked
    assert "service items_web" in left(cluster)


def test_destroy_leaves_a_stack_that_is_not_ours(empty: FakeEngine, command: Command) -> None:
    spec: dict[str, Any] = {
        "Name": "items_web",
        "Labels": STACK,
        "TaskTemplate": {"ContainerSpec": {"Image": "other"}},
        "Mode": {"Replicated": {"Replicas": 1}},
    }
    empty.create_service(spec)
    empty.create_network("items_default", labels=STACK)
    empty.add_volume("items_data", STACK)
    code, said = command("destroy", "--yes", "--volumes")
    assert (code, said["error"]["code"]) == (2, "not_deployed")
    assert len(empty.services()) == len(empty.volumes()) == 1


def test_destroy_says_which_volumes_other_nodes_may_have(
    empty: FakeEngine, command: Command
) -> None:
    """Each engine knows its own volumes alone."""
    changed('replicas = 3\nvolumes = ["data:/data"]\n')
    assert command("deploy", "--yes", "--image", "r/items:1", "--no-wait")[0] == 0
    empty.add_volume("items_data", STACK)
    code, said = command("destroy", "--yes", "--volumes")
    assert (code, said["data"]["kept"]) == (0, [])
    (warning,) = said["warnings"]
    assert "items_data may be on node-2, node-3 too" in warning
    assert "docker --host ssh://node-2 volume rm items_data" in warning


def test_destroy_goes_on_where_somebody_else_removed_something(
    cluster: FakeEngine, command: Command
) -> None:
    told = cluster.remove_network

    def remove_network(network_id: str) -> None:
        told(network_id)
        raise EngineError(f"network {network_id} not found", code="engine_refused")

    cluster.remove_network = remove_network  # type: ignore[method-assign]
    assert command("destroy", "--yes")[0] == 0


def test_proxy_down_names_what_it_keeps_and_forgets_it_afterwards(
    empty: FakeEngine, command: Command
) -> None:
    with_proxy(empty)
    Swarm(empty).set_secrets("proxy", {"TOKEN": b"x"})
    empty.add_volume("proxy_certificates", {"com.docker.stack.namespace": "proxy"})
    kept = ["secret proxy_TOKEN.1", "volume proxy_certificates"]
    assert command("proxy", "down", "--yes")[1]["data"]["kept"] == kept
    error = command("proxy", "down", "--yes")[1]["error"]
    assert error["code"] == "not_deployed"
    assert "`deploytool proxy down --volumes`" in error["hint"]
    assert command("proxy", "down", "--yes", "--volumes")[1]["data"]["removed"] == kept


# Records of another shape


def test_an_entry_of_another_shape_stops_no_command(cluster: FakeEngine, command: Command) -> None:
    line = {"at": "2026-11-22T03:04:05Z", "by": "ann", "action": "restart", "added": 1}
    own = {"deploytool.app": "items", labels.AUDIT: json.dumps([line, "?"])}
    cluster.create_config("items.audit", b"x", own)
    assert command("restart")[0] == 0
    entries = command("audit")[1]["data"]["entries"]
    assert {(entry["by"] == "ann", entry["action"]) for entry in entries} >= {(True, "restart")}
    assert len(log(cluster)) == 2


def test_a_lock_that_cannot_be_read_can_be_released(cluster: FakeEngine, command: Command) -> None:
    own = {"deploytool.app": "items", labels.ROLE: "lock"}
    cluster.create_config("items.lock", b"{", own)
    code, said = command("restart", "--lock-timeout", "0s")
    assert (code, said["error"]["code"]) == (1, "locked")
    assert command("lock", "status")[0] == 0
    assert command("lock", "release", "--yes")[0] == 0
    assert command("restart", "--lock-timeout", "0s")[0] == 0


def test_a_release_of_another_version_is_listed_and_rolled_back_to(
    cluster: FakeEngine, command: Command
) -> None:
    data = json.loads(release(app(service(replicas=2)), 2).model_dump_json())
    data["spec"]["services"][0]["added"] = True
    told = {"deploytool.app": "items", labels.OUTCOME: "done"}
    for number, content in ((2, data), (3, {"number": 3})):
        own = told | {labels.RELEASE: f"v{number}"}
        cluster.create_config(f"items.release.{number}", json.dumps(content).encode(), own)
    said = command("releases")[1]
    assert [found["release"] for found in said["data"]["releases"]] == ["v2", "v1"]
    partly, unread = said["warnings"]
    assert "v2" in partly
    assert "spec.services.0.added" in partly
    assert unread.startswith("v3 cannot be read")
    code, said = command("rollback", "v2")
    assert code == 0
    assert said["warnings"][:2] == [partly, unread]
    assert cluster.service("items_web")["Spec"]["Mode"]["Replicated"]["Replicas"] == 2


def unreadable(cluster: FakeEngine, number: int) -> None:
    """A release that another version of deploytool stored, and that this one cannot read."""
    own = {labels.STACK: "items", "deploytool.app": "items", "deploytool.outcome": "done"}
    own |= {labels.RELEASE: f"v{number}"}
    cluster.create_config(f"items.release.{number}", b'{"format": 99}', own)


UNREAD = "v2 cannot be read by this version of deploytool and is left out"


@pytest.mark.parametrize("target", ["v2", "2"])
def test_rollback_to_a_release_that_cannot_be_read_says_so(
    cluster: FakeEngine, command: Command, target: str
) -> None:
    unreadable(cluster, 2)
    code, said = command("rollback", target)
    assert (code, said["error"]["code"]) == (2, "release_unreadable")


def test_rollback_without_another_release_names_those_that_cannot_be_read(
    cluster: FakeEngine, command: Command
) -> None:
    unreadable(cluster, 2)
    code, said = command("rollback")
    assert (code, said["error"]["code"]) == (2, "no_earlier_release")
    assert said["error"]["details"] == [UNREAD]


def test_audit_and_run_name_releases_that_cannot_be_read(
    cluster: FakeEngine, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable(cluster, 2)
    assert command("audit")[1]["warnings"] == [UNREAD]
    assert run(["run", "--timeout", "50ms", "--", "true"]) == 4
    assert UNREAD in " ".join(capsys.readouterr().err.split())


def test_audit_counts_the_lines_that_cannot_be_read(cluster: FakeEngine, command: Command) -> None:
    own = {labels.STACK: "items", "deploytool.app": "items", labels.AUDIT: '[5, {"at": 1e99}]'}
    cluster.create_config("items.audit", b"x", own)
    code, said = command("audit")
    assert code == 0
    assert said["warnings"] == [
        "2 lines of the audit log cannot be read by this version of deploytool and are left out"
    ]


def test_status_claims_nothing_of_services_where_the_newest_release_cannot_be_read(
    cluster: FakeEngine, command: Command
) -> None:
    begun = history.begin(SwarmStore(cluster), release(app(service(), worker()), 0))
    history.finish(SwarmStore(cluster), begun, Outcome.DONE, 1.0)
    assert [s["name"] for s in command("status")[1]["data"]["services"]] == ["web", "worker"]
    unreadable(cluster, 3)
    assert [s["name"] for s in command("status")[1]["data"]["services"]] == ["web"]


def test_garbage_collection_leaves_everything_while_a_release_cannot_be_read(
    cluster: FakeEngine,
) -> None:
    """Whoever wrote it may need any of it."""
    for number in (1, 2):
        own = {"deploytool.app": "items", labels.SECRET: "TOKEN", labels.VERSION: str(number)}
        cluster.add_secret(f"items_TOKEN.{number}", own)
    cluster.create_config("items_old", b"x", {"deploytool.app": "items", labels.FILE: "old"})
    unreadable(cluster, 2)
    Swarm(cluster).collect_garbage("items")
    assert {s["Spec"]["Name"] for s in cluster.secrets()} == {"items_TOKEN.1", "items_TOKEN.2"}
    names = {config["Spec"]["Name"] for config in cluster.configs()}
    assert {"items_old", "items.release.2"} <= names
    (broken,) = (c for c in cluster.configs() if c["Spec"]["Name"] == "items.release.2")
    cluster.remove_config(broken["ID"])
    Swarm(cluster).collect_garbage("items")
    assert {s["Spec"]["Name"] for s in cluster.secrets()} == {"items_TOKEN.2"}
    assert "items_old" not in {config["Spec"]["Name"] for config in cluster.configs()}
