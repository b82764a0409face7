"""Builds the image of a project and pushes it: one call of `docker buildx build` does both.

The same content gives the same digest as long as the builder has its cache: nothing is put into
the image beside it, no label with a commit or a time. So a deploy that changes nothing has nothing
to roll out. SOURCE_DATE_EPOCH would add nothing: without the cache, layers have other times inside,
with it or without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from deploytool.errors import DeploytoolError, ImageError, Interrupted
from deploytool.image import is_written_by_init
from deploytool.image.content import VOLUMES, Content
from deploytool.image.failures import (
    build_failure,
    docker_missing,
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
from deploytool.image.secrets import read_secret
from deploytool.process import Finished, ProgramMissing, capture, stream
from deploytool.redact import MASK, hide_passwords, looks_secret, mask, names_secret

if TYPE_CHECKING:
    from deploytool.config import BuildSettings
    from deploytool.spec import Service

__all__ = [
    "BuiltImage",
    "Source",
    "build",
    "move_latest",
    "owned_volumes",
    "push",
    "read_source",
    "warn_of_changes",
]

Warn = Callable[[str], None]

LATEST = "latest"
QUIET = {"DOCKER_CLI_HINTS": "false"}
# Attestations say when and where a build ran: they would give every build another digest, and turn
# the image into an index, which Docker 20.10 stumbles over. The variable, not `--provenance=false`,
# because buildx before 0.10 has neither the attestations nor the flag. Nothing asks for what git
# says either, which buildx runs with the repository's own settings.
NO_ATTESTATIONS = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_GIT_INFO": "false"}
INSTALL_BUILDX = "install Docker's docker-buildx-plugin package"
LAST_WITH_OWN_BUILDKIT = 22
HEAD = 4096
"""Bytes of a Dockerfile in which its first lines are."""
SHORTEST = 4
"""Characters of what is hidden of a secret in output: less is found in every other word."""


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
    volumes: Iterable[str] = (),
    push: bool,
    progress: Progress,
    warn: Warn,
) -> BuiltImage:
    """Build the image of a project, tagged with its content, and push it.

    One that is not pushed is this engine's `latest` too; the registry's is moved by a release that
    is done, see `move_latest`. `volumes` are the folders that fresh volumes are mounted at,
    see `owned_volumes`; `progress` gets tidy lines as the builder works.

    Raises ImageError, RegistryError, EngineError, UsageError, Interrupted.
    """
    job = _Job(
        project=project,
        settings=settings,
        image=Reference.parse(f"{repository}:{source.tag}"),
        source=source,
        pushed=push,
        volumes=tuple(volumes),
    )
    job.check()
    warn_of_changes(source, warn)
    for name in job.secret_arguments:
        warn(_warning_of_secret(name))
    return _with_buildx(job, progress) or _without_buildx(job, progress, warn)


def _warning_of_secret(name: str) -> str:
    looks = f"build.args.{name} looks like a secret"
    if _means_something(name):
        return (
            f"{looks}, and while docker runs, everybody on this machine sees it in the list of "
            "processes: put it under proxies in ~/.docker/config.json"
        )
    return (
        f"{looks}, and build arguments stay in the image's history: make it build.secrets.{name} "
        f"and RUN --mount=type=secret,id={name}, or give it to the service as a secret"
    )


def push(repository: str, source: Source, *, progress: Progress, warn: Warn) -> BuiltImage:
    """Push what `build` made of a source.

    Raises ImageError when it was not built here, RegistryError, EngineError, UsageError,
    Interrupted.
    """
    image = Reference.parse(f"{repository}:{source.tag}")
    warn_of_changes(source, warn)
    image_id = _inspect(image)["Id"]
    return BuiltImage(repository, source.tag, _push(image, progress), image_id)


def move_latest(pinned: str, *, several_platforms: bool, progress: Progress) -> None:
    """Make an image of a registry, repository@digest, the `latest` of its repository.

    Pushes it where the engine has it, else has the registry copy the tag, else pulls it first.
    Raises ImageError, RegistryError, EngineError, Interrupted.
    """
    image = Reference.parse(pinned)
    latest = _latest(image)
    if not _docker("image", "inspect", "--format={{.Id}}", pinned).ok:
        copied = _docker(
            *("buildx", "imagetools", "create", "--prefer-index=false", f"--tag={latest}", pinned)
        )
        if copied.ok:
            return
        if several_platforms:  # a pull brings only one of them
            raise _failure(image, copied)
        _docker_or_raise(image, "pull", "--quiet", pinned)
    _docker_or_raise(image, "tag", pinned, str(latest))
    _push_one(latest, progress)


def owned_volumes(services: Iterable[Service]) -> tuple[str, ...]:
    """Where the services that run the project's own image have named volumes to write to.

    A fresh volume takes the owner of the folder that the image has there. Folders with blanks are
    left out: the shell that makes them would see several.
    """
    own = (service for service in services if service.image is None)
    mounted = (volume for service in own for volume in service.volumes)
    targets = {v.target for v in mounted if not v.is_bind and not v.read_only}
    return tuple(sorted(target for target in targets if not re.search(r"\s", target)))


def warn_of_changes(source: Source, warn: Warn) -> None:
    if source.dirty:
        warn(f"The image {source.tag} has changes that are in no commit")


@dataclass(frozen=True)
class _Job:
    """The build, whatever builds it."""

    project: Path
    settings: BuildSettings
    image: Reference
    source: Source
    pushed: bool
    volumes: tuple[str, ...] = ()

    @property
    def dockerfile(self) -> Path:
        return self.project / self.settings.dockerfile

    @property
    def context(self) -> Path:
        return self.project / self.settings.context

    def check(self) -> None:
        """Raises ImageError when there is nothing to build from, or a secret is missing."""
        list(self.secret_values())
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
                return not is_written_by_init(file.read(HEAD).decode("utf-8", "replace"))
        except OSError:
            return False

    @property
    def secret_arguments(self) -> list[str]:
        arguments = self.settings.args.items()
        return sorted(n for n, v in arguments if names_secret(n) or hide_passwords(v) != v)

    def secret_values(self) -> Iterator[str]:
        """The values of the build's secrets. Raises ImageError for one that is not there."""
        for name, secret in sorted(self.settings.secrets.items()):
            yield read_secret(self.project, name, secret)

    def _secret_flags(self) -> Iterator[str]:
        """Where docker finds the values: never the values themselves."""
        for name, secret in sorted(self.settings.secrets.items()):
            if secret.env is not None:
                yield f"--secret=id={name},env={secret.env}"
            else:
                source = f"src={self.project / str(secret.file)}".replace('"', '""')
                yield f'--secret=id={name},"{source}"'

    def flags(self) -> list[str]:
        """Options that all builders understand."""
        return [
            f"--file={self.dockerfile}",
            f"--tag={self.image}",
            *([] if self.pushed else [f"--tag={_latest(self.image)}"]),
            *(f"--build-arg={argument}" for argument in self._arguments()),
            *self._secret_flags(),
            *([f"--target={self.settings.target}"] if self.settings.target else []),
            *([f"--platform={','.join(self.settings.platforms)}"] * bool(self.settings.platforms)),
            str(self.context),
        ]

    def _arguments(self) -> Iterator[str]:
        """Values travel in the environment where they can: everybody may read a command line."""
        for name, value in sorted(self.settings.args.items()):
            yield f"{name}={value}" if _means_something(name) else name
        if (folders := self._content.passed_volumes) is not None:
            yield f"{VOLUMES}={folders}"

    @cached_property
    def _content(self) -> Content:
        return Content(self.project, self.settings, self.volumes)

    def environment(self) -> dict[str, str]:
        """The builder's own, and the build arguments' values."""
        values = {n: v for n, v in self.settings.args.items() if not _means_something(n)}
        return {**QUIET, **NO_ATTESTATIONS, **values}

    def hide_secrets(self, line: str) -> str:
        for name, value in self.settings.args.items():
            if value and mask(name, value) != value:
                line = line.replace(value, MASK)
        for value in self._shown_secrets:
            line = line.replace(value, MASK)
        return hide_passwords(line)

    @cached_property
    def _shown_secrets(self) -> tuple[str, ...]:
        """What a step may print of its secrets, line by line, the longest first."""
        lines = {line.strip() for value in self.secret_values() for line in value.splitlines()}
        return tuple(sorted((s for s in lines if len(s) >= SHORTEST), key=len, reverse=True))

    def listen(self, log: BuilderLog) -> Callable[[str], None]:
        return lambda line: log.feed(self.hide_secrets(line))


