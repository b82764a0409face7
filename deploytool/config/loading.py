"""[tool.deploytool] → Config → AppSpec, knowing where each value came from.

Layers, later wins: defaults < file < [environments.NAME] < DEPLOYTOOL_* variables < flags.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from deploytool.config import env_files
from deploytool.config.file import DEEPEST, as_written_in, depth, read, shown, without
from deploytool.config.layers import Layers, flatten
from deploytool.config.model import Config, with_names
from deploytool.config.paths import join, quoted
from deploytool.config.problems import problems_in, problems_of, unique
from deploytool.errors import ConfigError, Problem
from deploytool.reading import read_file
from deploytool.redact import hide_passwords_in, mask
from deploytool.spec import AppSpec, needs_entrypoint


class Setting(NamedTuple):
    """One effective value and where it came from."""

    path: str
    value: Any
    source: str


@dataclass(frozen=True)
class LoadedConfig:
    config: Config
    project: Path
    file: Path
    environment: str | None
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    fastapi_entrypoint: str | None = None

    def as_written(self, text: str) -> str:
        """A text with the names of tables as the project's file has them."""
        return as_written_in(self.file.name, text)

    def source(self, path: str) -> str:
        """Where the value at a path came from: the nearest layer that set it or its table."""
        while path:
            if path in self.sources:
                return self.sources[path]
            path = path.rpartition(".")[0]
        return "default"

    def settings(self) -> Iterator[Setting]:
        """Every effective value, defaults included, secrets masked."""
        dumped = self.config.model_dump(mode="json", exclude={"environments"})
        for name, service in dumped["services"].items():
            del service["name"]
            if self.config.services[name].is_global:
                del service["replicas"]
        for path, value in flatten(dumped):
            is_name = path.startswith("build.secrets.")
            is_text = isinstance(value, str) and not is_name
            shown = mask(path, value) if is_text else hide_passwords_in(value)
            yield Setting(path, shown, self.source(path))

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The configuration files of the services: path in the project → content. Raises
        ConfigError for those that cannot be read, or that no cluster would take."""
        found: dict[str, bytes] = {}
        problems = []
        for service in self.config.services.values():
            for target, source in service.files.items():
                try:
                    found[source] = _read_file(self.project, source)
                except ValueError as error:
                    where = join(("services", service.name, "files", target))
                    problems.append(Problem(where, f"{source} {error}"))
        if problems:
            raise ConfigError(problems, source=self.file.name)
        return found

    def app_spec(self) -> AppSpec:
        """The app in the chosen environment. Raises ConfigError, and UsageError where the
        FastAPI app has to be found in the source and is not."""
        config = self.config
        try:
            return AppSpec(
                name=config.app,
                backend=config.backend,
                environment=self.environment,
                image=f"{config.registry}/{config.app}",
                entrypoint=self._entrypoint(),
                services=tuple(
                    # Its variables are in `env`: a release means the same without the project.
                    config.services[name].model_copy(update={"env_file": ()})
                    for name in sorted(config.services)
                ),
                release=config.release,
                proxy=config.proxy,
                files={
                    path: hashlib.sha256(content).hexdigest()
                    for path, content in sorted(self.files.items())
                },
            )
        except ValidationError as error:
            raise ConfigError(problems_in(error, {}), source=self.file.name) from None

    def _entrypoint(self) -> str | None:
        config = self.config
        if config.entrypoint or not any(map(needs_entrypoint, config.services.values())):
            return config.entrypoint
        if self.fastapi_entrypoint:
            return self.fastapi_entrypoint
        from deploytool.discover import find_app

        return find_app(self.project, others=False).entrypoint


def load(
    start: Path,
    *,
    environment: str | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """The configuration of the project that `start` is in.

    `flags` maps a key's path to the flag's name and its value. Raises ConfigError with all
    problems together, UsageError when there is no configuration.
    """
    environ = os.environ if environ is None else environ
    file, table, fastapi_entrypoint = read(start)
    if depth(table) > DEEPEST:
        raise ConfigError([Problem("", "tables are nested too deeply")], source=str(shown(file)))
    layers = Layers(file.name)
    layers.add(without(table, "environments"), file.name)
    environments = table.get("environments", {})
    problems = _check_environments(environments, environment, file.name)
    if environment is not None and not problems and isinstance(environments, dict):
        where = f"{file.name} [tool.deploytool.environments.{quoted(environment)}]"
        layers.add(environments[environment], as_written_in(file.name, where))
    warnings = layers.add_variables(environ)
    for path, (flag, value) in (flags or {}).items():
        layers.set(path.split("."), value, flag)
    problems += _validate_other_environments(table, environments, environment, file.parent)
    problems += env_files.add(layers, file.parent)
    problems += _named_twice(layers.merged)
    config = None
    try:
        config = Config.model_validate(with_names(layers.merged) | {"environments": environments})
    except ValidationError as error:
        problems = problems_in(error, layers.sources) + problems
    if problems or config is None:
        raise ConfigError(unique(problems), source=str(shown(file)))
    return LoadedConfig(
        config=config,
        project=file.parent,
        file=file,
        environment=environment,
        sources=layers.sources,
        warnings=tuple(warnings),
        fastapi_entrypoint=fastapi_entrypoint,
    )


LARGEST_FILE = 500 * 1024
"""bytes; what every Swarm takes is smaller"""


def _read_file(project: Path, path: str) -> bytes:
    """The content of a configuration file. Raises ValueError with what is wrong with it."""
    try:
        content = read_file(project / path, limit=LARGEST_FILE - 1, within=project)
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise ValueError("is too large: a cluster keeps files of less than 500 KiB") from None
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if not content:
        raise ValueError("is empty, and a cluster keeps no empty file")
    return content


def _named_twice(table: Mapping[str, Any]) -> list[Problem]:
    services = table.get("services")
    return [
        Problem(
            f"services.{quoted(name)}.name", "unknown key 'name'", "the table's own name names it"
        )
        for name, service in (services.items() if isinstance(services, dict) else ())
        if isinstance(service, dict) and "name" in service
    ]


def _check_environments(environments: object, chosen: str | None, file: str) -> list[Problem]:
    if not isinstance(environments, dict):
        return []
    if chosen is None or isinstance(environments.get(chosen), dict):
        return []
    if not environments:
        hint = as_written_in(file, f"add [tool.deploytool.environments.{chosen}] to {file}")
    else:
        hint = f"there are: {', '.join(sorted(environments))}"
    return [Problem(f"environments.{quoted(chosen)}", "there is no such environment", hint)]


def _validate_other_environments(
    table: Mapping[str, Any], environments: object, chosen: str | None, project: Path
) -> list[Problem]:
    """A mistake in an environment is reported whichever environment is asked for. Its files of
    variables need not be there: they may be where it is deployed from."""
    if not isinstance(environments, dict):
        return []
    base = set(problems_of(without(table, "environments"), {}))
    problems = []
    for name, changes in environments.items():
        if name == chosen or not isinstance(changes, dict):
            continue
        layers = Layers("")
        layers.add(without(table, "environments"), "")
        layers.add(changes, name)
        env_files.add(layers, project)
        problems += [
            Problem(f"environments.{quoted(name)}.{problem.path}", problem.message, problem.hint)
            for problem in problems_of(layers.merged, layers.sources)
            if problem not in base
        ]
    return problems
