"""Releases, kept in the cluster as Swarm configs.

A config's data never changes, its labels can: the release is the data, how it ended a label. The
name carries the number, so two people who deploy at once get two numbers. The configs carry the
stack's label, so removing the stack removes them.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from deploytool.backends.base import Outcome, Record
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, is_taken
from deploytool.backends.swarm.known import read_known
from deploytool.errors import EngineError
from deploytool.formats import FORMAT
from deploytool.spec import Release, release_number

Json = dict[str, Any]
KEPT = 20
"""Finished releases that are remembered."""


def config_name(app: str, number: int) -> str:
    return f"{app}.release.{number}"


def _configs(client: Client, app: str) -> list[Json]:
    """The configs of an app's releases, oldest first."""
    found = client.configs(label=[f"{labels.APP}={app}", labels.RELEASE])
    return sorted((config for config in found if _number(config)), key=_number)


def _number(config: Json) -> int:
    return release_number(config["Spec"]["Labels"][labels.RELEASE])


def _record(config: Json) -> Record | None:
    """What a config remembers, as far as it is known here; None where that is not enough to be a
    release."""
    found = config["Spec"]["Labels"]
    try:
        data = json.loads(base64.b64decode(config["Spec"].get("Data") or ""))
        release, unknown = read_known(Release, data)
    except ValueError:
        return None
    return Record(
        release=release,
        outcome=_outcome(found.get(labels.OUTCOME, Outcome.STARTED)),
        seconds=_seconds(found.get(labels.SECONDS, "")),
        stepped=labels.STEPPED in found,
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


def records(client: Client, app: str) -> list[Record]:
    """Every release that is remembered, oldest first. Those that another version of deploytool
    wrote and this one cannot read are left out."""
    found = (_record(config) for config in _configs(client, app))
    return [record for record in found if record is not None]


def unread(client: Client, app: str) -> list[str]:
    """The releases that are left out."""
    return [f"v{_number(config)}" for config in _configs(client, app) if _record(config) is None]


def releases(client: Client, app: str) -> list[Release] | None:
    """Every release that is remembered; None where one cannot be read to its end, so that nobody
    knows what it needs."""
    found = [_record(config) for config in _configs(client, app)]
    whole = [record.release for record in found if record is not None and not record.unknown]
    return whole if len(whole) == len(found) else None


def begin(client: Client, release: Release) -> Release:
    """Remember a release that starts now, under the next free number."""
    configs = _configs(client, release.spec.name)
    if configs and (unfinished := _same_unfinished(configs[-1], release)):
        return unfinished
    number = _number(configs[-1]) + 1 if configs else 1
    for attempt in range(number, number + 10):
        numbered = release.model_copy(update={"number": attempt})
        try:
            client.create_config(
                config_name(release.spec.name, attempt),
                numbered.model_dump_json().encode(),
                {
                    labels.STACK: release.spec.name,
                    labels.APP: release.spec.name,
                    labels.RELEASE: numbered.id,
                    labels.OUTCOME: Outcome.STARTED,
                },
            )
        except EngineError as error:
            if not is_taken(error):
                raise
        else:
            return numbered
    raise EngineError(
        f"No number for a new release of {release.spec.name} could be had",
        code="release_numbers",
        hint="several deploys seem to run at once: wait for them and run it again",
    )


def _same_unfinished(config: Json, release: Release) -> Release | None:
    """The release that a config remembers, if nobody finished it and it is this one."""
    record = _record(config)
    if record is None or record.outcome not in (Outcome.STARTED, Outcome.INTERRUPTED):
        return None
    return record.release if record.is_of(release) else None


def stepped(client: Client, release: Release) -> None:
    """Remember that the release step has run to its end."""
    _label(client, release, {labels.STEPPED: "yes"})


def _label(client: Client, release: Release, found: dict[str, str]) -> list[Json]:
    """Set labels of a release's config; all configs of the app's releases."""
    configs = _configs(client, release.spec.name)
    for config in configs:
        if _number(config) == release.number:
            client.label_config(config, found)
    return configs


def finish(client: Client, release: Release, outcome: Outcome, seconds: float) -> None:
    """Remember how a release ended, and forget the oldest ones beyond `KEPT`."""
    found = {labels.OUTCOME: str(outcome), labels.SECONDS: f"{seconds:.1f}"}
    configs = _label(client, release, found)
    for config in configs[:-KEPT]:
        client.remove_config(config["ID"])
