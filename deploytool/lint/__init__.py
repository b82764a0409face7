"""The docs' advice on the Dockerfile and the configuration, and hadolint's beside it.

    Dockerfile ──▶ Subject ──checks──▶ findings ─┐
    configuration ──▲                            ├─ one of each kind, not suppressed, sorted
    Dockerfile ──hadolint──▶ findings ───────────┘

A comment `# deploytool: ignore=rule-name` on the line before suppresses a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.errors import DeploytoolError, UsageError
from deploytool.lint import config_checks, hadolint, image_checks, modules, private
from deploytool.lint.dockerfile import parse
from deploytool.lint.rules import RULES, RULES_BY_NAME, Finding, Rule, Severity
from deploytool.lint.subject import Subject
from deploytool.reading import LARGEST_TEXT, read_file, read_text

if TYPE_CHECKING:
    from deploytool.config import LoadedConfig

__all__ = ["RULES", "Finding", "Report", "Rule", "Severity", "inspect", "lint", "modules_left_out"]

_IGNORE = re.compile(r"#\s*deploytool:\s*ignore\s*=\s*([\w-]+(?:\s*,\s*[\w-]+)*)")


@dataclass(frozen=True)
class Report:
    """Findings, and what kept lint from looking further."""

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)


def lint(project: Path, config: LoadedConfig | None) -> tuple[Finding, ...]:
    """What is against the docs' advice or hadolint's, sorted by file and line.

    Raises UsageError when there is no Dockerfile.
    """
    return inspect(project, config).findings


def inspect(project: Path, config: LoadedConfig | None) -> Report:
    """Like `lint`, with the reasons why parts of it could not be checked."""
    subject = _subject(project, config)
    found: list[Finding] = []
    warnings = []
    if _is_built(config):
        found += image_checks.check(subject)
        found += modules.check(subject)
        found += private.check(subject)
        try:
            found = _merge(found, hadolint.run(project, subject.file, subject.shown))
        except hadolint.HadolintUnusable as error:
            warnings.append(f"hadolint's rules were left out: {error}")
    found += config_checks.check(subject)
    if config is None:
        warnings.append("There is no deploytool configuration, so its rules were left out")
    return Report(_reported(subject, found), tuple(warnings))


def modules_left_out(config: LoadedConfig) -> tuple[Finding, ...]:
    """What the app imports and the image would not get: the rule that a build asks too.

    Never raises: a doubt about the image is no reason not to build it.
    """
    try:
        if not _is_built(config):
            return ()
        subject = _subject(config.project, config)
        return _reported(subject, modules.check(subject))
    except (DeploytoolError, OSError, ValueError, RecursionError):
        return ()


def _reported(subject: Subject, found: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding of each kind, none that a comment suppresses, sorted."""
    texts = {subject.shown: subject.dockerfile.lines}
    if subject.loaded:
        texts[subject.loaded.file.name] = tuple(subject.config_text.split("\n"))
    everywhere = _ignored_everywhere(subject)
    return tuple(
        sorted(
            {
                finding
                for finding in found
                if not _is_ignored(finding, texts)
                and not (finding.file == subject.shown and finding.rule in everywhere)
            }
        )
    )


def _ignored_everywhere(subject: Subject) -> set[str]:
    """hadolint's rules that a comment before the first FROM names: as its own comment there does,
    that is meant for all of the Dockerfile."""
    stages = subject.dockerfile.stages
    head = subject.dockerfile.lines[: stages[0].line - 1] if stages else ()
    comments = (line for line in head if line.lstrip().startswith("#"))
    return {rule for line in comments for rule in _named(line) if rule not in RULES_BY_NAME}


def _subject(project: Path, config: LoadedConfig | None) -> Subject:
    name = config.config.build.dockerfile if config else "Dockerfile"
    file = project / name
    return Subject(
        context=project / (config.config.build.context if config else "."),
        file=file,
        shown=name,
        dockerfile=parse(_read(project, name) if _is_built(config) else b""),
        loaded=config,
        config_text=read_text(config.file) if config else "",
    )


def _is_built(config: LoadedConfig | None) -> bool:
    """Whether there is an image to build: not when every service runs a ready one."""
    return config is None or any(s.image is None for s in config.config.services.values())


def _read(project: Path, name: str) -> bytes:
    try:
        return read_file(project / name, limit=LARGEST_TEXT)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"There is no {name} in {project}",
            code="dockerfile_missing",
            hint="run `deploytool init`: it writes one for the project's packaging",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{name} cannot be read: {error.strerror or error}",
            code="dockerfile_unreadable",
            hint="check the file and `build.dockerfile`",
        ) from None


def _merge(own: Sequence[Finding], theirs: Iterable[Finding]) -> list[Finding]:
    """All findings, without those of hadolint that say what one of ours says."""
    said = {(finding.line, finding.rule) for finding in own}
    return [
        *own,
        *(
            finding
            for finding in theirs
            if not any((finding.line, rule) in said for rule in hadolint.said_as(finding.rule))
        ),
    ]


def _named(comment: str) -> list[str]:
    """The rules that a comment is to suppress."""
    match = _IGNORE.search(comment)
    return re.split(r"\s*,\s*", match[1]) if match else []


def _is_ignored(finding: Finding, texts: Mapping[str, Sequence[str]]) -> bool:
    """Whether the comments right above a finding's line name its rule."""
    lines = texts.get(finding.file, ())
    index = finding.line - 2
    while 0 <= index < len(lines) and lines[index].lstrip().startswith("#"):
        if finding.rule in _named(lines[index]):
            return True
        index -= 1
    return False
