"""The job as HCL, formatted as `nomad fmt` does, for people and reviews. Pure.

It says what the JSON says: names are those in the `hcl` tags of Nomad's Go types. What spans lines
stands apart, as the formatter aligns what does not (`hclwrite.Format` in hashicorp/hcl).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from deploytool.json_types import Json
from deploytool.units import format_duration

DURATIONS = frozenset(
    {"Delay", "Grace", "HealthyDeadline", "Interval", "KillTimeout", "LostAfter", "MaxDelay"}
    | {"MinHealthyTime", "ProgressDeadline", "ShutdownDelay", "Splay", "Timeout"}
)
WIDTH = 100
"""Characters of a line beyond which a list has one item a line."""


@dataclass(frozen=True)
class Block:
    """A block of a job file: what it is called, and what is in it."""

    name: str
    fields: Mapping[str, Block | str]
    """Name in JSON → an attribute's name, or a block."""
    label: str = ""
    """The field that stands beside the block's name."""


NAMES = Block("", {"*": ""})
"""A block whose attributes are names of somebody's own."""
CONSTRAINT = Block(
    "constraint", {"LTarget": "attribute", "Operand": "operator", "RTarget": "value"}
)
CHECK = Block(
    "check",
    {
        "Name": "name",
        "Type": "type",
        "Path": "path",
        "Method": "method",
        "PortLabel": "port",
        "Interval": "interval",
        "Timeout": "timeout",
        "OnUpdate": "on_update",
        "Header": Block("header", NAMES.fields),
        "CheckRestart": Block(
            "check_restart",
            {"Limit": "limit", "Grace": "grace", "IgnoreWarnings": "ignore_warnings"},
        ),
    },
)
SERVICE = Block(
    "service",
    {
        "Name": "name",
        "Provider": "provider",
        "PortLabel": "port",
        "AddressMode": "address_mode",
        "OnUpdate": "on_update",
        "Tags": "tags",
        "CanaryTags": "canary_tags",
        "Checks": CHECK,
    },
)
TEMPLATE = Block(
    "template",
    {
        "DestPath": "destination",
        "EmbeddedTmpl": "data",
        "LeftDelim": "left_delimiter",
        "RightDelim": "right_delimiter",
        "ChangeMode": "change_mode",
        "Splay": "splay",
        "Perms": "perms",
        "Envvars": "env",
        "ErrMissingKey": "error_on_missing_key",
        "Once": "once",
    },
)
TASK = Block(
    "task",
    {
        "Driver": "driver",
        "User": "user",
        "KillTimeout": "kill_timeout",
        "KillSignal": "kill_signal",
        "ShutdownDelay": "shutdown_delay",
        "Config": Block("config", NAMES.fields),
        "Env": Block("env", NAMES.fields),
        "Meta": "meta",
        "Identity": Block("identity", {"Env": "env", "File": "file"}),
        "Services": SERVICE,
        "Templates": TEMPLATE,
        "Resources": Block(
            "resources", {"CPU": "cpu", "MemoryMB": "memory", "MemoryMaxMB": "memory_max"}
        ),
        "LogConfig": Block(
            "logs",
            {"MaxFiles": "max_files", "MaxFileSizeMB": "max_file_size", "Disabled": "disabled"},
        ),
    },
    label="Name",
)
PORT = Block("port", {"Value": "static", "To": "to"}, label="Label")
GROUP = Block(
    "group",
    {
        "Count": "count",
        "Meta": "meta",
        "Constraints": CONSTRAINT,
        "Spreads": Block("spread", {"Attribute": "attribute", "Weight": "weight"}),
        "Update": Block(
            "update",
            {
                "MaxParallel": "max_parallel",
                "HealthCheck": "health_check",
                "MinHealthyTime": "min_healthy_time",
                "HealthyDeadline": "healthy_deadline",
                "ProgressDeadline": "progress_deadline",
                "AutoRevert": "auto_revert",
                "AutoPromote": "auto_promote",
                "Canary": "canary",
                "Stagger": "stagger",
            },
        ),
        "RestartPolicy": Block(
            "restart",
            {
                "Attempts": "attempts",
                "Interval": "interval",
                "Delay": "delay",
                "Mode": "mode",
                "RenderTemplates": "render_templates",
            },
        ),
        "ReschedulePolicy": Block(
            "reschedule",
            {
                "Attempts": "attempts",
                "Interval": "interval",
                "Delay": "delay",
                "DelayFunction": "delay_function",
                "MaxDelay": "max_delay",
                "Unlimited": "unlimited",
            },
        ),
        "Disconnect": Block(
            "disconnect",
            {"LostAfter": "lost_after", "Replace": "replace", "Reconcile": "reconcile"},
        ),
        "Migrate": Block(
            "migrate",
            {
                "MaxParallel": "max_parallel",
                "HealthCheck": "health_check",
                "MinHealthyTime": "min_healthy_time",
                "HealthyDeadline": "healthy_deadline",
            },
        ),
        "EphemeralDisk": Block(
            "ephemeral_disk", {"SizeMB": "size", "Sticky": "sticky", "Migrate": "migrate"}
        ),
        "Networks": Block("network", {"Mode": "mode", "DynamicPorts": PORT, "ReservedPorts": PORT}),
        "Tasks": TASK,
    },
    label="Name",
)
JOB = Block(
    "job",
    {
        "Name": "name",
        "Type": "type",
        "Region": "region",
        "Namespace": "namespace",
        "Datacenters": "datacenters",
        "NodePool": "node_pool",
        "Priority": "priority",
        "AllAtOnce": "all_at_once",
        "Meta": "meta",
        "TaskGroups": GROUP,
    },
    label="ID",
)


