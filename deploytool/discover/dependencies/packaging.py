"""Finds how a project's dependencies are written down: uv, Poetry, requirements, or not at all.

What lists them may be beside the app instead of at the project's root: the folder nearest to the
app counts, upwards from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from deploytool.discover.dependencies import python_version, requirements
from deploytool.discover.dependencies.locks import poetry_lock_is_stale, uv_lock_is_stale
from deploytool.discover.dependencies.requested import name_of
from deploytool.discover.dependencies.requirements import (
    brings_server,
    names_any,
)
from deploytool.discover.dependencies.uv_lock import Lock
from deploytool.discover.source import (
    HERE,
    SKIPPED_FOLDERS,
    Project,
    below,
    is_utf16,
    table_at,
    texts_in,
)
from deploytool.errors import UsageError

BUILD_FILES = ("README*", "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "setup.py", "setup.cfg")
SCRIPT_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
FROM_HISTORY = re.compile(r"\b(hatch-vcs|setuptools[-_]scm|versioningit|dunamai|versioneer)\b")
FASTAPI = "fastapi"
OF_DEVELOPERS = frozenset({"dev", "test", "tests", "testing", "lint", "docs"})
PLAIN_FASTAPI = "fastapi[standard]>=0.115,<1"


class Packaging(StrEnum):
    UV = "uv"
    POETRY = "poetry"
    PDM = "pdm"
    PIPENV = "pipenv"
    REQUIREMENTS = "requirements"
    SCRIPT = "script"
    SINGLE_FILE = "single-file"


@dataclass(frozen=True)
class FoundPackaging:
    """How a project's dependencies get into an image."""

    kind: Packaging
    why: str
    files: tuple[str, ...]
    """What the dependency layer is made from; nothing else of the project changes it."""
    folder: str = "."
    """The folder of the project that these files belong to."""
    python: str = python_version.DEFAULT
    """Tag of the base image: "3.13", or a patch release where the project pins one."""
    python_why: str = "nothing says which: the default"
    constraint: str = ""
    """The Pythons that the project allows, as it says it."""
    constraint_source: str = ""
    locked: bool = False
    """Whether the exact versions are written down."""
    stale: bool = False
    """Whether they were written down for other dependencies than the project has now."""
    old_lock: bool = False
    """Whether Poetry 1 made the lock."""
    name: str | None = None
    """The project's own name for itself."""
    package: str | None = None
    """The member of a uv workspace that the app is in."""
    extras: tuple[str, ...] = ()
    """Extras of the project that bring FastAPI."""
    groups: tuple[str, ...] = ()
    """Dependency groups of the project that bring FastAPI."""
    install: tuple[str, ...] = ()
    """Folders of the project that are installed as packages, without their dependencies."""
    build_files: tuple[str, ...] = ()
    """What building the project's own package reads beside its code."""
    metadata: bool = False
    """Whether the app asks for its own package's metadata, which is installed without the code."""
    versions_from_history: bool = False
    """Whether the package's version is worked out from Git, which is not in the image."""
    utf16: bool = False
    """Whether the requirements are in UTF-16, which uv does not read."""
    listed: tuple[str, ...] = ()
    """What is asked for by name, as requirement lines; a lock has more."""
    optional: tuple[tuple[str, str], ...] = ()
    """What only an extra or a group that is not installed asks for: distribution and its name."""
    build_packages: tuple[str, ...] = ()
    """Debian packages that installing the dependencies needs."""
    run_packages: tuple[str, ...] = ()
    """Debian packages that the app needs at run time."""
    warnings: tuple[str, ...] = ()


def find_packaging(project: Path, app_file: str | None = None) -> FoundPackaging:
    """How the dependencies of the project, or of the member that `app_file` is in, are listed.

    Raises UsageError when they are listed in a way that cannot be built.
    """
    whole = Project(Path(project))
    file = PurePosixPath(app_file) if app_file else None
    return Finder(whole, file, nearest(whole, file)).find()


