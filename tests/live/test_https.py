"""HTTPS for real: a proxy on a Swarm, certificates of an authority that checks who owns a name.

Two proxies, one after the other: the first proves names by HTTP; the second by DNS, behind a load
balancer that it trusts, with certificates that are valid for minutes only.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.swarm import connect
from deploytool.backends.swarm.proxy import (
    CERTIFICATES,
    ENGINE_SOCKET,
    FORMER_VOLUME,
    RULES,
    files,
)
from deploytool.records.history import current_release, records
from deploytool.rollout.release import new_release
from deploytool.rollout.roll_out import roll_out
from deploytool.spec import Release, Volume
from tests.lab import Lab
from tests.lab.acme import SHORT, Pebble
from tests.lab.cache import locked
from tests.lab.shell import wait_until
from tests.live.conftest import LIMIT, PROXY, Project, make_project

SHOP, BLOG, OWN = "shop.example.com", "blog.example.com", "own.example.com"
WILD, ONE = "*.apps.example.com", "one.apps.example.com"
API_USER, API_PASSWORD = "lab", "s3cr3t-of-the-zone"
WHO = """

@app.get("/who")
def read_who(request: Request) -> dict[str, str | None]:
    client = request.client.host if request.client else None
    forwarded = request.headers.get("Forwarded")
    url = {"url": str(request.url), "scheme": request.url.scheme}
    return {"client": client, "forwarded": forwarded, **url}
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str
    caller: str
    """The address that the request came from."""
    certificate: Mapping[str, Any]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> set[str]:
        """What the certificate is for."""
        return {name for _, name in self.certificate["subjectAltName"]}

    @property
    def serial(self) -> int:
        return int(self.certificate["serialNumber"], 16)


