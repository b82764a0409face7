"""What every store of records does. The same tests run on each implementation: in memory, on the
fake engine and on a real one."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deploytool.records.store import Changed, Kind, Store, Taken


class StoreContract:
    """A subclass has the fixtures `store` and `app`: a name that no other test uses."""

    def test_a_name_is_taken_once(self, store: Store, app: str) -> None:
        store.create(app, Kind.RELEASE, "1", b"one", {})
        with pytest.raises(Taken):
            store.create(app, Kind.RELEASE, "1", b"two", {})
        (entry,) = store.entries(app, Kind.RELEASE)
        assert entry.data == b"one"

    def test_an_entry_is_read_as_it_was_written(self, store: Store, app: str) -> None:
        handle = store.create(app, Kind.RELEASE, "12", b'{"a": 1}', {"outcome": "started"})
        entry = store.entry(handle)
        assert entry is not None
        assert (entry.app, entry.kind, entry.name) == (app, Kind.RELEASE, "12")
        assert (entry.data, entry.notes["outcome"]) == (b'{"a": 1}', "started")
        assert entry.is_ours
        assert store.entries(app, Kind.RELEASE) == [entry]

    def test_kinds_and_apps_are_apart(self, store: Store, app: str) -> None:
        store.create(app, Kind.LOCK, "", b"{}", {})
        store.create(app, Kind.AUDIT, "", b"x", {"audit": "[]"})
        assert [e.kind for e in store.entries(app, Kind.LOCK)] == [Kind.LOCK]
        assert [e.kind for e in store.entries(app, Kind.AUDIT)] == [Kind.AUDIT]
        assert store.entries(app, Kind.RELEASE) == []
        assert store.entries(f"{app}x", Kind.LOCK) == []

    def test_notes_change_and_the_others_stay(self, store: Store, app: str) -> None:
        store.create(app, Kind.RELEASE, "1", b"x", {"outcome": "started"})
        (entry,) = store.entries(app, Kind.RELEASE)
        store.annotate(entry, {"stepped": "yes"})
        (after,) = store.entries(app, Kind.RELEASE)
        assert (after.notes["outcome"], after.notes["stepped"]) == ("started", "yes")
        assert after.data == b"x"

    def test_what_somebody_else_has_changed_is_not_overwritten(
        self, store: Store, app: str
    ) -> None:
        store.create(app, Kind.AUDIT, "", b"x", {"audit": "[]"})
        (mine,) = store.entries(app, Kind.AUDIT)
        (theirs,) = store.entries(app, Kind.AUDIT)
        store.annotate(theirs, {"audit": "[1]"})
        with pytest.raises(Changed):
            store.annotate(mine, {"audit": "[2]"})
        (after,) = store.entries(app, Kind.AUDIT)
        assert after.notes["audit"] == "[1]"

    def test_what_is_gone_cannot_be_changed(self, store: Store, app: str) -> None:
        store.create(app, Kind.LOCK, "", b"{}", {})
        (entry,) = store.entries(app, Kind.LOCK)
        store.remove(entry.handle)
        with pytest.raises(Changed):
            store.annotate(entry, {"renewed": "1"})

    def test_what_is_gone_can_be_removed_again(self, store: Store, app: str) -> None:
        handle = store.create(app, Kind.LOCK, "", b"{}", {})
        store.remove(handle)
        store.remove(handle)
        assert store.entry(handle) is None
        assert store.create(app, Kind.LOCK, "", b"{}", {}) != handle

    def test_another_that_has_its_place_is_left_alone(self, store: Store, app: str) -> None:
        first = store.create(app, Kind.LOCK, "", b"first", {})
        (read,) = store.entries(app, Kind.LOCK)
        store.remove(first)
        second = store.create(app, Kind.LOCK, "", b"second", {})
        store.remove(first)
        with pytest.raises(Changed):
            store.annotate(read, {"renewed": "1"})
        assert store.entry(first) is None
        (left,) = store.entries(app, Kind.LOCK)
        assert (left.handle, left.data) == (second, b"second")

    def test_what_was_changed_since_can_be_removed(self, store: Store, app: str) -> None:
        handle = store.create(app, Kind.LOCK, "", b"{}", {})
        (entry,) = store.entries(app, Kind.LOCK)
        store.annotate(entry, {"renewed": "1"})
        store.remove(handle)
        assert store.entries(app, Kind.LOCK) == []

    def test_a_change_to_the_same_is_a_change(self, store: Store, app: str) -> None:
        store.create(app, Kind.RELEASE, "1", b"x", {"outcome": "started"})
        (entry,) = store.entries(app, Kind.RELEASE)
        store.annotate(entry, {"outcome": "started"})
        with pytest.raises(Changed):
            store.annotate(entry, {"outcome": "done"})

    def test_60_kib_fit(self, store: Store, app: str) -> None:
        data = b'{"env": "' + b"value " * 10_000 + b'"}'
        store.create(app, Kind.RELEASE, "1", data, {"outcome": "started"})
        (entry,) = store.entries(app, Kind.RELEASE)
        assert entry.data == data

    @pytest.fixture
    def later(self) -> Callable[[], None]:
        """Lets some time go by."""
        return lambda: time.sleep(0.01)

    def test_a_change_moves_the_time_by_the_clusters_clock(
        self, store: Store, app: str, later: Callable[[], None]
    ) -> None:
        store.create(app, Kind.LOCK, "", b"{}", {})
        (entry,) = store.entries(app, Kind.LOCK)
        later()
        store.annotate(entry, {"renewed": "1"})
        (after,) = store.entries(app, Kind.LOCK)
        now = store.now()
        assert entry.created is not None
        assert entry.changed is not None
        assert after.changed is not None
        assert now is not None
        assert after.created == entry.created <= entry.changed < after.changed
        assert abs((now - after.changed).total_seconds()) < 60
