"""The engine's HTTP API through the Docker SDK, with its failures made ours.

The SDK's own types for services are left alone: their defaults differ from the engine's and they
lack fields. Specifications are sent as the plain JSON that they are.
"""

from __future__ import annotations

import re
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote

from deploytool.backends.swarm.specification.templates import hide_variables
from deploytool.errors import (
    DeploytoolError,
    EngineError,
    ImageError,
    PlanError,
    RegistryError,
)
from deploytool.http import within
from deploytool.image import registry_failures
from deploytool.image.failures import MAY_USE, engine_hint
from deploytool.image.reference import Reference
from deploytool.json_types import Json
from deploytool.redact import hide_passwords, looks_secret
from deploytool.spec import Image, repository_of, tagged

if TYPE_CHECKING:
    from docker import APIClient
    from docker.errors import APIError

P = ParamSpec("P")
R = TypeVar("R")
START_INTERVAL_API = (1, 44)
TIMEOUT = 60
"""seconds that one request to the engine may take"""
REGISTRY_TIMEOUT = 20.0
"""seconds that the engine may take to ask a registry"""
ENGINE = 3
"""The source of the engine's own messages in a stream of output: they say what is missing in it."""
EXPANDING = re.compile(
    r"expanding (env|mounts) failed: expanding [a-z ]+\"([^=\"]*)(.*)", re.DOTALL
)
"""The engine's refusal of a template; its quotation and the reason follow."""
ATTEMPTS = 5
"""How often a service is read again that the engine itself changed at the same moment."""


class LogEntry(NamedTuple):
    task: str
    node: str
    at: str
    text: str


class Output(NamedTuple):
    """The output of a replica, and why the rest of it is missing, if so."""

    entries: list[LogEntry]
    missing: str

    @property
    def lines(self) -> list[str]:
        return [entry.text for entry in self.entries]


def open_client(*, host: str | None = None, context: str | None = None) -> Client:
    """The engine at a host, of a context, or where the docker command line would find it.

    Raises EngineError where it does not answer, UsageError where it must not be asked.
    """
    _load_sdk()
    from docker.errors import DockerException

    from deploytool.backends.swarm.api.connection import Api, settings

    address = host or context or ""
    try:
        found = settings(host, context)
        address = str(found.get("base_url") or "the default socket")
        if address.startswith("ssh://"):
            found["use_ssh_client"] = True
        api = Api(version="auto", timeout=TIMEOUT, **found)
    except (DockerException, OSError, ValueError) as error:
        raise unreachable(error, address) from error
    return Client(api, address, _cli_options(host, context))


def _cli_options(host: str | None, context: str | None) -> tuple[str, ...]:
    """Options with which the docker command line uses the same engine."""
    if host:
        from deploytool.backends.swarm.api.connection import is_unverified_tls

        tls = ("--tls",) if host.startswith("tcp:") and is_unverified_tls() else ()
        return ("--host", host, *tls)
    return ("--context", context) if context else ()


def _load_sdk() -> None:
    """Load the Docker SDK without Paramiko, which need not be there: ssh:// is left to the ssh
    program. The SDK wants to import it all the same."""
    if "paramiko" in sys.modules:
        import_module("docker")
        return
    sys.modules["paramiko"] = ModuleType("paramiko")
    try:
        import_module("docker")
    finally:
        del sys.modules["paramiko"]


def unreachable(error: BaseException, address: str) -> EngineError:
    """Why an engine cannot be talked to."""
    where = f" at {address}" if address else ""
    text = _innermost(error)
    if "Permission denied" in text:
        return EngineError(
            f"You may not use the Docker engine{where}: permission denied on its socket",
            code="engine_permission",
            hint=MAY_USE,
        )
    return EngineError(
        f"The Docker engine{where} does not answer: {text}",
        code="engine_unreachable",
        hint=engine_hint(address),
    )


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of the SDK's nested exceptions."""
    seen: BaseException = error
    while True:
        inner = seen.__cause__ or seen.__context__
        nested = next((a for a in seen.args if isinstance(a, BaseException)), None)
        following = nested or inner
        if following is None or following is seen:
            break
        seen = following
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen).strip() or type(seen).__name__


