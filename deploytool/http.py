"""Requests that this machine makes: through the proxy that the environment names, except to itself.

As in the docker command: whatever HTTP_PROXY says, another machine cannot know what answers on
this one's loopback.
"""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, without asking anybody."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def proxies_for(url: str) -> dict[str, str]:
    """Scheme → proxy, by HTTP_PROXY, HTTPS_PROXY and NO_PROXY; empty for none."""
    from requests.utils import get_environ_proxies

    if is_loopback(urlsplit(url).hostname or ""):
        return {}
    return dict(get_environ_proxies(url, no_proxy=None))


def status_of(url: str, *, timeout: float) -> int:
    """The status of the answer to GET, of which nothing more is read. Raises OSError, which
    TimeoutError is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies_for(url)))

    def ask() -> int:
        try:
            with opener.open(url, timeout=timeout) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except http.client.HTTPException as error:
            raise OSError(f"what answers speaks no HTTP: {type(error).__name__}") from error

    return within(timeout, ask)


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What a question gives, and no later: a timeout of a socket begins anew with every byte, so
    that an answer which never ends has no end either. Raises TimeoutError."""
    from concurrent.futures import Future
    from threading import Thread

    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no whole answer came within {seconds:g} s") from None
