"""Requests over time, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tests.load import Result

FINE, SLOW, WRONG = "#2a78b5", "#9ccbe8", "#d62728"


def draw(results: Mapping[str, Result], file: Path) -> None:
    """A panel per result, one below the other: every request when it was due, by its latency;
    those that failed in red."""
    figure = Figure(figsize=(9, 2.6 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, (name, result) in zip(panels, results.items(), strict=True):
        quick = [s for s in result.samples if not s.reason and s.kind not in ("slow", "stream")]
        slow = [s for s in result.samples if not s.reason and s.kind in ("slow", "stream")]
        quick = [s for s in quick if s.kind != "websocket"]
        for samples, colour, label, size in (
            (quick, FINE, "answered", 2),
            (slow, SLOW, "answered; slow and streaming requests", 2),
            (result.failures, WRONG, f"failed: {result.failed} of {result.sent:,}", 5),
        ):
            panel.scatter(
                [s.at for s in samples],
                [max(1.0, s.milliseconds) for s in samples],
                s=size,
                c=colour,
                label=label,
                linewidths=0,
            )
        for at, _ in result.marks:
            panel.axvline(at, color="#888888", linewidth=0.8, linestyle=":")
        panel.set_yscale("log")
        panel.set_title(name, loc="left", fontsize=10)
        panel.set_ylabel("milliseconds")
        panel.legend(loc="upper right", fontsize=7, framealpha=0.9)
    panels[-1].set_xlabel("seconds; between the dotted lines the update runs")
    figure.savefig(file, dpi=90)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(64).save(file, optimize=True)
