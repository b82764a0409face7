"""Traefik's rules, as far as they say which names a router serves. Pure.

A rule is read as alternatives, each of matchers that all have to hold. An alternative of one host,
with or without a prefix of the path, claims that host for its service; any other is narrower, and
leaves the rest of its hosts to others. A prefix is one of whole segments, as deploytool writes it,
or Traefik's own, of characters, as it was written before.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WILDCARD = "^[a-z0-9-]+"
"""How the pattern of a wildcard begins, in the rules that deploytool writes."""
MOST = 1000
"""Alternatives beyond which a rule is not read: nobody writes such."""
_BELOW = "(/|$)"
"""How the pattern of a prefix ends: with the end of a segment."""
_PATH = re.compile(r"[A-Za-z0-9_./~-]+")
"""What a prefix of deploytool's is made of."""
_QUOTED = r"(?:`[^`]*`|\"(?:[^\"\\]|\\.)*\")"
_TOKEN = re.compile(
    rf"\s*(?:(?P<matcher>!?\s*[A-Za-z]+\(\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*\))"
    r"|(?P<sign>!?\s*\(|\)|&&|\|\|))"
)
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
"""Of Go's patterns, which Python does not know (github.com/google/re2/wiki/Syntax)."""
Matcher = str
Alternative = tuple[Matcher, ...]


@dataclass(frozen=True, order=True)
class Claim:
    """A host, or a wildcard, and the part of its paths; the prefix is empty for all of them."""

    host: str
    prefix: str = ""

    def __str__(self) -> str:
        return self.host + self.prefix


def match(host: str) -> Matcher:
    """The matcher of a host or a wildcard."""
    if not host.startswith("*."):
        return f"Host(`{host}`)"
    return f"HostRegexp(`{WILDCARD}{host[1:].replace('.', chr(92) + '.')}$`)"


def prefix(path: str) -> Matcher:
    """The matcher of a path and all below it: /api, /api/ and /api/x, but not /apiadmin."""
    return f"PathRegexp(`^{path.replace('.', chr(92) + '.')}{_BELOW}`)"


def shown_prefix(rule: str) -> str:
    """The first prefix in a rule; empty where there is none."""
    found = (path for token in _tokens(rule) for path in _prefixes(token) or ())
    return next(found, "")


def claims(rule: str) -> frozenset[Claim]:
    """What a rule claims for its service alone."""
    return frozenset(claim for alternative in _alternatives(rule) for claim in _claim(alternative))


@dataclass(frozen=True)
class Part:
    """An alternative of a rule: what a router takes when it comes first."""

    matchers: Alternative

    def __str__(self) -> str:
        return " && ".join(self.matchers)

    @property
    def claim(self) -> Claim | None:
        """What it claims for its service alone."""
        return next(iter(_claim(self.matchers)), None)

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The only hosts whose requests it can match; None where it may be any."""
        return next((tuple(_hosts(m)) for m in self.matchers if _kind(m) == "host"), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts, wildcards and patterns that it is about; empty where it may be any."""
        return self.hosts or next(
            (tuple(_hosts(m)) for m in self.matchers if _kind(m) == "hostregexp"), ()
        )

    def reaches(self, other: Part) -> bool:
        """Whether it matches some requests of another, other than by claiming a longer prefix:
        that is how apps share a host."""
        return not self._is_below(other) and all(
            _may_meet(own, theirs) for own in self.matchers for theirs in other.matchers
        )

    def _is_below(self, other: Part) -> bool:
        own = self.claim
        paths = [matcher for matcher in other.matchers if _kind(matcher).startswith("path")]
        prefixes = [path for matcher in paths for path in _prefixes(matcher) or ()]
        if own is None or own.host not in other.names or not len(prefixes) == len(paths) <= 1:
            return False
        return own.prefix.startswith(f"{''.join(prefixes)}/")


def parts(rule: str) -> list[Part]:
    """The alternatives of a rule."""
    return list(map(Part, _alternatives(rule)))


def _may_meet(own: Matcher, theirs: Matcher) -> bool:
    """Whether both hold for some request. What cannot be known may hold. A name is meant to come
    before a pattern that it matches."""
    match _kind(own), _kind(theirs):
        case "host", "host" | "hostregexp":
            return not set(_hosts(own)).isdisjoint(_hosts(theirs))
        case "hostregexp", "host" | "hostregexp":
            return any(_matches(value, host) for value in _values(own) for host in _hosts(theirs))
        case "method", "method":
            return not set(_values(own)).isdisjoint(_values(theirs))
    return _may_share_paths(own, theirs) and own != f"!{theirs}" and theirs != f"!{own}"


def _may_share_paths(own: Matcher, theirs: Matcher) -> bool:
    starts = _values(own) if _kind(own) == "pathprefix" else _folders(own)
    inside = _folders(theirs)
    if starts is None or inside is None:
        return True
    has_below, is_below = _kind(own) != "path", _kind(theirs) != "path"
    return any(
        start == folder
        or (is_below and start.startswith(folder))
        or (has_below and folder.startswith(start))
        for start in starts
        for folder in inside
    )


