"""What a benchmark found: rows of two times and their ratio, with a goal."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure import Run, median


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is what the goal is about: at most `goal`."""

    name: str
    against: str
    ours: float
    theirs: float
    ratio: float
    goal: float | None
    """None where it is told for comparison only."""
    measure: str = "wall"
    pairs: Sequence[float] = ()
    other: str = ""
    """The same by another measure, for readers."""
    unit: str = "s"
    """Of both values; empty for what is counted."""

    @property
    def met(self) -> bool:
        return self.goal is None or self.ratio <= self.goal

    def data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "against": self.against,
            "ours": round(self.ours, 4),
            "theirs": round(self.theirs, 4),
            "ratio": round(self.ratio, 3),
            "goal": self.goal,
            "met": self.met,
            "measure": self.measure,
            "pairs": [round(ratio, 3) for ratio in self.pairs],
            "other": self.other,
            "unit": self.unit,
        }


def pair_by_pair(
    name: str,
    against: str,
    ours: Sequence[Run],
    theirs: Sequence[Run],
    goal: float | None,
    *,
    cpu: bool,
) -> Row:
    """The median of the ratios of runs that followed one another."""

    def by(use_cpu: bool) -> tuple[list[float], list[float], list[float]]:
        a, b = ([run.cpu if use_cpu else run.wall for run in runs] for runs in (ours, theirs))
        return a, b, [x / y for x, y in zip(a, b, strict=True)]

    a, b, ratios = by(cpu)
    other = by(not cpu)[2]
    return Row(
        name=name,
        against=against,
        ours=median(a),
        theirs=median(b),
        ratio=median(ratios),
        goal=goal,
        measure="CPU" if cpu else "wall",
        pairs=ratios,
        other=f"{'wall' if cpu else 'CPU'} {median(other):.2f}",
    )


@dataclass(frozen=True)
class Report:
    name: str
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    versions: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return all(row.met for row in self.rows)

    def data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "met": self.met,
            "rows": [row.data() for row in self.rows],
            "notes": list(self.notes),
            "versions": {"python": platform.python_version()} | self.versions,
            "details": self.details,
        }

    def text(self) -> str:
        versions = {"Python": platform.python_version()} | self.versions
        head = f"{self.title}  ({', '.join(f'{k} {v}' for k, v in versions.items())})"
        table = [("", "", "", "against", "ratio", "goal", "")]
        for row in self.rows:
            goal = "" if row.goal is None else f"≤ {row.goal:g}"
            ratio = f"{row.ratio:.2f} ({row.measure}; {row.other})" if row.other else ""
            table.append(
                (
                    row.name,
                    f"{row.ours:.3f} {row.unit}",
                    f"{row.theirs:.3f} {row.unit}",
                    row.against,
                    ratio or f"{row.ratio:.2f}",
                    goal,
                    ("met" if row.met else "MISSED") if goal else "",
                )
            )
        widths = [max(len(line[column]) for line in table) for column in range(7)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([head, "", *lines, "", *(f"- {note}" for note in self.notes), ""])
