"""[tool.deploytool] → Config → AppSpec, knowing where each value came from.

Layers, later wins: defaults < file < [environments.NAME] < DEPLOYTOOL_* variables < flags.
"""

import ast
import difflib
import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tomli
from pydantic import AfterValidator, Field, ValidationError

from deploytool import nomad_settings, spec
from deploytool.errors import ConfigError, Problem, UsageError
from deploytool.nomad_settings import NomadSettings
from deploytool.redact import hide_passwords, hide_passwords_in, looks_secret, mask
from deploytool.spec import (
    RESERVED,
    AppSpec,
    Backend,
    Line,
    Model,
    Name,
    ProxySettings,
    ReleaseStep,
    Service,
    needs_entrypoint,
)

_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}
FREE_KEYS = ("env", "args", "labels")
"""Tables whose keys are the user's own: their case is kept and they are never unknown."""


def _not_reserved(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"{value!r} is the name of deploytool's own app: choose another name")
    return value


def _registry(value: str) -> str:
    bare = value.removesuffix("/")
    if "://" in bare or not bare or any(c.isspace() for c in bare) or bare != bare.lower():
        raise ValueError(
            f"{value!r} is not a registry: write host[:port]/path in lower case, without https://"
        )
    return bare


OWN_LABELS = ("deploytool.", "com.docker.stack.")
"""What labels begin with that say which app a service is of, and what it is there for."""


def _no_own_labels(services: dict[str, Service]) -> dict[str, Service]:
    for name, service in services.items():
        if own := [key for key in service.labels if key.lower().startswith(OWN_LABELS)]:
            raise ValueError(f"{name}.labels sets {own[0]}, which is deploytool's to set")
    return services


class BuildSettings(Model):
    """How the image is built."""

    dockerfile: Line = "Dockerfile"
    """The Dockerfile, relative to the project."""
    context: Line = "."
    """The folder that is sent to the builder, relative to the project."""
    platforms: tuple[Line, ...] = ()
    """Platforms to build for, for example "linux/amd64"; by default the builder's own."""
    args: dict[Line, str] = Field(default_factory=dict)
    """Build arguments. Never secrets: they stay in the image's history."""
    target: Line | None = None
    """Stage of the Dockerfile; by default the last."""


class SwarmSettings(Model):
    """Where the Swarm is; by default where the docker command line would look."""

    host: Line | None = None
    """A manager's engine, for example "ssh://deploy@manager.example.com". "tcp://" needs TLS, by
    DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as for the docker command line."""
    context: Line | None = None
    """A context of the docker command line."""


_ENTRYPOINT = r"^[^\s:](?:[^:\x00-\x1f]*[^\s:])?:[A-Za-z_][\w.]*(\(\))?$"
"""Python imports modules whose names cannot be written in its own code too, such as "my-api"."""


class Config(Model):
    """Everything that can be written under [tool.deploytool]."""

    app: Annotated[Name, AfterValidator(_not_reserved)]
    """Names the stack or job. "proxy" is deploytool's own."""
    backend: Backend = Backend.SWARM
    """The cluster: "swarm" or "nomad"."""
    registry: Annotated[Line, AfterValidator(_registry)] = "localhost:5000"
    """Where images are pushed; the app's name is appended."""
    entrypoint: Annotated[str, Field(pattern=_ENTRYPOINT)] | None = None
    """module:object of the FastAPI app, or module:function() where a function makes it; default:
    [tool.fastapi] entrypoint, else the source."""
    build: BuildSettings = BuildSettings()
    release: ReleaseStep | None = None
    services: Annotated[dict[str, Service], Field(min_length=1), AfterValidator(_no_own_labels)]
    """The app's processes, by name."""
    swarm: SwarmSettings = SwarmSettings()
    nomad: NomadSettings = NomadSettings()
    proxy: ProxySettings = ProxySettings()
    environments: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """What is different in an environment: any of the keys above, chosen with --env."""


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
        for service in dumped["services"].values():
            del service["name"]
        for path, value in _flatten(dumped):
            shown = mask(path, value) if isinstance(value, str) else hide_passwords_in(value)
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
                    found[source] = _read_file(self.project / source)
                except ValueError as error:
                    where = _join(("services", service.name, "files", target))
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
                services=tuple(config.services[name] for name in sorted(config.services)),
                release=config.release,
                proxy=config.proxy,
                files={
                    path: hashlib.sha256(content).hexdigest()
                    for path, content in sorted(self.files.items())
                },
            )
        except ValidationError as error:
            raise ConfigError(_problems(error, {}), source=self.file.name) from None

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
    file, table, fastapi_entrypoint = _read(start)
    if _depth(table) > _DEEPEST:
        raise ConfigError([Problem("", "tables are nested too deeply")], source=str(_shown(file)))
    layers = _Layers(file.name)
    layers.add(_without(table, "environments"), file.name)
    environments = table.get("environments", {})
    problems = _check_environments(environments, environment, file.name)
    if environment is not None and not problems and isinstance(environments, dict):
        layers.add(environments[environment], f"{file.name} [environments.{environment}]")
    warnings = layers.add_variables(environ)
    for path, (flag, value) in (flags or {}).items():
        layers.set(path.split("."), value, flag)
    problems += _validate_other_environments(table, environments, environment)
    problems += _named_twice(layers.merged)
    config = None
    try:
        config = Config.model_validate(_named(layers.merged) | {"environments": environments})
    except ValidationError as error:
        problems = _problems(error, layers.sources) + problems
    if problems or config is None:
        raise ConfigError(_unique(problems), source=str(_shown(file)))
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


