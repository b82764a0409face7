"""Which distributions have a wheel for a Python on Linux, by their file names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from urllib.parse import unquote

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from deploytool.discover.dependencies.python_version import latest_patch, series

GLIBC = 36
"""Debian 12 has glibc 2.36, Debian 13 has a newer one: what an image of today can load."""
ARCHIVES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")
_OLD_PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1", "linux")


def has_wheel(files: Iterable[str], python: str) -> bool:
    """Whether one of a distribution's files (names, paths or URLs) installs without a compiler."""
    fitting = _tags(series(python))
    return any(not fitting.isdisjoint(tags_of(file)) for file in files)


def has_source(files: Iterable[str]) -> bool:
    return any(file_name(file).endswith(ARCHIVES) for file in files)


def tags_of(file: str) -> frozenset[Tag]:
    """The targets of a wheel; none when a file is no wheel."""
    try:
        return parse_wheel_filename(file_name(file))[3]
    except InvalidWheelFilename:
        return frozenset()


def file_name(file: str) -> str:
    """The name of a path or URL."""
    return unquote(file.partition("#")[0].partition("?")[0].replace("\\", "/").rpartition("/")[2])


@cache
def _tags(python: str) -> frozenset[Tag]:
    major, minor = map(int, python.split("."))
    version, interpreter = (major, minor), f"cp{major}{minor}"
    platforms = list(_platforms())
    return frozenset(
        (
            *cpython_tags(version, [interpreter], platforms),
            *compatible_tags(version, interpreter, platforms),
        )
    )


def _platforms() -> Iterator[str]:
    for minor in range(GLIBC, 4, -1):
        yield f"manylinux_2_{minor}_x86_64"
    for name in _OLD_PLATFORMS:
        yield f"{name}_x86_64"


# --- markers and constraints ------------------------------------------------------------------


def applies(marker: str, python: str, extras: Iterable[str] = ()) -> bool:
    """Whether a marker holds in the image, with any of some extras. What cannot be read holds."""
    if not marker.strip():
        return True
    parsed = _marker(marker)
    names = ("", *extras)
    return parsed is None or any(_holds(parsed, python, extra) for extra in names)


@cache
def _marker(text: str) -> Marker | None:
    try:
        return Marker(text)
    except (InvalidMarker, RecursionError):
        return None


def _holds(marker: Marker, python: str, extra: str) -> bool:
    try:
        return marker.evaluate({**environment(python), "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError, TypeError, KeyError):
        return True


def environment(python: str) -> dict[str, str]:
    """The environment of PEP 508 in an image."""
    full = latest_patch(python)
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": series(python),
        "sys_platform": "linux",
    }


def allows(specifier: str, version: str) -> bool:
    """Whether a constraint of PEP 440 allows a version. What cannot be read allows all."""
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, ValueError):
        return True
