"""Finds how a project's dependencies are written down: uv, Poetry, requirements, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from deploytool.discover import python_version
from deploytool.discover.source import HERE, Project, first_names, is_standard, table_at
from deploytool.errors import UsageError

REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements/requirements.txt",
    "requirements/main.txt",
    "requirements-prod.txt",
    "requirements/common.txt",
)
BUILD_FILES = ("README*", "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "setup.py", "setup.cfg")
SCRIPT_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")
SERVER_EXTRAS = re.compile(r"\b(standard|all)\b")
FROM_HISTORY = re.compile(r"\b(hatch-vcs|setuptools[-_]scm|versioningit|dunamai|versioneer)\b")


class Packaging(StrEnum):
    UV = "uv"
    POETRY = "poetry"
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
    python: str = python_version.DEFAULT
    """Tag of the base image: "3.13", or a patch release where the project pins one."""
    python_why: str = "nothing says which: the default"
    locked: bool = False
    """Whether the exact versions are written down."""
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
    """What building the project's own package reads beside src/."""
    hashes: bool = True
    """Whether every dependency can be checked by hash (Poetry: none is from Git or a URL)."""
    warnings: tuple[str, ...] = ()


def find_packaging(project: Path, app_file: str | None = None) -> FoundPackaging:
    """How the dependencies of the project, or of the member that `app_file` is in, are listed.

    Raises UsageError when they are listed in a way that cannot be built.
    """
    return Finder(Project(Path(project)), app_file and PurePosixPath(app_file)).find()


