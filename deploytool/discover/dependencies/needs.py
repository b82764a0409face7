"""Needs of the code that nothing lists: imports, and those of a name, a call or a URL.

read_uses (each file) ──▶ Need… without those that are installed ──▶ one a distribution
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from deploytool.discover.dependencies.distributions import (
    ASYNC_DRIVERS,
    DEFAULT_DRIVERS,
    DRIVERS,
    GONE,
    KNOWN,
    LONGEST,
    NAMESPACES,
    NO_PKG_RESOURCES,
    OFTEN_BROUGHT,
    PKG_RESOURCES,
    PLAIN,
    PROVIDERS,
    providers,
    with_what_they_bring,
)
from deploytool.discover.dependencies.requested import EDITABLE, name_of, parsed, pin_of
from deploytool.discover.dependencies.uses import (
    DatabaseUrl,
    FileUses,
    ImportedModule,
    Use,
    read_uses,
)
from deploytool.discover.dependencies.wheels import applies
from deploytool.discover.source import HERE, MAX_FILES, SKIPPED_FOLDERS, Project, is_standard

SERVER = "uvicorn"
"""The server of the app is found elsewhere, also where the code does not import it."""
OWN_WEB_SOCKETS = frozenset({"granian", "daphne", "hypercorn"})


@dataclass(frozen=True)
class Listed:
    """The installed distributions, as far as they are known."""

    names: frozenset[str]
    """Normalized names of distributions."""
    extras: Mapping[str, frozenset[str]]
    """The extras that are asked for, by name."""
    complete: bool
    """Whether indirect dependencies are among the names."""
    where: str
    """The file that lists them, for messages; empty when there is none."""
    optional: Mapping[str, str] = field(default_factory=dict)
    """Distributions that are missing, and who would bring them: "itsdangerous" -> "extra cpu"."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions that are known, by name."""
    command: str = ""
    """The command that adds a dependency, where a lock has to follow: "uv add"."""


@dataclass(frozen=True)
class Need:
    """A distribution that the code needs and does not get."""

    distribution: str
    why: str
    """The code that needs it: "app/main.py uses Form"."""
    where: str
    """The file that needs it; empty when it is another distribution."""
    extra: str | None
    """The project's own extra or group that would bring it."""
    message: str
    """The problem, and how to fix it."""
    lazy: bool = False
    """Whether the app starts without it."""


def find_needs(
    project: Project,
    files: Iterable[PurePosixPath],
    listed: Listed,
    entry: PurePosixPath,
    *,
    python: str | None = None,
) -> tuple[Need, ...]:
    """The missing needs of an app's files, those that stop its start first.

    `entry` is the app's own file, whose folder is on the path; `python` is the image's version.
    """
    return Finder(project, listed, entry, python).find(files)


def pkg_resources_needs(listed: Listed) -> tuple[Need, ...]:
    """Installed distributions that import pkg_resources, where no setuptools has it.

    An environment of uv has no setuptools of its own, on any Python.
    """
    versions = listed.versions
    setuptools = versions.get("setuptools")
    if setuptools and not is_from(setuptools, NO_PKG_RESOURCES):
        return ()
    affected = [
        f"{name} {versions[name]}"
        for name, last in sorted(PKG_RESOURCES.items())
        if name in versions and is_from(last, versions[name])
    ]
    return (_pkg_resources_need(affected, listed),) if affected else ()


def server_needs(server: str | None, listed: Listed) -> Iterator[str]:
    """The warning where the server that a command starts is not among the dependencies."""
    wanted = {"fastapi": "fastapi-cli"}.get(server or "", server)
    known = installed(listed) | listed.optional.keys()
    if wanted and listed.where and "fastapi" in known and wanted not in known:
        brings = {"fastapi": "fastapi[standard]", "uvicorn": "uvicorn[standard]"}
        advice = add_to_list(listed, brings.get(server or "", wanted))
        needed = f"{wanted}, which the image's command needs"
        yield f"nothing in {listed.where} brings {needed}: {advice}"


def insists_on_env_file(versions: Mapping[str, str]) -> bool:
    """Whether Starlette is 0.36, whose Config ends without its file: earlier and later go on."""
    starlette, fastapi = versions.get("starlette"), versions.get("fastapi", "0")
    if starlette:
        return is_from(starlette, "0.36") and not is_from(starlette, "0.37")
    return is_from(fastapi, "0.109.1") and not is_from(fastapi, "0.110.1")


def _pkg_resources_need(affected: list[str], listed: Listed) -> Need:
    setuptools = listed.versions.get("setuptools")
    why = f"{' and '.join(affected)} {'imports' if len(affected) == 1 else 'import'} pkg_resources"
    state = f"setuptools {setuptools} no longer has" if setuptools else "nothing installs"
    text = f"{why}, which {state}: {add_to_list(listed, f'setuptools<{NO_PKG_RESOURCES}')}"
    return Need("setuptools", why, "", None, text)


