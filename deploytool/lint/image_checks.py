"""The rules about the Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from deploytool.lint.commands import Command, hides_signals
from deploytool.lint.dockerfile import KEYWORDS, Instruction, Stage
from deploytool.lint.rules import Finding
from deploytool.lint.subject import Subject
from deploytool.redact import hide_passwords, names_secret

_DEPRECATED = re.compile(r"^(docker\.io/|index\.docker\.io/)?tiangolo/(\w+-)?(uvicorn-)?gunicorn\b")
_ROOTS = ("root", "0")
_DEPENDENCY_FILES = re.compile(
    r"(requirements|constraints)[\w.*-]*|pyproject\.toml|setup\.(py|cfg)|MANIFEST\.in|Pipfile\S*"
    r"|(uv|poetry|pdm|pylock|conda)\S*\.(lock|toml|ya?ml)\S*|environment\S*\.ya?ml|\.python-version"
    r"|README\S*|LICEN[CS]E\S*|pip\.conf|\S+\.whl|package\S*\.json",
    re.IGNORECASE,
)
_CODE_FOLDERS = ("app", "src", "api", "backend", "server", "service", "code")
_INSTALL = re.compile(
    r"\b(pip3?|pipenv|poetry|pdm|uv|conda|mamba|micromamba)\s+((?:-\S+\s+)*)"
    r"(install|sync|pip install|pip sync|env update|env create)\b([^;&|\n]*)"
)
_TOOLS = {
    "build",
    "hatch",
    "pdm",
    "pip",
    "pip-tools",
    "pipenv",
    "poetry",
    "setuptools",
    "uv",
    "wheel",
}
_ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.\w+)$", re.IGNORECASE)
_REMOTE = re.compile(r"^(https?|git|ssh|ftp)://|^git@|\.git(#\S*)?$", re.IGNORECASE)
_NO_SECRET_NAME = re.compile(
    r"max_tokens|_(expires?|expiry|ttl|lifetime|days|hours|minutes|seconds|timeout|length|size|count|limit"
    r"|algorithm|type|url|uri|endpoint|name|header|file|path|dir|prefix|enabled|required)(_in)?$"
    r"|_expires?_|_expire_",
    re.IGNORECASE,
)
_NO_SECRET_VALUE = re.compile(r"^(-?[0-9.]+|true|false|yes|no|on|off|none|null|/\S*)$", re.I)
_SECRET_FILE = re.compile(
    r"^(\.env(?!\.(example|sample|template|dist|defaults?)$)(\.[\w-]+)?|id_(rsa|dsa|ecdsa|ed25519)"
    r"|\.netrc|\.pypirc|\.git-credentials|credentials\.json)$"
)


def check(subject: Subject) -> Iterator[Finding]:
    """What the Dockerfile does against the rules."""
    for one in CHECKS:
        yield from one(subject)


def _validity(subject: Subject) -> Iterator[Finding]:
    name = "invalid-dockerfile"
    if not subject.dockerfile.stages:
        yield subject.in_dockerfile(name, 1, "there is no FROM, so there is no image")
    for item in subject.dockerfile.preamble:
        if item.keyword in KEYWORDS and item.keyword != "ARG" and subject.dockerfile.stages:
            yield subject.in_dockerfile(name, item.line, f"{item.keyword} stands before FROM")
    for item in subject.dockerfile.instructions:
        if item.keyword not in KEYWORDS:
            shown = item.keyword[:20]
            yield subject.in_dockerfile(name, item.line, f"{shown!r} is no instruction")
    for stage in subject.dockerfile.stages:
        if not stage.image:
            yield subject.in_dockerfile(name, stage.line, "FROM names no image")


def _shell_forms(subject: Subject) -> Iterator[Finding]:
    for keyword, rule in (("CMD", "cmd-shell-form"), ("ENTRYPOINT", "entrypoint-shell-form")):
        item = subject.stage.last(keyword) if subject.stage else None
        if item is None or not item.text:
            continue
        if item.arguments is None:
            broken = item.text.startswith("[")
            yield subject.in_dockerfile(
                rule,
                item.line,
                f"{keyword} looks like a list, but is not valid JSON (double quotes?), so a "
                "shell runs it"
                if broken
                else f"{keyword} is in shell form: a shell stands between the stop signal and the "
                "app",
            )
        elif hides_signals(item.arguments):
            yield subject.in_dockerfile(
                "shell-wrapper",
                item.line,
                f"{keyword} starts a shell that stays in front of the app",
            )


def _entrypoint(subject: Subject) -> Iterator[Finding]:
    item = subject.stage.last("ENTRYPOINT") if subject.stage else None
    users = [s for s in subject.built_services if s not in subject.image_command_users]
    if item is None or item.arguments is None or not users:
        return
    if server := Command.read(item.arguments).server:
        names = ", ".join(service.name for service in users)
        yield subject.in_dockerfile(
            "entrypoint-takes-command",
            item.line,
            f"ENTRYPOINT starts {server} with the command of {names} as its arguments",
        )


def _server(subject: Subject) -> Iterator[Finding]:
    """What the image's own command asks of its server."""
    command, line = subject.image_command, subject.image_command_line
    if command.is_development:
        yield subject.in_dockerfile("fastapi-dev", line, "the image starts the development server")
    elif command.is_local_only and "UVICORN_HOST" not in _env(subject):
        yield subject.in_dockerfile(
            "listens-on-localhost", line, f"{command.server} listens inside the container only"
        )
    if command.reloads:
        yield subject.in_dockerfile("reload", line, "the image reloads its code while it serves")
    if command.migrates and any(s.runs_several for s in subject.image_command_users):
        yield subject.in_dockerfile(
            "migration-per-replica", line, "every replica runs the migrations when it starts"
        )


