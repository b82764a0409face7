"""Which right a call of the API needs, as Nomad's API documentation says. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple


class Right(NamedTuple):
    """A right, and what it is for."""

    name: str
    """As in a policy: a capability of a namespace or of its variables, else of what."""
    purpose: str
    """What cannot be done without it: "may not …"."""


IN_NAMESPACES = (
    (r"GET /v1/jobs$", Right("list-jobs", "list jobs")),
    (r"GET /v1/(job|deployment|allocation|evaluation|service)", Right("read-job", "read jobs")),
    (r"GET /v1/client/allocation/[^/]+/exec", Right("alloc-exec", "run commands in replicas")),
    (r"GET /v1/client/allocation/", Right("read-job", "see what replicas use")),
    (r"/v1/client/fs/", Right("read-logs", "read what replicas print")),
    (r"/v1/job/[^/]+/plan$", Right("submit-job", "try changes of jobs")),
    (r"/v1/(jobs|job|deployment)\b", Right("submit-job", "change jobs")),
    (r"GET /v1/vars", Right("variables: list", "list variables")),
    (r"GET /v1/var/", Right("variables: read", "read the variable {variable}")),
    (r"PUT /v1/var/", Right("variables: write", "write the variable {variable}")),
    (r"DELETE /v1/var/", Right("variables: destroy", "remove the variable {variable}")),
)
ELSEWHERE = (
    (r"/v1/client/stats", Right("node:read", "see what nodes use")),
    (r"/v1/node", Right("node:read", "read nodes")),
    (r"/v1/agent/members", Right("node:read", "ask for the servers' versions")),
    (r"/v1/agent", Right("agent:read", "read the configuration of an agent")),
    (r"/v1/operator", Right("operator:read", "read the scheduler's settings")),
)
"""Method and path → the right."""


def needed(method: str, path: str, namespace: str) -> Right:
    """The right that a call needs, with where it is needed."""
    what = f"{method} {path}"
    for pattern, right in ELSEWHERE:
        if re.search(pattern, what):
            return right
    for pattern, right in IN_NAMESPACES:
        if re.search(pattern, what):
            variable = path.removeprefix("/v1/var/")
            name = f"{right.name} in the namespace {namespace}"
            return Right(name, right.purpose.format(variable=variable))
    return Right(f"the right for {what}", f"call {what}")
