"""A Dockerfile that was there before `init`: an image from it runs as its author wrote it.

Dockerfile, .dockerignore, scripts, settings ──read_kept──▶ Kept: what the configuration has to
                                                  say so that it does, and what stands in the way
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from deploytool.discover.kept.listens import Listening, Listens
from deploytool.discover.kept.outdated import no_longer_builds
from deploytool.discover.kept.started import ImageFiles, Line, Started, own_words
from deploytool.discover.processes.command_lines import toml_command
from deploytool.discover.processes.compose import ComposeBuild, compose_builds
from deploytool.discover.source import HERE, SKIPPED_FOLDERS, Project, table_at
from deploytool.lint import dockerignore
from deploytool.lint.copies import Copies
from deploytool.lint.dockerfile import Dockerfile, Stage, expand, parse
from deploytool.lint.image_checks import is_deprecated
from deploytool.reading import read_file

MAX_BYTES = 2**20
MAX_FOLDERS = 5_000
MAX_PROCESSES = 16
_REQUIREMENTS = re.compile(r"(?:-r|--requirements?)[ =]?(\S+)")
FOR_DEVELOPMENT = ("dev", "develop", "development", "local", "debug", "test", "tests", "testing")


@dataclass(frozen=True)
class Kept:
    """The settings of a Dockerfile for the image and the process in it."""

    port: int | None
    """The port that it listens on; None where the image has no command of its own."""
    port_why: str
    command: tuple[str, ...]
    """ENTRYPOINT and CMD in words; empty where the image has none of its own."""
    processes: int
    """How many the command starts that serve, for example Uvicorn's workers."""
    takes_command: bool
    """Whether a container can be given another command: no ENTRYPOINT is in the way."""
    user: str | None
    workdir: str
    healthcheck: bool
    migrations: tuple[str, ...] | None
    """The command that migrates the database at every start."""
    copied: tuple[str, ...]
    """The paths that it takes from the build context, as it is written there."""
    no_longer_builds: str | None
    server: str | None = None
    """The program that serves, where only lists of dependencies can bring it."""
    requirements: tuple[str, ...] = ()
    """The names of the requirements files that the build installs."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables that the process needs and the image does not set."""
    notes: tuple[str, ...] = ()


def read_kept(
    project: Project | Path,
    dockerfile: str = "Dockerfile",
    *,
    context: str = ".",
    target: str | None = None,
) -> Kept | None:
    """The settings of an existing Dockerfile; None without one or where `init` wrote it."""
    project = Project.at(project)
    text = _read(project.path / dockerfile)
    parsed = parse(text) if text is not None else None
    stage = parsed.stage(target) if parsed else None
    if parsed is None or stage is None or not parsed.is_kept:
        return None
    return Reader(project, PurePosixPath(dockerfile), PurePosixPath(context), parsed, stage).read()


