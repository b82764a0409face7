"""The entries of a uv.lock for the packages that are folders of the project."""

from __future__ import annotations

from typing import Any

from deploytool.discover.source import table_at, texts_in


class Lock:
    """The entries of a uv.lock for packages that are folders of the project."""

    def __init__(self, document: dict[str, Any]) -> None:
        listed = [p for p in document.get("package", []) if isinstance(p, dict) and "name" in p]
        self._packages = {str(package["name"]): package for package in listed}
        self._members = set(texts_in(table_at(document.get("manifest")).get("members")))
        self.local = {name: f for name, p in self._packages.items() if (f := _folder(p))}

    def has(self, name: str) -> bool:
        return name in self._packages

    def is_member(self, name: str) -> bool:
        return name in self._members or self.local.get(name) == "."

    def folder(self, name: str) -> str:
        return self.local[name]

    def folders(self) -> list[str]:
        return sorted(set(self.local.values()))

    def local_packages(self, name: str) -> dict[str, str]:
        """The folders of a package and of all that it depends on, by name."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                dependencies = self._packages.get(current, {}).get("dependencies", [])
                waiting += [str(d["name"]) for d in dependencies if isinstance(d, dict)]
        return {found: self.local[found] for found in sorted(seen & self.local.keys())}

    def is_package(self, folder: str) -> bool:
        """Whether a folder is installed; a virtual one only groups dependencies."""
        sources = (table_at(package.get("source")) for package in self._packages.values())
        return any(folder in (s.get("editable"), s.get("directory")) for s in sources)


def _folder(package: dict[str, Any]) -> str | None:
    source = table_at(package.get("source"))
    for key in ("editable", "virtual", "directory"):
        if isinstance(source.get(key), str):
            return str(source[key])
    return None
