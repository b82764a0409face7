"""The migrations of Alembic and Aerich, and the command that brings a database up to date."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.discover.processes.command_lines import Line
from deploytool.discover.processes.place import Place
from deploytool.discover.source import HERE, below, first_names, is_standard, table_at

INI = PurePosixPath("alembic.ini")
ELSEWHERE = ("alembic", "migrations", "db", "database", "app/db", "src/db")


@dataclass(frozen=True)
class Settings:
    """The settings of an alembic.ini, or of [tool.alembic] in pyproject.toml."""

    file: PurePosixPath
    location: str
    """Where the scripts are, relative to the working folder."""
    sets_path: bool
    """Whether it makes the project importable."""
    has_versions: bool
    """Whether it names folders of migrations itself."""


@dataclass(frozen=True)
class Migrations:
    """Migrations that can be run, and the folder that their command has to run in."""

    settings: Settings
    scripts: PurePosixPath
    folder: PurePosixPath
    are_there: bool
    """Whether there is anything to run yet."""

    @property
    def option(self) -> tuple[str, ...]:
        """The options that name Alembic's settings."""
        if self.settings.file.parent == self.folder:
            return ()
        return "-c", os.path.relpath(self.settings.file, self.folder)

    @property
    def files(self) -> tuple[PurePosixPath, ...]:
        return self.settings.file, self.scripts


class Alembic:
    """Finds the migrations of a project, and how Alembic has to be called to run them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.project = place.project

    def find(self) -> Migrations | None:
        """Those nearest to the app: with something to run, else at all."""
        found = [read for folder in self.place.folders if (read := self.read(folder / INI))]
        found += [read for folder in self.place.folders if (read := self._pyproject(folder))]
        return next((one for one in found if one.are_there), next(iter(found), None))

    def elsewhere(self) -> Iterator[Migrations]:
        """Those in folders of their own, of which nobody knows whether they are the app's."""
        for base in self.place.folders:
            for folder in ELSEWHERE:
                found = self.read(base / folder / INI)
                if found and found.are_there:
                    yield found

    def read(self, file: PurePosixPath) -> Migrations | None:
        """The migrations of an alembic.ini, if its scripts are found and can be run."""
        settings = self._ini(file) if self.project.is_file(file) else None
        return self._located(settings) if settings else None

    def command(self, migrations: Migrations, line: Line) -> Line:
        """Alembic as it can be called in the image: where it finds the project's modules."""
        if not self._needs_path(migrations):
            return line
        shadow = migrations.folder / "alembic" / "__init__.py"
        if not self.project.is_file(shadow):
            # The working folder is on the path of `python -m`, not on that of a program.
            return line.with_program("python", "-m", "alembic")
        script = 'PYTHONPATH=".:$PYTHONPATH" exec ' + " ".join(line.words)
        return Line(script=script)

    def modules(self, migrations: Migrations) -> tuple[str, ...]:
        """The project's own modules that the scripts import."""
        names: set[str] = set()
        for file in self._scripts(migrations):
            scope = self.project.scope(file)
            names |= {name for name in (first_names(scope) if scope else ()) if name}
        return tuple(sorted(filter(self._is_own, names)))

    def _is_own(self, name: str) -> bool:
        bases = dict.fromkeys((self.place.workdir, self.place.root))
        if is_standard(name) or name == "alembic":
            return False
        return any(
            self.project.is_file(base / f"{name}.py") or self.project.is_folder(base / name)
            for base in bases
        )

    def _needs_path(self, migrations: Migrations) -> bool:
        """Whether the scripts import modules of the working folder, and nothing adds it."""
        if migrations.settings.sets_path or self.place.root != HERE:
            return False
        helps_itself = "sys.path" in (self.project.text(migrations.scripts / "env.py") or "")
        return not helps_itself and bool(self.modules(migrations))

    def _scripts(self, migrations: Migrations) -> Iterable[PurePosixPath]:
        versions = migrations.scripts / "versions"
        found = sorted((self.project.path / versions).glob("*.py"))
        return (migrations.scripts / "env.py", *(versions / path.name for path in found))

    def _located(self, settings: Settings) -> Migrations | None:
        folders = [self.place.workdir, settings.file.parent]
        if settings.sets_path:
            folders.reverse()  # the path that it sets is relative to where people run it
        for folder in dict.fromkeys(folders):
            scripts = self._folder(settings, folder)
            if scripts is not None and self.project.is_file(scripts / "env.py"):
                versions = (self.project.path / scripts / "versions").glob("*.py")
                there = settings.has_versions or any(versions)
                return Migrations(settings, scripts, folder, there)
        return None

    def _folder(self, settings: Settings, folder: PurePosixPath) -> PurePosixPath | None:
        """The folder of the scripts, for a process that runs in `folder`."""
        text = settings.location
        if ":" in text:
            package, _, inside = text.partition(":")
            return self.place.root.joinpath(*package.split("."), inside)
        base = settings.file.parent if "%(here)s" in text else folder
        return below(base, text.replace("%(here)s", ".").replace("%%", "%"))

    def _ini(self, file: PurePosixPath) -> Settings | None:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(self.project.text(file) or "")
        except configparser.Error:
            return None
        section = dict(parser.items("alembic")) if parser.has_section("alembic") else {}
        return _settings(file, section)

    def _pyproject(self, folder: PurePosixPath) -> Migrations | None:
        file = folder / "pyproject.toml"
        section = table_at(self.project.helpful_toml(file), "tool", "alembic")
        settings = _settings(file, section)
        found = self._located(settings) if settings else None
        # Alembic looks for pyproject.toml in the folder that it runs in, and nowhere else.
        return found if found and found.folder == folder else None


def _settings(file: PurePosixPath, section: Mapping[str, object]) -> Settings | None:
    location = section.get("script_location")
    if not isinstance(location, str) or not location.strip() or "\0" in location:
        return None
    has_path, has_versions = "prepend_sys_path" in section, "version_locations" in section
    return Settings(file, location.strip(), has_path, has_versions)


def aerich_settings(place: Place) -> PurePosixPath | None:
    """The file that Aerich reads in the working folder, if it has migrations of its own."""
    pyproject = place.workdir / "pyproject.toml"
    if table_at(place.project.helpful_toml(pyproject), "tool", "aerich"):
        return pyproject
    return next(
        (
            path
            for name in ("aerich.ini", "aerich.toml")
            if place.project.is_file(path := place.workdir / name)
        ),
        None,
    )


def aerich_folder(place: Place, file: PurePosixPath) -> PurePosixPath:
    """Where Aerich keeps its migrations."""
    section = table_at(place.project.helpful_toml(file), "tool", "aerich")
    location = section.get("location", "./migrations")
    return place.workdir / (location if isinstance(location, str) else "migrations")
