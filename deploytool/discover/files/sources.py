"""The files that the image needs: the code that the app imports, and the files it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

from deploytool.discover.apps.app import FoundApp
from deploytool.discover.files.named import NamedPath, NamedPaths
from deploytool.discover.processes.migrations import INI, Alembic
from deploytool.discover.processes.place import Place
from deploytool.discover.source import (
    HERE,
    Project,
    Scope,
    below,
    called_name,
    first_names,
    is_standard,
    table_at,
)
from deploytool.lint.dockerfile import split_words

NEVER = re.compile(r"^(\.|.*\.(pem|key|log|sqlite3?|db)$)|^(tests?|venv|env|node_modules|secrets)$")
NOT_READ = frozenset({"uv.lock", "poetry.lock", "Dockerfile"})
SELDOM_READ = frozenset({"pyproject.toml", "README.md"})
"""Files whose names stand in code for other reasons too: copied where a path names them."""
LISTING_CALLS = frozenset({"iter_modules", "walk_packages"})


def find_sources(
    project: Path | Project, app: FoundApp, modules: Iterable[str] = (), files: Iterable[str] = ()
) -> tuple[str, ...]:
    """The paths that the app needs, relative to the project and sorted; a folder ends with "/".

    Followed are imports from the entrypoint's module, modules that the configured commands run,
    and texts in the source that name files of the project; and `modules` and `files`, which other
    processes of the app run. Dependencies are not among them.
    """
    return Sources(Project.at(project), app).find(modules, map(PurePosixPath, files))


def reached_files(
    project: Path | Project, app: FoundApp, modules: Iterable[str] = ()
) -> tuple[PurePosixPath, ...]:
    """The Python files that are imported when the app starts, and later by its functions."""
    return Sources(Project.at(project), app).reached(modules)


def reached_by_modules(
    project: Path | Project, app: FoundApp, modules: Iterable[str]
) -> tuple[PurePosixPath, ...]:
    """The Python files that are imported by a process of its own, beside the app."""
    return Sources(Project.at(project), app).reached_from(modules)


def copied_files(project: Path | Project, sources: Iterable[str]) -> tuple[PurePosixPath, ...]:
    """The Python files in what is copied, tests not among them."""
    known = Project.at(project)
    wanted = {PurePosixPath(source) for source in sources}
    return tuple(f for f in known.python_files if f in wanted or not wanted.isdisjoint(f.parents))


class Sources:
    def __init__(self, project: Project, app: FoundApp) -> None:
        self.project = project
        self.paths = NamedPaths(project)
        self.root = PurePosixPath(app.root)
        self.workdir = PurePosixPath(app.workdir)
        self.start = PurePosixPath(app.file)
        self.alembic = Alembic(Place(project, app, self.workdir))
        self.found: set[PurePosixPath] = set()

    def find(
        self, modules: Iterable[str] = (), files: Iterable[PurePosixPath] = ()
    ) -> tuple[str, ...]:
        self._follow(self._unit(self.start))
        for module in (*self._configured_modules(), *modules):
            self._follow_module(module)
        for file in files:
            self._follow_file(file)
        self._add_migrations()
        return tuple(sorted(map(self._text, filter(self._is_outermost, self.found))))

    def reached(self, modules: Iterable[str] = ()) -> tuple[PurePosixPath, ...]:
        return self.reached_from((*self._configured_modules(), *modules), self.start)

    def reached_from(
        self, modules: Iterable[str], *files: PurePosixPath
    ) -> tuple[PurePosixPath, ...]:
        places = (self._module(module) for module in modules)
        waiting = {*files, *(place for place in places if place)}
        seen: set[PurePosixPath] = set()
        while waiting - seen:
            seen |= self.project.reachable(*(waiting - seen))
            scopes = [scope for file in seen if (scope := self.project.scope(file))]
            waiting = {file for scope in scopes for file in self._imported_by_call(scope)}
        return tuple(sorted(seen, key=lambda file: (len(file.parts), file)))

    def _module(self, module: str) -> PurePosixPath | None:
        stem = PurePosixPath(*module.split("."))
        for root in dict.fromkeys((self.root, self.workdir, HERE)):
            place = self.project.module_at(root / stem)
            if place and place[1]:
                return place[0]
        return None

    def _imported_by_call(self, scope: Scope) -> Iterator[PurePosixPath]:
        """The files of `import_module("pkg.plugins")`; of a package that is listed, all of them."""
        for name, whole in _names_in_calls(scope):
            place = self.project.locate(name, scope.file) if name else None
            if place and place[1]:
                yield place[0]
            if place and whole:
                yield from self.project.python_below(place[0].parent if place[1] else place[0])
        if any(called_name(call) in LISTING_CALLS for call in scope.calls):
            yield from self.project.python_below(scope.file.parent)

    def _text(self, path: PurePosixPath) -> str:
        return f"{path}/" if self.project.is_folder(path) else str(path)

    def _is_outermost(self, path: PurePosixPath) -> bool:
        return self.found.isdisjoint(path.parents)

    def _unit(self, file: PurePosixPath) -> PurePosixPath:
        """The top-level module or package that a file is part of."""
        root = self.root if file.is_relative_to(self.root) else HERE
        return root / file.relative_to(root).parts[0]

    def _follow_file(self, file: PurePosixPath) -> None:
        """A file or folder that another process needs; of a package the whole package."""
        if self.project.is_folder(file):
            self._follow(file)
        elif self.project.is_file(file):
            top = self.project.package_root(file)
            is_module = file.suffix == ".py" and top != file.parent
            self._follow(top / file.relative_to(top).parts[0] if is_module else file)

    def _follow(self, unit: PurePosixPath) -> None:
        if unit in self.found:
            return
        self.found.add(unit)
        for file in self._files(unit):
            scope = self.project.scope(file)
            if scope:
                self._follow_imports(scope)
                self._add_named_files(scope)

    def _files(self, unit: PurePosixPath) -> Iterable[PurePosixPath]:
        if self.project.is_file(unit):
            return [unit] if unit.suffix == ".py" else []
        return self.project.python_below(unit)

    def _follow_imports(self, scope: Scope) -> None:
        called = (name for name, _ in _names_in_calls(scope))
        for name in sorted(first_names(scope) | set(called)):
            self._follow_module(name)

    def _follow_module(self, module: str) -> None:
        name = module.partition(".")[0]
        if not name or (is_standard(name) and not self._shadows(name)):
            return
        for root in dict.fromkeys((self.root, self.workdir, HERE)):
            for unit in (root / name, root / f"{name}.py"):
                if self.project.is_file(unit) or self._has_code(unit):
                    self._follow(unit)
                    return

    def _shadows(self, name: str) -> bool:
        return self.project.is_file(self.root / name / "__init__.py")

    def _has_code(self, folder: PurePosixPath) -> bool:
        initial = self.project.is_file(folder / "__init__.py")
        return initial or bool(self.project.python_below(folder))

    def _add_named_files(self, scope: Scope) -> None:
        for named in self.paths.named_in(scope):
            path = self._place(named, scope.file)
            if path and path not in scope.file.parents:
                self.found.add(path)

    def _place(self, named: NamedPath, file: PurePosixPath) -> PurePosixPath | None:
        """Where in the project a named path is, when the image should have it."""
        bases = [self.workdir, HERE, self.root, file.parent]
        for base in [HERE] if named.anchored else dict.fromkeys(bases):
            path = below(base, named.path)
            if path and path.parts and self.project.exists(path):
                return None if self._is_unwanted(path, named.sure) else path
        return None

    def _is_unwanted(self, path: PurePosixPath, sure: bool) -> bool:
        if any(NEVER.match(part) for part in path.parts) or path.name in NOT_READ:
            return True
        if str(path) in SELDOM_READ and not sure:
            return True
        return path in (self.root, self.workdir, *self.start.parents)

    def _configured_modules(self) -> Iterator[str]:
        """Modules of `python -m MODULE` in the commands of [tool.deploytool]."""
        document = self.project.toml(PurePosixPath("deploytool.toml"))
        document = document or table_at(self.project.pyproject, "tool", "deploytool")
        for command in _commands(document):
            for option, value in pairwise(command):
                if option == "-m":
                    yield value

    def _add_migrations(self) -> None:
        """Alembic's configuration and scripts, which a release step runs."""
        for parent in dict.fromkeys((HERE, self.root, self.workdir, *self._folders())):
            if self.project.is_file(parent / INI):
                self.found.add(parent / INI)
                if migrations := self.alembic.read(parent / INI):
                    self._follow_folder(migrations.scripts)

    def _folders(self) -> list[PurePosixPath]:
        return [path for path in self.found if self.project.is_folder(path)]

    def _follow_folder(self, folder: PurePosixPath) -> None:
        """A folder that is no package of the app's: what its scripts import is needed too."""
        self.found.add(folder)
        for path in sorted((self.project.path / folder).glob("*.py")):
            scope = self.project.scope(folder / path.name)
            if scope:
                self._follow_imports(scope)


