"""The output of every replica as one stream, and what the engine's stream is made of."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import pytest
from requests import Response
from urllib3.exceptions import ProtocolError

from deploytool.backends.model import LogLine
from deploytool.backends.swarm.api import client
from deploytool.backends.swarm.api.client import LogEntry, Output
from deploytool.backends.swarm.backend import Swarm
from deploytool.errors import EngineError, UsageError
from deploytool.logs import ReplicaNames, check_requests
from tests.builders import app, deploy, engine, service, worker
from tests.fake_engine import NOW, FakeEngine

NOTHING: Mapping[str, re.Pattern[str]] = MappingProxyType({})


def talking() -> FakeEngine:
    made = engine()
    deploy(made, app(service(replicas=2), worker()))
    for name in ("items_web", "items_worker"):
        for task in made.tasks_of(name):
            made.output[task["ID"]] = [f"{name} {task['Slot']} says {i}" for i in range(2)]
    return made


def read(
    made: FakeEngine,
    *services: str,
    follow: bool = False,
    tail: int = 100,
    hidden: Mapping[str, re.Pattern[str]] = NOTHING,
    warn: Callable[[str], None] = lambda _: None,
) -> list[LogLine]:
    lines = Swarm(made).logs(
        "items", services, follow=follow, tail=tail, since=None, hidden=hidden, warn=warn
    )
    return list(lines)


def test_lines_say_who_printed_them() -> None:
    lines = read(talking())
    assert {(line.service, line.slot) for line in lines} == {("web", 1), ("web", 2), ("worker", 1)}
    assert all(line.node.startswith("node-") for line in lines)
    assert len(lines) == 6


def test_past_lines_are_sorted_by_time() -> None:
    lines = read(talking())
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert all(line.text.endswith("says 0") for line in lines[:3])


def test_only_of_a_service() -> None:
    assert {line.service for line in read(talking(), "worker")} == {"worker"}


def test_what_follows_comes_after_the_past() -> None:
    made = talking()
    past = read(made)
    for task in made.tasks_of("items_web"):
        made.later[task["ID"]] = [LogEntry(task["ID"], task["NodeID"], NOW, "still there")]
    *before, one, two = read(made, follow=True)
    assert before == past
    assert (one.text, two.text) == ("still there", "still there")


def test_what_is_read_twice_is_shown_once() -> None:
    """The stream that is followed begins before the past is read."""
    made = talking()
    (task,) = made.tasks_of("items_worker")
    text = "items_worker 1 says 1"
    made.later[task["ID"]] = [LogEntry(task["ID"], task["NodeID"], f"{NOW[:-1]}1Z", text)]
    assert read(made, follow=True) == read(made)


UVICORN = 'INFO:     127.0.0.1:52314 - "GET /health?deep=1 HTTP/1.1" 200 OK'
GUNICORN = '127.0.0.1 - - [27/Nov/2026:05:20:00 +0000] "GET /health?deep=1 HTTP/1.1" 204 0 "-" "-"'


@pytest.mark.parametrize(
    ("text", "is_hidden"),
    [
        (UVICORN, True),
        (GUNICORN, True),
        (UVICORN.replace("/health", "/v1/health"), True),  # Uvicorn with a root path
        (UVICORN.replace("/health", "/v2/health"), False),
        (UVICORN.replace("127.0.0.1", "10.0.1.5"), False),
        (UVICORN.replace("127.0.0.1", "10.127.0.0.1"), False),
        (UVICORN.replace("GET", "POST"), False),
        (UVICORN.replace("?deep=1", ""), False),
        (UVICORN.replace("200 OK", "503 Service Unavailable"), False),
        (f"asked with {UVICORN.partition('- ')[2]}", False),
    ],
)
def test_health_checks_that_succeed_are_hidden(text: str, is_hidden: bool) -> None:
    checked = service(healthcheck={"path": "/health?deep=1"}, path_prefix="/v1/")
    (pattern,) = check_requests([checked, worker()]).values()
    assert (pattern.search(text) is not None) == is_hidden


def test_so_many_lines_are_shown_as_asked_for_past_health_checks() -> None:
    made = engine()
    deploy(made, app(service(replicas=1)))
    (task,) = made.tasks_of("items_web")
    check = UVICORN.replace("?deep=1", "")
    made.output[task["ID"]] = [*(f"says {i}" for i in range(5)), *[check] * 30]
    made.later[task["ID"]] = [
        LogEntry(task["ID"], task["NodeID"], NOW, text) for text in (check, "still there")
    ]
    hidden = check_requests([service()])
    assert [line.text for line in read(made, tail=2, hidden=hidden)] == ["says 3", "says 4"]
    assert [line.text for line in read(made, tail=2)] == [check, check]
    last = read(made, tail=0, hidden=hidden, follow=True)
    assert [line.text for line in last] == ["still there"]


def test_replicas_of_one_slot_are_told_apart() -> None:
    """As while a service is updated."""
    made = talking()
    old = made.tasks_of("items_worker")[0]["ID"]
    new = made.add_task("items_worker", 1, "running")
    made.output[new] = ["items_worker 1 says 2"]
    lines = read(made, "worker")
    assert {line.task for line in lines} == {old, new}
    names = ReplicaNames()
    first, second = dict.fromkeys(line.task for line in lines)
    shown = {line.task: names.of(line) for line in lines}
    assert shown == {first: "worker.1", second: f"worker.1 {second[:8]}"}
    assert names.of(lines[0]) == "worker.1"
    assert names.of(read(made, "web")[0]).startswith("web.")


def test_what_is_missing_is_warned_of() -> None:
    made = talking()
    (task,) = made.tasks_of("items_worker")
    node = task["NodeID"]
    made.missing[task["ID"]] = (
        "error from daemon in stream: Error grabbing logs: incomplete log stream. some logs could "
        f"not be retrieved for the following reasons: node {node} is not available"
    )
    warnings: list[str] = []
    assert len(read(made, warn=warnings.append)) == 6
    (name,) = {n["Description"]["Hostname"] for n in made.nodes() if n["ID"] == node}
    said = f"output of worker.1 on {name} is missing: node {name} is not available"
    assert warnings == [said]


def test_one_that_cannot_be_asked_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made = talking()
    (task,) = made.tasks_of("items_worker")
    ask = made.task_output

    def some(task_id: str, *, tail: int, since: int | None = None) -> Output:
        if task_id == task["ID"]:
            raise EngineError("It does not answer", code="engine_unreachable")
        return ask(task_id, tail=tail, since=since)

    monkeypatch.setattr(made, "task_output", some)
    warnings: list[str] = []
    assert {line.service for line in read(made, warn=warnings.append)} == {"web"}
    assert [text.partition(" is missing: ")[2] for text in warnings] == ["It does not answer"]
    with pytest.raises(EngineError):
        read(made, "worker")


def test_a_replica_that_never_ran_is_not_asked() -> None:
    made = talking()
    waiting = made.add_task("items_web", 3, "pending", ContainerStatus={})
    made.missing[waiting] = "no such container"
    warnings: list[str] = []
    assert len(read(made, warn=warnings.append)) == 6
    assert warnings == []


def test_tail_limits_the_lines() -> None:
    assert len(read(talking(), tail=1)) == 3


def test_a_replica_that_is_forgotten_still_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = talking()

    def gone(*_: object, **__: object) -> Iterator[LogEntry]:
        yield LogEntry("task-of-old", "node-of-old", "2026-01-01T00:00:00Z", "last words")

    monkeypatch.setattr(made, "service_output", gone)
    *_, line = read(made, "web", follow=True)
    assert (line.slot, line.node, line.text) == (0, "node-of-old", "last words")


def test_an_engine_that_goes_away_is_told_while_following(monkeypatch: pytest.MonkeyPatch) -> None:
    made = talking()

    def breaks(*_: object, **__: object) -> Iterator[LogEntry]:
        raise EngineError("away", code="engine_unreachable")
        yield

    monkeypatch.setattr(made, "service_output", breaks)
    with pytest.raises(EngineError):
        read(made, follow=True)


def test_unknown_service() -> None:
    with pytest.raises(UsageError) as caught:
        read(talking(), "wob")
    assert caught.value.code == "unknown_service"
    assert caught.value.hint == "there are: web, worker"


def test_an_app_that_is_not_there() -> None:
    with pytest.raises(UsageError) as caught:
        read(engine())
    assert caught.value.code == "not_deployed"


# The engine's stream


def frame(text: bytes, stream: int = 1) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


class Slow(io.BytesIO):
    """A connection that gives a byte at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(1, size if size and size > 0 else 1))


