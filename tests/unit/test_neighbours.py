"""What apps on one cluster would do to one another, found by a plan."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Action, Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import labels
from deploytool.errors import PlanError
from deploytool.spec import AppSpec, ProxySettings
from deploytool.traefik.rules import Claim, claims, match, prefix, without
from tests.builders import (
    app,
    contents,
    deploy,
    engine,
    images,
    proxy,
    release,
    service,
    with_proxy,
)
from tests.fake_engine import FakeEngine


def cluster() -> FakeEngine:
    return with_proxy(engine(nodes=1))


def plan(made: FakeEngine, spec: AppSpec, *, take_over: bool = False) -> Plan:
    known = contents(*spec.services)
    return Swarm(made).plan(spec, images(spec), take_over=take_over, files=known)


def refused(made: FakeEngine, spec: AppSpec) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan(made, spec)
    return caught.value


def relabel(made: FakeEngine, name: str, changes: dict[str, str], *, gone: str = "-") -> None:
    """Labels of a service that somebody else set."""
    live = made.service(name)
    kept = {k: v for k, v in live["Spec"]["Labels"].items() if not k.startswith(gone)}
    made.update_service(live, live["Spec"] | {"Labels": kept | changes})


# --- names ----------------------------------------------------------------------------------------


def test_no_hyphen_makes_two_services_one() -> None:
    made = cluster()
    deploy(made, app(service("x-web"), name="sec"))
    deploy(made, app(service("web"), name="sec-x"))
    routers = [
        {key.split(".")[3] for key in live["Spec"]["Labels"] if ".routers." in key}
        for live in made.services()
        if live["Spec"]["Labels"][labels.STACK] != "proxy"
    ]
    assert routers == [{"sec_x-web"}, {"sec-x_web"}]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("traefik.http.routers.items_web.rule", None),
        ("traefik.http.services.items_web.loadbalancer.server.port", None),
        ("Traefik.HTTP.Middlewares.items_web_retry.retry.attempts", None),
        (
            "traefik.http.middlewares.auth.basicauth.users",
            "traefik.http.middlewares.auth.basicauth",
        ),
        ("traefik.tcp.routers.db.rule", "traefik.tcp.routers.db.service"),
    ],
)
def test_a_name_that_another_app_has_is_refused(theirs: str, ours: str | None) -> None:
    made = cluster()
    deploy(made, app(service(labels={theirs: "1"}), name="other"))
    error = refused(made, app(service(labels={ours: "2"} if ours else {})))
    assert error.code == "route_name_taken"
    assert "the service web of the app other" in error.message


def test_a_name_is_taken_at_the_proxy_alone() -> None:
    """Labels of what the proxy does not read, and of another protocol, are no names of it."""
    made = cluster()
    theirs = {"traefik.http.routers.items_web.rule": "Host(`b.example.com`)"}
    deploy(made, app(service(labels=theirs, domains=[]), name="other"))
    deploy(made, app(service(labels={"traefik.tcp.routers.items_web.rule": "x"}), name="third"))
    assert not plan(made, app()).is_empty


def test_what_another_app_uses_keeps_its_name() -> None:
    made = cluster()
    deploy(made, app())
    relabel(
        made,
        "items_web",
        {"traefik.http.middlewares.items-web_hsts.headers.stsseconds": "1"},
    )
    theirs = {"traefik.http.routers.other_web.middlewares": "items-web_hsts@swarm, x@internal"}
    deploy(made, app(service(labels=theirs), name="other"))
    error = refused(made, app())
    assert error.code == "route_name_used"
    assert "middleware items-web_hsts of items" in error.message


FORMER = {
    "traefik.http.routers.items-web.middlewares": "auth",
    "traefik.http.routers.admin.middlewares": "items-web_retry@swarm, auth",
    "traefik.http.routers.admin.service": "items-web",
    "traefik.http.middlewares.auth.basicauth.users": "items-web",
    "traefik.http.routers.items-web-2.rule": "Host(`c.example.com`)",
}


def test_labels_that_say_the_former_name_keep_their_effect() -> None:
    made = cluster()
    spec = app(service(labels=FORMER, path_prefix="/v1"))
    found = plan(made, spec)
    own = found.payload.targets[0].spec["Labels"]
    chain = own["traefik.http.routers.items_web.middlewares"]
    assert chain == "items_web,items_web_retry,auth"
    assert own["traefik.http.routers.admin.middlewares"] == "items_web_retry@swarm,auth"
    assert own["traefik.http.routers.admin.service"] == "items_web"
    assert own["traefik.http.middlewares.auth.basicauth.users"] == "items-web"
    assert "traefik.http.routers.items-web-2.rule" in own
    assert not [key for key in own if "routers.items-web." in key]
    assert any("labels of web name a router" in warning for warning in found.warnings)


def test_the_change_of_names_replaces_no_replica() -> None:
    made = cluster()
    deploy(made, app())
    former = {
        key.replace("items_web", "items-web"): value.replace("items_web", "items-web")
        for key, value in made.service("items_web")["Spec"]["Labels"].items()
        if key.startswith("traefik.")
    }
    relabel(made, "items_web", former, gone="traefik.")
    (change,) = plan(made, app()).changes
    assert change.action is Action.UPDATE
    assert not change.replaces


# --- domains --------------------------------------------------------------------------------------


def serving(
    *domains: str, name: str = "items", proxy: ProxySettings | None = None, **keys: Any
) -> AppSpec:
    return app(service(domains=list(domains), **keys), name=name, proxy=proxy or ProxySettings())


def test_a_domain_that_another_app_serves_is_refused() -> None:
    made = cluster()
    deploy(made, serving("a.example.com", "b.example.com", name="shop"))
    error = refused(made, serving("b.example.com", "c.example.com"))
    assert error.code == "domain_taken"
    assert error.message == "b.example.com is served by the service web of the app shop already"
    assert error.details == ("b.example.com: shop_web",)
    assert "--take-over" in error.hint


@pytest.mark.parametrize(
    ("domains", "keys"),
    [
        (["a.example.com"], {"path_prefix": "/v1"}),
        (["*.example.com"], {}),
        (["b.example.com"], {}),
        (["a.example.com.example.org"], {}),
    ],
)
def test_apps_that_share_a_domain_on_purpose(domains: list[str], keys: dict[str, Any]) -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    assert not plan(made, serving(*domains, **keys)).is_empty


@pytest.mark.parametrize(
    "spec",
    [
        serving("*.example.com"),
        serving("a.example.com", path_prefix="/v1/"),
        serving("shop.localhost"),
        app(
            service(
                labels={
                    "traefik.http.routers.x.rule": "Host(`x`,`a.example.com`)&&PathPrefix(`/v1`)"
                }
            )
        ),
    ],
)
def test_domains_are_the_same_whatever_says_so(spec: AppSpec) -> None:
    made = cluster()
    deploy(made, serving("*.example.com", name="wild"))
    deploy(made, serving("a.example.com", name="prefix", path_prefix="/v1"))
    deploy(made, app(name="shop"))
    assert refused(made, spec).code == "domain_taken"


def as_before(made: FakeEngine, name: str, path: str) -> None:
    """Write a service's rules as deploytool did when a prefix was one of characters."""
    live = made.service(name)
    own = live["Spec"]["Labels"]
    old = {k: v.replace(prefix(path), f"PathPrefix(`{path}`)") for k, v in own.items()}
    assert old != own
    made.update_service(live, live["Spec"] | {"Labels": old})


