"""Requests that this machine makes: through the proxy that the environment names, except to itself.

As in the docker command: whatever HTTP_PROXY says, another machine cannot know what answers on
this one's loopback.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from typing import Any
from urllib.parse import urlsplit


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


def open_url(url: str, *, timeout: float) -> Any:
    """The answer to GET. Raises OSError, of which urllib's HTTPError is one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies_for(url)))
    return opener.open(url, timeout=timeout)
