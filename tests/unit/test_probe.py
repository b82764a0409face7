"""Who answers a URL, and what labels refer to."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.rollout import session as rollout
from deploytool.backends.swarm.rollout.probe import SETTLED, addresses
from deploytool.errors import PlanError
from deploytool.spec import AppSpec, ProxySettings
from deploytool.traefik import probe
from deploytool.traefik.probe import Route
from deploytool.traefik.routing import Ports
from tests.builders import app, deploy, engine, images, proxy, release, service, with_proxy
from tests.fake_engine import FakeEngine, node

# --- answers --------------------------------------------------------------------------------------

Answer = tuple[int, bytes, dict[str, str]]
TRAEFIK_404: Answer = (404, b"404 page not found\n", {})
TRAEFIK_503: Answer = (503, b"no available server\n", {})


class Proxy(ThreadingHTTPServer):
    """What answers in the proxy's place, host by host."""

    answers: dict[str, Answer]
    asked: list[tuple[str, str]]


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        host = self.headers["Host"]
        self.server.asked.append((host, self.path))
        code, body, headers = self.server.answers.get(host, TRAEFIK_404)
        self.send_response_only(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[Proxy]:
    server = Proxy(("127.0.0.1", 0), Handler)
    server.answers, server.asked = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def check(server: Proxy, *routes: Route) -> Any:
    return probe.ask(routes, ["127.0.0.1"], Ports(server.server_port))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (TRAEFIK_404, 404),
        (TRAEFIK_503, 503),
        ((404, b"Not Found", {"Proxy-Status": "traefik; error=destination_not_found"}), 404),
        ((404, b"Not Found", {}), None),
        ((404, b"Not Found", {"Proxy-Status": "cdn.example.com; fwd=uri-miss"}), None),
        ((200, b"", {}), None),
        ((401, b"401 Unauthorized\n", {}), None),
        ((404, b'{"detail":"Not Found"}', {}), None),
        ((404, b"404 page not found\n", {"Server": "uvicorn"}), None),
        ((404, b"404 page not found\n, says the app", {}), None),
        ((500, b"Internal Server Error", {}), None),
        ((503, b"starting", {}), None),
    ],
)
def test_answers_of_the_proxy_are_refused(
    listening: Proxy, answer: Answer, code: int | None
) -> None:
    listening.answers["a.example.com"] = answer
    found = check(listening, Route("web", "a.example.com", "/health", is_tls=False))
    assert [refused.status for refused in found.refused] == ([code] if code else [])
    assert listening.asked == [("a.example.com", "/health")]
    if code:
        url = f"http://a.example.com:{listening.server_port}/health"
        assert (found.refused[0].service, found.refused[0].url) == ("web", url)


def test_an_app_that_answers_as_the_proxy_does(listening: Proxy) -> None:
    """One written in Go has the same words for a path that it does not know."""
    unsure = Route("web", "a.example.com", "/", is_tls=False, is_sure=False)
    found = check(listening, unsure)
    assert (found.refused, len(found.unsure)) == ((), 1)
    listening.answers["a.example.com"] = TRAEFIK_503
    assert check(listening, unsure).refused


def test_a_proxy_that_cannot_be_reached(listening: Proxy) -> None:
    listening.server_close()
    listening.shutdown()
    found = check(listening, Route("web", "a.example.com", "/", is_tls=False))
    assert (found.refused, found.unsure) == ((), ())
    assert "127.0.0.1" in found.unchecked


def test_a_certificate_that_nothing_trusts_is_none_of_its_business(
    listening: Proxy, tmp_path: Path
) -> None:
    import ssl

    key, certificate = tmp_path / "key", tmp_path / "certificate"
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x")
    command = ["openssl", "req", "-x509", *new, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    ports = Ports(listening.server_port, listening.server_port)
    found = probe.ask([Route("web", "a.example.com", "/", is_tls=True)], ["127.0.0.1"], ports)
    assert [refused.url for refused in found.refused] == [
        f"https://a.example.com:{listening.server_port}/"
    ]


# --- what is asked --------------------------------------------------------------------------------


def asked(spec: AppSpec, made: FakeEngine | None = None) -> list[tuple[str, str, bool, bool]]:
    plan = Swarm(made or with_proxy(engine(spec))).plan(spec, images(spec))
    return [(r.host, r.path, r.is_tls, r.is_sure) for r in plan.payload.routes]


def test_each_url_with_a_path_that_the_app_knows() -> None:
    secure = {"email": "ops@example.com", "dns_provider": "x"}
    made = with_proxy(engine(), ProxySettings.model_validate(secure))
    spec = app(
        service(domains=["a.example.com", "*.b.example.com"], path_prefix="/v1"), proxy=secure
    )
    assert asked(spec, made) == [
        ("deploytool-check.b.example.com", "/v1/health", True, True),
        ("a.example.com", "/v1/health", True, True),
    ]


def test_routes_that_one_request_cannot_check_are_left_out() -> None:
    """Routers with conditions that one request cannot meet, and services without replicas."""
    rule = "traefik.http.routers.more.rule"
    one = {rule: "Host(`c.example.com`)"}
    assert ("c.example.com", "/", False, True) in asked(app(service(labels=one)))
    conditional = {rule: "Host(`c.example.com`) && Header(`x`, `y`)"}
    assert asked(app(service(labels=conditional))) == [("items.localhost", "/health", False, True)]
    assert asked(app(service(replicas=0))) == []
    ready = service(image="r.example.com/go:1", healthcheck=None, domains=["a.example.com"])
    assert asked(app(ready)) == [("a.example.com", "/", False, False)]


@pytest.mark.parametrize(
    ("client", "own", "found"),
    [
        (None, "10.1.1.1", ["10.1.1.1", "127.0.0.1"]),
        (None, "127.0.0.1", ["127.0.0.1"]),
        (None, "0.0.0.0", ["127.0.0.1"]),
        ("manager.example.com", "127.0.0.1", ["manager.example.com"]),
        ("manager.example.com", "10.1.1.1", ["10.1.1.1", "manager.example.com"]),
    ],
)
def test_where_the_proxy_may_be_reached(client: str | None, own: str, found: list[str]) -> None:
    manager = node("m")
    manager["Status"]["Addr"] = own
    task = {"NodeID": manager["ID"], "Status": {"State": "running"}}
    assert addresses([task], [manager], here=manager["ID"], client_host=client) == found
    elsewhere = addresses([task], [manager], here="other", client_host=client)
    assert elsewhere == [a for a in found if a == "10.1.1.1"]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("unix:///var/run/docker.sock", None),
        ("http+unix://%2Fvar%2Frun", None),
        ("ssh://ann@manager:22", "manager"),
        ("tcp://10.0.0.1:2376", "10.0.0.1"),
    ],
)
def test_where_the_engine_is(address: str, host: str | None) -> None:
    assert rollout._host_of(address) == host


