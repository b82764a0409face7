"""Sets a project up: finds its app and packaging, writes configuration, Dockerfile and stack.

inspect_project ─▶ Findings ─▶ plan_files ──▶ FileWrite… ─▶ write
(reads only)                   (what would be)             (each file whole or untouched)
configuration, as it is now ─▶ plan_rendered ▶ FileWrite… ─▶ write
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.image.dockerfile import render_dockerfile, render_dockerignore
from deploytool.init.configuration import CONFIGURATION, plan_configuration
from deploytool.init.files import Fate, FileWrite, marked, plan_file, write
from deploytool.init.findings import DEFAULT_REGISTRY, Findings, inspect_project, valid_name
from deploytool.reading import LARGEST_TEXT, read_file

if TYPE_CHECKING:
    from deploytool.render.files import RenderedFile

__all__ = [
    "CONFIGURATION",
    "DEFAULT_REGISTRY",
    "Fate",
    "FileWrite",
    "Findings",
    "inspect_project",
    "plan_files",
    "plan_rendered",
    "valid_name",
    "write",
]


def plan_files(findings: Findings, *, force: bool = False) -> tuple[FileWrite, ...]:
    """What `write` would do, file by file. Existing files are kept unless `force`, or
    unless they are as they were written.

    The configuration is kept always: unlike the other files it is not made from the source. A
    Dockerfile that is somebody else's gets no .dockerignore, which could hide what it copies.
    """
    project = findings.project
    configuration = plan_configuration(project, findings.settings)
    if findings.kept:
        data = read_file(project / "Dockerfile", limit=LARGEST_TEXT)
        current = data.decode("utf-8", "replace")
        return configuration, FileWrite("Dockerfile", current, Fate.KEPT)
    dockerfile = render_dockerfile(
        findings.app,
        findings.packaging,
        findings.sources,
        port=findings.settings.web.port,
        storage=findings.storage,
    )
    ignore = render_dockerignore(
        findings.packaging,
        findings.sources,
        findings.tests,
        storage=findings.storage,
        meant=findings.meant,
    )
    return (
        configuration,
        plan_file(project, "Dockerfile", marked(dockerfile), force=force),
        plan_file(project, ".dockerignore", marked(ignore), force=force),
    )


def plan_rendered(project: Path, *, force: bool = False) -> tuple[FileWrite, ...]:
    """The stack or job files of the configuration that is in the project now.

    Raises ConfigError when that is not valid.
    """
    from deploytool.config import load
    from deploytool.render.files import render_files

    loaded = load(project)
    files = render_files(loaded.app_spec(), loaded.config, loaded.files)
    return tuple(_plan_rendered(project, file, force=force) for file in files)


def _plan_rendered(project: Path, file: RenderedFile, *, force: bool) -> FileWrite:
    from deploytool.render.files import is_by_hand

    planned = plan_file(project, str(file.path), file.text, force=force)
    if planned.fate is not Fate.KEPT or not (project / file.path).is_file():
        return planned
    return replace(planned, is_stale=not is_by_hand(project, file))
