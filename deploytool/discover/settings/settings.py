"""The settings that an app does not start without: variables of its environment.

They come from fields of pydantic settings (settings_fields.py) and from what the source reads
while it is imported (environment.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import PurePosixPath

from deploytool.discover.names import Names
from deploytool.discover.settings.environment import Environment
from deploytool.discover.settings.setting import Reads, Setting
from deploytool.discover.settings.settings_fields import Fields
from deploytool.discover.source import Project, in_words

__all__ = ["Reads", "Setting", "find_settings", "settings_note"]

WEB = ("web",)


def find_settings(project: Project, files: Iterable[PurePosixPath]) -> tuple[Setting, ...]:
    """The variables that the app needs and has no default for, sorted by name."""
    names = Names(project)
    scopes = [scope for file in sorted(files) if (scope := project.scope(file))]
    found: dict[str, Setting] = {}
    for setting in (*Fields(names, scopes).find(), *Environment(names, scopes).find()):
        found.setdefault(setting.name, setting)
    return tuple(found[name] for name in sorted(found))


def settings_note(
    settings: Iterable[Setting], services: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[str, ...]:
    """One line for each way in which the app reads what it needs. `services` says which services
    want a setting; by default only the one called web."""
    wanting = services or {}
    ordered = sorted(settings, key=lambda one: (*_kind(one, wanting), one.name))
    return tuple(
        _line(tuple(group), wanting=names, secret=not is_open, reads=reads)
        for (is_open, reads, names), group in groupby(ordered, key=lambda one: _kind(one, wanting))
    )


def _kind(
    setting: Setting, services: Mapping[str, tuple[str, ...]]
) -> tuple[bool, Reads, tuple[str, ...]]:
    """The place of a setting depends on it. How it is read matters for secrets, which are files."""
    reads = setting.reads if setting.secret else Reads.ENVIRONMENT
    return not setting.secret, reads, services.get(setting.name, WEB)


def _line(
    settings: tuple[Setting, ...], *, wanting: tuple[str, ...], secret: bool, reads: Reads
) -> str:
    names = [setting.name for setting in settings]
    who = "the app needs" if "web" in wanting else f"{in_words(wanting)} {_need(wanting)}"
    needs = f"{who} {in_words(names)} at its start ({_places(settings)})"
    if not secret:
        return f"{needs}: set {_it(names)} in {_tables(wanting, '.env')}"
    quoted = ", ".join(f'"{name}"' for name in names)
    keep = f"`deploytool secrets set {_one(names)}` and secrets = [{quoted}] in {_tables(wanting)}"
    if reads is Reads.SECRETS_FOLDER:
        return f"{needs}: {keep}"
    if reads is Reads.SETTINGS:
        return (
            f'{needs}: add secrets_dir="/run/secrets" to the configuration of its settings, then '
            f"{keep}; or set env, which everybody on the cluster can read"
        )
    return (
        f"{needs} and reads {_it(names)} from the environment, where secrets are not: read the "
        f"file /run/secrets/{_one(names)} instead, then {keep}; or set env, which everybody on the "
        "cluster can read"
    )


def _tables(services: tuple[str, ...], ending: str = "") -> str:
    return " and ".join(f"[tool.deploytool.services.{name}{ending}]" for name in services)


def _need(services: tuple[str, ...]) -> str:
    return "needs" if len(services) == 1 else "need"


def _places(settings: Iterable[Setting]) -> str:
    return ", ".join(dict.fromkeys(setting.where for setting in settings))


def _it(names: list[str]) -> str:
    return "them" if len(names) > 1 else "it"


def _one(names: list[str]) -> str:
    return names[0] if len(names) == 1 else "NAME"
