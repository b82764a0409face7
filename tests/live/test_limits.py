"""What one app can take of its node: processes, and memory by way of /tmp."""

from __future__ import annotations

import pytest

from tests.live.clusters import both, both_thorough
from tests.live.conftest import Project, Ran

pytestmark = pytest.mark.usefixtures("proxy")
BOMB = """
import os, signal
started = []
try:
    for _ in range(1500):
        started.append(os.posix_spawn("/bin/sleep", ["sleep", "100"], {}))
except OSError as error:
    print("ended by", error.strerror)
for process in started:
    os.kill(process, signal.SIGKILL)
print("processes:", len(started))
"""
FILL = """
import os
written = 0
try:
    with open("/tmp/x", "wb", buffering=0) as file:
        while written < 150 << 20:
            written += file.write(bytes(1 << 20))
except OSError as error:
    print("ended by", error.strerror)
os.remove("/tmp/x")
print("MiB:", written >> 20)
"""
NO_PROCESS, NO_SPACE = "ended by Resource temporarily unavailable", "ended by No space left"


SHOW = """
import resource, socket, os
shm = os.statvfs("/dev/shm")
print("shm:", shm.f_bsize * shm.f_blocks >> 20)
open("/run/x/file", "w").close()
limits = map(resource.getrlimit, (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE))
print("limits:", *limits)
print("host:", socket.gethostname(), socket.gethostbyname("db.internal"))
print("node:", socket.gethostbyname("node").count("."))
print("variable:", os.environ["FROM_A_FILE"])
"""


def python(project: Project, *command: str) -> Ran:
    return project.run(*command[:-1], "--", "python", "-c", command[-1], json_output=False)


@both
@pytest.mark.thorough
@pytest.mark.core
def test_processes_and_tmp_have_an_end(project: Project, example_image: str) -> None:
    """In a release step, a replica and a one-off task; by default, and as configured."""
    step = ["python", "-c", f"{BOMB}{FILL}assert len(started) < 60 and written == 8 << 20"]
    project.extra["release"] = {"command": step}
    project.deploy(example_image, replicas=4, pids=60, tmp_size="8MiB")
    for command in (("exec", "web"), ("run",)):
        bomb, fill = python(project, *command, BOMB), python(project, *command, FILL)
        assert NO_PROCESS in bomb.stdout, bomb.stdout + bomb.stderr
        assert NO_SPACE in fill.stdout, fill.stdout + fill.stderr
        assert "MiB: 8\n" in fill.stdout

    del project.extra["release"], project.services["web"]["pids"]
    project.deploy(example_image, memory_limit=None, tmp_size=None)
    bomb, fill = python(project, "run", BOMB), python(project, "run", FILL)
    assert NO_PROCESS in bomb.stdout, bomb.stdout + bomb.stderr
    assert 1000 < int(bomb.stdout.rpartition(":")[2]) < 1024
    assert "MiB: 64\n" in fill.stdout, fill.stdout + fill.stderr


@both_thorough
@pytest.mark.thorough
def test_what_containers_are_given(project: Project, example_image: str) -> None:
    """Folders in memory, limits, names, variables of a file, and a log driver: `logs` reads what
    the engine keeps beside it."""
    (project.folder / "web.env").write_text("FROM_A_FILE=yes\n")
    project.deploy(
        example_image,
        replicas=4,
        tmpfs={"/dev/shm": "8MiB", "/run/x": "1MiB"},
        ulimits={"nofile": "1024:2048", "core": 0},
        hostname="shop",
        extra_hosts={"db.internal": "10.9.8.7", "node": "host-gateway"},
        env_file="web.env",
        logging={"driver": "local", "options": {"compress": False}},
    )
    shown = python(project, "exec", "web", SHOW)
    assert "shm: 8\n" in shown.stdout, shown.stdout + shown.stderr
    assert "limits: (1024, 2048) (0, 0)\n" in shown.stdout
    assert "host: shop 10.9.8.7\n" in shown.stdout
    assert "node: 3\n" in shown.stdout
    assert "variable: yes\n" in shown.stdout
    assert "Uvicorn running" in project.run("logs", json_output=False).stdout
    planned = project.ok("plan", "--image", example_image)
    assert {change["action"] for change in planned["changes"]} == {"keep"}
