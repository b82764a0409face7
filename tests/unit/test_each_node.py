"""`mode = "global"`: one replica on each node, however many nodes there are meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from deploytool.backends.model import Action, Job, LogLine, ServiceProgress, Status, Task, Verdict
from deploytool.backends.swarm.api.tasks import read_task
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.backends.swarm.planning.plan import Target
from deploytool.backends.swarm.rollout import recover, watch
from deploytool.backends.swarm.rollout.explain import explain
from deploytool.backends.swarm.rollout.session import SwarmRollout
from deploytool.backends.swarm.rollout.tracked import Tracked
from deploytool.backends.swarm.specification import labels
from deploytool.cli.views import status_parts
from deploytool.errors import EngineError, PlanError, UsageError
from deploytool.logs import ReplicaNames
from deploytool.spec import Service
from tests.builders import OTHER_DIGEST, app, deploy, engine, images, release, service, task, worker
from tests.fake_engine import GIB, FakeEngine, node

Json = dict[str, Any]


def agent(**keys: Any) -> Service:
    return worker("agent", mode="global", **keys)


def cluster(nodes: int = 3, **keys: Any) -> FakeEngine:
    return engine(nodes=[node(f"n{i}", memory=4 * GIB, **keys) for i in range(1, nodes + 1)])


def running(*services: Service, nodes: int = 3) -> FakeEngine:
    made = cluster(nodes)
    deploy(made, app(*(services or (agent(),))))
    return made


def changed(made: FakeEngine, name: str, **keys: Any) -> None:
    """Make a node another one, as its operator does."""
    made.set_nodes(
        node(name, memory=4 * GIB, **keys) if n["Description"]["Hostname"] == name else n
        for n in made.nodes()
    )


def plan(made: FakeEngine, *services: Service, **keys: Any) -> Any:
    spec = app(*services)
    return Swarm(made).plan(spec, images(spec, **keys))


def refused(made: FakeEngine, *services: Service, **keys: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan(made, *services, **keys)
    return caught.value


# --- the specification ---------------------------------------------------------------------------


@pytest.mark.parametrize("placement", [{"max_per_node": 1}, {"spread": ["node.labels.zone"]}])
def test_a_placement_that_counts_replicas_means_nothing(placement: Json) -> None:
    with pytest.raises(ValidationError, match=f"placement.{next(iter(placement))} means nothing"):
        agent(placement=placement)


def test_constraints_and_update_go_with_it() -> None:
    found = agent(placement={"constraints": ["node.role == worker"]}, update={"parallelism": 2})
    assert (found.is_global, found.runs_several, found.surge) == (True, True, 2)


def test_a_port_of_the_node_is_handed_over_by_stopping_first() -> None:
    found = service(mode="global", publish={"port": 8080, "mode": "host"})
    assert (found.update_order, found.surge) == ("stop-first", 0)


def test_a_job_of_it_is_one_replica() -> None:
    made = release(app(agent()))
    spec = job_spec(Job(name="run-1", release=made, service="agent", command=("true",)), {})
    assert spec["Mode"] == {"Replicated": {"Replicas": 1}}


# --- the plan ------------------------------------------------------------------------------------


def fields(found: Any) -> dict[str, tuple[Any, Any]]:
    return {f.path: (f.before, f.after) for f in found.changes[0].fields}


def test_a_new_one_shows_its_mode_and_no_number() -> None:
    shown = fields(plan(cluster(), agent()))
    assert shown["mode"] == (None, "global")
    assert "replicas" not in shown


def test_it_is_deployed_to_each_node_and_then_kept() -> None:
    made = running()
    live = made.service("items_agent")
    assert live["Spec"]["Mode"] == {"Global": {}}
    assert [task["NodeID"] for task in made.tasks_of("items_agent")] == [
        "id-of-n1",
        "id-of-n2",
        "id-of-n3",
    ]
    assert plan(made, agent()).is_empty


@pytest.mark.parametrize(
    ("before", "after", "was"),
    [(agent(), worker("agent"), "global"), (worker("agent"), agent(), "replicated")],
)
def test_no_swarm_changes_the_mode_of_a_service(before: Service, after: Service, was: str) -> None:
    error = refused(running(before), after)
    assert (error.code, error.exit_code) == ("mode_change", 1)
    assert error.message.startswith(f'agent runs with mode = "{was}"')
    assert "docker service rm items_agent" in error.hint
    assert "another name" in error.hint


def test_another_name_is_the_way_to_another_mode() -> None:
    found = plan(running(worker("agent")), worker("agents", mode="global"))
    assert {(c.name, c.action) for c in found.changes} == {
        ("agents", Action.CREATE),
        ("agent", Action.REMOVE),
    }


# --- whether the nodes have room -----------------------------------------------------------------

GIBIBYTE = {"memory": "1GiB"}


def test_each_node_has_to_have_room() -> None:
    made = engine(nodes=[node("n1", memory=4 * GIB), node("n2", memory=GIB // 2)])
    error = refused(made, agent(**GIBIBYTE))
    assert error.code == "does_not_fit"
    assert error.message == (
        "agent is to run on each node, and n2 has no room for a replica: each reserves 1GiB of "
        "memory"
    )
    assert "placement.constraints" in error.hint
    assert [line.partition(":")[0] for line in error.details] == ["n1", "n2"]
    assert plan(made, agent(placement={"constraints": ["node.hostname != n2"]}, **GIBIBYTE))


def test_room_elsewhere_does_not_help() -> None:
    made = engine(nodes=[node("n1", memory=2 * GIB), node("n2", memory=9 * GIB)])
    deploy(made, app(worker("big", memory="1536MiB"), name="other"))
    assert refused(made, agent(**GIBIBYTE)).code == "does_not_fit"


def test_what_can_choose_its_node_leaves_room_for_what_cannot() -> None:
    made = engine(nodes=[node("n1", memory=2 * GIB), node("n2", memory=2 * GIB)])
    assert plan(made, worker("big", memory="1GiB", replicas=2), agent(**GIBIBYTE))
    error = refused(made, worker("big", memory="1GiB", replicas=3), agent(**GIBIBYTE))
    assert error.message.startswith("1 of 3 replicas of big do not fit")


def test_start_first_needs_room_beside_the_old_one_on_each_node() -> None:
    made = cluster()
    deploy(made, app(agent(memory="3GiB")))
    error = refused(made, agent(memory="3GiB"), digest=OTHER_DIGEST)
    assert "n1, n2, n3 has no room for a replica beside the old one" in error.message
    assert 'update.order = "stop-first"' in error.hint
    stop_first = agent(memory="3GiB", update={"order": "stop-first"})
    assert plan(made, stop_first, digest=OTHER_DIGEST).changes


def test_a_change_that_keeps_its_replicas_needs_no_room() -> None:
    made = cluster()
    deploy(made, app(agent(memory="3GiB")))
    assert plan(made, agent(memory="3GiB", labels={"a": "b"})).changes


def test_what_it_reserves_is_of_all_nodes() -> None:
    need = plan(cluster(), agent(**GIBIBYTE)).need
    assert (need.before.memory, need.after.memory) == (0, 3 * GIB)
    made = cluster()
    deploy(made, app(agent(**GIBIBYTE)))
    need = plan(made, agent(**GIBIBYTE), digest=OTHER_DIGEST).need
    assert (need.before.memory, need.most.memory, need.after.memory) == (
        3 * GIB,
        4 * GIB,
        3 * GIB,
    )


def test_nodes_that_take_none_are_not_counted() -> None:
    made = cluster()
    changed(made, "n2", availability="drain")
    changed(made, "n3", state="down")
    assert plan(made, agent(**GIBIBYTE)).need.after.memory == GIB


def test_no_node_at_all_is_refused() -> None:
    error = refused(cluster(), agent(placement={"constraints": ["node.labels.gpu == yes"]}))
    assert error.code == "no_suitable_node"


def test_a_node_of_another_platform_would_wait_for_ever() -> None:
    made = engine(nodes=[node("n1"), node("n2", architecture="aarch64")])
    error = refused(made, agent(), platforms=(("amd64", "linux"),))
    assert error.code == "no_suitable_node"
    assert error.message.startswith("agent is to run on each node, and n2 is linux/arm64")
    assert "node.hostname != n2" in error.hint
    placed = agent(placement={"constraints": ["node.hostname != n2"]})
    assert plan(made, placed, platforms=(("amd64", "linux"),))
    assert plan(made, worker("agent"), platforms=(("amd64", "linux"),))


def test_a_node_takes_one_more_or_none() -> None:
    made = engine(nodes=[node("n1"), node("n2"), node("n3", availability="drain")])
    backend = Swarm(made, sampling=0)
    assert fits(backend, agent()) == {"n1": 1, "n2": 1, "n3": 0}
    assert fits(backend, agent(memory="900GiB")) == {"n1": 0, "n2": 0, "n3": 0}
    deploy(made, app(agent()))
    assert fits(backend, agent()) == {"n1": 0, "n2": 0, "n3": 0}


def fits(backend: Swarm, one: Service) -> dict[str, int | None]:
    return {n.node: n.fits[one.name] for n in backend.capacity("items", [one]).nodes}


# --- the rollout, by what the engine tells -------------------------------------------------------

SPEC: Json = {
    "Name": "items_web",
    "Labels": {labels.RELEASE: "v2"},
    "TaskTemplate": {"ContainerSpec": {"Image": "r/items", "Labels": {labels.RELEASE: "v2"}}},
    "Mode": {"Global": {}},
    "UpdateConfig": {"Monitor": 5 * 10**9},
}
LIVE = {"ID": "s1", "Spec": SPEC}


def target(action: Action = Action.UPDATE, **keys: Any) -> Tracked:
    live = None if action is Action.CREATE else LIVE
    return Tracked.of(Target("web", "items_web", action, SPEC, live, **({"replaces": True} | keys)))


def on(name: str, task_id: str = "", **keys: Any) -> Task:
    """A replica on a node."""
    return task(task_id or f"new-{name}", 0, node=name, node_id=f"id-of-{name}", **keys)


def old(name: str) -> Task:
    return on(name, f"old-{name}", release="v1", current=False)


def judged(tasks: Sequence[Task], state: str = "completed", **keys: Any) -> Verdict:
    service_json = LIVE | ({"UpdateStatus": {"State": state}} if state else {})
    return watch.judge(target(**keys), service_json, list(tasks), 0.0)[0]


@pytest.mark.parametrize(
    ("tasks", "verdict"),
    [
        ([on("n1"), on("n2")], Verdict.DONE),
        ([on("n1"), on("n2", state="starting")], Verdict.MOVING),
        ([on("n1"), old("n2")], Verdict.MOVING),
        ([on("n1"), on("n1", "again")], Verdict.MOVING),
        ([on("n1"), on("n1", "again"), on("n2", state="starting")], Verdict.MOVING),
        ([on("n1"), on("n2", wanted=False, state="shutdown")], Verdict.DONE),
        ([], Verdict.MOVING),
    ],
)
def test_it_is_done_when_each_node_that_has_one_runs_it(
    tasks: list[Task], verdict: Verdict
) -> None:
    assert judged(tasks) is verdict


def test_nodes_of_the_same_name_are_two() -> None:
    twins = [
        task(f"t{i}", 0, node="debian", node_id=f"id{i}", state=state)
        for i, state in ((1, "running"), (2, "starting"))
    ]
    assert judged(twins) is Verdict.MOVING
    assert target().wanted(twins) == 2


def test_a_first_deploy_has_to_stay_up() -> None:
    first = target(Action.CREATE)
    tasks = [on("n1"), on("n2")]
    assert watch.judge(first, LIVE, tasks, 10.0)[0] is Verdict.MOVING
    joined = [*tasks, on("n3")]
    assert watch.judge(first, LIVE, joined, 14.0)[0] is Verdict.MOVING
    assert watch.judge(first, LIVE, joined, 19.0)[0] is Verdict.DONE


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE, Action.KEEP])
@pytest.mark.parametrize("tasks", [[], [on("n1", wanted=False, state="shutdown")]])
def test_no_node_is_no_success(action: Action, tasks: list[Task]) -> None:
    moving = target(action)
    service_json = LIVE | {"UpdateStatus": {"State": "completed"}}
    assert watch.judge(moving, service_json, tasks, 100.0)[0] is Verdict.MOVING
    assert watch.judge(moving, service_json, [on("n1")], 105.0)[0] is not Verdict.FAILED
    assert watch.judge(moving, service_json, tasks, 106.0)[0] is Verdict.MOVING
    verdict, reason = watch.judge(moving, service_json, tasks, 117.0)
    assert verdict is Verdict.FAILED
    assert reason.startswith("no node takes it")


def test_failures_count_by_node() -> None:
    moving = target(Action.CREATE)
    for number in range(2):
        for name in ("n1", "n2"):
            one = on(name, f"{name}-{number}", state="failed", message="task: non-zero exit (1)")
            moving.failures[one.id] = one
    assert watch.judge(moving, LIVE, [on("n1")], 0.0)[0] is Verdict.MOVING
    moving.failures["x"] = on("n2", "x", state="failed", message="task: non-zero exit (1)")
    assert watch.judge(moving, LIVE, [on("n1")], 0.0) == (
        Verdict.FAILED,
        "replica on n2 failed 3 times: task: non-zero exit (1)",
    )


def test_one_on_each_node_is_no_surplus() -> None:
    moving = target()
    tasks = [on("n1"), on("n2"), on("n3")]
    for now in (0.0, 100.0):
        assert recover.surplus(moving, LIVE, tasks, now) == []
    again = on("n2", "again")
    assert recover.surplus(moving, LIVE, [*tasks, again], 0.0) == []
    assert recover.surplus(moving, LIVE, [*tasks, again], 100.0) == [again]


# --- the rollout, on the cluster in memory -------------------------------------------------------


def updating(made: FakeEngine, *, settle: bool = False) -> SwarmRollout:
    """A new image on its way to a service that runs."""
    made.settle = settle
    backend = Swarm(made)
    spec = app(agent())
    rollout = backend.rollout(backend.plan(spec, images(spec, digest=OTHER_DIGEST)))
    rollout.start(release(spec, 2))
    for one in rollout.tracking.targets:
        one.settling = 0.0
    return rollout


def progress(rollout: SwarmRollout) -> ServiceProgress:
    (found,) = rollout.observe()
    return found


def wanted(made: FakeEngine) -> list[Json]:
    return [t for t in made.tasks_of("items_agent") if t["DesiredState"] == "running"]


def run(made: FakeEngine, *names: str) -> None:
    """Have the new replicas on some nodes, or on all, run."""
    for one in wanted(made):
        if not names or one["NodeID"].removeprefix("id-of-") in names:
            made.set_task(one["ID"], "running")


def test_an_update_is_counted_by_nodes() -> None:
    made = running()
    rollout = updating(made)
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.MOVING, 0, 3)
    run(made, "n1", "n3")
    assert progress(rollout).ready == 2
    run(made)
    made.set_update("items_agent", "completed")
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.DONE, 3, 3)
    assert [one.name for one in found.tasks if one.wanted] == ["agent.n1", "agent.n2", "agent.n3"]


def test_a_node_that_joins_is_waited_for_by_its_name() -> None:
    made = running()
    rollout = updating(made)
    made.set_nodes([*made.nodes(), node("n4", memory=4 * GIB)])
    run(made, "n1", "n2", "n3")
    made.set_update("items_agent", "completed")
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.MOVING, 3, 4)
    assert "agent.n4" in [one.name for one in found.tasks]
    run(made)
    assert progress(rollout).verdict is Verdict.DONE


def test_a_node_that_is_drained_is_not_waited_for() -> None:
    made = running()
    rollout = updating(made)
    changed(made, "n2", availability="drain")
    run(made)
    made.set_update("items_agent", "completed")
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.DONE, 2, 2)


@pytest.mark.parametrize(
    ("availability", "desired"), [("drain", "running"), ("drain", "shutdown"), ("pause", "running")]
)
def test_an_update_that_waits_for_a_node_that_takes_none_is_started_again(
    availability: str, desired: str
) -> None:
    """The engine's updater puts a replica onto a node that was drained when the update had begun,
    where nothing starts it."""
    made = running()
    rollout = updating(made)
    run(made, "n1", "n3")
    stuck = next(t for t in wanted(made) if t["NodeID"] == "id-of-n2")
    made.set_task(stuck["ID"], "pending", Err="1 node not available for new tasks")
    assert not progress(rollout).stalled
    made._nodes = [
        node("n2", memory=4 * GIB, availability=availability) if n["ID"] == "id-of-n2" else n
        for n in made.nodes()
    ]
    made.set_task(stuck["ID"], "pending", wanted=desired)
    progress(rollout)
    found = progress(rollout)
    assert found.stalled
    assert found.reason == "continues without n2, which is not available"
    before = len(made.changes)
    rollout.recover()
    assert made.changes[before:] == ["update_service items_agent"] * 2
    run(made, "n1", "n3")
    made.set_update("items_agent", "completed")
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.DONE, 2, 2)


def test_a_node_without_room_fails_it() -> None:
    made = running()
    rollout = updating(made)
    stuck = wanted(made)[0]
    made.set_task(stuck["ID"], "pending", Err="insufficient resources on 1 node")
    assert progress(rollout).verdict is Verdict.MOVING
    rollout.tracking.targets[0].first_seen[stuck["ID"]] -= 1000
    found = progress(rollout)
    assert (found.verdict, found.reason) == (Verdict.FAILED, "insufficient resources on 1 node")


def test_a_node_that_is_paused_keeps_the_old_one_and_the_plan_says_so() -> None:
    made = running()
    changed(made, "n3", availability="pause")
    spec = app(agent())
    warnings = Swarm(made).plan(spec, images(spec, digest=OTHER_DIGEST)).warnings
    assert any("agent stays as it is on n3, paused" in warning for warning in warnings)
    rollout = updating(made, settle=True)
    found = progress(rollout)
    assert (found.verdict, found.ready, found.wanted) == (Verdict.DONE, 2, 2)


def test_no_warning_where_nothing_is_paused_or_replaced() -> None:
    made = running()
    assert not plan(made, agent(), digest=OTHER_DIGEST).warnings
    changed(made, "n3", availability="pause")
    assert not plan(made, agent(labels={"a": "b"})).warnings


def test_a_reversal_is_done_when_each_node_is_back() -> None:
    made = running()
    reversal = updating(made).reverse()
    assert progress(reversal).verdict is Verdict.MOVING
    reversal.start()
    made.set_update("items_agent", "completed")
    assert progress(reversal).verdict is Verdict.MOVING
    run(made, "n1", "n2")
    assert progress(reversal).verdict is Verdict.MOVING
    run(made)
    assert progress(reversal).verdict is Verdict.DONE


def test_a_restart_is_watched_like_an_update() -> None:
    made = running(agent(update={"monitor": "0s"}))
    backend = Swarm(made)
    found = backend.restart("items", ["agent"])
    assert found.changes[0].replaces
    rollout = backend.rollout(found)
    rollout.start()
    assert progress(rollout).verdict is Verdict.DONE


# --- what runs -----------------------------------------------------------------------------------


def status(made: FakeEngine) -> Status:
    return Swarm(made).status("items")


def shown(found: Status) -> str:
    return "\n".join(str(part) for part in status_parts(found, everything=False))


def test_status_counts_nodes() -> None:
    made = running()
    (found,) = status(made).services
    assert (found.mode, found.replicas, found.running, found.missing) == ("global", 3, 3, 0)
    assert [one.name for one in found.tasks] == ["agent.n1", "agent.n2", "agent.n3"]
    assert "3/3 running, one on each node" in shown(status(made))
    changed(made, "n2", availability="drain")
    (found,) = status(made).services
    assert (found.replicas, found.missing) == (2, 0)
    assert status(made).is_complete


def test_a_replica_that_does_not_run_is_missing_on_its_node() -> None:
    made = running()
    made.set_task(made.tasks_of("items_agent")[0]["ID"], "pending", Err="no room")
    made.add_task("items_agent", "id-of-n2", "running")
    assert not status(made).is_complete
    assert "✗ replicas are missing: 1 of 3 of agent" in shown(status(made))


def test_a_service_that_no_node_takes_is_not_complete() -> None:
    made = running(nodes=1)
    changed(made, "n1", availability="drain")
    (found,) = status(made).services
    assert (found.replicas, found.missing, found.is_nowhere) == (0, 0, True)
    assert not status(made).is_complete
    assert "✗ no node takes agent" in shown(status(made))


def test_a_number_of_replicas_is_refused() -> None:
    made = running(agent(), service())
    with pytest.raises(UsageError) as caught:
        Swarm(made).scale("items", {"web": 2, "agent": 6})
    assert caught.value.code == "scale_global"
    assert "agent has no number of replicas" in caught.value.message
    assert caught.value.hint


def test_a_failed_replica_is_called_by_its_node() -> None:
    one = on("n2", state="failed", message="task: non-zero exit (3)", exit_code=3)
    assert explain(FakeEngine(), one, lines=1)[0].startswith("web.n2: its process ended")


def test_lines_are_called_by_their_node() -> None:
    made = running(nodes=2)
    for one in made.tasks_of("items_agent"):
        made.output[one["ID"]] = [f"on {one['NodeID']}"]
    lines = list(
        Swarm(made).logs(
            "items", (), follow=False, tail=9, since=None, hidden={}, warn=lambda _: None
        )
    )
    names = ReplicaNames()
    assert {(names.of(line), line.text) for line in lines} == {
        ("agent.n1", "on id-of-n1"),
        ("agent.n2", "on id-of-n2"),
    }
    later = LogLine(at="", service="agent", slot=0, node="n1", task="abcdefghijkl", text="x")
    assert names.of(later) == "agent.n1 abcdefgh"


def test_output_that_is_missing_is_told_by_the_node() -> None:
    made = running(nodes=2)
    first = made.tasks_of("items_agent")[0]["ID"]
    made.missing[first] = "reasons: node is down"
    told: list[str] = []
    list(
        Swarm(made).logs("items", (), follow=False, tail=9, since=None, hidden={}, warn=told.append)
    )
    assert told == ["output of agent.n1 is missing: node is down"]


def test_a_command_runs_on_the_engines_own_node() -> None:
    made = engine(nodes=2)
    deploy(made, app(agent()))
    assert Swarm(made).execute("items", "agent", ["ls"]).replica == "agent.node-1"
    made.engine_info["Swarm"]["NodeID"] = "id-of-another"
    with pytest.raises(EngineError, match="agent runs on node-1, node-2"):
        Swarm(made).execute("items", "agent", ["ls"])


def test_the_place_of_a_replica_is_told_to_nobody() -> None:
    made = running(nodes=1)
    found = read_task(made.tasks_of("items_agent")[0], None, "agent", {"id-of-n1": "n1"})
    assert (found.place, found.slot, found.node) == ("id-of-n1", 0, "n1")
    assert "node_id" not in json.loads(found.model_dump_json())
