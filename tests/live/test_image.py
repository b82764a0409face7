"""Building and pushing with real engines, a real builder and real registries."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploytool.image.quoting import copy_line, in_shell, in_value, path_in_shell
from tests.lab import Lab, Node
from tests.lab.lab import provide
from tests.live.conftest import DEPLOYTOOL, LIMIT, Json, Project, Ran, registry_digest

BASE = "python:3.13-slim"
DOCKERFILE = f"""\
FROM {BASE}
RUN echo preparing
COPY main.py /code/main.py
"""
GIT = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
PASSWORD = "opensesame"
HTPASSWD = "ada:$2b$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi\n"


class Source(Project):
    """A project in a git repository whose image takes no time to build."""

    def dockerfile(self, text: str) -> None:
        (self.folder / "Dockerfile").write_text(text)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.folder, *arguments],
            env=self.env | GIT,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def fails(self, *arguments: str) -> Json:
        """The error of a command that has to fail with exit code 1."""
        ran = self.run(*arguments)
        assert ran.code == 1, ran.stdout + ran.stderr
        return ran.error

    def inspect(self, image: str) -> Json:
        return dict(json.loads(self.docker("image", "inspect", image))[0])


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Node:
    """An engine that nobody else builds with: while another build holds the same base, BuildKit
    may run a step again that it has cached, which gives another digest (moby/buildkit#4674)."""
    node = lab.nodes[1]
    provide(node, BASE)
    return node


@pytest.fixture
def source(lab: Lab, builder: Node, lab_env: dict[str, str], tmp_path: Path) -> Source:
    folder = tmp_path / "source"
    folder.mkdir()
    env = lab_env | {"DOCKER_HOST": builder.docker_host}
    made = Source(folder, f"image{time.time_ns()}", lab, env)
    made.services["web"] = {"command": ["python", "/code/main.py"]}
    made.configure()
    (made.folder / "main.py").write_text("print(1)\n")
    (made.folder / "pyproject.toml").write_text('[project]\nname = "items"\nversion = "1.2.3"\n')
    made.dockerfile(DOCKERFILE)
    made.git("init", "--quiet")
    made.git("remote", "add", "origin", "https://ada:s3cret@example.com/team/items.git")
    made.commit()
    return made


def free_address(host: str) -> str:
    """An address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return f"{host}:{listener.getsockname()[1]}"


def command_lines() -> dict[int, str]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found


def processes_about(text: str) -> list[str]:
    return [line for line in command_lines().values() if text in line]


def wait_until_gone(text: str) -> None:
    deadline = time.monotonic() + 20
    while left := processes_about(text):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


# --- what it is for


def test_first_build_nothing_changed_and_a_change(source: Source) -> None:
    revision = source.git("rev-parse", "HEAD")
    first = source.ok("build", "--push")
    repository = f"{source.lab.registry}/{source.app}"
    assert first["repository"] == repository
    assert (first["revision"], first["dirty"]) == (revision, False)
    assert first["reference"] == f"{repository}:{first['tag']}@{first['digest']}"
    for tag in (first["tag"], first["digest"]):
        assert registry_digest(repository, tag) == first["digest"]
    image = source.inspect(f"{repository}:{first['tag']}")
    assert image["Config"]["Labels"] == source.inspect(BASE)["Config"]["Labels"]

    again = source.run("build", "--push")
    assert again.code == 0, again.stdout + again.stderr
    assert again.data | {"seconds": 0} == first | {"seconds": 0}, again.stderr
    os.utime(source.folder / "main.py", (1, 1))
    assert source.ok("build", "--push")["digest"] == first["digest"]

    (source.folder / "main.py").write_text("print(2)\n")
    ran = source.run("build", "--push")
    changed = ran.data
    assert changed["digest"] != first["digest"]
    assert changed["dirty"]
    assert changed["tag"] != first["tag"]
    assert json.loads(ran.stdout)["warnings"]
    assert registry_digest(repository, first["tag"]) == first["digest"]

    source.commit()
    (source.folder / "pyproject.toml").write_text('[project]\nname = "items"\nversion = "2"\n')
    source.commit()
    committed = source.ok("build", "--push")
    assert committed["digest"] == changed["digest"]
    assert not committed["dirty"]


def test_a_new_checkout_gives_the_same_digest(source: Source, tmp_path: Path) -> None:
    """What a CI job does: another folder, other times of files, the same commit."""
    first = source.ok("build", "--push")
    clone = tmp_path / "clone"
    source.git("clone", "--quiet", ".", str(clone))
    other = Source(clone, source.app, source.lab, source.env)
    other.git("remote", "set-url", "origin", "https://example.com/team/items.git")
    again = other.ok("build", "--push")
    assert (again["tag"], again["digest"]) == (first["tag"], first["digest"])


@pytest.mark.thorough
def test_a_commit_that_changes_nothing_in_the_image_touches_nothing(
    source: Source, lab: Lab
) -> None:
    """Not even where the builder has forgotten what it built, as those of CI jobs have."""
    repository = f"{lab.registry}/{source.app}"
    (source.folder / "main.py").write_text("import time\ntime.sleep(1000)\n")
    source.dockerfile(f"FROM {BASE}\nRUN date > /date\nCOPY main.py /code/main.py\n")
    (source.folder / ".dockerignore").write_text("*\n!main.py\n")
    web = source.services["web"]
    web |= {"replicas": 3, "stop_grace": "1s", "drain": "0s", "update": {"monitor": "1s"}}
    source.extra["swarm"] = {"host": lab.manager.docker_host}
    source.configure()
    revision = source.commit()
    try:
        first = source.ok("deploy")["images"]["web"]
        assert registry_digest(repository, "latest") == first.partition("@")[2]
        before = tasks(lab, source.app)

        (source.folder / "README.md").write_text("Hello\n")
        (source.folder / "untracked").write_text("")
        source.commit()
        source.docker("builder", "prune", "--all", "--force")
        again = source.ok("deploy")
        assert (again["changed"], again["images"]["web"]) == (False, first)
        assert tasks(lab, source.app) == before

        web["replicas"] = 2
        source.configure()
        latest = source.commit()
        assert source.ok("deploy")["images"]["web"] == first
        assert tasks(lab, source.app) < before
        releases = source.ok("releases")["releases"]
        assert [r["commit"] for r in releases] == [latest, revision]

        (source.folder / "main.py").write_text("import time\ntime.sleep(2000)\n")
        web["secrets"] = ["TOKEN"]
        source.configure()
        ran = source.run("deploy")
        assert ran.error["code"] == "secret_missing"
        assert "RUN date" not in ran.stderr

        del web["secrets"]
        web["command"] = ["false"]
        source.configure()
        assert source.run("deploy").code == 3
        assert registry_digest(repository, "latest") == first.partition("@")[2]
    finally:
        source.ok("destroy", "--yes")


def tasks(lab: Lab, app: str) -> set[str]:
    """Ids of the tasks that run."""
    listed = lab.manager.docker(
        *("service", "ps", f"{app}_web", "--filter", "desired-state=running", "-q", "--no-trunc")
    )
    return set(listed.split())


def test_build_then_push(source: Source) -> None:
    built = source.ok("build")
    assert built["digest"] is None
    assert built["reference"] == f"{source.lab.registry}/{source.app}:{built['tag']}"
    pushed = source.ok("push")
    assert pushed["digest"] == registry_digest(pushed["repository"], pushed["tag"])
    assert source.ok("build", "--push")["digest"] == pushed["digest"]
    pulled = source.docker("pull", "--quiet", pushed["reference"].partition("@")[0])
    assert built["tag"] in pulled


def test_push_of_what_was_not_built(source: Source) -> None:
    error = source.fails("push")
    assert error["code"] == "image_missing"
    assert "deploytool build" in error["hint"]


def test_without_git(source: Source) -> None:
    shutil.rmtree(source.folder / ".git")
    first = source.ok("build", "--push")
    assert first["revision"] is None
    assert first["tag"].startswith("tree-")
    assert source.ok("build", "--push")["digest"] == first["digest"]


def test_settings_reach_the_image(source: Source) -> None:
    (source.folder / "code").mkdir()
    (source.folder / "code" / "main.py").write_text("print(3)\n")
    (source.folder / "code" / "Dockerfile.web").write_text(
        f"FROM {BASE} AS web\nARG GREETING\nENV GREETING=$GREETING\nCOPY main.py /code/main.py\n"
        "FROM web AS other\nRUN exit 1\n"
    )
    source.extra["build"] = {
        "dockerfile": "code/Dockerfile.web",
        "context": "code",
        "target": "web",
        "args": {"GREETING": "good morning"},
    }
    source.configure()
    source.ok("build")
    image = f"{source.lab.registry}/{source.app}:latest"
    assert "GREETING=good morning" in source.inspect(image)["Config"]["Env"]
    assert (
        source.docker("run", "--rm", "--network=none", image, "python3", "/code/main.py") == "3\n"
    )


ODD_NAMES = ("my $HOME", "it's [new]", 'say "hi"', "--link", "(a) & $(b);`c`", "{$x}#")
NOT_NAMED = "it's n"
"""What one of the names would stand for if it were a pattern."""


@pytest.mark.parametrize(
    "has_buildx",
    [
        pytest.param(True, id="buildx"),
        pytest.param(False, id="legacy", marks=pytest.mark.thorough),
    ],
)
def test_odd_names_reach_the_image_as_they_are(
    source: Source, tmp_path: Path, has_buildx: bool
) -> None:
    for name in (*ODD_NAMES, NOT_NAMED):
        (source.folder / name).mkdir()
        (source.folder / name / "who").write_text(name)
    odd = ODD_NAMES[0]
    told = "import glob, os; print([os.getcwd(), os.environ['ODD'], glob.glob('/code/*')])"
    source.dockerfile(
        "\n".join(
            [
                f"FROM {BASE}",
                "WORKDIR /code",
                *(copy_line([name], name) for name in ODD_NAMES),
                copy_line([f"{name}/who" for name in ODD_NAMES[:1]], f"/{odd}/"),
                f"RUN cd {path_in_shell('--link')} && cat {in_shell(f'/{odd}/who')} "
                + " ".join(f"../{in_shell(name)}/who" for name in ODD_NAMES),
                f"ENV ODD={in_value(f'{odd}:{ODD_NAMES[1]}')} MORE=1",
                f"WORKDIR {in_value(f'/code/{odd}')}",
                f"CMD {json.dumps(['python3', '-c', told])}",
            ]
        )
    )
    if not has_buildx:
        (tmp_path / "docker").mkdir()
        source.env = source.env | {"DOCKER_CONFIG": str(tmp_path / "docker")}
    source.ok("build")
    image = f"{source.lab.registry}/{source.app}:latest"
    folder, value, there = ast.literal_eval(source.docker("run", "--rm", "--network=none", image))
    assert (folder, value) == (f"/code/{odd}", f"{odd}:{ODD_NAMES[1]}")
    assert sorted(there) == sorted(f"/code/{name}" for name in ODD_NAMES)


@pytest.mark.thorough
def test_docker_without_buildx(source: Source, tmp_path: Path) -> None:
    source.env = source.env | {"DOCKER_CONFIG": str(tmp_path / "docker")}
    (tmp_path / "docker").mkdir()
    ran = source.run("build", "--push")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.data["digest"] == registry_digest(ran.data["repository"], ran.data["tag"])
    (warning,) = json.loads(ran.stdout)["warnings"]
    assert warning.startswith("docker buildx is missing")
    assert "docker-buildx-plugin" in warning
    assert "RUN echo preparing" in ran.stderr
    assert source.ok("build", "--push")["digest"] == ran.data["digest"]

    source.dockerfile(f"FROM {BASE}\nRUN echo 'no compiler' && exit 3\n")
    error = source.fails("build")
    assert error["code"] == "build_failed"
    assert error["message"].endswith("exit code 3")
    assert error["details"] == ["no compiler"]


# --- what people see


def test_progress_goes_to_standard_error(source: Source) -> None:
    ran = source.run("build", "--push")
    assert set(json.loads(ran.stdout)) == {"data", "warnings"}
    steps = (
        "RUN echo preparing",
        "COPY main.py /code/main.py",
        json.loads(ran.stdout)["data"]["tag"],
    )
    assert [step for step in steps if step not in ran.stderr] == []


def test_a_person_gets_one_line(source: Source) -> None:
    ran = source.run("build", "--push", json_output=False)
    assert ran.stdout.count("\n") == 1
    reference, _, seconds = ran.stdout.removeprefix("✓ ").partition(" ")
    assert reference == source.ok("build", "--push")["reference"]
    assert seconds.startswith("pushed in ")


def test_a_terminal_shows_the_build_as_it_runs(source: Source) -> None:
    source.dockerfile(f"FROM {BASE}\nRUN echo {time.time_ns()}; sleep 2; exit 5\n")
    master, slave = pty.openpty()
    command = [*DEPLOYTOOL, "build"]
    env = source.env | {"TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=source.folder, env=env, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown, first_seen = b"", 0.0
        while select.select([master], [], [], LIMIT)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
            if b"RUN echo" in shown and not first_seen:
                first_seen = time.monotonic()
        assert process.wait(LIMIT) == 1
    os.close(master)
    assert time.monotonic() - first_seen > 1
    assert "The build failed at" in shown.decode()
    assert "exit code 5" in shown.decode()


# --- builds that fail


def test_a_failing_step_is_shown(source: Source) -> None:
    source.dockerfile(f"FROM {BASE}\nRUN for i in $(seq 50); do echo line $i; done; exit 3\n")
    error = source.fails("build", "--push")
    assert error["code"] == "build_failed"
    assert error["message"].startswith("The build failed at [2/2] RUN for i in $(seq 50);")
    assert error["message"].endswith("exit code 3")
    assert error["details"] == [f"line {number}" for number in range(31, 51)]
    _, stderr = source.start("build", "--verbose").communicate(timeout=LIMIT)
    assert "line 1\n" in stderr


@pytest.mark.parametrize(
    ("dockerfile", "code", "says"),
    [
        (f"FROM {BASE}\nRNU echo\n", "dockerfile_invalid", "unknown instruction: RNU"),
        ("# nothing\n", "dockerfile_invalid", "file with no instructions"),
        (f"FROM {BASE}\nCOPY nofile /x\n", "build_failed", "there is no nofile in the build"),
        (
            "FROM REGISTRY/nosuch:1\n",
            "base_image_unavailable",
            "nosuch:1 is not available",
        ),
        (None, "dockerfile_missing", "There is no Dockerfile in"),
    ],
)
def test_dockerfiles(source: Source, dockerfile: str | None, code: str, says: str) -> None:
    (source.folder / "Dockerfile").unlink()
    if dockerfile is not None:
        source.dockerfile(dockerfile.replace("REGISTRY", source.lab.registry))
    error = source.fails("build")
    assert error["code"] == code
    assert says.replace("REGISTRY", source.lab.registry) in error["message"]
    assert error["hint"]


def test_several_platforms(source: Source) -> None:
    source.extra["build"] = {"platforms": ["linux/amd64", "linux/arm64"]}
    source.configure()
    error = source.fails("build", "--push")
    assert error["code"] == "platforms_unsupported"
    assert "docker buildx create" in error["hint"]


def test_a_stage_that_is_not_there(source: Source) -> None:
    source.extra["build"] = {"target": "nosuch"}
    source.configure()
    error = source.fails("build")
    assert error["code"] == "stage_missing"
    assert "nosuch" in error["message"]


def test_a_full_disk(source: Source, small_engine: Node) -> None:
    source.env = source.env | {"DOCKER_HOST": small_engine.docker_host}
    source.dockerfile("FROM scratch\nCOPY big /big\n")
    (source.folder / "big").write_bytes(os.urandom(60 << 20))
    error = source.fails("build")
    assert error["code"] == "disk_full"
    assert "no space left on device" in error["message"]
    assert "docker builder prune" in error["hint"]


# --- registries that refuse


@pytest.fixture
def private_registry(lab: Lab, tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "private"
    folder.mkdir()
    address = free_address(lab.network.gateway)
    (folder / "htpasswd").write_text(HTPASSWD)
    rules = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "lab", "path": str(folder / "htpasswd")}},
    }
    (folder / "registry.yml").write_text(json.dumps(rules))
    program = lab.registry_process.program
    command = ["env", "-i", str(program), "serve", str(folder / "registry.yml")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        wait_for_port(address)
        yield address
        process.terminate()


def wait_for_port(address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {address}"
            time.sleep(0.05)
        else:
            return


def log_in(source: Source, registry: str, password: str, folder: Path) -> None:
    shutil.copytree(source.env["DOCKER_CONFIG"], folder, symlinks=True)
    auth = base64.b64encode(f"ada:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    source.env = source.env | {"DOCKER_CONFIG": str(folder)}


@pytest.mark.thorough
def test_a_registry_that_asks_for_a_login(
    source: Source, private_registry: str, tmp_path: Path
) -> None:
    source.extra["registry"] = private_registry
    source.configure()
    for command in (["build", "--push"], ["push"]):
        error = source.fails(*command)
        assert error["code"] == "registry_denied"
        assert "asks for a login, and there is none" in error["message"]
        assert f"docker login {private_registry}" in error["hint"]

    log_in(source, private_registry, "wrong", tmp_path / "wrong")
    error = source.fails("build", "--push")
    assert error["code"] == "registry_denied"
    assert "does not accept your login" in error["message"]
    assert "wrong" not in json.dumps(error)

    log_in(source, private_registry, PASSWORD, tmp_path / "right")
    assert source.ok("build", "--push")["digest"] == source.ok("push")["digest"]


def test_a_registry_that_is_down(source: Source) -> None:
    address = free_address(source.lab.network.gateway)
    source.extra["registry"] = address
    source.configure()
    for command in (["build", "--push"], ["push"]):
        error = source.fails(*command)
        assert error["code"] == "registry_unreachable"
        assert f"The registry {address} cannot be reached" in error["message"]


def test_a_registry_that_does_not_exist(source: Source) -> None:
    source.extra["registry"] = "registry.nosuch.example/team"
    source.configure()
    error = source.fails("build", "--push")
    assert error["code"] == "registry_unreachable"
    assert "no such host" in error["message"]


# --- engines that are not there


@pytest.mark.parametrize("command", [["build"], ["build", "--push"], ["push"]])
@pytest.mark.parametrize("host", ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"])
def test_no_engine(source: Source, command: list[str], host: str) -> None:
    source.env = source.env | {"DOCKER_HOST": host}
    error = source.fails(*command)
    assert error["code"] == "engine_unreachable"
    assert host in error["message"]
    assert "DOCKER_HOST" in error["hint"]


@pytest.mark.parametrize("command", [["build"], ["push"]])
def test_no_permission(source: Source, command: list[str], tmp_path: Path) -> None:
    """The socket is somebody else's, and root's power over files is taken away."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        os.chown(path, 65534, 65534)
        done = subprocess.run(
            [
                "setpriv",
                "--bounding-set=-dac_override,-dac_read_search",
                "--inh-caps=-dac_override,-dac_read_search",
                *DEPLOYTOOL,
                *command,
                "--json",
            ],
            cwd=source.folder,
            env=source.env | {"DOCKER_HOST": f"unix://{path}"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    error = Ran(done.returncode, done.stdout, done.stderr).error
    assert error["code"] == "engine_permission"
    assert "docker" in error["hint"]


def test_no_docker_command(source: Source, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "python3"):
        (programs / name).symlink_to(shutil.which(name) or name)
    source.env = source.env | {"PATH": str(programs)}
    assert source.fails("build")["code"] == "docker_missing"
    assert source.fails("push")["code"] == "docker_missing"


# --- what happens in the middle


SLOW = "FROM {base}\nRUN echo begin-$((40 + 2)); sleep {seconds}\n"


def start_slow(source: Source, seconds: str, base: str = BASE) -> subprocess.Popen[str]:
    """A build that is in the middle of a step."""
    source.dockerfile(SLOW.format(base=base, seconds=seconds))
    # A shell's background job has Ctrl-C switched off, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = source.start("build", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if "begin-42" in line:
            return process
    raise AssertionError(f"the build ended: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("buildx", [True, False])
def test_ctrl_c_leaves_nothing_behind(
    source: Source, number: signal.Signals, buildx: bool, tmp_path: Path
) -> None:
    if not buildx:
        (tmp_path / "docker").mkdir()
        source.env = source.env | {"DOCKER_CONFIG": str(tmp_path / "docker")}
    seconds = f"600.{time.time_ns() % 10**9}"
    process = start_slow(source, seconds)
    assert processes_about(str(source.folder))
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "interrupted"
    assert processes_about(str(source.folder)) == []
    wait_until_gone(f"sleep\0{seconds}")
    source.dockerfile(DOCKERFILE)
    source.ok("build")


@pytest.mark.thorough
def test_an_engine_that_dies(source: Source, lab: Lab, spare_engine: Node) -> None:
    base = lab.load(BASE)
    spare_engine.start()
    source.env = source.env | {"DOCKER_HOST": spare_engine.docker_host}
    # BuildKit in Docker 20.10 does not know that the engine may use this registry without TLS.
    source.docker("pull", base)
    process = start_slow(source, f"600.{time.time_ns() % 10**9}", base)
    spare_engine.kill()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(stdout)["error"]["code"] == "engine_unreachable"


@pytest.mark.thorough
def test_secrets_of_the_build(source: Source) -> None:
    """A step reads them; history, layers, output and processes do not have them."""
    secret = f"hunter-{time.time_ns()}"
    (source.folder / "netrc").write_text(f"file-{secret}\n")
    (source.folder / ".dockerignore").write_text("netrc\n")
    source.env = source.env | {"INDEX_TOKEN": secret}
    source.extra["build"] = {
        "secrets": {"token": {"env": "INDEX_TOKEN"}, "netrc": {"file": "netrc"}}
    }
    source.configure()
    mounts = "--mount=type=secret,id=token --mount=type=secret,id=netrc"
    read = f"echo {source.app}; cat /run/secrets/token; sha256sum /run/secrets/*"
    step = f"{read} | cut -d' ' -f1 > /sums; sleep 2"
    source.dockerfile(f"FROM {BASE}\nRUN {mounts} {step}\n")
    process = source.start("build", "--json")
    assert process.stderr is not None
    told = next(line for line in process.stderr if "••••••" in line)
    docker = [line for line in processes_about(str(source.folder)) if "docker" in line]
    assert docker
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, stderr
    image = f"{source.lab.registry}/{source.app}:latest"
    history = source.docker("history", "--no-trunc", image)
    assert secret not in "".join([told, stdout, stderr, history, *docker])
    sums = source.docker("run", "--rm", "--network=none", image, "cat", "/sums")
    expected = [hashlib.sha256(v.encode()).hexdigest() for v in (f"file-{secret}\n", secret)]
    assert sums.split() == expected
    left = ("sh", "-c", "cat /run/secrets/* 2>/dev/null || true")
    assert not source.docker("run", "--rm", "--network=none", image, *left)


def test_secrets_do_not_appear(source: Source) -> None:
    secret = f"hunter-{time.time_ns()}"
    source.extra["build"] = {"args": {"API_TOKEN": secret}}
    source.configure()
    step = "RUN echo begin-$((40 + 2)) $API_TOKEN; sleep 2; false"
    source.dockerfile(f"FROM {BASE}\nARG API_TOKEN\n{step}\n")
    process = source.start("build", "--json")
    assert process.stderr is not None
    told = next(line for line in process.stderr if "begin-42" in line)
    docker = [line for line in processes_about(str(source.folder)) if "docker" in line]
    assert docker
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert secret not in "".join([told, stdout, stderr, *docker])
    assert "begin-42 ••••••" in "".join([told, stderr])
