"""git, without the programs that a repository's own settings name.

A repository that came as an archive brings its `.git/config`, and that may name programs which git
runs to look at files. What the settings of the user and of the machine name is theirs, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploytool.process import Finished, capture

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # Of a partial clone, git would fetch what is missing, by a command of the settings.
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
}
_SETTINGS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    # A folder of the project that looks like a repository is none.
    "safe.bareRepository=explicit",
)
_OWN_SCOPES = ("local", "worktree")
_PROGRAMS = (".clean", ".smudge", ".process")


def git(folder: Path, *arguments: str) -> Finished:
    """Run git in a folder. Raises ProgramMissing."""
    return _run(folder, *arguments)


def git_on_files(folder: Path, *arguments: str) -> Finished:
    """The same for a command that looks at the content of files, which filters could change."""
    return _run(folder, *arguments, environment=_without_filters(folder))


def _run(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Finished:
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    command = ["git", *settings, "--literal-pathspecs", "-C", str(folder), *arguments]
    return capture(command, env=_ENVIRONMENT | (environment or {}), errors="surrogateescape")


def _without_filters(folder: Path) -> dict[str, str]:
    """Settings that turn the repository's own filters off, as variables: names of filters may have
    any character."""
    names = list(dict.fromkeys(_own_filters(folder)))
    pairs = [
        (f"{name}{key}", value)
        for name in names
        for key, value in (
            (".clean", ""),
            (".smudge", ""),
            (".process", ""),
            (".required", "false"),
        )
    ]
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _own_filters(folder: Path) -> Iterator[str]:
    """ "filter.NAME" of those in the repository's own settings."""
    listed = _run(folder, "config", "--list", "--null", "--show-scope", "--includes")
    parts = listed.stdout.split("\0")
    for scope, setting in zip(parts[::2], parts[1::2], strict=False):
        key = setting.partition("\n")[0]
        if scope in _OWN_SCOPES and key.startswith("filter.") and key.endswith(_PROGRAMS):
            yield key.rpartition(".")[0]
