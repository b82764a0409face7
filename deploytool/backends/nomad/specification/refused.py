"""What a configuration may say that has no meaning on Nomad, with reasons and ways out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deploytool.backends import engine_limits, go_templates, log_options, mounts
from deploytool.backends.mounts import Mount
from deploytool.backends.nomad.specification import literal, placement, services
from deploytool.errors import ConfigError, Problem
from deploytool.spec import AppSpec, Service

OF_THE_SWARM = re.compile(r"\{\{-?\s*\.(Node|Service|Task)\b")
"""The Swarm's templates, which Nomad cannot fill in."""
OWN = [Mount(folder, "volumes") for folder in ("/alloc", "/local", "/secrets")]
"""Folders that Nomad mounts into each container."""
UNCLOSED = re.compile(r"(?<!\$)\$\{[^}]*$")
OF_NOMAD = re.compile(r"\{\{.*?\}\}")
UNREADABLE = re.compile(r"""["'#]""")
"""Quotes and comments of the lines that make variables (hashicorp/go-envparse)."""


def check(app: AppSpec) -> None:
    """Raises ConfigError with all that Nomad cannot do of an app."""
    if found := list(problems(app)):
        raise ConfigError(found, source="the configuration for Nomad")


def problems(app: AppSpec) -> Iterator[Problem]:
    yield from engine_limits.problems(app)
    for service in app.services:
        mounted = mounts.problems(app, service, OWN)
        for problem in (*_of(service), *_mounts(service), *mounted, *_texts(app, service)):
            yield Problem(f"services.{service.name}.{problem.path}", problem.message, problem.hint)


def _of(service: Service) -> Iterator[Problem]:
    if service.is_global:
        yield Problem(
            "mode",
            "one replica on each node is a job of type system on Nomad, which is a job of its own "
            "and has no canaries",
            "set replicas, as many as there are nodes, with placement.max_per_node = 1",
        )
    if service.networks:
        yield Problem(
            "networks",
            "Nomad has no networks to attach to",
            "leave it out: replicas reach others at the addresses in Nomad's catalogue",
        )
    if service.check is not None and service.check.command:
        yield Problem(
            "healthcheck.command",
            "Nomad runs no commands to check replicas that are in its own catalogue",
            "give it a path and a port, or leave the check out: a replica is then healthy while "
            "it runs",
        )
    if service.logging.driver == "none":
        yield Problem(
            "logging.driver",
            "Nomad reads the output of replicas from the engine",
            "leave it out: Nomad keeps as much as logging.max_size and logging.max_files say",
        )
    if service.logging.driver == "json-file" and log_options.compressed(service.logging):
        yield Problem(
            "logging.options.compress",
            "Nomad rotates the output itself, and the engine compresses only what it rotates",
            "leave it out",
        )
    if service.restart.condition == "none":
        yield Problem(
            "restart.condition",
            "Nomad starts what a service runs again whenever it ends",
            "`deploytool run -- COMMAND` runs a command once",
        )
    yield from _ports(service)
    yield from _placement(service)
    yield from _templates(service)


def _mounts(service: Service) -> Iterator[Problem]:
    """The folder of secrets is one read-only mount, in which no place for others can be made."""
    for mount in mounts.of(service) if service.secrets else ():
        if mount.key != "secrets" and mount.place.startswith(f"{mounts.SECRETS}/"):
            yield Problem(mount.key, f"nothing can be mounted at {mount.place}, among the secrets")


def _ports(service: Service) -> Iterator[Problem]:
    for publish in service.publish:
        if publish.mode == "ingress":
            yield Problem(
                "publish",
                f"Nomad has no port that leads from every node to a service ({publish.port})",
                'mode = "host" opens it on the nodes that run a replica; `domains` are served by '
                "the proxy",
            )
        elif services.published(service)[publish.port] != (publish.target or service.port):
            yield Problem(
                "publish",
                f"port {publish.port} leads to two targets: on Nomad, both protocols share one",
                "publish one of them on another port",
            )


def _placement(service: Service) -> Iterator[Problem]:
    for text in service.placement.constraints:
        try:
            placement.expression(text)
        except ValueError as error:
            yield Problem("placement.constraints", str(error))
    for name in service.placement.spread:
        try:
            placement.attribute(name)
        except ValueError as error:
            yield Problem("placement.spread", str(error))


def _templates(service: Service) -> Iterator[Problem]:
    for key in service.templates:
        name = key.removeprefix("env.")
        text = service.env.get(name, "") if key.startswith("env.") else ""
        if OF_THE_SWARM.search(text):
            yield Problem(
                f"env.{name}",
                "Nomad knows none of the Swarm's templates",
                'write it for Nomad, for example {{ env "attr.unique.hostname" }}',
            )
        elif "\n" in text:
            yield Problem(f"env.{name}", "what Nomad fills in has to be one line")
        elif wrong := go_templates.problem(text):
            yield Problem(f"env.{name}", f"is a template, and {wrong}")
        elif found := UNREADABLE.search(OF_NOMAD.sub("", text)):
            yield Problem(
                f"env.{name}",
                f"Nomad reads {found[0]} in a line that it fills in as its own sign",
                "leave it out, or put the text into a file (`files`)",
            )

    if "hostname" in service.templates and OF_THE_SWARM.search(service.hostname or ""):
        yield Problem(
            "hostname",
            "Nomad knows none of the Swarm's templates",
            "write it for Nomad, for example ${node.unique.name}",
        )
    paths = [part for v in service.volumes for part in (v.source, v.target)]
    texts = {"hostname": [service.hostname or ""], "volumes": paths}
    for key in sorted(texts.keys() & set(service.templates)):
        if any(map(UNCLOSED.search, texts[key])):
            yield Problem(key, "is a template, and what ${ opens is not closed")


def _texts(app: AppSpec, service: Service) -> Iterator[Problem]:
    """Text that would not reach a replica as it is written."""
    for path, text in _without_escape(service):
        if literal.is_filled_in(text):
            name = literal.FILLED_IN.search(text)
            yield Problem(
                path,
                f"Nomad fills in {name[0] if name else ''} itself, and has no way to write it",
                "write another name, or the number"
                if path == "user"
                else "put the value into a file (`files`), or let the process put it together",
            )
    for path, text in _all(app, service):
        if not literal.is_normal(text):
            yield Problem(
                path,
                "HCL keeps text in Unicode's composed form (NFC) only, and this is not",
                "write it composed, or put it into a file (`files`)",
            )


def _without_escape(service: Service) -> Iterable[tuple[str, str]]:
    filled_in = {key.removeprefix("env.") for key in service.templates}
    yield from ((f"env.{k}", v) for k, v in service.env.items() if k not in filled_in)
    yield from ((f"labels.{key}", f"{key}={value}") for key, value in service.labels.items())
    if service.user is not None:
        yield "user", service.user
    if service.check is not None and service.check.path:
        yield "healthcheck.path", service.check.path


def _all(app: AppSpec, service: Service) -> Iterable[tuple[str, str]]:
    yield from _without_escape(service)
    yield from (("command", argument) for argument in app.command(service))
    yield from (("prestart", argument) for argument in service.prestart)
    yield from (("volumes", str(volume)) for volume in service.volumes)
    yield from (("tmpfs", folder) for folder in service.tmpfs)
    yield from (("logging.options", f"{k}={v}") for k, v in service.logging.options.items())
    yield from (("files", target) for target in service.files)
    yield from (("placement.constraints", text) for text in service.placement.constraints)
