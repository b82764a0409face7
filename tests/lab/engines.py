"""Docker engines of several Debian releases, each with a registry, unpacked beside the system."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cache_folder, locked
from tests.lab.packages import install_tools, unpack_programs, which
from tests.lab.shell import LabError, say, try_run

CHOICES = ("current", "trixie", "oldest")
# What each choice means, best first: a suite whose programs do not run here is passed over.
SUITES = {"current": ("sid", "trixie"), "trixie": ("trixie",), "oldest": ("bookworm",)}
ANSWERING = ("dockerd", "docker", "containerd", "docker-registry")
"""Programs that have to tell their version."""
PROGRAMS = (*ANSWERING, "docker-proxy", "containerd-shim-runc-v2")
STATIC_TINI = "bookworm"
PACKAGES = ("docker.io", "containerd", "docker-registry")


def chosen() -> str:
    """The engine asked for by DEPLOYTOOL_LAB_ENGINE."""
    choice = os.environ.get("DEPLOYTOOL_LAB_ENGINE") or "current"
    if choice not in CHOICES:
        raise LabError(
            f"no engine '{choice}': DEPLOYTOOL_LAB_ENGINE is one of {', '.join(CHOICES)}"
        )
    return choice


@dataclass(frozen=True)
class Engine:
    suite: str
    bin: Path

    @property
    def version(self) -> str:
        return version_of(self.bin / "dockerd") or "unknown"

    @property
    def buildx(self) -> Path | None:
        plugin = self.bin / "docker-buildx"
        return plugin if plugin.exists() else None


def version_of(program: Path) -> str | None:
    """The version a program reports; None when it does not run on this machine."""
    done = try_run([program, "--version"], timeout=20)
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout)
    return found.group() if done.returncode == 0 and found else None


def engine(choice: str) -> Engine:
    for suite in SUITES[choice]:
        with locked("engines"):
            candidate = unpacked(suite)
        if runs(candidate):
            return candidate
        say(f"the engine of Debian {suite} does not run here")
    raise LabError(f"no engine for '{choice}' runs on this machine")


def command_line(oldest: int) -> Path:
    """A docker command line of at least that major version: the system's, else the current
    engine's."""
    system = which("docker")
    version = version_of(system) if system else None
    if system and version and int(version.partition(".")[0]) >= oldest:
        return system
    install_tools()
    return engine("current").bin / "docker"


def unpacked(suite: str) -> Engine:
    folder = cache_folder() / "engines" / suite
    if not (folder / "docker-registry").exists():
        say(f"fetching the Docker engine of Debian {suite}")
        unpack_programs(suite, PACKAGES, ("docker-cli", "docker-buildx"), folder)
    complete(folder)
    return Engine(suite, folder)


def complete(folder: Path) -> None:
    """docker-init is Debian's tini, of a release that has it linked statically for any image;
    runc is the system's, as newer ones need a newer libc."""
    init, runc = folder / "docker-init", folder / "runc"
    tini = cache_folder() / "init" / "tini-static"
    if not tini.exists():
        unpack_programs(STATIC_TINI, ("tini",), (), tini.parent)
    if not init.exists():
        init.symlink_to(tini)
    system = which("runc")
    if system and not runc.exists():
        runc.unlink(missing_ok=True)
        runc.symlink_to(system)


def runs(candidate: Engine) -> bool:
    present = all((candidate.bin / name).exists() for name in PROGRAMS)
    return present and all(version_of(candidate.bin / name) for name in ANSWERING)
