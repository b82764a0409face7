"""Load at a fixed rate, whatever the answers, and who of its callers noticed what.

    with Load(address, host="items.localhost", rate=200) as load:
        deploy()
    assert load.result().failed == 0

`python -m tests.load ADDRESS` does the same from a shell.
"""

from pathlib import Path

from tests.load.process import Load
from tests.load.result import Result, Sample
from tests.load.settings import Settings

APP = Path(__file__).with_name("app.py")
"""An app that has what the load asks for: to be app/main.py in a copy of the example."""

__all__ = ["APP", "Load", "Result", "Sample", "Settings"]
