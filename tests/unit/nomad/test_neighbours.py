"""Apps that share a proxy on Nomad: whose a domain is, what is called alike, who serves it all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploytool.backends.model import RouteCheck
from deploytool.backends.nomad.api.catalogue import as_labels
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.nomad.planning.proxies import Proxy
from deploytool.backends.nomad.planning.routes import RoutePlan
from deploytool.backends.nomad.rollout.routes import addresses, check
from deploytool.backends.nomad.specification import services
from deploytool.config.nomad import NomadSettings
from deploytool.errors import PlanError, RolledBack
from deploytool.rollout.limits import Limits
from deploytool.rollout.roll_out import roll_out
from deploytool.spec import AppSpec
from deploytool.traefik.probe import Route
from deploytool.traefik.routing import Ports
from tests.builders import app, images, release, service
from tests.nomad_double import catalogue
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running
from tests.unit.nomad.test_backend import deploy

DOMAIN = "shop.example.com"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def nomad(cluster: Cluster) -> Iterator[Nomad]:
    with running(cluster, speed=20) as address:
        yield Nomad(Client(Connection(address)), NomadSettings())


def register(cluster: Cluster, name: str, *tags: str, **keys: Any) -> None:
    """What a client registers of a service that it runs."""
    given = {
        "ID": name,
        "ServiceName": name,
        "Namespace": "default",
        "JobID": name.partition("-")[0],
        "AllocID": name,
        "NodeID": "n",
        "Datacenter": "dc1",
        "Address": "192.0.2.1",
        "Port": 80,
        "Tags": list(tags),
    }
    catalogue.register(cluster.state, [given | keys])


def register_proxy(cluster: Cluster, *tags: str, **keys: Any) -> None:
    usual = ("deploytool.role=proxy", "traefik.enable=true")
    serves = tags or ("deploytool.namespaces=default",)
    register(cluster, "proxy-traefik", *usual, *serves, **keys)


def tags_of(spec: AppSpec) -> list[str]:
    return services.tags(spec, spec.services[0])


def plan(nomad: Nomad, spec: AppSpec, **keys: Any) -> Any:
    return nomad.plan(spec, images(spec), **keys)


def shop(name: str = "shop", **keys: Any) -> AppSpec:
    return app(service(domains=[DOMAIN], **keys), name=name)


def test_domain_of_another_app_is_refused(nomad: Nomad, cluster: Cluster) -> None:
    register(cluster, "old-web", *tags_of(shop("old")))
    with pytest.raises(PlanError) as caught:
        plan(nomad, shop())
    assert caught.value.code == "domain_taken"
    assert (
        caught.value.message == f"{DOMAIN} is served by the service old-web of the job old already"
    )


def test_own_domain_is_not(nomad: Nomad, cluster: Cluster) -> None:
    register(cluster, "shop-web", *tags_of(shop()))
    assert plan(nomad, shop()).changes


def test_path_of_it_may_be_anothers(nomad: Nomad, cluster: Cluster) -> None:
    register(cluster, "old-web", *tags_of(shop("old", path_prefix="/old")))
    assert plan(nomad, shop()).changes


def test_domain_of_another_namespace_is_refused(nomad: Nomad, cluster: Cluster) -> None:
    register(cluster, "old-web", *tags_of(shop("old")), Namespace="shop")
    with pytest.raises(PlanError) as caught:
        plan(nomad, shop())
    assert "the service shop/old-web of the job old" in caught.value.message


def test_hand_written_rules_count(nomad: Nomad, cluster: Cluster) -> None:
    rule = f"traefik.http.routers.x.rule=Host(`{DOMAIN}`) || Host(`b.example`)"
    register(cluster, "hand", "traefik.enable=true", rule)
    with pytest.raises(PlanError) as caught:
        plan(nomad, shop())
    assert caught.value.code == "domain_taken"


def test_rules_of_what_is_off_the_proxy_do_not(nomad: Nomad, cluster: Cluster) -> None:
    rule = f"traefik.http.routers.x.rule=Host(`{DOMAIN}`)"
    register(cluster, "hand", "traefik.enable=false", rule)
    assert plan(nomad, shop()).changes


def test_domain_is_taken_over_when_the_release_runs(nomad: Nomad, cluster: Cluster) -> None:
    """The other one's replicas stay."""
    deploy(nomad, shop("old"))
    register(cluster, "old-web", *tags_of(shop("old")), JobID="old")
    before = [a["ID"] for a in cluster.allocations.values()]
    made = plan(nomad, shop(), take_over=True)
    assert [(c.kind, c.name) for c in made.changes if c.kind == "route"] == [("route", DOMAIN)]
    rollout = nomad.rollout(made)
    rollout.start()
    rollout.finish()
    (task,) = cluster.jobs["default", "old"]["TaskGroups"][0]["Tasks"]
    left = task["Services"][0]["Tags"]
    assert "traefik.enable=false" in left
    assert not [tag for tag in left if ".routers.old_web.rule" in tag]
    there = [a for a in cluster.allocations.values() if a["JobID"] == "old"]
    assert [a["ID"] for a in there if a["DesiredStatus"] == "run"] == before


