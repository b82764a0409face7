"""What no engine takes of a container, and would refuse only when a replica starts. Pure.

The configuration itself allows it: stored releases are read by the same models.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence

from deploytool.errors import Problem, UsageError
from deploytool.image.reference import Reference
from deploytool.spec import ROTATED, AppSpec, Service
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
"""Of a user or a group (moby/sys, user.GetExecUser)."""
LONGEST_VOLUME = 255
"""Characters of its folder's name."""
SYSTEM = ("/proc", "/sys", "/dev")
"""Folders that the kernel and the engine fill."""
SECRETS = "/run/secrets"
OF_ALL_DRIVERS = frozenset({
    "mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file",
    "cache-compress",
})  # fmt: skip
LOG_OPTIONS = {
    "json-file": OF_ALL_DRIVERS
    | {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    "local": OF_ALL_DRIVERS | {"max-size", "max-file", "compress"},
}
"""What the engine's own drivers take (moby, daemon/logger: ValidateLogOpt of each)."""
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
        more = (*_open_files(service), *_mounts(service), *_texts(app, service))
        names = (*_logging(service), *_user(service), *_names(app, service))
        for problem in (*found, *more, *names):
            yield Problem(f"services.{service.name}.{problem.path}", problem.message, problem.hint)
    if app.release:
        yield from _command("release.command", app.release.command)
    yield from _images(app)


def _images(app: AppSpec) -> Iterator[Problem]:
    images = {f"services.{s.name}.image": s.image for s in app.services if s.image}
    images["proxy.image"] = app.proxy.image
    images["proxy.socket_proxy_image"] = app.proxy.socket_proxy_image
    for key, image in images.items():
        try:
            Reference.parse(image)
        except UsageError as error:
            yield Problem(key, error.message, error.hint)


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


def _mounts(service: Service) -> Iterator[Problem]:
    targets = [*((v.target, "volumes") for v in service.volumes)]
    targets += [(folder, "tmpfs") for folder, _ in service.in_memory]
    targets += [(target, "files") for target in service.files]
    places = Counter(posixpath.normpath(target) for target, _ in targets)
    for target, key in targets:
        place = posixpath.normpath(target)
        if place == "/":
            yield Problem(key, "nothing can be mounted over the whole container", "name a folder")
        elif places[place] > 1:
            yield Problem(key, f"{place} is mounted twice")
            return
        elif place in SYSTEM or place.startswith("/proc/"):
            yield Problem(key, f"{place} is the system's own", "name another folder")
        elif above := next((f for f in service.files if place.startswith(f"{f}/")), None):
            yield Problem(key, f"{place} lies below {above}, which is a file (`files`)")
        elif service.secrets and place == SECRETS:
            yield Problem(
                key, f"the secrets of the service are in {SECRETS}", "name another folder"
            )
        elif place in {f"{SECRETS}/{name}" for name in service.secrets}:
            yield Problem(key, f"{place} is a secret of the service", "name another file")


def _names(app: AppSpec, service: Service) -> Iterator[Problem]:
    for name, count in Counter(service.secrets).items():
        if count > 1:
            yield Problem("secrets", f"{name} stands there twice")
    room = LONGEST_VOLUME - len(app.name) - 1
    if any(not v.is_bind and len(v.source) > room for v in service.volumes):
        yield Problem(
            "volumes",
            f"with the app's name before it, the name of a volume can have {room} characters",
            "shorten it",
        )


def _logging(service: Service) -> Iterator[Problem]:
    logging = service.logging
    if logging.driver in ROTATED and logging.max_size == 0:
        yield Problem("logging.max_size", "the engine takes 1B at least", "for example 10MiB")
    known = LOG_OPTIONS.get(logging.driver, logging.options.keys())
    for name in sorted(logging.options.keys() - known):
        yield Problem(
            f"logging.options.{name}",
            f"{logging.driver} has no such option",
            f"it has {', '.join(sorted(known - OF_ALL_DRIVERS))}",
        )


def _user(service: Service) -> Iterator[Problem]:
    for number in (service.user or "").split(":"):
        if number.isascii() and number.isdigit() and int(number) > LARGEST_ID:
            yield Problem("user", f"{number} is no number of a user: {LARGEST_ID} is the highest")


def _texts(app: AppSpec, service: Service) -> Iterator[Problem]:
    for name, value in service.env.items():
        if len(f"{name}={value}".encode()) > LONGEST_TEXT:
            hint = "put it into a file (`files`)"
            yield Problem(f"env.{name}", _too_long("a variable"), hint)
    commands = {"command": app.command(service), "prestart": service.prestart}
    if service.check:
        commands["healthcheck.command"] = service.check.command
    for key, arguments in commands.items():
        yield from _command(key, arguments)


def _command(key: str, arguments: Sequence[str]) -> Iterator[Problem]:
    if any(len(argument.encode()) > LONGEST_TEXT for argument in arguments):
        yield Problem(key, _too_long("an argument"))
    if arguments and not arguments[0].strip():
        yield Problem(key, "the program has no name", 'for example ["python", "-m", "app.worker"]')


def _too_long(what: str) -> str:
    return f"the kernel takes {what} of less than 128 KiB"
