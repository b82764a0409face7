"""From which folder a file of a project is imported, and under which name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from deploytool.discover.source import (
    HERE,
    OFTEN_EXTERNAL,
    Imported,
    Project,
    is_standard,
)

SOURCE_FOLDER = PurePosixPath("src")


class Layout:
    """Decides by the imports of what a file reaches; where they say nothing, by the packages."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._roots: dict[PurePosixPath, PurePosixPath] = {}

    def root(self, file: PurePosixPath) -> PurePosixPath:
        """The folder to import a file from."""
        if file not in self._roots:
            self._roots[file] = self._best(file)
        return self._roots[file]

    def module(self, file: PurePosixPath) -> str:
        return dotted(file.relative_to(self.root(file)))

    def _best(self, file: PurePosixPath) -> PurePosixPath:
        usual = self._usual(file)
        imports = list(self._imports(file))
        roots = [root for root in self._roots_of(file) if self._has_package(file, root)]
        if len(roots) < 2:
            return roots[0] if roots else usual
        ranked = [usual, *roots] if usual in roots else roots
        works = {root: self._working(imports, root) for root in roots}
        return max(ranked, key=lambda root: works[root])

    def further_roots(self, file: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """Other folders that have to be on the path: some imports work from there alone."""
        root = self.root(file)
        failing = [(f, i) for f, i in self._imports(file) if not self._works(i, f, root)]
        others = (folder for folder in self._roots_of(file) if folder != root)
        return tuple(folder for folder in others if self._working(failing, folder))

    def _roots_of(self, file: PurePosixPath) -> list[PurePosixPath]:
        return [folder for folder in file.parents if _is_importable(file.relative_to(folder))]

    def _has_package(self, file: PurePosixPath, root: PurePosixPath) -> bool:
        """Whether the file's own relative imports have the packages that they are relative to."""
        scope = self.project.scope(file)
        level = max((i.level for i in scope.imported), default=0) if scope else 0
        return len(file.parent.relative_to(root).parts) >= level

    def _usual(self, file: PurePosixPath) -> PurePosixPath:
        climbed = self.project.package_root(file)
        base = self._base(file)
        if climbed in (HERE, base) or not climbed.is_relative_to(base):
            return climbed
        return base if _is_importable(climbed.relative_to(base)) else climbed

    def _base(self, file: PurePosixPath) -> PurePosixPath:
        """The src folder or the project, also one inside this one, that a file belongs to."""
        for folder in file.parents:
            is_source = folder.name == "src" and not self.project.is_file(folder / "__init__.py")
            if is_source or self.project.is_file(folder / "pyproject.toml"):
                return folder
        return HERE

    def _imports(self, file: PurePosixPath) -> Iterator[tuple[PurePosixPath, Imported]]:
        """The project's modules that a file and those it reaches import, with who imports them."""
        for reached in self.project.reachable(file):
            scope = self.project.scope(reached)
            for imported in dict.fromkeys(scope.imported if scope else ()):
                name = imported.module.partition(".")[0]
                if imported.level or not (is_standard(name) or name in OFTEN_EXTERNAL):
                    yield reached, imported

    def _working(
        self, imports: Iterable[tuple[PurePosixPath, Imported]], root: PurePosixPath
    ) -> int:
        return sum(self._works(imported, file, root) for file, imported in imports)

    def _works(self, imported: Imported, file: PurePosixPath, root: PurePosixPath) -> bool:
        if imported.level:
            inside = file.is_relative_to(root)
            return inside and len(file.parent.relative_to(root).parts) >= imported.level
        place = self.project.module_at(root.joinpath(*imported.module.split(".")))
        return place is not None and place[0] != file


def dotted(file: PurePosixPath) -> str:
    """The name of a module that is in a file, seen from the folder to import it from."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _is_importable(path: PurePosixPath) -> bool:
    return all(part.isidentifier() for part in path.with_suffix("").parts)