class Reader:
    def __init__(
        self,
        project: Project,
        file: PurePosixPath,
        context: PurePosixPath,
        dockerfile: Dockerfile,
        stage: Stage,
    ) -> None:
        self.project = project
        self.file = file
        self.context = context
        self.dockerfile = dockerfile
        self.stage = stage
        self.brings_server = is_deprecated(stage.base)
        self.files = ImageFiles(project, dockerfile, context)
        runs_base = self.brings_server and not own_words(stage)
        first = ("/app/prestart.sh",) if runs_base else ()
        self.started = Started(self.files, stage, first)
        ignore = dockerignore.find(project.path / file, project.path / context)
        self.copies = Copies(dockerfile, dockerignore.read(ignore))

    def read(self) -> Kept:
        command = own_words(self.stage) or (("/start.sh",) if self.brings_server else ())
        listening = self._listening() if command else None
        user, check = self.stage.last("USER"), self.stage.last("HEALTHCHECK")
        wants = listening.wants if listening else None
        return Kept(
            port=listening.port if listening else None,
            port_why=listening.why if listening else "the image has no command of its own",
            command=command,
            processes=self._processes(),
            takes_command=self.started.takes_command,
            user=self.stage.expand(user.text) if user else None,
            workdir=self.stage.workdir,
            healthcheck=check is not None and check.text.strip().upper() != "NONE",
            migrations=self._migrations(),
            copied=tuple(sorted({str(copy.path) for copy in self.copies.all})),
            no_longer_builds=self._no_longer_builds(),
            server=self._server(),
            requirements=tuple(
                PurePosixPath(file).name for file in _REQUIREMENTS.findall(self._runs)
            ),
            env=((wants, str(listening.port)),) if listening and wants else (),
            notes=tuple(self._notes(listening)),
        )

    def _listening(self) -> Listening:
        return Listens(self.files, self.stage, self.started).find(80 * self.brings_server)

    def _server(self) -> str | None:
        found = self.started.server
        name = found.command.server if found else None
        is_plain = PurePosixPath(self.stage.base.partition(":")[0]).name == "python"
        return name if is_plain and name and name not in self._runs else None

    @cached_property
    def _runs(self) -> str:
        """The commands of all stages while the image is built."""
        items = (item for stage in self.dockerfile.stages for item in stage.instructions)
        return " ".join(item.text for item in items if item.keyword == "RUN")

    def _processes(self) -> int:
        workers = next((w for line in self.started.lines if (w := line.command.workers)), "1")
        return min(max(int(workers), 1), MAX_PROCESSES) if workers.isdigit() else 1

    def _migrations(self) -> tuple[str, ...] | None:
        for line in self.started.lines:
            if line.command.migrates and not line.talks:
                return _one_command(line)
        return None

    def _no_longer_builds(self) -> str | None:
        plugins = table_at(self.project.pyproject, "tool", "poetry", "requires-plugins")
        return no_longer_builds(
            self.dockerfile,
            has_export_plugin="poetry-plugin-export" in plugins,
            target=self.stage.name,
        )

    # --- what to say --------------------------------------------------------------------------

    def _notes(self, listening: Listening | None) -> Iterator[str]:
        if listening is None:
            yield (
                f"{self.file} has no CMD and no ENTRYPOINT: the service's own command is what "
                "its containers run"
            )
        else:
            yield from self._notes_on_lists()
            yield from self._notes_on_port(listening)
        yield from self._notes_on_scripts()
        yield from self._note_on_migrations()
        yield from self._notes_on_context()
        yield from self._notes_on_arguments()
        yield from self._note_on_target()

    def _notes_on_lists(self) -> Iterator[str]:
        for keyword in ("ENTRYPOINT", "CMD"):
            item = self.stage.last(keyword)
            if item and item.text.startswith("[") and item.arguments is None:
                yield (
                    f"{keyword} in line {item.line} of {self.file} is meant as a list and is not "
                    "one, so that it fails: quote each word with double quotes"
                )

    def _notes_on_port(self, listening: Listening) -> Iterator[str]:
        if listening.doubt:
            yield f"{listening.doubt}. Set port in [tool.deploytool.services.web] to what is right"
        if listening.wants:
            yield (
                f"the port is ${listening.wants}, which {self.file} does not set: "
                f'[tool.deploytool.services.web.env] {listening.wants} = "{listening.port}" does'
            )
        if listening.is_local:
            server = self.started.server
            name = server.command.server if server else "uvicorn"
            option = (
                "--bind 0.0.0.0:PORT" if name in ("gunicorn", "hypercorn") else "--host 0.0.0.0"
            )
            where = "its command" if server else 'its call (host="0.0.0.0")'
            add = f"add {option} to {where}" if server else f"change {where}"
            yield (
                f"{name} listens on 127.0.0.1, where nothing outside the container reaches it: "
                f"{add}"
            )

    def _notes_on_scripts(self) -> Iterator[str]:
        scripts = " ".join(item.text for item in self.stage.chain if item.keyword == "RUN")
        is_made = "chmod" in scripts or any("chmod" in item.flags for item in self.stage.chain)
        is_converted = "dos2unix" in scripts or "\\r" in scripts
        for item in filter(None, (self.stage.last("ENTRYPOINT"), self.stage.last("CMD"))):
            words = list(item.arguments or ())
            is_direct = "/" in (words[0] if words else "")
            path = next((word for word in words[:2] if "/" in word or word.endswith(".sh")), "")
            file = self.files.find(path, self.stage) if path else None
            if file is None:
                continue
            if is_direct and not is_made and not os.access(self.project.path / file, os.X_OK):
                yield f"{item.keyword} runs {file}, which is not executable: `chmod +x {file}`"
            if not is_converted and b"\r\n" in (_read(self.project.path / file) or b""):
                yield (
                    f"{item.keyword} runs {file}, whose lines end as on Windows, so that it does "
                    f"not start: `sed -i 's/\\r$//' {file}`, and `*.sh text eol=lf` in "
                    ".gitattributes keeps it so"
                )

    def _note_on_migrations(self) -> Iterator[str]:
        words = self._migrations()
        if words is None:
            return
        happens = "the image's command runs migrations in every replica"
        if self.started.takes_command:
            yield f"{happens}: [tool.deploytool.release] {toml_command(words)} runs them once"
        else:
            yield (
                f"{happens}, and its ENTRYPOINT lets nothing else run: a release step that runs "
                "them once needs them in CMD"
            )

    def _notes_on_context(self) -> Iterator[str]:
        for path in self.copies.hidden:
            yield (
                f".dockerignore hides {path}, which {self.file} copies: the build fails until "
                f'"!{path}" is the last line in it'
            )
        named = dict.fromkeys(copy.path for copy in self.copies.all if copy.is_plain)
        missing = [str(path) for path in named if not self.project.exists(self.context / path)]
        if len(missing) == 1:
            yield f"{self.file} copies {missing[0]}, which is not there: the build needs it"
        elif missing:
            names = ", ".join(missing)
            yield f"{self.file} copies {names}, which are not there: the build needs them"
        for line, patterns in self.copies.only_patterns:
            if not any(map(self._matches, patterns)):
                yield (
                    f"line {line} of {self.file} copies {' '.join(map(str, patterns))}, which "
                    "matches nothing here: the build needs it, so make it before you deploy"
                )

    def _matches(self, pattern: PurePosixPath) -> bool:
        folder = self.project.path / self.context
        return next(folder.glob(re.sub(r"\*+", "*", str(pattern))), None) is not None

    def _notes_on_arguments(self) -> Iterator[str]:
        """Build arguments that FROM needs and nothing gives."""
        needed = [
            name
            for item in self.dockerfile.preamble
            for name, value in (item.pairs if item.keyword == "ARG" else ())
            if value is None and any(_mentions(stage, name) for stage in self.dockerfile.stages)
        ]
        for name in dict.fromkeys(needed):
            given = next((b.args[name] for b in self._compose() if name in b.args), "…")
            yield (
                f"FROM needs the build argument {name}: [tool.deploytool.build.args] "
                f"{name} = {json.dumps(given, ensure_ascii=False)}"
            )

    def _note_on_target(self) -> Iterator[str]:
        targets = {build.target for build in self._compose() if build.target} - {self.stage.name}
        wanted = sorted(target for target in targets if target.lower() not in FOR_DEVELOPMENT)
        if len(wanted) == 1 and self.dockerfile.named(wanted[0]):
            yield (
                f'{self._compose()[0].file} builds the stage {wanted[0]}: target = "{wanted[0]}" '
                "in [tool.deploytool.build] does the same"
            )

    def _compose(self) -> list[ComposeBuild]:
        found = compose_builds(self.project)
        return [build for build in found if build.dockerfile == self.file]


