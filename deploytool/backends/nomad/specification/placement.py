"""Where replicas may run: constraints and spread, in Nomad's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deploytool.json_types import Json
from deploytool.spec import Image, Service

NODE = "${node.unique.id}"
SWARM_NAMES = {
    "node.id": NODE,
    "node.hostname": "${attr.unique.hostname}",
    "node.platform.arch": "${attr.cpu.arch}",
    "node.platform.os": "${attr.kernel.name}",
}
NOMAD_NAMES = re.compile(r"(attr|meta)\.[A-Za-z0-9_.-]+|node\.(class|datacenter|pool|unique\.\w+)")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names for what Go, and so Nomad, calls otherwise."""


def attribute(name: str) -> str:
    """What Nomad calls an attribute of a node: the Swarm's names and its own are known. A label of
    a Swarm node is metadata of a client. Raises ValueError with what to write instead."""
    bare = name.strip().removeprefix("${").removesuffix("}")
    if bare in SWARM_NAMES:
        return SWARM_NAMES[bare]
    if bare.startswith("node.labels."):
        return f"${{meta.{bare.removeprefix('node.labels.')}}}"
    if NOMAD_NAMES.fullmatch(bare):
        return f"${{{bare}}}"
    raise ValueError(
        f"{bare} is nothing that a Nomad client has: write node.labels.NAME, which is its "
        "metadata, attr.NAME, node.class, node.datacenter or node.pool"
    )


def expression(text: str) -> Json:
    """A constraint of a configuration. Raises ValueError."""
    found = re.fullmatch(r"([^=!]+)(==|!=)([^=!]+)", text)
    if found is None:
        raise ValueError(f"{text!r} is no constraint")
    left, value = attribute(found[1]), found[3].strip()
    if value.startswith("${"):
        raise ValueError(f"{value} would be an attribute itself, and cannot be compared with")
    if left == "${attr.cpu.arch}":
        value = ARCHITECTURES.get(value, value)
    return constraint(left, "=" if found[2] == "==" else "!=", value)


def constraint(left: str, operand: str, right: str) -> Json:
    return {"LTarget": left, "Operand": operand, "RTarget": right}


def constraints(service: Service, image: Image | None) -> list[Json]:
    found = [expression(text) for text in sorted(service.placement.constraints)]
    found += _platforms(image.platforms if image else ())
    if any(service.volumes):
        found.append(constraint("${attr.driver.docker.volumes.enabled}", "=", "true"))
    most = service.placement.max_per_node
    if most == 1:
        found.append({"Operand": "distinct_hosts", "RTarget": "true"})
    elif most:
        found.append(constraint(NODE, "distinct_property", str(most)))
    return found


def _platforms(platforms: Iterable[tuple[str, str]]) -> Iterator[Json]:
    """The nodes that can run an image."""
    known = [(arch, os) for arch, os in platforms if arch and os and "unknown" not in (arch, os)]
    for name, values in (
        ("${attr.cpu.arch}", sorted({arch for arch, _ in known})),
        ("${attr.kernel.name}", sorted({os for _, os in known})),
    ):
        if len(values) == 1:
            yield constraint(name, "=", values[0])
        elif values:
            yield constraint(name, "regexp", f"^({'|'.join(map(re.escape, values))})$")


def spreads(service: Service) -> list[Json]:
    """Evenly over what the configuration names, and then over the nodes: Nomad by itself fills one
    node before it begins the next."""
    named = [attribute(name) for name in service.placement.spread]
    found = [{"Attribute": name, "Weight": 100} for name in named]
    return found if NODE in named else [*found, {"Attribute": NODE, "Weight": 50}]
