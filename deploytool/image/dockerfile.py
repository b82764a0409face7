"""Writes the Dockerfile and the .dockerignore of a project, from what was found in it.

The image follows FastAPI's docs: dependencies first, code last, exec-form CMD, one process. It
builds with BuildKit and with the legacy builder alike, and the final stage has no build tools.
Dependencies and code are layers of their own, with byte code that nothing checks or writes again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from importlib.resources import files
from itertools import groupby
from pathlib import PurePosixPath
from string import Template

from deploytool.discover import FoundApp, FoundPackaging, Packaging
from deploytool.discover.dependencies.packaging import PLAIN_FASTAPI
from deploytool.discover.files.private import PATTERNS, looks_private
from deploytool.discover.files.storage import SYSTEM_FOLDERS, Storage
from deploytool.image.quoting import copy_line, in_shell, in_value, path_in_shell
from deploytool.spec import uvicorn_app

UV_VERSION = "0.13"
PDM_VERSIONS = r"""
sed -n '/^name = /{N;s/name = "\(.*\)"\nversion = "\(.*\)"/\1==\2/p}' \
    pdm.lock > constraints.txt
""".strip()
"""The pins of pdm.lock, which PDM itself exports from its newest format only."""
POETRY = "/root/.local/bin/poetry"
POETRY_1 = '"poetry>=1.8,<2" --with "poetry-plugin-export<1.9"'
POETRY_2 = '"poetry>=2,<3" --with "poetry-plugin-export>=1.9"'
"""Newer exports leave the extras out that a lock of Poetry 1 has."""
PIPENV = "/root/.local/bin/pipenv"
PIPENV_LOCK = f"{PIPENV} lock && \\\n    "
PIPENV_VERSIONS = (
    f"{PIPENV} requirements --hash > locked.txt && \\\n"
    r"    sed '/^-i https:\/\/pypi.org\/simple\/*$/d' locked.txt > requirements.txt"
    "\n"
)
"""Without the name of the default index: that of the machine counts, as everywhere."""
NARROW = 100
OUR_DOCKERIGNORE = (
    "# Only what the Dockerfile copies gets into a build: nothing else can leak or slow it."
)
NOTHING_WRITTEN = Storage()


def render_dockerfile(
    app: FoundApp,
    packaging: FoundPackaging,
    sources: Iterable[str],
    *,
    port: int = 8000,
    storage: Storage = NOTHING_WRITTEN,
) -> str:
    """The Dockerfile for an app, its packaging, the files and folders it needs, and what it
    writes."""
    copied = not_installed(packaging, sources)
    installs = bool(packaging.install) or packaging.metadata
    values = {
        "python": packaging.python,
        "uv": UV_VERSION,
        "port": str(port),
        "copy_dependency_files": _copy_dependency_files(packaging),
        "lock_command": _lock_command(packaging),
        "poetry": POETRY_1 if packaging.old_lock else POETRY_2,
        "install_requirements": _install_requirements(packaging),
        "build_packages": _install_debian(packaging.build_packages),
        "run_packages": _install_debian(packaging.run_packages),
        "script": path_in_shell(app.file),
        "code_base": "uv" if installs else "base",
        "copy_code": "\n".join(_code(packaging, copied)),
        "environment": _environment(app, packaging, copied),
        "owned": "".join(f" \\\n    {in_shell(folder)}" for folder in _owned(storage)),
        "links": "".join(
            f" && \\\n    ln -s {in_shell(target)} {in_shell(path)}"
            for path, target in storage.links
        ),
        "seeds": "".join(
            f"{copy_line([path], target, ' --chown=10001:10001')}\n"
            for path, target in storage.seeds
        ),
        "enter": "" if app.workdir == "." else f"WORKDIR {in_value(f'/code/{app.workdir}')}\n",
        "command": json.dumps(server_command(app.entrypoint, port)),
    }
    return "".join(_part(name, values) for name in (*_parts(packaging), "code", "final"))


def server_command(entrypoint: str, port: int) -> list[str]:
    """One Uvicorn process: it reads the trusted proxies from FORWARDED_ALLOW_IPS."""
    options = ["--host", "0.0.0.0", "--port", str(port), "--proxy-headers"]
    return [*uvicorn_app(entrypoint), *options]


def _owned(storage: Storage) -> list[str]:
    """The folders that have to be the process's, and exist before links are made in them."""
    parents = (str(PurePosixPath(path).parent) for path, _ in storage.links)
    return sorted({*storage.folders, *parents} - {"/code", *SYSTEM_FOLDERS})


