"""Finds the FastAPI app of a project: its entrypoint, import root and health path."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from deploytool.discover.apps.hints import Hint, Hints
from deploytool.discover.apps.hosts import hosts_note
from deploytool.discover.apps.layout import SOURCE_FOLDER, Layout, dotted
from deploytool.discover.apps.routes import guard_note, health_path, routes_of
from deploytool.discover.files.named import NamedPaths
from deploytool.discover.names import Instance, LocalFunction, Names
from deploytool.discover.source import (
    ASIDE,
    HERE,
    PYTHON,
    Assigned,
    Function,
    Imported,
    Project,
    Scope,
    below,
    table_at,
)
from deploytool.errors import UsageError

PRIORITY = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
FILE_NAMES = ("main", "app", "api", "__init__")
OBJECT_NAMES = ("app", "api")
FACTORY_NAMES = (
    *("create_app", "make_app", "get_app", "get_application", "build_app", "app_factory"),
    *("create_application", "init_app"),
)
ENTRYPOINT = re.compile(r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*(\(\))?$")
MENTIONS = re.compile(r"fastapi|app(lication)?(?![a-z])", re.IGNORECASE)
SHOWN = 5
LISTED = 20
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
class OtherApp:
    """An app of the project that was not taken."""

    entrypoint: str
    file: str
    take: str
    """The option or entrypoint for it."""
    named_in: str | None = None
    """The file that starts it, for example README.md."""

    def __str__(self) -> str:
        named = f", which {self.named_in} starts" if self.named_in else ""
        return f"{self.entrypoint} ({self.file}{named}): {self.take}"


@dataclass(frozen=True)
class FoundApp:
    """A FastAPI app and how it is imported."""

    entrypoint: str
    """module:object, or module:function() when a function makes the app."""
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
    """The folder that the process runs in, relative to the project: for example "backend"."""
    further_roots: tuple[str, ...] = ()
    """Other folders to import from."""
    others: tuple[OtherApp, ...] = ()
    """Apps that were not taken, when the source decided."""
    templates: tuple[str, ...] = ()
    """Folders of templates that were passed over."""
    guard_note: str | None = None
    """The next step where its health check may want a login."""
    hosts_note: str | None = None
    """The next step where it answers for some names only."""

    @property
    def factory(self) -> bool:
        """Whether the entrypoint is a function that makes the app."""
        return self.entrypoint.endswith("()")

    @property
    def target(self) -> str:
        """The entrypoint as Uvicorn takes it, with --factory for a function."""
        return self.entrypoint.removesuffix("()")

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about the choice, one line each."""
        passed = [f"{folder} is a template, and was passed over" for folder in self.templates]
        if self.others:
            passed.append(f"other apps: {_first(list(map(str, self.others)), '; ')}")
        return (*passed, self.guard_note) if self.guard_note else tuple(passed)


@dataclass(frozen=True)
class Candidate:
    file: PurePosixPath
    name: str
    app: Instance | None
    defined: bool = True
    """Made in this file, not only imported into it."""
    factory: bool = False

    @property
    def object(self) -> str:
        return f"{self.name}()" if self.factory else self.name


def find_app(
    project: Path | Project, entrypoint: str | None = None, *, others: bool = True
) -> FoundApp:
    """The app that `entrypoint`, pyproject.toml or else the source says.

    Without `others` it does not search for more apps than it needs to. Raises UsageError:
    `entrypoint_invalid`, `no_app` or `several_apps`.
    """
    return Finder(Project.at(project), others=others).find(entrypoint)


