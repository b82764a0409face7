"""Requirements, inline script metadata, and a single file without a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from deploytool.discover.dependencies import requirements
from deploytool.discover.dependencies.packaging.folder import Folder
from deploytool.discover.dependencies.packaging.found import SCRIPT_BLOCK, FoundPackaging, Packaging
from deploytool.discover.dependencies.packaging.uv import refuse_computed
from deploytool.discover.dependencies.requested import name_of
from deploytool.discover.source import (
    HERE,
    is_utf16,
)
from deploytool.errors import UsageError


def from_requirements(where: Folder) -> FoundPackaging:
    start = where.requirements or HERE
    where.project.needed_text(start)
    _refuse_several(where.dynamic_files())
    files = list(dict.fromkeys(requirements.included(where.project, start)))
    lines = [line for file in files for line in requirements.lines(where.project, file)]
    requirements.refuse_local(lines, str(start))
    named = [line for line in lines if name_of(line)]
    why = f"{start} is there"
    if where.lists_dependencies():
        why += " and pins exact versions, as pyproject.toml does not"
    install = (where.path("."),) if where.is_installed(where.folder) else ()
    return FoundPackaging(
        Packaging.REQUIREMENTS,
        why,
        files=tuple(map(str, files)),
        utf16=is_utf16(where.project.data(start)),
        locked=all("==" in line or " @ " in line for line in named),
        name=where.name(),
        install=install,
        build_files=where.build_files() if install else (),
    )


def _refuse_several(files: Sequence[PurePosixPath]) -> None:
    """The image installs one file, which may name others."""
    if len(files) > 1:
        raise UsageError(
            f"pyproject.toml takes dependencies from several files: {', '.join(map(str, files))}",
            code="requirements_invalid",
            hint=f"name one, and begin it with {' and '.join(f'-r {f.name}' for f in files[1:])}; "
            "or run `uv lock`, and this again",
        )


def script_block(where: Folder) -> dict[str, Any] | None:
    """PEP 723: the metadata in the comments of a script."""
    text = where.project.text(where.app_file) if where.app_file else None
    block = SCRIPT_BLOCK.search((text or "").replace("\r\n", "\n"))
    if block is None:
        return None
    import tomli

    content = "\n".join(line[2:] for line in block["content"].splitlines())
    try:
        return tomli.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"The script metadata of {where.app_file} cannot be read: {error}",
            code="file_invalid",
            hint="correct the block between `# /// script` and `# ///`",
        ) from error


def script(where: Folder) -> FoundPackaging:
    lock = f"{where.app_file}.lock"
    locked = where.project.is_file(PurePosixPath(lock))
    return FoundPackaging(
        Packaging.SCRIPT,
        f"{where.app_file} lists its dependencies itself (# /// script)",
        files=(str(where.app_file), *([lock] if locked else [])),
        locked=locked,
        name=where.name(),
    )


def single_file(where: Folder) -> FoundPackaging:
    for name, command in (
        ("environment.yml", "pip list --format=freeze > requirements.txt"),
        ("setup.py", "uv init --bare && uv add 'fastapi[standard]'"),
    ):
        if where.has(name):
            raise UsageError(
                f"The dependencies are in {name}, from which no image is built here",
                code="packaging_unknown",
                hint=f"write them down with `{command}`, and run this again",
            )
    refuse_computed(where)
    return FoundPackaging(
        Packaging.SINGLE_FILE,
        "no pyproject.toml or requirements.txt lists dependencies",
        files=(),
        name=where.name(),
    )
