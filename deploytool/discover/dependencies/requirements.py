"""Requirements files: which one lists the app's dependencies, and what its lines say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from deploytool.discover.dependencies.requested import (
    EDITABLE,
    INCLUDE,
    name_of,
    parsed,
    requirement_lines,
)
from deploytool.discover.source import Project, below
from deploytool.errors import UsageError

NAMES = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements/requirements.txt",
    "requirements/main.txt",
    "requirements-prod.txt",
    "requirements/common.txt",
)
DEVELOPMENT = re.compile(r"(^|[-_./])(dev|develop|development|test|tests|testing|lint|docs?|ci)\b")
SERVER_EXTRAS = re.compile(r"(?i)^\s*fastapi\s*\[[^\]]*\b(standard|all)\b")
LOCAL = re.compile(r"^(\.{1,2}($|[/\[])|/|file:)|\s@\s*file:")


def find(project: Project, folder: PurePosixPath) -> PurePosixPath | None:
    """The requirements file of a folder that lists what the app needs; None when there is none.

    The usual names come first, then any other that lists FastAPI.
    """
    for name in NAMES:
        if project.is_file(folder / name):
            return folder / name
    others = sorted((project.path / folder).glob("*req*.txt*"))
    for path in others:
        file = folder / path.name
        if not DEVELOPMENT.search(path.stem) and names_any(lines(project, file), "fastapi"):
            return file
    return None


def lines(project: Project, file: PurePosixPath) -> list[str]:
    """The lines that say something, without comments."""
    return list(requirement_lines(project.text(file) or ""))


def included(project: Project, file: PurePosixPath, depth: int = 0) -> Iterator[PurePosixPath]:
    """A requirements file and those that it names with -r and -c.

    Raises UsageError for one that is not there.
    """
    yield file
    for line in lines(project, file) if depth < 10 else ():
        option = INCLUDE.match(line)
        if option and "://" not in option["file"]:
            target = below(file.parent, option["file"])
            if target is None or not project.is_file(target):
                raise UsageError(
                    f"{file} names {option['file']}, which is not in the project",
                    code="requirements_invalid",
                    hint=f"correct {file}",
                )
            yield from included(project, target, depth + 1)


def refuse_local(found: Iterable[str], name: str) -> None:
    """Raise UsageError for a line that installs something of this machine."""
    for line in found:
        target = EDITABLE.sub("", line)
        if LOCAL.search(target):
            raise UsageError(
                f"{name} installs {target} from this machine: the image's dependencies are "
                "installed before its code is there",
                code="path_dependency",
                hint=_instead(line, name),
            )


def _instead(line: str, name: str) -> str:
    """The line to write for a requirement of this machine."""
    if "@" in line and (bare := name_of(line)):
        return f"name a released version in {name}: {bare}==VERSION in place of {line!r}"
    if re.search(r"(^|\s)\.(\[|$)", line):
        return f"take {line!r} out of {name}: the project's own code is copied anyway"
    return f"take {line!r} out of {name}, and depend on a released version or a Git repository"


def is_valid(line: str) -> bool:
    """Whether installers take a line: an option, an address or a path, or a requirement."""
    bare = re.sub(r"\s--?\w.*$", "", line)
    if line.startswith(("-", ".", "/")) or "://" in line or bare.endswith((".whl", ".gz", ".zip")):
        return True
    return parsed(bare) is not None


def names_any(requirements: Iterable[str], name: str) -> bool:
    return any(name_of(requirement) == name for requirement in requirements)


def brings_server(requirements: list[str]) -> bool:
    """Whether Uvicorn is asked for, by itself or through FastAPI's extras."""
    return names_any(requirements, "uvicorn") or any(map(SERVER_EXTRAS.match, requirements))
