"""Where Nomad is and how it is talked to: the configuration first, then the NOMAD_* variables, as
Nomad's own programs take them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.errors import UsageError

if TYPE_CHECKING:
    from deploytool.config.nomad import NomadSettings

DEFAULT = "http://127.0.0.1:4646"


@dataclass(frozen=True)
class Connection:
    """How a server is reached."""

    address: str = DEFAULT
    token: str = field(default="", repr=False)
    namespace: str = "default"
    region: str = ""
    verify: bool | str = True
    """Whether its certificate is verified; the file of the authority that vouches for it."""
    certificate: tuple[str, str] | None = None
    """The files of the certificate and the key that it asks for."""
    server_name: str = ""
    """The name in its certificate, where that is not the address's."""


def connection(settings: NomadSettings, environ: Mapping[str, str] | None = None) -> Connection:
    """How the cluster of a configuration is reached. Raises UsageError for an address that is no
    URL, and for a file that is missing."""
    env = os.environ if environ is None else environ

    def chosen(own: str | None, variable: str) -> str:
        return own or env.get(variable, "")

    certificate = chosen(settings.client_cert, "NOMAD_CLIENT_CERT")
    key = chosen(settings.client_key, "NOMAD_CLIENT_KEY")
    authority = chosen(settings.ca_cert, "NOMAD_CACERT") or env.get("NOMAD_CAPATH", "")
    skips = env.get("NOMAD_SKIP_VERIFY", "").lower() in ("1", "true", "t")
    for file in filter(None, (certificate, key, authority)):
        _check_file(file)
    if bool(certificate) != bool(key):
        raise UsageError(
            "A client's certificate and its key go together, and one of them is missing",
            code="nomad_file",
            hint="set both NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY, or neither",
        )
    return Connection(
        address=_address(chosen(settings.address, "NOMAD_ADDR") or DEFAULT),
        token=_token(settings, env),
        namespace=chosen(settings.namespace, "NOMAD_NAMESPACE") or "default",
        region=chosen(settings.region, "NOMAD_REGION"),
        verify=False if skips else authority or True,
        certificate=(certificate, key) if certificate and key else None,
        server_name=chosen(settings.tls_server_name, "NOMAD_TLS_SERVER_NAME"),
    )


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise UsageError(
            f"{text!r} is no address of Nomad that deploytool can use",
            code="nomad_address",
            hint='set NOMAD_ADDR to a URL of its HTTP API, such as "http://127.0.0.1:4646"',
        )
    return text.rstrip("/")


def _token(settings: NomadSettings, env: Mapping[str, str]) -> str:
    if settings.token_file is None:
        return env.get("NOMAD_TOKEN", "").strip()
    try:
        return Path(settings.token_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise _unreadable(settings.token_file) from None


def _check_file(file: str) -> None:
    if not Path(file).exists():
        raise _unreadable(file)


def _unreadable(file: str) -> UsageError:
    return UsageError(
        f"{file} cannot be read, which the connection to Nomad needs",
        code="nomad_file",
        hint="correct its path in [tool.deploytool.nomad] or in the NOMAD_* variable",
    )
