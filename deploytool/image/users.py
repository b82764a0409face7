"""Whether an image has the users that its services run as.

A name is looked up in /etc/passwd of the image as a container starts, and nowhere else: without it
none does. The files are read from a container that is made of the image and never started, where
this machine's engine has the image; elsewhere nothing is known, and nothing said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deploytool.errors import ImageError
from deploytool.image.failures import docker_missing
from deploytool.process import Finished, ProgramMissing, capture
from deploytool.spec import Service

FILES = {"/etc/passwd": "user", "/etc/group": "group"}
"""Where names are looked up, and what they name."""
QUIET = {"DOCKER_CLI_HINTS": "false"}
NOT_THERE = "Could not find the file"
"""How docker says that a container has no such file."""


def check(image: str, services: Iterable[Service]) -> None:
    """Raises ImageError for a user or a group by a name that the image does not have."""
    own = [service for service in services if service.image is None]
    wanted = {(s.user, f"services.{s.name}.user") for s in own if s.user}
    if any(service.user is None for service in own):
        wanted.add((_user_of(image), "USER of the Dockerfile"))
    named = [(*item, key) for user, key in sorted(wanted) for item in _names(user)]
    if not named:
        return
    with _container(image) as container:
        known = {file: _read_names(container, file) for file in sorted({f for f, *_ in named})}
    for file, name, key in named:
        names = known[file]
        if names is not None and name not in names:
            raise _missing(name, FILES[file], key)


def _user_of(image: str) -> str:
    """As it is written in the image; empty for root, and where the image is not here."""
    found = _docker("image", "inspect", "--format={{.Config.User}}", image)
    return found.stdout.strip() if found.ok else ""


def _names(user: str) -> Iterator[tuple[str, str]]:
    """What has to be found, and in which file: numbers are taken as they are."""
    for file, name in zip(FILES, user.split(":", 1), strict=False):
        if name and not name.isdecimal():
            yield file, name


def _missing(name: str, what: str, key: str) -> ImageError:
    make = "groupadd" if what == "group" else "useradd --uid 10001"
    return ImageError(
        f"The image has no {what} {name}, which {key} names: no container of it would start",
        code="user_missing",
        hint=f"make it in the Dockerfile: RUN {make} {name}; or write its number, such as 10001",
    )


@contextmanager
def _container(image: str) -> Iterator[str]:
    """A container that never runs; empty where there is none to be had."""
    made = _docker("create", "--pull=never", "--network=none", image, "none")
    name = made.stdout.strip() if made.ok else ""
    try:
        yield name
    finally:
        if name:
            _docker("rm", "--force", "--volumes", name)


def _read_names(container: str, file: str) -> frozenset[str] | None:
    """The names in a file of users or groups: of one that is not there, no names; None where
    nobody knows."""
    if not container:
        return None
    with TemporaryDirectory(prefix="deploytool-") as folder:
        copy = Path(folder, "names")
        copied = _docker("cp", "--follow-link", f"{container}:{file}", str(copy))
        if copied.ok:
            lines = copy.read_text(encoding="utf-8", errors="replace").splitlines()
            return frozenset(line.partition(":")[0] for line in lines)
    return frozenset() if NOT_THERE in copied.stderr else None


def _docker(*arguments: str) -> Finished:
    try:
        return capture(["docker", *arguments], env=QUIET)
    except ProgramMissing:
        raise docker_missing() from None
