"""The installed packages by lock files: uv.lock, poetry.lock, pdm.lock, pylock.toml, Pipfile.lock.

A lock is read, never checked: what cannot be read is as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import tomli
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version

from deploytool.discover.dependencies.requested import (
    name_of,
    parsed,
    pep440,
    poetry_dependencies,
    project_texts,
)
from deploytool.discover.dependencies.wheels import allows, applies
from deploytool.discover.source import table_at, texts_in

Document = dict[str, Any]


@dataclass(frozen=True)
class Needed:
    """A dependency of a project or of a locked package."""

    name: str
    specifier: str = ""
    marker: str = ""
    extras: frozenset[str] = frozenset()
    for_extra: str | None = None
    """The extra of the package that has the dependency, without a marker that says so."""


@dataclass(frozen=True)
class Locked:
    """A distribution of a lock."""

    name: str
    version: str
    files: tuple[str, ...] | None = None
    """The names of its files; None when the lock does not list them."""
    needs: tuple[Needed, ...] = ()
    marker: str = ""
    requires_python: str = ""
    is_vcs: bool = False
    is_local: bool = False

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}" if self.version else self.name


@dataclass(frozen=True)
class Lock:
    """Distributions, and which of them are asked for."""

    packages: tuple[Locked, ...]
    roots: tuple[Needed, ...]

    def installed(self, python: str) -> tuple[Locked, ...]:
        """The packages for a Python, also indirect ones."""
        found: dict[tuple[str, str], Locked] = {}
        seen: set[Needed] = set()
        waiting = [need for need in self.roots if applies(need.marker, python)]
        while waiting:
            need = waiting.pop()
            if need not in seen:
                seen.add(need)
                for package in self._matching(need, python):
                    found[package.name, package.version] = package
                    waiting += _wanted(package, need.extras, python)
        return tuple(found[key] for key in sorted(found))

    @cached_property
    def _by_name(self) -> dict[str, list[Locked]]:
        by_name: dict[str, list[Locked]] = {}
        for package in self.packages:
            by_name.setdefault(package.name, []).append(package)
        return by_name

    def _matching(self, need: Needed, python: str) -> list[Locked]:
        named = [p for p in self._by_name.get(need.name, ()) if applies(p.marker, python)]
        exact = [p for p in named if allows(need.specifier, p.version)]
        return exact or named


def _wanted(package: Locked, extras: Iterable[str], python: str) -> Iterator[Needed]:
    for need in package.needs:
        of_extra = need.for_extra is None or need.for_extra in extras
        if of_extra and applies(need.marker, python, extras):
            yield need


def read_toml(text: str | None) -> Document:
    """A TOML document, also of TOML 1.1; empty when it cannot be read."""
    try:
        return tomli.loads(text or "")
    except (ValueError, RecursionError):
        return {}


def _tables(value: object) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _name(value: object) -> str:
    return str(canonicalize_name(str(value)))


def _extras(value: object) -> frozenset[str]:
    return frozenset(_name(extra) for extra in texts_in(value))


def needed(text: str) -> Needed | None:
    """A requirement of PEP 508."""
    requirement = parsed(text)
    if requirement is None:
        return None
    return Needed(
        _name(requirement.name),
        str(requirement.specifier),
        str(requirement.marker or ""),
        frozenset(map(_name, requirement.extras)),
    )


def _needed(texts: Iterable[str]) -> tuple[Needed, ...]:
    return tuple(need for text in texts if (need := needed(text)))


# --- uv ------------------------------------------------------------------------------------------


def uv_lock(
    document: Document,
    package: str | None = None,
    extras: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> Lock:
    """A uv.lock of a project, of a member of a workspace (`package`), or of a script."""
    tables = [table for table in _tables(document.get("package")) if _text(table, "name")]
    packages = tuple(_uv_package(table) for table in tables)
    root = _uv_root(tables, package)
    if root is None:
        listed = _tables(table_at(document, "manifest").get("requirements"))
        asked = tuple(_uv_requirement(table) for table in listed)
        return Lock(packages, asked) if asked else _flat(packages)
    return Lock(packages, tuple(_uv_roots(root, extras, groups)))


def _uv_package(table: Document) -> Locked:
    source = table_at(table, "source")
    markers = " or ".join(f"({marker})" for marker in texts_in(table.get("resolution-markers")))
    return Locked(
        name=_name(table["name"]),
        version=_text(table, "version"),
        files=tuple(_uv_files(table, source)),
        needs=tuple(_uv_needs(table)),
        marker=markers,
        is_vcs="git" in source,
        is_local=_uv_folder(table) is not None,
    )


def _uv_files(table: Document, source: Document) -> Iterator[str]:
    for file in (*_tables(table.get("wheels")), table_at(table, "sdist")):
        yield from (_text(file, key) for key in ("url", "path", "filename") if _text(file, key))
    yield from (_text(source, key) for key in ("url", "path") if _text(source, key))


def _uv_folder(table: Document) -> str | None:
    source = table_at(table, "source")
    places = (_text(source, key) for key in ("editable", "virtual", "directory"))
    return next((place for place in places if place), None)


def _uv_needs(table: Document) -> Iterator[Needed]:
    yield from (_uv_need(need) for need in _tables(table.get("dependencies")))
    for extra, needs in table_at(table, "optional-dependencies").items():
        yield from (replace(_uv_need(need), for_extra=_name(extra)) for need in _tables(needs))


def _uv_need(table: Document) -> Needed:
    version = _text(table, "version")
    return Needed(
        _name(table.get("name")),
        f"=={version}" if version else "",
        _text(table, "marker"),
        _extras(table.get("extra")),
    )


def _uv_requirement(table: Document) -> Needed:
    """An entry of `requires-dist` or of a script's manifest."""
    return Needed(
        _name(table.get("name")),
        _text(table, "specifier"),
        _text(table, "marker"),
        _extras(table.get("extras")),
    )