_VARIABLES_OF_DOCKER = re.compile(
    r"PATH|HOME|USER|TMPDIR|TERM|SHELL|PWD|LANG|NO_COLOR|GODEBUG|.*_PROXY"
    r"|(DOCKER|BUILDX|BUILDKIT|COMPOSE|OTEL|LD|DYLD|LC|SSH|SSL|XDG)_.*",
    re.IGNORECASE,
)


def _means_something(name: str) -> bool:
    """Whether a variable of this name would change what docker itself does."""
    return bool(_VARIABLES_OF_DOCKER.fullmatch(name)) and not looks_secret(name)


def _latest(image: Reference) -> Reference:
    return Reference(image.repository, LATEST)


def _with_buildx(job: _Job, progress: Progress) -> BuiltImage | None:
    """Build with buildx; None where docker has no buildx. Raises ImageError and the others."""
    log = BuildKitLog(progress)
    with TemporaryDirectory(prefix="deploytool-") as folder:
        metadata = Path(folder, "metadata.json")
        build = ["docker", "buildx", "build", "--progress=plain", f"--metadata-file={metadata}"]
        command = [*build, "--push" if job.pushed else "--load", *job.flags()]
        if _stream(command, job.listen(log), job.environment()) == 0:
            return _built(job.image, json.loads(metadata.read_text()), pushed=job.pushed)
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


def _without_buildx(job: _Job, progress: Progress, warn: Warn) -> BuiltImage:
    """Build with what the docker command has in itself: BuildKit before 23, the legacy builder."""
    if len(job.settings.platforms) > 1:
        refusal = Failure("", (), "Multi-platform build is not supported without docker buildx")
        raise build_failure(refusal, job.image)
    has_buildkit = _client_version() <= LAST_WITH_OWN_BUILDKIT
    if job.settings.secrets and not has_buildkit:
        raise build_failure(Failure("", (), "build.secrets requires BuildKit"), job.image)
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
    digest = _push(job.image, progress) if job.pushed else None
    return BuiltImage(job.image.repository, job.source.tag, digest, image_id)


def _client_version() -> int:
    """The major version of the docker command."""
    found = re.search(r"version (\d+)\.", _docker("--version").stdout)
    return int(found[1]) if found else LAST_WITH_OWN_BUILDKIT + 1


def _push(image: Reference, progress: Progress) -> str:
    """The digest that the registry gave."""
    return _push_one(image, progress) or _pushed_digest(image, _inspect(image))


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
    raise _failure(image, finished)


def _failure(image: Reference, finished: Finished) -> DeploytoolError:
    if "No such image" in finished.stderr:
        return image_missing(image)
    return push_failure(Failure("", (), hide_passwords(finished.stderr.strip())), image)


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
