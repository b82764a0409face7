"""Traefik as an app: what it may, what it listens to, and what it is told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from deploytool.backends.model import Action
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.backends.swarm.proxy import (
    DYNAMIC,
    ENGINE_SOCKET,
    app_spec,
    files,
)
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels, stack
from deploytool.errors import PlanError, UsageError
from deploytool.json_types import Json
from deploytool.spec import ProxySettings
from deploytool.traefik import routing
from deploytool.traefik.proxy import check_certificate, join, pull_job, restarts_with
from deploytool.traefik.static import DYNAMIC_TARGET
from tests.builders import OTHER_DIGEST, deploy, engine, image, images, proxy, release


def compiled(settings: ProxySettings | None = None) -> Json:
    spec = app_spec(settings or ProxySettings())
    return swarm.service_spec(spec, spec.services[0], image("traefik:v3.7"), None)


def socket_proxy() -> Json:
    spec = app_spec(ProxySettings())
    return swarm.service_spec(spec, spec.services[1], image("haproxy:3.0-alpine"), None)


def sources(spec: Json) -> list[str]:
    return [mount.get("Source", "") for mount in spec["TaskTemplate"]["ContainerSpec"]["Mounts"]]


def test_the_engines_socket_is_the_socket_proxys_alone() -> None:
    assert socket_proxy()["TaskTemplate"]["Placement"]["Constraints"] == ["node.role == manager"]
    assert socket_proxy()["Mode"] == {"Global": {}}, "each manager's, as one may go away"
    assert ENGINE_SOCKET in sources(socket_proxy())
    assert ENGINE_SOCKET not in sources(compiled())


def test_the_socket_proxy_is_on_a_network_of_the_two_alone() -> None:
    attached = socket_proxy()["TaskTemplate"]["Networks"]
    assert [network["Target"] for network in attached] == ["proxy_default"]
    assert socket_proxy()["EndpointSpec"]["Ports"] == []


def test_traefik_is_where_its_constraints_say() -> None:
    chosen = compiled(ProxySettings(constraints=("node.labels.edge == yes",)))
    assert chosen["TaskTemplate"]["Placement"]["Constraints"] == ["node.labels.edge == yes"]
    assert compiled()["TaskTemplate"]["Placement"]["Constraints"] == ["node.role == manager"]


def test_it_sees_the_callers_addresses() -> None:
    (port,) = compiled(ProxySettings(http_port=8081))["EndpointSpec"]["Ports"]
    assert (port["PublishMode"], port["PublishedPort"]) == ("host", 8081)
    assert compiled()["UpdateConfig"]["Order"] == "stop-first"


def test_it_has_no_privileges() -> None:
    container = compiled()["TaskTemplate"]["ContainerSpec"]
    assert container["CapabilityDrop"] == ["ALL"]
    assert container["CapabilityAdd"] == []
    assert container["ReadOnly"] is True
    assert container["User"] == "65532:65532"


@pytest.mark.parametrize(
    "argument",
    [
        "--providers.swarm.exposedbydefault=false",
        "--providers.swarm.network=public",
        "--providers.swarm.refreshseconds=1",
        "--entrypoints.http.transport.lifecycle.gracetimeout=200ms",
        "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
    ],
)
def test_what_it_is_told(argument: str) -> None:
    spec = compiled(ProxySettings(network="public"))
    assert argument in spec["TaskTemplate"]["ContainerSpec"]["Args"]


def told(**settings: object) -> list[str]:
    spec = compiled(ProxySettings.model_validate({"email": "ops@example.com", **settings}))
    return list(spec["TaskTemplate"]["ContainerSpec"]["Args"])


def test_without_an_address_to_write_to_there_is_no_https() -> None:
    arguments = " ".join(compiled()["TaskTemplate"]["ContainerSpec"]["Args"])
    assert "certificatesresolvers" not in arguments
    assert "entrypoints.https" not in arguments


def test_certificates_are_asked_for_and_kept() -> None:
    spec = compiled(ProxySettings(email="ops@example.com", https_port=8443))
    published = [(p["PublishedPort"], p["TargetPort"]) for p in spec["EndpointSpec"]["Ports"]]
    assert published == [(80, 8080), (8443, 8443)]
    volumes = [
        (mount["Source"], mount["Target"])
        for mount in spec["TaskTemplate"]["ContainerSpec"]["Mounts"]
        if mount["Type"] == "volume"
    ]
    assert volumes == [("proxy_acme", "/var/tmp")]
    acme = "--certificatesresolvers.acme.acme"
    assert {
        f"{acme}.email=ops@example.com",
        f"{acme}.storage=/var/tmp/acme.json",
        f"{acme}.httpchallenge.entrypoint=http",
        f"{acme}.certificatesduration=2160",
    } <= set(told())


def test_names_proved_by_dns() -> None:
    settings = {
        "dns_provider": "httpreq",
        "dns_secrets": ["HTTPREQ_PASSWORD"],
        "dns_resolvers": ["192.0.2.1:53", "192.0.2.2:53"],
        "dns_check": False,
        "env": {"HTTPREQ_ENDPOINT": "http://dns.example.com"},
    }
    dns = "--certificatesresolvers.acme.acme.dnschallenge"
    assert {
        f"{dns}.provider=httpreq",
        f"{dns}.resolvers=192.0.2.1:53,192.0.2.2:53",
        f"{dns}.propagation.disableanschecks=true",
    } <= set(told(**settings))
    assert not [argument for argument in told(**settings) if "httpchallenge" in argument]
    spec = compiled(ProxySettings.model_validate({"email": "a@example.com", **settings}))
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert container["Env"] == [
        "HTTPREQ_ENDPOINT=http://dns.example.com",
        "HTTPREQ_PASSWORD_FILE=/run/secrets/HTTPREQ_PASSWORD",
    ]
    assert [s["SecretName"] for s in container["Secrets"]] == ["proxy_HTTPREQ_PASSWORD"]


def test_an_authority_of_ones_own() -> None:
    found = told(acme_ca="COMPANY_CA", acme_profile="shortlived", certificate_lifetime="1d")
    acme = "--certificatesresolvers.acme.acme"
    assert {
        f"{acme}.cacertificates=/run/secrets/COMPANY_CA",
        f"{acme}.profile=shortlived",
        f"{acme}.certificatesduration=24",
    } <= set(found)


def test_certificates_of_ones_own() -> None:
    settings = ProxySettings(certificates=("example.com", "intra"))
    spec = app_spec(settings)
    assert dynamic(settings)["tls"]["certificates"] == [
        {"certFile": f"/run/secrets/{name}", "keyFile": f"/run/secrets/{name}"}
        for name in ("example.com", "intra")
    ]
    traefik = spec.services[0]
    assert traefik.secrets == ("example.com", "intra")
    assert traefik.files == {DYNAMIC_TARGET: DYNAMIC}
    assert f"--providers.file.filename={DYNAMIC_TARGET}" in (traefik.command or ())
    assert 443 in {port.port for port in traefik.publish}
    assert not traefik.volumes, "nothing is asked of an authority"
    another = app_spec(ProxySettings(certificates=("other",)))
    assert swarm.file_name(spec, DYNAMIC) != swarm.file_name(another, DYNAMIC)


def dynamic(settings: ProxySettings) -> Json:
    loaded: Json = yaml.safe_load(files(settings)[DYNAMIC])
    return loaded


@pytest.mark.parametrize(
    ("settings", "entrypoints"),
    [(ProxySettings(), ["http"]), (ProxySettings(email="a@example.com"), ["http", "https"])],
)
def test_a_request_before_the_routes_are_read_gets_503(
    settings: ProxySettings, entrypoints: list[str]
) -> None:
    http = dynamic(settings)["http"]
    found = sorted(http["routers"].values(), key=lambda router: str(router["entryPoints"]))
    assert [router["entryPoints"] for router in found] == [[name] for name in entrypoints]
    assert ["tls" in router for router in found] == [name == "https" for name in entrypoints]
    chains = {tuple(router["middlewares"]) for router in found}
    assert chains == {("proxy_starting_headers", "proxy_starting")}
    assert http["middlewares"]["proxy_starting"]["ipAllowList"]["rejectStatusCode"] == 503
    headers = http["middlewares"]["proxy_starting_headers"]["headers"]["customResponseHeaders"]
    assert headers["Retry-After"] == "1"


def test_an_unknown_name_gets_404_once_the_routes_are_read() -> None:
    """The router for it comes with the routes, and takes precedence over the one from the file."""
    settings = ProxySettings(email="a@example.com")
    own = compiled(settings)["Labels"]
    http = dynamic(settings)["http"]
    assert own["traefik.enable"] == "true"
    assert own["traefik.http.middlewares.proxy_unknown.ipallowlist.rejectstatuscode"] == "404"
    for router, starting in (
        ("proxy_unknown", "proxy_starting"),
        ("proxy_unknown_tls", "proxy_starting_tls"),
    ):
        priority = int(own[f"traefik.http.routers.{router}.priority"])
        assert http["routers"][starting]["priority"] < priority < 0, "below every app's router"
    assert own["traefik.http.routers.proxy_unknown_tls.tls"] == "true"
    assert "traefik.http.routers.proxy_unknown_tls.tls" not in compiled()["Labels"]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("certificate", "there is a certificate alone"),
        ("key", "there is a key alone"),
        ("swapped", "the key does not belong to the first certificate"),
        ("damaged", "a part of it is damaged"),
        ("locked", "the key has a password"),
        ("nonsense", "there is neither in it"),
    ],
)
def test_half_a_certificate_is_refused_and_not_repeated(
    part: str, why: str, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path, "a")
    check_certificate("a", certificate + key)
    other = self_signed(tmp_path, "b")[1]
    parts = {
        "certificate": certificate,
        "key": key,
        "swapped": certificate + other,
        "damaged": certificate[:100] + certificate[160:] + key,
        "locked": certificate + key.replace(b" PRIVATE", b" ENCRYPTED PRIVATE")[:200],
    }
    with pytest.raises(UsageError) as caught:
        check_certificate("a", parts.get(part, b"hunter2"))
    assert caught.value.code == "certificate_invalid"
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def self_signed(folder: Path, name: str) -> tuple[bytes, bytes]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}")
    command = ["openssl", "req", "-x509", *new, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate.read_bytes(), key.read_bytes()


def test_proxy_down_keeps_what_was_set() -> None:
    made = engine()
    backend = Swarm(made)
    backend.set_secrets("proxy", {"CF_DNS_API_TOKEN": b"x"})
    deploy(made, proxy())
    assert "secret" not in " ".join(backend.destroy("proxy", volumes=False, secrets=False))
    assert [secret.name for secret in backend.secrets("proxy")] == ["CF_DNS_API_TOKEN"]
    assert "secret proxy_CF_DNS_API_TOKEN.1" in backend.destroy("proxy", volumes=True)


def test_a_secret_that_is_missing_is_one_of_the_proxys() -> None:
    spec = app_spec(ProxySettings(certificates=("example.com",)))
    with pytest.raises(PlanError) as caught:
        Swarm(engine()).plan(spec, images(spec))
    assert caught.value.hint.endswith("deploytool secrets set example.com --proxy")


def test_nobody_is_believed_unless_named() -> None:
    assert not [argument for argument in told() if "forwardedheaders" in argument]
    found = told(trusted_proxies=["192.0.2.7", "2001:db8::/32"])
    for entrypoint in ("http", "https"):
        trusted = f"--entrypoints.{entrypoint}.forwardedheaders.trustedips"
        assert f"{trusted}=192.0.2.7/32,2001:db8::/32" in found


@pytest.mark.parametrize(
    "wrong",
    [
        {"dns_provider": "cloudflare"},
        {"acme_ca": "CA"},
        {"email": "a@example.com", "dns_secrets": ["CF_DNS_API_TOKEN"]},
        {"email": "a@example.com", "dns_provider": "Cloudflare"},
        {"email": "a@example.com", "certificate_lifetime": "59m"},
        {"email": "nobody"},
        {"acme_directory": "http://ca.example.com"},
        {"http_port": 443},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"trusted_proxies": ["everybody"]},
    ],
)
def test_settings_that_mean_nothing(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ProxySettings.model_validate(wrong)


def test_its_dashboard_is_not_open() -> None:
    arguments = " ".join(compiled()["TaskTemplate"]["ContainerSpec"]["Args"])
    assert "--api" not in arguments


def test_it_is_recognised() -> None:
    assert compiled()["Labels"][labels.ROLE] == "proxy"


def test_it_takes_no_name_from_an_app() -> None:
    own = compiled(ProxySettings(email="a@example.com"))["Labels"]
    assert routing.claims(own) == frozenset()
    assert not list(routing.urls(own, routing.Ports(80, 443)))


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
    plan = Swarm(made).plan(proxy(), images(proxy()), files=files(ProxySettings()))
    created = [c.name for c in plan.changes if c.kind == "network" and c.action is Action.CREATE]
    assert created == ["deploytool-proxy", "proxy_default"]


ENCRYPTED = ProxySettings(encrypted=True)


def test_networks_are_encrypted_where_the_configuration_says_so() -> None:
    made = engine()
    made.remove_network("id-of-deploytool-proxy")
    deploy(made, proxy(ENCRYPTED))
    assert {n["Name"]: n["Options"] for n in made.networks()} == {
        "deploytool-proxy": {"encrypted": ""},
        "proxy_default": {"encrypted": ""},
    }
    document = stack.document(proxy(ENCRYPTED))
    assert document["networks"]["default"]["driver_opts"] == {"encrypted": ""}


def test_a_network_that_is_there_in_the_clear_is_refused() -> None:
    made = engine()
    with pytest.raises(PlanError) as caught:
        Swarm(made).plan(proxy(ENCRYPTED), images(proxy(ENCRYPTED)), files=files(ENCRYPTED))
    assert caught.value.code == "network_unencrypted"
    assert "docker network rm deploytool-proxy" in caught.value.hint


def test_what_callers_say_of_their_way_is_taken_off() -> None:
    content = yaml.safe_load(files(ProxySettings())[DYNAMIC])
    (name,) = (n for n, m in content["http"]["middlewares"].items() if m == FORWARDED_IS_DROPPED)
    assert f"--entrypoints.http.http.middlewares={name}@file" in told()


FORWARDED_IS_DROPPED = {"headers": {"customRequestHeaders": {"Forwarded": ""}}}


def test_old_ciphers_and_unknown_names_are_refused() -> None:
    content = yaml.safe_load(files(ProxySettings(email="ops@example.com"))[DYNAMIC])
    options = content["tls"]["options"]["default"]
    assert options["sniStrict"] is True
    assert options["cipherSuites"]
    assert all("GCM" in name or "POLY1305" in name for name in options["cipherSuites"])
    assert all(name.startswith("TLS_ECDHE_") for name in options["cipherSuites"])
    assert "tls" not in yaml.safe_load(files(ProxySettings())[DYNAMIC])


@pytest.mark.parametrize(
    ("settings", "logged"),
    [
        ({}, True),
        ({"image": "r.example.com:5000/traefik:latest"}, True),
        ({"image": "traefik:v3.6.1"}, False),
        ({"access_log": False}, False),
    ],
)
def test_requests_are_logged_without_queries_or_not_at_all(
    settings: dict[str, Any], logged: bool
) -> None:
    arguments = told(**settings)
    assert ("--accesslog=true" in arguments) is logged
    assert ("--accesslog.fields.queryparameters.defaultmode=drop" in arguments) is logged


def test_another_port_is_a_change() -> None:
    made = engine()
    deploy(made, proxy())
    moved = app_spec(ProxySettings(http_port=8081))
    plan = Swarm(made).plan(moved, images(moved), files=files(moved.proxy))
    assert [field.path for field in plan.changes[0].fields] == ["publish"]
    assert plan.changes[0].replaces


def test_what_a_restart_costs_is_told() -> None:
    made = engine()
    deploy(made, proxy())
    backend = Swarm(made)
    trusted = proxy(ProxySettings.model_validate({"trusted_proxies": ["192.0.2.0/24"]}))
    plan = backend.plan(trusted, images(trusted), files=files(trusted.proxy))
    (warning,) = plan.warnings
    assert warning.startswith("the proxy restarts: for about a second callers of all apps")
    assert not restarts_with(plan, "image")
    assert backend.plan(proxy(), images(proxy()), files=files(ProxySettings())).warnings == ()
    assert (
        Swarm(engine()).plan(proxy(), images(proxy()), files=files(ProxySettings())).warnings == ()
    )


def test_a_new_image_is_pulled_before_the_proxy_stops() -> None:
    made = engine()
    deploy(made, proxy())
    newer = proxy(ProxySettings(image="traefik:v3.8"))
    chosen = images(newer) | {"traefik": image("traefik:v3.8", digest=OTHER_DIGEST)}
    plan = Swarm(made).plan(newer, chosen, files=files(newer.proxy))
    assert restarts_with(plan, "image")
    first = Swarm(engine()).plan(newer, chosen, files=files(newer.proxy))
    assert not restarts_with(first, "image"), "none runs yet"
    job = job_spec(pull_job(release(newer, 2, images=chosen)), {})
    container = job["TaskTemplate"]["ContainerSpec"]
    assert (container["Image"], container["Args"]) == (chosen["traefik"].reference, ["version"])
    assert job["TaskTemplate"]["Placement"]["Constraints"] == ["node.role == manager"]
    assert not job["EndpointSpec"].get("Ports")


# --- one proxy, several projects ------------------------------------------------------------------

RUNNING = ProxySettings.model_validate(
    {
        "email": "ops@example.com",
        "https_port": 8443,
        "acme_profile": "shortlived",
        "certificates": ["a"],
        "trusted_proxies": ["192.0.2.0/24"],
        "hsts": "1d",
        "image": "traefik:v3.7",
    }
)


@pytest.mark.parametrize(
    ("own", "kept", "then"),
    [
        (
            {},
            ("acme_profile", "certificates", "email", "https_port", "trusted_proxies"),
            {"email": "ops@example.com", "https_port": 8443, "hsts": None},
        ),
        (
            {"email": "b@example.com", "https_port": 443, "certificates": ["b"]},
            ("acme_profile", "certificates", "trusted_proxies"),
            {"email": "b@example.com", "https_port": 443, "certificates": ("b", "a")},
        ),
        (RUNNING.model_dump(), (), RUNNING.model_dump()),
    ],
)
def test_what_a_project_does_not_set_stays(
    own: dict[str, object], kept: tuple[str, ...], then: dict[str, object]
) -> None:
    joined = join(ProxySettings.model_validate(own), RUNNING)
    assert joined.kept == kept
    found = joined.settings.model_dump()
    assert {key: found[key] for key in then} == then


@pytest.mark.parametrize(
    ("running", "then"),
    [
        ("traefik:v3.6.1", "traefik:v3.7"),
        ("traefik:v3.10", "traefik:v3.10"),
        ("r.example.com/traefik:v3.6", "r.example.com/traefik:v3.6"),
    ],
)
def test_the_default_image_moves_on(running: str, then: str) -> None:
    assert join(ProxySettings(), ProxySettings(image=running)).settings.image == then


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(UsageError) as caught:
        join(ProxySettings(http_port=8443), RUNNING)
    assert "--replace" in caught.value.hint


@pytest.mark.parametrize(
    ("settings", "limit"),
    [({}, "3600s"), ({"read_timeout": "0s"}, "0s"), ({"read_timeout": "1.5s"}, "1.5s")],
)
def test_uploads_may_take_longer_than_traefiks_own_minute(
    settings: dict[str, Any], limit: str
) -> None:
    arguments = told(email="ops@example.com", **settings)
    for name in ("http", "https"):
        option = f"--entrypoints.{name}.transport.respondingtimeouts.readtimeout"
        assert f"{option}={limit}" in arguments
