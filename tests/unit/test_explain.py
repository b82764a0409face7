"""Why a replica failed, the cause first, without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from deploytool.backends.model import Task
from deploytool.backends.swarm.rollout.explain import explain
from deploytool.errors import EngineError
from deploytool.redact import MASK
from tests.builders import app, deploy, engine, task, worker
from tests.fake_engine import FakeEngine


def told(
    failed: Task,
    *,
    state: dict[str, Any] | None = None,
    output: tuple[str, ...] = (),
    read_only: bool | None = None,
) -> list[str]:
    engine = FakeEngine()
    if state is not None or read_only is not None:
        host = {} if read_only is None else {"ReadonlyRootfs": read_only}
        engine.containers["c1"] = {"State": state or {}, "HostConfig": host}
    engine.output[failed.id] = list(output)
    return explain(engine, failed, lines=3)


def failed(message: str = "", code: int | None = None, **keys: Any) -> Task:
    given = {"state": "failed", "message": message, "exit_code": code, "container": "c1"}
    return task(**(given | keys))


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (failed("task: non-zero exit (1)", 1), "its process ended with exit code 1"),
        (failed("task: non-zero exit (3)", 3), "its process ended with exit code 3"),
        (
            failed("task: non-zero exit (137)", 137),
            "killed (SIGKILL; whether for lack of memory, the engine on node-1 alone knows: task:",
        ),
        (
            failed("starting container failed: unable to find user x: no matching entries", 128),
            "web.1 on node-1: starting container failed: unable to find user x",
        ),
        (failed("task: non-zero exit (139)", 139), "crashed (SIGSEGV)"),
        (failed("task: non-zero exit (127)", 127), "the command was not found"),
        (failed("task: non-zero exit (126)", 126), "the command cannot be run"),
        (failed("task: non-zero exit (143): dockerexec: unhealthy container", 143), "health check"),
        (failed("", 0, state="complete"), "it ended with exit code 0"),
        (failed("No such image: r/a@sha256:00", state="rejected"), "No such image"),
        (failed("", state="orphaned"), "orphaned"),
    ],
)
def test_cause_of_a_failed_replica(one: Task, cause: str) -> None:
    first = told(one)[0]
    assert first.startswith("web.1 on node-1: ")
    assert cause in first


def test_out_of_memory_is_known_where_the_container_is() -> None:
    first = told(failed("task: non-zero exit (137)", 137), state={"OOMKilled": True})[0]
    assert "out of memory: it used more than memory_limit allows" in first


def test_a_kill_that_was_not_for_memory_is_not_taken_for_one() -> None:
    first = told(failed("task: non-zero exit (137)", 137), state={"OOMKilled": False})[0]
    assert "killed (SIGKILL; the engine reports no lack of memory" in first
    assert "memory_limit" not in first


def test_last_words_and_the_health_check() -> None:
    log = [
        {"ExitCode": 0, "Output": "fine"},
        {"ExitCode": 1, "Output": "Traceback\nGET /health: HTTP/1.1 503\n"},
    ]
    lines = told(
        failed("unhealthy container", 137), state={"Health": {"Log": log}}, output=tuple("abcd")
    )
    assert lines[1:] == ["health check: GET /health: HTTP/1.1 503", "| b", "| c", "| d"]


def test_a_check_that_comes_from_the_image_is_named() -> None:
    """That the service says nothing of a check is known wherever the replica ran."""
    made = engine()
    deploy(made, app(worker()))
    (one,) = made.tasks_of("items_worker")
    reason = "task: non-zero exit (143): dockerexec: unhealthy container"
    first, *_, last = explain(
        made, failed(reason, 143, task_id=one["ID"], service="worker"), lines=3
    )
    assert "its health check, the HEALTHCHECK of its image, failed" in first
    assert last == (
        "likely: set a health check of its own in [tool.deploytool.services.worker], or "
        "healthcheck = false"
    )


@pytest.mark.parametrize(
    "output",
    [
        "PermissionError: [Errno 13] Permission denied: '/data/x'",
        "sqlite3.OperationalError: unable to open database file",
    ],
)
def test_a_volume_that_is_not_the_users_is_named(output: str) -> None:
    """Whatever is read-only in the replica, a volume is not."""
    made = engine()
    deploy(made, app(worker(volumes=["cache:/cache:ro", "data:/data"])))
    (one,) = made.tasks_of("items_worker")
    made.containers["c1"] = {"State": {}, "HostConfig": {"ReadonlyRootfs": True}}
    made.output[one["ID"]] = [output]
    crashed = failed("task: non-zero exit (1)", 1, task_id=one["ID"], service="worker")
    last = explain(made, crashed, lines=3)[-1]
    assert "the volume at /data is not its user's" in last
    assert "RUN install -d -o USER FOLDER" in last
    assert "read_only" not in last


def test_a_check_of_a_process_that_was_being_stopped_hides_no_answer() -> None:
    log = [
        {"ExitCode": 1, "Output": "GET /health: HTTP/1.1 404 Not Found\n"},
        {"ExitCode": 1, "Output": "GET /health: no answer\n"},
    ]
    lines = told(failed("unhealthy container", 137), state={"Health": {"Log": log}})
    assert lines[1] == "health check: GET /health: HTTP/1.1 404 Not Found"
    lines = told(failed("unhealthy container", 137), state={"Health": {"Log": log[1:]}})
    assert lines[1] == "health check: GET /health: no answer"


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("OSError: [Errno 30] Read-only file system: 'x'", "read_only = false"),
        ("ModuleNotFoundError: No module named 'app'", "is missing in the image"),
        ("exec format error", "for another platform"),
        ("[FATAL tini (7)] exec ./run failed: Exec format error", "for another platform"),
        ("[FATAL tini (7)] exec /bin/sh failed: No such file or directory", "has no shell"),
        ("[FATAL tini (7)] exec celery failed: No such file or directory", "not in the image"),
        ("starting container failed: unable to find user x: no matching entries", "no such user"),
        (
            "OCI runtime create failed: runc create failed: unable to start container process: "
            "error during container init: error setting rlimits for ready process: error setting "
            "rlimit type 7: operation not permitted",
            "raise fs.nr_open",
        ),
        ("[Errno 98] address already in use", "has the port"),
        (
            "Error: '10.253.0.0/20' does not appear to be an IPv4 or IPv6 address",
            "Gunicorn takes networks there since 24.1",
        ),
        ("PermissionError: [Errno 13] Permission denied", "without privileges"),
        ("no answer from proxy_traefik at 10.253.0.5", "let UDP 4789 and TCP and UDP 7946 through"),
    ],
)
def test_likely_cause_by_output(output: str, hint: str) -> None:
    last = told(failed("task: non-zero exit (1)", 1), output=(output,))[-1]
    assert last.startswith("likely: ")
    assert hint in last


@pytest.mark.parametrize(
    ("read_only", "hint"),
    [
        (True, "the app writes to data.db, and its files are read-only: set read_only = false in"),
        (False, "the app may not open data.db, its user owns no such file or folder: make the"),
        (
            None,
            "the app cannot open data.db: set read_only = false in [tool.deploytool.services.web]",
        ),
    ],
)
def test_how_the_replica_ran_tells_why_a_database_is_refused(
    read_only: bool | None, hint: str
) -> None:
    output = ('db = sqlite3.connect("data.db")', "OperationalError: unable to open database file")
    last = told(failed("task: non-zero exit (1)", 1), output=output, read_only=read_only)[-1]
    assert last.startswith(f"likely: {hint}")


def test_one_likely_cause_at_most() -> None:
    lines = told(failed("No such image"), output=("Permission denied", "exec format error"))
    assert sum(line.startswith("likely: ") for line in lines) == 1


def test_a_replica_that_never_started_printed_nothing() -> None:
    lines = told(failed("No such image: x", container=""), output=("from another time",))
    assert not [line for line in lines if line.startswith("|")]


@pytest.mark.parametrize("method", ["container", "task_output"])
def test_what_cannot_be_asked_is_left_out(method: str) -> None:
    engine = FakeEngine()
    engine.refuses[method] = EngineError("away", code="engine_unreachable")
    first, *_ = explain(engine, failed("task: non-zero exit (1)", 1), lines=3)
    assert "exit code 1" in first


def test_passwords_in_urls_are_hidden() -> None:
    url = "cannot connect to postgres://app:hunter2@db/items"
    lines = told(failed(url, 1), output=(url,))
    assert "hunter2" not in "\n".join(lines)
    assert MASK in lines[1]


@pytest.mark.parametrize(
    "line",
    [
        "chown: changing ownership of '/data': Operation not permitted",
        "chown: /run/postgresql: Operation not permitted",
        "chmod: changing permissions of '/var/lib/postgresql/data': Operation not permitted",
        "mkdir: cannot create directory '/run/db': Read-only file system",
        "setpriv: setresuid failed: Operation not permitted",
        'error: failed switching to "redis": operation not permitted',
        "su-exec: setgroups(999): Operation not permitted",
        "setpriv: initgroups failed: Operation not permitted",
    ],
)
def test_ready_made_images_that_change_owner_or_user_get_all_keys_at_once(line: str) -> None:
    last = told(failed("task: non-zero exit (1)", 1), output=(line,), read_only=True)[-1]
    for key in ("CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "read_only = false", "user"):
        assert key in last


@pytest.mark.parametrize(
    "words",
    [
        'invalid mount config for type "bind": bind source path does not exist: /srv/uploads',
        'Failed to create container configuration for image "shop:1": API error (400): invalid '
        'mount config for type "bind": bind source path does not exist: /srv/uploads',
    ],
)
def test_a_path_that_is_not_on_the_node_is_named_with_its_key(words: str) -> None:
    first, last = told(failed(words, state="rejected", container=""))
    assert first.startswith("web.1 on node-1: ")
    assert first.endswith("bind source path does not exist: /srv/uploads")
    assert last.startswith(
        "likely: a path of the service's volumes is not on that node: make it on"
    )
    assert "placement.constraints" in last
