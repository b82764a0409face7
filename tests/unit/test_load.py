"""The load generator sees every kind of failure, keeps its rate whatever the answers, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.lab.process import started_at
from tests.load import Load, Result, Sample, Settings
from tests.load.generator import Generator
from tests.load.machine import Stolen
from tests.load.result import MachineStalledError
from tests.load.settings import MIX

ROOT = Path(__file__).parents[2]
PATHS = {
    "get": "/",
    "get-fresh": "/",
    "post": "/items",
    "post-fresh": "/items",
    "slow": "/slow",
    "stream": "/stream",
}
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
LOCAL = "127.0.0.1"


class Server:
    """An HTTP server that does with each path what it is told."""

    def __init__(self, how: Mapping[str, str], pause: float = 0.0) -> None:
        self.how = how
        self.pause = pause
        self.connections = 0
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, LOCAL, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for writer in self.writers:
                writer.transport.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self.answer(reader, writer):
                pass
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Content-Length: " in head:
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            head += await reader.readexactly(length)
        self.requests.append(head)
        path = head.split()[1].decode().partition("?")[0]
        await asyncio.sleep(self.pause)
        match self.how.get(path, "whole"):
            case "whole":
                writer.write(WHOLE)
            case "chunked":
                writer.write(CHUNKED + b"0\r\n\r\n")
            case "error":
                writer.write(WHOLE.replace(b"200 OK", b"502 Bad Gateway"))
            case "silence":
                await asyncio.sleep(30)
            case "reset":
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                writer.transport.abort()
                return False
            case "half":
                writer.write(WHOLE.replace(b": 2", b": 20"))
                return False
            case "half of a stream":
                writer.write(CHUNKED)
                return False
            case "not HTTP":
                writer.write(b"SSH-2.0-x\r\n\r\n")
            case "close":
                return False
        await writer.drain()
        return True


async def generate(port: int, **settings: Any) -> Result:
    given: dict[str, Any] = {"rate": 50, "seconds": 0.2, "websockets": 0} | settings
    plain: dict[str, Any] = {"slow_seconds": 0.05, "stream_seconds": 0.05}
    return await Generator(Settings(LOCAL, port=port, **(plain | given))).run()


async def against(server: Server, **settings: Any) -> Result:
    async with server.running():
        return await generate(server.port, **settings)


# --- every kind of failure is seen ----------------------------------------------------------------


@pytest.mark.parametrize("kind", MIX)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("whole", ""),
        ("chunked", ""),
        ("error", "status 502"),
        ("silence", "timeout"),
        ("reset", "reset"),
        ("close", "reset"),
        ("half", "truncated"),
        ("half of a stream", "truncated"),
    ],
)
def test_every_failure_of_every_kind_of_request(kind: str, how: str, reason: str) -> None:
    patience = {"timeout": 0.3} if reason == "timeout" else {}
    result = asyncio.run(against(Server({PATHS[kind]: how}), mix={kind: 1}, **patience))
    assert {(sample.kind, sample.reason) for sample in result.samples} == {(kind, reason)}
    assert (result.sent, result.failed) == (10, 10 if reason else 0)


def test_what_is_not_http_is_a_failure() -> None:
    result = asyncio.run(against(Server({"/": "not HTTP"}), mix={"get": 1}))
    assert result.failed == 10
    assert all(sample.reason.startswith("not HTTP") for sample in result.samples)


@pytest.mark.parametrize("kind", MIX)
def test_nobody_listening(kind: str) -> None:
    result = asyncio.run(generate(unused_port(), mix={kind: 1}))
    assert result.reasons() == {f"{kind}: refused": 10}


def test_failures_of_one_kind_are_not_those_of_another() -> None:
    result = asyncio.run(against(Server({"/items": "error"}), rate=200, seconds=0.5))
    assert {sample.kind for sample in result.failures} == {"post", "post-fresh"}
    assert result.failed == len(result.of("post", "post-fresh")) == 35
    assert result.summary()["kinds"]["get"]["failed"] == 0
    assert result.summary()["kinds"]["post"]["reasons"] == {"status 502": 20}


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


# --- WebSockets -----------------------------------------------------------------------------------

Talk = Callable[[ServerConnection], Awaitable[None]]


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def restart(websocket: ServerConnection) -> None:
    await websocket.send(await websocket.recv())
    await websocket.close(1012)


async def drop(websocket: ServerConnection) -> None:
    await websocket.send(await websocket.recv())
    websocket.transport.abort()


async def ignore(websocket: ServerConnection) -> None:
    await websocket.wait_closed()


async def with_websockets(talk: Talk, *, refuse: bool = False, timeout: float = 10.0) -> Result:
    def check(connection: ServerConnection, request: Request) -> Response | None:
        assert request.path == "/ws"
        return connection.respond(503, "no") if refuse else None

    async with serve(talk, LOCAL, 0, process_request=check, close_timeout=0.1) as server:
        port = server.sockets[0].getsockname()[1]
        given: dict[str, Any] = {"websockets": 3, "mix": {"get": 1}, "rate": 5, "echo": 0.02}
        return await generate(port, seconds=0.8, timeout=timeout, **given)


def websockets_of(talk: Talk, **settings: Any) -> tuple[Result, set[str]]:
    result = asyncio.run(with_websockets(talk, **settings))
    # A session that the end of the load ends is fine whatever would have come.
    first = [sample for sample in result.of("websocket") if sample.at < 0.3]
    return result, {sample.reason for sample in first}


def test_websockets_that_work() -> None:
    result, reasons = websockets_of(echo)
    assert (reasons, len(result.of("websocket")), result.closes) == ({""}, 3, {})
    assert len(result.echoes) > 30
    # One after the other on each of them, so that together they take no longer than these live.
    lived = sum(sample.milliseconds for sample in result.of("websocket"))
    assert 0 < sum(taken for _, taken in result.echoes) <= lived
    assert 0 < result.latency("echo")["max"] <= lived


def test_websockets_closed_by_a_server_that_restarts() -> None:
    result, reasons = websockets_of(restart)
    assert reasons == {""}
    assert result.closes["1012"] > 3


def test_websockets_dropped_without_a_word() -> None:
    result, reasons = websockets_of(drop)
    assert reasons == {"dropped"}
    assert len(result.of("websocket")) > 3
    assert result.closes == {}


def test_websockets_refused_and_ignored() -> None:
    assert websockets_of(echo, refuse=True)[1] == {"status 503"}
    assert websockets_of(ignore, timeout=0.3)[1] == {"timeout"}


def test_websockets_where_nobody_listens() -> None:
    result = asyncio.run(
        generate(unused_port(), websockets=2, mix={"get": 1}, rate=10, seconds=0.2)
    )
    assert result.reasons() == {"get: refused": 2, "websocket: refused": 2}


# --- an open loop ---------------------------------------------------------------------------------


def test_the_rate_is_kept_whatever_the_answers() -> None:
    server = Server({}, pause=0.25)
    begin = time.monotonic()
    result = asyncio.run(against(server, rate=40, seconds=1.0, timeout=5, mix={"get": 1}))
    assert (result.sent, result.failed) == (40, 0)
    assert time.monotonic() - begin < 3
    assert [sample.at for sample in result.samples] == pytest.approx([n / 40 for n in range(40)])
    assert min(sample.milliseconds for sample in result.samples) >= 250


def test_idle_connections_are_used_again_and_fresh_ones_are_not() -> None:
    pooled, fresh = Server({}), Server({})
    assert asyncio.run(against(pooled, mix={"get": 1, "post": 1})).failed == 0
    assert asyncio.run(against(fresh, mix={"get-fresh": 1, "post-fresh": 1})).failed == 0
    assert (len(pooled.requests), len(fresh.requests)) == (10, 10)
    assert pooled.connections < 5
    assert fresh.connections == 10
    assert all(b"Connection: close" in request for request in fresh.requests)


def test_the_mix_is_what_was_asked_for_and_evenly_spread() -> None:
    kinds = Settings(LOCAL).kinds()
    sent = [next(kinds) for _ in range(100)]
    assert {kind: sent.count(kind) for kind in MIX} == MIX
    assert sent[:50].count("get") == pytest.approx(sent[50:].count("get"), abs=1)


@pytest.mark.parametrize(
    ("reason", "lag", "stolen", "counts"),
    [
        ("timeout", 1999.0, 0.29, True),
        ("", 9000.0, 0.9, True),
        ("timeout", 2001.0, 0.0, False),
        ("timeout", 0.0, 0.9, True),
    ],
)
def test_failures_of_a_machine_that_stood_still_say_nothing(
    reason: str, lag: float, stolen: float, counts: bool
) -> None:
    result = Result(1.0, [Sample(0.0, "get", 5.0, reason)], lag=lag, stolen=stolen)
    with contextlib.nullcontext() if counts else pytest.raises(MachineStalledError):
        assert result.judged() is result


def test_what_others_take_of_the_machine(tmp_path: Path) -> None:
    times = tmp_path / "stat"
    stolen = Stolen(times)
    stolen.look()
    assert stolen.most == 0
    for second, taken in enumerate([0, 0, 0, 0, 0, 0, 50, 150, 150, 150, 150, 150]):
        worked = second * 200 - taken
        times.write_text(f"cpu  {worked} 0 0 0 0 0 0 {taken} {worked} 0\ncpu0 1 2 3\n")
        stolen.look()
    assert stolen.most == 0.15


def test_story_tells_failures_between_what_happened() -> None:
    samples = [Sample(1.0, "get", 5.0, ""), Sample(3.0, "post", 1500.0, "status 502")]
    marks = [(2.0, "deploy"), (4.0, "deployed")]
    assert Result(5.0, samples, lag=300.0, stolen=0.25, marks=marks).story().splitlines() == [
        "1 of 2 failed; the generator was 0.3 s behind at worst; "
        "others took up to 25% of the processors",
        "    2.0 s  deploy",
        "    3.0 s  post status 502 after 1.5 s",
        "    4.0 s  deployed",
    ]


def test_percentiles_are_of_what_succeeded() -> None:
    samples = [Sample(n / 10, "get", float(n), "") for n in range(1, 101)]
    samples.append(Sample(11.0, "get", 10_000.0, "timeout"))
    result = Result(seconds=11, samples=samples)
    assert result.latency("get") == {"p50": 51.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
    (failure,) = result.summary()["failures"]
    assert failure == {"at": 21.0, "kind": "get", "reason": "timeout"}
    assert result.between(0, 5).sent == 49


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "93.184.215.14"},
        {"rate": 0},
        {"rate": 1001},
        {"seconds": 1201},
        {"websockets": 201},
        {"mix": {"delete": 1}},
        {"mix": {"get": 0}},
        {"mix": {"get": 2, "post": -1}},
    ],
)
def test_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Settings(**({"address": LOCAL} | wrong))


# --- the process ----------------------------------------------------------------------------------


def test_in_a_process_of_its_own() -> None:
    port = unused_port()
    with Load(LOCAL, port=port, rate=100, seconds=60, mix={"get": 1}, websockets=0) as load:
        time.sleep(0.5)
        load.mark("now")
    result = load.result()
    assert 20 < result.sent < 1000
    assert result.reasons() == {"get: refused": result.sent}
    ((at, text),) = result.marks
    assert text == "now"
    assert 0.4 < at < result.seconds + 0.5


def test_it_stops_by_itself() -> None:
    load = Load(LOCAL, port=unused_port(), rate=20, seconds=0.5, websockets=0).start()
    time.sleep(0.2)
    process = load._process
    assert process is not None
    assert process.wait(timeout=20) == 0
    assert load.stop().sent == 10


def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "import time; from tests.load import Load;"
        f"load = Load({LOCAL!r}, port={unused_port()}, seconds=600, websockets=0).start();"
        "print(load._process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert started_at(pid) is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while started_at(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_from_a_shell(tmp_path: Path) -> None:
    samples = tmp_path / "samples.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.load", LOCAL, "--port", str(unused_port())),
            *("--seconds", "0.2", "--rate", "50", "--websockets", "0", "--mix", "get=2,post=1"),
            *("--samples", str(samples)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert '"failed": 10' in done.stdout
    assert '"refused"' in samples.read_text()
