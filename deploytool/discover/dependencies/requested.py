"""The requirements of a project, as lines of a requirements file that need nothing but an index.

Poetry's and Pipenv's tables are converted; what comes from Git, a URL or a folder is set aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from deploytool.discover.dependencies.wheels import file_name
from deploytool.discover.source import Project, below, table_at, texts_in

MAX_INCLUDES = 200
_COMMENT = re.compile(r"(^|\s)#.*$")
INCLUDE = re.compile(
    r"^(?:-r|--requirement|(?P<constraint>-c|--constraint))(?:\s*=\s*|\s*)(?P<file>\S+)"
)
EDITABLE = re.compile(r"^(?:-e|--editable)\s*=?\s*")
_PER_REQUIREMENT = re.compile(r"\s--(?:hash|config-settings|global-option|install-option)\b.*$")
_INDEX_OPTION = re.compile(r"^(?:-i|-f|--(?:extra-)?index-url|--find-links|--no-index|--pre)\b")
_FIND_LINKS = re.compile(r"^(?:-f|--find-links)(?:\s*=\s*|\s+)(\S+)$")
_VCS = re.compile(r"\b(?:git|hg|svn|bzr)\+|^git@|^git://|\.git(?:@|#|$)")
_LOCAL = re.compile(r"^(?:\.{1,2}(?:$|[/\\\[])|/|file:|[A-Za-z]:[\\/]|\S+/$)")
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9][\w.-]*)")
_NAMED_URL = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*@\s*(\S+)")


@dataclass(frozen=True)
class Requested:
    """Requirements, and what cannot be asked of an index."""

    lines: tuple[str, ...] = ()
    """Requirements and index options."""
    constraints: tuple[str, ...] = ()
    vcs: tuple[str, ...] = ()
    """Names of what comes from Git."""
    archives: tuple[str, ...] = ()
    """Names of what comes as source from a URL."""
    local: tuple[str, ...] = ()
    """A requirement from a folder, or as a wheel from a URL."""

    def __add__(self, other: Requested) -> Requested:
        return Requested(
            self.lines + other.lines,
            self.constraints + other.constraints,
            self.vcs + other.vcs,
            self.archives + other.archives,
            self.local + other.local,
        )

    def only(self, pins: Iterable[str]) -> Requested:
        """Other requirements, of the same index."""
        options = (line for line in self.lines if line.startswith("-"))
        return Requested(lines=(*options, *pins))

    @property
    def is_complete(self) -> bool:
        return not (self.vcs or self.archives or self.local)


def _sum(parts: Iterable[Requested]) -> Requested:
    total = Requested()
    for part in parts:
        total += part
    return total


def parsed(text: str) -> Requirement | None:
    """A requirement of PEP 508."""
    try:
        return Requirement(text)
    except (InvalidRequirement, RecursionError):
        return None


def name_of(requirement: str) -> str:
    """The normalized name of what a line asks for, or a pin names; empty where it has none."""
    found = _NAME.match(requirement)
    return str(canonicalize_name(found[1])) if found else ""


def pin_of(requirement: Requirement) -> str:
    """The version that a requirement pins; empty where it allows several."""
    pins = (one.version for one in requirement.specifier if one.operator in ("==", "==="))
    return next((pin for pin in pins if "*" not in pin), "")


# --- requirements files ---------------------------------------------------------------------


def requirement_lines(text: str) -> Iterator[str]:
    """The lines of a requirements file, joined where they continue, without comments."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if stripped := _COMMENT.sub("", line).strip():
            yield stripped


def of_requirements(project: Project, file: PurePosixPath) -> Requested:
    """A requirements file with all that it includes."""
    return _sum(_of_file(project, file, set(), constraint=False))


def _of_file(
    project: Project, file: PurePosixPath, seen: set[PurePosixPath], *, constraint: bool
) -> Iterator[Requested]:
    if file in seen or len(seen) > MAX_INCLUDES:
        return
    seen.add(file)
    for line in requirement_lines(project.text(file) or ""):
        if included := INCLUDE.match(line):
            is_constraint = constraint or bool(included["constraint"])
            if target := below(file.parent, included["file"]):
                yield from _of_file(project, target, seen, constraint=is_constraint)
        else:
            yield _as_constraint(line) if constraint else _of_line(project, file, line)


def _as_constraint(line: str) -> Requested:
    requirement = _PER_REQUIREMENT.sub("", line)
    return Requested(constraints=(requirement,)) if parsed(requirement) else Requested()