def test_a_prefix_that_was_written_before_is_the_same_one() -> None:
    made = cluster()
    spec = serving("a.example.com", name="prefix", path_prefix="/v1")
    deploy(made, spec)
    as_before(made, "prefix_web", "/v1")
    assert refused(made, serving("a.example.com", path_prefix="/v1")).code == "domain_taken"
    (change,) = [change for change in plan(made, spec).changes if change.kind == "service"]
    assert [field.path for field in change.fields] == [
        "labels.traefik.http.routers.prefix_web.rule"
    ]
    assert not change.replaces
    found = plan(made, serving("a.example.com", path_prefix="/v1"), take_over=True)
    Swarm(made).rollout(found).start(release(serving("a.example.com", path_prefix="/v1")))
    assert not plan(made, serving("a.example.com", path_prefix="/v1x")).is_empty


def test_a_stack_of_somebody_else_has_its_domains_too() -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    live = made.service("shop_web")
    kept = {k: v for k, v in live["Spec"]["Labels"].items() if k.startswith("traefik.")}
    made.update_service(live, live["Spec"] | {"Labels": kept})
    error = refused(made, serving("a.example.com"))
    assert "served by the service shop_web already" in error.message


def labelled(rule: str, priority: int | None = None, *, name: str = "items") -> AppSpec:
    """An app whose labels add a router."""
    router = f"traefik.http.routers.{'x' if name == 'items' else name}"
    more = {f"{router}.priority": str(priority)} if priority else {}
    return app(service(labels={f"{router}.rule": rule, **more}), name=name)


