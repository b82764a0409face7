"""Nomad's own checks of services: tcp and http (client/serviceregistration/checks)."""

from __future__ import annotations

import hashlib
import http.client
import socket
import time
from dataclasses import dataclass, field

from tests.nomad_double.state import Json

NS = 10**9


@dataclass
class Probe:
    """A check of an allocation; "pending" until it is asked first, after half its interval."""

    service: str
    check: Json
    group: str
    address: str
    port: int
    status: str = "pending"
    task: str = ""
    output: str = "nomad: waiting to run"
    code: int = 0
    """HTTP status of the last answer."""
    at: int = 0
    next: float = field(init=False)
    failures: int = 0

    def __post_init__(self) -> None:
        self.next = time.monotonic() + self.interval / 2

    @property
    def interval(self) -> float:
        return int(self.check["Interval"]) / NS

    @property
    def counts(self) -> bool:
        """`on_update = "ignore"` makes a check's failures count for nothing."""
        return self.check.get("OnUpdate") != "ignore"

    @property
    def id(self) -> str:
        text = f"{self.group}{self.service}{self.check['Name']}{self.port}"
        return hashlib.sha256(text.encode()).hexdigest()

    def run(self) -> None:
        timeout = int(self.check["Timeout"]) / NS
        ask = self._http if self.check["Type"] == "http" else self._tcp
        try:
            self.status, self.output = ask(timeout)
        except OSError as error:
            self.status, self.output = "failure", f"nomad: {error}"
        self.at = int(time.time())
        self.failures = 0 if self.status == "success" else self.failures + 1
        self.next = time.monotonic() + self.interval

    def _tcp(self, timeout: float) -> tuple[str, str]:
        with socket.create_connection((self.address, self.port), timeout):
            return "success", "nomad: tcp ok"

    def _http(self, timeout: float) -> tuple[str, str]:
        """Less than 400 is a success."""
        headers = {"User-Agent": "Nomad-Client/double"}
        headers |= {name: values[0] for name, values in (self.check.get("Header") or {}).items()}
        connection = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        try:
            connection.request(
                self.check.get("Method") or "GET", self.check["Path"], headers=headers
            )
            code = self.code = connection.getresponse().status
        except http.client.HTTPException as error:
            return "failure", f"nomad: {error!r}"
        finally:
            connection.close()
        return ("success", "nomad: http ok") if code < 400 else ("failure", f"nomad: http {code}")

    def result(self) -> Json:
        return {
            "ID": self.id,
            "Check": self.check["Name"],
            "Group": self.group,
            "Mode": "healthiness" if self.counts else "readiness",
            "Service": self.service,
            "Task": self.task,
            "StatusCode": self.code,
            "Status": self.status,
            "Output": self.output,
            "Timestamp": self.at,
        }


def probes_of(allocation: Json, task: Json, ports: dict[str, Json]) -> list[Probe]:
    found = []
    for service in task.get("Services") or ():
        for check in service.get("Checks") or ():
            label = check.get("PortLabel") or service["PortLabel"]
            port = ports[label]
            found.append(
                Probe(
                    service["Name"],
                    check,
                    allocation["Name"],
                    str(port["HostIP"]),
                    int(port["Value"]),
                    task=task["Name"],
                )
            )
    return found
