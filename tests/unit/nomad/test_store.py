"""The store of records on Nomad, on a server that keeps variables as Nomad does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.storage.store import NomadStore
from deploytool.errors import EngineError
from deploytool.records.store import Kind, Taken
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running
from tests.stores import StoreContract


@pytest.fixture
def store() -> Iterator[NomadStore]:
    with running(Cluster()) as address:
        yield NomadStore(Client(Connection(address, namespace="shop")))


class TestOnTheDouble(StoreContract):
    @pytest.fixture
    def store(self, store: NomadStore) -> NomadStore:
        return store

    @pytest.fixture
    def app(self) -> str:
        return "items"


def test_short_data_can_be_read_with_other_tools(store: NomadStore) -> None:
    store.create("items", Kind.LOCK, "", b'{"by": "ann"}', {"a": "b"})
    found = store.client.get("/v1/var/deploytool/items/lock")
    mark = found["Items"].pop("deploytool")
    assert (len(mark), found["Items"]) == (32, {"data": '{"by": "ann"}', "note.a": "b"})


def test_data_that_does_not_fit_is_refused_and_nothing_is_changed(store: NomadStore) -> None:
    with pytest.raises(EngineError, match="a Nomad variable keeps 65,536"):
        store.create("items", Kind.RELEASE, "1", os.urandom(70_000), {})
    assert store.entries("items", Kind.RELEASE) == []


def test_variable_of_somebody_else_in_the_place_of_a_lock(store: NomadStore) -> None:
    store.client.put("/v1/var/deploytool/items/lock", {"Items": {"x": "y"}})
    (entry,) = store.entries("items", Kind.LOCK)
    assert not entry.is_ours


@dataclass
class Losing:
    """Loses the first answer to a write, before or after it has arrived."""

    store: NomadStore
    meanwhile: Callable[[], object] | None = None
    """What happens instead of the write; None for the write."""
    lost: int = 0

    def __post_init__(self) -> None:
        self.request = self.store.client.session.request

    def __call__(self, method: str, url: str, **keys: Any) -> requests.Response:
        if method == "GET" or self.lost:
            return self.request(method, url, **keys)
        self.lost += 1
        self.meanwhile() if self.meanwhile else self.request(method, url, **keys)
        raise requests.ConnectionError


@pytest.fixture
def known(store: NomadStore) -> NomadStore:
    """One whose server has answered."""
    assert store.entries("items", Kind.LOCK) == []
    return store


def test_entries_whose_answers_are_lost_are_made_and_changed(
    known: NomadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known.client.session, "request", Losing(known))
    entry = known.entry(known.create("items", Kind.RELEASE, "1", b"{}", {}))
    assert entry is not None
    monkeypatch.undo()
    monkeypatch.setattr(known.client.session, "request", Losing(known))
    known.annotate(entry, {"outcome": "done"})
    assert [e.notes for e in known.entries("items", Kind.RELEASE)] == [{"outcome": "done"}]


def test_lock_of_another_with_the_same_data_is_not_taken_for_the_own(
    known: NomadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = NomadStore(Client(known.client.connection))
    losing = Losing(known, lambda: other.create("items", Kind.LOCK, "", b"ann", {}))
    monkeypatch.setattr(known.client.session, "request", losing)
    with pytest.raises(Taken):
        known.create("items", Kind.LOCK, "", b"ann", {})
    assert losing.lost == 1