@pytest.mark.parametrize(
    ("rule", "priority"),
    [
        ("Host(`a.example.com`) && Path(`/pay`)", 5000),
        ("Host(`a.example.com`) && (Path(`/pay`) || Path(`/x`))", 5000),
        ("Host(`a.example.com`, `b`) && Method(`POST`)", 5000),
        ("HostRegexp(`^.*$`)", 5000),
        ("PathPrefix(`/`)", 5000),
        ("!Host(`b.example.com`)", 5000),
        ("Path(`/v1/pay`) && Host(`A.example.com`)", 2000),
        ("PathPrefix(`/v`) && Host(`a.example.com`) && Method(`GET`)", 2000),
        (f"{prefix('/v1/pay')} && Host(`a.example.com`) && Method(`GET`)", 2000),
        ("HostRegexp(`^[a-z]+[.]wild[.]example$`) && PathPrefix(`/`)", None),
        ("Host(`wild.example`) || Host(`one.wild.example`) && Path(`/" + "x" * 2000 + "`)", None),
        ("Host(`a.example.com.`) && Path(`/pay`)", 5000),
        ("Host(`a.example.com`) && !(Path(`/x`) || Path(`/y`))", 5000),
        ('Host("a.example.com") && Header(`x`, "\\"")', 5000),
        ("HostRegexp(`^[[:lower:]][.]example[.]com\\z`)", 5000),
        ("HostRegexp(`^(?i)a[.]example`)", 5000),
    ],
)
def test_labels_that_take_requests_of_another_app_are_refused(
    rule: str, priority: int | None
) -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    deploy(made, serving("a.example.com", name="prefix", path_prefix="/v1"))
    deploy(made, serving("one.wild.example", "*.wild.example", name="wild"))
    error = refused(made, labelled(rule, priority))
    assert error.code == "domain_taken"
    assert "the router x takes" in error.message.lower()
    (found, *_) = [
        change
        for change in plan(made, labelled(rule, priority), take_over=True).changes
        if change.kind == "route"
    ]
    assert str(found.fields[0].after).startswith("x: ")


@pytest.mark.parametrize(
    ("rule", "priority"),
    [
        ("Host(`a.example.com`) && PathPrefix(`/pay`)", 5000),
        ("PathPrefix(`/`)", None),
        ("Host(`a.example.com`) && Path(`/pay`)", 5),
        ("Host(`c.example.com`) && Path(`/pay`)", 5000),
        ("Path(`/v2`) && Host(`b.example.com`)", 5000),
        ("PathPrefix(`/v1x`) && Host(`b.example.com`) && Method(`GET`)", 5000),
        (f"{prefix('/v')} && Host(`b.example.com`)", 5000),
        ("HostRegexp(`^c`)", 5000),
    ],
)
def test_labels_that_leave_others_alone(rule: str, priority: int | None) -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    deploy(made, serving("b.example.com", name="prefix", path_prefix="/v1"))
    assert not plan(made, labelled(rule, priority)).is_empty


