"""How releases are written down, and what turns an older form into today's.

Each form keeps stored examples in tests/unit/stored/NUMBER. Whoever changes what a key of a stored
release is called or means adds a form: a number, an upgrade from the one before, and examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
FORMAT = 2


def upgraded(data: Json) -> Json:
    """A stored release in today's form, as far as it is one; it means what it meant when it was
    written. A form that is newer than today's is left as it is."""
    number = data.get("format", 1)
    while number in UPGRADES:
        data = UPGRADES[number](data)
        number += 1
    return data | {"format": max(number, FORMAT)} if isinstance(number, int) else data


def _from_1(data: Json) -> Json:
    """No domains were written like domains that were not said."""
    spec = data.get("spec")
    services = spec.get("services") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(services, list):
        return data
    read = [
        {key: value for key, value in service.items() if key != "domains" or value}
        if isinstance(service, dict)
        else service
        for service in services
    ]
    return data | {"spec": spec | {"services": read}}


UPGRADES: dict[int, Callable[[Json], Json]] = {1: _from_1}
"""Form → what makes the next one of it."""
