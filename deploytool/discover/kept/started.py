"""The processes of a Dockerfile's image: its command, and the scripts that this runs.

CMD, ENTRYPOINT ──▶ command lines ──a script of the project──▶ its lines …
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath

from deploytool.discover.source import HERE, Project
from deploytool.lint.commands import Command, shell_script
from deploytool.lint.dockerfile import Dockerfile, Instruction, Stage, expand
from deploytool.lint.dockerignore import Pattern, cleaned

SHELLS = ("sh", "bash", "dash", "ash", "zsh")
TALK = ("echo", "printf", "pip", "pip3", "which", "command", "pkill", "pgrep", "grep", "kill")
SCRIPT_FOLDERS = ("", "scripts", "script", "bin", "docker", "deploy", "deployment")
PROGRAMS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin")
MAX_DEPTH = 4
MAX_LINES = 5_000
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_KEYWORDS = frozenset(
    {"exec", "if", "then", "else", "elif", "do", "while", "until", "!", "time", "nohup"}
    | {"export", "{", "env", "eval"}
)
_ENVIRONMENTS = ("poetry", "uv", "pipenv", "pdm", "hatch", "rye")
_INITS = ("tini", "dumb-init", "catatonit")


@dataclass(frozen=True)
class Line:
    """One simple command."""

    words: tuple[str, ...]
    where: str
    """Who runs it: "CMD", "ENTRYPOINT" or a script's path in the project."""
    in_shell: bool
    """Whether a shell fills in its variables."""
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    """Where `cd` went before."""

    @cached_property
    def command(self) -> Command:
        return Command(tuple(self.filled))

    @cached_property
    def filled(self) -> tuple[str, ...]:
        """The words with the variables in them that are known."""
        if not self.in_shell:
            return self.words
        return tuple(_filled(word, self.env) for word in self.words)

    @property
    def talks(self) -> bool:
        """Whether the names in it are only talked about."""
        return bool(self.words) and PurePosixPath(self.words[0]).name in TALK


class ImageFiles:
    """Where the files of an image come from in the project."""

    def __init__(self, project: Project, dockerfile: Dockerfile, context: PurePosixPath) -> None:
        self.project = project
        self.dockerfile = dockerfile
        self.context = context

    def find(self, path: str, stage: Stage) -> PurePosixPath | None:
        """The project's file that is at a path of the image, or is most likely put there."""
        folders = (stage.workdir, *(PROGRAMS if "/" not in path else ()))
        for folder in folders:
            target = posixpath.normpath(posixpath.join(folder, path))
            if found := self._copied(stage, target, 0):
                return found
        return self._by_name(posixpath.basename(path))

    def _by_name(self, name: str) -> PurePosixPath | None:
        files = (self.context / folder / name for folder in SCRIPT_FOLDERS)
        return next((file for file in files if name and self.project.is_file(file)), None)

    def _copied(self, stage: Stage, target: str, depth: int) -> PurePosixPath | None:
        for item, folder in reversed([*stage.in_folders]):
            if item.keyword in ("COPY", "ADD") and len(item.words) >= 2 and depth <= MAX_DEPTH:
                found = self._of(item, stage, folder, target, depth)
                if found:
                    return found
        return None

    def _of(
        self, item: Instruction, stage: Stage, folder: str, target: str, depth: int
    ) -> PurePosixPath | None:
        *sources, last = (stage.expand(word) for word in item.words)
        into = posixpath.normpath(posixpath.join(folder, last))
        other = self.dockerfile.named(item.flags["from"]) if "from" in item.flags else None
        for source in sources:
            for path in _origins(source, into, target):
                if other:
                    found = self._copied(other, posixpath.join("/", path), depth + 1)
                elif "from" not in item.flags:
                    file = self.context / cleaned(path)
                    found = file if self.project.is_file(file) else None
                else:
                    found = None
                if found:
                    return found
        return None


def _origins(source: str, into: str, target: str) -> Iterator[str]:
    """Where a file may come from that a COPY of the source puts at the target."""
    name = posixpath.basename(target)
    if target == into:
        yield source
    if posixpath.dirname(target) == into and Pattern(False, posixpath.basename(source)).matches(
        name
    ):
        yield posixpath.join(posixpath.dirname(source), name)
    prefix = "/" if into == "/" else f"{into}/"
    if target.startswith(prefix):
        yield posixpath.join(source, target.removeprefix(prefix))


def own_words(stage: Stage) -> tuple[str, ...]:
    """ENTRYPOINT and CMD of the stage, in words; empty when it has none of its own."""
    entrypoint, command = stage.last("ENTRYPOINT"), stage.last("CMD")
    if entrypoint and entrypoint.arguments is None:
        command = None
    return tuple(word for item in (entrypoint, command) if item for word in item.words)


def simple_commands(
    text: str, where: str, env: Mapping[str, str], folder: str | None = None
) -> Iterator[Line]:
    """The commands of a shell script, in the order in which they are written."""
    known = dict(env)
    for words in _split(text):
        rest = list(words)
        while rest and (rest[0] in _KEYWORDS or (match := _ASSIGNMENT.fullmatch(rest[0]))):
            if rest[0] not in _KEYWORDS and match:
                known[match[1]] = _filled(match[2], known)
            del rest[0]
        if len(rest) == 2 and rest[0] == "cd":
            folder = rest[1]
        elif rest:
            yield Line(tuple(rest), where, True, dict(known), folder)


