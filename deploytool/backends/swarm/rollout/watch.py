"""The progress of a rollout: one request for all services, one for all tasks, and their meaning.

The engine's UpdateStatus is reset by every update and stays empty when no replica is replaced, so
an empty one says nothing by itself; the tasks do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from deploytool.backends.model import Action, ServiceProgress, Task, Verdict
from deploytool.backends.swarm.api.client import Client
from deploytool.backends.swarm.api.tasks import by_service, read_task, update_state
from deploytool.backends.swarm.planning import logins
from deploytool.backends.swarm.planning.diff import is_global, normal
from deploytool.backends.swarm.planning.plan import replicas, stop_grace
from deploytool.backends.swarm.rollout import recover
from deploytool.backends.swarm.rollout.tracked import Tracked, Tracking, places
from deploytool.backends.swarm.specification import labels
from deploytool.json_types import Json

ATTEMPTS = 3
"""Failed tasks in one place after which a service that the engine does not watch has failed."""
PENDING_SECONDS = 10.0
"""Time after which a replica that finds no node, and waits for none to be freed, has failed."""
SETTLE_SECONDS = 3.0
"""Time in which the engine starts to replace replicas, if it is going to."""
HOPELESS = (
    logins.NO_IMAGE,
    "executable file not found",
    "exec format error",
    "OCI runtime create failed",
    "invalid mount config",
    "bind source path does not exist",
)
"""Reasons that no restart fixes."""
CANNOT_RUN = (126, 127)
"""Exit codes of a command that is not there or cannot be run, which is what an init ends with."""
ENDED_BADLY = {
    "paused": Verdict.FAILED,
    "rollback_started": Verdict.MOVING,
    "rollback_paused": Verdict.FAILED,
    "rollback_completed": Verdict.ROLLED_BACK,
}
"""The meaning of update states for a service that changes. An unchanged one may still carry the
state of an earlier rollout."""
NO_NODE = "no node takes it: none is active and meets placement.constraints"
CALLED_OFF = ("context canceled", "assigned node no longer meets constraints")
"""Messages for a replica that is no longer wanted, or not on that node: a service that is rolled
back may have other constraints."""
FAILED_STATES = ("failed", "rejected", "orphaned", "complete")


def observe(client: Client, tracking: Tracking) -> list[ServiceProgress]:
    """The progress of every service that the plan creates or updates, and of those it keeps."""
    live, tasks = _ask(client, tracking)
    return [
        _progress(client, target, live.get(target.name), tasks, tracking)
        for target in tracking.targets
        if target.action is not Action.REMOVE
    ]


def observe_reversal(client: Client, tracking: Tracking) -> list[ServiceProgress]:
    """The progress of every service that a reversal restores."""
    live, tasks = _ask(client, tracking)
    return [
        _undo_progress(client, target, live.get(target.name), tasks, tracking)
        for target in tracking.targets
    ]


def _ask(client: Client, tracking: Tracking) -> tuple[dict[str, Json], dict[str, list[Json]]]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        label = f"{labels.STACK}={tracking.app}"
        services = pool.submit(client.services, label=label)
        tasks = pool.submit(client.tasks, label=label)
        live = {service["Spec"]["Name"]: service for service in services.result()}
        found = by_service(tasks.result())
    _learn_nodes(client, tracking, found)
    return live, found


def _learn_nodes(client: Client, tracking: Tracking, tasks: Mapping[str, Sequence[Json]]) -> None:
    """The names of nodes that have joined since: a service with one replica on each has one there
    at once. Those that are gone are asked for once."""
    seen = {str(task.get("NodeID") or "") for own in tasks.values() for task in own}
    if unknown := seen - {""} - tracking.nodes.keys():
        there = {node["ID"]: node["Description"]["Hostname"] for node in client.nodes()}
        named = {node: there.get(node, node) for node in unknown}
        tracking.nodes = dict(tracking.nodes) | named


def _progress(
    client: Client,
    target: Tracked,
    service: Json | None,
    tasks: dict[str, list[Json]],
    tracking: Tracking,
) -> ServiceProgress:
    target.recovery = None
    if service is None:
        return _say(target, [], Verdict.FAILED, "the service was removed meanwhile")
    found = _tasks(target, service, tasks, tracking)
    target.recovery = recover.find_without_init(target, service, found)
    if target.recovery:
        return _say(target, found, Verdict.MOVING, "")
    _remember_failures(client, target, service, found)
    counted = _without_paused(client, service, found)
    now = time.monotonic()
    verdict, reason = judge(target, service, counted, now)
    if verdict is Verdict.MOVING:
        target.recovery = recover.find(client, target, service, found, now)
        reason = recover.done(target) or reason
    return _say(target, counted, verdict, reason)


def _tasks(
    target: Tracked, service: Json, tasks: Mapping[str, Sequence[Json]], tracking: Tracking
) -> list[Task]:
    own = tasks.get(service["ID"], ())
    return [read_task(task, service, target.service, tracking.nodes) for task in own]


def _without_paused(client: Client, service: Json, tasks: list[Task]) -> list[Task]:
    """The replicas that count: of a service with one on each node those on nodes that are paused do
    not, as the cluster lets old ones go on there and starts no new ones."""
    if not is_global(service["Spec"]):
        return tasks
    waiting = {t.id for t in tasks if t.wanted and t.state == "pending" and t.message}
    left = {t.id for t in tasks if t.running and not t.current}
    if not waiting and (not left or update_state(service)[0] == "updating"):
        return tasks
    paused = {n["ID"] for n in client.nodes() if n["Spec"]["Availability"] == "pause"}
    behind = waiting | left
    return [task for task in tasks if task.id not in behind or task.node_id not in paused]


def _say(target: Tracked, tasks: Sequence[Task], verdict: Verdict, reason: str) -> ServiceProgress:
    """`reason`, unless the service is stalled: then how it is recovered."""
    if target.recovery:
        reason = target.recovery.reason
    return ServiceProgress(
        service=target.service,
        verdict=verdict,
        stalled=target.recovery is not None,
        wanted=target.wanted(tasks),
        ready=len(places(task for task in tasks if task.running and task.current)),
        tasks=tuple(sorted(tasks, key=lambda t: (*t.order, not t.wanted, t.id))),
        reason=reason,
    )


def _remember_failures(
    client: Client, target: Tracked, service: Json, tasks: Sequence[Task]
) -> None:
    """The engine forgets failed tasks; what a rollout has seen it can still explain.

    A replica that the cluster stopped is "shutdown"; one that is "complete" ended by itself, or
    was stopped for being unhealthy and exited as it should. One that was not let finish its start,
    as it was no longer wanted, is called failed too, and explains nothing. A service that is kept
    is only waited for, unless its image cannot be pulled for lack of a login.
    """
    release = _release(target)
    for task in tasks:
        new = task.id not in target.known_tasks and task.release == release
        if not new or task.state not in FAILED_STATES:
            continue
        if task.id in target.without_init or task.id in target.failures:
            continue
        if any(text in task.message for text in CALLED_OFF):
            continue
        failure = _with_reason(client, target, service, task)
        if target.action is not Action.KEEP or logins.NOT_LET_IN in failure.message:
            target.failures[task.id] = failure


def _with_reason(client: Client, target: Tracked, service: Json, task: Task) -> Task:
    """Registries are asked once, and not for every replica."""
    if target.is_let_in:
        return task
    explained = logins.explained(client, task, service["Spec"])
    target.is_let_in = logins.NO_IMAGE in task.message and explained is task
    return explained


def _release(target: Tracked) -> str:
    """The release that the replicas of a target carry."""
    kept = target.live if target.action is Action.KEEP else None
    template = (kept["Spec"] if kept else target.spec or {}).get("TaskTemplate", {})
    found = template.get("ContainerSpec", {}).get("Labels") or {}
    return str(found.get(labels.RELEASE, ""))


def judge(target: Tracked, service: Json, tasks: Sequence[Task], now: float) -> tuple[Verdict, str]:
    """The verdict on a service, from the engine's data about it at one moment."""
    state, message = update_state(service)
    if target.action is not Action.KEEP:
        if state in ENDED_BADLY:
            return ENDED_BADLY[state], message
        if not is_ours(target, service):
            return Verdict.FAILED, "somebody else changed the service during the rollout"
    if state != "updating" and (reason := _given_up(target)):
        return Verdict.FAILED, reason
    if reason := _stuck(target, tasks, now) or _nowhere(target, tasks, now):
        return Verdict.FAILED, reason
    return (Verdict.DONE, "") if _is_done(target, state, tasks, now) else (Verdict.MOVING, "")