@dataclass(frozen=True)
class Visitor:
    """A client that trusts the lab's authorities and nobody else."""

    address: str
    root: str

    def ask(
        self,
        host: str,
        path: str = "/",
        *,
        scheme: str = "https",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request through the proxy, on a connection of its own. Raises OSError where the
        certificate is not of an authority, or for another name."""
        port = 443 if scheme == "https" else 80
        plain = socket.create_connection((self.address, port), timeout=10)
        certificate: Mapping[str, Any] = {}
        connection = http.client.HTTPConnection(host)
        connection.sock = plain
        try:
            if scheme == "https":
                trust = ssl.create_default_context(cadata=self.root)
                secure = trust.wrap_socket(plain, server_hostname=host)
                certificate = secure.getpeercert() or {}
                connection.sock = secure
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            body = response.read().decode()
            caller = connection.sock.getsockname()[0]
            return Answer(response.status, found, body, caller, certificate)
        finally:
            connection.close()

    def wait(self, host: str, path: str = "/health", seconds: float = 30) -> Answer:
        """The first good answer."""
        return eventually(lambda: self.ask(host, path), lambda a: a.status == 200, seconds)


def eventually(
    ask: Callable[[], Answer], good: Callable[[Answer], bool], seconds: float = 30
) -> Answer:
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer: Answer | OSError = ask()
        except OSError as error:
            answer = error
        if isinstance(answer, Answer) and good(answer):
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s; the last was {answer}"
        time.sleep(0.2)


# --- the authority, the proxy and two apps --------------------------------------------------------


@pytest.fixture(scope="module")
def pebble(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    folder = tmp_path_factory.mktemp("pebble")
    made = Pebble(lab.network.gateway, lab.manager.address, folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def operator(running_proxy: Project, pebble: Pebble) -> Iterator[Project]:
    """Who looks after the proxy, which is nobody else's until all of these tests are done."""
    with locked(PROXY):
        settings(running_proxy, pebble)
        secret(running_proxy, "LAB_CA", pebble.authority.certificate.read_bytes())
        secret(running_proxy, "HTTPREQ_PASSWORD", API_PASSWORD.encode())
        yield running_proxy
        plain(running_proxy)
        removed = running_proxy.ok("proxy", "down", "--yes", "--volumes")["removed"]
        running_proxy.ok("proxy", "up", "--yes")
    assert "volume proxy_acme" in removed
    assert "secret proxy_LAB_CA.1" in removed


def secret(project: Project, name: str, value: bytes) -> None:
    """Set a secret of the proxy."""
    file = project.folder / "value"
    file.write_bytes(value)
    project.ok("secrets", "set", name, "--proxy", "--file", str(file))
    file.unlink()


def own_certificate(project: Project, pebble: Pebble) -> None:
    """Give the proxy a new certificate that the lab's authority made without being asked."""
    files = pebble.authority.issue("own", f"DNS:{OWN}")
    secret(project, "own", b"".join(file.read_bytes() for file in files))


def plain(project: Project) -> None:
    project.extra = {}
    project.configure()


def settings(project: Project, pebble: Pebble, **changes: Any) -> None:
    """Ask for HTTPS."""
    project.extra = {
        "proxy": {
            **project.proxy_images,
            "email": "ops@example.com",
            "acme_directory": pebble.directory,
            "acme_ca": "LAB_CA",
            "certificates": ["own"],
            "hsts": "1d",
            **changes,
        }
    }
    project.configure()


@pytest.fixture(scope="module")
def by_http(operator: Project, pebble: Pebble) -> Project:
    """The proxy that proves names by HTTP. Pebble takes a profile at random if none is named."""
    settings(operator, pebble, acme_profile="default")
    own_certificate(operator, pebble)
    assert operator.ok("proxy", "up", "--yes")["https_port"] == 443
    return operator


@pytest.fixture(scope="module")
def apps(by_http: Project) -> Iterator[list[Project]]:
    """What is deployed, removed side by side."""
    made: list[Project] = []
    yield made
    for removal in [app.start("destroy", "--yes") for app in made]:
        removal.communicate(timeout=LIMIT)


@pytest.fixture(scope="module")
def shop(
    by_http: Project,
    apps: list[Project],
    pebble: Pebble,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """An app with one service at a domain and another below a path of it."""
    made = make_project(tmp_path_factory.mktemp("shop"), "shop", by_http.lab, by_http.env)
    apps.append(made)
    source = made.folder / "app" / "main.py"
    source.write_text(source.read_text() + WHO)
    web = made.services["web"] | {"replicas": 1}
    made.services = {
        "web": web | {"domains": [SHOP]},
        "api": web | {"domains": [SHOP], "path_prefix": "/api"},
    }
    settings(made, pebble)
    made.ok("deploy")
    return made


@pytest.fixture(scope="module")
def blog(
    shop: Project,
    apps: list[Project],
    pebble: Pebble,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """Another app, at a domain of its own and below a path of the first one's."""
    made = make_project(tmp_path_factory.mktemp("blog"), "blog", shop.lab, shop.env)
    apps.append(made)
    web = shop.services["web"]
    made.services = {
        "web": web | {"domains": [BLOG]},
        "help": web | {"domains": [SHOP, BLOG], "path_prefix": "/help"},
        "own": web | {"domains": [OWN]},
    }
    settings(made, pebble)
    image = shop.ok("status")["services"][0]["image"]
    made.ok("deploy", "--image", image)
    return made


@pytest.fixture(scope="module")
def visitor(shop: Project, pebble: Pebble) -> Visitor:
    """Who sees the first app once its certificate is there."""
    trusted = pebble.root() + pebble.authority.certificate.read_text()
    made = Visitor(shop.lab.manager.address, trusted)
    made.wait(SHOP)
    made.wait(SHOP, "/api/health")
    return made


# --- names proved by HTTP -------------------------------------------------------------------------


def test_certificate_is_the_authoritys(shop: Project, visitor: Visitor, pebble: Pebble) -> None:
    answer = visitor.ask(SHOP)
    assert answer.body == '{"Hello":"World"}'
    assert answer.names == {SHOP}
    assert answer.serial in {int(serial, 16) for serial in pebble.issued()}
    assert "Pebble" in str(answer.certificate["issuer"])
    api, web = shop.ok("status")["services"]
    assert (api["urls"], web["urls"]) == ([f"https://{SHOP}/api"], [f"https://{SHOP}"])


def test_http_leads_to_https(visitor: Visitor) -> None:
    for method, status in (("GET", 301), ("POST", 308)):
        answer = visitor.ask(SHOP, "/items/1?q=a", scheme="http", method=method)
        assert answer.status == status
        assert answer.headers["location"] == f"https://{SHOP}/items/1?q=a"
        assert "strict-transport-security" not in answer.headers
    challenge = visitor.ask(SHOP, "/.well-known/acme-challenge/none", scheme="http")
    assert challenge.status == 404


def test_browsers_are_told_to_stay(visitor: Visitor) -> None:
    assert visitor.ask(SHOP).headers["strict-transport-security"] == "max-age=86400"


def test_the_app_sees_the_caller(visitor: Visitor) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example.com",
        "X-Real-Ip": "203.0.113.7",
        "Forwarded": "for=203.0.113.7;proto=http",
    }
    for headers in ({}, forged):
        answer = visitor.ask(SHOP, "/who", headers=headers)
        expected = {"client": answer.caller, "url": f"https://{SHOP}/who", "scheme": "https"}
        assert answer.json == expected | {"forwarded": None}


def test_requests_are_logged_without_what_may_be_secret(
    operator: Project, visitor: Visitor
) -> None:
    secret = {"Authorization": "Bearer of-a-secret", "Cookie": "session=of-a-secret"}
    visitor.ask(SHOP, "/items/77?token=of-a-secret", headers=secret)
    logs = ("service", "logs", "proxy_traefik")
    wait_until(lambda: "/items/77" in operator.docker(*logs), "the request is in the log")
    logged = operator.docker(*logs)
    (line,) = (line for line in logged.splitlines() if "/items/77" in line)
    assert '"DownstreamStatus":200' in line
    assert "of-a-secret" not in logged


def test_unknown_names_and_old_ciphers_get_no_answer(visitor: Visitor) -> None:
    with pytest.raises(ssl.SSLError):
        visitor.ask("unknown.example.com")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for ciphers, is_taken in (
        ("ECDHE+AESGCM", True),
        ("ECDHE+SHA", False),
        ("AES128-GCM-SHA256", False),
    ):
        old.set_ciphers(ciphers)
        with socket.create_connection((visitor.address, 443), timeout=5) as plain_socket:
            try:
                with old.wrap_socket(plain_socket, server_hostname=SHOP):
                    assert is_taken, ciphers
            except ssl.SSLError:
                assert not is_taken, ciphers


def test_docs_below_a_prefix_find_their_api(visitor: Visitor) -> None:
    page = visitor.ask(SHOP, "/api/docs").body
    assert "url: '/api/openapi.json'" in page
    described = visitor.ask(SHOP, "/api/openapi.json").json
    assert described["servers"] == [{"url": "/api"}]
    assert visitor.ask(SHOP, "/api/items/5").json == {"item_id": 5, "q": None}
    assert visitor.ask(SHOP, "/api/who").json["url"] == f"https://{SHOP}/api/who"


def test_two_apps_and_two_domains(blog: Project, visitor: Visitor) -> None:
    """The longest prefix wins, whichever app it is of and however many names it has."""
    places = [(SHOP, ""), (SHOP, "/api"), (SHOP, "/help"), (BLOG, ""), (BLOG, "/help")]
    seen = {place: visitor.wait(place[0], f"{place[1]}/health") for place in places}
    replicas = {place: answer.json["replica"] for place, answer in seen.items()}
    assert replicas[SHOP, "/help"] == replicas[BLOG, "/help"]
    assert len(set(replicas.values())) == 4
    assert BLOG in seen[BLOG, ""].names


def test_own_certificate_is_served(blog: Project, visitor: Visitor, pebble: Pebble) -> None:
    answer = visitor.wait(OWN)
    assert answer.names == {OWN}
    assert "The lab's authority" in str(answer.certificate["issuer"])
    assert OWN not in pebble.log.read_text(), "nobody was asked for another"
    assert visitor.ask(OWN, scheme="http").headers["location"] == f"https://{OWN}/"


def test_the_dashboard_is_closed(operator: Project, visitor: Visitor) -> None:
    for path in ("/dashboard/", "/api/rawdata", "/debug/vars", "/ping", "/metrics"):
        assert visitor.ask("proxy.example.com", path, scheme="http").status == 404
    found = {one["name"]: one for one in operator.ok("proxy", "status")["services"]}
    published = found["traefik"]["ports"]
    assert sorted(published) == ["443 to 8443/tcp", "80 to 8080/tcp"]


def store(project: Project) -> Path:
    """Where the node that runs the proxy keeps its certificates."""
    found = project.docker(*("volume", "inspect", "proxy_acme", "--format", "{{.Mountpoint}}"))
    return Path(found.strip(), "acme.json")


def test_keys_are_traefiks_alone(operator: Project, visitor: Visitor) -> None:
    file = store(operator)
    assert "PRIVATE KEY" not in operator.docker("service", "logs", "proxy_traefik")
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o600, 65532)


def as_it_was(release: Release) -> Release:
    """A proxy of the form in which Traefik was root and had the engine's socket."""
    traefik, _ = release.spec.services
    former = traefik.model_copy(
        update={
            "user": "0:0",
            "depends_on": (),
            "volumes": tuple(
                Volume(source=source, target=target)
                for source, target in (
                    (ENGINE_SOCKET, ENGINE_SOCKET),
                    tuple(FORMER_VOLUME.split(":")),
                )
            ),
            "command": tuple(
                argument.replace(CERTIFICATES, FORMER_VOLUME.partition(":")[2])
                for argument in traefik.command or ()
                if "swarm.endpoint" not in argument
            ),
        }
    )
    files = {path: digest for path, digest in release.spec.files.items() if path != RULES}
    spec = release.spec.model_copy(update={"services": (former,), "files": files})
    return release.model_copy(update={"spec": spec})


@pytest.mark.thorough
def test_a_proxy_that_was_root_keeps_its_certificates(by_http: Project, visitor: Visitor) -> None:
    backend = connect(host=by_http.lab.manager.docker_host)
    today = current_release(records(backend.store, "proxy"), "proxy")
    spec = as_it_was(today).spec
    plan = backend.plan(spec, today.images, files=files(spec.proxy))
    roll_out(backend, plan, new_release(spec, dict(today.images)), timeout=90_000)
    ended = by_http.docker("ps", "-aq", "--filter", "volume=proxy_acme").split()
    by_http.docker("rm", "--force", *ended)
    by_http.docker("volume", "rm", "proxy_acme")
    before = visitor.wait(SHOP)
    assert "Pebble" in str(before.certificate["issuer"])
    stamp = by_http.ok("proxy", "up", "--yes")
    assert stamp["changed"]
    assert visitor.wait(SHOP).serial == before.serial
    assert store(by_http).stat().st_uid == 65532
    form = ("--format", "{{json .Spec}}")
    inspected = by_http.docker("service", "inspect", *form, "proxy_traefik")
    assert ENGINE_SOCKET not in inspected


def test_the_socket_proxy_refuses_what_changes_anything(by_http: Project) -> None:
    node = by_http.lab.manager
    container = node.docker("ps", "-q", "--filter", "name=proxy_traefik").strip()
    asked = {
        path: node.docker(
            *("exec", container, "sh", "-c"),
            f"wget -q -S -O /dev/null {more} http://tasks.proxy_socket-proxy:2375{path} 2>&1 || :",
        )
        for path, more in {
            "/v1.40/services": "",
            "/v1.40/nodes": "",
            "/v1.40/secrets": "",
            "/v1.40/swarm": "",
            "/v1.40/containers/json": "",
            "/v1.40/services/../secrets": "",
            "/v1.40/services/create": "--post-data {}",
            "/v1.40/tasks": "--post-data {}",
        }.items()
    }
    passed = [path for path, said in asked.items() if " 200 " in said]
    assert passed == ["/v1.40/services", "/v1.40/nodes"]
    assert all(" 403 " in said for path, said in asked.items() if path not in passed)


def test_no_route_is_lost_while_the_socket_proxy_restarts(
    by_http: Project, visitor: Visitor
) -> None:
    """It is killed, and a request is made every 50 ms until it is there again."""
    node = by_http.lab.manager
    serving = ("ps", "-q", "--filter", "name=proxy_socket-proxy")
    killed = node.docker(*serving).strip()
    node.docker("kill", killed)
    statuses = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        statuses.append(visitor.ask(SHOP, "/health").status)
        running = node.docker(*serving).strip()
        if running and running != killed:
            break
        time.sleep(0.05)
    assert running not in ("", killed)
    statuses += [visitor.ask(SHOP, "/health").status for _ in range(20)]
    assert set(statuses) == {200}
    assert len(statuses) > 20


# --- names proved by DNS --------------------------------------------------------------------------


class Zone(BaseHTTPRequestHandler):
    """The interface of somebody who serves zones: lego's provider `httpreq` speaks to it."""

    pebble: Pebble
    asked: list[tuple[str, str, str]]
    """Path, record and who asked, of every request."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        who = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        self.asked.append((self.path, given["fqdn"], who))
        if who == f"{API_USER}:{API_PASSWORD}" and self.path == "/present":
            self.pebble.set_record(given["fqdn"], given["value"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def zone(pebble: Pebble) -> Iterator[type[Zone]]:
    made = type("LabZone", (Zone,), {"pebble": pebble, "asked": []})
    server = ThreadingHTTPServer((pebble.address, 8090), made)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def dns_settings(project: Project, pebble: Pebble) -> None:
    settings(
        project,
        pebble,
        dns_provider="httpreq",
        dns_secrets=["HTTPREQ_PASSWORD"],
        dns_resolvers=[pebble.name_server],
        dns_check=False,
        env={"HTTPREQ_ENDPOINT": f"http://{pebble.address}:8090", "HTTPREQ_USERNAME": API_USER},
        acme_profile=SHORT,
        certificate_lifetime="1h",
        trusted_proxies=[pebble.address],
    )


@dataclass(frozen=True)
class Before:
    """How things were when the second proxy took over."""

    issued: list[str]
    own: int
    """Serial number of the certificate that nobody was asked for."""


@pytest.fixture(scope="module")
def before(
    operator: Project,
    shop: Project,
    blog: Project,
    visitor: Visitor,
    pebble: Pebble,
    zone: type[Zone],
) -> Before:
    """The proxy that proves names by DNS, with another certificate of its own."""
    visitor.wait(BLOG)
    found = Before(pebble.issued(), visitor.wait(OWN).serial)
    dns_settings(operator, pebble)
    own_certificate(operator, pebble)
    operator.ok("proxy", "up", "--yes")
    return found


@pytest.fixture(scope="module")
def wild(
    before: Before,
    shop: Project,
    apps: list[Project],
    pebble: Pebble,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """An app at all names below one."""
    made = make_project(tmp_path_factory.mktemp("wild"), "wild", shop.lab, shop.env)
    apps.append(made)
    web = shop.services["web"]
    made.services = {"web": web | {"domains": [WILD]}, "one": web | {"domains": [ONE]}}
    dns_settings(made, pebble)
    made.ok("deploy", "--image", shop.ok("status")["services"][0]["image"])
    return made


def test_certificates_outlive_the_proxy(before: Before, visitor: Visitor, pebble: Pebble) -> None:
    for name in (SHOP, BLOG):
        assert visitor.wait(name).serial in {int(serial, 16) for serial in before.issued}
    assert pebble.issued() == before.issued


def test_own_certificate_is_replaced(before: Before, visitor: Visitor) -> None:
    answer = visitor.wait(OWN)
    assert answer.names == {OWN}
    assert answer.serial != before.own


def test_wildcard_is_proved_by_dns(wild: Project, visitor: Visitor, zone: type[Zone]) -> None:
    """A name that is written out comes before the wildcard."""
    answers = {name: visitor.wait(f"{name}.apps.example.com") for name in ("one", "two", "three")}
    assert answers["two"].names == {WILD}
    assert answers["two"].json["replica"] == answers["three"].json["replica"]
    assert answers["two"].json["replica"] != answers["one"].json["replica"]
    redirected = visitor.ask("two.apps.example.com", "/a", scheme="http")
    assert redirected.headers["location"] == "https://two.apps.example.com/a"
    record = "_acme-challenge.apps.example.com."
    assert ("/present", record, f"{API_USER}:{API_PASSWORD}") in zone.asked
    inspected = wild.docker("service", "inspect", "proxy_traefik")
    assert API_PASSWORD not in inspected + wild.docker("service", "logs", "proxy_traefik")


def test_a_balancer_in_front_is_believed(wild: Project, visitor: Visitor) -> None:
    visitor.wait(ONE)
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert visitor.ask(ONE, "/who", headers=forwarded).json["client"] == "203.0.113.7"
    other = visitor.ask(SHOP, "/who", headers=forwarded).json["client"]
    assert other == visitor.ask(SHOP).caller, "an app that was not told does not"


@pytest.mark.thorough
def test_certificates_are_renewed(wild: Project, visitor: Visitor) -> None:
    """Ten minutes are less than the twenty at which a certificate of an hour is renewed; the
    proxy looks every minute."""
    host = "two.apps.example.com"
    before = visitor.wait(host).serial
    after = eventually(lambda: visitor.ask(host), lambda a: a.serial != before, seconds=100)
    assert after.names == {WILD}
    assert after.status == 200
