"""The file that a project's configuration is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from deploytool.errors import ConfigError, Problem, UsageError
from deploytool.reading import read_text


def read(start: Path) -> tuple[Path, dict[str, Any], str | None]:
    """The file, its deploytool table and [tool.fastapi] entrypoint."""
    start = start.resolve()
    for folder in (start, *start.parents):
        pyproject = folder / "pyproject.toml"
        document = _parse(pyproject) if pyproject.is_file() else {}
        tool = document.get("tool")
        tool = tool if isinstance(tool, dict) else {}
        fastapi = tool.get("fastapi")
        entrypoint = fastapi.get("entrypoint") if isinstance(fastapi, dict) else None
        entrypoint = entrypoint if isinstance(entrypoint, str) else None
        own = folder / "deploytool.toml"
        if own.is_file():
            return own, _parse(own), entrypoint
        if "deploytool" in tool:
            return pyproject, _table(tool["deploytool"], pyproject), entrypoint
        if pyproject.is_file() or (folder / ".git").exists():
            break
    raise UsageError(
        f"There is no deploytool configuration in {start}",
        code="no_config",
        hint="run `deploytool init` in the project's folder: it finds the app and writes one",
    )


DEEPEST = 50
"""Levels of tables and lists. The schema has ten."""


def depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        depth += 1
        tables = [node.values() if isinstance(node, dict) else node for node in level]
        level = [v for table in tables for v in table if isinstance(v, dict | list)]
    return depth


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomli.loads(read_text(file))
    except tomli.TOMLDecodeError as error:
        problem = Problem("", f"not valid TOML: {error}")
    except UnicodeDecodeError:
        problem = Problem("", "not valid TOML: the file is not UTF-8 text")
    except RecursionError:
        problem = Problem("", "not valid TOML: nested too deeply")
    except (OSError, ValueError) as error:
        problem = Problem("", f"cannot be read: {getattr(error, 'strerror', None) or error}")
    raise ConfigError(
        [problem],
        source=str(shown(file)),
        code="config_unreadable",
        hint="correct it there, and run this again",
    )


def _table(value: object, file: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ConfigError([Problem("tool.deploytool", "must be a table")], source=str(shown(file)))


def shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def as_written_in(file: str, text: str) -> str:
    """A text that names tables as pyproject.toml does, as a file of that name has them."""
    return text if file == "pyproject.toml" else text.replace("[tool.deploytool.", "[")


def without(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}
