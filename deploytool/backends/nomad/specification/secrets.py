"""Where a version of a secret is on Nomad, and the template that gives it to a replica. Pure.

Versions are items of a variable whose path the job's own identity may read without a policy:
exactly nomad/jobs/JOB, nomad/jobs/JOB/GROUP and nomad/jobs/JOB/GROUP/TASK (Nomad's acl/acl.go).
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

BASE64 = "__base64"
"""How the key of a version ends whose value is not text: variables hold text only."""
VERSION = re.compile(rf"^(?P<name>.+)__(?P<number>\d+)(?:{BASE64})?$")
"""The key of a version."""
_READ = re.compile(
    r'nomadVar "(?P<path>[^"]+)" \}\}\{\{ (?:\.(?P<plain>\w+)|\(index \. "(?P<key>[^"]+)"\))\.Value'
)
METHODS = frozenset({"ItemsMap", "Keys", "Metadata", "Parent", "Tuples", "Values"})
"""Names that mean something else in a template than an item of a variable (`NomadVarItems` in
consul-template's dependency/nomad_var_structs.go)."""


class SecretVersion(NamedTuple):
    """An item of a variable."""

    path: str
    key: str

    def __str__(self) -> str:
        """Its name, which a release keeps."""
        return f"{self.path}:{self.key}"

    @classmethod
    def parse(cls, name: str) -> Self:
        path, _, key = name.rpartition(":")
        return cls(path, key)


def paths(app: str, group: str) -> tuple[str, str, str]:
    """The variables that the replicas of a service may read. The first is read by all services of
    an app; the others are room for what does not fit into it."""
    return f"nomad/jobs/{app}", f"nomad/jobs/{app}/{group}", f"nomad/jobs/{app}/{group}/{group}"


def version_key(secret: str, version: int, *, is_text: bool = True) -> str:
    """The key of a version of a secret."""
    return f"{secret}__{version}{'' if is_text else BASE64}"


def without_version(app: str, secret: str) -> SecretVersion:
    """A secret that somebody set without deploytool, or of which no version is known."""
    return SecretVersion(paths(app, "")[0], secret)


def template(version: SecretVersion) -> str:
    """What becomes the value. A key that is missing fails, where it can be named plainly."""
    return f'{{{{ with nomadVar "{version.path}" }}}}{_item(version.key)}{{{{ end }}}}'


def _item(key: str) -> str:
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) and key not in METHODS
    item = f".{key}" if is_plain else f'(index . "{key}")'
    decoded = " | base64Decode" if key.endswith(BASE64) else ""
    return f"{{{{ {item}.Value{decoded} }}}}"


def version_read(text: str) -> str:
    """What a template reads, for people: "version 3"; a secret that somebody set without deploytool
    by its name; empty where it reads none."""
    if (where := read_by(text)) is None:
        return ""
    found = VERSION.match(where.key)
    return f"version {found['number']}" if found else str(where)


def read_by(text: str) -> SecretVersion | None:
    """The item of a variable that a template reads."""
    found = _READ.search(text)
    return SecretVersion(found["path"], found["plain"] or found["key"]) if found else None
