"""What people and scripts see of results and failures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

import deploytool.cli
from deploytool import errors
from deploytool.__main__ import run
from deploytool.cli.common import Session, command
from deploytool.errors import ConfigError, DeploytoolError, ExitCode, Problem
from deploytool.output import Output

CODES = {
    "UsageError": 2,
    "ConfigError": 2,
    "EngineError": 1,
    "RegistryError": 1,
    "ImageError": 1,
    "PlanError": 1,
    "RolloutFailed": 1,
    "RolledBack": 3,
    "RolloutTimedOut": 4,
    "Interrupted": 130,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_exit_codes_are_promises(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code
    assert issubclass(getattr(errors, name), DeploytoolError)


def test_all_problems_of_a_configuration_are_told_together() -> None:
    problems = [Problem("a.b", "is missing"), Problem("", "no", "do it")]
    error = ConfigError(problems, source="pyproject.toml")
    assert error.message == "2 problems in pyproject.toml"
    assert error.details == ("a.b: is missing", "no (do it)")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A command `fail` that raises what is put here."""
    app = typer.Typer(pretty_exceptions_enable=False)
    said: dict[str, Any] = {}

    @command("fail")
    def fail(session: Session) -> None:
        raise said["error"]

    @command("other")
    def other(session: Session) -> None:
        secret = "hunter2"
        session.output.warn("careful")
        session.output.warn("careful")
        if said.get("broken"):
            raise RuntimeError("it broke")
        session.output.result({"a": len(secret)}, lambda console: console.print("seven"))

    fail.add_to(app)
    other.add_to(app)
    monkeypatch.setattr(deploytool.cli, "app", app)
    return said


ERROR = DeploytoolError(
    "It [failed]", code="it_failed", hint="try [this]", details=["line [1]", "line 2"]
)


