"""Being told that a service changed, and doing without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from deploytool.backends.swarm.api.events import LEAST, Listener
from deploytool.errors import EngineError
from tests.fake_engine import FakeEngine, FakeEvents

LONG = 60.0
"""Seconds that nothing here waits."""
SHORT = LEAST * 4


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@contextmanager
def listening(engine: FakeEngine, names: set[str]) -> Iterator[Callable[[float], None]]:
    with closing(Listener(engine, names)) as listener:
        yield listener.wait


def rested(rest: Callable[[float], None], seconds: float) -> float:
    begin = time.monotonic()
    rest(seconds)
    return time.monotonic() - begin


def opened(engine: FakeEngine, rest: Callable[[float], None]) -> FakeEvents:
    """The stream that the first rest opens."""
    rest(0.0)
    return engine.events.get(timeout=LONG)


def test_a_listener_that_never_waits_opens_no_stream(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}):
        time.sleep(SHORT)
    assert engine.events.empty()


def test_a_change_ends_the_rest(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        events = opened(engine, rest)
        for _ in range(2):
            events.tell("items_web")
            assert LEAST <= rested(rest, LONG) < LONG


def test_a_change_of_another_service_does_not_end_the_rest(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        opened(engine, rest).tell("items_worker")
        assert rested(rest, SHORT) >= SHORT


def test_a_change_ends_one_wait_only(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        opened(engine, rest).tell("items_web")
        rest(LONG)
        assert rested(rest, SHORT) >= SHORT


def test_the_stream_is_closed_at_the_end(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        events = opened(engine, rest)
        assert not events.closed.is_set()
    assert events.closed.wait(LONG)


def test_a_stream_that_opens_after_the_end_is_closed(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = FakeEvents()

    def slow() -> FakeEvents:
        time.sleep(SHORT)
        return events

    monkeypatch.setattr(engine, "service_events", slow)
    with listening(engine, {"items_web"}) as rest:
        rest(0.0)
    assert events.closed.wait(LONG)


def test_without_events_one_waits(engine: FakeEngine) -> None:
    engine.refuses["service_events"] = EngineError("The engine refused", code="engine_refused")
    with listening(engine, {"items_web"}) as rest:
        assert rested(rest, SHORT) >= SHORT


def test_the_manager_goes_away(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        opened(engine, rest).close()
        assert rested(rest, SHORT) >= SHORT


def test_behind_ssh_no_second_session_is_opened(engine: FakeEngine) -> None:
    engine.address = "ssh://deploy@manager.example.com"
    with listening(engine, {"items_web"}) as rest:
        assert rested(rest, SHORT) >= SHORT
    assert engine.events.empty()


def test_a_wait_of_no_time_returns_at_once(engine: FakeEngine) -> None:
    with listening(engine, {"items_web"}) as rest:
        assert rested(rest, 0.0) < LONG