def _read_file(path: Path) -> bytes:
    """The content of a configuration file. Raises ValueError with what is wrong with it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if not content:
        raise ValueError("is empty, and a cluster keeps no empty file")
    if len(content) >= LARGEST_FILE:
        raise ValueError("is too large: a cluster keeps files of less than 500 KiB")
    return content


def schema() -> dict[str, Any]:
    """JSON Schema of [tool.deploytool], for editors."""
    described = Config.model_json_schema()
    service = described["$defs"]["Service"]
    del service["properties"]["name"]
    service.pop("required", None)
    _write_defaults(described["$defs"])
    _write_meanings(described)
    described["title"] = "deploytool"
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return described


def _write_meanings(described: dict[str, Any]) -> None:
    """Each key's docstring becomes its description. They are read here, from the source, because
    having pydantic do it costs every command a fifth of a second."""
    tables = described["$defs"] | {"Config": described}
    for module in (spec, nomad_settings, sys.modules[__name__]):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and node.name in tables:
                for name, meaning in _documented(node):
                    if name in tables[node.name].get("properties", {}):
                        tables[node.name]["properties"][name]["description"] = meaning


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The attributes of a class that have a docstring, and what it says."""
    for field, text in pairwise(node.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield field.target.id, inspect.cleandoc(text.value.value)


def _write_defaults(definitions: dict[str, Any]) -> None:
    """Defaults as people write them: "5s" and not 5000."""
    models = (
        *(spec.HealthCheck, spec.Restart, spec.Update, spec.Logging),
        *(Service, ReleaseStep, ProxySettings),
    )
    for model in models:
        properties = definitions[model.__name__]["properties"]
        empty: Any = model.model_construct
        dumped = empty().model_dump(mode="json", warnings=False)
        for name, described in properties.items():
            if "default" in described:
                described["default"] = dumped[name]


def _read(start: Path) -> tuple[Path, dict[str, Any], str | None]:
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


_DEEPEST = 50
"""Levels of tables and lists. The schema has ten."""


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        depth += 1
        tables = [node.values() if isinstance(node, dict) else node for node in level]
        level = [v for table in tables for v in table if isinstance(v, dict | list)]
    return depth


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))
    except tomli.TOMLDecodeError as error:
        problem = Problem("", f"not valid TOML: {error}")
    except UnicodeDecodeError:
        problem = Problem("", "not valid TOML: the file is not UTF-8 text")
    except RecursionError:
        problem = Problem("", "not valid TOML: nested too deeply")
    except (OSError, ValueError) as error:
        problem = Problem("", f"cannot be read: {error}")
    raise ConfigError([problem], source=str(_shown(file)), code="config_unreadable")


