"""What the clients of nodes answer: logs, statistics, checks and commands in tasks.

Where tasks are scripted, commands are run on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import pty
import struct
import termios
import time
from collections.abc import Iterator

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from tests.nomad_double.cluster import Cluster
from tests.nomad_double.node.log_files import LogFiles
from tests.nomad_double.node.runner import Runner
from tests.nomad_double.state import Json
from tests.nomad_double.variables import Refusal

HEARTBEAT = 0.05
"""Seconds; Nomad says {} each second (client/lib/streamframer)."""
LARGEST_FRAME = 64 * 1024
MHZ_OF_A_CORE = 2_000


def add_clients(app: FastAPI, cluster: Cluster) -> None:
    @app.get("/v1/client/fs/logs/{name}")
    def logs(name: str, request: Request) -> Response:
        """What was printed, framed or plain. A stream that is followed has no end, not even that of
        its task (hashicorp/nomad#4663)."""
        query = request.query_params
        kind, offset = query.get("type", ""), int(query.get("offset") or 0)
        _check_log(cluster, name, query.get("task", ""), kind)
        log = _log(cluster, name, kind)
        if query.get("plain") == "true":
            if query.get("follow") == "true":
                raise Refusal(501, "the double follows framed logs only")
            text = log.read()
            begin = max(0, len(text) - offset) if query.get("origin") == "end" else offset
            return Response(text[begin:], media_type="text/plain")
        follow = query.get("follow") == "true"
        place = log.begin(offset, from_end=query.get("origin") == "end")
        return StreamingResponse(_frames(cluster, name, kind, place, follow=follow))

    @app.get("/v1/client/allocation/{name}/stats")
    def stats(name: str) -> Json:
        """As the Docker driver measures under cgroup v2 (drivers/docker/util/stats_posix.go)."""
        _allocation(cluster, name)
        if runner := _runner(cluster, name):
            return _measured(runner.statistics())
        return _statistics(usage=96 * 2**20, cache=32 * 2**20, percent=25.0, ticks=500.0)

    @app.get("/v1/client/allocation/{name}/checks")
    def checks(name: str) -> Json:
        _allocation(cluster, name)
        if runner := _runner(cluster, name):
            return {probe.id: probe.result() for probe in runner.probes}
        return {check["ID"]: check for check in cluster.checks}

    @app.get("/v1/client/stats")
    def host(request: Request) -> Json:
        if request.query_params.get("node_id") not in {node.id for node in cluster.nodes}:
            raise Refusal(404, "Unknown node")
        memory = {"Total": 2**34, "Used": 2**31, "Available": 2**34 - 2**31, "Free": 2**33}
        return {
            "Memory": memory,
            "CPUTicksConsumed": 1000.0,
            "CPU": None,
            "DiskStats": None,
            "AllocDirStats": None,
            "DeviceStats": None,
            "Timestamp": time.time_ns(),
            "Uptime": 1000,
        }

    @app.websocket("/v1/client/allocation/{name}/exec")
    async def execute(socket: WebSocket, name: str) -> None:
        await socket.accept()
        query = socket.query_params
        try:
            allocation = _allocation(cluster, name)
            states = allocation["TaskStates"] or {}
            if query["task"] not in states:
                raise Refusal(400, f'Unknown task name "{query["task"]}"')
        except Refusal as refusal:
            await socket.close(1011, str(refusal.body))
            return
        command = json.loads(query["command"])
        if runner := _runner(cluster, name):
            command = runner.command(command, terminal=query.get("tty") == "true")
        if query.get("tty") == "true":
            await _in_terminal(socket, command)
        else:
            await _in_pipes(socket, command)


def _check_log(cluster: Cluster, name: str, task: str, kind: str) -> None:
    """client/fs_endpoint.go, command/agent/fs_endpoint.go"""
    if kind not in ("stdout", "stderr"):
        raise Refusal(500, "must provide log type (stdout/stderr)")
    allocation = _allocation(cluster, name)
    tasks = {own["Name"] for own in cluster.group(allocation).get("Tasks") or ()}
    if tasks and task not in tasks:
        raise Refusal(400, f'unknown task name "{task}"')
    state = (allocation["TaskStates"] or {}).get(task) or {}
    if tasks and not state.get("StartedAt"):
        raise Refusal(404, f'task "{task}" not started yet. No logs available')


def _allocation(cluster: Cluster, name: str) -> Json:
    if name not in cluster.allocations:
        raise Refusal(404, f'Unknown allocation "{name}"')
    return cluster.allocations[name]


def _runner(cluster: Cluster, name: str) -> Runner | None:
    return cluster.clients.runners.get(name) if cluster.clients else None


def _log(cluster: Cluster, name: str, kind: str) -> LogFiles:
    allocation = _allocation(cluster, name)
    if runner := _runner(cluster, name):
        return runner.logs[kind]
    text = cluster.output(name) if kind == "stdout" else cluster.complaints(name)
    return LogFiles.of(allocation["TaskGroup"], kind, text)


def _measured(found: Json) -> Json:
    memory, cpu = found["memory_stats"], found["cpu_stats"]
    before = found["precpu_stats"]
    used = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    total = cpu.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    share = used / total * (cpu.get("online_cpus") or 1) if total > 0 else 0.0
    cache = memory.get("stats", {}).get("file", 0)
    return _statistics(
        usage=memory.get("usage", 0),
        cache=cache,
        percent=share * 100,
        ticks=share * MHZ_OF_A_CORE,
    )


def _statistics(*, usage: int, cache: int, percent: float, ticks: float) -> Json:
    return {
        "ResourceUsage": {
            "MemoryStats": {
                "Measured": ["Cache", "Swap", "Usage"],
                "Usage": usage,
                "Cache": cache,
                **dict.fromkeys(("RSS", "Swap", "MaxUsage", "KernelUsage", "KernelMaxUsage"), 0),
            },
            "CpuStats": {
                "Measured": ["Percent"],
                "Percent": percent,
                "TotalTicks": ticks,
                **dict.fromkeys(("SystemMode", "UserMode"), 0.0),
                **dict.fromkeys(("ThrottledPeriods", "ThrottledTime"), 0),
            },
            "DeviceStats": None,
        },
        "Timestamp": time.time_ns(),
        "Tasks": {},
    }


def _frames(
    cluster: Cluster, name: str, kind: str, place: tuple[int, int], *, follow: bool
) -> Iterator[bytes]:
    """Objects back to back, with nothing between (client/lib/streamframer)."""
    while not cluster.closing:
        log = _log(cluster, name, kind)
        while True:
            data, file, place = log.read_from(place, LARGEST_FRAME)
            if not data:
                break
            encoded = base64.b64encode(data).decode()
            yield json.dumps({"Data": encoded, "File": file, "Offset": place[1]}).encode()
        if not follow:
            return
        yield b"{}"
        time.sleep(HEARTBEAT)


async def _in_pipes(socket: WebSocket, command: list[str]) -> None:
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert running.stdin is not None
    assert running.stdout is not None
    assert running.stderr is not None
    stdin = running.stdin

    async def forward(stream: asyncio.StreamReader, name: str) -> None:
        while data := await stream.read(4096):
            await _say(socket, name, data)
        await socket.send_json({name: {"close": True}})

    async def take() -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                given = (await socket.receive_json()).get("stdin") or {}
                stdin.write(base64.b64decode(given.get("data") or ""))
                if given.get("close"):
                    stdin.close()
        with contextlib.suppress(ProcessLookupError):
            running.kill()

    taking = asyncio.create_task(take())
    with contextlib.suppress(WebSocketDisconnect):
        await asyncio.gather(forward(running.stdout, "stdout"), forward(running.stderr, "stderr"))
    await _end(socket, await running.wait())
    taking.cancel()


async def _in_terminal(socket: WebSocket, command: list[str]) -> None:
    ours, theirs = pty.openpty()
    running = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)

    async def take() -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                given = await socket.receive_json()
                if data := (given.get("stdin") or {}).get("data"):
                    os.write(ours, base64.b64decode(data))
                if size := given.get("tty_size"):
                    packed = struct.pack("HHHH", size["height"], size["width"], 0, 0)
                    fcntl.ioctl(ours, termios.TIOCSWINSZ, packed)
        with contextlib.suppress(ProcessLookupError):
            running.kill()

    taking = asyncio.create_task(take())
    with contextlib.suppress(OSError, WebSocketDisconnect):
        while data := await asyncio.to_thread(os.read, ours, 4096):
            await _say(socket, "stdout", data)
    await _end(socket, await running.wait())
    taking.cancel()
    os.close(ours)


async def _say(socket: WebSocket, stream: str, data: bytes) -> None:
    await socket.send_json({stream: {"data": base64.b64encode(data).decode()}})


async def _end(socket: WebSocket, code: int) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_json({"exited": True, "result": {"exit_code": code}})
        await socket.close(1000)
