"""The table of docs/faults.md: one fault, measured on each kind of cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.live.faults.table import Row, faults, table

CRASH = Row(
    cluster="swarm",
    title="the process ends",
    exit_code=3,
    code="rolled_back",
    message="v2 of items failed",
    seconds=6.6,
    sent=1236,
    failed=0,
)
HEAD = 2


def lines(*rows: Row) -> list[str]:
    return table(faults(rows)).splitlines()


def test_what_is_the_same_is_said_once() -> None:
    on_nomad = replace(CRASH, cluster="nomad", seconds=12.0, sent=1500, failed=2)
    assert lines(on_nomad, CRASH)[HEAD:] == [
        "| the process ends | 3 | `rolled_back` | v2 of items failed | 6.6 | 0 of 1,236 "
        "| 12.0 | 2 of 1,500 |"
    ]


def test_what_differs_is_said_of_each() -> None:
    on_nomad = replace(CRASH, cluster="nomad", exit_code=0, code="", message="a|b")
    (line,) = lines(CRASH, on_nomad)[HEAD:]
    assert "| Swarm: 3<br>Nomad: 0 |" in line
    assert "| Swarm: `rolled_back` |" in line
    assert r"| Swarm: v2 of items failed<br>Nomad: a\|b |" in line


def test_what_is_no_row_of_a_kind_has_its_reason_below() -> None:
    alone = replace(CRASH, alone="It has no overlay.")
    found = lines(alone)
    assert found[HEAD].endswith("| 6.6 | 0 of 1,236 |  | not applicable |")
    assert found[-1] == "- On Nomad: the process ends. It has no overlay."


def test_what_was_not_measured_is_no_page() -> None:
    with pytest.raises(ValueError, match="not measured on Nomad: the process ends"):
        faults([CRASH])
