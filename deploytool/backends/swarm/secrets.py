"""Secrets and their versions, as Swarm secrets.

A Swarm secret never changes and is never read back, so each value is a secret of its own,
APP_NAME.N. What tells whether a value is the one that is there already is a label with a slow,
salted hash of it. A secret APP_NAME that somebody made by hand counts where there is no version.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploytool.backends.base import OlderVersion, Secret, SecretSet
from deploytool.backends.swarm import compile as swarm
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, is_taken
from deploytool.backends.swarm.store import SwarmStore
from deploytool.backends.swarm.tasks import read_time
from deploytool.errors import EngineError, PlanError, UsageError
from deploytool.records import history
from deploytool.spec import AppSpec

Json = dict[str, Any]
LARGEST = 500 * 1024
"""bytes; what every Swarm takes is smaller"""
LONGEST_NAME = 64
"""characters that the engine takes"""
SALT = 16
"""bytes"""
COST = {"n": 2**14, "r": 8, "p": 5}
"""What one guess at a value costs: 16 MiB, and a fifth of a second."""


@dataclass(frozen=True)
class Version:
    """One value of a secret."""

    secret: str
    number: int
    """0 for one that was made by hand."""
    name: str
    """Its name on the cluster."""
    id: str
    at: datetime | None = None
    hash: str = ""


def versions(app: str, secrets: Iterable[Json]) -> dict[str, list[Version]]:
    """The versions of each secret that deploytool set, oldest first."""
    found: dict[str, list[Version]] = {}
    for secret in secrets:
        own = secret["Spec"].get("Labels") or {}
        if own.get(labels.APP) == app and own.get(labels.VERSION, "").isdecimal():
            name = own.get(labels.SECRET, "")
            found.setdefault(name, []).append(_version(secret, name, int(own[labels.VERSION])))
    return {name: sorted(found[name], key=lambda version: version.number) for name in sorted(found)}


def by_hand(app: str, secrets: Iterable[Json]) -> dict[str, Version]:
    """The secrets APP_NAME that were made without deploytool. No app has a _ in its name."""
    prefix = f"{app}_"
    return {
        name: _version(secret, name, 0)
        for secret in secrets
        if labels.SECRET not in (secret["Spec"].get("Labels") or {})
        if (name := secret["Spec"]["Name"].removeprefix(prefix)) != secret["Spec"]["Name"]
    }


def _version(secret: Json, name: str, number: int) -> Version:
    spec = secret["Spec"]
    return Version(
        secret=name,
        number=number,
        name=spec["Name"],
        id=secret["ID"],
        at=read_time(secret.get("CreatedAt", "")),
        hash=(spec.get("Labels") or {}).get(labels.HASH, ""),
    )


def choose(app: AppSpec, secrets: Sequence[Json], pins: Mapping[str, str]) -> dict[str, str]:
    """Secret → name on the cluster of what the app's services read: what is pinned, else the
    newest version, else what was made by hand. Raises PlanError where there is none."""
    known = {secret["Spec"]["Name"] for secret in secrets}
    newest = {name: found[-1].name for name, found in versions(app.name, secrets).items()}
    wanted = sorted({name for service in app.services for name in service.secrets})
    chosen = {
        name: pins.get(name) or newest.get(name) or swarm.secret_name(app.name, name)
        for name in wanted
    }
    lost = [name for name in wanted if chosen[name] not in known]
    if gone := [name for name in lost if name in pins]:
        raise PlanError(
            f"The cluster no longer has {chosen[gone[0]]}, the version of the secret {gone[0]} "
            "that the release needs",
            code="secret_gone",
            hint="`deploytool deploy` takes the newest version",
        )
    if lost:
        raise PlanError(
            f"The cluster has no secret {', '.join(lost)} for {app.name}",
            code="secret_missing",
            hint="set it from a pipe, a file or a prompt: "
            f"deploytool secrets set {lost[0]}{' --proxy' if _is_proxy(app) else ''}",
        )
    return chosen


def _is_proxy(app: AppSpec) -> bool:
    return any(service.labels.get(labels.ROLE) == labels.PROXY for service in app.services)


def put(client: Client, app: str, values: Mapping[str, bytes]) -> list[SecretSet]:
    """Make each value the newest version of its secret. One that is already is left alone.

    Raises UsageError for a value that no Swarm takes, before any is set.
    """
    for name, value in values.items():
        _check(app, name, value)
    found = versions(app, _own(client, app))
    taken = _numbers_in_history(client, app)
    with ThreadPoolExecutor(max_workers=4) as pool:
        asked = [
            pool.submit(_put, client, app, name, value, found.get(name, []), taken.get(name, 0))
            for name, value in sorted(values.items())
        ]
    return [done.result() for done in asked]


def _own(client: Client, app: str) -> list[Json]:
    return client.secrets(label=[f"{labels.APP}={app}", labels.SECRET])


def _check(app: str, name: str, value: bytes) -> None:
    problem = ""
    if not value:
        problem = f"The value of {name} is empty, and a Swarm keeps no empty secret"
    elif len(value) >= LARGEST:
        problem = f"The value of {name} is too large: a Swarm keeps less than 500 KiB"
    elif len(swarm.version_name(app, name, 10**4)) > LONGEST_NAME:
        problem = f"{name} is too long a name for a secret of {app}"
    if problem:
        raise UsageError(problem, code="secret_invalid", hint="nothing was set")


def _numbers_in_history(client: Client, app: str) -> dict[str, int]:
    """Secret → the highest version that a release remembers, of secrets that are gone too: a
    number that comes twice would bring a rollback the wrong value."""
    found: dict[str, int] = {}
    for record in history.records(SwarmStore(client), app):
        for name, pinned in record.release.secrets.items():
            number = pinned.removeprefix(f"{swarm.secret_name(app, name)}.")
            if number.isdecimal():
                found[name] = max(found.get(name, 0), int(number))
    return found


def _put(
    client: Client, app: str, name: str, value: bytes, found: Sequence[Version], taken: int
) -> SecretSet:
    newest = found[-1] if found else None
    if newest is not None and is_value(newest.hash, value):
        return SecretSet(name=name, version=newest.number, changed=False)
    number = max(newest.number if newest else 0, taken) + 1
    told = {
        labels.STACK: app,
        labels.APP: app,
        labels.SECRET: name,
        labels.HASH: hash_of(value, os.urandom(SALT)),
    }
    for attempt in range(number, number + 10):
        own = told | {labels.VERSION: str(attempt)}
        try:
            client.create_secret(swarm.version_name(app, name, attempt), value, own)
        except EngineError as error:
            if not is_taken(error):
                raise
        else:
            return SecretSet(name=name, version=attempt, changed=True)
    raise EngineError(
        f"No number for a new version of {name} could be had",
        code="secret_numbers",
        hint="somebody else seems to set it at the same time: run it again",
    )


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


def overview(client: Client, app: str) -> list[Secret]:
    """Every secret of an app with who uses it, by name."""
    secrets = client.secrets()
    found = versions(app, secrets)
    manual = by_hand(app, secrets)
    by_name = {v.name: v for all_of in found.values() for v in all_of}
    by_name |= {version.name: version for version in manual.values()}
    used: dict[str, dict[str, int]] = {}
    for service, name in _references(client, app):
        if version := by_name.get(name):
            used.setdefault(version.secret, {})[service] = version.number
    needed = _needed_by(client, app)
    everything = {name: [version] for name, version in manual.items()} | found
    return [
        Secret(
            name=name,
            version=all_of[-1].number,
            at=all_of[-1].at,
            services=used.get(name, {}),
            older=tuple(
                OlderVersion(version=v.number, releases=tuple(needed.get(v.name, ())))
                for v in all_of[:-1]
            ),
        )
        for name, all_of in sorted(everything.items())
    ]


def _references(client: Client, app: str) -> Iterator[tuple[str, str]]:
    """Service and name on the cluster of each secret that a service reads now."""
    for service in client.services(label=f"{labels.APP}={app}"):
        spec = service["Spec"]
        for reference in spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or ():
            yield spec["Name"].removeprefix(f"{app}_"), reference["SecretName"]


def _needed_by(client: Client, app: str) -> dict[str, list[str]]:
    """Name on the cluster → the releases that name it."""
    needed: dict[str, list[str]] = {}
    for record in history.records(SwarmStore(client), app):
        for name in record.release.secrets.values():
            needed.setdefault(name, []).append(record.release.id)
    return needed


def remove(client: Client, app: str, name: str) -> list[str]:
    """Remove every version of a secret; their names on the cluster. Raises UsageError while a
    service uses it, or where there is none that deploytool set."""
    secrets = client.secrets()
    found = versions(app, secrets)
    if name not in found:
        if name in by_hand(app, secrets):
            raise UsageError(
                f"The secret {name} of {app} was made by hand",
                code="secret_by_hand",
                hint=f"docker secret rm {swarm.secret_name(app, name)}",
            )
        raise UsageError(
            f"{app} has no secret of that name",
            code="unknown_secret",
            hint=f"there are: {', '.join(found) or 'none'}",
        )
    names = {version.name for version in found[name]}
    if users := sorted({service for service, used in _references(client, app) if used in names}):
        raise UsageError(
            f"{', '.join(users)} of {app} still reads {name}",
            code="secret_in_use",
            hint=f"take it out of the secrets of services.{users[0]} and deploy first",
        )
    for version in found[name]:
        client.remove_secret(version.id)
    return [version.name for version in found[name]]
