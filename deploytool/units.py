"""Memory and time as people write them: "256MiB", "30s", "1m30s"."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

BINARY = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
DECIMAL = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*(B|[KMGT]iB|[kKMGT]B)$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def _meant(text: str) -> str:
    """What a number with another tool's unit most likely means: "512M" of docker is 512MiB."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt])i?b?", text, re.IGNORECASE)
    return f': did you mean "{found[1]}{found[2].upper()}iB"?' if found else ""


def parse_memory(value: object) -> int:
    """Bytes of "256MiB" and the like.

    Raises ValueError, with the way to write it, for anything else: a number without a unit is
    not guessed at.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(MEMORY_PATTERN, text):
        raise ValueError(
            f'write memory with a unit, for example "256MiB" or "1GiB", not {value!r}{_meant(text)}'
        )
    number, unit = re.match(r"([0-9.]+)\s*(\w+)", text).groups()  # type: ignore[union-attr]
    if len(number.partition(".")[0].lstrip("0")) > 19:
        raise ValueError("that is more memory than any machine has")
    size = round(Decimal(number) * (BINARY | DECIMAL)[unit])
    if size > 2**62:
        raise ValueError(f"{value!r} is more memory than any machine has")
    return size


def format_memory(size: int) -> str:
    """The shortest exact way to write a number of bytes: 268435456 is "256MiB", and 200000000 is
    "200MB"."""
    units = {**BINARY, **DECIMAL} if size else {"B": 1}
    return min(
        (f"{size // factor}{unit}" for unit, factor in units.items() if size % factor == 0), key=len
    )


def parse_duration(value: object) -> int:
    """Milliseconds of "30s", "500ms" or "1m30s". Raises ValueError for anything else."""
    text = value.replace(" ", "") if isinstance(value, str) else ""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f'write a duration with a unit, for example "30s" or "5m", not {value!r}')
    total = sum(float(number) * MILLISECONDS[unit] for number, unit in _PART.findall(text))
    if total > 365 * MILLISECONDS["d"]:
        raise ValueError(f"{value!r} is longer than a year")
    return round(total)


def format_duration(milliseconds: int) -> str:
    """The shortest exact way to write a duration: 90000 is "1m30s"."""
    if not milliseconds:
        return "0s"
    parts = []
    for unit in ("h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, MILLISECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


Memory = Annotated[
    int,
    BeforeValidator(parse_memory),
    PlainSerializer(format_memory, return_type=str),
    WithJsonSchema({"type": "string", "pattern": MEMORY_PATTERN, "examples": ["256MiB"]}),
]
"""Bytes. Written with a unit, in files and in JSON alike."""

Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s"]}),
]
"""Milliseconds. Written with a unit, in files and in JSON alike."""
