"""[tool.deploytool] of a project that is set up: the least that says everything."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from deploytool.discover.processes.processes import FoundProcess
from deploytool.errors import UsageError
from deploytool.init.files import Fate, FileWrite, plan_file, read
from deploytool.init.memory import USUAL, in_units
from deploytool.spec import Backend

PORT = 8000
REPLICAS = 2
CONFIGURATION = ("deploytool.toml", "pyproject.toml")


@dataclass(frozen=True)
class WebService:
    """What is written of the service that serves the app; None and empty are defaults."""

    port: int = PORT
    replicas: int = REPLICAS
    health_path: str | None = None
    command: tuple[str, ...] | None = None
    """None: the default one; empty: the image's own."""
    env: dict[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    read_only: bool = True
    capabilities: str | None = None
    processes: int = 1
    """How many the image's own command starts in each replica."""
    memory: int = USUAL
    """MiB that are reserved for each process; its limit is twice that."""


@dataclass(frozen=True)
class Settings:
    """What is written of an app."""

    name: str
    registry: str
    entrypoint: str | None
    """None where [tool.fastapi] says it."""
    backend: Backend = Backend.SWARM
    web: WebService = WebService()
    release: FoundProcess | None = None
    workers: tuple[FoundProcess, ...] = ()


def plan_configuration(project: Path, settings: Settings) -> FileWrite:
    """Our table in pyproject.toml, or our own file without one; what is there is always kept."""
    if has_own_file(project):
        text = tomlkit.dumps(_into_document(tomlkit.document(), settings))
        return plan_file(project, "deploytool.toml", text, force=False)
    current = read(project / "pyproject.toml") or ""
    if "deploytool" in _tool(current):
        return FileWrite("pyproject.toml", current, Fate.KEPT)
    ours = _into_document(tomlkit.table(is_super_table=False), settings)
    for text in (_appended(current, ours), _inserted(current, ours)):
        if "deploytool" in _tool(text):
            return FileWrite("pyproject.toml", text, Fate.ADDED)
    raise UsageError(
        "[tool.deploytool] cannot be added to pyproject.toml as it is written",
        code="file_invalid",
        hint="write its tool tables with [tool.NAME] headings, or keep a deploytool.toml",
    )


def has_own_file(project: Path) -> bool:
    """Whether the configuration is, or will be, in a deploytool.toml."""
    return (project / "deploytool.toml").exists() or not (project / "pyproject.toml").exists()


def configured(project: Path) -> dict[str, Any]:
    """The configuration that a project has already; empty without one."""
    own = read(project / "deploytool.toml")
    table = _toml(own) if own else _tool(read(project / "pyproject.toml") or "").get("deploytool")
    return table if isinstance(table, dict) else {}


def configured_backend(project: Path) -> Backend | None:
    """The cluster that an existing configuration names; None without one."""
    ours = configured(project)
    with suppress(ValueError):
        return Backend(ours.get("backend", Backend.SWARM)) if ours else None
    return None


def configured_services(project: Path) -> list[dict[str, Any]]:
    """The tables of its services."""
    services = configured(project).get("services")
    tables = services.values() if isinstance(services, dict) else ()
    return [table for table in tables if isinstance(table, dict)]


def configured_names(project: Path) -> frozenset[str]:
    """The variables and secrets that the services of an existing configuration have."""
    names: set[str] = set()
    for service in configured_services(project):
        for key in ("env", "secrets"):
            names.update(name for name in service.get(key) or () if isinstance(name, str))
    return frozenset(names)


def has_domains(project: Path) -> bool:
    """Whether a service of an existing configuration has domains."""
    return any(service.get("domains") for service in configured_services(project))


def configured_port(project: Path) -> int | None:
    """The port of the first service that has one in an existing configuration."""
    for service in configured_services(project):
        port = service.get("port")
        if isinstance(port, int) and 0 < port < 65536:
            return port
    return None


def _tool(text: str) -> dict[str, Any]:
    tool = _toml(text).get("tool")
    return tool if isinstance(tool, dict) else {}


def _toml(text: str) -> dict[str, Any]:
    """A TOML document; empty when it is none."""
    try:
        return tomli.loads(text.removeprefix("\ufeff"))
    except ValueError:
        return {}


def _appended(current: str, ours: Any) -> str:
    """The file as it is, byte for byte, and our tables behind it."""
    newline = "\r\n" if "\r\n" in current else "\n"
    tool = tomlkit.table(is_super_table=True)
    tool["deploytool"] = ours
    document = tomlkit.document()
    document["tool"] = tool
    gap = "" if not current.strip() else "\n" if current.endswith("\n") else "\n\n"
    return current + (gap + tomlkit.dumps(document)).replace("\n", newline)


def _inserted(current: str, ours: Any) -> str:
    """For files whose tool table cannot be continued at the end: inline or dotted."""
    try:
        document = tomlkit.parse(current)
        tool = document["tool"]
        tool["deploytool"] = ours.unwrap() if isinstance(tool, InlineTable) else ours
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError, KeyError, TypeError):
        return current


def _into_document(table: Any, settings: Settings) -> Any:
    """Defaults are not repeated."""
    table["app"] = settings.name
    table["backend"] = settings.backend.value
    table["registry"] = settings.registry
    if settings.entrypoint:
        table["entrypoint"] = settings.entrypoint
    if settings.release:
        table["release"] = tomlkit.table()
        table["release"]["command"] = list(settings.release.command)
    services = tomlkit.table(is_super_table=True)
    services["web"] = _web(settings)
    for worker in settings.workers:
        first = [("command", list(worker.command))]
        services[worker.name] = _sized(first, settings.web.memory, settings.backend)
        _add_storage(services[worker.name], settings.web)
    table["services"] = services
    return table


def _web(settings: Settings) -> Any:
    web = settings.web
    first = [("replicas", web.replicas), ("port", web.port)]
    table = _sized(first, web.memory * web.processes, settings.backend)
    if web.command is not None:
        table["command"] = list(web.command)
    if web.capabilities is not None:
        table["capabilities"] = web.capabilities
    _add_storage(table, web)
    if web.health_path:
        table["healthcheck"] = tomlkit.table()
        table["healthcheck"]["path"] = web.health_path
    return table


def _add_storage(table: Any, web: WebService) -> None:
    """Where the app's files are, which its workers write too."""
    if web.volumes:
        table["volumes"] = list(web.volumes)
    if not web.read_only:
        table["read_only"] = False
    if web.env:
        table["env"] = tomlkit.table()
        table["env"].update(web.env)


def _sized(first: Iterable[tuple[str, Any]], memory: int, backend: Backend) -> Any:
    """A service with so many MiB of memory, and a part of a core. On Nomad a limit of cores has no
    effect, so that none is written."""
    table = tomlkit.table()
    for key, value in first:
        table[key] = value
    table["memory"] = in_units(memory)
    table["memory_limit"] = in_units(2 * memory)
    table["cpu"] = 0.1
    if backend is Backend.SWARM:
        table["cpu_limit"] = 1.0
    return table
