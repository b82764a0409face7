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

UV_VERSION = "0.13"
PLAIN_FASTAPI = '"fastapi[standard]>=0.115,<1"'
POETRY = "/opt/poetry/bin/poetry"
NARROW = 100


def render_dockerfile(
    app: FoundApp, packaging: FoundPackaging, sources: Iterable[str], *, port: int = 8000
) -> str:
    """The Dockerfile for an app, its packaging and the files and folders it needs."""
    copied = not_installed(packaging, sources)
    installs_with_uv = packaging.kind is Packaging.UV and bool(packaging.install)
    values = {
        "python": packaging.python,
        "uv": UV_VERSION,
        "port": str(port),
        "copy_dependency_files": _copy(packaging.files),
        "lock_command": _lock_command(packaging),
        "install_requirements": _install_requirements(packaging),
        "script": app.file,
        "code_base": "uv" if installs_with_uv else "base",
        "copy_code": "\n".join([*_install_packages(packaging), *_copies(copied)]),
        "environment": _environment(app, packaging, copied),
        "command": json.dumps(server_command(app.entrypoint, port)),
    }
    return "".join(_part(name, values) for name in (*_parts(packaging), "code", "final"))


def server_command(entrypoint: str, port: int) -> list[str]:
    """One Uvicorn process: it reads the trusted proxies from FORWARDED_ALLOW_IPS."""
    return ["uvicorn", entrypoint, "--host", "0.0.0.0", "--port", str(port), "--proxy-headers"]


def render_dockerignore(
    packaging: FoundPackaging, sources: Iterable[str], tests: Iterable[str] = ()
) -> str:
    """The .dockerignore that lets only what the Dockerfile copies into a build."""
    below_src = ("src",) if "." in packaging.install else ()
    folders = (folder for folder in packaging.install if folder != ".")
    wanted = {*packaging.files, *packaging.build_files, *below_src, *folders}
    wanted |= {source.rstrip("/") for source in not_installed(packaging, sources)}
    lines = [
        "# Only what the Dockerfile copies gets into a build: nothing else can leak or slow it.",
        "*",
        *(f"!{_pattern(path)}" for path in sorted(wanted)),
        "",
        "**/__pycache__",
        "**/*.py[co]",
        "**/.env*",
        "**/.git",
        "**/.venv",
        *(_pattern(folder) for folder in sorted(tests)),
    ]
    return "\n".join(lines) + "\n"


def not_installed(packaging: FoundPackaging, sources: Iterable[str]) -> list[str]:
    """The sources that are copied as they are, not part of a package that is installed."""
    installed = [PurePosixPath("src" if folder == "." else folder) for folder in packaging.install]
    return [
        source
        for source in sources
        if not any(PurePosixPath(source).is_relative_to(folder) for folder in installed)
    ]


def _parts(packaging: FoundPackaging) -> tuple[str, ...]:
    match packaging.kind, packaging.locked:
        case (Packaging.UV, _) | (Packaging.SCRIPT, True):
            return "base", "uv", "uv-lock"
        case Packaging.SCRIPT, _:
            return "base", "uv", "script"
    return "base", packaging.kind.value


def _part(name: str, values: dict[str, str]) -> str:
    text = files("deploytool.image").joinpath("templates", f"{name}.Dockerfile").read_text("utf-8")
    return Template(text).substitute(values)


def _lock_command(packaging: FoundPackaging) -> str:
    extras = [f"--extra {name}" for name in packaging.extras]
    output = ["--format pylock.toml", "--output-file pylock.toml"]
    match packaging.kind, packaging.locked:
        case Packaging.UV, True:
            groups = [f"--group {name}" for name in packaging.groups]
            return _wrapped(
                ["uv export --quiet --locked --no-dev", *_left_out(packaging), *extras, *groups],
                output,
            )
        case Packaging.UV, False:
            groups = [f"--group {name}" for name in packaging.groups]
            return _wrapped(["uv pip compile --quiet pyproject.toml", *extras, *groups], output)
        case Packaging.SCRIPT, True:
            script = packaging.files[0]
            return _wrapped([f"uv export --quiet --locked --script {script}"], output)
        case Packaging.POETRY, _:
            return _poetry_export(packaging)
    return ""


