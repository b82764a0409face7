"""What a configuration may say: [tool.deploytool] and its tables."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from deploytool.config.nomad import NomadSettings
from deploytool.image.reference import is_reference
from deploytool.spec import (
    LONGEST_NAME,
    RESERVED,
    Backend,
    EnvName,
    FileSource,
    Line,
    Model,
    Name,
    ProxySettings,
    ReleaseStep,
    Service,
)

FREE_KEYS = ("env", "args", "labels")
"""Tables whose keys are the user's own: their case is kept and they are never unknown."""


def _not_reserved(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"{value!r} is the name of deploytool's own app: choose another name")
    return value


def valid_registry(value: str) -> str:
    """Where images are pushed, as it is written. Raises ValueError."""
    bare = value.removesuffix("/")
    port = re.search(r":([0-9]+)(/|$)", bare)
    is_name = is_reference(f"{bare}/{'a' * LONGEST_NAME}") and bare == bare.lower()
    if not is_name or (port and not 0 < int(port[1]) < 2**16):
        raise ValueError(
            f"{value!r} is not a registry: write host[:port]/path in lower case, without https://"
        )
    return bare


BuildSecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
OWN_LABELS = ("deploytool.", "com.docker.stack.")
"""What labels begin with that say which app a service is of, and what it is there for."""


def _no_own_labels(services: dict[str, Service]) -> dict[str, Service]:
    for name, service in services.items():
        if own := [key for key in service.labels if key.lower().startswith(OWN_LABELS)]:
            raise ValueError(f"{name}.labels sets {own[0]}, which is deploytool's to set")
    return services


def _no_number_of_global(services: dict[str, Service]) -> dict[str, Service]:
    """Stored releases have every key, so that this is for configurations alone."""
    for name, service in services.items():
        if service.is_global and "replicas" in service.model_fields_set:
            raise ValueError(
                f'{name}.replicas and {name}.mode = "global" exclude one another, as one replica '
                "on each node is as many as there are nodes: leave replicas out, here and in what "
                "an environment inherits"
            )
    return services


class BuildSecret(Model):
    """Where a secret of the build comes from: a variable or a file."""

    env: EnvName | None = None
    """A variable of deploytool's own environment."""
    file: FileSource | None = None
    """A file of the project, best one that git ignores."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("has one of `env`, a variable's name, and `file`, a path")
        return self


class BuildSettings(Model):
    """How the image is built."""

    dockerfile: Line = "Dockerfile"
    """The Dockerfile, relative to the project."""
    context: Line = "."
    """The folder that is sent to the builder, relative to the project."""
    platforms: tuple[Line, ...] = ()
    """Platforms to build for, for example "linux/amd64"; by default the builder's own."""
    args: dict[Line, str] = Field(default_factory=dict)
    """Build arguments. Never secrets: they stay in the image's history."""
    secrets: dict[BuildSecretName, BuildSecret] = Field(default_factory=dict)
    """What RUN --mount=type=secret,id=NAME reads at /run/secrets/NAME: { env = "A" }, a variable
    where deploytool runs, or { file = "a" }, a file of the project. Needs BuildKit."""
    target: Line | None = None
    """Stage of the Dockerfile; by default the last."""


class SwarmSettings(Model):
    """Where the Swarm is; by default where the docker command line would look."""

    host: Line | None = None
    """A manager's engine, for example "ssh://deploy@manager.example.com". "tcp://" needs TLS, by
    DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as for the docker command line."""
    context: Line | None = None
    """A context of the docker command line."""


_ENTRYPOINT = r"^[^\s:](?:[^:\x00-\x1f]*[^\s:])?:[A-Za-z_][\w.]*(\(\))?$"
"""Python imports modules whose names cannot be written in its own code too, such as "my-api"."""


class Config(Model):
    """Everything that can be written under [tool.deploytool]."""

    app: Annotated[Name, AfterValidator(_not_reserved)]
    """Names the stack or job. "proxy" is deploytool's own."""
    backend: Backend = Backend.SWARM
    """The cluster: "swarm" or "nomad"."""
    registry: Annotated[Line, AfterValidator(valid_registry)] = "localhost:5000"
    """Where images are pushed; the app's name is appended."""
    entrypoint: Annotated[str, Field(pattern=_ENTRYPOINT)] | None = None
    """module:object of the FastAPI app, or module:function() where a function makes it; default:
    [tool.fastapi] entrypoint, else the source."""
    build: BuildSettings = BuildSettings()
    release: ReleaseStep | None = None
    services: Annotated[
        dict[str, Service],
        Field(min_length=1),
        AfterValidator(_no_own_labels),
        AfterValidator(_no_number_of_global),
    ]
    """The app's processes, by name."""
    swarm: SwarmSettings = SwarmSettings()
    nomad: NomadSettings = NomadSettings()
    proxy: ProxySettings = ProxySettings()
    environments: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """What is different in an environment: any of the keys above, chosen with --env."""


def with_names(table: dict[str, Any]) -> dict[str, Any]:
    """The table with the name of each service in it. A name that a user wrote stays an error."""
    services = table.get("services")
    if not isinstance(services, dict):
        return table
    named = {
        name: service | {"name": name} if isinstance(service, dict) else service
        for name, service in services.items()
    }
    return table | {"services": named}
