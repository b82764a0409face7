"""Releases that the cluster remembers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.model import Outcome
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import EngineError
from deploytool.records import history
from deploytool.records.formats import FORMAT, UPGRADES
from deploytool.spec import AppSpec, Release
from tests.builders import OTHER_DIGEST, app, images, maximal_app, proxy, release, service
from tests.fake_engine import FakeEngine


def test_numbers_count_up() -> None:
    engine = FakeEngine()
    for number in (1, 2, 3):
        done = history.begin(SwarmStore(engine), release(app(), 0))
        assert done.id == f"v{number}"
        history.finish(SwarmStore(engine), done, Outcome.DONE, 1.5)


EACH_NODE = app(service(mode="global"))


@pytest.mark.parametrize(
    "spec",
    [app(), maximal_app(), proxy(), EACH_NODE],
    ids=["app", "every-key", "proxy", "each-node"],
)
def test_what_is_read_is_what_was_written(spec: AppSpec) -> None:
    engine = FakeEngine()
    begun = history.begin(SwarmStore(engine), release(spec, 0, note="rollback to v1"))
    (record,) = history.records(SwarmStore(engine), spec.name)
    assert record.release == begun
    assert record.release.spec == spec
    assert record.outcome is Outcome.STARTED
    assert record.seconds is None


def test_no_domains_in_what_an_earlier_version_wrote_are_domains_that_nobody_said() -> None:
    engine = FakeEngine()
    spec = app(service(), service("api", domains=["api.example.com"]))
    old = json.loads(release(spec).model_dump_json())
    del old["format"]
    old["spec"]["services"][0]["domains"] = []
    found = {labels.APP: "items", labels.RELEASE: "v1", labels.OUTCOME: "done"}
    engine.create_config("items.release.1", json.dumps(old).encode(), found)
    (record,) = history.records(SwarmStore(engine), "items")
    assert record.release.spec == spec
    off = app(service(domains=[]))
    history.begin(SwarmStore(engine), release(off, 0))
    assert history.records(SwarmStore(engine), "items")[-1].release.spec == off


def test_how_it_ended() -> None:
    engine = FakeEngine()
    begun = history.begin(SwarmStore(engine), release(app(), 0))
    history.finish(SwarmStore(engine), begun, Outcome.ROLLED_BACK, 12.34)
    (record,) = history.records(SwarmStore(engine), "items")
    assert (record.outcome, record.seconds) == (Outcome.ROLLED_BACK, 12.3)


def test_two_at_once_get_two_numbers() -> None:
    engine = FakeEngine()
    engine.create_config("items.release.1", b"{}", {})
    engine.create_config("items.release.2", b"{}", {})
    assert history.begin(SwarmStore(engine), release(app(), 0)).number == 3


def test_numbers_that_cannot_be_had_end_somewhere() -> None:
    engine = FakeEngine()
    for number in range(1, 30):
        engine.create_config(f"items.release.{number}", b"{}", {})
    with pytest.raises(EngineError) as caught:
        history.begin(SwarmStore(engine), release(app(), 0))
    assert caught.value.code == "release_numbers"


def test_other_failures_are_not_taken_for_a_taken_number() -> None:
    engine = FakeEngine()
    engine.refuses["create_config"] = EngineError("no leader", code="no_quorum")
    with pytest.raises(EngineError) as caught:
        history.begin(SwarmStore(engine), release(app(), 0))
    assert caught.value.code == "no_quorum"


@pytest.mark.parametrize("outcome", [Outcome.STARTED, Outcome.INTERRUPTED])
def test_an_unfinished_release_is_resumed(outcome: Outcome) -> None:
    engine = FakeEngine()
    begun = history.begin(SwarmStore(engine), release(app(), 0))
    history.finish(SwarmStore(engine), begun, outcome, 1.0)
    assert history.begin(SwarmStore(engine), release(app(), 0)) == begun
    assert len(engine.configs()) == 1


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.FAILED, Outcome.TIMED_OUT])
def test_a_finished_release_is_not_resumed(outcome: Outcome) -> None:
    engine = FakeEngine()
    history.finish(
        SwarmStore(engine), history.begin(SwarmStore(engine), release(app(), 0)), outcome, 1.0
    )
    assert history.begin(SwarmStore(engine), release(app(), 0)).number == 2


def test_another_content_is_another_release() -> None:
    engine = FakeEngine()
    history.begin(SwarmStore(engine), release(app(), 0))
    assert history.begin(SwarmStore(engine), release(app(service(replicas=2)), 0)).number == 2
    newer = images(app(), digest=OTHER_DIGEST)
    assert history.begin(SwarmStore(engine), release(app(), 0, images=newer)).number == 3


def test_only_so_many_are_kept_and_sorted_as_numbers() -> None:
    engine = FakeEngine()
    for _ in range(history.KEPT + 5):
        begun = history.begin(SwarmStore(engine), release(app(), 0))
        history.finish(SwarmStore(engine), begun, Outcome.DONE, 1.0)
    numbers = [record.release.number for record in history.records(SwarmStore(engine), "items")]
    assert numbers == list(range(6, history.KEPT + 6))


def test_apps_do_not_see_each_other() -> None:
    engine = FakeEngine()
    history.begin(SwarmStore(engine), release(app(), 0))
    assert history.records(SwarmStore(engine), "shop") == []
    assert history.begin(SwarmStore(engine), release(app(name="shop"), 0)).number == 1


@pytest.mark.parametrize(
    "data", [b" ", b"{", b"null", b"[]", b"{}", b'{"number": 1}', b"\xff\xfe", b'{"spec": 5}']
)
def test_records_that_cannot_be_read_are_left_out(data: bytes) -> None:
    engine = FakeEngine()
    history.begin(SwarmStore(engine), release(app(), 0))
    told = {labels.APP: "items", labels.STACK: "items", labels.RELEASE: "v2"}
    engine.create_config("items.release.2", data, told)
    assert [record.release.number for record in history.records(SwarmStore(engine), "items")] == [1]
    assert history.begin(SwarmStore(engine), release(app(service(replicas=3)), 0)).number == 3


def stored(engine: FakeEngine, number: int, data: Any, **told: str) -> None:
    """A record as another version of deploytool may have written it."""
    name = data["spec"]["name"] if "spec" in data else "items"
    own = {labels.APP: name, labels.STACK: name, labels.RELEASE: f"v{number}"}
    engine.create_config(f"{name}.release.{number}", json.dumps(data).encode(), own | told)


def left_out(engine: FakeEngine) -> list[str]:
    """The releases that cannot be read."""
    return [f"v{number}" for number in history.read(SwarmStore(engine), "items").unread]


def whole(spec: AppSpec | None = None) -> Any:
    return json.loads(release(spec or app(), 2).model_dump_json())


UNKNOWN = [
    (),
    ("spec",),
    ("spec", "services", 0),
    ("spec", "services", 0, "update"),
    ("spec", "services", 0, "healthcheck"),
    ("spec", "proxy"),
    ("images", "web"),
]


@pytest.mark.parametrize("where", UNKNOWN, ids=lambda path: ".".join(map(str, path)) or "top")
def test_what_is_known_of_a_newer_record_is_read(where: tuple[str | int, ...]) -> None:
    engine = FakeEngine()
    spec = app(service(volumes=["data:/data"], replicas=3))
    data = inner = whole(spec)
    for part in where:
        inner = inner[part]
    inner |= {"added": {"later": True}}
    stored(engine, 2, data, **{labels.OUTCOME: "done"})
    (record,) = history.records(SwarmStore(engine), "items")
    assert record.unknown == (".".join(map(str, (*where, "added"))),)
    assert record.release.spec == spec
    assert record.outcome is Outcome.DONE
    assert left_out(engine) == []


def test_what_is_known_in_part_is_never_taken_for_the_same() -> None:
    """Nor is anything removed that it may need."""
    engine = FakeEngine()
    stored(engine, 2, whole() | {"added": 1}, **{labels.OUTCOME: "started"})
    assert history.begin(SwarmStore(engine), release(app(), 0)).number == 3
    assert not history.read(SwarmStore(engine), "items").is_whole


def test_what_is_not_known_is_kept() -> None:
    engine = FakeEngine()
    data = whole() | {"added": 1}
    stored(engine, 2, data, **{"deploytool.added": "later"})
    (record,) = history.records(SwarmStore(engine), "items")
    history.finish(SwarmStore(engine), record.release, Outcome.FAILED, 1.0)
    (config,) = engine.configs()
    assert json.loads(base64.b64decode(config["Spec"]["Data"])) == data
    assert config["Spec"]["Labels"]["deploytool.added"] == "later"


def test_labels_of_another_shape() -> None:
    engine = FakeEngine()
    stored(engine, 2, whole(), **{labels.OUTCOME: "superseded", labels.SECONDS: "soon"})
    stored(engine, 3, whole(), **{labels.SECONDS: "nan", labels.RELEASE: "x3"})
    (record,) = history.records(SwarmStore(engine), "items")
    assert (record.outcome, record.seconds) == (Outcome.UNKNOWN, None)


def test_moments_without_a_zone_can_be_compared() -> None:
    engine = FakeEngine()
    stored(engine, 2, whole() | {"at": "2026-11-22T03:04:05"})
    history.begin(SwarmStore(engine), release(app(service(replicas=3)), 0))
    first, second = history.records(SwarmStore(engine), "items")
    assert first.release.at == second.release.at


def test_records_that_are_left_out_can_be_named() -> None:
    engine = FakeEngine()
    stored(engine, 2, {"number": 2})
    stored(engine, 3, whole())
    assert left_out(engine) == ["v2"]


STORED = Path(__file__).parent / "stored"
"""Releases in every form that they were ever written in: whoever updates can go back to them."""
EXAMPLES = sorted(STORED.glob("[0-9]*/*.json"))


def test_every_form_has_examples() -> None:
    numbers = {int(path.parent.name) for path in EXAMPLES}
    assert numbers == {*UPGRADES, FORMAT} == set(range(1, FORMAT + 1))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_records_in_every_form_can_be_read(path: Path) -> None:
    engine = FakeEngine()
    data = json.loads(path.read_text())
    stored(engine, 2, data, **{labels.OUTCOME: "done"})
    past = history.read(SwarmStore(engine), data["spec"]["name"])
    assert past.is_whole
    (record,) = past.records
    assert has(json.loads(record.release.model_dump_json()), as_meant(data))


def as_meant(data: Any) -> Any:
    """What a stored release says, in today's words."""
    if "format" not in data:
        for stored_service in data["spec"]["services"]:
            stored_service["domains"] = stored_service.get("domains") or None
            if any(port["mode"] == "host" for port in stored_service["publish"]):
                stored_service["update"]["order"] = "stop-first"
    return data | {"format": FORMAT}


