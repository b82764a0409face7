"""What a registry answers to this machine, and what it does instead."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from deploytool.backends.swarm.cluster import problem_at
from deploytool.errors import DeploytoolError
from deploytool.image import registry as registry_module
from deploytool.image.registry import Registry
from deploytool.image.registry_failures import by_exception

DIGEST = f"sha256:{'c' * 64}"
MANIFEST = json.dumps({"manifests": [{"platform": {"architecture": "amd64", "os": "linux"}}]})
TOO_MANY = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]})
Play = Callable[..., int]


def answer(status: str, text: str = "{}", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *headers, "Connection: close")
    return ("\r\n".join(lines) + f"\r\n\r\n{text}").encode()


FOUND = answer("200 OK", MANIFEST, f"Docker-Content-Digest: {DIGEST}")
ENDLESS_HEADER = b"HTTP/1.1 200 OK\r\nX: "
ENDLESS_BODY = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Play]:
    """A registry on this machine that gives one answer after the other, the last for ever; with
    `drips`, each has a byte more every now and then and no end. Its port."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    over = threading.Event()
    sockets = []

    def start(*answers: bytes, drips: bool = False) -> int:
        waiting = list(answers)
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                asked = connection.recv(65536)
                if not asked.startswith(b"GET") and not drips:
                    return  # it speaks no TLS
                connection.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])
                while drips and not over.wait(0.05):
                    connection.sendall(b"x")

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    over.set()
    for server in sockets:
        server.close()


def resolve(port: int) -> str:
    asked = Registry()
    asked.timeout = 0.5
    return asked.resolve(f"127.0.0.1:{port}/app:1").reference


def failure(port: int) -> DeploytoolError:
    with pytest.raises(DeploytoolError) as caught:
        resolve(port)
    return caught.value


@pytest.mark.parametrize(
    ("answered", "code", "words"),
    [
        (answer("429 Too Many Requests", TOO_MANY), "registry_limited", "pull rate limit"),
        (answer("503 Service Unavailable"), "registry_unavailable", "503 Service Unavailable"),
        (answer("500 Internal Server Error"), "registry_unavailable", "500"),
        (answer("404 Not Found"), "image_missing", "does not exist"),
        (answer("401 Unauthorized"), "registry_denied", "which is not logged in"),
        (answer("403 Forbidden"), "registry_denied", "does not show"),
        (answer("418 Teapot"), "registry_failed", "418 Teapot"),
        (answer("200 OK", "<html>"), "registry_failed", "not that of a registry"),
        (answer("200 OK", "[" * 100_000), "registry_failed", "not that of a registry"),
        (answer("418 Teapot", "[" * 100_000), "registry_failed", "418"),
        (b"", "registry_unreachable", "does not answer"),
    ],
)
def test_what_is_wrong_has_a_name(play: Play, answered: bytes, code: str, words: str) -> None:
    port = play(answered)
    error = failure(port)
    assert error.code == code
    assert words in error.message
    assert f"127.0.0.1:{port}" in error.message


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_it_is_asked_once_more_when_it_says_when(
    play: Play, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(registry_module, "sleep", waited.append)
    busy = answer(status, "{}", "Retry-After: 7")
    assert DIGEST in resolve(play(busy, FOUND))
    assert waited == [7.0]
    error = failure(play(busy))
    assert waited == [7.0, 7.0]
    assert "it asks to wait 7 s" in error.message
    error = failure(play(answer(status, "{}", "Retry-After: 3600")))
    assert waited == [7.0, 7.0]
    assert "it asks to wait 3600 s" in error.message


def test_the_server_of_tokens_may_ask_to_wait_too(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(registry_module, "sleep", waited.append)
    busy = answer("429 Too Many Requests", "{}", "Retry-After: 3")
    tokens = play(busy, answer("200 OK", '{"token": "t"}'))
    asks = f'WWW-Authenticate: Bearer realm="http://127.0.0.1:{tokens}/token"'
    assert DIGEST in resolve(play(answer("401 Unauthorized", "{}", asks), FOUND))
    assert waited == [3.0]


def test_a_date_to_wait_for(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(registry_module, "sleep", waited.append)
    past = answer("429 Too", "{}", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")
    assert DIGEST in resolve(play(past, FOUND))
    assert waited == [0.0]


@pytest.mark.parametrize("begin", [b"", ENDLESS_HEADER, ENDLESS_BODY])
def test_an_answer_without_an_end_has_one(play: Play, begin: bytes) -> None:
    port = play(begin, drips=True)
    asked = Registry()
    asked.timeout = 0.5
    asked._plain.add(f"127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(DeploytoolError, match="does not answer in time") as caught:
        asked.resolve(f"127.0.0.1:{port}/app:1")
    assert time.monotonic() - started < 5
    assert (caught.value.code, f"127.0.0.1:{port}" in caught.value.message) == (
        "registry_unreachable",
        True,
    )


def test_a_huge_answer_is_not_read(play: Play) -> None:
    error = failure(play(answer("200 OK", "x" * (5 * 2**20))))
    assert "more than 4 MiB" in error.message


@pytest.mark.parametrize("begin", [b"", ENDLESS_HEADER])
def test_the_doctor_does_not_wait_for_ever(play: Play, begin: bytes) -> None:
    port = play(begin, drips=True)
    started = time.monotonic()
    problem = problem_at(f"http://127.0.0.1:{port}", "r.example:5000", timeout=0.5)
    assert time.monotonic() - started < 5
    assert problem is not None
    assert problem.message.startswith("The registry r.example:5000 does not answer")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("429 Too Many Requests", "registry_limited"),
        ("503 Service Unavailable", "registry_unavailable"),
        ("404 Not Found", "registry_unreachable"),
    ],
)
def test_the_doctor_knows_what_is_wrong(play: Play, status: str, code: str) -> None:
    problem = problem_at(f"http://127.0.0.1:{play(answer(status))}", "r", timeout=5)
    assert problem is not None
    assert problem.code == code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed certificate")),
            "registry_untrusted",
            "self-signed certificate",
        ),
        (
            requests.ConnectionError(socket.gaierror(-2, "Name or service not known")),
            "registry_unreachable",
            "nobody knows that name",
        ),
        (requests.ConnectTimeout("timed out"), "registry_unreachable", "in time"),
        (
            requests.ConnectionError(ConnectionRefusedError(111, "Connection refused")),
            "registry_unreachable",
            "Connection refused",
        ),
    ],
)
def test_no_connection(error: Exception, code: str, words: str) -> None:
    found = by_exception("r.example", error)
    assert found.code == code
    assert words in found.message
    assert "r.example" in found.message
