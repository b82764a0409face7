"""Waiting for a cluster whose manager may be restarting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from deploytool.errors import EngineError

AWAY = ("engine_unreachable", "no_quorum")

T = TypeVar("T")


def patiently(ask: Callable[[], T], seconds: float) -> T:
    """The answer of a cluster whose manager may be restarting. For so many seconds it is asked
    again if there is no answer. Raises the last error."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except EngineError as error:
            if error.code not in AWAY or time.monotonic() > give_up:
                raise
        time.sleep(1)
