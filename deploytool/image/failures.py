"""Failures of docker, by its output: the problem, its cause and the next step.

The texts were printed by Docker 20.10, 26 and 28 when these things were made to happen to them;
those that only Docker 29 and builders outside of the engine have were read in their source.
"""

from __future__ import annotations

import re

from deploytool.errors import DeploytoolError, EngineError, ImageError, RegistryError
from deploytool.http import is_loopback
from deploytool.image import registry_failures
from deploytool.image.progress import Failure
from deploytool.image.reference import Reference

MAY_USE = (
    "`sudo usermod -aG docker $USER`, then log out and in again; who may use the engine is root on "
    "its machine"
)
START = (
    "start it (`sudo systemctl start docker`), or choose another with DOCKER_HOST or "
    "`docker context use`; `deploytool doctor` checks everything"
)
_SSH = re.compile(r"ssh://|command \[ssh |\bssh: ")
_TCP = re.compile(r"\b(?:tcp|https?)://(?P<host>\[[^\]\s]+\]|[^\s/:;,]+)")
INIT_FORCE = "`deploytool init --force` writes a Dockerfile that may build"
VERBOSE = "--verbose shows all that the build printed"
_ADDRESS = re.compile(
    r"(?P<url>(?:unix|tcp|ssh|npipe)://[^\s:;,]+(?::\d+)?)"
    r"|dial (?P<kind>unix|tcp) (?P<address>\S+): "
)


def docker_missing() -> EngineError:
    return EngineError(
        "There is no docker command on this machine",
        code="docker_missing",
        hint="install Docker, or its command line alone: https://docs.docker.com/engine/install/",
    )


def engine_failure(cause: str) -> EngineError | None:
    """The error when the engine could not be talked to; None when it is about something else."""
    at = _engine_address(cause)
    if _says(
        cause, r"permission denied while trying to connect", r"docker daemon.*permission denied"
    ):
        return EngineError(
            f"You are not allowed to use the Docker engine{at}",
            code="engine_permission",
            hint=MAY_USE,
        )
    if found := re.search(r"(?:mkdir|open) (\S*buildx\S*): permission denied", cause):
        return EngineError(
            f"docker cannot write its own files: permission denied on {found[1]}",
            code="docker_config_unwritable",
            hint="`sudo docker` may have made them; give them back to your user with chown",
        )
    if _says(
        cause,
        r"cannot connect to the docker daemon",
        r"failed to connect to the docker API",
        r"error during connect",
        r"error reading from server: EOF",
        r"^(unexpected )?EOF$",
        "server did not provide an image ID",
    ):
        return EngineError(
            f"The Docker engine{at} does not answer: {_line(cause)}",
            code="engine_unreachable",
            hint=engine_hint(cause),
        )
    return None


def engine_hint(where: str) -> str:
    """What to do where an engine does not answer, by its address or what says that it does not:
    behind SSH or TCP it may be another machine's."""
    if (tcp := _TCP.search(where)) and not is_loopback(tcp["host"].strip("[]")):
        return (
            f"check {tcp['host']} and its port, in DOCKER_HOST or swarm.host: that docker listens "
            "there, and no firewall is between; ssh://USER@HOST needs no port of docker's"
        )
    if not _SSH.search(where):
        return START
    url = re.search(r"ssh://(?P<user>[^\s/@:]+@)?(?P<host>[^\s/:]+)(:(?P<port>\d+))?", where)
    port = f"-p {url['port']} " if url and url["port"] else ""
    target = f"{url['user'] or ''}{url['host']}" if url else "USER@HOST"
    return (
        f"`ssh {port}{target} docker version` has to work, and ask nothing: check the name, the "
        "key, and that docker runs there"
    )


def _engine_address(cause: str) -> str:
    found = _ADDRESS.search(cause)
    if found is None:
        return ""
    url = found["url"] or f"{found['kind']}://{found['address']}"
    return f" at {url.rstrip('.')}"


def build_failure(failure: Failure, image: Reference, *, is_kept: bool = False) -> DeploytoolError:
    """The error for a build, with or without push, that failed.

    `is_kept`: the Dockerfile is not `init`'s, which may know better.
    """
    return (
        _disk_full(failure)
        or _refused_push(failure, image)
        or engine_failure(failure.cause)
        or _base_image(failure)
        or _platforms(failure)
        or _needs_buildkit(failure)
        or _stage(failure)
        or _dockerfile(failure)
        or _not_in_context(failure)
        or _step(failure, is_kept)
    )


def push_failure(failure: Failure, image: Reference) -> DeploytoolError:
    """The error for a `docker push` that failed."""
    return engine_failure(failure.cause) or _missing(failure, image) or registry(failure, image)


def _says(text: str, *patterns: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE | re.MULTILINE) for pattern in patterns)


def _line(cause: str) -> str:
    """One line of it."""
    return " ".join(cause.split())[:300] or "it says nothing about why"


