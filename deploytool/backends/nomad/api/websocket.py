"""Commands in replicas over Nomad's websocket, which python-nomad does not have.

Both sides send JSON objects (api/allocations_exec.go): data of the streams, the size of the
terminal, and from time to time an empty one, which keeps the connection.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from deploytool.backends.nomad.api.client import CONNECT, Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.errors import EngineError
from deploytool.json_types import Json

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

HEARTBEAT = 10.0
"""Seconds between two signs of life."""
LARGEST = 2**24
"""Bytes of one message. Nomad sends 64 KiB at once."""


class Exec:
    """A command that runs in a task. Input may be sent from another thread."""

    def __init__(
        self,
        client: Client,
        allocation: str,
        task: str,
        command: Sequence[str],
        *,
        terminal: bool = False,
    ) -> None:
        """Start it. Raises EngineError."""
        self.client = client
        self.path = f"/v1/client/allocation/{allocation}/exec"
        query = {"task": task, "tty": str(terminal).lower(), "command": json.dumps(list(command))}
        self._closing = ExitStack()
        self._connection = _connect(client, self.path, query, self._closing)
        self._ended = threading.Event()
        threading.Thread(target=self._stay, daemon=True).start()

    def send(self, data: bytes) -> None:
        self._send({"stdin": {"data": base64.b64encode(data).decode()}})

    def end_input(self) -> None:
        self._send({"stdin": {"close": True}})

    def resize(self, height: int, width: int) -> None:
        self._send({"tty_size": {"height": height, "width": width}})

    def run(self, write: Callable[[str, bytes], None]) -> int:
        """Give what it prints, with the name of the stream, to `write`; its exit code. Raises
        EngineError where it cannot be started, or the connection is lost."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                frame: Json = json.loads(self._connection.recv())
                for stream in ("stdout", "stderr"):
                    if data := (frame.get(stream) or {}).get("data"):
                        write(stream, base64.b64decode(data))
                if frame.get("exited"):
                    return int((frame.get("result") or {}).get("exit_code") or 0)
        except ConnectionClosed as error:
            raise self._closed(error.rcvd.reason if error.rcvd else "") from None
        finally:
            self._ended.set()
            self._closing.close()

    def _send(self, message: Json) -> None:
        """What cannot be sent any more is dropped: whoever reads hears why."""
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(json.dumps(message))
        except ConnectionClosed:
            self._ended.set()

    def _stay(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self._send({})

    def _closed(self, reason: str) -> EngineError:
        if not reason:
            return EngineError(
                "The connection to the command in the replica was lost",
                code="exec_lost",
                hint="it may still run: look for it before you run it again",
            )
        return self.client.refused("GET", self.path, 500, reason)


def _connect(
    client: Client, path: str, query: dict[str, str], closing: ExitStack
) -> ClientConnection:
    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect

    where = client.connection
    query = {"namespace": where.namespace, **query}
    if where.region:
        query["region"] = where.region
    headers = {"X-Nomad-Token": where.token} if where.token else {}
    secure = where.address.startswith("https://")
    try:
        opening = connect(
            f"ws{where.address.removeprefix('http')}{path}?{urlencode(query)}",
            additional_headers=headers,
            ssl=tls(where) if secure else None,
            server_hostname=(where.server_name or None) if secure else None,
            open_timeout=CONNECT,
            max_size=LARGEST,
        )
        return closing.enter_context(opening)
    except InvalidStatus as error:
        text = (error.response.body or b"").decode("utf-8", "replace")
        raise client.refused("GET", path, error.response.status_code, text) from None
    except (OSError, InvalidHandshake) as error:
        raise client.unreachable(error) from None


def tls(where: Connection) -> ssl.SSLContext:
    """What certificates are verified with, and which one is shown."""
    context = ssl.create_default_context()
    if where.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(where.verify, str):
        is_folder = Path(where.verify).is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else where.verify, capath=where.verify if is_folder else None
        )
    if where.certificate:
        context.load_cert_chain(*where.certificate)
    return context
