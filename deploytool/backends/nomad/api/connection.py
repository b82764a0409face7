"""Where Nomad is and how it is talked to: the configuration first, then the NOMAD_* variables, as
Nomad's own programs take them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploytool.errors import UsageError
from deploytool.reading import read_text
from deploytool.redact import hide_passwords

if TYPE_CHECKING:
    from deploytool.config.nomad import NomadSettings

HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
DEFAULT = "http://127.0.0.1:4646"
DEFAULT_NAMESPACE = "default"
NAMESPACE = re.compile(r"[a-zA-Z0-9-]{1,128}")
"""What namespaces are called (nomad/structs/structs.go); "*" would be all of them."""


@dataclass(frozen=True)
class Connection:
    """How a server is reached."""

    address: str = DEFAULT
    token: str = field(default="", repr=False)
    namespace: str = DEFAULT_NAMESPACE
    region: str = ""
    verify: bool | str = True
    """Whether its certificate is verified; the file of the authority that vouches for it."""
    certificate: tuple[str, str] | None = None
    """The files of the certificate and the key that it asks for."""
    server_name: str = ""
    """The name in its certificate, where that is not the address's."""

    @property
    def shown(self) -> str:
        """The address without a password."""
        return hide_passwords(self.address)


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
    _check_folder(authority)
    if bool(certificate) == bool(key):
        _check_certificates(authority, certificate, key)
    else:
        raise UsageError(
            "A client's certificate and its key go together, and one of them is missing",
            code="nomad_file",
            hint="set both NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY, or neither",
        )
    return Connection(
        address=_address(chosen(settings.address, "NOMAD_ADDR") or DEFAULT),
        token=_token(settings, env),
        namespace=_namespace(chosen(settings.namespace, "NOMAD_NAMESPACE") or DEFAULT_NAMESPACE),
        region=chosen(settings.region, "NOMAD_REGION"),
        verify=False if skips else authority or env.get("REQUESTS_CA_BUNDLE") or True,
        certificate=(certificate, key) if certificate and key else None,
        server_name=chosen(settings.tls_server_name, "NOMAD_TLS_SERVER_NAME"),
    )


def _address(text: str) -> str:
    if not _is_url(text):
        raise UsageError(
            f"{hide_passwords(text)!r} is no address of Nomad that deploytool can use",
            code="nomad_address",
            hint='set NOMAD_ADDR to a URL of its HTTP API, such as "http://127.0.0.1:4646"',
        )
    return text.rstrip("/")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and has_host and is_bare and not re.search(r"\s", text)


def _namespace(text: str) -> str:
    if not NAMESPACE.fullmatch(text):
        raise UsageError(
            f"{text!r} is no namespace of Nomad that an app can be in",
            code="nomad_namespace",
            hint="set NOMAD_NAMESPACE to one that `nomad namespace list` shows",
        )
    return text


def _token(settings: NomadSettings, env: Mapping[str, str]) -> str:
    if settings.token_file is None:
        return _checked(env.get("NOMAD_TOKEN", "").strip(), "NOMAD_TOKEN")
    try:
        text = read_text(Path(settings.token_file)).strip()
    except (OSError, ValueError):
        raise _unreadable(settings.token_file) from None
    return _checked(text, settings.token_file)


def _checked(token: str, source: str) -> str:
    """A token that a request can carry."""
    if not re.fullmatch(r"[!-~]*", token):
        raise UsageError(
            f"{source} holds no token: there are characters in it that none has",
            code="nomad_file",
            hint="a token is the Secret ID that `nomad acl token create` prints, and nothing else",
        )
    return token


def _check_file(file: str) -> None:
    if not Path(file).is_file() and not Path(file).is_dir():
        raise _unreadable(file)


def _check_folder(authority: str) -> None:
    """OpenSSL finds the certificates of a folder by the names that it makes of them."""
    folder = Path(authority)
    if not authority or not folder.is_dir() or any(HASHED.fullmatch(f.name) for f in _in(folder)):
        return
    raise UsageError(
        f"{authority} has no certificate under a name that OpenSSL looks for",
        code="nomad_file",
        hint=f"make the names: openssl rehash {authority}; or set NOMAD_CACERT to one file",
    )


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _check_certificates(authority: str, certificate: str, key: str) -> None:
    """Raises UsageError for files that hold no certificate, or a key of another one."""
    if not (authority or certificate):
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = authority
    try:
        if authority and Path(authority).is_file():
            context.load_verify_locations(authority)
        file = certificate
        if certificate:
            context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{file} is no certificate that the connection to Nomad can use",
            code="nomad_file",
            hint="it has to be PEM, with the key that belongs to it, and that without a password",
            details=[str(error)],
        ) from None


def _unreadable(file: str) -> UsageError:
    return UsageError(
        f"{file} cannot be read, which the connection to Nomad needs",
        code="nomad_file",
        hint="correct its path in [tool.deploytool.nomad] or in the NOMAD_* variable",
    )
