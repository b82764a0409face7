"""What a configuration may say that a Swarm refuses, with reasons and ways out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from deploytool.backends import engine_limits, go_templates, log_options, mounts
from deploytool.backends.mounts import Mount
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import templates
from deploytool.capacity import ADDRESS, folded, parts_of
from deploytool.capacity import LABELS as LABEL_KEYS
from deploytool.errors import ConfigError, Problem
from deploytool.spec import RESERVED, AppSpec, ProxySettings, Service

LONGEST_SERVICE = 63
"""Characters. The names of release steps and configs fit whatever the app is called."""
LONGEST_SECRET = 64
VERSION = len(".999")
"""Characters that the version adds to a secret's name."""
LEAST_MEMORY = 4 * 2**20
"""Bytes that can be reserved (swarmkit's `validateResources`)."""
LEAST_CPU = 0.001
PREDEFINED_BY = {"ingress": "the Swarm's"} | dict.fromkeys(
    ("bridge", "default", "host", "none"), "each engine's"
)
"""Networks that are there before anybody makes one, and whose they are."""
NETWORK = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?")
UNUSABLE = 4
"""Addresses of a network: its own, broadcast, the gateway and that of a node, which sends on what
goes to services."""
OF_PROXY = 2
FIELDS: go_templates.Fields = {
    "Service": {"ID": {}, "Name": {}, "Labels": {}},
    "Node": {"ID": {}, "Hostname": {}, "Platform": {"Architecture": {}, "OS": {}}},
    "Task": {"ID": {}, "Name": {}, "Slot": {}},
}
"""What the Swarm fills in (`Context` in swarmkit's template/context.go). It tries each template
with a service that has no label, so that none can be named."""
LABELS = 'write {{index .Service.Labels "NAME"}}'
FUNCTIONS = frozenset({"join"})
KEY = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE)
VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE)
"""What swarmkit's `constraint.Parse` takes on both sides."""
CONSTRAINT_KEYS = (
    *("node.id", "node.hostname", "node.role", "node.platform.os", "node.platform.arch"),
    ADDRESS,
)
CONSTRAINT_HINT = (
    f"write node.labels.NAME, engine.labels.NAME, or one of {', '.join(CONSTRAINT_KEYS)}"
)


def check(app: AppSpec) -> None:
    """Raises ConfigError with all that a Swarm does not take of an app."""
    if found := list(problems(app)):
        raise ConfigError(found, source="the configuration for a Swarm")


def problems(app: AppSpec) -> Iterator[Problem]:
    yield from engine_limits.problems(app)
    yield from _proxy_network(app)
    yield from _constraints("proxy.constraints", app.proxy.constraints)
    for service in app.services:
        own = [Mount(s.target, "files", is_file=True) for s in swarm.scripts(app, service)]
        mounted = mounts.problems(app, service, own)
        for problem in (*_of(app, service), *mounted, *_templates(service)):
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
    for name in sorted(PREDEFINED_BY.keys() & {*service.networks} - {"bridge", app.proxy.network}):
        yield Problem(
            "networks",
            f"no service can be attached to {name}, which is {PREDEFINED_BY[name]} own, beside its "
            "app's network",
            'leave it out; publish with mode = "ingress" or "host" opens ports',
        )
    if service.logging.max_files == 1 and log_options.compressed(service.logging):
        yield Problem(
            "logging.max_files",
            f"{service.logging.driver} compresses rotated files, of which 1 keeps none",
            'set 2, or options = { compress = "false" }',
        )
    yield from _constraints("placement.constraints", service.placement.constraints)


def _constraints(key: str, constraints: Sequence[str]) -> Iterator[Problem]:
    for text in constraints:
        if why := _why_no_constraint(text):
            yield Problem(key, f"{text!r} {why}", CONSTRAINT_HINT)


def _why_no_constraint(text: str) -> str:
    """What is wrong with a constraint; empty for nothing. No node meets one that a Swarm does not
    know, whatever its operator (swarmkit's `constraint.NodeMatches`)."""
    key, _, value = parts_of(text)
    if not KEY.fullmatch(key) or not VALUE.fullmatch(value):
        return "has characters that a Swarm does not take"
    key = folded(key)
    if key not in CONSTRAINT_KEYS and (key in LABEL_KEYS or not key.startswith(LABEL_KEYS)):
        return f"asks for {key}, which no node of a Swarm has"
    if key == ADDRESS:
        try:
            ip_network(value, strict=False)
        except ValueError:
            return f"asks for {value}, which is neither an address nor a network"
    return ""


def _proxy_network(app: AppSpec) -> Iterator[Problem]:
    """The network of the proxy, where a service is on it."""
    on_it = [s for s in app.services if app.proxy.network in swarm.networks(app, s)]
    if not on_it:
        return
    name = app.proxy.network
    if name in PREDEFINED_BY:
        yield Problem("proxy.network", f"{name} is {PREDEFINED_BY[name]} own: name another")
    elif name in map(swarm.default_network, (app.name, *RESERVED)):
        yield Problem("proxy.network", f"{name} is the network of one app alone: name another")
    elif not NETWORK.fullmatch(name) or len(name) > LONGEST_SERVICE:
        yield Problem(
            "proxy.network",
            f"a Swarm takes up to {LONGEST_SERVICE} letters, digits, hyphens and underscores, with "
            "a letter or digit at both ends",
        )
    # One of each service for itself, and one for each replica, also of those that take over.
    needed = OF_PROXY + sum(1 + service.replicas + service.surge for service in on_it)
    has = ip_network(app.proxy.subnet).num_addresses - UNUSABLE
    if needed > has:
        yield Problem(
            "proxy.subnet",
            f"{app.proxy.subnet} has {max(0, has)} addresses, and the proxy and the replicas of "
            f"this app need {needed}",
            f'leave it out, which is "{ProxySettings().subnet}"',
        )


def _templates(service: Service) -> Iterator[Problem]:
    for key, text in templates.filled_in(service):
        if found := go_templates.problem(text, fields=FIELDS, functions=FUNCTIONS):
            hint = LABELS if ".Service.Labels." in text else ""
            yield Problem(key, f"is a template, and {found}", hint)


def _too_long(what: str, room: int) -> str:
    return f"with the app's name before it, {what} can have {max(0, room)} characters on a Swarm"