class Finder:
    def __init__(
        self, project: Project, listed: Listed, entry: PurePosixPath, python: str | None
    ) -> None:
        self.project = project
        self.listed = listed
        self.entry = entry
        self.python = python
        self.installed = installed(listed)
        self.squeezed = {name.replace("-", "") for name in self.installed}
        self.beginnings = set(_beginnings(self.installed))
        self.all_known = listed.complete or listed.names <= KNOWN
        self.alchemy = listed.versions.get("sqlalchemy")
        self.own_names = _own_names(project)
        self._own: dict[tuple[PurePosixPath, str], bool] = {}

    def find(self, files: Iterable[PurePosixPath]) -> tuple[Need, ...]:
        read = [(file, read_uses(scope)) for file in files if (scope := self.project.scope(file))]
        libraries = {name for _, uses in read for name in uses.names}
        needs = [n for file, uses in read for i in uses.imports for n in self._imported(i, file)]
        used = [n for file, uses in read for use in uses.uses for n in self._used(use, file)]
        used += self._drivers(read, libraries)
        coming = with_what_they_bring({need.distribution for need in needs})
        needs += [need for need in used if need.distribution not in coming]
        return _one_each([*needs, *self._versions(read)])

    # --- imports ------------------------------------------------------------------------------

    def _imported(self, imported: ImportedModule, file: PurePosixPath) -> Iterator[Need]:
        top = imported.name.partition(".")[0]
        if top in GONE:
            yield from self._gone(imported, file)
        elif top != SERVER and not is_standard(top) and not self._is_own(top, file):
            wanted = providers(imported.name)
            if not self._has_module(top, wanted):
                yield self._unlisted(imported, self._offered(wanted) or wanted[0], file)

    def _gone(self, imported: ImportedModule, file: PurePosixPath) -> Iterator[Need]:
        """A module that the standard library no longer has."""
        since, distribution = GONE[imported.name.partition(".")[0]]
        late = self.python is not None and is_from(self.python, since)
        if late and distribution not in self.installed:
            why = f"{file} imports {imported.module}"
            advice = self._advice(distribution, distribution)
            text = f"{why}, which Python no longer has from {since} on: {advice}"
            yield self._need(distribution, why, file, text, imported.lazy)

    def _has_module(self, top: str, wanted: tuple[str, ...]) -> bool:
        if self._has_any(wanted):
            return True
        if not self.all_known and wanted[0] in OFTEN_BROUGHT:
            return True
        is_certain = top in PLAIN or top in PROVIDERS
        return (
            not is_certain and top not in NAMESPACES and self._has_similar(canonicalize_name(top))
        )

    def _has_any(self, wanted: Iterable[str]) -> bool:
        return any(name in self.installed for name in wanted)

    def _has_similar(self, name: str) -> bool:
        """Whether a distribution is installed whose name is the module's in other words."""
        squeezed = name.replace("-", "")
        variants = (squeezed, f"python{squeezed}", f"py{squeezed}", f"{squeezed}py")
        return name in self.beginnings or any(variant in self.squeezed for variant in variants)

    def _unlisted(self, imported: ImportedModule, name: str, file: PurePosixPath) -> Need:
        why = f"{file} imports {_shown_module(imported)}"
        extra = self.listed.optional.get(name)
        where = f"{self.listed.where} does not list" if self.listed.where else "no file lists"
        state = f"only the {extra} brings" if extra else where
        text = f"{why}, which {state}: {self._how_to_add(imported, name)}"
        return self._need(name, why, file, text, imported.lazy)

    def _how_to_add(self, imported: ImportedModule, name: str) -> str:
        if name in self.listed.optional:
            return self._advice(name, name)
        if not _is_well_known(imported, name):
            return f"add the distribution that has it, {name} or by another name"
        has_file = self.listed.where and not self.listed.command
        return f"add {name}" if has_file else add_to_list(self.listed, name)

    def _is_own(self, top: str, file: PurePosixPath) -> bool:
        """Whether a module is the project's: beside the app, the file's package, or in src/."""
        if top in NAMESPACES or not self._may_be_own(top):
            return False
        if top not in PLAIN and top not in PROVIDERS and top in self.own_names:
            return True
        roots = [self.project.package_root(file), self.project.package_root(self.entry)]
        roots += [HERE, PurePosixPath("src"), self.entry.parent]
        return any(self._is_at(root, top, file) for root in dict.fromkeys(roots))

    def _may_be_own(self, top: str) -> bool:
        """Whether it is worth reading: some files are not among those that are searched."""
        is_passed_over = top in SKIPPED_FOLDERS or top.startswith("test_")
        return top in self.own_names or is_passed_over or len(self.own_names) > MAX_FILES

    def _is_at(self, root: PurePosixPath, top: str, file: PurePosixPath) -> bool:
        if root / f"{top}.py" == file:
            return False
        if (root, top) not in self._own:
            place = self.project.is_file(root / f"{top}.py")
            package = self.project.is_file(root / top / "__init__.py")
            self._own[root, top] = place or package or self._has_code(root / top)
        return self._own[root, top]

    def _has_code(self, folder: PurePosixPath) -> bool:
        return self.project.is_folder(folder) and any(
            file.is_relative_to(folder) for file in self.project.python_files
        )

    # --- what is needed without an import ---------------------------------------------------------

    def _used(self, use: Use, file: PurePosixPath) -> Iterator[Need]:
        if self._has_any(use.providers) or self._is_unsure(use):
            return
        yield self._needed(f"{file} {use.text}", use.providers, file, use.lazy)

    def _is_unsure(self, use: Use) -> bool:
        if "wsproto" in use.providers:
            return not OWN_WEB_SOCKETS.isdisjoint(self.installed)
        return not self.all_known and not OFTEN_BROUGHT.isdisjoint(map(name_of, use.providers))

    def _needed(self, why: str, wanted: tuple[str, ...], file: PurePosixPath, lazy: bool) -> Need:
        """The need of one of some distributions, of which the first is the one to add."""
        offered = self._offered(wanted)
        name = offered or wanted[0]
        missing = offered or name_of(next(n for n in wanted if "[" not in n))
        state = f", which only the {self.listed.optional[offered]} brings" if offered else ""
        text = f"{why}, which needs {name}{state}: {self._advice(name, missing)}"
        return self._need(missing, why, file, text, lazy)

    def _offered(self, wanted: Iterable[str]) -> str | None:
        """The first of some distributions that the project itself would bring."""
        return next((name for name in map(name_of, wanted) if name in self.listed.optional), None)

    def _drivers(
        self, read: list[tuple[PurePosixPath, FileUses]], libraries: set[str]
    ) -> Iterator[Need]:
        found = [(file, url) for file, uses in read for url in uses.urls]
        engines = {name.rpartition(".")[2] for name in libraries}
        tops = {name.partition(".")[0] for name in libraries}
        for file, url in found:
            wanted = self._wanted_drivers(url, engines, tops)
            if wanted and not self._has_any(wanted):
                yield self._needed(f"{file} uses {self._shown(url)}", wanted, file, url.lazy)

    def _wanted_drivers(
        self, url: DatabaseUrl, engines: set[str], tops: set[str]
    ) -> tuple[str, ...]:
        """The distributions of which a URL needs one; none where that is unknown."""
        if url.driver:
            known = tops & {"sqlalchemy", "sqlmodel", "databases", "alembic", "ormar"}
            return DRIVERS.get(url.driver, ()) if known else ()
        if tops & {"databases", "tortoise", "ormar"}:
            return ASYNC_DRIVERS.get(url.database, ())
        if "create_engine" in engines and "create_async_engine" not in engines:
            return self._default_drivers(url.database)
        return ()

    def _default_drivers(self, database: str) -> tuple[str, ...]:
        """The driver of SQLAlchemy: for PostgreSQL psycopg from 2.1 on, and psycopg2 before."""
        wanted = DEFAULT_DRIVERS.get(database, ())
        if not database.startswith("postgres"):
            return wanted
        if self.alchemy is None:
            return *DRIVERS["psycopg"], *wanted
        return DRIVERS["psycopg"] if is_from(self.alchemy, "2.1") else wanted

    def _shown(self, url: DatabaseUrl) -> str:
        if url.driver:
            return f"{url.database}+{url.driver}://"
        with_version = f" with SQLAlchemy {self.alchemy}" if self.alchemy else ""
        return f"{url.database}://{with_version}"

    # --- versions that do not go together ---------------------------------------------------------

    def _versions(self, read: list[tuple[PurePosixPath, FileUses]]) -> Iterator[Need]:
        pydantic = self.listed.versions.get("pydantic", "0")
        bcrypt = self.listed.versions.get("bcrypt", "0")
        for file, uses in read:
            settings = [i for i in uses.imports if i.name == "pydantic.BaseSettings"]
            if settings and is_from(pydantic, "2"):
                yield self._moved_settings(file, settings[0].lazy)
            if "passlib.context.CryptContext" in uses.names and is_from(bcrypt, "5"):
                yield self._too_new_bcrypt(file, bcrypt)

    def _moved_settings(self, file: PurePosixPath, lazy: bool) -> Need:
        why = f"{file} imports BaseSettings from pydantic"
        text = f"{why}, which no longer has it from version 2 on: import it from pydantic_settings"
        if "pydantic-settings" not in self.installed:
            text += f", and {add_to_list(self.listed, 'pydantic-settings')}"
        return self._need("pydantic-settings", why, file, text, lazy)

    def _too_new_bcrypt(self, file: PurePosixPath, version: str) -> Need:
        why = f"{file} uses passlib"
        advice = add_to_list(self.listed, "bcrypt<5")
        text = f"{why}, which cannot hash with bcrypt {version}: {advice}"
        return self._need("bcrypt", why, file, text, True)

    # --- messages -----------------------------------------------------------------------------

    def _need(self, name: str, why: str, file: PurePosixPath, text: str, lazy: bool) -> Need:
        return Need(name, why, str(file), self.listed.optional.get(name), text, lazy)

    def _advice(self, requirement: str, distribution: str) -> str:
        """The next step where a message has named the distribution to add."""
        if distribution in self.listed.optional:
            return "add it to the dependencies, or install that in the Dockerfile too"
        if self.listed.command or not self.listed.where:
            return add_to_list(self.listed, requirement)
        return f"add it to {self.listed.where}"


