"""Where the engine is and how it is talked to: what the docker command line would do.

Imported only when an engine is needed, as the Docker SDK takes long to load.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docker import APIClient
from docker.context import ContextAPI
from docker.tls import TLSConfig
from docker.utils import parse_host

from deploytool.errors import UsageError
from deploytool.http import is_loopback

VERIFY, CERTIFICATES, UNVERIFIED = "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_TLS"


class Api(APIClient):
    """The SDK's client with the docker command's idea of its surroundings: no proxy to loopback,
    and the engine's own authority, whatever CA bundle the environment has for everything else."""

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        self.trust_env = not is_loopback(urlsplit(str(url)).hostname or "")
        chosen = (self.verify or False) if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, chosen, cert)


def settings(host: str | None, context: str | None) -> dict[str, Any]:
    """Where the engine is, in the docker command line's own order of precedence.

    Raises UsageError where that would be a connection that everybody on the way can read.
    """
    address = host or (os.environ.get("DOCKER_HOST") if context is None else None)
    if address:
        return _connection(address, _tls_of_environment)
    name = context or os.environ.get("DOCKER_CONTEXT")
    found = ContextAPI.get_context(name)
    if found is None:
        raise UsageError(
            f"There is no docker context {name!r}",
            code="no_context",
            hint="`docker context ls` shows them",
        )
    return _connection(found.Host or None, lambda: _tls_of_context(found))


def is_unverified_tls() -> bool:
    """Whether the docker command needs an option for TLS."""
    asked = os.environ.get(CERTIFICATES) or os.environ.get(UNVERIFIED)
    return bool(asked) and not os.environ.get(VERIFY)


def _connection(address: str | None, tls: Callable[[], TLSConfig | None]) -> dict[str, Any]:
    if urlsplit(parse_host(address)).scheme not in ("http", "https"):
        return {"base_url": address}
    chosen = tls()
    url = urlsplit(parse_host(address, tls=bool(chosen)))
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise UsageError(
            f"The engine at {address} would be reached without encryption: anybody on the network "
            "could read secrets, and anybody who reaches the port is root there",
            code="engine_insecure",
            hint=f'use "ssh://USER@{url.hostname}", or TLS: {VERIFY}=1 and {CERTIFICATES}',
        )
    return {"base_url": address, **({"tls": chosen} if chosen else {})}


def _tls_of_environment() -> TLSConfig | None:
    """As DOCKER_TLS_VERIFY asks for it; without it, certificates that are named are used, but the
    engine's own is not checked."""
    verify = bool(os.environ.get(VERIFY))
    if not verify and not is_unverified_tls():
        return None
    configuration = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    return _tls(Path(os.environ.get(CERTIFICATES) or configuration), verify=verify)


def _tls_of_context(context: Any) -> TLSConfig | None:
    """The SDK knows those of a context only where they are three."""
    known: TLSConfig | None = context.TLSConfig
    folder = Path(context.tls_path, "docker")
    if known or not (folder / "ca.pem").is_file():
        return known
    return _tls(folder, verify=not context.endpoints["docker"].get("SkipTLSVerify"))


def _tls(folder: Path, *, verify: bool) -> TLSConfig:
    authority, own, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if verify and not authority.is_file():
        raise UsageError(
            f"TLS to the engine is asked for, and {folder} has no ca.pem to check it by",
            code="engine_certificates",
            hint=f"{CERTIFICATES} names the folder with ca.pem, cert.pem and key.pem",
        )
    has_own = own.is_file() and key.is_file()
    return TLSConfig(
        client_cert=(str(own), str(key)) if has_own else None,
        ca_cert=str(authority),
        verify=verify,
    )
