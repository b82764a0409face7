"""A cluster of one node: made, made again, looked at, taken down."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deploytool.backends.swarm import cluster
from deploytool.errors import EngineError, RegistryError, UsageError
from deploytool.image.registry_failures import silent
from tests.fake_engine import FakeEngine, node

REGISTRY = "localhost:5000"


class Api:
    """The part of the SDK that makes Swarms and containers."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.said: list[str] = []
        self.host_config: dict[str, Any] = {}
        self.fails: dict[str, Exception] = {}

    def _meet(self, name: str) -> None:
        self.said.append(name)
        if name in self.fails:
            raise self.fails[name]

    def init_swarm(self, *, advertise_addr: str, listen_addr: str = "0.0.0.0:2377") -> None:
        self._meet(f"init_swarm {advertise_addr} {listen_addr}")
        self.engine.engine_info["Swarm"] = {"LocalNodeState": "active", "ControlAvailable": True}

    def leave_swarm(self, *, force: bool) -> None:
        self._meet("leave_swarm")
        self.engine.engine_info["Swarm"] = {"LocalNodeState": "inactive"}

    def remove_container(self, name: str, *, force: bool) -> None:
        self._meet("remove_container")
        del self.engine.containers[name]

    def create_host_config(self, **settings: Any) -> dict[str, Any]:
        self.host_config = settings
        bound = {
            f"{inner}/tcp": [{"HostIp": address, "HostPort": str(port)}]
            for inner, (address, port) in settings["port_bindings"].items()
        }
        return {"PortBindings": bound}

    def create_container(self, image: str, *, name: str, **settings: Any) -> None:
        self._meet("create_container")
        made = {"State": {"Running": False}, "HostConfig": settings["host_config"]}
        self.engine.containers[name] = made

    def start(self, name: str) -> None:
        self._meet("start")
        self.engine.containers[name] |= {"State": {"Running": True}}

    def inspect_image(self, image: str) -> None:
        self._meet("inspect_image")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine(nodes=1)
    made.engine_info["Swarm"] = {"LocalNodeState": "inactive"}
    made.api = Api(made)

    def problem_at(url: str, address: str, **_: float) -> RegistryError | None:
        host, port = cluster.split_registry(url.partition("://")[2])
        is_there = host not in cluster.LOCAL_HOSTS or port in running(made)
        return None if is_there else silent(address, "refused")

    monkeypatch.setattr(cluster, "problem_at", problem_at)
    return made


def running(engine: FakeEngine) -> dict[int, str]:
    """Port → the container that answers there."""
    return {
        int(binding["HostPort"]): name
        for name, container in engine.containers.items()
        if container["State"]["Running"]
        for [binding] in container["HostConfig"]["PortBindings"].values()
    }