def _workers(subject: Subject) -> Iterator[Finding]:
    """One server with several workers is the docs' special case, and fine."""
    wanted = subject.image_command.workers
    line = subject.image_command_line
    if not wanted and (wanted := _web_concurrency(subject)):
        line = _line_of_env(subject, "WEB_CONCURRENCY")
    servers = [service for service in subject.built_services if service.port is not None]
    if not wanted or (servers and not any(service.runs_several for service in servers)):
        return
    overridden = bool(servers) and not any(s in subject.image_command_users for s in servers)
    yield subject.in_dockerfile(
        "workers-in-cluster",
        line,
        f"the image starts {wanted} worker processes in each container"
        + (", though the configured command replaces it" if overridden else ""),
    )


def _proxy_headers(subject: Subject) -> Iterator[Finding]:
    proxied = [service for service in subject.built_services if service.domains]
    command = subject.image_command
    if not proxied or not lacks_proxy_headers(command):
        return
    overridden = not any(service in subject.image_command_users for service in proxied)
    yield subject.in_dockerfile(
        "missing-proxy-headers",
        subject.image_command_line,
        f"the image starts {command.server} without --proxy-headers"
        + (", though the configured command replaces it" if overridden else ""),
    )


def _trust(subject: Subject) -> Iterator[Finding]:
    """Whom the image's own command believes; its variable, where deploytool sets none."""
    if is_everybody(subject.image_command.option("--forwarded-allow-ips")):
        line, what = subject.image_command_line, f"{subject.image_command.server} believes"
    elif is_everybody(_env(subject).get("FORWARDED_ALLOW_IPS")):
        line, what = _line_of_env(subject, "FORWARDED_ALLOW_IPS"), "the image believes"
    else:
        return
    yield subject.in_dockerfile(
        "trusts-any-proxy", line, f"{what} forwarded headers from everywhere"
    )


EVERYBODY = frozenset({"*", "0.0.0.0/0", "::/0"})


def is_everybody(trusted: str | None) -> bool:
    """Whether a list of proxies to believe is everybody."""
    return bool(EVERYBODY & {part.strip() for part in (trusted or "").split(",")})


def lacks_proxy_headers(command: Command) -> bool:
    return command.server in ("uvicorn", "fastapi") and not command.has("--proxy-headers")


def _deprecated_base(subject: Subject) -> Iterator[Finding]:
    for stage in subject.dockerfile.stages:
        if stage.parent is None and is_deprecated(stage.image):
            yield subject.in_dockerfile(
                "deprecated-base-image", stage.line, f"{stage.image} is deprecated"
            )


def is_deprecated(image: str) -> bool:
    return bool(_DEPRECATED.match(image))


def _code_first(subject: Subject) -> Iterator[Finding]:
    seen: set[int] = set()
    for stage in subject.dockerfile.stages:
        copy = _copy_before_install(stage, subject.context)
        if copy and copy.line not in seen:
            seen.add(copy.line)
            yield subject.in_dockerfile(
                "code-before-dependencies",
                copy.line,
                "the code is copied before the dependencies are installed",
            )


def _copy_before_install(stage: Stage, context: Path) -> Instruction | None:
    """The COPY of code that comes before all installing of dependencies."""
    copy = None
    for item in stage.chain:
        if copy is None and any(_is_code(source, context) for source in item.sources):
            copy = item
        elif item.keyword == "RUN" and _installs(item):
            return copy
    return None


def _is_code(source: str, context: Path) -> bool:
    path = PurePosixPath(source)
    if source in (".", "./", "/", "*", "./*") or path.suffix == ".py":
        return path.name != "setup.py"
    if _DEPENDENCY_FILES.fullmatch(path.name) or "$" in source:
        return False
    try:
        folder = context / source.lstrip("/")
        if folder.is_dir():
            return any(folder.glob("*.py")) or any(folder.glob("*/*.py"))
    except (OSError, ValueError):
        return False
    return path.name in _CODE_FOLDERS


def _installs(item: Instruction) -> bool:
    """Whether a RUN installs the app's dependencies, and not only the tools that will."""
    script = "\n".join((" ".join(item.words), *item.heredocs))
    return any(_is_dependency_install(match) for match in _INSTALL.finditer(script))


