"""The service catalogue: what runs, under which name, address and tags
(nomad/structs/service_registration.go)."""

from __future__ import annotations

import re

from fastapi import FastAPI, Request, Response

from tests.nomad_double.state import Json, State
from tests.nomad_double.variables import Refusal

CONTAINS = re.compile(r'^\s*Tags contains (["`])(.*)\1\s*$')
"""The one filter that is known: Traefik sends it."""


def register(state: State, found: list[Json]) -> None:
    """Registrations that are new or changed; the rest keeps its index."""
    with state.changed:
        changed = [s for s in found if not _same(state.services.get(s["ID"]), s)]
        if not changed:
            return
        with state.writing("services") as index:
            for service in changed:
                there = state.services.get(service["ID"])
                created = there["CreateIndex"] if there else index
                made = service | {"CreateIndex": created, "ModifyIndex": index}
                state.services[service["ID"]] = made
                state.publish("Service", "ServiceRegistration", service["ID"], {"Service": made})


def deregister(state: State, allocation: str) -> None:
    """All of an allocation's."""
    with state.changed:
        gone = [s for s in state.services.values() if s["AllocID"] == allocation]
        if not gone:
            return
        with state.writing("services"):
            for service in gone:
                del state.services[service["ID"]]
                event = {"Service": service}
                state.publish("Service", "ServiceDeregistration", service["ID"], event)


def _same(there: Json | None, service: Json) -> bool:
    return there is not None and all(there.get(key) == value for key, value in service.items())


def listed(state: State, namespace: str) -> list[Json]:
    """Names by namespace; tags are those of all instances together."""
    spaces: dict[str, dict[str, set[str]]] = {}
    for service in state.services.values():
        if namespace in ("*", service["Namespace"]):
            names = spaces.setdefault(service["Namespace"], {})
            names.setdefault(service["ServiceName"], set()).update(service["Tags"] or ())
    return [
        {
            "Namespace": space,
            "Services": [
                {"ServiceName": name, "Tags": sorted(tags)} for name, tags in sorted(names.items())
            ],
        }
        for space, names in sorted(spaces.items())
    ]


def instances(state: State, namespace: str, name: str, expression: str) -> list[Json]:
    """Instances of a service, empty for one that there is not
    (nomad/service_registration_endpoint.go, GetService)."""
    wanted = CONTAINS.match(expression)
    if expression and wanted is None:
        raise Refusal(501, f"the double does not know the filter {expression}")
    return [
        service
        for service in state.services.values()
        if (service["Namespace"], service["ServiceName"]) == (namespace, name)
        and (wanted is None or wanted[2] in (service["Tags"] or ()))
    ]


def add_catalogue(app: FastAPI, state: State) -> None:
    from tests.nomad_double.server import blocking, namespace_of

    def index() -> int:
        return state.table_index.get("services", 1)

    @app.get("/v1/services")
    def services(request: Request) -> Response:
        space = namespace_of(request)
        return blocking(state, request, lambda: (listed(state, space), index()))

    @app.get("/v1/service/{name}")
    def service(name: str, request: Request) -> Response:
        space, expression = namespace_of(request), request.query_params.get("filter", "")
        return blocking(
            state, request, lambda: (instances(state, space, name, expression), index())
        )

    @app.get("/v1/allocation/{name}/services")
    def of_allocation(name: str, request: Request) -> Response:
        return blocking(
            state,
            request,
            lambda: ([s for s in state.services.values() if s["AllocID"] == name], index()),
        )
