"""Which folders a Dockerfile makes for the user of its image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from deploytool.image.quoting import is_plain
from deploytool.lint.dockerfile import Instruction, Stage
from deploytool.lint.image_checks import is_root

VOLUMES = "VOLUMES"
_MAKES = re.compile(r"\b(mkdir|install)\b")
_GIVES = re.compile(r"\b(chown|chmod)\b|\binstall\b[^;&|]*\s(-o|--owner)\b")


def gives_folder(stage: Stage, folder: str, context: Path) -> bool:
    """Whether a stage makes a folder, or copies it, as somebody who thought of its owner does."""
    user = "root"
    for item, workdir in stage.in_folders:
        if item.keyword == "USER":
            user = stage.expand(item.text)
        if item.keyword == "ARG" and VOLUMES in dict(item.pairs) and is_plain(folder):
            return True
        if any(_is_there(path, folder, workdir, context) for path in _given(item, stage, user)):
            return True
    return False


def _given(item: Instruction, stage: Stage, user: str) -> Iterator[str]:
    """The paths that an instruction may give to a user: what root makes is root's until it is given
    away, or opened for others."""
    if item.keyword in ("COPY", "ADD") and "chown" in item.flags:
        yield from map(stage.expand, item.words[-1:])
    script = " ".join((*item.words, *item.heredocs)) if item.keyword == "RUN" else ""
    if _GIVES.search(script) or (_MAKES.search(script) and not is_root(user)):
        yield from (word for word in re.split(r"[\s;&|()]+", stage.expand(script)) if word)


def _is_there(path: str, folder: str, workdir: str, context: Path) -> bool:
    """Whether a path is the folder, or one above it that comes with the folder in it."""
    path = posixpath.normpath(posixpath.join(workdir, path))
    folder = posixpath.normpath(folder)
    if path == folder:
        return True
    if path == "/" or not folder.startswith(f"{path}/"):
        return False
    inside = posixpath.relpath(folder, path)
    return (context / inside).is_dir()