class Finder:
    def __init__(self, project: Project, app_file: PurePosixPath | str | None) -> None:
        self.project = project
        self.app_file = PurePosixPath(app_file) if app_file else None
        self.pyproject = project.pyproject

    def find(self) -> FoundPackaging:
        found = self._with_python(self._kind())
        return replace(found, warnings=tuple(self._warnings(found)))

    def _kind(self) -> FoundPackaging:
        requirements = self._requirements_file()
        checks: tuple[tuple[object, Callable[[], FoundPackaging]], ...] = (
            (self._has("uv.lock"), self._uv_locked),
            (self._has("poetry.lock"), self._poetry),
            (self._table("tool", "poetry"), self._poetry),
            (self._lock_above(), self._inside_workspace),
            (self._lists_dependencies() and not requirements, self._uv_unlocked),
            (self._table("tool", "uv") and not requirements, self._uv_unlocked),
            (requirements, lambda: self._requirements(requirements or "")),
            (self._script_block() is not None, self._script),
        )
        for applies, find in checks:
            if applies:
                return find()
        return self._single_file()

    def _has(self, name: str) -> bool:
        return self.project.is_file(PurePosixPath(name))

    def _table(self, *keys: str) -> dict[str, Any]:
        return table_at(self.pyproject, *keys)

    def _name(self) -> str | None:
        for name in (self._table("project").get("name"), self._table("tool", "poetry").get("name")):
            if isinstance(name, str):
                return name
        return None

    def _lists_dependencies(self) -> bool:
        return bool(_texts(self._table("project").get("dependencies"))) or any(
            self._where_fastapi_is(".")
        )

    # --- uv ---------------------------------------------------------------------------------

    def _uv_locked(self) -> FoundPackaging:
        lock = Lock(self.project.toml(PurePosixPath("uv.lock")))
        member = self._member(lock)
        local = lock.local_packages(member or _normalized(self._name() or ""))
        self._refuse_outside(local)
        root = lock.folder(member) if member else "."
        install = [f for f in local.values() if f != root and lock.is_package(f)]
        if self._is_installed(root):
            install.append(root)
        folders = [".", *lock.folders()]
        extras, groups = self._where_fastapi_is(root)
        return FoundPackaging(
            Packaging.UV,
            "uv.lock is there",
            files=(*(_join(f, "pyproject.toml") for f in dict.fromkeys(folders)), "uv.lock"),
            locked=True,
            name=member or self._name(),
            package=member if root != "." else None,
            extras=extras,
            groups=groups,
            install=tuple(sorted(install)),
            build_files=self._build_files() if "." in install else (),
        )

    def _member(self, lock: Lock) -> str | None:
        """The workspace member that the app's file is in, if the lock has it."""
        if self.app_file is None:
            return None
        for folder in self.app_file.parents:
            for name, place in lock.local.items():
                if PurePosixPath(place) == folder and lock.is_member(name):
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
        """The folder of the workspace that this project is a member of."""
        for above in self.project.path.resolve().parents:
            document = Project(above)
            if document.is_file(PurePosixPath("uv.lock")):
                workspace = table_at(document.pyproject, "tool", "uv", "workspace")
                members = workspace.get("members", [])
                here = self.project.path.resolve().relative_to(above)
                is_member = any(here.match(pattern) for pattern in _texts(members))
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
        dynamic = _texts(self._table("project").get("dynamic"))
        if "dependencies" in dynamic and not self._lists_dependencies():
            raise UsageError(
                "The project's dependencies are computed when it is built (dynamic), and there is "
                "neither a lock nor a requirements.txt",
                code="dependencies_unknown",
                hint="run `uv lock`, and this again",
            )
        tool = "[tool.uv]" if self._table("tool", "uv") else "[project] dependencies"
        extras, groups = self._where_fastapi_is(".")
        install = (".",) if self._is_installed(".") else ()
        return FoundPackaging(
            Packaging.UV,
            f"pyproject.toml has {tool}; there is no lock" + self._passed_over(),
            files=("pyproject.toml",),
            name=self._name(),
            extras=extras,
            groups=groups,
            install=install,
            build_files=self._build_files() if install else (),
        )

    def _passed_over(self) -> str:
        found = next((name for name in REQUIREMENTS if self._has(name)), None)
        return f", and {found} pins no versions" if found else ""

    def _refuse_unlocked_sources(self) -> None:
        for name, source in self._table("tool", "uv", "sources").items():
            if isinstance(source, dict) and {"path", "workspace"} & source.keys():
                raise UsageError(
                    f"{name} is installed from a folder, and there is no uv.lock",
                    code="lock_missing",
                    hint="run `uv lock`, and this again",
                )

    def _where_fastapi_is(self, folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The extras or groups that have FastAPI where the project's dependencies have not."""
        document = self.project.toml(PurePosixPath(folder, "pyproject.toml"))
        project = table_at(document.get("project"))
        if _names_any(_texts(project.get("dependencies")), "fastapi"):
            return (), ()
        extras = table_at(project.get("optional-dependencies"))
        for name, requirements in sorted(extras.items()):
            if _names_any(_texts(requirements), "fastapi"):
                return (name,), ()
        for name, requirements in sorted(table_at(document.get("dependency-groups")).items()):
            if _names_any(_texts(requirements), "fastapi"):
                return (), (name,)
        return (), ()

    # --- the project's own package ------------------------------------------------------------

    def _is_installed(self, folder: str) -> bool:
        """Whether the project in a folder is a package below src/, and can be built in an image."""
        document = self.project.toml(PurePosixPath(folder, "pyproject.toml"))
        tool = table_at(document.get("tool"))
        build = table_at(document.get("build-system"))
        poetry, uv = table_at(tool.get("poetry")), table_at(tool.get("uv"))
        if not build or uv.get("package") is False or poetry.get("package-mode") is False:
            return False
        if FROM_HISTORY.search(" ".join(_texts(build.get("requires")))):
            return False
        source = PurePosixPath(folder, "src")
        below = self.app_file is None or self.app_file.is_relative_to(source)
        return below and self.project.is_folder(source)

    def _build_files(self) -> tuple[str, ...]:
        paths = (path for pattern in BUILD_FILES for path in self.project.path.glob(pattern))
        return "pyproject.toml", *sorted({path.name for path in paths if path.is_file()})

    # --- Poetry -----------------------------------------------------------------------------

    def _poetry(self) -> FoundPackaging:
        if not self._has("pyproject.toml"):
            raise UsageError(
                "There is a poetry.lock and no pyproject.toml beside it",
                code="dependencies_unknown",
                hint="put the pyproject.toml back",
            )
        locked = self._has("poetry.lock")
        packages = self.project.toml(PurePosixPath("poetry.lock")).get("package", [])
        sources = [table_at(table_at(p).get("source")) for p in packages if isinstance(p, dict)]
        self._refuse_folders(sources)
        install = (".",) if self._is_installed(".") else ()
        _, groups = self._where_fastapi_is(".")
        return FoundPackaging(
            Packaging.POETRY,
            "poetry.lock is there" if locked else "pyproject.toml has [tool.poetry]",
            files=("pyproject.toml", *(["poetry.lock"] if locked else [])),
            locked=locked,
            name=self._name(),
            groups=groups or self._poetry_group(),
            install=install,
            build_files=self._build_files() if install else (),
            hashes=not any(source.get("type") in ("git", "url") for source in sources),
        )

    def _poetry_group(self) -> tuple[str, ...]:
        main = self._table("tool", "poetry", "dependencies")
        if "fastapi" in map(_normalized, main) or self._lists_dependencies():
            return ()
        for name, group in sorted(self._table("tool", "poetry", "group").items()):
            if "fastapi" in map(_normalized, table_at(table_at(group).get("dependencies"))):
                return (name,)
        return ()

    def _refuse_folders(self, sources: list[dict[str, Any]]) -> None:
        for source in sources:
            if source.get("type") in ("directory", "file"):
                raise UsageError(
                    f"Poetry installs {source.get('url')} from a folder of this machine",
                    code="path_dependency",
                    hint="depend on a released version or a Git repository, or manage the project "
                    "with uv, whose path dependencies are understood",
                )

    # --- requirements -------------------------------------------------------------------------

    def _requirements_file(self) -> str | None:
        """The requirements to install, unless pyproject.toml is what lists the app's."""
        name = next((name for name in REQUIREMENTS if self._has(name)), None)
        if name is None:
            return None
        lines = list(self._lines(PurePosixPath(name)))
        listed = self._table("project").get("dependencies")
        if _names_any(_texts(listed), "fastapi"):
            pinned = [line for line in lines if "==" in line]
            return name if pinned and _names_any(pinned, "fastapi") else None
        return name

    def _requirements(self, name: str) -> FoundPackaging:
        start = PurePosixPath(name)
        files = list(dict.fromkeys(self._included(start)))
        lines = [line for file in files for line in self._lines(file)]
        self._refuse_local_requirements(lines, name)
        locked = all("==" in line or " @ " in line for line in lines if NAME.match(line))
        why = f"{name} is there"
        if self._lists_dependencies():
            why += " and pins exact versions, as pyproject.toml does not"
        return FoundPackaging(
            Packaging.REQUIREMENTS,
            why,
            files=tuple(str(file) for file in files),
            locked=locked,
            name=self._name(),
            install=(".",) if self._is_installed(".") else (),
            build_files=self._build_files() if self._is_installed(".") else (),
        )

    def _included(self, file: PurePosixPath, depth: int = 0) -> Iterator[PurePosixPath]:
        """A requirements file and those that it names with -r and -c."""
        yield file
        for line in self._lines(file) if depth < 10 else ():
            option = re.match(r"^(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", line)
            if option and "://" not in option[1]:
                target = _within(file.parent, option[1])
                if target is None or not self.project.is_file(target):
                    raise UsageError(
                        f"{file} names {option[1]}, which is not in the project",
                        code="requirements_invalid",
                        hint=f"correct {file}",
                    )
                yield from self._included(target, depth + 1)

    def _lines(self, file: PurePosixPath) -> Iterator[str]:
        text = (self.project.text(file) or "").replace("\\\n", " ")
        for line in text.splitlines():
            stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
            if stripped:
                yield stripped

    def _refuse_local_requirements(self, lines: list[str], name: str) -> None:
        for line in lines:
            target = re.sub(r"^(-e|--editable)[\s=]*", "", line)
            if re.match(r"^(\.{1,2}($|[/\[])|/|file:)", target):
                raise UsageError(
                    f"{name} installs {target} from this machine: the image's dependencies are "
                    "installed before its code is there",
                    code="path_dependency",
                    hint=f"take {line!r} out of {name}: the project's own code is copied anyway",
                )

    # --- no dependency file -------------------------------------------------------------------

    def _script_block(self) -> dict[str, Any] | None:
        """PEP 723: the metadata in the comments of a script."""
        text = self.project.text(self.app_file) if self.app_file else None
        block = SCRIPT_BLOCK.search((text or "").replace("\r\n", "\n"))
        if block is None:
            return None
        import tomllib

        content = "\n".join(line[2:] for line in block["content"].splitlines())
        try:
            return tomllib.loads(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"The script metadata of {self.app_file} cannot be read: {error}",
                code="file_invalid",
                hint="correct the block between `# /// script` and `# ///`",
            ) from error

    def _script(self) -> FoundPackaging:
        lock = f"{self.app_file}.lock"
        locked = self._has(lock)
        return FoundPackaging(
            Packaging.SCRIPT,
            f"{self.app_file} lists its dependencies itself (# /// script)",
            files=(str(self.app_file), *([lock] if locked else [])),
            locked=locked,
            name=self._name(),
        )

    def _single_file(self) -> FoundPackaging:
        for name, command in (
            ("Pipfile", "pipenv requirements > requirements.txt"),
            ("environment.yml", "pip list --format=freeze > requirements.txt"),
            ("setup.py", "uv init --bare && uv add 'fastapi[standard]'"),
        ):
            if self._has(name):
                raise UsageError(
                    f"The dependencies are in a {name}, which no image is built from here",
                    code="packaging_unknown",
                    hint=f"write them down with `{command}`, and run this again",
                )
        return FoundPackaging(
            Packaging.SINGLE_FILE,
            "no pyproject.toml or requirements.txt lists dependencies",
            files=(),
            name=self._name(),
        )

    # --- Python and warnings --------------------------------------------------------------------

    def _with_python(self, found: FoundPackaging) -> FoundPackaging:
        constraint, source = self._python_constraint(found)
        wanted = python_version.from_version_file(self.project.text(HERE / ".python-version"))
        if wanted in python_version.PREFERRED and python_version.satisfies(wanted, constraint):
            return replace(found, python=wanted, python_why=".python-version")
        if not constraint:
            return found
        python = python_version.newest(constraint)
        if python is None:
            raise UsageError(
                f"No Python that is known here satisfies {source} {constraint!r}",
                code="python_unknown",
                hint=f"known are {', '.join(sorted(python_version.PREFERRED, key=_minor))}",
            )
        return replace(found, python=python, python_why=f"{source} {constraint!r}")

    def _python_constraint(self, found: FoundPackaging) -> tuple[str, str]:
        script = (self._script_block() or {}) if found.kind is Packaging.SCRIPT else {}
        lock = self.project.toml(HERE / "uv.lock") if found.kind is Packaging.UV else {}
        poetry = self._table("tool", "poetry", "dependencies").get("python")
        for value, source in (
            (script.get("requires-python"), "the script's requires-python"),
            (self._table("project").get("requires-python"), "requires-python"),
            (poetry, "Poetry's python"),
            (lock.get("requires-python"), "uv.lock's requires-python"),
        ):
            if isinstance(value, str) and value.strip() not in ("", "*"):
                return value, source
        return "", ""

    def _warnings(self, found: FoundPackaging) -> Iterator[str]:
        yield from self._reproducibility(found)
        if found.kind is Packaging.SINGLE_FILE:
            yield from self._unlisted()
        elif not self._brings_uvicorn(found):
            yield (
                f"nothing in {' or '.join(found.files)} brings uvicorn, which serves the app: "
                "depend on fastapi[standard]"
            )

    def _reproducibility(self, found: FoundPackaging) -> Iterator[str]:
        advice = {
            Packaging.UV: "uv lock",
            Packaging.POETRY: "poetry lock",
            Packaging.SCRIPT: f"uv lock --script {self.app_file}",
        }
        if not found.locked and found.kind in advice:
            yield (
                "versions are not locked: the same commit can become a different image; "
                f"`{advice[found.kind]}` writes them down, then run init again"
            )

    def _unlisted(self) -> Iterator[str]:
        scope = self.project.scope(self.app_file) if self.app_file else None
        provided = {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "jinja2"}
        provided |= {"typing_extensions", "annotated_types", "email_validator", "anyio"}
        for name in sorted(first_names(scope)) if scope else ():
            own = self.project.locate(name, scope.file) if scope else None
            if name and name not in provided and not is_standard(name) and not own:
                yield (
                    f"{self.app_file} imports {name}, which no file lists: "
                    "write a requirements.txt, then run init again"
                )

    def _brings_uvicorn(self, found: FoundPackaging) -> bool:
        if found.kind is Packaging.UV and found.locked:
            return Lock(self.project.toml(HERE / "uv.lock")).has("uvicorn")
        if found.kind is Packaging.SCRIPT:
            return _brings_server(_texts((self._script_block() or {}).get("dependencies")))
        if found.kind is Packaging.REQUIREMENTS:
            files = (PurePosixPath(file) for file in found.files)
            return _brings_server([line for file in files for line in self._lines(file)])
        text = self.project.text(HERE / found.files[-1]) or ""
        if found.locked:
            return bool(re.search(r'(?m)^name = "uvicorn"$', text))
        return "uvicorn" in text or bool(re.search(r"fastapi.*(standard|all)", text))


class Lock:
    """What a uv.lock says about packages that are folders of the project."""

    def __init__(self, document: dict[str, Any]) -> None:
        listed = [p for p in document.get("package", []) if isinstance(p, dict) and "name" in p]
        self._packages = {str(package["name"]): package for package in listed}
        self._members = set(_texts(table_at(document.get("manifest")).get("members")))
        self.local = {name: f for name, p in self._packages.items() if (f := _folder(p))}

    def has(self, name: str) -> bool:
        return name in self._packages

    def is_member(self, name: str) -> bool:
        return name in self._members or self.local.get(name) == "."

    def folder(self, name: str) -> str:
        return self.local[name]

    def folders(self) -> list[str]:
        return sorted(set(self.local.values()))

    def local_packages(self, name: str) -> dict[str, str]:
        """The folders of a package and of all that it depends on, by name."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                dependencies = self._packages.get(current, {}).get("dependencies", [])
                waiting += [str(d["name"]) for d in dependencies if isinstance(d, dict)]
        return {found: self.local[found] for found in sorted(seen & self.local.keys())}

    def is_package(self, folder: str) -> bool:
        """Whether a folder is installed; a virtual one only groups dependencies."""
        sources = (table_at(package.get("source")) for package in self._packages.values())
        return any(folder in (s.get("editable"), s.get("directory")) for s in sources)


def _folder(package: dict[str, Any]) -> str | None:
    source = table_at(package.get("source"))
    for key in ("editable", "virtual", "directory"):
        if isinstance(source.get(key), str):
            return str(source[key])
    return None


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _join(folder: str, name: str) -> str:
    return str(PurePosixPath(folder) / name)


def _within(folder: PurePosixPath, name: str) -> PurePosixPath | None:
    """The path of a name relative to a folder, without ..; None outside the project."""
    parts: list[str] = []
    for part in (folder / name).parts:
        if part == "/" or (part == ".." and not parts):
            return None
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names_any(requirements: list[str], name: str) -> bool:
    found = (NAME.match(requirement) for requirement in requirements)
    return any(match and _normalized(match[1]) == name for match in found)


def _brings_server(requirements: list[str]) -> bool:
    if _names_any(requirements, "uvicorn"):
        return True
    found = (NAME.match(requirement) for requirement in requirements)
    return any(
        match and _normalized(match[1]) == "fastapi" and SERVER_EXTRAS.search(match[2] or "")
        for match in found
    )


def _minor(version: str) -> int:
    return int(version.rpartition(".")[2])
