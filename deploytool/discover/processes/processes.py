"""The processes beside an app's server: the step of a release, and its workers.

    Procfile ──▶ migrations ──▶ compose file ──▶ source ──▶ scripts
    (best first: what a later one says of the same kind of process is passed over)

What is certain becomes a process; what is not, a proposal of one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deploytool.discover.apps.app import FoundApp
from deploytool.discover.processes.command_lines import (
    MIGRATORS,
    QUEUES,
    SHELLS,
    Line,
    read_line,
    service_name,
    toml_command,
)
from deploytool.discover.processes.compose import Compose, ComposeService
from deploytool.discover.processes.migrations import (
    Alembic,
    Migrations,
    aerich_folder,
    aerich_settings,
)
from deploytool.discover.processes.place import Place
from deploytool.discover.processes.queues import Queues
from deploytool.discover.source import HERE, Project, in_words
from deploytool.redact import hide_passwords

PROCFILE_LINE = re.compile(r"^([\w-]+)\s*:\s*(\S.*)$")
PORT = re.compile(r"\$\{?PORT\b")
SERVES = re.compile(r"\b(uvicorn|hypercorn|granian|gunicorn)\b.*\b(run|serve|Server)\(")
BUILT_IN = ("python", "cd", "sleep", "echo", "set", "export", "exit", "true", "[", "test", "pwd")
WORKER = re.compile(r"(?i)worker|celery(?!.*flower)|beat|scheduler|consumer|queue")
KINDS = ("python", *QUEUES, *MIGRATORS)
PRESTART = re.compile(
    r"^(pre[-_]?start|backend_pre_start|release|migrat\w*|(docker-)?entrypoint|start\w*|run)\.sh$"
)
PRESTART_MODULE = re.compile(r"^(backend_)?pre_?start\.py$")
SCRIPT_FOLDERS = ("", "scripts", "script", "bin", "docker")
UPGRADE = ("alembic", "upgrade", "head")


@dataclass(frozen=True)
class FoundProcess:
    """A process that the image runs beside the server."""

    name: str
    command: tuple[str, ...]
    why: str
    folder: str = "."
    """The folder of the project that it runs in; its command goes there by itself."""
    modules: tuple[str, ...] = ()
    """Modules of the project that it needs."""
    files: tuple[PurePosixPath, ...] = ()
    """Files and folders of the project that it needs."""
    is_told: bool = True
    """Whether a file of the project names the command; otherwise the source implies it."""


@dataclass(frozen=True)
class FoundProcesses:
    release: FoundProcess | None
    workers: tuple[FoundProcess, ...]
    proposals: tuple[str, ...]


def find_processes(
    project: Project,
    app: FoundApp,
    workdir: PurePosixPath = HERE,
    listed: Collection[str] | None = None,
) -> FoundProcesses:
    """The release step and the workers of a project, for an image that runs in `workdir`.

    `listed` are the distributions that get installed, by their normalized names; without it the
    project's own lists are searched for the names of the programs.
    """
    return Finder(Place(project, app, workdir, listed)).find()


class Finder:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.project = place.project
        self.alembic = Alembic(place)
        self.release: FoundProcess | None = None
        self.workers: list[FoundProcess] = []
        self.roles: dict[str, str] = {}
        """The purpose of a process, and its source."""
        self.proposals: dict[str, None] = {}

    def find(self) -> FoundProcesses:
        self._read_procfile()
        self._add_alembic()
        self._add_aerich()
        self._read_compose()
        self._read_source()
        self._propose_scripts()
        return FoundProcesses(self.release, tuple(self.workers), tuple(self.proposals))

    def _propose(self, text: str) -> None:
        self.proposals[text] = None

    # --- Procfile ---------------------------------------------------------------------------

    def _read_procfile(self) -> None:
        files = (folder / "Procfile" for folder in self.place.folders)
        file = next((file for file in files if self.project.is_file(file)), None)
        for text in (self.project.text(file) or "").splitlines() if file else ():
            found = PROCFILE_LINE.match(text.strip())
            if file and found and found[1] != "web" and not PORT.search(found[2]):
                self._add_line(found[1], read_line(found[2]), str(file), file.parent)

    def _add_line(self, name: str, line: Line | None, where: str, folder: PurePosixPath) -> None:
        if line is None or self._serves(line, folder) or self._is_known(line, where):
            return
        why = f"{where} has it as {name}"
        process, problem = self._process(name, line, why, folder)
        is_release = name == "release"
        if problem:
            self._propose(f"{where} also runs {name}, but {problem}: {self._table(process)}")
        elif is_release:
            self.release = process
        else:
            self.workers.append(process)

    def _serves(self, line: Line, folder: PurePosixPath) -> bool:
        """Whether it is a web server: also a file that starts one, and the app's own."""
        files = (self.place.file_of(part.target, folder) for part in line.parts if part.target)
        return line.serves or any(
            file == self.place.app_file or SERVES.search(self.project.text(file) or "")
            for file in files
            if file and file.suffix == ".py"
        )

    def _is_known(self, line: Line, where: str) -> bool:
        """Whether a better source has a process of its kind. If not, it has one now."""
        roles = [part.role for part in line.parts if part.program in KINDS]
        known = any(self.roles.get(role, where) != where for role in roles)
        if not known:
            self.roles |= dict.fromkeys(roles, where)
        return known

    def _process(
        self, name: str, line: Line, why: str, folder: PurePosixPath
    ) -> tuple[FoundProcess, str | None]:
        """A line as the image runs it, and what stands in its way."""
        name = "release" if name == "release" else self._free_name(name)
        where = self.place.folder_for(line, folder)
        problem = self._missing(line) or (None if where is not None else _not_found(line, folder))
        where = folder if where is None else where
        migrations = next(filter(None, (self._migrations(p, where) for p in line.parts)), None)
        if migrations is None and any(part.program == "alembic" for part in line.parts):
            problem = problem or "alembic's settings are not found"
        if migrations and line.script is None:
            line = self.alembic.command(migrations, line)
        process = FoundProcess(
            name,
            self.place.command_in(where, line),
            why,
            str(where),
            modules=tuple(dict.fromkeys(self._modules(line, migrations))),
            files=tuple(dict.fromkeys(self._files(line, where, migrations))),
        )
        return process, problem

    def _free_name(self, name: str) -> str:
        return service_name(name, [worker.name for worker in self.workers])

    def _missing(self, line: Line) -> str | None:
        """The program that no dependency brings."""
        for part in line.parts:
            program = part.program
            if part.words[0] == "cd" and part.words[1:2] and part.words[1].startswith("/"):
                return f"it goes to {part.words[1]}, which is not in the project"
            if program in (*BUILT_IN, *SHELLS) or part.target == part.words[0]:
                continue
            if not self.place.lists(program):
                return f"{program} is not among the dependencies"
        return None

    def _migrations(self, line: Line, folder: PurePosixPath) -> Migrations | None:
        if line.program != "alembic":
            return None
        ini = PurePosixPath(line.option("-c", "--config") or "alembic.ini")
        found = self.alembic.read(folder / ini) if ".." not in ini.parts else None
        return found or self.alembic.find()

    def _modules(self, line: Line, migrations: Migrations | None) -> Iterator[str]:
        for part in line.parts:
            target = part.target or ""
            if target and "/" not in target and not target.endswith((".py", ".sh")):
                yield target
        yield from self.alembic.modules(migrations) if migrations else ()

    def _files(
        self, line: Line, folder: PurePosixPath, migrations: Migrations | None
    ) -> Iterator[PurePosixPath]:
        for part in line.parts:
            target = part.target or ""
            if "/" in target or target.endswith((".py", ".sh")):
                file = self.place.file_of(target, folder)
                yield from [file] if file else []
        yield from migrations.files if migrations else ()

    # --- migrations -------------------------------------------------------------------------

    def _add_alembic(self) -> None:
        if self.release:
            return
        found = self.alembic.find()
        if found is None:
            self._propose_elsewhere()
            return
        step = self._upgrade(found)
        self.roles.setdefault("alembic", str(found.settings.file))
        if not found.are_there:
            self._propose(
                f"{found.settings.file} is set up for migrations in {found.scripts}/, and there "
                f"are none yet: once there are, {self._table(step)}"
            )
        elif not self.place.lists("alembic"):
            self._propose(
                f"{step.why}, but alembic is not among the dependencies: {self._table(step)}"
            )
        else:
            self.release = step

    def _upgrade(self, found: Migrations) -> FoundProcess:
        line = self.alembic.command(found, Line((UPGRADE[0], *found.option, *UPGRADE[1:])))
        return FoundProcess(
            "release",
            self.place.command_in(found.folder, line),
            f"{found.settings.file} has migrations in {found.scripts}/",
            str(found.folder),
            modules=self.alembic.modules(found),
            files=found.files,
        )

    def _propose_elsewhere(self) -> None:
        for found in self.alembic.elsewhere():
            step = self._upgrade(found)
            self._propose(f"{step.why}: if they are the app's, {self._table(step)}")

    def _add_aerich(self) -> None:
        settings = aerich_settings(self.place)
        if self.release or settings is None:
            return
        folder = aerich_folder(self.place, settings)
        why = f"{settings} has settings of Aerich"
        command = ("aerich", "upgrade")
        step = FoundProcess(
            "release", command, why, str(self.place.workdir), (), (settings, folder)
        )
        if self.place.lists("aerich") and self.project.is_folder(folder):
            self.release = step
        else:
            self._propose(f"{why}: once it has migrations, {self._table(step)}")

    # --- compose ----------------------------------------------------------------------------

    def _read_compose(self) -> None:
        compose = Compose(self.place)
        for service in compose.own():
            if service.line and not self._add_service(service, service.line, str(compose.file)):
                self._propose_unknown(service, str(compose.file))
        if stores := [_store(one.name, one.image) for one in compose.backing()]:
            them, their = ("them", "their addresses") if len(stores) > 1 else ("it", "its address")
            self._propose(
                f"{compose.file} also starts {in_words(stores)}: run {them} yourself and set "
                f"{their} in env or secrets"
            )

    def _add_service(self, service: ComposeService, line: Line, where: str) -> bool:
        """Whether it is known what a service runs."""
        folder = self.place.workdir if service.folder is None else service.folder
        migrating = next((part for part in line.parts if part.migrates), None)
        if migrating and not self.release and migrating.program not in self.roles:
            self._add_line("release", migrating, where, folder)
        if migrating:
            rest = [part for part in line.parts if part.program in (*QUEUES, "python")]
            line = rest[-1] if rest else Line()
        if service.is_step and not migrating:
            self._propose_service(service.name, line, where, folder)
        elif any(self._is_worker(part, folder) for part in line.parts) and not line.serves:
            self._add_line(service.name, line, where, folder)
        elif not migrating:
            return line.serves
        return True

    def _propose_unknown(self, service: ComposeService, where: str) -> None:
        if WORKER.search(service.name) and service.line:
            name = self._free_name(service.name)
            command = hide_passwords(" ".join(" ".join(service.line.command).split()))
            self._propose(
                f"{where} also runs {service.name} with {command[:80]}: "
                f"write its command for the image in [tool.deploytool.services.{name}]"
            )

    def _is_worker(self, line: Line, folder: PurePosixPath) -> bool:
        """Whether it is a queue's worker, or Python code of the project."""
        if line.program == "python":
            return line.target is not None and self.place.folder_for(line, folder) is not None
        return line.program in QUEUES

    def _propose_service(self, name: str, line: Line, where: str, folder: PurePosixPath) -> None:
        step, problem = self._process("release", line, "", folder)
        if not problem:
            self._propose(f"{where} runs {name} before the app: {self._table(step)}")

    # --- source -----------------------------------------------------------------------------

    def _read_source(self) -> None:
        for found in Queues(self.place).find():
            line = Line(found.command)
            for note in found.notes:
                self._propose(note)
            if self._is_known(line, "source"):
                continue
            process, problem = self._process(found.name, line, found.why, self.place.workdir)
            process = replace(process, is_told=False, modules=(found.module,))
            if problem or not found.is_certain:
                reason = f", but {problem}" if problem else ""
                self._propose(f"{found.why}{reason}: {self._table(process)}")
            else:
                self.workers.append(process)

    # --- scripts ----------------------------------------------------------------------------

    def _propose_scripts(self) -> None:
        proposed = [file for file in self._scripts() if self._propose_script(file)]
        for file in self.project.python_files if not proposed else ():
            if PRESTART_MODULE.match(file.name) and file.is_relative_to(self.place.root):
                parts = file.relative_to(self.place.root).with_suffix("").parts
                self._propose_step(file, ("python", "-m", ".".join(parts)))
                return

    def _scripts(self) -> Iterator[PurePosixPath]:
        for folder in self.place.folders:
            for below in SCRIPT_FOLDERS:
                names = sorted(self.place.names(folder / below))
                yield from (folder / below / name for name in names if PRESTART.match(name))

    def _propose_script(self, file: PurePosixPath) -> bool:
        script = read_line(self.project.text(file) or "")
        parts = script.parts if script else ()
        steps = [part for part in parts if part.migrates or (part.target and not part.serves)]
        served = any(part.serves for part in parts)
        if not steps or served or self._is_named(file):
            return False
        self._propose_step(file, ("bash", str(_relative(file, self.place.workdir))))
        return True

    def _is_named(self, file: PurePosixPath) -> bool:
        """Whether a process or a proposal runs it already."""
        said = [*self.proposals, *(self.release.command if self.release else ())]
        return any(str(_relative(file, self.place.workdir)) in text for text in said)

    def _propose_step(self, file: PurePosixPath, command: tuple[str, ...]) -> None:
        more = "looks like part of a release step" if self.release else "looks like a release step"
        step = FoundProcess("release", command, "")
        self._propose(f"{file} {more}: {self._table(step)}")

    def _table(self, process: FoundProcess) -> str:
        """The table for the configuration."""
        name = "release" if process.name == "release" else f"services.{process.name}"
        return f"[tool.deploytool.{name}] {toml_command(process.command)}"


def _not_found(line: Line, folder: PurePosixPath) -> str:
    target = next(part.target for part in line.parts if part.target)
    return f"{target} is not found in {'the project' if folder == HERE else folder}"


def _store(name: str, image: str) -> str:
    repository = image.partition(":")[0].rpartition("/")[2]
    return name if repository == name else f"{name} ({image})"


def _relative(file: PurePosixPath, folder: PurePosixPath) -> PurePosixPath:
    return file.relative_to(folder) if file.is_relative_to(folder) else file
