"""Nomad's HTTP API through python-nomad, with its failures made ours.

Calls go through the session that python-nomad set up and not through its methods: those send no
namespace to variables and evaluations, verify no certificates by default, give no headers, and know
no blocking queries. Nothing else in deploytool knows that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from deploytool.backends.nomad.api import rights
from deploytool.backends.nomad.api.connection import DEFAULT_NAMESPACE, Connection
from deploytool.backends.nomad.specification.version import ServerVersion
from deploytool.errors import EngineError
from deploytool.http import proxies_for
from deploytool.redact import hide_passwords

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
TIMEOUT = 60.0
"""Seconds that a request may take."""
CONNECT = 10.0
"""Seconds to wait for a server to accept a connection."""
LONGEST_WAIT = 300.0
"""Seconds after which servers end every blocking query (command/agent/http.go)."""
JITTER = 1 / 16
"""What servers add to it at most, as a share."""
PATIENCE = 20.0
"""Seconds for which what may be repeated is."""
PAUSES = (0.2, 0.4, 0.8, 1.6, 2.0)
"""Seconds between attempts; the last goes on."""
MOST_CONNECTIONS = 16
"""A server answers 429 from the 101st connection of one address on, and then not at all."""
NO_LEADER = "No cluster leader"
LEAVING = ("EOF", "raft is already shutdown", "leadership lost", "node is not the leader")
"""What servers say that stop or lose their leader meanwhile (hashicorp/raft, net/rpc)."""
UNAVAILABLE = (502, 503, 504)
"""What a proxy before the servers answers that reaches none."""


class NotFound(EngineError):
    """There is no such thing."""


class NotAsRead(EngineError):
    """Something was changed since it was read."""

    is_repeated = False
    """Whether the write was sent before and its answer lost: it may be what has changed it."""


class Conflict(NotAsRead):
    """A variable is not as it was read; `body` is what the server answered."""

    body: Any = None


class Outdated(NotAsRead):
    """A job is not as it was read."""


class ServerFailed(EngineError):
    """A server failed at what it was asked, as those do that stop or lose their leader: "rpc error:
    EOF", "raft is already shutdown", or what stands before them has none to ask."""

    is_passing = False
    """Whether it is one of these: others may be refusals that stay."""


@dataclass(frozen=True)
class Answer:
    """What a blocking query answered, and the index to wait from."""

    value: Any
    index: int


