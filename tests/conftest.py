"""Markers follow from the folders: live/ needs engines, live/faults/ measures callers meanwhile,
contract/ needs the docker command line.

In CI, hypothesis tries the same examples every time, so that a result is about the change.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

HERE = Path(__file__).parent

# Tests start deploytool hundreds of times: compiling it and all it imports anew is more than half
# of what a start takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# What a shell starts in the background ignores Ctrl-C, what nohup starts ignores SIGHUP, and what
# these start does too, unless it is handled here.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, lambda *_: None),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(HERE).parts
        if folders[0] in ("live", "contract"):
            item.add_marker(folders[0])
        if "faults" in folders:
            item.add_marker("faults")
            item.add_marker("load")
            if not item.get_closest_marker("core") or item.get_closest_marker("double"):
                item.add_marker("thorough")
