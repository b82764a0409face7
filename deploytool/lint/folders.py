"""Which folders a Dockerfile makes for the user of its image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploytool.image.quoting import is_plain
from deploytool.lint.dockerfile import Instruction, Stage, split_words
from deploytool.lint.image_checks import is_root

VOLUMES = "VOLUMES"
_ENDS = re.compile(r"[;&|()\n]+")
_OWNER = re.compile(r"(?:\s-[a-zA-Z]*o\s*|\s--owner[=\s])(\S+)")
_MADE_BY_INSTALL = re.compile(r"\s(-[a-zA-Z]*d|--directory)")
_RECURSIVE = re.compile(r"\s(-[a-zA-Z]*R|--recursive)")
_FOR_OTHERS = re.compile(r"\b[0-7]*([2367][0-7]|[0-7][2367])\b|\b[ago]*[+=][rxX]*w|g=u")
"""In the arguments of chmod: more than the owner may write."""


@dataclass(frozen=True)
class _Deed:
    """What an instruction, or a command of a RUN, does with a path."""

    path: str
    gives: bool
    """Whether somebody other than root may write there then."""
    makes: bool = True
    is_deep: bool = False
    """Whether it holds for what is below too."""


def gives_folder(stage: Stage, folder: str, context: Path) -> bool:
    """Whether a stage makes a folder, or copies it, and gives it to somebody but root."""
    folder = posixpath.normpath(folder)
    user, is_made = "root", False
    for item, workdir in stage.in_folders:
        if item.keyword == "ARG" and VOLUMES in dict(item.pairs) and is_plain(folder):
            return True
        if item.keyword == "USER":
            user = stage.expand(item.text)
        for deed in _deeds(item, stage, workdir, user):
            is_folder = deed.path == folder
            below = folder.startswith(f"{deed.path.rstrip('/')}/")
            brought = below and deed.is_deep and _is_brought(folder, deed.path, context)
            if deed.gives and (is_folder or brought or (below and deed.is_deep and is_made)):
                return True
            is_made |= deed.makes and (is_folder or brought)
    return False


def _is_brought(folder: str, above: str, context: Path) -> bool:
    """Whether a folder above one comes from the context with it."""
    return above != "/" and (context / posixpath.relpath(folder, above)).is_dir()


def _deeds(item: Instruction, stage: Stage, workdir: str, user: str) -> Iterator[_Deed]:
    if item.keyword == "WORKDIR":
        yield _Deed(workdir, gives=False)
    elif item.keyword in ("COPY", "ADD") and item.words:
        target = posixpath.join(workdir, stage.expand(item.words[-1]))
        owner = stage.expand(item.flags.get("chown", "root"))
        yield _Deed(posixpath.normpath(target), gives=not is_root(owner), is_deep=True)
    elif item.keyword == "RUN":
        text = " ".join(item.arguments) if item.arguments else item.text
        script = stage.expand("\n".join((text, *item.heredocs)))
        yield from _of_script(script, workdir, user)


def _of_script(script: str, workdir: str, user: str) -> Iterator[_Deed]:
    for text in _ENDS.split(script):
        words = [] if text.lstrip().startswith("#") else list(split_words(text))
        while words and (name := posixpath.basename(words.pop(0))) not in _COMMANDS:
            pass
        if not words:
            continue
        paths = [word for word in words if not word.startswith("-")]
        if any("$" in path for path in paths):  # a loop, most likely over what it names
            paths += split_words(_ENDS.sub(" ", script))
        if name == "cd":
            workdir = posixpath.join(workdir, *paths[:1])
            continue
        gives, makes = _reads(name, paths[0] if paths else "", " " + " ".join(words), user)
        is_deep = name in ("chown", "chmod") and bool(_RECURSIVE.search(" " + " ".join(words)))
        for path in paths:
            whole = posixpath.normpath(posixpath.join(workdir, path))
            yield _Deed(whole, gives=gives, makes=makes, is_deep=is_deep)


def _reads(name: str, first: str, options: str, user: str) -> tuple[bool, bool]:
    """Whether a command gives its paths to somebody but root, and whether it makes them."""
    if name == "chown":
        return not is_root(first), False
    if name == "chmod":
        return bool(_FOR_OTHERS.search(first)), False
    if name == "install":
        owner = _OWNER.search(options)
        makes = bool(_MADE_BY_INSTALL.search(options))
        return makes and not is_root(owner[1] if owner else user), makes
    return not is_root(user) or "777" in options.split(), True


_COMMANDS = frozenset({"cd", "chmod", "chown", "install", "mkdir"})