def with_metadata(project: Project, found: FoundPackaging) -> FoundPackaging:
    """The same, with the package's own metadata installed too, where it can be built."""
    return Finder(project, None, PurePosixPath(found.folder)).with_metadata(found)


def nearest(project: Project, app_file: PurePosixPath | None) -> PurePosixPath:
    """The folder whose files list what the app needs."""
    above = list(app_file.parents) if app_file else [HERE]
    finders = [Finder(project, app_file, folder) for folder in above]
    listing = [finder for finder in finders if finder.lists()]
    for finder in listing:
        if root := finder.workspace():
            return root
    listing.sort(key=lambda finder: not finder.lists_fastapi())
    if listing:
        return listing[0].folder
    elsewhere = [folder for folder in _folders(project) if folder not in above]
    found = [f for folder in elsewhere if (f := Finder(project, app_file, folder)).lists_fastapi()]
    return found[0].folder if len(found) == 1 else HERE


def _folders(project: Project) -> Iterator[PurePosixPath]:
    """All folders of a project that may be part of it, near ones first."""
    waiting = [HERE]
    while waiting:
        folder = waiting.pop(0)
        yield folder
        try:
            names = sorted(e.name for e in os.scandir(project.path / folder) if e.is_dir())
        except OSError:
            names = []
        if len(folder.parts) < 4:
            own = (n for n in names if not n.startswith(".") and n not in SKIPPED_FOLDERS)
            waiting += [folder / name for name in own]


