"""How releases are written down, and what turns an older form into today's.

Each form keeps stored examples in tests/unit/stored/NUMBER. Whoever changes what a key of a stored
release is called or means adds a form: a number, an upgrade from the one before, and examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploytool.json_types import Json

FORMAT = 5


def upgraded(data: Json) -> Json:
    """A stored release in today's form, as far as it is one; it means what it meant when it was
    written. A form that is newer than today's is left as it is. Raises ValueError for a form that
    never was."""
    written = data.get("format", 1)
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise ValueError("not a form of releases")
    for number in range(written, FORMAT):
        data = UPGRADES[number](data)
    return data | {"format": max(written, FORMAT)}


def _from_1(data: Json) -> Json:
    """No domains were written like domains that were not set, and the order of an update as
    start-first where a port of the node made it stop-first."""
    return _with_services(data, _service_from_1)


def _service_from_1(service: Json) -> Json:
    read = {key: value for key, value in service.items() if key != "domains" or value}
    update = read.get("update")
    if isinstance(update, dict) and _holds_port(read.get("publish")):
        read["update"] = update | {"order": "stop-first"}
    return read


def _from_2(data: Json) -> Json:
    """The proxy had no constraints and no namespaces, which is what they are by default."""
    return data


def _from_3(data: Json) -> Json:
    """Nothing limited the processes of a replica and the size of its /tmp."""
    return _with_services(data, lambda service: {"pids": 0, "tmp_size": "0B"} | service)


def _from_4(data: Json) -> Json:
    """Every service had a number of replicas, and every health check an interval and a number of
    failures that was written down."""
    return data


def _with_services(data: Json, change: Callable[[Json], Json]) -> Json:
    """The same with other services, as far as there are any."""
    spec = data.get("spec")
    services = spec.get("services") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(services, list):
        return data
    changed = [change(one) if isinstance(one, dict) else one for one in services]
    return data | {"spec": spec | {"services": changed}}


def _holds_port(publish: Any) -> bool:
    ports = publish if isinstance(publish, list) else ()
    return any(isinstance(port, dict) and port.get("mode") == "host" for port in ports)


UPGRADES: dict[int, Callable[[Json], Json]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}
"""Form → what makes the next one of it."""
