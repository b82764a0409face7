"""What every command promises: the shared options, one JSON object, the exit codes, no traceback.

The commands are read off the program, so a new one is held to it without being named here.
"""

from __future__ import annotations

import gc
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from deploytool.__main__ import run
from deploytool.cli import COMMANDS as BY_PURPOSE
from deploytool.cli import app
from deploytool.cli.common import CommandGroup
from deploytool.errors import (
    DeploytoolError,
    EngineError,
    ExitCode,
    ImageError,
    Interrupted,
    PlanError,
    RegistryError,
    RolledBack,
    RolloutFailed,
    RolloutTimedOut,
    UsageError,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""The SDK forgets to close the connection that it could not make."""
PROJECT = Path(__file__).parents[2]
DEAD = "unix:///nowhere/docker.sock"
NEEDED = {"replicas": "web=2", "assignments": "web=2"}
"""Arguments that a command cannot do without, by name; any other gets "web"."""
NO_PROJECT = ("config schema", "doctor", "init", "lint")
"""Commands that say something useful without a project."""
CLUSTER = (
    *("capacity", "cluster up", "cluster status", "cluster down"),
    *("proxy up", "proxy status", "proxy down"),
)
"""Commands about a cluster, which needs no project."""
PURE = ("config show", "config schema", "render", "proxy render", "lint")
"""Commands that need no engine."""


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


EVERYTHING = {" ".join(path): command for path, command in walk(typer.main.get_command(app))}
COMMANDS = {n: c for n, c in EVERYTHING.items() if not hasattr(c, "commands")}
every_command = pytest.mark.parametrize("name", COMMANDS)


ALTERNATIVES = {"secrets set": ["TOKEN"]}
"""Arguments of commands that need one thing or another."""


def line(name: str) -> list[str]:
    """A whole command line: the command and what it cannot do without."""
    needed = [
        NEEDED.get(parameter.name, "web")
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "argument" and parameter.required
    ]
    return [*name.split(), *needed, *ALTERNATIVES.get(name, [])]


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def body(self) -> dict[str, Any]:
        """Standard output, which has to be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        assert "Traceback" not in self.err
        return found

    @property
    def error(self) -> dict[str, str]:
        found = self.body
        assert list(found) == ["error"]
        error: dict[str, str] = found["error"]
        assert {"code", "message", "hint"} <= error.keys() <= {"code", "message", "hint", "details"}
        assert re.fullmatch(r"[a-z_]+", error["code"])
        assert error["message"]
        assert error["hint"]
        return error


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No engine, no context, no configuration of whoever runs the tests."""
    for name in [n for n in os.environ if n.startswith(("DOCKER_", "DEPLOYTOOL_", "BUILDX_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    monkeypatch.setenv("DOCKER_HOST", DEAD)


@pytest.fixture(scope="module", autouse=True)
def _forgotten_connections() -> Iterator[None]:
    """Let go of while this module's filter is in force."""
    yield
    gc.collect()


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which there is nothing."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, in a folder of its own."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT / "app", folder / "app")
    for name in ("pyproject.toml", "Dockerfile", ".dockerignore"):
        shutil.copy(PROJECT / name, folder)
    monkeypatch.chdir(folder)
    return folder


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    code = run(arguments)
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)


@every_command
def test_shared_options(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--env", "-e", "--json", "--verbose", "-v", "--yes", "-y"} <= options


@every_command
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name])
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = ran(capsys, *name.split(), "--help")
    assert done.code == ExitCode.DONE
    assert done.out.startswith(f"Usage: deploytool {name} ")
    assert EVERYTHING[name].help
    assert EVERYTHING[name].help.split("\n")[0].endswith(".")
    assert done.err == ""


