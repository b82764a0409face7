"""The rendered files of an app: which there are, whether they are true, and writing them."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploytool.backends import kind_of
from deploytool.spec import AppSpec


@dataclass(frozen=True)
class RenderedFile:
    """A text and where it belongs, relative to the project."""

    path: Path
    text: str
    is_beside: bool = False
    """Whether another one only refers to it."""


def render_files(app: AppSpec) -> list[RenderedFile]:
    """Everything that is rendered for an app on its cluster."""
    return kind_of(app.backend).render(app)


def diff(project: Path, file: RenderedFile) -> list[str]:
    """How the file on disk differs from what it should be; nothing when it does not."""
    path = project / file.path
    try:
        before = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        before = ""
    lines = difflib.unified_diff(
        before.splitlines(),
        file.text.splitlines(),
        f"{file.path} (on disk)",
        f"{file.path} (rendered)",
        lineterm="",
    )
    return list(lines)


def write(project: Path, file: RenderedFile) -> None:
    """Write a file so that it is whole or untouched, whatever happens."""
    path = project / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as temporary:
        temporary.write(file.text)
    Path(temporary.name).chmod(0o644)
    Path(temporary.name).replace(path)
