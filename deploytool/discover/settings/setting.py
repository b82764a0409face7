"""A variable of the environment that an app needs, and whether it is a secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deploytool.redact import names_secret, words_of

STORE_WORDS = frozenset(
    {"DATABASE", "DB", "SQLALCHEMY", "SQLMODEL", "POSTGRES", "POSTGRESQL", "PG", "MYSQL", "MARIADB"}
    | {"MONGO", "MONGODB", "REDIS", "BROKER", "RABBITMQ", "AMQP", "CELERY", "NEO4J", "MSSQL"}
)
ADDRESS_WORDS = frozenset({"URL", "URI", "CONNECTION"})
HARMLESS_ENDS = frozenset(
    {"EXPIRE", "EXPIRES", "EXPIRY", "EXPIRATION", "MINUTES", "MINS", "SECONDS", "HOURS", "DAYS"}
    | {"TTL", "LIFETIME", "TIMEOUT", "ALGORITHM", "TYPE", "URL", "URI", "ENDPOINT", "NAME", "FILE"}
    | {"HEADER", "PATH", "DIR", "PREFIX", "LENGTH", "SIZE", "COUNT", "LIMIT", "ENABLED", "REQUIRED"}
)


class Reads(StrEnum):
    """How an app reads a setting."""

    SECRETS_FOLDER = "secrets folder"
    """pydantic settings that read /run/secrets too."""
    SETTINGS = "settings"
    """pydantic settings that read the environment."""
    ENVIRONMENT = "environment"
    """os.environ and what reads it."""


@dataclass(frozen=True)
class Setting:
    """A variable of the environment that the app wants at its start."""

    name: str
    where: str
    """The file that wants it."""
    secret: bool
    why: str
    reads: Reads = Reads.ENVIRONMENT


def is_store_address(name: str) -> bool:
    """Whether a variable of this name is the URL of a database or broker: nothing works with an
    empty one."""
    words = words_of(name).upper().split("_")
    return not STORE_WORDS.isdisjoint(words) and not ADDRESS_WORDS.isdisjoint(words)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret: by its words, not by parts of them."""
    words = words_of(name).upper().split("_")
    if is_store_address(name):
        return True
    return (names_secret(name) or "KEY" in words) and words[-1] not in HARMLESS_ENDS