def _disk_full(failure: Failure) -> ImageError | None:
    full = "no space left on device"
    at = f" at {_short(failure.step)}" if failure.step else ""
    if _says(failure.cause, full):
        message = f"The build failed{at}: the Docker engine's disk is full: {_line(failure.cause)}"
    elif _says("\n".join(failure.output), full):
        message = f"The build failed{at}: {full}, most likely the Docker engine's disk is full"
    else:
        return None
    return ImageError(
        message,
        code="disk_full",
        hint="`docker system df` shows what takes the space; `docker builder prune` and "
        "`docker image prune` free some",
        details=_evidence(failure),
    )


def _refused_push(failure: Failure, image: Reference) -> DeploytoolError | None:
    pushing = failure.step.startswith("pushing ") or (
        failure.step.startswith("exporting to") and "failed to push" in failure.cause
    )
    return registry(failure, image) if pushing else None


def registry(failure: Failure, image: Reference) -> RegistryError:
    """Why the registry did not take an image."""
    cause = _line(failure.cause)
    if busy := registry_failures.busy(image.host, cause):
        return busy
    for patterns, code, happened, hint in _registry_failures(image):
        if _says(cause, *patterns):
            return RegistryError(f"{happened}: {cause}", code=code, hint=hint)
    return RegistryError(
        f"The registry {image.host} did not accept {image}: {cause}",
        code="registry_failed",
        hint="the registry's own log should say why",
    )


def _registry_failures(image: Reference) -> list[tuple[tuple[str, ...], str, str, str]]:
    host, login = image.host, image.login
    return [
        (
            ("error getting credentials",),
            "registry_credentials",
            f"docker's credential helper failed for the registry {host}",
            f"fix credsStore or credHelpers in ~/.docker/config.json, then `{login}`",
        ),
        (
            ("server gave HTTP response to HTTPS client",),
            "registry_untrusted",
            f"The registry {host} speaks HTTP, and the engine insists on HTTPS",
            f'give it a certificate, or list "{host}" under insecure-registries in the '
            "daemon.json of the engine and of all nodes",
        ),
        (
            ("x509:", "tls: "),
            "registry_untrusted",
            f"The engine does not trust the certificate of the registry {host}",
            f"put its CA into /etc/docker/certs.d/{host}/ca.crt on the engine and on all nodes",
        ),
        (
            ("no basic auth credentials",),
            "registry_denied",
            f"The registry {host} asks for a login, and there is none",
            f"`{login}`, then run this again",
        ),
        (
            ("unauthorized", "401 Unauthorized"),
            "registry_denied",
            f"The registry {host} does not accept your login",
            f"`{login}`, then run this again",
        ),
        (
            ("denied", "insufficient_scope", "403 Forbidden", "HTTP 403"),
            "registry_denied",
            f"The registry {host} does not let you push {image.repository}",
            f"check the name, and `{login}` as a user who may push there",
        ),
        (
            ("name unknown",),
            "registry_denied",
            f"The registry {host} has no repository for {image.repository}",
            "create the repository in the registry first, or correct `registry` and `app`",
        ),
        (
            (
                "dial tcp",
                "no such host",
                "connection refused",
                "connection reset",
                "i/o timeout",
                "deadline exceeded",
                "Client.Timeout exceeded",
                r"\bEOF$",
            ),
            "registry_unreachable",
            f"The registry {host} cannot be reached from the engine",
            f"check `registry`, and that {host} answers from the engine's machine",
        ),
    ]


def _missing(failure: Failure, image: Reference) -> ImageError | None:
    if not _says(failure.cause, "does not exist locally", "No such image"):
        return None
    return image_missing(image)


def image_missing(image: Reference) -> ImageError:
    return ImageError(
        f"{image} was not built on this engine",
        code="image_missing",
        hint="`deploytool build --push` builds and pushes it",
    )


_BASE_IMAGE = re.compile(
    r"\[internal\] load metadata for (?P<base>\S+)"
    r"|\[[^]]+\] FROM (?:--\S+ )?(?P<from>\S+).*",
    re.IGNORECASE,
)


def _base_image(failure: Failure) -> ImageError | None:
    step = _BASE_IMAGE.fullmatch(failure.step)
    if step is None:
        return None
    base = (step["base"] or step["from"]).removeprefix("docker.io/").removeprefix("library/")
    cause = _line(failure.cause).rpartition("failed to resolve source metadata for ")[2]
    reference = base.partition("@")[0]
    if _says(cause, "denied", "unauthorized", "no basic auth"):
        hint = "check its name; if it is private, log in to its registry with `docker login`"
    elif busy := registry_failures.busy(Reference(reference).host, cause):
        hint = busy.hint
    elif _says(cause, "not found", "manifest unknown"):
        hint = "check its name and tag, and that it exists for the platform"
    else:
        hint = f"try `docker pull {reference}`: what the engine has need not be fetched"
    return ImageError(
        f"The base image {reference} is not available: {cause}",
        code="base_image_unavailable",
        hint=hint,
        details=_excerpt(failure),
    )


