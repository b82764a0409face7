"""A replica whose stop comes later: the shell around its process, run for real."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import scripts
from deploytool.backends.swarm.specification.scripts import DRAIN
from deploytool.spec import Service
from tests.builders import app, service, worker
from tests.lab.process import started_at

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
DELAY = 1.0
PROCESS = """
import os, signal, sys, time
def leave(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(7)
for number in (signal.SIGTERM, signal.SIGQUIT):
    signal.signal(number, leave)
print("pid", os.getpid(), flush=True)
time.sleep(float(sys.argv[1]))
print("ended by itself", flush=True)
sys.exit(3)
"""


def routed(**keys: Any) -> Service:
    return service(domains=["items.example.com"], drain="3s", **keys)


@contextmanager
def replica(shell: str, *command: str, **keys: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The container's process, and the pid of the process in it."""
    given = routed(command=command or (sys.executable, "-c", PROCESS, "30"), **keys)
    path, *arguments = on_this_machine(swarm.arguments(app(given), given))
    assert path == "/bin/sh"
    run = [shutil.which(shell) or shell, *(["sh"] if shell == "busybox" else []), *arguments]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            word, pid = process.stdout.readline().split()
            assert word == "pid"
            time.sleep(0.1)
            yield process, int(pid)
        finally:
            process.kill()


def on_this_machine(arguments: list[str]) -> list[str]:
    """The command with the script where it is here."""
    here = str(Path(scripts.__file__).parent / DRAIN.file)
    return [word.replace(DRAIN.target, here) for word in arguments]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout
    output = process.stdout.read()
    return process.wait(10), output


def took(begin: float) -> float:
    return time.monotonic() - begin


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_the_process_learns_of_the_stop_later(shell: str, number: signal.Signals) -> None:
    with replica(shell) as (process, pid):
        begin = time.monotonic()
        process.send_signal(number)
        time.sleep(DELAY / 2)
        assert started_at(pid) is not None
        assert end(process) == (7, f"got {number.name}\n")
        assert DELAY <= took(begin) < DELAY + 5


@pytest.mark.parametrize("shell", SHELLS)
def test_asked_again_it_takes_no_less(shell: str) -> None:
    """An engine that stops asks twice."""
    with replica(shell) as (process, _):
        begin = time.monotonic()
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(DELAY / 5)
        assert end(process) == (7, "got SIGTERM\n")
        assert DELAY <= took(begin) < DELAY + 5


@pytest.mark.parametrize("shell", SHELLS)
def test_an_interrupt_stops_it_at_once(shell: str) -> None:
    with replica(shell) as (process, _):
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert end(process)[0] == 7
        assert took(begin) < DELAY


@pytest.mark.parametrize("shell", SHELLS)
def test_a_process_that_ends_by_itself_is_not_waited_for(shell: str) -> None:
    with replica(shell, sys.executable, "-c", PROCESS, "0.3") as (process, _):
        assert end(process) == (3, "ended by itself\n")


POLITE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("pid", os.getpid(), flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_asked_to_stop_does_not_end_with_0(shell: str, number: signal.Signals) -> None:
    """To the engine a replica that is stopped as unhealthy and ends with 0 has run."""
    with replica(shell, sys.executable, "-c", POLITE, "30") as (process, _):
        process.send_signal(number)
        assert end(process)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_done_ends_with_0(shell: str) -> None:
    with replica(shell, sys.executable, "-c", POLITE, "0.3") as (process, _):
        assert end(process)[0] == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_a_crash_while_it_drains_ends_it(shell: str) -> None:
    with replica(shell) as (process, pid):
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        assert end(process)[0] == 128 + signal.SIGKILL
        assert took(begin) < DELAY
        assert started_at(pid) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_steps_before_the_process(shell: str) -> None:
    with replica(shell, prestart=("true",)) as (process, _):
        process.send_signal(signal.SIGINT)
        assert end(process)[0] == 7


@pytest.mark.parametrize("shell", SHELLS)
def test_a_step_that_fails_starts_no_process(shell: str) -> None:
    given = routed(command=["echo", "started"], prestart=["sh", "-c", "exit 5"])
    arguments = on_this_machine(swarm.arguments(app(given), given))[1:]
    run = [shell, *(["sh"] if shell == "busybox" else []), *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (5, "")


def test_a_command_that_is_not_there_is_told_as_ever() -> None:
    given = routed(command=["no-such-program"])
    command = on_this_machine(swarm.arguments(app(given), given))
    done = subprocess.run(command, capture_output=True, timeout=20)
    assert done.returncode == 127


# --- the way to it --------------------------------------------------------------------------------

ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
10.0.1.5         0x1         0x2         02:42:0a:00:01:05     *        eth0
172.18.0.1       0x1         0x2         02:42:5b:1c:1f:3d     *        eth1
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_while_it_drains_it_keeps_the_way_to_it_open(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however often it is asked to stop; nobody waits for that to end."""
    told, python = tmp_path / "told", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$1" "$2" "$5" >> {told}; exec sleep 15\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with replica(shell) as (process, _):
        begin = time.monotonic()
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(DELAY / 5)
        assert end(process) == (7, "got SIGTERM\n")
        assert took(begin) < 12
    assert told.read_text() == "-I -S 1\n"


def test_an_image_without_python_drains_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("sleep", "kill"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    monkeypatch.setenv("PATH", str(tmp_path))
    with replica("/bin/sh") as (process, _):
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert end(process) == (7, "got SIGTERM\n")
        assert took(begin) >= DELAY


def test_every_neighbour_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    class Socket:
        def sendto(self, data: bytes, address: tuple[str, int]) -> int:
            sent.append((data, address))
            return len(data)

    monkeypatch.setattr(socket, "socket", lambda family, kind: Socket())
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["-c", "0.2"])
    text = DRAIN.content.decode()
    program = text.partition("python -I -S -c '")[2].partition("'")[0]
    exec(program, {"open": lambda _: io.StringIO(ARP)})
    assert sent == 2 * [(b"", ("10.0.1.5", 9)), (b"", ("172.18.0.1", 9))]


# --- who gets it ----------------------------------------------------------------------------------


def delay(given: Service) -> int:
    return swarm.stop_delay(app(given), given)


def test_the_engines_own_pause_is_part_of_the_drain() -> None:
    assert delay(service()) == 3_000
    assert delay(service(drain="2s")) == 0
    assert delay(service(drain="0s")) == 0
    assert swarm.arguments(app(), service(drain="2s"))[0] == "uvicorn"


@pytest.mark.parametrize(
    "given",
    [
        worker(),
        service(publish={"port": 80}),
        service(command=[]),
        service(image="nginx:1", domains=["a.example.com"]),
    ],
)
def test_what_the_proxy_does_not_serve_or_what_is_not_known_is_left_as_it_is(
    given: Service,
) -> None:
    assert delay(given) == 0
    assert swarm.arguments(app(given), given)[:1] != ["/bin/sh"]