def _uv_root(tables: list[Document], package: str | None) -> Document | None:
    if package is not None:
        wanted = _name(package)
        return next((t for t in tables if _name(t["name"]) == wanted and _uv_folder(t)), None)
    return next((table for table in tables if _uv_folder(table) == "."), None)


def _uv_roots(root: Document, extras: Iterable[str], groups: Iterable[str]) -> Iterator[Needed]:
    wanted = {_name(extra) for extra in extras}
    yield from (replace(n, for_extra=None) for n in _uv_needs(root) if _is_wanted(n, wanted))
    by_group = table_at(root, "dev-dependencies")
    for group in groups:
        yield from (_uv_need(need) for need in _tables(by_group.get(group)))


def _is_wanted(need: Needed, extras: set[str]) -> bool:
    return need.for_extra is None or need.for_extra in extras


# --- Poetry --------------------------------------------------------------------------------------


def poetry_lock(
    document: Document,
    pyproject: Document,
    extras: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> Lock:
    """A poetry.lock of any version, and the pyproject.toml beside it."""
    old_files = table_at(document, "metadata", "files")
    tables = [table for table in _tables(document.get("package")) if _text(table, "name")]
    packages = tuple(_poetry_package(table, old_files) for table in tables)
    entries = poetry_dependencies(pyproject, extras, groups)
    roots = [need for name, spec in entries for need in _poetry_needs(name, spec)]
    return Lock(packages, (*roots, *_needed(project_texts(pyproject, extras, groups))))


def _poetry_package(table: Document, old_files: Document) -> Locked:
    source = table_at(table, "source")
    listed = _tables(table.get("files") or old_files.get(table["name"]))
    files = tuple(_text(file, "file") for file in listed) + (
        (_text(source, "url"),) if source.get("type") == "url" else ()
    )
    return Locked(
        name=_name(table["name"]),
        version=_text(table, "version"),
        files=files or None,
        needs=tuple(_poetry_dependencies(table)),
        marker="" if "markers" not in table else _poetry_marker(table["markers"]),
        requires_python=_text(table, "python-versions"),
        is_vcs=source.get("type") == "git",
        is_local=source.get("type") in ("directory", "file"),
    )


def _poetry_marker(markers: object) -> str:
    """One for all groups, or a table of them by group: then that of the main one."""
    return markers if isinstance(markers, str) else _text(table_at(markers), "main")


def _poetry_dependencies(table: Document) -> Iterator[Needed]:
    extras = _poetry_extras(table)
    for name, spec in table_at(table, "dependencies").items():
        for need in _poetry_needs(name, spec):
            for extra in _for_extras(need, spec, extras):
                yield replace(need, for_extra=extra)


def _for_extras(need: Needed, spec: object, extras: Mapping[str, set[str]]) -> list[str | None]:
    """The extras that bring an optional dependency; a marker may name them already."""
    optional = any(table.get("optional") is True for table in _specs(spec))
    if not optional or "extra" in need.marker:
        return [None]
    return [extra for extra, names in extras.items() if need.name in names]


def _poetry_extras(table: Document) -> dict[str, set[str]]:
    """The names that each extra of a package brings."""
    listed = table_at(table, "extras").items()
    return {_name(extra): {name_of(text) for text in texts_in(texts)} for extra, texts in listed}


def _specs(spec: object) -> list[Document]:
    if isinstance(spec, str):
        return [{"version": spec}]
    return [spec] if isinstance(spec, dict) else _tables(spec)


def _poetry_needs(name: str, spec: object) -> Iterator[Needed]:
    for table in _specs(spec):
        version = _text(table, "version")
        yield Needed(
            _name(name),
            "" if "||" in version else pep440(version),
            _text(table, "markers"),
            _extras(table.get("extras")),
        )


# --- PDM, pylock.toml, Pipenv -------------------------------------------------------------------


def pdm_lock(document: Document, extras: Iterable[str] = (), groups: Iterable[str] = ()) -> Lock:
    """A pdm.lock: every package names the groups it is in."""
    wanted = {"default", *extras, *groups}
    tables = [table for table in _tables(document.get("package")) if _text(table, "name")]
    in_groups = [t for t in tables if wanted & set(texts_in(t.get("groups", ["default"])))]
    return _flat(_pdm_package(table) for table in in_groups)


def _pdm_package(table: Document) -> Locked:
    listed = _tables(table.get("files"))
    files = tuple(_text(file, "file") or _text(file, "url") for file in listed)
    return Locked(
        name=_name(table["name"]),
        version=_text(table, "version"),
        files=files or None,
        marker=_text(table, "marker"),
        requires_python=_text(table, "requires_python"),
        is_vcs=bool(table.get("git")),
        is_local=bool(table.get("path")),
    )


def pylock(document: Document) -> Lock:
    """A pylock.toml of PEP 751."""
    tables = [table for table in _tables(document.get("packages")) if _text(table, "name")]
    return _flat(_pylock_package(table) for table in tables)


def _pylock_package(table: Document) -> Locked:
    archive = table_at(table, "archive")
    listed = [*_tables(table.get("wheels")), table_at(table, "sdist"), archive]
    files = (next((t for k in ("name", "url", "path") if (t := _text(f, k))), "") for f in listed)
    return Locked(
        name=_name(table["name"]),
        version=_text(table, "version"),
        files=tuple(file for file in files if file),
        marker=_text(table, "marker"),
        requires_python=_text(table, "requires-python"),
        is_vcs="vcs" in table,
        is_local="directory" in table,
    )


def pipfile_lock(text: str | None) -> Lock:
    """A Pipfile.lock: names and versions, no files."""
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        document = {}
    packages = table_at(document, "default").items()
    return _flat(_pipfile_package(name, table_at(table)) for name, table in packages)


def _pipfile_package(name: str, table: Document) -> Locked:
    return Locked(
        name=_name(name),
        version=_text(table, "version").removeprefix("=="),
        files=(_text(table, "file"),) if _text(table, "file") else None,
        marker=_text(table, "markers"),
        is_vcs=bool(table.get("git")),
        is_local=bool(table.get("path")),
    )


def _flat(packages: Iterable[Locked]) -> Lock:
    """A lock that lists what is installed, without the ways that lead there."""
    listed = tuple(packages)
    names = dict.fromkeys(package.name for package in listed)
    return Lock(listed, tuple(Needed(name) for name in names))


# --- locks that no longer fit --------------------------------------------------------------------

_LEGACY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
_PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")


def poetry_lock_is_stale(pyproject: Document, lock: Document) -> bool:
    """Whether pyproject.toml changed after `poetry lock`. False when it cannot be judged."""
    metadata = table_at(lock, "metadata")
    locked = metadata.get("content-hash")
    known = str(metadata.get("lock-version", "1.0")).startswith(("1.", "2."))
    if not isinstance(locked, str) or not known:
        return False
    try:
        return locked not in {_content_hash(content) for content in _relevant(pyproject)}
    except (TypeError, ValueError, RecursionError):
        return False


def _content_hash(content: Document) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _relevant(pyproject: Document) -> Iterator[Document]:
    """The content that releases of Poetry hash.

    Before 1.2 there were no groups; 2.0 added `[project]`, and a later one `[dependency-groups]`.
    """
    poetry = table_at(pyproject, "tool", "poetry")
    legacy: Document = {key: poetry.get(key) for key in _LEGACY_KEYS}
    yield legacy
    yield {**legacy, **_present(poetry, "group")}
    project = _present(table_at(pyproject, "project"), *_PROJECT_KEYS)
    groups = table_at(pyproject, "dependency-groups")
    tool = {"tool": {"poetry": _present(poetry, *_LEGACY_KEYS, "group")}}
    by_project = {"project": project} if project else {}
    if project:
        yield {**by_project, **tool}
    if groups:
        yield {**by_project, "dependency-groups": groups, **tool}


def _present(table: Document, *keys: str) -> Document:
    return {key: table[key] for key in keys if table.get(key) is not None}


def uv_lock_is_stale(pyproject: Document, lock: Document, package: str | None = None) -> bool:
    """Whether `[project] dependencies` differ from those locked. False when it cannot be judged."""
    tables = [table for table in _tables(lock.get("package")) if _text(table, "name")]
    root = _uv_root(tables, package)
    project = table_at(pyproject, "project")
    asked = [needed(text) for text in texts_in(project.get("dependencies"))]
    is_dynamic = "dependencies" in texts_in(project.get("dynamic"))
    if root is None or "metadata" not in root or is_dynamic or None in asked:
        return False
    listed = _tables(table_at(root, "metadata").get("requires-dist"))
    of_main = [table for table in listed if "extra ==" not in _text(table, "marker")]
    elsewhere = {_name(table.get("name")) for table in of_main if _PLACES & table.keys()}
    locked = {_key(_uv_requirement(table), elsewhere) for table in of_main}
    return {_key(need, elsewhere) for need in asked if need} != locked


_PLACES = {"git", "url", "path", "editable", "directory", "virtual", "workspace"}


def _key(need: Needed, elsewhere: Iterable[str]) -> tuple[str, frozenset[str], frozenset[str]]:
    """The common form of two ways to write a requirement; from elsewhere, the name alone."""
    if need.name in elsewhere:
        return need.name, frozenset(), frozenset()
    clauses = SpecifierSet(need.specifier) if need.specifier else ()
    written = (one.operator + canonicalize_version(one.version) for one in clauses)
    return need.name, need.extras, frozenset(written)
