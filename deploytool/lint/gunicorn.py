"""The rule about a Gunicorn that takes no networks in FORWARDED_ALLOW_IPS, and does not start with
them, be they deploytool's or somebody's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from deploytool.discover import find_packaging
from deploytool.discover.apps.app import find_app
from deploytool.discover.dependencies.index import NoIndex
from deploytool.discover.dependencies.requested import parsed
from deploytool.discover.dependencies.resolve import resolve
from deploytool.errors import UsageError
from deploytool.lint.commands import Command
from deploytool.lint.rules import Finding
from deploytool.lint.subject import Subject, runs_image_command

if TYPE_CHECKING:
    from deploytool.spec import Service

NETWORKS = Version("24.1")
"""The first Gunicorn that takes networks."""
RULE = "gunicorn-takes-no-network"
VARIABLE = "FORWARDED_ALLOW_IPS"


def check(subject: Subject) -> Iterator[Finding]:
    """The services of the app's image that an old Gunicorn keeps from starting."""
    users = [s for s in subject.built_services if runs_gunicorn(subject, s)]
    if not (subject.loaded and users):
        return
    try:
        app = subject.loaded.app_spec()
    except UsageError:
        return
    told = [(s, where) for s in users if (where := _told(subject, s, bool(app.hosts(s))))]
    if told and is_old(subject):
        for service, where in told:
            yield subject.in_config(
                RULE,
                ("services", service.name, *where),
                f"services.{service.name} runs a Gunicorn before 24.1",
            )


def _told(subject: Subject, service: Service, is_proxied: bool) -> tuple[str, ...]:
    """The key of a service by which its Gunicorn gets a network; empty for none."""
    runs = ("command" if service.command else "port",)
    of_image = subject.stage.env if subject.stage else {}
    if _has_network(_command(subject, service).option("--forwarded-allow-ips")):
        return runs
    if VARIABLE in service.env:
        return ("env", VARIABLE) if _has_network(service.env[VARIABLE]) else ()
    return runs if is_proxied or _has_network(of_image.get(VARIABLE)) else ()


def _has_network(trusted: str | None) -> bool:
    return "/" in (trusted or "")


def _command(subject: Subject, service: Service) -> Command:
    own = Command.read(service.command or ())
    return subject.image_command if runs_image_command(service) else own


def runs_gunicorn(subject: Subject, service: Service) -> bool:
    return _command(subject, service).server == "gunicorn"


def is_old(subject: Subject) -> bool:
    """Whether the project's dependencies bring a Gunicorn that takes no networks, as far as its
    files say."""
    if subject.loaded is None:
        return False
    project = subject.loaded.project
    try:
        found = find_packaging(project, find_app(project, others=False).file)
    except UsageError:
        return False
    index = NoIndex(project)
    known = resolve(project, found, constraint=found.constraint, hint=None, index=index)
    try:
        if version := known.versions.get("gunicorn"):
            return Version(version) < NETWORKS
        wanted = [r for r in map(parsed, found.listed) if r and r.name.lower() == "gunicorn"]
        return any(_excludes_new(r.specifier) for r in wanted)
    except (InvalidVersion, InvalidSpecifier):
        return False


def _excludes_new(asked: SpecifierSet) -> bool:
    """Whether no version from that on satisfies a requirement: `<24`, `~=23.0`."""
    later = (f"{NETWORKS}.0", *(f"{major}.{minor}" for major in range(25, 40) for minor in (0, 1)))
    return not any(asked.contains(version) for version in later)
