"""How an engine is reached: with the TLS that was asked for, and never in clear over a network."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.swarm.api.client import Client, _cli_options, open_client
from deploytool.errors import EngineError, UsageError

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing of whoever runs the tests."""
    for name in (*VARIABLES, *PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{}")
    return tmp_path


class Engine:
    """It knows its version, and who asked for it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        callers: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                certificate: Any = getattr(self.connection, "getpeercert", dict)()
                callers.append(dict(rdn[0] for rdn in (certificate or {}).get("subject", ())))
                text = json.dumps({"ApiVersion": "1.44", "Version": "28.2.2"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.callers = callers
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and cert.pem and key.pem of an engine on loopback, good for its clients too."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
    for command in (
        (*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"),
        (*new, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=ada", *authority),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def encrypted(certificates: Path) -> Iterator[Engine]:
    """An engine that wants to see its clients' certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    engine = Engine(context)
    yield engine
    engine.close()


@pytest.fixture
def plain() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def by_setting(address: str, _: pytest.MonkeyPatch) -> Client:
    return open_client(host=address)


def by_variable(address: str, patch: pytest.MonkeyPatch) -> Client:
    patch.setenv("DOCKER_HOST", address)
    return open_client()


def by_context(address: str, _: pytest.MonkeyPatch) -> Client:
    write_context(address)
    return open_client(context="production")


def write_context(address: str) -> Path:
    """A context of that engine; the folder for its certificates."""
    from docker.context.config import get_meta_dir, get_tls_dir

    endpoint = {"Host": address, "SkipTLSVerify": False}
    meta = {"Name": "production", "Metadata": {}, "Endpoints": {"docker": endpoint}}
    folder = Path(get_meta_dir("production"))
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    certificates = Path(get_tls_dir("production"), "docker")
    certificates.mkdir(parents=True)
    return certificates


Way = Callable[[str, pytest.MonkeyPatch], Client]
by_any = pytest.mark.parametrize("way", [by_setting, by_variable, by_context])


@pytest.mark.parametrize("way", [by_setting, by_variable])
def test_tls_of_the_environment(
    way: Way, encrypted: Engine, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    assert way(encrypted.address, monkeypatch).version()["Version"] == "28.2.2"
    assert {caller["commonName"] for caller in encrypted.callers} == {"ada"}


def test_the_engines_authority_is_not_the_machines(
    encrypted: Engine, certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "key.pem"))
    assert open_client(host=encrypted.address).version()["Version"] == "28.2.2"


def test_an_engine_with_another_authority_is_refused(
    encrypted: Engine, certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other")
    command = ["openssl", "req", "-x509", *new, "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        open_client(host=encrypted.address)
    assert "certificate verify failed" in caught.value.message.lower()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_alone_mean_tls_too(
    encrypted: Engine, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    assert open_client(host=encrypted.address).version()["Version"] == "28.2.2"
    assert _cli_options(encrypted.address, None) == ("--host", encrypted.address, "--tls")


def test_tls_of_a_context_that_knows_the_authority_alone(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    engine = Engine(context)
    folder = write_context(engine.address)
    (folder / "ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
    assert open_client(context="production").version()["Version"] == "28.2.2"
    engine.close()


def test_no_authority_to_check_it_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(UsageError) as caught:
        open_client(host="tcp://manager:2376")
    assert caught.value.code == "engine_certificates"
    assert "DOCKER_CERT_PATH" in caught.value.hint


@by_any
@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "tcp://manager.example.com:2375"])
def test_no_secrets_in_clear(way: Way, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as caught:
        way(address, monkeypatch)
    assert caught.value.code == "engine_insecure"
    assert "ssh://" in caught.value.hint


@by_any
def test_loopback_needs_no_encryption(
    way: Way, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert way(plain.address, monkeypatch).version()["Version"] == "28.2.2"


def test_no_proxy_to_loopback(plain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Engine()
    monkeypatch.setenv("HTTP_PROXY", proxy.address.replace("tcp", "http"))
    assert open_client(host=plain.address).version()["Version"] == "28.2.2"
    assert (len(plain.callers), proxy.callers) == (2, [])
    proxy.close()
