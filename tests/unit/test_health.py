"""The health check of a replica, run for real: by itself, and with a proxy that has to answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploytool.backends.swarm.specification import health
from deploytool.backends.swarm.specification.scripts import HEALTHCHECK
from deploytool.spec import HealthCheck
from tests.builders import app, service

NOBODY = "nobody.invalid"
GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Replica:
    """What a container has: a memory of its own and a log. Its proxy is somewhere on loopback."""

    folder: Path
    port: int
    proxy: tuple[str, int] = (NOBODY, 1)

    @property
    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    @property
    def remembers(self) -> bool:
        return (self.folder / "deploytool-reached").exists()

    def check(self, path: str = "/health") -> tuple[int, str]:
        given = HealthCheck.model_validate({"path": path})
        routed = service(port=self.port, domains=["items.example.com"])
        *command, proxy, port = health.test(app(routed), routed, given)
        assert command[:4] == ["CMD", "python", "-IS", HEALTHCHECK.target]
        assert (proxy, port) == (health.PROXY, "8080")
        name, there = self.proxy
        script = HEALTHCHECK.content.decode()
        for text, here in (
            ("/dev/shm", self.folder),
            ("/proc/1/fd/1", self.folder / "log"),
            ("tasks.{name}", name),
        ):
            script = script.replace(text, str(here))
        run = [sys.executable, "-IS", "-c", script, *command[4:], proxy, str(there)]
        done = subprocess.run(run, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stderr


@contextmanager
def served(answer: bytes) -> Iterator[int]:
    """The port of what gives everybody the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    caller, _ = listening.accept()
                except OSError:
                    return
                with caller:
                    caller.recv(1024)
                    caller.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def silent() -> Iterator[int]:
    """The port of what lets nobody connect any more: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with served(GOOD) as port:
        yield Replica(tmp_path, port)


ODD = """/a?b='c"$(touch${IFS}x)`$HOME;&#<>{{.Node}}\\"""
"""A path that code, a shell or a template would take for something else."""


def test_any_path_is_asked_for_as_it_is(tmp_path: Path) -> None:
    with served(b"HTTP/1.1 404 Not Found\r\n\r\n") as port:
        assert Replica(tmp_path, port).check(ODD) == (1, f"GET {ODD}: HTTP/1.1 404 Not Found\n")


@pytest.mark.parametrize("status", [200, 204, 301])
def test_an_answer_is_healthy(tmp_path: Path, status: int) -> None:
    with served(f"HTTP/1.1 {status} Fine\r\n\r\n".encode()) as port:
        assert Replica(tmp_path, port).check() == (0, "")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_any_other_is_not(tmp_path: Path, status: int) -> None:
    with served(f"HTTP/1.1 {status} Bad\r\n\r\n".encode()) as port:
        replica = Replica(tmp_path, port)
        assert replica.check() == (1, f"GET /health: HTTP/1.1 {status} Bad\n")
    assert not replica.remembers


def test_no_answer_is_not(tmp_path: Path) -> None:
    with served(b"") as port:
        assert Replica(tmp_path, port).check() == (1, "GET /health: no answer\n")


def test_nobody_there_is_not(tmp_path: Path) -> None:
    with served(GOOD) as port:
        pass
    code, problem = Replica(tmp_path, port).check()
    assert code == 1
    assert "Connection refused" in problem


def test_where_no_proxy_is_none_is_waited_for(replica: Replica) -> None:
    assert replica.check() == (0, "")
    assert replica.remembers


def test_a_proxy_that_answers(replica: Replica) -> None:
    with served(b"") as port:
        replica.proxy = ("localhost", port)
        assert replica.check() == (0, "")
    assert replica.remembers


def test_a_proxy_that_refuses_is_reached_too(replica: Replica) -> None:
    with served(b"") as port:
        replica.proxy = ("localhost", port)
    assert replica.check() == (0, "")
    assert replica.remembers


def test_a_replica_that_the_proxy_cannot_reach_is_not_healthy_yet(replica: Replica) -> None:
    with silent() as port:
        replica.proxy = ("localhost", port)
        problem = "no answer from localhost at 127.0.0.1\n".replace("localhost", health.PROXY)
        assert replica.check() == (1, problem)
        assert replica.log == problem, "it is in the log, which can be read from everywhere"
        assert not replica.remembers
    with served(b"") as port:
        replica.proxy = ("localhost", port)
        assert replica.check() == (0, "")


def test_once_reached_is_enough(replica: Replica) -> None:
    """A proxy that goes away takes no replica with it."""
    with served(b"") as port:
        replica.proxy = ("localhost", port)
        replica.check()
    with silent() as port:
        replica.proxy = ("localhost", port)
        assert replica.check() == (0, "")


def test_without_a_memory_nothing_is_asked(replica: Replica) -> None:
    """Else a proxy that goes away would take it with it."""
    replica.folder /= "missing"
    with silent() as port:
        replica.proxy = ("localhost", port)
        assert replica.check() == (0, "")


@pytest.mark.parametrize(
    ("written", "pace", "without_start_interval"),
    [
        ({}, (10_000, 2), (3_000, 6)),
        ({"interval": "7s"}, (7_000, 2), (7_000, 2)),
        ({"retries": 5}, (10_000, 5), (3_000, 5)),
        ({"interval": "7s", "retries": 5}, (7_000, 5), (7_000, 5)),
    ],
)
def test_what_is_written_holds_on_every_engine(
    written: dict[str, object], pace: tuple[int, int], without_start_interval: tuple[int, int]
) -> None:
    check = HealthCheck.model_validate({"path": "/", **written})
    assert health.pace(check) == pace
    assert health.pace(check, start_interval=False) == without_start_interval


@pytest.mark.parametrize("start_interval", [True, False])
def test_what_answers_no_more_is_replaced_within_20_s(start_interval: bool) -> None:
    interval, retries = health.pace(HealthCheck(path="/"), start_interval=start_interval)
    assert interval * retries <= 20_000


def test_a_check_imports_nothing_that_an_interpreter_has_not() -> None:
    """Each module more is paid for by every replica every few seconds."""
    script = HEALTHCHECK.content.decode().replace('if __name__ == "__main__"', "if False")
    count = "import sys; before = set(sys.modules)\n"
    run = [sys.executable, "-IS", "-c", f"{count}{script}\nprint(set(sys.modules) - before)"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == "{'_socket'}\n"


def test_only_what_is_behind_the_proxy_asks_for_it() -> None:
    own = HealthCheck.model_validate({"path": "/health"})
    routed, other = service(domains=["items.example.com"]), service("other")
    both = app(routed, other)
    assert health.PROXY in health.test(both, routed, own)
    assert health.PROXY not in health.test(both, other, own)


def test_a_command_of_ones_own_is_left_as_it_is() -> None:
    own = HealthCheck.model_validate({"command": ["true"]})
    routed = service(domains=["items.example.com"])
    assert health.test(app(routed), routed, own) == ["CMD", "true"]