class Finder:
    """What one folder of a project says about the app's dependencies."""

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
        file = self._dynamic_file() or requirements.find(self.project, self.folder)
        listed = texts_in(self._table("project").get("dependencies"))
        if file and names_any(listed, FASTAPI):
            lines = requirements.lines(self.project, file)
            pinned = [line for line in lines if "==" in line]
            return file if names_any(pinned, FASTAPI) else None
        return file

    def find(self) -> FoundPackaging:
        found = self._with_constraint(replace(self._kind(), folder=str(self.folder)))
        found = replace(found, listed=tuple(self._listed(found)), optional=self._optional(found))
        return replace(found, warnings=tuple(self._warnings(found)))

    def lists(self) -> bool:
        """Whether this folder lists any dependencies."""
        names = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "Pipfile")
        tables = self._table("tool", "poetry"), self._table("tool", "uv")
        return bool(self.requirements or self._lists_dependencies() or any(tables)) or any(
            map(self._has, names)
        )

    def lists_fastapi(self) -> bool:
        """Whether FastAPI is among them."""
        if any(map(self._has, ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"))):
            return True
        if file := self.requirements:
            files = requirements.included(self.project, file)
            return any(names_any(requirements.lines(self.project, f), FASTAPI) for f in files)
        poetry = self._table("tool", "poetry", "dependencies")
        pipfile = table_at(self._toml("Pipfile"), "packages")
        return self._lists_dependencies() or FASTAPI in map(name_of, (*poetry, *pipfile))

    def workspace(self) -> PurePosixPath | None:
        """The folder of the project's uv workspace that this folder is a member of."""
        for above in self.folder.parents if self.folder != HERE else ():
            if self.project.is_file(above / "uv.lock"):
                lock = Lock(self.project.toml(above / "uv.lock"))
                places = map(PurePosixPath, lock.folders())
                return above if self.folder.relative_to(above) in places else None
        return None

    def _kind(self) -> FoundPackaging:
        has, table = self._has, self._table
        checks: tuple[tuple[object, Callable[[], FoundPackaging]], ...] = (
            (has("uv.lock"), self._uv_locked),
            (has("poetry.lock"), self._poetry),
            (self._poetry_dependencies(), self._poetry),
            (self.folder == HERE and self._lock_above(), self._inside_workspace),
            (has("pdm.lock") and self._lists_dependencies(), self._pdm),
            (has("Pipfile.lock") and not self.requirements, self._pipenv),
            (self._lists_dependencies() and not self.requirements, self._uv_unlocked),
            (table("tool", "uv") and not self.requirements, self._uv_unlocked),
            (self.requirements, self._requirements),
            (table("tool", "poetry"), self._poetry),
            (has("Pipfile"), self._pipenv),
            (self._script_block() is not None, self._script),
        )
        for applies, find in checks:
            if applies:
                return find()
        return self._single_file()

    # --- files and tables of the folder -------------------------------------------------------

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _has(self, name: str) -> bool:
        return self.project.is_file(self.folder / name)

    def _toml(self, name: str) -> dict[str, Any]:
        return self.project.toml(self.folder / name)

    def _table(self, *keys: str) -> dict[str, Any]:
        return table_at(self.pyproject, *keys)

    def _dynamic_file(self) -> PurePosixPath | None:
        """The file from which setuptools or Hatch takes the project's dependencies."""
        if not self._has_dynamic_dependencies():
            return None
        setuptools = self._table("tool", "setuptools", "dynamic", "dependencies").get("file")
        hatch = self._table("tool", "hatch", "metadata", "hooks", "requirements_txt")
        named = [setuptools] if isinstance(setuptools, str) else texts_in(setuptools)
        named += [*texts_in(hatch.get("files")), *texts_in([hatch.get("filename")])]
        files = (below(self.folder, name) for name in named)
        return next((file for file in files if file and self.project.is_file(file)), None)

    def _has_dynamic_dependencies(self) -> bool:
        return "dependencies" in texts_in(self._table("project").get("dynamic"))

    def _name(self) -> str | None:
        for name in (self._table("project").get("name"), self._table("tool", "poetry").get("name")):
            if isinstance(name, str):
                return name
        return None

    def _lists_dependencies(self) -> bool:
        listed = texts_in(self._table("project").get("dependencies"))
        return bool(listed) or any(self._where_fastapi_is(self.folder))

    # --- uv ---------------------------------------------------------------------------------

    def _uv_locked(self) -> FoundPackaging:
        document = self._toml("uv.lock")
        lock = Lock(document)
        member = self._member(lock)
        local = lock.local_packages(member or canonicalize_name(self._name() or ""))
        self._refuse_outside(local)
        root = lock.folder(member) if member else "."
        install = [f for f in local.values() if f != root and lock.is_package(f)]
        if self._is_installed(self.folder / root):
            install.append(root)
        folders = dict.fromkeys((".", *lock.folders()))
        extras, groups = self._where_fastapi_is(self.folder / root)
        return FoundPackaging(
            Packaging.UV,
            f"{self._path('uv.lock')} is there",
            files=(*(self._path(f"{f}/pyproject.toml") for f in folders), self._path("uv.lock")),
            locked=True,
            stale=uv_lock_is_stale(self._toml(f"{root}/pyproject.toml"), document, member),
            name=member or self._name(),
            package=member if root != "." else None,
            extras=extras,
            groups=groups,
            install=tuple(sorted(map(self._path, install))),
            build_files=self._build_files() if "." in install else (),
        )

    def _member(self, lock: Lock) -> str | None:
        """The workspace member that the app's file is in, if the lock has it."""
        for folder in self.app_file.parents if self.app_file else ():
            for name, place in lock.local.items():
                if self.folder / place == folder and lock.is_member(name):
                    return name
        return None

    def _refuse_outside(self, local: dict[str, str]) -> None:
        outside = {name: folder for name, folder in local.items() if folder.startswith("..")}
        for name, folder in outside.items():
            raise UsageError(
                f"{name} is installed from {folder}, outside the project: a build cannot see it",
                code="outside_project",
                hint="run this in the folder that holds both, or depend on a released version",
            )

    def _lock_above(self) -> str | None:
        """The folder, outside this project, of the workspace that it is a member of."""
        for above in self.project.path.resolve().parents:
            document = Project(above)
            if document.is_file(PurePosixPath("uv.lock")):
                workspace = table_at(document.pyproject, "tool", "uv", "workspace")
                members = workspace.get("members", [])
                here = self.project.path.resolve().relative_to(above)
                is_member = any(here.match(pattern) for pattern in texts_in(members))
                return str(above) if is_member and self.pyproject else None
        return None

    def _inside_workspace(self) -> FoundPackaging:
        above = self._lock_above()
        raise UsageError(
            f"This project is a member of the uv workspace in {above}, which has the uv.lock",
            code="workspace_member",
            hint=f"run `deploytool init {above}`, with --entrypoint for this app",
        )

    def _uv_unlocked(self) -> FoundPackaging:
        self._refuse_unlocked_sources()
        self._refuse_computed()
        tool = "[tool.uv]" if self._table("tool", "uv") else "[project] dependencies"
        extras, groups = self._where_fastapi_is(self.folder)
        install = (self._path("."),) if self._is_installed(self.folder) else ()
        return FoundPackaging(
            Packaging.UV,
            f"{self._path('pyproject.toml')} has {tool}; there is no lock" + self._passed_over(),
            files=(self._path("pyproject.toml"),),
            name=self._name(),
            extras=extras,
            groups=groups,
            install=install,
            build_files=self._build_files() if install else (),
        )

    def _refuse_computed(self) -> None:
        if self._has_dynamic_dependencies() and not self._lists_dependencies():
            raise UsageError(
                "The project's dependencies are computed when it is built (dynamic), and there is "
                "neither a lock nor a requirements.txt",
                code="dependencies_unknown",
                hint="run `uv lock`, and this again",
            )

    def _passed_over(self) -> str:
        found = requirements.find(self.project, self.folder)
        return f", and {found} pins no versions" if found else ""

    def _refuse_unlocked_sources(self) -> None:
        for name, source in self._table("tool", "uv", "sources").items():
            if isinstance(source, dict) and {"path", "workspace"} & source.keys():
                raise UsageError(
                    f"{name} is installed from a folder, and there is no uv.lock",
                    code="lock_missing",
                    hint="run `uv lock`, and this again",
                )

    def _where_fastapi_is(self, folder: PurePosixPath) -> tuple[tuple[str, ...], tuple[str, ...]]:
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

    # --- the project's own package ------------------------------------------------------------

    def _is_installed(self, folder: PurePosixPath) -> bool:
        """Whether the project in a folder is a package below src/, and can be built in an image."""
        document = self.project.toml(folder / "pyproject.toml")
        tool = table_at(document.get("tool"))
        build = table_at(document.get("build-system"))
        poetry, uv = table_at(tool.get("poetry")), table_at(tool.get("uv"))
        if not build or uv.get("package") is False or poetry.get("package-mode") is False:
            return False
        if self._takes_version_from_history(folder):
            return False
        source = folder / "src"
        if self.project.is_file(source / "__init__.py"):
            return False  # src is the package itself, imported by that name
        if not all(map(self.project.is_folder, _poetry_packages(folder, poetry))):
            return False  # no tool builds it
        below = self.app_file is None or self.app_file.is_relative_to(source)
        return below and self.project.is_folder(source)

    def _takes_version_from_history(self, folder: PurePosixPath) -> bool:
        build = table_at(self.project.toml(folder / "pyproject.toml").get("build-system"))
        return bool(FROM_HISTORY.search(" ".join(texts_in(build.get("requires")))))

    def _build_files(self) -> tuple[str, ...]:
        here = self.project.path / self.folder
        paths = (path for pattern in BUILD_FILES for path in here.glob(pattern))
        names = "pyproject.toml", *sorted({path.name for path in paths if path.is_file()})
        return tuple(self._path(name) for name in names)

    def with_metadata(self, found: FoundPackaging) -> FoundPackaging:
        if not table_at(self.pyproject, "build-system") or found.install:
            return found
        return replace(
            found,
            metadata=True,
            build_files=self._build_files(),
            versions_from_history=self._takes_version_from_history(self.folder),
        )

    # --- Poetry, PDM, Pipenv --------------------------------------------------------------------

    def _poetry(self) -> FoundPackaging:
        if not self._has("pyproject.toml"):
            raise UsageError(
                f"There is a {self._path('poetry.lock')} and no pyproject.toml beside it",
                code="dependencies_unknown",
                hint="put the pyproject.toml back",
            )
        locked = self._has("poetry.lock")
        lock = self._toml("poetry.lock")
        self._refuse_folders(lock)
        install = (self._path("."),) if self._is_installed(self.folder) else ()
        _, groups = self._where_fastapi_is(self.folder)
        names = ("pyproject.toml", *(["poetry.lock"] if locked else []))
        return FoundPackaging(
            Packaging.POETRY,
            f"{self._path('poetry.lock')} is there"
            if locked
            else f"{self._path('pyproject.toml')} has [tool.poetry]",
            files=tuple(map(self._path, names)),
            locked=locked,
            old_lock=locked and str(table_at(lock, "metadata").get("lock-version")) < "2.1",
            stale=locked and poetry_lock_is_stale(self.pyproject, lock),
            name=self._name(),
            groups=groups or self._poetry_group(),
            install=install,
            build_files=self._build_files() if install else (),
        )

    def _poetry_dependencies(self) -> bool:
        groups = self._table("tool", "poetry", "group").values()
        tables = (table_at(group, "dependencies") for group in groups)
        own = self._table("tool", "poetry", "dependencies").keys() - {"python"}
        return bool(own) or any(tables)

    def _poetry_group(self) -> tuple[str, ...]:
        main = self._table("tool", "poetry", "dependencies")
        if FASTAPI in map(name_of, main) or self._lists_dependencies():
            return ()
        for name, group in sorted(self._table("tool", "poetry", "group").items()):
            if FASTAPI in map(name_of, table_at(table_at(group).get("dependencies"))):
                return (name,)
        return ()

    def _refuse_folders(self, lock: dict[str, Any]) -> None:
        packages = lock.get("package", [])
        sources = [table_at(table_at(p).get("source")) for p in packages if isinstance(p, dict)]
        found = [s.get("url") for s in sources if s.get("type") in ("directory", "file")]
        named = self._table("tool", "poetry", "dependencies").values() if not lock else ()
        for folder in (*found, *(path for value in named if (path := table_at(value).get("path")))):
            raise UsageError(
                f"Poetry installs {folder} from a folder of this machine",
                code="path_dependency",
                hint="depend on a released version or a Git repository, or manage the project "
                "with uv, whose path dependencies are understood",
            )

    def _pdm(self) -> FoundPackaging:
        return replace(
            self._uv_unlocked(),
            kind=Packaging.PDM,
            why=f"{self._path('pdm.lock')} is there",
            files=(self._path("pyproject.toml"), self._path("pdm.lock")),
            locked=True,
        )

    def _pipenv(self) -> FoundPackaging:
        locked = self._has("Pipfile.lock")
        names = [name for name in ("Pipfile", "Pipfile.lock") if self._has(name)]
        return FoundPackaging(
            Packaging.PIPENV,
            f"{self._path(names[-1])} is there",
            files=tuple(map(self._path, names)),
            locked=locked,
            name=self._name(),
        )

    # --- requirements -------------------------------------------------------------------------

    def _requirements(self) -> FoundPackaging:
        start = self.requirements or HERE
        files = list(dict.fromkeys(requirements.included(self.project, start)))
        lines = [line for file in files for line in requirements.lines(self.project, file)]
        requirements.refuse_local(lines, str(start))
        named = [line for line in lines if name_of(line)]
        why = f"{start} is there"
        if self._lists_dependencies():
            why += " and pins exact versions, as pyproject.toml does not"
        install = (self._path("."),) if self._is_installed(self.folder) else ()
        return FoundPackaging(
            Packaging.REQUIREMENTS,
            why,
            files=tuple(map(str, files)),
            utf16=is_utf16(self.project.data(start)),
            locked=all("==" in line or " @ " in line for line in named),
            name=self._name(),
            install=install,
            build_files=self._build_files() if install else (),
        )

    # --- no dependency file -------------------------------------------------------------------

    def _script_block(self) -> dict[str, Any] | None:
        """PEP 723: the metadata in the comments of a script."""
        text = self.project.text(self.app_file) if self.app_file else None
        block = SCRIPT_BLOCK.search((text or "").replace("\r\n", "\n"))
        if block is None:
            return None
        import tomli

        content = "\n".join(line[2:] for line in block["content"].splitlines())
        try:
            return tomli.loads(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"The script metadata of {self.app_file} cannot be read: {error}",
                code="file_invalid",
                hint="correct the block between `# /// script` and `# ///`",
            ) from error

    def _script(self) -> FoundPackaging:
        lock = f"{self.app_file}.lock"
        locked = self.project.is_file(PurePosixPath(lock))
        return FoundPackaging(
            Packaging.SCRIPT,
            f"{self.app_file} lists its dependencies itself (# /// script)",
            files=(str(self.app_file), *([lock] if locked else [])),
            locked=locked,
            name=self._name(),
        )

    def _single_file(self) -> FoundPackaging:
        for name, command in (
            ("environment.yml", "pip list --format=freeze > requirements.txt"),
            ("setup.py", "uv init --bare && uv add 'fastapi[standard]'"),
        ):
            if self._has(name):
                raise UsageError(
                    f"The dependencies are in {name}, from which no image is built here",
                    code="packaging_unknown",
                    hint=f"write them down with `{command}`, and run this again",
                )
        self._refuse_computed()
        return FoundPackaging(
            Packaging.SINGLE_FILE,
            "no pyproject.toml or requirements.txt lists dependencies",
            files=(),
            name=self._name(),
        )

    # --- what is asked for ------------------------------------------------------------------------

    def _listed(self, found: FoundPackaging) -> Iterator[str]:
        match found.kind:
            case Packaging.REQUIREMENTS:
                for file in map(PurePosixPath, found.files):
                    lines = requirements.lines(self.project, file)
                    yield from (line for line in lines if not line.startswith("-"))
            case Packaging.SCRIPT:
                yield from texts_in((self._script_block() or {}).get("dependencies"))
            case Packaging.PIPENV:
                yield from _named(table_at(self._toml("Pipfile"), "packages"))
            case Packaging.SINGLE_FILE:
                yield PLAIN_FASTAPI
            case _:
                yield from self._project_dependencies(found)

    def _project_dependencies(self, found: FoundPackaging) -> Iterator[str]:
        project, poetry = self._member_table(found, "project"), self._table("tool", "poetry")
        yield from texts_in(project.get("dependencies"))
        yield from _named(table_at(poetry, "dependencies"))
        for name in found.extras:
            yield from texts_in(table_at(project, "optional-dependencies").get(name))
        for name in found.groups:
            yield from texts_in(self._member_table(found, "dependency-groups").get(name))
            yield from _named(table_at(poetry, "group", name, "dependencies"))

    def _member_table(self, found: FoundPackaging, key: str) -> dict[str, Any]:
        """A table of the pyproject.toml of the workspace's member that is installed."""
        if found.package:
            for file in found.files:
                document = self.project.toml(PurePosixPath(file)) if file.endswith(".toml") else {}
                name = table_at(document, "project").get("name")
                if isinstance(name, str) and canonicalize_name(name) == canonicalize_name(
                    found.package
                ):
                    return table_at(document, key)
        return self._table(key)

    def _optional(self, found: FoundPackaging) -> tuple[tuple[str, str], ...]:
        extras = self._member_table(found, "project").get("optional-dependencies")
        groups = self._member_table(found, "dependency-groups")
        kinds = (("extra", table_at(extras), found.extras), ("group", groups, found.groups))
        return tuple(
            (name, f"{kind} {key}")
            for kind, tables, installed in kinds
            for key, lines in sorted(tables.items())
            if key not in installed
            for line in texts_in(lines)
            if (name := name_of(line))
        )

    # --- Python and warnings --------------------------------------------------------------------

    def _with_constraint(self, found: FoundPackaging) -> FoundPackaging:
        script = (self._script_block() or {}) if found.kind is Packaging.SCRIPT else {}
        lock = self._toml("uv.lock") if found.kind is Packaging.UV else {}
        poetry = self._table("tool", "poetry", "dependencies").get("python")
        for value, source in (
            (script.get("requires-python"), "the script's requires-python"),
            (self._table("project").get("requires-python"), "requires-python"),
            (poetry, "Poetry's python"),
            (lock.get("requires-python"), "uv.lock's requires-python"),
        ):
            if isinstance(value, str) and value.strip() not in ("", "*"):
                return replace(found, constraint=value, constraint_source=source)
        return found

    def _warnings(self, found: FoundPackaging) -> Iterator[str]:
        yield from self._reproducibility(found)
        yield from self._staleness(found)
        yield from self._encoding(found)
        yield from self._invalid_lines(found)
        if found.kind is not Packaging.SINGLE_FILE and not self._brings_uvicorn(found):
            yield (
                f"nothing in {' or '.join(found.files)} brings uvicorn, which serves the app: "
                "depend on fastapi[standard]"
            )

    def _reproducibility(self, found: FoundPackaging) -> Iterator[str]:
        advice = {
            Packaging.UV: "uv lock",
            Packaging.POETRY: "poetry lock",
            Packaging.PIPENV: "pipenv lock",
            Packaging.SCRIPT: f"uv lock --script {self.app_file}",
        }
        if not found.locked and found.kind in advice:
            yield (
                "versions are not locked: the same commit can become a different image; "
                f"`{advice[found.kind]}` writes them down, then run `deploytool init --force`"
            )

    def _staleness(self, found: FoundPackaging) -> Iterator[str]:
        if found.stale:
            lock = f"{found.files[-1]} is older than the dependencies of pyproject.toml"
            happens = "the build refuses it: run `uv lock`"
            if found.kind is Packaging.POETRY:
                happens = "the build locks them again: `poetry lock` does it here"
            yield f"{lock}, and {happens}"

    def _encoding(self, found: FoundPackaging) -> Iterator[str]:
        if found.utf16:
            yield (
                f"{found.files[0]} is UTF-16, as PowerShell writes it: the Dockerfile converts it "
                "for uv; saved as UTF-8 it no longer needs that"
            )

    def _invalid_lines(self, found: FoundPackaging) -> Iterator[str]:
        for file in found.files if found.kind is Packaging.REQUIREMENTS else ():
            for line in requirements.lines(self.project, PurePosixPath(file)):
                if not requirements.is_valid(line):
                    yield f"{file} has a line that is no requirement, {line!r}: take it out"

    def _brings_uvicorn(self, found: FoundPackaging) -> bool:
        if found.kind is Packaging.UV and found.locked:
            return Lock(self._toml("uv.lock")).has("uvicorn")
        if not found.locked or found.kind in (Packaging.SCRIPT, Packaging.REQUIREMENTS):
            return brings_server(list(self._listed(found)))
        text = self.project.text(PurePosixPath(found.files[-1])) or ""
        return bool(re.search(r'(?m)^name = "uvicorn"$|^\s*"uvicorn": \{', text))


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


def _named(table: dict[str, Any]) -> Iterator[str]:
    """Requirement lines of a table of Poetry's or Pipenv's: name = version, or a table."""
    for name, value in table.items():
        extras = texts_in(table_at(value).get("extras"))
        if name != "python" and not table_at(value).get("optional"):
            yield f"{name}[{','.join(extras)}]" if extras else name


def _same_name(first: str, second: str) -> bool:
    return canonicalize_name(first) == canonicalize_name(second)
