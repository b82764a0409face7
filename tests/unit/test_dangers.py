"""What is said of an app that gives its node, or its data, away."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.swarm.backend import Swarm
from deploytool.dangers import of_engine, of_service, warnings
from tests.builders import app, engine, images, proxy, service


def rules(**keys: Any) -> list[str]:
    return [danger.rule for danger in of_service(service(**keys))]


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        *(
            ({"volumes": [f"{path}:/x"]}, "mounts-engine")
            for path in ("/var/run/docker.sock", "/run//docker.sock", "/run/user/1/podman.sock")
        ),
        ({"volumes": ["/run/containerd/containerd.sock:/x:ro"]}, "mounts-engine"),
        *(
            ({"volumes": [f"{path}:/x:ro"]}, "mounts-node")
            for path in ("/", "/etc", "/etc/", "/var", "/srv/../root", "/proc/1", "/run", "/home")
        ),
        ({"volumes": ["//var/lib/docker/volumes:/x:ro"]}, "mounts-node"),
        *(
            ({"volumes": [f"{path}:/x"]}, "mounts-node")
            for path in ("/etc/cron.d", "/usr/local/bin", "/root/.ssh")
        ),
        ({"capabilities": ["ALL"]}, "dangerous-capability"),
        ({"capabilities": ["CHOWN", "CAP_SYS_ADMIN"]}, "dangerous-capability"),
        ({"publish": {"port": 15432, "target": 5432}}, "published-database"),
        ({"publish": {"port": 6379, "target": 6379, "mode": "host"}}, "published-database"),
        ({"port": 27017, "publish": {"port": 80}}, "published-database"),
        ({"env": {"DOCKER_HOST": "tcp://10.0.0.1:2376"}}, "engine-without-tls"),
        ({"env": {"ENGINES": "unix:///x,tcp://a.example:2375"}}, "engine-without-tls"),
    ],
)
def test_dangerous(keys: dict[str, Any], rule: str) -> None:
    assert rules(**keys) == [rule]


@pytest.mark.parametrize(
    "keys",
    [
        {"volumes": ["data:/root", "/srv/uploads:/data", "/etc/ssl/certs:/etc/ssl/certs:ro"]},
        {"volumes": ["/run/postgresql:/run/postgresql", "/dev/shm:/dev/shm", "/home/a/b:/b"]},
        {"volumes": ["/usr/share/zoneinfo:/z:ro", "/etcetera:/x", "/opt/app:/y"]},
        {"capabilities": ["NET_BIND_SERVICE", "CHOWN"]},
        {"capabilities": "default"},
        {"publish": [{"port": 8080}, {"port": 9200, "target": 53, "protocol": "udp"}]},
        {"env": {"DOCKER_HOST": "tcp://10.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"}},
        {"env": {"DOCKER_HOST": "unix:///run/docker.sock", "URL": "http://a:2375"}},
        {"env": {"DOCKER_HOST": "ssh://a.example", "BACKEND": "tcp://a:23750"}},
    ],
)
def test_harmless(keys: dict[str, Any]) -> None:
    assert rules(**keys) == []


@pytest.mark.parametrize(
    ("address", "is_found"),
    [("tcp://a.example:2375", True), ("tcp://a.example:2376", False), ("ssh://a", False)],
)
def test_the_engine_that_is_asked(address: str, is_found: bool) -> None:
    assert bool([*of_engine(address)]) is is_found


def test_the_plan_says_it() -> None:
    spec = app(service(domains=[], volumes=["/var/run/docker.sock:/x:ro"], capabilities=["ALL"]))
    assert Swarm(engine(spec)).plan(spec, images(spec)).warnings == (
        "services.web.volumes mounts /var/run/docker.sock, the engine's socket: whoever takes over "
        "the process is root on its node",
        "services.web.capabilities has ALL: whoever takes over the process gets out of its "
        "container",
    )


def test_the_proxy_is_deploytools_own() -> None:
    assert warnings(proxy()) == []
