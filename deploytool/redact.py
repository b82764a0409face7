"""Keeping secrets out of what people see."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SECRET = re.compile(
    r"(passw(or)?d|passphrase|secret|token|api_?key|private_?key|access_?key|credential|dsn$)",
    re.IGNORECASE,
)
_SECRET_END = re.compile(
    r"(^|_)(pass|passwd|pwd|pw|key|pat|auth|authorization|salt|pepper|cookie|signature|sas"
    r"|hash|webhook(_url)?|conn(ection)?_str(ing)?|basicauth_users|digestauth_users"
    r"|passcode|(admin|app|db|ftp|mail|my|pg|redis|root|smtp|sql|ssh|user)pass"
    r"|(auth|crypto|encryption|hmac|jwt|master|session|signing)key)s?(_?\d{1,4})?$"
)
"""Words at the end of a name: DB_PASS, MYSQL_PWD, JWT_KEY, GITHUB_PAT, DBPASS2."""
_PUBLIC_END = re.compile(
    r"(^|_)(public|publishable|primary|foreign|sort|cache|partition)_keys?(_?\d{1,4})?$"
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_SECRET_WORD = re.compile(
    r"(?<![a-z])("
    r"(access|api|auth|bearer|bot|csrf|github|gitlab|jwt|my|refresh|session)?token"
    r"|[a-z]*(passw(or)?d|passphrase|secret|secret_?key|api_?key|private_?key|access_?key)"
    r"|credential|dsn$)s?(?![a-z])"
)
_URL_PASSWORD = re.compile(
    r"(?P<user>://[^\s:/]{0,256}):(?!\d{1,5}(?:[/?#\s]|$))[^\s\"'<>]{1,256}@"
)
"""A password may hold a slash or another @, a user an @; what looks like a port is one."""
_FORMS = (
    re.compile(r"(?P<kept>(?<!http)(?<!https)://[^\s:/]{0,256}:)[^\s\"'<>?#]{1,256}(?=@)"),
    re.compile(r"(?P<kept>\bhttps?://)(?!git@)[^\s:/@\"'<>?#]{1,256}(?=@)", re.IGNORECASE),
    re.compile(
        r"(?P<kept>\b(?:password|passwd|pwd|secret|token|sig|sharedaccesskey|accountkey|api_?key)"
        r"\s*=\s*)(?:'[^']{1,256}'|\"[^\"]{1,256}\"|[^\s;&,\"']+)",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<kept>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:[a-z]{1,20}[ \t]+)?)[^\s\"',;]+",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<kept>\b(?:basic|bearer)\s+)(?:(?=[^\s\d=]{0,256}[\d=])[A-Za-z0-9+/._~-]{6,}"
        r"|[A-Za-z0-9+/._~-]{24,})=*",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<kept>)(?:\$apr1\$|\$2[abxy]\$|\$[156]\$|\{SHA\})[A-Za-z0-9./$=+]+"),
    re.compile(r"(?P<kept>)\b(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk_live_)[\w-]{8,}"),
    re.compile(r"(?P<kept>)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
)
"""What says itself that it is a secret: a password that looks like a port, a user that may be a
token, settings of a connection, headers, hashes, known tokens."""
_PLAIN = re.compile(
    r"""(?xi) (?: |
      [+-]?\d{1,12}(\.\d{1,6})?\ ?(ns|us|ms|s|m|h|d|[kmgt]i?b?|%)?      # a number, with its unit
    | true | false | yes | no | on | off | none | null
    | trace | debug | info | notice | warn(ing)? | error | critical | fatal
    | dev(elopment)? | test(ing)? | staging | prod(uction)? | utc
    | (https?://)? (localhost | ([a-z0-9-]{1,63}\.)+[a-z]{2,24} | \d{1,3}(\.\d{1,3}){3})
      (:\d{1,5})? /?                                                    # a host
    )"""
)
_ASSIGNED = re.compile(
    r"""\b(?P<name>[A-Za-z_]\w*)(?P<sign>=)"""
    r"""(?P<value>(?:"(?:\\.|[^"\\])*"?|'[^']*'?|\\.|[^\s\\"'])+)"""
)
_OLD_ENV = re.compile(r"^(?P<lead>\s*ENV\s+)(?P<name>\w+)(?P<sign>\s+)(?P<value>\S.*)$", re.I)
_ENTRY = re.compile(r"""^[+\s-]*"?(?P<name>[A-Za-z_][\w.-]*)"?\s*[:=]\s+(?P<value>\S.*)$""")
MASK = "••••••"


def looks_secret(name: str) -> bool:
    """Whether a variable of this name may hold a secret, so that its value is better not shown."""
    if name.upper().endswith("_FILE"):
        return False
    if _SECRET.search(name):
        return True
    words = words_of(name)
    return bool(_SECRET_END.search(words)) and not _PUBLIC_END.search(words)


def names_secret(name: str) -> bool:
    """Whether a name's words say that it is a secret's: API_TOKEN, apiToken; not TIKTOKEN_CACHE."""
    return looks_secret(name) and bool(_SECRET_WORD.search(words_of(name)))


def words_of(name: str) -> str:
    """The words of a name, in small letters: "api_token" of apiToken."""
    return _WORDS.sub("_", name).lower()


def mask(name: str, value: str) -> str:
    """The value, unless its name or its form says that it is a secret."""
    return MASK if value and looks_secret(name) else hide_passwords(value)


def is_plain(value: Any) -> bool:
    """Whether a value is plainly no secret: a number, a switch, a log level, a host's name."""
    return value is None or bool(_PLAIN.fullmatch(str(value)))


def hide_passwords(text: str) -> str:
    """The text without the passwords of the URLs in it, and without what else says itself that it
    is a secret."""
    text = _URL_PASSWORD.sub(rf"\g<user>:{MASK}@", text)
    for form in _FORMS:
        text = form.sub(rf"\g<kept>{MASK}", text)
    return text


def hide_assignments(line: str) -> str:
    """A line of a Dockerfile or a shell without the values of what may be secrets."""

    def hidden(found: re.Match[str]) -> str:
        if is_plain(found["value"].strip("\"'")) or not looks_secret(found["name"]):
            return found[0]
        return f"{found.groupdict().get('lead', '')}{found['name']}{found['sign']}{MASK}"

    return hide_passwords(_OLD_ENV.sub(hidden, _ASSIGNED.sub(hidden, line)))


def hide_entries(line: str) -> str:
    """A line of a YAML, HCL or JSON file, or of a diff of one, without what may be a secret."""
    found = _ENTRY.match(line)
    if found and looks_secret(found["name"]) and not is_plain(found["value"].strip("\"',{[")):
        return f"{line[: found.start('value')]}{MASK}"
    return hide_passwords(line)


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
