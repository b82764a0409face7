"""A certificate authority of the lab's own: Pebble, the ACME server that Let's Encrypt tests
clients against, and the name server that it asks."""

from __future__ import annotations

import functools
import json
import re
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.lab import process
from tests.lab.cache import cache_folder, locked
from tests.lab.packages import unpack_programs
from tests.lab.shell import run, say, wait_until

SUITE = "sid"
"""The Debian release whose Pebble knows profiles."""
SHORT = "shortlived"
"""Name of the profile whose certificates are valid for ten minutes."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority as a company has one: a key, and openssl to sign with it."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        subject = ("-subj", "/CN=The lab's authority")
        openssl("-keyout", self.folder / "ca.key", "-out", self.certificate, *subject)

    def issue(self, name: str, alternative: str) -> tuple[Path, Path]:
        """Files of the certificate and the key for a name like "DNS:a.example.com"."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        signer = ("-CA", self.certificate, "-CAkey", self.folder / "ca.key")
        extensions = (f"subjectAltName={alternative}", "basicConstraints=critical,CA:FALSE")
        added = [part for extension in extensions for part in ("-addext", extension)]
        openssl("-keyout", key, "-out", certificate, "-subj", f"/CN={name}", *signer, *added)
        return certificate, key


def openssl(*arguments: str | Path) -> None:
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    run(["openssl", "req", "-x509", *new, *arguments])


@dataclass(frozen=True)
class Pebble:
    """Listens at `address`; every name leads to `web`, where it looks for challenges."""

    address: str
    web: str
    folder: Path

    @property
    def directory(self) -> str:
        return f"https://{self.address}:14000/dir"

    @property
    def name_server(self) -> str:
        return f"{self.address}:8053"

    @property
    def authority(self) -> Authority:
        """Who vouches for Pebble itself."""
        return Authority(self.folder)

    def start(self) -> None:
        self.authority.make()
        certificate, key = self.authority.issue("pebble", f"IP:{self.address}")
        settings = self.folder / "pebble.json"
        settings.write_text(json.dumps({"pebble": self.settings(certificate, key)}))
        off = [f"-{server}=" for server in ("http01", "https01", "tlsalpn01", "doh", "defaultIPv6")]
        here = [f"-dnsserver={self.name_server}", f"-management={self.address}:8055"]
        names = [str(program("pebble-challtestsrv")), *off, *here, f"-defaultIPv4={self.web}"]
        process.spawn(names, self.folder / "names.log", self.folder / "names.pid")
        server = [program("pebble"), "-config", settings, "-dnsserver", self.name_server]
        quick = {"PEBBLE_VA_NOSLEEP": "1"}
        process.spawn([*map(str, server)], self.log, self.folder / "pebble.pid", env=quick)
        try:
            wait_until(self.answers, f"Pebble answers at {self.directory}", 60)
        except BaseException:
            self.stop()
            raise

    def settings(self, certificate: Path, key: Path) -> dict[str, object]:
        return {
            "listenAddress": f"{self.address}:14000",
            "managementListenAddress": f"{self.address}:15000",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {
                "default": {"description": "as long as usual", "validityPeriod": 90 * 86_400},
                SHORT: {"description": "ten minutes", "validityPeriod": 600},
            },
        }

    def stop(self) -> None:
        for name in ("pebble", "names"):
            process.stop(self.folder / f"{name}.pid")

    @property
    def log(self) -> Path:
        return self.folder / "pebble.log"

    def answers(self) -> bool:
        try:
            return bool(self.root())
        except OSError:
            return False

    def root(self) -> str:
        """The certificate, in PEM, that all it gives chain up to."""
        return self.ask(f"https://{self.address}:15000/roots/0")

    def issued(self) -> list[str]:
        """Serial numbers of all that it gave, oldest first."""
        return re.findall(r"Issued certificate serial ([0-9a-f]+)", self.log.read_text())

    def set_record(self, name: str, text: str) -> None:
        """A TXT record, as a zone's owner would set it."""
        record = json.dumps({"host": name, "value": text}).encode()
        self.ask(f"http://{self.address}:8055/set-txt", record)

    def ask(self, url: str, data: bytes | None = None) -> str:
        trust = ssl.create_default_context(cafile=str(self.authority.certificate))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
        with urllib.request.build_opener(*handlers).open(url, data, timeout=10) as answer:
            return str(answer.read().decode())


@functools.cache
def program(name: str) -> Path:
    """Pebble or its name server, fetched once per machine."""
    folder = cache_folder() / "pebble" / SUITE
    with locked("pebble"):
        if not (folder / name).exists():
            say(f"fetching Pebble of Debian {SUITE}")
            unpack_programs(SUITE, ("pebble",), (), folder)
    return folder / name