def _platforms(failure: Failure) -> ImageError | None:
    several = (
        "Multi-platform build is not supported",
        "multiple platforms feature is currently not supported",
        "does not currently support exporting manifest lists",
        "is an invalid component of",
    )
    if not _says(failure.cause, *several):
        return None
    if "exporting manifest lists" in failure.cause:
        hint = "push it in the same go: `deploytool build --push`"
    else:
        hint = (
            "`docker buildx create --use --driver docker-container` makes a builder that can, or "
            "keep one entry in build.platforms"
        )
    return ImageError(
        f"This builder cannot build for several platforms: {_line(failure.cause.splitlines()[0])}",
        code="platforms_unsupported",
        hint=hint,
    )


def _needs_buildkit(failure: Failure) -> ImageError | None:
    if not _says(failure.cause, "requires BuildKit"):
        return None
    return ImageError(
        f"The build needs BuildKit, and docker buildx is missing: {_line(failure.cause)}",
        code="buildx_missing",
        hint="install Docker's docker-buildx-plugin package: https://docs.docker.com/go/buildx/",
    )


def _stage(failure: Failure) -> ImageError | None:
    if not _says(
        failure.cause, "target stage .* could not be found", "failed to reach build target"
    ):
        return None
    return ImageError(
        f"The Dockerfile has no such stage: {_line(failure.cause)}",
        code="stage_missing",
        hint="correct build.target: it is what stands behind AS in a FROM, or leave it out",
    )


def _dockerfile(failure: Failure) -> ImageError | None:
    wrong = (
        "dockerfile parse error",
        "Dockerfile cannot be empty",
        "file with no instructions",
    )
    if not _says(failure.cause, *wrong):
        return None
    return ImageError(
        f"The Dockerfile is not valid: {_line(failure.cause)}",
        code="dockerfile_invalid",
        hint="`deploytool lint` checks all of it",
        details=_excerpt(failure),
    )


def _not_in_context(failure: Failure) -> ImageError | None:
    found = re.search(
        r'failed to calculate checksum of ref \S+ "/?(?P<new>[^"]+)": not found'
        r'|^(?:failed to compute cache key: )?"/?(?P<old>[^"]+)" not found: not found'
        r"|failed: file not found in build context.*: stat (?P<legacy>.+): file does not exist",
        failure.cause,
    )
    if found is None:
        return None
    name = found["new"] or found["old"] or found["legacy"]
    return ImageError(
        f"The build failed at {_short(failure.step)}: there is no {name} in the build context",
        code="build_failed",
        hint="check its path, relative to build.context, and whether .dockerignore leaves it out",
        details=_excerpt(failure),
    )


def _step(failure: Failure, is_kept: bool) -> ImageError:
    exit_code = re.search(r"exit code: (\d+)$", failure.cause)
    why = f"exit code {exit_code[1]}" if exit_code else _line(failure.cause)
    at = f" at {_short(failure.step)}" if failure.step else ""
    where = f" ({failure.place})" if failure.place else ""
    return ImageError(
        f"The build failed{at}{where}: {why}",
        code="build_failed",
        hint=_step_hint(failure, exit_code[1] if exit_code else "", is_kept),
        details=_evidence(failure),
    )


def _step_hint(failure: Failure, exit_code: str, is_kept: bool) -> str:
    said = "\n".join([failure.cause, *failure.output])
    if _says(said, "exec format error"):
        return "the image is for another kind of processor: see build.platforms and binfmt_misc"
    if exit_code == "137":
        return "the step was killed, most likely for lack of memory on the engine's machine"
    if is_kept and failure.step:
        reason = _outdated(said)
        return f"{reason}: {INIT_FORCE}" if reason else f"{VERBOSE}; {INIT_FORCE}"
    return VERBOSE


_OUTDATED: tuple[tuple[str, str], ...] = (
    (r'option "?--no-dev"? does not exist', "current Poetry has no --no-dev"),
    (r"requested command export does not exist", "current Poetry has no `poetry export`"),
    (
        r"does not have a Release file",
        "the packages of its base image's release are no longer there",
    ),
    (
        r"python-poetry/poetry/(HEAD|master|main)/(get|install)-poetry\.py",
        "the installer of Poetry that it downloads is gone",
    ),
)
"""Patterns of a build's output, and the reason for the failure."""


def _outdated(text: str) -> str | None:
    """Why a build failed, where it says so and the Dockerfile's age is to blame."""
    found = (reason for pattern, reason in _OUTDATED if re.search(pattern, text, re.IGNORECASE))
    return next(found, None)


def _evidence(failure: Failure) -> list[str]:
    """The last output of the step; where it has none, its lines in the Dockerfile."""
    return list(failure.output) or _excerpt(failure)


def _excerpt(failure: Failure) -> list[str]:
    return [failure.place, *failure.excerpt] if failure.excerpt else []


def _short(step: str) -> str:
    return step if len(step) <= 100 else f"{step[:99]}…"
