"""Waiting for a cluster whose manager may be restarting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from deploytool.errors import EngineError

PATIENCE = 60.0
"""Seconds that the cluster's manager may be away during a rollout."""
AWAY = ("engine_unreachable", "no_quorum")

T = TypeVar("T")


def patiently(ask: Callable[[], T]) -> T:
    """The answer of a cluster whose manager may be restarting: asked again for a while where
    nobody answers. Raises the last error."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except EngineError as error:
            if error.code not in AWAY or time.monotonic() > give_up:
                raise
        time.sleep(1)
