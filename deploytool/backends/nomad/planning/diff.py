"""What Nomad's dry run says would change → changes in the form that every plan has. Pure.

`POST /v1/job/ID/plan` with `Diff` answers with a tree of fields and objects, old and new as text;
whether replicas are replaced is in `Annotations.DesiredTGUpdates` alone, as the tree's own
annotations say "forces create/destroy update" where the scheduler works in place too
(hashicorp/nomad, scheduler/annotate.go).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploytool import diff
from deploytool.backends.model import Action, Change, FieldChange
from deploytool.backends.nomad.specification.secrets import version_read
from deploytool.backends.nomad.specification.task import ENVIRONMENT, FILES, SECRETS
from deploytool.json_types import Json
from deploytool.units import format_duration, format_memory

ACTIONS = {"Added": Action.CREATE, "Deleted": Action.REMOVE, "Edited": Action.UPDATE}
TEMPLATE = "Template"
TAGS = ("Tags", "CanaryTags")
IN_A_LIST = re.compile(r"^(?P<name>.+)\[(?P<index>\d+)\]$")
OF_A_TABLE = re.compile(r"^(?P<name>[^\[]+)\[(?P<key>.+)\]$")
DURATIONS = frozenset(
    {"KillTimeout", "ShutdownDelay", "MinHealthyTime", "HealthyDeadline", "ProgressDeadline"}
    | {"Interval", "Timeout", "Delay", "MaxDelay", "LostAfter", "Grace"}
)
MEBIBYTES = frozenset({"MemoryMB", "MemoryMaxMB", "SizeMB", "MaxFileSizeMB"})
ADDED_BY_THE_SERVER = re.compile(
    r"\$\{attr\.(nomad\.service_discovery|nomad\.version|os\.signals|plugins\.cni\.|consul\.)"
)
"""Constraints that a server adds to jobs by itself (nomad/job_endpoint_hooks.go)."""
OWN_MARKS = frozenset(
    {"Meta.deploytool.release", "Meta.deploytool.restarted", "Task.Meta.deploytool.healthcheck"}
)
OF_THE_JOB = {"Datacenters": "nomad.datacenters", "NodePool": "nomad.node_pool"}
DERIVED = ("Migrate.", "Update.HealthyDeadline", "Update.ProgressDeadline")
"""Fields that follow from others, which are told."""


def changes(answer: Json, mounted: Mapping[str, str] | None = None) -> tuple[Change, ...]:
    """The changes of each group that a plan's answer tells, those that stay too. `mounted` is where
    a container has what is in the task's folders."""
    updates = (answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}
    tree = answer.get("Diff") or {}
    of_all = _of_the_job(tree)
    found = [
        _change(group, updates.get(group["Name"]) or {}, mounted or {}, of_all)
        for group in tree.get("TaskGroups") or ()
    ]
    return tuple(sorted(found, key=lambda change: (change.action is Action.REMOVE, change.name)))


def _of_the_job(tree: Json) -> tuple[FieldChange, ...]:
    """What changes for all groups: the nodes that a job may use."""
    if tree.get("Type") == "Added":
        return ()
    before: Json = {}
    after: Json = {}
    told = [f for f in tree.get("Fields") or () if f["Name"] == "NodePool"]
    for node in tree.get("Objects") or ():
        told += (node.get("Fields") or ()) if node["Name"] == "Datacenters" else ()
    for field in told:
        for values, value in ((before, field.get("Old")), (after, field.get("New"))):
            if value:
                values.setdefault(OF_THE_JOB[field["Name"]], []).append(str(value))
    return tuple(
        FieldChange(path=path, before=_one(before.get(path)), after=_one(after.get(path)))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    )


def _one(values: list[str] | None) -> str | None:
    return None if values is None else ", ".join(sorted(values))


def _change(
    group: Json,
    updates: Mapping[str, int],
    mounted: Mapping[str, str],
    of_all: tuple[FieldChange, ...],
) -> Change:
    action = ACTIONS.get(str(group.get("Type")), Action.KEEP)
    if action is Action.REMOVE:
        return Change(kind="service", name=group["Name"], action=action)
    fields = field_changes(group, mounted)
    if of_all and action is not Action.CREATE:
        action, fields = Action.UPDATE, (*of_all, *fields)
    if action is Action.UPDATE and not fields and not replaces(updates):
        action = Action.KEEP
    return Change(
        kind="service",
        name=group["Name"],
        action=action,
        fields=fields if action is not Action.KEEP else (),
        replaces=action is Action.CREATE or replaces(updates),
    )


def replaces(updates: Mapping[str, int]) -> bool:
    """Whether allocations are replaced: a canary is the first of them."""
    return bool(updates.get("DestructiveUpdate") or updates.get("Canary"))


