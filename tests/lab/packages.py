"""Debian packages: installed where a system tool is missing, else unpacked beside the system."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab.cache import locked
from tests.lab.shell import SBIN, LabError, environment, run, say, try_run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "shellcheck": "shellcheck",
}


def which(program: str) -> Path | None:
    found = shutil.which(program, path=environment()["PATH"] + ":" + SBIN)
    return Path(found) if found else None


def install_tools() -> None:
    """System tools the lab works with; an engine is never among them."""
    wanted = [package for program, package in TOOLS.items() if which(program) is None]
    if not KEYRING.exists():
        wanted.append("debian-archive-keyring")
    if not wanted:
        return
    if which("apt-get") is None:
        raise LabError(f"needs {', '.join(wanted)}, and there is no apt-get to install them with")
    say(f"installing with apt: {' '.join(wanted)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends"]
    with locked("apt"):
        run(["apt-get", "-qq", "update"], env=quiet)
        run([*install, "-o", "DPkg::Lock::Timeout=300", *wanted], env=quiet)


def mirror() -> str:
    """The Debian archive this machine uses."""
    label = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]
    for line in try_run(label).stdout.splitlines():
        uri, _, origin = line.partition(" ")
        if origin == "Debian":
            return uri
    return "http://deb.debian.org/debian"


class Suite:
    """Another Debian release's packages, with lists of its own: the system's stay as they are."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        for sub in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        source = folder / "sources.list"
        source.write_text(f"deb [signed-by={KEYRING}] {mirror()} {name} main\n")
        self.options = [
            *("-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=/dev/null"),
            *("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"),
            *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
            *("-o", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"),
        ]
        run(["apt-get", *self.options, "-qq", "update"])

    def has(self, package: str) -> bool:
        shown = try_run(["apt-cache", *self.options, "show", package])
        return shown.returncode == 0 and bool(shown.stdout.strip())

    def unpack(self, packages: Iterable[str]) -> Path:
        debs = self.folder / "debs"
        run(["apt-get", *self.options, "-qq", "download", *packages], cwd=debs)
        tree = self.folder / "tree"
        for deb in debs.glob("*.deb"):
            run(["dpkg-deb", "-x", deb, tree])
        return tree


def unpack_programs(
    suite: str, packages: Sequence[str], optional: Sequence[str], dest: Path
) -> None:
    """The programs of some packages of a suite into the folder `dest`, complete or not at all."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as temporary:
        source = Suite(suite, Path(temporary))
        tree = source.unpack([*packages, *(name for name in optional if source.has(name))])
        programs = Path(temporary, "programs")
        programs.mkdir()
        for path in tree.rglob("*"):
            if is_program(path):
                shutil.copy2(path, programs / path.name)
        if dest.exists():
            shutil.rmtree(dest)
        programs.rename(dest)


def unpack_files(suite: str, packages: Sequence[str], dest: Path) -> None:
    """All files of some packages of a suite below `dest`, complete or not at all."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as temporary:
        Suite(suite, Path(temporary)).unpack(packages).rename(dest)


def is_program(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not path.stat().st_mode & 0o111:
        return False
    return path.parent.name in {"bin", "sbin", "docker", "cli-plugins"}
