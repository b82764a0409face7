"""JSON Schema of the configuration, for editors."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from deploytool import spec
from deploytool.config import model, nomad
from deploytool.config.model import Config
from deploytool.spec import ProxySettings, ReleaseStep, Service


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
    for module in (spec, model, nomad):
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
    for described_model in models:
        properties = definitions[described_model.__name__]["properties"]
        empty: Any = described_model.model_construct
        dumped = empty().model_dump(mode="json", warnings=False)
        for name, described in properties.items():
            if "default" in described:
                described["default"] = dumped[name]
