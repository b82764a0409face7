"""AppSpec → the job that Nomad is given: one job per app, one group and task per service. Pure.

Field names are those of Nomad's Go types (`api.Job`), durations are in nanoseconds. What the server
adds by itself is left to it. tests/contract/ holds every job against the official types.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from deploytool.backends.nomad.specification import (
    literal,
    placement,
    policies,
    proxy,
    refused,
    secrets,
    services,
    task,
)
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import (
    EVENTS_BY_IDENTITY,
    NEWEST,
    NO_MEMORY_LIMIT,
    TEMPLATE_ONCE,
    ServerVersion,
)
from deploytool.config.nomad import NomadSettings
from deploytool.errors import Problem
from deploytool.json_types import Json
from deploytool.spec import AppSpec, HealthCheck, Release, Service
from deploytool.units import format_duration

APP = "deploytool.app"
"""Key of the job's metadata that says whose it is. It never changes: metadata of a job is every
task's, and replaces them all when it does."""
RELEASE = "deploytool.release"
"""Key of a group's metadata that says of which release its replicas are."""
DISK = 300
"""MiB that a replica may write on its node's disk, its logs included."""
MAX_KILL_TIMEOUT = 30_000
"""Milliseconds beyond which clients cap `kill_timeout`, unless they are configured otherwise."""


