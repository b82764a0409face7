"""The variables of services that files of the project bring, by `env_file`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploytool.config.layers import Layers
from deploytool.config.paths import join
from deploytool.errors import Problem
from deploytool.reading import LARGEST_TEXT, read_file


def add(layers: Layers, project: Path) -> list[Problem]:
    """Give services the variables of their files, below those that the configuration has. What is
    wrong with a file is returned; no value is repeated."""
    problems = []
    services = layers.merged.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        for number, path in enumerate(_files(service)):
            try:
                _add_file(layers, project, name, path)
            except ValueError as error:
                where = f"{join(('services', name, 'env_file'))}[{number}]"
                problems.append(Problem(where, f"{path} {error}"))
    return problems


def _files(service: Any) -> list[str]:
    """Those whose variables count first come first. Anything else is refused with the rest."""
    found = service.get("env_file") if isinstance(service, dict) else None
    listed = [found] if isinstance(found, str) else found
    is_list = isinstance(listed, list) and all(isinstance(path, str) for path in listed)
    return listed[::-1] if is_list and listed else []


def _add_file(layers: Layers, project: Path, service: str, path: str) -> None:
    for name, value in _read(project, path):
        env = layers.merged["services"][service].get("env", {})
        if isinstance(env, dict) and name not in env:
            layers.set(("services", service, "env", name), value, path)


def _read(project: Path, path: str) -> Iterator[tuple[str, str]]:
    """Name and value of each line, as python-dotenv reads them; the last of equal names counts.
    Raises ValueError with what is wrong."""
    from dotenv.parser import parse_stream

    try:
        text = read_file(project / path, limit=LARGEST_TEXT, within=project).decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', error)}") from None
    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise ValueError(f"is wrong in line {binding.original.line}: write NAME=value")
        if binding.key is not None:
            found[binding.key] = binding.value or ""
    yield from found.items()
