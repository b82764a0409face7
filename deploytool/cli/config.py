"""`config show` and `config schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deploytool.cli.common import Session, ShowValues, command, command_group

if TYPE_CHECKING:
    from rich.console import Console


@command("show", "deploytool config show", "deploytool config show --env production --json")
def show(session: Session, show_values: ShowValues = False) -> None:
    """Print every effective value and where it came from."""
    from deploytool.diff import hidden_setting

    settings = [
        setting
        if show_values
        else setting._replace(value=hidden_setting(setting.path, setting.value))
        for setting in session.config.settings()
    ]

    def human(console: Console) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="quiet")
        for title in ("key", "value", "source"):
            table.add_column(title, overflow="fold")
        for setting in settings:
            style = "quiet" if setting.source == "default" else ""
            value = json.dumps(setting.value, ensure_ascii=False)
            table.add_row(setting.path, value, setting.source, style=style)
        console.print(table)

    data = {
        "environment": session.env,
        "file": str(session.config.file),
        "settings": [setting._asdict() for setting in settings],
    }
    session.output.result(data, human)


@command("schema", "deploytool config schema > schema.json")
def schema(session: Session) -> None:
    """Print the JSON Schema of [tool.deploytool], for editors."""
    from deploytool.config import schema as config_schema

    described = config_schema()
    session.output.text(described, json.dumps(described, indent=2) + "\n")


group = command_group(
    "config",
    "Show the effective configuration or its schema.",
    show,
    schema,
)
