"""Release steps and workers: what is written, what is proposed, and what is left alone."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytool.discover import FoundApp, Source
from deploytool.discover.processes.command_lines import read_line, read_words, service_name
from deploytool.discover.processes.compose import interpolated
from deploytool.discover.processes.processes import FoundProcesses, find_processes
from deploytool.discover.source import Project
from deploytool.spec import NAME_PATTERN

Files = dict[str, str]
APP = "from fastapi import FastAPI\napp = FastAPI()\n"
INI = "[alembic]\nscript_location = alembic\nprepend_sys_path = .\n"
ALEMBIC: Files = {
    "requirements.txt": "fastapi\nalembic==1.13\n",
    "app/main.py": APP,
    "alembic.ini": INI,
    "alembic/env.py": "from app import main\n",
    "alembic/versions/0001_first.py": "revision = '1'\n",
}
UPGRADE = ("alembic", "upgrade", "head")


def find(
    folder: Path, files: Files, *, app: str = "app/main.py", root: str = ".", workdir: str = "."
) -> FoundProcesses:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = FoundApp("app.main:app", app, root, "", None, "", Source.FOUND)
    return find_processes(Project(folder), found, PurePosixPath(workdir))


def commands(found: FoundProcesses) -> dict[str, tuple[str, ...]]:
    return {worker.name: worker.command for worker in found.workers}


# --- command lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("celery -A app.tasks worker", "celery -A app.tasks worker"),
        ("poetry run celery -A a worker", "celery -A a worker"),
        ("uv run --no-dev --package x celery -A a worker", "celery -A a worker"),
        ("exec python -m app.worker", "python -m app.worker"),
        ("C_FORCE_ROOT=1 celery -A a worker", "env C_FORCE_ROOT=1 celery -A a worker"),
        ("celery -A a worker --uid=nobody --logfile=l.log -n x", "celery -A a worker -n x"),
        ("watchmedo auto-restart -d . -- celery -A a worker", "celery -A a worker"),
        ("taskiq worker app.tq:broker --reload", "taskiq worker app.tq:broker"),
        ("celery -A a beat", "celery -A a beat --schedule /tmp/celerybeat-schedule"),
        ("celery -A a beat -s /data/s", "celery -A a beat -s /data/s"),
        ("celery -A a worker -B", "celery -A a worker -B --schedule /tmp/celerybeat-schedule"),
    ],
)
def test_a_plain_line_becomes_words(text: str, command: str) -> None:
    line = read_line(text)
    assert line
    assert line.command == tuple(command.split())


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("cd backend && celery -A a worker", "cd backend && exec celery -A a worker"),
        ("celery -A a worker -c $N", "exec celery -A a worker -c $N"),
        ("alembic upgrade head; python seed.py", "alembic upgrade head; exec python seed.py"),
        ("poetry run a && poetry run b", "a && exec b"),
        ("a | b", "a | b"),
        ("a && B=1 c", "a && B=1 c"),
    ],
)
def test_shell_syntax_keeps_a_shell(text: str, script: str) -> None:
    line = read_line(text)
    assert line
    assert line.command == ("sh", "-c", script)


def test_a_quoted_character_is_no_shell_syntax() -> None:
    line = read_line("celery -A a worker -Q 'high;low'")
    assert line
    assert line.command == ("celery", "-A", "a", "worker", "-Q", "high;low")


def test_a_line_that_cannot_be_read_is_none() -> None:
    assert read_line('celery -A "a') is None


def test_the_script_of_a_shell_is_read_too() -> None:
    line = read_words(["bash", "-c", "alembic upgrade head && celery -A app.tasks worker"])
    assert line
    assert [part.role for part in line.parts] == ["alembic", "celery worker"]
    assert line.command[0] == "bash"


@given(st.text(), st.lists(st.sampled_from(["worker", "worker-2", "beat"])))
def test_any_text_gives_a_name_that_a_cluster_accepts(text: str, taken: list[str]) -> None:
    name = service_name(text, taken)
    assert re.fullmatch(NAME_PATTERN, name)
    assert len(name) <= 40
    assert name not in ("web", *taken)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("redis:${TAG:-7}", "redis:7"),
        ("redis:${TAG-7}", "redis:7"),
        ("a$$b", "a$b"),
        ("${TAG}", None),
        ("${TAG?say it}", None),
        ("$TAG", None),
        ("plain", "plain"),
    ],
)
def test_variables_of_a_compose_file(text: str, known: str | None) -> None:
    assert interpolated(text) == known


# --- Procfile -------------------------------------------------------------------------------------


def test_a_procfile_names_the_release_step_and_the_workers(tmp_path: Path) -> None:
    procfile = (
        "web: uvicorn app.main:app --port $PORT\n"
        "admin: python -m app.main --port ${PORT}\n"
        "release: alembic upgrade head\n"
        "worker: celery -A app.tasks worker\n"
        "beat: celery -A app.tasks beat\n"
    )
    files = ALEMBIC | {"Procfile": procfile, "app/tasks.py": "", "requirements/base.txt": "celery"}
    found = find(tmp_path, files)
    assert found.release
    assert found.release.command == UPGRADE
    assert found.release.modules == ("app",)
    assert found.release.files == (PurePosixPath("alembic.ini"), PurePosixPath("alembic"))
    assert set(commands(found)) == {"worker", "beat"}
    assert found.workers[0].modules == ("app.tasks",)
    assert found.workers[0].why == "Procfile has it as worker"
    assert found.proposals == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("celery -A app.tasks worker", "celery is not among the dep", id="unlisted"),
        pytest.param("python -m app.gone", "app.gone is not found in the project", id="no module"),
        pytest.param("python gone.py", "gone.py is not found in the project", id="no file"),
        pytest.param("cd /srv && python x.py", "it goes to /srv", id="another image's folder"),
        pytest.param("alembic upgrade head", "alembic is not among the dep", id="no Alembic"),
        pytest.param("npm start", "npm is not among the dependencies", id="another program"),
    ],
)
def test_a_process_that_cannot_run_is_proposed_only(tmp_path: Path, line: str, says: str) -> None:
    files = {"app/main.py": APP, "app/tasks.py": "", "x.py": "", "Procfile": f"jobs: {line}\n"}
    found = find(tmp_path, files)
    assert found.workers == ()
    assert len(found.proposals) == 1
    assert says in found.proposals[0]
    assert "[tool.deploytool.services.jobs] command = [" in found.proposals[0]


def test_what_serves_is_no_worker(tmp_path: Path) -> None:
    serving = "import uvicorn\nuvicorn.run('app.main:app')\n"
    procfile = "app: python run.py\nother: gunicorn app.main:app\nui: streamlit run ui.py\n"
    found = find(tmp_path, {"app/main.py": APP, "run.py": serving, "Procfile": procfile})
    assert (found.workers, found.proposals) == ((), ())


def test_names_fit_the_cluster_and_are_unique(tmp_path: Path) -> None:
    procfile = "Email_Worker: python -m app.mail\nemail-worker: python -m app.more\n"
    files = {"app/main.py": APP, "app/mail.py": "", "app/more.py": "", "Procfile": procfile}
    assert commands(find(tmp_path, files)) == {
        "email-worker": ("python", "-m", "app.mail"),
        "email-worker-2": ("python", "-m", "app.more"),
    }


# --- migrations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        pytest.param({}, UPGRADE, id="beside the app"),
        pytest.param(
            {"alembic.ini": "[alembic]\nscript_location = alembic\n"},
            ("python", "-m", *UPGRADE),
            id="nothing makes the project importable",
        ),
        pytest.param(
            {
                "alembic.ini": "[alembic]\nscript_location = alembic\n",
                "alembic/env.py": "import sys\nsys.path.append('.')\nfrom app import main\n",
            },
            UPGRADE,
            id="env.py makes the project importable",
        ),
        pytest.param(
            {
                "alembic.ini": "[alembic]\nscript_location = alembic\n",
                "alembic/env.py": "from alembic import context\n",
            },
            UPGRADE,
            id="nothing of the project is imported",
        ),
        pytest.param(
            {
                "alembic.ini": "[alembic]\nscript_location = alembic\n",
                "alembic/__init__.py": "",
            },
            ("sh", "-c", 'PYTHONPATH=".:$PYTHONPATH" exec alembic upgrade head'),
            id="the folder of scripts hides the package",
        ),
    ],
)
def test_alembic_is_called_so_that_it_finds_the_project(
    tmp_path: Path, changes: Files, command: tuple[str, ...]
) -> None:
    found = find(tmp_path, ALEMBIC | changes)
    assert found.release
    assert found.release.command == command
    assert found.proposals == ()


BELOW: Files = {
    "requirements.txt": "alembic",
    "backend/app/main.py": APP,
    "backend/app/alembic/env.py": "from app import main\n",
    "backend/app/alembic/versions/1.py": "",
}


@pytest.mark.parametrize(
    ("location", "workdir", "command"),
    [
        ("app/alembic", "backend", UPGRADE),
        ("app/alembic", ".", ("sh", "-c", "cd backend && exec alembic upgrade head")),
        ("%(here)s/app/alembic", ".", ("alembic", "-c", "backend/alembic.ini", "upgrade", "head")),
        ("backend/app/alembic", ".", ("alembic", "-c", "backend/alembic.ini", "upgrade", "head")),
        ("app:alembic", ".", ("alembic", "-c", "backend/alembic.ini", "upgrade", "head")),
    ],
)
def test_settings_in_a_subfolder(
    tmp_path: Path, location: str, workdir: str, command: tuple[str, ...]
) -> None:
    files = BELOW | {"backend/alembic.ini": f"[alembic]\nscript_location = {location}\n"}
    found = find(tmp_path, files, app="backend/app/main.py", root="backend", workdir=workdir)
    assert found.release
    assert found.release.command == command
    assert PurePosixPath("backend/app/alembic") in found.release.files


def test_settings_above_the_working_folder(tmp_path: Path) -> None:
    files = BELOW | {"alembic.ini": "[alembic]\nscript_location = backend/app/alembic\n"}
    found = find(tmp_path, files, app="backend/app/main.py", root="backend", workdir="backend")
    assert found.release
    assert found.release.command == ("sh", "-c", "cd .. && exec alembic upgrade head")


def test_alembic_in_pyproject(tmp_path: Path) -> None:
    files = ALEMBIC | {
        "pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/alembic"\n'
        'prepend_sys_path = ["."]\n',
        "alembic.ini": "[loggers]\n",
    }
    found = find(tmp_path, files)
    assert found.release
    assert found.release.command == UPGRADE
    assert found.release.files[0] == PurePosixPath("pyproject.toml")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("alembic/versions/0001_first.py", "there are none yet"),
        ("requirements.txt", "alembic is not among the dependencies"),
    ],
)
def test_migrations_that_cannot_run_yet_are_proposed(
    tmp_path: Path, missing: str, says: str
) -> None:
    found = find(tmp_path, {name: text for name, text in ALEMBIC.items() if name != missing})
    assert found.release is None
    assert len(found.proposals) == 1
    assert says in found.proposals[0]
    assert (
        '[tool.deploytool.release] command = ["alembic", "upgrade", "head"]' in (found.proposals[0])
    )


def test_settings_without_scripts_are_nothing(tmp_path: Path) -> None:
    files = {name: text for name, text in ALEMBIC.items() if not name.startswith("alembic/")}
    assert find(tmp_path, files) == FoundProcesses(None, (), ())


def test_only_a_development_list_names_alembic(tmp_path: Path) -> None:
    lists = {"requirements.txt": "fastapi", "requirements-dev.txt": "alembic"}
    assert find(tmp_path, ALEMBIC | lists).release is None


def test_the_caller_may_say_what_is_installed(tmp_path: Path) -> None:
    find(tmp_path, ALEMBIC)
    app = FoundApp("app.main:app", "app/main.py", ".", "", None, "", Source.FOUND)
    assert find_processes(Project(tmp_path), app, listed={"fastapi"}).release is None
    assert find_processes(Project(tmp_path), app, listed={"alembic"}).release


def test_migrations_in_a_folder_of_their_own_are_proposed(tmp_path: Path) -> None:
    moved = {f"db/{name}": text for name, text in ALEMBIC.items() if name.startswith("alembic")}
    found = find(tmp_path, {"app/main.py": APP, "requirements.txt": "alembic"} | moved)
    assert found.release is None
    assert len(found.proposals) == 1
    assert found.proposals[0].startswith("db/alembic.ini has migrations in db/alembic/: if they")


def test_a_release_line_without_settings_is_proposed(tmp_path: Path) -> None:
    files = {
        "app/main.py": APP,
        "requirements.txt": "alembic",
        "Procfile": "release: alembic upgrade head",
    }
    found = find(tmp_path, files)
    assert found.release is None
    assert found.proposals == (
        "Procfile also runs release, but alembic's settings are not found: "
        '[tool.deploytool.release] command = ["alembic", "upgrade", "head"]',
    )


def test_aerich(tmp_path: Path) -> None:
    pyproject = '[project]\ndependencies = ["aerich"]\n[tool.aerich]\ntortoise_orm = "app.db.T"\n'
    files = {"app/main.py": APP, "pyproject.toml": pyproject, "migrations/models/0_x.py": ""}
    found = find(tmp_path, files)
    assert found.release
    assert found.release.command == ("aerich", "upgrade")
    assert found.release.files == (PurePosixPath("pyproject.toml"), PurePosixPath("migrations"))


# --- compose --------------------------------------------------------------------------------------

COMPOSE = """
x-base: &base
  build: .