@dataclass(frozen=True)
class Compiled:
    job: Json
    notes: tuple[str, ...] = ()
    """What of the configuration has no effect on this cluster, and why."""

    @property
    def text(self) -> str:
        """The job as it is submitted: `{"Job": …}`."""
        return json.dumps({"Job": self.job}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def compile_release(
    release: Release,
    settings: NomadSettings,
    *,
    files: Mapping[str, bytes],
    version: ServerVersion = NEWEST,
    releases: Mapping[str, str] | None = None,
) -> Compiled:
    """The job of a release. Raises ConfigError for what Nomad cannot do. `releases` are the ids
    that groups are stamped with; a new one replaces the replicas, so that it is given to those
    alone that change otherwise."""
    source = Source(
        app=release.spec,
        settings=settings,
        images=release.images,
        secrets=release.secrets,
        files=files,
        version=version,
    )
    return compile_app(source, releases=releases)


def compile_app(source: Source, *, releases: Mapping[str, str] | None = None) -> Compiled:
    """The job of an app. Raises ConfigError for what Nomad cannot do."""
    refused.check(source.app)
    stamps = releases or {}
    ordered = sorted(source.app.services, key=lambda service: service.name)
    groups = [_group(source, service, stamps.get(service.name)) for service in ordered]
    kind = "system" if proxy.of_system(source.app) else "service"
    return Compiled(
        job=_job(source, source.app.name, kind) | {"TaskGroups": groups},
        notes=tuple(notes(source)),
    )


def _job(source: Source, name: str, kind: str) -> Json:
    settings = source.settings
    found: Json = {
        "ID": name,
        "Name": name,
        "Type": kind,
        "Region": settings.region,
        "Namespace": settings.namespace,
        "Datacenters": sorted(settings.datacenters),
        "NodePool": settings.node_pool,
        "Priority": 50,
        "AllAtOnce": False,
        "Meta": {APP: source.app.name},
    }
    return {key: value for key, value in found.items() if value is not None}


def _group(source: Source, service: Service, release: str | None) -> Json:
    image = source.images.get(service.name)
    own = {k: v for k, v in service.labels.items() if not services.is_tag(k)}
    found: Json = {
        "Name": service.name,
        "Count": service.replicas,
        "Constraints": placement.constraints(service, image),
        "Spreads": placement.spreads(service),
        "Update": policies.update(service),
        "RestartPolicy": policies.restart(service),
        "ReschedulePolicy": policies.reschedule(service),
        "Disconnect": policies.disconnect(),
        "Migrate": policies.migrate(service),
        "EphemeralDisk": {"SizeMB": disk(service), "Sticky": False, "Migrate": False},
        "Networks": services.network(service),
        "Meta": own | ({RELEASE: release} if release else {}),
        "Tasks": [task.task(source, service)],
    }
    usual = {key: value for key, value in found.items() if value != [] and value != {}}
    return proxy.group(usual, source, service) if proxy.is_proxy(service) else usual


def disk(service: Service) -> int:
    """MiB for the logs of both streams, and room for the rest."""
    return max(DISK, 2 * service.logging.max_files * task.log_size(service) + 100)


def compile_one_off(
    source: Source, service: Service, name: str, command: Sequence[str], release: str
) -> Json:
    """A job that runs a command once, with the image, variables, files and secrets of a service.

    Nomad starts it once and never again: no restarts, no other node, no replacement when its node
    is lost. Its secrets are those at its own path, as its identity may not read the app's.
    """
    usual = task.task(replace(source, secrets=_at_own_path(source, service, name)), service)
    borrowed = {key: value for key, value in usual.items() if key not in ("Services", "Meta")}
    config = {k: v for k, v in usual["Config"].items() if k not in ("args", "ports")}
    escaped = literal.for_driver(list(command))
    group: Json = {
        "Name": service.name,
        "Count": 1,
        "Constraints": [
            constraint
            for constraint in placement.constraints(service, source.images.get(service.name))
            if not constraint["Operand"].startswith("distinct_")
        ],
        "RestartPolicy": {
            "Attempts": 0,
            "Interval": policies.ns(policies.LEAST_DELAY),
            "Delay": policies.ns(policies.LEAST_DELAY),
            "Mode": "fail",
            "RenderTemplates": False,
        },
        "ReschedulePolicy": {
            "Attempts": 0,
            "Interval": 0,
            "Delay": policies.ns(policies.LEAST_DELAY),
            "DelayFunction": "constant",
            "MaxDelay": 0,
            "Unlimited": False,
        },
        "Disconnect": {
            "LostAfter": policies.ns(policies.FOR_EVER),
            "Replace": False,
            "Reconcile": "keep_original",
        },
        "EphemeralDisk": {"SizeMB": disk(service), "Sticky": False, "Migrate": False},
        "Tasks": [borrowed | {"Config": config | {"args": escaped}, "ShutdownDelay": 0}],
    }
    if not group["Constraints"]:
        del group["Constraints"]
    meta = {APP: source.app.name, RELEASE: release}
    job = _job(source, name, "batch") | {"Meta": meta, "TaskGroups": [group]}
    return proxy.pulling(job) if proxy.is_proxy(service) else job


def _at_own_path(source: Source, service: Service, name: str) -> dict[str, str]:
    """The versions of a service's secrets, as items of the job's own variable."""
    found = {secret: task.secret_version(source, secret) for secret in service.secrets}
    own = secrets.paths(name, service.name)[0]
    return {secret: str(version._replace(path=own)) for secret, version in found.items()}


def notes(source: Source) -> Iterator[str]:
    """What of the configuration has no effect, and what the server does not know."""
    for problem in without_effect(source.app):
        yield f"{problem.path} has no effect on Nomad: {problem.message}"
    for service in source.app.services:
        yield from _of_the_version(source, service)


def without_effect(app: AppSpec) -> Iterator[Problem]:
    """What of an app Nomad passes over, whatever its version."""
    for service in app.services:
        for key, why in _without_effect(service):
            yield Problem(f"services.{service.name}.{key}", why)


def _without_effect(service: Service) -> Iterator[tuple[str, str]]:
    if service.cpu_limit is not None and service.cpu_limit != service.cpu:
        yield "cpu_limit", "replicas use what is free on their node; with the value of cpu it caps"
    if service.update.delay:
        yield "update.delay", "the next replicas follow when the last are healthy"
    if service.update.max_failure_ratio:
        yield "update.max_failure_ratio", "the first replica that fails ends the update"
    if service.restart.condition == "on-failure":
        yield "restart.condition", "a replica that ends without an error is started again too"
    check = service.check
    if check is not None and any(t < policies.SECOND for t in (check.interval, check.timeout) if t):
        yield "healthcheck.interval", "Nomad's checks have a second at least"
    if check is not None and check.start_interval != HealthCheck(path="/").start_interval:
        yield "healthcheck.start_interval", "a replica that starts is checked as any other"
    if task.kill_timeout(service) > MAX_KILL_TIMEOUT:
        yield (
            "stop_grace",
            "clients kill after 30s, unless their max_kill_timeout says more: "
            f"{format_duration(task.kill_timeout(service))} are left of it after drain",
        )


def _of_the_version(source: Source, service: Service) -> Iterator[str]:
    has_templates = bool(service.files or service.secrets)
    if source.version < TEMPLATE_ONCE and has_templates:
        yield (
            f"Nomad {source.version} watches the files of {service.name} as long as it runs, and "
            f"ends replicas when no server answers for minutes: {TEMPLATE_ONCE} does not"
        )
    if proxy.is_proxy(service) and source.version < EVENTS_BY_IDENTITY:
        yield (
            f"Nomad {source.version} gives events to nobody but holders of tokens: the proxy looks "
            "at the catalogue every second instead"
        )
    if source.version < NO_MEMORY_LIMIT and service.memory_limit is None:
        reserved, _ = task.memory(service)
        yield (
            f"Nomad {source.version} has no memory without a limit: a replica of {service.name} "
            f"that uses more than {reserved} MiB is killed; set memory_limit"
        )
