"""Traefik as an app: what it may, what it listens to, and what it is told."""

from __future__ import annotations

import pytest

from deploytool.backends.base import Action
from deploytool.backends.swarm import compile as swarm
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.backend import Swarm
from deploytool.proxy import ENGINE_SOCKET, app_spec
from deploytool.spec import ProxySettings
from tests.builders import deploy, engine, image, images, proxy


def compiled(settings: ProxySettings | None = None) -> swarm.Json:
    spec = app_spec(settings or ProxySettings())
    return swarm.service_spec(spec, spec.services[0], image("traefik:v3.7"), None)


def test_it_sits_where_the_swarm_can_be_asked() -> None:
    assert compiled()["TaskTemplate"]["Placement"]["Constraints"] == ["node.role == manager"]
    mounts = compiled()["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert {"Type": "bind", "Source": ENGINE_SOCKET, "Target": ENGINE_SOCKET, "ReadOnly": True} in (
        mounts
    )


def test_it_sees_the_callers_addresses() -> None:
    (port,) = compiled(ProxySettings(http_port=8081))["EndpointSpec"]["Ports"]
    assert (port["PublishMode"], port["PublishedPort"]) == ("host", 8081)
    assert compiled()["UpdateConfig"]["Order"] == "stop-first"


def test_it_has_no_privileges() -> None:
    container = compiled()["TaskTemplate"]["ContainerSpec"]
    assert container["CapabilityDrop"] == ["ALL"]
    assert container["CapabilityAdd"] == []
    assert container["ReadOnly"] is True


@pytest.mark.parametrize(
    "argument",
    [
        "--providers.swarm.exposedbydefault=false",
        "--providers.swarm.network=public",
        "--providers.swarm.refreshseconds=1",
        "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
    ],
)
def test_what_it_is_told(argument: str) -> None:
    spec = compiled(ProxySettings(network="public"))
    assert argument in spec["TaskTemplate"]["ContainerSpec"]["Args"]


def test_its_dashboard_is_not_open() -> None:
    arguments = " ".join(compiled()["TaskTemplate"]["ContainerSpec"]["Args"])
    assert "--api" not in arguments


def test_it_is_recognised() -> None:
    assert compiled()["Labels"][labels.ROLE] == "proxy"
    assert not [key for key in compiled()["Labels"] if key.startswith("traefik.")]


def test_its_health_is_its_own_ping() -> None:
    test = compiled()["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["Test"]
    assert test[:4] == ["CMD", "traefik", "healthcheck", "--ping=true"]


@pytest.mark.parametrize("reference", ["traefik:v3.7", "r.example.com:5000/traefik:v3.7"])
def test_any_image_of_it(reference: str) -> None:
    spec = app_spec(ProxySettings(image=reference))
    assert spec.services[0].image == reference
    assert spec.image == reference.removesuffix(":v3.7")


def test_it_brings_its_network() -> None:
    made = engine()
    made.remove_network("id-of-deploytool-proxy")
    plan = Swarm(made).plan(proxy(), images(proxy()))
    created = [c.name for c in plan.changes if c.kind == "network" and c.action is Action.CREATE]
    assert created == ["deploytool-proxy", "proxy_default"]


def test_another_port_is_a_change() -> None:
    made = engine()
    deploy(made, proxy())
    moved = app_spec(ProxySettings(http_port=8081))
    plan = Swarm(made).plan(moved, images(moved))
    assert [field.path for field in plan.changes[0].fields] == ["publish"]
    assert plan.changes[0].replaces
