"""What differs between two jobs, in the form of a dry run's answer (nomad/structs/diff.go)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.nomad_double.canonical import bare

Json = dict[str, Any]


def job_diff(before: Json | None, after: Json) -> Json:
    old = {g["Name"]: g for g in (before or {}).get("TaskGroups") or ()}
    new = {g["Name"]: g for g in after.get("TaskGroups") or ()}
    groups = [
        _group(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())
    ]
    fields, objects = _of_the_job(before, after) if before else ([], [])
    changed = fields or objects or any(group["Type"] != "None" for group in groups)
    kind = "Added" if before is None else "Edited" if changed else "None"
    return {
        "Type": kind,
        "ID": after["ID"],
        "Fields": fields or None,
        "Objects": objects or None,
        "TaskGroups": groups,
    }


def _of_the_job(before: Json, after: Json) -> tuple[list[Json], list[Json]]:
    """Fields of the whole job are told where they differ, and its datacenters as a set."""
    pools = [_field("NodePool", before.get("NodePool"), after.get("NodePool"))]
    found = _set("Datacenters", before.get("Datacenters") or (), after.get("Datacenters") or ())
    centres = [found] if found["Type"] != "None" else []
    return [field for field in pools if field["Type"] != "None"], centres


def _group(name: str, old: Json | None, new: Json | None) -> Json:
    tasks = _tasks(old, new)
    made = _node(name, _without(old, "Tasks"), _without(new, "Tasks"))
    if any(task["Type"] != "None" for task in tasks) and made["Type"] == "None":
        made["Type"] = "Edited"
    return made | {"Tasks": tasks, "Updates": None}


def _tasks(old: Json | None, new: Json | None) -> list[Json]:
    before = {t["Name"]: t for t in (old or {}).get("Tasks") or ()}
    after = {t["Name"]: t for t in (new or {}).get("Tasks") or ()}
    return [
        _node(name, before.get(name), after.get(name)) | {"Annotations": None}
        for name in sorted(before.keys() | after.keys())
    ]


def _without(value: Json | None, *names: str) -> Json | None:
    return None if value is None else {k: v for k, v in value.items() if k not in names}


def _node(name: str, old: Any, new: Any) -> Json:
    """Fields are primitives and maps of them, written NAME[KEY]; the rest are objects."""
    fields, objects = [], []
    keys = sorted((old or {}).keys() | (new or {}).keys())
    for key in keys:
        if key == "Name" and old and new:
            continue
        one, other = (old or {}).get(key), (new or {}).get(key)
        if old and new and one != other and bare({key: one}) == bare({key: other}):
            continue
        if _is_flat(one) and _is_flat(other):
            fields += list(_fields(key, one, other))
        else:
            objects += _objects(key, one, other)
    kind = "Added" if old is None else "Deleted" if new is None else "None"
    if kind == "None" and any(part["Type"] != "None" for part in (*fields, *objects)):
        kind = "Edited"
    return {"Type": kind, "Name": name, "Fields": fields or None, "Objects": objects or None}


def _is_flat(value: Any) -> bool:
    if isinstance(value, dict):
        return all(not isinstance(item, dict | list) for item in value.values())
    return not isinstance(value, list)


def _fields(name: str, old: Any, new: Any) -> Iterator[Json]:
    if isinstance(old, dict) or isinstance(new, dict):
        for key in sorted((old or {}).keys() | (new or {}).keys()):
            yield _field(f"{name}[{key}]", (old or {}).get(key), (new or {}).get(key))
    else:
        yield _field(name, old, new)


def _field(name: str, old: Any, new: Any) -> Json:
    before, after = _text(old), _text(new)
    kind = "None" if before == after else "Added" if not before else "Deleted"
    if before and after and before != after:
        kind = "Edited"
    return {"Type": kind, "Name": name, "Old": before, "New": after, "Annotations": None}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _objects(name: str, old: Any, new: Any) -> list[Json]:
    singular = name.removesuffix("s") if isinstance(old or new, list) else name
    if isinstance(old, list) or isinstance(new, list):
        if all(not isinstance(item, dict) for item in [*(old or ()), *(new or ())]):
            return [_set(name, old or (), new or ())]
        alone = name == "Services" and len(old or ()) == len(new or ()) == 1
        pairs = [(old[0], new[0])] if alone else _paired(old or [], new or [])
        return [_node(singular, one, other) for one, other in pairs]
    return [_config(name, old, new)]


def _paired(old: list[Json], new: list[Json]) -> list[tuple[Json | None, Json | None]]:
    """Lists are sets: what is in both is unchanged. A service that is alone before and after is
    compared with itself (nomad/structs/diff.go, serviceDiffs)."""
    same = [(item, item) for item in old if item in new]
    gone = [(item, None) for item in old if item not in new]
    come = [(None, item) for item in new if item not in old]
    return [*same, *gone, *come]


def _set(name: str, old: Iterable[str], new: Iterable[str]) -> Json:
    """Strings, each a field of the same name (nomad/structs/diff.go, stringSetDiff)."""
    before, after = set(old), set(new)
    fields = [
        _field(name, item if item in before else None, item if item in after else None)
        for item in sorted(before | after)
    ]
    kinds = {field["Type"] for field in fields} - {"None"}
    kind = "None" if not kinds else "Edited" if len(kinds) > 1 else kinds.pop()
    return {"Type": kind, "Name": name, "Fields": fields or None, "Objects": None}


def _config(name: str, old: Any, new: Any) -> Json:
    """A driver's configuration is flattened: args[0], logging[0].config[0].max-size
    (helper/flatmap)."""
    before, after = dict(_flat(old or {})), dict(_flat(new or {}))
    fields = [_field(key, before.get(key), after.get(key)) for key in sorted(before | after)]
    kind = "Edited" if any(field["Type"] != "None" for field in fields) else "None"
    return {"Type": kind, "Name": name, "Fields": fields or None, "Objects": None}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
    else:
        yield path, value
