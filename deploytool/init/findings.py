"""Reads a project, and decides what is written for it and what has to be said about it.

Each finder of `deploytool.discover` answers one question about the source; here the answers meet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from deploytool.discover import (
    FoundApp,
    FoundPackaging,
    FoundProcesses,
    Kept,
    Listed,
    Packaging,
    Project,
    Resolution,
    Source,
    Storage,
    find_app,
    find_needs,
    find_packaging,
    find_processes,
    find_settings,
    find_sources,
    find_writes,
    folders_of_tests,
    pkg_resources_needs,
    python_hint,
    reached_files,
    read_kept,
    resolve,
    settings_notes,
    storage,
    system_packages,
    with_own_metadata,
)
from deploytool.errors import UsageError
from deploytool.init import server
from deploytool.init.configuration import (
    PORT,
    REPLICAS,
    Settings,
    WebService,
    configured_port,
)

DEFAULT_REGISTRY = "localhost:5000"
LONGEST_NAME = 40


@dataclass(frozen=True)
class Findings:
    """What a project says about itself, and what it does not say and was chosen."""

    project: Path
    app: FoundApp
    packaging: FoundPackaging
    sources: tuple[str, ...]
    tests: tuple[str, ...]
    storage: Storage
    kept: Kept | None
    """The Dockerfile that was there, if it stays."""
    settings: Settings
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.settings.name


def inspect_project(
    project: Path,
    *,
    entrypoint: str | None = None,
    registry: str | None = None,
    name: str | None = None,
    force: bool = False,
    offline: bool = False,
) -> Findings:
    """Read a project. Raises UsageError when it is none, or has no app or several.

    With `force` a Dockerfile that is there counts for nothing, as it is replaced. With `offline`
    the package index is not asked.
    """
    if not project.is_dir():
        raise UsageError(
            f"{project} is not a folder",
            code="no_project",
            hint="name the folder that has the project's pyproject.toml or main.py",
        )
    return Inspection(project, entrypoint, force=force, offline=offline).findings(registry, name)


def valid_name(text: str) -> str:
    """The nearest name that a cluster accepts: lower-case letters, digits, hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:LONGEST_NAME].strip("-")
    return name or "app"


class Inspection:
    """One look at a project: everything is asked for once."""

    def __init__(
        self, folder: Path, entrypoint: str | None, *, force: bool, offline: bool
    ) -> None:
        self.folder = folder
        self.project = Project(folder)
        self.offline = offline
        self.app = find_app(folder, entrypoint)
        self.kept = None if force else read_kept(self.project)
        self.processes = find_processes(self.project, self.app)
        self.sources = find_sources(
            folder, self.app, modules=self.processes.modules, files=self.processes.files
        )
        self.files = reached_files(self.project, self.app)
        self.packaging, self.resolution = self._packaging()
        writes = find_writes(self.project, self.files, PurePosixPath(self.app.workdir))
        self.storage = storage(writes, self.sources)

    def findings(self, registry: str | None, name: str | None) -> Findings:
        named = name or self.packaging.name or self.folder.resolve().name
        app = self.app
        settings = Settings(
            name=valid_name(named),
            registry=registry or DEFAULT_REGISTRY,
            entrypoint=None if app.source is Source.FASTAPI else app.entrypoint,
            web=self._web(),
            release=self.processes.release.command if self.processes.release else (),
            workers=tuple((worker.name, worker.command) for worker in self.processes.workers),
        )
        return Findings(
            project=self.folder,
            app=app,
            packaging=self.packaging,
            sources=self.sources,
            tests=folders_of_tests(self.folder, self.sources),
            storage=self.storage,
            kept=self.kept,
            settings=settings,
            warnings=tuple(dict.fromkeys(self._warnings())),
        )

    # --- dependencies ---------------------------------------------------------------------------

    def _packaging(self) -> tuple[FoundPackaging, Resolution]:
        """How dependencies are installed, with the Python that suits them."""
        found = with_own_metadata(self.project, self.app, find_packaging(self.folder, self.app.file))
        resolution = resolve(
            self.folder,
            found,
            constraint=found.constraint,
            hint=python_hint(self.project, found),
            offline=self.offline or self.kept is not None,
        )
        debian = system_packages(
            resolution.versions, resolution.source_only, vcs=bool(resolution.vcs)
        )
        found = replace(
            found,
            python=resolution.python,
            python_why=resolution.why,
            build_packages=debian.build,
            run_packages=debian.run,
        )
        return found, replace(resolution, notes=(*resolution.notes, *debian.notes))

    def _listed(self) -> Listed:
        found, resolution = self.packaging, self.resolution
        return Listed.of(
            found.listed,
            installed=resolution.versions,
            complete=resolution.complete,
            where=" or ".join(found.files) or "any file",
            optional=dict(found.optional),
        )

    # --- what is written --------------------------------------------------------------------------

    def _web(self) -> WebService:
        port = configured_port(self.folder)
        health = self.app.health_path
        if self.kept:
            return WebService(
                port=port or self.kept.port or PORT,
                health_path=health,
                command=(),
                read_only=False,
                capabilities="default",
                replicas=self.storage.replicas or REPLICAS,
            )
        uvicorn = self.resolution.versions.get("uvicorn")
        return WebService(
            port=port or PORT,
            replicas=self.storage.replicas or REPLICAS,
            health_path=health,
            command=server.command_for(uvicorn, self.app.entrypoint, port or PORT),
            env=dict(self.storage.env),
            volumes=tuple(f"{name}:{target}" for name, target in self.storage.volumes),
            read_only=self.storage.read_only,
        )

    # --- what is said -------------------------------------------------------------------------------

    def _warnings(self) -> Iterator[str]:
        if self.kept:
            yield from self.kept.notes
        else:
            yield from self.packaging.warnings
            yield from self._about_dependencies()
        yield from self.storage.notes
        yield from settings_notes(find_settings(self.project, self.files))
        yield from self.processes.proposals
        yield from self._other_apps()
        if not self.app.health_path:
            yield (
                f"no health check was written: {self.app.health_why}. Add a GET /health and "
                'path = "/health" in [tool.deploytool.services.web.healthcheck]'
            )

    def _about_dependencies(self) -> Iterator[str]:
        resolution = self.resolution
        yield from resolution.notes
        entry = PurePosixPath(self.app.file)
        for need in find_needs(self.project, self.files, self._listed(), entry):
            yield need.message
        for need in pkg_resources_needs(resolution.versions, self.packaging.python):
            yield need.message
        yield from server.notes(resolution.versions.get("uvicorn"))
        if self.packaging.metadata and self.packaging.versions_from_history:
            yield (
                "the package's version comes from Git, which is not in the image: "
                "there it is 0.0.0"
            )

    def _other_apps(self) -> Iterator[str]:
        if self.app.others:
            yield (
                f"{self.app.entrypoint} was taken; there are other apps too: "
                f"{', '.join(self.app.others)}. Take one with --entrypoint"
            )


__all__ = ["Findings", "Inspection", "Packaging", "inspect_project", "valid_name"]
