"""The one client of Nomad's API, on a server that answers what a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deploytool.backends.nomad.api.client import Client, Conflict, NotFound, Outdated
from deploytool.backends.nomad.api.connection import Connection, connection
from deploytool.config.nomad import NomadSettings
from deploytool.errors import EngineError, UsageError


@dataclass
class Server:
    """Answers with what is queued, the last of it again and again."""

    address: str
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = field(default_factory=list)

    def says(self, status: int, body: Any = None, **headers: str) -> Server:
        self.answers.append((status, body, headers))
        return self

    def client(self, **keys: Any) -> Client:
        return Client(Connection(self.address, **keys), patience=2)


@pytest.fixture
def server() -> Iterator[Server]:
    made: Server

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            made.asked.append((self.command, url.path, query, dict(self.headers), body))
            status, answer, headers = (
                made.answers.pop(0) if len(made.answers) > 1 else made.answers[0]
            )
            if not status:
                self.close_connection = True
                return
            is_text = isinstance(answer, str)
            data = (
                answer.encode()
                if is_text
                else b""
                if answer is None
                else json.dumps(answer).encode()
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        made = Server(f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield made
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "path", ["/v1/job/a", "/v1/var/a", "/v1/evaluation/a", "/v1/vars", "/v1/agent/self"]
)
def test_namespace_token_and_region_go_along_everywhere(server: Server, path: str) -> None:
    server.says(200, {"a": 1})
    client = server.client(namespace="shop", token="s3cret", region="eu")
    assert client.get(path) == {"a": 1}
    ((_, asked, query, headers, _),) = server.asked
    assert (asked, query) == (path, {"namespace": "shop", "region": "eu"})
    assert headers["X-Nomad-Token"] == "s3cret"


def member(build: str, *, region: str = "eu", status: str = "alive") -> dict[str, Any]:
    tags = {"role": "nomad", "region": region, "build": build}
    return {"Name": f"of-{build}", "Status": status, "Tags": tags}


@pytest.mark.parametrize(("region", "version"), [("", "1.10.2"), ("us", "1.8.0")])
def test_version_is_that_of_the_oldest_server_of_the_region(
    server: Server, region: str, version: str
) -> None:
    members = [
        member("2.0.6"),
        member("1.10.2"),
        member("1.9.1", status="left"),
        member("1.8.0", region="us"),
    ]
    server.says(200, {"ServerRegion": "eu", "Members": members})
    assert server.client(region=region).version == version


def test_namespace_of_a_call_wins(server: Server) -> None:
    server.says(200, [])
    server.client(namespace="shop").get("/v1/allocations", namespace="*")
    assert server.asked[0][2]["namespace"] == "*"


def test_logins_that_netrc_has_for_the_host_are_no_tokens(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.says(200, [])
    server.client().get("/v1/vars")
    assert "Authorization" not in server.asked[0][3]


@pytest.mark.parametrize(
    ("address", "proxies"),
    [
        ("http://nomad.example.com:4646", {"http": "http://proxy.example.com:3128"}),
        ("http://127.0.0.1:4646", {}),
        ("http://nomad.internal:4646", {}),
    ],
)
def test_proxy_of_the_environment(
    address: str, proxies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL", "HTTPS"):
        monkeypatch.delenv(f"{name}_PROXY", raising=False)
        monkeypatch.delenv(f"{name.lower()}_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", ".internal")
    client = Client(Connection(address))
    for session in (client.session, client.streaming):
        assert {k: v for k, v in session.proxies.items() if k == "http"} == proxies


@pytest.mark.parametrize(
    ("status", "text", "code", "words"),
    [
        (403, "Permission denied", "nomad_forbidden", "does not know the token"),
        (403, "Job registration, dispatch, and scale are disabled", "nomad_refused", "disabled"),
        (500, "No path to region", "nomad_region", "no region"),
        (400, "Client sent an HTTP request to an HTTPS server.", "nomad_tls", "speaks TLS"),
        (400, "Job ID does not match", "nomad_refused", "Job ID does not match"),
        (500, "No cluster leader", "no_quorum", "no leader"),
        (500, 'job "web" is in nonexistent namespace "x"', "nomad_namespace", "namespace"),
        (500, "Enforcing job modify index 1: job exists", "changed_meanwhile", "somebody else"),
        (429, "", "engine_unreachable", "no more connections"),
        (501, "", "nomad_refused", "HTTP status 501"),
    ],
)
def test_refusals(server: Server, status: int, text: str, code: str, words: str) -> None:
    server.says(status, text)
    with pytest.raises(EngineError) as caught:
        server.client(token="s3cret").post("/v1/jobs", {})
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.hint
    assert "s3cret" not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"


def test_forbidden_names_the_right_and_a_missing_token(server: Server) -> None:
    server.says(403, "Permission denied")
    with pytest.raises(EngineError) as caught:
        server.client().post("/v1/job/items/plan", {})
    assert caught.value.message == "Nomad lets nobody try changes of jobs without a token"
    assert "submit-job in the namespace default" in caught.value.hint


def test_token_that_lacks_a_right_is_told_from_one_that_is_unknown(server: Server) -> None:
    server.says(403, "Permission denied").says(200, {"Name": "deploy"})
    with pytest.raises(EngineError) as caught:
        server.client(token="s3cret").get("/v1/nodes")
    assert caught.value.message == "The token may not read nodes: it lacks node:read"
    assert server.asked[-1][1] == "/v1/acl/token/self"


def test_kinds_of_refusal_that_callers_tell_apart(server: Server) -> None:
    client = server.says(404, "job not found").client()
    with pytest.raises(NotFound):
        client.get("/v1/job/a")
    server.answers = [(409, {"Path": "a"}, {})]
    with pytest.raises(Conflict) as caught:
        client.put("/v1/var/a", {})
    assert caught.value.body == {"Path": "a"}
    server.answers = [(500, "Enforcing job modify index 3: job does not exist", {})]
    with pytest.raises(Outdated):
        client.post("/v1/jobs", {})


def test_reads_go_on_after_a_change_of_leaders(server: Server) -> None:
    server.says(200, []).says(500, "No cluster leader").says(500, "No cluster leader")
    server.says(200, ["there"])
    client = server.client()
    client.get("/v1/nodes")
    assert client.get("/v1/nodes") == ["there"]
    assert len(server.asked) == 4


def test_reads_go_on_where_servers_stop_and_writes_where_the_caller_says_so(
    server: Server,
) -> None:
    failed: list[tuple[int, Any, dict[str, str]]] = [
        (500, "rpc error: EOF", {}),
        (502, "", {}),
        (500, "raft is already shutdown", {}),
    ]
    client = server.says(200, []).client()
    client.get("/v1/nodes")
    server.answers = [*failed, (200, ["there"], {})]
    assert client.get("/v1/nodes") == ["there"]
    server.answers = [*failed, (200, ["there"], {"X-Nomad-Index": "7"})]
    assert client.poll("/v1/nodes", 5, 5).value == ["there"]
    server.answers = [*failed, (200, {"done": True}, {})]
    with pytest.raises(EngineError, match="rpc error"):
        client.post("/v1/jobs", {})
    server.answers = [*failed, (200, {"done": True}, {})]
    assert client.post("/v1/jobs", {}, again=True) == {"done": True}


def test_a_refusal_is_not_taken_for_a_server_that_stops(server: Server) -> None:
    client = server.says(200, []).client()
    client.get("/v1/nodes")
    server.answers = [(500, "1 error occurred: job type is invalid", {}), (200, {}, {})]
    with pytest.raises(EngineError, match="job type is invalid"):
        client.post("/v1/jobs", {}, again=True)


def test_a_refused_write_says_whether_it_was_sent_before(server: Server) -> None:
    client = server.says(200, []).client()
    client.get("/v1/nodes")
    for is_repeated in (False, True):
        server.answers = [(500, "Enforcing job modify index 3: job exists", {})]
        if is_repeated:
            server.answers.insert(0, (0, None, {}))
        with pytest.raises(Outdated) as caught:
            client.post("/v1/jobs", {}, again=True)
        assert caught.value.is_repeated is is_repeated


def test_reads_go_on_where_a_server_is_full_or_closes_without_a_word(server: Server) -> None:
    """As it does from the 101st connection of one address on."""
    server.says(200, []).says(429, "").says(0).says(0).says(200, ["there"])
    client = server.client()
    client.get("/v1/nodes")
    assert client.get("/v1/nodes") == ["there"]


def test_writes_are_not_repeated_where_the_answer_is_lost(server: Server) -> None:
    client = server.says(200, []).client()
    client.get("/v1/nodes")
    server.answers = [(0, None, {}), (200, {}, {})]
    with pytest.raises(EngineError):
        client.post("/v1/jobs", {"Job": {}})
    assert [method for method, *_ in server.asked].count("POST") == 1


def test_what_is_not_nomad_is_said(server: Server) -> None:
    server.says(200, "<html>")
    with pytest.raises(EngineError, match="is not Nomad"):
        server.client().get("/v1/nodes")
    server.answers = [(302, "", {"Location": "/login"})]
    with pytest.raises(EngineError, match="HTTP status 302"):
        server.client().get("/v1/nodes")


def test_nothing_is_asked_again_before_there_was_an_answer() -> None:
    begin = time.monotonic()
    with pytest.raises(EngineError) as caught:
        Client(Connection("http://127.0.0.1:1")).get("/v1/nodes")
    assert caught.value.code == "engine_unreachable"
    assert time.monotonic() - begin < 5


def test_writes_are_repeated_where_the_caller_says_so_alone(server: Server) -> None:
    client = server.says(200, []).client()
    client.get("/v1/nodes")
    server.answers = [(500, "No cluster leader", {}), (200, {}, {})]
    with pytest.raises(EngineError):
        client.post("/v1/jobs", {"Job": {}})
    server.answers = [(500, "No cluster leader", {}), (200, {"done": True}, {})]
    assert client.post("/v1/jobs", {"Job": {}}, again=True) == {"done": True}


def test_poll_waits_from_an_index_and_begins_anew_where_it_falls(server: Server) -> None:
    server.says(200, {"n": 1}, X_Nomad_Index="17")
    client = server.client()
    assert client.poll("/v1/deployment/a", 0, 5).index == 17
    assert "index" not in server.asked[0][2]
    assert client.poll("/v1/deployment/a", 12, 900).index == 17
    assert server.asked[1][2]["index"] == "12"
    assert server.asked[1][2]["wait"] == "300000ms"
    assert client.poll("/v1/deployment/a", 18, 1).index == 0


def test_connections_are_few(server: Server) -> None:
    client = server.says(200, []).client()
    adapter = client.session.get_adapter(server.address)
    assert adapter.poolmanager.connection_pool_kw["maxsize"] <= 16  # type: ignore[attr-defined]
    assert adapter.poolmanager.connection_pool_kw["block"]  # type: ignore[attr-defined]


def test_certificates_are_verified_by_default() -> None:
    assert Connection().verify is True
    assert Client(Connection("https://127.0.0.1:1")).api.job.verify is True


# --- where it is ----------------------------------------------------------------------------------


def test_configuration_comes_before_the_variables(tmp_path: Path) -> None:
    settings = NomadSettings(address="https://own.example.com:4646", namespace="own")
    environ = {
        "NOMAD_ADDR": "http://other:4646/",
        "NOMAD_NAMESPACE": "other",
        "NOMAD_REGION": "eu",
        "NOMAD_TOKEN": "s3cret",
        "NOMAD_TLS_SERVER_NAME": "server.eu.nomad",
    }
    found = connection(settings, environ)
    assert (found.address, found.namespace) == ("https://own.example.com:4646", "own")
    assert (found.region, found.token, found.server_name) == ("eu", "s3cret", "server.eu.nomad")
    assert "s3cret" not in repr(found)
    assert connection(NomadSettings(), environ).address == "http://other:4646"


def test_token_and_certificates_come_from_files(tmp_path: Path, files: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    settings = NomadSettings(
        token_file=str(tmp_path / "token"),
        ca_cert=str(files / "ca.pem"),
        client_cert=str(files / "cert.pem"),
        client_key=str(files / "key.pem"),
    )
    found = connection(settings, {})
    assert found.token == "s3cret"
    assert found.verify == str(files / "ca.pem")
    assert found.certificate == (str(files / "cert.pem"), str(files / "key.pem"))


def test_key_of_another_certificate(files: Path) -> None:
    settings = NomadSettings(
        client_cert=str(files / "cert.pem"), client_key=str(files / "other.key")
    )
    with pytest.raises(UsageError, match=r"cert\.pem is no certificate") as caught:
        connection(settings, {})
    assert caught.value.code == "nomad_file"


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.pem cannot be read"):
        connection(NomadSettings(ca_cert=str(tmp_path / "gone.pem")), {})


def test_folder_of_certificates_has_the_names_that_openssl_looks_for(tmp_path: Path) -> None:
    environ = {"NOMAD_CAPATH": str(tmp_path)}
    (tmp_path / "nomad-ca.pem").write_text("")
    with pytest.raises(UsageError) as caught:
        connection(NomadSettings(), environ)
    assert f"openssl rehash {tmp_path}" in caught.value.hint
    (tmp_path / "0a1b2c3d.0").write_text("")
    assert connection(NomadSettings(), environ).verify == str(tmp_path)


@pytest.mark.parametrize("text", ["localhost:4646", "unix:///run/nomad.sock"])
def test_address_that_is_no_url(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        connection(NomadSettings(), {"NOMAD_ADDR": text})
    assert caught.value.code == "nomad_address"


def test_certificate_without_its_key(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text("")
    with pytest.raises(UsageError, match="go together"):
        connection(NomadSettings(), {"NOMAD_CLIENT_CERT": str(tmp_path / "own.pem")})


@pytest.mark.parametrize(("text", "verify"), [("true", False), ("1", False), ("", True)])
def test_verification_is_skipped_on_demand_alone(text: str, verify: bool) -> None:
    assert connection(NomadSettings(), {"NOMAD_SKIP_VERIFY": text}).verify is verify
