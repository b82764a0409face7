"""Reads a project, and decides what is written for it and what has to be said about it.

Each finder of `deploytool.discover` answers one question about the source; here the answers meet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from deploytool.config.file import as_written_in
from deploytool.config.model import valid_registry
from deploytool.discover import (
    FoundApp,
    FoundPackaging,
    Packaging,
    Project,
    Source,
    find_app,
    find_packaging,
    find_sources,
    folders_of_tests,
    reached_by_modules,
    reached_files,
    reads_own_metadata,
)
from deploytool.discover.dependencies.index import Index, NoIndex
from deploytool.discover.dependencies.needs import (
    Listed,
    find_needs,
    insists_on_env_file,
    listed_in,
    pkg_resources_needs,
    server_needs,
)
from deploytool.discover.dependencies.packaging import with_metadata
from deploytool.discover.dependencies.python_named import choose, named_pythons
from deploytool.discover.dependencies.python_version import PREFERRED, newest
from deploytool.discover.dependencies.resolve import Resolution, resolve
from deploytool.discover.dependencies.system import system_packages
from deploytool.discover.files.missing import (
    missing_env_files,
    missing_files,
    missing_folders,
)
from deploytool.discover.files.private import (
    holds_private_key,
    is_meant,
    is_named,
    private_in,
)
from deploytool.discover.files.storage import Storage, shipped_files, storage
from deploytool.discover.files.writes import WriteKind, find_writes
from deploytool.discover.kept.kept import Kept, dockerfile_elsewhere, read_kept
from deploytool.discover.processes.command_lines import toml_command
from deploytool.discover.processes.processes import FoundProcess, find_processes
from deploytool.discover.settings.settings import find_settings, settings_note
from deploytool.discover.source import PYTHON, in_words
from deploytool.errors import UsageError
from deploytool.image.dockerfile import OUR_DOCKERIGNORE
from deploytool.init import server
from deploytool.init.configuration import (
    PORT,
    REPLICAS,
    Settings,
    WebService,
    configured,
    configured_backend,
    configured_names,
    configured_port,
    configured_services,
    has_domains,
    has_own_file,
)
from deploytool.init.files import read
from deploytool.init.memory import estimate, in_units
from deploytool.lint import dockerignore
from deploytool.spec import LONGEST_NAME, RESERVED, Backend, cluster_name

DEFAULT_REGISTRY = "localhost:5000"
ADDING = {
    Packaging.UV: "uv add",
    Packaging.POETRY: "poetry add",
    Packaging.PDM: "pdm add",
    Packaging.PIPENV: "pipenv install",
}
"""How a dependency gets into the list and the lock at once."""


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
    meant: tuple[str, ...] = ()
    """Files that look private, and that the app comes with."""
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
    backend: Backend | None = None,
    force: bool = False,
    offline: bool = False,
) -> Findings:
    """Read a project. Raises UsageError when it is none, or has no app or several.

    With `force` a Dockerfile that is there counts for nothing, as it is replaced. With `offline`
    the package index is not asked. Without a `backend`, it is what the project's configuration
    names, else a Swarm.
    """
    if not project.is_dir():
        raise UsageError(
            f"{project} is not a folder",
            code="no_project",
            hint="name the folder that has the project's pyproject.toml or main.py",
        )
    _refuse_invalid(name, registry)
    inspection = Inspection(project, entrypoint, backend, force=force, offline=offline)
    return inspection.findings(registry, name)


def _refuse_invalid(name: str | None, registry: str | None) -> None:
    """Raise UsageError for what the configuration would not take, before anything is written."""
    try:
        if name is not None:
            cluster_name(name)
    except ValueError as error:
        raise UsageError(
            f"--app: {error}",
            code="name_invalid",
            hint=f"for example --app {valid_name(name or '')}",
        ) from None
    try:
        if registry is not None:
            valid_registry(registry)
    except ValueError as error:
        raise UsageError(
            f"--registry: {error}",
            code="registry_invalid",
            hint="for example --registry registry.example.com/team",
        ) from None


def valid_name(text: str) -> str:
    """The nearest name that a cluster accepts, and that deploytool does not need for itself."""
    name = _plain_name(text)
    return f"{name}-app" if name in RESERVED else name


def _plain_name(text: str) -> str:
    """The nearest name of lower-case letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:LONGEST_NAME].strip("-")
    return name or "app"


