"""What a configuration may say that a Swarm refuses, with reasons and ways out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploytool.backends import engine_limits
from deploytool.backends.swarm.specification import templates
from deploytool.backends.swarm.specification.scripts import BY_TARGET
from deploytool.errors import ConfigError, Problem
from deploytool.spec import AppSpec, Service

LONGEST_SERVICE = 63
"""Characters. The names of release steps and configs fit whatever the app is called."""
LONGEST_SECRET = 64
VERSION = len(".999")
"""Characters that the version adds to a secret's name."""
LEAST_MEMORY = 4 * 2**20
"""Bytes that can be reserved (swarmkit's `validateResources`)."""
LEAST_CPU = 0.001
OWN_NETWORKS = ("ingress", "bridge", "host", "none", "docker_gwbridge")
SMALLEST_NETWORK = 28
KEY = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE)
VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE)
"""What swarmkit's `constraint.Parse` takes on both sides."""


def check(app: AppSpec) -> None:
    """Raises ConfigError with all that a Swarm does not take of an app."""
    if found := list(problems(app)):
        raise ConfigError(found, source="the configuration for a Swarm")


def problems(app: AppSpec) -> Iterator[Problem]:
    yield from engine_limits.problems(app)
    if app.proxy.network in OWN_NETWORKS:
        message = f"{app.proxy.network} is the engine's own, and no network for services"
        yield Problem("proxy.network", message, "name another: `proxy up` makes it")
    if int(app.proxy.subnet.partition("/")[2]) > SMALLEST_NETWORK:
        yield Problem(
            "proxy.subnet",
            "it has too few addresses: each node and each replica behind the proxy takes one",
            f"write a /{SMALLEST_NETWORK} or a larger one",
        )
    for service in app.services:
        for problem in _of(app, service):
            yield Problem(f"services.{service.name}.{problem.path}", problem.message, problem.hint)


def _of(app: AppSpec, service: Service) -> Iterator[Problem]:
    room = LONGEST_SERVICE - len(app.name) - 1
    if len(service.name) > room:
        yield Problem("name", _too_long("the name of a service", room), "shorten it, or app")
    room = LONGEST_SECRET - len(app.name) - 1 - VERSION
    for name in service.secrets:
        if len(name) > room:
            yield Problem("secrets", f"{name}: {_too_long('a secret', room)}", "shorten it, or app")
    if service.memory is not None and service.memory < LEAST_MEMORY:
        yield Problem("memory", "a Swarm takes 4MiB at least")
    if service.cpu is not None and service.cpu < LEAST_CPU:
        yield Problem("cpu", f"a Swarm takes {LEAST_CPU:g} at least")
    if "ingress" in service.networks:
        yield Problem(
            "networks",
            "no service can be attached to ingress, which is the Swarm's own",
            'leave it out; publish with mode = "ingress" opens ports on it',
        )
    for target in sorted(service.files.keys() & BY_TARGET.keys()):
        yield Problem(f'files."{target}"', "deploytool has a script there", "name another path")
    for key, fault in templates.problems(service):
        yield Problem(key, fault)
    for text in service.placement.constraints:
        key, value = (part.strip() for part in re.split("==|!=", text, maxsplit=1))
        if not KEY.fullmatch(key) or not VALUE.fullmatch(value):
            yield Problem(
                "placement.constraints", f"{text!r} has characters that a Swarm does not take"
            )


def _too_long(what: str, room: int) -> str:
    return f"with the app's name before it, {what} can have {max(0, room)} characters on a Swarm"
