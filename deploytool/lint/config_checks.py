"""The rules about [tool.deploytool]."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deploytool import dangers
from deploytool.backends import engine_limits, kind_of
from deploytool.lint import gunicorn
from deploytool.lint.commands import Command, hides_signals
from deploytool.lint.folders import gives_folder
from deploytool.lint.image_checks import (
    EVERYBODY,
    is_deprecated,
    is_everybody,
    is_root,
    is_secret,
    lacks_proxy_headers,
)
from deploytool.lint.rules import RULES_BY_NAME, Finding
from deploytool.lint.subject import Subject, runs_image_command
from deploytool.spec import Backend, needs_entrypoint
from deploytool.units import format_duration

if TYPE_CHECKING:
    from deploytool.errors import Problem
    from deploytool.lint.dockerfile import Stage
    from deploytool.spec import Service

ROOM_TO_FINISH = 10_000
"""Milliseconds between the end of `drain` and the kill: deploytool keeps half of it for the
process's own end."""


def check(subject: Subject) -> Iterator[Finding]:
    """What the configuration does against the rules."""
    yield from _target(subject)
    yield from _build_arguments(subject)
    yield from _proxy(subject)
    yield from _cluster(subject)
    yield from _engine(subject)
    yield from gunicorn.check(subject)
    for service in subject.services:
        for one in CHECKS:
            yield from one(subject, service)


def _target(subject: Subject) -> Iterator[Finding]:
    target = subject.config.build.target if subject.config else None
    stages = subject.dockerfile.stages
    if target and stages and subject.dockerfile.named(target) is None:
        named = [stage.name for stage in stages if stage.name]
        yield subject.in_config(
            "invalid-dockerfile",
            ("build", "target"),
            f"build.target is {target}, and {subject.shown} has no such stage",
            fix=f"name one that it has: {', '.join(named)}" if named else "leave it out",
        )


def _build_arguments(subject: Subject) -> Iterator[Finding]:
    arguments = subject.config.build.args if subject.config else {}
    for name, value in arguments.items():
        if is_secret(name, value):
            path = ("build", "args", name)
            yield subject.in_config("secret-in-arg", path, f"{name} looks like a secret")


def _proxy(subject: Subject) -> Iterator[Finding]:
    settings = subject.config.proxy if subject.config else None
    if settings is None:
        return
    for name, value in settings.env.items():
        if is_secret(name, value):
            path = ("proxy", "env", name)
            yield subject.in_config("secret-in-env", path, f"proxy.env.{name} looks like a secret")
    if everybody := sorted(EVERYBODY & set(settings.trusted_proxies)):
        yield subject.in_config(
            "trusts-any-proxy",
            ("proxy", "trusted_proxies"),
            f"proxy.trusted_proxies has {everybody[0]}, which is everybody",
        )


def _cluster(subject: Subject) -> Iterator[Finding]:
    """What the cluster that the configuration names cannot do, and what it passes over. Raises
    UsageError for what makes no app, as every command does."""
    if subject.loaded is None:
        return
    app = subject.loaded.app_spec()
    kind, name = kind_of(app.backend), app.backend.title()
    for problem in kind.refused(app):
        message = f"{problem.path} is refused for {name}: {problem.message}"
        yield subject.in_config("refused-by-cluster", _path(problem), message, problem.hint)
    for problem in kind.without_effect(app):
        message = f"{problem.path} has no effect on {name}: {problem.message}"
        yield subject.in_config("without-effect", _path(problem), message, problem.hint)


def _engine(subject: Subject) -> Iterator[Finding]:
    address = subject.config.swarm.host if subject.config else None
    for danger in dangers.of_engine(address or ""):
        yield subject.in_config(danger.rule, danger.path, danger.message)


def _dangers(subject: Subject, service: Service) -> Iterator[Finding]:
    for danger in dangers.of_service(service):
        yield subject.in_config(danger.rule, danger.path, danger.message)


def _open_files(subject: Subject, service: Service) -> Iterator[Finding]:
    if found := engine_limits.many_open_files(service):
        path = ("services", service.name, "ulimits", "nofile")
        message = f"services.{service.name}.{found}"
        yield subject.in_config("open-files-above-default", path, message)


def _path(problem: Problem) -> list[str]:
    """The key that a problem of a service is about: names of labels and variables have dots."""
    return problem.path.split(".", 3)


