"""Locks of variables (nomad/variables_endpoint.go, nomad/locks.go). Their time is the cluster's."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.nomad_double.state import Json, seconds
from tests.nomad_double.variables import Refusal, check, check_holder, nothing, store

if TYPE_CHECKING:
    from tests.nomad_double.cluster import Cluster

USUAL = "15s"
SHORTEST, LONGEST = 10, 24 * 3600
OPERATIONS = ("lock-acquire", "lock-renew", "lock-release")


def operate(cluster: Cluster, namespace: str, path: str, operation: str, body: Json) -> Json:
    with cluster.state.changed:
        if operation == "lock-acquire":
            return _acquire(cluster, namespace, path, body)
        held = (body.get("Lock") or {}).get("ID") or ""
        if operation == "lock-renew":
            return _renew(cluster, namespace, path, held)
        return _release(cluster, namespace, path, held)


def _acquire(cluster: Cluster, namespace: str, path: str, body: Json) -> Json:
    """Makes the variable where there is none. The items are replaced, with none if none are sent.
    Unverified: the documentation says that they are only if some are sent."""
    items = body.get("Items") or {}
    check(path, items)
    asked = body.get("Lock") or {}
    ttl = asked.get("TTL") or USUAL
    if not SHORTEST <= seconds(ttl) <= LONGEST:
        text = "1 error occurred:\n\t* TTL must be between 10 seconds and 24 hours\n\n"
        raise Refusal(400, text)
    state = cluster.state
    check_holder(state.variables.get((namespace, path)), asked.get("ID") or "")
    if cluster.time < cluster.delays.get((namespace, path), 0.0):
        raise Refusal(409, nothing(namespace, path))
    lock = {"ID": str(uuid.uuid4()), "TTL": ttl, "LockDelay": asked.get("LockDelay") or USUAL}
    made = store(state, namespace, path, items, lock)
    _expire_later(cluster, namespace, path, lock["ID"])
    return made


def _renew(cluster: Cluster, namespace: str, path: str, held: str) -> Json:
    """Refusals are plain text, unlike those of the others."""
    there = cluster.state.variables.get((namespace, path))
    if there is None:
        raise Refusal(404, "variable doesn't exist")
    if not there.get("Lock"):
        raise Refusal(409, "variable doesn't hold a lock")
    if there["Lock"]["ID"] != held:
        raise Refusal(409, "attempting to modify locked variable")
    _expire_later(cluster, namespace, path, held)
    return {name: value for name, value in there.items() if name != "Items"}


def _release(cluster: Cluster, namespace: str, path: str, held: str) -> Json:
    """Answers the metadata (api-docs/variables/locks)."""
    there = cluster.state.variables.get((namespace, path))
    if there is None or not there.get("Lock"):
        raise Refusal(409, nothing(namespace, path))
    check_holder(there, held)
    made = store(cluster.state, namespace, path, there["Items"], None)
    return {name: value for name, value in made.items() if name != "Items"}


def _expire_later(cluster: Cluster, namespace: str, path: str, held: str) -> None:
    """A lock that is not renewed is gone after twice its TTL, and can be had again only after its
    delay (nomad/locks.go)."""
    key = namespace, path
    renewed = cluster.renewed[key] = cluster.renewed.get(key, 0) + 1

    def expire() -> None:
        there = cluster.state.variables.get(key)
        if there is None or (there.get("Lock") or {}).get("ID") != held:
            return
        if cluster.renewed[key] == renewed:
            cluster.delays[key] = cluster.time + seconds(there["Lock"]["LockDelay"])
            store(cluster.state, namespace, path, there["Items"], None)

    lock = cluster.state.variables[key]["Lock"]
    cluster.later(2 * seconds(lock["TTL"]), expire)
