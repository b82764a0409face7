"""Finds the FastAPI app of a project: its entrypoint, import root and health path."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from deploytool.discover.names import Instance, LocalFunction, Names
from deploytool.discover.routes import health_path
from deploytool.discover.source import (
    HERE,
    Assigned,
    Imported,
    Project,
    Scope,
    first_names,
    is_standard,
    table_at,
)
from deploytool.errors import UsageError

PRIORITY = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
SOURCE_FOLDER = PurePosixPath("src")
FILE_NAMES = ("main", "app", "api", "__init__")
OBJECT_NAMES = ("app", "api")
ASIDE = frozenset(
    {"bench", "benchmarks", "demo", "demos", "doc", "docs", "docs_src", "examples", "example"}
    | {"samples", "scripts", "tools", "notebooks"}
)
ENTRYPOINT = re.compile(r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$")
CHOOSE = (
    "choose it with --entrypoint {example}, or write it in pyproject.toml: "
    '[tool.fastapi] entrypoint = "{example}"'
)


class Source(StrEnum):
    """Who says which app it is."""

    GIVEN = "given"
    DEPLOYTOOL = "tool.deploytool"
    FASTAPI = "tool.fastapi"
    FOUND = "found"


WHY = {
    Source.GIVEN: "it was given as the entrypoint",
    Source.DEPLOYTOOL: "deploytool's configuration has it as entrypoint",
    Source.FASTAPI: "pyproject.toml has it as [tool.fastapi] entrypoint",
}


@dataclass(frozen=True)
class FoundApp:
    """A FastAPI app and how it is imported."""

    entrypoint: str
    """module:object."""
    file: str
    """The file of the module, relative to the project."""
    root: str
    """The folder to import from, relative to the project: "." or, for example, "src"."""
    why: str
    health_path: str | None
    health_why: str
    source: Source
    root_path: str | None = None
    """The app's own `root_path`, when its source says one."""
    workdir: str = "."
    """The folder that the process runs in, relative to the project."""


@dataclass(frozen=True)
class Candidate:
    file: PurePosixPath
    name: str
    app: Instance
    defined: bool
    """Made in this file, not only imported into it."""


def find_app(project: Path, entrypoint: str | None = None) -> FoundApp:
    """The app that `entrypoint`, pyproject.toml or else the source says.

    Raises UsageError: `entrypoint_invalid`, `no_app` or `several_apps`.
    """
    return Finder(Project(project)).find(entrypoint)


