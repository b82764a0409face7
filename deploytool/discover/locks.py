"""Lock files of Pipenv and PDM, as the lines of a requirements file.

They tell what gets installed; the image itself is built from what the tools export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deploytool.discover.source import table_at

Package = Mapping[str, Any]
MARKERS = (
    "implementation_name",
    "os_name",
    "platform_machine",
    "platform_system",
    "python_full_version",
    "python_version",
    "sys_platform",
)


def pipfile_lock_requirements(text: str, section: str = "default") -> tuple[str, ...]:
    """The requirements that a Pipfile.lock installs.

    Raises ValueError when it is no Pipfile.lock.
    """
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, dict) or not isinstance(document.get("default"), dict):
        raise ValueError('it has no "default" section')
    return tuple(_of_pipfile(table_at(document, section)))


def pipfile_lock_python(text: str) -> str | None:
    """The Python that a Pipfile.lock was made for. Raises ValueError as above."""
    pipfile_lock_requirements(text)
    return pipfile_python({"requires": table_at(json.loads(text), "_meta", "requires")})


def pipfile_requirements(pipfile: Mapping[str, Any]) -> tuple[str, ...]:
    """The requirements that a Pipfile names, without what they bring."""
    return tuple(_of_pipfile(table_at(pipfile, "packages")))


def pipfile_python(pipfile: Mapping[str, Any]) -> str | None:
    """The Python that a Pipfile requires: "3.11" or "3.11.4"."""
    requires = table_at(pipfile, "requires")
    for key in ("python_full_version", "python_version"):
        if isinstance(requires.get(key), str):
            return str(requires[key])
    return None


def _of_pipfile(section: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(section.items()):
        package = value if isinstance(value, dict) else {"version": value}
        where = _address(package, _text(package, "ref"))
        version = _text(package, "version")
        wanted = where or ("" if version == "*" else version)
        yield _line(name, package, wanted, _markers_of_pipfile(package))


def _markers_of_pipfile(package: Package) -> str:
    """Markers are written as a whole, or each under its own name."""
    single = [f"{name} {package[name]}" for name in MARKERS if isinstance(package.get(name), str)]
    return " and ".join([*filter(None, [_text(package, "markers")]), *single])


def pdm_lock_requirements(
    lock: Mapping[str, Any], groups: tuple[str, ...] = ("default",)
) -> tuple[str, ...]:
    """The requirements that a pdm.lock installs for some groups.

    Old lock files do not say which group a package belongs to: all of them are taken.
    """
    listed = lock.get("package")
    packages = [p for p in listed if isinstance(p, dict)] if isinstance(listed, list) else []
    wanted = [p for p in packages if "groups" not in p or set(_texts(p, "groups")) & set(groups)]
    lines = {_text(p, "name"): _of_pdm(p) for p in sorted(wanted, key=_by_extras)}
    return tuple(lines[name] for name in sorted(lines) if name)


def _by_extras(package: Package) -> int:
    """A package stands once for itself, and again for its extras, which say more."""
    return len(_texts(package, "extras"))


def _of_pdm(package: Package) -> str:
    where = _address(package, _text(package, "revision") or _text(package, "ref"))
    version = _text(package, "version")
    return _line(
        _text(package, "name"),
        package,
        where or (f"=={version}" if version else ""),
        _text(package, "marker"),
    )


def _address(package: Package, ref: str) -> str:
    """`@ git+https://host/repository@commit`, `@ https://host/file.whl`, `@ ./folder`."""
    if git := _text(package, "git"):
        return f"@ git+{git}" + (f"@{ref}" if ref else "")
    for key in ("url", "file", "path"):
        if value := _text(package, key):
            return f"@ {value}"
    return ""


def _line(name: str, package: Package, wanted: str, marker: str) -> str:
    extras = _texts(package, "extras")
    separator = " " if wanted.startswith("@") else ""
    line = f"{name}[{','.join(extras)}]" if extras else name
    line += f"{separator}{wanted}"
    # The space ends an address, of which a semicolon would be a part.
    return f"{line} ; {marker}" if marker else line


def _text(package: Package, key: str) -> str:
    value = package.get(key)
    return value if isinstance(value, str) else ""


def _texts(package: Package, key: str) -> list[str]:
    value = package.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
