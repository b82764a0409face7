"""Keeping secrets out of what people see."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SECRET = re.compile(
    r"(passw(or)?d|passphrase|secret|token|api_?key|private_?key|access_?key|credential|dsn$)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_SECRET_WORD = re.compile(
    r"(?<![a-z])("
    r"(access|api|auth|bearer|bot|csrf|github|gitlab|jwt|my|refresh|session)?token"
    r"|[a-z]*(passw(or)?d|passphrase|secret|secret_?key|api_?key|private_?key|access_?key)"
    r"|credential|dsn$)s?(?![a-z])"
)
_URL_PASSWORD = re.compile(r"(?P<user>://[^\s:/@]*):[^\s@/]+@")
MASK = "••••••"


def looks_secret(name: str) -> bool:
    """Whether a variable of this name may hold a secret, so that its value is better not shown."""
    return bool(_SECRET.search(name)) and not name.upper().endswith("_FILE")


def names_secret(name: str) -> bool:
    """Whether a name's words say that it is a secret's: API_TOKEN, apiToken; not TIKTOKEN_CACHE."""
    return looks_secret(name) and bool(_SECRET_WORD.search(words_of(name)))


def words_of(name: str) -> str:
    """The words of a name, in small letters: "api_token" of apiToken."""
    return _WORDS.sub("_", name).lower()


def mask(name: str, value: str) -> str:
    """The value, unless its name or its form says that it is a secret."""
    return MASK if value and looks_secret(name) else hide_passwords(value)


def hide_passwords(text: str) -> str:
    """The text without the passwords of the URLs in it."""
    return _URL_PASSWORD.sub(rf"\g<user>:{MASK}@", text)


def hide_variables(text: str, env: Iterable[str]) -> str:
    """The text without what a plan hides of variables, each NAME=VALUE: as it is, and as it is
    written within quotes."""
    for name, _, value in (item.partition("=") for item in env):
        if value and looks_secret(name):
            for written in (value, json.dumps(value, ensure_ascii=False)[1:-1]):
                text = text.replace(written, MASK)
    return hide_passwords(text)


def hide_passwords_in(value: Any) -> Any:
    """The same for all text in lists and tables."""
    if isinstance(value, Mapping):
        return {key: hide_passwords_in(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_passwords_in(item) for item in value]
    return hide_passwords(value) if isinstance(value, str) else value
