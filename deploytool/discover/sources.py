"""What of a project the image needs: the code that the app imports, and the files it names."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

from deploytool.discover.app import FoundApp
from deploytool.discover.source import HERE, Project, Scope, first_names, is_standard, table_at

NAMING_CALLS = frozenset(
    {"StaticFiles", "Jinja2Templates", "FileSystemLoader", "Path", "PurePath", "open", "join"}
    | {"joinpath", "FileResponse", "Config", "fileConfig", "read_text", "read_bytes"}
)
NEVER = re.compile(r"^(\.|.*\.(pem|key|log|sqlite3?|db)$)|^(tests?|venv|env|node_modules|secrets)$")
PROJECT_FILES = frozenset({"pyproject.toml", "uv.lock", "poetry.lock", "Dockerfile", "README.md"})


def find_sources(project: Path, app: FoundApp) -> tuple[str, ...]:
    """What the app needs to run, relative to the project and sorted; a folder ends with "/".

    Followed are imports from the entrypoint's module, modules that the configured commands run,
    and texts in the source that name files of the project. Dependencies are not among them.
    """
    return Sources(Project(Path(project)), app).find()


class Sources:
    def __init__(self, project: Project, app: FoundApp) -> None:
        self.project = project
        self.root = PurePosixPath(app.root)
        self.start = PurePosixPath(app.file)
        self.found: set[PurePosixPath] = set()

    def find(self) -> tuple[str, ...]:
        self._follow(self._unit(self.start))
        for module in self._configured_modules():
            self._follow_module(module)
        self._add_migrations()
        return tuple(sorted(map(self._text, filter(self._is_outermost, self.found))))

    def _text(self, path: PurePosixPath) -> str:
        return f"{path}/" if self.project.is_folder(path) else str(path)

    def _is_outermost(self, path: PurePosixPath) -> bool:
        return self.found.isdisjoint(path.parents)

    def _unit(self, file: PurePosixPath) -> PurePosixPath:
        """The top-level module or package that a file is part of."""
        return self.root / file.relative_to(self.root).parts[0]

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
            return [unit]
        return [file for file in self.project.python_files if file.is_relative_to(unit)]

    def _follow_imports(self, scope: Scope) -> None:
        for name in sorted(first_names(scope) | set(_imported_by_call(scope.body))):
            self._follow_module(name)

    def _follow_module(self, module: str) -> None:
        name = module.partition(".")[0]
        if not name or (is_standard(name) and not self._shadows(name)):
            return
        for root in dict.fromkeys((self.root, HERE)):
            for unit in (root / name, root / f"{name}.py"):
                if self.project.is_file(unit) or self._has_code(unit):
                    self._follow(unit)
                    return

    def _shadows(self, name: str) -> bool:
        return self.project.is_file(self.root / name / "__init__.py")

    def _has_code(self, folder: PurePosixPath) -> bool:
        initial = self.project.is_file(folder / "__init__.py")
        return initial or any(f.is_relative_to(folder) for f in self.project.python_files)

    def _add_named_files(self, scope: Scope) -> None:
        for text in _file_names(scope.body):
            self._add_named(text, scope.file.parent)

    def _add_named(self, text: str, folder: PurePosixPath) -> None:
        name = PurePosixPath(text)
        if not name.parts or name.is_absolute() or ".." in name.parts:
            return
        for base in dict.fromkeys((HERE, self.root, folder)):
            path = base / name
            if self.project.exists(path) and not self._is_unwanted(path):
                self.found.add(path if self.project.is_file(path) else base / name.parts[0])
                return

    def _is_unwanted(self, path: PurePosixPath) -> bool:
        if any(NEVER.match(part) for part in path.parts) or str(path) in PROJECT_FILES:
            return True
        return path in (self.root, HERE)

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
        for parent in dict.fromkeys((HERE, *self._folders())):
            settings = parent / "alembic.ini"
            if self.project.is_file(settings):
                self.found.add(settings)
                location = self._script_location(settings)
                if location and self.project.is_folder(parent / location):
                    self._follow_folder(parent / location)

    def _folders(self) -> list[PurePosixPath]:
        return [path for path in self.found if self.project.is_folder(path)]

    def _script_location(self, settings: PurePosixPath) -> PurePosixPath | None:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(self.project.text(settings) or "")
            value = parser.get("alembic", "script_location", fallback="")
        except configparser.Error:
            return None
        location = PurePosixPath(value.replace("%(here)s", ".").replace("%%", "%"))
        usable = value and ":" not in value and not location.is_absolute()
        return location if usable and ".." not in location.parts else None

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


def _imported_by_call(body: list[ast.stmt]) -> Iterator[str]:
    """`importlib.import_module("pkg.plugins")`."""
    for call in _calls(body):
        if _called_name(call) in ("import_module", "__import__") and call.args:
            argument = call.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value.lstrip(".")


def _file_names(body: list[ast.stmt]) -> Iterator[str]:
    """Texts that may name files: arguments of calls that take paths, and parts of `a / "b"`."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                yield from _texts([node.right])
            elif isinstance(node, ast.Call) and _called_name(node) in NAMING_CALLS:
                yield from _texts([*node.args, *(keyword.value for keyword in node.keywords)])
            elif isinstance(node, ast.Constant) and _has_suffix(node.value):
                yield str(node.value)


def _has_suffix(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w./-]{1,200}\.\w{1,10}", value) is not None


def _texts(nodes: Iterable[ast.expr]) -> Iterator[str]:
    for node in nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and 0 < len(text) <= 200 and "\0" not in text:
            yield text


def _calls(body: list[ast.stmt]) -> Iterator[ast.Call]:
    for statement in body:
        yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call))


def _called_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _commands(value: object) -> Iterator[list[str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("command", "prestart"):
                yield _words(inner)
            else:
                yield from _commands(inner)


def _words(command: object) -> list[str]:
    if isinstance(command, str):
        try:
            return shlex.split(command)
        except ValueError:
            return []
    return [str(word) for word in command] if isinstance(command, list) else []