def _filled(text: str, env: Mapping[str, str]) -> str:
    """Filled in twice: a default may be a variable too."""
    return expand(expand(text, env), env)


def _split(text: str) -> Iterator[list[str]]:
    text = re.sub(r"\\\r?\n", " ", text)
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for token in lexer:
                if set(token) <= set(";&|()"):
                    yield words
                    words = []
                else:
                    words.append(token)
        except ValueError:
            words = line.split()
        yield words


class Started:
    """The command lines that a container runs."""

    def __init__(self, files: ImageFiles, stage: Stage, first: Sequence[str] = ()) -> None:
        self.files = files
        self.stage = stage
        self.first = tuple(first)
        """Scripts that the base image runs before all else."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """All of them, those of scripts in the place of the command that runs the script."""
        scripts = (Line((path,), path, False, self.stage.env) for path in self.first)
        found = (line for top in (*scripts, *self._top()) for line in self._unfolded(top, 0))
        return tuple(islice(found, MAX_LINES))

    @cached_property
    def server(self) -> Line | None:
        """The one that starts a web server; one that does not reload comes first."""
        found = [line for line in self.lines if line.command.server and not line.talks]
        found.sort(key=lambda line: line.command.reloads or line.command.is_development)
        return found[0] if found else None

    @property
    def takes_command(self) -> bool:
        """Whether a container can be given another command: no ENTRYPOINT is in the way."""
        entrypoint = self.stage.last("ENTRYPOINT")
        if entrypoint is None or not entrypoint.text or entrypoint.text == "[]":
            return True
        words = entrypoint.arguments
        if words is None:
            return False
        runs = self._script(Line(words, "ENTRYPOINT", False))
        text = runs[1] if runs else shell_script(words)
        if text is not None:
            return "$@" in text or "$*" in text
        rest = unwrapped(words)
        return not rest or not (is_python(rest[0]) or Command(tuple(rest)).server)

    def _top(self) -> Iterator[Line]:
        entrypoint, command = self.stage.last("ENTRYPOINT"), self.stage.last("CMD")
        items = [item for item in (entrypoint, command) if item and item.text]
        if entrypoint and entrypoint.arguments is None:
            items = [entrypoint]
        words = [item.arguments for item in items]
        if len(items) == 2 and words[0] is not None and words[1] is not None:
            yield from self._one(
                (*words[0], *words[1]), entrypoint.keyword if entrypoint else "CMD"
            )
            return
        for item in items:
            if item.arguments is None:
                yield from simple_commands(item.text, item.keyword, self.stage.env)
            elif item.arguments:
                yield from self._one(item.arguments, item.keyword)

    def _one(self, words: Sequence[str], where: str) -> Iterator[Line]:
        script = shell_script(words)
        if script is not None:
            yield from simple_commands(script, where, self.stage.env)
        else:
            yield Line(tuple(words), where, False, self.stage.env)

    def _unfolded(self, line: Line, depth: int) -> Iterator[Line]:
        script = self._script(line) if depth < MAX_DEPTH else None
        if script is None:
            inner = shell_script(line.filled) if depth < MAX_DEPTH else None
            if inner is None:
                yield line
                return
            script = ([], inner, line.where)
        arguments, text, where = script
        if "--" in arguments and "$@" not in text:
            # A script that waits for a database runs the command behind "--" when it is there.
            rest = tuple(arguments[arguments.index("--") + 1 :])
            yield from self._unfolded(replace(line, words=rest), depth + 1)
        for found in simple_commands(text, where, line.env, line.folder):
            if words := tuple(_with_arguments(found.words, arguments)):
                given = words != found.words
                one = replace(found, words=words, where=line.where if given else found.where)
                yield from self._unfolded(one, depth + 1)

    def _script(self, line: Line) -> tuple[list[str], str, str] | None:
        """The arguments, text and path of the shell script that a command runs."""
        words = unwrapped(line.filled)
        while words and (PurePosixPath(words[0]).name in SHELLS or words[0] in ("source", ".")):
            del words[0]
            while words and re.fullmatch(r"-[abd-z]+|-o", words[0]):
                del words[0]
        is_name = bool(words) and re.fullmatch(r"[\w./-]+", words[0])
        if not is_name or words[0].endswith(".py"):
            return None
        file = self.files.find(posixpath.join(line.folder or "", words[0]), self.stage)
        text = self.files.project.text(file) if file and file != HERE else None
        if file is None or text is None or not _is_shell_script(file, text):
            return None
        return words[1:], text, str(file)


def unwrapped(words: Sequence[str]) -> list[str]:
    """A command without what only prepares for it: `poetry run`, `tini --`, `gosu app`."""
    rest = list(words)
    while rest:
        name = PurePosixPath(rest[0]).name
        if (name in _ENVIRONMENTS and rest[1:2] == ["run"]) or name in ("gosu", "su-exec"):
            del rest[:2]
        elif name in _INITS:
            del rest[:1]
        else:
            return rest
        while rest and rest[0].startswith("-"):
            del rest[0]
    return rest


def is_python(word: str) -> bool:
    return re.fullmatch(r"(python|pypy)[\d.]*", PurePosixPath(word).name) is not None


def _with_arguments(words: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word in ("$@", "$*"):
            yield from arguments
        else:
            yield word


def _is_shell_script(file: PurePosixPath, text: str) -> bool:
    first = text.partition("\n")[0]
    if first.startswith("#!"):
        return re.search(r"\b(ba|da|z|a)?sh\b", first) is not None
    return file.suffix in (".sh", ".bash")