def render_dockerignore(
    packaging: FoundPackaging,
    sources: Iterable[str],
    tests: Iterable[str] = (),
    *,
    storage: Storage = NOTHING_WRITTEN,
    meant: Iterable[str] = (),
) -> str:
    """The .dockerignore that lets only what the Dockerfile copies into a build, and of that no keys
    and local databases but those that are `meant` for it."""
    wanted = {*packaging.files, *packaging.build_files, *map(str, _installed(packaging))}
    wanted |= {path for path, _ in storage.seeds}
    wanted |= {source.rstrip("/") for source in not_installed(packaging, sources)}
    meant = {*meant, *(path for path in wanted if looks_private(PurePosixPath(path)))}
    lines = [
        OUR_DOCKERIGNORE,
        "*",
        *(f"!{_pattern(path)}" for path in sorted(wanted)),
        "",
        "**/__pycache__",
        "**/*.py[co]",
        "**/.git",
        "**/.venv",
        *PATTERNS,
        *(f"!{_pattern(path)}" for path in sorted(meant)),
        *(_pattern(folder) for folder in sorted(tests)),
    ]
    return "\n".join(lines) + "\n"


def not_installed(packaging: FoundPackaging, sources: Iterable[str]) -> list[str]:
    """The sources that are copied as they are, not part of a package that is installed."""
    installed = _installed(packaging)
    return [
        source
        for source in sources
        if not any(PurePosixPath(source).is_relative_to(folder) for folder in installed)
    ]


def _installed(packaging: FoundPackaging) -> list[PurePosixPath]:
    """The folders whose code is installed: of the project itself what is below src."""
    root = packaging.folder
    return [PurePosixPath(f, "src") if f == root else PurePosixPath(f) for f in packaging.install]


def _parts(packaging: FoundPackaging) -> tuple[str, ...]:
    match packaging.kind, packaging.locked:
        case (Packaging.UV | Packaging.PDM, _) | (Packaging.SCRIPT, True):
            return "base", "uv", "uv-lock"
    return "base", "uv", packaging.kind.value


def _part(name: str, values: dict[str, str]) -> str:
    text = files("deploytool.image").joinpath("templates", f"{name}.Dockerfile").read_text("utf-8")
    return Template(text).substitute(values)


def _lock_command(packaging: FoundPackaging) -> str:
    extras = [f"--extra {in_shell(name)}" for name in packaging.extras]
    groups = [f"--group {in_shell(name)}" for name in packaging.groups]
    output = ["--format pylock.toml", "--output-file pylock.toml"]
    match packaging.kind, packaging.locked:
        case Packaging.UV, True:
            check = "--frozen" if packaging.computed else "--locked"
            return _wrapped(
                [f"uv export --quiet {check} --no-dev", *_left_out(packaging), *extras, *groups],
                output,
            )
        case Packaging.UV, False:
            return _wrapped(["uv pip compile --quiet pyproject.toml", *extras, *groups], output)
        case Packaging.SCRIPT, True:
            script = path_in_shell(packaging.files[0])
            return _wrapped([f"uv export --quiet --locked --script {script}"], output)
        case Packaging.PDM, _:
            compiled = _wrapped(
                [
                    "uv pip compile --quiet pyproject.toml --constraint constraints.txt",
                    *extras,
                    *groups,
                ],
                output,
            )
            return f"{PDM_VERSIONS} && \\\n    {compiled}"
        case Packaging.PIPENV, _:
            return PIPENV_VERSIONS if packaging.locked else f"{PIPENV_LOCK}{PIPENV_VERSIONS}"
        case Packaging.POETRY, _:
            return _poetry_export(packaging)
    return ""


def _left_out(packaging: FoundPackaging) -> list[str]:
    """The project's own packages, which are no dependencies to download."""
    if not packaging.package and not packaging.install:
        return ["--no-emit-project"]
    member = [f"--package {in_shell(packaging.package)}"] if packaging.package else []
    return [*member, "--no-emit-workspace", "--no-emit-local"]


def _poetry_export(packaging: FoundPackaging) -> str:
    only = in_shell(",".join(("main", *packaging.groups)))
    extras = "".join(f" --extras {in_shell(name)}" for name in packaging.extras)
    lock = "" if packaging.locked and not packaging.stale else f"{POETRY} lock && \\\n    "
    return f"{lock}{POETRY} export --only {only}{extras} --output requirements.txt"


def _install_requirements(packaging: FoundPackaging) -> str:
    match packaging.kind:
        case Packaging.REQUIREMENTS if packaging.utf16:
            file = path_in_shell(packaging.files[0])
            convert = f"iconv --from-code UTF-16 --to-code UTF-8 {file} > utf8.txt"
            return f"{convert} && \\\n    uv pip install --requirements utf8.txt"
        case Packaging.REQUIREMENTS:
            return f"uv pip install --requirements {path_in_shell(packaging.files[0])}"
        case Packaging.SINGLE_FILE:
            return f'uv pip install "{PLAIN_FASTAPI}"'
    return ""


