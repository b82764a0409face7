"""What one folder of a project says about the app's dependencies: its files and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from deploytool.discover.dependencies import requirements
from deploytool.discover.dependencies.packaging.found import (
    BUILD_FILES,
    FASTAPI,
    FROM_HISTORY,
    OF_DEVELOPERS,
)
from deploytool.discover.dependencies.requested import name_of
from deploytool.discover.dependencies.requirements import (
    brings_server,
    names_any,
)
from deploytool.discover.dependencies.uv_lock import Lock
from deploytool.discover.source import (
    HERE,
    Project,
    below,
    table_at,
    texts_in,
)


class Folder:
    """One folder of a project."""

    def __init__(
        self, project: Project, app_file: PurePosixPath | None, folder: PurePosixPath = HERE
    ) -> None:
        self.project = project
        self.app_file = app_file
        self.folder = folder

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        return self.project.toml(self.folder / "pyproject.toml")

    @cached_property
    def requirements(self) -> PurePosixPath | None:
        """The requirements to install, unless pyproject.toml is what lists the app's."""
        file = next(iter(self.dynamic_files()), None)
        file = file or requirements.find(self.project, self.folder)
        listed = texts_in(self.table("project").get("dependencies"))
        if file and names_any(listed, FASTAPI):
            lines = requirements.lines(self.project, file)
            pinned = [line for line in lines if "==" in line]
            return file if names_any(pinned, FASTAPI) else None
        return file

    def lists(self) -> bool:
        """Whether this folder lists any dependencies."""
        names = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "Pipfile")
        tables = self.table("tool", "poetry"), self.table("tool", "uv")
        return bool(self.requirements or self.lists_dependencies() or any(tables)) or any(
            map(self.has, names)
        )

    def lists_fastapi(self) -> bool:
        """Whether FastAPI is among them."""
        if any(map(self.has, ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"))):
            return True
        if file := self.requirements:
            files = requirements.included(self.project, file)
            return any(names_any(requirements.lines(self.project, f), FASTAPI) for f in files)
        poetry = self.table("tool", "poetry", "dependencies")
        pipfile = table_at(self.toml("Pipfile"), "packages")
        return self.lists_dependencies() or FASTAPI in map(name_of, (*poetry, *pipfile))

    def workspace(self) -> PurePosixPath | None:
        """The folder of the project's uv workspace that this folder is a member of."""
        for above in self.folder.parents if self.folder != HERE else ():
            if self.project.is_file(above / "uv.lock"):
                lock = Lock(self.project.toml(above / "uv.lock"))
                places = map(PurePosixPath, lock.folders())
                return above if self.folder.relative_to(above) in places else None
        return None

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def has(self, name: str) -> bool:
        return self.project.is_file(self.folder / name)

    def toml(self, name: str) -> dict[str, Any]:
        return self.project.toml(self.folder / name)

    def table(self, *keys: str) -> dict[str, Any]:
        return table_at(self.pyproject, *keys)

    def dynamic_files(self) -> list[PurePosixPath]:
        """The files from which setuptools or Hatch takes the project's dependencies."""
        if not self.has_dynamic_dependencies():
            return []
        setuptools = self.table("tool", "setuptools", "dynamic", "dependencies").get("file")
        hatch = self.table("tool", "hatch", "metadata", "hooks", "requirements_txt")
        named = [setuptools] if isinstance(setuptools, str) else texts_in(setuptools)
        named += [*texts_in(hatch.get("files")), *texts_in([hatch.get("filename")])]
        files = (below(self.folder, name) for name in named)
        return [file for file in files if file and self.project.is_file(file)]

    def has_dynamic_dependencies(self) -> bool:
        return "dependencies" in texts_in(self.table("project").get("dynamic"))

    def computes_dependencies(self, folder: PurePosixPath) -> bool:
        """Whether a lock cannot be compared with the pyproject.toml in a folder alone."""
        project = table_at(self.project.toml(folder / "pyproject.toml"), "project")
        dynamic = texts_in(project.get("dynamic"))
        return bool({"dependencies", "optional-dependencies"} & set(dynamic))

    def name(self) -> str | None:
        for name in (self.table("project").get("name"), self.table("tool", "poetry").get("name")):
            if isinstance(name, str):
                return name
        return None

    def lists_dependencies(self) -> bool:
        listed = texts_in(self.table("project").get("dependencies"))
        return bool(listed) or any(self.where_fastapi_is(self.folder))

    def where_fastapi_is(self, folder: PurePosixPath) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The extra or group that has FastAPI, or its server, where the project's dependencies
        have not."""
        document = self.project.toml(folder / "pyproject.toml")
        project = table_at(document.get("project"))
        brings = _what_lacks(texts_in(project.get("dependencies")))
        if brings is None:
            return (), ()
        extra = _smallest(table_at(project.get("optional-dependencies")), brings)
        if extra:
            return (extra,), ()
        groups = {
            k: v for k, v in table_at(document.get("dependency-groups")).items() if k != "dev"
        }
        group = _smallest(groups, brings)  # --no-dev leaves that one out, whatever else is said
        return (), (group,) if group else ()

    def is_installed(self, folder: PurePosixPath) -> bool:
        """Whether the project in a folder is a package below src/, and can be built in an image."""
        document = self.project.toml(folder / "pyproject.toml")
        tool = table_at(document.get("tool"))
        build = table_at(document.get("build-system"))
        poetry, uv = table_at(tool.get("poetry")), table_at(tool.get("uv"))
        if not build or uv.get("package") is False or poetry.get("package-mode") is False:
            return False
        if self.takes_version_from_history(folder):
            return False
        source = folder / "src"
        if self.project.is_file(source / "__init__.py"):
            return False  # src is the package itself, imported by that name
        if not all(map(self.project.is_folder, _poetry_packages(folder, poetry))):
            return False  # no tool builds it
        below = self.app_file is None or self.app_file.is_relative_to(source)
        return below and self.project.is_folder(source)

    def takes_version_from_history(self, folder: PurePosixPath) -> bool:
        build = table_at(self.project.toml(folder / "pyproject.toml").get("build-system"))
        return bool(FROM_HISTORY.search(" ".join(texts_in(build.get("requires")))))

    def build_files(self) -> tuple[str, ...]:
        here = self.project.path / self.folder
        paths = (path for pattern in BUILD_FILES for path in here.glob(pattern))
        names = {self.path(path.name) for path in paths if path.is_file()}
        names |= set(map(str, self.dynamic_files()))
        return self.path("pyproject.toml"), *sorted(names)


def _poetry_packages(folder: PurePosixPath, poetry: Mapping[str, Any]) -> Iterator[PurePosixPath]:
    """The folders that a Poetry project says it is made of; not those that are patterns."""
    for package in poetry.get("packages") or ():
        named = package if isinstance(package, dict) else {}
        include, source = str(named.get("include", "")), str(named.get("from", ""))
        if include and not re.search(r"[*?\[]|\.py$", include):
            yield folder / source / include


def _what_lacks(listed: list[str]) -> Callable[[list[str]], bool] | None:
    """How to tell what brings FastAPI, or else its server, where these do not."""
    if not names_any(listed, FASTAPI):
        return lambda lines: names_any(lines, FASTAPI)
    return None if brings_server(listed) else brings_server


def _smallest(tables: dict[str, Any], brings: Callable[[list[str]], bool]) -> str | None:
    """The extra or group with the least else in it; one of developers only if no other does."""
    found = [(name, texts_in(lines)) for name, lines in tables.items() if brings(texts_in(lines))]
    ranked = sorted((name in OF_DEVELOPERS, len(lines), name) for name, lines in found)
    return ranked[0][2] if ranked else None
