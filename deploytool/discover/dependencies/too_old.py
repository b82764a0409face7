"""Releases that install on a newer Python and do not run on it.

They are pure Python, so that their wheel fits every Python, and their metadata sets no upper limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version


@dataclass(frozen=True)
class Limit:
    """Releases from `since` to before `fixed` do not run from a Python on."""

    fixed: str
    """The first release that runs there; empty where none does."""
    python: str
    since: str = "0"

    def covers(self, version: Version, python: Version) -> bool:
        is_old = not self.fixed or version < Version(self.fixed)
        return Version(self.since) <= version and is_old and python >= Version(self.python)


LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "aioredis": (Limit("", "3.11", since="2"),),
    "pydantic": (Limit("1.10.16", "3.12"),),
    "sqlalchemy": (Limit("2.0.31", "3.13", since="2"),),
}
"""Measured: each imports on the Python before, and raises at its import on this one."""


def too_old_for(python: str, versions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The pins among some versions that do not run on a Python, and what to take instead."""
    for name, version in versions.items():
        for limit in LIMITS.get(name, ()):
            if _covers(limit, version, python):
                yield f"{name}=={version}", f"{name}>={limit.fixed}" if limit.fixed else ""


def _covers(limit: Limit, version: str, python: str) -> bool:
    try:
        return limit.covers(Version(version), Version(python))
    except InvalidVersion:
        return False
