"""Variables, with check and set; `locks.py` locks them. Pure but for the state they are given."""

from __future__ import annotations

import re

from tests.nomad_double.state import Json, State

PATH = re.compile(r"^[a-zA-Z0-9-_~/]{1,128}$")
LARGEST = 65_536
"""Bytes of keys and values together (nomad/structs/variables.go, maxVariableSize)."""
RESERVED = re.compile(r"^nomad(/(?!jobs(/|$)|job-templates(/|$)).*|$)")
"""Paths below nomad/ that no variable may have (nomad/structs/variables.go, Validate)."""


class Refusal(Exception):
    """An answer that is no success: HTTP status and body."""

    def __init__(self, status: int, body: str | Json) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def get(state: State, namespace: str, path: str) -> Json:
    """404 with the text "variable not found" (command/agent/variable_endpoint.go)."""
    with state.changed:
        found = state.variables.get((namespace, path))
        if found is None:
            raise Refusal(404, "variable not found")
        return dict(found)


def listed(state: State, namespace: str, prefix: str) -> list[Json]:
    """Metadata of all whose paths begin so, without their items
    (nomad/structs/variables.go, VariableMetadata)."""
    with state.changed:
        return [
            {key: value for key, value in variable.items() if key != "Items"}
            for (where, path), variable in sorted(state.variables.items())
            if path.startswith(prefix) and namespace in ("*", where)
        ]


def put(state: State, namespace: str, path: str, body: Json, cas: int | None) -> Json:
    """Write a variable; with `cas` only if its ModifyIndex is that, and with 0 only if there is
    none. Every write raises the index, changed or not, as the ciphertext is fresh
    (nomad/variables_endpoint.go, Apply)."""
    items = body.get("Items")
    if not isinstance(items, dict) or not items:
        raise Refusal(400, "variable missing required Items object")
    check(path, items)
    lock = body.get("Lock") or {}
    if lock.get("TTL") or lock.get("LockDelay"):
        raise Refusal(400, "variable should not contain lock definition")
    with state.changed:
        there = state.variables.get((namespace, path))
        check_holder(there, lock.get("ID") or "")
        _check_index(there, path, namespace, cas)
        return store(state, namespace, path, items, (there or {}).get("Lock"))


def store(state: State, namespace: str, path: str, items: Json, lock: Json | None) -> Json:
    """One write."""
    there = state.variables.get((namespace, path))
    with state.writing("variables") as index:
        now = state.now()
        made = {
            "Namespace": namespace,
            "Path": path,
            "CreateIndex": there["CreateIndex"] if there else index,
            "ModifyIndex": index,
            "CreateTime": there["CreateTime"] if there else now,
            "ModifyTime": max(now, there["ModifyTime"] + 1) if there else now,
            "Items": dict(items),
            **({"Lock": lock} if lock else {}),
        }
        state.variables[namespace, path] = made
    return dict(made)


def delete(state: State, namespace: str, path: str, cas: int | None) -> None:
    """204, also where there is none (command/agent/variable_endpoint.go, variableDelete)."""
    with state.changed:
        there = state.variables.get((namespace, path))
        check_holder(there, "")
        if cas is not None:
            _check_index(there, path, namespace, cas)
        if there is not None:
            with state.writing("variables"):
                del state.variables[namespace, path]


def check(path: str, items: Json) -> None:
    if not PATH.match(path):
        raise Refusal(400, f'invalid path "{path}"')
    if RESERVED.match(path):
        raise Refusal(
            400,
            'only paths at "nomad/jobs" or "nomad/job-templates" and below are valid paths under '
            'the top-level "nomad" directory',
        )
    size = sum(len(str(key).encode()) + len(str(value).encode()) for key, value in items.items())
    if size > LARGEST:
        raise Refusal(400, "variables are limited to 64KiB in total size")


def check_holder(there: Json | None, lock: str) -> None:
    """409 with a variable that says nothing, for all but who holds its lock
    (nomad/variables_endpoint.go)."""
    held = ((there or {}).get("Lock") or {}).get("ID")
    if there is not None and held and held != lock:
        raise Refusal(409, nothing(there["Namespace"], there["Path"]))


def _check_index(there: Json | None, path: str, namespace: str, cas: int | None) -> None:
    """409 with the variable that is there, or with an empty one
    (nomad/state/state_store.go, svSetCheckAndSet)."""
    if cas is None or (there["ModifyIndex"] if there else 0) == cas:
        return
    raise Refusal(409, dict(there) if there else nothing(namespace, path))


def nothing(namespace: str, path: str) -> Json:
    return {
        "Namespace": namespace,
        "Path": path,
        "CreateIndex": 0,
        "ModifyIndex": 0,
        "CreateTime": 0,
        "ModifyTime": 0,
        "Items": None,
    }