def _is_dependency_install(match: re.Match[str]) -> bool:
    verb, arguments = match[3], match[4].split()
    if verb not in ("install", "pip install") or match[1] in ("poetry", "pdm", "pipenv"):
        return True
    if "--no-deps" in arguments:
        return False
    packages = [word for word in arguments if not word.startswith("-")]
    named = {re.split(r"[\[=<>~!@]", package)[0] for package in packages}
    has_file = any(word.startswith(("-r", "--requirement", "-e")) for word in arguments)
    return has_file or bool(named - _TOOLS)


def _added(subject: Subject) -> Iterator[Finding]:
    for item in subject.dockerfile.instructions:
        plain = [
            source
            for source in item.sources
            if not _ARCHIVE.search(source) and not _REMOTE.search(source) and "$" not in source
        ]
        if item.keyword == "ADD" and plain:
            yield subject.in_dockerfile(
                "add-instead-of-copy", item.line, f"ADD of {', '.join(plain)}, which COPY does"
            )


def _root(subject: Subject) -> Iterator[Finding]:
    stage = subject.stage
    services = subject.built_services
    if stage is None or (services and all(service.user for service in services)):
        return
    item = stage.last("USER")
    if item is None and not _is_rootless(stage.base):
        yield subject.in_dockerfile(
            "root-user", stage.line, "the image runs as root: no USER is set"
        )
    elif item and is_root(stage.expand(item.text)):
        yield subject.in_dockerfile("root-user", item.line, "the image runs as root")


def is_root(user: str) -> bool:
    return user.partition(":")[0].strip() in _ROOTS


def _is_rootless(image: str) -> bool:
    return "nonroot" in image or "rootless" in image or image.startswith("cgr.dev/chainguard/")


def _secrets(subject: Subject) -> Iterator[Finding]:
    for item in subject.dockerfile.instructions:
        if item.keyword not in ("ENV", "ARG"):
            continue
        names = [name for name, value in item.pairs if is_secret(name, value)]
        if names:
            yield subject.in_dockerfile(
                f"secret-in-{item.keyword.lower()}",
                item.line,
                f"{', '.join(names)} {'look' if len(names) > 1 else 'looks'} like a secret "
                f"in {item.keyword}",
            )


def is_secret(name: str, value: str | None) -> bool:
    """Whether a variable holds a secret, as far as its name and its value tell."""
    if value and hide_passwords(value) != value and "$" not in value:
        return True
    if not names_secret(name) or _NO_SECRET_NAME.search(name):
        return False
    return value is None or (value != "" and not _NO_SECRET_VALUE.match(value))


def _secret_files(subject: Subject) -> Iterator[Finding]:
    for item in subject.dockerfile.instructions:
        files = [s for s in item.sources if _SECRET_FILE.match(PurePosixPath(s).name)]
        if files:
            yield subject.in_dockerfile(
                "secret-file-copied", item.line, f"{', '.join(files)} is copied into the image"
            )
    if not (subject.context / ".env").is_file() or subject.copies.ignored.hides(".env"):
        return
    for item in subject.stage.chain if subject.stage else ():
        if any(source in (".", "./", "/") for source in item.sources):
            yield subject.in_dockerfile(
                "secret-file-copied", item.line, ".env is copied into the image with the rest"
            )


def _dockerignore(subject: Subject) -> Iterator[Finding]:
    if subject.dockerignore is not None:
        return
    copies = [item.line for item in subject.dockerfile.instructions if item.sources]
    yield subject.in_dockerfile(
        "no-dockerignore", copies[0] if copies else 1, "there is no .dockerignore"
    )


def _health_check(subject: Subject) -> Iterator[Finding]:
    item = subject.stage.last("HEALTHCHECK") if subject.stage else None
    names = [service.name for service in subject.built_services if service.check]
    if item and names and item.text.upper() != "NONE":
        yield subject.in_dockerfile(
            "health-check-twice",
            item.line,
            f"HEALTHCHECK is replaced by the configuration's for {', '.join(names)}",
        )


def _env(subject: Subject) -> dict[str, str]:
    return subject.stage.env if subject.stage else {}


def _web_concurrency(subject: Subject) -> str | None:
    value = _env(subject).get("WEB_CONCURRENCY", "1")
    return None if value in ("", "1") else value


def _line_of_env(subject: Subject, name: str) -> int:
    chain = subject.stage.chain if subject.stage else ()
    lines = [item.line for item in chain if item.keyword == "ENV" and name in dict(item.pairs)]
    return lines[-1] if lines else 1


CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    _validity,
    _shell_forms,
    _entrypoint,
    _server,
    _workers,
    _proxy_headers,
    _trust,
    _deprecated_base,
    _code_first,
    _added,
    _root,
    _secrets,
    _secret_files,
    _dockerignore,
    _health_check,
)