def is_ours(target: Tracked, service: Json) -> bool:
    """Whether a service still is what this rollout made of it: nobody, the engine's own rollback
    included, has changed it since."""
    if target.spec is None:
        return False
    ours = (target.spec.get("Labels") or {}).get(labels.RELEASE)
    live = (service["Spec"].get("Labels") or {}).get(labels.RELEASE)
    return bool(ours == live)


def _given_up(target: Tracked) -> str:
    """Whether replicas that no update watches have failed for good: a first deploy, a scale.
    What a node did to them while its engine restarted says nothing of the release."""
    failures: Counter[str] = Counter()
    for task in target.failures.values():
        if recover.failed_by_its_engine(task):
            continue
        if any(text in task.message for text in HOPELESS) or task.exit_code in CANNOT_RUN:
            return task.message
        failures[task.place] += 1
        if failures[task.place] >= ATTEMPTS:
            which = task.slot or f"on {task.node}"
            return f"replica {which} failed {ATTEMPTS} times: {task.message}"
    return ""


def _stuck(target: Tracked, tasks: Sequence[Task], now: float) -> str:
    """Why a replica finds no node; empty where none waits for too long."""
    for task in tasks:
        waits = task.state == "pending" and task.wanted and task.message
        if waits and now - target.first_seen.setdefault(task.id, now) > _patience(target):
            return task.message
    return ""