def _table(value: object, file: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ConfigError([Problem("tool.deploytool", "must be a table")], source=str(_shown(file)))


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _without(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


class _Layers:
    """Tables merged one over the other, and who set what."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.merged: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def add(self, table: Mapping[str, Any], source: str) -> None:
        for path, value in _leaves(table):
            if value != {} or not self._has_table(path):
                self.set(path, value, source)

    def _has_table(self, path: Sequence[str]) -> bool:
        node: Any = self.merged
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return isinstance(node, dict)

    def set(self, path: Sequence[str], value: Any, source: str) -> None:
        table = self.merged
        for key in path[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        written = _join(path)
        if isinstance(table.get(path[-1]), dict):
            for inner in [known for known in self.sources if known.startswith(f"{written}.")]:
                del self.sources[inner]
        table[path[-1]] = {} if value == {} else value
        self.sources[written] = source

    def add_variables(self, environ: Mapping[str, str]) -> list[str]:
        """DEPLOYTOOL_SERVICES__WEB__REPLICAS=6 sets services.web.replicas."""
        warnings = []
        for name in sorted(environ):
            if not name.startswith("DEPLOYTOOL_") or name in _OWN_VARIABLES:
                continue
            path = self._variable_path(name)
            if path[0] in Config.model_fields and path[0] != "environments":
                self.set(path, _variable_value(path, environ[name]), name)
            elif close := difflib.get_close_matches(path[0], Config.model_fields, 1, 0.75):
                warnings.append(f"{name} sets nothing; did you mean DEPLOYTOOL_{close[0].upper()}?")
        return warnings

    def _variable_path(self, name: str) -> list[str]:
        path: list[str] = []
        rest = name.removeprefix("DEPLOYTOOL_")
        while rest:
            if _is_free(path):
                path.append(rest)
                break
            segment, _, rest = rest.partition("__")
            path.append(segment.lower())
        services = self.merged.get("services")
        if len(path) > 1 and path[0] == "services" and isinstance(services, dict):
            hyphened = path[1].replace("_", "-")
            path[1] = hyphened if hyphened in services else path[1]
        return [segment or "_" for segment in path] or ["_"]


_OWN_VARIABLES = {"DEPLOYTOOL_ENV"}


def _is_free(path: Sequence[str]) -> bool:
    """Whether the keys of the table at a path are the user's own."""
    return list(path) in (["build", "args"], ["proxy", "env"]) or (
        len(path) == 3 and path[0] == "services" and path[2] in FREE_KEYS
    )


def _variable_value(path: Sequence[str], text: str) -> Any:
    """A number, true, false, a list or a table as TOML writes it; anything else is text, and so
    is everything where text is meant."""
    if _is_free(path[:-1]):
        return text
    try:
        table = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = table.pop("value")
    if isinstance(value, str):
        return value
    is_deep = _depth([value]) > _DEEPEST
    return text if table or is_deep or _takes_text(path) else value


def _takes_text(path: Sequence[str]) -> bool:
    """Whether the key at a path is text and nothing else."""
    described = schema()
    node = _described(path, described)
    kinds = {choice.get("type") for choice in node.get("anyOf", [node])} - {"null"}
    return kinds == {"string"}


def _leaves(
    table: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths and values of a table of tables. An empty table is a value of its own."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _join(path: Sequence[str]) -> str:
    """The path as it is written in TOML."""
    return ".".join(map(_quoted, path))


def _quoted(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text)


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{_quoted(key)}" if path else _quoted(key))
    else:
        yield path, value


def _named(table: dict[str, Any]) -> dict[str, Any]:
    """The table with each service told its own name. A name that a user wrote stays an error."""
    services = table.get("services")
    if not isinstance(services, dict):
        return table
    named = {
        name: service | {"name": name} if isinstance(service, dict) else service
        for name, service in services.items()
    }
    return table | {"services": named}


def _named_twice(table: Mapping[str, Any]) -> list[Problem]:
    services = table.get("services")
    return [
        Problem(
            f"services.{_quoted(name)}.name", "unknown key 'name'", "the table's own name names it"
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
        hint = f"add [tool.deploytool.environments.{chosen}] to {file}"
    else:
        hint = f"there are: {', '.join(sorted(environments))}"
    return [Problem(f"environments.{_quoted(chosen)}", "there is no such environment", hint)]


def _validate_other_environments(
    table: Mapping[str, Any], environments: object, chosen: str | None
) -> list[Problem]:
    """A mistake in an environment is told whichever environment is asked for."""
    if not isinstance(environments, dict):
        return []
    base = set(_problems_of(_without(table, "environments"), {}))
    problems = []
    for name, changes in environments.items():
        if name == chosen or not isinstance(changes, dict):
            continue
        layers = _Layers("")
        layers.add(_without(table, "environments"), "")
        layers.add(changes, name)
        problems += [
            Problem(f"environments.{_quoted(name)}.{problem.path}", problem.message, problem.hint)
            for problem in _problems_of(layers.merged, layers.sources)
            if problem not in base
        ]
    return problems


def _problems_of(table: dict[str, Any], sources: Mapping[str, str]) -> list[Problem]:
    try:
        Config.model_validate(_named(table))
    except ValidationError as error:
        return _problems(error, sources)
    return []


def _problems(error: ValidationError, sources: Mapping[str, str]) -> list[Problem]:
    return [_problem(dict(item), sources) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], sources: Mapping[str, str]) -> Problem:
    path = _path(item["loc"])
    kind: str = item["type"]
    message, hint = _say(kind, path, item)
    message = hide_passwords(message)
    source = sources.get(path, "")
    if source.startswith(("DEPLOYTOOL_", "--")):
        message = f"{message} [set by {source}]"
    return Problem(path, message, hint)


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        if part in ("[key]", "[list]", "[text]"):
            continue
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{_quoted(part)}"
    return path


def _say(kind: str, path: str, item: dict[str, Any]) -> tuple[str, str]:
    """What is wrong, in words, and what would be right."""
    context = item.get("ctx", {})
    given = "" if _is_private(path) else f", not {_short(item['input'])}"
    if kind == "missing":
        return "is missing", ""
    if kind == "extra_forbidden":
        return _unknown_key(item["loc"])
    if kind == "value_error":
        message = str(context["error"])
        return message.replace(repr(item["input"]), "this") if _is_private(path) else message, ""
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}{given}", ""
    if kind == "string_pattern_mismatch":
        return f"is not written right{given and ': ' + given[6:]}", _PATTERNS.get(
            path.rpartition(".")[2].partition("[")[0], f"it has to match {context['pattern']}"
        )
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", ""
    for name, bound in (("ge", "at least"), ("gt", "more than"), ("le", "at most")):
        if name in context:
            return f"must be {bound} {context[name]:g}{given}", ""
    for name, words in _TYPE_NAMES.items():
        if kind.startswith(f"{name}_"):
            return f"must be {words}{given}", ""
    return f"{item['msg'][0].lower()}{item['msg'][1:]}{given}", ""


_PATTERNS = {
    "entrypoint": 'write "module:object", for example "app.main:app"',
    "path": 'start with a slash, for example "/health"',
    "path_prefix": 'start with a slash, for example "/api"',
    "constraints": 'write "attribute == value", for example "node.labels.disk == ssd"',
    "email": 'write an address, for example "ops@example.com"',
    "acme_directory": "write an address that begins with https://",
    "dns_provider": 'write lego\'s name of it, for example "cloudflare"',
    "dns_resolvers": 'write "address:port", for example "1.1.1.1:53"',
    "templates": 'write "env.NAME", with the name of a variable, or "volumes"',
    "address": 'write it with http:// or https://, for example "https://nomad.example.com:4646"',
    "namespace": "use up to 128 letters, digits and hyphens",
    "node_pool": "use up to 128 letters, digits, hyphens and underscores",
    "capabilities": 'write the capability in capitals, for example "NET_BIND_SERVICE"',
}


def _is_private(path: str) -> bool:
    return any(f".{key}." in f".{path}." for key in FREE_KEYS) or looks_secret(path)


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _unknown_key(location: Sequence[int | str]) -> tuple[str, str]:
    key = str(location[-1])
    known = _known_keys(location[:-1])
    if close := difflib.get_close_matches(key, known, 1, 0.6):
        return f"unknown key {key!r}", f"did you mean {close[0]!r}?"
    return f"unknown key {key!r}", f"known here: {', '.join(sorted(known))}" if known else ""


def _known_keys(location: Sequence[int | str]) -> list[str]:
    """The keys of the table at a location, read off the models."""
    node = _described(location, schema())
    return [name for name in node.get("properties", ()) if name != "name"]


def _described(location: Sequence[int | str], described: dict[str, Any]) -> dict[str, Any]:
    """What the schema says of a location; empty where it says nothing."""
    node, definitions = described, described["$defs"]
    for part in location:
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            additional = node.get("additionalProperties")
            node = additional if isinstance(additional, dict) else {}
        node = _resolve(node, definitions)
    return node


def _resolve(node: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    for choice in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
        if "$ref" in choice:
            return dict(definitions[choice["$ref"].rpartition("/")[2]])
    return node


def _unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
