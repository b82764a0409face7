"""Stores of records that need no cluster do what a real one does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.records.store import Store
from tests.fake_engine import FakeEngine
from tests.memory_store import MemoryStore
from tests.stores import StoreContract


class TestInMemory(StoreContract):
    @pytest.fixture
    def app(self) -> str:
        return "items"

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestOnAFakeEngine(TestInMemory):
    @pytest.fixture
    def engine(self) -> FakeEngine:
        made = FakeEngine()
        made.engine_info["SystemTime"] = datetime.now(UTC).isoformat()
        return made

    @pytest.fixture
    def store(self, engine: FakeEngine) -> Store:
        return SwarmStore(engine)

    @pytest.fixture
    def later(self, engine: FakeEngine) -> Callable[[], None]:
        def later() -> None:
            engine.engine_info["SystemTime"] = (
                datetime.now(UTC) + timedelta(1 / 86400)
            ).isoformat()

        return later
