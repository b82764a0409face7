"""What lint looks for: every rule with its reason and its fix, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_DOCS = "https://fastapi.tiangolo.com/deployment"
_DOCKER = "https://docs.docker.com"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Rule:
    """A piece of advice: why it is given, where it comes from, what to do instead."""

    name: str
    severity: Severity
    why: str
    url: str
    fix: str


@dataclass(frozen=True, order=True)
class Finding:
    """A place that goes against a rule, or that hadolint has something to say about."""

    file: str
    line: int
    rule: str
    severity: Severity
    message: str
    fix: str
    url: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

RULES: tuple[Rule, ...] = (
    Rule(
        "invalid-dockerfile",
        _ERROR,
        "The builder refuses a Dockerfile that it cannot read.",
        f"{_DOCKER}/reference/dockerfile/#format",
        "fix the line; a Dockerfile is FROM and instructions after it",
    ),
    Rule(
        "cmd-shell-form",
        _ERROR,
        "In the shell form a shell gets the signals, so the app does not shut down gracefully and "
        "its lifespan events do not run.",
        f"{_DOCS}/docker/#use-cmd-exec-form",
        'write the exec form: CMD ["fastapi", "run", "app/main.py", "--port", "80"]',
    ),
    Rule(
        "entrypoint-shell-form",
        _ERROR,
        "In the shell form a shell gets the signals, and CMD and every command of the "
        "configuration are ignored.",
        f"{_DOCS}/docker/#use-cmd-exec-form",
        'write the exec form, ENTRYPOINT ["..."], or leave it out and use CMD alone',
    ),
    Rule(
        "entrypoint-takes-command",
        _ERROR,
        "A service's command becomes the arguments of ENTRYPOINT, so a server in ENTRYPOINT is "
        "started with another server's command line.",
        f"{_DOCKER}/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact",
        "start the server in CMD instead of ENTRYPOINT",
    ),
    Rule(
        "shell-wrapper",
        _WARNING,
        "A shell that waits for its script keeps the stop signal from the app, which is then "
        "killed in the middle of requests.",
        f"{_DOCS}/docker/#use-cmd-exec-form",
        "start the process without a shell, or with `exec` as the script's last command",
    ),
    Rule(
        "code-before-dependencies",
        _WARNING,
        "Code changes most often: copied before the dependencies are installed, every edit "
        "installs them again.",
        f"{_DOCS}/docker/#docker-cache",
        "copy the requirements or the lock file alone, install, and copy the code after that",
    ),
    Rule(
        "workers-in-cluster",
        _WARNING,
        "In a cluster replication is the cluster's: one process per container has a defined, "
        "stable use of memory, and several containers share the load.",
        f"{_DOCS}/docker/#one-process-per-container",
        "leave --workers out and set the service's `replicas`",
    ),
    Rule(
        "reload",
        _ERROR,
        "--reload is for development: it watches files, costs memory and CPU and restarts "
        "processes under their requests.",
        "https://fastapi.tiangolo.com/fastapi-cli/#fastapi-dev",
        "leave --reload out",
    ),
    Rule(
        "fastapi-dev",
        _ERROR,
        "`fastapi dev` reloads on changes and listens on 127.0.0.1 only, where nothing outside "
        "the container reaches it.",
        "https://fastapi.tiangolo.com/fastapi-cli/#fastapi-run",
        "use `fastapi run`, or `uvicorn`",
    ),
    Rule(
        "deprecated-base-image",
        _ERROR,
        "The image of Gunicorn with Uvicorn is deprecated: it brings a process manager that a "
        "cluster has no use for.",
        f"{_DOCS}/docker/#base-docker-image",
        "build from the official Python image: FROM python:3.14",
    ),
    Rule(
        "missing-proxy-headers",
        _WARNING,
        "Behind the proxy that terminates TLS, only --proxy-headers lets the app know that its "
        "clients use HTTPS and who they are.",
        f"{_DOCS}/docker/#behind-a-tls-termination-proxy",
        "add --proxy-headers",
    ),
    Rule(
        "trusts-any-proxy",
        _WARNING,
        "Forwarded headers believed from everywhere let anybody who reaches the port choose the "
        "address and scheme that the app sees.",
        "https://fastapi.tiangolo.com/advanced/behind-a-proxy/#enable-proxy-forwarded-headers",
        "leave the setting out: deploytool sets FORWARDED_ALLOW_IPS to the proxy's network",
    ),
    Rule(
        "gunicorn-takes-no-network",
        _ERROR,
        "Behind the proxy deploytool sets FORWARDED_ALLOW_IPS to the proxy's network, and Gunicorn "
        "before 24.1 does not start where that, or a value of your own, holds anything but "
        "addresses.",
        "https://gunicorn.org/reference/settings/#forwarded_allow_ips",
        "depend on gunicorn>=24.1, or leave `command` out, which runs Uvicorn alone; or set "
        'env = { FORWARDED_ALLOW_IPS = "127.0.0.1" }, with which the app sees the proxy\'s address '
        "as the caller's",
    ),
    Rule(
        "listens-on-localhost",
        _ERROR,
        "A server on 127.0.0.1 inside its container is reached by nothing outside it; that is "
        "Uvicorn's default.",
        f"{_DOCS}/manually/#run-the-server-program",
        "add --host 0.0.0.0",
    ),
    Rule(
        "port-mismatch",
        _ERROR,
        "The proxy and the health check ask at the service's `port`, and nobody listens there.",
        f"{_DOCS}/docker/#load-balancer",
        "use the same number in both places",
    ),
    Rule(
        "no-memory-reservation",
        _WARNING,
        "The cluster places containers by the memory they say they need; without it a node can "
        "be filled until processes are killed.",
        f"{_DOCS}/docker/#memory",
        'set `memory`, for example memory = "128MiB"; `deploytool capacity` shows what is used',
    ),
    Rule(
        "no-memory-limit",
        _WARNING,
        "Without a limit, one replica that leaks takes the memory of everything else on its node.",
        f"{_DOCS}/docker/#memory",
        'set `memory_limit`, for example memory_limit = "256MiB"',
    ),
    Rule(
        "open-files-above-default",
        _WARNING,
        "No process may have more open files than fs.nr_open of its node's kernel says: there a "
        "container that asks for more does not start.",
        "https://docs.kernel.org/admin-guide/sysctl/fs.html#nr-open",
        "lower ulimits.nofile to 1048576, or raise fs.nr_open on every node that may run it",
    ),
    Rule(
        "no-health-check",
        _WARNING,
        "Without a health check the cluster sends requests to replicas that do not answer, and a "
        "release that starts but does not work replaces one that does.",
        f"{_DOCS}/concepts/#restart-after-crash",
        'set healthcheck = { path = "/health" } to a path that answers 2xx when the app works',
    ),
    Rule(
        "health-check-twice",
        _INFO,
        "The health check of the configuration replaces the HEALTHCHECK of the image, which then "
        "only misleads its readers.",
        f"{_DOCKER}/reference/dockerfile/#healthcheck",
        "keep one of them; deploytool and both backends know the one of the configuration",
    ),
    Rule(
        "root-user",
        _WARNING,
        "What breaks into a process that runs as root has root in the container.",
        f"{_DOCKER}/build/building/best-practices/#user",
        "create a user and end the last stage with USER, for example "
        "RUN useradd --uid 10001 app, then USER 10001",
    ),
    Rule(
        "default-capabilities",
        _INFO,
        "The engine's own capabilities allow more than a web app needs, such as changing owners "
        "and raw sockets.",
        f"{_DOCKER}/engine/security/#linux-kernel-capabilities",
        'leave `capabilities` out, or list what it needs, for example capabilities = ["CHOWN"]',
    ),
    Rule(
        "writable-image",
        _INFO,
        "Where the image's files can be written, what breaks into the process can change its "
        "code, and what the app writes is lost with the replica.",
        f"{_DOCKER}/reference/cli/docker/container/run/#read-only",
        "leave `read_only` out, and give the app /tmp or a volume where it writes",
    ),
    Rule(
        "mounts-engine",
        _WARNING,
        "Who may call the engine starts containers as root with the node's files, `:ro` or not; on "
        "a manager, on all nodes of the Swarm.",
        f"{_DOCKER}/engine/security/#docker-daemon-attack-surface",
        "leave it out, or put a proxy between that passes only the requests that are needed",
    ),
    Rule(
        "mounts-node",
        _WARNING,
        "The node's own folders have its keys, the secrets of other containers and the programs "
        "that root runs.",
        f"{_DOCKER}/engine/storage/bind-mounts/#considerations-and-constraints",
        "mount a folder that is the app's alone, or a named volume",
    ),
    Rule(
        "dangerous-capability",
        _WARNING,
        "With some capabilities a process can mount the node's disks, read any of its files or "
        "change its kernel.",
        f"{_DOCKER}/engine/security/#linux-kernel-capabilities",
        "name only those that the process needs, of which these are seldom any",
    ),
    Rule(
        "published-database",
        _WARNING,
        "A published port is open to all who reach the node, past its firewall as a rule, and "
        "databases are often without passwords.",
        f"{_DOCKER}/engine/network/packet-filtering-firewalls/",
        "leave `publish` out: services of the app reach each other by their names",
    ),
    Rule(
        "engine-without-tls",
        _WARNING,
        "The engine asks nobody who they are: who reaches its port is root on its node.",
        f"{_DOCKER}/engine/security/protect-access/",
        'use "ssh://", or TLS: DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, at port 2376',
    ),
    Rule(
        "secret-in-env",
        _ERROR,
        "A variable that is written down is read by everybody who has the image, the repository "
        "or the rights to inspect a service.",
        f"{_DOCKER}/reference/build-checks/secrets-used-in-arg-or-env/",
        'keep it in the cluster: `deploytool secrets set NAME` and secrets = ["NAME"]; the app '
        "reads /run/secrets/NAME",
    ),
    Rule(
        "secret-in-arg",
        _ERROR,
        "Build arguments stay in the image's history.",
        f"{_DOCKER}/reference/build-checks/secrets-used-in-arg-or-env/",
        "name it in `build.secrets` and hand it to the one RUN that needs it: "
        "RUN --mount=type=secret,id=NAME",
    ),
    Rule(
        "secret-file-copied",
        _ERROR,
        "A file of secrets in a layer is read by everybody who has the image, even when a later "
        "instruction deletes it.",
        f"{_DOCKER}/build/building/secrets/",
        "leave it out, name it in .dockerignore, and use secrets of the cluster",
    ),
    Rule(
        "private-file-copied",
        _WARNING,
        "Keys, logins and local databases that lie in a folder get into the image with it, and "
        "everybody who has the image reads them.",
        f"{_DOCKER}/build/concepts/context/#dockerignore-files",
        "name them in .dockerignore, as the one that `deploytool init` writes does: `**/*.key`",
    ),
    Rule(
        "no-dockerignore",
        _WARNING,
        "Without .dockerignore the virtual environment, .git and .env are sent to the builder, "
        "end up in the image and spoil its cache.",
        f"{_DOCKER}/build/concepts/context/#dockerignore-files",
        "write a .dockerignore with at least .git, .venv, __pycache__ and .env",
    ),
    Rule(
        "module-not-copied",
        _ERROR,
        "A module that is not in the image cannot be imported: the app fails at its start, or, "
        "for an import inside a function, later.",
        f"{_DOCKER}/reference/dockerfile/#copy",
        "`deploytool init --force` writes the Dockerfile and .dockerignore anew, or add it to COPY "
        "and let it through .dockerignore",
    ),
    Rule(
        "add-instead-of-copy",
        _WARNING,
        "ADD also downloads and unpacks, which nobody expects of a line that copies a file.",
        f"{_DOCKER}/build/building/best-practices/#add-or-copy",
        "write COPY",
    ),
    Rule(
        "migration-per-replica",
        _WARNING,
        "Migrations have to be run by one single process: replicas that start together run them "
        "in parallel and clash.",
        f"{_DOCS}/concepts/#previous-steps-before-starting",
        "run it once, by a single process, before the deploy",
    ),
    Rule(
        "volume-per-node",
        _WARNING,
        "A named volume is one of its node's own: replicas on different nodes see different data.",
        f"{_DOCKER}/engine/swarm/services/#give-a-service-access-to-volumes-or-bind-mounts",
        "keep the data in a database or object storage, run one replica with a placement "
        "constraint, or use a volume driver for shared storage",
    ),
    Rule(
        "volume-not-owned",
        _WARNING,
        "A fresh volume takes the owner of the folder that the image has there; without that "
        "folder it is root's, and no other user can write to it.",
        f"{_DOCKER}/engine/storage/volumes/#populate-a-volume-using-a-container",
        "before USER, write ARG VOLUMES and RUN install -d -o 10001 -g 10001 $VOLUMES with the "
        "image's own user: `build` and `deploy` pass the folders",
    ),
    Rule(
        "short-stop-grace",
        _WARNING,
        "A replica that is replaced needs time to finish its requests after it stopped getting "
        "new ones; when stop_grace is over it is killed.",
        f"{_DOCS}/docker/#use-cmd-exec-form",
        "make stop_grace at least 10s longer than drain",
    ),
    Rule(
        "drain-without-effect",
        _WARNING,
        "A command that is the image's own gets the stop signal 2 s after the proxy was notified, "
        "however long drain is: on a busy cluster requests still arrive then.",
        f"{_DOCKER}/reference/cli/docker/service/create/#options",
        "write the service's command out, which can be delayed",
    ),
    Rule(
        "update-interrupts",
        _WARNING,
        "When all replicas are stopped before the first new one runs, nobody answers in between.",
        f"{_DOCS}/docker/#one-load-balancer-multiple-worker-containers",
        "run more replicas than update.parallelism, or serve through the proxy, which allows "
        'update.order = "start-first"',
    ),
    Rule(
        "refused-by-cluster",
        _ERROR,
        "The cluster that `backend` names does not take it: plan, render and deploy refuse it too.",
        "https://developer.hashicorp.com/nomad/docs/job-specification",
        "correct it as the message says, or leave it out; docs/nomad.md says what Nomad takes",
    ),
    Rule(
        "without-effect",
        _INFO,
        "The cluster that `backend` names passes it over, and a reader of the configuration takes "
        "it for something that holds.",
        "https://developer.hashicorp.com/nomad/docs/job-specification",
        "leave it out, or keep it for environments on the other cluster",
    ),
    Rule(
        "untagged-image",
        _WARNING,
        "An image without a version is a different one tomorrow.",
        f"{_DOCKER}/build/building/best-practices/#pin-base-image-versions",
        'name a version, for example image = "redis:8.2"',
    ),
)

RULES_BY_NAME = {rule.name: rule for rule in RULES}


def rules_table() -> str:
    """All rules as a Markdown table, for docs/lint.md."""
    rows = ["| rule | severity | why | fix |", "| --- | --- | --- | --- |"]
    for rule in RULES:
        why = f"{rule.why} ([source]({rule.url}))"
        rows.append(f"| `{rule.name}` | {rule.severity} | {why} | {rule.fix} |")
    return "\n".join(rows) + "\n"
