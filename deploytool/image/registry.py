"""What a registry says of an image, asked by this machine with the logins of `docker login`.

The protocol is that of https://github.com/opencontainers/distribution-spec, with the tokens of
https://distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import sleep, time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploytool.errors import DeploytoolError, ImageError, RegistryError
from deploytool.http import is_loopback, proxies_for, within
from deploytool.image import registry_failures
from deploytool.image.reference import HUB, Reference
from deploytool.json_types import Json
from deploytool.process import ProgramMissing, TookTooLong, capture
from deploytool.spec import Image, repository_of, tagged

if TYPE_CHECKING:
    import requests

TIMEOUT = 20.0
"""Seconds that a registry may take for a whole answer."""
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


LARGEST = 4 * 2**20
"""bytes of an answer: manifests have 4 MiB at most"""
NO_REGISTRY = "its answer is not that of a registry"
LONGEST_WAIT = 30.0
"""Seconds that a registry may ask to wait before it is asked once more."""


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    """With names in small letters."""
    content: bytes


class Registry:
    """The registries of some images. Each is logged in to once."""

    def __init__(self) -> None:
        import requests

        self.session = requests.Session()
        self.timeout = TIMEOUT
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
        manifest = _json(parsed, response)
        digest = response.headers.get("docker-content-digest") or parsed.digest
        if not digest:
            raise _refused(parsed, "it does not say which digest the image has")
        return Image(
            reference=f"{repository_of(tag)}@{digest}",
            tag=tag.partition("@")[0],
            platforms=tuple(sorted(self._platforms(parsed, name, manifest))),
        )

    def _platforms(self, parsed: Reference, name: str, manifest: Json) -> set[tuple[str, str]]:
        """(architecture, operating system) of each variant."""
        try:
            if "manifests" in manifest:
                found = [one.get("platform") or {} for one in manifest["manifests"]]
            else:
                digest = (manifest.get("config") or {}).get("digest")
                path = f"{name}/blobs/{digest}"
                found = [_json(parsed, self._get(parsed, path, "*/*"))] if digest else []
            return {
                (str(platform["architecture"]), str(platform["os"]))
                for platform in found
                if platform.get("architecture") and platform.get("os") not in (None, "unknown")
            }
        except (AttributeError, TypeError):
            raise _refused(parsed, NO_REGISTRY) from None

    def _get(self, parsed: Reference, path: str, accept: str) -> Answer:
        import requests

        try:
            response = _patiently(lambda: self._authorized(parsed, path, accept))
        except (requests.RequestException, OSError) as error:
            is_connection = isinstance(error, requests.ConnectionError)
            if not is_connection or not self._may_be_plain(parsed.host):
                raise registry_failures.by_exception(parsed.host, error) from None
            return self._get(parsed, path, accept)
        failure = registry_failures.by_status(parsed.host, response.status, _said(response))
        if failure is not None:
            raise failure
        if response.status in (401, 403):
            raise _denied(parsed, is_known=bool(self._tokens.get(parsed.repository)))
        if response.status == 404:
            raise ImageError(
                f"The image {parsed} does not exist: {_reason(response)}",
                code="image_missing",
                hint="build and push it first, or correct its name",
            )
        if response.status >= 400:
            raise _refused(parsed, f"{response.status} {_reason(response)}")
        return response

    def _authorized(self, parsed: Reference, path: str, accept: str) -> Answer:
        """The answer to whoever is logged in, if the registry wants to know."""
        scheme = "http" if parsed.host in self._plain else "https"
        url = f"{scheme}://{_address(parsed.host)}/v2/{path}"
        response = self._send(url, accept, self._tokens.get(parsed.repository, ""))
        if response.status != 401:
            return response
        token = self._authorization(parsed, response.headers.get("www-authenticate", ""))
        self._tokens[parsed.repository] = token
        return self._send(url, accept, token)

    def _may_be_plain(self, host: str) -> bool:
        """Whether to ask a registry that speaks no TLS once more without it."""
        if host in self._plain or not _is_insecure(host):
            return False
        self._plain.add(host)
        return True

    def _send(
        self, url: str, accept: str, authorization: str, params: dict[str, str] | None = None
    ) -> Answer:
        """The whole answer. Raises OSError and what requests raises."""
        headers = {"Accept": accept}
        if authorization:
            headers["Authorization"] = authorization

        def ask() -> Answer:
            with self.session.get(
                url,
                params=params,
                headers=headers,
                timeout=self.timeout,
                proxies=proxies_for(url),
                stream=True,
            ) as response:
                names = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, response.reason, names, _content(response))

        return within(self.timeout, ask)

    def _authorization(self, parsed: Reference, challenge: str) -> str:
        """The header that a registry asks for: a login, or a token that its login buys."""
        user, password = _login(parsed)
        scheme, _, rest = challenge.partition(" ")
        values = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in values:
            return _basic(user, password) if user else ""
        params = {"service": values.get("service", ""), "scope": f"repository:{_name(parsed)}:pull"}
        given = _basic(user, password) if user else ""
        answer = _patiently(lambda: self._send(values["realm"], "*/*", given, params))
        failure = registry_failures.by_status(parsed.host, answer.status, _said(answer))
        if failure is not None:
            raise failure
        if answer.status >= 400:
            raise _denied(parsed, is_known=bool(user))
        found = _json(parsed, answer)
        return f"Bearer {found.get('token') or found.get('access_token') or ''}"


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer, or the one after the time that a registry asks to wait."""
    answer = ask()
    wait = _asked_to_wait(answer)
    if wait is None or wait > LONGEST_WAIT:
        return answer
    sleep(wait)
    return ask()


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


def _json(parsed: Reference, answer: Answer) -> Json:
    try:
        return dict(json.loads(answer.content))
    except (ValueError, TypeError, RecursionError):
        raise _refused(parsed, NO_REGISTRY) from None


def _content(response: requests.Response) -> bytes:
    content = b""
    for part in response.iter_content(64 * 1024):
        content += part
        if len(content) > LARGEST:
            raise OSError(f"its answer has more than {LARGEST // 2**20} MiB")
    return content


def _asked_to_wait(answer: Answer) -> float | None:
    """Seconds, of a registry that is busy; None where it does not say."""
    text = answer.headers.get("retry-after", "").strip()
    if answer.status not in (429, 503) or not text:
        return None
    if text.isdecimal():
        return float(text)
    with suppress(ValueError):
        at = parsedate_to_datetime(text)
        return max(0.0, at.timestamp() - time())
    return None


def _said(answer: Answer) -> str:
    wait = _asked_to_wait(answer)
    asks = "" if wait is None else f"; it asks to wait {wait:.0f} s"
    return f"{answer.status} {_reason(answer)}{asks}"


def _reason(response: Answer) -> str:
    try:
        return str(json.loads(response.content)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return str(response.reason)


def _denied(parsed: Reference, *, is_known: bool) -> DeploytoolError:
    who = "the login of this machine" if is_known else "this machine, which is not logged in"
    return RegistryError(
        f"The registry {parsed.host} does not show {parsed} to {who}",
        code="registry_denied",
        hint=f"log in: {parsed.login}; if you are logged in, the image may not exist",
    )


def _refused(parsed: Reference, why: str) -> DeploytoolError:
    return RegistryError(
        f"The registry of {parsed} refuses: {why}",
        code="registry_failed",
        hint="see the registry's log",
    )
