import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploytool import process
from deploytool.process import (
    ProgramMissing,
    TookTooLong,
    become,
    capture,
    plain_text,
    stream,
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(check: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_capture_returns_code_and_both_outputs() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    finished = capture(python(code))
    assert (finished.code, finished.stdout, finished.stderr) == (3, "out\n", "err\n")
    assert not finished.ok


def test_capture_gives_standard_input_and_environment() -> None:
    code = "import os, sys; print(os.environ['EXTRA'], sys.stdin.read(), 'PATH' in os.environ)"
    assert capture(python(code), env={"EXTRA": "1"}, stdin=b"hello").stdout == "1 hello True\n"


def test_without_standard_input_nobody_waits_for_the_terminal() -> None:
    assert capture(python("import sys; print(repr(sys.stdin.read()))")).stdout == "''\n"


def test_capture_keeps_what_is_no_utf8_when_asked() -> None:
    code = r"import sys; sys.stdout.buffer.write(b'caf\xe9')"
    assert capture(python(code)).stdout == "caf�"
    assert capture(python(code), errors="surrogateescape").stdout == "caf\udce9"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program is not installed"):
        capture(["no-such-program"])


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        capture(["true"], cwd=tmp_path / "nowhere")


def test_a_program_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TookTooLong, match=r"did not end within 0\.2 s"):
        capture(["sleep", "600"], timeout=0.2)


def test_stream_hands_over_lines_as_they_come() -> None:
    seen: list[tuple[str, float]] = []
    code = "import time; print('a', flush=True); time.sleep(0.5); print('b')"
    assert stream(python(code), lambda line: seen.append((line, time.monotonic()))) == 0
    assert [line for line, _ in seen] == ["a", "b"]
    assert seen[1][1] - seen[0][1] > 0.3


def test_stream_has_standard_error_and_the_exit_code() -> None:
    lines: list[str] = []
    code = "import sys; print('broken', file=sys.stderr); sys.exit(7)"
    assert stream(python(code), lines.append) == 7
    assert lines == ["broken"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\n", "plain"),
        (b"windows\r\n", "windows"),
        (b" 10%\r 50%\r100% done\n", "100% done"),
        (b"\x1b[91mred\x1b[0m text\n", "red text"),
        (b"\x1b]0;title\x07text\n", "text"),
        (b"bell\x07 and\x00 nul\n", "bell and nul"),
        (b"caf\xe9\n", "caf�"),
        (b"tab\there  \n", "tab\there"),
    ],
)
def test_lines_are_what_a_terminal_would_show(raw: bytes, shown: str) -> None:
    assert plain_text(raw) == shown


def test_an_error_in_the_callback_ends_the_program() -> None:
    pids: list[int] = []

    def refuse(line: str) -> None:
        pids.append(int(line))
        raise RuntimeError("no more")

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(RuntimeError, match="no more"):
        stream(python(code), refuse)
    assert not alive(pids[0])


PARENT = """
import sys
from deploytool.process import stream
try:
    stream([sys.executable, "-c", sys.argv[1]], lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""
PATIENT_PARENT = f"""
import signal
from deploytool import process
process.ENDING = ((signal.SIGINT, 600.0), (signal.SIGKILL, 3.0))
{PARENT}
"""
FAMILY = """
import os, subprocess, time
child = subprocess.Popen(["sleep", "60"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_all_it_started(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, FAMILY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(alive, pids))
        parent.send_signal(number)
        assert parent.wait(10) == 130
        # What Python prints of its own KeyboardInterrupt comes first.
        assert parent.stdout.read().splitlines()[-1] == "interrupted"
    assert wait_for(lambda: not any(map(alive, pids)))


DEAF = """
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_deaf_program_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.1), (signal.SIGKILL, 3.0))
    monkeypatch.setattr(process, "ENDING", steps)
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(python(DEAF), interrupt)
    assert not alive(pids[0])


def test_a_second_interrupt_does_not_wait() -> None:
    """The first would wait ten minutes here."""
    command = [sys.executable, "-c", PATIENT_PARENT, DEAF]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        time.sleep(0.5)
        parent.send_signal(signal.SIGINT)
        parent.wait(60)
    assert wait_for(lambda: not alive(pid))


def test_signal_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    capture(["true"])
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before


BECOME = """
import sys
from deploytool.process import become
become(sys.argv[1:])
"""


def test_becoming_another_program() -> None:
    shell = ["sh", "-c", "cat; printf %s $$ >&2; exit 7"]
    command = [sys.executable, "-c", BECOME, *shell]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.communicate("said\n", timeout=30) == ("said\n", str(parent.pid))
        assert parent.returncode == 7


def test_a_program_that_one_becomes_ends_when_nobody_reads_it() -> None:
    with subprocess.Popen([sys.executable, "-c", BECOME, "yes"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.read(10)
        parent.stdout.close()
        assert parent.wait(30) == -signal.SIGPIPE


def test_a_program_that_is_not_there_cannot_be_become(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(ProgramMissing):
        become(["no-such-program-anywhere"])


def test_programs_can_be_run_from_other_threads() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(capture(["true"]).code))
    thread.start()
    thread.join()
    assert codes == [0]


def test_the_program_is_in_a_session_of_its_own() -> None:
    finished = capture(python("import os; print(os.getsid(0) == os.getpid())"))
    assert finished.stdout == "True\n"
