"""The subject of a check: the Dockerfile, its context, and the configuration if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.lint import dockerignore, toml
from deploytool.lint.commands import Command, image_command
from deploytool.lint.copies import Copies
from deploytool.lint.dockerfile import Dockerfile, Stage
from deploytool.lint.rules import RULES_BY_NAME, Finding

if TYPE_CHECKING:
    from deploytool.config import Config, LoadedConfig
    from deploytool.spec import Service


@dataclass(frozen=True)
class Subject:
    context: Path
    """The folder that is sent to the builder."""
    file: Path
    """The Dockerfile."""
    shown: str
    """Its name in findings."""
    dockerfile: Dockerfile
    loaded: LoadedConfig | None = None
    config_text: str = ""

    @property
    def config(self) -> Config | None:
        return self.loaded.config if self.loaded else None

    @property
    def services(self) -> tuple[Service, ...]:
        return tuple(self.config.services.values()) if self.config else ()

    @property
    def built_services(self) -> tuple[Service, ...]:
        """The services that run the image of the Dockerfile."""
        return tuple(service for service in self.services if service.image is None)

    @property
    def image_command_users(self) -> tuple[Service, ...]:
        """The services that run what the Dockerfile's CMD says."""
        return tuple(service for service in self.built_services if runs_image_command(service))

    @cached_property
    def stage(self) -> Stage | None:
        """The stage that becomes the image."""
        return self.dockerfile.stage(self.config.build.target if self.config else None)

    @cached_property
    def image_command(self) -> Command:
        return image_command(self.stage) if self.stage else Command(())

    @cached_property
    def image_command_line(self) -> int:
        items = [self.stage.last(word) for word in ("CMD", "ENTRYPOINT")] if self.stage else []
        return next((item.line for item in items if item), 1)

    @cached_property
    def dockerignore(self) -> Path | None:
        """The file that keeps things out of the build; one beside the Dockerfile comes first."""
        return dockerignore.find(self.file, self.context)

    @cached_property
    def copies(self) -> Copies:
        """What the Dockerfile takes from the context."""
        return Copies(self.dockerfile, dockerignore.read(self.dockerignore))

    @cached_property
    def _config_lines(self) -> Mapping[toml.Path, int]:
        return toml.key_lines(self.config_text)

    def in_dockerfile(self, rule: str, line: int, message: str) -> Finding:
        """A finding at a line of the Dockerfile."""
        return _finding(self.shown, rule, line, message)

    def in_config(self, rule: str, path: Sequence[str], message: str, fix: str = "") -> Finding:
        """A finding at a key of the configuration, or at the table where the key is missing. What
        is to be done is the rule's, unless it differs from place to place."""
        assert self.loaded
        found = _finding(self.loaded.file.name, rule, self._config_line(path), message)
        return replace(found, fix=fix) if fix else found

    def _config_line(self, path: Sequence[str]) -> int:
        assert self.loaded
        root = () if self.loaded.file.name == "deploytool.toml" else ("tool", "deploytool")
        length, line = toml.nearest(self._config_lines, (*root, *path))
        if self.loaded.environment:
            layer = (*root, "environments", self.loaded.environment)
            found, line_in_layer = toml.nearest(self._config_lines, (*layer, *path))
            if found - len(layer) > length - len(root) or found == len(layer) + len(path):
                return line_in_layer
        return line

    def own_commands(self) -> Iterator[tuple[Service, Command, tuple[str, ...]]]:
        """The services with a command of their own, and where it is written."""
        for service in self.services:
            if service.command:
                yield (
                    service,
                    Command.read(service.command),
                    ("services", service.name, "command"),
                )


def runs_image_command(service: Service) -> bool:
    if service.image is not None:
        return False
    return service.command == () or (service.command is None and service.port is None)


def _finding(file: str, name: str, line: int, message: str) -> Finding:
    rule = RULES_BY_NAME[name]
    return Finding(file, line, name, rule.severity, message, rule.fix, rule.url)
