"""Lines in Dockerfiles of earlier years that fail with today's tools."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploytool.image.failures import INIT_FORCE
from deploytool.lint.dockerfile import Dockerfile, Instruction, Stage

_POETRY_IN = re.compile(
    r"\bpip[x3]?\s+(?:--\S+\s+)*install\b[^;&|\n]*?[\s'\"]poetry(?P<pin>[=<>~!][^\s'\"]*)?(?=[\s'\";&|]|$)"
    r"|install\.python-poetry\.org|install-poetry\.py"
)
_GONE_INSTALLER = re.compile(
    r"python-poetry/poetry/(?:HEAD|master|main)/((?:get|install)-poetry\.py)"
)
_OLD_DEBIAN = re.compile(r"\b(jessie|stretch|buster)\b|^debian:(?P<number>8|9|10)\b")
_OLD_UBUNTU = re.compile(r"^ubuntu:(1[5-9]\.10|1[579]\.04|2[0-4]\.10|2[13]\.04)\b")
_OLD_CENTOS = re.compile(r"^centos(:(?:centos)?[678]|:latest|$)")
_BEFORE_POETRY_2 = re.compile(
    r"(^|/)(python:(2|3\.[0-8])(\D|$)|ubuntu:(1\d|20)\.|debian:(1?[0-9]|buster)\b)"
)


def no_longer_builds(
    dockerfile: Dockerfile, *, has_export_plugin: bool = False, target: str | None = None
) -> str | None:
    """The line of a Dockerfile that surely fails today, with its reason; None without one."""
    stage = dockerfile.stage(target)
    for one in dockerfile.built_for(stage) if stage else ():
        script = "\n".join(_scripts(one))
        for reason in (
            _gone(script),
            _system(one, script),
            _poetry(one, script, has_export_plugin),
        ):
            if reason:
                return f"{reason}: {INIT_FORCE}"
    return None


def _scripts(stage: Stage) -> Iterator[str]:
    for item in stage.chain:
        if item.keyword == "RUN":
            yield _expanded(item, stage)


def _expanded(item: Instruction, stage: Stage) -> str:
    words = item.arguments
    text = item.text if words is None else " ".join(words)
    return stage.expand("\n".join((text, *item.heredocs)))


def _gone(script: str) -> str | None:
    if found := _GONE_INSTALLER.search(script):
        return f"Poetry's {found[1]} is no longer there"
    is_pinned = re.search(r"pipenv[=<~]", script)
    if not is_pinned and re.search(r"pipenv\s+lock\s+(-\S+\s+)*(-r|--requirements)\b", script):
        return "`pipenv lock -r` fails with current Pipenv"
    return None


def _system(stage: Stage, script: str) -> str | None:
    """Package lists of releases that were moved to the archives."""
    if re.search(r"archive\.debian\.org|old-releases\.ubuntu\.com|vault\.centos\.org", script):
        return None
    is_old_apt = _OLD_DEBIAN.search(stage.base) or _OLD_UBUNTU.match(stage.base)
    if is_old_apt and re.search(r"\bapt(-get)?\s+(-\S+\s+)*update\b", script):
        return f"`apt-get update` fails on {stage.base}, whose packages were archived"
    if _OLD_CENTOS.match(stage.base) and re.search(r"\b(yum|dnf)\s+(-\S+\s+)*install\b", script):
        return f"`yum install` fails on {stage.base}, whose packages were archived"
    return None


def _poetry(stage: Stage, script: str, has_export_plugin: bool) -> str | None:
    if not _is_current_poetry(stage, script):
        return None
    if re.search(r"\bpoetry\b[^;&|\n]*\sinstall\b[^;&|\n]*--no-dev\b", script):
        return "`poetry install --no-dev` fails with current Poetry"
    has_plugin = has_export_plugin or "poetry-plugin-export" in script
    if re.search(r"\bpoetry\b[^;&|\n]*\sexport\b", script) and not has_plugin:
        return "`poetry export` fails with current Poetry, which has it in a plugin"
    return None


def _is_current_poetry(stage: Stage, script: str) -> bool:
    """Whether the stage installs Poetry 2 or whatever is the newest."""
    installed = [*_POETRY_IN.finditer(script)]
    if not installed or _BEFORE_POETRY_2.search(stage.base):
        return False
    version = stage.expand("${POETRY_VERSION:-}") or _given_version(script)
    return all(
        _is_2(match["pin"] or (f"=={version}" if version and not _by_pip(match) else ""))
        for match in installed
    )


def _by_pip(match: re.Match[str]) -> bool:
    return match[0].startswith("pip")


def _given_version(script: str) -> str:
    found = re.search(r"--version[ =](\d\S*)|POETRY_VERSION=(\d[^\s;&|]*)", script)
    return (found[1] or found[2]) if found else ""


def _is_2(pin: str) -> bool:
    """Whether a pin lets Poetry 2 in and nothing older: "", "==2.1", ">=1.5"."""
    if not pin:
        return True
    if re.search(r"[<!]|\$", pin):
        return False
    return pin.startswith(">=") or re.match(r"[=~]+\s*[2-9]", pin) is not None
