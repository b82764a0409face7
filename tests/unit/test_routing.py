"""What the proxy is told about a service, and what is read back from it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytool.backends.swarm.specification.routing import ports, routing_labels
from deploytool.spec import AppSpec
from deploytool.traefik.routing import Ports, claims, urls
from deploytool.traefik.rules import Claim
from tests.builders import app, engine, service, with_proxy
from tests.builders import proxy as proxy_app

ACME = {"email": "ops@example.com"}
DNS = {**ACME, "dns_provider": "cloudflare"}
ROUTER = "traefik.http.routers.items_web"
REDIRECT = "traefik.http.middlewares.items_web_redirect.redirectscheme"


def routed(proxy: dict[str, Any] | None = None, **keys: Any) -> dict[str, str]:
    spec = one(proxy, **keys)
    return routing_labels(spec, spec.services[0])


def one(proxy: dict[str, Any] | None = None, **keys: Any) -> AppSpec:
    return app(service(**({"domains": ["api.example.com"]} | keys)), proxy=proxy or {})


def test_without_certificates_there_is_http_alone() -> None:
    found = routed()
    assert found[f"{ROUTER}.entrypoints"] == "http"
    assert not [key for key in found if "tls" in key or "redirect" in key]


def test_https_serves_and_http_leads_there() -> None:
    found = routed(ACME)
    assert found[f"{ROUTER}.entrypoints"] == "https"
    assert found[f"{ROUTER}.tls.certresolver"] == "acme"
    assert found[f"{ROUTER}_redirect.entrypoints"] == "http"
    assert found[f"{ROUTER}_redirect.rule"] == found[f"{ROUTER}.rule"]
    assert found[f"{ROUTER}_redirect.middlewares"] == "items_web_redirect"
    assert found[f"{REDIRECT}.scheme"] == "https"
    assert found[f"{REDIRECT}.permanent"] == "true"
    assert f"{REDIRECT}.port" not in found


def test_redirect_knows_the_port() -> None:
    assert routed(ACME | {"https_port": 8443})[f"{REDIRECT}.port"] == "8443"


prefixes = st.from_regex(r"(/[A-Za-z0-9_.~-]{1,5}){1,3}/?", fullmatch=True)
characters = st.text("aZ0_.~-/", max_size=4)


@given(prefixes, characters)
def test_a_prefix_is_one_of_whole_segments(prefix: str, after: str) -> None:
    found = routed(path_prefix=prefix)
    bare = prefix.rstrip("/")
    assert claims(found) == {Claim("api.example.com", bare)}
    assert list(urls(found, Ports())) == [f"http://api.example.com{bare}"]
    pattern = found[f"{ROUTER}.rule"].partition("PathRegexp(`")[2].removesuffix("`)")
    assert bool(re.search(pattern, bare + after)) is (after == "" or after.startswith("/"))
    assert not re.search(pattern, f"/!{bare}"), "no prefix has such a segment"
    assert not re.search(pattern, bare.replace(".", "x") if "." in bare else "/")


def test_a_name_for_trying_stays_http() -> None:
    assert routed(ACME, domains=None) == routed(domains=None)


def test_hsts_comes_first_and_on_https_alone() -> None:
    found = routed(ACME | {"hsts": "365d"}, path_prefix="/v1")
    assert found[f"{ROUTER}.middlewares"].split(",")[:2] == ["items_web_hsts", "items_web"]
    header = "traefik.http.middlewares.items_web_hsts.headers.customresponseheaders"
    assert found[f"{header}.Strict-Transport-Security"] == "max-age=31536000"
    assert "hsts" not in found[f"{ROUTER}_redirect.middlewares"]


def test_wildcards_are_told_one_by_one() -> None:
    names = ["*.example.com", "example.org"]
    found = routed(DNS, domains=names)
    assert [found[f"{ROUTER}.tls.domains[{n}].main"] for n in (0, 1)] == names
    for settings, domains in ((ACME, names), (DNS, ["example.org"])):
        assert not [key for key in routed(settings, domains=domains) if "tls.domains" in key]


def test_who_comes_first() -> None:
    """However long the rules are."""
    order = [
        routed(domains=["*.a.example.com"]),
        routed(domains=["*.a.example.com"], path_prefix="/a/very/long/prefix"),
        routed(domains=["b.example", "c.example"]),
        routed(domains=["b.example"], path_prefix="/a"),
        routed(domains=["b.example"], path_prefix="/a/b"),
    ]
    priorities = [int(found[f"{ROUTER}.priority"]) for found in order]
    assert priorities == sorted(set(priorities))
    assert priorities[0] > 0


@pytest.mark.parametrize(
    ("proxy", "listening", "expected"),
    [
        ({}, Ports(), "http://api.example.com/v1"),
        ({}, Ports(http=8081), "http://api.example.com:8081/v1"),
        (ACME, Ports(https=443), "https://api.example.com/v1"),
        (ACME, Ports(https=8443), "https://api.example.com:8443/v1"),
    ],
)
def test_addresses(proxy: dict[str, Any], listening: Ports, expected: str) -> None:
    found = routed(proxy, path_prefix="/v1")
    assert list(urls(found, listening)) == [expected]


def test_ports_are_those_of_the_proxy_that_runs() -> None:
    made = with_proxy(engine(), proxy_app().proxy.model_copy(update={"http_port": 8081}))
    service_json = made.service("proxy_traefik")
    assert ports(service_json) == Ports(http=8081, https=None)
    assert str(Ports(80, 443)) == "HTTP on port 80, HTTPS on port 443"


def test_a_service_called_redirect_has_an_address() -> None:
    spec = app(service("redirect", domains=["api.example.com"]), proxy=ACME)
    own = routing_labels(spec, spec.services[0])
    assert list(urls(own, Ports(https=443))) == ["https://api.example.com"]


def test_no_domains_are_no_routes() -> None:
    assert routed(domains=[]) == {}


def test_names_for_trying_are_of_those_that_want_one() -> None:
    spec = app(service(), service("api", domains=[]), service("docs"))
    assert [spec.hosts(one) for one in spec.services] == [
        ("items.localhost",),
        (),
        ("docs.items.localhost",),
    ]
