"""Hints of a project's files at the app that is started: Dockerfile, Procfile, compose, README."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.discover.names import Instance, LocalFunction, Names
from deploytool.discover.source import ASIDE, HERE, Imported, Project, Scope, is_true

DEPLOYED = (
    re.compile(r"^(.+\.)?(docker|container)file(\..+)?$", re.IGNORECASE),
    re.compile(r"^Procfile$"),
    re.compile(r"^(docker-)?compose[\w.-]*\.ya?ml$"),
)
"""Files that start the app where it is deployed, the first kind first."""
DESCRIBED = (
    re.compile(r"^(Makefile|justfile|pyproject\.toml|package\.json|.+\.sh)$", re.IGNORECASE),
    re.compile(r"^README(\.(md|rst|txt))?$", re.IGNORECASE),
)
"""Files that start it somewhere else, or say how."""
BESIDE = frozenset({"docker", "deploy", "deployment", "compose", "infra", "ops", "scripts", "bin"})
OBJECT = re.compile(r"([^\W\d][\w.]*:[^\W\d]\w*)(\(\))?")
SERVER = re.compile(r"(?<![\w./-])(uvicorn|gunicorn|hypercorn|granian)(?![\w-])(?P<rest>.*)")
FASTAPI = re.compile(r"(?<![\w./-])fastapi[\s\"',]+(run|dev)(?P<rest>.*)")
PYTHON = re.compile(
    r"(?<![\w./-])python[\d.]*[\s\"',]+(?:-u[\s\"',]+)?"
    r"(?:-m[\s\"',]+(?P<module>[\w.]+)|(?P<script>[\w./-]+\.py))"
)
FOLDER = re.compile(r"\bcd\s+(?P<folder>[\w./-]+)\s*&&")
SEPARATORS = re.compile(r"[\s\"'`\[\],;]+")


@dataclass(frozen=True)
class Hint:
    """A file that starts an app."""

    file: PurePosixPath
    module: str = ""
    """The module of the app; empty when only its file is known."""
    script: PurePosixPath | None = None
    name: str | None = None
    factory: bool = False
    folder: PurePosixPath = HERE
    """Where it is started, as far as the file shows."""
    runs: bool = False
    """The module or file is run, and need not have the app."""


class Hints:
    """Reads the files that start an app or say how; kinds as the constants above list them."""

    def __init__(self, project: Project, names: Names) -> None:
        self.project = project
        self.names = names

    def deployed(self, *, near: bool) -> Iterator[list[Hint]]:
        """Those of each kind, in the project's own folder or in the folders inside."""
        for kind in DEPLOYED:
            yield self._of_kind(kind, near)

    def described(self) -> Iterator[list[Hint]]:
        for kind in DESCRIBED:
            yield [*self._of_kind(kind, near=True), *self._of_kind(kind, near=False)]

    def _of_kind(self, kind: re.Pattern[str], near: bool) -> list[Hint]:
        return [hint for file in self._files(kind, near) for hint in self._in_text(file)]

    def _files(self, kind: re.Pattern[str], near: bool) -> Iterator[PurePosixPath]:
        for folder in self._near() if near else self._inside():
            for name, is_folder in sorted(self.project.listing(folder).items()):
                if not is_folder and kind.match(name):
                    yield folder / name

    def _near(self) -> list[PurePosixPath]:
        inside = sorted(self.project.listing(HERE).items())
        names = [name for name, is_folder in inside if is_folder]
        return [HERE, *(HERE / name for name in names if name.strip(".").lower() in BESIDE)]

    def _inside(self) -> list[PurePosixPath]:
        folders = {folder for file in self.project.python_files for folder in file.parents}
        own = [folder for folder in folders if ASIDE.isdisjoint(folder.parts)]
        return sorted(folder for folder in own if folder not in self._near())

    def _in_text(self, file: PurePosixPath) -> Iterator[Hint]:
        text = self.project.text(file) or ""
        text = re.sub(r"\\\r?\n", " ", text)
        if file.suffix in (".yml", ".yaml"):
            text = re.sub(r"\n\s*-\s+", " ", text)
        for line in text.splitlines():
            if len(line) < 2_000 and not line.lstrip().startswith("#"):
                yield from self._in_line(file, line)

    def _in_line(self, file: PurePosixPath, line: str) -> Iterator[Hint]:
        cd = FOLDER.search(line)
        folder = file.parent / cd["folder"] if cd else file.parent
        if server := SERVER.search(line):
            yield from _started(file, folder, server["rest"])
        elif fastapi := FASTAPI.search(line):
            yield from _run_by_fastapi(file, folder, fastapi["rest"])
        elif python := PYTHON.search(line):
            script = PurePosixPath(python["script"]) if python["script"] else None
            yield Hint(file, python["module"] or "", script, folder=folder, runs=True)

    def in_source(self) -> list[Hint]:
        """`uvicorn.run("pkg.app:create_app", factory=True)` of the project's own modules."""
        files = (file for file in self.project.python_files if ASIDE.isdisjoint(file.parts))
        return [hint for file in files for hint in self.in_module(file)]

    def in_module(self, file: PurePosixPath) -> Iterator[Hint]:
        if "uvicorn" in (self.project.text(file) or ""):
            scope = self.project.scope(file)
            for call in scope.calls if scope else ():
                if scope and _is_server(call, scope) and (hint := self._in_call(call, scope)):
                    yield hint

    def _in_call(self, call: ast.Call, scope: Scope) -> Hint | None:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        target = call.args[0] if call.args else given.get("app")
        match target:
            case ast.Name(id=name) if _is_app(self.names.named(name, scope)):
                return Hint(scope.file, script=scope.file, name=name, folder=HERE)
            case ast.Call(func=function, args=[], keywords=[]):
                made_by = self.names.meaning(function, scope)
                if isinstance(made_by, LocalFunction):
                    file, name = made_by.scope.file, made_by.node.name
                    return Hint(scope.file, script=file, name=name, folder=HERE)
        text = self.names.text(target, scope) if target is not None else None
        return _in_code(scope.file, text or "", is_true(given.get("factory")))


