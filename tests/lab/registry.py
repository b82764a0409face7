"""The registry that all nodes pull from, and private ones: Debian's docker-registry."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.lab import process
from tests.lab.cache import locked
from tests.lab.shell import wait_until

SETTINGS = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  cache: {{blobdescriptor: inmemory}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""
LOGIN = """\
auth: {{htpasswd: {{realm: lab, path: {users}}}}}
"""


@dataclass(frozen=True)
class Registry:
    address: str
    folder: Path
    program: Path
    users: str = ""
    """Lines of a htpasswd file; without any, everybody is let in."""

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def running(self) -> bool:
        return process.living(self.pid_file) is not None

    def start(self) -> None:
        if self.running:
            return
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "registry.yml"
        text = SETTINGS.format(data=data, address=self.address)
        if self.users:
            users = self.folder / "users"
            users.write_text(self.users)
            text += LOGIN.format(users=users)
        settings.write_text(text)
        # Settings come from this file alone, whatever REGISTRY_* the caller has.
        command: list[str | Path] = ["env", "-i", self.program, "serve", settings]
        process.spawn(command, self.folder / "registry.log", self.pid_file)

    def wait(self) -> None:
        wait_until(self.answers, f"registry answers on {self.address}", 20)

    def answers(self, path: str = "") -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://{self.address}/v2/{path}", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401 and not path
        except OSError:
            return False

    def has(self, name: str, tag: str) -> bool:
        return self.answers(f"{name}/manifests/{tag}")

    def plant(self, seed: Path) -> None:
        """Begin with what another registry held."""
        data = self.folder / "data"
        if seed.exists() and not data.exists():
            shutil.copytree(seed, data)

    def harvest(self, seed: Path) -> None:
        """Keep what is in it for the next registry; once, and whole or not at all."""
        with locked("registry"):
            if seed.exists():
                return
            for old in seed.parent.glob("seed-*"):
                shutil.rmtree(old)
            copy = seed.with_name(f".{seed.name}")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder / "data", copy)
            copy.rename(seed)

    def stop(self) -> None:
        process.stop(self.pid_file)