def _of_line(project: Project, file: PurePosixPath, line: str) -> Requested:
    if line.startswith("-") and not EDITABLE.match(line):
        return _of_option(project, file, line)
    target = _unquoted(EDITABLE.sub("", _PER_REQUIREMENT.sub("", line)).strip())
    if located := _located(target):
        return located
    return of_texts([target])


def _unquoted(text: str) -> str:
    quoted = text[:1] in ("'", '"') and text[:1] == text[-1:]
    return text[1:-1] if quoted else text


def _of_option(project: Project, file: PurePosixPath, line: str) -> Requested:
    """Options about the index; --no-binary and others are of no use to the question."""
    links = _FIND_LINKS.match(line)
    if links and "://" not in links[1]:
        folder = (project.path / file.parent / links[1]).resolve()
        return Requested(lines=(f"--find-links {folder}",))
    return Requested(lines=(line,)) if _INDEX_OPTION.match(line) else Requested()


def _located(text: str) -> Requested | None:
    """A requirement that names its place; None when it comes from an index."""
    named = _NAMED_URL.match(text)
    place = named[2] if named else text
    if not named and _LOCAL.match(text):
        return Requested(local=(text,))
    if named or "://" in text or _VCS.search(text):
        return _from_url(named[1] if named else _name_in(place), place)
    return None


def _from_url(name: str, url: str) -> Requested:
    if _VCS.search(url):
        return Requested(vcs=(str(canonicalize_name(name)),))
    if url.startswith("file:") or file_name(url).endswith(".whl"):
        return Requested(local=(str(canonicalize_name(name)),))
    return Requested(archives=(str(canonicalize_name(name)),))


def _name_in(url: str) -> str:
    """The name that `#egg=` gives, or that the repository or the file has."""
    if egg := _EGG.search(url):
        return egg[1]
    last = file_name(url).partition("@")[0].removesuffix(".git")
    return re.split(r"-\d", last)[0] or last


# --- lists of requirements ------------------------------------------------------------------


def of_texts(texts: Iterable[str], sources: dict[str, Any] | None = None) -> Requested:
    """Requirements of PEP 508, and where `[tool.uv.sources]` takes them from."""
    return _sum(_of_text(text, sources or {}) for text in texts)


def _of_text(text: str, sources: dict[str, Any]) -> Requested:
    requirement = parsed(text)
    if requirement is None:
        return _located(text) or Requested()
    if requirement.url:
        return _from_url(requirement.name, requirement.url)
    source = _source_of(requirement.name, sources)
    return _from_table(requirement.name, source) or Requested(lines=(str(requirement),))


def _source_of(name: str, sources: dict[str, Any]) -> dict[str, Any]:
    wanted = canonicalize_name(name)
    found = next((v for key, v in sources.items() if canonicalize_name(key) == wanted), None)
    first = found[0] if isinstance(found, list) and found else found
    return table_at(first)


def _from_table(name: str, table: dict[str, Any]) -> Requested | None:
    """The place that a table of uv, Poetry or Pipenv names: git, url, path."""
    if any(isinstance(table.get(kind), str) for kind in ("git", "hg", "svn")):
        return Requested(vcs=(str(canonicalize_name(name)),))
    if isinstance(url := table.get("url") or table.get("file"), str):
        return _from_url(name, url)
    if table.get("workspace") or table.get("path"):
        return Requested(local=(str(canonicalize_name(name)),))
    return None


def of_project(
    document: dict[str, Any], extras: Iterable[str] = (), groups: Iterable[str] = ()
) -> Requested:
    """`[project] dependencies` with some extras and dependency groups."""
    sources = table_at(document, "tool", "uv", "sources")
    return of_texts(project_texts(document, extras, groups), sources)


def project_texts(
    document: dict[str, Any], extras: Iterable[str] = (), groups: Iterable[str] = ()
) -> list[str]:
    project = table_at(document, "project")
    texts = texts_in(project.get("dependencies"))
    for extra in extras:
        texts += _of_extra(project, extra, set())
    for group in groups:
        texts += _of_group(table_at(document, "dependency-groups"), group, set())
    return texts


def _of_extra(project: dict[str, Any], extra: str, seen: set[str]) -> list[str]:
    """An extra's requirements; `name[other]` of the project itself are those of the other."""
    if extra in seen:
        return []
    seen.add(extra)
    own = canonicalize_name(str(project.get("name", "")))
    texts: list[str] = []
    for text in texts_in(table_at(project, "optional-dependencies").get(extra)):
        requirement = parsed(text)
        if requirement and canonicalize_name(requirement.name) == own:
            for other in sorted(requirement.extras):
                texts += _of_extra(project, other, seen)
        else:
            texts.append(text)
    return texts


