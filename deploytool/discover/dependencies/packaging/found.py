"""How a project's dependencies get into an image, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from deploytool.discover.dependencies import python_version

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
    computed: bool = False
    """Whether building a package says what it depends on, which takes more than `files`."""
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
