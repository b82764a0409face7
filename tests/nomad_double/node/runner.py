"""One allocation on its node: a container that is started, probed, restarted and stopped.

Follows client/allocrunner: taskrunner (events, restarts, kills), health_hook and
client/allochealth (when it is healthy), service_hook (the catalogue).
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import requests

from tests.nomad_double import catalogue
from tests.nomad_double.node import container, templates
from tests.nomad_double.node.log_files import LogFiles
from tests.nomad_double.node.probes import NS, Probe, probes_of
from tests.nomad_double.nodes import Node
from tests.nomad_double.state import Json, seconds

if TYPE_CHECKING:
    from tests.nomad_double.cluster import Cluster

TICK = 0.05
"""Seconds between looks at what the servers want, which clients hear of by a blocking query."""
TASK_API = "api.sock"
A_DAY = 86_400


class Runner:
    def __init__(self, cluster: Cluster, allocation: Json, node: Node, folder: Path) -> None:
        self.cluster = cluster
        self.allocation = allocation
        self.node = node
        self.folder = folder
        self.task = self._task()
        logs = self.task.get("LogConfig") or {}
        size = int(logs.get("MaxFileSizeMB") or 10) * 2**20
        kept = int(logs.get("MaxFiles") or 10)
        self.logs = {
            stream: LogFiles(self.task["Name"], stream, size=size, kept=kept)
            for stream in ("stdout", "stderr")
        }
        self.api: docker.APIClient
        """There once the engine has answered."""
        self.container = ""
        self.pumps: list[threading.Thread] = []
        self.probes: list[Probe] = []
        self.restarts: list[float] = []
        self.begun = time.monotonic()
        self.started = 0.0
        self.passing_since: float | None = None
        self.tracked = ""
        self.asked = ""
        """Why somebody wants the task started anew."""
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name=allocation["Name"])

    # --- what the servers say -------------------------------------------------------------------

    def _task(self) -> Json:
        """The one task, by the version that the allocation is of now."""
        tasks: list[Json] = self.cluster.group(self.allocation)["Tasks"]
        assert len(tasks) == 1, "the double runs groups of one task"
        return tasks[0]

    @property
    def group(self) -> Json:
        return self.cluster.group(self.allocation)

    @property
    def is_wanted(self) -> bool:
        return bool(self.allocation["DesiredStatus"] == "run") and not self.cluster.closing

    @property
    def is_lost(self) -> bool:
        return bool(self.allocation["ClientStatus"] == "lost")

    def _say(
        self, state: str, kind: str, text: str, details: Json | None = None, **more: object
    ) -> None:
        details = {k: str(v) for k, v in (details or {}).items()}
        if not self.is_lost:
            self.cluster.task_event(
                self.allocation, self.task["Name"], state, kind, text, Details=details, **more
            )

    def _status(self, status: str) -> None:
        if not self.is_lost and self.allocation["ClientStatus"] != status:
            self.cluster.client_status(self.allocation, status)

    # --- its life ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:
            self._say("dead", "Setup Failure", f"the double failed: {error!r}", FailsTask=True)
            self._status("failed")
            raise
        finally:
            catalogue.deregister(self.cluster.state, self.allocation["ID"])
            self.ended.set()

    def _live(self) -> None:
        self._say("pending", "Received", "Task received by client")
        self._say("pending", "Task Setup", "Building Task Directory")
        while self._reaches_its_engine():
            failure = self._start()
            if failure is None:
                outcome = self._watch()
                if outcome is None:
                    self._stop()
                    break
                if self.allocation["JobType"] in ("batch", "sysbatch") and outcome == 0:
                    self._status("complete")
                    return
            elif not self.is_wanted:
                break
            if not self._restart(recoverable=failure is None or failure):
                self._status("failed")
                self._judge(False)
                return
        self._remove()
        self._status("complete")

    def _reaches_its_engine(self) -> bool:
        """Wait until the engine answers; False when the servers want the task stopped before. A
        node that is dead says nothing, and is down after a while."""
        while self.is_wanted:
            with contextlib.suppress(
                docker.errors.DockerException, requests.exceptions.RequestException
            ):
                self.api = docker.APIClient(base_url=self.node.engine, timeout=30)
                return True
            time.sleep(TICK * 10)
        return False

    def _start(self) -> bool | None:
        """Start the task. None: it runs; else whether another try may do better."""
        try:
            env = self._prepare()
        except templates.Unknown as error:
            self._say("dead", "Killing", f"Template failed: the double does not know {error}")
            return False
        if env is None:
            return True
        image = self.task["Config"]["image"]
        try:
            self._pull(image)
            env = container.environment(self.allocation, self.task, self.node, env)
            given = container.settings(self.allocation, self.task, self.node, self.folder, env)
            given["host_config"] = self.api.create_host_config(**given["host_config"])
            name = f"{self.task['Name']}-{self.allocation['ID']}"
            with contextlib.suppress(docker.errors.NotFound):
                self.api.remove_container(name, force=True)
            self.container = self.api.create_container(name=name, **given)["Id"]
            self.api.start(self.container)
        except container.Refused as error:
            self._say("dead", "Failed Validation", str(error), ValidationError=str(error))
            return False
        except docker.errors.APIError as error:
            is_missing = isinstance(error, docker.errors.NotFound)
            text = f"API error ({error.status_code}): {error.explanation}"
            if not self.container:
                text = f"Failed to pull `{image}`: {text}"
            self._fail_to_start(text)
            return not is_missing
        except requests.exceptions.RequestException as error:
            self._fail_to_start(f"failed to reach the engine: {error}")
            return True
        self.pumps = [
            threading.Thread(target=self._pump, args=(self.container, stream), daemon=True)
            for stream in self.logs
        ]
        for pump in self.pumps:
            pump.start()
        self.started = time.monotonic()
        self.passing_since = None
        self._set_probes()
        self._say("running", "Started", "Task started by client")
        self._status("running")
        return None

    def _set_probes(self) -> None:
        ports = {p["Label"]: p for p in self.allocation["AllocatedResources"]["Shared"]["Ports"]}
        self.probes = probes_of(self.allocation, self.task, ports)
        self.passing_since = None

    def _fail_to_start(self, text: str) -> None:
        self._say(
            "pending", "Driver Failure", text, DriverError=text, details={"driver_error": text}
        )

    def _pull(self, image: str) -> None:
        self.container = ""
        try:
            self.api.inspect_image(image)  # type: ignore[no-untyped-call]
        except docker.errors.ImageNotFound:
            details = {"image": image}
            self._say("pending", "Driver", "Downloading image", details=details)
            with contextlib.closing(docker.APIClient(self.node.engine, timeout=300)) as patient:
                for line in patient.pull(image, stream=True, decode=True):
                    if "error" in line:
                        found = docker.errors.NotFound if "not found" in line["error"] else None
                        kind = found or docker.errors.APIError
                        raise kind(line["error"], explanation=line["error"]) from None

    def _prepare(self) -> dict[str, str] | None:
        """Write what the templates say, and return the variables among it. None: the servers want
        it stopped meanwhile."""
        for name in ("alloc", "local", "secrets"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        socket = self.folder.parent / TASK_API
        if socket.exists() and not (self.folder / "secrets" / TASK_API).exists():
            (self.folder / "secrets" / TASK_API).hardlink_to(socket)
        env = self._identity()
        for template in self.task.get("Templates") or ():
            content = self._rendered(template)
            if content is None:
                return None
            file = self.folder / template["DestPath"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
            file.chmod(int(template.get("Perms") or "0644", 8))
            if template.get("Envvars"):
                lines = content.decode().splitlines()
                env |= dict(line.split("=", 1) for line in lines if "=" in line)
        return env

    def _identity(self) -> dict[str, str]:
        """NOMAD_TOKEN, where the task wants its identity as a variable."""
        if not (self.task.get("Identity") or {}).get("Env"):
            return {}
        token = str(uuid.uuid5(uuid.NAMESPACE_DNS, self.allocation["ID"]))
        self.cluster.identities.add(token)
        return {"NOMAD_TOKEN": token}

    def _rendered(self, template: Json) -> bytes | None:
        """A variable that is missing is waited for."""
        is_told = False
        while self.is_wanted:
            try:
                return templates.render(template, self._read_variable)
            except templates.Missing as missing:
                if not is_told:
                    self._say("pending", "Template", f"Missing: {missing}")
                is_told = True
                time.sleep(TICK * 4)
        return None

    def _read_variable(self, path: str) -> dict[str, str] | None:
        if not templates.may_read(path, self.allocation, self.task["Name"]):
            return None
        found = self.cluster.state.variables.get((self.allocation["Namespace"], path))
        return dict(found["Items"]) if found else None

    def _pump(self, name: str, stream: str) -> None:
        """One stream of a container's output, as it comes."""
        with (
            contextlib.suppress(
                docker.errors.DockerException, requests.exceptions.RequestException
            ),
            contextlib.closing(docker.APIClient(self.node.engine, timeout=A_DAY)) as api,
        ):
            wanted = {"stdout": stream == "stdout", "stderr": stream == "stderr"}
            for data in api.logs(name, stream=True, follow=True, **wanted):
                self.logs[stream].write(data)

    # --- while it runs ----------------------------------------------------------------------------

    def _watch(self) -> int | None:
        """Until it ends, which gives its exit code, or the servers want it stopped: None."""
        while self.is_wanted:
            before, self.task = self.task, self._task()
            if before.get("Services") != self.task.get("Services"):
                self._set_probes()
            self.register()
            state = self._state()
            if state is None:
                return -1 if not self.is_lost else None
            if not state.get("Running") and state.get("Status") not in ("created", "restarting"):
                return self._has_ended(state)
            if (reason := self._probe()) is not None:
                self._say("running", "Restart Signaled", reason)
                catalogue.deregister(self.cluster.state, self.allocation["ID"])
                self._signal()
                state = self._state() or {}
                return self._has_ended(state) or 1
            self._track()
            time.sleep(TICK)
        return None

    def _state(self) -> Json | None:
        """What the engine says of the container; None when there is none. An engine that does not
        answer is asked again."""
        while True:
            try:
                return dict(self.api.inspect_container(self.container)["State"])
            except docker.errors.NotFound:
                return None
            except (docker.errors.APIError, requests.exceptions.RequestException):
                if self.is_lost or self.cluster.closing:
                    return None
                time.sleep(TICK * 10)

    def _has_ended(self, state: Json) -> int:
        for pump in self.pumps:
            pump.join(2)
        code, oom = int(state.get("ExitCode") or 0), bool(state.get("OOMKilled"))
        text = f"Docker container exited with non-zero exit code: {code}"
        message = "OOM Killed" if oom else text
        details = {"exit_code": code, "signal": 0, "oom_killed": str(oom).lower()}
        if code:
            details["exit_message"] = message
        said = f'Exit Code: {code}, Exit Message: "{message}"' if code else "Exit Code: 0"
        catalogue.deregister(self.cluster.state, self.allocation["ID"])
        self._say("dead", "Terminated", said, ExitCode=code, details=details)
        return code

    def register(self) -> None:
        """What the catalogue shall have. A canary's tags are others until it is promoted."""
        with self.cluster.state.changed:
            catalogue.register(self.cluster.state, self._services())

    def _services(self) -> list[Json]:
        status = self.allocation["DeploymentStatus"] or {}
        ports = {p["Label"]: p for p in self.allocation["AllocatedResources"]["Shared"]["Ports"]}
        found = []
        for service in self.task.get("Services") or ():
            port = ports[service["PortLabel"]]
            canary_tags = service.get("CanaryTags") if status.get("Canary") else None
            found.append(
                {
                    "ID": f"_nomad-task-{self.allocation['ID']}-{self.task['Name']}-"
                    f"{service['Name']}-{service['PortLabel']}",
                    "ServiceName": service["Name"],
                    "Namespace": self.allocation["Namespace"],
                    "NodeID": self.node.id,
                    "Datacenter": "dc1",
                    "JobID": self.allocation["JobID"],
                    "AllocID": self.allocation["ID"],
                    "Tags": list(canary_tags or service.get("Tags") or ()),
                    "Address": port["HostIP"],
                    "Port": port["Value"],
                }
            )
        return found

    def _probe(self) -> str | None:
        """Ask the checks that are due; why the task has to be restarted, if it has."""
        now = time.monotonic()
        if self.asked:
            return self.asked
        for probe in self.probes:
            if now < probe.next:
                continue
            probe.run()
            if probe.status != "success":
                self.passing_since = None
            policy = probe.check.get("CheckRestart") or {}
            grace = int(policy.get("Grace") or 0) / NS
            if now - self.started < grace:
                probe.failures = 0
            limit = int(policy.get("Limit") or 0)
            if limit and probe.failures >= limit:
                return f'healthcheck: check "{probe.check["Name"]}" unhealthy'
        passing = all(p.status == "success" for p in self.probes if p.counts)
        if passing and self.passing_since is None:
            self.passing_since = time.monotonic()
        return None

    def _track(self) -> None:
        """Whether it is healthy, for the deployment that it is part of now; of a service without
        one by `migrate` (client/allocrunner/health_hook.go)."""
        deployment = self.allocation["DeploymentID"]
        if deployment != self.tracked:
            self.tracked, self.begun = deployment, time.monotonic()
        if (self.allocation["DeploymentStatus"] or {}).get("Healthy") is not None:
            return
        if not deployment and self.allocation["JobType"] != "service":
            return
        update = self.group.get("Update" if deployment else "Migrate") or {}
        now, least = time.monotonic(), int(update.get("MinHealthyTime") or 0) / NS
        since = max(self.started, self.begun)
        if update.get("HealthCheck") == "checks":
            since = max(since, self.passing_since) if self.passing_since else now
        if now - since >= least and now > since:
            self._judge(True)
        elif now - self.begun >= int(update.get("HealthyDeadline") or 300 * NS) / NS:
            spoken = _duration(int(update.get("HealthyDeadline") or 0))
            text = f"Task not running for min_healthy_time of {_duration(int(least * NS))} by "
            self._say("running", "Alloc Unhealthy", f"{text}healthy_deadline of {spoken}")
            self._judge(False)

    def _judge(self, healthy: bool) -> None:
        with self.cluster.state.changed:
            self.cluster.judged(self.allocation, healthy)

    # --- its end ----------------------------------------------------------------------------------

    def _restart(self, *, recoverable: bool) -> bool:
        """Wait for the next try in place; False when there is none."""
        policy = self.group.get("RestartPolicy") or {}
        if self.asked:
            self.asked = ""
            self._say("pending", "Restarting", "Task restarting in 0s")
            self._remove()
            return True
        if not recoverable:
            self._give_up("Error was unrecoverable")
            return False
        now, window = time.monotonic(), int(policy.get("Interval") or 0) / NS
        self.restarts = [at for at in self.restarts if now - at < window]
        most = int(policy.get("Attempts") or 0)
        if len(self.restarts) >= most:
            text = f"Exceeded allowed attempts {most} in interval {_duration(int(window * NS))}"
            is_none = "Policy allows no restarts"
            self._give_up(f'{text} and mode is "fail"' if most else is_none)
            return False
        self.restarts.append(now)
        delay = int(policy.get("Delay") or 0) / NS * (1 + random.random() / 4)
        self._say(
            "pending",
            "Restarting",
            f"Task restarting in {delay:.6g}s",
            RestartReason="Restart within policy",
            StartDelay=int(delay * NS),
            details={"start_delay": int(delay * NS), "restart_reason": "Restart within policy"},
        )
        end = now + delay
        while self.is_wanted and time.monotonic() < end:
            time.sleep(TICK)
        self._remove()
        return True

    def _give_up(self, reason: str) -> None:
        details = {"restart_reason": reason, "fails_task": "true"}
        self._say("dead", "Not Restarting", reason, details, FailsTask=True, RestartReason=reason)

    def _stop(self) -> None:
        """Deregister, wait, signal, wait, kill."""
        timeout = int(self.task.get("KillTimeout") or 5 * NS)
        timeout = min(timeout, int(seconds(self.cluster.longest_kill) * NS))
        text = f"Sent interrupt. Waiting {_duration(timeout)} before force killing"
        details = {"kill_timeout": _duration(timeout)}
        self._say("running", "Killing", text, KillTimeout=timeout, details=details)
        catalogue.deregister(self.cluster.state, self.allocation["ID"])
        delay = int(self.task.get("ShutdownDelay") or 0)
        if delay:
            text = f"Waiting for shutdown_delay of {_duration(delay)} before killing the task."
            self._say("running", "Waiting for shutdown delay", text)
            self._sleep(delay / NS)
        self._signal()
        state = self._state() or {}
        if state:
            self._has_ended(state)
        self._say("dead", "Killed", "Task successfully killed")

    def _sleep(self, length: float) -> None:
        end = time.monotonic() + length
        while time.monotonic() < end and not self.cluster.closing and not self.is_lost:
            time.sleep(TICK)

    def _signal(self) -> None:
        """The engine sends the signal, waits and kills."""
        timeout = min(
            int(self.task.get("KillTimeout") or 5 * NS) / NS, seconds(self.cluster.longest_kill)
        )
        if self.cluster.closing:
            timeout = 0
        patience = int(timeout) + 30
        with (
            contextlib.suppress(
                docker.errors.DockerException, requests.exceptions.RequestException
            ),
            contextlib.closing(docker.APIClient(self.node.engine, timeout=patience)) as api,
        ):
            api.stop(self.container, timeout=int(timeout))

    def _remove(self) -> None:
        if self.container:
            with contextlib.suppress(
                docker.errors.DockerException, requests.exceptions.RequestException
            ):
                self.api.remove_container(self.container, force=True)
            self.container = ""

    # --- what others ask --------------------------------------------------------------------------

    def restart_for(self, reason: str) -> None:
        """Restart the task, which its policy does not count."""
        self.asked = reason

    def send(self, signal: str) -> None:
        self.api.kill(self.container, signal=signal)

    def command(self, command: list[str], *, terminal: bool) -> list[str]:
        """The command line that runs a command in the container."""
        flags = ["-it"] if terminal else ["-i"]
        return [
            *(self.node.docker, "--host", str(self.node.engine), "exec", *flags),
            *(self.container, *command),
        ]

    def statistics(self) -> dict[str, Any]:
        return dict(self.api.stats(self.container, stream=False))


def _duration(ns: int) -> str:
    """As Go writes it: 1m40s, 2s, 500ms."""
    if ns % NS:
        return f"{ns / 10**6:g}ms"
    total = ns // NS
    parts: Iterator[tuple[int, str]] = iter(
        ((total // 3600, "h"), (total // 60 % 60, "m"), (total % 60, "s"))
    )
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    if re.search(r"h$", text):
        text += "0m0s"
    elif text.endswith("m"):
        text += "0s"
    return text or "0s"
