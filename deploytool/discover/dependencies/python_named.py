"""The places of a project that name a Python: .python-version, runtime.txt, a Dockerfile, CI."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.discover.dependencies.python_version import PREFERRED, pinned, satisfies, series
from deploytool.discover.source import HERE, Project, table_at
from deploytool.lint.dockerfile import Dockerfile, parse

Hint = tuple[str, str]
"""A Python and the file that names it: ("3.11", "runtime.txt")."""

_NUMBER = r"(3\.\d+)(?:\.(?:\d+|\*))?"
_VERSION_FILE = re.compile(rf"^(?:cpython-|python-?)?{_NUMBER}(?!\w)")
_RUNTIME = re.compile(rf"(?m)^\s*(?:python-)?{_NUMBER}\s*$")
_TOOL_VERSIONS = re.compile(rf"(?m)^\s*python\s+{_NUMBER}(?!\w)")
_CONDA = re.compile(rf"""(?m)^\s*-\s*["']?(?:[\w-]+::)?python\s*={{1,2}}\s*{_NUMBER}(?!\w)""")
_IMAGE = re.compile(rf"python:?{_NUMBER}(?!\w|\.)")
_CI_VERSION = re.compile(
    r"""(?m)^[ \t-]*["']?python(?:-version|_version)?s?["']?[ \t]*:[ \t]*(?P<value>[^\n#]*)"""
    r"""(?P<list>(?:\n[ \t]*-[ \t][^\n]*)*)"""
)
_CI_IMAGE = re.compile(rf"(?m)^\s*(?:-\s*)?(?:image|container|name):\s*\S*python:{_NUMBER}(?!\w)")
_PYTHON_REQUIRES = re.compile(
    r"""(?m)\bpython_requires\s*=\s*(?:(?P<quote>["'])(?P<text>[^"'\n]+)(?P=quote)|(?P<bare>[^"'\n#]+))"""
)
DOCKER_FOLDERS = ("", "docker", ".docker", "deploy", "deployment", "build", "compose")


@dataclass(frozen=True)
class Named:
    """The Python that one place names. No version: that is not one known here."""

    version: str | None
    source: str
    text: str = ""


def choose(
    named: Iterable[Named], constraint: str = "", constraint_source: str = "requires-python"
) -> tuple[Hint | None, tuple[str, ...]]:
    """The first place that can be followed, and one line for each that was passed over."""
    passed: list[str] = []
    for place in named:
        if place.version is None or place.version not in PREFERRED:
            passed.append(_not_a_python(place))
        elif not _allowed(place.version, constraint):
            passed.append(
                f"{place.source} names Python {place.version}, which {constraint_source} "
                f"{constraint!r} does not allow: {place.source} is passed over"
            )
        else:
            return (place.version, place.source), tuple(passed)
    return None, tuple(passed)


def _allowed(version: str, constraint: str) -> bool:
    patch = pinned(constraint)
    return series(patch) == version if patch else satisfies(version, constraint)


def _not_a_python(place: Named) -> str:
    known = ", ".join(sorted(PREFERRED, key=lambda version: int(version.split(".")[1])))
    said = place.version or place.text
    return f"{place.source} says {said!r}, which is none of {known}: it is passed over"


def named_pythons(project: Project, folder: PurePosixPath = HERE) -> Iterator[Named]:
    """All places that name a Python, best first: near the dependencies, then above, CI last."""
    for place in dict.fromkeys((folder, *folder.parents, HERE)):
        for read in _READERS:
            yield from read(project, place)
    yield from _ci(project)


def python_requires(project: Project, folder: PurePosixPath = HERE) -> Hint | None:
    """The constraint of a setup.cfg or setup.py, and which of them has it."""
    for name in ("setup.cfg", "setup.py"):
        found = _PYTHON_REQUIRES.search(project.text(folder / name) or "")
        if found:
            return (found["text"] or found["bare"]).strip(), str(folder / name)
    return None


