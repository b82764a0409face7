"""Recovery of an update that stalls or fails through the cluster itself. A new update continues
with the replicas that are there. `find` only reads; `recover` writes.

The engine's updater waits for each replica that it starts to run, and has no time limit for that
(`updateTask` in swarmkit's manager/orchestrator/update/updater.go). One that was sent to a node
which then dies never will: the cluster starts another in its place, but the updater still waits
for the first.

It also reverses an update when a new replica ends within `monitor`, whatever the reason: that its
node is drained or its engine restarts too. And where a node is drained just as an update begins,
both the updater and whoever restarts replicas put one in the place of the same old one. Nobody
removes the second; but the next update corrects a slot that has two (`isSlotDirty`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from deploytool.backends.model import Action, Task
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.tasks import update_state
from deploytool.backends.swarm.planning.plan import stop_grace
from deploytool.backends.swarm.rollout.explain import UNHEALTHY, last_words
from deploytool.backends.swarm.rollout.tracked import Tracked, Tracking
from deploytool.backends.swarm.specification import init_process
from deploytool.backends.swarm.specification.health import CUT_OFF
from deploytool.backends.swarm.specification.scripts import STOPPED
from deploytool.errors import PlanError
from deploytool.json_types import Json

BEFORE_RUNNING = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting")
REVERSED_FOR = re.compile(r"due to failure or early termination of task (\S+)")
"""The engine's message names the replica for which it reverses an update
(`failureTriggersAction`)."""
NOT_THE_RELEASE = ("Address already in use", "No such container", "swarm is not active")
"""Messages of an engine that gave a replica an address in use, as happens after a change of the
leading manager (moby/moby#33402), that lost a container as it restarted, or whose network is not up
again yet (`NewNetwork` in moby's libnetwork/controller.go). The message of a port in use begins
with a small letter."""
ATTEMPTS = 3
"""How often an update is started again, at most."""
LAST_WORDS = 20
"""Lines of its log in which a replica says why it was not healthy, before those of its end."""
UNDER_WAY = ("updating", "paused", "rollback_started", "rollback_paused")


@dataclass(frozen=True)
class Recovery:
    """How to recover a stalled service. Nothing of it is done yet."""

    service: Json
    """The service as it was when it was found to be stalled."""
    reason: str
    lost: Mapping[str, str] = field(default_factory=dict)
    """Replicas that the update waits for in vain, with their nodes."""
    surplus: tuple[str, ...] = ()
    """Replicas beyond the first of their places."""
    innocent: Task | None = None
    """The replica for which the engine reverses the update, through no fault of the release."""
    without_init: Mapping[str, str] = field(default_factory=dict)
    """Replicas that did not start, as their nodes have no docker-init, with those nodes."""


def find(
    client: Client, target: Tracked, service: Json, tasks: Sequence[Task], now: float
) -> Recovery | None:
    """How to recover a service that moves; None where it continues by itself."""
    if held_up := find_held_up(client, target, service, tasks, now):
        return held_up
    task = innocent(client, target, service, tasks)
    if task and target.spec and target.applied and len(target.forgiven) < ATTEMPTS:
        reason = _started_again(target.forgiven | {task.id: task.node})
        return Recovery(service, reason, innocent=task)
    return None


def find_held_up(
    client: Client, target: Tracked, service: Json, tasks: Sequence[Task], now: float
) -> Recovery | None:
    """How to recover an update that the cluster holds up, forward or back."""
    if lost := _out_of_reach(client, target, held_up_by(target, service, tasks, now), now):
        nodes = {task.id: task.node for task in lost}
        return Recovery(service, continues_without(target.given_up | nodes), lost=nodes)
    if found := surplus(target, service, tasks, now):
        ids = tuple(task.id for task in found)
        return Recovery(service, f"removes surplus replicas: {len(found)}", surplus=ids)
    return None


def find_without_init(target: Tracked, service: Json, tasks: Sequence[Task]) -> Recovery | None:
    """Whether to take the init from a service that was sent to a node without docker-init, where it
    has one by default only. Its commands never ran there, so that none of it is a failure of the
    release."""
    failed = {
        task.id: task.node
        for task in tasks
        if task.id not in target.known_tasks and init_process.is_missing(task.message)
    }
    if target.spec is None or not failed.keys() - target.without_init.keys():
        return None
    if init_process.remembered(target.spec):
        target.without_init |= failed
        return None
    if not init_process.may_do_without(target.spec):
        return None
    reason = _without_init(target.without_init | failed)
    return Recovery(service, reason, without_init=failed)


def done(target: Tracked) -> str:
    """The recoveries of a service so far, in words."""
    return (
        continues_without(target.given_up)
        or _started_again(target.forgiven)
        or _without_init(target.without_init)
    )


def recover(client: Client, tracking: Tracking) -> None:
    """Recover the services of a plan that were found to be stalled. One that somebody else has
    changed meanwhile is left to the next poll."""
    for target in tracking.targets:
        recovery, target.recovery = target.recovery, None
        if recovery is not None:
            with suppress(PlanError):
                _recover(client, tracking, target, recovery)


def _recover(client: Client, tracking: Tracking, target: Tracked, recovery: Recovery) -> None:
    service = recovery.service
    if recovery.without_init:
        _go_without_init(client, tracking, target, recovery)
    elif recovery.lost:
        target.given_up |= recovery.lost
        _start_again(client, service)
    elif recovery.surplus:
        now = time.monotonic()
        target.unwanted_since |= dict.fromkeys(recovery.surplus, now)
        client.update_service(service, service["Spec"])
    elif recovery.innocent and target.spec:
        task = recovery.innocent
        client.update_service(service, target.spec)
        target.forgiven[task.id] = task.node
        target.failures.pop(task.id, None)
        target.known_tasks |= {task.id}


def _go_without_init(
    client: Client, tracking: Tracking, target: Tracked, recovery: Recovery
) -> None:
    """Of this service, and of those of the plan that are still to come."""
    if target.spec is None:
        return
    ids = {hostname: node_id for node_id, hostname in tracking.nodes.items()}
    nodes = {ids.get(node, node) for node in recovery.without_init.values()}
    live = recovery.service
    wanted = live["Spec"] if target.action is Action.KEEP else target.spec
    client.update_service(live, init_process.without(wanted, nodes))
    for each in tracking.targets:
        is_to_come = target.applied and not each.applied
        if (each is target or is_to_come) and each.spec and init_process.may_do_without(each.spec):
            each.spec = init_process.without(each.spec, nodes)
    target.without_init |= recovery.without_init


def continues_without(nodes: Mapping[str, str]) -> str:
    return _list(nodes, "continues without {}, which is not available")


def _started_again(nodes: Mapping[str, str]) -> str:
    return _list(nodes, "update started again, as {} did not keep a new replica")


def _without_init(nodes: Mapping[str, str]) -> str:
    return _list(nodes, "continues without an init, as {} has no docker-init")


def innocent(client: Client, target: Tracked, service: Json, tasks: Sequence[Task]) -> Task | None:
    """The replica for which the engine is reversing an update, where that is the cluster's doing
    or its network's."""
    state, message = update_state(service)
    blamed = REVERSED_FOR.search(message)
    if state != "rollback_started" or not blamed:
        return None
    found = next((task for task in tasks if task.id == blamed[1]), None)
    if found and (_ended_by_the_cluster(found) or _was_cut_off(client, target, found)):
        return found
    return None


def _ended_by_the_cluster(task: Task) -> bool:
    """It had to leave its node, or its engine stopped or failed it. A replica that ends by
    itself or is not healthy has another state or message."""
    stopped = task.exit_code == STOPPED and UNHEALTHY not in task.message
    return task.state == "shutdown" or stopped or failed_by_its_engine(task)


def _was_cut_off(client: Client, target: Tracked, task: Task) -> bool:
    """It was not healthy, and its log says that it could not reach the proxy."""
    if UNHEALTHY not in task.message:
        return False
    if task.id not in target.last_words:
        target.last_words[task.id] = last_words(client, task, LAST_WORDS)
    return any(CUT_OFF in line for line in target.last_words[task.id])


def failed_by_its_engine(task: Task) -> bool:
    return any(text in task.message for text in NOT_THE_RELEASE)


def _list(nodes: Mapping[str, str], text: str) -> str:
    return text.format(", ".join(sorted(set(nodes.values())))) if nodes else ""


def held_up_by(target: Tracked, service: Json, tasks: Sequence[Task], now: float) -> list[Task]:
    """The replicas that an update waits for, though the cluster has given them up for a while, or
    has no place for them: with one on each node, those do not go elsewhere."""
    if update_state(service)[0] != "updating":
        return []
    lost = [
        task
        for task in tasks
        if task.current
        and (not task.wanted or (target.is_global and task.state == "pending" and task.message))
        and task.state in BEFORE_RUNNING
        and task.id not in target.given_up
    ]
    return _for_a_while(target, lost, now)


def _out_of_reach(
    client: Client, target: Tracked, tasks: Sequence[Task], now: float
) -> Sequence[Task]:
    """Those on nodes that are down, or that had all of `stop_grace` too: a replica that serves its
    callers to the end is not held up. One that never came to its own node serves nobody."""
    if not tasks:
        return ()
    nodes = client.nodes()
    down = {n["Description"]["Hostname"] for n in nodes if n["Status"]["State"] == "down"}
    closed = {n["ID"] for n in nodes if n["Spec"]["Availability"] != "active"}
    longest = target.settling + stop_grace(target.spec)
    return [
        t
        for t in tasks
        if t.node in down
        or (t.state == "pending" and t.node_id in closed)
        or (not t.wanted and now - target.unwanted_since[t.id] > longest)
    ]


def surplus(target: Tracked, service: Json, tasks: Sequence[Task], now: float) -> list[Task]:
    """The replicas beyond the first of their places, which have been there for a while."""
    if update_state(service)[0] in UNDER_WAY:
        return []
    found: dict[str, list[Task]] = {}
    for task in tasks:
        if task.running:
            found.setdefault(task.place, []).append(task)
    return _for_a_while(target, [task for place in found.values() for task in place[1:]], now)


def _for_a_while(target: Tracked, tasks: Sequence[Task], now: float) -> list[Task]:
    """Those that are not wanted for longer than the cluster needs to settle."""
    since = target.unwanted_since
    return [task for task in tasks if now - since.setdefault(task.id, now) > target.settling]


def _start_again(client: Client, service: Json) -> None:
    """By way of the specification before, as the engine starts no update towards the one that it
    works on, and has to know what to roll back to."""
    wanted, before = service["Spec"], service.get("PreviousSpec")
    if before:
        client.update_service(service, before)
        (service,) = client.services(id=service["ID"])
    client.update_service(service, wanted)
