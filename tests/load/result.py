"""What came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
SHOWN = 200
"""Failures that a summary lists one by one."""
WEBSOCKET = "websocket"
ECHO = "echo"


BEHIND = 2000.0
"""Milliseconds of `lag` from which on failures may be the machine's own, which stood still."""


class MachineStalledError(Exception):
    """Nothing can be said: run it again."""


class Sample(NamedTuple):
    """One request, or one WebSocket from its opening to its end."""

    at: float
    """Seconds from the start at which it was due."""
    kind: str
    milliseconds: float
    """From then until the last byte of the answer. Of a WebSocket: how long it lived."""
    reason: str
    """Empty for success, else "status 502", "refused", "reset", "timeout", "truncated", "dropped"
    or what else it was."""

    @property
    def ended(self) -> float:
        """Seconds from the start at which the caller knew."""
        return self.at + self.milliseconds / 1000


@dataclass(frozen=True)
class Result:
    seconds: float
    """From the first request until the last was due."""
    samples: Sequence[Sample]
    echoes: Sequence[tuple[float, float]] = ()
    """When a WebSocket's message was sent, and the milliseconds until it was back."""
    closes: Mapping[str, int] = field(default_factory=dict)
    """How often a WebSocket was closed as it should, by code: "1012" is a server that restarts."""
    lag: float = 0.0
    """Milliseconds that the generator itself was behind its schedule, at worst: with much of it,
    latencies say nothing of the service."""
    stolen: float = 0.0
    """Share of the processors' time that other machines took of this one in its worst seconds."""
    cpu: float = 0.0
    """Seconds of processor time that the generator took."""
    marks: Sequence[tuple[float, str]] = ()
    """What happened meanwhile, as `Load.mark` was told."""

    @property
    def sent(self) -> int:
        return len(self.samples)

    @property
    def failures(self) -> list[Sample]:
        return sorted(sample for sample in self.samples if sample.reason)

    @property
    def failed(self) -> int:
        return len(self.failures)

    def judged(self) -> Result:
        """Itself. Raises MachineStalledError where it has failures that say nothing."""
        if self.failures and self.lag > BEHIND:
            raise MachineStalledError(self.story())
        return self

    def of(self, *kinds: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind in kinds]

    def moment(self, mark: str) -> float:
        """Seconds from the start at which it was marked."""
        return next(at for at, text in self.marks if text == mark)

    def reasons(self) -> dict[str, int]:
        """How many failed, by kind and reason."""
        counted = Counter(f"{sample.kind}: {sample.reason}" for sample in self.failures)
        return dict(sorted(counted.items()))

    def latency(self, kind: str) -> dict[str, float]:
        """Percentiles in milliseconds of what succeeded."""
        if kind == ECHO:
            return percentiles(milliseconds for _, milliseconds in self.echoes)
        return percentiles(s.milliseconds for s in self.of(kind) if not s.reason)

    def between(self, begin: float, end: float) -> Result:
        """The part that was due in a span of seconds."""
        return Result(
            seconds=end - begin,
            samples=[s for s in self.samples if begin <= s.at < end],
            echoes=[e for e in self.echoes if begin <= e[0] < end],
            closes=self.closes,
            lag=self.lag,
            stolen=self.stolen,
            cpu=self.cpu,
            marks=self.marks,
        )

    def story(self) -> str:
        """What a test that has failed says."""
        events = list(self.marks)
        events += [
            (s.at, f"{s.kind} {s.reason} after {s.milliseconds / 1000:.1f} s")
            for s in self.failures[:SHOWN]
        ]
        told = [f"{at:7.1f} s  {text}" for at, text in sorted(events)]
        behind = f"the generator was {self.lag / 1000:.1f} s behind at worst"
        taken = f"others took up to {self.stolen:.0%} of the processors"
        return "\n".join([f"{self.failed} of {self.sent} failed; {behind}; {taken}", *told])

    def summary(self) -> Json:
        """For people and scripts: without the single samples."""
        kinds = sorted({sample.kind for sample in self.samples})
        return {
            "seconds": round(self.seconds, 3),
            "sent": self.sent,
            "failed": self.failed,
            "kinds": {
                kind: {
                    "sent": len(self.of(kind)),
                    "failed": sum(1 for s in self.of(kind) if s.reason),
                    "reasons": dict(Counter(s.reason for s in self.of(kind) if s.reason)),
                    "milliseconds": self.latency(kind),
                }
                for kind in kinds
            },
            "echoes": {"sent": len(self.echoes), "milliseconds": self.latency(ECHO)},
            "closes": dict(self.closes),
            "failures": [
                {"at": round(s.ended, 3), "kind": s.kind, "reason": s.reason}
                for s in sorted(self.failures, key=lambda s: s.ended)[:SHOWN]
            ],
            "marks": [[round(at, 3), text] for at, text in self.marks],
            "lag_milliseconds": round(self.lag, 1),
            "stolen": round(self.stolen, 3),
            "cpu_seconds": round(self.cpu, 2),
        }

    def data(self) -> Json:
        """All of it, for `read`."""
        return {
            "seconds": self.seconds,
            "samples": [
                [round(s.at, 4), s.kind, round(s.milliseconds, 2), s.reason] for s in self.samples
            ],
            "echoes": [[round(at, 3), round(taken, 2)] for at, taken in self.echoes],
            "closes": dict(self.closes),
            "lag": self.lag,
            "stolen": self.stolen,
            "cpu": self.cpu,
        }

    @classmethod
    def read(cls, data: Json, marks: Sequence[tuple[float, str]] = ()) -> Result:
        return cls(
            seconds=data["seconds"],
            samples=[Sample(*sample) for sample in data["samples"]],
            echoes=[(at, taken) for at, taken in data["echoes"]],
            closes=data["closes"],
            lag=data["lag"],
            stolen=data["stolen"],
            cpu=data["cpu"],
            marks=tuple(marks),
        )


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p90, p99 and max; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(rank * last)], 1) for name, rank in ranks.items()}
