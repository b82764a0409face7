"""Why a registry gave no answer, whoever asked it: this machine, the engine or docker."""

from __future__ import annotations

import re
from collections.abc import Callable

from deploytool.errors import RegistryError
from deploytool.image.reference import login

Failure = Callable[[str, str], RegistryError]
"""The error for a registry's host and what it or whoever asked it said."""


def limited(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"The registry {host} is asked too often, and refuses for a while: {said}",
        code="registry_limited",
        hint=f"wait, then run this again; who is logged in may ask more often: {login(host)}",
    )


def unavailable(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"The registry {host} answers, and is out of order: {said}",
        code="registry_unavailable",
        hint="nothing is wrong with the configuration: wait, or see the registry's own log",
    )


def untrusted(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"The connection to the registry {host} is not trusted: {said}",
        code="registry_untrusted",
        hint=f"put its CA into /etc/docker/certs.d/{host}/ca.crt on the engine and on all nodes, "
        "and name it in REQUESTS_CA_BUNDLE for deploytool itself",
    )


def nameless(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"There is no registry {host}: nobody knows that name: {said}",
        code="registry_unreachable",
        hint="correct `registry`, or the name of the image; else check the DNS",
    )


def slow(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"The registry {host} does not answer in time: {said}",
        code="registry_unreachable",
        hint="run this again; if it stays so, see the registry's log and the network to it",
    )


def silent(host: str, said: str) -> RegistryError:
    return RegistryError(
        f"The registry {host} does not answer: {said}",
        code="registry_unreachable",
        hint="check that it runs, its address and port, and the network to it",
    )


Patterns = tuple[tuple[str, Failure], ...]
_BUSY: Patterns = (
    (r"toomanyrequests|too many requests|\b429\b|rate limit", limited),
    (r"\b50[0-9] [A-Z]|HTTP status:? 5\d\d|unexpected status.*: 5\d\d", unavailable),
)
_NO_CONNECTION: Patterns = (
    (r"x509:|tls: |certificate|gave HTTP response to HTTPS client", untrusted),
    (r"no such host|server misbehaving|name resolution|name or service not known", nameless),
    (r"i/o timeout|Client\.Timeout|deadline exceeded|request canceled|within [\d.]+ s", slow),
)


def busy(host: str, text: str) -> RegistryError | None:
    """The failure of a registry that cannot answer now, by a message of the engine or of docker;
    None for another one."""
    return _by_text(_BUSY, host, text)


def no_connection(host: str, text: str) -> RegistryError:
    """Why the engine or docker did not get through to a registry, by its message."""
    return _by_text(_NO_CONNECTION, host, text) or silent(host, text)


def _by_text(patterns: Patterns, host: str, text: str) -> RegistryError | None:
    found = (make for pattern, make in patterns if re.search(pattern, text, re.IGNORECASE))
    make = next(found, None)
    return make(host, text) if make else None


def by_status(host: str, status: int, said: str) -> RegistryError | None:
    """The failure that a status of HTTP stands for; None for what says something else."""
    if status == 429:
        return limited(host, said)
    return unavailable(host, said) if status >= 500 else None


def by_exception(host: str, error: Exception) -> RegistryError:
    """The failure to talk to a registry at all."""
    from ssl import SSLError

    import requests

    causes = _causes(error)
    said = str(causes[-1]).strip() or type(causes[-1]).__name__
    if any(isinstance(e, SSLError | requests.exceptions.SSLError) for e in causes):
        return untrusted(host, said)
    if any(isinstance(e, TimeoutError | requests.Timeout) for e in causes):
        return slow(host, said)
    return no_connection(host, said)


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and what it was made of, as libraries wrap them into each other."""
    found = [error]
    while True:
        last = found[-1]
        inner = [*last.args, getattr(last, "reason", None), last.__cause__]
        following = next((e for e in inner if isinstance(e, BaseException)), None)
        if following is None or following in found:
            return found
        found.append(following)
