"""Asks a package index, through uv, which versions a project's requirements become.

uv only reads wheels here: it builds nothing, and runs nothing of the project or of a package.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from packaging.utils import canonicalize_name

from deploytool import process
from deploytool.discover.dependencies.locks import pylock, read_toml
from deploytool.discover.dependencies.python_version import latest_patch
from deploytool.discover.dependencies.requested import Requested, name_of
from deploytool.discover.dependencies.wheels import GLIBC
from deploytool.discover.source import table_at
from deploytool.reading import read_text

LIMIT = 40.0
"""Seconds for all questions together."""
CALL_LIMIT = 30.0
PLATFORM = f"x86_64-manylinux_2_{GLIBC}"
NOWHERE = "python_version < '0'"
SYSTEM_SETTINGS = {"pip": "/etc/pip.conf", "uv": "/etc/uv/uv.toml"}
_OWN_INDEX = re.compile(r"^(?:-i|--index-url|--no-index)\b")


class Run(Protocol):
    """`process.capture`, or a stand-in for it."""

    def __call__(
        self, command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> process.Finished: ...


@dataclass(frozen=True)
class Answer:
    """The answer of the index for some requirements on one Python."""

    versions: Mapping[str, str] = field(default_factory=dict)
    source_only: tuple[str, ...] = ()
    """Distributions without a wheel that fits."""
    unfit: tuple[str, ...] = ()
    """Those that do not even come as source, or refuse this Python."""
    foreign: tuple[str, ...] = ()
    """Of these, names that are for other operating systems alone."""
    missing: tuple[str, ...] = ()
    """Distributions that the index has not."""
    conflict: str | None = None
    unreachable: str | None = None
    wheels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a survey: the names of the wheels of each distribution, for any Python and platform."""

    @property
    def left_out(self) -> frozenset[str]:
        """Names without which the rest may be resolved."""
        return frozenset(map(name_of, (*self.source_only, *self.unfit, *self.missing)))


@dataclass
class Index:
    """The index that the user's own settings name, for a limited time."""

    folder: Path
    """Where uv runs: the settings of the project there apply."""
    run: Run = process.capture
    clock: Callable[[], float] = time.monotonic
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self._end = self.clock() + self.limit

    def ask(
        self,
        requested: Requested,
        python: str,
        *,
        without: Iterable[str] = (),
        alone: bool = False,
    ) -> Answer:
        """Resolve requirements to wheels for a Python. `alone`: not what they depend on.

        Never raises: `unreachable` says why there is no answer.
        """
        options = ["--python-platform", PLATFORM, *(["--no-deps"] if alone else [])]
        return self._run(requested, python, without, options, parse_versions)

    def survey(self, pins: Requested, oldest: str, *, without: Iterable[str] = ()) -> Answer:
        """Which wheels there are of pinned distributions, for a Python and all newer ones."""
        options = ["--universal", "--no-deps", "--format", "pylock.toml"]
        return self._run(pins, oldest, without, options, parse_wheels)

    def _run(
        self,
        requested: Requested,
        python: str,
        without: Iterable[str],
        options: list[str],
        parse: Callable[[str], Answer],
    ) -> Answer:
        program = find_uv()
        if program is None:
            return Answer(unreachable="uv is not installed")
        with tempfile.TemporaryDirectory(prefix="deploytool-") as place:
            files = _write(Path(place), requested, without)
            command = [program, *_command(python, files), *options]
            finished = self._finish(command, index_settings(self.folder, requested))
        if isinstance(finished, str):
            return Answer(unreachable=finished)
        return parse(finished.stdout) if finished.ok else parse_failure(finished.stderr)

    def _finish(self, command: list[str], env: Mapping[str, str]) -> process.Finished | str:
        """The output of uv, or why there is none."""
        timeout = min(CALL_LIMIT, self._end - self.clock())
        if timeout <= 0:
            return f"it took longer than {self.limit:g} s"
        try:
            return self.run(command, cwd=self.folder, env=env, timeout=timeout)
        except process.TookTooLong:
            return f"the index did not answer within {min(CALL_LIMIT, self.limit):g} s"
        except (process.ProgramMissing, OSError) as error:
            return f"uv cannot be run: {error}"


@dataclass
class NoIndex(Index):
    """Stands in for the index where it is not to be asked."""

    def _finish(self, *_: object) -> str:
        """Nothing is run."""
        return "--offline was given"


def find_uv() -> str | None:
    """The uv that came with deploytool, or the one in PATH."""
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _write(place: Path, requested: Requested, without: Iterable[str]) -> dict[str, Path]:
    left_out = sorted({*without, *requested.vcs, *requested.archives})
    texts = {
        "": requested.lines,
        "--constraints": requested.constraints,
        "--overrides": [f"{name} ; {NOWHERE}" for name in left_out],
    }
    files = {}
    for option, lines in texts.items():
        files[option] = place / f"{option.strip('-') or 'requirements'}.txt"
        files[option].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return files


def _command(python: str, files: Mapping[str, Path]) -> list[str]:
    command = ["pip", "compile", "--quiet", "--color", "never", "--no-header", "--no-annotate"]
    command += ["--only-binary", ":all:", "--no-sources", "--python", sys.executable]
    command += ["--python-version", latest_patch(python)]
    for option, file in files.items():
        command += [option, str(file)] if option else [str(file)]
    return command


# --- the user's settings ------------------------------------------------------------------------


def index_settings(folder: Path, requested: Requested) -> dict[str, str]:
    """Environment for uv: the system's certificates, and pip's index where uv has none."""
    defaults = {
        "UV_SYSTEM_CERTS": "1",
        "UV_HTTP_RETRIES": "1",
        "UV_HTTP_TIMEOUT": "8",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    }
    if not _uv_has_index(folder) and not any(map(_OWN_INDEX.match, requested.lines)):
        defaults |= _pip_index()
    return {name: value for name, value in defaults.items() if name not in os.environ}