def _memory(subject: Subject, service: Service) -> Iterator[Finding]:
    path = ("services", service.name)
    if service.memory is None:
        yield subject.in_config(
            "no-memory-reservation", path, f"services.{service.name} reserves no memory"
        )
    if service.memory_limit is None:
        yield subject.in_config(
            "no-memory-limit", path, f"services.{service.name} has no memory limit"
        )


def _health_check(subject: Subject, service: Service) -> Iterator[Finding]:
    if service.port is None or service.check or _has_image_check(subject, service):
        return
    yield subject.in_config(
        "no-health-check",
        ("services", service.name),
        f"services.{service.name} has no health check",
    )


def _has_image_check(subject: Subject, service: Service) -> bool:
    """Whether Swarm finds a health check in the image. Nomad does not look there."""
    if service.image is not None or subject.stage is None or service.healthcheck is False:
        return False
    item = subject.stage.last("HEALTHCHECK")
    on_swarm = subject.config is not None and subject.config.backend == "swarm"
    return on_swarm and item is not None and item.text.upper() != "NONE"


def _command(subject: Subject, service: Service) -> Iterator[Finding]:
    """What a service's own command asks of its server."""
    if not service.command:
        return
    command, path = Command.read(service.command), ("services", service.name, "command")
    where = f"services.{service.name}.command"
    if command.is_development:
        yield subject.in_config("fastapi-dev", path, f"{where} starts the development server")
    elif command.is_local_only and "UVICORN_HOST" not in service.env:
        yield subject.in_config(
            "listens-on-localhost", path, f"{where} listens inside the container only"
        )
    if command.reloads:
        yield subject.in_config("reload", path, f"{where} reloads its code while it serves")
    if service.domains and lacks_proxy_headers(command):
        yield subject.in_config(
            "missing-proxy-headers",
            path,
            f"{where} starts {command.server} without --proxy-headers",
        )
    if hides_signals(service.command):
        yield subject.in_config(
            "shell-wrapper", path, f"{where} starts a shell that stays in front of the app"
        )


def _workers(subject: Subject, service: Service) -> Iterator[Finding]:
    """One server with several workers is the docs' special case, and fine."""
    if not service.runs_several:
        return
    wanted = Command.read(service.command or ()).workers
    key = "command"
    if not wanted:
        wanted, key = service.env.get("WEB_CONCURRENCY", "1"), "env"
    if wanted not in ("", "1"):
        yield subject.in_config(
            "workers-in-cluster",
            ("services", service.name, key),
            f"services.{service.name} runs {wanted} worker processes in each of its "
            f"{_replicas(service)}",
        )


def _replicas(service: Service) -> str:
    return "replicas" if service.is_global else f"{service.replicas} replicas"


def _trust(subject: Subject, service: Service) -> Iterator[Finding]:
    given = Command.read(service.command or ()).option("--forwarded-allow-ips")
    key = "command" if given is not None else "env"
    if not any(map(is_everybody, (given, service.env.get(gunicorn.VARIABLE)))):
        return
    is_old = gunicorn.runs_gunicorn(subject, service) and gunicorn.is_old(subject)
    yield subject.in_config(
        "trusts-any-proxy",
        ("services", service.name, key),
        f"services.{service.name} believes forwarded headers from everywhere",
        fix=RULES_BY_NAME[gunicorn.RULE].fix if is_old else "",
    )


def _port(subject: Subject, service: Service) -> Iterator[Finding]:
    if runs_image_command(service):
        command, whose, key = subject.image_command, "the image's CMD", "port"
    else:
        command, whose, key = Command.read(service.command or ()), "its command", "command"
    if service.port and command.port and command.port != service.port:
        yield subject.in_config(
            "port-mismatch",
            ("services", service.name, key),
            f"services.{service.name}.port is {service.port}, but {whose} listens on "
            f"{command.port}",
        )


def _user(subject: Subject, service: Service) -> Iterator[Finding]:
    if service.user and is_root(service.user):
        path = ("services", service.name, "user")
        yield subject.in_config("root-user", path, f"services.{service.name} runs as root")


def _rights(subject: Subject, service: Service) -> Iterator[Finding]:
    """What a Dockerfile that was there may need, and most do not."""
    if service.image is not None:
        return
    path, where = ("services", service.name), f"services.{service.name}"
    if service.capabilities == "default":
        yield subject.in_config(
            "default-capabilities",
            (*path, "capabilities"),
            f"{where} keeps the engine's own capabilities",
        )
    if not service.read_only:
        yield subject.in_config(
            "writable-image", (*path, "read_only"), f"{where} can write to the image's own files"
        )


