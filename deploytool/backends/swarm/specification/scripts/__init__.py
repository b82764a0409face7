"""The scripts that replicas run, which reach them as configs of the Swarm. Pure.

Their folder in a replica is mounted `noexec`: each is run by an interpreter that is named.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploytool.backends.swarm.specification import labels

FOLDER = "/deploytool"
"""Where they are in a replica."""
STOPPED = 143
"""The exit code of what SIGTERM ended, and of what was asked to stop and would end with 0."""


@dataclass(frozen=True)
class Script:
    """A file beside this one."""

    file: str
    version: int
    """Goes up with each change of what it does, which replaces the replicas that run it. Another
    comment replaces none."""

    @property
    def target(self) -> str:
        return f"{FOLDER}/{self.file}"

    @property
    def path(self) -> str:
        """Where `render` writes it, relative to the stack file."""
        return f"deploytool/{self.file}"

    @cached_property
    def content(self) -> bytes:
        return (Path(__file__).parent / self.file).read_bytes()

    @property
    def stem(self) -> str:
        return self.file.partition(".")[0]

    def config_name(self, app: str) -> str:
        """The config that holds it: 64 characters is what the engine takes."""
        digest = hashlib.sha256(self.content).hexdigest()
        return f"{app}_{self.stem}-{self.version}-{digest[:8]}"

    def config_labels(self, app: str) -> dict[str, str]:
        return {labels.STACK: app, labels.APP: app, labels.FILE: self.path}


DRAIN = Script("drain.sh", 1)
HEALTHCHECK = Script("healthcheck.py", 2)
BY_TARGET = {script.target: script for script in (DRAIN, HEALTHCHECK)}


def version_of(target: str, config: str) -> int | None:
    """The version of the script that a config holds, by its name; None where it holds another
    file."""
    script = BY_TARGET.get(target)
    found = re.search(rf"_{script.stem}-(\d+)-[0-9a-f]{{8}}$", config) if script else None
    return int(found[1]) if found else None
