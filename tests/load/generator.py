"""The one that sends: one event loop, a task per request, C parsers for the answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

import httptools
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.load.machine import Stolen
from tests.load.result import WEBSOCKET, Result, Sample
from tests.load.settings import Settings

BODY = b'{"name":"hammer","price":9.5}'
RECONNECT = 0.5
"""Seconds after which somebody whose WebSocket could not be opened tries again."""
ATTENTION = 0.2
"""Seconds after which it is noticed at the latest that it shall stop."""


class Failed(Exception):
    """A request that its caller did not get what it asked for of; the message is the reason."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.begun = False
        self.usable = True

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """The status of the answer, once all of it is there. Raises Failed."""
        assert self.transport is not None
        self.parser = httptools.HttpResponseParser(self)
        self.begun = False
        self.answer = self.loop.create_future()
        self.transport.write(request)
        return self.answer

    def close(self) -> None:
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.begun = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(f"not HTTP: {error}")
            self.close()

    def on_message_complete(self) -> None:
        self.usable = self.usable and self.parser.should_keep_alive()
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(self.parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self.fail("truncated" if self.begun else "reset")

    def fail(self, reason: str) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Failed(reason))


class Generator:
    """One run. `stop` ends it early; requests in flight are waited for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.stopped = False
        self.started = 0.0
        self.idle: deque[Connection] = deque()
        self.samples: list[Sample] = []
        self.echoes: list[tuple[float, float]] = []
        self.closes: Counter[str] = Counter()
        self.lag = 0.0
        self.stolen = Stolen()
        self.requests = {kind: self._request(kind) for kind in settings.mix}

    def stop(self) -> None:
        self.stopped = True

    async def run(self) -> Result:
        self.started = self.loop.time()
        cpu = time.process_time()
        watch = asyncio.create_task(self._watch_machine())
        sockets = [asyncio.create_task(self._websocket(n)) for n in range(self.settings.websockets)]
        requests = await self._send()
        seconds = self.now()
        self.stop()
        if requests:
            await asyncio.wait(requests)
        if sockets:
            await asyncio.wait(sockets)
        for connection in self.idle:
            connection.close()
        watch.cancel()
        return Result(
            seconds=seconds,
            samples=sorted(self.samples),
            echoes=sorted(self.echoes),
            closes=dict(self.closes),
            lag=self.lag * 1000,
            stolen=self.stolen.most,
            cpu=time.process_time() - cpu,
        )

    def now(self) -> float:
        return self.loop.time() - self.started

    async def _send(self) -> set[asyncio.Task[None]]:
        """Every request when it is due; those that are still under way in the end."""
        pending: set[asyncio.Task[None]] = set()
        kinds = self.settings.kinds()
        for number in range(round(self.settings.rate * self.settings.seconds)):
            due = number / self.settings.rate
            await self._wait_until(due)
            if self.stopped:
                break
            self.lag = max(self.lag, self.now() - due)
            task = asyncio.create_task(self._one(next(kinds), due))
            pending.add(task)
            task.add_done_callback(pending.discard)
        return pending

    async def _wait_until(self, due: float) -> None:
        await asyncio.sleep(0)  # when it is behind, too: the answers have to be read
        while not self.stopped and (wait := due - self.now()) > 0:
            await asyncio.sleep(min(wait, ATTENTION))

    async def _watch_machine(self) -> None:
        while True:
            self.stolen.look()
            await asyncio.sleep(1)

    async def _one(self, kind: str, due: float) -> None:
        try:
            async with asyncio.timeout(self.settings.patience(kind)):
                status = await self._exchange(kind)
            reason = "" if 200 <= status < 300 else f"status {status}"
        except TimeoutError:
            reason = "timeout"
        except ConnectionRefusedError:
            reason = "refused"
        except ConnectionResetError:
            reason = "reset"
        except OSError as error:
            reason = f"no connection: {error.strerror}"
        except Failed as error:
            reason = str(error)
        self.samples.append(Sample(due, kind, (self.now() - due) * 1000, reason))

    async def _exchange(self, kind: str) -> int:
        """One request and its answer's status. Raises Failed, OSError."""
        fresh = kind.endswith("-fresh")
        connection = None if fresh else self._pooled()
        if connection is None:
            where = (self.settings.address, self.settings.port)
            _, connection = await self.loop.create_connection(Connection, *where)
        try:
            status = await connection.ask(self.requests[kind])
        except BaseException:
            connection.close()
            raise
        if fresh or not connection.usable:
            connection.close()
        else:
            self.idle.append(connection)
        return status

    def _pooled(self) -> Connection | None:
        """The connection that has been idle for longest, if one is."""
        while self.idle:
            connection = self.idle.popleft()
            if connection.usable:
                return connection
        return None

    def _request(self, kind: str) -> bytes:
        path = {
            "slow": f"/slow?seconds={self.settings.slow_seconds:g}",
            "stream": f"/stream?seconds={self.settings.stream_seconds:g}",
        }.get(kind, "/items" if kind.startswith("post") else "/")
        method, body = ("POST", BODY) if kind.startswith("post") else ("GET", b"")
        headers = [f"{method} {path} HTTP/1.1", f"Host: {self.settings.host}"]
        if kind.endswith("-fresh"):
            headers.append("Connection: close")
        if body:
            headers += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*headers, "", ""]).encode() + body

    async def _websocket(self, number: int) -> None:
        """Somebody who wants to be connected all the time."""
        # Not all at the same moment.
        await asyncio.sleep(number * self.settings.echo / self.settings.websockets)
        while not self.stopped:
            at = self.now()
            reason = await self._session()
            self.samples.append(Sample(at, WEBSOCKET, (self.now() - at) * 1000, reason))
            if reason:
                await asyncio.sleep(RECONNECT)

    async def _session(self) -> str:
        """One WebSocket until it ends; why, if it should not have ended so."""
        opening = connect(
            f"ws://{self.settings.host}/ws",
            host=self.settings.address,
            port=self.settings.port,
            open_timeout=self.settings.timeout,
            close_timeout=1,
            ping_interval=None,
            compression=None,
            proxy=None,
        )
        try:
            async with opening as websocket:
                await self._talk(websocket)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return "dropped"
            self.closes[str(closed.rcvd.code)] += 1
        except InvalidStatus as error:
            return f"status {error.response.status_code}"
        except TimeoutError:
            return "timeout"
        except ConnectionRefusedError:
            return "refused"
        except (OSError, InvalidHandshake):
            return "reset"
        return ""

    async def _talk(self, websocket: ClientConnection) -> None:
        while not self.stopped:
            sent = self.now()
            await websocket.send(str(sent))
            async with asyncio.timeout(self.settings.timeout):
                await websocket.recv()
            taken = self.now() - sent
            self.echoes.append((sent, taken * 1000))
            await asyncio.sleep(max(0.0, self.settings.echo - taken))
