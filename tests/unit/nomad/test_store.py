"""The store of records on Nomad, on a server that keeps variables as Nomad does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.storage.store import NomadStore
from deploytool.errors import EngineError
from deploytool.records.store import Kind
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
    assert found["Items"] == {"deploytool": "1", "data": '{"by": "ann"}', "note.a": "b"}


def test_data_that_does_not_fit_is_refused_and_nothing_is_changed(store: NomadStore) -> None:
    with pytest.raises(EngineError, match="a Nomad variable keeps 65,536"):
        store.create("items", Kind.RELEASE, "1", os.urandom(70_000), {})
    assert store.entries("items", Kind.RELEASE) == []


def test_variable_of_somebody_else_in_the_place_of_a_lock(store: NomadStore) -> None:
    store.client.put("/v1/var/deploytool/items/lock", {"Items": {"x": "y"}})
    (entry,) = store.entries("items", Kind.LOCK)
    assert not entry.is_ours
