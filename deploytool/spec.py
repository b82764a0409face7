"""The one vocabulary: what an app is, independent of where its description came from.

Everything is frozen, validated and complete: defaults are filled in here and nowhere else, so that
a rendered file can write each of them out. Memory is in bytes, durations in milliseconds.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)

from deploytool.image.reference import WRITTEN, is_reference
from deploytool.records.formats import FORMAT, upgraded
from deploytool.units import Duration, Memory

KEEP_ALIVE = 60
"""Seconds that Uvicorn keeps an idle connection. The proxy closes it long before: it has to be the
one that does, however far behind it is, as a POST on a connection that is being closed is lost."""
TMP = 64 * 2**20
"""Bytes of /tmp where neither its size nor the replica's memory is limited."""
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
LONGEST_NAME = 40
LONGEST_HOSTNAME = 63
RESERVED = frozenset({"proxy"})
"""Names of deploytool's own apps. No project may call its app so: it would replace them."""
HOST_GATEWAY = "host-gateway"
"""The address of a replica's own node, as the engine calls it."""
_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)
_DOMAIN = re.compile(
    r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
)


def cluster_name(value: str) -> str:
    """A name as it is. Raises ValueError where it cannot name anything on a cluster."""
    if not re.fullmatch(NAME_PATTERN, value) or len(value) > LONGEST_NAME:
        raise ValueError(
            f"{value!r} cannot name anything on a cluster: use up to {LONGEST_NAME} lower-case "
            "letters, digits and hyphens, with a letter or digit at both ends"
        )
    return value


def _image_name(value: str) -> str:
    if not is_reference(value):
        raise ValueError(f"{value!r} is not the name of an image: {WRITTEN}")
    return value


def _domain(value: str) -> str:
    if not value.isascii() and (ascii_form := _punycode(value)):
        raise ValueError(f'{value!r} has to be written as "{ascii_form}", its form in ASCII')
    if not _DOMAIN.fullmatch(value.lower()) or len(value) > 253:
        raise ValueError(f"{value!r} is not a domain name: write it bare, like api.example.com")
    return value.lower()


def _punycode(value: str) -> str:
    """An international domain as name servers know it; empty where it is none."""
    import idna

    try:
        found = idna.encode(value.removeprefix("*."), uts46=True).decode()
    except idna.IDNAError:
        return ""
    star = "*." if value.startswith("*.") else ""
    return f"{star}{found}" if _DOMAIN.fullmatch(found) else ""


def valid_secret_name(value: str) -> str:
    """The name of a secret as it is. Raises ValueError, which does not repeat it."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}", value):
        # Not repeated: it may well be the secret itself.
        raise ValueError("cannot name a secret: use up to 40 letters, digits and underscores")
    return value


def _file_target(value: str) -> str:
    if not re.fullmatch(r"(/[^/:\x00-\x1f\x7f]+)+", value) or {".", ".."} & set(value.split("/")):
        raise ValueError(f"{value!r} is no path of a file in the container, like /code/config.yml")
    return value


def _file_source(value: str) -> str:
    if value.startswith("/") or value.endswith("/"):
        raise ValueError(f"{value!r} is no file of the project: write its path from there")
    return value


def _env_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable")
    return value


def _env_value(value: object) -> object:
    """TOML's numbers and booleans are what people write for variables; they become text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return value


def _no_control_characters(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"{value!r} contains a control character")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be passed to a process")
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value) or len(value) > 253:
        raise ValueError(f"{value!r} is not the name of a host: use letters, digits, hyphens, dots")
    return value


def _address(value: str) -> str:
    """Where a name leads; the engine knows one of them by a name of its own."""
    try:
        return value if value == HOST_GATEWAY else str(ip_address(value))
    except ValueError:
        raise ValueError(f'{value!r} is neither an IP address nor "{HOST_GATEWAY}"') from None