class Finder:
    def __init__(self, project: Project, *, others: bool = True) -> None:
        self.project = project
        self.names = Names(project)
        self.paths = NamedPaths(project)
        self.layout = Layout(project)
        self.hints = Hints(project, self.names)
        self._with_others = others
        self._of_file: dict[PurePosixPath, list[Candidate]] = {}

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

    # --- an entrypoint that somebody wrote ------------------------------------------------------

    def _explicit(self, entrypoint: object, source: Source) -> FoundApp:
        if not isinstance(entrypoint, str) or not ENTRYPOINT.match(entrypoint):
            raise UsageError(
                f"{entrypoint!r} is not an entrypoint ({WHY[source]})",
                code="entrypoint_invalid",
                hint='write it as "module:object", for example "app.main:app"',
            )
        module, _, name = entrypoint.removesuffix("()").partition(":")
        file, root = self._module_file(module, entrypoint)
        return self._named(entrypoint, file, root, name, source)

    def _named(
        self, entrypoint: str, file: PurePosixPath, root: PurePosixPath, name: str, source: Source
    ) -> FoundApp:
        scope = self._readable(file, entrypoint)
        first = name.partition(".")[0]
        meaning = self.names.named(first, scope)
        if first not in scope.names and not scope.stars:
            raise self._no_object(entrypoint, file, first)
        factory = entrypoint.endswith("()")
        if isinstance(meaning, LocalFunction) and name == first and not _serves(meaning.node):
            self._refuse_uncallable(meaning.node, file, first)
            factory, meaning = True, self.names.returned(meaning)
        elif factory and isinstance(meaning, Instance):
            raise UsageError(
                f"{first} in {file} is an app, not a function that makes one",
                code="entrypoint_invalid",
                hint=f"write {entrypoint.removesuffix('()')}",
            )
        app = meaning if isinstance(meaning, Instance) and meaning.kind == "app" else None
        candidate = Candidate(file, name, app or self._wrapped(scope, first), factory=factory)
        return self._found(candidate, root, WHY[source], source)

    def _refuse_uncallable(self, function: Function, file: PurePosixPath, name: str) -> None:
        """The server calls a factory without arguments, and awaits nothing."""
        required = _required(function)
        if required or isinstance(function, ast.AsyncFunctionDef):
            wants = f"wants {', '.join(required)}" if required else "is async"
            raise UsageError(
                f"{name}() in {file} {wants}: the server cannot call it to make the app",
                code="no_app",
                hint=f"write a function without parameters that returns the app, or "
                f"`app = {name}(…)`, in {file}",
            )

    def _module_file(self, module: str, entrypoint: str) -> tuple[PurePosixPath, PurePosixPath]:
        stem = PurePosixPath(*module.split("."))
        for root in (HERE, SOURCE_FOLDER):
            place = self.project.module_at(root / stem)
            if place and place[1]:
                return place[0], root
        found = self._files_named(stem, entrypoint)
        if len(found) == 1:
            return found[0]
        if found:
            raise _ambiguous(entrypoint, found)
        raise UsageError(
            f"The entrypoint {entrypoint} names the module {module}, and there is no such file",
            code="no_app",
            hint=f"looked for {stem}.py and {stem}/__init__.py in the project's folders",
        )

    def _files_named(
        self, stem: PurePosixPath, entrypoint: str
    ) -> list[tuple[PurePosixPath, PurePosixPath]]:
        """The files that a module may be, and the folders to import them from then; only those
        with the object where that distinguishes them."""
        found = []
        for file in self.project.python_files:
            module = file.parent if file.name == "__init__.py" else file.with_suffix("")
            if module.parts[-len(stem.parts) :] == stem.parts:
                found.append((file, PurePosixPath(*module.parts[: -len(stem.parts)])))
        rooted = [pair for pair in found if self.layout.root(pair[0]) == pair[1]] or found
        name = entrypoint.removesuffix("()").partition(":")[2].partition(".")[0]
        scopes = [(pair, self.project.scope(pair[0])) for pair in rooted]
        having = [pair for pair, scope in scopes if scope and name in scope.names]
        return having or rooted

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
        there = [c.object for c in (*self._candidates(file), *self._factories(file))]
        known = f"it has {', '.join(there)}" if there else "no FastAPI app is made in it"
        return UsageError(
            f"The entrypoint {entrypoint} names {name}, which {file} does not have",
            code="no_app",
            hint=f"{known}: correct the entrypoint",
        )

    def _found(self, chosen: Candidate, root: PurePosixPath, why: str, source: Source) -> FoundApp:
        health, health_why = None, "the app's routes cannot be read from the source"
        routes = routes_of(self.names, chosen.app) if chosen.app else []
        if chosen.app:
            health, health_why = health_path(self.names, chosen.app, routes)
        return FoundApp(
            f"{dotted(chosen.file.relative_to(root))}:{chosen.object}",
            str(chosen.file),
            str(root),
            why,
            health,
            health_why,
            source,
            self._root_path(chosen.app),
            str(self._workdir(chosen.file, root)),
            tuple(map(str, self.layout.further_roots(chosen.file))),
            self._others(chosen) if source is Source.FOUND and self._with_others else (),
            tuple(f"{path}/" for path in self.project.templates if self.project.is_folder(path)),
            guard_note(routes, health),
            hosts_note(self.names, chosen.app) if chosen.app else None,
        )

    def _root_path(self, app: Instance | None) -> str | None:
        for keyword in app.call.keywords if app and app.call else ():
            if app and keyword.arg == "root_path":
                return self.names.text(keyword.value, app.scope)
        return None

    def _workdir(self, file: PurePosixPath, root: PurePosixPath) -> PurePosixPath:
        """The folder that people start the app in: that which its relative paths are below."""
        usual = root.parent if root.name == "src" else root
        folders = [usual, *(folder for folder in file.parents[::-1] if folder != usual)]
        if len(folders) == 1:
            return usual
        paths = self._relative_paths(file)
        there = {folder: sum(self._has(folder, path) for path in paths) for folder in folders}
        return max(folders, key=lambda folder: there[folder])

    def _relative_paths(self, file: PurePosixPath) -> set[PurePosixPath]:
        scopes = (self.project.scope(reached) for reached in self.project.reachable(file))
        named = (found for scope in scopes if scope for found in self.paths.named_in(scope))
        return {found.path for found in named if found.sure and not found.anchored}

    def _has(self, folder: PurePosixPath, path: PurePosixPath) -> bool:
        inside = below(folder, path)
        return bool(path.parts) and inside is not None and self.project.exists(inside)

    # --- what the source says -------------------------------------------------------------------

    def _discovered(self) -> FoundApp:
        for chosen, why in self._choices():
            return self._found(chosen, self.layout.root(chosen.file), why, Source.FOUND)
        return self._only_hinted()

    def _choices(self) -> Iterator[tuple[Candidate, str]]:
        """Apps that may be chosen, best first; the rest of them is not looked for."""
        yield from self._started(self.hints.deployed(near=True))
        for base in (HERE, SOURCE_FOLDER):
            for name in PRIORITY:
                found, factories = self._candidates(base / name), self._factories(base / name)
                yield from map(_because, [c for c in found if not _is_mounted(c, factories)][:1])
        yield from self._started([self._run_by_source()])
        own = [file for file in self.project.python_files if ASIDE.isdisjoint(file.parts)]
        aside = [file for file in self.project.python_files if not ASIDE.isdisjoint(file.parts)]
        for files in (own, aside):
            apps, factories = self._apps(files), self._best_factories(files)
            yield from self._one_of([app for app in apps if not self._is_part(app, factories)])
            yield from self._one_of(factories)

    def _run_by_source(self) -> list[Hint]:
        """Modules that run an app of another one. Many run their own, to try it; that tells more
        only of a factory, which nothing else would call."""
        meant = ((hint, self._meant(hint)) for hint in self.hints.in_source())
        return [hint for hint, c in meant if c and (c.factory or c.file != hint.file)]

    def _is_part(self, app: Candidate, factories: list[Candidate]) -> bool:
        """Whether a factory's module imports the app: what it makes has the app as a part."""
        return _is_mounted(app, factories) or any(
            factory.name in FACTORY_NAMES
            and app.file in self.project.reachable(factory.file)
            and factory.file not in self.project.reachable(app.file)
            and not _is_same(app, factory)
            for factory in factories
        )

    def _apps(self, files: Iterable[PurePosixPath]) -> list[Candidate]:
        mentioned = (file for file in files if self._mentions_fastapi(file))
        apps = {file: found[0] for file in mentioned if (found := self._candidates(file))}
        return self._without_parts([apps[file] for file in _best_of_each(apps)])

    def _best_factories(self, files: Iterable[PurePosixPath]) -> list[Candidate]:
        mentioned = (file for file in files if self._mentions_fastapi(file))
        made = {file: found[0] for file in mentioned if (found := self._factories(file))}
        return self._without_parts([made[file] for file in _best_of_each(made)])

    def _one_of(self, candidates: list[Candidate]) -> Iterator[tuple[Candidate, str]]:
        """The only one, or that which the project's files start. Raises UsageError otherwise."""
        if len(candidates) < 2:
            yield from map(_because, candidates)
            return
        named = [*self.hints.deployed(near=False), self.hints.in_source(), *self.hints.described()]
        same = {(candidate.file, candidate.name) for candidate in candidates}
        for chosen, why in self._started(named):
            if (chosen.file, chosen.name) in same:
                yield chosen, why
        raise self._several(candidates)

    def _started(self, kinds: Iterable[list[Hint]]) -> Iterator[tuple[Candidate, str]]:
        """The app that the first kind of hint that names just one names."""
        for hints in kinds:
            meant = {(c.file, c.name): (c, hint) for hint in hints if (c := self._meant(hint))}
            if len(meant) == 1:
                candidate, hint = next(iter(meant.values()))
                entrypoint = f"{self.layout.module(candidate.file)}:{candidate.object}"
                yield candidate, f"{hint.file} starts {entrypoint}"

    def _meant(self, hint: Hint, depth: int = 0) -> Candidate | None:
        files = self._files_meant(hint)
        found = [(file, c) for file in files if (c := self._in_file(file, hint, depth))]
        if len({(c.file, c.name) for _, c in found}) == 1:
            return found[0][1]
        return None

    def _files_meant(self, hint: Hint) -> list[PurePosixPath]:
        """The files that a hint can mean; the one that it names from its own folder, if any."""
        named = PurePosixPath(*hint.module.split("."))
        stem = hint.script.with_suffix("") if hint.script else named
        for base in (hint.folder, HERE):
            if (path := below(base, stem)) and (file := self._runnable(path, hint)):
                return [file]
        files = [file for file in self.project.python_files if ASIDE.isdisjoint(file.parts)]
        for ending in _endings(stem):
            if meant := [file for file in files if _module_parts(file)[-len(ending) :] == ending]:
                return meant
        return []

    def _runnable(self, path: PurePosixPath, hint: Hint) -> PurePosixPath | None:
        """The file of a module that is named; `python -m` runs the __main__.py of a package."""
        if hint.runs and not hint.script and self.project.is_file(path / "__main__.py"):
            return path / "__main__.py"
        place = self.project.module_at(path) if path.parts else None
        return place[0] if place and place[1] else None

    def _in_file(self, file: PurePosixPath, hint: Hint, depth: int) -> Candidate | None:
        if hint.runs:
            started = self.hints.in_module(file) if depth < 2 else iter(())
            return next((c for other in started if (c := self._meant(other, depth + 1))), None)
        candidates = [*self._candidates(file), *self._factories(file)]
        if hint.name is None:
            return next(iter(candidates), None)
        return next((c for c in candidates if c.name == hint.name), None)

    def _only_hinted(self) -> FoundApp:
        """The source shows no app; a file that starts one may still name where it is."""
        kinds = [*self.hints.deployed(near=True), *self.hints.deployed(near=False)]
        for hint in (hint for kind in [*kinds, self.hints.in_source()] for hint in kind):
            files = self._files_meant(hint) if hint.name and not hint.runs else []
            scope = self.project.scope(files[0]) if len(files) == 1 else None
            if scope and hint.name in scope.names:
                candidate = Candidate(scope.file, hint.name, None, factory=hint.factory)
                root = self.layout.root(scope.file)
                why = f"{hint.file} starts {candidate.object} of {scope.file}"
                return self._found(candidate, root, why, Source.FOUND)
        raise self._none()

    def _others(self, chosen: Candidate) -> tuple[OtherApp, ...]:
        own = [file for file in self.project.python_files if ASIDE.isdisjoint(file.parts)]
        parts = self.project.reachable(chosen.file)
        described = self.hints.described()
        named = {(c.file, c.name): h for hints in described for h in hints if (c := self._meant(h))}
        return tuple(
            self._other(candidate, named.get((candidate.file, candidate.name)))
            for candidate in self._apps(own)
            if candidate.defined and candidate.file not in parts
            if not _is_same(candidate, chosen)
        )

    def _other(self, candidate: Candidate, hint: Hint | None) -> OtherApp:
        entrypoint = f"{self.layout.module(candidate.file)}:{candidate.object}"
        take = self._take(candidate, entrypoint)
        return OtherApp(entrypoint, str(candidate.file), take, str(hint.file) if hint else None)

    def _take(self, candidate: Candidate, entrypoint: str) -> str:
        """The entrypoint or option for an app: the entrypoint where that can mean no other one."""
        module = entrypoint.partition(":")[0]
        try:
            if self._module_file(module, entrypoint)[0] == candidate.file:
                return f"--entrypoint {entrypoint}"
        except UsageError:
            pass
        return f"deploytool init {_folder_to_run_in(self.layout.root(candidate.file))}"

    def _mentions_fastapi(self, file: PurePosixPath) -> bool:
        """A cheap check before parsing; an app that is only imported counts in the usual files."""
        if file.stem in FILE_NAMES:
            return True
        text = self.project.text(file)
        return text is not None and MENTIONS.search(text) is not None

    def _candidates(self, file: PurePosixPath) -> list[Candidate]:
        """The apps of a file, best first."""
        if file not in self._of_file:
            self._of_file[file] = self._candidates_in(file)
        return self._of_file[file]

    def _candidates_in(self, file: PurePosixPath) -> list[Candidate]:
        scope = self.project.scope(file) if self.project.is_file(file) else None
        if scope is None:
            return []
        found = [c for name in scope.names if (c := self._candidate(scope, name))]
        mounted = _mounted(scope) if len(found) > 1 else set()
        found.sort(key=lambda c: (c.name not in OBJECT_NAMES, c.name != "app", c.name in mounted))
        return found

    def _factories(self, file: PurePosixPath) -> list[Candidate]:
        """The functions of a file that make an app and need nothing for it, best first."""
        scope = self.project.scope(file) if self.project.is_file(file) else None
        if scope is None:
            return []
        made = {name: app for name in scope.names if (app := self._made_by(scope, name))}
        found = [Candidate(file, name, app, factory=True) for name, app in made.items()]
        used = _used_in_functions(scope, set(made)) if len(found) > 1 else set()
        return sorted(found, key=lambda c: (_factory_rank(c.name), c.name in used))

    def _made_by(self, scope: Scope, name: str) -> Instance | None:
        meaning = self.names.named(name, scope)
        if isinstance(meaning, LocalFunction) and meaning.scope is scope:
            made = None if _required(meaning.node) else self.names.returned(meaning)
            return made if made and made.kind == "app" else None
        return None

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

    def _several(self, candidates: list[Candidate]) -> UsageError:
        apps = [self._other(candidate, None) for candidate in candidates]
        listed = _first([f"{app.entrypoint} ({app.file})" for app in apps], ", ")
        advice = CHOOSE.format(example=apps[0].entrypoint)
        if apps[0].take.startswith("deploytool"):
            advice = f"run this in the folder of the one that you want: `{apps[0].take}`"
        return UsageError(
            f"There are {len(apps)} FastAPI apps and none comes first: {listed}",
            code="several_apps",
            hint=advice,
            details=_at_most([str(app) for app in apps], LISTED),
        )

    def _none(self) -> UsageError:
        for file in self.project.python_files:
            for name, function in self._with_parameters(file):
                return UsageError(
                    f"{name}() in {file} makes a FastAPI app, and nothing keeps what it makes",
                    code="no_app",
                    hint=f"add `app = {name}({', '.join(_required(function))})` to {file}: the "
                    "server calls only functions without parameters",
                )
        templates = [
            f"{path} is a template, and was passed over" for path in self.project.templates
        ]
        unreadable = [f"{file}: {why}" for file, why in sorted(self.project.unreadable.items())]
        hint = CHOOSE.format(example="app.main:app") + ", or name the project's folder"
        if unreadable and not templates:
            hint = (
                f"correct what is named above; where it is right and newer than {PYTHON}, which "
                "runs deploytool, use a newer one: uvx --python 3.14 deploytool init"
            )
        if templates:
            hint = "make a project from the template and run this in it, or " + hint
        return UsageError(
            "No FastAPI app was found in the source",
            code="no_app",
            hint=hint,
            details=[*_at_most(templates), *_at_most(unreadable)],
        )

    def _with_parameters(self, file: PurePosixPath) -> Iterator[tuple[str, Function]]:
        """Functions that make an app, for which the server would have to know something."""
        scope = self.project.scope(file)
        for name in scope.names if scope else ():
            meaning = scope and self.names.named(name, scope)
            if isinstance(meaning, LocalFunction) and meaning.scope is scope:
                made = self.names.returned(meaning)
                if made and made.kind == "app":
                    yield name, meaning.node


