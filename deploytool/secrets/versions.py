"""Versions of secrets, the same on every cluster that keeps them.

A value is never read back, so the same value is recognized by a slow, salted hash beside it. Each
value is a version of its own, which releases name; a number is never used
twice, as a rollback would restore the wrong value. A secret that somebody made by hand counts where
there is no version.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from deploytool.backends.model import OlderVersion, Secret, SecretSet
from deploytool.errors import EngineError, PlanError, UsageError
from deploytool.records.history import History
from deploytool.records.store import Taken
from deploytool.spec import RESERVED

SALT = 16
"""bytes"""
COST = {"n": 2**14, "r": 8, "p": 5}
"""The cost of one guess at a value: 16 MiB, and a fifth of a second."""
ATTEMPTS = 10


@dataclass(frozen=True)
class Version:
    """One value of a secret."""

    secret: str
    number: int
    """0 for one that was made by hand."""
    name: str
    """Its name on the cluster, by which releases remember it."""
    id: str
    at: datetime | None = None
    hash: str = ""


class Vault(Protocol):
    """The operations that a cluster needs to keep versions. Every method may raise
    DeploytoolError."""

    def versions(self, app: str) -> list[Version]:
        """Every value that the cluster has for an app, those made by hand too."""

    def create(self, app: str, name: str, number: int, value: bytes, digest: str) -> None:
        """Keep a value. Raises Taken where there is that version of the secret."""

    def delete(self, version: Version) -> None:
        """Remove one."""

    def readers(self, app: str) -> Iterable[tuple[str, str]]:
        """Service and name on the cluster of each version that a service reads now."""

    def refusal(self, app: str, values: Mapping[str, bytes]) -> str:
        """Why the cluster does not take some values together; empty where it does."""

    def number(self, app: str, name: str, on_cluster: str) -> int:
        """The number of a version by its name on the cluster; 0 where it is none of the secret."""

    def removal_by_hand(self, version: Version) -> str:
        """The command that removes what deploytool did not make."""


def numbered(versions: Iterable[Version]) -> dict[str, list[Version]]:
    """The versions of each secret that deploytool set, oldest first."""
    found: dict[str, list[Version]] = {}
    for version in sorted(versions, key=lambda version: (version.secret, version.number)):
        if version.number:
            found.setdefault(version.secret, []).append(version)
    return found


def by_hand(versions: Iterable[Version]) -> dict[str, Version]:
    """The secrets that were made without deploytool."""
    return {version.secret: version for version in versions if not version.number}


def choose(
    app: str,
    wanted: Iterable[str],
    versions: Collection[Version],
    pins: Mapping[str, str],
    *,
    options: str = "",
) -> dict[str, str]:
    """Secret → name on the cluster of what is to be read: what is pinned, else the newest version,
    else what was made by hand. Raises PlanError, with the command that sets one, where there is
    none."""
    known = {version.name for version in versions}
    newest = {name: version.name for name, version in by_hand(versions).items()}
    newest |= {name: found[-1].name for name, found in numbered(versions).items()}
    chosen = {name: pins.get(name) or newest.get(name, "") for name in sorted(wanted)}
    lost = [name for name in chosen if chosen[name] not in known]
    if gone := [name for name in lost if name in pins]:
        raise PlanError(
            f"The cluster no longer has {chosen[gone[0]]}, the version of the secret {gone[0]} "
            "that the release needs",
            code="secret_gone",
            hint="`deploytool deploy` uses the newest version",
        )
    if lost:
        raise PlanError(
            f"The cluster has no secret {', '.join(lost)} for {app}",
            code="secret_missing",
            hint="set it from a pipe, a file or a prompt: "
            f"deploytool secrets set {lost[0]}{options}",
        )
    return chosen


def put(vault: Vault, past: History, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
    """Make each value the newest version of its secret. One that is already is left alone.

    `past` is the app's. Raises UsageError for a value that the cluster does not take, before any
    is set.
    """
    newest = {name: found[-1] for name, found in numbered(vault.versions(app)).items()}
    pinned = [name for _, name in _pinned(past)]

    def is_new(name: str) -> bool:
        return name not in newest or not is_value(newest[name].hash, values[name])

    def put_one(name: str) -> SecretSet:
        if name not in new:
            return SecretSet(name=name, version=newest[name].number, changed=False)
        known = newest[name].number if name in newest else 0
        taken = max((vault.number(app, name, pin) for pin in pinned), default=0)
        return _put(vault, app, name, values[name], max(known, taken) + 1)

    names = sorted(values)
    with ThreadPoolExecutor(max_workers=4) as pool:
        new = {name for name, is_so in zip(names, pool.map(is_new, names), strict=True) if is_so}
        if problem := vault.refusal(app, {name: values[name] for name in names if name in new}):
            raise UsageError(
                problem,
                code="secret_invalid",
                hint="nothing was set; what is large and no secret goes into `files`",
            )
        return list(pool.map(put_one, names))


def _put(vault: Vault, app: str, name: str, value: bytes, number: int) -> SecretSet:
    """Make a value the next version, from a number on."""
    digest = hash_of(value, os.urandom(SALT))
    for attempt in range(number, number + ATTEMPTS):
        try:
            vault.create(app, name, attempt, value, digest)
        except Taken:
            continue
        return SecretSet(name=name, version=attempt, changed=True)
    raise EngineError(
        f"There is no free number for a new version of {name}",
        code="secret_numbers",
        hint="somebody else seems to set it at the same time: run it again",
    )


def overview(vault: Vault, past: History, app: str) -> list[Secret]:
    """Every secret of an app with who uses it, by name."""
    versions = vault.versions(app)
    by_name = {version.name: version for version in versions}
    used: dict[str, dict[str, int]] = {}
    for service, name in vault.readers(app):
        if version := by_name.get(name):
            used.setdefault(version.secret, {})[service] = version.number
    needed: dict[str, list[str]] = {}
    for release, name in _pinned(past):
        needed.setdefault(name, []).append(release)
    everything = {name: [version] for name, version in by_hand(versions).items()}
    everything |= numbered(versions)
    return [
        Secret(
            name=name,
            version=found[-1].number,
            at=found[-1].at,
            services=used.get(name, {}),
            older=tuple(
                OlderVersion(version=v.number, releases=tuple(needed.get(v.name, ())))
                for v in found[:-1]
            ),
        )
        for name, found in sorted(everything.items())
    ]


def remove(vault: Vault, app: str, name: str) -> list[str]:
    """Remove every version of a secret; their names on the cluster. Raises UsageError while a
    service uses it, or where there is none that deploytool set."""
    versions = vault.versions(app)
    found = numbered(versions)
    if name not in found:
        if manual := by_hand(versions).get(name):
            raise UsageError(
                f"The secret {name} of {app} was made by hand",
                code="secret_by_hand",
                hint=vault.removal_by_hand(manual),
            )
        raise UsageError(
            f"{app} has no secret of that name",
            code="unknown_secret",
            hint=f"there are: {', '.join(found) or 'none'}",
        )
    names = [version.name for version in found[name]]
    if users := sorted({service for service, used in vault.readers(app) if used in names}):
        raise UsageError(
            f"{', '.join(users)} of {app} still reads {name}",
            code="secret_in_use",
            hint=_take_out(app, users[0]),
        )
    for version in found[name]:
        vault.delete(version)
    return names


def _take_out(app: str, service: str) -> str:
    """What ends that a service reads a secret."""
    if app in RESERVED:
        return (
            "take it out of certificates, dns_secrets or acme_ca in [tool.deploytool.proxy], then "
            "`deploytool proxy up --replace`"
        )
    return (
        f"take it out of secrets in [tool.deploytool.services.{service}], then `deploytool deploy`"
    )


def _pinned(past: History) -> Iterator[tuple[str, str]]:
    """Release and name on the cluster of each version that a release remembers, of secrets that are
    gone too. Any text in a release that cannot be read may be one."""
    for record in past.records:
        for name in record.release.secrets.values():
            yield record.release.id, name
    for number, data in past.unread.items():
        for name in sorted(set(re.findall(rb'"([^"\\]+)"', data))):
            yield f"v{number}", name.decode(errors="replace")


def hash_of(value: bytes, salt: bytes) -> str:
    """By which a value is known again and not found out: scrypt, its costs, the salt, the hash."""
    digest = hashlib.scrypt(value, salt=salt, **COST)
    return ":".join(["scrypt", *map(str, COST.values()), salt.hex(), digest.hex()])


def is_value(known: str, value: bytes) -> bool:
    """Whether a value is the one of a hash. Of a hash made in another way nobody knows."""
    head, _, _ = known.rpartition(":")
    *_, salt = head.rpartition(":")
    try:
        return hmac.compare_digest(known, hash_of(value, bytes.fromhex(salt)))
    except ValueError:
        return False
