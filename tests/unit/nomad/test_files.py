"""Configuration files of releases on Nomad: a rollback finds what an earlier release had."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from deploytool.backends.nomad.api.client import Client
from deploytool.backends.nomad.api.connection import Connection
from deploytool.backends.nomad.backend import Nomad
from deploytool.backends.nomad.storage import files
from deploytool.config.nomad import NomadSettings
from deploytool.errors import PlanError
from deploytool.records import history
from deploytool.rollout.limits import Limits
from deploytool.rollout.roll_out import roll_out
from deploytool.spec import AppSpec
from tests.builders import app, images, release, service
from tests.nomad_double.cluster import Cluster
from tests.nomad_double.server import running

PATH = "config/web.yml"
FIRST, SECOND = b"a: 1\n", b"a: 2\n"


@pytest.fixture
def nomad() -> Iterator[Nomad]:
    with running(Cluster(), speed=20) as address:
        yield Nomad(Client(Connection(address)), NomadSettings())


def with_file(content: bytes) -> AppSpec:
    digest = hashlib.sha256(content).hexdigest()
    return app(service(files={"/etc/web.yml": PATH}), files={PATH: digest})


def deploy(nomad: Nomad, spec: AppSpec, content: bytes | None) -> None:
    plan = nomad.plan(spec, images(spec), files={PATH: content} if content is not None else {})
    roll_out(nomad, plan, release(spec, 0), timeout=20_000, limits=Limits(poll=1.0))


def written(nomad: Nomad) -> str:
    (group,) = nomad.client.get("/v1/job/items")["TaskGroups"]
    (template,) = group["Tasks"][0]["Templates"]
    return str(template["EmbeddedTmpl"])


def kept(nomad: Nomad) -> list[str]:
    return [one["Path"] for one in nomad.client.get("/v1/vars", prefix="deploytool/items/file/")]


def test_what_an_earlier_release_had_is_written_again(nomad: Nomad) -> None:
    for content in (FIRST, SECOND):
        deploy(nomad, with_file(content), content)
    deploy(nomad, with_file(FIRST), None)
    assert written(nomad) == FIRST.decode()


def test_a_plan_without_the_content_is_refused(nomad: Nomad) -> None:
    with pytest.raises(PlanError) as caught:
        deploy(nomad, with_file(FIRST), None)
    assert caught.value.code == "file_gone"
    assert PATH in caught.value.message


def test_what_no_release_needs_is_removed(nomad: Nomad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    for content in (FIRST, SECOND, b"a: 3\n"):
        deploy(nomad, with_file(content), content)
    digests = [hashlib.sha256(content).hexdigest()[:32] for content in (SECOND, b"a: 3\n")]
    assert kept(nomad) == sorted(f"deploytool/items/file/{digest}/0" for digest in digests)
    nomad.destroy("items", volumes=True)
    assert kept(nomad) == []


def test_large_files_are_kept_in_parts(nomad: Nomad) -> None:
    content = random.Random(17).randbytes(200_000)
    files.keep(nomad.client, "items", {"f" * 64: content})
    assert len(kept(nomad)) == 5
    assert files.read(nomad.client, "items", "f" * 64) == content
    nomad.client.delete(f"/v1/var/deploytool/items/file/{'f' * 32}/0")
    assert files.read(nomad.client, "items", "f" * 64) is None, "it is not complete"
    files.keep(nomad.client, "items", {"f" * 64: content})
    assert files.read(nomad.client, "items", "f" * 64) == content
