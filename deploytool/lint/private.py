"""The rule about keys, logins and local databases that get into the image with their folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from deploytool.discover.files.private import (
    OFTEN_PUBLIC,
    holds_private_key,
    is_named,
    private_in,
)
from deploytool.discover.source import Project
from deploytool.lint.rules import Finding
from deploytool.lint.subject import Subject

RULE = "private-file-copied"
SHOWN = 3


def check(subject: Subject) -> Iterator[Finding]:
    """What a build would take in, by the line that copies it."""
    if not subject.copies.all:
        return
    project = Project(subject.context)
    by_line: dict[int, list[PurePosixPath]] = {}
    for file in private_in(subject.context, ["."]):
        line = subject.copies.line(file)
        is_new = subject.copies.takes(file) and not _is_told(subject, file)
        if line and is_new and not _is_public(project, file):
            by_line.setdefault(line, []).append(file)
    for line, files in by_line.items():
        yield subject.in_dockerfile(RULE, line, f"{_in_words(files)} copied into the image")


def _is_told(subject: Subject, file: PurePosixPath) -> bool:
    """Whether the rule about files that COPY names speaks of it."""
    return str(file) == ".env" or any(copy.path == file for copy in subject.copies.all)


def _is_public(project: Project, file: PurePosixPath) -> bool:
    if not file.name.lower().endswith(OFTEN_PUBLIC) or holds_private_key(project, file):
        return False
    return file.suffix.lower() == ".pem" or is_named(project, file)


def _in_words(files: list[PurePosixPath]) -> str:
    names = ", ".join(str(file) for file in files[:SHOWN])
    more = len(files) - SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{names}{rest} {'is' if len(files) == 1 else 'are'}"
