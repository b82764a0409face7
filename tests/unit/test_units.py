"""Memory and time, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from deploytool.units import (
    Duration,
    Memory,
    format_duration,
    format_memory,
    parse_duration,
    parse_memory,
)

YEAR = 365 * 24 * 3_600_000


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 268_435_456),
        ("1GiB", 2**30),
        ("1 GiB", 2**30),
        (" 1GiB ", 2**30),
        ("1.5GiB", 3 * 2**29),
        ("512KiB", 2**19),
        ("1TiB", 2**40),
        ("100MB", 100_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("5B", 5),
        ("0B", 0),
        ("9007199254740993B", 2**53 + 1),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "value",
    [
        *("", "256", "256M", "256 mib", "-1MiB", "1,5GiB", "1e3MiB", "MiB", "1MiB1MiB", "1\nMiBx"),
        *(256, 1.5, None, True, [], {}, b"1MiB", "٣MiB", "9" * 400 + "MiB", "1" + "0" * 12 + "GiB"),
    ],
)
def test_no_memory(value: object) -> None:
    with pytest.raises(ValueError, match="memory"):
        parse_memory(value)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("30s", 30_000),
        ("500ms", 500),
        ("1m30s", 90_000),
        ("1m 30s", 90_000),
        ("0.5s", 500),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("0s", 0),
    ],
)
def test_duration(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "30", "30 seconds", "-1s", "1.s", "s", "30s\n", "1w", "٣s", "400d", "9" * 400 + "s"),
        *(30, 0.5, None, True, [], {}),
    ],
)
def test_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match=r"duration|longer than a year"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1024, "1KiB"),
        (2**28, "256MiB"),
        (2**50, "1024TiB"),
        (1000, "1kB"),
        (2 * 10**8, "200MB"),
    ],
)
def test_memory_is_written_short(size: int, text: str) -> None:
    assert format_memory(size) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (1, "1ms"), (90_000, "1m30s"), (86_400_000, "24h"), (3_600_001, "1h1ms")],
)
def test_durations_are_written_short(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text


@given(st.integers(0, 2**62))
def test_memory_there_and_back(size: int) -> None:
    assert parse_memory(format_memory(size)) == size


@given(st.integers(0, YEAR))
def test_durations_there_and_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


VALUES = st.one_of(
    st.text(),
    st.text("0123456789.MiBKkGTmshd \n-e", max_size=12),
    st.integers(),
    st.floats(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)


@given(VALUES)
def test_whatever_is_written_is_a_unit_or_a_validation_error(value: object) -> None:
    for kind in (Memory, Duration):
        adapter: TypeAdapter[int] = TypeAdapter(kind)
        try:
            parsed = adapter.validate_python(value)
        except ValidationError:
            continue
        assert parsed >= 0
        assert adapter.validate_json(adapter.dump_json(parsed)) == parsed