def _is_mounted(app: Candidate, factories: list[Candidate]) -> bool:
    """Whether an app is only imported, under a name of its own, where a factory is."""
    beside = any(factory.file == app.file and not _is_same(app, factory) for factory in factories)
    return beside and not app.defined and app.name not in OBJECT_NAMES


def _is_same(one: Candidate, other: Candidate) -> bool:
    """Whether two names are of one app: the same call makes it."""
    return one.app is not None and other.app is not None and one.app.call is other.app.call


def _because(chosen: Candidate) -> tuple[Candidate, str]:
    made = "is made" if chosen.defined else "is imported"
    why = f"{chosen.name} {made} in {chosen.file}"
    if chosen.factory:
        why = f"{chosen.object} in {chosen.file} makes the app"
    if str(chosen.file) in PRIORITY:
        why += ", where FastAPI's own command finds it too"
    return chosen, why


def _ambiguous(entrypoint: str, found: list[tuple[PurePosixPath, PurePosixPath]]) -> UsageError:
    folders = [str(_folder_to_run_in(root)) for _, root in found]
    return UsageError(
        f"The entrypoint {entrypoint} is in {len(folders)} folders: {_first(folders, ', ')}",
        code="several_apps",
        hint=f"run this in the folder of the one that you want: `deploytool init {folders[0]}`",
        details=_at_most(
            [f"{file}: deploytool init {folders[i]}" for i, (file, _) in enumerate(found)], LISTED
        ),
    )


