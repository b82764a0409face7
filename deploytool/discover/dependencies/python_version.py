"""Which Python a project's image is built on."""

from __future__ import annotations

import re
from collections.abc import Callable

DEFAULT = "3.13"
PREFERRED = (DEFAULT, "3.12", "3.11", "3.14", "3.10", "3.9", "3.8")
"""All that are known; a newer one only where a constraint wants it."""
UNMAINTAINED = frozenset({"3.10", "3.9", "3.8"})
_LATEST_PATCH = 99
_CLAUSE = re.compile(r"(\^|~=|~|===?|!=|>=|<=|>|<|)\s*v?(\d+(?:\.\d+)*)(\.\*)?")
_PINNED = re.compile(r"^\s*(?:={1,3})?\s*v?(3\.\d+\.\d+)\s*$")

Version = tuple[int, ...]


def newest(constraint: str) -> str | None:
    """The preferred Python that satisfies a constraint of PEP 440 or Poetry; None if none does.

    A patch release is named only where the constraint pins one.
    """
    if patch := pinned(constraint):
        return patch if series(patch) in PREFERRED else None
    return next((version for version in PREFERRED if satisfies(version, constraint)), None)


def pinned(constraint: str) -> str | None:
    """The patch release that a constraint pins: `==3.11.7`, or Poetry's `3.11.7`."""
    found = _PINNED.match(constraint)
    return found[1] if found else None


def candidates(constraint: str) -> tuple[str, ...]:
    """The Pythons to try for a constraint, best first, none newer than the first."""
    if pinned(constraint):
        return tuple(filter(None, [newest(constraint)]))
    fitting = [version for version in PREFERRED if satisfies(version, constraint)]
    return tuple(version for version in fitting if _minor(version) <= _minor(fitting[0]))


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def series(version: str) -> str:
    """ "3.11" of "3.11.7"."""
    return ".".join(version.split(".")[:2])


def latest_patch(version: str) -> str:
    """A full version for a series: what the newest patch release of it counts as."""
    return version if version.count(".") == 2 else f"{version}.{_LATEST_PATCH}"


def warning(version: str) -> str | None:
    """Reasons against a Python that works."""
    if series(version) not in UNMAINTAINED:
        return None
    return (
        f"Python {series(version)} no longer gets security fixes: "
        "move to a newer one when the dependencies allow it"
    )


def satisfies(version: str, constraint: str) -> bool:
    """Whether the newest patch release of a series like "3.13" satisfies a constraint."""
    latest = (*map(int, version.split(".")), _LATEST_PATCH)
    alternatives = re.split(r"\|\|?", constraint)
    return any(_satisfies_all(latest, alternative) for alternative in alternatives)


def _satisfies_all(latest: Version, constraint: str) -> bool:
    return all(_CHECKS[clause[1]](latest, clause) for clause in _CLAUSE.finditer(constraint))


def _numbers(clause: re.Match[str]) -> Version:
    return tuple(int(part) for part in clause[2].split(".")[:3])


def _padded(clause: re.Match[str]) -> Version:
    return (*_numbers(clause), 0, 0)[:3]


def _equal(latest: Version, clause: re.Match[str]) -> bool:
    """`==3.12.*`, and `3.12` as Poetry's users mean it; an exact patch only itself."""
    numbers = _numbers(clause)
    return latest[: len(numbers)] == numbers


def _below_next(latest: Version, numbers: Version, changing: int) -> bool:
    """Whether nothing left of the last of `changing` parts went up."""
    return latest[:changing] == numbers[:changing]


def _compatible(latest: Version, clause: re.Match[str]) -> bool:
    numbers = _numbers(clause)
    return latest >= _padded(clause) and _below_next(latest, numbers, max(len(numbers) - 1, 1))


_CHECKS: dict[str, Callable[[Version, re.Match[str]], bool]] = {
    "": _equal,
    "==": _equal,
    "===": _equal,
    "!=": lambda latest, clause: not _equal(latest, clause),
    ">=": lambda latest, clause: latest >= _padded(clause),
    ">": lambda latest, clause: latest > _padded(clause),
    "<": lambda latest, clause: latest < _padded(clause),
    "<=": lambda latest, clause: latest <= _padded(clause),
    "~=": _compatible,
    "~": lambda latest, clause: (
        latest >= _padded(clause) and _below_next(latest, _numbers(clause), 2)
    ),
    "^": lambda latest, clause: (
        latest >= _padded(clause) and _below_next(latest, _numbers(clause), 1)
    ),
}
