"""docs/faults.md, of what the tests saw: `python -m tests.live.faults.table` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEEN = ROOT / ".faults"
PAGE = ROOT / "docs" / "faults.md"
MARK = "<!-- written by `make test-faults` -->"
CLUSTERS = {"swarm": "Swarm", "nomad": "Nomad"}


@dataclass(frozen=True)
class Row:
    """What one test saw."""

    cluster: str
    """Which kind of it."""
    title: str
    exit_code: int
    code: str
    message: str
    seconds: float
    sent: int
    failed: int
    alone: str = ""
    """Why it was measured on this kind of cluster alone; empty where it was on each."""

    @property
    def lost(self) -> str:
        return f"{self.failed:,} of {self.sent:,}"


Measured = Mapping[str, Row]
"""One fault: kind of cluster → its row."""


def remember(row: Row, *, app: str, registry: str) -> None:
    """Keep a row, with the names of this run replaced by those that readers know."""
    SEEN.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", f"{row.cluster} {row.title}".lower()).strip("-")
    text = json.dumps(asdict(row), indent=2)
    for own, known in (
        (rf"{re.escape(app)}\b", "items"),
        (re.escape(registry), "registry.example.com"),
        (r"\blab\d?-?(\d)\b", r"node-\1"),
        (r"@sha256:[0-9a-f]{64}", "@sha256:…"),
        (r":tree-[0-9a-f]+", ":3f2c81aa90de"),
        (r"\bv\d+ of\b", "v2 of"),
        (r"\bof v\d+\b", "of v2"),
        (r"since \d\d:\d\d:\d\d", "since 12:00:00"),
        (r"changed by \S+@\S+", "changed by ann@laptop"),
        (r"/tmp/\S+/overlay2/\w+/diff/", "/var/lib/docker/overlay2/…/"),
        (r"registry.example.com/load", "registry.example.com/items"),
    ):
        text = re.sub(own, known, text)
    (SEEN / f"{name}.json").write_text(text)


def rows() -> list[Row]:
    return [Row(**json.loads(file.read_text())) for file in sorted(SEEN.glob("*.json"))]


def faults(found: Iterable[Row]) -> list[Measured]:
    """Each fault with its rows. Raises ValueError for one that was not measured on a kind of
    cluster without a reason."""
    by_title: dict[str, dict[str, Row]] = {}
    for row in found:
        by_title.setdefault(row.title, {})[row.cluster] = row
    for title, measured in by_title.items():
        if len(measured) < len(CLUSTERS) and not _one(measured).alone:
            missing = ", ".join(CLUSTERS[kind] for kind in CLUSTERS.keys() - measured.keys())
            raise ValueError(f"not measured on {missing}: {title}")
    return sorted(by_title.values(), key=lambda m: (_one(m).exit_code, _one(m).title))


def _one(measured: Measured) -> Row:
    return next(measured[kind] for kind in CLUSTERS if kind in measured)


def table(found: Sequence[Measured]) -> str:
    """A table of all faults, and why some are missing on a kind of cluster."""
    names = list(CLUSTERS.values())
    head = ["what goes wrong", "exit", "code", "what deploytool says"]
    head += [column for name in names for column in (f"{name}: after (s)", "failed requests")]
    lines = [head, ["---"] * len(head), *map(_cells, found)]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return text + _absent(found)


def _cells(measured: Measured) -> list[str]:
    found = list(measured.values())
    cells = [
        _one(measured).title,
        _each(measured, {kind: str(row.exit_code) for kind, row in measured.items()}),
        _each(measured, {k: f"`{row.code}`" if row.code else "" for k, row in measured.items()}),
        _each(measured, {k: row.message.replace("|", "\\|") for k, row in measured.items()}),
    ]
    assert all(row.cluster in CLUSTERS for row in found)
    for kind in CLUSTERS:
        row = measured.get(kind)
        cells += [f"{row.seconds:.1f}", row.lost] if row else ["", "not applicable"]
    return cells


def _each(measured: Measured, texts: Mapping[str, str]) -> str:
    """A text where all kinds of cluster have the same, else each with its name."""
    if len(set(texts.values())) == 1:
        return texts[_one(measured).cluster]
    said = (f"{name}: {texts[kind]}" for kind, name in CLUSTERS.items() if texts.get(kind))
    return "<br>".join(said)


def _absent(found: Sequence[Measured]) -> str:
    reasons: dict[tuple[str, str], list[str]] = {}
    for measured in found:
        if len(measured) < len(CLUSTERS):
            row = _one(measured)
            (name,) = (CLUSTERS[kind] for kind in CLUSTERS.keys() - measured.keys())
            reasons.setdefault((name, row.alone), []).append(row.title)
    if not reasons:
        return ""
    lines = [
        f"- On {name}: {'; '.join(titles)}. {reason}\n"
        for (name, reason), titles in sorted(reasons.items())
    ]
    return f"\nNot applicable, and why:\n\n{''.join(lines)}"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, mark, _ = text.partition(MARK)
    PAGE.write_text(f"{before}{mark}\n\n{table(faults(rows()))}", encoding="utf-8")


if __name__ == "__main__":
    main()
