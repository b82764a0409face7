"""ACL tokens. Which rights a token has is not modelled: `Cluster.denied` names the calls for which
they are missing."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.requests import HTTPConnection

from tests.nomad_double.cluster import Cluster
from tests.nomad_double.state import Json, stamp
from tests.nomad_double.variables import Refusal

OPEN = ("/v1/status/leader", "/v1/status/peers", "/v1/regions")
"""Calls that need no token, as the documentation of each says."""


def make_token(cluster: Cluster, secret: str, name: str = "", kind: str = "client") -> None:
    """From the first on, ACLs are on."""
    with cluster.state.writing("acl_token") as index:
        cluster.tokens[secret] = {
            "AccessorID": f"{index:08d}-0000-4000-8000-000000000000",
            "SecretID": secret,
            "Name": name,
            "Type": kind,
            "Policies": None if kind == "management" else ["deploytool"],
            "Roles": None,
            "Global": False,
            "CreateTime": stamp(cluster.state.now()),
            "ExpirationTime": None,
            "ExpirationTTL": 0,
            "CreateIndex": index,
            "ModifyIndex": index,
        }


def check(cluster: Cluster, asked: HTTPConnection) -> None:
    """Whoever has no token or an unknown one may do nothing, which is all that they are told
    (nomad/auth/auth.go, Authenticate)."""
    if cluster.tokens and asked.url.path not in OPEN and _token(cluster, asked) is None:
        raise Refusal(403, "Permission denied")


def _token(cluster: Cluster, asked: HTTPConnection) -> Json | None:
    given = asked.headers.get("X-Nomad-Token") or asked.headers.get("Authorization", "")
    return cluster.tokens.get(given.removeprefix("Bearer "))


def add_tokens(app: FastAPI, cluster: Cluster) -> None:
    from tests.nomad_double.server import answer

    @app.get("/v1/acl/token/self")
    def own(request: Request) -> Response:
        """403 for one that is unknown, from 1.10.1 on (command/agent/acl_endpoint.go). Unverified:
        what is said with ACLs off."""
        if not cluster.tokens:
            raise Refusal(400, "ACL support disabled")
        found = _token(cluster, request)
        assert found is not None, "others are refused before"
        return answer(found, index=found["ModifyIndex"])
