"""One machine of the lab: an engine in namespaces of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.lab import process
from tests.lab.engines import Engine
from tests.lab.network import Network
from tests.lab.shell import LabError, run, try_run, wait_until

# What is private to a machine: its name, its mounts, and all of /run but what resolves names.
BOOT = """
hostname "$1"; run=$2; shift 2
mkdir -p "$run"; mount -n -t tmpfs -o mode=755 none "$run"
for folder in systemd/resolve resolvconf NetworkManager; do
  if [ -d "/run/$folder" ]; then
    mkdir -p "$run/$folder"; mount -n --rbind "/run/$folder" "$run/$folder"
  fi
done
mount -n --move "$run" /run
exec "$@"
"""


@dataclass(frozen=True)
class Node:
    """`index` counts from 1; node 1 is a manager, and where images are built."""

    index: int
    network: Network
    engine: Engine
    folder: Path
    docker_config: Path

    @property
    def name(self) -> str:
        """Host name, also the network namespace's."""
        return self.network.namespace(self.index)

    @property
    def netns(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        return self.network.address(self.index)

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def docker_host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def running(self) -> bool:
        return process.living(self.pid_file) is not None

    @property
    def connected(self) -> bool:
        return self.network.connected(self.index)

    @property
    def env(self) -> dict[str, str]:
        """For programs that shall talk to this node's engine with this engine's client."""
        return {
            "PATH": f"{self.engine.bin}:{os.environ.get('PATH', '')}",
            "DOCKER_HOST": self.docker_host,
            "DOCKER_CONFIG": str(self.docker_config),
        }

    def docker(self, *arguments: str, timeout: float = 600) -> str:
        """Standard output of a docker command on this node."""
        return run([self.engine.bin / "docker", *arguments], env=self.env, timeout=timeout)

    def info(self, template: str) -> str:
        """A field of `docker info`; empty when the engine does not answer."""
        command: list[str | Path] = [self.engine.bin / "docker", "info", "--format", template]
        return try_run(command, env=self.env, timeout=20).stdout.strip()

    def run(self, *command: str, timeout: float = 600) -> str:
        """Standard output of a host program seen from this node's network."""
        return run(["nsenter", f"--net=/run/netns/{self.netns}", *command], timeout=timeout)

    def answers(self) -> bool:
        return self.socket.exists() and bool(self.info("{{.ServerVersion}}"))

    def begin(self) -> None:
        """Start the engine without waiting for it."""
        if self.running:
            return
        self.kill_rest(self.mount_namespace())  # what an engine left that crashed
        self.network.plug_in(self.index)
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in ("docker.pid", "docker.sock"):
            (self.folder / stale).unlink(missing_ok=True)
        isolate = ["nsenter", f"--net=/run/netns/{self.netns}", "unshare", "--mount", "--uts"]
        boot = [*isolate, "sh", "-ec", BOOT, "sh", self.name, str(self.folder / "run")]
        dockerd = [str(self.engine.bin / "dockerd"), "--config-file", str(self.write_settings())]
        command = [*boot, *dockerd]
        process.spawn(command, self.log, self.pid_file, env={"PATH": self.env["PATH"]})

    def write_settings(self) -> Path:
        settings = self.folder / "daemon.json"
        content = {
            "data-root": str(self.folder / "data"),
            "pidfile": str(self.folder / "docker.pid"),
            "hosts": [self.docker_host, "unix:///run/docker.sock"],
            "cgroup-parent": f"/{self.name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "insecure-registries": [self.network.subnet],
            "shutdown-timeout": 10,
        }
        settings.write_text(json.dumps(content, indent=2) + "\n")
        return settings

    def wait(self, timeout: float = 60) -> None:
        def ready() -> bool:
            if not self.running:
                raise LabError(f"{self.name}: the engine ended: {last_lines(self.log)}")
            return self.answers()

        wait_until(ready, f"{self.name}: engine answers", timeout)
        self.mount_namespace()

    def start(self) -> None:
        self.begin()
        self.wait()

    def stop(self) -> None:
        """As when the engine is stopped for maintenance: containers get their time to end."""
        namespace = self.mount_namespace()
        process.stop(self.pid_file, timeout=40)
        self.kill_rest(namespace)
        self.remove_cgroups()

    def kill(self) -> None:
        """As when the power fails: engine, containers and the kernel's memory of them are gone."""
        namespace = self.mount_namespace()
        pid = process.living(self.pid_file)
        if pid is not None:
            process.send(pid, signal.SIGKILL)
        self.kill_rest(namespace)
        self.pid_file.unlink(missing_ok=True)
        self.network.unplug(self.index)
        self.remove_cgroups()

    def mount_namespace(self) -> str | None:
        """Remembered beside the pid, to find shims that outlive their engine."""
        record = self.folder / "mounts"
        pid = process.living(self.pid_file)
        if pid is not None:
            record.write_text(process.mount_namespace(pid) or "")
        with contextlib.suppress(OSError):
            return record.read_text() or None
        return None

    def kill_rest(self, namespace: str | None) -> None:
        """Shims and containers, when their engine is gone."""

        def gone() -> bool:
            rest = set(self.container_pids())
            if namespace and namespace != process.mount_namespace(os.getpid()):
                rest.update(process.in_mount_namespace(namespace))
            for pid in rest:
                process.send(pid, signal.SIGKILL)
            return not rest

        wait_until(gone, f"{self.name}: processes end", 20)

    def cgroups(self) -> list[Path]:
        """The node's folders in every cgroup hierarchy, deepest first."""
        root = Path("/sys/fs/cgroup")
        tops = [*root.glob(self.name), *root.glob(f"*/{self.name}")]
        folders = {Path(folder) for top in tops for folder, _, _ in os.walk(top)}
        return sorted(folders, key=lambda folder: len(folder.parts), reverse=True)

    def container_pids(self) -> list[int]:
        found: list[int] = []
        for folder in self.cgroups():
            with contextlib.suppress(OSError):
                found += map(int, (folder / "cgroup.procs").read_text().split())
        return found

    def remove_cgroups(self) -> None:
        def removed() -> bool:
            for folder in self.cgroups():
                with contextlib.suppress(OSError):
                    folder.rmdir()
            return not self.cgroups()

        wait_until(removed, f"{self.name}: cgroups empty", 20)

    def remove(self) -> None:
        self.kill()

        def removed() -> bool:
            shutil.rmtree(self.folder, ignore_errors=True)
            return not self.folder.exists()

        wait_until(removed, f"{self.name}: folder removed", 20)


def last_lines(file: Path, count: int = 3) -> str:
    try:
        return " | ".join(file.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "no log"
