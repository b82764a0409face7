"""The generator in a process of its own, which ends with the one that started it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.load.result import Result
from tests.load.settings import Settings

ROOT = Path(__file__).parents[2]
STARTS = 20.0
"""Seconds that the generator may take to start."""


class Load:
    """Callers of a service while something happens to it.

    Takes what `Settings` takes. The load runs inside `with`, or from `start` to `stop`; it stops
    by itself after `seconds`. `result` is there afterwards.
    """

    def __init__(self, address: str, **settings: Any) -> None:
        self.settings = Settings(address, **settings)
        self.marks: list[tuple[float, str]] = []
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._result: Result | None = None

    def start(self) -> Self:
        """Returns when the first request is sent."""
        command = [sys.executable, "-m", "tests.load", "--for-parent"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(self.settings)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with {self._process.wait(STARTS)}")
        self._began = float(line)
        return self

    @property
    def now(self) -> float:
        """Seconds since the first request."""
        return time.monotonic() - self._began

    def mark(self, text: str) -> None:
        """Note that something happens now."""
        self.marks.append((self.now, text))

    def stop(self) -> Result:
        """No more requests; those in flight are waited for."""
        assert self._process is not None, "it was not started"
        if self._result is None:
            longest = max(self.settings.patience(kind) for kind in self.settings.mix)
            try:
                # Closes its standard input: the sign to stop.
                output, _ = self._process.communicate(timeout=longest + STARTS)
            except BaseException:
                self._process.kill()
                self._process.wait()
                raise
            if self._process.returncode:
                raise RuntimeError(f"the load generator ended with {self._process.returncode}")
            self._result = Result.read(json.loads(output), self.marks)
        return self._result

    def result(self) -> Result:
        """What came of it, once it was stopped."""
        assert self._result is not None, "it was not stopped"
        return self._result

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
