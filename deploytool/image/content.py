"""The content of an image, and a tag for it.

The same content has the same tag, whoever builds it, from whichever commit:

    what the Dockerfile copies and .dockerignore lets in ─┐
    Dockerfile, build arguments, target ──────────────────┼─▶ tree-0123456789ab
    platforms ────────────────────────────────────────────┘

deploytool's own settings and the stacks that it renders are no part of it, wherever they are: an
image that has a copy of them runs the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import tomli

from deploytool.image.quoting import is_plain
from deploytool.image.safe_git import git
from deploytool.process import ProgramMissing
from deploytool.reading import LARGEST_TEXT, read_file
from deploytool.render import RENDERED

if TYPE_CHECKING:
    from deploytool.config import BuildSettings
    from deploytool.lint.copies import Copies
    from deploytool.lint.dockerfile import Dockerfile
    from deploytool.lint.dockerignore import Dockerignore

VOLUMES = "VOLUMES"
"""The build argument with the folders that the Dockerfile makes for volumes."""
FORMAT = b"1"
"""Changes when equal tags of two versions of deploytool would mean different content."""
SEEN_BY_OTHERS = 0o555
"""The permissions that count: whether a file may be read and run. A umask of 022 or 002 gives the
same tag."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BYTE_CODE = "__pycache__"
GIT = ".git"


@dataclass(frozen=True)
class Content:
    """Everything that an image is built from."""

    project: Path
    settings: BuildSettings
    volumes: tuple[str, ...] = ()
    """The folders that fresh volumes are mounted at."""

    @cached_property
    def _root(self) -> Path:
        return self.project.resolve()

    @cached_property
    def _context(self) -> Path:
        return (self.project / self.settings.context).resolve()

    @cached_property
    def _dockerfile(self) -> Path:
        return self.project / self.settings.dockerfile

    @cached_property
    def tag(self) -> str:
        """Equal for equal content, different for different content."""
        digest = hashlib.sha256(FORMAT)
        for part in self._parts():
            digest.update(len(part).to_bytes(8, "big") + part)
        return f"tree-{digest.hexdigest()[:12]}"

    def takes(self, path: Path) -> bool:
        """Whether a path may get into the image, or says how to build."""
        if path == self._dockerfile.resolve():
            return True
        if path == self._settings_file or not path.is_relative_to(self._context):
            return False
        inside = PurePosixPath(path.relative_to(self._context))
        if BYTE_CODE in inside.parts or self._ignored.hides(inside):
            return False
        return self._copies is None or self._copies.takes(inside)

    @cached_property
    def passed_volumes(self) -> str | None:
        """The value of the build argument for volumes; None where the Dockerfile does not declare
        it, as builders warn of such arguments or refuse them. A shell splits it into words."""
        if not self.volumes or VOLUMES in self.settings.args:
            return None
        stages = self._parsed.stages
        declared = (i for stage in stages for i in stage.instructions if i.keyword == "ARG")
        if any(name == VOLUMES for item in declared for name, _ in item.pairs):
            return " ".join(filter(is_plain, self.volumes))
        return None

    @property
    def _settings_file(self) -> Path:
        return self._root / "deploytool.toml"

    @cached_property
    def _text(self) -> bytes:
        try:
            return read_file(self._dockerfile, limit=LARGEST_TEXT)
        except OSError:
            return b""

    @cached_property
    def _parsed(self) -> Dockerfile:
        from deploytool.lint.dockerfile import parse

        return parse(self._text)

    @cached_property
    def _built(self) -> Dockerfile:
        """With the stages alone that the target needs; with all where that is not sure."""
        parsed, target = self._parsed, self.settings.target or ""
        stage = parsed.stage(target)
        if stage is None or target.isdecimal() or _CHOSEN.search("\n".join(parsed.lines)):
            return parsed
        return replace(parsed, stages=parsed.built_for(stage))

    @cached_property
    def _ignored(self) -> Dockerignore:
        from deploytool.lint import dockerignore

        return dockerignore.read(dockerignore.find(self._dockerfile, self._context))

    @cached_property
    def _named(self) -> Copies | None:
        """What the Dockerfile says that it takes from the context; None where it may take more."""
        from deploytool.lint.copies import Copies

        copies = Copies(self._built, self._ignored)
        is_unsure = any(
            item.mounts_context or _UNSURE.search("".join(item.sources))
            for item in self._built.instructions
        )
        return copies if copies.is_known and not is_unsure else None

    @cached_property
    def _copies(self) -> Copies | None:
        """What gets into the image; None where that is not known. Where the Dockerfile copies
        nothing, the base image may do it (ONBUILD). A link that is named stands for what it leads
        to."""
        copies = self._named
        if copies is None or not copies.all:
            return None
        links = (self._inside(path) for path in self._let_in if path.is_symlink())
        return None if any(c.leads_through(link) for link in links for c in copies.all) else copies

    @cached_property
    def _let_in(self) -> tuple[Path, ...]:
        return tuple(_walk(self._context, self._ignored))

    def _inside(self, path: Path) -> PurePosixPath:
        return PurePosixPath(path.relative_to(self._context))

    def _parts(self) -> Iterator[bytes]:
        settings = self.settings
        yield self._text
        arguments = dict(settings.args)
        if self.passed_volumes is not None:
            arguments[VOLUMES] = self.passed_volumes
        yield repr(sorted(arguments.items())).encode()
        yield (settings.target or "").encode()
        yield ",".join(settings.platforms or (self._own_platform,)).encode()
        yield self._commit() if self._takes_git else b""
        for path in self._let_in:
            is_copied = self._copies is None or self._copies.takes(self._inside(path))
            if is_copied and path != self._settings_file:
                yield os.fsencode(path.relative_to(self._context))
                yield self._at(path)

    @property
    def _own_platform(self) -> str:
        """The builder's default platform: that of the machine, most likely."""
        machine = platform.machine()
        default = f"linux/{ARCHITECTURES.get(machine, machine)}"
        return os.environ.get("DOCKER_DEFAULT_PLATFORM") or default

    @property
    def _takes_git(self) -> bool:
        """Whether the build may read the repository, as for a version that is made from tags."""
        head = PurePosixPath(GIT, "HEAD")
        if not (self._context / GIT).exists() or self._ignored.hides(head):
            return False
        return self._named is None or self._named.takes(head)

    def _commit(self) -> bytes:
        """The repository's files differ from clone to clone; what it says of the code does not."""
        described = ("describe", "--always", "--tags", "--long", "--abbrev=40")
        try:
            return git(self._context, *described).stdout.encode("utf-8", "surrogateescape")
        except ProgramMissing:
            return b""

    def _at(self, path: Path) -> bytes:
        """A short description of a path's content."""
        try:
            mode = path.lstat().st_mode
            kind = f"{mode & SEEN_BY_OTHERS:o} ".encode()
            if stat.S_ISLNK(mode):
                return b"link" + os.fsencode(path.readlink())
            if stat.S_ISDIR(mode):
                return kind + b"folder"
            if not stat.S_ISREG(mode):
                return b"special"
            if path == self._root / "pyproject.toml":
                text = without_settings(path.read_bytes())
                return kind + hashlib.sha256(text).digest()
            with path.open("rb") as file:
                stacks = self._root / "stacks"
                is_script = path.parent == stacks / "deploytool"
                if is_script or (path.parent == stacks and RENDERED in file.readline()):
                    return b"rendered"
                file.seek(0)
                return kind + hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            return type(error).__name__.encode()


