"""Each thing that a deploy needs, there and not there."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends import build_checks
from deploytool.backends.kind import Check, State
from deploytool.backends.swarm import doctor
from deploytool.backends.swarm.doctor import examine
from deploytool.config import Config
from deploytool.errors import EngineError
from deploytool.image.registry_failures import silent
from deploytool.spec import ProxySettings, Service
from tests.builders import app, deploy, engine, image, images, service, with_proxy
from tests.builders import proxy as proxy_app
from tests.fake_engine import FakeEngine, node


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for module in (doctor, build_checks):
        monkeypatch.setattr(
            module, "output_of", lambda *command: "github.com/docker/buildx v0.20\nmore"
        )
    monkeypatch.setattr(build_checks, "registry_problem", lambda registry: None)


def config(**keys: Any) -> Config:
    return Config(app="items", services={"web": Service(name="web", command=("x",))}, **keys)


def checks(made: FakeEngine | None = None, **keys: Any) -> dict[str, Check]:
    cluster = made or with_proxy(engine())
    return {check.name: check for check in examine(config(**keys), lambda: cluster)}


def test_all_is_well() -> None:
    made = with_proxy(engine())
    made.engine_info["SystemTime"] = datetime.now(UTC).isoformat()
    found = checks(made)
    local = ("start on boot", "disk", "kernel")
    assert {name: c.state for name, c in found.items() if name not in local} == {
        "buildx": State.GOOD,
        "engine": State.GOOD,
        "clock": State.GOOD,
        "registry": State.GOOD,
        "swarm": State.GOOD,
        "nodes": State.GOOD,
        "proxy": State.GOOD,
    }


@pytest.mark.parametrize(
    ("addresses", "options", "warned"),
    [
        (("192.0.2.1", "10.0.0.2"), {}, False),
        (("8.8.8.8", "10.0.0.2"), {}, True),
        (("2001:4860::1", "10.0.0.2"), {}, True),
        (("8.8.8.8", "10.0.0.2"), {"encrypted": ""}, False),
        (("8.8.8.8",), {}, False),
    ],
)
def test_a_clear_network_between_public_nodes_is_worth_a_warning(
    addresses: tuple[str, ...], options: dict[str, str], warned: bool
) -> None:
    made = with_proxy(engine(nodes=len(addresses)))
    for live, address in zip(made.nodes(), addresses, strict=True):
        live["Status"]["Addr"] = address
    for live in made.networks():
        live["Options"] = options
    assert ("encryption" in checks(made)) is warned


@pytest.mark.parametrize(
    ("rows", "has_bridge_ipv6", "warned"),
    [
        ("20010db8000000000000000000000001 02 40 00 80 eth0", False, True),
        ("20010db8000000000000000000000001 02 40 00 80 eth0", True, False),
        ("fe800000000000000000000000000001 02 40 20 80 eth0", False, False),
        ("fd000000000000000000000000000001 02 40 00 80 eth0", False, False),
    ],
)
def test_callers_by_ipv6_that_lose_their_addresses_are_told(
    rows: str, has_bridge_ipv6: bool, warned: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "if_inet6"
    file.write_text(rows)
    monkeypatch.setattr(doctor, "ADDRESSES", file)
    made = with_proxy(engine())
    made.add_network("docker_gwbridge")
    (bridge,) = (live for live in made.networks() if live["Name"] == "docker_gwbridge")
    bridge |= {"Driver": "bridge", "EnableIPv6": has_bridge_ipv6}
    assert ("IPv6" in checks(made)) is warned


def test_every_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(build_checks, "registry_problem", lambda r: silent(r, "refused"))
    made = FakeEngine(nodes=[node("n1", availability="drain")])
    made.engine_info = {
        "Swarm": {"LocalNodeState": "inactive"},
        "SystemTime": "2020-01-01T00:00:00Z",
    }
    for check in checks(made).values():
        assert check.hint or check.state is State.GOOD, check


def test_no_engine() -> None:
    def refuse() -> FakeEngine:
        raise EngineError("does not answer", code="engine_unreachable", hint="start it")

    found = {check.name: check for check in examine(config(), refuse)}
    assert found["engine"].state is State.BAD
    assert found["engine"].hint == "start it"
    assert set(found) == {"buildx", "engine", "registry"}


def test_no_docker_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert checks()["docker command"].state is State.BAD


def test_no_buildx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_checks, "output_of", lambda *command: None)
    assert checks()["buildx"].state is State.WARNING


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("19.03.15", State.BAD),
        ("20.10.24+dfsg1", State.GOOD),
        ("28.2.2", State.GOOD),
        ("dev", State.BAD),
    ],
)
def test_engine_version(version: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine()
    monkeypatch.setattr(made, "version", lambda: {"Version": version, "ApiVersion": "1.41"})
    assert checks(made)["engine"].state is state


@pytest.mark.parametrize("hours", [0, 2, -5])
@pytest.mark.parametrize(("skew", "state"), [(0, State.GOOD), (300, State.WARNING)])
def test_clock_in_any_zone(hours: int, skew: int, state: State) -> None:
    made = engine()
    now = datetime.now(timezone(timedelta(hours=hours))) + timedelta(seconds=skew)
    made.engine_info["SystemTime"] = now.isoformat().replace("+00:00", "Z")
    assert checks(made)["clock"].state is state


@pytest.mark.parametrize(
    ("swarm", "state"),
    [
        ({"LocalNodeState": "inactive"}, State.BAD),
        ({"LocalNodeState": "locked"}, State.BAD),
        ({"LocalNodeState": "active", "ControlAvailable": False}, State.BAD),
        ({"LocalNodeState": "active", "ControlAvailable": True, "Managers": 2}, State.WARNING),
        ({"LocalNodeState": "active", "ControlAvailable": True, "Managers": 3}, State.GOOD),
        (None, State.BAD),
    ],
)
def test_swarm(swarm: dict[str, Any] | None, state: State) -> None:
    made = engine()
    made.engine_info["Swarm"] = swarm
    found = checks(made)
    assert found["swarm"].state is state
    assert ("nodes" in found) is (state is not State.BAD)


def test_nodes_that_take_no_work() -> None:
    found = checks(
        engine(nodes=[node("n1"), node("n2", state="down"), node("n3", availability="drain")])
    )
    assert found["nodes"].state is State.WARNING
    assert found["nodes"].message == "not taking work: n2, n3"


def test_no_proxy() -> None:
    assert checks(engine())["proxy"].state is State.WARNING


@pytest.mark.parametrize(
    ("tag", "state"),
    [
        ("traefik:v3.7", State.GOOD),
        ("traefik:v3.6.1", State.GOOD),
        ("traefik:v3.6", State.GOOD),
        ("traefik:v3.6.0", State.BAD),
        ("traefik:v3.5", State.BAD),
        ("traefik:v2.11", State.BAD),
        ("traefik:latest", State.GOOD),
        ("r.example.com:5000/traefik:v3.7", State.GOOD),
    ],
)
def test_proxy_version(tag: str, state: State) -> None:
    made = engine()
    spec = proxy_app()
    deploy(made, spec, images(spec) | {"traefik": image(tag)})
    assert checks(made)["proxy"].state is state


@pytest.mark.parametrize("registry", ["localhost:5000", "registry.example.com/team"])
def test_a_registry_that_is_silent(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_checks, "registry_problem", lambda r: silent(r, "refused"))
    found = checks(registry=registry)["registry"]
    assert found.state is State.BAD
    assert registry in found.message


def test_an_engine_elsewhere_is_not_judged_by_this_machine() -> None:
    made = engine()
    made.address = "ssh://deploy@manager"
    found = checks(made)
    assert not {"start on boot", "disk", "kernel"} & set(found)


@pytest.mark.parametrize(("free", "state"), [(2**30, State.WARNING), (2**40, State.GOOD)])
def test_disk(free: int, state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**41, 0, free))
    made = engine()
    made.engine_info["DockerRootDir"] = str(tmp_path)
    assert checks(made)["disk"].state is state


def test_ports_are_those_of_the_proxy_that_runs() -> None:
    made = with_proxy(engine(), ProxySettings(http_port=8081))
    assert checks(made)["proxy"].message.endswith("HTTP on port 8081")


def test_https_that_the_proxy_has_not() -> None:
    settings = ProxySettings(email="ops@example.com")
    found = checks(proxy=settings)["proxy"]
    assert (found.state, found.hint) == (State.WARNING, "deploytool proxy up")
    found = checks(with_proxy(engine(), settings), proxy=settings)["proxy"]
    assert found.state is State.GOOD
    assert found.message.endswith("HTTPS on port 443")


def test_what_apps_need_and_the_proxy_has_not() -> None:
    made = engine()
    settings = ProxySettings(email="ops@example.com")
    deploy(made, app(service(domains=["a.example.com"]), name="shop", proxy=settings))
    with_proxy(made)
    found = checks(made)["proxy"]
    assert found.state is State.BAD
    assert "the service web of the app shop needs the certificate resolver acme" in found.message
    assert checks(with_proxy(made, settings))["proxy"].state is State.GOOD
