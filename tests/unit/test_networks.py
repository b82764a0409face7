"""Networks that deploytool makes: those that are being removed are waited for."""

from __future__ import annotations

import pytest

from deploytool.backends.model import Job
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.operations import networks
from deploytool.errors import EngineError
from tests.builders import app, deploy, engine, release, service, worker
from tests.fake_engine import FakeEngine


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PAUSE", 0)


def removed_just_now(name: str, times: int = 3) -> FakeEngine:
    """A cluster in the seconds after `docker stack rm`."""
    made = engine()
    if name not in {network["Name"] for network in made.networks()}:
        made.add_network(name)
    made.leaving[name] = times
    return made


@pytest.mark.parametrize("network", ["items_default", "deploytool-proxy"])
def test_a_deploy_waits_for_networks_that_are_being_removed(network: str) -> None:
    spec = app(service(), worker())
    made = removed_just_now(network)
    deploy(made, spec)
    assert {s["Spec"]["Name"] for s in made.services()} == {"items_web", "items_worker"}
    assert [n["Name"] for n in made.networks()].count(network) == 1
    assert not made.leaving


def test_a_release_step_waits_too() -> None:
    spec = app(service(), release={"command": ["migrate"]})
    made = removed_just_now("items_default")
    Swarm(made).start_job(
        Job(name="step", service="web", command=("migrate",), release=release(spec))
    )
    assert not made.leaving


def test_it_waits_no_longer_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PATIENCE", 0.05)
    with pytest.raises(EngineError, match="network items_default not found"):
        deploy(removed_just_now("items_default", 10**6), app(worker()))


def test_what_deploytool_does_not_make_is_not_waited_for() -> None:
    spec = app(worker(networks=["backbone"]))
    made = engine(spec)
    made.leaving["backbone"] = 3
    with pytest.raises(EngineError, match="network backbone not found"):
        deploy(made, spec)
    assert made.leaving == {"backbone": 2}