def _secrets(subject: Subject, service: Service) -> Iterator[Finding]:
    for name, value in service.env.items():
        if is_secret(name, value):
            yield subject.in_config(
                "secret-in-env",
                ("services", service.name, "env", name),
                f"services.{service.name}.env.{name} looks like a secret",
            )


def _migrations(subject: Subject, service: Service) -> Iterator[Finding]:
    for key, words in (("prestart", service.prestart), ("command", service.command or ())):
        if service.runs_several and Command.read(words).migrates:
            yield subject.in_config(
                "migration-per-replica",
                ("services", service.name, key),
                f"services.{service.name}.{key} migrates in each of its {_replicas(service)}",
            )


def _volumes(subject: Subject, service: Service) -> Iterator[Finding]:
    """One that serves nobody, as an agent on each node, has its node's own data on purpose."""
    named = [volume.source for volume in service.volumes if not volume.is_bind]
    is_agent = service.is_global and service.port is None
    if service.runs_several and named and not is_agent:
        has = "a replica on each node" if service.is_global else _replicas(service)
        yield subject.in_config(
            "volume-per-node",
            ("services", service.name, "volumes"),
            f"services.{service.name} has {has} and the volume {', '.join(named)}",
        )


def _owned_volumes(subject: Subject, service: Service) -> Iterator[Finding]:
    stage = subject.stage
    if stage is None or service.image is not None or not _has_plain_user(stage, service):
        return
    named = (v for v in service.volumes if not v.is_bind and not v.read_only)
    missing = [v for v in named if not gives_folder(stage, v.target, subject.context)]
    if missing:
        yield subject.in_config(
            "volume-not-owned",
            ("services", service.name, "volumes"),
            f"services.{service.name} has the volume {', '.join(v.source for v in missing)}, and "
            f"{subject.shown} does not make {', '.join(v.target for v in missing)} for its user",
        )


def _has_plain_user(stage: Stage, service: Service) -> bool:
    item = stage.last("USER")
    user = service.user or (stage.expand(item.text) if item else "")
    return bool(user) and not is_root(user)


def _stop_grace(subject: Subject, service: Service) -> Iterator[Finding]:
    left = service.stop_grace - service.drain
    if service.port is None or service.update_order != "start-first" or left >= ROOM_TO_FINISH:
        return
    yield subject.in_config(
        "short-stop-grace",
        ("services", service.name, "stop_grace"),
        f"services.{service.name} is killed {format_duration(max(0, left))} after its drain",
    )


def _drain(subject: Subject, service: Service) -> Iterator[Finding]:
    """Nomad waits by itself; on Swarm a shell around the command does."""
    own = not service.command and not needs_entrypoint(service)
    on_swarm = subject.config is not None and subject.config.backend == "swarm"
    if not (on_swarm and own and "drain" in service.model_fields_set):
        return
    if service.drain > kind_of(Backend.SWARM).stop_pause:
        yield subject.in_config(
            "drain-without-effect",
            ("services", service.name, "drain"),
            f"services.{service.name} runs its image's own command, which stops at once",
        )


def _interruption(subject: Subject, service: Service) -> Iterator[Finding]:
    """With one replica on each node, how many there are is the cluster's to say."""
    if service.port is None or service.update_order == "start-first" or not service.replicas:
        return
    if service.is_global:
        return
    if service.update.parallelism >= service.replicas:
        yield subject.in_config(
            "update-interrupts",
            ("services", service.name, "update"),
            f"services.{service.name} stops all of its replicas before it starts new ones",
        )


def _image(subject: Subject, service: Service) -> Iterator[Finding]:
    if service.image is None:
        return
    path = ("services", service.name, "image")
    if is_deprecated(service.image):
        yield subject.in_config("deprecated-base-image", path, f"{service.image} is deprecated")
    tag = service.image.rpartition("/")[2].partition(":")[2]
    if "@" not in service.image and tag in ("", "latest"):
        yield subject.in_config("untagged-image", path, f"{service.image} names no version")


CHECKS: tuple[Callable[[Subject, Service], Iterator[Finding]], ...] = (
    _memory,
    _health_check,
    _command,
    _workers,
    _trust,
    _port,
    _user,
    _rights,
    _dangers,
    _open_files,
    _secrets,
    _migrations,
    _volumes,
    _owned_volumes,
    _stop_grace,
    _drain,
    _interruption,
    _image,
)