def _in_code(file: PurePosixPath, text: str, factory: bool) -> Hint | None:
    found = OBJECT.fullmatch(text)
    if found is None:
        return None
    module, _, name = found[1].partition(":")
    if module == "__main__":
        return Hint(file, script=file, name=name, factory=factory)
    return Hint(file, module, None, name, factory, file.parent)


def _is_server(call: ast.Call, scope: Scope) -> bool:
    """`uvicorn.run(…)` or `uvicorn.Config(…)`."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="uvicorn"), attr="run" | "Config"):
            return True
        case ast.Name(id=("run" | "Config") as name):
            return Imported("uvicorn", name, 0) in scope.imported
    return False


def _is_app(meaning: object) -> bool:
    return isinstance(meaning, Instance) and meaning.kind == "app"


def _started(file: PurePosixPath, folder: PurePosixPath, rest: str) -> Iterator[Hint]:
    """The app in the arguments of a server."""
    words = SEPARATORS.split(rest)
    for word in words:
        if found := OBJECT.fullmatch(word):
            module, _, name = found[1].partition(":")
            factory = bool(found[2]) or "--factory" in words
            yield Hint(file, module, None, name, factory, _inside(folder, words))
            return


def _inside(folder: PurePosixPath, words: list[str]) -> PurePosixPath:
    """`--app-dir src`"""
    joined = " ".join(words).replace("=", " ").split()
    if "--app-dir" in joined[:-1]:
        return folder / joined[joined.index("--app-dir") + 1]
    return folder


def _run_by_fastapi(file: PurePosixPath, folder: PurePosixPath, rest: str) -> Iterator[Hint]:
    words = [word for word in SEPARATORS.split(rest.replace("=", " ")) if word]
    name = words[words.index("--app") + 1] if "--app" in words[:-1] else None
    script = next((word for word in words if word.endswith(".py")), None)
    if script:
        yield Hint(file, script=PurePosixPath(script), name=name, folder=folder)
