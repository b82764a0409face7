"""Releases, kept in the cluster as Swarm configs.

A config's data never changes, its labels can: the release is the data, how it ended a label. The
name carries the number, so two people who deploy at once get two numbers. The configs carry the
stack's label, so removing the stack removes them.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from deploytool.backends.base import Outcome, Record
from deploytool.backends.swarm import labels
from deploytool.backends.swarm.client import Client, is_taken
from deploytool.errors import EngineError
from deploytool.spec import Release

Json = dict[str, Any]
KEPT = 20
"""Finished releases that are remembered."""


def config_name(app: str, number: int) -> str:
    return f"{app}.release.{number}"


def _configs(client: Client, app: str) -> list[Json]:
    """The configs of an app's releases, oldest first."""
    found = client.configs(label=[f"{labels.APP}={app}", labels.RELEASE])
    numbered = (c for c in found if c["Spec"]["Labels"][labels.RELEASE][1:].isdecimal())
    return sorted(numbered, key=_number)


def _number(config: Json) -> int:
    return int(config["Spec"]["Labels"][labels.RELEASE].removeprefix("v"))


def _record(config: Json) -> Record:
    found = config["Spec"]["Labels"]
    data = json.loads(base64.b64decode(config["Spec"]["Data"]))
    seconds = found.get(labels.SECONDS)
    return Record(
        release=Release.model_validate(data),
        outcome=Outcome(found.get(labels.OUTCOME, Outcome.STARTED)),
        seconds=float(seconds) if seconds else None,
        stepped=labels.STEPPED in found,
    )


def records(client: Client, app: str) -> list[Record]:
    """Every release that is remembered, oldest first. Records that a newer version of deploytool
    wrote and this one cannot read are left out."""
    found = []
    for config in _configs(client, app):
        try:
            found.append(_record(config))
        except ValueError:
            continue
    return found


def releases(client: Client, app: str) -> list[Release] | None:
    """Every release that is remembered; None where one cannot be read, so that nobody knows what
    it needs."""
    try:
        return [_record(config).release for config in _configs(client, app)]
    except ValueError:
        return None


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
    try:
        record = _record(config)
    except ValueError:
        return None
    unfinished = record.outcome in (Outcome.STARTED, Outcome.INTERRUPTED)
    same = record.release.runs_the_same(release)
    return record.release if unfinished and same else None


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
