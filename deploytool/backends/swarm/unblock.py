"""An update that the cluster itself is in the way of. A new one looks at what there is, and goes on
from there.

The engine's updater waits for each replica that it starts to run, and has no time limit for that
(`updateTask` in swarmkit's manager/orchestrator/update/updater.go). One that was sent to a node
which then dies never will: the cluster starts another in its place, but the updater still waits
for the first.

It also takes an update back when a new replica ends within `monitor`, whatever the reason: that its
node is emptied or its engine restarts too. And where a node is emptied just as an update begins,
both the updater and whoever restarts replicas put one in the place of the same old one. Nobody
removes the second; but to the next update a slot that has two is one to put right (`isSlotDirty`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from deploytool.backends.base import Action, Task
from deploytool.backends.swarm import init_process
from deploytool.backends.swarm.client import Client
from deploytool.backends.swarm.compile import STOPPED
from deploytool.backends.swarm.explain import UNHEALTHY, last_words
from deploytool.backends.swarm.health import CUT_OFF
from deploytool.backends.swarm.plan import SwarmPlan, Target, stop_grace
from deploytool.backends.swarm.tasks import update_state
from deploytool.errors import PlanError

Json = dict[str, Any]
BEFORE_RUNNING = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting")
TAKEN_BACK = re.compile(r"due to failure or early termination of task (\S+)")
"""How the engine says which replica made it take an update back (`failureTriggersAction`)."""
NOT_THE_RELEASE = ("Address already in use", "No such container", "swarm is not active")
"""What an engine says that gave a replica an address that it had given already, which comes after a
change of the leading manager (moby/moby#33402), that lost a container as it restarted, or whose
network is not up again yet (`NewNetwork` in moby's libnetwork/controller.go). A port that is taken
is written with a small letter."""
ATTEMPTS = 3
"""How often an update is begun again, at most."""
LAST_WORDS = 20
"""Lines of its log in which a replica says why it was not healthy, before those of its end."""
PATIENCE = 4.0
"""Seconds in which the cluster settles."""
UNDER_WAY = ("updating", "paused", "rollback_started", "rollback_paused")


def unblock(
    client: Client, target: Target, service: Json, tasks: Sequence[Task], now: float
) -> str:
    """Start the update anew where a dead node holds it up, and say so from then on, or where it
    ended with two replicas in one slot."""
    with suppress(PlanError):  # Somebody else changed it: the next look tells.
        if lost := _out_of_reach(client, target, held_up_by(target, service, tasks, now), now):
            target.given_up |= {task.id: task.node for task in lost}
            _tell_again(client, service)
        elif found := surplus(target, service, tasks, now):
            target.unwanted_since |= {task.id: now for task in found}
            client.update_service(service, service["Spec"])
            return f"removes what is too many: {len(found)}"
    return _list(target.given_up, "goes on without {}, which did not answer")


def begin_again(client: Client, target: Target, service: Json, tasks: Sequence[Task]) -> str:
    """Start an update again that the cluster takes back through no fault of the release; say so
    from then on."""
    task = innocent(client, target, service, tasks)
    if task and target.spec and target.applied and len(target.forgiven) < ATTEMPTS:
        with suppress(PlanError):  # As above.
            client.update_service(service, target.spec)
            target.forgiven[task.id] = task.node
            target.failures.pop(task.id, None)
            target.known_tasks |= {task.id}
    return _list(target.forgiven, "begun again, as {} did not keep a new replica")


def go_without_init(
    client: Client, plan: SwarmPlan, target: Target, service: Json, tasks: Sequence[Task]
) -> None:
    """Take the init from a service that was sent to a node without docker-init, where it has one by
    default only, and from those of the plan that are still to come. Its commands never ran there,
    so that none of it is a failure of the release."""
    failed = {
        task.id: task.node
        for task in tasks
        if task.id not in target.known_tasks and init_process.is_missing(task.message)
    }
    if target.spec is None or not failed.keys() - target.without_init.keys():
        return
    if not init_process.remembered(target.spec):
        if not init_process.may_do_without(target.spec):
            return
        ids = {hostname: node_id for node_id, hostname in plan.nodes.items()}
        nodes = {ids.get(node, node) for node in failed.values()}
        wanted = service["Spec"] if target.action is Action.KEEP else target.spec
        try:
            client.update_service(service, init_process.without(wanted, nodes))
        except PlanError:  # Somebody else changed it: the next look tells.
            return
        told = [t for t in plan.targets if t is target or (target.applied and not t.applied)]
        for each in told:
            if each.spec and init_process.may_do_without(each.spec):
                each.spec = init_process.without(each.spec, nodes)
    target.without_init |= failed


def without_init(target: Target) -> str:
    return _list(target.without_init, "goes on without an init, as {} has no docker-init")


def innocent(client: Client, target: Target, service: Json, tasks: Sequence[Task]) -> Task | None:
    """The replica for which the engine is taking an update back, where that is the cluster's doing
    or its network's."""
    state, message = update_state(service)
    blamed = TAKEN_BACK.search(message)
    if state != "rollback_started" or not blamed:
        return None
    found = next((task for task in tasks if task.id == blamed[1]), None)
    if found and (_ended_by_the_cluster(found) or _was_cut_off(client, target, found)):
        return found
    return None


def _ended_by_the_cluster(task: Task) -> bool:
    """It had to leave its node, or its engine stopped or failed it. What ends by itself or is not
    healthy is told apart by its state and its message."""
    stopped = task.exit_code == STOPPED and UNHEALTHY not in task.message
    return task.state == "shutdown" or stopped or failed_by_its_engine(task)


def _was_cut_off(client: Client, target: Target, task: Task) -> bool:
    """It was not healthy, and said that it and the proxy did not reach each other."""
    if UNHEALTHY not in task.message:
        return False
    if task.id not in target.last_words:
        target.last_words[task.id] = last_words(client, task, LAST_WORDS)
    return any(CUT_OFF in line for line in target.last_words[task.id])


def failed_by_its_engine(task: Task) -> bool:
    return any(text in task.message for text in NOT_THE_RELEASE)


def _list(nodes: Mapping[str, str], text: str) -> str:
    return text.format(", ".join(sorted(set(nodes.values())))) if nodes else ""


def held_up_by(target: Target, service: Json, tasks: Sequence[Task], now: float) -> list[Task]:
    """The replicas that an update waits for, though the cluster has given them up for a while."""
    if update_state(service)[0] != "updating":
        return []
    lost = [
        task
        for task in tasks
        if task.current
        and not task.wanted
        and task.state in BEFORE_RUNNING
        and task.id not in target.given_up
    ]
    return _for_a_while(target, lost, now)


def _out_of_reach(
    client: Client, target: Target, tasks: Sequence[Task], now: float
) -> Sequence[Task]:
    """Those on nodes that are down, or that had all of `stop_grace` too: a replica that serves its
    callers to the end is not held up."""
    if not tasks:
        return ()
    nodes = client.nodes()
    down = {n["Description"]["Hostname"] for n in nodes if n["Status"]["State"] == "down"}
    longest = PATIENCE + stop_grace(target.spec)
    return [t for t in tasks if t.node in down or now - target.unwanted_since[t.id] > longest]


def surplus(target: Target, service: Json, tasks: Sequence[Task], now: float) -> list[Task]:
    """The replicas beyond the first of their slots, which have been there for a while."""
    if update_state(service)[0] in UNDER_WAY:
        return []
    slots: dict[int, list[Task]] = {}
    for task in tasks:
        if task.running:
            slots.setdefault(task.slot, []).append(task)
    return _for_a_while(target, [task for slot in slots.values() for task in slot[1:]], now)


def _for_a_while(target: Target, tasks: Sequence[Task], now: float) -> list[Task]:
    """Those that are not wanted for longer than the cluster needs to settle."""
    since = target.unwanted_since
    return [task for task in tasks if now - since.setdefault(task.id, now) > PATIENCE]


def _tell_again(client: Client, service: Json) -> None:
    """By way of the specification before, as the engine starts no update towards the one that it
    works on, and has to know what to go back to."""
    wanted, before = service["Spec"], service.get("PreviousSpec")
    if before:
        client.update_service(service, before)
        (service,) = client.services(id=service["ID"])
    client.update_service(service, wanted)