def _folders(matcher: Matcher) -> list[str] | None:
    """The paths that a matcher is about, each with a slash at its end; None of any other."""
    paths = _values(matcher) if _kind(matcher) == "path" else _prefixes(matcher)
    return None if paths is None else [f"{path.rstrip('/')}/" for path in paths]


def _prefixes(matcher: Matcher) -> list[str] | None:
    """The prefixes that a matcher is about; None of any other matcher."""
    kind, values = _kind(matcher), _values(matcher)
    if kind == "pathprefix":
        return [value.rstrip("/") for value in values]
    path = values[0][1 : -len(_BELOW)].replace("\\.", ".") if kind == "pathregexp" else ""
    is_own = _PATH.fullmatch(path) and matcher == prefix(path)
    return [path] if is_own else None


def _matches(pattern: str, host: str) -> bool:
    """Whether Go's pattern does; one that Python cannot read may."""
    if host == _wildcard(pattern):
        return True
    for name, characters in _CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", characters)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            found = re.search(pattern.replace("\\z", "\\Z"), host, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        return True
    return found is not None


def _kind(matcher: Matcher) -> str:
    """Its function in lower case, with the sign of its negation."""
    return matcher.partition("(")[0].replace(" ", "").lower()


def _values(matcher: Matcher) -> list[str]:
    return [value[1:-1] for value in re.findall(_QUOTED, matcher)]


def _hosts(matcher: Matcher) -> list[str]:
    """The names of a matcher of hosts, as Traefik compares them; wildcards and patterns as such."""
    if _kind(matcher) == "hostregexp":
        return list(map(_wildcard, _values(matcher)))
    return [value.lower().removesuffix(".") for value in _values(matcher)]


def without(rule: str, taken: Iterable[Claim]) -> str:
    """The rule but for what others claim; empty where nothing is left of it."""
    gone = frozenset(taken)
    left = [a for a in _alternatives(rule) if not gone & _claim(a)]
    return " || ".join(f"({' && '.join(a)})" if len(a) > 1 else a[0] for a in left)


def _claim(alternative: Alternative) -> frozenset[Claim]:
    hosts: list[str] = []
    prefixes: list[str] = []
    for matcher in alternative:
        kind, values = _kind(matcher), _values(matcher)
        if kind in ("host", "hostregexp") and len(values) == 1:
            hosts += _hosts(matcher)
        elif (paths := _prefixes(matcher)) and len(paths) == 1:
            prefixes += paths
        else:
            return frozenset()
    if len(hosts) != 1 or len(prefixes) > 1:
        return frozenset()
    return frozenset({Claim(hosts[0], *prefixes)})


def _wildcard(pattern: str) -> str:
    """*.example.com of its pattern; another pattern as it is."""
    if pattern.startswith(WILDCARD) and pattern.endswith("$"):
        name = pattern.removeprefix(WILDCARD)[:-1].replace("\\.", ".")
        if re.fullmatch(r"(\.[a-z0-9-]+)+", name):
            return f"*{name}"
    return pattern


def _alternatives(rule: str) -> list[Alternative]:
    """A rule with its brackets multiplied out; empty where it cannot be read."""
    tokens = list(_tokens(rule))
    try:
        found, rest = _either(tokens)
    except (IndexError, RecursionError, ValueError):
        return []
    return [] if rest else found


def _tokens(rule: str) -> Iterator[str]:
    at = 0
    while rule[at:].strip():
        found = _TOKEN.match(rule, at)
        if found is None:
            yield ""
            return
        yield found["matcher"].strip() if found["matcher"] else found["sign"].replace(" ", "")
        at = found.end()


def _either(tokens: list[str]) -> tuple[list[Alternative], list[str]]:
    found, rest = _both(tokens)
    while rest[:1] == ["||"]:
        more, rest = _both(rest[1:])
        found = found + more
    return found, rest


def _both(tokens: list[str]) -> tuple[list[Alternative], list[str]]:
    found, rest = _one(tokens)
    while rest[:1] == ["&&"]:
        more, rest = _one(rest[1:])
        if len(found) * len(more) > MOST:
            raise ValueError
        found = [(*left, *right) for left in found for right in more]
    return found, rest


def _one(tokens: list[str]) -> tuple[list[Alternative], list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first in ("(", "!("):
        found, rest = _either(rest)
        if rest[0] != ")":
            raise ValueError
        group = " ".join(tokens[: len(tokens) - len(rest) + 1])
        return found if first == "(" else [(group,)], rest[1:]
    if not first or first in (")", "&&", "||"):
        raise ValueError
    return _spread(first), rest


def _spread(matcher: Matcher) -> list[Alternative]:
    """Host(`a`, `b`) is either of them."""
    kind = matcher.partition("(")[0].strip()
    values = re.findall(_QUOTED, matcher)
    if len(values) > 1 and kind.lower() in ("host", "hostregexp", "pathprefix"):
        return [(f"{kind}({value})",) for value in values]
    return [(matcher,)]