NARROW = "Host(`n.example.com`) && Method(`GET`) && Path(`/pay`)"


@pytest.mark.parametrize(
    ("rule", "priority"),
    [
        (NARROW, None),
        ("Path(`/pay`) && Method(`GET`) && Host(`N.example.com`)", 100),
        ("Host(`n.example.com`)", 100),
        ("Host(`n.example.com`) && PathPrefix(`/p`)", 100),
    ],
)
def test_routers_of_labels_keep_what_they_serve(rule: str, priority: int | None) -> None:
    made = cluster()
    deploy(made, labelled(NARROW, name="shop"))
    assert refused(made, labelled(rule, priority)).code == "domain_taken"


@pytest.mark.parametrize(
    ("rule", "priority"),
    [
        ("Host(`n.example.com`)", None),
        ("Host(`n.example.com`) && Method(`POST`) && Path(`/pay`)", 100),
        ("Host(`n.example.com`) && Method(`GET`) && Path(`/paid`)", 100),
        ("Host(`n.example.com`) && PathPrefix(`/q`)", 100),
        ("Host(`n.example.com`) && !Method(`GET`)", 100),
    ],
)
def test_routers_that_come_after_or_take_other_requests(rule: str, priority: int | None) -> None:
    made = cluster()
    deploy(made, labelled(NARROW, name="shop"))
    assert not plan(made, labelled(rule, priority)).is_empty


def test_domain_below_which_labels_serve_a_path() -> None:
    """A router of deploytool's comes before those whose labels say no priority."""
    made = cluster()
    deploy(made, labelled("Host(`n.example.com`) && Path(`/pay`)", name="shop"))
    assert refused(made, serving("n.example.com")).code == "domain_taken"
    assert not plan(made, serving("n.example.com", path_prefix="/v1")).is_empty


TCP = "traefik.tcp.routers.db"


@pytest.mark.parametrize(
    ("own", "is_refused"),
    [
        ({"rule": "HostSNI(`*`)", "tls": "true"}, True),
        ({"rule": "HostSNI(`*`)", "entrypoints": "http"}, True),
        ({"rule": "HostSNI(`secure.example.com`)", "tls.passthrough": "true"}, True),
        ({"rule": "HostSNIRegexp(`^.+[.]example[.]com$`)", "tls": "true"}, True),
        ({"rule": "HostSNI(`*`) && ALPN(`h2`)", "tls": "true", "entrypoints": "db,https"}, True),
        ({"rule": "HostSNI(`db.example.com`)", "tls": "true"}, False),
        ({"rule": "HostSNI(`*`)", "entrypoints": "db"}, False),
        ({"rule": "HostSNI(`*`)", "entrypoints": "https"}, False),
    ],
)
def test_connections_are_taken_before_requests(own: dict[str, str], is_refused: bool) -> None:
    made = with_proxy(engine(nodes=1), SECURE)
    deploy(made, serving("secure.example.com", name="shop", proxy=SECURE))
    spec = app(service(labels={f"{TCP}.{key}": value for key, value in own.items()}))
    if not is_refused:
        assert not plan(made, spec).is_empty
        return
    error = refused(made, spec)
    assert error.code == "domain_taken"
    assert error.message.startswith("The router db of TCP connections takes ")


@pytest.mark.parametrize(
    ("rule", "priority", "is_refused"),
    [
        ("HostRegexp(`{name:[a-z]{1,9}}.example.com`)", 5000, True),
        ("Host(`x`, `a.example.com`)", 5000, True),
        ("HostRegexp(`{name:[a-z]+}.example.org`)", 5000, False),
        ("HostRegexp(`{name}.com`)", 5000, False),
    ],
)
def test_rules_in_the_syntax_of_traefik_2(rule: str, priority: int, is_refused: bool) -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    own = {"rule": rule, "priority": str(priority), "ruleSyntax": "v2"}
    spec = app(service(labels={f"traefik.http.routers.x.{k}": v for k, v in own.items()}))
    if is_refused:
        assert refused(made, spec).code == "domain_taken"
    else:
        assert not plan(made, spec).is_empty


