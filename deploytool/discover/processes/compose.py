"""The services of a project's compose file: which are its own, and what they run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from deploytool.discover.processes.command_lines import Line, read_words
from deploytool.discover.processes.place import Place
from deploytool.discover.source import Project, table_at

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
PRODUCTION = tuple(
    f"{base}.{name}.{end}"
    for base in ("docker-compose", "compose")
    for name in ("prod", "production")
    for end in ("yml", "yaml")
)
MAX_LENGTH = 2**18
BACKING = re.compile(
    r"(?i)postg|timescale|pgvector|redis|valkey|keydb|dragonfly|rabbitmq|mongo|mysql|mariadb"
    r"|percona|memcache|elasticsearch|opensearch|nats|kafka|redpanda|zookeeper|minio|qdrant"
    r"|cassandra|scylla|clickhouse|neo4j|influxdb|chroma|weaviate|milvus|couchdb|cockroach"
    r"|localstack|arangodb|meilisearch|typesense|etcd"
)
STEP = re.compile(r"(?i)migrat|pre[-_]?start|^(db[-_]?)?(init|seed|setup)|alembic|aerich")
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::?-([^}]*)|[^}]*)\}|\$(\w+)")


@dataclass(frozen=True)
class ComposeService:
    name: str
    line: Line | None
    """Its command; None where that is the image's, or unknown."""
    folder: PurePosixPath | None
    """The folder that its image is made from; None for a ready image."""
    image: str
    is_step: bool = False
    """Whether it ends by itself, and others wait until it has."""


class Compose:
    """The nearest compose file of a project."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @cached_property
    def file(self) -> PurePosixPath | None:
        paths = (folder / name for name in (*FILES, *PRODUCTION) for folder in self.place.folders)
        return next((path for path in paths if self.place.project.is_file(path)), None)

    def own(self) -> Iterator[ComposeService]:
        """The services that are made from the folder that the app is in."""
        folders = {self.place.workdir, self.place.root, *self.place.app_file.parents}
        yield from (service for service in self.services if service.folder in folders)

    def backing(self) -> Iterator[ComposeService]:
        """Databases, brokers and other stores."""
        for service in self.services:
            if service.folder is None and BACKING.search(service.image.rpartition("/")[2]):
                yield service

    @cached_property
    def services(self) -> tuple[ComposeService, ...]:
        tables = _service_tables(self.place.project, self.file) if self.file else {}
        built = {
            image: table["build"]
            for table in tables.values()
            if table.get("build") and (image := _text(table.get("image")))
        }
        found = (self._service(name, table, built) for name, table in tables.items())
        awaited = {name for table in tables.values() for name in _awaited(table)}
        return tuple(
            replace(one, is_step=one.name in awaited or STEP.search(one.name) is not None)
            for one in found
        )

    def _service(self, name: str, table: dict[str, Any], built: dict[str, Any]) -> ComposeService:
        image = _text(table.get("image"))
        build = table.get("build") or built.get(image)
        shown = interpolated(image) or name
        return ComposeService(name, _line(table), self._context(build), shown)

    def _context(self, build: object) -> PurePosixPath | None:
        context = build.get("context", ".") if isinstance(build, dict) else build
        text = interpolated(context) if isinstance(context, str) else None
        if text is None or self.file is None or "://" in text or "\0" in text:
            return None
        return PurePosixPath(os.path.normpath(self.file.parent / text))


def _service_tables(project: Project, file: PurePosixPath) -> dict[str, dict[str, Any]]:
    """The services of a compose file by their names."""
    tables = table_at(_document(project.text(file) or ""), "services")
    known = {str(name): t for name, t in tables.items() if isinstance(t, dict)}
    return {name: _extended(table, known) for name, table in known.items()}


def _document(text: str) -> object:
    import yaml

    try:
        return yaml.load(text, _loader()) if len(text) <= MAX_LENGTH else None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def _loader() -> Any:
    """A safe loader that passes over tags such as compose's `!reset`."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: None)
    return Loader


def _extended(table: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A service with what it takes over from another one of the same file."""
    extends = table.get("extends")
    if isinstance(extends, dict):
        extends = None if "file" in extends else extends.get("service")
    return known.get(extends, {}) | table if isinstance(extends, str) else table


def _awaited(table: dict[str, Any]) -> Iterator[str]:
    """The services that have to end before a service starts."""
    needed = table.get("depends_on")
    for name, how in needed.items() if isinstance(needed, dict) else ():
        if isinstance(how, dict) and how.get("condition") == "service_completed_successfully":
            yield str(name)


def _line(table: dict[str, Any]) -> Line | None:
    words = [*_words(table.get("entrypoint")), *_words(table.get("command"))]
    if not words or None in words:
        return None
    return read_words([word for word in words if word])


def _words(value: object) -> list[str | None]:
    """The words of a command; one that nobody knows here is None."""
    if isinstance(value, list):
        return [interpolated(str(word)) for word in value]
    if not isinstance(value, str):
        return []
    text = interpolated(value)
    try:
        return [None] if text is None else list(shlex.split(text))
    except ValueError:
        return [None]


def interpolated(text: str) -> str | None:
    """The text with the defaults of its variables; None where one has no default."""
    parts: list[str] = []
    end = 0
    for found in _VARIABLE.finditer(text):
        default = "$" if found[0] == "$$" else found[2]
        if default is None:
            return None
        parts += [text[end : found.start()], default]
        end = found.end()
    return "".join([*parts, text[end:]])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# --- what it builds --------------------------------------------------------------------------


@dataclass(frozen=True)
class ComposeBuild:
    """How a compose file builds an image."""

    file: str
    service: str
    dockerfile: PurePosixPath
    """Relative to the project."""
    context: PurePosixPath
    target: str | None
    args: Mapping[str, str]


def compose_builds(project: Project) -> list[ComposeBuild]:
    """The images that the project's compose file builds."""
    file = next((name for name in FILES if project.is_file(PurePosixPath(name))), None)
    tables = _service_tables(project, PurePosixPath(file)) if file else {}
    builds = (_compose_build(str(file), name, table) for name, table in tables.items())
    return [build for build in builds if build]


def _compose_build(file: str, service: str, table: dict[str, Any]) -> ComposeBuild | None:
    build = table.get("build")
    build = {"context": build} if isinstance(build, str) else build
    if not isinstance(build, dict):
        return None
    context = PurePosixPath(str(build.get("context", ".")))
    path = os.path.normpath(context / str(build.get("dockerfile", "Dockerfile")))
    target = build.get("target")
    return ComposeBuild(
        file=file,
        service=service,
        dockerfile=PurePosixPath(path),
        context=context,
        target=target if isinstance(target, str) else None,
        args=dict(_arguments(build.get("args"))),
    )


def _arguments(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield from ((str(name), str(given)) for name, given in value.items() if given is not None)
    elif isinstance(value, list):
        for item in value:
            name, equals, given = str(item).partition("=")
            if equals:
                yield name, given
