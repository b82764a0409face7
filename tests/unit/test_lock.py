"""One at a time: leases that are taken, renewed, given back, lost and outlived."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from deploytool.backends.model import AuditEntry, Lease
from deploytool.backends.swarm.specification import labels
from deploytool.backends.swarm.storage.store import SwarmStore
from deploytool.errors import EngineError, Locked
from deploytool.records import audit, lease
from deploytool.records.lock import locked
from tests.fake_engine import NOW, FakeEngine

LATER = "2026-11-22T03:05:05.123456789Z"
"""A minute after what the fake engine calls now."""


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def names(engine: FakeEngine) -> list[str]:
    return [config["Spec"]["Name"] for config in engine.configs()]


def test_the_second_is_told_who_is_first(engine: FakeEngine) -> None:
    lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    with pytest.raises(Locked) as caught:
        lease.lock(SwarmStore(engine), "items", "bob@box", "deploy")
    assert caught.value.code == "locked"
    assert "ann@box (deploy" in caught.value.message
    assert "30 s" in caught.value.hint
    lease.lock(SwarmStore(engine), "other", "bob@box", "deploy")


def test_an_expired_lease_is_anybodys(engine: FakeEngine) -> None:
    first = lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    engine.engine_info["SystemTime"] = LATER
    second = lease.lock(SwarmStore(engine), "items", "bob@box", "deploy")
    assert second.by == "bob@box"
    with pytest.raises(Locked) as caught:
        lease.renew(SwarmStore(engine), first)
    assert caught.value.code == "lock_lost"
    lease.unlock(SwarmStore(engine), first)
    assert lease.holder(SwarmStore(engine), "items") == second


def test_a_renewed_lease_does_not_expire(engine: FakeEngine) -> None:
    mine = lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    engine.engine_info["SystemTime"] = LATER
    lease.renew(SwarmStore(engine), mine)
    with pytest.raises(Locked):
        lease.lock(SwarmStore(engine), "items", "bob@box", "deploy")


def test_holder_of_a_lock(engine: FakeEngine) -> None:
    assert lease.holder(SwarmStore(engine), "items") is None
    lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    found = lease.holder(SwarmStore(engine), "items")
    assert found is not None
    assert (found.by, found.purpose, found.left) == ("ann@box", "deploy", 30.0)
    engine.engine_info["SystemTime"] = LATER
    expired = lease.holder(SwarmStore(engine), "items")
    assert expired is not None
    assert expired.left == 0


def test_what_the_engine_refuses_is_no_lock(engine: FakeEngine) -> None:
    engine.refuses["create_config"] = EngineError("The engine refused", code="engine_refused")
    with pytest.raises(EngineError) as caught:
        lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    assert caught.value.code == "engine_refused"


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt(), ValueError()])
def test_a_lock_is_released_after_success_error_and_interrupt(
    engine: FakeEngine, failure: BaseException | None
) -> None:
    def work() -> None:
        with locked(
            SwarmStore(engine), "items", by="ann@box", purpose="deploy", timeout=0
        ) as guard:
            guard()
            assert names(engine) == ["items.lock"]
            if failure:
                raise failure

    if failure is None:
        work()
    else:
        with pytest.raises(type(failure)):
            work()
    assert names(engine) == []


def test_waiting_for_a_lock_notifies_once_and_times_out(engine: FakeEngine) -> None:
    lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")
    told: list[Lease] = []
    with (
        pytest.raises(Locked),
        locked(
            SwarmStore(engine),
            "items",
            by="bob",
            purpose="deploy",
            timeout=50,
            waiting=told.append,
            poll=0.01,
        ),
    ):
        pass
    assert [found.by for found in told] == ["ann@box"]


def test_a_released_lock_goes_to_whoever_waits(engine: FakeEngine) -> None:
    first = lease.lock(SwarmStore(engine), "items", "ann@box", "deploy")

    def leave(_: Lease) -> None:
        lease.unlock(SwarmStore(engine), first)

    with locked(
        SwarmStore(engine),
        "items",
        by="bob",
        purpose="deploy",
        timeout=5000,
        waiting=leave,
        poll=0.01,
    ):
        found = lease.holder(SwarmStore(engine), "items")
        assert found is not None
        assert found.by == "bob"


def test_a_lost_lock_stops_the_work(engine: FakeEngine) -> None:
    with locked(
        SwarmStore(engine), "items", by="ann", purpose="deploy", timeout=0, renew_every=0.01
    ) as guard:
        guard()
        found = lease.holder(SwarmStore(engine), "items")
        assert found is not None
        lease.unlock(SwarmStore(engine), found)
        until = time.monotonic() + 5
        while guard.lost is None and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(Locked):
            guard()


def entry(action: str) -> AuditEntry:
    return AuditEntry(at=NOW, by="ann@box", action=action)


def test_the_audit_log_is_bounded(engine: FakeEngine) -> None:
    assert audit.entries(SwarmStore(engine), "items") == []
    for number in range(5):
        audit.note(SwarmStore(engine), "items", entry(f"scale web={number}"), keep=3)
    assert audit.entries(SwarmStore(engine), "items") == [
        entry(f"scale web={n}") for n in (2, 3, 4)
    ]
    assert names(engine) == ["items.audit"]


def test_a_busy_audit_log_is_given_up(engine: FakeEngine) -> None:
    engine.refuses["create_config"] = EngineError("it already exists", code="engine_refused")
    with pytest.raises(EngineError) as caught:
        audit.note(SwarmStore(engine), "items", entry("restart"))
    assert caught.value.code == "audit_busy"


def line_of(made: FakeEngine) -> Any:
    (config,) = made.configs(label=labels.AUDIT)
    return json.loads(config["Spec"]["Labels"][labels.AUDIT])


def logged(made: FakeEngine, text: str) -> None:
    """An audit log as another version of deploytool, or somebody by hand, may have written it."""
    own = {labels.STACK: "items", labels.APP: "items", labels.AUDIT: text}
    made.create_config("items.audit", b"x", own)


KNOWN = {"at": "2026-11-22T03:04:05Z", "by": "ann@box", "action": "restart"}


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (KNOWN | {"added": {"later": 1}}, ("ann@box", "restart")),
        (KNOWN | {"seconds": "long"}, ("ann@box", "restart")),
        ({"at": KNOWN["at"], "by": 5}, ("unknown", "unknown")),
        (KNOWN | {"at": "2026-11-22T03:04:05"}, ("ann@box", "restart")),
        (KNOWN | {"at": "yesterday"}, None),
        ("restart", None),
        (None, None),
    ],
)
def test_what_is_known_of_an_entry_is_read_and_the_rest_kept(
    engine: FakeEngine, line: Any, read: tuple[str, str] | None
) -> None:
    logged(engine, json.dumps([line]))
    audit.note(SwarmStore(engine), "items", entry("scale web=2"))
    first = [(found.by, found.action) for found in audit.entries(SwarmStore(engine), "items")][:-1]
    assert first == ([read] if read else [])
    assert line_of(engine)[0] == line
    assert all(found.at.tzinfo for found in audit.entries(SwarmStore(engine), "items"))


@pytest.mark.parametrize("text", ["", "{", "null", '{"a": 1}', "[[[]]"])
def test_an_audit_log_of_another_shape_is_kept_and_gone_on_with(
    engine: FakeEngine, text: str
) -> None:
    logged(engine, text)
    assert audit.entries(SwarmStore(engine), "items") == []
    audit.note(SwarmStore(engine), "items", entry("restart"))
    assert audit.entries(SwarmStore(engine), "items") == [entry("restart")]
    assert len(line_of(engine)) == 2


def locked_by(made: FakeEngine, data: bytes, **own: str) -> None:
    made.create_config("items.lock", data, own)


OURS = {labels.STACK: "items", labels.APP: "items", labels.ROLE: labels.LOCK}


@pytest.mark.parametrize(
    "data", [b" ", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b'{"by": 5, "purpose": []}']
)
def test_a_lock_that_cannot_be_read_is_a_lock_all_the_same(engine: FakeEngine, data: bytes) -> None:
    locked_by(engine, data, **OURS)
    with pytest.raises(Locked) as caught:
        lease.lock(SwarmStore(engine), "items", "bob@box", "deploy")
    assert "somebody" in caught.value.message
    engine.engine_info["SystemTime"] = LATER
    assert lease.lock(SwarmStore(engine), "items", "bob@box", "deploy").by == "bob@box"


def test_a_lock_of_unknown_purpose_has_a_holder_and_can_be_released(
    engine: FakeEngine,
) -> None:
    locked_by(engine, b'{"by": "ann@box", "host": 1}', **OURS)
    found = lease.holder(SwarmStore(engine), "items")
    assert found is not None
    assert (found.by, found.purpose) == ("ann@box", "purpose unreadable")
    lease.unlock(SwarmStore(engine), found)
    assert names(engine) == []


def test_a_config_of_that_name_that_is_no_lock_is_not_taken_for_one(engine: FakeEngine) -> None:
    """It never expires; whoever wants it gone says so."""
    locked_by(engine, b"somebody's own")
    engine.engine_info["SystemTime"] = LATER
    with pytest.raises(Locked) as caught:
        lease.lock(SwarmStore(engine), "items", "bob@box", "deploy")
    assert "deploytool did not make" in caught.value.message
    assert names(engine) == ["items.lock"]
    found = lease.holder(SwarmStore(engine), "items")
    assert found is not None
    lease.unlock(SwarmStore(engine), found)
    assert lease.lock(SwarmStore(engine), "items", "bob@box", "deploy").by == "bob@box"
