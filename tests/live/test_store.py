"""The store of records on a real Swarm does what the others do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from deploytool.backends.swarm import connect
from deploytool.backends.swarm.specification.labels import APP
from deploytool.backends.swarm.storage.store import SwarmStore
from tests.lab import Lab
from tests.stores import StoreContract

pytestmark = [pytest.mark.live, pytest.mark.core]
_numbers = itertools.count(1)


class TestOnARealEngine(StoreContract):
    @pytest.fixture
    def app(self, worker: str) -> str:
        return f"store{worker}x{next(_numbers)}"

    @pytest.fixture
    def store(self, lab: Lab, app: str) -> Iterator[SwarmStore]:
        client = connect(host=lab.manager.docker_host).client
        yield SwarmStore(client)
        for config in client.configs(label=f"{APP}={app}"):
            client.remove_config(config["ID"])
