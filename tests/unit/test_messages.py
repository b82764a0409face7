"""What people are told where something goes wrong: the right reason, and the right next step."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.kind import Check, State
from deploytool.backends.model import Outcome
from deploytool.errors import EngineError
from tests.builders import task
from tests.unit.test_rollout import DONE, Scripted, record

MINIMAL = 'app = "items"\n\n[services.web]\nport = 8000\ncommand = ["true"]\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the least of a configuration."""
    (tmp_path / "deploytool.toml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """What a command that fails says."""
    capsys.readouterr()
    assert run(arguments) == code
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "printed", "hint"),
    [
        (4, ["no such record"], "its output says why"),
        (4, [], "it printed nothing: run it in a way that says more"),
        (127, [], "check how it is written"),
    ],
)
def test_next_step_of_a_one_off_task_that_failed(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    printed: list[str],
    hint: str,
) -> None:
    message = 'exec: "check": executable file not found in $PATH' if code == 127 else ""
    ended = task("t1", 1, "failed", exit_code=code, message=message)
    backend: Any = Scripted(DONE, history=[record(Outcome.DONE)], job=[ended])
    backend.printed = printed
    monkeypatch.setattr("deploytool.backends.open_backend", lambda _: backend)
    monkeypatch.setattr("deploytool.unread.has_input", lambda: False)
    monkeypatch.setattr("deploytool.cli.run.noted", lambda *_: nullcontext())
    said = told(capsys, "run", "--", "check")
    assert f"check ended with exit code {code}" in said
    assert hint in said


# --- where keys are written -----------------------------------------------------------------------

PYPROJECT = "[tool.deploytool]\n" + MINIMAL.replace("[services", "[tool.deploytool.services")


@pytest.mark.parametrize(
    ("file", "text", "heading"),
    [
        ("deploytool.toml", MINIMAL, "[{}]"),
        ("pyproject.toml", PYPROJECT, "[tool.deploytool.{}]"),
    ],
)
def test_next_steps_name_tables_as_the_file_has_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    text: str,
    heading: str,
) -> None:
    (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert f"add {heading.format('environments.nope')} to {file}" in told(
        capsys, "plan", "--env", "nope", code=2
    )

    def refuse(_: object) -> None:
        raise EngineError("no", code="x", hint="set [tool.deploytool.proxy] subnet", details=[SET])

    monkeypatch.setattr("deploytool.backends.open_backend", refuse)
    said = told(capsys, "status")
    assert f"set {heading.format('proxy')} subnet" in said
    assert f"set read_only in {heading.format('services.web')}" in said
    check = Check("swarm", State.BAD, "none", SET)
    kind = SimpleNamespace(examine=lambda _: [check])
    monkeypatch.setattr("deploytool.backends.kind_of", lambda _: kind)
    assert run(["doctor"]) == 1
    assert f"set read_only in {heading.format('services.web')}" in capsys.readouterr().out


SET = "set read_only in [tool.deploytool.services.web]"