services:
  web:
    <<: *base
    command: bash -c "aerich upgrade && uvicorn app.main:app --host 0.0.0.0 --reload"
  celery_worker:
    <<: *base
    command: celery -A app.tasks worker
  scheduler:
    build: {context: .}
    image: shop:${TAG:-latest}
    command: ["python", "-m", "app.clock"]
  mailer:
    image: shop:${TAG:-latest}
    entrypoint: python mail.py
  tests:
    build: .
    command: pytest
  cleaner:
    build: ./tools/cleaner
    command: python -m app.clock
  db:
    image: postgres:16
  redis:
    image: redis:7-alpine
  broker:
    image: docker.io/bitnami/rabbitmq
  proxy:
    image: traefik:3
"""
WORKERS: Files = {
    "requirements.txt": "celery[redis]\naerich\n",
    "app/main.py": APP,
    "app/tasks.py": "",
    "app/clock.py": "",
    "mail.py": "",
}


def test_a_compose_file_names_workers_a_step_and_what_else_runs(tmp_path: Path) -> None:
    found = find(tmp_path, WORKERS | {"docker-compose.yml": COMPOSE})
    assert commands(found) == {
        "celery-worker": ("celery", "-A", "app.tasks", "worker"),
        "scheduler": ("python", "-m", "app.clock"),
        "mailer": ("python", "mail.py"),
    }
    assert found.workers[2].files == (PurePosixPath("mail.py"),)
    assert found.release
    assert found.release.command == ("aerich", "upgrade")
    assert found.proposals == (
        "docker-compose.yml also starts db (postgres:16), redis and broker "
        "(docker.io/bitnami/rabbitmq): run them yourself and set their addresses in env or secrets",
    )


def test_a_procfile_comes_before_a_compose_file(tmp_path: Path) -> None:
    compose = "services:\n  jobs:\n    build: .\n    command: celery -A app.tasks worker -c 4\n"
    files = WORKERS | {"Procfile": "worker: celery -A app.tasks worker", "compose.yaml": compose}
    assert commands(find(tmp_path, files)) == {"worker": ("celery", "-A", "app.tasks", "worker")}


def test_several_workers_of_one_file_are_all_taken(tmp_path: Path) -> None:
    service = "  {0}:\n    build: .\n    command: celery -A app.tasks worker -Q {0}\n"
    compose = "services:\n" + service.format("high") + service.format("low")
    found = find(tmp_path, WORKERS | {"compose.yaml": compose})
    assert set(commands(found)) == {"high", "low"}


@pytest.mark.parametrize("name", ["prestart", "setup"])
def test_a_service_that_ends_is_no_worker(tmp_path: Path, name: str) -> None:
    compose = (
        f"services:\n  {name}:\n    build: .\n    command: python -m app.clock\n"
        "  api:\n    build: .\n    command: fastapi run app/main.py\n"
        f"    depends_on: {{{name}: {{condition: service_completed_successfully}}}}\n"
    )
    found = find(tmp_path, WORKERS | {"compose.yaml": compose})
    assert found.workers == ()
    assert found.proposals == (
        f"compose.yaml runs {name} before the app: "
        '[tool.deploytool.release] command = ["python", "-m", "app.clock"]',
    )


def test_a_worker_whose_command_is_another_images_is_named(tmp_path: Path) -> None:
    compose = "services:\n  celery_worker:\n    build: .\n    command: /start-celeryworker\n"
    found = find(tmp_path, WORKERS | {"compose.yaml": compose})
    assert found.workers == ()
    assert len(found.proposals) == 1
    assert found.proposals[0].startswith(
        "compose.yaml also runs celery_worker with /start-celeryworker: write its command"
    )


def test_a_command_that_is_shown_is_one_line_without_passwords(tmp_path: Path) -> None:
    compose = (
        "services:\n  queue:\n    build: .\n    command: |\n"
        "      /run --broker redis://u:hunter2@r\n      --more\n"
    )
    (proposal,) = find(tmp_path, WORKERS | {"compose.yaml": compose}).proposals
    assert "/run --broker" in proposal
    assert "hunter2" not in proposal
    assert "\n" not in proposal


def test_modules_below_the_folder_that_compose_builds(tmp_path: Path) -> None:
    """The image of the author copies server/app to its working folder."""
    compose = "services:\n  jobs:\n    build: ./server\n    command: celery -A jobs.main worker\n"
    files = {
        "requirements.txt": "celery",
        "server/app/main.py": APP,
        "server/app/jobs/main.py": "",
        "compose.yaml": compose,
    }
    found = find(tmp_path, files, app="server/app/main.py")
    assert commands(found) == {
        "jobs": ("sh", "-c", "cd server/app && exec celery -A jobs.main worker")
    }
    assert found.workers[0].folder == "server/app"


@pytest.mark.parametrize(
    "text",
    [
        "services: [",
        "services: 3",
        "services: {a: 1, b: {build: 1, command: {x: y}}, 3: {}}",
        "- a\n- b",
        "a: !reset null\nservices: !override {web: {build: .}}",
        "services: {a: {build: ., command: [celery, 3, null]}}",
        "services: {a: {build: 'x\0y', command: 'celery \"'}}",
        "? [a, b]\n: {c: d}",
        "",
    ],
)
def test_an_odd_compose_file_harms_nothing(tmp_path: Path, text: str) -> None:
    assert find(tmp_path, {"app/main.py": APP, "compose.yaml": text}).workers == ()


# --- source ---------------------------------------------------------------------------------------

CELERY = "from celery import Celery\ncelery_app = Celery('shop', broker=URL)\n"


@pytest.mark.parametrize(
    ("listed", "files", "command"),
    [
        pytest.param(
            "celery",
            {"app/tasks.py": CELERY},
            ("celery", "-A", "app.tasks:celery_app", "worker"),
            id="celery",
        ),
        pytest.param(
            "celery",
            {
                "app/queue.py": "import celery\ndef make():\n    one = celery.Celery('x')\n"
                "    return one\n",
                "app/tasks.py": "from app.queue import make\nimport celery\nqueue = make()\n",
            },
            ("celery", "-A", "app.tasks:queue", "worker"),
            id="celery, made by a function elsewhere",
        ),
        pytest.param(
            "arq",
            {
                "app/jobs.py": "from arq.connections import RedisSettings\nclass WorkerSettings:\n"
                "    functions = []\n    redis_settings = RedisSettings()\n"
            },
            ("arq", "app.jobs.WorkerSettings"),
            id="arq",
        ),
        pytest.param(
            "taskiq-redis",
            {
                "app/broker.py": "from taskiq_redis import ListQueueBroker\n"
                "broker = ListQueueBroker('x').with_result_backend(None)\n",
                "app/mail.py": "from app.broker import broker\n@broker.task\nasync def f(): ...\n",
            },
            ("taskiq", "worker", "app.broker:broker", "app.mail"),
            id="taskiq",
        ),
        pytest.param(
            "dramatiq",
            {
                "app/a.py": "import dramatiq\n@dramatiq.actor\ndef f(): ...\n",
                "app/z.py": "import dramatiq\ndramatiq.set_broker(object())\n",
            },
            ("dramatiq", "app.z", "app.a"),
            id="dramatiq",
        ),
        pytest.param(
            "huey",
            {
                "app/q.py": "from huey import RedisHuey\nhuey = RedisHuey()\n",
                "app/t.py": "from app.q import huey\n@huey.task()\ndef f(): ...\n",
            },
            ("python", "-m", "huey.bin.huey_consumer", "app.t.huey"),
            id="huey",
        ),
    ],
)
def test_workers_that_the_source_implies(
    tmp_path: Path, listed: str, files: Files, command: tuple[str, ...]
) -> None:
    files = {"app/main.py": APP, "app/__init__.py": "", "requirements.txt": listed} | files
    found = find(tmp_path, files)
    assert commands(found) == {"worker": command}
    assert found.proposals == ()
    assert not found.workers[0].is_told


def test_modules_are_named_from_the_import_root(tmp_path: Path) -> None:
    files = {"requirements.txt": "celery", "src/shop/main.py": APP, "src/shop/tasks.py": CELERY}
    found = find(tmp_path, files, app="src/shop/main.py", root="src")
    assert commands(found) == {"worker": ("celery", "-A", "shop.tasks:celery_app", "worker")}


def test_rq_needs_an_address_and_is_proposed(tmp_path: Path) -> None:
    source = "from rq import Queue\nhigh = Queue('high', connection=c)\nlow = Queue()\n"
    files = {"app/main.py": APP, "requirements.txt": "rq", "app/jobs.py": source}
    found = find(tmp_path, files)
    assert found.workers == ()
    assert len(found.proposals) == 1
    assert "RQ_REDIS_URL" in found.proposals[0]
    assert 'command = ["rq", "worker", "default", "high"]' in found.proposals[0]


def test_two_celery_apps_are_proposed(tmp_path: Path) -> None:
    files = {"requirements.txt": "celery", "app/main.py": APP, "app/a.py": CELERY}
    found = find(tmp_path, files | {"app/b.py": CELERY})
    assert found.workers == ()
    assert [re.findall(r"app\.\w:celery_app", text) for text in found.proposals] == [
        ["app.a:celery_app"],
        ["app.b:celery_app"],
    ]


def test_periodic_tasks_propose_a_beat(tmp_path: Path) -> None:
    source = CELERY + "celery_app.conf.beat_schedule = {}\n"
    files = {"requirements.txt": "celery", "app/main.py": APP, "app/tasks.py": source}
    found = find(tmp_path, files)
    assert set(commands(found)) == {"worker"}
    assert len(found.proposals) == 1
    assert (
        '[tool.deploytool.services.beat] command = ["celery", "-A", "app.tasks:celery_app", '
        '"beat", "--schedule", "/tmp/celerybeat-schedule"]'
    ) in found.proposals[0]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("'redis://:hunter2@localhost:6379/0'", True),
        ("os.getenv('BROKER', 'amqp://guest@127.0.0.1//')", True),
        ("'redis://redis:6379/0'", False),
        ("os.environ['BROKER']", False),
    ],
)
def test_a_broker_on_localhost_is_said(tmp_path: Path, url: str, says: bool) -> None:
    source = f"import os\nfrom celery import Celery\ncelery_app = Celery('x', broker={url})\n"
    files = {"requirements.txt": "celery", "app/main.py": APP, "app/tasks.py": source}
    found = find(tmp_path, files)
    assert set(commands(found)) == {"worker"}
    assert any("has the broker at" in text for text in found.proposals) is says
    assert not any("hunter2" in text for text in found.proposals)


def test_examples_and_comments_imply_nothing(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "celery\narq",
        "app/main.py": APP + "# celery and arq and huey and rq, one day\n",
        "examples/tasks.py": CELERY,
    }
    assert find(tmp_path, files) == FoundProcesses(None, (), ())


# --- scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "proposal"),
    [
        ("scripts/prestart.sh", "#!/bin/sh\nset -e\npython -m app.seed\n", "a release step"),
        ("prestart.sh", "alembic upgrade head\n", "a release step"),
        ("start.sh", "exec uvicorn app.main:app\n", None),
        ("entrypoint.sh", 'python -m app.seed\nexec uvicorn app.main:app "$@"\n', None),
        ("scripts/format.sh", "python -m app.seed\n", None),
    ],
)
def test_scripts_before_the_start_are_proposed(
    tmp_path: Path, path: str, text: str, proposal: str | None
) -> None:
    found = find(tmp_path, {"app/main.py": APP, "app/seed.py": "", path: text})
    expected = (
        f'{path} looks like {proposal}: [tool.deploytool.release] command = ["bash", "{path}"]'
    )
    assert found.release is None
    assert found.proposals == ((expected,) if proposal else ())


def test_a_module_before_the_start_is_proposed(tmp_path: Path) -> None:
    files = ALEMBIC | {"app/backend_pre_start.py": "from app import main\n"}
    found = find(tmp_path, files)
    assert found.release
    assert found.proposals == (
        "app/backend_pre_start.py looks like part of a release step: "
        '[tool.deploytool.release] command = ["python", "-m", "app.backend_pre_start"]',
    )


# --- all of them ----------------------------------------------------------------------------------


def test_proposals_are_single_lines_of_valid_toml(tmp_path: Path) -> None:
    procfile = (
        'release: python gone.py "a b" && echo \'{"x": 1}\' \nworker: celery -A gone worker\n'
    )
    found = find(tmp_path, {"app/main.py": APP, "Procfile": procfile})
    assert len(found.proposals) == 2
    for text in found.proposals:
        assert "\n" not in text
        line = text[text.index("command = ") :]
        assert tomllib.loads(line)["command"] == json.loads(line.removeprefix("command = "))


def test_env_files_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    text = Project.text

    def noting(self: Project, file: PurePosixPath) -> str | None:
        read.append(file.name)
        return text(self, file)

    monkeypatch.setattr(Project, "text", noting)
    find(tmp_path, ALEMBIC | {".env": "A=1", ".env.production": "A=1", "compose.yaml": COMPOSE})
    assert "alembic.ini" in read
    assert not [name for name in read if name.startswith(".env")]


def test_a_plain_app_has_none(tmp_path: Path) -> None:
    assert find(tmp_path, {"app/main.py": APP}) == FoundProcesses(None, (), ())