def _one_command(line: Line) -> tuple[str, ...]:
    """A line as one command, with the `cd` before it."""
    if line.folder is None:
        return line.filled
    return ("sh", "-c", f"cd {_word(line.folder)} && {' '.join(map(_word, line.filled))}")


def _word(text: str) -> str:
    """A word of a shell, which still fills in the variables that only it knows."""
    if "$" not in text:
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"`])', r"\\\1", text) + '"'


def _mentions(stage: Stage, name: str) -> bool:
    return expand(stage.image, {name: "\0"}) != stage.image


def _read(path: Path) -> bytes | None:
    try:
        return read_file(path, limit=MAX_BYTES)
    except (OSError, ValueError):
        return None


# --- Dockerfiles that are not at the root ---------------------------------------------------------


def dockerfile_elsewhere(project: Project | Path) -> str | None:
    """The warning about the one Dockerfile where there is none at the root; None with several."""
    project = Project.at(project)
    if project.is_file(PurePosixPath("Dockerfile")):
        return None
    found = list(islice(_dockerfiles(project), 2))
    if len(found) != 1:
        return None
    [file] = found
    keys = {"dockerfile": str(file), "context": str(_context(project, file))}
    if keys["context"] == ".":
        del keys["context"]
    written = ", ".join(f'{key} = "{value}"' for key, value in keys.items())
    return f"{file} is not used: [tool.deploytool.build] {written} builds from it"


def _dockerfiles(project: Project) -> Iterator[PurePosixPath]:
    for folder, folders, files in islice(os.walk(project.path), MAX_FOLDERS):
        here = PurePosixPath(Path(folder).relative_to(project.path).as_posix())
        folders[:] = (
            sorted(name for name in folders if _is_own(name)) if len(here.parts) < 4 else []
        )
        yield from (here / name for name in sorted(files) if _is_dockerfile(name))


def _is_own(folder: str) -> bool:
    return not folder.startswith((".", "{")) and folder not in SKIPPED_FOLDERS


def _is_dockerfile(name: str) -> bool:
    is_one = name.lower().startswith("dockerfile") or name.lower().endswith(".dockerfile")
    return is_one and not name.endswith(
        (".dockerignore", ".j2", ".jinja", ".tmpl", ".template", "~")
    )


def _context(project: Project, file: PurePosixPath) -> PurePosixPath:
    """The folder that has what the Dockerfile copies: compose names it, or it can be seen."""
    for build in compose_builds(project):
        if build.dockerfile == file:
            return build.context
    parsed = parse(_read(project.path / file) or b"")
    copies = Copies(parsed, dockerignore.Dockerignore()).all
    return _most_of(project, [copy.path for copy in copies if copy.is_plain], (HERE, file.parent))


def _most_of(
    project: Project, paths: Sequence[PurePosixPath], folders: Iterable[PurePosixPath]
) -> PurePosixPath:
    return max(folders, key=lambda folder: sum(project.exists(folder / path) for path in paths))
