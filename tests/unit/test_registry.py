"""What a registry says of an image, and what happens while it says nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploytool.backends.swarm.api.client import Client, open_client
from deploytool.backends.swarm.backend import Swarm
from deploytool.errors import DeploytoolError, RegistryError, UsageError
from deploytool.rollout.images import resolve_images
from tests.builders import app, deploy, engine, image, service, worker
from tests.fake_engine import FakeEngine

DIGEST = f"sha256:{'c' * 64}"
FOUND = {
    "Descriptor": {"digest": DIGEST},
    "Platforms": [
        {"architecture": "arm64", "os": "linux"},
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "unknown", "os": "unknown"},
    ],
}
Ask = Callable[..., Client]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ask]:
    """An engine that has this to tell of an image, or nothing at all."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    servers: list[ThreadingHTTPServer] = []
    over = threading.Event()

    def start(status: int, answer: object, *, hangs: bool = False, drips: bool = False) -> Client:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_version = self.path.endswith("/version")
                if hangs and not is_version:
                    over.wait(10)
                text = json.dumps({"ApiVersion": "1.44"} if is_version else answer).encode()
                self.send_response(200 if is_version else status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                with suppress(OSError):
                    while drips and not is_version and not over.wait(0.1):
                        self.wfile.write(b" ")
                    self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return open_client(host=f"tcp://127.0.0.1:{servers[-1].server_port}")

    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("redis", "redis", "redis:latest"),
        ("localhost:5000/redis", "localhost:5000/redis", "localhost:5000/redis:latest"),
        ("localhost:5000/redis:8", "localhost:5000/redis", "localhost:5000/redis:8"),
        (f"r/redis:8@{DIGEST}", "r/redis", "r/redis:8"),
    ],
)
def test_a_digest_and_its_platforms(ask: Ask, reference: str, repository: str, tag: str) -> None:
    found = ask(200, FOUND).resolve(reference)
    assert (found.reference, found.tag) == (f"{repository}@{DIGEST}", tag)
    assert found.platforms == (("amd64", "linux"), ("arm64", "linux"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("manifest unknown: manifest unknown", "image_missing"),
        ("unauthorized: authentication required", "registry_denied"),
        ('Head "http://r:5001/v2/app/manifests/1": no basic auth credentials', "registry_denied"),
        ("pull access denied for app", "registry_denied"),
        ("toomanyrequests: You have reached your pull rate limit.", "registry_limited"),
        ("toomanyrequests: the unauthenticated pull rate limit: denied", "registry_limited"),
        ("received unexpected HTTP status: 503 Service Unavailable", "registry_unavailable"),
        ("dial tcp: lookup r on 1.1.1.1:53: no such host", "registry_unreachable"),
        ("tls: failed to verify certificate: x509: unknown authority", "registry_untrusted"),
        ("net/http: request canceled (Client.Timeout exceeded)", "registry_unreachable"),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", "registry_unreachable"),
    ],
)
def test_no_digest(ask: Ask, text: str, code: str) -> None:
    with pytest.raises(DeploytoolError) as caught:
        ask(500, {"message": text}).resolve("r:5001/app:1")
    assert caught.value.code == code
    assert text in caught.value.message


def test_the_fix_names_the_registry(ask: Ask) -> None:
    with pytest.raises(RegistryError) as caught:
        ask(500, {"message": "unauthorized"}).resolve("library/redis:8")
    assert caught.value.hint.startswith("docker login docker.io;")


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_registry_that_hangs_is_unreachable(ask: Ask, how: str) -> None:
    """It is not the engine that does not answer."""
    client = ask(200, FOUND, **{how: True})
    client.registry_timeout = 0.3
    with pytest.raises(
        RegistryError, match="The registry r:5001 does not answer in time"
    ) as caught:
        client.resolve("r:5001/app:1")
    assert caught.value.code == "registry_unreachable"


@pytest.mark.parametrize("reference", ["Bad Ref", "https://r.example/app", "r.example/App:1"])
def test_what_is_no_name_of_an_image_is_asked_of_nobody(reference: str) -> None:
    made = engine()
    made.images = {}
    with pytest.raises(UsageError) as caught:
        resolve_images(Swarm(made), app(service()), reference)
    assert caught.value.code == "reference_invalid"
    with pytest.raises(ValidationError):
        worker("cache", image=reference)


def test_an_outage_touches_nothing() -> None:
    made = engine()
    redis = image("redis:8", platforms=(("amd64", "linux"), ("arm64", "linux")))
    spec = app(service(), worker("cache", image="redis:8"))
    web = image()
    deploy(made, spec, {"web": web, "cache": redis})
    swarm = Swarm(made)
    made.images = {web.tag: web}
    made.local_images = {"redis:8"}
    warnings: list[str] = []
    found = resolve_images(swarm, spec, web.tag, warnings.append)
    assert swarm.plan(spec, found).is_empty
    assert len(warnings) == 1

    new = image(digest=DIGEST)
    made.images = {web.tag: new}
    plan = swarm.plan(spec, resolve_images(swarm, spec, web.tag))
    assert [change.name for change in plan.changes if change.fields] == ["web"]


def test_an_app_that_does_not_run_yet() -> None:
    made = FakeEngine()
    assert Swarm(made).running_images("items") == {}
