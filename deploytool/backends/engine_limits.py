"""What no engine takes of a container, and would refuse only when a replica starts. Pure.

The configuration itself allows it: stored releases are read by the same models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploytool.backends import log_options
from deploytool.errors import Problem
from deploytool.spec import AppSpec, Service
from deploytool.units import format_memory

LEAST_LIMIT = 6 * 2**20
"""Bytes: `linuxMinMemory` of the engine."""
LEAST_CPU_LIMIT = 0.01
"""Cores: the kernel's shortest share of the engine's period, 1 ms of 100."""
OPEN_FILES = 2**20
"""`fs.nr_open` where nobody has changed it: the most that `ulimits.nofile` can be."""
MOST_OPEN_FILES = 2147483584
"""What it can be raised to."""
LONGEST_TEXT = 128 * 1024 - 1
"""Bytes of one argument or variable: MAX_ARG_STRLEN of the kernel, without the NUL at its end."""
LARGEST_ID = 2**31 - 1
"""`maxID` of moby/sys/user."""
CAPABILITIES = frozenset({
    "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF",
    "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID",
    "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
    "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE",
    "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
})  # fmt: skip
"""Without "CAP_" in front; the engine knows them by name."""


def problems(app: AppSpec) -> Iterator[Problem]:
    for service in app.services:
        found = (*_amounts(service), *_times(service), *_capabilities(service))
        more = (*_open_files(service), *_users(service), *_variables(service))
        for problem in (*found, *more, *log_options.problems(service.logging)):
            yield Problem(f"services.{service.name}.{problem.path}", problem.message, problem.hint)
    yield from _commands(app)


def _amounts(service: Service) -> Iterator[Problem]:
    if service.memory_limit is not None and service.memory_limit < LEAST_LIMIT:
        least = format_memory(LEAST_LIMIT)
        yield Problem("memory_limit", f"the engine takes {least} at least")
    if service.cpu_limit is not None and service.cpu_limit < LEAST_CPU_LIMIT:
        yield Problem("cpu_limit", f"the kernel takes {LEAST_CPU_LIMIT:g} at least")


def warnings(app: AppSpec) -> list[str]:
    """What some nodes refuse, and which ones nobody can see from here."""
    return [f"services.{s.name}.{text}" for s in app.services if (text := many_open_files(s))]


def many_open_files(service: Service) -> str:
    """What is said of a limit of open files that not every kernel takes; empty for others."""
    most = _most_open_files(service)
    if not OPEN_FILES < most <= MOST_OPEN_FILES:
        return ""
    return (
        f"ulimits.nofile is {most}: replicas start only on nodes whose fs.nr_open is at least that "
        f"(sysctl fs.nr_open), which is {OPEN_FILES} by default"
    )


def _open_files(service: Service) -> Iterator[Problem]:
    if 0 <= _most_open_files(service) <= MOST_OPEN_FILES:
        return
    yield Problem(
        "ulimits.nofile",
        "the kernel has no open files without a limit: it takes fs.nr_open at most, which is "
        f"{OPEN_FILES} by default",
        f"nofile = {OPEN_FILES}",
    )


def _most_open_files(service: Service) -> int:
    """The hard limit; -1 is none."""
    return int(service.ulimits.get("nofile", "0:0").partition(":")[2])


def _times(service: Service) -> Iterator[Problem]:
    """The engine takes nought for what the image says, which is not what was written."""
    check = service.check
    for key in ("interval", "timeout", "start_interval") if check else ():
        if getattr(check, key) == 0:
            yield Problem(f"healthcheck.{key}", "has to be 1ms at least")


def _capabilities(service: Service) -> Iterator[Problem]:
    names = () if service.capabilities == "default" else service.capabilities
    for name in names:
        if name.removeprefix("CAP_") not in CAPABILITIES:
            yield Problem(
                "capabilities",
                f"{name} is no capability of Linux",
                "man 7 capabilities lists them, for example NET_BIND_SERVICE",
            )


def _users(service: Service) -> Iterator[Problem]:
    for part in (service.user or "").split(":"):
        is_number = re.fullmatch(r"[+-]?[0-9]+", part)
        if is_number and (part.strip("+-0") and (part[0] == "-" or _is_above(part, LARGEST_ID))):
            yield Problem("user", f"ids of users and groups are between 0 and {LARGEST_ID}")
            return


def _is_above(number: str, most: int) -> bool:
    """Of a number of any length, which int() refuses."""
    digits = number.lstrip("+0")
    return len(digits) > len(str(most)) or int(digits or 0) > most


def _commands(app: AppSpec) -> Iterator[Problem]:
    """The engine looks for a program without a name, and finds none."""
    named = {f"services.{s.name}.{key}": v for s in app.services for key, v in _run(app, s).items()}
    if app.release:
        named["release.command"] = app.release.command
    for path, arguments in named.items():
        if arguments and not arguments[0]:
            yield Problem(path, "begins with an empty text, which is no program")
        if any(len(argument.encode()) > LONGEST_TEXT for argument in arguments):
            yield Problem(path, _too_long("an argument"))


def _run(app: AppSpec, service: Service) -> dict[str, tuple[str, ...]]:
    """What a replica runs, by key."""
    found = {"command": app.command(service), "prestart": service.prestart}
    return found | ({"healthcheck.command": service.check.command} if service.check else {})


def _variables(service: Service) -> Iterator[Problem]:
    for name, value in service.env.items():
        if len(f"{name}={value}".encode()) > LONGEST_TEXT:
            hint = "put it into a file (`files`)"
            yield Problem(f"env.{name}", _too_long("a variable"), hint)


def _too_long(what: str) -> str:
    return f"the kernel takes {what} of less than 128 KiB"
