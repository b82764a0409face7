"""Names of images: registry.example.com/team/items:tag@sha256:…"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploytool.errors import UsageError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
WRITTEN = "write host[:port]/path[:tag][@sha256:…]; the path in lower case"
LONGEST = 255
"""Characters of a repository."""
HUB = "docker.io"


def is_reference(text: str) -> bool:
    """Whether a text names an image."""
    return _read(text) is not None


def _read(text: str) -> re.Match[str] | None:
    found = _REFERENCE.fullmatch(text)
    return found if found and len(found["repository"]) <= LONGEST else None


def login(host: str) -> str:
    """The command that logs in to a registry."""
    return "docker login" if host == HUB else f"docker login {host}"


@dataclass(frozen=True)
class Reference:
    """An image's name, taken apart."""

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises UsageError when the text is no name of an image."""
        found = _read(text)
        if found is None:
            raise UsageError(
                f"{text!r} is not the name of an image",
                code="reference_invalid",
                hint=WRITTEN,
            )
        return cls(found["repository"], found["tag"], found["digest"])

    @property
    def host(self) -> str:
        """The registry, as `docker login` takes it."""
        first, slash, _ = self.repository.partition("/")
        is_host = bool(slash) and (first == "localhost" or any(c in first for c in ".:"))
        return first if is_host else HUB

    @property
    def login(self) -> str:
        """The command that logs in to the registry."""
        return login(self.host)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"
