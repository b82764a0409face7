"""What a registry says of an image, asked by this machine with the logins of `docker login`.

The protocol is that of https://github.com/opencontainers/distribution-spec, with the tokens of
https://distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import ipaddress
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deploytool.errors import DeploytoolError, ImageError, RegistryError
from deploytool.http import is_loopback, proxies_for
from deploytool.image.reference import HUB, Reference
from deploytool.json_types import Json
from deploytool.process import ProgramMissing, TookTooLong, capture
from deploytool.spec import Image, repository_of, tagged

if TYPE_CHECKING:
    import requests

TIMEOUT = 20.0
"""Seconds that a registry may take to answer."""
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Registry:
    """The registries of some images. Each is logged in to once."""

    def __init__(self) -> None:
        import requests

        self.session = requests.Session()
        self._tokens: dict[str, str] = {}
        self._plain: set[str] = set()
        """Registries that are asked without TLS."""

    def resolve(self, reference: str) -> Image:
        """The digest and the platforms behind a tag. Raises ImageError, RegistryError."""
        tag = tagged(reference)
        parsed = Reference.parse(tag)
        name = _name(parsed)
        wanted = parsed.digest or parsed.tag or "latest"
        path = f"{name}/manifests/{wanted}"
        response = self._get(parsed, path, ", ".join((*INDEXES, *MANIFESTS)))
        manifest: Json = response.json()
        digest = response.headers.get("Docker-Content-Digest") or parsed.digest
        if not digest:
            raise _refused(parsed, "it does not say which digest the image has")
        return Image(
            reference=f"{repository_of(tag)}@{digest}",
            tag=tag.partition("@")[0],
            platforms=tuple(sorted(self._platforms(parsed, name, manifest))),
        )

    def _platforms(self, parsed: Reference, name: str, manifest: Json) -> set[tuple[str, str]]:
        """(architecture, operating system) of each variant."""
        if "manifests" in manifest:
            found = [one.get("platform") or {} for one in manifest["manifests"]]
        else:
            digest = (manifest.get("config") or {}).get("digest")
            found = [self._get(parsed, f"{name}/blobs/{digest}", "*/*").json()] if digest else []
        return {
            (platform["architecture"], platform["os"])
            for platform in found
            if platform.get("architecture") and platform.get("os") not in (None, "unknown")
        }

    def _get(self, parsed: Reference, path: str, accept: str) -> requests.Response:
        import requests

        try:
            response = self._authorized(parsed, path, accept)
        except requests.ConnectionError as error:
            if not self._may_be_plain(parsed.host):
                raise _unreachable(parsed, error) from None
            return self._get(parsed, path, accept)
        except requests.RequestException as error:
            raise _unreachable(parsed, error) from None
        if response.status_code in (401, 403):
            raise _denied(parsed)
        if response.status_code == 404:
            raise ImageError(
                f"The image {parsed} does not exist: {_reason(response)}",
                code="image_missing",
                hint="build and push it first, or correct its name",
            )
        if response.status_code >= 400:
            raise _refused(parsed, f"{response.status_code} {_reason(response)}")
        return response

    def _authorized(self, parsed: Reference, path: str, accept: str) -> requests.Response:
        """The answer to whoever is logged in, if the registry wants to know."""
        scheme = "http" if parsed.host in self._plain else "https"
        url = f"{scheme}://{_address(parsed.host)}/v2/{path}"
        response = self._send(url, accept, self._tokens.get(parsed.repository, ""))
        if response.status_code != 401:
            return response
        token = self._authorization(parsed, response.headers.get("WWW-Authenticate", ""))
        self._tokens[parsed.repository] = token
        return self._send(url, accept, token)

    def _may_be_plain(self, host: str) -> bool:
        """Whether to ask a registry that speaks no TLS once more without it."""
        if host in self._plain or not _is_insecure(host):
            return False
        self._plain.add(host)
        return True

    def _send(self, url: str, accept: str, authorization: str) -> requests.Response:
        headers = {"Accept": accept}
        if authorization:
            headers["Authorization"] = authorization
        return self.session.get(url, headers=headers, timeout=TIMEOUT, proxies=proxies_for(url))

    def _authorization(self, parsed: Reference, challenge: str) -> str:
        """The header that a registry asks for: a login, or a token that its login buys."""
        user, password = _login(parsed)
        scheme, _, rest = challenge.partition(" ")
        values = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in values:
            return _basic(user, password) if user else ""
        params = {"service": values.get("service", ""), "scope": f"repository:{_name(parsed)}:pull"}
        headers = {"Authorization": _basic(user, password)} if user else {}
        realm = values["realm"]
        answer = self.session.get(
            realm, params=params, headers=headers, timeout=TIMEOUT, proxies=proxies_for(realm)
        )
        if answer.status_code >= 400:
            raise _denied(parsed)
        found: Any = answer.json()
        return f"Bearer {found.get('token') or found.get('access_token') or ''}"


def _address(host: str) -> str:
    return "registry-1.docker.io" if host == HUB else host


def _is_insecure(host: str) -> bool:
    """Whether docker takes a registry without TLS: on this machine, and where the engine's
    `insecure-registries` say so."""
    name = urlsplit(f"//{host}").hostname or ""
    if is_loopback(name):
        return True
    known = _engine_registries()
    index: Json = (known.get("IndexConfigs") or {}).get(host) or {}
    if index.get("Secure") is False:
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(name)
        networks = known.get("InsecureRegistryCIDRs") or ()
        return any(address in ipaddress.ip_network(network) for network in networks)
    return False


def _engine_registries() -> Json:
    """What the engine that builds images knows of registries; nothing where there is none."""
    with suppress(ProgramMissing, TookTooLong, ValueError):
        command = ["docker", "info", "--format", "{{json .RegistryConfig}}"]
        return dict(json.loads(capture(command, timeout=TIMEOUT).stdout) or {})
    return {}


def _name(parsed: Reference) -> str:
    """The repository as its registry calls it."""
    if parsed.host != HUB:
        return parsed.repository.partition("/")[2]
    bare = parsed.repository.removeprefix(f"{HUB}/")
    return bare if "/" in bare else f"library/{bare}"


def _login(parsed: Reference) -> tuple[str, str]:
    """The user and password of `docker login`; empty for none."""
    from docker import auth
    from docker.errors import DockerException

    registry, _ = auth.resolve_repository_name(parsed.repository)
    try:
        found = dict(auth.resolve_authconfig(auth.load_config(), registry) or {})
    except DockerException:
        raise RegistryError(
            f"docker's credential helper failed for {registry}",
            code="registry_credentials",
            hint="fix credsStore or credHelpers in ~/.docker/config.json, or docker login",
        ) from None
    known = {key.lower(): value for key, value in found.items()}
    return str(known.get("username") or ""), str(known.get("password") or "")


def _basic(user: str, password: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _reason(response: requests.Response) -> str:
    try:
        return str(response.json()["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return str(response.reason)


def _denied(parsed: Reference) -> DeploytoolError:
    return RegistryError(
        f"The registry {parsed.host} does not show {parsed} to this machine",
        code="registry_denied",
        hint=f"log in: {parsed.login}",
    )


def _refused(parsed: Reference, why: str) -> DeploytoolError:
    return RegistryError(
        f"The registry of {parsed} refuses: {why}",
        code="registry_unreachable",
        hint="see the registry's log",
    )


def _unreachable(parsed: Reference, error: Exception) -> DeploytoolError:
    return RegistryError(
        f"The registry of {parsed} does not answer: {type(error).__name__}",
        code="registry_unreachable",
        hint="check its address and the network; for one with its own authority set "
        "REQUESTS_CA_BUNDLE",
    )