@contextmanager
def _translating() -> Iterator[None]:
    """Raise DeploytoolError where the SDK, or the stream below it, raises its own."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        raise translate(error) from error
    except (DockerException, RequestException, HTTPError) as error:
        raise unreachable(error, "") from error


def translated(function: Callable[P, R]) -> Callable[P, R]:
    """Let a method raise DeploytoolError where the SDK raises its own."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _translating():
            return function(*args, **kwargs)

    return wrapper


def translate(error: APIError) -> DeploytoolError:
    """An answer of the engine as an error, with the next step."""
    text = str(error.explanation or error).strip()
    if "not a swarm manager" in text:
        return EngineError(
            "This engine is not a Swarm manager",
            code="not_a_manager",
            hint="`deploytool cluster up` makes this machine one, or set [tool.deploytool.swarm] "
            "host to a manager's address",
        )
    if "update out of sequence" in text:
        return PlanError(
            "Somebody else changed the service at the same moment",
            code="changed_meanwhile",
            hint="run the command again, which makes a new plan",
        )
    if "not have a leader" in text or "has no leader" in text or "lost quorum" in text.lower():
        return EngineError(
            f"The Swarm has no leader: {text}",
            code="no_quorum",
            hint="more than half of the managers have to be up",
        )
    return EngineError(f"The engine refused: {text}", code="engine_refused")


def _without_values(error: DeploytoolError, spec: Json) -> DeploytoolError:
    """The same failure, without the values of the variables that a plan hides."""
    env = spec["TaskTemplate"]["ContainerSpec"].get("Env") or ()
    if found := EXPANDING.search(error.message):
        return EngineError(
            f"The Swarm cannot fill in {_what_is_expanded(found, env)}",
            code="template_invalid",
            hint="fix it, for example {{.Node.Hostname}}; or take it out of the service's "
            "`templates`, and it is passed on as it is written",
        )
    return type(error)(
        hide_variables(error.message, env),
        code=error.code,
        hint=hide_variables(error.hint, env),
        details=[hide_variables(line, env) for line in error.details],
    )


def _what_is_expanded(found: re.Match[str], env: Iterable[str]) -> str:
    """A variable by its name; of one whose value is hidden no more, as the reason repeats parts of
    it."""
    kind, name, reason = found.groups()
    if kind != "env":
        return f"a path of volumes: {hide_passwords(reason)}"
    return f"env.{name}" + ("" if looks_secret(name) else f": {hide_variables(reason, env)}")


def is_taken(error: DeploytoolError) -> bool:
    """Whether the engine refused to create something because the name is taken; of a
    service some engines say it in other words."""
    return "already exists" in error.message or "name conflicts" in error.message


def is_gone(error: DeploytoolError) -> bool:
    """Whether the engine refused because there is no such thing any more."""
    return "not found" in error.message or "no such volume" in error.message


