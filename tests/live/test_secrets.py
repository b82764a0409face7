"""Secrets and configuration files on real clusters: set, read by replicas, changed, gone back to,
thrown away, and shown nowhere."""

from __future__ import annotations

import hashlib
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploytool.backends.swarm import connect
from deploytool.backends.swarm.specification import labels
from deploytool.records import history
from tests.live.clusters import both, both_thorough
from tests.live.conftest import DEPLOYTOOL, Project, Ran

FIRST, SECOND, THIRD = (f"s3cret-{word}-{os.getpid()}" for word in ("one", "two", "three"))
REPORT = """
import hashlib, pathlib, time
for path in sorted(pathlib.Path("/run/secrets").glob("*")):
    print("secret", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def workers(project: Project) -> Iterator[Project]:
    """Two services without a port: one that says which secrets it has, and one that has none.
    Nomad runs no commands as health checks."""
    reader = {
        "command": ["python", "-c", REPORT],
        "secrets": ["TOKEN"],
        "update": {"monitor": "1s"},
        "stop_grace": "1s",
        "drain": "0s",
        "healthcheck": {
            "command": ["test", "-s", "/run/secrets/TOKEN"],
            "interval": "1s",
            "timeout": "10s",
            "start_period": "30s",
        },
    }
    if project.cluster.name == "nomad":
        del reader["healthcheck"]
    other = {key: reader[key] for key in ("update", "stop_grace", "drain")}
    project.services = {"reader": reader, "other": other | {"command": ["sleep", "3600"]}}
    project.configure()
    yield project
    for secret in project.ok("secrets", "list")["secrets"]:
        project.run("secrets", "remove", secret["name"], "--yes")


def put(project: Project, value: str, *arguments: str) -> Ran:
    """`secrets set` with a value on standard input; the value is in nothing that it prints."""
    done = subprocess.run(
        [*DEPLOYTOOL, "secrets", "set", *arguments, "--json", "--verbose"],
        cwd=project.folder,
        env=project.env,
        input=value,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert value not in done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def verbose(project: Project, *arguments: str) -> Ran:
    """A command that shows all that it can, its traceback too."""
    process = project.start(*arguments, "--json", "--verbose")
    stdout, stderr = process.communicate(timeout=120)
    return Ran(process.returncode, stdout, stderr)


def version(project: Project, value: str) -> tuple[int, bool]:
    (done,) = put(project, value, "TOKEN").data["secrets"]
    return done["version"], done["changed"]


def inside(project: Project, service: str, *command: str) -> str:
    """What a command prints in a service's one replica."""
    node, name = project.cluster.container(project, service)
    done = subprocess.run(
        ["docker", "exec", name, *command],
        env=project.env | node.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def everything_told(project: Project) -> str:
    """All that deploytool shows of an app."""
    shown = []
    for call in (["secrets", "list"], ["releases"], ["status", "--all"], ["config", "show"]):
        for more in (["--json"], ["--verbose"]):
            ran = project.run(*call, *more, json_output=False)
            shown.append(ran.stdout + ran.stderr)
    return "".join(shown)


def everything_shown(project: Project) -> str:
    """All that the cluster and deploytool show of an app."""
    return project.cluster.shown(project) + everything_told(project)


@both_thorough
@pytest.mark.core
def test_set_deploy_change_and_back(workers: Project, example_image: str) -> None:
    project = workers
    step = {"command": ["sha256sum", "/run/secrets/TOKEN"], "service": "reader"}
    project.extra["release"] = step
    project.configure()
    missing = project.run("deploy", "--image", example_image)
    assert missing.error["code"] == "secret_missing"
    assert version(project, FIRST) == (1, True)
    project.ok("deploy", "--image", example_image)
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST
    before = {name: project.running(name) for name in project.services}

    assert version(project, FIRST) == (1, False)
    again = project.ok("deploy", "--image", example_image)
    assert (again["changed"], again["release"]) == (False, "v1")

    assert version(project, SECOND) == (2, True)
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST
    planned = project.ok("plan", "--image", example_image)
    (change,) = [change for change in planned["changes"] if change["action"] != "keep"]
    assert change["fields"] == [
        {"path": "secrets.TOKEN", "before": "version 1", "after": "version 2"}
    ]
    changed = project.run("deploy", "--image", example_image)
    assert (changed.data["changed"], changed.data["release"]) == (True, "v2")
    assert hashlib.sha256(SECOND.encode()).hexdigest() in changed.stderr, "the release step's"
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == SECOND
    assert project.running("reader").isdisjoint(before["reader"])
    assert project.running("other") == before["other"]

    (token,) = project.ok("secrets", "list")["secrets"]
    assert (token["version"], token["services"]) == (2, {"reader": 2})
    assert token["older"] == [{"version": 1, "releases": ["v1"]}]

    project.ok("rollback")
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST
    shown = everything_shown(project)
    for value in (FIRST, SECOND):
        assert value not in shown
        assert hashlib.sha256(value.encode()).hexdigest() not in shown


@both
@pytest.mark.thorough
def test_remove_is_refused_while_it_is_read(workers: Project, example_image: str) -> None:
    project = workers
    version(project, FIRST)
    project.ok("deploy", "--image", example_image)
    refused = project.run("secrets", "remove", "TOKEN", "--yes")
    assert (refused.code, refused.error["code"]) == (2, "secret_in_use")
    version(project, SECOND)
    project.services["reader"] |= {"secrets": None, "healthcheck": None}
    project.configure()
    project.ok("deploy", "--image", example_image)
    unsure = project.run("secrets", "remove", "TOKEN")
    assert unsure.error["code"] == "confirmation_required"
    removed = project.ok("secrets", "remove", "TOKEN", "--yes")["removed"]
    called = {
        "swarm": f"{project.app}_TOKEN.",
        "nomad": f"nomad/jobs/{project.app}:TOKEN__",
    }[project.cluster.name]
    assert removed == [f"{called}1", f"{called}2"]
    assert project.run("secrets", "remove", "TOKEN", "--yes").error["code"] == "unknown_secret"
    back = project.run("rollback")
    assert (back.code, back.error["code"]) == (1, "secret_gone")
    assert version(project, THIRD) == (2, True), "no release ran with the version 2 of before"


@both_thorough
def test_many_from_an_env_file(workers: Project, example_image: str) -> None:
    project = workers
    file = project.folder / ".env.production"
    file.write_text(f"TOKEN={FIRST}\n# remark\nOTHER='{SECOND} # ${{HOME}}\n{THIRD}'\n")
    done = verbose(project, "secrets", "set", "--env-file", str(file))
    assert [s["name"] for s in done.data["secrets"]] == ["OTHER", "TOKEN"]
    assert not [v for v in (FIRST, SECOND, THIRD) if v in done.stdout + done.stderr]
    project.services["reader"]["secrets"] = ["TOKEN", "OTHER"]
    project.configure()
    project.ok("deploy", "--image", example_image)
    other = inside(project, "reader", "cat", "/run/secrets/OTHER")
    assert other == f"{SECOND} # ${{HOME}}\n{THIRD}"
    file.write_text(f"TOKEN={FIRST}\n{SECOND}\n")
    wrong = verbose(project, "secrets", "set", "--env-file", str(file))
    assert wrong.error["code"] == "env_file_invalid"
    assert "Traceback" in wrong.stderr
    assert SECOND not in wrong.stdout + wrong.stderr


def test_a_value_is_no_argument(workers: Project) -> None:
    for call in (("TOKEN", FIRST), (f"TOKEN={FIRST}",)):
        ran = verbose(workers, "secrets", "set", *call)
        assert (ran.code, ran.error["code"]) == (2, "secret_in_arguments")
        assert "Traceback" in ran.stderr
        assert FIRST not in ran.stdout + ran.stderr
    assert workers.ok("secrets", "list")["secrets"] == []


def test_a_terminal_is_asked_and_shows_nothing(workers: Project) -> None:
    """The prompt is on the terminal of the command, which echoes nothing while it asks."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workers.folder)
        os.execve(DEPLOYTOOL[0], [*DEPLOYTOOL, "secrets", "set", "TOKEN"], workers.env)
    shown = b""
    while b"not shown" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, f"{FIRST}\n".encode())
    try:
        while part := os.read(terminal, 1000):
            shown += part
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert "is now version 1" in shown.decode()
    assert FIRST not in shown.decode()
    assert version(workers, FIRST) == (1, False)


@pytest.mark.thorough
def test_what_was_made_by_hand_gives_way(workers: Project, example_image: str) -> None:
    project = workers
    value = project.folder / "value"
    value.write_text(FIRST)
    name = f"{project.app}_TOKEN"
    project.docker("secret", "create", name, str(value))
    project.ok("deploy", "--image", example_image)
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST
    version(project, SECOND)
    project.ok("deploy", "--image", example_image)
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == SECOND
    project.ok("rollback")
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST
    project.ok("destroy", "--yes")
    assert project.docker("secret", "ls", "-q", "-f", f"name={name}.") == ""
    project.docker("secret", "rm", name)


@both
@pytest.mark.thorough
def test_failed_deploy_leaves_the_old_value(workers: Project, example_image: str) -> None:
    project = workers
    version(project, FIRST)
    works = ["grep", "-q", "one", "/run/secrets/TOKEN"]
    if check := project.services["reader"].get("healthcheck"):
        check |= {"command": works, "start_period": "1s", "retries": 2}
    else:
        ends = f"{' '.join(works)} || exit 3; exec sleep 3600"
        project.services["reader"]["command"] = ["sh", "-c", ends]
    project.configure()
    project.ok("deploy", "--image", example_image)
    version(project, SECOND)
    failed = project.run("deploy", "--image", example_image)
    assert (failed.code, failed.error["code"]) == (3, "rolled_back")
    assert SECOND not in failed.stdout + failed.stderr
    assert inside(project, "reader", "cat", "/run/secrets/TOKEN") == FIRST


def configured(project: Project, content: str, name: str = "web.yml") -> Path:
    file = project.folder / "config" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    targets = {"/etc/app/settings.yml": "config/web.yml", "/tmp/also.yml": "config/web.yml"}
    project.services["reader"] |= {"files": targets, "secrets": None, "healthcheck": None}
    project.configure()
    return file


@both
@pytest.mark.thorough
def test_configuration_files(workers: Project, example_image: str) -> None:
    project = workers
    configured(project, "a: 1\n")
    project.ok("deploy", "--image", example_image)
    for path in ("/etc/app/settings.yml", "/tmp/also.yml"):
        assert inside(project, "reader", "cat", path) == "a: 1\n"
        assert inside(project, "reader", "stat", "-c", "%a", path) == "444\n"
    before = {name: project.running(name) for name in project.services}
    assert project.run("plan", "--image", example_image, "--exit-code").code == 0

    configured(project, "a: 2\n")
    planned = project.ok("plan", "--image", example_image)
    (change,) = [c for c in planned["changes"] if c["action"] == "update"]
    assert [field["path"] for field in change["fields"]] == [
        "files./etc/app/settings.yml",
        "files./tmp/also.yml",
    ]
    project.ok("deploy", "--image", example_image)
    assert inside(project, "reader", "cat", "/etc/app/settings.yml") == "a: 2\n"
    assert project.running("reader").isdisjoint(before["reader"])
    assert project.running("other") == before["other"]

    project.ok("rollback")
    assert inside(project, "reader", "cat", "/etc/app/settings.yml") == "a: 1\n"
    # On Nomad a file is part of the job, which its readers see.
    shown = everything_shown if project.cluster.name == "swarm" else everything_told
    assert "a: 1" not in shown(project).replace("\\n", "\n")

    (project.folder / "config" / "web.yml").unlink()
    missing = project.run("deploy", "--image", example_image)
    assert (missing.code, missing.error["code"]) == (2, "config_invalid")
    project.ok("destroy", "--yes")
    assert project.cluster.leftovers(project) == []


@pytest.mark.thorough
def test_what_no_release_needs_is_thrown_away(
    workers: Project, example_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two releases kept instead of twenty."""
    from deploytool.config import load
    from deploytool.rollout.images import resolve_images
    from deploytool.rollout.release import new_release
    from deploytool.rollout.roll_out import roll_out

    project = workers
    monkeypatch.setattr(history, "KEPT", 2)
    swarm = connect(host=project.env["DOCKER_HOST"])
    project.services = {"reader": project.services["reader"]}
    for number, value in enumerate((FIRST, SECOND, THIRD)):
        configured(project, f"a: {number}\n")
        project.services["reader"]["secrets"] = ["TOKEN"]
        project.configure()
        version(project, value)
        loaded = load(project.folder, environ={})
        spec = loaded.app_spec()
        images = resolve_images(swarm, spec, example_image)
        plan = swarm.plan(spec, images, files=loaded.files)
        roll_out(swarm, plan, new_release(spec, images), timeout=120_000)
    own = ["-f", f"label={labels.APP}={project.app}", "--format", "{{.Name}}"]
    assert sorted(project.docker("secret", "ls", *own).split()) == [
        f"{project.app}_TOKEN.2",
        f"{project.app}_TOKEN.3",
    ]
    listed = project.docker("config", "ls", *own).split()
    files = [name for name in listed if ".release." not in name and not name.endswith(".audit")]
    assert len(files) == 2
    digests = [hashlib.sha256(f"a: {n}\n".encode()).hexdigest()[:12] for n in (1, 2)]
    assert sorted(files) == sorted(f"{project.app}_web.yml-{digest}" for digest in digests)
