"""Where the process of an image listens: by its command, its settings or its source."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import PurePosixPath

from deploytool.discover.kept.started import ImageFiles, Line, Started, is_python, unwrapped
from deploytool.discover.source import HERE, Assigned, Project, Scope, table_at
from deploytool.lint.dockerfile import Stage

DEFAULT = 8000
MAX_MODULES = 200
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
_ADDRESS = re.compile(r"(?:.*:)?(\d{1,5})")
_NAMED = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True)
class Listening:
    port: int
    why: str
    is_local: bool = False
    """Whether nothing outside the container reaches it."""
    wants: str | None = None
    """The variable that has to name the port, without which it does not start."""
    doubt: str | None = None


class Listens:
    def __init__(self, files: ImageFiles, stage: Stage, started: Started) -> None:
        self.files = files
        self.project = files.project
        self.stage = stage
        self.started = started

    def find(self, base_port: int | None = None) -> Listening:
        """Where it listens; `base_port` is the port of a base image that brings the server."""
        if line := self.started.server:
            return self._of_server(line)
        for line in self.started.lines:
            if found := self._of_python(line):
                return found
        return self._of_image(base_port)

    def _of_image(self, base_port: int | None) -> Listening:
        """Nothing says what is started: then by the image's own settings."""
        if (port := _port(self.stage.env.get("PORT"))) is not None:
            return Listening(port, f"ENV PORT={port}")
        if base_port:
            return Listening(base_port, "the default of its base image")
        if (port := self._exposed()) is not None:
            return Listening(port, f"EXPOSE {port}")
        doubt = f"nothing in the Dockerfile says on which port it listens: {DEFAULT} is a guess"
        return Listening(DEFAULT, "nothing says which", doubt=doubt)

    def _exposed(self) -> int | None:
        items = (item for item in self.stage.chain if item.keyword == "EXPOSE")
        words = (word.partition("/")[0] for item in items for word in item.words)
        ports = (_port(self.stage.expand(word)) for word in words)
        return next((port for port in ports if port is not None), None)

    # --- a server's command line --------------------------------------------------------------

    def _of_server(self, line: Line) -> Listening:
        server = line.command.server or ""
        if server in ("gunicorn", "hypercorn"):
            return self._of_bind(line, server)
        own = {"uvicorn": "UVICORN_", "granian": "GRANIAN_"}.get(server, "")
        given = line.command.option("--port", "-p")
        host = line.command.option("--host") or line.env.get(f"{own}HOST" if own else "")
        default_host = "0.0.0.0" if self._is_fastapi_run(line) else "127.0.0.1"
        is_local = (host or default_host) in LOCAL and not line.command.has("--uds")
        if given is not None:
            return self._given(line, given, f"{line.where} has --port {given}", is_local)
        name = f"{own}PORT"
        if (port := _port(line.env.get(name))) is not None:
            return Listening(port, f"ENV {name}={port}, which {server} reads", is_local)
        return Listening(DEFAULT, f"{server}'s default, as {line.where} names none", is_local)

    def _is_fastapi_run(self, line: Line) -> bool:
        return line.command.server == "fastapi" and not line.command.is_development

    def _of_bind(self, line: Line, server: str) -> Listening:
        given = line.command.option("--bind", "-b") or _attached(line)
        where = f"{line.where} has --bind"
        if given is None and server == "gunicorn":
            given, where = self._gunicorn_bind(line)
        if given is not None:
            host = given.rpartition(":")[0]
            return self._given(line, given, f"{where} {given}", host in LOCAL)
        if server == "gunicorn" and (port := _port(line.env.get("PORT"))) is not None:
            return Listening(port, f"ENV PORT={port}, which gunicorn reads")
        return Listening(DEFAULT, f"{server}'s default, as {line.where} names none", True)

    def _given(self, line: Line, text: str, why: str, is_local: bool) -> Listening:
        """A port or an address as the command line has it."""
        found = _ADDRESS.fullmatch(text)
        if found and (port := _port(found[1])) is not None:
            return Listening(port, why, is_local)
        if (named := _NAMED.search(text)) and line.in_shell:
            return Listening(DEFAULT, why, is_local, wants=named[1])
        if named:
            doubt = f"{line.where} is a list, where ${named[1]} is not replaced: write the number"
            return Listening(self._exposed() or DEFAULT, why, is_local, doubt=doubt)
        return Listening(self._exposed() or DEFAULT, why, is_local)

    def _gunicorn_bind(self, line: Line) -> tuple[str | None, str]:
        """`bind` in the file that gunicorn reads its settings from."""
        name = line.command.option("--config", "-c") or "gunicorn.conf.py"
        path = posixpath.join(line.folder or "", name.removeprefix("file:"))
        file = self.files.find(path, self.stage)
        scope = self.project.scope(file) if file else None
        value = _Values(self.project, scope, line.env).of_name("bind", 0) if scope else None
        return value, f"{file} binds"

    # --- a Python program ---------------------------------------------------------------------

    def _of_python(self, line: Line) -> Listening | None:
        """`python main.py`, `python -m app` or a project's own command that calls uvicorn.run."""
        for file in self._programs(line):
            for candidate in (file, *sorted(set(self.project.imported_files(file)))):
                if found := self._of_call(candidate, line):
                    return found
        return None

    def _programs(self, line: Line) -> Iterator[PurePosixPath]:
        words = unwrapped(line.filled)
        if not words:
            return
        if not is_python(words[0]):
            yield from self._own_command(words[0])
            return
        for option, value in pairwise(words):
            if option == "-m":
                stem = value.replace(".", "/")
                yield from self._found(line, f"{stem}.py", f"{stem}/__main__.py")
                return
        names = (word for word in words[1:] if not word.startswith("-"))
        yield from self._found(line, next(names, ""))

    def _found(self, line: Line, *paths: str) -> Iterator[PurePosixPath]:
        for path in paths:
            file = self.files.find(posixpath.join(line.folder or "", path), self.stage)
            if file and file.suffix == ".py":
                yield file
                return

    def _own_command(self, name: str) -> Iterator[PurePosixPath]:
        """A command of the project's own package: [project.scripts] name = "module:function"."""
        for keys in (("project", "scripts"), ("tool", "poetry", "scripts")):
            value = table_at(self.project.pyproject, *keys).get(name)
            if isinstance(value, str):
                place = self.project.locate(value.partition(":")[0], HERE / "x")
                if place and place[1]:
                    yield place[0]

    def _of_call(self, file: PurePosixPath, line: Line) -> Listening | None:
        scope = self.project.scope(file)
        call = next(_uvicorn_calls(scope), None) if scope else None
        if scope is None or call is None:
            return None
        values = _Values(self.project, scope, line.env)
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        host = values.of(given["host"], 0) if "host" in given else "127.0.0.1"
        is_local = host in LOCAL
        if "port" not in given:
            return Listening(DEFAULT, f"uvicorn's default, as {file} names none", is_local)
        if (port := _port(values.of(given["port"], 0))) is not None:
            return Listening(port, f"{file} starts uvicorn with it", is_local)
        if (port := _port(line.env.get("PORT")) or self._exposed()) is not None:
            return Listening(port, f"{file} starts uvicorn, and the Dockerfile names it", is_local)
        doubt = f"the port that {file} starts uvicorn with is not known: {DEFAULT} is a guess"
        return Listening(DEFAULT, f"{file} starts uvicorn", is_local, doubt=doubt)


