"""Text from outside on a terminal: shown, and not obeyed."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from deploytool.errors import DeploytoolError
from deploytool.output import Output
from deploytool.printable import CONTROL, printable, printable_json

UP_AND_OVER = "\x1b[1A\x1b[2K✓ v9 of items runs"


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def screens(monkeypatch: pytest.MonkeyPatch) -> tuple[Screen, Screen]:
    """Standard output and standard error, on a terminal. Called in a test, as pytest puts its own
    in their place before."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;32mgreen\x1b[0m", "green"),
        (UP_AND_OVER, "\\x1b[1A\\x1b[2K✓ v9 of items runs"),
        ("100 %\rdone", "100 %\\rdone"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\x7f\x00b", "a\\x7f\\x00b"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("naïve 日本 🚀", "naïve 日本 🚀"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not CONTROL.search(printable(text))
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


def test_errors_warnings_and_lines_cannot_draw_over_what_was_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, err = screens(monkeypatch)
    output = Output()
    error = DeploytoolError(UP_AND_OVER, code="x", hint=UP_AND_OVER, details=[UP_AND_OVER])
    output.error(error)
    output.warn(UP_AND_OVER)
    output.line(UP_AND_OVER)
    output.step(UP_AND_OVER)
    assert err.getvalue().count("\\x1b[1A\\x1b[2K") == 6
    assert "\x1b[1A" not in err.getvalue()


def test_a_line_feed_begins_no_line_that_passes_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = screens(monkeypatch)
    output = Output()
    text = "ann\n✓ v9 of items runs"
    output.error(DeploytoolError(text, code="x", hint=text, details=[text]))
    output.warn(text)
    output.line(text)
    output.step(text)
    shown = err.getvalue()
    assert shown.count("ann\\n✓ v9") == 4
    assert not [line for line in shown.splitlines() if line.lstrip("\x1b[0123456789;m")[0] == "✓"]


def test_neither_can_tables_and_styled_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = screens(monkeypatch)
    table = Table("who")
    table.add_row(UP_AND_OVER)
    Output().console.print(table, Text(UP_AND_OVER, "bold green"))
    assert "\x1b[1A" not in out.getvalue()
    assert out.getvalue().count("x1b[1A") == 2
    assert "\x1b[1;32m" in out.getvalue(), "deploytool's own colours stay"


def test_output_of_replicas_is_raw_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = screens(monkeypatch)
    Output().of_replicas(raw=False).print("\x1b[31mred\x1b[2J")
    assert out.getvalue() == "red\\x1b[2J\n"
    Output().of_replicas(raw=True).print("\x1b[31mred")
    assert out.getvalue().endswith("\x1b[31mred\n")


def test_output_of_replicas_is_raw_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().of_replicas(raw=False).print("\x1b[31mred")
    assert capsys.readouterr().out == "\x1b[31mred\n"


def test_json_holds_the_text_and_nothing_that_a_terminal_obeys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, _ = screens(monkeypatch)
    note = "\x9b2J\u202e\x1b[2J\x7f"
    Output(as_json=True).result({"note": note}, lambda _: None)
    assert json.loads(out.getvalue())["data"]["note"] == note
    assert not CONTROL.search(out.getvalue())