def _version_file(project: Project, folder: PurePosixPath) -> Iterator[Named]:
    file = folder / ".python-version"
    lines = [line.partition("#")[0].strip() for line in (project.text(file) or "").splitlines()]
    words = [word for line in lines for word in line.split()]
    found = (_VERSION_FILE.match(word) for word in words)
    version = next((match[1] for match in found if match and match[1] in PREFERRED), None)
    if words:
        yield Named(version, str(file), words[0])


def _by_pattern(pattern: re.Pattern[str], *names: str) -> Callable[..., Iterator[Named]]:
    def read(project: Project, folder: PurePosixPath) -> Iterator[Named]:
        for name in names:
            if found := pattern.search(project.text(folder / name) or ""):
                yield Named(found[1], str(folder / name))

    return read


def _pipfile(project: Project, folder: PurePosixPath) -> Iterator[Named]:
    requires = table_at(project.helpful_toml(folder / "Pipfile"), "requires")
    for key in ("python_full_version", "python_version"):
        yield from _named(requires.get(key), folder / "Pipfile")


def _mise(project: Project, folder: PurePosixPath) -> Iterator[Named]:
    for name in ("mise.toml", ".mise.toml", ".config/mise.toml"):
        python = table_at(project.helpful_toml(folder / name), "tools").get("python")
        first = python[0] if isinstance(python, list) and python else python
        yield from _named(first.get("version") if isinstance(first, dict) else first, folder / name)


def _named(value: object, file: PurePosixPath) -> Iterator[Named]:
    found = _VERSION_FILE.match(value.strip()) if isinstance(value, str) else None
    if found:
        yield Named(found[1], str(file))


def _dockerfiles(project: Project, folder: PurePosixPath) -> Iterator[Named]:
    for below in DOCKER_FOLDERS:
        for file in _files(project, folder / below, "*ockerfile*"):
            dockerfile = parse(project.text(file) or "")
            if dockerfile.is_kept and (version := _base_python(dockerfile)):
                yield Named(version, f"FROM of {file}")


def _base_python(dockerfile: Dockerfile) -> str | None:
    """The Python of the last stage that is built on one."""
    found = (_IMAGE.search(stage.base) for stage in reversed(dockerfile.stages))
    return next((match[1] for match in found if match), None)


def _ci(project: Project) -> Iterator[Named]:
    """The highest Python that a CI configuration tests with."""
    workflows = _files(project, PurePosixPath(".github/workflows"), "*.y*ml")
    for file in (*workflows, PurePosixPath(".gitlab-ci.yml")):
        versions = set(_ci_versions(project.text(file) or "")) & set(PREFERRED)
        if versions:
            yield Named(max(versions, key=lambda version: int(version.split(".")[1])), str(file))


def _ci_versions(text: str) -> Iterator[str]:
    for found in _CI_VERSION.finditer(text):
        yield from re.findall(r"(?<![\w.])(3\.\d+)(?!\w)", found["value"] + found["list"])
    yield from (found[1] for found in _CI_IMAGE.finditer(text))


def _files(project: Project, folder: PurePosixPath, pattern: str) -> list[PurePosixPath]:
    """Files of a folder, those with short names first."""
    try:
        found = [path.name for path in (project.path / folder).glob(pattern) if path.is_file()]
    except (OSError, ValueError):
        return []
    return [folder / name for name in sorted(found, key=lambda name: (len(name), name))]


_READERS: tuple[Callable[[Project, PurePosixPath], Iterator[Named]], ...] = (
    _version_file,
    _by_pattern(_RUNTIME, "runtime.txt"),
    _pipfile,
    _by_pattern(_TOOL_VERSIONS, ".tool-versions"),
    _mise,
    _by_pattern(_CONDA, "environment.yml", "environment.yaml", "conda.yml"),
    _dockerfiles,
)
