"""Traefik's rules, as far as they say which names a router serves. Pure.

A rule is read as alternatives, each of matchers that all have to hold. An alternative of one host,
with or without a prefix of the path, claims that host for its service; any other is narrower, and
leaves the rest of its hosts to others. A prefix is one of whole segments, as deploytool writes it,
or Traefik's own, of characters, as it was written before.
"""

from __future__ import annotations

import re
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
_QUOTED = r"(?:`[^`]*`|\"[^\"]*\")"
_TOKEN = re.compile(
    rf"\s*(?:(?P<matcher>!?\s*[A-Za-z]+\(\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*\))"
    r"|(?P<sign>\(|\)|&&|\|\|))"
)
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
    def hosts(self) -> tuple[str, ...] | None:
        """The only hosts whose requests it can match; None where it may be any."""
        found = [_values(m) for m in self.matchers if _kind(m) == "host"]
        return tuple(map(str.lower, found[0])) if found else None

    def reaches(self, claim: Claim) -> bool:
        """Whether it matches some requests of a claim, other than by claiming a part of it: a
        longer prefix is how apps share a host."""
        own = _claim(self.matchers)
        if any(o.host == claim.host and o.prefix.startswith(f"{claim.prefix}/") for o in own):
            return False
        return all(_may_match(matcher, claim) for matcher in self.matchers)


def parts(rule: str) -> list[Part]:
    """The alternatives of a rule."""
    return list(map(Part, _alternatives(rule)))


def _may_match(matcher: Matcher, claim: Claim) -> bool:
    """Whether a matcher holds for some request of a claim. What cannot be known may hold."""
    kind, values = _kind(matcher), _values(matcher)
    if kind == "host":
        return claim.host in map(str.lower, values)
    if kind == "hostregexp":
        return any(_matches(value, claim.host) for value in values)
    inside = f"{claim.prefix}/"
    if kind == "path":
        return any(f"{value.rstrip('/')}/".startswith(inside) for value in values)
    if (prefixes := _prefixes(matcher)) is None:
        return True
    starts = values if kind == "pathprefix" else [f"{path}/" for path in prefixes]
    return any(start.startswith(inside) or inside.startswith(start) for start in starts)


def _prefixes(matcher: Matcher) -> list[str] | None:
    """The prefixes that a matcher is about; None of any other matcher."""
    kind, values = _kind(matcher), _values(matcher)
    if kind == "pathprefix":
        return [value.rstrip("/") for value in values]
    path = values[0][1 : -len(_BELOW)].replace("\\.", ".") if kind == "pathregexp" else ""
    is_own = _PATH.fullmatch(path) and matcher == prefix(path)
    return [path] if is_own else None


def _matches(pattern: str, host: str) -> bool:
    try:
        return host == _wildcard(pattern) or re.search(pattern, host, re.IGNORECASE) is not None
    except re.error:
        return True


def _kind(matcher: Matcher) -> str:
    """Its function in lower case, with the sign of its negation."""
    return matcher.partition("(")[0].replace(" ", "").lower()


def _values(matcher: Matcher) -> list[str]:
    return [value[1:-1] for value in re.findall(_QUOTED, matcher)]


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
        if kind == "host" and len(values) == 1:
            hosts.append(values[0].lower())
        elif kind == "hostregexp" and len(values) == 1:
            hosts.append(_wildcard(values[0]))
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
        yield (found["matcher"] or found["sign"]).strip()
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
    if first == "(":
        found, rest = _either(rest)
        if rest[0] != ")":
            raise ValueError
        return found, rest[1:]
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