def test_rule_that_cannot_be_read_is_worth_a_warning() -> None:
    made = cluster()
    (warning,) = plan(made, labelled("Host(`a.example.com`")).warnings
    assert warning.startswith("the rule of the router x cannot be read")


def test_what_took_requests_before_stays() -> None:
    made = cluster()
    spec = labelled("Host(`a.example.com`) && Path(`/pay`)", 5000)
    deploy(made, spec)
    deploy(made, serving("a.example.com", name="shop"))
    assert plan(made, spec).is_empty


def test_taking_over_leaves_the_domain_with_one_app() -> None:
    made = cluster()
    deploy(made, serving("a.example.com", "b.example.com", name="shop"))
    before = made.tasks_of("shop_web")
    spec = serving("b.example.com")
    found = plan(made, spec, take_over=True)
    (route,) = [change for change in found.changes if change.kind == "route"]
    assert (route.name, route.fields[0].before, route.fields[0].after) == (
        "b.example.com",
        "shop_web",
        "items_web",
    )
    backend = Swarm(made)
    rollout = backend.rollout(found)
    rollout.start(release(spec))
    rule = "traefik.http.routers.shop_web.rule"
    assert "b.example" in made.service("shop_web")["Spec"]["Labels"][rule], "not before it runs"
    rollout.finish()
    assert made.service("shop_web")["Spec"]["Labels"][rule] == "Host(`a.example.com`)"
    assert made.tasks_of("shop_web") == before
    assert plan(made, spec).is_empty
    assert refused(made, serving("a.example.com", "b.example.com", name="shop")).code == (
        "domain_taken"
    )


def test_what_has_no_route_left_is_none_of_the_proxys() -> None:
    made = cluster()
    deploy(made, serving("a.example.com", name="shop"))
    found = plan(made, serving("a.example.com"), take_over=True)
    backend = Swarm(made)
    rollout = backend.rollout(found)
    rollout.start(release(serving("a.example.com")))
    rollout.finish()
    left = made.service("shop_web")["Spec"]["Labels"]
    assert left["traefik.enable"] == "false"
    assert not [key for key in left if ".routers." in key]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("Host(`a`) || Host(`B`)", {Claim("a"), Claim("b")}),
        ("(Host(`a`) || Host(`b`)) && PathPrefix(`/v1`)", {Claim("a", "/v1"), Claim("b", "/v1")}),
        (f"(Host(`a`) || Host(`b`)) && {prefix('/v.1')}", {Claim("a", "/v.1"), Claim("b", "/v.1")}),
        ("Host(`a`) && PathRegexp(`^/v[0-9](/|$)`)", set()),
        ('PathPrefix(`/v1/`) && Host("a")', {Claim("a", "/v1")}),
        ("Host(`a`) || (Host(`b`) && Headers(`x`, `y`))", {Claim("a")}),
        ("Host(`a`) && !PathPrefix(`/x`)", set()),
        ("Host(`a`) && Method(`GET`)", set()),
        ("HostRegexp(`^(a|b)\\.example$`)", {Claim("^(a|b)\\.example$")}),
        (match("*.example.com"), {Claim("*.example.com")}),
        ("PathPrefix(`/`)", set()),
        ("Host(`a`", set()),
        ("", set()),
        (" && ".join(["(Host(`a`) || Host(`b`))"] * 30), set()),
        ("(" * 5000, set()),
    ],
)
def test_what_a_rule_claims(rule: str, expected: set[Claim]) -> None:
    assert claims(rule) == expected


@pytest.mark.parametrize("below", ["PathPrefix(`/v1`)", prefix("/v1")])
def test_a_rule_without_what_is_taken(below: str) -> None:
    rule = f"(Host(`a`) || Host(`b`)) && {below} || Host(`c`)"
    left = without(rule, [Claim("a", "/v1"), Claim("c")])
    assert claims(left) == {Claim("b", "/v1")}
    assert without(rule, claims(rule)) == ""