def _ulimit(value: object) -> object:
    """A number is both of a limit's values."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value}:{value}" if is_number else value


def _soft_and_hard(value: str) -> str:
    soft, _, hard = value.partition(":")
    hard = hard or soft
    if int(hard) != -1 and not -1 < int(soft) <= int(hard):
        raise ValueError(f"{value!r} has a soft limit above the hard one: write SOFT:HARD")
    return f"{int(soft)}:{int(hard)}"


Name = Annotated[str, AfterValidator(cluster_name)]
Domain = Annotated[str, AfterValidator(_domain)]
SecretName = Annotated[str, AfterValidator(valid_secret_name)]
EnvName = Annotated[str, AfterValidator(_env_name)]
EnvValue = Annotated[str, BeforeValidator(_env_value), AfterValidator(_no_nul)]
Line = Annotated[str, Field(min_length=1), AfterValidator(_no_control_characters)]
ImageName = Annotated[Line, AfterValidator(_image_name)]
Argument = Annotated[str, AfterValidator(_no_nul)]
Template = Annotated[str, Field(pattern=r"^(volumes|hostname|env\.[A-Za-z_][A-Za-z0-9_]*)$")]
FileTarget = Annotated[Line, AfterValidator(_file_target)]
FileSource = Annotated[Line, AfterValidator(_file_source)]
Folder = Annotated[Line, Field(pattern=r"^/[^:]*[^:/]$")]
Host = Annotated[Line, AfterValidator(_host)]
Address = Annotated[str, AfterValidator(_address)]
UlimitName = Literal[
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
    "rss", "rtprio", "rttime", "sigpending", "stack",
]  # fmt: skip
ULIMIT = r"^(-1|[0-9]{1,18})(:(-1|[0-9]{1,18}))?$"
Ulimit = Annotated[
    str,
    Field(pattern=ULIMIT),
    AfterValidator(_soft_and_hard),
    BeforeValidator(_ulimit),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": -1}, {"type": "string", "pattern": ULIMIT}]}
    ),
]
Constraint = Annotated[str, Field(pattern=r"^[^=!]+(==|!=)[^=!]+$")]
Namespace = Annotated[Line, Field(pattern=r"^[a-zA-Z0-9-]{1,128}$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Count = Annotated[int, Field(ge=0, le=10_000, strict=True)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Pids = Annotated[int, Field(ge=0, le=100_000, strict=True)]
Cores = Annotated[float, Field(gt=0, le=1024)]


class Backend(StrEnum):
    SWARM = "swarm"
    NOMAD = "nomad"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthCheck(Model):
    """What the cluster runs inside each replica to see whether it works."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] | None = None
    """Path of an HTTP request, for example "/health"; an answer of 2xx or 3xx is healthy."""
    command: tuple[Argument, ...] = ()
    """A command instead of a request; it is healthy when it exits with 0."""
    interval: Duration | None = None
    """Time between two checks of a replica that is up. Default: 10s on a Swarm, where each check
    starts a process in the replica, and 5s on Nomad."""
    timeout: Duration = 3_000
    """A check that takes longer has failed."""
    retries: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    """This many failures in a row make a replica unhealthy, and the cluster replaces it. Default: 2
    on a Swarm, 3 on Nomad."""
    start_period: Duration = 20_000
    """Failures in this time after the start do not count: set it to what a start may take."""
    start_interval: Duration = 500
    """Time between two checks during `start_period`. Engines before Docker 25 do not know it, and
    check all replicas every 3s unless `interval` is set."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (not self.command):
            raise ValueError("a health check has either a path or a command")
        return self


def _kind_of_check(value: object) -> str:
    return "[none]" if value is False else "[table]"


Check = Annotated[
    Annotated[HealthCheck, Tag("[table]")] | Annotated[Literal[False], Tag("[none]")],
    Discriminator(_kind_of_check),
]
"""false is no check, not even the image's own."""


class Restart(Model):
    """What the cluster does when a replica's process ends."""

    condition: Literal["any", "on-failure", "none"] = "any"
    """"any" restarts always, "on-failure" only after a failure, "none" never."""
    delay: Duration = 5_000
    """Time before a replacement starts."""
    max_attempts: Count = 0
    """Give up after this many restarts within `window`; 0 never gives up."""
    window: Duration = 0
    """Time over which `max_attempts` counts; 0 is for ever."""


Order = Literal["start-first", "stop-first", "blue-green"]


