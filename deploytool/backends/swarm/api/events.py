"""Events of the engine that a service changed, sooner than the next poll would show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from deploytool.backends.swarm.api.client import Client

LEAST = 0.05
"""Seconds between two polls, however many events there are."""


class Listener:
    """Waits for changes of some services.

    The next poll shows events that are missed, as the manager restarts, or as an engine behind SSH
    would need another session for them.
    """

    def __init__(self, client: Client, names: Collection[str]) -> None:
        self.client = client
        self.names = frozenset(names)
        self.changed = threading.Event()
        self.stream: Any = None
        self.mutex = threading.Lock()
        self.ended = False
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def wait(self, seconds: float) -> None:
        """So many seconds at most, and less where one of the services changes."""
        if self.client.address.startswith("ssh://"):
            time.sleep(seconds)
            return
        if self.thread.ident is None:  # A rollout that is done at the first poll opens no stream.
            self.thread.start()
        least = min(LEAST, seconds)
        time.sleep(least)
        self.changed.wait(seconds - least)
        self.changed.clear()

    def listen(self) -> None:
        # A stream that is closed while it is read ends with one exception or another.
        with suppress(Exception):
            stream = self.client.service_events()
            with self.mutex:
                self.stream = stream
            if self.ended:
                self.close()
            for event in stream:
                if event["Actor"]["Attributes"].get("name") in self.names:
                    self.changed.set()

    def close(self) -> None:
        self.ended = True
        with self.mutex, suppress(Exception):
            if self.stream is not None:
                self.stream.close()
