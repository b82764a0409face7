"""The corpus: small projects, one for each kind of obstacle that real ones have met.

Each folder beside this file is a project as somebody might have written it, and an expect.toml
that says what becomes of it with `init` and `deploy`. A folder `fixed` in it holds the files that
whoever follows the advice writes.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).parent
EXPECT = "expect.toml"
FIXED = "fixed"
ADDED = "added"
ABSENT = "absent"
ALWAYS_TRUE = ("versions are not locked", "no longer gets security fixes")
"""What may be said of many projects that work."""


class Expected(BaseModel):
    """What becomes of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The obstacle, in a few words."""
    result: Literal["works", "said", "needs"]
    """It works as it is; `init` says what stands in the way; `init` lists what has to be set."""
    core: bool = False
    """`make test` builds and starts it, not only `make test-corpus`."""
    python: str = "3.13"
    """The Python that its image has to have."""
    init: tuple[str, ...] = ()
    """Options of `init`."""
    refused: bool = False
    """`init` ends with exit code 2, not with files."""
    asks_index: bool = False
    """Part of it is known to the package index alone."""
    says: tuple[str, ...] = ()
    """Each matches one line that `init` warns or refuses with."""
    may_say: tuple[str, ...] = ()
    """Every other line that it says matches one of these."""
    quiet: tuple[str, ...] = ()
    """None of these matches any line."""
    again: tuple[str, ...] = ()
    """Options with which the advice says to run `init` again."""
    folder: str = "."
    """The folder in which the advice says to run it."""
    config: dict[str, Any] = {}
    """Values that `init` writes into the configuration; "absent" for what it leaves out."""
    configured: tuple[str, ...] = ()
    """Keys of the configuration that `init` writes, whatever their value."""
    dockerfile: tuple[str, ...] = ()
    """Each matches in the Dockerfile."""
    not_written: tuple[str, ...] = ()
    """Files that `init` leaves unwritten."""
    lints: tuple[str, ...] = ()
    """Rules of `lint` that find something, once the files in `added` were added."""
    lints_not: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """Settings that the app needs, once `init` has listed them."""
    build: bool = True
    """Whether it can be built here: from the package index and Debian alone."""
    get: str = "/"
    status: int = 200
    body: str = ""
    post: str = ""
    """A request that stores something, which is still there after a restart."""
    kept: str = ""
    """What `get` answers then."""

    def again_with(self) -> tuple[str, ...]:
        """Options for `init` once its advice was followed: what it wrote is written anew."""
        return self.again or (*self.init, *(() if self.refused else ("--force",)))


@dataclass(frozen=True)
class CorpusProject:
    """A project and what is expected of it."""

    name: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @cached_property
    def expected(self) -> Expected:
        text = (self.folder / EXPECT).read_text(encoding="utf-8")
        return Expected.model_validate(tomllib.loads(text))

    @property
    def can_be_followed(self) -> bool:
        """Whether the project shows what whoever follows the advice does."""
        followed = self.expected.again or self.expected.folder != "."
        return bool(followed) or (self.folder / FIXED).is_dir()

    def copy(self, to: Path) -> Path:
        """The project as its author has it."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(self.folder, to, ignore=ignored, symlinks=True)
        (to / EXPECT).unlink()
        for overlay in (FIXED, ADDED):
            shutil.rmtree(to / overlay, ignore_errors=True)
        return to

    def overlay(self, name: str, folder: Path) -> None:
        """Copy the files of `fixed` or `added`, if there are any, over the project."""
        if (self.folder / name).is_dir():
            shutil.copytree(self.folder / name, folder, dirs_exist_ok=True)


def all_projects() -> list[CorpusProject]:
    return [CorpusProject(path.parent.name) for path in sorted(FOLDER.glob(f"*/{EXPECT}"))]


def sayings(code: int, stdout: str) -> list[str]:
    """The lines that `init --json` warns or refuses with."""
    answer = json.loads(stdout)
    if code == 0:
        return [str(line) for line in answer["warnings"]]
    error = answer["error"]
    return [*error["message"].splitlines(), *error.get("details", []), error["hint"]]


def check_sayings(expected: Expected, lines: Iterable[str]) -> None:
    """What `init` has to say, in one line each, and what it must not."""
    said = list(lines)
    for pattern in expected.says:
        assert matching(pattern, said), f"nothing says {pattern!r}: {_listed(said)}"
    nothing_said(expected.quiet, said)
    if not expected.refused:
        check_nothing_else(expected, said)


def check_nothing_else(expected: Expected, said: Iterable[str]) -> None:
    """A false alarm costs whoever follows it time, and the others' belief in the next one."""
    known = (*expected.says, *expected.may_say, *ALWAYS_TRUE)
    more = [line for line in said if not any(re.search(pattern, line) for pattern in known)]
    assert not more, f"is said, and not expected: {_listed(more)}"


def check_files(expected: Expected, folder: Path) -> None:
    """What `init` has to have written."""
    configuration = written_configuration(folder)
    for path, value in expected.config.items():
        assert value_at(configuration, path) == value, f"{path} in {configuration}"
    for path in expected.configured:
        assert value_at(configuration, path) != ABSENT, f"no {path} in {configuration}"
    dockerfile = read(folder / "Dockerfile")
    assert f"FROM python:{expected.python}" in dockerfile
    for pattern in expected.dockerfile:
        assert re.search(pattern, dockerfile, re.M), f"no {pattern!r} in:\n{dockerfile}"
    for name in expected.not_written:
        assert not (folder / name).exists(), f"{name} should not be written"


def nothing_said(patterns: Iterable[str], lines: Iterable[str]) -> None:
    """What needs no advice, or got it and was changed."""
    said = list(lines)
    for pattern in patterns:
        assert not matching(pattern, said), f"says {pattern!r}: {_listed(said)}"


def matching(pattern: str, lines: Iterable[str]) -> list[str]:
    return [line for line in lines if re.search(pattern, line)]


def written_configuration(folder: Path) -> dict[str, Any]:
    own = read(folder / "deploytool.toml")
    if own:
        return tomllib.loads(own)
    tool = tomllib.loads(read(folder / "pyproject.toml")).get("tool", {})
    return dict(tool.get("deploytool", {}))


def value_at(table: Any, path: str) -> Any:
    """The value of a key such as services.web.port."""
    for key in path.split("."):
        if not isinstance(table, dict) or key not in table:
            return ABSENT
        table = table[key]
    return table


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _listed(lines: list[str]) -> str:
    return "\n  " + "\n  ".join(lines or ["(nothing)"])
