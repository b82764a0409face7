"""Where the processes of an image run, and what of the project they can import and name there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Any

from deploytool.discover.apps.app import FoundApp
from deploytool.discover.processes.command_lines import Line
from deploytool.discover.source import HERE, Project, below, table_at, texts_in

LISTS = re.compile(r"^(require\w*|reqs?)([._-].*)?\.(txt|in)$|^Pipfile$|^setup\.(py|cfg)$")
FOR_DEVELOPERS = re.compile(r"(^|[._-])(dev\w*|tests?|testing|lint|docs?|ci|local)([._-]|$)")


class Place:
    """An image's working folder and import root, as folders of the project."""

    def __init__(
        self,
        project: Project,
        app: FoundApp,
        workdir: PurePosixPath,
        listed: Collection[str] | None = None,
    ) -> None:
        self.project = project
        self.listed = listed
        self.workdir = workdir
        self.root = PurePosixPath(app.root)
        self.app_file = PurePosixPath(app.file)
        self._requirements: str | None = None

    @property
    def folders(self) -> tuple[PurePosixPath, ...]:
        """Folders that may have something to say about the app, the nearest to it first."""
        return tuple(dict.fromkeys((*self.app_file.parents, self.workdir, self.root, HERE)))

    def file_of(self, target: str, base: PurePosixPath) -> PurePosixPath | None:
        """The file, or the module's file, that a process running in `base` means."""
        if "/" in target or target.endswith((".py", ".sh")):
            path = below(base, target)
            return path if path is not None and self.project.is_file(path) else None
        names = target.split(".")
        for last in dict.fromkeys((len(names), max(len(names) - 1, 1))):
            if found := self._module(base.joinpath(*names[:last])):
                return found
        return None

    def _module(self, stem: PurePosixPath) -> PurePosixPath | None:
        for path in (stem / "__init__.py", stem.parent / f"{stem.name}.py"):
            if stem.name and self.project.is_file(path):
                return path
        return None

    def folder_for(self, line: Line, folder: PurePosixPath) -> PurePosixPath | None:
        """The folder in which every part of a line finds what it names; None: there is none."""
        targets = [part.target for part in line.parts if part.target]
        if any(part.words[0] == "cd" for part in line.parts) or not targets:
            return folder
        if all(self._is_found(target) for target in targets):
            return self.workdir
        bases = dict.fromkeys((folder, *self.app_file.parents))
        return next((b for b in bases if all(self.file_of(t, b) for t in targets)), None)

    def _is_found(self, target: str) -> bool:
        """Whether a process in the working folder finds it, which imports from the root too."""
        if self.file_of(target, self.workdir):
            return True
        is_file = "/" in target or target.endswith((".py", ".sh"))
        return not is_file and self.file_of(target, self.root) is not None

    def command_in(self, folder: PurePosixPath, line: Line) -> tuple[str, ...]:
        """The command that runs in a folder, as the image starts it from its working folder."""
        if folder == self.workdir:
            return line.command
        there = shlex.quote(os.path.relpath(folder, self.workdir))
        run = line.script if line.script is not None else f"exec {shlex.join(line.command)}"
        return line.shell, "-c", f"cd {there} && {run}"

    def lists(self, distribution: str) -> bool:
        """Whether the project's dependencies name a distribution, or one that builds on it."""
        if self.listed is not None:
            return distribution in self.listed
        if self._requirements is None:
            self._requirements = "\n".join(self._dependency_texts())
        name = re.escape(distribution)
        return re.search(rf"(?i)(?<![\w.-]){name}(?!\w)", self._requirements) is not None

    def _dependency_texts(self) -> Iterator[str]:
        for folder in self.folders:
            for file in self._files(folder, folder / "requirements", folder / "reqs"):
                yield self.project.text(file) or ""
            yield from _main_dependencies(self.project.helpful_toml(folder / "pyproject.toml"))

    def _files(self, *folders: PurePosixPath) -> Iterator[PurePosixPath]:
        for folder in folders:
            for name in self.names(folder):
                is_list = LISTS.match(name) or (folder.name in ("requirements", "reqs"))
                if is_list and not FOR_DEVELOPERS.search(name):
                    yield folder / name

    def names(self, folder: PurePosixPath) -> list[str]:
        try:
            entries = sorted(os.scandir(self.project.path / folder), key=lambda entry: entry.name)
            return [entry.name for entry in entries if entry.is_file()]
        except OSError:
            return []


def _main_dependencies(pyproject: dict[str, Any]) -> Iterator[str]:
    listed = table_at(pyproject, "project").get("dependencies")
    yield from texts_in(listed)
    yield from map(str, table_at(pyproject, "tool", "poetry", "dependencies"))