def _folder_to_run_in(root: PurePosixPath) -> PurePosixPath:
    return root.parent if root.name == "src" else root


def _first(texts: list[str], separator: str) -> str:
    return separator.join(_at_most(texts))


def _at_most(texts: list[str], most: int = SHOWN) -> list[str]:
    left = len(texts) - most
    return [*texts[:most], *([f"and {left} more"] if left > 0 else [])]


def _required(function: Function) -> list[str]:
    """The parameters that a call has to give."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[: len(positional) - len(arguments.defaults)]
    defaults = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required += [argument for argument, default in defaults if default is None]
    return [argument.arg for argument in required]


def _serves(function: Function) -> bool:
    """`async def app(scope, receive, send)`: it is an app itself."""
    return isinstance(function, ast.AsyncFunctionDef) and len(_required(function)) == 3


def _used_in_functions(scope: Scope, names: set[str]) -> set[str]:
    inside = (node for node in scope.body if isinstance(node, Function))
    nodes = (inner for function in inside for inner in ast.walk(function))
    return {node.id for node in nodes if isinstance(node, ast.Name)} & names


def _factory_rank(name: str) -> int:
    return FACTORY_NAMES.index(name) if name in FACTORY_NAMES else len(FACTORY_NAMES)


def _endings(stem: PurePosixPath) -> list[tuple[str, ...]]:
    """A relative path whole; of one in the image it is not known how much is the project's."""
    parts = stem.parts
    return [parts[i:] for i in range(1, len(parts))] if stem.is_absolute() else [parts]


def _module_parts(file: PurePosixPath) -> tuple[str, ...]:
    return file.parent.parts if file.name == "__init__.py" else file.with_suffix("").parts


def _best_of_each(files: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """Of each top-level package the files of its best rank."""
    best: dict[str, tuple[tuple[int, int], list[PurePosixPath]]] = {}
    for file in files:
        parts = file.parts[1:] if file.parts[0] == "src" else file.parts
        rank = _rank(file)
        known = best.get(parts[0])
        if known is None or rank < known[0]:
            best[parts[0]] = rank, [file]
        elif rank == known[0]:
            known[1].append(file)
    return [file for _, group in best.values() for file in group]


def _rank(file: PurePosixPath) -> tuple[int, int]:
    name = FILE_NAMES.index(file.stem) if file.stem in FILE_NAMES else len(FILE_NAMES)
    return name, len(file.parts)


def _mounted(scope: Scope) -> set[str]:
    """Names that are passed to somebody's `mount`."""
    found = set()
    for call in scope.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "mount":
            values = [*call.args, *(keyword.value for keyword in call.keywords)]
            found |= {value.id for value in values if isinstance(value, ast.Name)}
    return found
