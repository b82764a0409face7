"""The scripts that replicas run, as a plan compares and shows them. Pure.

A service that runs them has its own command and health check in their arguments. In the form in
which two services are compared, the scripts are apart, by version: replicas are replaced for what
scripts do, and a plan says that in one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploytool.backends.swarm.specification.scripts import (
    BY_TARGET,
    DRAIN,
    HEALTHCHECK,
    version_of,
)
from deploytool.json_types import Json

TITLES = {DRAIN.target: "drain script", HEALTHCHECK.target: "health check script"}
INLINE = "inline"
"""The version of a script that stood in the service itself, as releases before had it."""
_INLINE_DRAIN = re.compile(
    r'(?:(?P<prestart>.*?) \|\| exit; )?z=0; "\$0" "\$@" & .*?sleep (?P<seconds>[0-9.e-]+);',
    re.DOTALL,
)
_INLINE_CHECK = re.compile(
    r"import socket, sys\nown = socket\.create_connection\(\(b'127\.0\.0\.1', (?P<port>\d+)\), "
    r"(?P<timeout>\d+)\)\nown\.sendall\(b'GET (?P<path>.*?) HTTP/1\.1"
    r"\\r\\nHost: (?P<host>.*?)\\r\\n.*?(?P<proxy>tasks\.[\w-]+)?",
    re.DOTALL,
)


def separate(container: Json) -> None:
    """Take the scripts out of a container's command, health check and files, into `Scripts`: title
    → version, and `Drain`, in seconds."""
    found: Json = {}
    configs: Mapping[str, str] = container.get("Configs") or {}
    for target, config in configs.items():
        if version := version_of(target, config):
            found[TITLES[target]] = version
    container["Configs"] = {t: c for t, c in configs.items() if version_of(t, c) is None}
    container["Args"] = _without_drain(container.get("Args") or [], container, found)
    check = dict(container.get("Healthcheck") or {})
    if test := _from_inline_check(check.get("Test") or []):
        check["Test"] = test
        found[TITLES[HEALTHCHECK.target]] = INLINE
        container["Healthcheck"] = check
    container["Scripts"] = found


def _without_drain(arguments: list[str], container: Json, found: Json) -> list[str]:
    match arguments:
        case ["/bin/sh", target, seconds, *command] if target == DRAIN.target:
            container["Drain"] = seconds
            return command
        case ["/bin/sh", "-c", text, *command] if match := _INLINE_DRAIN.match(text):
            container["Drain"] = match["seconds"]
            found[TITLES[DRAIN.target]] = INLINE
            return _after(match["prestart"], command)
        case ["/bin/sh", "-c", text, *command] if f" {DRAIN.target} " in text:
            prestart, _, seconds = text.rpartition(f" && exec /bin/sh {DRAIN.target} ")
            container["Drain"] = seconds.partition(" ")[0]
            return _after(prestart, command)
    return arguments


def _after(prestart: str | None, command: list[str]) -> list[str]:
    """A command with the steps before it, as it is without the delay of its stop."""
    if not prestart:
        return command
    return ["/bin/sh", "-c", f'{prestart} && exec "$0" "$@"', *command]


def _from_inline_check(test: list[str]) -> list[str] | None:
    """The command of today of a health check that stood in the service itself."""
    if test[:5] != ["CMD", "python", "-I", "-S", "-c"]:
        return None
    match = _INLINE_CHECK.match(test[5])
    if match is None:
        return None
    proxy = re.search(r"b'tasks\.([\w-]+)'", test[5])
    port = re.search(r"connect_ex\(\(proxy, (\d+)\)\)", test[5])
    return [
        *("CMD", "python", "-IS", HEALTHCHECK.target),
        *(match["port"], match["path"], match["host"], match["timeout"]),
        *((proxy[1], port[1]) if proxy and port else ()),
    ]


def keep(spec: Json, live: Json) -> None:
    """Go on with the configs that the replicas have where they hold the same version: another one
    would replace every replica."""
    mounted = {
        reference["File"]["Name"]: reference
        for reference in live["TaskTemplate"]["ContainerSpec"].get("Configs") or ()
        if reference.get("File")
    }
    container = spec["TaskTemplate"]["ContainerSpec"]
    container["Configs"] = [
        _same_version(mounted.get(reference["File"]["Name"]), reference) or reference
        for reference in container.get("Configs") or ()
    ]


def _same_version(there: Json | None, wanted: Json) -> Json | None:
    target = wanted["File"]["Name"]
    if there is None or target not in BY_TARGET:
        return None
    version = version_of(target, wanted["ConfigName"])
    return there if version and version == version_of(target, there["ConfigName"]) else None