def _install_debian(packages: Collection[str]) -> str:
    """Debian's newest versions: those of a fixed one are gone with its next security fix."""
    if not packages:
        return ""
    return (
        "# hadolint ignore=DL3008\n"
        "RUN apt-get update && \\\n"
        f"    apt-get install --yes --no-install-recommends {' '.join(packages)} && \\\n"
        "    rm -rf /var/lib/apt/lists/*\n"
    )


def _code(packaging: FoundPackaging, copied: list[str]) -> list[str]:
    """The lines that bring the project's own code."""
    own = [*_install_packages(packaging), *_copies(copied)]
    return [*own, *_install_metadata(packaging)] if packaging.metadata else own


def _install_packages(packaging: FoundPackaging) -> list[str]:
    """The project's own packages, built elsewhere and installed in a folder of their own."""
    root = packaging.folder
    folders = [folder for folder in packaging.install if folder != root]
    lines = [copy_line([folder], f"/build/{folder}") for folder in folders]
    targets = [f"/build/{folder}" for folder in folders]
    if root in packaging.install:
        source = str(PurePosixPath(root, "src"))
        lines += [*_copy_build_files(packaging), copy_line([source], "/build/src")]
        targets.append("/build")
    if not targets:
        return []
    # The entries of [tool.uv.sources] for other packages mean nothing without them.
    options = "--no-deps --no-sources" if folders else "--no-deps"
    return [
        *lines,
        "# Without uv's note of the time: the same code gives the same layer.",
        f"RUN uv pip install {options} --target lib {' '.join(map(in_shell, targets))} && \\",
        "    rm lib/*.dist-info/uv_cache.json && \\",
        "    sed -i '/uv_cache.json/d' lib/*.dist-info/RECORD",
    ]


def _install_metadata(packaging: FoundPackaging) -> list[str]:
    """The metadata of the project's package: its code stays where it was copied to."""
    folder = PurePosixPath("/code", packaging.folder)
    version = "SETUPTOOLS_SCM_PRETEND_VERSION=0.0.0 " if packaging.versions_from_history else ""
    return [
        "# The app asks for its own version or entry points: its metadata, without the code again.",
        *_copy_build_files(packaging),
        f"RUN cp -R {in_shell(str(folder))}/. /build && mkdir lib && \\",
        f"    {version}uv pip install --no-deps --target /tmp/own /build && \\",
        "    rm /tmp/own/*.dist-info/uv_cache.json && mv /tmp/own/*.dist-info lib",
    ]


def _copy_build_files(packaging: FoundPackaging) -> list[str]:
    return _copies(packaging.build_files, packaging.folder, into="/build")


def _environment(app: FoundApp, packaging: FoundPackaging, copied: list[str]) -> str:
    variables = {
        "HOME": "/tmp",
        "PATH": "/code/.venv/bin:$PATH",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    paths = ["/code/lib"] if packaging.install or packaging.metadata else []
    is_copied = any(PurePosixPath(path).is_relative_to(app.root) for path in copied)
    if is_copied and (app.root, app.workdir) != (".", "."):
        paths.append(str(PurePosixPath("/code", app.root)))
    paths += [str(PurePosixPath("/code", root)) for root in app.further_roots]
    if paths:
        variables["PYTHONPATH"] = in_value(":".join(paths))
    return " \\\n    ".join(f"{name}={value}" for name, value in sorted(variables.items()))


def _copy_dependency_files(packaging: FoundPackaging) -> str:
    """Beside each other as they are in their folder; requirements stay where they are."""
    below = packaging.folder
    if packaging.kind in (Packaging.REQUIREMENTS, Packaging.SCRIPT):
        below = "."
    return "\n".join(_copies(packaging.files, below))


def _copies(paths: Collection[str], below: str = ".", *, into: str = "") -> list[str]:
    """COPY lines that keep each path where it is below a folder; files of one folder together,
    folders last."""
    folders = [path.rstrip("/") for path in paths if path.endswith("/")]
    single = sorted((path for path in paths if not path.endswith("/")), key=_parent)
    lines = [
        copy_line(group, f"{PurePosixPath(into, PurePosixPath(parent).relative_to(below))}/")
        for parent, group in groupby(single, _parent)
    ]
    return [*lines, *(copy_line([folder], folder) for folder in sorted(folders))]


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _wrapped(first: list[str], rest: list[str]) -> str:
    line = " ".join([*first, *rest])
    if len(line) + len("RUN ") <= NARROW:
        return line
    return " ".join(first) + " \\\n    " + " ".join(rest)


def _pattern(path: str) -> str:
    """A line of .dockerignore for a path, whatever is in its name."""
    return re.sub(r"[*?\[\]\\#!\x00-\x1f\x7f]|^\s|\s$", "?", path)