@pytest.mark.parametrize(("namespace", "is_taken"), [("default", True), ("shop", False)])
def test_names_at_the_proxy_are_of_one_namespace(
    nomad: Nomad, cluster: Cluster, namespace: str, is_taken: bool
) -> None:
    """Traefik reads each apart, and adds it to the names."""
    middleware = "traefik.http.middlewares.auth.basicauth.users"
    register(cluster, "old-web", "traefik.enable=true", f"{middleware}=x", Namespace=namespace)
    spec = app(service(labels={middleware: "y"}))
    if not is_taken:
        assert plan(nomad, spec).changes
        return
    with pytest.raises(PlanError) as caught:
        plan(nomad, spec)
    assert caught.value.code == "route_name_taken"
    assert "of the job old has the middleware auth too" in caught.value.message


def test_middleware_that_another_app_uses_stays(nomad: Nomad, cluster: Cluster) -> None:
    middleware = "traefik.http.middlewares.auth.basicauth.users"
    deploy(nomad, app(service(labels={middleware: "y"})))
    used = "traefik.http.routers.x.middlewares=auth@nomad"
    register(cluster, "old-web", "traefik.enable=true", used)
    with pytest.raises(PlanError) as caught:
        plan(nomad, app(service()))
    assert caught.value.code == "route_name_used"


def test_a_cluster_without_a_proxy_is_told(nomad: Nomad, cluster: Cluster) -> None:
    (warning,) = plan(nomad, app(service())).warnings
    assert "items.localhost answers nothing" in warning
    register_proxy(cluster)
    assert plan(nomad, app(service())).warnings == ()


@pytest.mark.parametrize(
    ("tags", "serves"),
    [
        (("deploytool.namespaces=blog,default",), True),
        (("deploytool.namespaces=blog",), False),
    ],
)
def test_proxy_serves_the_namespaces_that_it_says(
    nomad: Nomad, cluster: Cluster, tags: tuple[str, ...], serves: bool
) -> None:
    register_proxy(cluster, *tags, Namespace="blog")
    warnings = plan(nomad, app(service())).warnings
    assert any("no proxy" in warning for warning in warnings) != serves


def test_https_needs_a_proxy_that_has_it(nomad: Nomad, cluster: Cluster) -> None:
    spec = app(service(domains=[DOMAIN]), proxy={"email": "ops@example.com"})
    register_proxy(cluster)
    with pytest.raises(PlanError) as caught:
        plan(nomad, spec)
    assert caught.value.code == "proxy_without_https"
    register_proxy(cluster, "deploytool.namespaces=default", "deploytool.https=443")
    assert plan(nomad, spec).warnings == ()


def test_names_for_trying_are_public_on_several_nodes(nomad: Nomad, cluster: Cluster) -> None:
    register_proxy(cluster)
    cluster.nodes.append(Node("node-2"))
    (warning,) = plan(nomad, app(service())).warnings
    assert warning.startswith("web has no domains: whoever reaches port 80")


