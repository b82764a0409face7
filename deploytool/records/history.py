"""Releases and how they ended.

The release is an entry's data, how it ended its notes. The entry's name is the number, so that two
people who deploy at once get two numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploytool.backends.model import Outcome, Record
from deploytool.errors import EngineError, UsageError
from deploytool.records.formats import FORMAT
from deploytool.records.known import read_known
from deploytool.records.store import Changed, Entry, Kind, Store, Taken
from deploytool.spec import Release

KEPT = 20
"""Finished releases that are remembered."""
OUTCOME, SECONDS, STEPPED = "outcome", "seconds", "stepped"
ATTEMPTS = 5


def _entries(store: Store, app: str) -> list[Entry]:
    """The entries of an app's releases, oldest first."""
    return sorted(store.entries(app, Kind.RELEASE), key=_number)


def _number(entry: Entry) -> int:
    return int(entry.name)


def _record(entry: Entry) -> Record | None:
    """The record of an entry, as far as it is known here; None where that is not enough to be a
    release."""
    try:
        release, unknown = read_known(Release, json.loads(entry.data))
    except ValueError:
        return None
    return Record(
        release=release,
        outcome=_outcome(entry.notes.get(OUTCOME, Outcome.STARTED)),
        seconds=_seconds(entry.notes.get(SECONDS, "")),
        stepped=STEPPED in entry.notes,
        unknown=(*unknown, *(("format",) if release.format > FORMAT else ())),
    )


def _outcome(text: str) -> Outcome:
    return Outcome(text) if text in list(Outcome) else Outcome.UNKNOWN


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


@dataclass(frozen=True)
class History:
    """Every release that is remembered, oldest first."""

    records: tuple[Record, ...]
    unread: Mapping[int, bytes]
    """Number → what is stored, of those that another version of deploytool wrote and this one
    cannot read."""

    @property
    def is_whole(self) -> bool:
        """Whether the needs of every release are known."""
        return not self.unread and not any(record.unknown for record in self.records)


def read(store: Store, app: str) -> History:
    found = [(entry, _record(entry)) for entry in _entries(store, app)]
    return History(
        records=tuple(record for _, record in found if record is not None),
        unread={_number(entry): entry.data for entry, record in found if record is None},
    )


def records(store: Store, app: str) -> list[Record]:
    """Every release that is remembered and can be read, oldest first."""
    return list(read(store, app).records)


def begin(store: Store, release: Release) -> Release:
    """Remember that a release is being rolled out; it gets its number here. An unfinished release
    of the same content is resumed."""
    app = release.spec.name
    entries = _entries(store, app)
    if entries and (unfinished := _same_unfinished(entries[-1], release)):
        return unfinished
    number = _number(entries[-1]) + 1 if entries else 1
    for attempt in range(number, number + 10):
        numbered = release.model_copy(update={"number": attempt})
        data = numbered.model_dump_json().encode()
        try:
            store.create(app, Kind.RELEASE, str(attempt), data, {OUTCOME: Outcome.STARTED})
        except Taken:
            continue
        return numbered
    raise EngineError(
        f"There is no free number for a new release of {app}",
        code="release_numbers",
        hint="several deploys seem to run at once: wait for them and run it again",
    )


def _same_unfinished(entry: Entry, release: Release) -> Release | None:
    """The release that an entry remembers, if nobody finished it and it is this one."""
    record = _record(entry)
    if record is None or record.outcome not in (Outcome.STARTED, Outcome.INTERRUPTED):
        return None
    return record.release if record.is_of(release) else None


def stepped(store: Store, release: Release) -> None:
    """Remember that the release step has run to its end."""
    _annotate(store, release, {STEPPED: "yes"})


def finish(store: Store, release: Release, outcome: Outcome, seconds: float) -> None:
    """Remember how a release ended, and forget the oldest ones beyond `KEPT`. One that cannot be
    read here stays: another version of deploytool may read it."""
    notes = {OUTCOME: str(outcome), SECONDS: f"{seconds:.1f}"}
    for entry in _annotate(store, release, notes)[:-KEPT]:
        if _record(entry) is not None:
            store.remove(entry.handle)


def _annotate(store: Store, release: Release, notes: dict[str, str]) -> list[Entry]:
    """Set notes of a release; the entries of all of the app's releases."""
    for _ in range(ATTEMPTS):
        entries = _entries(store, release.spec.name)
        try:
            for entry in entries:
                if _number(entry) == release.number:
                    store.annotate(entry, notes)
        except Changed:
            continue
        return entries
    raise EngineError(
        f"The outcome of {release.id} of {release.spec.name} could not be stored: others keep "
        "changing its record",
        code="record_busy",
        hint="`deploytool status` shows what runs",
    )


# --- which release --------------------------------------------------------------------------------


def good(records: Sequence[Record]) -> list[Release]:
    """The releases that were rolled out to their end, oldest first."""
    return [record.release for record in records if record.outcome is Outcome.DONE]


def current_release(records: Sequence[Record], app: str) -> Release:
    """The last release that was rolled out to its end. Raises UsageError where there is none."""
    done = good(records)
    if not done:
        raise UsageError(
            f"{app} has no release that runs",
            code="not_deployed",
            hint="deploytool deploy; or does --env name another cluster?",
        )
    return done[-1]


def choose_rollback(past: History, app: str, wanted: str | None, running: int = 0) -> Release:
    """The release to roll back to: the named one, or the last good one before the current.

    `running` is the newest that a service is of: one that failed and was left as it is, is the
    current one too. Raises UsageError where there is none, or where it cannot be read.
    """
    records = past.records
    if wanted is not None:
        number = wanted.removeprefix("v")
        found = [r.release for r in records if str(r.release.number) == number]
        if found:
            return found[-1]
        if number in map(str, past.unread):
            raise UsageError(
                f"{app} has the release {wanted}, but this version of deploytool cannot read it",
                code="release_unreadable",
                hint="roll back with the version of deploytool that deployed it",
            )
        raise UsageError(
            f"{app} has no release {wanted}",
            code="unknown_release",
            hint=f"there are: {', '.join(r.release.id for r in records) or 'none'}",
        )
    current = max(_current(records), running)
    before = [release for release in good(records) if release.number < current]
    if before:
        return before[-1]
    raise UsageError(
        f"{app} has no earlier release to roll back to",
        code="no_earlier_release",
        hint="`deploytool releases` shows the history that the cluster keeps",
        details=left_out(past),
    )


def in_part(records: Sequence[Record]) -> str:
    """A warning about releases that another version of deploytool stored; empty for none."""
    partly = [record for record in records if record.unknown]
    if not partly:
        return ""
    names = ", ".join(record.release.id for record in partly)
    unknown = ", ".join(sorted({path for record in partly for path in record.unknown}))
    return (
        f"another version of deploytool stored {names}, with keys that this one does not know and "
        f"leaves out: {unknown}"
    )


def left_out(past: History) -> tuple[str, ...]:
    """A warning about releases that cannot be read here."""
    if not past.unread:
        return ()
    names = ", ".join(f"v{number}" for number in past.unread)
    return (f"{names} cannot be read by this version of deploytool and is left out",)


def _current(records: Sequence[Record]) -> int:
    """The number of the release that is in force: the last good one, or one that is under way."""
    for record in reversed(records):
        if record.outcome in (Outcome.DONE, Outcome.STARTED, Outcome.INTERRUPTED):
            return record.release.number
    return 0
