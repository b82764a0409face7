"""A cluster of one node: made, made again, looked at, taken down."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deploytool import cluster
from deploytool.errors import EngineError, RegistryError, UsageError
from tests.fake_engine import FakeEngine, node

REGISTRY = "localhost:5000"


class Api:
    """The part of the SDK that makes Swarms and containers."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.said: list[str] = []
        self.bindings: dict[Any, Any] = {}
        self.fails: dict[str, Exception] = {}

    def _meet(self, name: str) -> None:
        self.said.append(name)
        if name in self.fails:
            raise self.fails[name]

    def init_swarm(self, *, advertise_addr: str) -> None:
        self._meet(f"init_swarm {advertise_addr}")
        self.engine.engine_info["Swarm"] = {"LocalNodeState": "active", "ControlAvailable": True}

    def leave_swarm(self, *, force: bool) -> None:
        self._meet("leave_swarm")
        self.engine.engine_info["Swarm"] = {"LocalNodeState": "inactive"}

    def remove_container(self, name: str, *, force: bool) -> None:
        self._meet("remove_container")
        del self.engine.containers[name]

    def create_host_config(self, **settings: Any) -> dict[str, Any]:
        self.bindings = settings["port_bindings"]
        return settings

    def create_container(self, image: str, *, name: str, **settings: Any) -> None:
        self._meet("create_container")
        self.engine.containers[name] = {"State": {"Running": False}}

    def start(self, name: str) -> None:
        self._meet("start")
        self.engine.containers[name] = {"State": {"Running": True}}

    def inspect_image(self, image: str) -> None:
        self._meet("inspect_image")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine(nodes=1)
    made.engine_info["Swarm"] = {"LocalNodeState": "inactive"}
    made.api = Api(made)

    def answers(address: str, **_: float) -> bool:
        found = made.containers.get(cluster.REGISTRY_NAME)
        return bool(found and found["State"]["Running"])

    monkeypatch.setattr(cluster, "answers", answers)
    return made


def up(engine: FakeEngine, registry: str = REGISTRY) -> cluster.ClusterStatus:
    return cluster.up(engine, registry=registry, advertise="10.0.0.5", step=lambda _: None)


def down(engine: FakeEngine, *, volumes: bool = False) -> list[str]:
    return cluster.down(engine, volumes=volumes, step=lambda _: None)


def test_up_from_nothing(engine: FakeEngine) -> None:
    assert up(engine) == cluster.ClusterStatus("active", True, 1, "running", REGISTRY)
    assert "init_swarm 10.0.0.5" in engine.api.said


def test_registry_listens_on_this_machine_only(engine: FakeEngine) -> None:
    up(engine)
    assert engine.api.bindings == {5000: ("127.0.0.1", 5000)}


def test_up_again_changes_nothing(engine: FakeEngine) -> None:
    first = up(engine)
    engine.api.said.clear()
    assert up(engine) == first
    assert engine.api.said == []


def test_a_registry_elsewhere_is_not_ours_to_start(engine: FakeEngine) -> None:
    assert up(engine, "registry.example.com/team").registry == "not ours"
    assert "create_container" not in engine.api.said


def test_a_stopped_registry_is_replaced(engine: FakeEngine) -> None:
    engine.containers[cluster.REGISTRY_NAME] = {"State": {"Running": False}}
    assert cluster.status(engine, registry=REGISTRY).registry == "stopped"
    assert up(engine).registry == "running"


def test_a_port_that_is_taken(engine: FakeEngine) -> None:
    engine.api.fails["start"] = EngineError("address already in use", code="engine_refused")
    with pytest.raises(EngineError) as caught:
        up(engine)
    assert caught.value.code == "port_taken"
    assert cluster.REGISTRY_NAME not in engine.containers


def test_a_registry_that_does_not_come_up(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "answers", lambda address, **_: False)
    moments = iter(range(0, 1000, 5))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(RegistryError):
        up(engine)


def test_down(engine: FakeEngine) -> None:
    up(engine)
    engine.add_volume(cluster.REGISTRY_VOLUME)
    assert down(engine) == ["swarm", "registry"]
    assert cluster.status(engine, registry=REGISTRY) == cluster.ClusterStatus(
        "inactive", False, 0, "absent", REGISTRY
    )
    assert [v["Name"] for v in engine.volumes()] == [cluster.REGISTRY_VOLUME]
    assert down(engine, volumes=True) == ["its images"]
    assert down(engine, volumes=True) == []


def test_a_swarm_of_several_is_left_alone(engine: FakeEngine) -> None:
    up(engine)
    engine.set_nodes([node("n1"), node("n2")])
    with pytest.raises(UsageError) as caught:
        down(engine)
    assert caught.value.code == "several_nodes"
    assert "leave_swarm" not in engine.api.said


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("localhost:5000", ("localhost", 5000)),
        ("localhost:5000/team", ("localhost", 5000)),
        ("registry.example.com/team/x", ("registry.example.com", 443)),
        ("registry.example.com:8443", ("registry.example.com", 8443)),
    ],
)
def test_split_registry(registry: str, expected: tuple[str, int]) -> None:
    assert cluster.split_registry(registry) == expected
