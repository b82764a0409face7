"""A Go program that reads jobs as Nomad's own types do. `check` runs it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deploytool.json_types import Json
from tests.contract.go_program import build

HERE = Path(__file__).parent


class Asked(NamedTuple):
    """A job as it is submitted, and the same as HCL; empty where there is none."""

    name: str
    json: str
    hcl: str = ""


class Answered(NamedTuple):
    problems: tuple[str, ...]
    job: Json
    """As Nomad's client library sends it, every default filled in."""
    settings: Json
    """GROUP/TASK → what its driver is given."""


def check(cases: Sequence[Asked]) -> Mapping[str, Answered]:
    """What the official types make of jobs, by name."""
    done = subprocess.run(
        [build(HERE)],
        input=json.dumps([case._asdict() for case in cases]),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return {
        one["name"]: Answered(tuple(one["problems"]), one["job"], one["settings"])
        for one in answers
    }
