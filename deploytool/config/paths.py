"""Paths of values, as they are written in TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence


def join(path: Sequence[str]) -> str:
    """The path as it is written in TOML."""
    return ".".join(map(quoted, path))


def quoted(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text)