def without_settings(text: bytes) -> bytes:
    """A pyproject.toml without deploytool's tables; unchanged where they cannot be separated."""
    kept, ours = [], False
    for line in text.splitlines(keepends=True):
        if _TABLE.match(line):
            ours = _OUR_TABLE.match(line) is not None
        if not ours:
            kept.append(line)
    reduced = b"".join(kept)
    try:
        expected = tomli.loads(text.decode())
        _forget(expected)
        return reduced if tomli.loads(reduced.decode()) == expected else text
    except ValueError:
        return text


_TABLE = re.compile(rb"""^\s*\[{1,2}[\w.\-"' \t]+\]{1,2}\s*(#.*)?$""")
_OUR_TABLE = re.compile(rb"^\s*\[{1,2}\s*tool\s*\.\s*deploytool\s*[.\]]")


def _forget(document: dict[str, Any]) -> None:
    tools = document.get("tool")
    if isinstance(tools, dict):
        tools.pop("deploytool", None)
        if not tools:
            del document["tool"]


def _walk(context: Path, ignored: Dockerignore) -> Iterator[Path]:
    """The files that .dockerignore lets in, folders too; without byte code, which is made
    from the code, and without the repository."""
    for folder, folders, names in os.walk(context):
        inside = PurePosixPath(Path(folder).relative_to(context))
        folders[:] = sorted(f for f in folders if f not in (BYTE_CODE, GIT))
        for name in sorted([*folders, *names]):
            if name != GIT and not ignored.hides(inside / name):
                yield Path(folder, name)
        folders[:] = [f for f in folders if not _hides_all(ignored, inside / f)]


def _hides_all(ignored: Dockerignore, folder: PurePosixPath) -> bool:
    """Whether nothing of a folder gets in, whatever is in it."""
    if not ignored.hides(folder):
        return False
    below = f"{folder}/"
    for pattern in ignored.patterns:
        start = _WILD.split(pattern.text)[0]
        is_wild = start != pattern.text
        if pattern.lets_in and (start.startswith(below) or (is_wild and below.startswith(start))):
            return False
    return True


_UNSURE = re.compile(r"[$\\]")
"""In a path: a variable, whose value a build argument may change, or an escape."""
_CHOSEN = re.compile(r"(?im)^\s*FROM\b(.*[\\`]\s*\n)*.*\$|\bfrom=\S*\$|^\s*ONBUILD\b")
"""What may name a stage that only the build knows."""
_WILD = re.compile(r"[*?\[\\]")