def field_changes(group: Json, mounted: Mapping[str, str] | None = None) -> tuple[FieldChange, ...]:
    """The fields of a group that differ, in the configuration's words."""
    before: Json = {}
    after: Json = {}
    for path, old, new in _leaves(group, mounted=mounted or {}):
        _put(before, path, old)
        _put(after, path, new)
    flat_before, flat_after = _with_folders(_joined(before)), _with_folders(_joined(after))
    return tuple(
        diff.differences(
            {k: v for k, v in flat_before.items() if v != flat_after.get(k) and _is_told(k)},
            {k: v for k, v in flat_after.items() if v != flat_before.get(k) and _is_told(k)},
            key_of=key_of,
            shown=_shown,
        )
    )


def _is_told(path: str) -> bool:
    return path not in OWN_MARKS and not path.startswith(DERIVED)


def _put(values: Json, path: str, value: str) -> None:
    if value != "":
        values[path] = value


def _leaves(
    node: Json, path: str = "", *, mounted: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Path, old and new of each field below a group, a task or an object, where any changed."""
    if node.get("Type") == "None":
        return
    for field in node.get("Fields") or ():
        yield f"{path}{field['Name']}", str(field.get("Old") or ""), str(field.get("New") or "")
    objects = node.get("Objects") or ()
    yield from _templates([o for o in objects if o["Name"] == TEMPLATE], path, mounted)
    for name, number, child in _numbered(o for o in objects if o["Name"] != TEMPLATE):
        if name in TAGS:
            yield from _tags(child, f"{path}{name}.")
        elif not _is_the_servers(child):
            below = f"{path}{name}{f'#{number}' if number > 1 else ''}."
            yield from _leaves(child, below, mounted=mounted)
    for task in node.get("Tasks") or ():
        yield from _leaves(task, f"{path}Task.", mounted=mounted)


def _tags(node: Json, path: str) -> Iterator[tuple[str, str, str]]:
    """Tags as labels. Each is a field that is called like all the others."""
    for field in node.get("Fields") or ():
        old, _, before = str(field.get("Old") or "").partition("=")
        new, _, after = str(field.get("New") or "").partition("=")
        if old:
            yield f"{path}{old}", before, ""
        if new:
            yield f"{path}{new}", "", after


def _templates(
    found: Iterable[Json], path: str, mounted: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """The content of each file that a template writes, old and new: one that changes is told as one
    that goes and one that comes, whatever else there is."""
    contents: dict[str, tuple[str, str]] = {}
    for template in found:
        fields = {f["Name"]: f for f in template.get("Fields") or ()}
        file, content = fields.get("DestPath") or {}, fields.get("EmbeddedTmpl") or {}
        where = str(file.get("New") or file.get("Old") or "")
        old, new = contents.get(where, ("", ""))
        contents[where] = (
            old or str(content.get("Old") or ""),
            new or str(content.get("New") or ""),
        )
    for where, (old, new) in contents.items():
        yield f"{path}{TEMPLATE}.{mounted.get(where, where)}", old, new


def _numbered(children: Iterable[Json]) -> Iterator[tuple[str, int, Json]]:
    """Objects with their names and numbers. One of a set that changes is told as one that goes and
    one that comes: these have the same number."""
    seen: dict[tuple[str, str], int] = {}
    by_change = sorted(children, key=lambda child: child.get("Type") in ("Added", "Deleted"))
    for child in by_change:
        name, kind = str(child["Name"]), str(child.get("Type"))
        kind = kind if kind in ("Added", "Deleted") else "Edited"
        seen[name, kind] = seen.get((name, kind), 0) + 1
        before = seen.get((name, "Edited"), 0) if kind != "Edited" else 0
        yield name, before + seen[name, kind], child


def _is_the_servers(child: Json) -> bool:
    if child.get("Name") != "Constraint":
        return False
    values = [str(f.get("Old") or f.get("New") or "") for f in child.get("Fields") or ()]
    return any(map(ADDED_BY_THE_SERVER.match, values))


def _joined(values: Mapping[str, str]) -> Json:
    """Fields `args[0]`, `args[1]`, … as the one list that they are."""
    found: Json = {}
    for path, value in values.items():
        if match := IN_A_LIST.match(path):
            found.setdefault(match["name"], {})[int(match["index"])] = value
        elif match := OF_A_TABLE.match(path):
            found[f"{match['name']}.{match['key']}"] = value
        else:
            found[path] = value
    return {
        path: [value[index] for index in sorted(value)] if isinstance(value, dict) else value
        for path, value in found.items()
    }


def _with_folders(values: Json) -> Json:
    """Sizes of what is in memory by the folders that they are of; /tmp has a key of its own."""

    def named(path: str) -> str:
        folder = values.get(f"{path.removesuffix(SIZE)}][target", "/tmp")
        return f"{TMPFS}{folder}" if path.endswith(SIZE) and folder != "/tmp" else path

    return {named(path): value for path, value in values.items()}


TMPFS = "Task.Config.tmpfs."
KEYS = (
    ("Task.Config.image", "image"),
    ("Task.Config.args", "command"),
    ("Task.Config.command", "command"),
    ("Task.Config.entrypoint", "command"),
    ("Task.Config.cap_add", "capabilities"),
    ("Task.Config.cap_drop", "dropped capabilities"),
    ("Task.Config.readonly_rootfs", "read_only"),
    ("Task.Config.pids_limit", "pids"),
    ("Task.Config.volumes", "volumes"),
    ("Task.Config.mount", "volumes"),
    (TMPFS, "tmpfs."),
    ("Task.Config.ulimit.0][", "ulimits."),
    ("Task.Config.extra_hosts", "extra_hosts"),
    ("Task.Config.hostname", "hostname"),
    ("Task.Config.logging.0][type", "logging.driver"),
    ("Task.Config.logging.0][config][0][", "logging.options."),
    ("Task.Config.", "docker."),
    ("Task.Env.", "env."),
    ("Task.Resources.MemoryMaxMB", "memory_limit"),
    ("Task.Resources.MemoryMB", "memory"),
    ("Task.Resources.CPU", "cpu"),
    ("Task.Resources.", "resources."),
    ("Task.LogConfig.", "logging."),
    (f"Task.Template.{SECRETS}/", "secrets."),
    (f"Task.Template.{ENVIRONMENT}", "templates"),
    (f"Task.Template.{FILES}/", "files."),
    ("Task.Template.", "files."),
    ("Task.KillTimeout", "stop_grace"),
    ("Task.ShutdownDelay", "drain"),
    ("Task.Service.Check.CheckRestart.Grace", "healthcheck.start_period"),
    ("Task.Service.Check.CheckRestart.Limit", "healthcheck.retries"),
    ("Task.Service.Check", "healthcheck"),
    ("Task.Service.Tags.", "labels."),
    ("Task.Service.CanaryTags.", "labels of canaries."),
    ("Task.Service.", "service."),
    ("Task.KillSignal", "kill signal"),
    ("Task.User", "user"),
    ("Task.Meta.", "labels."),
    ("Task.", ""),
    ("Service.Check", "healthcheck"),
    ("Service.Tags.", "labels."),
    ("Service.CanaryTags.", "labels of canaries."),
    ("Service.", "service."),
    ("RestartPolicy.", "restart."),
    ("ReschedulePolicy.", "reschedule."),
    ("Update.MaxParallel", "update.parallelism"),
    ("Update.MinHealthyTime", "update.monitor"),
    ("Update.", "update."),
    ("Spread", "placement.spread"),
    ("Constraint", "placement.constraints"),
    ("Network", "publish"),
    ("ShutdownDelay", "drain"),
    ("Count", "replicas"),
    ("Meta.", "labels."),
)
"""Nomad's fields and the configuration's keys that they come from."""
SIZE = "][tmpfs_options][0][size"
"""How the field of the size of a mount in memory ends."""
OWN_NAMES = (
    *("Task.Env.", "Task.Meta.", "Meta.", "Task.Template.", TMPFS, "Task.Config.logging."),
    *("Task.Service.Tags.", "Service.Tags."),
)
"""Fields under which names are the user's own."""


def key_of(path: str) -> str:
    """The configuration's word for a field of Nomad's, which is what a reader knows."""
    if path.endswith(SIZE):
        return "tmp_size"
    for prefix, key in KEYS:
        if path.startswith(prefix):
            rest = path.removeprefix(prefix)
            return key + (rest if prefix.startswith(OWN_NAMES) else rest.lower())
    return path


def _shown(path: str, value: Any) -> Any:
    name = path.rpartition(".")[2]
    if path.startswith("Task.Env."):
        return diff.variable(name, value)
    if path.startswith("Task.Template."):
        return _content(path, str(value))
    if name in DURATIONS and str(value).isdigit():
        return format_duration(int(value) // 1_000_000)
    if path.startswith("Task.Config.logging."):
        return diff.variable(name.rpartition("[")[2], value)
    if path.endswith(SIZE) or path.startswith(TMPFS):
        return format_memory(int(float(value)))
    if name in MEBIBYTES and str(value).isdigit():
        return format_memory(int(value) * 2**20)
    if path == "Task.Resources.CPU":
        return f"{value} MHz"
    if name == "Count" and str(value).isdigit():
        return int(value)
    return value


def _content(path: str, text: str) -> str:
    """What is told of a file's content: the version of a secret, or the beginning of a hash."""
    if path.startswith(f"Task.Template.{SECRETS}/") and (version := version_read(text)):
        return version
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
