"""The fields of pydantic settings that have no default, and the variables that fill them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from deploytool.discover.names import External, LocalClass, Names
from deploytool.discover.settings.environment import variable_read
from deploytool.discover.settings.setting import (
    Reads,
    Setting,
    is_secret_name,
    is_store_address,
)
from deploytool.discover.source import Scope

VERSION_1 = frozenset({"pydantic.BaseSettings", "pydantic.env_settings.BaseSettings"})
ALIASES = ("validation_alias", "alias")
SECRETS_FOLDER = "/run/secrets"
MAX_DEPTH = 12


@dataclass(frozen=True)
class Field:
    """A field as its class, or a class that it is derived from, writes it."""

    name: str
    required: bool
    variable: str | None = None
    """The variable where it is named: by an alias, or by the default that reads it."""


@dataclass(frozen=True)
class Class:
    """The settings of a class together with its base classes."""

    version: Literal[1, 2]
    fields: dict[str, Field] = field(default_factory=dict)
    prefix: str = ""
    case_sensitive: bool = False
    secrets_dir: str | None = None
    own_sources: bool = False
    """Whether a file of settings is read too."""

    def variable(self, one: Field) -> str:
        """The environment variable that fills a field."""
        name = one.variable or self.prefix + one.name
        return name if self.case_sensitive else name.upper()


class Fields:
    """Reads the settings classes of some modules."""

    def __init__(self, names: Names, scopes: Iterable[Scope] = ()) -> None:
        self.names = names
        self.scopes = tuple(scopes)
        self._given: dict[ast.ClassDef, list[set[str]]] = {}

    def find(self) -> Iterator[Setting]:
        classes = [local for scope in self.scopes for local in _classes(scope)]
        settings = [local for local in classes if self.version(local)]
        if not settings:
            return
        self._note_calls()
        derived_from = {base for local in settings for base in self._bases(local)}
        for local in settings:
            if local.node in self._given or local.node not in derived_from:
                yield from self._safely(local)

    def _safely(self, local: LocalClass) -> list[Setting]:
        try:
            return list(self._settings(local))
        except RecursionError:
            return []

    def read(self, local: LocalClass) -> Class | None:
        """The settings of a class; None where it is no class of settings."""
        version = self.version(local)
        return self._read(local, version) if version else None

    def version(self, local: LocalClass, depth: int = 0) -> Literal[1, 2] | None:
        """The version of pydantic whose settings a class is derived from."""
        for base in local.node.bases if depth < MAX_DEPTH else ():
            meaning = self.names.meaning(base, local.scope)
            if isinstance(meaning, External) and meaning.name.endswith(".BaseSettings"):
                old = meaning.name in VERSION_1 or meaning.name.startswith("pydantic.v1.")
                return (1 if old else 2) if meaning.name.startswith("pydantic") else None
            if isinstance(meaning, LocalClass) and (found := self.version(meaning, depth + 1)):
                return found
        return None

    def _bases(self, local: LocalClass) -> Iterator[ast.ClassDef]:
        for base in local.node.bases:
            meaning = self.names.meaning(base, local.scope)
            if isinstance(meaning, LocalClass):
                yield meaning.node

    def _note_calls(self) -> None:
        """Which classes are called, and with which of their fields."""
        for scope in self.scopes:
            for node in (node for statement in scope.body for node in ast.walk(statement)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                    meaning = self.names.meaning(node.func, scope)
                    if isinstance(meaning, LocalClass):
                        given = {keyword.arg or "" for keyword in node.keywords}
                        self._given.setdefault(meaning.node, []).append(given)

    def _settings(self, local: LocalClass) -> Iterator[Setting]:
        read = self.read(local)
        if read is None or read.own_sources:
            return
        given = set.intersection(*self._given.get(local.node, [set()]))
        in_folder = (read.secrets_dir or "").rstrip("/") == SECRETS_FOLDER
        for one in read.fields.values():
            if one.required and one.name not in given:
                name = read.variable(one)
                why = f"{local.node.name}.{one.name} has no default"
                yield Setting(
                    name,
                    str(local.scope.file),
                    is_secret_name(name),
                    why,
                    Reads.SECRETS_FOLDER if in_folder else Reads.SETTINGS,
                )

    def _read(self, local: LocalClass, version: Literal[1, 2], depth: int = 0) -> Class:
        read = Class(version)
        for base in reversed(local.node.bases) if depth < MAX_DEPTH else ():
            meaning = self.names.meaning(base, local.scope)
            if isinstance(meaning, LocalClass):
                read = _merged(read, self._read(meaning, version, depth + 1))
        return self._with_own(read, local)

    def _with_own(self, read: Class, local: LocalClass) -> Class:
        inside = self.names.class_scope(local)
        read = replace(read, fields=dict(read.fields))
        read = self._configured(read, _keywords(local.node.keywords), local.scope)
        for statement in local.node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id="model_config"), value=ast.expr() as value):
                    read = self._configured(read, _options(value), local.scope)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    if not name.startswith("_") and not _is_class_variable(annotation):
                        read.fields[name] = self._field(name, statement, read.version, inside)
                case ast.Assign(targets=[ast.Name(id="model_config")], value=value):
                    read = self._configured(read, _options(value), local.scope)
                case ast.Assign(targets=[ast.Name(id=name)]) if (
                    name in read.fields or read.version == 1
                ):
                    read.fields[name] = Field(name, required=False)
                case ast.ClassDef(name="Config", body=body):
                    read = self._configured(read, _assigned(body), local.scope)
                case ast.FunctionDef(name=name) if "customise_sources" in name:
                    read = replace(read, own_sources=True)
        return read

    def _configured(self, read: Class, options: dict[str, ast.expr], scope: Scope) -> Class:
        texts = {name: self.names.text(value, scope) for name, value in options.items()}
        sensitive = options.get("case_sensitive")
        if isinstance(sensitive, ast.Constant):
            read = replace(read, case_sensitive=bool(sensitive.value))
        if texts.get("env_prefix") is not None:
            read = replace(read, prefix=texts["env_prefix"] or "")
        if "secrets_dir" in options:
            read = replace(read, secrets_dir=texts["secrets_dir"])
        if {"yaml_file", "toml_file", "json_file", "pyproject_toml_table_header"} & options.keys():
            read = replace(read, own_sources=True)
        return read

    def _field(
        self, name: str, statement: ast.AnnAssign, version: Literal[1, 2], scope: Scope
    ) -> Field:
        calls = [call for call in _field_calls(statement) if self._is_field(call, scope)]
        variable = next(filter(None, (self._alias(call, version, scope) for call in calls)), None)
        default = _default(statement.value, calls)
        if default is None:
            optional = version == 1 and _takes_none(statement.annotation)
            return Field(name, not optional, variable)
        is_empty = isinstance(default, ast.Constant) and default.value == ""
        if is_empty and is_store_address(variable or name):
            return Field(name, True, variable)
        if version == 2 and not _takes_none(statement.annotation):
            # Settings check their defaults: None is no text.
            if isinstance(default, ast.Constant) and default.value is None:
                return Field(name, True, variable)
            read = variable_read(default, scope, self.names)
            return Field(name, read is not None, read or variable)
        return Field(name, False, variable)

    def _is_field(self, call: ast.Call, scope: Scope) -> bool:
        meaning = self.names.meaning(call.func, scope)
        return isinstance(meaning, External) and meaning.name.endswith(".Field")

    def _alias(self, call: ast.Call, version: Literal[1, 2], scope: Scope) -> str | None:
        given = _keywords(call.keywords)
        for key in (*ALIASES, "env") if version == 2 else ("env",):
            value = given.get(key) if key != "env" or version == 1 else None
            if isinstance(value, ast.List | ast.Tuple) and value.elts:
                value = value.elts[0]
            if isinstance(value, ast.Call) and value.args:
                value = value.args[0]
            if value is not None and (text := self.names.text(value, scope)):
                return text
        return None


def _classes(scope: Scope) -> Iterator[LocalClass]:
    for bindings in scope.names.values():
        for binding in bindings:
            if isinstance(binding, ast.ClassDef) and binding.bases:
                yield LocalClass(binding, scope)


def _merged(first: Class, then: Class) -> Class:
    """The settings of two base classes together; the second one is named first."""
    return Class(
        first.version,
        first.fields | then.fields,
        then.prefix or first.prefix,
        then.case_sensitive or first.case_sensitive,
        then.secrets_dir or first.secrets_dir,
        then.own_sources or first.own_sources,
    )


def _field_calls(statement: ast.AnnAssign) -> Iterator[ast.Call]:
    """`= Field(…)` and `Annotated[…, Field(…)]`."""
    if isinstance(statement.value, ast.Call):
        yield statement.value
    match statement.annotation:
        case ast.Subscript(slice=ast.Tuple(elts=[_, *metadata])):
            yield from (one for one in metadata if isinstance(one, ast.Call))


def _default(value: ast.expr | None, calls: list[ast.Call]) -> ast.expr | None:
    """The default of a field, or what makes it; None where it has none."""
    if value is not None and value not in calls:
        return None if _is_ellipsis(value) else value
    for call in calls:
        given = _keywords(call.keywords)
        default = next(iter(call.args), given.get("default", given.get("default_factory")))
        if default is not None and not _is_ellipsis(default):
            return default
    return None


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _takes_none(annotation: ast.expr) -> bool:
    """Whether a field of the type may be None, as far as it is known."""
    text = ast.unparse(annotation)
    return any(word in text for word in ("None", "Optional", "Any"))


def _is_class_variable(annotation: ast.expr) -> bool:
    return "ClassVar" in ast.unparse(annotation)


def _keywords(keywords: Iterable[ast.keyword]) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in keywords if keyword.arg}


def _options(value: ast.expr) -> dict[str, ast.expr]:
    """The options of `SettingsConfigDict(…)` or of a plain dict."""
    if isinstance(value, ast.Call):
        return _keywords(value.keywords)
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    return {}


def _assigned(body: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    return {
        target.id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
