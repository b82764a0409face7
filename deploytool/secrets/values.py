"""Where the values of secrets come from: standard input, a prompt, a file, or an env-file.

A value is bytes from here to the cluster: in no model, no message and no argument.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploytool.errors import UsageError
from deploytool.reading import MIB, read_file
from deploytool.spec import valid_secret_name

LARGEST = MIB
"""bytes of a value, or of an env-file; what clusters keep is smaller"""
PIPE = 'printf %s "$VALUE" | deploytool secrets set NAME'


@dataclass(frozen=True)
class Request:
    """The secret to set, and the source of its value: standard input without a file."""

    name: str = ""
    """Empty where the names are in an env-file."""
    file: Path | None = None


def request(names: Sequence[str], file: Path | None, env_file: Path | None) -> Request:
    """The request of a call. Raises UsageError, which repeats nothing that could be a value."""
    if len(names) > 1 or any("=" in name for name in names):
        raise UsageError(
            "A value does not belong on the command line, where other users and the shell's "
            "history see it",
            code="secret_in_arguments",
            hint=f"{PIPE}; and if it was a real one, change it",
        )
    if env_file is not None:
        if names or file is not None:
            raise UsageError(
                "--env-file brings its own names and values",
                code="usage",
                hint="deploytool secrets set --env-file PATH",
            )
        return Request(file=env_file)
    if not names:
        raise UsageError(
            "The name of the secret is missing",
            code="usage",
            hint=f"{PIPE}, or several with --env-file PATH",
        )
    try:
        return Request(valid_secret_name(names[0]), file)
    except ValueError as error:
        raise UsageError(f"That {error}", code="usage", hint=PIPE) from None


def read(
    asked: Request, *, can_ask: bool, warn: Callable[[str], None] = lambda _: None
) -> dict[str, bytes]:
    """The values of the secrets to set, unchanged to the last byte. `can_ask` is whether somebody
    can be prompted for one. Raises UsageError."""
    if not asked.name:
        assert asked.file is not None
        return read_env_file(_content(asked.file), str(asked.file), warn)
    return {asked.name: _content(asked.file) if asked.file else _typed(asked.name, can_ask)}


def ends_with_newline(value: bytes) -> bool:
    """Whether a value of one line has the line break that `echo` adds."""
    return value.endswith(b"\n") and value.count(b"\n") == 1 and len(value) > 1


def read_env_file(
    content: bytes, source: str, warn: Callable[[str], None] = lambda _: None
) -> dict[str, bytes]:
    """NAME=value, one a line or quoted over several, as python-dotenv reads them for FastAPI's
    settings; nothing in a value is expanded. Names without a value are warned of and left out: no
    cluster keeps an empty secret. Raises UsageError with the lines that are wrong."""
    from dotenv.parser import parse_stream

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable(source, "it is not UTF-8 text") from None
    values: dict[str, bytes] = {}
    empty: list[str] = []
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        name, value = binding.key, binding.value
        if name is None and not binding.error:
            continue
        if problem := _problem(name, value, known=name in values or name in empty):
            problems.append(f"line {binding.original.line}: {problem}")
        elif name is not None and not value:
            empty.append(name)
        elif name is not None and value is not None:
            values[name] = value.encode()
    if problems or not values:
        raise UsageError(
            f"{source} is not valid: nothing was set",
            code="env_file_invalid",
            hint='write one NAME=value a line; with line breaks or #, NAME="value"',
            details=problems
            or ["no name in it has a value" if empty else "there is no NAME=value in it"],
        )
    if empty:
        warn(f"{', '.join(empty)} in {source} has no value, and was not set")
    return values


def _problem(name: str | None, value: str | None, *, known: bool) -> str:
    """The mistake in a line, without its name: that may be a piece of a value."""
    if name is None:
        return "is not NAME=value"
    try:
        valid_secret_name(name)
    except ValueError as error:
        return str(error)
    if value is None:
        return "is not NAME=value"
    return f"{name} is there twice" if known else ""


def _content(file: Path) -> bytes:
    try:
        return read_file(file, limit=LARGEST, pipes=True)
    except (OSError, ValueError) as error:
        raise _unreadable(str(file), getattr(error, "strerror", "") or "no such path") from None


def _unreadable(source: str, reason: str) -> UsageError:
    return UsageError(
        f"{source} cannot be read: {reason}",
        code="secret_unreadable",
        hint="name a file that you may read",
    )


def _typed(name: str, can_ask: bool) -> bytes:
    if not sys.stdin.isatty():
        return sys.stdin.buffer.read(LARGEST + 1)
    if can_ask:
        from getpass import GetPassWarning, getpass

        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            try:
                typed = getpass(f"Value of {name}, which is not shown: ")
                return typed.encode("utf-8", "surrogateescape")
            except EOFError:
                return b""
            except GetPassWarning:
                pass  # it would be shown
    raise UsageError(
        "The value is read from standard input, and nothing is piped into it",
        code="usage",
        hint=PIPE,
    )
