"""The commit that an image is built from, and whether it has more than that.

The commit is for people: it belongs to the release. What the image is called depends on its
content alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.errors import UsageError
from deploytool.image.content import Content
from deploytool.image.safe_git import git, git_on_files
from deploytool.process import Finished, ProgramMissing

if TYPE_CHECKING:
    from deploytool.config import BuildSettings

_SUBMODULE = "160000"
_NO_COMMIT = ("not a git repository", "does not have any commits yet", "unknown revision")


@dataclass(frozen=True)
class Source:
    """The source of an image."""

    revision: str | None
    """The commit, where there is one."""
    dirty: bool
    """Whether something gets into the image that is in no commit."""
    tag: str
    """The image's tag: equal for equal content, different for different content."""

    @property
    def commit(self) -> str | None:
        """The commit as a release stores it."""
        return f"{self.revision}-dirty" if self.revision and self.dirty else self.revision


def read_source(project: Path, settings: BuildSettings, volumes: Iterable[str] = ()) -> Source:
    """The source of a project's image now; `volumes` are the folders that fresh
    volumes are mounted at.

    Raises UsageError when there is a repository that git refuses to read.
    """
    content = Content(project, settings, tuple(volumes))
    revision = _commit(project)
    changed = _changed(project, Path(settings.context)) if revision else ()
    return Source(revision, any(map(content.takes, changed)), content.tag)


def _commit(project: Path) -> str | None:
    """The commit that is checked out; None where there is none."""
    try:
        shown = git(project, "log", "-1", "--no-show-signature", "--format=%H")
    except ProgramMissing:
        return None
    if shown.ok:
        return shown.stdout.strip()
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


def _changed(project: Path, context: Path) -> list[Path]:
    """The files of the project and the build context that differ from the commit."""
    paths = (".", *_outside(project, context))
    changed = _status(project, *paths)
    for module in _submodules(project, *paths):
        if module not in changed and _status(module, "."):
            changed.append(module)
    return changed


def _status(folder: Path, *paths: str) -> list[Path]:
    """What differs from the commit. Of submodules only whether they are at another commit: git
    would look into them by their own settings."""
    flags = ("--porcelain", "-z", "--untracked-files=all", "--no-renames")
    shown = git_on_files(folder, "status", *flags, "--ignore-submodules=dirty", "--", *paths)
    top = _top(folder)
    if not shown.ok:
        raise _refused(folder, shown)
    return [top / entry[3:] for entry in shown.stdout.split("\0") if entry]


def _submodules(folder: Path, *paths: str) -> Iterator[Path]:
    """Those that are checked out, and theirs."""
    listed = git(folder, "ls-files", "--stage", "-z", "--full-name", "--", *paths)
    top = _top(folder)
    for entry in listed.stdout.split("\0"):
        module = top / entry.partition("\t")[2]
        if entry.startswith(_SUBMODULE) and (module / ".git").exists():
            yield module
            yield from _submodules(module, ".")


def _top(folder: Path) -> Path:
    shown = git(folder, "rev-parse", "--show-toplevel")
    if not shown.ok:
        raise _refused(folder, shown)
    return Path(shown.stdout.rstrip("\n")).resolve()


def _outside(project: Path, context: Path) -> list[str]:
    found = (project / context).resolve()
    return [] if found.is_relative_to(project.resolve()) else [str(found)]