def _uv_has_index(folder: Path) -> bool:
    if os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"):
        return True
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    files = (config / "uv/uv.toml", Path(SYSTEM_SETTINGS["uv"]), folder / "uv.toml")
    tables = [read_toml(_text(file)) for file in files]
    tables.append(table_at(read_toml(_text(folder / "pyproject.toml")), "tool", "uv"))
    return any({"index", "index-url"} & (t.keys() | table_at(t, "pip").keys()) for t in tables)


def _pip_index() -> dict[str, str]:
    settings = _pip_settings()
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "cert": "SSL_CERT_FILE",
    }
    return {
        variable: " ".join(settings[name].split())
        for name, variable in names.items()
        if settings.get(name)
    }


def _pip_settings() -> dict[str, str]:
    """pip's settings from its files and from the environment, which goes first."""
    parser = configparser.RawConfigParser(strict=False)
    for file in _pip_files():
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, ValueError):
            continue
    found: dict[str, str] = {}
    for section in ("global", "install"):
        found |= dict(parser[section]) if parser.has_section(section) else {}
    variables = {n: v for n, v in os.environ.items() if n.startswith("PIP_")}
    return found | {n[4:].lower().replace("_", "-"): v for n, v in variables.items()}


def _pip_files() -> list[Path]:
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    own = os.environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    files = [Path(SYSTEM_SETTINGS["pip"]), Path("~/.pip/pip.conf").expanduser()]
    files += [config / "pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    return [*files, *([Path(own)] if own else [])]


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except (OSError, ValueError):
        return ""


# --- what uv says ---------------------------------------------------------------------------------

_PIN = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)==([^\s;]+)")
_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_OTHER_WHEELS = re.compile(r"only found wheels for `([^`]+)` \(v([^)]+)\)")
_OTHER_SYSTEMS = re.compile(r"Wheels are available for `([^`]+)` \(v([^)]+)\) on the following")
_NOT_FOUND = re.compile(r"([A-Za-z0-9][\w.-]*) was not found in the p")
_NO_VERSION = re.compile(
    r"there (?:is|are) no versions? of ([A-Za-z0-9][\w.-]*(?:[=<>!~][^\s,]*)?)"
)
_OTHER_PYTHON = re.compile(
    r"does not satisfy Python\S+ and (?:all versions of )?([A-Za-z0-9][\w.-]*(?:[=<>!~][^\s,]*)?) "
    r"depends? on Python"
)
_REASONS = (
    (r"401 Unauthorized|valid authentication credentials", "the index wants a name and password"),
    (r"403 Forbidden", "the index refuses access (403)"),
    (r"network (?:was|is) disabled|--offline", "uv is set to be offline"),
    (r"dns error|resolve host|Name or service not known", "the index's host is not known here"),
    (r"certificate|UnknownIssuer", "the index's certificate is not trusted"),
    (r"timed out|operation timeout", "the index does not answer"),
    (r"Connection refused|tcp connect error|client error", "the index cannot be reached"),
    (r"Request failed|Failed to fetch|HTTP status", "the index does not answer as one"),
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")
MAX_MESSAGE = 240


def parse_versions(stdout: str) -> Answer:
    return Answer({str(canonicalize_name(name)): v for name, v in _PIN.findall(stdout)})


def parse_wheels(stdout: str) -> Answer:
    found = pylock(read_toml(stdout)).packages
    return Answer(wheels={package.name: package.files or () for package in found})


def parse_failure(stderr: str) -> Answer:
    """The problem, from uv's explanation."""
    text = " ".join(_CREDENTIALS.sub("", stderr).split())
    if reason := next((why for pattern, why in _REASONS if re.search(pattern, text)), None):
        return Answer(unreachable=reason)
    if "No solution found" not in text:
        return _unreadable(text)
    return _without_wheels(text) or _not_there(text) or Answer(conflict=_cause(text))


def _without_wheels(text: str) -> Answer | None:
    source_only = [_with_version(name, text) for name in _NO_WHEEL.findall(text)]
    foreign = _OTHER_SYSTEMS.findall(text)
    others = [f"{name}=={version}" for name, version in (*_OTHER_WHEELS.findall(text), *foreign)]
    names = set(map(name_of, source_only))
    unfit = [pin for pin in (*others, *_OTHER_PYTHON.findall(text)) if name_of(pin) not in names]
    answer = Answer(
        source_only=tuple(dict.fromkeys(source_only)),
        unfit=tuple({name_of(pin): pin for pin in unfit}.values()),
        foreign=tuple(name_of(name) for name, _ in foreign),
    )
    return answer if answer.left_out else None


def _not_there(text: str) -> Answer | None:
    missing = dict.fromkeys((*_NOT_FOUND.findall(text), *_NO_VERSION.findall(text)))
    return Answer(missing=tuple(missing)) if missing else None


def _with_version(name: str, text: str) -> str:
    found = re.search(rf"(?<![\w.-]){re.escape(name)}==([^\s,]+) has no usable wheels", text)
    return f"{name}=={found[1]}" if found else name


def _unreadable(text: str) -> Answer:
    if "parse" in text:
        detail = re.sub(r" in `[^`]*`(?: at position \d+)?", "", text)
        return Answer(conflict=_short(detail.removeprefix("error: ")))
    return Answer(
        unreachable=_short(text.removeprefix("error: ")) or "uv failed and did not say why"
    )


def _cause(text: str) -> str:
    cause = text.partition("cause: ")[2].partition(" hint: ")[0] or text
    return _short(cause.removeprefix("Because "))


def _short(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
