"""Command lines of Procfiles, compose files and scripts, and how an image runs them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deploytool.lint.commands import SERVERS, shell_script

RUNNERS = ("poetry", "pipenv", "pdm", "uv", "hatch", "rye")
RUNNER_OPTIONS_WITH_VALUE = frozenset(
    {"--package", "--env-file", "--with", "--python", "-p", "--project", "--directory", "--extra"}
    | {"--group", "--only-group", "--no-group", "--index", "-C", "-P"}
)
CELERY_OPTIONS = ("-A", "--app")
BEAT_SCHEDULE = ("-s", "--schedule", "-S", "--scheduler")
SCHEDULE_FILE = "/tmp/celerybeat-schedule"
NOT_IN_IMAGES = frozenset({"-f", "--logfile", "--pidfile", "--uid", "--gid"})
RELOADS = frozenset({"--reload", "--autoreload"})
QUEUES = ("celery", "arq", "taskiq", "rq", "dramatiq", "huey")
MIGRATORS = ("alembic", "aerich")
OTHER_SERVERS = ("streamlit", "flask", "daphne", "waitress-serve", "jupyter", "mlflow")
SYSTEM = ("/bin/", "/usr/bin/", "/usr/local/bin/")
SHELLS = ("sh", "bash", "dash", "ash")
LONGEST_NAME = 40

_QUOTED = re.compile(r"'[^']*'")
_SHELL_SYNTAX = re.compile(r"[|&;<>$`*\n]|^\s*(source|\.|cd|export|set|if|for|while)\s")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_BETWEEN = re.compile(r"&&|\|\||;|\n")
_RUNNER = re.compile(r"(?m)(^|&&|\|\||;|\bexec)(\s*)(?:poetry|pipenv|pdm|uv|hatch|rye) run (?!-)")
_LAST = re.compile(r"(?s)^(.*?(?:&&|;|\n)\s*)?([\w./-]+)((?:\s[^&;|\n]*)?)$")
_NO_PROGRAM = frozenset(
    {"exec", "cd", "export", "set", "source", ".", "fi", "done", "wait", "esac"}
)
_PYTHON = re.compile(r"^python[\d.]*$")


@dataclass(frozen=True)
class Line:
    """The program of a command line, without the wrappers of a developer's machine."""

    words: tuple[str, ...] = ()
    """The program and its arguments; empty where it is a script."""
    variables: tuple[str, ...] = ()
    """The variables that were set for it alone: NAME=value."""
    script: str | None = None
    """The whole line, where only a shell can run it."""
    shell: str = "sh"

    @property
    def command(self) -> tuple[str, ...]:
        if self.script is not None:
            return self.shell, "-c", self.script
        return ("env", *self.variables, *self.words) if self.variables else self.words

    @property
    def parts(self) -> tuple[Line, ...]:
        """The programs that it runs, one after the other."""
        if self.script is None:
            return (self,)
        texts = _BETWEEN.split(self.script.replace("\\\n", " "))
        return tuple(part for text in texts if (part := _program(text)) and part.words)

    @property
    def program(self) -> str:
        """The name of the program: "celery", also of `python -m celery`; "python" of a script."""
        name = _name(self.words[0]) if self.words else ""
        if _PYTHON.match(name):
            module = self.module_run or ""
            first = module.partition(".")[0]
            return first if first in (*QUEUES, *MIGRATORS, *SERVERS) else "python"
        return {"huey_consumer.py": "huey", "huey_consumer": "huey", "rqworker": "rq"}.get(
            name, name
        )

    @property
    def module_run(self) -> str | None:
        """The module of `python -m MODULE`."""
        if len(self.words) > 2 and _PYTHON.match(_name(self.words[0])) and "-m" in self.words[:-1]:
            return self.words[self.words.index("-m") + 1]
        return None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments after the program."""
        return self.words[self.words.index("-m") + 2 :] if self.module_run else self.words[1:]

    @property
    def role(self) -> str:
        """Its purpose: "celery worker", "celery beat", "arq", "python app.worker"."""
        for word in ("worker", "beat", "scheduler", "flower"):
            if self.program in ("celery", "taskiq") and word in self.arguments:
                return f"{self.program} {word}"
        return f"python {self.target}" if self.program == "python" else self.program

    @property
    def serves(self) -> bool:
        return any(
            part.program in (*SERVERS, *OTHER_SERVERS) or part.role == "celery flower"
            for part in self.parts
        )

    @property
    def migrates(self) -> bool:
        return self.program in MIGRATORS and "upgrade" in self.arguments

    @property
    def target(self) -> str | None:
        """The module, or the file of the project, that the program is given."""
        plain = [word for word in self.arguments if not word.startswith("-")]
        match self.program:
            case "celery":
                return _without_object(self.option(*CELERY_OPTIONS))
            case "taskiq":
                return _without_object(next(iter(plain[1:]), None))
            case "arq" | "dramatiq" | "huey":
                return _without_object(next(iter(plain), None))
            case "python":
                return self.module_run or next(iter(plain), None)
            case "sh" | "bash" | "dash" | "ash":
                return next(iter(plain), None)
        first = next(iter(self.words), "")
        return first if "/" in first and not first.startswith(SYSTEM) else None

    def option(self, *names: str) -> str | None:
        for index, word in enumerate(self.arguments):
            name, equals, value = word.partition("=")
            if name in names:
                return value if equals else next(iter(self.arguments[index + 1 :]), None)
        return None

    def with_program(self, *program: str) -> Line:
        """The same arguments for a program that is called in another way."""
        return replace(self, words=(*program, *self.arguments))


def read_line(text: str, shell: str = "sh") -> Line | None:
    """A line as a shell would read it; None when it cannot be read."""
    text = text.strip()
    if _SHELL_SYNTAX.search(_QUOTED.sub("", text)):
        return Line(script=_with_exec(_RUNNER.sub(r"\1\2", text)), shell=shell)
    try:
        return read_words(shlex.split(text, comments=True))
    except ValueError:
        return None


def _program(text: str) -> Line | None:
    """One program of a script, with its variables as they are."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return None
    return read_words(words[1:] if words and words[0] in ("then", "else", "do") else words)