def test_a_failure_for_people(failing: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    failing["error"] = ERROR
    assert run(["fail"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "✗ It [failed]",
        "    line [1]",
        "    line 2",
        "  → try [this]",
    ]


def test_a_failure_for_scripts(failing: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    failing["error"] = ERROR
    assert run(["fail", "--json"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "error": {
            "code": "it_failed",
            "message": "It [failed]",
            "hint": "try [this]",
            "details": ["line [1]", "line 2"],
        }
    }


@pytest.mark.parametrize("code", list(ExitCode)[1:])
def test_every_exit_code_arrives(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str], code: ExitCode
) -> None:
    error = DeploytoolError("no", code="no")
    error.exit_code = code
    failing["error"] = error
    assert run(["fail"]) == code


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (RuntimeError("boom"), 1, "unexpected"),
        (RecursionError("deep"), 1, "unexpected"),
    ],
)
def test_what_nobody_raised_on_purpose(
    failing: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    name: str,
) -> None:
    failing["error"] = error
    assert run(["fail", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["code"] == name


def test_typer_exits_are_exits(failing: dict[str, Any]) -> None:
    failing["error"] = typer.Exit(5)
    assert run(["fail"]) == 5


@pytest.mark.parametrize("arguments", [["no-such"], ["fail", "--no-such"], ["fail", "extra"]])
def test_a_wrong_call(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run([*arguments, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert "--help" in error["hint"]


def test_tracebacks_only_when_asked_for_and_without_values(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["broken"] = True
    assert run(["other"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert run(["other", "--verbose"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert 'raise RuntimeError("it broke")' in err


def test_results_and_warnings_for_people(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["other"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("seven\n", "! careful\n")


def test_results_and_warnings_for_scripts(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["other", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"data": {"a": 7}, "warnings": ["careful"]}, "")


def test_what_comes_after_two_dashes_is_not_ours(
    failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """`deploytool exec web -- ls --json -v`"""
    assert run(["fail", "--", "--json", "-v"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


class TestQuestions:
    def answering(
        self, monkeypatch: pytest.MonkeyPatch, answer: str | None, *, as_json: bool = False
    ) -> Output:
        stdin = io.StringIO(answer or "")
        monkeypatch.setattr(stdin, "isatty", lambda: answer is not None)
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stderr.isatty", lambda: answer is not None, raising=False)
        return Output(as_json=as_json)

    @pytest.mark.parametrize(
        ("answer", "wanted"),
        [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)],
    )
    def test_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch, answer: str, wanted: bool
    ) -> None:
        output = self.answering(monkeypatch, answer)
        assert output.confirm("Deploy?") is wanted

    def test_nobody_is_asked_without_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        output = self.answering(monkeypatch, None)
        assert output.confirm("Deploy?")

    def test_nobody_is_asked_with_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        output = self.answering(monkeypatch, "n\n", as_json=True)
        assert not output.interactive
        assert output.confirm("Deploy?")

    def test_what_destroys_takes_a_yes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        output = self.answering(monkeypatch, None)
        with pytest.raises(errors.UsageError) as raised:
            output.require_confirmation("Destroy?", assume_yes=False)
        assert raised.value.code == "confirmation_required"
        assert output.require_confirmation("Destroy?", assume_yes=True)


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
@settings(deadline=None)
def test_any_text_can_be_said(message: str, hint: str, details: list[str]) -> None:
    error = DeploytoolError(message, code="x", hint=hint, details=details)
    with pytest.MonkeyPatch.context() as patch:
        out, err = io.StringIO(), io.StringIO()
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        Output().error(error)
        output = Output(as_json=True)
        output.warn(message)
        output.error(error)
    assert json.loads(out.getvalue())["error"]["message"] == message


def deploytool_in(folder: Path, *arguments: str, **environ: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "deploytool", *arguments],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_can_be_written(tmp_path: Path, flags: list[str], encoding: str) -> None:
    (tmp_path / "deploytool.toml").write_text('app = "\U0001f680"\nservices.a.port = 1\n', "utf-8")
    code, out, err = deploytool_in(tmp_path, "config", "show", *flags, PYTHONIOENCODING=encoding)
    assert (code, b"Traceback" in err) == (2, False)
    assert b"1 problem in deploytool.toml" in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["config", "show"], ["config", "show", "--json"], ["config", "schema"]),
        *(["render", "--stdout"], ["deploy", "--env", "none", "--json"]),
    ],
)
def test_output_that_has_no_room(tmp_path: Path, arguments: list[str]) -> None:
    text = 'app = "a"\nservices.a.command = ["true"]\n'
    (tmp_path / "deploytool.toml").write_text(text, "utf-8")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deploytool", *arguments],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode in (1, 2)
    assert "✗ The output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("flags", ["", "--json"])
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_output_that_is_closed(tmp_path: Path, flags: str, closed: str) -> None:
    (tmp_path / "deploytool.toml").write_text('app = "a"\nservices.a.command = ["true"]\n', "utf-8")
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m deploytool config show {flags} {closed}"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_said_on_the_way_needs_no_room(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n", "utf-8")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deploytool", "init", "--offline"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
            text=True,
        )
    assert done.returncode == 0
    assert (tmp_path / "deploytool.toml").exists()


def test_variables_that_are_no_text_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "deploytool.toml").write_text('app = "a"\nservices.a.port = 1\n', "utf-8")
    name, value = os.fsdecode(b"DEPLOYTOOL_SERVICES__A__\xff"), os.fsdecode(b"\xfe")
    for flags in ([], ["--json"]):
        code, _, err = deploytool_in(tmp_path, "config", "show", *flags, **{name: value})
        assert (code, b"Traceback" in err) == (2, False)


def test_what_nohup_asks_for_is_kept() -> None:
    code = (
        "import signal, sys\n"
        "from deploytool.__main__ import main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "sys.argv = ['deploytool', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(signal.getsignal(signal.SIGHUP).name)\n"
        "print(callable(signal.getsignal(signal.SIGTERM)))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-2:] == ["SIG_IGN", "True"]
