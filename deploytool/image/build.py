"""Builds the image of a project and pushes it: one call of `docker buildx build` does both.

The same tree gives the same digest as long as the builder has its cache: labels speak of the
commit, never of now. So a deploy that changes nothing has nothing to roll out. SOURCE_DATE_EPOCH
would add nothing: without the cache, layers have other times inside, with it or without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import tomli

from deploytool.errors import ImageError, Interrupted
from deploytool.image import WRITTEN_BY_INIT
from deploytool.image.failures import (
    build_failure,
    docker_missing,
    engine_failure,
    image_missing,
    push_failure,
)
from deploytool.image.git import Source, read_source
from deploytool.image.progress import (
    BuilderLog,
    BuildKitLog,
    Failure,
    LegacyLog,
    Progress,
    PushLog,
)
from deploytool.image.reference import Reference
from deploytool.process import Finished, ProgramMissing, capture, stream
from deploytool.redact import MASK, hide_passwords, mask, names_secret

if TYPE_CHECKING:
    from deploytool.config import BuildSettings
    from deploytool.spec import Service

__all__ = ["BuiltImage", "Source", "build", "owned_volumes", "push", "read_source"]

Warn = Callable[[str], None]

LATEST = "latest"
VOLUMES = "VOLUMES"
"""The build argument with the folders that the Dockerfile makes for volumes."""
QUIET = {"DOCKER_CLI_HINTS": "false"}
# Attestations say when and where a build ran: they would give every build another digest, and turn
# the image into an index, which Docker 20.10 stumbles over. The variable, not `--provenance=false`,
# because buildx before 0.10 has neither the attestations nor the flag.
NO_ATTESTATIONS = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
INSTALL_BUILDX = "install Docker's docker-buildx-plugin package"
LAST_WITH_OWN_BUILDKIT = 22


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built, and pushed where it has a digest."""

    repository: str
    tag: str
    digest: str | None
    """None when it was not pushed: only a registry gives a digest that other machines know."""
    image_id: str

    @property
    def reference(self) -> str:
        """For people and machines alike: repository:tag@sha256:…"""
        return str(Reference(self.repository, self.tag, self.digest))

    @property
    def pinned(self) -> str:
        """The one image and no other: repository@sha256:… Raises ValueError when not pushed."""
        if self.digest is None:
            raise ValueError(f"{self.reference} was not pushed and has no digest")
        return str(Reference(self.repository, digest=self.digest))


def build(
    project: Path,
    settings: BuildSettings,
    repository: str,
    *,
    source: Source,
    version: str | None = None,
    volumes: Iterable[str] = (),
    push: bool,
    progress: Progress,
    warn: Warn,
) -> BuiltImage:
    """Build the image of a project, tagged with its source and `latest`, and push both tags.

    `version` is the one in the project's pyproject.toml unless given; `volumes` are the folders
    that fresh volumes are mounted at, see `owned_volumes`; `progress` gets tidy lines as the
    builder works. Raises ImageError, RegistryError, EngineError, UsageError, Interrupted.
    """
    job = _Job(
        project=project,
        settings=settings,
        image=Reference.parse(f"{repository}:{source.tag}"),
        source=source,
        version=version or project_version(project),
        volumes=tuple(volumes),
    )
    job.check()
    _warn_of_changes(source, warn)
    for name in job.secret_arguments:
        warn(
            f"build.args.{name} looks like a secret, and build arguments stay in the image: "
            "mount it in the Dockerfile instead, or give it to the service as a secret"
        )
    return _with_buildx(job, push, progress) or _without_buildx(job, push, progress, warn)


def push(repository: str, source: Source, *, progress: Progress, warn: Warn) -> BuiltImage:
    """Push what `build` made of a source, under its tag and `latest`.

    Raises ImageError when it was not built here, RegistryError, EngineError, UsageError,
    Interrupted.
    """
    image = Reference.parse(f"{repository}:{source.tag}")
    _warn_of_changes(source, warn)
    image_id = _inspect(image)["Id"]
    _docker_or_raise(image, "tag", str(image), str(_latest(image)))
    return BuiltImage(repository, source.tag, _push(image, progress), image_id)


