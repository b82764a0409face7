"""Markers follow from the folders: live/ needs engines, contract/ the docker command line."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in ("live", "contract"):
            item.add_marker(folder)