def add_to_list(listed: Listed, requirement: str) -> str:
    """The command that adds a requirement to the listed ones."""
    quoted = f'"{requirement}"' if re.search(r"[^\w.-]", requirement) else requirement
    if listed.command:
        return f"run `{listed.command} {quoted}`"
    if not listed.where:
        return f"write fastapi[standard] and {requirement} into a requirements.txt"
    return f"add {quoted} to {listed.where}"


def listed_in(lines: Iterable[str], where: str, *, python: str = "3.13") -> Listed:
    """The requirements of a requirements file for Linux, and the versions that they pin."""
    found = [requirement for line in lines if (requirement := _requirement(line))]
    applying = [r for r in found if applies(str(r.marker or ""), python)]
    extras: dict[str, frozenset[str]] = {}
    for requirement in applying:
        name = canonicalize_name(requirement.name)
        extras[name] = extras.get(name, frozenset()) | requirement.extras
    asked = {name: chosen for name, chosen in extras.items() if chosen}
    versions = {str(canonicalize_name(r.name)): pin for r in applying if (pin := pin_of(r))}
    return Listed(frozenset(extras), asked, False, where, versions=versions)


def _requirement(line: str) -> Requirement | None:
    text = re.sub(r"(^|\s)(#|--hash\b).*$", "", line)
    text = EDITABLE.sub("", text.strip())
    unnamed = re.match(
        r"[\w+]+://[^#]*/([\w.-]+?)(\.git)?(@[^/#]*)?/?(?:#.*egg=([\w.-]+).*)?$", text
    )
    return parsed((unnamed[4] or unnamed[1]) if unnamed else text)