@pytest.mark.parametrize("path", [*(STORED / "3").glob("*.json")], ids=lambda path: path.stem)
def test_what_ran_without_limits_goes_back_to_none(path: Path) -> None:
    """A rollback, or a failed deploy of another service, changes nothing else of it."""
    found = Release.model_validate_json(path.read_bytes())
    for one in found.spec.services:
        template = swarm.service_spec(found.spec, one, found.images[one.name], found)[
            "TaskTemplate"
        ]
        assert not template["Resources"]["Limits"]["Pids"]
        assert "TmpfsOptions" not in str(template)


@pytest.mark.parametrize(
    ("name", "spec"),
    [("plain", app()), ("every-key", maximal_app()), ("each-node", EACH_NODE)],
)
def test_releases_are_written_as_in_the_examples_of_todays_form(name: str, spec: AppSpec) -> None:
    """Where this fails, what is stored has changed: raise FORMAT, write an upgrade from the form
    before, and store examples of the new one."""
    example = json.loads((STORED / str(FORMAT) / f"{name}.json").read_text())
    keys = {key: example[key] for key in ("secrets", "note")}
    assert json.loads(release(spec, 2, **keys).model_dump_json()) == example


@pytest.mark.parametrize("form", range(1, FORMAT))
def test_what_was_stored_without_a_mode_has_a_number_of_replicas(form: int) -> None:
    for path in (STORED / str(form)).glob("*.json"):
        found = Release.model_validate_json(path.read_bytes())
        assert {one.mode for one in found.spec.services} == {"replicated"}


