"""What an engine or a Swarm would refuse is refused before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends import engine_limits
from deploytool.backends.nomad.specification import refused as on_nomad
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.proxy import app_spec as proxy_app
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import refused, stack
from deploytool.backends.swarm.specification.scripts import BY_TARGET
from deploytool.errors import ConfigError, PlanError
from deploytool.spec import AppSpec, ProxySettings, ReleaseStep
from tests.builders import app, deploy, engine, images, service, worker
from tests.fake_engine import FakeEngine, node

LONG = "x" * (128 * 1024)
OF_EVERY_ENGINE: list[tuple[str, dict[str, Any]]] = [
    ("memory_limit", {"memory_limit": "1MiB"}),
    ("memory_limit", {"memory_limit": "5MiB"}),
    ("cpu_limit", {"cpu_limit": 0.005}),
    ("healthcheck.interval", {"healthcheck": {"path": "/", "interval": "0s"}}),
    ("healthcheck.timeout", {"healthcheck": {"path": "/", "timeout": "0.4ms"}}),
    ("healthcheck.start_interval", {"healthcheck": {"path": "/", "start_interval": "0s"}}),
    ("capabilities", {"capabilities": ["FOO_BAR"]}),
    ("ulimits.nofile", {"ulimits": {"nofile": -1}}),
    ("ulimits.nofile", {"ulimits": {"nofile": "1024:-1"}}),
    ("ulimits.nofile", {"ulimits": {"nofile": 2**31}}),
    ("volumes", {"volumes": ["data:/"]}),
    ("volumes", {"volumes": ["data:/a", "more:/a/"]}),
    ("volumes", {"volumes": ["data:/tmp/"]}),
    ("volumes", {"volumes": ["data:/a", "more://a"]}),
    ("volumes", {"volumes": ["data:/proc"]}),
    ("volumes", {"volumes": ["/srv:/proc"]}),
    ("volumes", {"volumes": ["/srv:/proc/sys"]}),
    ("volumes", {"volumes": ["data:/sys"]}),
    ("volumes", {"volumes": ["data:/dev/"]}),
    ("tmpfs", {"tmpfs": {"/dev": "1MiB"}}),
    ("files", {"files": {"/proc": "a"}}),
    ("volumes", {"volumes": ["data:/a/b"], "files": {"/a": "a"}}),
    ("files", {"files": {"/a": "a", "/a/b": "b"}}),
    ("secrets", {"files": {"/run": "a"}, "secrets": ["A"]}),
    ("secrets", {"secrets": ["A", "A"]}),
    ("files", {"files": {"/run/secrets/A": "a"}, "secrets": ["A"]}),
    ("volumes", {"volumes": ["data:/run/secrets"], "secrets": ["A"]}),
    ("volumes", {"volumes": ["data:/run:ro"], "secrets": ["A"]}),
    ("volumes", {"volumes": [f"{'x' * 250}:/data"]}),
    ("volumes", {"volumes": [f"/{'x' * 256}:/data"]}),
    ("volumes", {"volumes": [f"data:/{'x' * 256}"]}),
    ("files", {"files": {f"/{'é' * 128}": "a"}}),
    ("tmpfs", {"tmpfs": {"/a" * 2048: "1MiB"}}),
    ("logging.max_size", {"logging": {"max_size": "0B"}}),
    ("logging.options.colour", {"logging": {"options": {"colour": "1"}}}),
    ("logging.options.a", {"logging": {"driver": "local", "options": {"a": "1"}}}),
    ("logging.options.compress", {"logging": {"driver": "local", "options": {"compress": "y"}}}),
    ("logging.options.mode", {"logging": {"driver": "loki", "options": {"mode": "fast"}}}),
    ("logging.options.max-buffer-size", {"logging": {"options": {"max-buffer-size": "4m"}}}),
    (
        "logging.options.max-buffer-size",
        {"logging": {"options": {"mode": "non-blocking", "max-buffer-size": "much"}}},
    ),
    ("logging.options.tag", {"logging": {"options": {"tag": "{{.Name"}}}),
    ("user", {"user": "99999999999"}),
    ("user", {"user": str(2**31)}),
    ("user", {"user": f"0:{2**31}"}),
    ("user", {"user": "-1"}),
    ("user", {"user": "9" * 5000}),
    ("command", {"command": [""]}),
    ("command", {"command": ["", "a"]}),
    ("prestart", {"command": ["a"], "prestart": [""]}),
    ("healthcheck.command", {"healthcheck": {"command": [""]}}),
    ("env.A", {"env": {"A": LONG}}),
    ("command", {"command": ["sh", "-c", LONG]}),
]
OF_A_SWARM: list[tuple[str, dict[str, Any]]] = [
    ("memory", {"memory": "1MiB"}),
    ("cpu", {"cpu": 0.0005}),
    ("networks", {"networks": ["ingress"]}),
    ("networks", {"networks": ["host"]}),
    ("networks", {"networks": ["none"]}),
    ("files", {"files": {"/deploytool/healthcheck.py": "a"}}),
    ("files", {"files": {"/deploytool": "a"}}),
    ("logging.max_files", {"logging": {"driver": "local", "max_files": 1}}),
    ("logging.max_files", {"logging": {"max_files": 1, "options": {"compress": "true"}}}),
    ("env.A", {"env": {"A": "{{.Node"}, "templates": ["env.A"]}),
    ("env.A", {"env": {"A": "{{.Node.Foo}}"}, "templates": ["env.A"]}),
    ("env.A", {"env": {"A": "{{Node.ID}}"}, "templates": ["env.A"]}),
    ("env.A", {"env": {"A": "{{.Service.Labels.a}}"}, "templates": ["env.A"]}),
    ("hostname", {"hostname": "{{if .Node.ID}}a", "templates": ["hostname"]}),
    ("volumes", {"volumes": ["/srv/{{}}:/a"], "templates": ["volumes"]}),
    ("placement.constraints", {"placement": {"constraints": ["node.labels.a == ä"]}}),
    ("placement.constraints", {"placement": {"constraints": ["node.labels.ä != a"]}}),
    ("placement.constraints", {"placement": {"constraints": ["node.name != a"]}}),
    ("placement.constraints", {"placement": {"constraints": ["node.labels. != a"]}}),
    ("placement.constraints", {"placement": {"constraints": ["node.ip != a"]}}),
    ("secrets", {"secrets": ["x" * 40]}),
]
OF_NOMAD: list[tuple[str, dict[str, Any]]] = [
    ("volumes", {"volumes": ["data:/local"]}),
    ("volumes", {"volumes": ["data:/alloc/"]}),
    ("volumes", {"volumes": ["data://run/secrets/more"], "secrets": ["A"]}),
    ("files", {"files": {"/run/secrets/B": "a"}, "secrets": ["A"]}),
    ("logging.options.compress", {"logging": {"options": {"compress": "true"}}}),
    ("env.A", {"env": {"A": '{{ env "a" '}, "templates": ["env.A"]}),
    ("hostname", {"hostname": "${node.unique.name", "templates": ["hostname"]}),
    ("volumes", {"volumes": ["/srv/${a:/a"], "templates": ["volumes"]}),
]
OF_NONE: list[dict[str, Any]] = [
    {"volumes": ["/sys:/sys:ro", "/dev:/dev", "/proc:/proc", "/x:/host/proc:ro"]},
    {"volumes": ["/proc/meminfo:/proc/meminfo:ro"]},
    {"tmpfs": {"/dev/shm": "1MiB", "/run": "1MiB"}, "secrets": ["A"]},
    {"files": {"/run/secrets": "a"}, "volumes": ["data:/run:ro"]},
    {"files": {"/etc/a": "a", "/etc/ab/c": "b"}, "volumes": ["data:/etc/ab:ro"]},
    {"logging": {"options": {"tag": "{{.Name}}", "labels": "a", "env-regex": "^A"}}},
    {"logging": {"driver": "local", "max_files": 1, "options": {"compress": "false"}}},
    {"logging": {"options": {"mode": "non-blocking", "max-buffer-size": "4m"}}},
    {"logging": {"driver": "journald", "options": {"tag": "{{.ImageName}}/{{.Name}}"}}},
    {"logging": {"driver": "loki", "options": {"loki-url": "http://a", "tag": "{{"}}},
    {"user": f"{2**31 - 1}:app"},
    {"user": "0010001:0"},
    {"command": ["sh", "-c", ""]},
    {"env": {"A": "{{.Node"}},
]


def paths(found: Any) -> set[str]:
    return {problem.path for problem in found}


@pytest.mark.parametrize(("key", "keys"), [*OF_EVERY_ENGINE, *OF_A_SWARM])
def test_a_swarm_gets_nothing_that_it_refuses(key: str, keys: dict[str, Any]) -> None:
    spec = app(service(**keys), name="a" * 40)
    made = engine()
    with pytest.raises(ConfigError) as caught:
        Swarm(made).plan(spec, images(spec))
    assert f"services.web.{key}" in paths(caught.value.problems)
    with pytest.raises(ConfigError):
        stack.files(spec)
    assert made.services() == []


@pytest.mark.parametrize(("key", "keys"), OF_EVERY_ENGINE)
def test_nomad_gets_nothing_that_engines_refuse(key: str, keys: dict[str, Any]) -> None:
    assert f"services.web.{key}" in paths(on_nomad.problems(app(service(**keys))))


@pytest.mark.parametrize(("key", "keys"), OF_NOMAD)
def test_nomad_gets_nothing_that_its_clients_refuse(key: str, keys: dict[str, Any]) -> None:
    assert f"services.web.{key}" in paths(on_nomad.problems(app(service(**keys))))


@pytest.mark.parametrize("keys", OF_NONE)
def test_what_engines_take(keys: dict[str, Any]) -> None:
    spec = app(service(**keys))
    assert not [*refused.problems(spec), *on_nomad.problems(spec)]


def test_each_place_that_is_mounted_twice_is_told_once() -> None:
    volumes = ["a:/a", "b:/a/", "c:/a//"]
    spec = app(service(volumes=volumes, secrets=["A", "A"]))
    assert [problem.message for problem in refused.problems(spec)] == [
        "/a is mounted twice",
        "/run/secrets/A is mounted twice",
    ]


def test_an_empty_command_of_the_release_step() -> None:
    spec = app(release=ReleaseStep(command=("", "a")))
    assert paths(refused.problems(spec)) == paths(on_nomad.problems(spec)) == {"release.command"}


@pytest.mark.parametrize(
    ("network", "is_taken"),
    [
        *((name, False) for name in ("ingress", "host", "bridge", "none", "a b", "-a", "a" * 64)),
        ("proxy_default", False),
        *((name, True) for name in ("deploytool-proxy", "a__b-c", "a" * 63)),
    ],
)
def test_the_network_of_the_proxy(network: str, is_taken: bool) -> None:
    settings = ProxySettings(network=network)
    for spec in (app(proxy=settings), proxy_app(settings)):
        assert paths(refused.problems(spec)) == (set() if is_taken else {"proxy.network"})
    assert not list(refused.problems(app(worker(), proxy=settings)))


def test_the_network_of_the_proxy_is_not_the_apps_own() -> None:
    spec = app(proxy=ProxySettings(network="items_default"))
    assert paths(refused.problems(spec)) == {"proxy.network"}


@pytest.mark.parametrize(
    ("subnet", "replicas", "is_taken"),
    [
        ("10.9.0.0/32", 1, False),
        ("10.9.0.0/31", 1, False),
        ("10.9.0.0/30", 1, False),
        ("10.9.0.0/29", 1, False),
        ("10.9.0.0/28", 8, True),
        ("10.9.0.0/28", 9, False),
        ("10.253.0.0/20", 4000, True),
    ],
)
def test_addresses_for_the_replicas_behind_the_proxy(
    subnet: str, replicas: int, is_taken: bool
) -> None:
    settings = ProxySettings(subnet=subnet)
    spec = app(service(replicas=replicas), proxy=settings)
    assert paths(refused.problems(spec)) == (set() if is_taken else {"proxy.subnet"})
    assert not list(refused.problems(app(worker(replicas=replicas), proxy=settings)))
    assert not list(on_nomad.problems(spec))


def test_the_proxy_itself_needs_addresses() -> None:
    assert paths(refused.problems(proxy_app(ProxySettings(subnet="10.9.0.0/30"))))
    assert not list(refused.problems(proxy_app(ProxySettings(subnet="10.9.0.0/29"))))


def test_every_capability_can_be_written_in_both_ways() -> None:
    spec = app(service(capabilities=["CAP_CHOWN", "NET_BIND_SERVICE", "ALL"]))
    assert not list(refused.problems(spec))


def test_long_names_of_services() -> None:
    spec = app(service("x" * 23), name="a" * 40)
    assert paths(refused.problems(spec)) == {f"services.{'x' * 23}.name"}
    assert not list(refused.problems(app(service("x" * 22), name="a" * 40)))


def test_what_is_made_beside_services_fits_whatever_the_app_is_called() -> None:
    spec: AppSpec = app(service(files={"/a": "b" * 80}), name="a" * 40)
    assert len(swarm.file_name(spec, "b" * 80)) <= 64
    assert all(len(script.config_name(spec.name)) <= 64 for script in BY_TARGET.values())
    assert len(swarm.service_name(spec.name, "release-v999999")) <= refused.LONGEST_SERVICE


def test_a_long_argument_of_the_release_step() -> None:
    spec = app(release=ReleaseStep(command=("sh", "-c", LONG)))
    assert paths(refused.problems(spec)) == {"release.command"}


def test_more_cores_than_any_node_has() -> None:
    spec = app(service(cpu_limit=64))
    with pytest.raises(PlanError, match="no node has more than") as caught:
        Swarm(engine()).plan(spec, images(spec))
    assert caught.value.code == "no_suitable_node"


@pytest.mark.parametrize(
    ("ulimits", "is_told"),
    [
        ({}, False),
        ({"nofile": 2**20, "memlock": -1, "nproc": -1}, False),
        ({"nofile": 2**20 + 1}, True),
        ({"nofile": f"1024:{2**30}"}, True),
    ],
)
def test_open_files_beyond_the_kernels_default(ulimits: dict[str, Any], is_told: bool) -> None:
    spec = app(service(ulimits=ulimits))
    assert not list(engine_limits.problems(spec))
    said = [w for w in Swarm(engine()).plan(spec, images(spec)).warnings if "nr_open" in w]
    assert said == engine_limits.warnings(spec)
    assert bool(said) is is_told
    assert all(text.startswith("services.web.ulimits.nofile is ") for text in said)


# Log drivers


def with_drivers(**drivers: tuple[str, ...]) -> FakeEngine:
    """Nodes by name, with the log drivers that each has."""
    return engine(nodes=[node(name, log_drivers=found) for name, found in drivers.items()])


def test_a_log_driver_that_no_node_has() -> None:
    made = with_drivers(a=("json-file", "local"), b=("json-file", "syslog"))
    spec = app(service(logging={"driver": "loki"}))
    with pytest.raises(PlanError) as caught:
        Swarm(made).plan(spec, images(spec))
    assert caught.value.code == "log_driver_missing"
    assert caught.value.message == "No node that may run web has the log driver loki"
    assert "can be json-file, local, syslog" in caught.value.hint
    assert made.changes == []


def test_a_log_driver_of_some_nodes() -> None:
    made = with_drivers(a=("json-file", "loki:latest"), b=("json-file",), c=("json-file",))
    spec = app(service(logging={"driver": "loki"}))
    said = [w for w in Swarm(made).plan(spec, images(spec)).warnings if "log driver" in w]
    assert said == ["web runs on no node without the log driver loki, which is missing on b, c"]


def test_replicas_have_no_room_on_nodes_without_their_log_driver() -> None:
    made = with_drivers(a=("json-file", "loki"), b=("json-file",))
    spec = app(service(logging={"driver": "loki"}, memory="5GiB", replicas=2))
    with pytest.raises(PlanError) as caught:
        Swarm(made).plan(spec, images(spec))
    assert caught.value.code == "does_not_fit"
    (line,) = caught.value.details
    assert line.startswith("a: ")


def test_one_replica_on_each_node_needs_the_log_driver_on_each() -> None:
    made = with_drivers(a=("json-file", "loki"), b=("json-file",))
    on_each: dict[str, Any] = {"logging": {"driver": "loki"}, "mode": "global"}
    spec = app(worker(**on_each))
    with pytest.raises(PlanError) as caught:
        Swarm(made).plan(spec, images(spec))
    assert caught.value.code == "no_suitable_node"
    assert caught.value.message == "worker is to run on each node, and b has no log driver loki"
    assert caught.value.hint.startswith("install its plugin, or leave the node out")
    spec = app(worker(**on_each, placement={"constraints": ["node.hostname != b"]}))
    assert not [w for w in Swarm(made).plan(spec, images(spec)).warnings if "driver" in w]


@pytest.mark.parametrize(
    ("drivers", "driver", "placement"),
    [
        ({"a": ("json-file",), "b": ()}, "loki", {"constraints": ["node.hostname == b"]}),
        ({"a": ("json-file",)}, "none", {}),
        ({"a": ("json-file",)}, "json-file", {}),
    ],
)
def test_log_drivers_that_are_there_or_that_nobody_knows_of(
    drivers: dict[str, tuple[str, ...]], driver: str, placement: dict[str, Any]
) -> None:
    spec = app(service(logging={"driver": driver}, placement=placement))
    assert Swarm(with_drivers(**drivers)).plan(spec, images(spec)).changes


def test_a_service_that_does_not_change_is_not_asked_for_its_log_driver() -> None:
    made = with_drivers(a=("json-file", "loki"))
    spec = app(service(logging={"driver": "loki"}))
    deploy(made, spec)
    made.set_nodes([node("a", log_drivers=("json-file",))])
    assert Swarm(made).plan(spec, images(spec)).is_empty