def _uvicorn_calls(scope: Scope) -> Iterator[ast.Call]:
    for statement in scope.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _name(node.func) in ("uvicorn.run", "uvicorn.Config"):
                yield node


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_name(value)}.{name}"
    return ""


def _attached(line: Line) -> str | None:
    """`-b0.0.0.0:80`."""
    words = (word for word in line.filled if re.match(r"-b[^=]", word))
    return next((word[2:] for word in words), None)


def _port(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"\d{1,5}", text):
        return None
    return int(text) if 0 < int(text) < 65536 else None


class _Values:
    """The values of simple expressions of a module, under an environment."""

    def __init__(self, project: Project, scope: Scope, env: Mapping[str, str]) -> None:
        self.project = project
        self.scope = scope
        self.env = env

    def of(self, node: ast.expr | None, depth: int) -> str | None:
        if depth > 20:
            return None
        match node:
            case ast.Constant(value=str() | int() as value):
                return str(value)
            case ast.Name(id=name):
                return self.of_name(name, depth + 1)
            case ast.FormattedValue(value=value):
                return self.of(value, depth + 1)
            case ast.JoinedStr(values=parts):
                return self._joined(parts, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], depth)
            case ast.BoolOp(op=ast.Or(), values=parts):
                known = (self.of(part, depth + 1) for part in parts)
                return next((value for value in known if value), None)
            case ast.Subscript(value=value, slice=key) if _name(value) == "os.environ":
                return self.env.get(self.of(key, depth + 1) or "")
            case ast.Attribute(attr=name):
                return self.env.get(name.upper()) or self._setting(name, depth)
            case ast.Call():
                return self._called(node, depth)
        return None

    def _setting(self, name: str, depth: int) -> str | None:
        """The default of a field of that name, as `settings.port` has it in a class or module."""
        for file in islice(sorted(self.project.reachable(self.scope.file)), MAX_MODULES):
            scope = self.project.scope(file)
            if scope and (node := next(_fields(scope, name), None)) is not None:
                return _Values(self.project, scope, self.env).of(node, depth + 1)
        return None

    def of_name(self, name: str, depth: int) -> str | None:
        found = self.scope.names.get(name, [])
        last = found[-1] if found else None
        return self.of(last.value, depth + 1) if isinstance(last, Assigned) else None

    def _joined(self, parts: list[ast.expr], depth: int) -> str | None:
        known = [self.of(part, depth + 1) for part in parts]
        return None if None in known else "".join(part or "" for part in known)

    def _called(self, call: ast.Call, depth: int) -> str | None:
        name = _name(call.func)
        if name in ("int", "str") and len(call.args) == 1:
            return self.of(call.args[0], depth + 1)
        if name in ("os.getenv", "getenv", "os.environ.get", "environ.get") and call.args:
            default = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
            known = self.env.get(self.of(call.args[0], depth + 1) or "")
            return known or (self.of(default[0], depth + 1) if default else None)
        if name in ("Field", "pydantic.Field"):
            given = [k.value for k in call.keywords if k.arg == "default"]
            return self.of((*call.args, *given)[0], depth + 1) if (*call.args, *given) else None
        return None


def _fields(scope: Scope, name: str) -> Iterator[ast.expr]:
    """The values assigned to a name in the classes of a module, and in the module itself."""
    classes = [node.body for node in scope.body if isinstance(node, ast.ClassDef)]
    for body in (*classes, scope.body):
        for node in body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value):
                    if found == name:
                        yield value
                case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                    yield value
