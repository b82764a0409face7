"""What else the machine had to do: a virtual one shares its processors with others."""

from __future__ import annotations

from collections import deque
from pathlib import Path

TIMES = Path("/proc/stat")
SPAN = 5
"""Looks between which a share is taken."""
STEAL = 7
"""Where the kernel tells of the time in which another machine ran (proc(5))."""
KINDS = 8
"""The kinds of time that make all of it; those that follow are counted among them already."""


class Stolen:
    """How much of the processors' time others took. `look` once a second."""

    def __init__(self, times: Path = TIMES) -> None:
        self.most = 0.0
        """The largest share of `SPAN` seconds, from 0 to 1."""
        self._times = times
        self._looks: deque[tuple[int, int]] = deque(maxlen=SPAN + 1)

    def look(self) -> None:
        """Does nothing where the system does not tell."""
        try:
            first, _, _ = self._times.read_text().partition("\n")
        except OSError:
            return
        spent = [int(value) for value in first.split()[1 : KINDS + 1]]
        self._looks.append((sum(spent), spent[STEAL]))
        (before, stolen_before), (now, stolen_now) = self._looks[0], self._looks[-1]
        if len(self._looks) > SPAN and now > before:
            self.most = max(self.most, (stolen_now - stolen_before) / (now - before))
