"""The proxy as an app that all apps of a cluster share, whatever cluster it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pydantic import ValidationError

from deploytool.backends.model import Action, Job, Plan
from deploytool.errors import UsageError
from deploytool.spec import ProxySettings, Release

NAME = "proxy"
SERVICE = "traefik"
"""What serves, on every cluster."""


@dataclass(frozen=True)
class Joined:
    """The settings of a project and of the proxy that runs, made one."""

    settings: ProxySettings
    kept: tuple[str, ...] = ()
    """Keys whose values are those of the proxy that runs."""


OF_APPS = {"hsts"}
"""Settings that end up in the labels of each app, not in the proxy."""
IMAGES = ("image", "socket_proxy_image")
ADDED = ("certificates", "namespaces", "trusted_proxies")
"""Lists to which each project adds its own."""


def join(own: ProxySettings, running: ProxySettings) -> Joined:
    """The proxy is the cluster's: what this project does not set stays as another one set it.

    Raises UsageError where the two do not go together.
    """
    found: dict[str, object] = {}
    for key in sorted(ProxySettings.model_fields.keys() - OF_APPS):
        mine, theirs = getattr(own, key), getattr(running, key)
        if key in ADDED:
            value = (*mine, *(item for item in theirs if item not in mine))
        elif key in own.model_fields_set or (key in IMAGES and _is_newer(mine, theirs)):
            continue
        else:
            value = theirs
        if value != mine:
            found[key] = value
    try:
        settings = ProxySettings.model_validate(own.model_dump() | found)
    except ValidationError as error:
        raise UsageError(
            "These settings do not go with those of the proxy that runs: "
            + "; ".join(str(one["msg"]) for one in error.errors()),
            code="proxy_in_use",
            hint="--replace takes the settings of this project alone",
        ) from None
    return Joined(settings, tuple(found))


def _is_newer(image: str, other: str) -> bool:
    """Whether an image is a newer version of another: deploytool's default moves on."""
    (name, _, tag), (other_name, _, other_tag) = image.rpartition(":"), other.rpartition(":")
    numbers = [[int(n) for n in re.findall(r"\d+", text)] for text in (tag, other_tag)]
    return name == other_name and numbers[0] > numbers[1]


def restarts_with(plan: Plan, field: str) -> bool:
    """Whether a plan replaces the proxy that runs, for another value of a field among others."""
    return any(
        change.name == SERVICE
        and change.action is Action.UPDATE
        and change.replaces
        and any(found.path == field for found in change.fields)
        for change in plan.changes
    )


def pull_job(release: Release) -> Job:
    """What brings a new image to the proxy's node, while the proxy still runs."""
    return Job(name="pull", release=release, service=SERVICE, command=("version",))


def _fault(value: bytes, reason: str) -> str:
    """What is wrong with a certificate, by its text and by the reason that OpenSSL gives."""
    has_certificate, has_key = b"-BEGIN CERTIFICATE-" in value, b" PRIVATE KEY-" in value
    if not (has_certificate or has_key):
        return "there is neither in it"
    if not has_certificate:
        return "there is a key alone"
    if not has_key:
        return "there is a certificate alone"
    if b"ENCRYPTED" in value:
        return "the key has a password"
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the first certificate in it"
    if reason.endswith("TOO_SMALL"):
        return "its key is too short to be safe"
    return "a part of it is damaged"


def check_certificate(name: str, value: bytes) -> None:
    """Raises UsageError where a value is not what `certificates` needs, without repeating it."""
    import ssl

    file = os.memfd_create(name)
    try:
        with os.fdopen(os.dup(file), "wb") as copy:
            copy.write(value)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"/proc/self/fd/{file}", password=lambda: b"")
    except ssl.SSLError as error:
        raise UsageError(
            f"{name} is not a certificate with its key: {_fault(value, error.reason or '')}",
            code="certificate_invalid",
            hint="one file, in PEM, without a password: cat fullchain.pem privkey.pem",
        ) from None
    finally:
        os.close(file)