class Client:
    """The part of the API that deploytool uses, as plain JSON."""

    cli_options: tuple[str, ...] = ()
    """Options with which the docker command line reaches the same engine."""

    def __init__(self, api: APIClient, address: str, cli_options: tuple[str, ...] = ()) -> None:
        self.api: Any = api
        self.address = address
        self.cli_options = cli_options
        self.registry_timeout = REGISTRY_TIMEOUT

    @cached_property
    def api_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.api.api_version.split("."))

    @property
    def has_start_interval(self) -> bool:
        return self.api_version >= START_INTERVAL_API

    @translated
    def info(self) -> Json:
        return dict(self.api.info())

    @translated
    def version(self) -> Json:
        return dict(self.api.version())

    @translated
    def services(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.services(filters=filters))

    @translated
    def service_events(self) -> Any:
        """Events of the cluster's services, as they come; from another thread, `close` ends
        it."""
        return self.api.events(filters={"type": "service"}, decode=True)

    @translated
    def tasks(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.tasks(filters=filters))

    @translated
    def nodes(self) -> list[Json]:
        return list(self.api.nodes())

    @translated
    def networks(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.networks(filters=filters))

    @translated
    def volumes(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.volumes(filters=filters)["Volumes"] or [])

    @translated
    def secrets(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.secrets(filters=filters))

    @translated
    def configs(self, **filters: str | list[str]) -> list[Json]:
        return list(self.api.configs(filters=filters))

    @translated
    def config(self, config_id: str) -> Json | None:
        from docker.errors import NotFound

        try:
            return dict(self.api.inspect_config(config_id))
        except NotFound:
            return None

    def create_service(self, spec: Json) -> str:
        """The new service's id."""
        return str(self._send("/services/create", spec)["ID"])

    def update_service(self, live: Json, spec: Json) -> None:
        """Replace the whole specification of a service that was seen as `live`.

        Raises PlanError when somebody else changed it meanwhile. What the engine itself writes
        down of it, such as how far an update is, counts as a change to the engine but not to us.
        """
        for _ in range(ATTEMPTS):
            try:
                self._update_service(live["ID"], live["Version"]["Index"], spec)
            except PlanError:
                found = self.services(id=live["ID"])
                if not found or found[0]["Spec"] != live["Spec"]:
                    raise
                live = found[0]
            else:
                return
        self._update_service(live["ID"], live["Version"]["Index"], spec)

    def _update_service(self, service_id: str, version: int, spec: Json) -> None:
        path = f"/services/{service_id}/update"
        self._send(path, spec, version=version, registryAuthFrom="spec")

    def _send(self, path: str, spec: Json, **params: Any) -> Json:
        """Give the engine a service's specification. What it quotes of it where it refuses is not
        repeated, in a traceback either."""
        try:
            with _translating():
                return self._post(path, spec, self._auth(image_of(spec)), **params)
        except DeploytoolError as error:
            raise _without_values(error, spec) from None

    @translated
    def remove_service(self, service_id: str) -> None:
        self.api.remove_service(service_id)

    @translated
    def create_network(self, name: str, **settings: Any) -> None:
        self.api.create_network(name, check_duplicate=True, **settings)

    @translated
    def remove_network(self, network_id: str) -> None:
        self.api.remove_network(network_id)

    @translated
    def remove_volume(self, name: str) -> None:
        self.api.remove_volume(name)

    @translated
    def create_secret(self, name: str, value: bytes, labels: dict[str, str]) -> str:
        return str(self.api.create_secret(name, value, labels)["ID"])

    @translated
    def remove_secret(self, secret_id: str) -> None:
        self.api.remove_secret(secret_id)

    @translated
    def create_config(self, name: str, data: bytes, labels: dict[str, str]) -> str:
        return str(self.api.create_config(name, data, labels)["ID"])

    @translated
    def label_config(self, config: Json, labels: dict[str, str]) -> None:
        """Set labels of a config; its data cannot change."""
        spec = config["Spec"] | {"Labels": config["Spec"].get("Labels", {}) | labels}
        self._post(f"/configs/{config['ID']}/update", spec, {}, version=config["Version"]["Index"])

    @translated
    def remove_config(self, config_id: str) -> None:
        self.api.remove_config(config_id)

    def resolve(self, reference: str) -> Image:
        """The digest and the platforms behind a tag, asked of its registry by the engine.

        Raises ImageError or RegistryError.
        """
        from docker.errors import APIError
        from requests.exceptions import ReadTimeout, RequestException

        tag = tagged(reference)
        try:
            found = within(self.registry_timeout, lambda: self._distribution(tag))
        except APIError as error:
            raise _no_image(tag, str(error.explanation or error)) from error
        except (ReadTimeout, TimeoutError) as error:
            host = Reference.parse(tag).host
            said = f"the engine had no whole answer within {self.registry_timeout:g} s"
            raise registry_failures.slow(host, said) from error
        except RequestException as error:
            raise unreachable(error, self.address) from error
        digest = found["Descriptor"]["digest"]
        platforms = {
            (p["architecture"], p["os"])
            for p in found.get("Platforms") or ()
            if p.get("os") != "unknown" and p.get("architecture")
        }
        return Image(
            reference=f"{repository_of(tag)}@{digest}",
            tag=tag.partition("@")[0],
            platforms=tuple(sorted(platforms)),
        )

    def _distribution(self, tag: str) -> Json:
        url = (
            f"{self.api.base_url}/v{self.api.api_version}/distribution/{quote(tag, safe='/:')}/json"
        )
        response = self.api.get(url, headers=self._auth(tag), timeout=self.registry_timeout)
        _raise_for_status(response)
        return dict(response.json())

    def local_image(self, reference: str) -> Image | None:
        """An image that this engine has and need not be in a registry: it can run on this engine
        alone, which is allowed where the cluster has one node."""
        from docker.errors import DockerException

        tag = tagged(reference)
        try:
            self.api.inspect_image(tag)
            return Image(reference=tag, tag=tag) if len(self.nodes()) == 1 else None
        except (DockerException, DeploytoolError):
            return None

    def image_check(self, reference: str) -> str:
        """The command of the health check in an image that this engine has; empty for none."""
        try:
            with _translating():
                found = self.api.inspect_image(reference)
        except DeploytoolError:
            return ""
        check = (found.get("Config") or {}).get("Healthcheck") or {}
        kind, *words = check.get("Test") or ["NONE"]
        return "" if kind == "NONE" else " ".join(words)

    def refuses_login(self, reference: str) -> bool:
        """Whether a registry does not show an image to this machine's login, or to none."""
        try:
            self.resolve(reference)
        except DeploytoolError as error:
            return error.code == "registry_denied"
        return False

    def credential(self, reference: str) -> bytes:
        """This machine's login for the registry of an image, in one form wherever docker keeps it;
        empty for none. Raises RegistryError where docker's helper fails."""
        known = {key.lower(): value for key, value in self._login(reference).items()}
        parts = [str(known.get(key) or "") for key in ("username", "password", "identitytoken")]
        return "\0".join(parts).encode() if any(parts) else b""

    def _login(self, reference: str) -> Json:
        from docker import auth
        from docker.errors import DockerException

        registry, _ = auth.resolve_repository_name(reference.partition("@")[0])
        try:
            return dict(auth.resolve_authconfig(self._logins, registry) or {})
        except DockerException as error:
            raise RegistryError(
                f"docker's credential helper failed for {registry}: {_innermost(error)}",
                code="registry_credentials",
                hint="fix credsStore or credHelpers in ~/.docker/config.json, or docker login",
            ) from error

    @cached_property
    def _logins(self) -> Any:
        from docker import auth

        return auth.load_config()

    @translated
    def container(self, container_id: str) -> Json | None:
        """A container of this engine; None where another node has it."""
        from docker.errors import NotFound

        try:
            return dict(self.api.inspect_container(container_id))
        except NotFound:
            return None

    @translated
    def containers_named(self, prefix: str) -> list[str]:
        """Names of this engine's containers that begin so, of stopped ones too."""
        found = self.api.containers(all=True, filters={"name": f"^/?{prefix}"})
        return sorted(name.removeprefix("/") for c in found for name in c["Names"])

    @translated
    def running_containers(self) -> list[Json]:
        return list(self.api.containers())

    @translated
    def stats(self, container_id: str) -> Json:
        """The use of a container of this engine until now; empty where it is gone."""
        from docker.errors import NotFound

        try:
            return dict(self.api.stats(container_id, stream=False, one_shot=True))
        except NotFound:
            return {}

    @translated
    def execute(self, container_id: str, command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command in a container of this engine; its exit code, output and error output."""
        created = self.api.exec_create(container_id, list(command))
        stdout, stderr = self.api.exec_start(created["Id"], demux=True)
        code = int(self.api.exec_inspect(created["Id"])["ExitCode"])
        return (
            code,
            (stdout or b"").decode(errors="replace"),
            (stderr or b"").decode(errors="replace"),
        )

    @translated
    def task_output(self, task_id: str, *, tail: int, since: int | None = None) -> Output:
        """The last lines that a replica printed, on whichever node; `since` in seconds ago."""
        with self._logs(f"tasks/{task_id}", tail=tail, since=since, timeout=10) as response:
            frames = list(_frames(response.raw))
        return Output(
            [_log_entry(text) for source, text in frames if source != ENGINE],
            " ".join(text for source, text in frames if source == ENGINE),
        )

    @translated
    def service_output(
        self, service_id: str, *, tail: int | None, follow: bool = True
    ) -> Iterator[LogEntry]:
        """Lines of all replicas of a service as they come, after the last ones, or after all. Where
        a node has several replicas that printed much, the engine sends only some of the last ones,
        and without `follow` it never comes to an end: for those see `task_output`."""
        timeout = None if follow else TIMEOUT
        return _log_entries(
            self._logs(f"services/{service_id}", tail=tail, follow=follow, timeout=timeout)
        )

    def _logs(
        self,
        of: str,
        *,
        tail: int | None,
        timeout: float | None,
        since: int | None = None,
        follow: bool = False,
    ) -> Any:
        params = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            "details": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(tail),
            **({"since": str(int(time.time()) - since)} if since else {}),
        }
        url = f"{self.api.base_url}/v{self.api.api_version}/{of}/logs"
        response = self.api.get(url, params=params, stream=True, timeout=timeout)
        _raise_for_status(response)
        return response

    def _auth(self, reference: str) -> dict[str, str]:
        """The header by which a registry lets the engine in, and the nodes later."""
        from docker import auth

        login = self._login(reference)
        return {"X-Registry-Auth": auth.encode_header(login).decode()} if login else {}

    def _post(self, path: str, data: Json, headers: dict[str, str], **params: Any) -> Json:
        response = self.api.post(
            f"{self.api.base_url}/v{self.api.api_version}{path}",
            json=data,
            headers=headers,
            params=params,
            timeout=TIMEOUT,
        )
        _raise_for_status(response)
        return dict(response.json()) if response.content else {}


def _raise_for_status(response: Any) -> None:
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    try:
        response.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)


def image_of(spec: Json) -> str:
    """The image of a service's specification."""
    return str(spec["TaskTemplate"]["ContainerSpec"]["Image"])


def _no_image(reference: str, text: str) -> DeploytoolError:
    lowered = text.lower()
    registry = Reference(reference).host
    if busy := registry_failures.busy(registry, text):
        return busy
    if any(word in lowered for word in ("manifest unknown", "not found", "no such image")):
        return ImageError(
            f"The image {reference} does not exist: {text}",
            code="image_missing",
            hint="check the name and tag, or build and push it: deploytool build --push",
        )
    if any(word in lowered for word in DENIED):
        return RegistryError(
            f"The registry refuses to show {reference}: {text}",
            code="registry_denied",
            hint=f"docker login {registry}; if you are logged in, the image may not exist",
        )
    return registry_failures.no_connection(registry, text)


DENIED = (
    *("unauthorized", "denied", "authentication required", "no basic auth credentials"),
    *("insufficient_scope", "incorrect username or password"),
)
"""Messages of registries, and of the engine about them, for a login that is missing or wrong."""


def _frames(raw: Any) -> Iterator[tuple[int, str]]:
    """The lines of the engine's multiplexed stream, each with its source: that is the first of 8
    bytes of header, the length the last 4."""
    while header := _read_exactly(raw, 8):
        source, length = struct.unpack(">BxxxI", header)
        yield source, _read_exactly(raw, length).decode(errors="replace").rstrip("\n")


def _read_exactly(raw: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = raw.read(count - len(data))
        if not part:
            return b""
        data += part
    return data


def _log_entries(response: Any) -> Iterator[LogEntry]:
    with response, _translating():
        for source, text in _frames(response.raw):
            if source != ENGINE:
                yield _log_entry(text)


def _log_entry(line: str) -> LogEntry:
    """A line of the form "TIME key=value,key=value TEXT"."""
    at, _, rest = line.partition(" ")
    details, _, text = rest.partition(" ")
    found = dict(item.partition("=")[::2] for item in details.split(","))
    return LogEntry(
        task=found.get("com.docker.swarm.task.id", ""),
        node=found.get("com.docker.swarm.node.id", ""),
        at=at,
        text=text,
    )


def by_id(items: Sequence[Json]) -> dict[str, Json]:
    return {item["ID"]: item for item in items}