class Inspection:
    """Reads a project once: each question is asked once."""

    def __init__(
        self,
        folder: Path,
        entrypoint: str | None,
        backend: Backend | None,
        *,
        force: bool,
        offline: bool,
    ) -> None:
        self.folder = folder
        self.force = force
        self.offline = offline
        self.project = Project(folder)
        self.app = find_app(self.project, entrypoint)
        self.workdir = PurePosixPath(self.app.workdir)
        self.kept = None if force else read_kept(self.project)
        self.processes = find_processes(self.project, self.app, self.workdir)
        run = self._run_processes()
        modules = [module for process in run for module in process.modules]
        files = [str(file) for process in run for file in process.files]
        self.sources = find_sources(self.project, self.app, modules, files)
        self.files = self._reached(run)
        self.notes: list[str] = []
        self.name_notes: list[str] = []
        self.backend = self._backend(backend)
        self.resolution = Resolution("", "")
        self.packaging = self._packaging()
        self.writes = find_writes(self.project, self.files, self.workdir)
        self.storage = storage(self.writes, shipped_files(self.project, self.sources))

    def _reached(self, processes: Iterable[FoundProcess]) -> tuple[PurePosixPath, ...]:
        """What the app and some processes import, and the scripts that these run."""
        run = list(processes)
        modules = [module for process in run for module in process.modules]
        reached = reached_files(self.project, self.app, modules)
        return tuple(dict.fromkeys((*reached, *self._scripts(run))))

    def _reached_by(self, process: FoundProcess) -> tuple[PurePosixPath, ...]:
        """The same of one process, without the app."""
        reached = reached_by_modules(self.project, self.app, process.modules)
        return tuple(dict.fromkeys((*reached, *self._scripts([process]))))

    def _scripts(self, processes: Iterable[FoundProcess]) -> list[PurePosixPath]:
        files = [file for process in processes for file in process.files if file.suffix == ".py"]
        return sorted(self.project.reachable(*files))

    def findings(self, registry: str | None, name: str | None) -> Findings:
        called = self._name(name)
        entrypoint = self.app.entrypoint if self.app.source is Source.GIVEN else None
        asked = {"app": name, "registry": registry, "entrypoint": entrypoint}
        self.name_notes += self._passed_over(asked)
        settings = Settings(
            name=called,
            registry=registry or DEFAULT_REGISTRY,
            entrypoint=None if self.app.source is Source.FASTAPI else self.app.entrypoint,
            backend=self.backend,
            web=self._web(),
            release=self._release(),
            workers=tuple(self._workers()),
        )
        return Findings(
            project=self.folder,
            app=self.app,
            packaging=self.packaging,
            sources=self.sources,
            tests=folders_of_tests(self.folder, self.sources),
            storage=self.storage,
            kept=self.kept,
            settings=settings,
            meant=tuple(str(f) for f in self._private if is_meant(self.project, f)),
            warnings=tuple(dict.fromkeys(map(self._with_headings, self._warnings()))),
        )

    @cached_property
    def _private(self) -> list[PurePosixPath]:
        return private_in(self.folder, self.sources)

    def _left_out(self) -> Iterator[str]:
        """Keys that the code names, and that an image should not have all the same."""
        for file in self._private:
            if holds_private_key(self.project, file) and is_named(self.project, file):
                yield (
                    f"{file} holds a private key, and .dockerignore keeps it out of the image: "
                    "give it to the service as a secret"
                )

    def _name(self, asked: str | None) -> str:
        """The app's name. One that deploytool needs for itself is refused where it was asked for,
        and else replaced, with a word about it."""
        named = asked or self.packaging.name or self.folder.resolve().name
        plain, called = _plain_name(named), valid_name(named)
        if plain == called:
            return called
        if asked:
            raise UsageError(
                f"{plain} is the name of deploytool's own app on the cluster",
                code="name_reserved",
                hint=f"choose another one, for example --app {called}",
            )
        if "app" not in configured(self.folder):
            self.name_notes.append(
                f"the app is called {called}, as {plain} is the name of deploytool's own app on "
                "the cluster: set `app` if you want another name"
            )
        return called

    def _passed_over(self, asked: Mapping[str, str | None]) -> Iterator[str]:
        """What was asked for and a configuration that is there says otherwise: it is kept."""
        there = configured(self.folder)
        for key, value in asked.items():
            if there and value is not None and there.get(key) != value:
                says = f'says {key} = "{there[key]}"' if key in there else f"says no {key}"
                yield (
                    f'the configuration that is there {says}, and is kept: write {key} = "{value}" '
                    "there, and run this again"
                )

    def _backend(self, asked: Backend | None) -> Backend:
        """The cluster that is written for: a configuration that is there is never changed."""
        there = configured_backend(self.folder)
        if asked and there and asked is not there:
            self.name_notes.append(
                f'the configuration that is there says backend = "{there}", and is kept: write '
                f'backend = "{asked}" there, and run this again'
            )
        return there or asked or Backend.SWARM

    # --- dependencies ---------------------------------------------------------------------------

    def _packaging(self) -> FoundPackaging:
        """How dependencies are installed, with the Python and Debian packages that they need."""
        found = find_packaging(self.folder, self.app.file)
        if reads_own_metadata(self.project, self.files, found.name):
            found = with_metadata(self.project, found)
        if self.kept:
            return found
        _refuse_unknown_python(found)
        named = named_pythons(self.project, PurePosixPath(found.folder))
        hint, passed = choose(named, found.constraint, found.constraint_source or "the project")
        place = self.folder / found.folder
        index = NoIndex(place) if self.offline else Index(place)
        self.resolution = resolve(
            self.folder, found, constraint=found.constraint, hint=hint, index=index
        )
        versions, source_only = self.resolution.versions, self.resolution.source_only
        debian = system_packages(versions, source_only, vcs=bool(self.resolution.vcs))
        self.notes += [*passed, *self.resolution.notes, *debian.notes]
        return replace(
            found,
            python=self.resolution.python,
            python_why=self.resolution.why,
            build_packages=debian.build,
            run_packages=debian.run,
        )

    @cached_property
    def _listed(self) -> Listed:
        found, resolution = self.packaging, self.resolution
        where = " or ".join(found.files)
        direct = listed_in(found.listed, where, python=found.python)
        return replace(
            direct,
            names=direct.names | resolution.versions.keys(),
            complete=resolution.complete,
            versions={**direct.versions, **resolution.versions},
            optional={str(canonicalize_name(name)): by for name, by in found.optional},
            command=ADDING.get(found.kind, "") if found.locked else "",
        )

    # --- processes beside the server ------------------------------------------------------------

    def _run_processes(self) -> list[FoundProcess]:
        """Those whose code has to be in the image."""
        found = [self.processes.release] if self.processes.release else []
        return [*found, *self.processes.workers]

    def _release(self) -> FoundProcess | None:
        """What a kept image runs is its author's; its migrations are proposed."""
        return None if self.kept else self.processes.release

    def _workers(self) -> list[FoundProcess]:
        """Those that the project itself starts. What only the source implies may lack its broker,
        and would fail a deploy that works without it."""
        return [] if self.kept else [w for w in self.processes.workers if w.is_told]

    def _proposals(self) -> Iterator[str]:
        yield from self.processes.proposals
        release = self.processes.release
        if self.kept and release and not self.kept.migrations:
            yield _proposed(release, "release")
        written = self._workers()
        for worker in self.processes.workers:
            if worker not in written:
                yield _proposed(worker, f"services.{worker.name}")

    # --- what is written --------------------------------------------------------------------------

    def _web(self) -> WebService:
        port = configured_port(self.folder)
        if self.kept:
            return self._kept_web(self.kept, port or self.kept.port or PORT)
        return WebService(
            port=port or PORT,
            replicas=self.storage.replicas or REPLICAS,
            health_path=self.app.health_path,
            command=self._default_command(port or PORT),
            env=dict(self.storage.env),
            volumes=tuple(f"{name}:{target}" for name, target in self.storage.volumes),
            read_only=self.storage.read_only,
            memory=self._memory[0],
        )

    @cached_property
    def _memory(self) -> tuple[int, tuple[str, ...]]:
        return estimate(self._listed.names)

    def _default_command(self, port: int) -> tuple[str, ...] | None:
        """None where the project's Uvicorn knows all options of the default."""
        uvicorn = self._listed.versions.get("uvicorn")
        return server.command_for(uvicorn, self.app.entrypoint, port)

    def _kept_web(self, kept: Kept, port: int) -> WebService:
        """As the image's author wrote it."""
        return WebService(
            port=port,
            replicas=self.storage.replicas or REPLICAS,
            health_path=self.app.health_path,
            command=() if kept.command else self._default_command(port),
            env=dict(kept.env),
            read_only=False,
            capabilities="default",
            processes=kept.processes,
            memory=self._memory[0],
        )

    # --- what is said ----------------------------------------------------------------------------

    def _warnings(self) -> Iterator[str]:
        yield from self.name_notes
        yield from self.app.notes
        if self.app.hosts_note and not has_domains(self.folder):
            yield self.app.hosts_note
        if self.kept:
            yield from self._about_kept(self.kept)
        else:
            yield from self._about_dependencies()
            yield from self.storage.notes
            yield from self._about_volumes()
            yield from self._left_out()
        yield from self._about_source()
        yield from self._about_memory()
        yield from self._about_settings()
        yield from self._proposals()
        if not self.app.health_path:
            yield (
                f"no health check was written: {self.app.health_why}. Add a GET /health and "
                'path = "/health" in [tool.deploytool.services.web.healthcheck]'
            )
        if self.force and self._runs_image_command():
            yield (
                "the configuration was written for the Dockerfile that is replaced: remove command "
                "= [], read_only and capabilities from [tool.deploytool.services.web] to get "
                "deploytool's defaults"
            )

    def _about_volumes(self) -> Iterator[str]:
        """Clients of Nomad mount none before they are told to."""
        if self.backend is Backend.NOMAD and self.storage.volumes:
            names = in_words(sorted(name for name, _ in self.storage.volumes))
            yield (
                f"the volume {names} needs Nomad clients whose Docker plugin has volumes.enabled: "
                "`deploytool doctor` says which have not"
            )

    def _about_memory(self) -> Iterator[str]:
        memory, large = self._memory
        if large and not configured(self.folder):
            limit = in_units(2 * memory)
            yield (
                f"memory = {in_units(memory)} and memory_limit = {limit} are guesses "
                f"for {in_words(large)}: see what replicas use with `deploytool capacity`, and set "
                "them in [tool.deploytool.services.web]"
            )

    def _about_settings(self) -> Iterator[str]:
        """A worker has its own environment, and wants what its own modules read."""
        given = configured_names(self.folder)
        wanted = find_settings(self.project, self.files)
        services: dict[str, tuple[str, ...]] = {}
        for name, files in self._files_of_services():
            for setting in find_settings(self.project, files):
                services[setting.name] = (*services.get(setting.name, ()), name)
        yield from settings_note((s for s in wanted if s.name not in given), services)

    def _files_of_services(self) -> Iterator[tuple[str, tuple[PurePosixPath, ...]]]:
        workers = self._workers()
        if workers:
            yield "web", self._reached(p for p in self._run_processes() if p not in workers)
        for worker in workers:
            yield worker.name, self._reached_by(worker)

    def _with_headings(self, text: str) -> str:
        own = "deploytool.toml" if has_own_file(self.folder) else "pyproject.toml"
        return as_written_in(own, text)

    def _about_kept(self, kept: Kept) -> Iterator[str]:
        if kept.no_longer_builds:
            yield kept.no_longer_builds
        yield from kept.notes
        if not kept.requirements or {PurePosixPath(f).name for f in self.packaging.files} & {
            *kept.requirements
        }:
            yield from server_needs(kept.server, self._listed)
        for write in self.writes:
            if write.kind in (WriteKind.SQLITE, WriteKind.DATABASE):
                yield (
                    f"{write.path} is in the container and lost with it: put it into a folder of "
                    "its own, and mount a volume there"
                )

    def _about_dependencies(self) -> Iterator[str]:
        yield from self.packaging.warnings
        yield from self._hidden()
        yield from self.notes
        entry, python = PurePosixPath(self.app.file), self.packaging.python
        listed = self._listed
        needs = find_needs(self.project, self.files, listed, entry, python=python)
        yield from (need.message for need in (*needs, *pkg_resources_needs(listed)))
        yield from server.notes(self.resolution.versions.get("uvicorn"))
        if self.packaging.metadata and self.packaging.versions_from_history:
            yield "the package's version comes from Git, which no image has: there it is 0.0.0"
        if elsewhere := dockerfile_elsewhere(self.project):
            yield elsewhere

    def _about_source(self) -> Iterator[str]:
        """What keeps the app from its start, whatever image it is in."""
        for file in self.files:
            if self.project.scope(file) is None and file in self.project.unreadable:
                why = self.project.unreadable[file]
                yield f"{file} is imported and cannot be read as {PYTHON}: {why}"
        made = [write.path for write in self.writes]
        for file, missing in missing_files(self.project, self.files, self.workdir, made):
            yield (
                f"{file} reads {missing} at its start, which is not there: add it, or mount it "
                "with files in [tool.deploytool.services.web]; a secret comes from "
                "`deploytool secrets set`, as a file in /run/secrets"
            )
        if insists_on_env_file(self._listed.versions):
            for file, missing in missing_env_files(self.project, self.files, self.workdir):
                yield (
                    f"{file} reads {missing} with Starlette's Config, which ends without the file "
                    "in Starlette 0.36: depend on fastapi>=0.110.1, where the variables are enough"
                )
        folders = (write.path for write in self.writes if write.is_folder)
        for file, folder in missing_folders(self.project, self.files, self.workdir, folders):
            yield (
                f"{file} serves files from {folder}/, which is not there, and does not start "
                "without it: add the folder, with a file in it"
            )

    def _hidden(self) -> Iterator[str]:
        """What a .dockerignore that was there keeps from the Dockerfile that is written."""
        ignore = self.folder / ".dockerignore"
        text = read(ignore)
        if text is None or self.force or text.startswith(OUR_DOCKERIGNORE):
            return
        ignored = dockerignore.read(ignore)
        for path in (*self.packaging.files, *self.sources):
            if ignored.hides_all(path.rstrip("/")):
                yield f".dockerignore hides {path}, which the Dockerfile copies: let it in, !{path}"

    def _runs_image_command(self) -> bool:
        return any(table.get("command") == [] for table in configured_services(self.folder))


def _refuse_unknown_python(found: FoundPackaging) -> None:
    if found.constraint and newest(found.constraint) is None:
        known = sorted(PREFERRED, key=lambda version: int(version.partition(".")[2]))
        raise UsageError(
            f"No Python that is known here satisfies {found.constraint_source} "
            f"{found.constraint!r}",
            code="python_unknown",
            hint=f"allow one of {', '.join(known)}",
        )


def _proposed(process: FoundProcess, table: str) -> str:
    command = toml_command(process.command)
    return f"{process.why}: [tool.deploytool.{table}] {command} runs it"


__all__ = ["DEFAULT_REGISTRY", "Findings", "inspect_project", "valid_name"]