class Client:
    """A server of a cluster. Safe to use from several threads."""

    def __init__(self, connection: Connection, *, patience: float = PATIENCE) -> None:
        from importlib import import_module

        import requests

        self.connection = connection
        self.namespace = connection.namespace
        self.patience = patience
        self._has_answered = False
        if connection.verify is False:
            _be_quiet_about_it()
        session = requests.Session()
        adapter = _adapter(connection)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        self.api = import_module("nomad").Nomad(
            address=connection.address,
            namespace=connection.namespace,
            token=connection.token or None,
            region=connection.region or None,
            verify=connection.verify,
            cert=connection.certificate or (),
            session=session,
        )
        self.session: requests.Session = self.api.session
        self.streaming = requests.Session()
        """Streams keep their connections for as long as they last: they would use up those of the
        other."""
        unlimited = _adapter(connection, block=False)
        self.streaming.mount("http://", unlimited)
        self.streaming.mount("https://", unlimited)
        for own in (self.session, self.streaming):
            _take_from_the_environment(own, connection)

    # --- calls ----------------------------------------------------------------------------------

    def get(self, path: str, **params: str) -> Any:
        """What there is at a path. Raises NotFound."""
        return self._patiently(lambda: _value(self._send("GET", path, params=params)), reads=True)

    def post(self, path: str, body: Any, *, again: bool = False, **params: str) -> Any:
        """Write, and return the answer. `again`: it may be sent twice. Raises NotAsRead."""
        return self._write("POST", path, body, params, again=again)

    def put(self, path: str, body: Any, *, again: bool = False, **params: str) -> Any:
        return self._write("PUT", path, body, params, again=again)

    def delete(self, path: str, *, again: bool = True, **params: str) -> Any:
        return self._write("DELETE", path, None, params, again=again)

    def poll(self, path: str, index: int, seconds: float, **params: str) -> Answer:
        """What there is at a path once it differs from what it was at an index, or after some
        seconds; at once for index 0."""
        wait = min(max(seconds, 0.0), LONGEST_WAIT)
        query = dict(params)
        if index > 0:
            query |= {"index": str(index), "wait": f"{max(1, round(wait * 1000))}ms"}
        timeout = wait * (1 + JITTER) + TIMEOUT
        response = self._patiently(
            lambda: self._send("GET", path, params=query, timeout=timeout), reads=True
        )
        found = int(response.headers.get("X-Nomad-Index") or 0)
        return Answer(_value(response), max(found, 1) if found >= index else 0)

    def stream(self, path: str, *, quiet: float = TIMEOUT, **params: str) -> Iterator[bytes]:
        """What comes from a path, as it comes; no longer than `quiet` seconds without anything."""
        import requests

        response = self._send("GET", path, params=params, timeout=quiet, stream=True)
        with response:
            try:
                yield from response.iter_content(chunk_size=None)
            except requests.RequestException as error:
                raise self.unreachable(error) from None

    def date(self) -> str:
        """The time on the server's clock, as HTTP writes it."""
        response = self._patiently(lambda: self._send("GET", "/v1/status/leader"))
        return str(response.headers.get("Date") or "")

    @cached_property
    def version(self) -> str:
        """That of the oldest server of the region, for example "1.10.2": any may be the next to
        lead. The agent that answers may be a client of another version. Raises ValueError where a
        server says none."""
        answer = self.get("/v1/agent/members")
        region = self.connection.region or answer.get("ServerRegion")
        alive = [m for m in answer.get("Members") or [] if m.get("Status") == "alive"]
        tags = [member.get("Tags") or {} for member in alive]
        builds = [str(tag.get("build") or "") for tag in tags if tag.get("region") == region]
        return min(builds, key=ServerVersion.parse, default="")

    # --- one request ------------------------------------------------------------------------------

    def _patiently(self, ask: Callable[[], T], *, reads: bool = False) -> T:
        """The answer, asked for again while nobody answers, no server leads or the one that is
        asked stops, and of what only reads while servers fail; not before there was any, as the
        address may be wrong."""
        give_up = time.monotonic() + self.patience
        attempt = 0
        while True:
            try:
                found = ask()
            except EngineError as error:
                is_passing = error.code in ("engine_unreachable", "no_quorum") or (
                    isinstance(error, ServerFailed) and (reads or error.is_passing)
                )
                if not (is_passing and self._has_answered) or time.monotonic() > give_up:
                    raise
            else:
                self._has_answered = True
                return found
            time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    def _write(
        self, method: str, path: str, body: Any, params: dict[str, str], *, again: bool
    ) -> Any:
        sent = 0

        def once() -> Any:
            nonlocal sent
            sent += 1
            return _value(self._send(method, path, body=body, params=params))

        try:
            return self._patiently(once) if again else once()
        except NotAsRead as error:
            error.is_repeated = sent > 1
            raise

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
        stream: bool = False,
    ) -> requests.Response:
        import requests

        query = {"namespace": self.namespace, **(params or {})}
        if self.connection.region:
            query.setdefault("region", self.connection.region)
        headers = {"X-Nomad-Token": self.connection.token} if self.connection.token else {}
        session = self.streaming if stream else self.session
        try:
            response = session.request(
                method,
                f"{self.connection.address}{path}",
                params=query,
                json=body,
                headers=headers,
                timeout=(CONNECT, timeout),
                verify=self.connection.verify,
                cert=self.connection.certificate,
                stream=stream,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self.unreachable(error) from None
        if response.status_code >= 300:
            with response:
                raise self.refused(method, path, response.status_code, response.text)
        return response

    def unreachable(self, error: Exception) -> EngineError:
        """What it means that there is no answer."""
        import ssl

        import requests

        address = self.connection.shown
        if isinstance(error, (requests.exceptions.SSLError, ssl.SSLError)):
            return EngineError(
                f"The certificate of {address} is not trusted",
                code="nomad_tls",
                hint="name the authority with ca_cert or NOMAD_CACERT, and with tls_server_name "
                "or NOMAD_TLS_SERVER_NAME the name that is in the certificate",
                details=[str(error)[:300]],
            )
        if isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
            why = "it does not answer in time"
        else:
            why = "nothing listens there, or the connection broke"
        return EngineError(
            f"Nomad at {address} cannot be reached: {why}",
            code="engine_unreachable",
            hint="set address in [tool.deploytool.nomad], or NOMAD_ADDR",
        )

    def refused(self, method: str, path: str, status: int, text: str) -> EngineError:
        """What an answer means that is no success."""
        text = text.strip()
        what = f"{method} {path}"
        match status:
            case 403 if "Permission denied" in text:
                return self._forbidden(method, path)
            case 404:
                return NotFound(f"Nomad has no {path}: {text}", code="nomad_not_found")
            case 409:
                conflict = Conflict(f"{path} was changed by somebody else", code="nomad_conflict")
                conflict.body = _json_or_text(text)
                return conflict
            case 429:
                return EngineError(
                    "Nomad takes no more connections from here for now",
                    code="engine_unreachable",
                    hint="end what else connects to it from this machine",
                )
            case 500 if NO_LEADER in text:
                return EngineError(
                    "The Nomad cluster has no leader",
                    code="no_quorum",
                    hint="bring back a majority of its servers: nomad server members",
                )
            case 500 if "Enforcing job modify index" in text:
                return Outdated(
                    "The job was changed by somebody else meanwhile",
                    code="changed_meanwhile",
                    hint="see what it is now, and deploy again: deploytool status",
                )
            case 500 if "nonexistent namespace" in text:
                return self._no_namespace()
            case 500 if "No path to region" in text:
                return EngineError(
                    f"Nomad has no region {self.connection.region}, or reaches none of its servers",
                    code="nomad_region",
                    hint="correct region in [tool.deploytool.nomad], or NOMAD_REGION: "
                    "nomad server members",
                )
            case 400 if "HTTP request to an HTTPS server" in text:
                return EngineError(
                    f"Nomad at {self.connection.shown} speaks TLS, and the address says http://",
                    code="nomad_tls",
                    hint="write https:// in address in [tool.deploytool.nomad], or in NOMAD_ADDR",
                )
        kind = ServerFailed if status >= 500 and status != 501 else EngineError
        failed = kind(
            f"Nomad refuses {what}: {text[:300] or f'HTTP status {status}'}",
            code="nomad_refused",
            hint="see the servers' log: nomad monitor",
        )
        if isinstance(failed, ServerFailed):
            failed.is_passing = status in UNAVAILABLE or any(said in text for said in LEAVING)
        return failed

    def check_namespace(self) -> None:
        """Raises EngineError where there is no such namespace: reads of it are answered as if it
        were empty. Who may not look at it may see nothing, and is told what that takes later."""
        if self.namespace == DEFAULT_NAMESPACE:
            return
        try:
            self.get(f"/v1/namespace/{self.namespace}")
        except NotFound:
            raise self._no_namespace() from None
        except EngineError as error:
            if error.code != "nomad_forbidden":
                raise

    def _no_namespace(self) -> EngineError:
        return EngineError(
            f"Nomad has no namespace {self.namespace}",
            code="nomad_namespace",
            hint=f"create it: nomad namespace apply {self.namespace}; or correct namespace in "
            "[tool.deploytool.nomad], or NOMAD_NAMESPACE",
        )

    def _forbidden(self, method: str, path: str) -> EngineError:
        right = rights.needed(method, path, self.namespace)
        if not self.connection.token:
            message = f"Nomad lets nobody {right.purpose} without a token"
        elif self._is_unknown:
            message = "Nomad does not know the token, or it has expired"
        else:
            message = f"The token may not {right.purpose}: it lacks {right.name}"
        return EngineError(
            message,
            code="nomad_forbidden",
            hint=f"set NOMAD_TOKEN to one with {right.name}, or add that to its policy: "
            "docs/nomad.md has a whole one",
        )

    @cached_property
    def _is_unknown(self) -> bool:
        """Whether Nomad does not know the token: all else that it says of one is that of a token
        without rights. 404 is what servers before 1.10.1 answer."""
        import requests

        with suppress(requests.RequestException):
            answer = self.session.get(
                f"{self.connection.address}/v1/acl/token/self",
                headers={"X-Nomad-Token": self.connection.token},
                timeout=(CONNECT, CONNECT),
                verify=self.connection.verify,
                cert=self.connection.certificate,
                allow_redirects=False,
            )
            return answer.status_code in (403, 404)
        return False


def _take_from_the_environment(session: requests.Session, connection: Connection) -> None:
    """The proxy, once for all requests; not logins, which .netrc may have for the same host."""
    session.trust_env = False
    session.proxies.update(proxies_for(connection.address))


def _be_quiet_about_it() -> None:
    """Whoever sets NOMAD_SKIP_VERIFY need not be told at every request."""
    import urllib3
    from urllib3.exceptions import InsecureRequestWarning

    urllib3.disable_warnings(InsecureRequestWarning)


def _value(response: requests.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        raise EngineError(
            f"What answers at {hide_passwords(response.url.partition('?')[0])} is not Nomad",
            code="nomad_refused",
            hint="set address in [tool.deploytool.nomad], or NOMAD_ADDR, to that of its HTTP API",
        ) from None


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _adapter(connection: Connection, *, block: bool = True) -> Any:
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Checks a server's certificate for another name than the address's."""

        def init_poolmanager(self, *args: Any, **settings: Any) -> None:
            if connection.server_name:
                settings["server_hostname"] = connection.server_name
                settings["assert_hostname"] = connection.server_name
            super().init_poolmanager(*args, **settings)

    return Adapter(pool_connections=2, pool_maxsize=MOST_CONNECTIONS, pool_block=block)
