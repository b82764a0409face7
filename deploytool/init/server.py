"""Which options of the default command the project's Uvicorn knows.

The versions are from Uvicorn's own changelog.
"""

from __future__ import annotations

import re

from deploytool.spec import KEEP_ALIVE, uvicorn_app

GRACEFUL_SHUTDOWN = (0, 22)
TRUSTED_NETWORKS = (0, 31)


def command_for(version: str | None, entrypoint: str, port: int) -> tuple[str, ...] | None:
    """The service's command where the default one has an option that this Uvicorn lacks."""
    if not version or _numbers(version) >= GRACEFUL_SHUTDOWN:
        return None
    return (
        *uvicorn_app(entrypoint),
        *("--host", "0.0.0.0", "--port", str(port), "--proxy-headers"),
        *("--timeout-keep-alive", str(KEEP_ALIVE)),
    )


def notes(version: str | None) -> tuple[str, ...]:
    """What is lost with this Uvicorn, in one line."""
    if not version or _numbers(version) >= TRUSTED_NETWORKS:
        return ()
    lost = "it does not take the proxy's network in FORWARDED_ALLOW_IPS, so the app sees the "
    lost += "proxy's address as the caller's"
    newer = "does"
    if _numbers(version) < GRACEFUL_SHUTDOWN:
        lost = f"it has no --timeout-graceful-shutdown, which was left out, and {lost}"
        newer = "does both"
    return (f"uvicorn {version} is old: {lost}; uvicorn>=0.31 {newer}",)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