def installed(listed: Listed) -> frozenset[str]:
    """All that gets installed, as far as it is known."""
    if listed.complete:
        return listed.names
    asked = {f"{name}[{extra}]" for name, extras in listed.extras.items() for extra in extras}
    seen = with_what_they_bring(listed.names | asked)
    version = listed.versions.get("sqlalchemy")
    if "sqlalchemy" in seen and not is_from(version or "0", "2.1"):
        seen.add("greenlet")
    return frozenset(seen)


def is_from(version: str, other: str) -> bool:
    """Whether a version is another or newer; not, where one is no version."""
    try:
        return Version(version) >= Version(other)
    except InvalidVersion:
        return False


def _beginnings(names: Iterable[str]) -> Iterator[str]:
    """`a`, `a-b` and `a-b-c` of `a-b-c`."""
    for name in names:
        parts = name.split("-")
        yield from ("-".join(parts[:length]) for length in range(1, len(parts) + 1))


def _own_names(project: Project) -> set[str]:
    files = project.python_files
    return {part for file in files for part in (*file.parent.parts, file.stem)}


def _is_well_known(imported: ImportedModule, name: str) -> bool:
    """Whether it is certain which distribution has a module."""
    top = imported.name.partition(".")[0]
    return top in PLAIN or top in PROVIDERS or top in LONGEST or name in KNOWN


def _shown_module(imported: ImportedModule) -> str:
    top = imported.module.partition(".")[0]
    return imported.module if top in LONGEST else top


def _one_each(needs: Iterable[Need]) -> tuple[Need, ...]:
    """The first need of each distribution; what stops the start comes first."""
    first: dict[str, Need] = {}
    for need in sorted(needs, key=lambda need: need.lazy):
        first.setdefault(need.distribution, need)
    return tuple(sorted(first.values(), key=lambda need: (need.lazy, need.distribution)))
