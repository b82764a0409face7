"""What all commands share: the options that work everywhere and the one error boundary.

A command is a function that takes a `Session` and its own options, calls one function of the
library and hands the result to `session.output`. `@command` adds the shared options to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploytool.errors import DeploytoolError, Interrupted
from deploytool.output import Output

if TYPE_CHECKING:
    from deploytool.config import LoadedConfig
    from deploytool.records.history import History
    from deploytool.spec import AppSpec

Environment = Annotated[
    str | None,
    typer.Option("--env", "-e", envvar="DEPLOYTOOL_ENV", help="The environment to work on."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more, tracebacks too.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ShowValues = Annotated[
    bool,
    typer.Option("--show-values", help="Show values of variables and labels that may be secrets."),
]

SHARED = {"env": Environment, "as_json": AsJson, "verbose": Verbose, "yes": Yes}
DEFAULTS = {"env": None, "as_json": False, "verbose": False, "yes": False}


class Session:
    """One run of one command."""

    def __init__(self, *, env: str | None, as_json: bool, verbose: bool, yes: bool) -> None:
        self.env = env
        self.yes = yes
        self.output = Output(as_json=as_json, verbose=verbose)
        self.flags: dict[str, tuple[str, Any]] = {}

    @cached_property
    def config(self) -> LoadedConfig:
        """The project's configuration in the chosen environment. Raises ConfigError."""
        from deploytool.config import load

        loaded = load(Path.cwd(), environment=self.env, flags=self.flags)
        self.output.as_written = loaded.as_written
        for warning in loaded.warnings:
            self.output.warn(warning)
        return loaded

    @cached_property
    def spec(self) -> AppSpec:
        """The app that the configuration describes. Raises ConfigError."""
        return self.config.app_spec()


@dataclass(frozen=True)
class Command:
    """A command of the command line."""

    name: str
    run: Callable[..., None]
    examples: tuple[str, ...]

    @property
    def epilog(self) -> str | None:
        """What follows the options in its help, as it stands here."""
        if not self.examples:
            return None
        return "\n".join(["\b", "Examples:", *(f"  {line}" for line in self.examples)])

    def add_to(self, group: typer.Typer) -> None:
        group.command(self.name, epilog=self.epilog)(self.run)


@dataclass(frozen=True)
class CommandGroup:
    """Commands of one noun."""

    name: str
    help: str
    commands: tuple[Command, ...]

    def add_to(self, group: typer.Typer) -> None:
        own = typer.Typer(help=self.help, no_args_is_help=True)
        for one in self.commands:
            one.add_to(own)
        group.add_typer(own, name=self.name)


def command(name: str, *examples: str) -> Callable[[Callable[..., None]], Command]:
    """Make a function a command that has the shared options and a `Session`. Its help ends with
    the examples."""

    def make(function: Callable[..., None]) -> Command:
        @wraps(function)
        def wrapper(context: typer.Context, **options: Any) -> None:
            shared = {key: _shared(context, key, options.pop(key)) for key in SHARED}
            session = Session(**shared)
            try:
                function(session, **options)
            except KeyboardInterrupt:
                raise interrupted() from None
            except DeploytoolError as error:
                error.reword(session.output.as_written)
                raise

        wrapper.__signature__ = _with_shared_options(function)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {
            parameter.name: parameter.annotation
            for parameter in wrapper.__signature__.parameters.values()  # type: ignore[attr-defined]
        }
        del wrapper.__wrapped__
        return Command(name, wrapper, examples)

    return make


def _shared(context: typer.Context, key: str, own: Any) -> Any:
    """The value of a shared option, which may stand before the command too."""
    source = context.get_parameter_source(key)
    is_given = source is not None and source.name == "COMMANDLINE"
    return own if is_given else context.find_root().params.get(key) or own


def command_group(name: str, text: str, *commands: Command) -> CommandGroup:
    """Make commands those of one noun; `text` is its help."""
    return CommandGroup(name, text, commands)


def interrupted() -> Interrupted:
    """Ctrl-C, where nothing more is known. Typer would end without a word."""
    return Interrupted(
        "Interrupted", code="interrupted", hint="running it again goes on where it was"
    )


def warn_of_unread(session: Session, past: History) -> None:
    """Say which releases cannot be read here."""
    from deploytool.records.history import left_out

    for text in left_out(past):
        session.output.warn(text)


def _with_shared_options(function: Callable[..., None]) -> inspect.Signature:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[key], annotation=annotation
        )
        for key, annotation in SHARED.items()
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    return inspect.Signature([context, *own, *shared])


def duration(option: str, text: str) -> int:
    """Milliseconds of an option's value. Raises UsageError."""
    from deploytool.errors import UsageError
    from deploytool.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(
            f"{option}: {error}", code="usage", hint=f"for example {option} 5m"
        ) from None