def made_before(engine: FakeEngine, name: str, port: int, *, runs: bool = True) -> None:
    """A container that is there already."""
    bound = {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    engine.containers[name] = {
        "State": {"Running": runs},
        "HostConfig": {"PortBindings": bound},
    }


def up(engine: FakeEngine, registry: str = REGISTRY) -> cluster.ClusterStatus:
    return cluster.up(engine, registry=registry, advertise="10.0.0.5", step=lambda _: None)


def down(engine: FakeEngine, *, volumes: bool = False) -> list[str]:
    return cluster.down(engine, volumes=volumes, step=lambda _: None)


def test_up_from_nothing(engine: FakeEngine) -> None:
    assert up(engine) == cluster.ClusterStatus("active", True, 1, "running", REGISTRY)
    assert "init_swarm 10.0.0.5 0.0.0.0:2377" in engine.api.said, "no address of this machine"


def test_up_listens_on_the_advertised_address_only(engine: FakeEngine) -> None:
    cluster.up(engine, registry=REGISTRY, advertise="127.0.0.1", step=lambda _: None)
    assert "init_swarm 127.0.0.1 127.0.0.1:2377" in engine.api.said


def test_registry_listens_on_this_machine_only(engine: FakeEngine) -> None:
    up(engine)
    assert engine.api.host_config["port_bindings"] == {5000: ("127.0.0.1", 5000)}


def test_up_again_changes_nothing(engine: FakeEngine) -> None:
    first = up(engine)
    engine.api.said.clear()
    assert up(engine) == first
    assert engine.api.said == []


def test_a_registry_elsewhere_is_not_ours_to_start(engine: FakeEngine) -> None:
    assert up(engine, "registry.example.com/team").registry == "not ours"
    assert "create_container" not in engine.api.said


def test_a_registry_elsewhere_that_does_not_answer(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "problem_at", lambda url, address, **_: silent(address, "no"))
    assert cluster.status(engine, registry="registry.example.com").registry == "silent"


def test_a_registry_of_each_address(engine: FakeEngine) -> None:
    up(engine)
    engine.api.said.clear()
    assert up(engine, "localhost:5001").registry == "running"
    assert "remove_container" not in engine.api.said
    assert running(engine) == {5000: "deploytool-registry", 5001: "deploytool-registry-5001"}
    assert list(engine.api.host_config["binds"]) == ["deploytool-registry-5001"]


def test_the_state_is_that_of_the_port(engine: FakeEngine) -> None:
    up(engine)
    assert cluster.status(engine, registry="localhost:5001").registry == "absent"
    made_before(engine, "deploytool-registry-5001", 5001, runs=False)
    assert cluster.status(engine, registry="localhost:5001").registry == "stopped"
    assert cluster.status(engine, registry=REGISTRY).registry == "running"


def test_the_short_name_at_another_port(engine: FakeEngine) -> None:
    """As `cluster up` made it before registries had ports in their names."""
    made_before(engine, cluster.REGISTRY_NAME, 5001)
    assert up(engine, "localhost:5001").registry == "running"
    assert list(running(engine)) == [5001]
    up(engine)
    assert running(engine) == {5001: "deploytool-registry", 5000: "deploytool-registry-5000"}


def test_containers_of_other_people_are_left_alone(engine: FakeEngine) -> None:
    made_before(engine, "deploytool-registry-mirror", 5001, runs=False)
    up(engine, "localhost:5001")
    assert down(engine) == ["swarm", "registry"]
    assert list(engine.containers) == ["deploytool-registry-mirror"]


def test_a_stopped_registry_is_started_again(engine: FakeEngine) -> None:
    made_before(engine, cluster.REGISTRY_NAME, 5000, runs=False)
    assert cluster.status(engine, registry=REGISTRY).registry == "stopped"
    assert up(engine).registry == "running"
    assert "remove_container" not in engine.api.said


def test_a_registry_that_runs_and_is_silent_is_not_replaced(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(engine)
    engine.api.said.clear()
    monkeypatch.setattr(cluster, "problem_at", lambda url, address, **_: silent(address, "no"))
    no_waiting(monkeypatch)
    assert cluster.status(engine, registry=REGISTRY).registry == "silent"
    with pytest.raises(RegistryError) as caught:
        up(engine)
    assert "docker logs deploytool-registry;" in caught.value.hint
    assert engine.api.said == []


def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 5))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_port_that_is_taken(engine: FakeEngine) -> None:
    engine.api.fails["start"] = EngineError("address already in use", code="engine_refused")
    with pytest.raises(EngineError) as caught:
        up(engine)
    assert caught.value.code == "port_taken"
    assert cluster.REGISTRY_NAME not in engine.containers


def test_a_registry_that_does_not_come_up(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "problem_at", lambda url, address, **_: silent(address, "no"))
    no_waiting(monkeypatch)
    with pytest.raises(RegistryError):
        up(engine)


def test_down_leaves_the_swarm(engine: FakeEngine) -> None:
    up(engine)
    engine.add_volume(cluster.REGISTRY_NAME)
    assert down(engine) == ["swarm", "registry"]
    assert cluster.status(engine, registry=REGISTRY) == cluster.ClusterStatus(
        "inactive", False, 0, "absent", REGISTRY
    )
    assert [v["Name"] for v in engine.volumes()] == [cluster.REGISTRY_NAME]
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
