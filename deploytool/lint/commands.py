"""What a command line of a Python web server asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploytool.lint.dockerfile import Stage, split_words

SERVERS = ("uvicorn", "fastapi", "gunicorn", "hypercorn", "granian")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_MIGRATIONS = re.compile(
    r"\b(alembic\s+(\S+\s+){0,8}?upgrade|aerich\s+upgrade|manage\.py\s+migrate|prisma\s+migrate"
    r"|piccolo\s+migrations\s+forwards|yoyo\s+apply|flask\s+db\s+upgrade)\b"
)


@dataclass(frozen=True)
class Command:
    """The words of a command line."""

    words: tuple[str, ...]

    @classmethod
    def read(cls, words: Sequence[str]) -> Command:
        """The command, with the words of a script given to `sh -c` in the place of the script."""
        script = shell_script(words)
        return cls(tuple(words) if script is None else split_words(script))

    @property
    def server(self) -> str | None:
        """The web server that is started, wherever in the line its name stands."""
        names = (PurePosixPath(word).name for word in self.words)
        return next((name for name in names if name in SERVERS), None)

    @property
    def is_development(self) -> bool:
        """Whether it is `fastapi dev`."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return any(PurePosixPath(word).name == "fastapi" and then == "dev" for word, then in pairs)

    def has(self, flag: str) -> bool:
        return any(word == flag or word.startswith(f"{flag}=") for word in self.words)

    def option(self, *names: str) -> str | None:
        """The last value of an option, written `--name value` or `--name=value`."""
        value = None
        for index, word in enumerate(self.words):
            name, equals, inline = word.partition("=")
            if name in names:
                value = inline if equals else next(iter(self.words[index + 1 :]), "")
        return value

    @property
    def workers(self) -> str | None:
        """How many worker processes it asks for when that is not one: "4", "$WORKERS"."""
        short = ("-w",) if self.server in ("gunicorn", "hypercorn") else ()
        wanted = self.option("--workers", *short) if self.server else None
        return None if wanted in (None, "", "1") else wanted

    @property
    def reloads(self) -> bool:
        return self.server is not None and self.has("--reload")

    @property
    def is_local_only(self) -> bool:
        """Whether it listens where nothing outside the container can reach it."""
        if self.server == "fastapi":
            return self.option("--host") in _LOCAL
        if self.server != "uvicorn" or self.has("--uds") or self.has("--fd"):
            return False
        return self.option("--host") in (None, *_LOCAL)

    @property
    def port(self) -> int | None:
        """The port it listens on, where the line says so."""
        wanted = self.option("--port") if self.server else None
        return int(wanted) if wanted and re.fullmatch(r"[0-9]{1,5}", wanted) else None

    @property
    def migrates(self) -> bool:
        return bool(_MIGRATIONS.search(" ".join(self.words)))


def shell_script(words: Sequence[str]) -> str | None:
    """The script of `sh -c SCRIPT`; None for any other command."""
    if len(words) >= 3 and PurePosixPath(words[0]).name in _SHELLS:
        for index, word in enumerate(words[1:-1], start=1):
            if re.fullmatch(r"-[a-z]*c", word):
                return words[index + 1]
    return None


def hides_signals(words: Sequence[str]) -> bool:
    """Whether a shell stands between the container's signals and the process."""
    script = shell_script(words)
    return script is not None and not re.search(r"(^|[;&|\n]\s*)exec\s", script)


def image_command(stage: Stage) -> Command:
    """What a container of the stage runs when nobody says otherwise."""
    entrypoint, command = stage.last("ENTRYPOINT"), stage.last("CMD")
    words = [word for item in (entrypoint, command) if item for word in item.words]
    return Command.read([stage.expand(word) for word in words])