def render(job: Json) -> str:
    """The text of a job. Raises KeyError for a field that it has no name for."""
    return "".join(f"{line}\n" for line in _block(JOB, job, ""))


def _block(block: Block, value: Json, indent: str) -> list[str]:
    label = f" {_quoted(value[block.label])}" if block.label else ""
    body = _body(block, value, f"{indent}  ")
    return [f"{indent}{block.name}{label} {{", *body, f"{indent}}}"]


def _body(block: Block, value: Json, indent: str) -> list[str]:
    """Attributes that are one line together and aligned; all else each by itself."""
    short: list[tuple[str, str]] = []
    apart: list[list[str]] = []
    for name, item in _ordered(block, value):
        kind = block.fields.get(name, "" if "*" in block.fields else None)
        if kind is None:
            raise KeyError(f"{block.name} has no {name} in HCL")
        if isinstance(kind, Block):
            items = item if isinstance(item, list) else [item]
            apart += [_block(kind, each, indent) for each in items]
        elif _is_blocks(item):
            inner = Block(name, NAMES.fields)
            apart += [_block(inner, each, indent) for each in item]
        else:
            lines = _value(item, indent, is_duration=name in DURATIONS | {"Stagger"})
            is_long = isinstance(item, list) and len(indent + name + lines[0]) > WIDTH
            is_text = isinstance(item, str) and is_heredoc(item)
            if len(lines) == 1 and not is_long and not is_text:
                short.append((kind or name, lines[0]))
            else:
                lines = _value(item, indent, is_wide=True, is_duration=False)
                apart.append([f"{indent}{kind or name} = {lines[0]}", *lines[1:]])
    return _paragraphs(short, apart, indent)


def _ordered(block: Block, value: Json) -> Iterator[tuple[str, Any]]:
    """The fields in the order of the block's own; names of somebody's own by name."""
    if "*" in block.fields:
        yield from sorted(value.items(), key=lambda item: (item[0] != "image", item[0]))
        return
    yield from ((name, value[name]) for name in block.fields if name in value)
    yield from ((k, v) for k, v in value.items() if k not in block.fields and k != block.label)


def _paragraphs(
    short: Sequence[tuple[str, str]], apart: Sequence[Sequence[str]], indent: str
) -> list[str]:
    width = max((len(name) for name, _ in short), default=0)
    found = [f"{indent}{name:<{width}} = {text}" for name, text in short]
    for lines in apart:
        if found:
            found.append("")
        found += lines
    return found


def _is_blocks(item: Any) -> bool:
    """Whether a driver's setting is a block that repeats: Nomad makes lists of tables of those."""
    return isinstance(item, list) and bool(item) and all(isinstance(i, dict) for i in item)


def _value(
    value: Any, indent: str, *, is_wide: bool = False, is_duration: bool = False
) -> list[str]:
    if isinstance(value, dict):
        return _table(value, indent)
    if isinstance(value, list):
        items = [_scalar(item) for item in value]
        if not is_wide:
            return [f"[{', '.join(items)}]"]
        return ["[", *(f"{indent}  {item}," for item in items), f"{indent}]"]
    if is_wide and isinstance(value, str) and is_heredoc(value):
        return _heredoc(value)
    return [_quoted(format_duration(value // 1_000_000)) if is_duration else _scalar(value)]


def _table(value: Json, indent: str) -> list[str]:
    keys = {_quoted(key): _scalar(item) for key, item in sorted(value.items())}
    width = max(map(len, keys))
    return ["{", *(f"{indent}  {k:<{width}} = {v}" for k, v in keys.items()), f"{indent}}}"]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(value)


NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
TEMPLATES = re.compile(r"([$%]+)\{")


@lru_cache(maxsize=10_000)
def _quoted(text: str) -> str:
    """A text in quotes that HCL reads as it is."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    if "{" in inner:
        inner = TEMPLATES.sub(_escaped, inner)
    return f'"{inner if inner.isprintable() else "".join(map(_printable, inner))}"'


def _escaped(found: re.Match[str]) -> str:
    """`${` is written `$${`. Where more signs come before it, they are written by their number, as
    the first two would be read as the escape."""
    signs = found[1]
    if len(signs) == 1:
        return f"{signs}{signs}{{"
    return "".join(f"\\u{ord(sign):04x}" for sign in signs) + "{"


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    numbered = f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return NAMED.get(character, numbered)


def is_heredoc(text: str) -> bool:
    """Whether a text reads best as the lines that it has, and HCL reads it back the same."""
    return (
        text.count("\n") > 1
        and text.endswith("\n")
        and all(c.isprintable() or c in "\n\t" for c in text)
        and not any(len(found) > 1 for found in TEMPLATES.findall(text))
        and not any(line.strip() == END for line in text.splitlines())
    )


END = "EOF"


def _heredoc(text: str) -> list[str]:
    body = TEMPLATES.sub(lambda found: f"{found[1]}{found[1]}{{", text)
    return [f"<<{END}", *body.split("\n")[:-1], END]