@every_command
def test_json_in_an_empty_folder(
    name: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ran(capsys, *line(name), "--json")
    if name in NO_PROJECT:
        assert list(done.body) in (["data", "warnings"], ["error"])
    elif name in CLUSTER:
        assert (done.error["code"], done.code) == ("engine_unreachable", ExitCode.FAILED)
    else:
        assert (done.error["code"], done.code) == ("no_config", ExitCode.USAGE)
    assert list(empty.iterdir()) == []


@every_command
def test_json_without_an_engine(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ran(capsys, *line(name), "--json")
    if name in (*PURE, "init"):
        assert list(done.body) == ["data", "warnings"]
        assert isinstance(done.body["warnings"], list)
    elif name == "doctor":
        assert done.body["data"]["healthy"] is False
        assert done.code == ExitCode.FAILED
    elif name in ("build", "push"):
        assert done.error["code"]
        assert done.code == ExitCode.FAILED
    else:
        assert (done.error["code"], done.code) == ("engine_unreachable", ExitCode.FAILED)


@every_command
def test_words_for_people_without_an_engine(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ran(capsys, *line(name))
    assert "Traceback" not in done.out + done.err
    assert "\x1b" not in done.out + done.err
    if done.code and name not in ("doctor", "lint"):
        assert done.out == ""
        assert done.err.splitlines()[-1].startswith("  → ")


@every_command
def test_an_unknown_option(name: str, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = ran(capsys, *line(name), "--json", "--nonsense")
    assert (done.error["code"], done.code) == ("usage", ExitCode.USAGE)


@every_command
def test_an_environment_that_is_not_there(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in ("init", "config schema"):
        return
    done = ran(capsys, *line(name), "--json", "--env", "nowhere")
    assert (done.error["code"], done.code) == ("config_invalid", ExitCode.USAGE)


def test_problems_of_the_configuration_come_all_together(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "deploytool.toml").write_text('app = "X"\n[services.web]\nport = "x"\nreplcas = 1\n')
    done = ran(capsys, "plan", "--json")
    assert done.code == ExitCode.USAGE
    details = done.body["error"]["details"]
    assert len(details) == 3
    assert any("did you mean 'replicas'?" in detail for detail in details)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nope",), "usage"),
        (("scale", "web"), "usage"),
        (("scale", "web=-1"), "usage"),
        (("scale", "web=99999999"), "usage"),
        (("deploy", "--timeout", "soon"), "usage"),
        (("rollback", "--timeout", "10"), "usage"),
        (("status", "--watch"), "usage"),
        (("exec", "web"), "usage"),
        (("logs", "--follow"), "usage"),
        (("logs", "--since", "yesterday"), "usage"),
        (("logs", "--tail", "-1"), "usage"),
        (("render", "--backend", "kubernetes"), "usage"),
        (("render", "--format", "json"), "usage"),
        (("render", "--format", "yaml"), "usage"),
    ],
)
def test_wrong_calls(
    arguments: tuple[str, ...], code: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ran(capsys, *arguments, "--json")
    assert (done.error["code"], done.code) == (code, ExitCode.USAGE)


@pytest.mark.parametrize("arguments", [(), ("cluster",), ("config",), ("proxy",), ("secrets",)])
def test_a_call_without_a_command_gets_the_help(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    done = ran(capsys, *arguments)
    assert done.code == ExitCode.USAGE
    assert done.err.startswith("Usage: deploytool")
    assert done.out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"deploytool \d+\.\d+\.\d+\n", ran(capsys, "--version").out)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeploytoolError, 1),
        (EngineError, 1),
        (RegistryError, 1),
        (ImageError, 1),
        (PlanError, 1),
        (RolloutFailed, 1),
        (UsageError, 2),
        (RolledBack, 3),
        (RolloutTimedOut, 4),
        (Interrupted, 130),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_exit_codes(
    kind: type[DeploytoolError],
    code: int,
    as_json: bool,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("it did not work", code="some_code", hint="mend it", details=["line one"])

    monkeypatch.setattr("deploytool.backends.open_backend", fail)
    done = ran(capsys, "status", *(["--json"] if as_json else []))
    assert done.code == code
    if as_json:
        assert done.error == {
            "code": "some_code",
            "message": "it did not work",
            "hint": "mend it",
            "details": ["line one"],
        }
    else:
        assert done.err == "✗ it did not work\n    line one\n  → mend it\n"


@pytest.mark.parametrize(
    ("raised", "code", "exit_code"),
    [
        (KeyboardInterrupt(), "interrupted", ExitCode.INTERRUPTED),
        (ValueError("surprise"), "unexpected", ExitCode.FAILED),
        (RecursionError(), "unexpected", ExitCode.FAILED),
    ],
)
def test_what_nobody_expected(
    raised: BaseException,
    code: str,
    exit_code: int,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("deploytool.backends.open_backend", fail)
    done = ran(capsys, "status", "--json")
    assert done.code == exit_code
    assert done.body["error"]["code"] == code


def test_verbose_shows_where(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Traceback" in ran(capsys, "status", "-v").err


def test_plan_with_exit_code(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from tests.builders import engine

    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(engine()))
    done = ran(capsys, "plan", "--json", "--exit-code", "--image", "r/items:1")
    assert done.code == 5
    assert done.body["data"]["changed"] is True
    assert ran(capsys, "plan", "--json", "--image", "r/items:1").code == ExitCode.DONE


def test_status_with_exit_code(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from deploytool.config import load
    from tests.builders import deploy, engine

    made = engine()
    deploy(made, load(project).app_spec())
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    assert ran(capsys, "status", "--exit-code").code == ExitCode.DONE
    made.set_task(made.tasks_of("items_web")[0]["ID"], "failed", wanted="shutdown")
    done = ran(capsys, "status", "--json", "--exit-code")
    assert done.code == 6
    assert done.body["data"]["services"][0]["missing"] == 1
    done = ran(capsys, "status")
    assert done.code == ExitCode.DONE
    assert "replicas are missing: 1 of 4 of web" in done.out
    assert ran(capsys, "status", "--watch", "--exit-code").code == ExitCode.USAGE


def test_exec_ends_as_the_command_does(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from deploytool.config import load
    from tests.builders import deploy, engine, images

    made = engine(nodes=1)
    spec = load(project).app_spec()
    deploy(made, spec, images(spec))
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    done = ran(capsys, "exec", "web", "--json", "--", "ls", "--json")
    assert done.code == 3
    assert made.executed[0][1] == ["ls", "--json"]
    assert done.body["data"] == {
        "replica": "web.1",
        "node": "node-1",
        "exit_code": 3,
        "stdout": "out\n",
        "stderr": "err\n",
    }
    became: list[list[str]] = []
    monkeypatch.setattr("deploytool.process.become", became.append)
    assert ran(capsys, "exec", "web", "ls").code == 0
    assert became[0][:3] == ["docker", "exec", "--interactive"]


def test_capacity_needs_no_project(
    empty: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from tests.builders import engine

    monkeypatch.setattr(
        "deploytool.backends.open_backend", lambda config: Swarm(engine(), sampling=0.0)
    )
    done = ran(capsys, "capacity", "--json")
    assert [node["node"] for node in done.body["data"]["nodes"]] == ["node-1", "node-2", "node-3"]
    assert done.body["data"]["services"] == []


def test_capacity_and_plan_for_people(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from tests.builders import engine
    from tests.fake_engine import node

    nodes = [node("node-1"), node("node-2", cpu=1, availability="drain")]
    monkeypatch.setattr(
        "deploytool.backends.open_backend", lambda config: Swarm(engine(nodes=nodes), sampling=0.0)
    )
    shown = ran(capsys, "capacity").out
    for line in (
        r"node +has +reserved +free +used +50% to 90%",
        r"node-1 +memory +8GiB +0MiB  0% +8GiB +0MiB  0% +below",
        r" +cores +4 +0  0% +4 +0  0% +below",
        r"node-2 \(drain\) +memory .* \? +below by what is reserved",
        r"web +96MiB and 0\.1 cores +\? +40 \(node-1 40, node-2 0\)",
        r"\? only a node's own engine .*: docker --host ssh://NODE stats",
        r"All nodes together are below 50% to 90% \(memory 0% used, cores 0% used\): fewer",
    ):
        assert re.search(line, shown), f"{line}\n{shown}"
    shown = ran(capsys, "plan", "--image", "r/items:1").out
    assert re.search(
        r"capacity  reserves nothing → \d+MiB and 0\.4 cores; 8GiB and 4 cores free now", shown
    ), shown


@pytest.mark.parametrize("name", ["destroy", "cluster down", "proxy down"])
def test_what_destroys_asks_first(
    name: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from deploytool.config import load
    from tests.builders import deploy, engine, images, with_proxy

    made = with_proxy(engine())
    spec = load(project).app_spec()
    deploy(made, spec, images(spec))
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    monkeypatch.setattr("deploytool.backends.swarm.kind._client", lambda config: made)
    before = len(made.services())
    done = ran(capsys, *name.split(), "--json")
    assert (done.error["code"], done.code) == ("confirmation_required", ExitCode.USAGE)
    assert len(made.services()) == before


def test_a_second_project_takes_nothing_from_the_proxy(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from tests.builders import engine

    made = engine()
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    monkeypatch.setattr("time.sleep", lambda _: None)
    plain = 'app = "items"\n[services.web]\nport = 8000\n'
    secure = f'{plain}\n[proxy]\nemail = "ops@example.com"\n'
    (project / "deploytool.toml").write_text(secure)
    up = ("proxy", "up", "--yes", "--json")
    assert ran(capsys, *up).body["data"]["https_port"] == 443
    (project / "deploytool.toml").write_text(plain)
    second = ran(capsys, *up).body
    assert (second["data"]["changed"], second["data"]["https_port"]) == (False, 443)
    assert "email" in second["warnings"][0]
    third = ran(capsys, *up, "--replace").body
    assert (third["data"]["changed"], third["data"]["https_port"]) == (True, None)


def test_secrets_are_in_nothing_that_is_printed(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytool.backends.swarm.backend import Swarm
    from tests.builders import engine

    (project / "deploytool.toml").write_text(
        'app = "items"\n[services.web]\nport = 8000\n'
        'command = ["run", "--db", "postgres://app:hunter2@db/x"]\n'
        'env = { API_TOKEN = "hunter2", DATABASE_URL = "postgres://app:hunter2@db/x" }\n'
    )
    made = engine()
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    monkeypatch.setattr("time.sleep", lambda _: None)
    for command in (
        ["config", "show"],
        ["plan", "--image", "r/items:1"],
        ["deploy", "--image", "r/items:1", "--yes", "--timeout", "1m", "--no-wait"],
        ["status"],
        ["releases"],
    ):
        for more in (["--json"], ["--verbose"]):
            done = ran(capsys, *command, *more)
            assert done.code == ExitCode.DONE, done
            assert "hunter2" not in done.out + done.err, command


# As a program, with a terminal and without


def program(*arguments: str, folder: Path, **environ: str) -> str:
    """What a terminal shows of a command."""
    controller, terminal = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "deploytool", *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(PROJECT), **environ},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:
        pass
    finally:
        os.close(controller)
        done.wait(timeout=30)
    return shown.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38)[0-9;]*m")


def test_a_terminal_shows_colours_unless_told_not_to(project: Path) -> None:
    environ = {"NO_COLOR": ""}
    assert COLOUR.search(program("status", folder=project, **environ))
    plain = program("status", folder=project, NO_COLOR="1")
    assert "does not answer" in plain
    assert not COLOUR.search(plain)


def test_json_on_a_terminal_is_json(project: Path) -> None:
    shown = program("config", "show", "--json", folder=project)
    assert json.loads(shown)["data"]["settings"]


def test_a_reader_that_goes_away_is_no_traceback(project: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m deploytool config schema | head -1",
        shell=True,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# --- help -----------------------------------------------------------------------------------------


def test_help_lists_every_command_once_and_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = ran(capsys, "--help").out.partition("\nStart:")[2]
    assert "..." not in listed
    names = re.findall(r"^  ([a-z]+)  +\S", listed, re.MULTILINE)
    assert sorted(names) == sorted({name.partition(" ")[0] for name in EVERYTHING} - {""})


def every_example() -> list[str]:
    commands = [
        one
        for found in BY_PURPOSE.values()
        for group in found
        for one in (group.commands if isinstance(group, CommandGroup) else (group,))
    ]
    assert all(one.examples for one in commands)
    return [example for one in commands for example in one.examples]


@pytest.mark.parametrize("example", every_example())
def test_examples_in_the_help_are_calls_that_the_command_takes(example: str) -> None:
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "deploytool"
    command: Any = typer.main.get_command(app)
    name = program
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    with command.make_context(name, words):
        pass
