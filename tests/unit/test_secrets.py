"""Secrets: set, chosen, brought to services, gone back to, thrown away; and never shown."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from getpass import GetPassWarning
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploytool.__main__ import run
from deploytool.backends.model import Action, Job, Outcome, Plan
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.specification import labels, stack
from deploytool.backends.swarm.specification.scripts import BY_TARGET
from deploytool.backends.swarm.storage.secrets import LARGEST
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import EngineError, PlanError, UsageError
from deploytool.records import audit, history, lease
from deploytool.rollout.roll_out import roll_out
from deploytool.secrets import values, versions
from deploytool.secrets.values import read_env_file
from deploytool.spec import AppSpec, Release
from tests.builders import NO_WAIT, app, digests, engine, images, release, service, worker
from tests.fake_engine import FakeEngine
from tests.strategies import quick, variables

VALUE = "hunter2"
"""What is in nothing that is shown."""


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "COST", {"n": 2, "r": 1, "p": 1})


AT_ONCE: dict[str, Any] = {"update": {"monitor": "0s"}}
"""A replica counts as soon as it runs."""


def using(*names: str) -> AppSpec:
    return app(service(secrets=names, **AT_ONCE), worker(**AT_ONCE))


def put(made: FakeEngine, name: str, value: str) -> tuple[int, bool]:
    (done,) = Swarm(made).set_secrets("items", {name: value.encode()})
    return done.version, done.changed


def plan(made: FakeEngine, spec: AppSpec, pins: Mapping[str, str] | None = None) -> Plan:
    return Swarm(made).plan(spec, images(spec), secrets=pins)


def deploy(made: FakeEngine, spec: AppSpec, pins: Mapping[str, str] | None = None) -> Release:
    """A whole rollout, its release written down."""
    result = roll_out(
        Swarm(made), plan(made, spec, pins), release(spec, 0), timeout=60_000, limits=NO_WAIT
    )
    assert result.release is not None
    return result.release


def names(made: FakeEngine) -> list[str]:
    return sorted(secret["Spec"]["Name"] for secret in made.secrets())


def mounted(made: FakeEngine, name: str = "items_web") -> dict[str, str]:
    container = made.service(name)["Spec"]["TaskTemplate"]["ContainerSpec"]
    return {s["File"]["Name"]: s["SecretName"] for s in container.get("Secrets", ())}


# Versions


def test_each_value_is_a_version_and_the_same_again_is_none() -> None:
    made = engine()
    assert put(made, "TOKEN", "one") == (1, True)
    assert put(made, "TOKEN", "one") == (1, False)
    assert put(made, "TOKEN", "two") == (2, True)
    assert put(made, "TOKEN", "one") == (3, True)
    assert names(made) == ["items_TOKEN.1", "items_TOKEN.2", "items_TOKEN.3"]
    assert made.values["items_TOKEN.3"] == b"one"


def test_versions_are_counted_as_numbers() -> None:
    made = engine()
    for number in range(1, 12):
        assert put(made, "TOKEN", str(number)) == (number, True)
    assert put(made, "TOKEN", "11") == (11, False)


def test_a_version_carries_what_ties_it_to_the_app_and_nothing_of_its_value() -> None:
    made = engine()
    put(made, "TOKEN", VALUE)
    put(made, "OTHER", VALUE)
    first, second = (s["Spec"]["Labels"] for s in made.secrets())
    assert first.pop(labels.HASH) != second.pop(labels.HASH)
    assert first == {
        labels.STACK: "items",
        labels.APP: "items",
        labels.SECRET: "TOKEN",
        labels.VERSION: "1",
    }
    told = json.dumps(made.secrets())
    assert VALUE not in told
    for plain in ("md5", "sha1", "sha256", "sha512"):
        assert hashlib.new(plain, VALUE.encode()).hexdigest() not in told


def test_a_guess_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    known = versions.hash_of(b"x", b"salt")
    assert known.split(":")[:5] == ["scrypt", "16384", "8", "5", b"salt".hex()]
    assert versions.is_value(known, b"x")
    assert not versions.is_value(known, b"y")


@pytest.mark.parametrize("known", ["", "x", "scrypt:2:1:1:zz:00", "md5:00:00", ":::::"])
def test_a_hash_of_another_kind_tells_nothing(known: str) -> None:
    assert not versions.is_value(known, b"x")


def test_two_who_set_it_at_once_make_two_versions() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    made.add_secret("items_TOKEN.2")
    assert put(made, "TOKEN", "two") == (3, True)


def test_numbers_that_cannot_be_had_end_somewhere() -> None:
    made = engine()
    for number in range(1, 30):
        made.add_secret(f"items_TOKEN.{number}")
    with pytest.raises(EngineError) as caught:
        put(made, "TOKEN", VALUE)
    assert caught.value.code == "secret_numbers"


def test_other_failures_are_not_taken_for_a_taken_number() -> None:
    made = engine()
    made.refuses["create_secret"] = EngineError("no leader", code="no_quorum")
    with pytest.raises(EngineError) as caught:
        put(made, "TOKEN", VALUE)
    assert caught.value.code == "no_quorum"


def test_a_number_that_a_release_remembers_does_not_come_again() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    put(made, "TOKEN", "two")
    deploy(made, using("TOKEN"))
    deploy(made, using())
    Swarm(made).remove_secret("items", "TOKEN")
    assert put(made, "TOKEN", "three") == (3, True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TOKEN", b"", "is empty"),
        ("TOKEN", b"x" * LARGEST, "is too large"),
        ("x" * 40, b"x", "too long a name"),
    ],
)
def test_what_no_swarm_takes_is_refused_before_anything_is_set(
    name: str, value: bytes, words: str
) -> None:
    made = engine()
    with pytest.raises(UsageError) as caught:
        Swarm(made).set_secrets("a" * 30, {"AAA": b"fine", name: value})
    assert caught.value.code == "secret_invalid"
    assert words in caught.value.message
    assert made.secrets() == []


@quick
@given(st.binary(min_size=1, max_size=200))
@example(b"\0\xff\n\n")
def test_any_value_is_set_to_the_last_byte(value: bytes) -> None:
    made = engine()
    (done,) = Swarm(made).set_secrets("items", {"TOKEN": value})
    assert made.values["items_TOKEN.1"] == value
    assert Swarm(made).set_secrets("items", {"TOKEN": value})[0].changed is False
    assert done.changed


# What services read


def test_the_newest_version_is_read() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    put(made, "TOKEN", "two")
    done = deploy(made, using("TOKEN"))
    assert mounted(made) == {"TOKEN": "items_TOKEN.2"}
    assert done.secrets == {"TOKEN": "items_TOKEN.2"}


def test_a_new_version_rolls_the_services_that_read_it_and_no_other() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    deploy(made, using("TOKEN"))
    assert plan(made, using("TOKEN")).is_empty
    put(made, "TOKEN", "two")
    found = plan(made, using("TOKEN"))
    by_name = {change.name: change for change in found.changes}
    assert by_name["worker"].action is Action.KEEP
    assert by_name["web"].replaces
    (field,) = by_name["web"].fields
    assert (field.path, field.before, field.after) == ("secrets.TOKEN", "version 1", "version 2")


def test_what_was_made_by_hand_counts_where_there_is_no_version() -> None:
    made = engine()
    made.add_secret("items_TOKEN")
    deploy(made, using("TOKEN"))
    assert mounted(made) == {"TOKEN": "items_TOKEN"}
    put(made, "TOKEN", "one")
    (field,) = plan(made, using("TOKEN")).changes[0].fields
    assert (field.before, field.after) == ("items_TOKEN", "version 1")


def test_a_secret_that_nobody_set_is_told() -> None:
    with pytest.raises(PlanError) as caught:
        plan(engine(), using("TOKEN", "OTHER"))
    assert caught.value.code == "secret_missing"
    assert "OTHER, TOKEN" in caught.value.message
    assert "deploytool secrets set OTHER" in caught.value.hint


def test_secrets_of_another_app_are_not_taken() -> None:
    made = engine()
    Swarm(made).set_secrets("shop", {"TOKEN": b"x"})
    made.add_secret("TOKEN")
    with pytest.raises(PlanError):
        plan(made, using("TOKEN"))


@pytest.mark.parametrize("name", ["Labels", "Env", "Secrets", "1.2", "A.B-C", "A_1"])
def test_any_name_is_compared_and_told(name: str) -> None:
    made = engine()
    put(made, name, "one")
    deploy(made, using(name))
    assert plan(made, using(name)).is_empty
    put(made, name, "two")
    (field,) = plan(made, using(name)).changes[0].fields
    assert (field.path, field.before, field.after) == (f"secrets.{name}", "version 1", "version 2")


def test_rollback_uses_the_old_versions() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    first = deploy(made, using("TOKEN"))
    put(made, "TOKEN", "two")
    deploy(made, using("TOKEN"))
    back = deploy(made, first.spec, first.secrets)
    assert mounted(made) == {"TOKEN": "items_TOKEN.1"}
    assert back.secrets == first.secrets
    assert back.number == 3


def test_a_release_step_reads_what_its_release_reads() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    files = {"a.yml": b"a: 1"}
    spec = app(service(secrets=["TOKEN"], files={"/a.yml": "a.yml"}), files=digests(files))
    swarm = Swarm(made)
    found = swarm.plan(spec, images(spec), files=files)
    swarm.rollout(found).prepare()
    put(made, "TOKEN", "two")
    done = release(spec, 1, secrets=found.secrets)
    job = Job(name="release-v1", release=done, service="web", command=("true",))
    swarm.start_job(job)
    container = made.service("items_release-v1")["Spec"]["TaskTemplate"]["ContainerSpec"]
    (secret,), (config,) = container["Secrets"], container["Configs"]
    assert secret["SecretName"] == "items_TOKEN.1"
    assert {secret["SecretID"], config["ConfigID"]} == {
        made.secrets()[0]["ID"],
        made.configs(label=labels.FILE)[0]["ID"],
    }


def test_a_task_of_a_release_whose_secret_is_gone_is_not_started() -> None:
    made = engine()
    done = release(using("TOKEN"), 1, secrets={"TOKEN": "items_TOKEN.1"})
    job = Job(name="run-1", release=done, service="web", command=("true",))
    with pytest.raises(PlanError) as caught:
        Swarm(made).start_job(job)
    assert caught.value.code == "secret_gone"
    assert made.services() == []


def test_rollback_to_a_removed_version_is_refused() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    with pytest.raises(PlanError) as caught:
        plan(made, using("TOKEN"), {"TOKEN": "items_TOKEN.7"})
    assert caught.value.code == "secret_gone"
    assert "items_TOKEN.7" in caught.value.message


def test_the_same_with_another_version_is_another_release() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    swarm = Swarm(made)
    found = plan(made, using("TOKEN"))
    begun = release(using("TOKEN"), 0, secrets=found.secrets)
    assert history.begin(SwarmStore(made), begun).number == 1
    assert history.begin(SwarmStore(made), begun).number == 1
    put(made, "TOKEN", "two")
    newer = swarm.plan(using("TOKEN"), images(using("TOKEN")))
    assert (
        history.begin(SwarmStore(made), begun.model_copy(update={"secrets": newer.secrets})).number
        == 2
    )


def test_records_from_before_are_read() -> None:
    data = json.loads(release(app()).model_dump_json())
    del data["secrets"], data["spec"]["files"]
    assert Release.model_validate(data).secrets == {}


def test_the_rendered_stack_lets_a_version_be_named() -> None:
    document = stack.document(using("TOKEN", "a.b"))
    assert document["secrets"] == {
        "TOKEN": {"external": True, "name": "${SECRET_TOKEN:-items_TOKEN}"},
        "a.b": {"external": True, "name": "items_a.b"},
    }


# Who needs what


def test_overview() -> None:
    made = engine()
    made.add_secret("items_MANUAL")
    made.add_secret("shop_FOREIGN")
    for value in ("one", "two", "three"):
        put(made, "TOKEN", value)
        if value != "two":
            deploy(made, using("TOKEN"))
    put(made, "TOKEN", "four")
    manual, token = Swarm(made).secrets("items")
    assert (manual.name, manual.version, manual.services) == ("MANUAL", 0, {})
    assert (token.name, token.version) == ("TOKEN", 4)
    assert token.at is not None
    assert token.services == {"web": 3}
    assert [(v.version, v.releases) for v in token.older] == [(1, ("v1",)), (3, ("v2",))]


def test_old_versions_are_removed_with_the_last_release_that_needs_them() -> None:
    made = engine()
    for number in range(1, 23):
        put(made, "TOKEN", f"value {number}")
        deploy(made, using("TOKEN"))
    assert set(names(made)) == {f"items_TOKEN.{number}" for number in range(3, 23)}
    put(made, "TOKEN", "another value")
    deploy(
        made,
        app(service(replicas=2, secrets=["TOKEN"], **AT_ONCE), worker(**AT_ONCE)),
        {"TOKEN": "items_TOKEN.3"},
    )
    assert set(names(made)) == {f"items_TOKEN.{number}" for number in range(3, 24)}


def test_what_nobody_ever_used_is_kept_while_it_is_the_newest() -> None:
    made = engine()
    put(made, "UNUSED", "one")
    put(made, "UNUSED", "two")
    made.add_secret("items_MANUAL")
    Swarm(made).set_secrets("shop", {"TOKEN": b"x"})
    deploy(made, using())
    assert names(made) == ["items_MANUAL", "items_UNUSED.2", "shop_TOKEN.1"]


def test_files_are_removed_with_the_last_release_that_needs_them() -> None:
    made = engine()
    for number in range(1, 23):
        files = {"a.yml": b"%d" % number}
        spec = app(service(files={"/a.yml": "a.yml"}, **AT_ONCE), files=digests(files))
        found = Swarm(made).plan(spec, images(spec), files=files)
        roll_out(Swarm(made), found, release(spec, 0), timeout=60_000, limits=NO_WAIT)
    scripts = {script.path for script in BY_TARGET.values()}
    left = {
        config["Spec"]["Name"]
        for config in made.configs(label=labels.FILE)
        if config["Spec"]["Labels"][labels.FILE] not in scripts
    }
    kept = [r.release.spec for r in history.records(SwarmStore(made), "items")]
    assert left == {f"items_a.yml-{spec.files['a.yml'][:12]}" for spec in kept}
    assert len(left) == 20


def test_nothing_goes_while_a_release_cannot_be_read() -> None:
    made = engine()
    told = {labels.APP: "items", labels.STACK: "items", labels.RELEASE: "v1"}
    made.create_config("items.release.1", b'{"of": "the future"}', told)
    put(made, "TOKEN", "one")
    put(made, "TOKEN", "two")
    deploy(made, using("TOKEN"))
    assert names(made) == ["items_TOKEN.1", "items_TOKEN.2"]


def test_what_cannot_be_removed_is_no_failure() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    put(made, "TOKEN", "two")
    made.refuses["remove_secret"] = EngineError("The engine refused: in use", code="engine_refused")
    deploy(made, using("TOKEN"))
    (record,) = history.records(SwarmStore(made), "items")
    assert record.outcome is Outcome.DONE


def test_removing() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    put(made, "TOKEN", "two")
    deploy(made, using("TOKEN"))
    put(made, "TOKEN", "three")
    with pytest.raises(UsageError) as caught:
        Swarm(made).remove_secret("items", "TOKEN")
    assert caught.value.code == "secret_in_use"
    assert caught.value.hint.startswith("take it out of secrets in [tool.deploytool.services.web]")
    assert "web" in caught.value.message
    deploy(made, using())
    assert Swarm(made).remove_secret("items", "TOKEN") == ["items_TOKEN.2", "items_TOKEN.3"]
    assert names(made) == []


def test_what_the_proxy_reads_is_taken_out_of_its_settings() -> None:
    version = versions.Version("TLS", 1, "proxy_TLS.1", "id")
    vault: Any = SimpleNamespace(
        versions=lambda _: [version], readers=lambda _: [("traefik", version.name)]
    )
    with pytest.raises(UsageError) as caught:
        versions.remove(vault, "proxy", "TLS")
    assert "services" not in caught.value.hint
    assert "certificates" in caught.value.hint
    assert "`deploytool proxy up --replace`" in caught.value.hint


def test_removing_what_is_not_there_or_not_ours() -> None:
    made = engine()
    made.add_secret("items_MANUAL")
    for name, code in (("MANUAL", "secret_by_hand"), ("NOPE", "unknown_secret")):
        with pytest.raises(UsageError) as caught:
            Swarm(made).remove_secret("items", name)
        assert caught.value.code == code
    assert names(made) == ["items_MANUAL"]


def test_destroying_the_app_takes_them_along() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    deploy(made, using("TOKEN"))
    assert "secret items_TOKEN.1" in Swarm(made).destroy("items", volumes=False)
    assert made.secrets() == []


# Env-files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
        ("\ufeffA=b", {"A": "b"}),
        ("# remark\n\nexport A = b # remark\n", {"A": "b"}),
        ("A=$HOME${x}", {"A": "$HOME${x}"}),
        ("A='b # c'\nB=\"d\\ne\"", {"A": "b # c", "B": "d\ne"}),
        (
            'KEY="-----BEGIN-----\nabc=\n-----END-----\n"',
            {"KEY": "-----BEGIN-----\nabc=\n-----END-----\n"},
        ),
        ("A=postgres://u:p@h/d?x=1", {"A": "postgres://u:p@h/d?x=1"}),
        ("A=é", {"A": "é"}),
    ],
)
def test_env_files(text: str, expected: dict[str, str]) -> None:
    found = read_env_file(text.encode(), ".env")
    assert {name: value.decode() for name, value in found.items()} == expected


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "there is no NAME=value in it"),
        ("# only a remark\n", "there is no NAME=value in it"),
        ("A=b\nhunter2\n", "line 2: is not NAME=value"),
        ("A=", "no name in it has a value"),
        ("A=\nA=1", "line 2: A is there twice"),
        ("A=b\nA=hunter2", "line 2: A is there twice"),
        ('A="hunter2', "line 1: is not NAME=value"),
        (
            "hunter2/x==",
            "line 1: cannot name a secret: use up to 40 letters, digits and underscores",
        ),
    ],
)
def test_env_files_that_are_wrong(text: str, detail: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_env_file(text.encode(), ".env")
    assert caught.value.code == "env_file_invalid"
    assert caught.value.details == (detail,)


def test_names_without_a_value_are_left_out_with_a_word_about_it() -> None:
    said: list[str] = []
    found = read_env_file(b"A=\nB=hunter2\nC=''\n", ".env", said.append)
    assert found == {"B": b"hunter2"}
    assert said == ["A, C in .env has no value, and was not set"]


def test_an_env_file_that_is_no_text() -> None:
    with pytest.raises(UsageError) as caught:
        read_env_file(b"\xff\xfe", ".env")
    assert caught.value.code == "secret_unreadable"


quotable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\\'"))


@quick
@given(st.dictionaries(variables, quotable.filter(bool), min_size=1, max_size=5))
def test_what_is_quoted_is_read_as_it_was(values: dict[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in values.items())
    found = read_env_file(text.encode(), ".env")
    assert {name: value.decode() for name, value in found.items()} == values


@quick
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_read_or_refused_and_a_refusal_shows_no_value(text: str) -> None:
    assert VALUE not in refusal(f"A={VALUE}\n{text}".encode())


def refusal(content: bytes) -> str:
    """All that is said about an env-file; nothing where it is taken."""
    try:
        read_env_file(content, ".env")
    except UsageError as error:
        return "".join([error.message, error.hint, *error.details])
    return ""


# The commands


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    (tmp_path / "deploytool.toml").write_text(
        'app = "items"\n[services.web]\ncommand = ["x"]\nsecrets = ["TOKEN", "DATABASE_URL"]\n'
    )
    monkeypatch.chdir(tmp_path)
    made = engine()
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made))
    return made


def piped(monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(value), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stream)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command says with --json. The value is in nothing that it prints."""
    done = run(["secrets", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert VALUE not in out + err
    assert done == code, out + err
    return json.loads(out)


def test_set_from_a_pipe(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for expected in ({"version": 1, "changed": True}, {"version": 1, "changed": False}):
        piped(monkeypatch, VALUE.encode())
        body = ran(capsys, "set", "TOKEN")
        assert body["data"]["secrets"] == [{"name": "TOKEN", "services": ["web"]} | expected]
        assert body["warnings"] == []
    assert cluster.values == {"items_TOKEN.1": VALUE.encode()}
    assert [entry.action for entry in audit.entries(SwarmStore(cluster), "items")] == [
        "secrets set TOKEN"
    ]


def test_a_line_break_at_the_end_is_kept_and_told(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, f"{VALUE}\n".encode())
    body = ran(capsys, "set", "TOKEN")
    assert "ends with a line break" in body["warnings"][0]
    assert cluster.values == {"items_TOKEN.1": f"{VALUE}\n".encode()}
    piped(monkeypatch, b"-----BEGIN\nx\n-----END\n")
    assert ran(capsys, "set", "TOKEN")["warnings"] == []


def test_set_from_a_file(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "value").write_bytes(b"\0\xff")
    body = ran(capsys, "set", "UNUSED", "--file", "value")
    assert "no service reads UNUSED" in body["warnings"][0]
    assert cluster.values == {"items_UNUSED.1": b"\0\xff"}
    assert ran(capsys, "set", "X", "--file", "no", code=2)["error"]["code"] == "secret_unreadable"


def test_set_from_an_env_file(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ".env.production").write_text(f"TOKEN={VALUE}\nDATABASE_URL='p://u:{VALUE}@h'\n")
    body = ran(capsys, "set", "--env-file", ".env.production")
    assert [s["name"] for s in body["data"]["secrets"]] == ["DATABASE_URL", "TOKEN"]
    assert cluster.values["items_DATABASE_URL.1"] == f"p://u:{VALUE}@h".encode()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("TOKEN", VALUE), "secret_in_arguments"),
        ((f"TOKEN={VALUE}",), "secret_in_arguments"),
        (("TOKEN", f"={VALUE}", "x"), "secret_in_arguments"),
        ((f"TOKEN {VALUE}",), "usage"),
        ((), "usage"),
        (("TOKEN", "--env-file", "x"), "usage"),
        (("--file", "x", "--env-file", "x"), "usage"),
        (("--file", "x"), "usage"),
        ((f"--value={VALUE}", "TOKEN"), "usage"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--verbose",)])
def test_wrong_calls_repeat_no_value(
    arguments: tuple[str, ...],
    code: str,
    more: tuple[str, ...],
    cluster: FakeEngine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran(capsys, "set", *arguments, *more, code=2)["error"]["code"] == code
    assert cluster.changes == []


def test_a_terminal_is_asked_without_echo(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return VALUE

    monkeypatch.setattr("getpass.getpass", answer)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert run(["secrets", "set", "TOKEN"]) == 0
    assert VALUE not in "".join(capsys.readouterr())
    assert asked == ["Value of TOKEN, which is not shown: "]
    assert cluster.values == {"items_TOKEN.1": VALUE.encode()}


@pytest.mark.parametrize(
    ("failure", "code"), [(EOFError(), "secret_invalid"), (GetPassWarning("echo"), "usage")]
)
def test_a_terminal_that_gives_nothing_or_would_show_it(
    failure: Exception,
    code: str,
    cluster: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: str) -> str:
        if isinstance(failure, GetPassWarning):
            warnings.warn(failure, stacklevel=1)
        raise failure

    monkeypatch.setattr("getpass.getpass", fail)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    asked = values.request(["TOKEN"], None, None)
    with pytest.raises(UsageError) as caught:
        Swarm(cluster).set_secrets("items", values.read(asked, can_ask=True))
    assert caught.value.code == code
    assert cluster.values == {}


def test_a_script_on_a_terminal_is_not_asked(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert ran(capsys, "set", "TOKEN", code=2)["error"]["code"] == "usage"


def test_list_names_what_is_not_set(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cluster, "TOKEN", VALUE)
    data = ran(capsys, "list")["data"]
    assert data["missing"] == ["DATABASE_URL"]
    (token,) = data["secrets"]
    assert (token["name"], token["version"], token["services"]) == ("TOKEN", 1, {})
    assert run(["secrets", "list"]) == 0
    shown = capsys.readouterr().out
    assert "not set" in shown
    assert VALUE not in shown


def test_remove_asks_for_a_yes(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, "TOKEN", VALUE)
    piped(monkeypatch, b"")
    body = ran(capsys, "remove", "TOKEN", code=2)
    assert body["error"]["code"] == "confirmation_required"
    assert ran(capsys, "remove", "TOKEN", "--yes")["data"]["removed"] == ["items_TOKEN.1"]
    assert cluster.secrets() == []
    assert audit.entries(SwarmStore(cluster), "items")[-1].action == "secrets remove TOKEN"
    assert lease.holder(SwarmStore(cluster), "items") is None


def test_an_unexpected_failure_shows_no_value(
    cluster: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(cluster, "create_secret", broken)
    piped(monkeypatch, VALUE.encode())
    assert ran(capsys, "set", "TOKEN", "--verbose", code=1)["error"]["code"] == "unexpected"


def test_a_single_line_break_at_the_end_is_recognized() -> None:
    assert values.ends_with_newline(b"x\n")
    assert not any(map(values.ends_with_newline, (b"", b"\n", b"x", b"x\ny\n", b"x\n\n")))


def test_a_number_that_only_an_unreadable_release_remembers_is_not_given_again() -> None:
    made = engine()
    own = {labels.APP: "items", labels.STACK: "items", labels.RELEASE: "v2"}
    data = json.dumps({"format": 99, "pins": {"TOKEN": {"version": "items_TOKEN.7"}}})
    made.create_config("items.release.2", data.encode(), own)
    assert put(made, "TOKEN", "one") == (8, True)
    put(made, "TOKEN", "two")
    (found,) = Swarm(made).secrets("items")
    assert [(old.version, old.releases) for old in found.older] == [(8, ())]


def test_a_version_that_an_unreadable_release_names_is_known_to_be_needed() -> None:
    made = engine()
    put(made, "TOKEN", "one")
    own = {labels.APP: "items", labels.STACK: "items", labels.RELEASE: "v2"}
    made.create_config("items.release.2", b'{"pins": ["items_TOKEN.1"]}', own)
    put(made, "TOKEN", "two")
    (found,) = Swarm(made).secrets("items")
    assert [(old.version, old.releases) for old in found.older] == [(1, ("v2",))]