def project_version(project: Path) -> str | None:
    """The version in pyproject.toml, where it is written there."""
    try:
        document = tomli.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        version = document["project"]["version"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return version if isinstance(version, str) else None


def owned_volumes(services: Iterable[Service]) -> tuple[str, ...]:
    """Where the services that run the project's own image have named volumes to write to.

    A fresh volume takes the owner of the folder that the image has there. Folders with blanks are
    left out: the shell that makes them would see several.
    """
    own = (service for service in services if service.image is None)
    mounted = (volume for service in own for volume in service.volumes)
    targets = {v.target for v in mounted if not v.is_bind and not v.read_only}
    return tuple(sorted(target for target in targets if not re.search(r"\s", target)))


def _warn_of_changes(source: Source, warn: Warn) -> None:
    if source.dirty:
        warn(f"The image {source.tag} has changes that are in no commit")


@dataclass(frozen=True)
class _Job:
    """What is to be built, whatever builds it."""

    project: Path
    settings: BuildSettings
    image: Reference
    source: Source
    version: str | None
    volumes: tuple[str, ...] = ()

    @property
    def dockerfile(self) -> Path:
        return self.project / self.settings.dockerfile

    @property
    def context(self) -> Path:
        return self.project / self.settings.context

    def check(self) -> None:
        """Raises ImageError when there is nothing to build from."""
        if not self.context.is_dir():
            raise ImageError(
                f"The build context {self.settings.context} is not a folder of the project",
                code="context_missing",
                hint="correct build.context; it is relative to the project",
            )
        if not self.dockerfile.is_file():
            raise ImageError(
                f"There is no {self.settings.dockerfile} in {self.project}",
                code="dockerfile_missing",
                hint="`deploytool init` writes one that fits the project; build.dockerfile names "
                "another",
            )

    @property
    def is_kept(self) -> bool:
        """Whether the Dockerfile was there before `init`."""
        try:
            with self.dockerfile.open("rb") as file:
                return not file.readline(100).startswith(WRITTEN_BY_INIT.encode())
        except OSError:
            return False

    @property
    def secret_arguments(self) -> list[str]:
        return sorted(name for name in self.settings.args if names_secret(name))

    def flags(self) -> list[str]:
        """What all builders understand."""
        return [
            f"--file={self.dockerfile}",
            f"--tag={self.image}",
            f"--tag={_latest(self.image)}",
            *(f"--label={name}={value}" for name, value in self._labels()),
            *(f"--build-arg={argument}" for argument in self._arguments()),
            *([f"--target={self.settings.target}"] if self.settings.target else []),
            *([f"--platform={','.join(self.settings.platforms)}"] * bool(self.settings.platforms)),
            str(self.context),
        ]

    def _labels(self) -> Iterator[tuple[str, str]]:
        source = self.source
        marker = "-dirty" if source.dirty else ""
        labels = {
            "created": source.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "revision": f"{source.revision}{marker}" if source.revision else None,
            "source": source.url,
            "version": self.version,
        }
        for name, value in labels.items():
            if value is not None:
                yield f"org.opencontainers.image.{name}", value

    def _arguments(self) -> Iterator[str]:
        """Values travel in the environment where they can: everybody may read a command line."""
        for name, value in sorted(self.settings.args.items()):
            yield f"{name}={value}" if _means_something(name) else name
        if self.volumes and VOLUMES not in self.settings.args and self._declares_volumes():
            yield f"{VOLUMES}={' '.join(self.volumes)}"

    def _declares_volumes(self) -> bool:
        """Builders warn of an argument that the Dockerfile does not declare, or refuse it."""
        from deploytool.lint.dockerfile import parse

        stages = parse(self.dockerfile.read_bytes()).stages
        declared = (i for stage in stages for i in stage.instructions if i.keyword == "ARG")
        return any(name == VOLUMES for item in declared for name, _ in item.pairs)

    def environment(self) -> dict[str, str]:
        """The builder's own, and the build arguments' values."""
        values = {n: v for n, v in self.settings.args.items() if not _means_something(n)}
        return {**QUIET, **NO_ATTESTATIONS, **values}

    def hide_secrets(self, line: str) -> str:
        for name, value in self.settings.args.items():
            if value and mask(name, value) != value:
                line = line.replace(value, MASK)
        return hide_passwords(line)

    def listen(self, log: BuilderLog) -> Callable[[str], None]:
        return lambda line: log.feed(self.hide_secrets(line))


_VARIABLES_OF_DOCKER = re.compile(
    r"PATH|HOME|USER|TMPDIR|TERM|SHELL|PWD|LANG|NO_COLOR|GODEBUG|.*_PROXY"
    r"|(DOCKER|BUILDX|BUILDKIT|COMPOSE|OTEL|LD|DYLD|LC|SSH|SSL|XDG)_.*",
    re.IGNORECASE,
)


def _means_something(name: str) -> bool:
    """Whether a variable of this name would change what docker itself does."""
    return bool(_VARIABLES_OF_DOCKER.fullmatch(name))


def _latest(image: Reference) -> Reference:
    return Reference(image.repository, LATEST)


def _with_buildx(job: _Job, push: bool, progress: Progress) -> BuiltImage | None:
    """Build with buildx; None where docker has no buildx. Raises ImageError and the others."""
    log = BuildKitLog(progress)
    with TemporaryDirectory(prefix="deploytool-") as folder:
        metadata = Path(folder, "metadata.json")
        build = ["docker", "buildx", "build", "--progress=plain", f"--metadata-file={metadata}"]
        command = [*build, "--push" if push else "--load", *job.flags()]
        if _stream(command, job.listen(log), job.environment()) == 0:
            return _built(job.image, json.loads(metadata.read_text()), pushed=push)
    error = build_failure(log.failure(), job.image, is_kept=job.is_kept)
    # Asked only now: the question takes as long as a build that changes nothing.
    if error.code == "build_failed" and not log.started and not _docker("buildx", "version").ok:
        return None
    raise error


def _built(image: Reference, metadata: Mapping[str, Any], *, pushed: bool) -> BuiltImage:
    digest = metadata.get("containerimage.digest")
    image_id = metadata.get("containerimage.config.digest") or digest
    if image_id is None or (pushed and digest is None):
        inspected = _inspect(image)
        image_id, digest = inspected["Id"], _pushed_digest(image, inspected)
    assert image.tag is not None
    return BuiltImage(image.repository, image.tag, digest if pushed else None, image_id)


def _without_buildx(job: _Job, push: bool, progress: Progress, warn: Warn) -> BuiltImage:
    """Build with what the docker command has in itself: BuildKit before 23, the legacy builder."""
    if len(job.settings.platforms) > 1:
        refusal = Failure("", (), "Multi-platform build is not supported without docker buildx")
        raise build_failure(refusal, job.image)
    has_buildkit = _client_version() <= LAST_WITH_OWN_BUILDKIT
    builder = "docker's own older BuildKit" if has_buildkit else "docker's legacy builder"
    warn(f"docker buildx is missing, {builder} builds the image: {INSTALL_BUILDX}")
    log: BuilderLog = BuildKitLog(progress) if has_buildkit else LegacyLog(progress)
    environment = job.environment() | {"DOCKER_BUILDKIT": "1" if has_buildkit else "0"}
    with TemporaryDirectory(prefix="deploytool-") as folder:
        id_file = Path(folder, "id")
        plain = ["--progress=plain"] * has_buildkit
        command = ["docker", "build", *plain, f"--iidfile={id_file}", *job.flags()]
        if _stream(command, job.listen(log), environment) != 0:
            raise build_failure(log.failure(), job.image, is_kept=job.is_kept)
        image_id = id_file.read_text().strip()
    digest = _push(job.image, progress) if push else None
    return BuiltImage(job.image.repository, job.source.tag, digest, image_id)


def _client_version() -> int:
    """The major version of the docker command."""
    found = re.search(r"version (\d+)\.", _docker("--version").stdout)
    return int(found[1]) if found else LAST_WITH_OWN_BUILDKIT + 1


def _push(image: Reference, progress: Progress) -> str:
    """Push an image and the `latest` beside it; the digest that the registry gave."""
    digests = [_push_one(reference, progress) for reference in (image, _latest(image))]
    return digests[0] or _pushed_digest(image, _inspect(image))


def _push_one(image: Reference, progress: Progress) -> str | None:
    progress(f"pushing {image}")
    log = PushLog(progress)
    command = ["docker", "push", str(image)]
    if _stream(command, lambda line: log.feed(hide_passwords(line)), QUIET) != 0:
        raise push_failure(log.failure(str(image)), image)
    return log.digest


def _inspect(image: Reference) -> dict[str, Any]:
    """Raises ImageError when the engine has no such image."""
    said = _docker_or_raise(image, "image", "inspect", "--format={{json .}}", str(image))
    found: dict[str, Any] = json.loads(said)
    return found


def _pushed_digest(image: Reference, inspected: Mapping[str, Any]) -> str:
    for known in inspected.get("RepoDigests") or ():
        repository, _, digest = known.partition("@")
        if Reference.parse(repository).repository == image.repository:
            return str(digest)
    raise ImageError(
        f"{image} was pushed, and docker does not say with which digest",
        code="digest_unknown",
        hint="run it again; a newer docker says more",
    )


def _docker_or_raise(image: Reference, *arguments: str) -> str:
    finished = _docker(*arguments)
    if finished.ok:
        return finished.stdout
    if "No such image" in finished.stderr:
        raise image_missing(image)
    failure = Failure("", (), hide_passwords(finished.stderr.strip()))
    raise engine_failure(failure.cause) or build_failure(failure, image)


def _docker(*arguments: str) -> Finished:
    try:
        return capture(["docker", *arguments], env=QUIET)
    except ProgramMissing:
        raise docker_missing() from None


def _stream(command: list[str], on_line: Progress, environment: Mapping[str, str]) -> int:
    try:
        return stream(command, on_line, env=environment)
    except ProgramMissing:
        raise docker_missing() from None
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted; docker was stopped",
            code="interrupted",
            hint="run it again: what is done already is not done twice",
        ) from None