def test_a_rule_without_what_is_taken_keeps_its_negations() -> None:
    rule = "Host(`c`) || Host(`a`) && !(Path(`/x`) || !Path(`/y`)) && Method(`GET`)"
    assert without(rule, [Claim("c")]) == (
        "(Host(`a`) && !( Path(`/x`) || !Path(`/y`) ) && Method(`GET`))"
    )


# --- short names ----------------------------------------------------------------------------------


def named(made: FakeEngine, name: str, network: str) -> list[str]:
    ids = {found["Name"]: found["Id"] for found in made.networks()}
    attached = made.service(name)["Spec"]["TaskTemplate"]["Networks"]
    return next(a.get("Aliases", []) for a in attached if a["Target"] == ids[network])


def test_short_names_are_the_apps_own() -> None:
    spec = app(service(networks=["backbone"]))
    made = with_proxy(engine(spec))
    deploy(made, spec)
    assert named(made, "items_web", "items_default") == ["web"]
    assert named(made, "items_web", "deploytool-proxy") == []
    assert named(made, "items_web", "backbone") == []


def stack_deployed(made: FakeEngine, name: str) -> None:
    """What `docker stack deploy` makes of a service's networks."""
    live = made.service(name)
    template = live["Spec"]["TaskTemplate"]
    short = name.partition("_")[2]
    attached = [network | {"Aliases": [short]} for network in template["Networks"]]
    spec = live["Spec"] | {"TaskTemplate": template | {"Networks": attached}}
    made.update_service(live, spec)


def test_names_that_docker_stack_deploy_gave_are_taken_back() -> None:
    made = cluster()
    deploy(made, app())
    stack_deployed(made, "items_web")
    found = plan(made, app())
    (warning,) = found.warnings
    assert warning.startswith("web is no name on the network deploytool-proxy any more")
    assert "items_web" in warning
    Swarm(made).rollout(found).start(release(app(), 2))
    assert plan(made, app()).is_empty
    assert plan(made, app()).warnings == ()


def test_another_app_that_answers_to_our_name_is_worth_a_warning() -> None:
    made = cluster()
    deploy(made, app(name="other"))
    assert plan(made, app()).warnings == ()
    stack_deployed(made, "other_web")
    (warning,) = plan(made, app()).warnings
    assert "other_web answers to web too on the network deploytool-proxy" in warning
    assert "items_web" in warning
    assert plan(made, app(service("api"))).warnings == ()
    assert plan(made, app(service(domains=[]))).warnings == ()


# --- the proxy itself -----------------------------------------------------------------------------

SECURE = ProxySettings(email="ops@example.com")


def test_the_proxy_loses_nothing_that_routes_need() -> None:
    made = with_proxy(engine(nodes=1), SECURE)
    deploy(made, app(service(domains=["a.example.com"]), name="shop", proxy=SECURE))
    error = refused(made, proxy())
    assert error.code == "proxy_in_use"
    assert "which the service web of the app shop needs" in error.message
    assert set(error.details) == {
        "certificate resolver acme: shop_web",
        "entry point https: shop_web",
    }
    error = refused(made, proxy(SECURE.model_copy(update={"network": "other"})))
    assert error.details == ("network deploytool-proxy: shop_web",)


def test_the_proxy_loses_what_nobody_needs() -> None:
    made = with_proxy(engine(nodes=1), SECURE)
    deploy(made, app(service(), name="shop"))
    assert not plan(made, proxy()).is_empty


def test_a_port_that_moves_is_told() -> None:
    made = with_proxy(engine(nodes=1), SECURE)
    moved = SECURE.model_copy(update={"http_port": 8080, "https_port": 8443})
    assert [w for w in plan(made, proxy(moved)).warnings if "no more" in w] == []
    deploy(made, app(service(domains=["a.example.com"]), name="shop", proxy=SECURE))
    assert [w for w in plan(made, proxy(moved)).warnings if "no more" in w] == [
        "all apps answer HTTP on port 8080 then, and on port 80 no more",
        "all apps answer HTTPS on port 8443 then, and on port 443 no more",
    ]