@pytest.mark.parametrize("kind", [io.BytesIO, Slow])
def test_frames(kind: type[io.BytesIO]) -> None:
    stream = kind(frame(b"one\n") + frame(b"") + frame("zwö\n".encode(), 2))
    assert list(client._frames(stream)) == [(1, "one"), (1, ""), (2, "zwö")]


def test_a_frame_that_is_cut_off() -> None:
    stream = io.BytesIO(frame(b"whole") + frame(b"cut off")[:-3])
    assert "".join(text for _, text in client._frames(stream)) == "whole"


class Breaking(io.BytesIO):
    """A stream whose engine goes away."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size) or self._break()

    def _break(self) -> bytes:
        raise ProtocolError("Connection broken")


def test_a_stream_that_breaks_says_so() -> None:
    response = Response()
    response.raw = Breaking(frame(b"2026 a=b one\n"))
    entries = client._log_entries(response)
    assert next(entries).text == "one"
    with pytest.raises(EngineError) as caught:
        next(entries)
    assert caught.value.code == "engine_unreachable"


def test_what_the_engine_says_is_no_line_of_a_replica() -> None:
    response = Response()
    response.raw = io.BytesIO(frame(b"2026 a=b one\n") + frame(b"not available\n", 3))
    assert [entry.text for entry in client._log_entries(response)] == ["one"]


def test_log_entry() -> None:
    line = (
        "2026-11-22T03:04:05.123456789Z com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,"
        "com.docker.swarm.task.id=t1 GET / a=b, c=d"
    )
    assert client._log_entry(line) == LogEntry(
        task="t1", node="n1", at="2026-11-22T03:04:05.123456789Z", text="GET / a=b, c=d"
    )


@pytest.mark.parametrize("line", ["", "x", "2026 a=b", "2026  text"])
def test_a_line_of_another_form_is_no_failure(line: str) -> None:
    assert client._log_entry(line).task == ""
