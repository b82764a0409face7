"""What people are told where something goes wrong: the right reason, and the right next step."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.kind import Check, State
from deploytool.backends.model import LogLine, Outcome, ServiceProgress, ServiceStatus, Verdict
from deploytool.backends.swarm.api.client import unreachable
from deploytool.backends.swarm.backend import Swarm
from deploytool.cli.common import Session
from deploytool.cli.deploy import show
from deploytool.cli.views import rollout_view
from deploytool.errors import EngineError, UsageError
from deploytool.image.failures import engine_failure, engine_hint
from deploytool.output import Output
from deploytool.redact import MASK
from deploytool.rollout.roll_out import Result
from tests.builders import app, engine, images, service, task
from tests.builders import deploy as deployed
from tests.fake_engine import FakeEngine
from tests.unit.test_rollout import DONE, Scripted, a_plan, record

REPOSITORY = Path(__file__).parents[2]
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


# --- ends that are no failures --------------------------------------------------------------------


class Endless:
    """A cluster whose output goes on until somebody presses Ctrl-C."""

    def logs(self, *_: object, **__: object) -> Iterator[LogLine]:
        yield LogLine(at="", service="web", slot=1, node="n", text="hello")
        raise KeyboardInterrupt

    def status(self, _: str) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("command", ["logs -f", "status --watch"])
def test_interrupt_ends_what_has_no_end(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setattr("deploytool.backends.open_backend", lambda _: Endless())
    assert told(capsys, *command.split(), code=0) == ""
    assert "Interrupted" in told(capsys, command.split()[0], code=130)


MANY_LINES = """
import deploytool.backends
from types import SimpleNamespace
from deploytool.__main__ import main
from deploytool.backends.model import LogLine
line = LogLine(at="", service="web", slot=1, node="n", text="x" * 200)
lines = lambda *_, follow, **__: iter(lambda: line, None) if follow else [line] * 2000
deploytool.backends.open_backend = lambda _: SimpleNamespace(logs=lines)
main()
"""


@pytest.mark.parametrize("options", ["logs", "logs -f", "logs --json", "logs --raw"])
def test_a_reader_that_has_had_enough_is_no_failure(project: Path, options: str) -> None:
    (project / "program.py").write_text(MANY_LINES)
    done = subprocess.run(
        f"{sys.executable} program.py {options} | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.split("\n")[1:], done.stderr) == (["0", ""], "")


# --- the way on -----------------------------------------------------------------------------------


def test_a_rendered_file_that_cannot_be_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert "stacks/items.yml cannot be written: Read-only" in told(capsys, "render", code=2)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("ssh://deploy@manager:2222", "`ssh -p 2222 deploy@manager docker version` has to work"),
        ("ssh://manager", "`ssh manager docker version` has to work"),
        ("command [ssh -l x -- manager docker", "`ssh USER@HOST docker version` has to work"),
        ("unix:///var/run/docker.sock", "systemctl start docker"),
        ("tcp://127.0.0.1:2375", "systemctl start docker"),
        ("tcp://manager:2376", "check manager and its port"),
        ("tcp://[fd00::1]:2376", "check [fd00::1] and its port"),
    ],
)
def test_an_engine_elsewhere_is_not_started_here(address: str, hint: str) -> None:
    assert hint in engine_hint(address)
    assert hint in unreachable(OSError("gone"), address).hint


def test_membership_of_a_group_takes_a_new_login() -> None:
    refused = "permission denied while trying to connect to the Docker daemon socket"
    of_docker = engine_failure(refused)
    assert of_docker is not None
    for hint in (of_docker.hint, unreachable(OSError(13, "Permission denied"), "").hint):
        assert "then log out and in again" in hint


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("run python -V", "come after --: `deploytool run -- COMMAND...`"),
        ("exec web ls -l", "come after --: `deploytool exec SERVICE -- COMMAND...`"),
        ("plan -V", "see `deploytool plan --help`"),
    ],
)
def test_options_of_commands_that_are_run(
    project: Path, capsys: pytest.CaptureFixture[str], call: str, hint: str
) -> None:
    assert hint in told(capsys, *call.split(), code=2)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ('memory = "512M"', 'did you mean "512MiB"?'),
        ('memory_limit = "1.5gb"', 'did you mean "1.5GiB"?'),
        ('domains = ["Bücher.example"]', 'written as "xn--bcher-kva.example"'),
        ('domains = ["*.straße.example"]', 'written as "*.xn--strae-oqa.example"'),
    ],
)
def test_values_that_are_nearly_right(
    project: Path, capsys: pytest.CaptureFixture[str], key: str, hint: str
) -> None:
    (project / "deploytool.toml").write_text(f"{MINIMAL}{key}\n")
    assert hint in told(capsys, "config", "show", code=2)


def test_a_proxy_that_is_not_there_is_started_by_its_own_command() -> None:
    with pytest.raises(UsageError, match="No proxy") as caught:
        Swarm(FakeEngine()).status("proxy")
    assert caught.value.hint == "`deploytool proxy up` starts it"


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


# --- the effective configuration ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "heading"),
    [
        ("deploytool.toml", MINIMAL, "[{}]"),
        ("pyproject.toml", PYPROJECT, "[tool.deploytool.{}]"),
    ],
)
def test_values_are_shown_as_people_write_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    text: str,
    heading: str,
) -> None:
    extra = '\nmemory = "200MB"\nenv = {{ API_TOKEN = "hunter2", NAME = "Zoë" }}\n'
    live = heading.format("environments.live.services.web")
    (tmp_path / file).write_text(f"{text}{extra.format()}{live}\nreplicas = 3\n")
    monkeypatch.chdir(tmp_path)
    assert run(["config", "show", "--env", "live", "--show-values"]) == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert MASK in shown["services.web.env.API_TOKEN"]
    assert "Zoë" in shown["services.web.env.NAME"]
    assert '"200MB"' in shown["services.web.memory"]
    assert shown["services.web.memory"].split(maxsplit=2)[2].strip() == file
    source = f"{file} {heading.format('environments.live')}"
    assert shown["services.web.replicas"].split(maxsplit=2)[2].strip() == source


# --- what a rollout tells -------------------------------------------------------------------------


@pytest.mark.parametrize("is_leaving", [True, False])
def test_waiting_for_its_turn_is_no_news(
    capsys: pytest.CaptureFixture[str], is_leaving: bool
) -> None:
    """Its predecessor holds the port until it has left."""
    reason = "no suitable node (host-mode port already in use on 1 node)"
    state = "running" if is_leaving else "shutdown"
    tasks = (
        task("old", 1, state, wanted=False, current=False),
        task("new", 1, "pending", message=reason, node=""),
    )
    seen = ServiceProgress(service="web", verdict=Verdict.MOVING, wanted=1, ready=0, tasks=tasks)
    with rollout_view(Output()) as report:
        report([seen])
    said = capsys.readouterr().err
    assert "web.1 pending" in said
    assert (reason in said) != is_leaving


def test_published_ports_have_addresses() -> None:
    found = ServiceStatus(
        name="web",
        image="i",
        release="v1",
        replicas=2,
        running=2,
        ports=("8099 to 8000/tcp", "53 to 5353/udp"),
        tasks=(task("a", 1, node="n1"), task("b", 2, node="n2"), task("c", 3, "failed", node="n3")),
    )
    assert found.addresses == ("n1:8099", "n2:8099", "n1:53", "n2:53")


def test_addresses_of_published_ports_are_shown_after_a_deploy(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = app(service(publish={"port": 8099, "mode": "host"}, domains=[]))
    made = engine(spec)
    done = deployed(made, spec)
    for one in made.tasks_of("items_web"):
        made.set_task(one["ID"], "running")
    session = Session(env=None, as_json=False, verbose=False, yes=True)
    show(session, Swarm(made), images(spec), Result(done, a_plan(), 1.0))
    assert "node-1:8099" in capsys.readouterr().out


# --- options that all commands share --------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "replicas"),
    [
        ("--json config show", 1),
        ("--json --env live config show", 3),
        ("--env live config show --json", 3),
        ("--env nope --json config show --env live", 3),
        ("config --json show", None),
    ],
)
def test_shared_options_before_the_command(
    project: Path, capsys: pytest.CaptureFixture[str], call: str, replicas: int | None
) -> None:
    live = "[environments.live.services.web]\nreplicas = 3\n"
    (project / "deploytool.toml").write_text(MINIMAL + live)
    code = run(call.split())
    out = capsys.readouterr().out
    if replicas is None:
        assert (code, json.loads(out)["error"]["code"]) == (2, "usage")
        return
    settings = {s["path"]: s["value"] for s in json.loads(out)["data"]["settings"]}
    assert (code, settings["services.web.replicas"]) == (0, replicas)


def test_variable_gives_way_to_the_option_before_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "deploytool.toml").write_text(MINIMAL + "[environments.live]\n[environments.test]\n")
    monkeypatch.setenv("DEPLOYTOOL_ENV", "test")
    for call, environment in (("config show", "test"), ("--env live config show", "live")):
        assert run([*call.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["data"]["environment"] == environment
