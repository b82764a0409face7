"""Which requests go through the proxy that the environment names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploytool.backends.swarm import cluster
from deploytool.backends.swarm.cluster import registry_answers
from deploytool.http import is_loopback, proxies_for


@dataclass
class Server:
    """Something that answers HTTP on this machine, and remembers what it was asked for."""

    status: int = 200
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked, status = self.asked, self.status

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_port

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def registry() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A proxy for HTTP that reaches nothing."""
    server = Server(status=502)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    yield server
    server.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_this_machine_is_asked_directly(host: str, registry: Server, proxy: Server) -> None:
    assert registry_answers(f"{host}:{registry.port}/team")
    assert (registry.asked, proxy.asked) == (["/v2/"], [])


def test_other_machines_are_asked_through_the_proxy(proxy: Server) -> None:
    problem = cluster.problem_at(
        "http://registry.example.com:5000", "registry.example.com", timeout=5
    )
    assert problem is not None
    assert problem.code == "registry_unavailable"
    assert proxy.asked == ["http://registry.example.com:5000/v2/"]


@pytest.mark.parametrize(
    ("url", "goes_through"),
    [
        ("http://localhost:5000/v2/", False),
        ("http://127.0.0.2:5000/v2/", False),
        ("http://[::1]:5000/v2/", False),
        ("http://items.localhost/", False),
        ("http://registry.example.com/v2/", True),
        ("http://registry.internal/v2/", False),
        ("http://192.0.2.7:5000/v2/", False),
        ("http://198.51.100.7:5000/v2/", True),
    ],
)
def test_what_goes_through_it(
    url: str, goes_through: bool, proxy: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "registry.internal,192.0.2.0/24")
    assert ("http" in proxies_for(url)) is goes_through


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("LOCALHOST", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(("status", "there"), [(401, True), (403, True), (404, False)])
def test_a_registry_that_asks_for_a_login_answers(status: int, there: bool) -> None:
    server = Server(status=status)
    problem = cluster.problem_at(f"http://127.0.0.1:{server.port}", "r", timeout=5)
    assert (problem is None) is there
    server.close()
