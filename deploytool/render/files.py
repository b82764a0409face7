"""The rendered files of an app: which there are, whether they are true, and writing them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.backends import kind_of
from deploytool.errors import UsageError
from deploytool.reading import MIB, read_file
from deploytool.render import RENDERED
from deploytool.spec import AppSpec

if TYPE_CHECKING:
    from deploytool.config import Config


LARGEST = 16 * MIB
"""bytes of a rendered file: the JSON of a job has the content of files in it"""


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
    before = _on_disk(project, file.path)
    if not before.strip():
        return False
    if file.mark:
        return file.mark not in before
    is_marked = RENDERED in file.text.partition("\n")[0].encode()
    return is_marked and RENDERED not in before.partition(b"\n")[0]


def diff(project: Path, file: RenderedFile) -> list[str]:
    """How the file on disk differs from what it should be; nothing when it does not."""
    try:
        before = _on_disk(project, file.path).decode()
    except UnicodeDecodeError:
        before = ""
    lines = difflib.unified_diff(
        before.splitlines(),
        file.text.splitlines(),
        f"{file.path} (on disk)",
        f"{file.path} (rendered)",
        lineterm="",
    )
    return list(lines)


def _on_disk(project: Path, path: Path) -> bytes:
    """The file that is there; empty for none. Raises UsageError."""
    try:
        return read_file(project / path, limit=LARGEST, within=project)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            code="file_invalid",
            hint="move it out of the way and render again",
        ) from error