@pytest.mark.parametrize("number", [0, -1, True, None, "2", 2.5, []])
def test_a_form_that_never_was_cannot_be_read(number: object) -> None:
    engine = FakeEngine()
    stored(engine, 2, whole() | {"format": number})
    assert history.records(SwarmStore(engine), "items") == []
    assert left_out(engine) == ["v2"]


def test_what_cannot_be_read_is_not_forgotten() -> None:
    engine = FakeEngine()
    stored(engine, 1, {"number": 1})
    for number in range(2, history.KEPT + 5):
        begun = history.begin(SwarmStore(engine), release(app(), 0))
        assert begun.number == number
        history.finish(SwarmStore(engine), begun, Outcome.DONE, 1.0)
    assert left_out(engine) == ["v1"]
    assert history.records(SwarmStore(engine), "items")[0].release.number == 5


def test_a_newer_form_is_never_taken_for_the_same() -> None:
    engine = FakeEngine()
    stored(engine, 2, whole() | {"format": FORMAT + 1}, **{labels.OUTCOME: "started"})
    (record,) = history.records(SwarmStore(engine), "items")
    assert record.unknown == ("format",)
    assert not history.read(SwarmStore(engine), "items").is_whole
    assert history.begin(SwarmStore(engine), release(app(), 0)).number == 3


def has(whole: Any, part: Any) -> bool:
    """Whether all of the one is in the other, which may have more keys."""
    if isinstance(part, dict):
        return all(key in whole and has(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(has, whole, part))
    return bool(whole == part)


def test_configs_of_another_kind_are_no_releases() -> None:
    engine = FakeEngine()
    told = {labels.APP: "items", labels.RELEASE: "latest"}
    engine.create_config("items.settings", b"{}", told)
    assert history.records(SwarmStore(engine), "items") == []
    assert history.begin(SwarmStore(engine), release(app(), 0)).number == 1


def test_records_carry_the_label_of_the_stack_so_that_it_takes_them_along() -> None:
    engine = FakeEngine()
    history.begin(SwarmStore(engine), release(app(), 0))
    (config,) = engine.configs(label=f"{labels.STACK}=items")
    assert config["Spec"]["Name"] == "items.release.1"


def test_secrets_have_no_values_to_remember() -> None:
    engine = FakeEngine()
    begun = history.begin(SwarmStore(engine), release(app(service(secrets=["DATABASE_URL"])), 0))
    assert json.loads(begun.model_dump_json())["spec"]["services"][0]["secrets"] == ["DATABASE_URL"]
