"""Records that another version of deploytool wrote: what is known of them is read, and what is not
stops nothing. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from deploytool.spec import Model

M = TypeVar("M", bound=Model)


def read_known(model: type[M], data: Any) -> tuple[M, tuple[str, ...]]:
    """A record without the keys that are not known here, and the paths of those.

    Raises ValueError where what is known makes no such record.
    """
    left = copy.deepcopy(data)
    unknown: list[str] = []
    while True:
        try:
            return model.model_validate(left), tuple(unknown)
        except ValidationError as error:
            extra = [_keys(e["loc"]) for e in error.errors() if e["type"] == "extra_forbidden"]
            dropped = [loc for loc in extra if _drop(left, loc)]
            if not dropped:
                raise
            unknown += [".".join(map(str, loc)) for loc in dropped]


def _keys(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """A location without the tags of models that have several forms, which are in brackets."""
    return tuple(part for part in location if not str(part).startswith("["))


def _drop(data: Any, path: Sequence[str | int]) -> bool:
    """Take a key out; whether it was there."""
    *parents, last = path
    for part in parents:
        if _has(data, part):
            data = data[part]
    if isinstance(data, dict) and last in data:
        del data[last]
        return True
    return False


def _has(data: Any, part: str | int) -> bool:
    """Whether this part of a path leads on: some are Pydantic's own words."""
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data
