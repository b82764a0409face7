"""No string from outside is ever markup: what looks like it is shown as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.table import Table

import deploytool
from deploytool.__main__ import run
from deploytool.backends.model import AuditEntry, Outcome
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.output import COLOURS, Output
from deploytool.records import audit, history, lease
from tests.builders import app, deploy, engine, release
from tests.fake_engine import FakeEngine

MARKUP = "[/x] [bold]b[/bold] [red]"
"""Closes what was never opened, opens what is never closed, and styles what is between."""
CONFIGURATION = f"""
app = "items"
entrypoint = "app.main:app"
registry = "registry.example.com/team"

[services.web]
port = 8000
env = {{ NOTE = "{MARKUP}" }}
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A cluster that was used by somebody with a name, notes and commands that look like markup."""
    made = engine()
    spec = app()
    deploy(made, spec)
    begun = history.begin(
        SwarmStore(made), release(spec, 0, by=f"ada{MARKUP}", note=f"note {MARKUP}")
    )
    history.finish(SwarmStore(made), begun, Outcome.DONE, 1.0)
    entry = AuditEntry(at=datetime.now(UTC), by=f"ada{MARKUP}", action=f"run {MARKUP}")
    audit.note(SwarmStore(made), "items", entry)
    lease.lock(SwarmStore(made), "items", f"ada{MARKUP}", f"deploy {MARKUP}")
    (tmp_path / "deploytool.toml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    monkeypatch.setattr("deploytool.rollout.release.whoami", lambda: f"bob{MARKUP}")
    return made


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["audit"], [f"ada{MARKUP}", f"run {MARKUP}", f"note {MARKUP}"]),
        (["releases"], [f"ada{MARKUP}", f"note {MARKUP}"]),
        (["lock", "status"], [f"ada{MARKUP}", f"deploy {MARKUP}"]),
        (["config", "show", "--show-values"], [MARKUP]),
        (["plan", "--image", "r/items:1", "--verbose", "--show-values"], [MARKUP]),
        (["rollback", MARKUP, "--lock-timeout", "0s"], [f"ada{MARKUP}"]),
    ],
)
def test_it_is_shown_as_it_is(
    cluster: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    command: Sequence[str],
    shown: Sequence[str],
) -> None:
    run(command)
    out, err = capsys.readouterr()
    assert "unexpected" not in err
    for text in shown:
        assert text in out + err, out + err


def test_a_lock_of_anybody_can_be_taken_away(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a terminal, where the question names them."""
    monkeypatch.setattr(Output, "interactive", True)
    monkeypatch.setattr("sys.stdin.readline", lambda: "y\n")
    assert run(["lock", "release"]) == 0
    assert f"ada{MARKUP} (deploy {MARKUP})? [y/N]" in capsys.readouterr().err
    assert run(["audit"]) == 0
    assert f"lock release, of ada{MARKUP}" in capsys.readouterr().out


@pytest.mark.parametrize("say", ["step", "line", "warn"])
def test_whatever_is_said_on_the_way(capsys: pytest.CaptureFixture[str], say: str) -> None:
    getattr(Output(), say)(MARKUP)
    assert MARKUP in capsys.readouterr().err


def test_a_table_of_anything(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(MARKUP)
    table.add_row(MARKUP)
    Output().console.print(table)
    assert capsys.readouterr().out.count(MARKUP) == 2


def test_nothing_here_is_written_as_markup() -> None:
    """It would be shown as it is."""
    tags = re.compile(rf"\[({'|'.join(COLOURS)})\]|\[/\]")
    for path in Path(deploytool.__file__).parent.glob("**/*.py"):
        written = [text for text in _strings(path) if tags.search(text)]
        assert not written, f"{path}: {written}"


def _strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str)]