def read_words(words: Sequence[str]) -> Line | None:
    """A command in words; that of `sh -c SCRIPT` is the script's."""
    script = shell_script(words)
    if script is not None:
        return read_line(script, _name(words[0]))
    rest = list(words)
    variables: list[str] = []
    while rest and (_ASSIGNMENT.match(rest[0]) or rest[0] in ("env", "exec")):
        variables += [rest.pop(0)] if _ASSIGNMENT.match(rest[0]) else []
        if rest and rest[0] in ("env", "exec"):
            rest.pop(0)
    rest = [word for word in _without_watcher(_without_runner(rest)) if word not in RELOADS]
    return Line(_for_image(tuple(rest)), tuple(variables)) if rest else None


def _without_runner(words: list[str]) -> list[str]:
    """`poetry run celery …` is `celery …` in an image, which has no Poetry."""
    if len(words) < 3 or words[0] not in RUNNERS or "run" not in words[:2]:
        return words
    rest = words[2:]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in RUNNER_OPTIONS_WITH_VALUE and rest:
            rest.pop(0)
    return rest


def _without_watcher(words: list[str]) -> list[str]:
    """The command of `watchmedo auto-restart … -- COMMAND` and `wait-for-it … -- COMMAND`."""
    if words and re.match("watchmedo|wait-for", _name(words[0])) and "--" in words:
        return words[words.index("--") + 1 :]
    return words


def _for_image(words: tuple[str, ...]) -> tuple[str, ...]:
    """Celery with its log on the standard output, as the image's own user."""
    if Line(words).program != "celery":
        return words
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in NOT_IN_IMAGES:
            rest = rest[1:]
        elif word.partition("=")[0] not in NOT_IN_IMAGES:
            kept.append(word)
    return _with_schedule(tuple(kept))


def _with_schedule(words: tuple[str, ...]) -> tuple[str, ...]:
    """Celery's beat keeps its state in the working folder, which an image cannot write to."""
    line = Line(words)
    embedded = line.role == "celery worker" and not {"-B", "--beat"}.isdisjoint(words)
    if (line.role != "celery beat" and not embedded) or line.option(*BEAT_SCHEDULE):
        return words
    return *words, "--schedule", SCHEDULE_FILE


def _with_exec(script: str) -> str:
    """The last program gets the signals instead of the shell, where it is plain to see."""
    found = _LAST.match(script)
    if not found or found[2] in _NO_PROGRAM:
        return script
    return f"{found[1] or ''}exec {found[2]}{found[3]}"


def _without_object(text: str | None) -> str | None:
    return text.partition(":")[0] if text else None


def _name(word: str) -> str:
    return PurePosixPath(word).name


def toml_command(command: Sequence[str]) -> str:
    """`command = ["alembic", "upgrade", "head"]`: what JSON writes of texts is TOML too."""
    return f"command = {json.dumps(list(command), ensure_ascii=False)}"


def service_name(text: str, taken: Sequence[str] = ()) -> str:
    """The nearest name that a cluster accepts and no other service has."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower())[:LONGEST_NAME].strip("-") or "worker"
    return next(name for name in _numbered(plain) if name not in ("web", *taken))


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in range(2, 1_000):
        end = f"-{number}"
        yield name[: LONGEST_NAME - len(end)].rstrip("-") + end
