"""The output of a task in files that are rotated, as `client/lib/fifo` and logmon keep it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class LogFile:
    number: int
    content: bytearray = field(default_factory=bytearray)


class LogFiles:
    """One stream of a task. Offsets of the API count over all files that are kept
    (command/agent/fs_endpoint.go)."""

    def __init__(self, task: str, stream: str, *, size: int = 10 * 2**20, kept: int = 10) -> None:
        self.name = f"alloc/logs/{task}.{stream}"
        self.size = size
        self.kept = kept
        self.files = [LogFile(0)]
        self._lock = threading.Lock()

    @classmethod
    def of(cls, task: str, stream: str, text: str) -> LogFiles:
        made = cls(task, stream)
        made.write(text.encode())
        return made

    def write(self, data: bytes) -> None:
        with self._lock:
            while data:
                room = self.size - len(self.files[-1].content)
                self.files[-1].content += data[:room]
                data = data[room:]
                if data:
                    self.files.append(LogFile(self.files[-1].number + 1))
                    del self.files[: -self.kept]

    def read(self) -> bytes:
        with self._lock:
            return b"".join(bytes(file.content) for file in self.files)

    def begin(self, offset: int, *, from_end: bool) -> tuple[int, int]:
        """A place to read from: the number of a file, and an offset in it."""
        with self._lock:
            total = sum(len(file.content) for file in self.files)
            left = max(0, total - offset) if from_end else offset
            for file in self.files:
                if left <= len(file.content):
                    return file.number, left
                left -= len(file.content)
            return self.files[-1].number, len(self.files[-1].content)

    def read_from(self, place: tuple[int, int], most: int) -> tuple[bytes, str, tuple[int, int]]:
        """What follows a place, the file that it is in, and the place behind it."""
        number, offset = place
        with self._lock:
            for file in self.files:
                if file.number < number:
                    continue
                begin = offset if file.number == number else 0
                if begin < len(file.content):
                    data = bytes(file.content[begin : begin + most])
                    return data, f"{self.name}.{file.number}", (file.number, begin + len(data))
            return b"", f"{self.name}.{number}", place