class Update(Model):
    """How the replicas of a running service are replaced by those of the next release."""

    parallelism: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """Replicas replaced at the same time."""
    order: Order = "start-first"
    """Whether new replicas run before old ones are stopped: "start-first" of as many as
    `parallelism` says, "blue-green" of all, on Nomad only."""
    delay: Duration = 0
    """Time between two batches."""
    monitor: Duration = 5_000
    """A replica that fails within this time after it started has failed the update."""
    on_failure: Literal["rollback", "pause"] = "rollback"
    """Roll back to the previous release, or stop there, so that it can be examined."""
    max_failure_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of failed replicas that an update may have and go on."""


class Placement(Model):
    """Where replicas may run."""

    constraints: tuple[Constraint, ...] = ()
    """Expressions a node has to meet, for example "node.labels.disk == ssd"."""
    spread: tuple[Line, ...] = ()
    """Attributes over whose values replicas are spread evenly, for example "node.labels.zone"."""
    max_per_node: Count = 0
    """At most this many replicas on one node; 0 is no limit."""


class Publish(Model):
    """A port of the node that leads to the service without the proxy."""

    port: Port
    """Port on the node."""
    target: Port | None = None
    """Port of the process; by default the service's `port`."""
    mode: Literal["host", "ingress"] = "ingress"
    """"host": on the nodes that run a replica; "ingress": on every node, balanced."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """Protocol of the port."""


ROTATED = frozenset({"json-file", "local"})
"""Log drivers that keep files, of which `max_size` and `max_files` say how large and how many."""


class Logging(Model):
    """Where a replica's output goes, and how much of it its node keeps."""

    driver: Annotated[Line, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")] = "json-file"
    """Log driver of the engine, for example "local", "journald", "syslog", "gelf" or "fluentd"."""
    options: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")], EnvValue] = Field(
        default_factory=dict
    )
    """The driver's own options, for example { tag = "{{.Name}}" }. Never secrets."""
    max_size: Memory = 10 * 2**20
    """Size at which a log file is rotated."""
    max_files: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Rotated files kept per replica; like `max_size`, of "json-file" and "local" alone."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for option, key in (("max-size", "max_size"), ("max-file", "max_files")):
            if self.driver in ROTATED and option in self.options:
                raise ValueError(f'options sets "{option}", which is {key}')
            default = type(self).model_fields[key].default
            if self.driver not in ROTATED and getattr(self, key) != default:
                raise ValueError(f"{key} means nothing to {self.driver}: use its own options")
        return self


class Volume(Model):
    """Something mounted into each replica: a named volume or a path of the node."""

    source: Annotated[Line, Field(pattern=r"^(/[^:]*|[a-zA-Z0-9][a-zA-Z0-9_.-]*)$")]
    target: Annotated[Line, Field(pattern=r"^/[^:]*$")]
    read_only: bool = False

    @property
    def is_bind(self) -> bool:
        return self.source.startswith("/")

    def __str__(self) -> str:
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


def _read_volume(value: object) -> object:
    """ "data:/data" or "/host/path:/path:ro", as people write it everywhere else."""
    if not isinstance(value, str):
        return value
    parts = value.split(":")
    known_mode = len(parts) == 2 or (len(parts) == 3 and parts[2] in ("ro", "rw"))
    source_ok = parts[0].startswith("/") or re.match(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", parts[0])
    if not known_mode or not source_ok or not parts[1].startswith("/"):
        raise ValueError(f'write a volume as "name:/path" or "/on/node:/path:ro", not {value!r}')
    return {"source": parts[0], "target": parts[1], "read_only": parts[-1] == "ro"}


VolumeText = Annotated[
    Volume,
    BeforeValidator(_read_volume),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["data:/data"]}),
]


def _kind_of_capabilities(value: object) -> str:
    return "[text]" if isinstance(value, str) else "[list]"


Capability = Annotated[str, Field(pattern=r"^[A-Z_]+$")]
Capabilities = Annotated[
    Annotated[tuple[Capability, ...], Tag("[list]")] | Annotated[Literal["default"], Tag("[text]")],
    Discriminator(_kind_of_capabilities),
]
"""The tags are in brackets like pydantic's own [key]: they are no part of a key's path."""


