"""What is piped into `run` is refused, and not dropped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploytool import unread
from deploytool.__main__ import run
from deploytool.backends.swarm.backend import Swarm
from deploytool.config import load
from deploytool.records import history
from tests.builders import deploy, engine
from tests.fake_engine import FakeEngine

ASKS = "from deploytool.unread import has_input; print(has_input())"
CONFIGURATION = (
    'app = "items"\nentrypoint = "app.main:app"\n[services.web]\nport = 8000\nreplicas = 1\n'
)


def says(**given: Any) -> str:
    asked = subprocess.run(
        [sys.executable, "-c", ASKS], stdout=subprocess.PIPE, text=True, check=True, **given
    )
    return str(asked.stdout).strip()


def test_a_file_with_something_left_in_it(tmp_path: Path) -> None:
    file = tmp_path / "dump.sql"
    file.write_text("select 1;\n")
    with file.open() as whole:
        assert says(stdin=whole) == "True"
    with file.open() as read:
        os.lseek(read.fileno(), 0, os.SEEK_END)
        assert says(stdin=read) == "False"


def test_a_pipe_with_something_in_it() -> None:
    assert says(input="select 1;\n") == "True"
    assert says(input="") == "False"


def test_a_socket_with_something_in_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert says(stdin=theirs) == "False"
        ours.send(b"x")
        assert says(stdin=theirs) == "True"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    started = time.monotonic()
    assert says(stdin=reading) == "False"
    assert time.monotonic() - started < 30
    os.close(reading)
    os.close(writing)


def test_nothing_and_a_terminal_are_no_input() -> None:
    assert says(stdin=subprocess.DEVNULL) == "False"
    assert says(preexec_fn=lambda: os.close(0)) == "False"
    leader, terminal = os.openpty()
    os.write(leader, b"typed\n")
    assert says(stdin=terminal) == "False"
    os.close(leader)
    os.close(terminal)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A cluster on which the project of the current folder runs."""
    (tmp_path / "deploytool.toml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    found = engine()
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(found))
    from deploytool.backends.model import Outcome

    swarm = Swarm(found)
    released = deploy(found, load(tmp_path).app_spec())
    history.finish(swarm.store, history.begin(swarm.store, released), Outcome.DONE, 1.0)
    return found


def answers(*texts: bool) -> Callable[[], bool]:
    left = list(texts)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_input_is_refused_before_anything_runs(
    made: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "has_input", answers(True))
    made.changes.clear()
    assert run(["run", "--", "psql"]) == 2
    assert "Standard input cannot be passed on to a one-off task" in capsys.readouterr().err
    assert made.changes == []


def test_input_that_comes_late_stops_the_command(
    made: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "has_input", answers(False, False, True))
    assert run(["run", "--", "psql"]) == 1
    assert "psql was stopped: standard input came while it ran" in capsys.readouterr().err
    assert [s["Spec"]["Name"] for s in made.services() if "run-" in s["Spec"]["Name"]] == []
