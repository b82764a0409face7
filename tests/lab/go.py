"""The Go that programs of the tests are built with."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab.cache import cache_folder, locked
from tests.lab.packages import unpack_files, which
from tests.lab.shell import say, try_run

OLDEST = (1, 21)
"""The first that fetches a newer Go by itself where a module asks for one."""
SUITE, VERSION = "trixie", "1.24"


def go() -> Path:
    """The machine's own Go where it is new enough, else Debian's, unpacked beside the system."""
    own = which("go")
    if own and version_of(own) >= OLDEST:
        return own
    folder = cache_folder() / "go" / SUITE
    with locked("go"):
        if not folder.exists():
            say(f"fetching Go {VERSION} of Debian {SUITE}")
            packages = [f"golang-{VERSION}-{part}" for part in ("go", "src")]
            unpack_files(SUITE, packages, folder)
    return folder / "usr" / "lib" / f"go-{VERSION}" / "bin" / "go"


def version_of(program: Path) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)", try_run([program, "version"], timeout=20).stdout)
    return tuple(map(int, found.groups())) if found else (0,)
