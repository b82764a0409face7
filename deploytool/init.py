"""Sets a project up: finds its app and packaging, writes configuration, Dockerfile and stack.

inspect_project ─▶ Findings ─▶ plan_files ──▶ FileWrite… ─▶ write
(reads only)                   (what would be)             (each file whole or untouched)
configuration, as it is now ─▶ plan_rendered ▶ FileWrite… ─▶ write
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from deploytool.discover import (
    FoundApp,
    FoundPackaging,
    Source,
    find_app,
    find_packaging,
    find_sources,
    folders_of_tests,
)
from deploytool.errors import UsageError
from deploytool.image.dockerfile import render_dockerfile, render_dockerignore

DEFAULT_REGISTRY = "localhost:5000"
PORT = 8000
LONGEST_NAME = 40


@dataclass(frozen=True)
class Findings:
    """What a project says about itself, and what it does not say and was chosen."""

    project: Path
    name: str
    registry: str
    app: FoundApp
    packaging: FoundPackaging
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.app.health_path:
            return self.packaging.warnings
        advice = (
            f"no health check was written: {self.app.health_why}. Add a GET /health and "
            'path = "/health" in [tool.deploytool.services.web.healthcheck]'
        )
        return (*self.packaging.warnings, advice)


class Fate(StrEnum):
    WRITTEN = "written"
    REPLACED = "replaced"
    ADDED = "added to"
    KEPT = "kept"
    SAME = "already as it should be"


@dataclass(frozen=True)
class FileWrite:
    """A file as it should be, relative to the project, and what happens to the one there."""

    path: str
    text: str
    fate: Fate

    @property
    def changes(self) -> bool:
        return self.fate not in (Fate.KEPT, Fate.SAME)


def inspect_project(
    project: Path,
    *,
    entrypoint: str | None = None,
    registry: str | None = None,
    name: str | None = None,
) -> Findings:
    """Read a project. Raises UsageError when it is none, or has no app or several."""
    if not project.is_dir():
        raise UsageError(
            f"{project} is not a folder",
            code="no_project",
            hint="name the folder that has the project's pyproject.toml or main.py",
        )
    app = find_app(project, entrypoint)
    packaging = find_packaging(project, app.file)
    sources = find_sources(project, app)
    return Findings(
        project=project,
        name=valid_name(name or packaging.name or project.resolve().name),
        registry=registry or DEFAULT_REGISTRY,
        app=app,
        packaging=packaging,
        sources=sources,
        tests=folders_of_tests(project, sources),
    )


def valid_name(text: str) -> str:
    """The nearest name that a cluster accepts: lower-case letters, digits, hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:LONGEST_NAME].strip("-")
    return name or "app"


def plan_files(findings: Findings, *, force: bool = False) -> tuple[FileWrite, ...]:
    """What `write` would do, file by file. Existing files are kept unless `force`.

    The configuration is kept always: unlike the other files it is not made from the source.
    """
    dockerfile = render_dockerfile(
        findings.app, findings.packaging, findings.sources, port=_configured_port(findings.project)
    )
    ignore = render_dockerignore(findings.packaging, findings.sources, findings.tests)
    return (
        _plan_configuration(findings),
        plan_file(findings.project, "Dockerfile", dockerfile, force=force),
        plan_file(findings.project, ".dockerignore", ignore, force=force),
    )


def _configured_port(project: Path) -> int:
    """The port of the first service that has one in an existing configuration."""
    own = _read(project / "deploytool.toml")
    document = _toml(own) if own else _tool(_read(project / "pyproject.toml") or "")
    table = document if own else document.get("deploytool")
    services = table.get("services") if isinstance(table, dict) else None
    for service in services.values() if isinstance(services, dict) else ():
        port = service.get("port") if isinstance(service, dict) else None
        if isinstance(port, int) and 0 < port < 65536:
            return port
    return PORT


def plan_file(project: Path, path: str, text: str, *, force: bool) -> FileWrite:
    """One file that is ours alone."""
    current = _read(project / path)
    if current is None and not (project / path).exists():
        return FileWrite(path, text, Fate.WRITTEN)
    if current == text:
        return FileWrite(path, text, Fate.SAME)
    return FileWrite(path, text, Fate.REPLACED if force else Fate.KEPT)


def write(project: Path, planned: Iterable[FileWrite]) -> None:
    """Write what changes. Each file is whole or as it was, even when interrupted.

    Raises UsageError when a file cannot be written.
    """
    for file in planned:
        if file.changes:
            try:
                _write_whole(project / file.path, file.text)
            except OSError as error:
                raise UsageError(
                    f"{file.path} cannot be written: {error.strerror or error}",
                    code="not_writable",
                    hint="nothing is half-written; free the way and run this again",
                ) from error


def plan_rendered(project: Path, *, force: bool = False) -> tuple[FileWrite, ...]:
    """The stack or job files of the configuration that is in the project now.

    Raises ConfigError when that is not valid.
    """
    from deploytool.config import load
    from deploytool.render.files import render_files

    files = render_files(load(project).app_spec())
    return tuple(plan_file(project, str(file.path), file.text, force=force) for file in files)


# --- configuration -------------------------------------------------------------------------------


def _plan_configuration(findings: Findings) -> FileWrite:
    """Our table in pyproject.toml, or our own file without one; what is there is always kept."""
    project = findings.project
    if (project / "deploytool.toml").exists() or not (project / "pyproject.toml").exists():
        text = tomlkit.dumps(_into_document(tomlkit.document(), findings))
        return plan_file(project, "deploytool.toml", text, force=False)
    current = _read(project / "pyproject.toml") or ""
    if "deploytool" in _tool(current):
        return FileWrite("pyproject.toml", current, Fate.KEPT)
    ours = _into_document(tomlkit.table(is_super_table=False), findings)
    for text in (_appended(current, ours), _inserted(current, ours)):
        if "deploytool" in _tool(text):
            return FileWrite("pyproject.toml", text, Fate.ADDED)
    raise UsageError(
        "[tool.deploytool] cannot be added to pyproject.toml as it is written",
        code="file_invalid",
        hint="write its tool tables with [tool.NAME] headings, or keep a deploytool.toml",
    )


def _tool(text: str) -> dict[str, Any]:
    tool = _toml(text).get("tool")
    return tool if isinstance(tool, dict) else {}


def _toml(text: str) -> dict[str, Any]:
    """A TOML document; empty when it is none."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
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


def _into_document(table: Any, findings: Findings) -> Any:
    """The least that says everything; defaults are not repeated."""
    table["app"] = findings.name
    table["backend"] = "swarm"
    table["registry"] = findings.registry
    if findings.app.source is not Source.FASTAPI:
        table["entrypoint"] = findings.app.entrypoint
    web = tomlkit.table()
    web["replicas"] = 2
    web["port"] = PORT
    web["memory"] = "128MiB"
    web["memory_limit"] = "256MiB"
    web["cpu"] = 0.1
    web["cpu_limit"] = 1.0
    if findings.app.health_path:
        web["healthcheck"] = tomlkit.table()
        web["healthcheck"]["path"] = findings.app.health_path
    table["services"] = tomlkit.table(is_super_table=True)
    table["services"]["web"] = web
    return table


# --- files ----------------------------------------------------------------------------------------


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write_whole(path: Path, text: str) -> None:
    """Through a file beside it and a rename; permissions of an existing file are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
