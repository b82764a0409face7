"""Versions of secrets in Nomad variables, on the double."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploytool.backends.model import SecretSet
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.specification.compile import compile_app
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.storage.secrets import NomadVault
from deploytool.backends.nomad.storage.store import NomadStore
from deploytool.errors import UsageError
from deploytool.records import history
from deploytool.records.store import Taken
from deploytool.secrets import versions
from tests.builders import app, images, service
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running
from tests.unit.nomad.test_rollout import Losing


@pytest.fixture
def vault() -> Iterator[NomadVault]:
    with running(Cluster()) as address:
        yield NomadVault(Client(Connection(address)))


def put(vault: NomadVault, **values: bytes) -> list[SecretSet]:
    past = history.read(NomadStore(vault.client), "items")
    return versions.put(vault, past, "items", values)


def chosen(vault: NomadVault, *names: str, **pins: str) -> dict[str, str]:
    return versions.choose("items", names, vault.versions("items"), pins)


def test_each_value_is_a_version_beside_the_others(vault: NomadVault) -> None:
    assert [(s.version, s.changed) for s in put(vault, TOKEN=b"one")] == [(1, True)]
    assert [(s.version, s.changed) for s in put(vault, TOKEN=b"two")] == [(2, True)]
    assert [(s.version, s.changed) for s in put(vault, TOKEN=b"two")] == [(2, False)]
    items = vault.client.get("/v1/var/nomad/jobs/items")["Items"]
    assert items["TOKEN__2"] == "two"
    assert chosen(vault, "TOKEN") == {"TOKEN": "nomad/jobs/items:TOKEN__2"}
    assert chosen(vault, "TOKEN", TOKEN="nomad/jobs/items:TOKEN__2")


def test_bytes_that_are_no_text_are_kept_as_they_are(vault: NomadVault) -> None:
    value = bytes(range(256))
    put(vault, KEY=value)
    assert chosen(vault, "KEY") == {"KEY": "nomad/jobs/items:KEY__1__base64"}
    (version,) = vault.versions("items")
    assert (version.secret, version.number, bool(version.hash)) == ("KEY", 1, True)


def test_version_is_made_although_the_answer_is_lost(
    vault: NomadVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(vault, TOKEN=b"one")
    losing = Losing(vault.client, "/v1/var/nomad/jobs/items")
    monkeypatch.setattr(vault.client.session, "request", losing)
    assert [(s.version, s.changed) for s in put(vault, TOKEN=b"two")] == [(2, True)]
    assert losing.lost == 1
    assert [v.number for v in vault.versions("items")] == [1, 2]


def test_number_is_taken_once(vault: NomadVault) -> None:
    vault.create("items", "TOKEN", 1, b"a", "hash")
    with pytest.raises(Taken):
        vault.create("items", "TOKEN", 1, b"\xff", "hash")


def test_item_of_somebody_else_is_a_secret_made_by_hand(vault: NomadVault) -> None:
    vault.client.put("/v1/var/nomad/jobs/items", {"Items": {"MANUAL": "x"}})
    (version,) = vault.versions("items")
    assert (version.secret, version.number) == ("MANUAL", 0)
    assert chosen(vault, "MANUAL") == {"MANUAL": "nomad/jobs/items:MANUAL"}
    put(vault, TOKEN=b"y")
    items = vault.client.get("/v1/var/nomad/jobs/items")["Items"]
    assert items["MANUAL"] == "x"


def test_value_that_does_not_fit_is_refused_before_anything_is_set(vault: NomadVault) -> None:
    put(vault, FIRST=os.urandom(30_000))
    with pytest.raises(UsageError, match="are left, older versions included"):
        put(vault, SECOND=b"x", THIRD=os.urandom(30_000))
    assert {v.secret for v in vault.versions("items")} == {"FIRST"}


def test_deleted_version_leaves_the_others(vault: NomadVault) -> None:
    vault.create("items", "TOKEN", 1, b"a", "hash")
    vault.create("items", "OTHER", 1, b"b", "hash")
    first, second = sorted(vault.versions("items"), key=lambda version: version.secret)
    vault.delete(second)
    assert vault.versions("items") == [first]
    vault.delete(first)
    assert vault.versions("items") == []


def test_readers_are_found_in_the_templates_of_the_job(vault: NomadVault) -> None:
    put(vault, TOKEN=b"a", KEY=b"\xff")
    spec = app(service(secrets=["TOKEN", "KEY"]))
    found = chosen(vault, "TOKEN", "KEY")
    compiled = compile_app(Source(app=spec, images=images(spec), secrets=found))
    vault.client.post("/v1/jobs", {"Job": compiled.job})
    assert sorted(vault.readers("items")) == [
        ("web", "nomad/jobs/items:KEY__1__base64"),
        ("web", "nomad/jobs/items:TOKEN__1"),
    ]
