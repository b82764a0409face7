"""The command line: one module per noun; each command parses, calls one function, prints."""

from __future__ import annotations

from typing import Annotated

import typer

from deploytool import __version__
from deploytool.cli import (
    capacity,
    cluster,
    config,
    deploy,
    image,
    init,
    lint,
    lock,
    operate,
    proxy,
    releases,
    render,
    run,
    secrets,
    status,
)

app = typer.Typer(
    name="deploytool",
    help="Deploy FastAPI services to Docker Swarm or Nomad so that nobody notices.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deploytool {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


for module in (
    init,
    config,
    lint,
    image,
    render,
    deploy,
    status,
    releases,
    operate,
    run,
    lock,
    capacity,
    secrets,
    cluster,
    proxy,
):
    module.register(app)
