"""What an image is built from: the commit, and whether the folder has more than it.

Every tree has a tag of its own: a commit's is the commit, a changed one's has a hash of the
changes, and a folder that git does not know has a hash of its content.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from deploytool.errors import UsageError
from deploytool.process import Finished, ProgramMissing, capture

_ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
_NO_COMMIT = ("not a git repository", "does not have any commits yet", "unknown revision")
_NOT_SOURCE = ("__pycache__", "node_modules", "venv")


@dataclass(frozen=True)
class Source:
    """The state of a project's folder that an image is built from."""

    revision: str | None
    """The commit, where there is one."""
    dirty: bool
    """Whether the folder has changes that are not in the commit."""
    created: datetime
    """When the commit was made; without git, when the newest file was changed."""
    url: str | None
    """Where the source code is, without credentials."""
    tag: str
    """The image's tag: equal for equal sources, different for different ones."""


def read_source(project: Path, context: Path | None = None) -> Source:
    """The state of a project, and of its build context where that lies outside of it.

    Raises UsageError when there is a repository that git refuses to read.
    """
    commit = _commit(project)
    if commit is None:
        return _without_git(project)
    revision, seconds = commit
    changes = _changes(project, context)
    return Source(
        revision=revision,
        dirty=changes is not None,
        created=datetime.fromtimestamp(seconds, UTC),
        url=_origin(project),
        tag=revision[:12] + (f"-dirty-{changes}" if changes else ""),
    )


def _git(project: Path, *arguments: str) -> Finished:
    command = ["git", "--literal-pathspecs", "-C", str(project), *arguments]
    return capture(command, env=_ENVIRONMENT, errors="surrogateescape")


def _commit(project: Path) -> tuple[str, int] | None:
    """The commit that is checked out and its time; None where there is none."""
    try:
        shown = _git(project, "log", "-1", "--no-show-signature", "--format=%H %ct")
    except ProgramMissing:
        return None
    if shown.ok:
        revision, seconds = shown.stdout.split()
        return revision, int(seconds)
    if any(reason in shown.stderr for reason in _NO_COMMIT):
        return None
    raise _refused(project, shown)


def _refused(project: Path, finished: Finished) -> UsageError:
    said = finished.stderr.strip().splitlines() or [f"exit code {finished.code}"]
    reason = said[0].removeprefix("fatal: ")
    if "dubious ownership" in reason:
        hint = f"if you trust it: git config --global --add safe.directory {project}"
    else:
        hint = f"`git -C {project} status` should say more"
    return UsageError(f"git cannot read the project: {reason}", code="git_refused", hint=hint)


def _changes(project: Path, context: Path | None) -> str | None:
    """A hash of what differs from the commit; None for a clean tree."""
    top = _git(project, "rev-parse", "--show-toplevel")
    flags = ("--porcelain", "-z", "--untracked-files=all", "--no-renames")
    everything = (*flags, "--ignore-submodules=none", "--", ".", *_outside(project, context))
    status = _git(project, "status", *everything)
    for finished in (top, status):
        if not finished.ok:
            raise _refused(project, finished)
    changed = [entry[3:] for entry in status.stdout.split("\0") if entry]
    if not changed:
        return None
    return _hash(Path(top.stdout.rstrip("\n")), changed)[:8]


def _outside(project: Path, context: Path | None) -> list[str]:
    if context is None or (project / context).resolve().is_relative_to(project.resolve()):
        return []
    return [str((project / context).resolve())]


def _origin(project: Path) -> str | None:
    found = _git(project, "config", "--get", "remote.origin.url")
    return web_url(found.stdout.strip()) if found.ok else None


def web_url(remote: str) -> str | None:
    """A remote's address for people, never with credentials; None when it is a local folder."""
    if "://" not in remote:
        host, colon, path = remote.partition(":")
        if not colon or "/" in host or len(host) < 2:
            return None
        remote = f"https://{host.rpartition('@')[2]}/{path.lstrip('/')}"
    try:
        parts = urlsplit(remote)
    except ValueError:
        return None
    if parts.scheme == "file" or not parts.hostname:
        return None
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.removesuffix('/').removesuffix('.git')}"


def _without_git(project: Path) -> Source:
    files = sorted(_files(project))
    newest = max((file.lstat().st_mtime for file in files), default=0)
    names = [str(file.relative_to(project)) for file in files]
    return Source(
        revision=None,
        dirty=False,
        created=datetime.fromtimestamp(int(newest), UTC),
        url=None,
        tag=f"tree-{_hash(project, names)[:12]}",
    )


def _files(folder: Path) -> Iterator[Path]:
    """The files of a project that may be source: no hidden folders, no byte code, no packages."""
    for path, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in _NOT_SOURCE]
        yield from (Path(path, name) for name in names)


def _hash(root: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(os.fsencode(name) + b"\0")
        digest.update(_content(root / name))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    """A hash of what is at a path, executable or not; a folder is a repository in the other."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return b"link" + hashlib.sha256(os.fsencode(path.readlink())).digest()
        if stat.S_ISDIR(mode):
            inner = (str(file.relative_to(path)) for file in _files(path))
            return b"folder" + bytes.fromhex(_hash(path, inner))
        if not stat.S_ISREG(mode):
            return b"special"
        with path.open("rb") as file:
            kind = b"program" if mode & stat.S_IXUSR else b"file"
            return kind + hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return b"deleted"
    except OSError:
        return b"unreadable"