def folders_of_tests(project: Path, sources: Iterable[str]) -> tuple[str, ...]:
    """Folders of tests inside what the image needs, which it does not need."""
    found = []
    for source in sources:
        for folder in sorted((project / source).rglob("test*")):
            is_tests = folder.name in ("test", "tests") and folder.is_dir()
            if is_tests and any(folder.glob("test_*.py")):
                found.append(folder.relative_to(project).as_posix())
    return tuple(found)


def _names_in_calls(scope: Scope) -> Iterator[tuple[str, bool]]:
    """`importlib.import_module("pkg.plugins")`; of f"pkg.plugins.{name}" the part that is known,
    and whether it is only a part."""
    for call in scope.calls:
        if called_name(call) in ("import_module", "__import__") and call.args:
            match call.args[0]:
                case ast.Constant(value=str() as name):
                    yield name.lstrip("."), False
                case (
                    ast.JoinedStr(values=[ast.Constant(value=str() as begin), *_])
                    | ast.BinOp(left=ast.Constant(value=str() as begin))
                ):
                    yield begin.lstrip(".").rpartition(".")[0], True


def _commands(value: object) -> Iterator[list[str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("command", "prestart"):
                yield _words(inner)
            else:
                yield from _commands(inner)


def _words(command: object) -> list[str]:
    if isinstance(command, str):
        return list(split_words(command))
    return [str(word) for word in command] if isinstance(command, list) else []
