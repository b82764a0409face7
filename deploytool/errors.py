"""Every failure that a person can meet, as one hierarchy.

    DeploytoolError            what happened · hint: the next step · exit code
    ├── UsageError             2  the call or the configuration is wrong; nothing was changed
    │   └── ConfigError        2  one or more problems in the configuration, all reported together
    ├── EngineError            1  the engine or the cluster cannot be used
    ├── RegistryError          1  the registry cannot be reached or refuses
    ├── ImageError             1  an image cannot be built, found or run
    ├── PlanError              1  the cluster cannot take what was asked for; nothing was changed
    ├── Locked                 1  somebody else is changing the app; nothing was changed
    ├── JobFailed              1  a release step or a one-off command failed; no replica was changed
    ├── JobTimedOut            4  … or took longer than it may
    ├── RolloutFailed          1  the new release does not run
    ├── RolledBack             3  the new release does not run, the previous one serves
    ├── RolloutTimedOut        4  the deadline passed
    └── Interrupted          130  somebody pressed Ctrl-C

`code` is a stable name for scripts (`--json`), `message` says what happened and why, `hint` what
to do next, `details` lines of evidence: log lines, a health check's output, the failing build step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    ROLLED_BACK = 3
    TIMED_OUT = 4
    CHANGES = 5
    INCOMPLETE = 6
    INTERRUPTED = 130


class DeploytoolError(Exception):
    """A failure with everything that a person needs to know about it."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(
        self, message: str, *, code: str, hint: str = "", details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.details = tuple(details)

    def reword(self, say: Callable[[str], str]) -> None:
        """Change its words for people."""
        self.message, self.hint = say(self.message), say(self.hint)
        self.details = tuple(map(say, self.details))


class UsageError(DeploytoolError):
    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Problem:
    """One thing wrong in the configuration: where, what, and how to fix it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(UsageError):
    """All problems of a configuration together."""

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        source: str,
        code: str = "config_invalid",
        hint: str = "`deploytool config schema` prints every key with its meaning",
    ) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"{count} in {source}",
            code=code,
            hint=hint,
            details=[str(problem) for problem in problems],
        )
        self.problems = tuple(problems)


class EngineError(DeploytoolError):
    pass


class RegistryError(DeploytoolError):
    pass


class ImageError(DeploytoolError):
    pass


class PlanError(DeploytoolError):
    pass


class Locked(DeploytoolError):
    pass


class JobFailed(DeploytoolError):
    pass


class JobTimedOut(DeploytoolError):
    exit_code = ExitCode.TIMED_OUT


class RolloutFailed(DeploytoolError):
    pass


class RolledBack(DeploytoolError):
    exit_code = ExitCode.ROLLED_BACK


class RolloutTimedOut(DeploytoolError):
    exit_code = ExitCode.TIMED_OUT


class Interrupted(DeploytoolError):
    exit_code = ExitCode.INTERRUPTED
