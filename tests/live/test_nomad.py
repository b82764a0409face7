"""What the double of Nomad is taken for, on the real cluster that NOMAD_ADDR names.

Its namespace has to allow jobs of the Docker driver; images come from Docker Hub. Each test has an
app of its own and removes it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from deploytool.backends.model import Outcome
from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.nomad.storage.store import NomadStore
from deploytool.config.nomad import NomadSettings
from deploytool.errors import JobFailed, RolledBack
from deploytool.records import history
from deploytool.rollout.release import new_release
from deploytool.rollout.release_step import Step
from deploytool.rollout.roll_out import roll_out
from deploytool.spec import AppSpec, Image, Service
from tests.stores import StoreContract

pytestmark = pytest.mark.nomad
_numbers = itertools.count(1)
IMAGE = os.environ.get("NOMAD_TEST_IMAGE", "python:3.12-alpine")
SERVER = "python -m http.server 8000"
TIMEOUT = 240_000


@pytest.fixture
def name() -> str:
    return f"dt{os.getpid()}x{next(_numbers)}"


@pytest.fixture
def nomad(name: str) -> Iterator[Nomad]:
    assert os.environ.get("NOMAD_ADDR"), "NOMAD_ADDR names no cluster"
    made = Nomad(Client(connection(NomadSettings())), NomadSettings())
    yield made
    made.destroy(name, volumes=True)


class TestStore(StoreContract):
    @pytest.fixture
    def app(self, name: str) -> str:
        return name

    @pytest.fixture
    def store(self, nomad: Nomad) -> NomadStore:
        return NomadStore(nomad.client)


def service(**keys: object) -> Service:
    given: dict[str, object] = {
        "name": "web",
        "port": 8000,
        "command": ["sh", "-c", SERVER],
        "healthcheck": {"path": "/", "interval": "1s"},
        "memory": "64MiB",
        "update": {"monitor": "2s"},
    }
    return Service.model_validate(given | keys)


def app(name: str, *services: Service, **keys: object) -> AppSpec:
    given: dict[str, object] = {"name": name, "image": IMAGE, "entrypoint": "app.main:app"}
    return AppSpec(services=services, **(given | keys))


def deploy(nomad: Nomad, spec: AppSpec, step: Step | None = None) -> None:
    image = Image(reference=IMAGE, tag=IMAGE)
    images = {s.name: image for s in spec.services}
    release = new_release(spec, images, commit="1a2b3c4")
    roll_out(nomad, nomad.plan(spec, images), release, timeout=TIMEOUT, step=step)


def test_deploy_change_command_and_logs(nomad: Nomad, name: str) -> None:
    spec = app(name, service(replicas=2))
    deploy(nomad, spec)
    status = nomad.status(name)
    assert status.is_complete
    assert nomad.execute(name, "web", ["sh", "-c", "echo out; exit 7"]).exit_code == 7
    before = {task.id for task in status.services[0].tasks if task.running}
    deploy(nomad, spec)
    assert before == {t.id for t in nomad.status(name).services[0].tasks if t.running}
    deploy(nomad, app(name, service(replicas=2, env={"A": "b"})))
    assert not before & {t.id for t in nomad.status(name).services[0].tasks if t.running}


def test_release_that_fails_is_rolled_back(nomad: Nomad, name: str) -> None:
    deploy(nomad, app(name, service()))
    broken = service(command=["sh", "-c", "echo no database >&2; exit 3"])
    with pytest.raises(RolledBack) as caught:
        deploy(nomad, app(name, broken))
    assert "| no database" in caught.value.details
    assert history.records(nomad.store, name)[-1].outcome is Outcome.ROLLED_BACK
    assert nomad.status(name).is_complete


def test_release_step_runs_once_and_its_output_is_streamed(nomad: Nomad, name: str) -> None:
    printed: list[str] = []
    command = ["sh", "-c", "echo one; sleep 3; echo two"]
    deploy(nomad, app(name, service(), release={"command": command}), Step(emit=printed.append))
    assert printed == ["one", "two"]
    failing = {"command": ["sh", "-c", "exit 4"]}
    with pytest.raises(JobFailed):
        deploy(nomad, app(name, service(env={"A": "b"}), release=failing), Step())


def test_secrets_are_files_that_change_with_the_release(nomad: Nomad, name: str) -> None:
    nomad.set_secrets(name, {"TOKEN": b"one"})
    spec = app(name, service(secrets=["TOKEN"]))
    deploy(nomad, spec)
    assert nomad.execute(name, "web", ["cat", "/run/secrets/TOKEN"]).stdout == "one"
    nomad.set_secrets(name, {"TOKEN": b"two"})
    assert nomad.execute(name, "web", ["cat", "/run/secrets/TOKEN"]).stdout == "one"
    deploy(nomad, spec)
    assert nomad.execute(name, "web", ["cat", "/run/secrets/TOKEN"]).stdout == "two"
