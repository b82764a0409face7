"""What is sent, and the bounds that hold whatever is asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MIX: Mapping[str, float] = {
    "get": 35,
    "get-fresh": 25,
    "post": 20,
    "post-fresh": 15,
    "slow": 4,
    "stream": 1,
}
"""Kinds of requests and their shares. "-fresh" is a connection for this one request; the others
take an idle connection of the pool. POSTs matter: a proxy that gets no answer from a replica sends
a GET to another one without a word, and never a POST."""
MOST_PER_SECOND = 1000.0
LONGEST = 1200.0
MOST_WEBSOCKETS = 200


@dataclass(frozen=True)
class Settings:
    """One run against `address`, which has to be of this machine or of a private network."""

    address: str
    port: int = 80
    host: str = "items.localhost"
    rate: float = 200.0
    """Requests per second, all kinds together; WebSockets come on top."""
    seconds: float = 120.0
    """It stops by itself after that."""
    mix: Mapping[str, float] = field(default_factory=lambda: dict(MIX))
    websockets: int = 8
    """Held open all the time; each sends a message every `echo` seconds and gets it back."""
    echo: float = 0.1
    slow_seconds: float = 2.0
    stream_seconds: float = 3.0
    timeout: float = 10.0
    """Seconds that an answer may take beyond those that it is meant to take."""

    def __post_init__(self) -> None:
        where = ipaddress.ip_address(self.address)
        if not (where.is_loopback or where.is_private):
            raise ValueError(f"{self.address} is not an address of this machine or its networks")
        for name, value, most in (
            ("rate", self.rate, MOST_PER_SECOND),
            ("seconds", self.seconds, LONGEST),
        ):
            if not 0 < value <= most:
                raise ValueError(f"{name} is more than 0 and up to {most:g}, not {value:g}")
        if not 0 <= self.websockets <= MOST_WEBSOCKETS:
            raise ValueError(f"up to {MOST_WEBSOCKETS} WebSockets, not {self.websockets}")
        if unknown := self.mix.keys() - MIX.keys():
            raise ValueError(f"there is no kind of request {sorted(unknown)[0]!r}")
        if not any(self.mix.values()) or min(self.mix.values()) < 0:
            raise ValueError("the mix needs a share that is more than 0, and none below")

    def kinds(self) -> Iterator[str]:
        """The kind of every request in turn: each as evenly spread as its share allows."""
        total = sum(self.mix.values())
        credit = dict.fromkeys(self.mix, 0.0)
        while True:
            for kind, share in self.mix.items():
                credit[kind] += share
            chosen = max(credit, key=lambda kind: credit[kind])
            credit[chosen] -= total
            yield chosen

    def patience(self, kind: str) -> float:
        """Seconds after which a request of a kind counts as never answered."""
        meant = {"slow": self.slow_seconds, "stream": self.stream_seconds}
        return self.timeout + meant.get(kind, 0.0)