def test_the_proxy_is_given_time_to_read_new_labels(
    listening: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("deploytool.backends.swarm.rollout.session.time.sleep", slept.append)
    monkeypatch.setattr(probe, "_connects", lambda *_: False)
    monkeypatch.setattr("deploytool.backends.swarm.rollout.probe.SETTLED", SETTLED)
    made = with_proxy(engine(), ProxySettings(http_port=listening.server_port))
    swarm = Swarm(made)
    deploy(made, app())
    for spec, waits in (
        (app(service(env={"A": "1"})), False),
        (app(service(labels={"traefik.http.routers.items_web.priority": "7"})), True),
    ):
        plan = swarm.plan(spec, images(spec))
        rollout = swarm.rollout(plan)
        rollout.start(release(spec, 2))
        slept.clear()
        assert "cannot be reached" in rollout.check_routes().unchecked
        assert (max(slept, default=0.0) > 1) is waits
    spec = proxy()
    assert swarm.rollout(swarm.plan(spec, images(spec))).check_routes().unchecked == ""


# --- what labels refer to -------------------------------------------------------------------------

ROUTER = "traefik.http.routers.items_web"


def refused(labels: dict[str, str], made: FakeEngine | None = None) -> PlanError | None:
    spec = app(service(labels=labels))
    try:
        Swarm(made or with_proxy(engine())).plan(spec, images(spec))
    except PlanError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({f"{ROUTER}.middlewares": "auht"}, "middleware auht"),
        ({f"{ROUTER}.middlewares": "auth@file"}, "middleware auth@file"),
        ({f"{ROUTER}.service": "other"}, "service other"),
        ({"traefik.http.routers.more.service": "items_wbe"}, "service items_wbe"),
        ({f"{ROUTER}.tls.options": "modern"}, "TLS options modern"),
        ({f"{ROUTER}.tls.options": "modern@file"}, "TLS options modern@file"),
        (
            {"traefik.http.services.items_web.loadbalancer.serverstransport": "slow@file"},
            "transport slow@file",
        ),
        ({"traefik.http.middlewares.all.chain.middlewares": "a"}, "middleware a"),
        ({"Traefik.HTTP.Routers.items_web.Middlewares": "auht"}, "middleware auht"),
    ],
)
def test_what_does_not_exist_is_refused(labels: dict[str, str], words: str) -> None:
    error = refused(labels)
    assert error is not None
    assert error.code == "route_reference_missing"
    assert f"There is no {words}," in error.message


@pytest.mark.parametrize(
    "labels",
    [
        {"traefik.http.middlewares.a.compress": "true", f"{ROUTER}.middlewares": "a, a@swarm"},
        {f"{ROUTER}.service": "noop@internal"},
        {f"{ROUTER}.tls.options": "default"},
        {f"{ROUTER}.middlewares": "theirs"},
        {"traefik.http.routers.more.service": "other-web"},
        {"traefik.enable": "false", f"{ROUTER}.middlewares": "auht"},
    ],
)
def test_what_exists_is_not(labels: dict[str, str]) -> None:
    made = with_proxy(engine())
    deploy(
        made, app(service(labels={"traefik.http.middlewares.theirs.compress": "1"}), name="theirs")
    )
    live = made.service("theirs_web")
    plain = {"traefik.enable": "true", "com.docker.stack.namespace": "other"}
    made.create_service(live["Spec"] | {"Name": "other_web", "Labels": plain})
    assert refused(labels, made) is None


def test_another_proxy_may_know_more() -> None:
    """One that somebody else runs, or runs with a file of their own."""
    labels = {f"{ROUTER}.middlewares": "auth@file"}
    assert refused(labels, engine()) is None
    made = with_proxy(engine())
    live = made.service("proxy_traefik")
    more = "--providers.file.directory=/etc/traefik/more"
    live["Spec"]["TaskTemplate"]["ContainerSpec"]["Args"].append(more)
    assert refused(labels, made) is None