def _nowhere(target: Tracked, tasks: Sequence[Task], now: float) -> str:
    """Why a service with one replica on each node has none; empty where it has, or may get one."""
    if not target.is_global or target.wanted(tasks):
        target.nowhere_since = None
        return ""
    if target.nowhere_since is None:
        target.nowhere_since = now
    waited = now - target.nowhere_since
    return NO_NODE if waited > PENDING_SECONDS else ""


def _patience(target: Tracked) -> float:
    """Seconds that a replica may wait for room: those that leave may take their grace."""
    return PENDING_SECONDS + stop_grace(target.spec)


def _is_done(target: Tracked, state: str, tasks: Sequence[Task], now: float) -> bool:
    current = [task for task in tasks if task.running and task.current]
    left = [task for task in tasks if task.running and not task.current]
    ids = frozenset(task.id for task in current)
    ready = len(ids) == target.wanted(tasks) and not left
    if target.is_global:
        ready = ready and bool(ids) and places(current) == places(tasks)
    if not ready or state == "updating":
        target.steady = None
        return False
    if state == "completed" and target.action is not Action.KEEP:
        return True
    if target.steady is None or target.steady[1] != ids:
        target.steady = (now, ids)
    return now - target.steady[0] >= _proving_time(target, ids)


def _proving_time(target: Tracked, ids: frozenset[str]) -> float:
    """Seconds that replicas which no update watches have to stay up before they count."""
    if ids - target.known_tasks:
        spec = target.spec or {}
        return float(spec.get("UpdateConfig", {}).get("Monitor", 0)) / 10**9
    return SETTLE_SECONDS if target.replaces else 0.0


def _undo_progress(
    client: Client,
    target: Tracked,
    service: Json | None,
    tasks: dict[str, list[Json]],
    tracking: Tracking,
) -> ServiceProgress:
    target.recovery = None
    if target.live is None:
        done = service is None
        return _say(target, [], Verdict.DONE if done else Verdict.MOVING, "")
    if service is None:
        return _say(target, [], Verdict.FAILED, "the service was removed meanwhile")
    found = _tasks(target, service, tasks, tracking)
    state, message = update_state(service)
    back = normal(service["Spec"], {}) == normal(target.live["Spec"], {})
    counted = _without_paused(client, service, found)
    running = [task for task in counted if task.running and task.current]
    enough = len(running) >= replicas(target.live["Spec"])
    if target.is_global:
        enough = places(running) == places(counted)
    if state in ("paused", "rollback_paused"):
        return _say(target, found, Verdict.FAILED, message)
    if back and enough and state not in ("updating", "rollback_started"):
        return _say(target, counted, Verdict.DONE, "")
    target.recovery = recover.find_held_up(client, target, service, found, time.monotonic())
    return _say(
        target, found, Verdict.MOVING, recover.continues_without(target.given_up) or message
    )
