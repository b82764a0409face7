"""The rendered files of an app: which there are, whether they are true, and writing them."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.backends import kind_of
from deploytool.render import RENDERED
from deploytool.spec import AppSpec

if TYPE_CHECKING:
    from deploytool.config import Config


@dataclass(frozen=True)
class RenderedFile:
    """A text and where it belongs, relative to the project."""

    path: Path
    text: str
    is_beside: bool = False
    """Whether another one only refers to it."""
    mark: bytes = b""
    """What all have in common that were rendered, where they have no first line that says so."""


def render_files(
    app: AppSpec, config: Config, contents: Mapping[str, bytes], *, as_json: bool = False
) -> list[RenderedFile]:
    """Everything that is rendered for an app on its cluster. `contents` are its configuration
    files: path in the project → content."""
    return kind_of(app.backend).render(app, config, contents, as_json=as_json)


def is_by_hand(project: Path, file: RenderedFile) -> bool:
    """Whether the file on disk was not rendered, though the one that it would become says so."""
    try:
        before = (project / file.path).read_bytes()
    except FileNotFoundError:
        return False
    if not before.strip():
        return False
    if file.mark:
        return file.mark not in before
    is_marked = RENDERED in file.text.partition("\n")[0].encode()
    return is_marked and RENDERED not in before.partition(b"\n")[0]


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
