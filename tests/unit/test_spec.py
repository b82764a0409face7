"""The vocabulary: what a service may be, and that it comes back from JSON as it went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deploytool.spec import AppSpec, Image, Release, Service, needs_entrypoint, uvicorn_app

RIGHT: dict[str, list[Any]] = {
    "name": ["web", "a", "a-b", "1", "x" * 40],
    "image": ["redis:8", None],
    "replicas": [0, 1, 10_000],
    "mode": ["replicated", "global"],
    "port": [1, 65535],
    "command": [["python", "-m", "app"], []],
    "env": [{"A": "1"}, {"_a1": ""}, {"A": 1}, {"A": 1.5}, {"A": True}],
    "secrets": [["DATABASE_URL"], ["a.b-c"]],
    "files": [{}, {"/a": "a"}, {"/code/.env.d/x y": "../config/é.yml"}],
    "memory": ["64MiB"],
    "pids": [0, 1024, 100_000],
    "tmp_size": ["0B", "1GiB", None],
    "tmpfs": [{"/dev/shm": "256MiB"}, {"/run/a b": "0B"}, {"/tmp": "1GiB"}],
    "ulimits": [{"nofile": 65536}, {"nofile": "1024:65536", "core": 0}, {"memlock": "0:-1"}],
    "hostname": ["web", "a.b-c.example", None],
    "extra_hosts": [{"db.internal": "10.0.0.5"}, {"a_b": "::1"}, {"node": "host-gateway"}],
    "logging": [{"driver": "syslog", "options": {"tag": "x", "labels": 1}}, {"driver": "none"}],
    "cpu": [0.01, 1, 1024],
    "domains": [["api.example.com"], ["*.example.com"], ["localhost"]],
    "path_prefix": ["/", "/api", "/a.b/~c-d_e"],
    "publish": [{"port": 80, "target": 8000}, [{"port": 80, "mode": "host", "target": 8000}]],
    "drain": ["0s", "29s"],
    "stop_grace": ["6s", "10m"],
    "volumes": [["data:/data"], ["/srv:/data:ro", "x.y-z_1:/d:rw"]],
    "user": ["1000:1000", None],
    "capabilities": [["NET_BIND_SERVICE"], [], "default"],
    "healthcheck": [{"path": "/health"}, {"command": ["true"]}],
    "restart": [{"condition": "none"}],
    "update": [{"order": "stop-first", "max_failure_ratio": 1}],
    "placement": [{"constraints": ["node.labels.disk == ssd", "a!=b"]}],
    "labels": [{"traefik.http.x": "y"}],
    "depends_on": [[], ["worker"]],
}
WRONG: dict[str, list[Any]] = {
    "name": ["", "Web", "-a", "a-", "a_b", "a.b", "x" * 41, "web\n", "é"],
    "image": ["", "a\nb"],
    "replicas": [-1, 10_001, 1.5, "4", True],
    "mode": ["", "Global", "global-job", "replicated-job", None, 1],
    "port": [0, 65536, "80", True, 80.5],
    "command": ["python", ["a\0b"], [1]],
    "env": [{"A B": "1"}, {"1A": "1"}, {"": "1"}, {"A\n": "1"}, {"A": "\0"}, {"A": []}, []],
    "secrets": [["a b"], [""], ["A\n"], ["x" * 41], ["a/b"]],
    "files": [
        *({path: "a"} for path in ("", "/", "a", "/a/", "/a:b", "//a", "/a/../b", "/.", "/a\n")),
        *({"/a": path} for path in ("", "/etc/passwd", "config/", "a\nb", 5, None)),
        ["a:/a"],
    ],
    "memory": ["64", 64, "-1MiB"],
    "pids": [-1, "100", 1.5, True, None, 100_001],
    "tmp_size": [0, "0", "64"],
    "tmpfs": [{"tmp": "1MiB"}, {"/a/": "1MiB"}, {"/": "1MiB"}, {"/a:b": "1MiB"}, {"/a": 5}, ["/a"]],
    "ulimits": [
        *({"nofile": value} for value in (-2, 1.5, True, "", "a", "2:1", "-1:5", ":1", "1:2:3")),
        {"files": 1},
        {"NOFILE": 1},
    ],
    "hostname": ["", "-a", "a b", "a..b", "a.", "x" * 64, "{{.Node.Hostname}}"],
    "extra_hosts": [{"a": "b"}, {"a": "10.0.0"}, {"a b": "::1"}, {"": "::1"}, ["a:::1"]],
    "logging": [
        *({"driver": value} for value in ("", "a b", None)),
        {"options": {"max-size": "1m"}},
        {"driver": "local", "options": {"max-file": 1}},
        {"options": {"a.b": "x"}},
        {"driver": "syslog", "max_size": "1MiB"},
        {"driver": "syslog", "max_files": 5},
    ],
    "env_file": ["/etc/app.env", [""], [5]],
    "cpu": [0, -1, 1025, float("nan"), float("inf"), "many"],
    "domains": [["https://a.example.com"], ["a..b"], ["-a.b"], [""], ["a.b\n"], ["a" * 254]],
    "path_prefix": ["api", "", "/a b", "/a?b"],
    "publish": [{"port": 0}, {"port": 80, "mode": "both"}, [{"target": 1}], 80],
    "drain": ["30s", "-1s", 5],
    "stop_grace": ["5s", "soon"],
    "volumes": [["data"], ["data:data"], ["../x:/d"], ["a:/d:rx"], ["a:/d", "b:/d"], ["a:/d\n"]],
    "user": [""],
    "capabilities": [["net_admin"], [""], "none", "NET_ADMIN", ["default"], 1],
    "healthcheck": [{}, {"path": "health"}, {"path": "/", "command": ["x"]}, {"path": "/a b"}],
    "restart": [{"condition": "sometimes"}, {"max_attempts": -1}],
    "update": [{"parallelism": 0}, {"order": "both"}, {"max_failure_ratio": 1.1}],
    "placement": [{"constraints": ["disk"]}, {"constraints": ["a=b"]}, {"max_per_node": -1}],
    "labels": [{"": "x"}, {"a\nb": "x"}, {"a": 1}],
    "depends_on": ["worker", ["Worker"], [1]],
    "unheard_of": [1],
}


def one(**changes: Any) -> Service:
    return Service.model_validate({"name": "web", "port": 8000} | changes)


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in RIGHT.items() for v in vs])
def test_right_and_there_and_back(key: str, value: object) -> None:
    service = one(**{key: value})
    assert Service.model_validate_json(service.model_dump_json()) == service


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in WRONG.items() for v in vs])
def test_wrong(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        one(**{key: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "2MiB", "memory_limit": "1MiB"}, "memory reserves more"),
        ({"tmpfs": {"/a": "1MiB"}, "volumes": ["a:/a"]}, "mounted at the same path, /a"),
        ({"tmpfs": {"/tmp": "1MiB"}, "tmp_size": "1MiB"}, "use one of them"),
        ({"cpu": 2, "cpu_limit": 1}, "cpu reserves more"),
        ({"port": None, "domains": ["a.b"]}, "domains needs a port"),
        ({"port": None, "healthcheck": {"path": "/"}}, "healthcheck.path needs a port"),
        ({"port": None, "publish": {"port": 1}}, "publish needs a target"),
        (
            {"publish": {"port": 1, "mode": "host"}, "update": {"order": "start-first"}},
            "stop-first",
        ),
        ({"volumes": [{"source": "a:b", "target": "/x"}]}, "match pattern"),
    ],
)
def test_what_does_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        one(**changes)


def test_no_grace_at_all_is_a_choice() -> None:
    assert one(stop_grace="0s").stop_grace == 0


@pytest.mark.parametrize(
    ("changes", "order", "surge"),
    [
        ({"replicas": 4}, "start-first", 1),
        ({"replicas": 4, "update": {"parallelism": 9}}, "start-first", 4),
        ({"replicas": 4, "update": {"order": "stop-first"}}, "stop-first", 0),
        ({"replicas": 4, "publish": {"port": 80, "mode": "host"}}, "stop-first", 0),
    ],
)
def test_order_and_surge(changes: dict[str, Any], order: str, surge: int) -> None:
    service = one(**changes)
    assert (service.update_order, service.surge) == (order, surge)


def app(*services: Service, **changes: Any) -> AppSpec:
    return AppSpec(name="items", image="r/items", services=services, **changes)


def test_an_app_without_anything_to_run() -> None:
    with pytest.raises(ValidationError, match="neither a command nor a FastAPI app"):
        app(one())


@pytest.mark.parametrize(
    ("changes", "needs"),
    [({}, True), ({"port": None}, False), ({"command": []}, False), ({"image": "a"}, False)],
)
def test_who_needs_an_entrypoint(changes: dict[str, Any], needs: bool) -> None:
    assert needs_entrypoint(one(**changes)) is needs


@pytest.mark.parametrize(
    ("entrypoint", "command"),
    [
        ("shop.main:app", ("uvicorn", "shop.main:app")),
        ("shop.main:create_app()", ("uvicorn", "--factory", "shop.main:create_app")),
    ],
)
def test_how_uvicorn_is_told_the_app(entrypoint: str, command: tuple[str, ...]) -> None:
    assert uvicorn_app(entrypoint) == command


def web(name: str, *depends_on: str) -> Service:
    return one(name=name, command=["x"], depends_on=depends_on)


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([web("web", "nope"), web("db")], "services.web.depends_on names nope, .* db, web"),
        ([web("web", "web")], "in a circle: web → web"),
        ([web("a", "b"), web("b", "c"), web("c", "a")], "in a circle: . → . → . → ."),
    ],
)
def test_orders_that_cannot_be(services: list[Service], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        app(*services)


def test_a_circle_is_told_as_it_is_written() -> None:
    """Each depends on the one that it points to."""
    with pytest.raises(ValidationError) as caught:
        app(web("a", "b"), web("b", "c"), web("c", "a"))
    told = str(caught.value).partition("circle: ")[2].partition(" [")[0].split(" → ")
    follows = {"a": "b", "b": "c", "c": "a"}
    assert [follows[name] for name in told[:-1]] == told[1:]


def test_the_order_of_services() -> None:
    order = app(web("web", "api"), web("api", "db", "db"), web("db")).order()
    assert list(order.static_order()) == ["db", "api", "web"]


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        one().replicas = 3  # type: ignore[misc]


SERVICES = st.fixed_dictionaries(
    {},
    optional={key: st.sampled_from(values) for key, values in RIGHT.items() if key != "name"},
)


@given(
    st.dictionaries(st.sampled_from(["web", "worker", "a-1"]), SERVICES, min_size=1),
    st.sampled_from(["app.main:app", None]),
    st.sampled_from(["swarm", "nomad"]),
)
@settings(suppress_health_check=[Check.filter_too_much], deadline=None)
def test_an_app_comes_back_from_json(
    services: dict[str, dict[str, Any]], entrypoint: str | None, backend: str
) -> None:
    try:
        spec = AppSpec.model_validate(
            {
                "name": "items",
                "image": "r/items",
                "backend": backend,
                "entrypoint": entrypoint,
                "services": [value | {"name": name} for name, value in services.items()],
            }
        )
    except ValidationError:
        return
    release = Release(
        number=3,
        spec=spec,
        images={"web": Image(reference="r@sha256:0", tag="r:3", platforms=(("amd64", "linux"),))},
        by="me",
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    again = Release.model_validate_json(release.model_dump_json())
    assert again == release
    assert again.model_dump_json() == release.model_dump_json()
    assert [spec.command(s) for s in spec.services] == [
        again.spec.command(s) for s in again.spec.services
    ]
