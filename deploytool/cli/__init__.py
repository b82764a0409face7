"""The command line: one module per noun; each command parses, calls one function, prints."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

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
from deploytool.cli.common import AsJson, Command, CommandGroup, Environment, Verbose, Yes

COMMANDS: dict[str, tuple[Command | CommandGroup, ...]] = {
    "Start": (init.init, lint.lint, config.group),
    "Deploy": (
        deploy.plan,
        deploy.deploy,
        releases.releases,
        releases.rollback,
        image.build,
        image.push,
        render.render,
    ),
    "Operate": (
        status.status,
        status.logs,
        operate.scale,
        operate.restart,
        operate.execute,
        run.run,
        secrets.group,
        operate.destroy,
    ),
    "Cluster": (
        cluster.group,
        proxy.group,
        cluster.doctor,
        capacity.capacity,
        lock.audit,
        lock.group,
    ),
}
"""The commands by purpose, in the order of use."""


class Commands(TyperGroup):
    """Lists the commands by purpose."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for title, found in COMMANDS.items():
            with formatter.section(title):
                names = [one.name for one in found]
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(100)) for name in names]
                )


app = typer.Typer(
    name="deploytool",
    cls=Commands,
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
    env: Environment = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    yes: Yes = False,
) -> None:
    """The options that all commands share are read by them, wherever they stand."""


for found in COMMANDS.values():
    for one in found:
        one.add_to(app)
