"""The generated parts of configuration.md, commands.md and dockerfile.md.

They are read off the code, between two markers; what stands around them is written by hand.
`UPDATE_DOCS=1 pytest tests/unit/test_docs.py` or `python -m docs._generate` writes them, and
tests/unit/test_docs.py fails while they are not what the code says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

HERE = Path(__file__).parent
BEGIN = "<!-- generated: begin (written by `UPDATE_DOCS=1 pytest tests/unit/test_docs.py`) -->\n"
END = "<!-- generated: end -->"
Json = dict[str, Any]

TABLES = (
    ("", "", "Config"),
    ("build", "build", "BuildSettings"),
    ("services", "services.NAME", "Service"),
    ("services.healthcheck", "services.NAME.healthcheck", "HealthCheck"),
    ("services.restart", "services.NAME.restart", "Restart"),
    ("services.update", "services.NAME.update", "Update"),
    ("services.placement", "services.NAME.placement", "Placement"),
    ("services.publish", "services.NAME.publish", "Publish"),
    ("services.logging", "services.NAME.logging", "Logging"),
    ("proxy", "proxy", "ProxySettings"),
    ("swarm", "swarm", "SwarmSettings"),
    ("release", "release", "ReleaseStep"),
    ("nomad", "nomad", "NomadSettings"),
)
"""Path of a table, its heading, its model."""


def updated(page: str) -> tuple[str, str]:
    """The text of a page as it is, and as it should be."""
    text = (HERE / page).read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return text, f"{before}{BEGIN}{PAGES[page]()}{END}{after}"


def write(page: str) -> None:
    (HERE / page).write_text(updated(page)[1], encoding="utf-8")


# --- configuration -------------------------------------------------------------------------------


def configuration() -> str:
    """Every key that can be written, by table."""
    from deploytool.config import schema

    described = schema()
    models: Json = described["$defs"] | {"Config": described}
    return "\n".join(line for table in TABLES for line in _table(*table, models))


def _table(path: str, heading: str, model: str, models: Json) -> Iterator[str]:
    yield f"### `[tool.deploytool{'.' if heading else ''}{heading}]`"
    yield ""
    yield _plain(models[model]["description"])
    yield ""
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    tables = {known: title for known, title, _ in TABLES}
    required = models[model].get("required", ())
    for key, field in models[model]["properties"].items():
        full = f"{path}.{key}" if path else key
        kind = _type(field, models)
        default = "required" if key in required else _default(field)
        meaning = _plain(field.get("description", ""))
        if full in tables:
            link = f"[`{tables[full]}`](#{_anchor(tables[full])})"
            kind, default = "list of tables" if kind.startswith("list") else "table", ""
            meaning = f"{meaning} See {link}.".strip()
        yield f"| `{key}` | {kind} | {default} | {meaning} |"
    yield ""


def _anchor(heading: str) -> str:
    return f"tooldeploytool{heading}".replace(".", "").lower()


def _plain(text: str) -> str:
    """One line for a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _type(field: Json, models: Json) -> str:
    """The type in the words of somebody who writes TOML."""
    if choices := field.get("anyOf", field.get("oneOf")):
        return " or ".join(_type(c, models) for c in choices if c.get("type") != "null")
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "$ref" in field:
        return _type(models[field["$ref"].rpartition("/")[2]], models)
    if "enum" in field:
        return " or ".join(f'`"{value}"`' for value in field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'], models)}"
        case "object":
            inner = field.get("additionalProperties")
            return f"table of {_type(inner, models)}" if isinstance(inner, dict) else "table"
        case "integer" | "number" as number:
            return f"{number}{_bounds(field)}"
        case "boolean":
            return "`true` or `false`"
    return {"30s": "duration", "256MiB": "memory"}.get(_example(field), "text")


def _example(field: Json) -> str:
    return str(next(iter(field.get("examples", ())), ""))


def _bounds(field: Json) -> str:
    if "exclusiveMinimum" in field:
        return f", more than {field['exclusiveMinimum']:g}, up to {field['maximum']:g}"
    return f", {field['minimum']:g} to {field['maximum']:g}" if "maximum" in field else ""


def _default(field: Json) -> str:
    from deploytool.units import format_duration, format_memory

    value = field.get("default")
    if value is None or value == {}:
        return "none"
    if isinstance(value, int) and _example(field) == "30s":
        value = format_duration(value)
    if isinstance(value, int) and _example(field) == "256MiB":
        value = format_memory(value)
    return f"`{json.dumps(value)}`"


# --- commands ------------------------------------------------------------------------------------

SHARED = ("env", "as_json", "verbose", "yes")


def commands() -> str:
    """Every command with its arguments and options, in the order of --help."""
    import typer

    from deploytool.cli import app

    leaves = list(_leaves(typer.main.get_command(app), ()))
    shared = [p for p in leaves[0][1].params if p.name in SHARED]
    lines = ["### Everywhere", "", *_parameters(shared)]
    for path, command in leaves:
        own = [p for p in command.params if p.name not in SHARED]
        lines += [f"### `deploytool {' '.join(path)}`", "", _plain(command.help), ""]
        lines += ["```text", f"deploytool {' '.join((*path, *_usage(own)))}", "```", ""]
        lines += _parameters([p for p in own if getattr(p, "help", None)])
        lines += _examples(command.epilog or "")
    return "\n".join(lines)


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, child in inner.items():
        yield from _leaves(child, (*path, name))


def _usage(own: list[Any]) -> list[str]:
    options = ["[OPTIONS]"]
    for parameter in own:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            options.append(name if parameter.required or name.startswith("[") else f"[{name}]")
    return options


def _examples(epilog: str) -> list[str]:
    found = [line.strip() for line in epilog.splitlines() if line.startswith("  ")]
    return ["```sh", *found, "```", ""] if found else []


def _parameters(parameters: list[Any]) -> list[str]:
    if not parameters:
        return []
    rows = ["| option | meaning |", "| --- | --- |"]
    for parameter in parameters:
        meaning = _plain(parameter.help or "")
        if parameter.default not in (None, False, ()) and not callable(parameter.default):
            meaning += f" Default: `{parameter.default}`."
        if parameter.envvar:
            meaning += f" Also the variable `{parameter.envvar}`."
        rows.append(f"| {_signature(parameter)} | {meaning} |")
    return [*rows, ""]


def _signature(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    return ", ".join(f"`{name}{value}`" for name in parameter.opts)


def _value(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    if choices := get_args(annotation) if get_origin(annotation) is Literal else ():
        return "\\|".join(choices)
    return str(parameter.metavar or {int: "N", list[str]: "NAME"}.get(annotation, "TEXT"))


# --- Dockerfiles ---------------------------------------------------------------------------------

APP = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
def read_health():
    return {"status": "ok"}
"""
UV = """\
[project]
name = "items"
version = "0.1.0"
requires-python = ">=3.13"
dependencies = ["fastapi[standard]"]
"""
POETRY = """\
[tool.poetry]
name = "items"

[tool.poetry.dependencies]
python = "^3.13"
fastapi = { version = "*", extras = ["standard"] }
"""
LOCKED = 'version = 1\n\n[[package]]\nname = "uvicorn"\nversion = "0.38.0"\n'
PDM = """\
[[package]]
name = "uvicorn"
version = "0.38.0"
"""
PIPFILE = """\
[packages]
fastapi = { version = "*", extras = ["standard"] }

[requires]
python_version = "3.13"
"""
PIPENV = '{"default": {"uvicorn": {"version": "==0.38.0"}}, "develop": {}}'
PROJECTS = {
    "uv": {"app/main.py": APP, "pyproject.toml": UV, "uv.lock": LOCKED},
    "Poetry": {"app/main.py": APP, "pyproject.toml": POETRY, "poetry.lock": LOCKED},
    "PDM": {"app/main.py": APP, "pyproject.toml": UV, "pdm.lock": PDM},
    "Pipenv": {"app/main.py": APP, "Pipfile": PIPFILE, "Pipfile.lock": PIPENV},
    "requirements.txt": {"app/main.py": APP, "requirements.txt": "fastapi[standard]\n"},
    "A single file": {"main.py": APP},
}
"""The smallest project of each kind."""


def dockerfiles() -> str:
    """What `deploytool init` writes for each kind of project: the first whole, of the others the
    stages that install the dependencies."""
    texts = {kind: _dockerfile(files) for kind, files in PROJECTS.items()}
    lines = []
    for number, (kind, text) in enumerate(texts.items()):
        shown = text if number == 0 else text.partition("FROM base AS code")[0].rstrip() + "\n"
        lines += [f"### {kind}", "", "```dockerfile", *shown.splitlines(), "```", ""]
    return "\n".join(lines)


def _dockerfile(files: dict[str, str]) -> str:
    from tempfile import TemporaryDirectory

    from deploytool.init import inspect_project, plan_files

    with TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        planned = plan_files(inspect_project(Path(folder), offline=True))
    return next(file.text for file in planned if file.path == "Dockerfile")


PAGES = {
    "configuration.md": configuration,
    "commands.md": commands,
    "dockerfile.md": dockerfiles,
}

if __name__ == "__main__":
    for name in PAGES:
        write(name)