class Finder:
    def __init__(self, project: Project) -> None:
        self.project = project
        self.names = Names(project)

    def find(self, entrypoint: str | None) -> FoundApp:
        if entrypoint:
            return self._explicit(entrypoint, Source.GIVEN)
        pyproject = self.project.pyproject
        for source, table in (
            (Source.DEPLOYTOOL, self.project.toml(PurePosixPath("deploytool.toml"))),
            (Source.DEPLOYTOOL, table_at(pyproject, "tool", "deploytool")),
            (Source.FASTAPI, table_at(pyproject, "tool", "fastapi")),
        ):
            if "entrypoint" in table:
                return self._explicit(table["entrypoint"], source)
        return self._discovered()

    def _explicit(self, entrypoint: object, source: Source) -> FoundApp:
        if not isinstance(entrypoint, str) or not ENTRYPOINT.match(entrypoint):
            raise UsageError(
                f"{entrypoint!r} is not an entrypoint ({WHY[source]})",
                code="entrypoint_invalid",
                hint='write it as "module:object", for example "app.main:app"',
            )
        module, _, name = entrypoint.partition(":")
        file, root = self._module_file(module, entrypoint)
        scope = self._readable(file, entrypoint)
        first = name.partition(".")[0]
        meaning = self.names.named(first, scope)
        if first not in scope.names and not scope.stars:
            raise self._no_object(entrypoint, file, first)
        if isinstance(meaning, LocalFunction) and name == first:
            raise _factory(file, first)
        app = meaning if isinstance(meaning, Instance) and meaning.kind == "app" else None
        app = app or self._wrapped(scope, first)
        return self._found(entrypoint, file, root, WHY[source], app, source)

    def _module_file(self, module: str, entrypoint: str) -> tuple[PurePosixPath, PurePosixPath]:
        stem = PurePosixPath(*module.split("."))
        roots = dict.fromkeys([HERE, SOURCE_FOLDER, *map(self._root, self.project.python_files)])
        for root in roots:
            for file in (root / stem / "__init__.py", (root / stem).with_suffix(".py")):
                if self.project.is_file(file):
                    return file, root
        raise UsageError(
            f"The entrypoint {entrypoint} names the module {module}, and there is no such file",
            code="no_app",
            hint=f"looked for {stem}.py and {stem}/__init__.py here and under src/",
        )

    def _readable(self, file: PurePosixPath, entrypoint: str) -> Scope:
        scope = self.project.scope(file)
        if scope is None:
            raise UsageError(
                f"{file}, the module of {entrypoint}, cannot be read: "
                f"{self.project.unreadable[file]}",
                code="no_app",
                hint="correct the file and run this again",
            )
        return scope

    def _no_object(self, entrypoint: str, file: PurePosixPath, name: str) -> UsageError:
        there = [candidate.name for candidate in self._candidates(file)]
        known = f"it has {', '.join(there)}" if there else "no FastAPI app is made in it"
        return UsageError(
            f"The entrypoint {entrypoint} names {name}, which {file} does not have",
            code="no_app",
            hint=f"{known}: correct the entrypoint",
        )

    def _found(
        self,
        entrypoint: str,
        file: PurePosixPath,
        root: PurePosixPath,
        why: str,
        app: Instance | None,
        source: Source,
    ) -> FoundApp:
        health, health_why = None, "the app's routes cannot be told from the source"
        if app:
            health, health_why = health_path(self.names, app)
        root_path = self._root_path(app)
        return FoundApp(
            entrypoint, str(file), str(root), why, health, health_why, source, root_path
        )

    def _root_path(self, app: Instance | None) -> str | None:
        for keyword in app.call.keywords if app and app.call else ():
            if app and keyword.arg == "root_path":
                return self.names.text(keyword.value, app.scope)
        return None

    def _discovered(self) -> FoundApp:
        for tier in self._tiers():
            best = [self._candidates(file) for file in tier]
            chosen = self._without_parts([found[0] for found in best if found])
            if len(chosen) > 1:
                raise self._several(chosen)
            if chosen:
                return self._chosen(chosen[0])
        raise self._none()

    def _chosen(self, chosen: Candidate) -> FoundApp:
        root, entrypoint = self._entrypoint(chosen)
        made = "is made" if chosen.defined else "is imported"
        why = f"{chosen.name} {made} in {chosen.file}"
        if str(chosen.file) in PRIORITY:
            why += ", where FastAPI's own command looks too"
        return self._found(entrypoint, chosen.file, root, why, chosen.app, Source.FOUND)

    def _tiers(self) -> Iterator[list[PurePosixPath]]:
        """Files to look at, in groups of equal rank: fastapi-cli's first, examples last."""
        for base in (HERE, SOURCE_FOLDER):
            yield from ([base / name] for name in PRIORITY if self.project.is_file(base / name))
        aside = [file for file in self.project.python_files if not ASIDE.isdisjoint(file.parts)]
        others = [file for file in self.project.python_files if ASIDE.isdisjoint(file.parts)]
        yield self._best_of_each(others)
        yield self._best_of_each(aside)

    def _best_of_each(self, files: Iterable[PurePosixPath]) -> list[PurePosixPath]:
        """Of each top-level package the files of its best rank that have an app."""
        best: dict[str, tuple[tuple[int, int], list[PurePosixPath]]] = {}
        for file in files:
            if not self._mentions_fastapi(file) or not self._candidates(file):
                continue
            parts = file.parts[1:] if file.parts[0] == "src" else file.parts
            rank = _rank(file)
            known = best.get(parts[0])
            if known is None or rank < known[0]:
                best[parts[0]] = rank, [file]
            elif rank == known[0]:
                known[1].append(file)
        return [file for _, group in best.values() for file in group]

    def _mentions_fastapi(self, file: PurePosixPath) -> bool:
        """A cheap look before parsing; an app that is only imported counts in the usual files."""
        if file.stem in FILE_NAMES:
            return True
        text = self.project.text(file)
        return text is not None and re.search("fastapi|app", text, re.IGNORECASE) is not None

    def _candidates(self, file: PurePosixPath) -> list[Candidate]:
        """The apps of a file, best first."""
        scope = self.project.scope(file)
        if scope is None:
            return []
        found = [c for name in scope.names if (c := self._candidate(scope, name))]
        mounted = _mounted(scope)
        found.sort(key=lambda c: (c.name not in OBJECT_NAMES, c.name != "app", c.name in mounted))
        return found

    def _candidate(self, scope: Scope, name: str) -> Candidate | None:
        defined = any(isinstance(binding, Assigned) for binding in scope.names[name])
        only_imported = all(isinstance(binding, Imported) for binding in scope.names[name])
        if not defined and not (only_imported and scope.file.stem in FILE_NAMES):
            return None
        meaning = self.names.named(name, scope) or self._wrapped(scope, name)
        if isinstance(meaning, Instance) and meaning.kind == "app":
            return Candidate(scope.file, name, meaning, defined)
        return None

    def _wrapped(self, scope: Scope, name: str) -> Instance | None:
        """`app = SomeMiddleware(other)`, where other is the FastAPI app."""
        for binding in scope.names.get(name, ()) if name in OBJECT_NAMES else ():
            if isinstance(binding, Assigned) and isinstance(binding.value, ast.Call):
                call = binding.value
                for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                    meaning = self.names.meaning(argument, scope)
                    if isinstance(meaning, Instance) and meaning.kind == "app":
                        return meaning
        return None

    def _without_parts(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those that no other candidate imports: what is imported is mounted or re-exported."""
        if len(candidates) < 2:
            return candidates
        defined = [candidate for candidate in candidates if candidate.defined] or candidates
        reach = {c.file: self.project.reachable(c.file) for c in defined}
        rest = [
            candidate
            for candidate in defined
            if not any(
                candidate.file in reach[other.file] and other.file not in reach[candidate.file]
                for other in defined
            )
        ]
        return rest or defined

    def _entrypoint(self, candidate: Candidate) -> tuple[PurePosixPath, str]:
        root = self._root(candidate.file)
        module = candidate.file.relative_to(root).with_suffix("")
        parts = module.parts[:-1] if module.name == "__init__" else module.parts
        return root, f"{'.'.join(parts)}:{candidate.name}"

    def _root(self, file: PurePosixPath) -> PurePosixPath:
        """The folder to import a file from.

        Without __init__.py in its folder there are two ways: from the project, as a namespace
        package, or from the folder above its package. What its neighbours import decides.
        """
        climbed = self.project.package_root(file)
        base = self._base(file)
        if climbed in (HERE, base) or not climbed.is_relative_to(base):
            return climbed
        between = climbed.relative_to(base)
        importable = all(part.isidentifier() for part in between.parts)
        return climbed if not importable or self._imports_siblings(climbed, base) else base

    def _base(self, file: PurePosixPath) -> PurePosixPath:
        """The src folder or the project, also one inside this one, that a file belongs to."""
        for folder in file.parents:
            is_source = folder.name == "src" and not self.project.is_file(folder / "__init__.py")
            if is_source or self.project.is_file(folder / "pyproject.toml"):
                return folder
        return HERE

    def _imports_siblings(self, folder: PurePosixPath, base: PurePosixPath) -> bool:
        scopes = (
            self.project.scope(file)
            for file in self.project.python_files
            if file.is_relative_to(folder)
        )
        names = {name for scope in scopes if scope for name in first_names(scope)}
        return any(
            self._has_module(folder, name) and not self._has_module(base, name)
            for name in names
            if name and not is_standard(name)
        )

    def _has_module(self, folder: PurePosixPath, name: str) -> bool:
        return self.project.is_file(folder / f"{name}.py") or self.project.is_folder(folder / name)

    def _several(self, candidates: list[Candidate]) -> UsageError:
        named = [(self._entrypoint(candidate)[1], candidate.file) for candidate in candidates]
        return UsageError(
            f"There are {len(named)} FastAPI apps and none comes first: "
            + ", ".join(f"{entrypoint} ({file})" for entrypoint, file in named),
            code="several_apps",
            hint=CHOOSE.format(example=named[0][0]),
        )

    def _none(self) -> UsageError:
        for file in self.project.python_files:
            scope = self.project.scope(file)
            for name in scope.names if scope else ():
                meaning = scope and self.names.named(name, scope)
                if isinstance(meaning, LocalFunction) and meaning.scope is scope:
                    made = self.names.returned(meaning)
                    if made and made.kind == "app":
                        return _factory(file, name)
        return UsageError(
            "No FastAPI app was found in the source",
            code="no_app",
            hint=CHOOSE.format(example="app.main:app") + ", or name the project's folder",
            details=[f"{file}: {why}" for file, why in sorted(self.project.unreadable.items())],
        )


def _factory(file: PurePosixPath, name: str) -> UsageError:
    return UsageError(
        f"{name}() in {file} makes a FastAPI app, and nothing keeps what it makes",
        code="no_app",
        hint=f"add `app = {name}()` to {file}: factories are not called by the server",
    )


def _rank(file: PurePosixPath) -> tuple[int, int]:
    name = FILE_NAMES.index(file.stem) if file.stem in FILE_NAMES else len(FILE_NAMES)
    return name, len(file.parts)


def _mounted(scope: Scope) -> set[str]:
    """Names that are passed to somebody's `mount`."""
    found = set()
    for statement in scope.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                values = [*node.args, *(keyword.value for keyword in node.keywords)]
                if node.func.attr == "mount":
                    found |= {value.id for value in values if isinstance(value, ast.Name)}
    return found
