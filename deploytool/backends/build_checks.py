"""Can this machine build images and push them, whichever cluster they are for?"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploytool.backends.kind import Check, State
from deploytool.backends.swarm.cluster import LOCAL_HOSTS, registry_problem, split_registry

if TYPE_CHECKING:
    from deploytool.config import Config


def docker_command() -> Iterator[Check]:
    if shutil.which("docker") is None:
        yield Check(
            "docker command",
            State.BAD,
            "the docker command line is missing; images are built with it",
            "install docker-cli or Docker Desktop",
        )
        return
    found = output_of("docker", "buildx", "version")
    if found is None:
        yield Check(
            "buildx",
            State.WARNING,
            "docker has no buildx: builds use the legacy builder, which is slower",
            "install the package docker-buildx or docker-buildx-plugin",
        )
    else:
        yield Check("buildx", State.GOOD, found.split("\n", 1)[0])


def registry(config: Config) -> Check:
    problem = registry_problem(config.registry)
    if problem is None:
        return Check("registry", State.GOOD, f"{config.registry} answers")
    is_local = split_registry(config.registry)[0] in LOCAL_HOSTS
    hint = "deploytool cluster up starts one" if is_local else problem.hint
    return Check("registry", State.BAD, problem.message, hint)


def output_of(*command: str) -> str | None:
    """What a command printed; None where it failed or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