def _read_publish(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _read_env_file(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Service(Model):
    """One kind of process of an app and everything the cluster has to know to run it."""

    name: Name
    """The name it has under [services]."""
    image: ImageName | None = None
    """A ready image, for a service that is not built from the project, for example "redis:8"."""
    mode: Literal["replicated", "global"] = "replicated"
    """"replicated" runs as many as `replicas` says, "global" one on each node that
    `placement.constraints` allow, those that join later too; on a Swarm only."""
    replicas: Count = 1
    """How many of it run, one process each; "global" goes without."""
    port: Port | None = None
    """The port that the process listens on; none for a background worker."""
    command: tuple[Argument, ...] | None = None
    """The process. Default: one Uvicorn process for the entrypoint; [] is the image's own."""
    prestart: tuple[Argument, ...] = ()
    """A command that each replica runs before its process, for steps that may run many times."""
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    """Environment variables. Never secrets: those are `secrets`."""
    templates: tuple[Template, ...] = ()
    """What the cluster fills in for each replica instead of passing it on as it is written, on a
    Swarm for example {{.Node.Hostname}}: "env.NAME" for a variable, "volumes" for the paths of
    volumes, "hostname"."""
    env_file: Annotated[tuple[FileSource, ...], BeforeValidator(_read_env_file)] = ()
    """Files of the project with more variables, one NAME=value a line, for example ["prod.env"]; of
    equal names, those of later files count, and those in `env` before all. Never secrets."""
    secrets: tuple[SecretName, ...] = ()
    """Secrets of the cluster, each a file /run/secrets/NAME."""
    files: dict[FileTarget, FileSource] = Field(default_factory=dict)
    """Configuration files: path in the container = path in the project. Never secrets."""
    memory: Memory | None = None
    """Memory reserved for each replica: what the cluster schedules by."""
    memory_limit: Memory | None = None
    """A replica that uses more is killed."""
    cpu: Cores | None = None
    """Cores reserved for each replica."""
    cpu_limit: Cores | None = None
    """Cores a replica can use at most."""
    pids: Pids = 1024
    """Processes and threads that a replica can have at most; 0 is no limit."""
    domains: tuple[Domain, ...] | None = None
    """Names at which the proxy serves it; [] keeps it off the proxy. By default APP.localhost,
    where no service of the app has domains."""
    path_prefix: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./~-]*$")] = "/"
    """The part of the domains' paths that is this service's."""
    publish: Annotated[tuple[Publish, ...], BeforeValidator(_read_publish)] = ()
    """Ports of the nodes, instead of or beside the proxy."""
    drain: Duration = 5_000
    """Keep serving this long after the proxy was notified to stop sending. Where the command is the
    image's own, it is the engine's own 2 s."""
    stop_grace: Duration = 30_000
    """Time from the request to stop until the process is killed."""
    volumes: tuple[VolumeText, ...] = ()
    """What is mounted, as "name:/path"."""
    read_only: bool = True
    """Whether the image's own files are read-only; /tmp is always writable."""
    tmp_size: Memory | None = None
    """Size of the /tmp in memory that goes with `read_only`: by default `memory_limit`, and without
    one 64MiB; "0B" is no limit."""
    tmpfs: dict[Folder, Memory] = Field(default_factory=dict)
    """Further folders in memory, path = size, "0B" for no limit: { "/dev/shm" = "256MiB" } is what
    `shm_size` is elsewhere. What is in them counts towards `memory_limit`."""
    ulimits: dict[UlimitName, Ulimit] = Field(default_factory=dict)
    """Limits of the process, a number or "SOFT:HARD", -1 for none: { nofile = 65536 }. By default
    the engine's."""
    hostname: Line | None = None
    """What the replica itself is called; by default the container's id."""
    extra_hosts: dict[Host, Address] = Field(default_factory=dict)
    """Names that replicas know beside those of DNS, name = address: { "db.internal" = "10.0.0.5" };
    "host-gateway" is their node."""
    init: bool | None = None
    """Whether an init process starts the command: it passes signals on and reaps what children
    leave behind. true insists on it; by default there is one unless a node has no docker-init."""
    user: Line | None = None
    """User that the process runs as; by default the image's."""
    capabilities: Capabilities = ()
    """Linux capabilities that the process keeps; all others are dropped. "default" are those that
    the engine gives every container."""
    labels: dict[Line, str] = Field(default_factory=dict)
    """Labels of the service on the cluster, for example for the proxy's middlewares; none that
    begins with "deploytool." or "com.docker.stack.", which are deploytool's."""
    networks: tuple[Line, ...] = ()
    """Further networks of the cluster, which must exist."""
    depends_on: tuple[Name, ...] = ()
    """Services of the app that a deploy has to be done with before it changes this one."""
    healthcheck: Check | None = None
    """How the cluster sees whether a replica works. Without it, a Swarm runs the HEALTHCHECK of the
    image, if it has one; false runs none."""
    restart: Restart = Restart()
    update: Update = Update()
    placement: Placement = Placement()
    logging: Logging = Logging()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for reserved, limit, what in (
            (self.memory, self.memory_limit, "memory"),
            (self.cpu, self.cpu_limit, "cpu"),
        ):
            if reserved is not None and limit is not None and reserved > limit:
                raise ValueError(f"{what} reserves more than {what}_limit allows")
        if self.port is None:
            needs_port = {
                "domains": self.domains,
                "healthcheck.path": self.check and self.check.path,
            }
            for key, value in needs_port.items():
                if value:
                    raise ValueError(f"{key} needs a port: set the one the process listens on")
            if any(publish.target is None for publish in self.publish):
                raise ValueError("publish needs a target, or a port of the service")
        for name in (t.removeprefix("env.") for t in self.templates if t.startswith("env.")):
            if name not in self.env:
                raise ValueError(f"templates names env.{name}, and env has no {name}")
        if self.drain >= self.stop_grace and self.stop_grace:
            raise ValueError("drain must be shorter than stop_grace, which includes it")
        targets = [volume.target for volume in self.volumes]
        if len(set(targets)) != len(targets):
            raise ValueError("two volumes are mounted at the same path")
        if taken := sorted(self.files.keys() & set(targets)):
            raise ValueError(f"a file and a volume are mounted at the same path, {taken[0]}")
        if taken := sorted(self.tmpfs.keys() & {*targets, *self.files}):
            raise ValueError(f"tmpfs and something else are mounted at the same path, {taken[0]}")
        if "/tmp" in self.tmpfs and self.tmp_size is not None:
            raise ValueError("tmpfs has /tmp, whose size tmp_size sets too: use one of them")
        self._check_hostname()
        for key in ("spread", "max_per_node") if self.is_global else ():
            if getattr(self.placement, key):
                raise ValueError(
                    f'placement.{key} means nothing with mode = "global", which is one replica on '
                    "each node: placement.constraints say on which nodes"
                )
        holds_port = any(publish.mode == "host" for publish in self.publish)
        if holds_port and self.update.order != "stop-first":
            if "order" in self.update.model_fields_set:
                raise ValueError(
                    'a port published in mode "host" can be held by one replica at a time: '
                    'update.order has to be "stop-first"'
                )
            self.__dict__["update"] = self.update.model_copy(update={"order": "stop-first"})
        return self

    def _check_hostname(self) -> None:
        name = self.hostname
        if name is None or "hostname" in self.templates:
            return
        if not _HOST.fullmatch(name) or len(name) > LONGEST_HOSTNAME:
            raise ValueError(
                f"hostname is no name: use up to {LONGEST_HOSTNAME} letters, digits, hyphens and "
                'dots; what the cluster fills in needs templates = ["hostname"]'
            )

    @property
    def is_global(self) -> bool:
        """Whether one replica runs on each node, however many those are; `replicas` says nothing
        then."""
        return self.mode == "global"

    @property
    def runs_several(self) -> bool:
        """Whether more than one replica may run at the same time."""
        return self.is_global or self.replicas > 1

    @property
    def has_tmp(self) -> bool:
        """Whether /tmp is made writable: where the rest is not, unless it is already mounted."""
        mounted = {*self.tmpfs, *(volume.target for volume in self.volumes)}
        return self.read_only and "/tmp" not in mounted

    @property
    def in_memory(self) -> list[tuple[str, int]]:
        """Its folders in memory, by path, and the bytes of each at most; 0 is no limit."""
        tmp = {"/tmp": self.tmp_limit} if self.has_tmp else {}
        return sorted((self.tmpfs | tmp).items())

    @property
    def tmp_limit(self) -> int:
        """Bytes of that /tmp at most; 0 is no limit."""
        return self.tmp_size if self.tmp_size is not None else self.memory_limit or TMP

    @property
    def check(self) -> HealthCheck | None:
        """Its own check, where it has one."""
        return self.healthcheck or None

    @property
    def names(self) -> tuple[Domain, ...]:
        """Its domains, where there are any."""
        return self.domains or ()

    @property
    def update_order(self) -> Order:
        """`update.order`; stop-first by default where the old replica holds a port of its node,
        and written so, as a release that is read back has to be the one that was stored."""
        return self.update.order

    @property
    def surge(self) -> int:
        """Replicas that run during an update on top of those that run otherwise."""
        if self.update_order == "stop-first":
            return 0
        if self.update_order == "blue-green":
            return self.replicas
        if self.is_global:
            return self.update.parallelism
        return min(self.update.parallelism, self.replicas)


class ReleaseStep(Model):
    """What runs once per release, in its own container, before any replica changes."""

    command: Annotated[tuple[Argument, ...], Field(min_length=1)]
    """The command, for example ["alembic", "upgrade", "head"]."""
    timeout: Duration = 600_000
    """A step that takes longer has failed."""
    service: Name | None = None
    """The service whose environment, secrets and networks it gets; by default the first with a
    port."""


class ProxySettings(Model):
    """The load balancer that all apps of a cluster share."""

    network: Line = "deploytool-proxy"
    """The network that the proxy and the services it serves are on."""
    subnet: Annotated[str, AfterValidator(lambda v: str(_subnet(v)))] = "10.253.0.0/20"
    """The addresses of that network: the only ones whose forwarded headers an app trusts."""
    encrypted: bool = False
    """Encrypt what goes between nodes on the networks that deploytool makes: the one of the proxy,
    and each app's own. Nodes need IP protocol 50 (ESP) open to one another; a Swarm's only."""
    http_port: Port = 80
    """Port of the proxy for HTTP on its node."""
    https_port: Port = 443
    """Port of the proxy for HTTPS on its node, opened where there are certificates."""
    email: Annotated[Line, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    """Address that the certificate authority may write to; with it, `domains` get certificates
    of the authority, and HTTPS."""
    acme_directory: Annotated[Line, Field(pattern=r"^https://")] = (
        "https://acme-v02.api.letsencrypt.org/directory"
    )
    """Directory of the certificate authority."""
    acme_ca: SecretName | None = None
    """Secret of the proxy with the certificate, in PEM, of the authority that vouches for the
    directory itself; for private ones."""
    acme_profile: Line | None = None
    """Kind of certificate to ask for where the authority offers several, for example
    "shortlived"."""
    certificate_lifetime: Duration = 90 * 86_400_000
    """How long the authority's certificates are valid, which decides when they are renewed:
    set it where that is not 90 days."""
    dns_provider: Annotated[Line, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    """Prove domains by DNS records instead of HTTP: lego's name of whoever serves your zones, for
    example "cloudflare". Wildcards need it."""
    dns_secrets: tuple[EnvName, ...] = ()
    """The provider's credentials: secrets of the proxy, each named as the provider's variable,
    which becomes NAME_FILE=/run/secrets/NAME."""
    dns_resolvers: tuple[Annotated[Line, Field(pattern=r"^[^\s,]+:[0-9]+$")], ...] = ()
    """Name servers, as "address:port", that find your zones; by default the container's."""
    dns_check: bool = True
    """Whether the zone's own name servers are asked for the record before the authority is;
    turn it off where the proxy cannot reach them."""
    certificates: tuple[SecretName, ...] = ()
    """Certificates of your own: secrets of the proxy, each the certificate, those between it and
    the authority, and the key, in PEM."""
    hsts: Duration | None = None
    """Make browsers use nothing but HTTPS for this long, for example "365d"; "0s" revokes it."""
    trusted_proxies: tuple[Annotated[str, AfterValidator(lambda v: str(_network(v)))], ...] = ()
    """Addresses of load balancers in front of the proxy, for example "192.0.2.0/24": the only ones
    whose forwarded headers the proxy believes."""
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    """Environment variables of the proxy, for example a DNS provider's settings. Never secrets:
    those are `dns_secrets`."""
    read_timeout: Duration = 3_600_000
    """A request, with its body, that takes longer to arrive is cut off, such as an upload; "0s" is
    no limit."""
    access_log: bool = True
    """Log each request as a line of JSON, without headers and queries, which may hold secrets.
    Traefik 3.7 or newer."""
    image: ImageName = "traefik:v3.7"
    """Traefik 3.6.1 or newer."""
    socket_proxy_image: ImageName = "haproxy:3.0-alpine"
    """HAProxy, which on a Swarm keeps Traefik from the engine's socket: it passes on the questions
    that Traefik asks, and nothing else."""
    constraints: tuple[Constraint, ...] = ()
    """Nodes that run the proxy, as in `placement.constraints`. By default a manager of a Swarm,
    and every node of Nomad's data centres."""
    namespaces: tuple[Namespace, ...] = ()
    """Nomad's namespaces whose apps the proxy serves, beside the one that it is in."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.http_port == self.https_port:
            raise ValueError("http_port and https_port cannot be the same")
        if self.certificate_lifetime < 3_600_000:
            raise ValueError("certificate_lifetime has to be at least 1h")
        for key in ("acme_ca", "acme_profile", "dns_provider"):
            if getattr(self, key) and self.email is None:
                raise ValueError(f"{key} means nothing without email, which turns HTTPS on")
        for key in ("dns_secrets", "dns_resolvers"):
            if getattr(self, key) and self.dns_provider is None:
                raise ValueError(f"{key} means nothing without dns_provider")
        return self

    @property
    def https(self) -> bool:
        """Whether the proxy serves HTTPS at all."""
        return self.email is not None or bool(self.certificates)


def _subnet(value: str) -> IPv4Network:
    try:
        return IPv4Network(value)
    except ValueError:
        raise ValueError(f'{value!r} is not a network: write it like "10.253.0.0/20"') from None


def _network(value: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(f'{value!r} is not a network: write it like "192.0.2.0/24"') from None


class AppSpec(Model):
    """One app in one environment, complete."""

    name: Name
    backend: Backend = Backend.SWARM
    environment: str | None = None
    image: Line
    """Repository of the app's own image, without tag, for example registry.example.com/items."""
    entrypoint: Line | None = None
    """module:object of the FastAPI app, or module:function() for one that a function makes."""
    services: tuple[Service, ...]
    release: ReleaseStep | None = None
    proxy: ProxySettings = ProxySettings()
    files: dict[FileSource, Sha256] = Field(default_factory=dict)
    """The configuration files of its services: path in the project → SHA-256 of the content, in
    hexadecimal. The content itself travels beside."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if unread := {path for s in self.services for path in s.files.values()} - self.files.keys():
            raise ValueError(f"nothing is known of the file {min(unread)}")
        if self.release is not None:
            self._check_step(self.release)
        published = [(p.protocol, p.port) for s in self.services for p in s.publish]
        if twice := [port for _, port in published if published.count((_, port)) > 1]:
            raise ValueError(f"port {twice[0]} is published twice")
        self._check_order()
        for service in self.services:
            if service.update.order == "blue-green" and self.backend is Backend.SWARM:
                raise ValueError(
                    f'services.{service.name}.update.order: "blue-green" is for Nomad; on a Swarm, '
                    '"start-first" with parallelism = replicas does the same'
                )
            if needs_entrypoint(service) and self.entrypoint is None:
                raise ValueError(
                    f"services.{service.name} has neither a command nor a FastAPI app to run: "
                    'set entrypoint = "module:app" or its command'
                )
            if service.prestart and not self.command(service):
                raise ValueError(
                    f"services.{service.name}.prestart runs before a command that is known here: "
                    "set its command too"
                )
        return self

    def _check_step(self, step: ReleaseStep) -> None:
        names = [service.name for service in self.services]
        if step.service is not None and step.service not in names:
            raise ValueError(f"release.service names no service: there are {', '.join(names)}")
        if not self.step_service:
            raise ValueError("release needs a service of the app's own image: set release.service")

    def _check_order(self) -> None:
        names = {service.name for service in self.services}
        for service in self.services:
            if unknown := sorted(set(service.depends_on) - names):
                raise ValueError(
                    f"services.{service.name}.depends_on names {unknown[0]}, which is no service: "
                    f"there are {', '.join(sorted(names))}"
                )
        try:
            self.order().prepare()
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise ValueError(f"depends_on goes round in a circle: {circle}") from None

    def order(self) -> TopologicalSorter[str]:
        """The services by `depends_on`: none is ready before those that it depends on are done."""
        return TopologicalSorter({service.name: service.depends_on for service in self.services})

    def hosts(self, service: Service) -> tuple[str, ...]:
        """The names at which the proxy serves a service."""
        if service.domains is None:
            return self.default_hosts.get(service.name, ())
        return service.domains

    def is_https(self, service: Service) -> bool:
        """Whether the proxy serves a service by HTTPS, and HTTP only leads there. Nobody
        certifies the names that are there for trying, APP.localhost."""
        return bool(service.domains) and self.proxy.https

    @cached_property
    def served(self) -> tuple[str, ...]:
        """The services that the proxy serves."""
        return tuple(service.name for service in self.services if self.hosts(service))

    @cached_property
    def default_hosts(self) -> dict[str, tuple[str, ...]]:
        """Service → its name at the proxy in an app without any domain: APP.localhost, which is
        enough to try it. A service that is kept off the proxy has none."""
        if any(service.domains for service in self.services):
            return {}
        unnamed = [s for s in self.services if s.domains is None]
        mains = [s for s in unnamed if s.image is None and s.port and not s.publish]
        bare = ("web", mains[0].name) if len(mains) == 1 else ("web",)
        return {
            s.name: (f"{'' if s.name in bare else f'{s.name}.'}{self.name}.localhost",)
            for s in mains
        }

    @property
    def step_service(self) -> str:
        """The service that a release step borrows from; empty where none is of the app's image."""
        if self.release is not None and self.release.service:
            return self.release.service
        own = [s for s in self.services if s.image is None]
        with_port = [s.name for s in own if s.port is not None]
        return next(iter((*with_port, *(s.name for s in own))), "")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that works out anew what is kept with the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("default_hosts", None)
        return copied

    def command(self, service: Service) -> tuple[str, ...]:
        """The process of a replica; empty where it is the image's own."""
        if not needs_entrypoint(service):
            return service.command or ()
        graceful = max(1, (service.stop_grace - service.drain) // 1000 - 5)
        root_path = service.path_prefix.rstrip("/")
        return (
            *uvicorn_app(self.entrypoint or ""),
            *("--host", "0.0.0.0", "--port", str(service.port), "--proxy-headers"),
            *("--timeout-keep-alive", str(KEEP_ALIVE)),
            *("--timeout-graceful-shutdown", str(graceful)),
            *(("--root-path", root_path) if root_path else ()),
        )


def uvicorn_app(entrypoint: str) -> tuple[str, ...]:
    """Uvicorn's arguments for an app: `module:function()` is a function that makes it."""
    if entrypoint.endswith("()"):
        return "uvicorn", "--factory", entrypoint.removesuffix("()")
    return "uvicorn", entrypoint


def needs_entrypoint(service: Service) -> bool:
    """Whether the default command is meant: an HTTP service of the app's own image."""
    return service.command is None and service.image is None and service.port is not None


UNBUILT = " (not built yet)"
"""Ends the reference of an image that a plan speaks of before there is one."""


class Image(Model):
    """An image that a cluster can pull."""

    reference: str
    """repository@digest: what runs."""
    tag: str
    """repository:tag: what people know it by."""
    platforms: tuple[tuple[str, str], ...] = ()
    """(architecture, operating system) of each of its variants; empty where unknown."""

    @property
    def digest(self) -> str:
        """Empty for one that runs by its tag."""
        return self.reference.partition("@")[2]

    @property
    def is_local(self) -> bool:
        """Whether it runs by its tag, as no registry has it."""
        return not self.digest and not self.reference.endswith(UNBUILT)

    def is_known_as(self, reference: str) -> bool:
        """Whether it is one digest, and was had by that reference."""
        tag, _, digest = reference.partition("@")
        if digest:
            same = repository_of(tag) == repository_of(self.reference)
            return same and digest == self.digest
        return bool(self.digest) and tagged(tag) == tagged(self.tag)


def repository_of(reference: str) -> str:
    """An image's name without tag and digest."""
    bare = reference.partition("@")[0]
    return bare.rpartition(":")[0] if ":" in bare.rpartition("/")[2] else bare


def tagged(reference: str) -> str:
    """The same reference with the tag that docker takes where there is none."""
    has_one = "@" in reference or repository_of(reference) != reference
    return reference if has_one else f"{reference}:latest"


def _with_zone(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_with_zone)]
"""A moment that can be compared with any other: UTC where nobody said which zone."""


class Release(Model):
    """An app at one point of its history: what ran, with which images, who wanted it and when."""

    format: int = FORMAT
    number: int
    spec: AppSpec
    images: dict[str, Image]
    """Service name → its image."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Secret → the name of the version that the cluster has of it, which its replicas read."""
    commit: str | None = None
    by: str
    at: Moment
    note: str = ""
    """What made it, when not a deploy: "rollback to v3", "scale web=6"."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier(cls, data: Any) -> Any:
        """A release that is read back means what it meant when it was written down."""
        return upgraded(data) if isinstance(data, dict) else data

    @property
    def id(self) -> str:
        return f"v{self.number}"

    def runs_the_same(self, other: "Release") -> bool:
        """Whether both are the same thing to run, whoever wanted it and when."""
        return (self.spec, self.images, self.secrets) == (other.spec, other.images, other.secrets)


def release_number(release: str) -> int:
    """The number in a release's id; 0 where it is none."""
    number = release.removeprefix("v")
    return int(number) if number.isdecimal() else 0