def test_urls_have_the_ports_of_the_proxy(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service()))
    register_proxy(cluster, Port=8080)
    assert nomad.status("items").services[0].urls == ("http://items.localhost:8080",)


def test_tags_of_several_versions_are_all_routes() -> None:
    labels = as_labels(
        ["traefik.enable=true", "traefik.enable=false", "x.rule=Host(`a`)", "x.rule=Host(`b`)"]
    )
    assert labels == {"traefik.enable": "true", "x.rule": "(Host(`a`)) || (Host(`b`))"}


# --- routes ---------------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    """The proxy where it has a route, or none."""

    def do_GET(self) -> None:
        is_known = self.headers["Host"] == "known.example"
        self.send_response(200 if is_known else 404)
        if not is_known:
            self.send_header("Proxy-Status", "traefik; error=destination_not_found")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@contextmanager
def answering() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(port: int, *hosts: str) -> RouteCheck:
    proxy = Proxy("default", ("127.0.0.1",), ("default",), Ports(port))
    routes = tuple(Route("web", host, "/health", is_tls=False) for host in hosts)
    return check(Client(Connection("http://127.0.0.1:4646")), RoutePlan(routes, proxy))


def test_routes_are_asked_for_at_the_nodes_of_the_proxy() -> None:
    with answering() as port:
        found = asked(port, "known.example", "unknown.example")
    assert [(r.status, r.url) for r in found.refused] == [
        (404, f"http://unknown.example:{port}/health")
    ]
    assert not found.unchecked


def test_proxy_that_is_not_reached_from_here_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "cannot be reached from here at 127.0.0.1" in asked(port, "known.example").unchecked


def test_without_a_proxy_nothing_is_asked() -> None:
    client = Client(Connection("http://127.0.0.1:4646"))
    assert check(client, RoutePlan()) == RouteCheck()


@pytest.mark.parametrize(
    ("node", "api", "where"),
    [
        ("192.0.2.1", "https://nomad.example:4646", "192.0.2.1"),
        ("127.0.0.1", "https://nomad.example:4646", "nomad.example"),
        ("127.0.0.1", "http://127.0.0.1:4646", "127.0.0.1"),
        ("::1", "http://[2001:db8::1]:4646", "2001:db8::1"),
    ],
)
def test_node_that_calls_itself_loopback_is_where_its_api_is(
    node: str, api: str, where: str
) -> None:
    assert addresses([node], api) == [where]


def test_release_that_callers_do_not_reach_is_rolled_back(nomad: Nomad, cluster: Cluster) -> None:
    deploy(nomad, app(service()))
    with answering() as port:
        register_proxy(cluster, Address="127.0.0.1", Port=port)
        spec = app(service(env={"A": "b"}))
        limits = Limits(poll=0.5, routes=1.0)
        with pytest.raises(RolledBack) as caught:
            roll_out(nomad, plan(nomad, spec), release(spec, 0), timeout=20_000, limits=limits)
    assert f"the proxy itself answers 404 to http://items.localhost:{port}/health" in (
        caught.value.message
    )


def protected(reference: str) -> AppSpec:
    return shop(labels={"traefik.http.routers.shop_web.middlewares": reference})


@pytest.mark.parametrize("reference", ["auht", "auth@nomad"])
def test_a_middleware_that_nobody_defines_is_refused(nomad: Nomad, reference: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(nomad, protected(reference))
    assert caught.value.code == "route_reference_missing"
    name = reference.partition("@")[0]
    assert f"There is no middleware {name}, which a label of shop refers to" in caught.value.message


@pytest.mark.parametrize("reference", ["auth", "auth@nomad", "auth@file"])
def test_one_of_another_app_or_source_is_found(
    nomad: Nomad, cluster: Cluster, reference: str
) -> None:
    auth = "traefik.http.middlewares.auth.basicauth.users=ann:x"
    register(cluster, "other-web", "traefik.enable=true", auth)
    assert plan(nomad, protected(reference)).changes


def test_the_plan_says_what_is_dangerous(nomad: Nomad) -> None:
    spec = app(service(domains=[], volumes=["/:/host:ro"]))
    assert any("mounts / of the node" in warning for warning in plan(nomad, spec).warnings)