def _of_group(groups: dict[str, Any], name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    seen.add(name)
    listed = groups.get(name)
    texts = texts_in(listed)
    for item in listed if isinstance(listed, list) else []:
        if included := table_at(item).get("include-group"):
            texts += _of_group(groups, str(included), seen)
    return texts


# --- Poetry and Pipenv ------------------------------------------------------------------------


def of_poetry(
    document: dict[str, Any], extras: Iterable[str] = (), groups: Iterable[str] = ()
) -> Requested:
    """`[tool.poetry.dependencies]` and `[project] dependencies`, with some extras and groups."""
    listed = of_project(document, extras, groups)
    have = set(map(name_of, listed.lines))
    tables = poetry_dependencies(document, extras, groups)
    entries = ((name, spec) for name, spec in tables if not _only_enriches(name, spec, have))
    return listed + _sum(_of_entry(name, spec, pep440) for name, spec in entries)


def poetry_dependencies(
    document: dict[str, Any], extras: Iterable[str] = (), groups: Iterable[str] = ()
) -> Iterator[tuple[str, Any]]:
    """Names and constraints of the main group, of some others, and of optional ones of extras."""
    poetry = table_at(document, "tool", "poetry")
    by_extra = table_at(poetry, "extras")
    wanted = {canonicalize_name(n) for extra in extras for n in texts_in(by_extra.get(extra))}
    tables = [table_at(poetry, "dependencies")]
    tables += [table_at(poetry, "group", group, "dependencies") for group in groups]
    for table in tables:
        for name, spec in table.items():
            optional = isinstance(spec, dict) and spec.get("optional") is True
            if name != "python" and (not optional or canonicalize_name(name) in wanted):
                yield name, spec


def _only_enriches(name: str, spec: object, have: Iterable[str]) -> bool:
    """Whether an entry only adds a source to one of `[project] dependencies`."""
    return canonicalize_name(name) in have and isinstance(spec, dict) and "version" not in spec


def of_pipfile(document: dict[str, Any]) -> Requested:
    """`[packages]` of a Pipfile."""
    entries = table_at(document, "packages").items()
    return _sum(_of_entry(name, spec, lambda version: version) for name, spec in entries)


def _of_entry(name: str, spec: object, convert: Callable[[str], str]) -> Requested:
    if isinstance(spec, list):
        return _sum(_of_entry(name, one, convert) for one in spec)
    table = {"version": spec} if isinstance(spec, str) else table_at(spec)
    if located := _from_table(name, table):
        return located
    version = str(table.get("version", "")).strip()
    extras = ",".join(texts_in(table.get("extras")))
    text = name + (f"[{extras}]" if extras else "")
    text += "" if version in ("", "*") else convert(version)
    marker = " and ".join(f"({part})" for part in _markers(table))
    return of_texts([f"{text} ; {marker}" if marker else text])


def _markers(table: dict[str, Any]) -> Iterator[str]:
    if isinstance(table.get("markers"), str):
        yield table["markers"]
    python = table.get("python")
    if isinstance(python, str) and python.strip() not in ("", "*"):
        for clause in pep440(python).split(","):
            if found := re.match(r"(\W+)\s*([\d.]+)(\.\*)?$", clause.strip()):
                key = "python_version" if found[2].count(".") < 2 else "python_full_version"
                yield f'{key} {found[1].strip()} "{found[2]}"'


_CLAUSE = re.compile(r"(\^|~=|~|===?|!=|>=|<=|>|<|)\s*v?(\d[\w.+!*-]*)")


def pep440(constraint: str) -> str:
    """A constraint of Poetry as PEP 440 writes it; of alternatives (`||`) the last one."""
    alternative = re.split(r"\|\|?", constraint)[-1]
    clauses = (_clause(found[1], found[2]) for found in _CLAUSE.finditer(alternative))
    return ",".join(clauses)


def _clause(operator: str, version: str) -> str:
    if operator == "^":
        return f">={version},<{_after(version, _significant(version))}"
    if operator == "~":
        return f">={version},<{_after(version, min(version.count('.'), 1))}"
    if operator in ("", "==", "==="):
        return f"=={version}"
    return f"{operator}{version}"


def _significant(version: str) -> int:
    """Which part of a version a caret holds: the first that is not 0."""
    parts = _parts(version)
    return next((i for i, part in enumerate(parts) if part), len(parts) - 1)


def _after(version: str, index: int) -> str:
    parts = _parts(version)[: index + 1]
    return ".".join(map(str, (*parts[:-1], parts[-1] + 1)))


def _parts(version: str) -> list[int]:
    return [int(found[0]) for part in version.split(".") if (found := re.match(r"\d+", part))]
