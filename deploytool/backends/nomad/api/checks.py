"""What the checks of an allocation say, which its node alone knows."""

from __future__ import annotations

from deploytool.backends.nomad.api.client import Client
from deploytool.errors import DeploytoolError
from deploytool.json_types import Json


def read_checks(client: Client, allocation: str) -> list[Json]:
    """The last result of each check."""
    found: Json = client.get(f"/v1/client/allocation/{allocation}/checks") or {}
    return list(found.values())


def why_unready(client: Client, allocation: str) -> str:
    """Why an allocation that has checks takes no requests yet; empty where it does."""
    try:
        found = read_checks(client, allocation)
    except DeploytoolError as error:
        return error.message
    if not found:
        return "its checks have not run yet"
    bad = [check for check in found if check.get("Status") != "success"]
    return describe(bad[0]) if bad else ""


def describe(check: Json) -> str:
    return f"{check.get('Check')}: {check.get('Output') or check.get('Status')}"