def _left_out(packaging: FoundPackaging) -> list[str]:
    """The project's own packages, which are no dependencies to download."""
    if not packaging.package and not packaging.install:
        return ["--no-emit-project"]
    member = [f"--package {packaging.package}"] if packaging.package else []
    return [*member, "--no-emit-workspace", "--no-emit-local"]


def _poetry_export(packaging: FoundPackaging) -> str:
    only = ",".join(("main", *packaging.groups))
    hashes = "" if packaging.hashes else " --without-hashes"
    lock = "" if packaging.locked else f"{POETRY} lock && \\\n    "
    return f"{lock}{POETRY} export --only {only}{hashes} --output requirements.txt"


def _install_requirements(packaging: FoundPackaging) -> str:
    requirements = "-r requirements.txt"
    if packaging.kind is Packaging.REQUIREMENTS:
        requirements = f"-r {packaging.files[0]}"
    if packaging.kind is Packaging.SINGLE_FILE:
        requirements = PLAIN_FASTAPI
    return (
        "RUN python -m venv --without-pip .venv && \\\n"
        "    pip --python .venv/bin/python install --no-cache-dir --no-compile --upgrade \\\n"
        f"    {requirements} && \\\n"
        "    (python -m compileall -qq -j 0 --invalidation-mode unchecked-hash .venv || true)"
    )


def _install_packages(packaging: FoundPackaging) -> list[str]:
    """The project's own packages, built elsewhere and installed in a folder of their own."""
    folders = [folder for folder in packaging.install if folder != "."]
    lines = [_copy_line([folder], f"/build/{folder}") for folder in folders]
    targets = [f"/build/{folder}" for folder in folders]
    if "." in packaging.install:
        lines += [_copy_line(packaging.build_files, "/build/"), "COPY src /build/src"]
        targets.append("/build")
    if not targets:
        return []
    words = " ".join(targets)
    if packaging.kind is Packaging.UV:
        # What [tool.uv.sources] says of other packages means nothing without them.
        options = "--no-deps --no-sources" if folders else "--no-deps"
        install = f"uv pip install {options} --target lib {words}"
        return [
            *lines,
            "# Without uv's note of the time: the same code gives the same layer.",
            f"RUN {install} && \\",
            "    rm lib/*.dist-info/uv_cache.json && \\",
            "    sed -i '/uv_cache.json/d' lib/*.dist-info/RECORD",
        ]
    return [*lines, f"RUN pip install --no-cache-dir --no-compile --no-deps --target lib {words}"]


def _environment(app: FoundApp, packaging: FoundPackaging, copied: list[str]) -> str:
    variables = {
        "HOME": "/tmp",
        "PATH": "/code/.venv/bin:$PATH",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    paths = ["/code/lib"] if packaging.install else []
    if app.root != "." and any(PurePosixPath(path).is_relative_to(app.root) for path in copied):
        paths.append(f"/code/{app.root}")
    if paths:
        variables["PYTHONPATH"] = ":".join(paths)
    return " \\\n    ".join(f"{name}={value}" for name, value in sorted(variables.items()))


def _copy(paths: Collection[str]) -> str:
    return "\n".join(_copies(paths))


def _copies(paths: Collection[str]) -> list[str]:
    """COPY lines that keep each path where it is; files of one folder together, folders last."""
    folders = [path.rstrip("/") for path in paths if path.endswith("/")]
    single = sorted((path for path in paths if not path.endswith("/")), key=_parent)
    lines = [_copy_line(group, f"{parent}/") for parent, group in groupby(single, _parent)]
    return [*lines, *(_copy_line([folder], folder) for folder in sorted(folders))]


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _copy_line(sources: Iterable[str], target: str) -> str:
    words = [*sources, target]
    plain = all(re.fullmatch(r"[\w./+@-]+", word) for word in words)
    return "COPY " + (" ".join(words) if plain else json.dumps(words, ensure_ascii=False))


def _wrapped(first: list[str], rest: list[str]) -> str:
    line = " ".join([*first, *rest])
    if len(line) + len("RUN ") <= NARROW:
        return line
    return " ".join(first) + " \\\n    " + " ".join(rest)


def _pattern(path: str) -> str:
    return re.sub(r"[*?\[\]\\#!]", "?", path)
