"""Whether the nodes have the log drivers of services. Pure.

A Swarm places no replica on a node whose engine does not list its driver: it would wait for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from deploytool import capacity
from deploytool.capacity import Node
from deploytool.errors import PlanError
from deploytool.spec import Image, Service


def check(services: Iterable[Service], images: Mapping[str, Image], nodes: Sequence[Node]) -> None:
    """Raises PlanError for a driver that no node has which may run the service."""
    for service in _lacking_somewhere(services, nodes):
        allowed = _allowed(service, images[service.name], nodes)
        if allowed and not _having(service, allowed):
            known = sorted(set().union(*(node.log_drivers for node in allowed)))
            driver = service.logging.driver
            raise PlanError(
                f"No node that may run {service.name} has the log driver {driver}",
                code="log_driver_missing",
                hint=f"logging.driver can be {', '.join(known)}; or install its plugin on the "
                f"nodes: docker plugin install {driver}",
            )


def warnings(
    services: Iterable[Service], images: Mapping[str, Image], nodes: Sequence[Node]
) -> Iterator[str]:
    """Drivers that keep a service from some of its nodes."""
    for service in _lacking_somewhere(services, nodes):
        allowed = _allowed(service, images[service.name], nodes)
        having = _having(service, allowed)
        lacking = sorted(node.hostname for node in allowed if node not in having)
        if having and lacking:
            yield (
                f"{service.name} runs on no node without the log driver {service.logging.driver}, "
                f"which is missing on {', '.join(lacking)}"
            )


def _lacking_somewhere(services: Iterable[Service], nodes: Sequence[Node]) -> Iterator[Service]:
    """Few, if any: the nodes of the others need no closer look."""
    for service in services:
        if len(_having(service, nodes)) < len(nodes):
            yield service


def _allowed(service: Service, image: Image, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that may run a service but for its log driver."""
    return [
        node
        for node in nodes
        if node.usable
        and not capacity.why_never(replace(node, log_drivers=frozenset()), service, image)
    ]


def _having(service: Service, nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.has_log_driver(service.logging.driver)]
