"""Variables, with check and set. Pure but for the state that they are given."""

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
    _check(path, items)
    with state.changed:
        there = state.variables.get((namespace, path))
        _check_index(there, path, namespace, cas)
        with state.writing("variables") as index:
            now = state.now()
            made = {
                "Namespace": namespace,
                "Path": path,
                "CreateIndex": there["CreateIndex"] if there else index,
                "ModifyIndex": index,
                "CreateTime": there["CreateTime"] if there else now,
                "ModifyTime": max(now, there["ModifyTime"] + 1) if there else now,
                "Items": dict(items or {}),
            }
            state.variables[namespace, path] = made
        return dict(made)


def delete(state: State, namespace: str, path: str, cas: int | None) -> None:
    """204, also where there is none (command/agent/variable_endpoint.go, variableDelete)."""
    with state.changed:
        there = state.variables.get((namespace, path))
        if cas is not None:
            _check_index(there, path, namespace, cas)
        if there is not None:
            with state.writing("variables"):
                del state.variables[namespace, path]


def _check(path: str, items: object) -> None:
    if not PATH.match(path):
        raise Refusal(400, f'invalid path "{path}"')
    if RESERVED.match(path):
        raise Refusal(
            400,
            'only paths at "nomad/jobs" or "nomad/job-templates" and below are valid paths under '
            'the top-level "nomad" directory',
        )
    if not isinstance(items, dict) or not items:
        raise Refusal(400, "variable missing required Items object")
    size = sum(len(str(key).encode()) + len(str(value).encode()) for key, value in items.items())
    if size > LARGEST:
        raise Refusal(400, "variables are limited to 64KiB in total size")


def _check_index(there: Json | None, path: str, namespace: str, cas: int | None) -> None:
    """409 with the variable that is there, or with an empty one
    (nomad/state/state_store.go, svSetCheckAndSet)."""
    if cas is None or (there["ModifyIndex"] if there else 0) == cas:
        return
    empty = {
        "Namespace": namespace,
        "Path": path,
        "CreateIndex": 0,
        "ModifyIndex": 0,
        "CreateTime": 0,
        "ModifyTime": 0,
        "Items": None,
    }
    raise Refusal(409, dict(there) if there else empty)
