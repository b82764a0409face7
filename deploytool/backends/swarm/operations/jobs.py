"""Commands that run once: a Swarm service of one replica that is never restarted.

Not the engine's own job modes: former leaders' orchestrators each run those (moby#53632), and any
update runs them again. A service of one replica whose restart condition is "none" keeps its slot
when the replica has ended, so that the cluster starts no second one, after a change of leaders
either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deploytool.backends.model import Job, Task
from deploytool.backends.swarm.api.client import Client, is_gone, is_taken
from deploytool.backends.swarm.api.tasks import read_task
from deploytool.backends.swarm.operations.networks import create_service
from deploytool.backends.swarm.planning import logins
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import init_process, labels
from deploytool.errors import EngineError
from deploytool.explain import NOT_STARTED
from deploytool.json_types import Json

NOT_OF_JOBS = ("UpdateConfig", "RollbackConfig")


def job_spec(job: Job, secrets: Mapping[str, str]) -> Json:
    """The specification of a job's service: that of the service it borrows from, but for what
    routes requests to it, checks it and starts it again. `secrets` names the versions that it
    reads. Pure."""
    app = job.release.spec
    service = next(s for s in app.services if s.name == job.service)
    spec = swarm.service_spec(app, service, job.release.images[service.name], None, secrets)
    own = {labels.JOB_OF: app.name, labels.RELEASE: job.release.id}
    own |= {key: value for key, value in spec["Labels"].items() if key == labels.INIT}
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    scripts = {script.target for script in swarm.scripts(app, service)}
    container["Configs"] = [c for c in container["Configs"] if c["File"]["Name"] not in scripts]
    container |= {
        "Args": list(job.command),
        "Labels": own,
        "Healthcheck": {"Test": ["NONE"]},
    }
    template["RestartPolicy"] = {"Condition": "none", "MaxAttempts": 0}
    template["Networks"] = [
        {"Target": name} for name in swarm.networks(app, service) if name != app.proxy.network
    ]
    template["Placement"].pop("MaxReplicas")
    kept = {key: value for key, value in spec.items() if key not in NOT_OF_JOBS}
    return kept | {
        "Name": swarm.service_name(app.name, job.name),
        "Labels": own,
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def start(client: Client, spec: Json, networks: Sequence[Json] = ()) -> None:
    """Start a job; one of the same name that the cluster has already is left as it is. `networks`
    are those that deploytool makes."""
    try:
        create_service(client, spec, networks)
    except EngineError as error:
        if not is_taken(error):
            raise


def look(client: Client, job: Job) -> Task | None:
    """The job's task; its state is "orphaned" if its node is down."""
    service = find(client, job)
    if service is None:
        return None
    tasks = client.tasks(service=service["ID"])
    if not tasks:
        return None
    nodes = {node["ID"]: node for node in client.nodes()}
    names = {key: node["Description"]["Hostname"] for key, node in nodes.items()}
    newest = max(tasks, key=lambda task: str(task["CreatedAt"]))
    task = read_task(newest, service, job.service, names)
    if init_process.is_missing(task.message) and init_process.may_do_without(service["Spec"]):
        _start_without_init(client, service, newest)
        return None
    if task.message.startswith(NOT_STARTED):
        return task.model_copy(update={"state": "rejected", "exit_code": None})
    node = nodes.get(newest.get("NodeID", ""))
    if node is not None and node["Status"]["State"] == "down" and not task.dead:
        return task.model_copy(
            update={"state": "orphaned", "message": f"its node {task.node} is down"}
        )
    return logins.explained(client, task, service["Spec"]) if task.state == "rejected" else task


def _start_without_init(client: Client, service: Json, task: Json) -> None:
    """Start a job again that never ran, as the cluster sent it to a node without docker-init."""
    spec = init_process.without(service["Spec"], [task["NodeID"]])
    try:
        client.remove_service(service["ID"])
    except EngineError as error:
        if not is_gone(error):
            raise
    start(client, spec)


def output(client: Client, job: Job, *, follow: bool) -> Iterator[str]:
    """Every line that the job printed, oldest first."""
    service = find(client, job)
    if service is None:
        return
    for entry in client.service_output(service["ID"], follow=follow, tail=None):
        yield entry.text


def remove(client: Client, job: Job) -> None:
    service = find(client, job)
    if service is not None:
        client.remove_service(service["ID"])


def find(client: Client, job: Job) -> Json | None:
    wanted = swarm.service_name(job.release.spec.name, job.name)
    found = client.services(label=f"{labels.JOB_OF}={job.release.spec.name}")
    return next((service for service in found if service["Spec"]["Name"] == wanted), None)


def names(client: Client, app: str) -> list[str]:
    """The jobs of an app that the cluster has."""
    found = client.services(label=f"{labels.JOB_OF}={app}")
    return sorted(service["Spec"]["Name"].removeprefix(f"{app}_") for service in found)
