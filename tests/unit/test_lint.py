"""Lint: each rule on what breaks it and on what keeps it, the parser, and hadolint beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploytool import lint as lint_package
from deploytool.__main__ import run
from deploytool.config import load
from deploytool.errors import UsageError
from deploytool.lint import RULES, Finding, Severity, hadolint, image_checks, inspect, lint
from deploytool.lint.dockerfile import Instruction, parse
from deploytool.lint.rules import rules_table
from deploytool.lint.subject import Subject
from deploytool.lint.toml import key_lines, nearest

GOOD_DOCKERFILE = """\
FROM python:3.14-slim AS builder
WORKDIR /code
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
FROM python:3.14-slim
COPY --from=builder /usr/local /usr/local
COPY app /code/app
USER 10001
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--proxy-headers"]
"""
GOOD_CONFIG = """\
app = "items"
entrypoint = "app.main:app"

[services.web]
replicas = 4
port = 8000
memory = "128MiB"
memory_limit = "256MiB"
domains = ["api.example.com"]
healthcheck = { path = "/health" }
"""
OURS = {rule.name for rule in RULES}


def project(
    folder: Path, dockerfile: str | None = GOOD_DOCKERFILE, config: str | None = None
) -> Path:
    """A project in an empty folder; its .dockerignore is there, the rest as asked for."""
    (folder / ".git").mkdir()
    (folder / ".dockerignore").write_text(".git\n")
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text("")
    if dockerfile is not None:
        (folder / "Dockerfile").write_text(textwrap.dedent(dockerfile))
    if config is not None:
        (folder / "deploytool.toml").write_text(textwrap.dedent(config))
    return folder


def findings(folder: Path, environment: str | None = None) -> tuple[Finding, ...]:
    has_config = (folder / "deploytool.toml").exists()
    config = load(folder, environment=environment, environ={}) if has_config else None
    return lint(folder, config)


def ours(folder: Path, environment: str | None = None) -> list[tuple[str, int, str]]:
    """File, line and rule of our own findings."""
    found = findings(folder, environment)
    return [(item.file, item.line, item.rule) for item in found if item.rule in OURS]


@pytest.fixture
def no_hadolint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hadolint, "run", lambda *_: ())


def test_nothing_to_say_about_a_good_project(tmp_path: Path) -> None:
    assert findings(project(tmp_path, config=GOOD_CONFIG)) == ()


EXEC = 'CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--proxy-headers"]'
UV = """\
    FROM python:3.14
    USER app
    COPY uv.lock pyproject.toml ./
    RUN --mount=type=cache,target=/root/.cache uv sync --locked --no-install-project
    COPY . .
    RUN uv sync --locked
"""
DOCKERFILES = [
    # rule, line, Dockerfile; everything else in it is right
    ("cmd-shell-form", 3, "FROM a:1\nUSER app\nCMD fastapi run app/main.py"),
    ("cmd-shell-form", 3, "FROM a:1\nUSER app\nCMD ['fastapi', 'run']"),
    ("cmd-shell-form", 3, 'FROM a:1\nUSER app\nCMD \\\n  # why\n  fastapi "run'),
    ("entrypoint-shell-form", 3, "FROM a:1\nUSER app\nENTRYPOINT ./start.sh"),
    ("shell-wrapper", 3, 'FROM a:1\nUSER app\nCMD ["sh", "-c", "fastapi run app/main.py"]'),
    ("shell-wrapper", 3, 'FROM a:1\nUSER app\nENTRYPOINT ["/bin/bash", "-ec", "./wait && ./go"]'),
    ("reload", 3, 'FROM a:1\nUSER app\nCMD ["fastapi", "run", "--reload"]'),
    ("reload", 4, 'FROM a:1\nUSER app\nENTRYPOINT ["fastapi", "run"]\nCMD ["--reload"]'),
    ("fastapi-dev", 3, 'FROM a:1\nUSER app\nCMD ["/venv/bin/fastapi", "dev", "app/main.py"]'),
    ("workers-in-cluster", 3, 'FROM a:1\nUSER app\nCMD ["fastapi", "run", "--workers", "4"]'),
    ("workers-in-cluster", 3, 'FROM a:1\nUSER app\nCMD ["fastapi", "run", "--workers=4"]'),
    ("workers-in-cluster", 3, 'FROM a:1\nUSER app\nCMD ["gunicorn", "-w", "2", "app.main:app"]'),
    (
        "workers-in-cluster",
        3,
        'FROM a:1\nUSER app\nCMD ["sh", "-c", "exec fastapi run --workers $N"]',
    ),
    (
        "workers-in-cluster",
        3,
        'FROM a:1\nUSER app\nENV WEB_CONCURRENCY=4\nCMD ["fastapi", "run", "main.py"]',
    ),
    ("listens-on-localhost", 3, 'FROM a:1\nUSER app\nCMD ["uvicorn", "app.main:app"]'),
    (
        "listens-on-localhost",
        3,
        'FROM a:1\nUSER app\nCMD ["python", "-m", "uvicorn", "a:app", "--host", "localhost"]',
    ),
    (
        "trusts-any-proxy",
        3,
        'FROM a:1\nUSER app\nCMD ["gunicorn", "a:app", "--forwarded-allow-ips", "*"]',
    ),
    (
        "trusts-any-proxy",
        3,
        'FROM a:1\nUSER app\nENV FORWARDED_ALLOW_IPS="*"\nCMD ["fastapi", "run"]',
    ),
    ("deprecated-base-image", 1, "FROM tiangolo/uvicorn-gunicorn-fastapi:python3.11\nUSER app"),
    ("deprecated-base-image", 1, "FROM docker.io/tiangolo/uvicorn-gunicorn:latest\nUSER app"),
    ("deprecated-base-image", 1, "FROM tiangolo/meinheld-gunicorn-flask:1\nUSER app"),
    (
        "deprecated-base-image",
        2,
        "ARG BASE=tiangolo/uvicorn-gunicorn-fastapi:1\nFROM ${BASE} AS base\nFROM base\nUSER app",
    ),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY . .\nRUN pip install -r r.txt"),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY . .\nRUN uv sync --locked"),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY . .\nRUN poetry install"),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY . .\nRUN pip install fastapi"),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY . .\nRUN pip install ."),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY ./app /x\nRUN pip install -r r.txt"),
    ("code-before-dependencies", 3, "FROM a:1\nUSER app\nCOPY main.py /x\nRUN uv pip sync r.txt"),
    (
        "code-before-dependencies",
        4,
        "FROM a:1\nUSER app\nRUN pip install uv\nCOPY . .\nRUN uv sync --locked",
    ),
    (
        "code-before-dependencies",
        3,
        "FROM a:1 AS base\nUSER app\nCOPY . .\nFROM base\nRUN <<EOF\npip install -r r.txt\nEOF",
    ),
    ("root-user", 1, "FROM a:1"),
    ("root-user", 2, "FROM a:1\nUSER root"),
    ("root-user", 3, "FROM a:1\nUSER app\nUSER 0:0"),
    ("root-user", 3, "FROM a:1\nARG WHO=root\nUSER ${WHO}"),
    ("root-user", 4, "FROM a:1 AS one\nUSER app\nRUN x\nFROM b:1"),
    ("root-user", 2, "FROM a:1 AS one\nUSER root\nFROM one"),
    ("secret-in-env", 3, "FROM a:1\nUSER app\nENV DB_PASSWORD=hunter2"),
    ("secret-in-env", 3, "FROM a:1\nUSER app\nENV A=1 \\\n  API_TOKEN=hunter2"),
    ("secret-in-env", 3, "FROM a:1\nUSER app\nENV SECRET_KEY hunter2 and more"),
    ("secret-in-env", 3, "FROM a:1\nUSER app\nENV URL=postgres://me:hunter2@db/items"),
    ("secret-in-arg", 3, "FROM a:1\nUSER app\nARG GITHUB_TOKEN"),
    ("secret-in-arg", 1, "ARG GITHUB_TOKEN=hunter2\nFROM a:1\nUSER app"),
    ("secret-file-copied", 3, "FROM a:1\nUSER app\nCOPY .env /code/"),
    ("secret-file-copied", 3, 'FROM a:1\nUSER app\nCOPY ["keys/id_rsa", "/root/.ssh/"]'),
    ("add-instead-of-copy", 3, "FROM a:1\nUSER app\nADD data.csv /data"),
    ("invalid-dockerfile", 1, ""),
    ("invalid-dockerfile", 1, "# only a comment"),
    ("invalid-dockerfile", 3, "FROM a:1\nUSER app\nCOMMAND x"),
    ("invalid-dockerfile", 1, "WORKDIR /code\nFROM a:1\nUSER app"),
    ("invalid-dockerfile", 1, "FROM\nUSER app"),
]


@pytest.mark.usefixtures("no_hadolint")
@pytest.mark.parametrize(("rule", "line", "text"), DOCKERFILES)
def test_a_dockerfile_against_a_rule(tmp_path: Path, rule: str, line: int, text: str) -> None:
    assert ours(project(tmp_path, text)) == [("Dockerfile", line, rule)]


@pytest.mark.usefixtures("no_hadolint")
@pytest.mark.parametrize(
    "text",
    [
        "FROM a:1\nUSER app\nCMD []",
        'FROM a:1\nUSER app\nCMD ["sh", "-c", "./wait && exec uvicorn --host 0.0.0.0 app:app"]',
        'FROM a:1\nUSER app\nCMD fastapi run --reload\nCMD ["fastapi", "run"]',
        "FROM a:1 AS old\nCMD fastapi dev\nFROM b:1\nUSER app",
        'FROM a:1\nUSER app\nCMD ["fastapi", "run", "--workers", "1"]',
        'FROM a:1\nUSER app\nCMD ["python", "-m", "app.worker", "--workers", "4"]',
        'FROM a:1\nUSER app\nCMD ["uvicorn", "app:app", "--uds", "/run/app.sock"]',
        'FROM a:1\nUSER app\nENV UVICORN_HOST=0.0.0.0\nCMD ["uvicorn", "app:app"]',
        "FROM tiangolo/nginx-rtmp\nUSER app",
        "FROM gcr.io/distroless/python3-debian13:nonroot",
        "FROM a:1\nUSER $WHO",
        "FROM a:1\nUSER root\nRUN x\nUSER app",
        "FROM a:1 AS one\nUSER app\nFROM one",
        textwrap.dedent(UV),
        "FROM a:1\nUSER app\nCOPY . .\nRUN apt-get install -y curl",
        "FROM a:1\nUSER app\nCOPY . .\nRUN pip install --no-deps .",
        "FROM a:1\nUSER app\nCOPY certs /certs\nRUN pip install -r requirements.txt",
        "FROM a:1\nUSER app\nCOPY requirements /r\nRUN pip install -r requirements/prod.txt",
        "FROM a:1 AS x\nUSER app\nCOPY pyproject.toml poetry.lock* ./\nRUN poetry install\n"
        "FROM x\nCOPY . .",
        "FROM a:1 AS x\nUSER app\nFROM b:1\nUSER app\nCOPY --from=x / /\nRUN pip install -r r.txt",
        "FROM a:1\nUSER app\nENV ACCESS_TOKEN_EXPIRE_MINUTES=30 TOKENIZERS_PARALLELISM=false",
        "FROM a:1\nUSER app\nARG DOWNLOAD_TIKTOKEN_CACHE\nENV TIKTOKEN_ENCODINGS=cl100k",
        "FROM a:1\nUSER app\nENV DB_PASSWORD_FILE=/run/secrets/db TOKEN_URL=/token PASSWORD=",
        "FROM a:1\nUSER app\nENV URL=postgres://me:$PASSWORD@db/items",
        "FROM a:1\nUSER app\nCOPY .env.example /code/",
        "FROM a:1\nUSER app\nADD https://example.com/x.bin /x\nADD wheels.tar.gz /wheels",
        "FROM a:1\nUSER app\nADD https://github.com/a/b.git#v1 /b",
        "FROM a:1\nUSER app\nRUN <<EOF\nCMD shell form in a script\nEOF",
        "FROM a:1\nUSER app\nCOPY <<.env /code/\nFROM\n.env",
        "# escape=`\nFROM a:1\nUSER app\nRUN dir C:\\\nRUN a `\n  CMD b",
        '\ufeffFROM a:1\r\nUSER app\r\nCMD ["fastapi", \\\r\n  "run"]\r\n',
    ],
)
def test_a_dockerfile_that_keeps_the_rules(tmp_path: Path, text: str) -> None:
    assert ours(project(tmp_path, text)) == []


@pytest.mark.usefixtures("no_hadolint")
def test_no_dockerignore(tmp_path: Path) -> None:
    folder = project(tmp_path, "FROM a:1\nUSER app\nCOPY app /app")
    (folder / ".dockerignore").unlink()
    assert ours(folder) == [("Dockerfile", 3, "no-dockerignore")]
    (folder / "Dockerfile.dockerignore").write_text("")
    assert ours(folder) == []


@pytest.mark.usefixtures("no_hadolint")
@pytest.mark.parametrize(
    ("patterns", "is_copied"),
    [
        ("", True),
        (".git\n# .env\n", True),
        (".env", False),
        ("/.env", False),
        ("**/.env", False),
        (".env*", False),
        ("*\n!app", False),
        ("*\n!.env", True),
    ],
)
def test_dotenv_goes_along_with_the_rest(tmp_path: Path, patterns: str, is_copied: bool) -> None:
    folder = project(tmp_path, "FROM a:1\nUSER app\nCOPY . .")
    (folder / ".env").write_text("")
    (folder / ".dockerignore").write_text(patterns)
    assert ours(folder) == [("Dockerfile", 3, "secret-file-copied")] * is_copied


def service(**changes: str) -> str:
    """A configuration whose one service is right, but for the changes."""
    keys = {
        "replicas": "2",
        "port": "8000",
        "memory": '"64MiB"',
        "memory_limit": '"128MiB"',
        "healthcheck": '{ path = "/" }',
    } | changes
    lines = [f"{key} = {value}" for key, value in keys.items() if value]
    return "\n".join(['app = "items"', 'entrypoint = "app:app"', "[services.web]", *lines])


def on_each(**changes: str) -> str:
    """The same with one replica on each node."""
    return service(**({"replicas": "", "mode": '"global"'} | changes))


UVICORN = '"uvicorn", "app:app", "--host", "0.0.0.0"'
NOMAD = 'backend = "nomad"\n'
CONFIGS = [
    # rule, line, configuration; everything else in it is right
    ("no-memory-reservation", 3, service(memory="")),
    ("no-memory-limit", 3, service(memory_limit="")),
    ("no-health-check", 3, service(healthcheck="")),
    ("open-files-above-default", 9, service(ulimits="{ nofile = 2000000 }")),
    ("workers-in-cluster", 9, service(command=f'[{UVICORN}, "--workers", "2"]')),
    ("workers-in-cluster", 9, service(env='{ WEB_CONCURRENCY = "2" }')),
    ("reload", 9, service(command=f'[{UVICORN}, "--reload"]')),
    ("fastapi-dev", 9, service(command='["fastapi", "dev"]')),
    ("listens-on-localhost", 9, service(command='["uvicorn", "app:app"]')),
    ("missing-proxy-headers", 9, service(command=f"[{UVICORN}]", domains='["a.example.com"]')),
    (
        "missing-proxy-headers",
        9,
        service(command=f'[{UVICORN}, "--no-proxy-headers"]', domains='["a.example.com"]'),
    ),
    ("trusts-any-proxy", 9, service(command=f'[{UVICORN}, "--forwarded-allow-ips", "*"]')),
    ("trusts-any-proxy", 9, service(env='{ FORWARDED_ALLOW_IPS = "*" }')),
    ("trusts-any-proxy", 9, service(env='{ FORWARDED_ALLOW_IPS = "10.0.0.1, 0.0.0.0/0" }')),
    ("trusts-any-proxy", 10, service() + '\n[proxy]\ntrusted_proxies = ["0.0.0.0/0"]'),
    ("secret-in-env", 10, service() + '\n[proxy]\nenv.CF_DNS_API_TOKEN = "hunter2"'),
    ("shell-wrapper", 9, service(command='["sh", "-c", "sleep 1; fastapi run"]')),
    ("port-mismatch", 9, service(command=f'[{UVICORN}, "--port", "80"]')),
    ("root-user", 9, service(user='"root"')),
    ("default-capabilities", 9, service(capabilities='"default"')),
    ("writable-image", 9, service(read_only="false")),
    ("mounts-engine", 9, service(volumes='["/var/run/docker.sock:/x:ro"]')),
    ("mounts-node", 9, service(volumes='["/:/host:ro"]')),
    ("dangerous-capability", 9, service(capabilities='["ALL"]')),
    ("published-database", 9, service(publish="{ port = 5432, target = 5432 }")),
    ("engine-without-tls", 10, service(**{"env.A": '"b"', "env.E": '"tcp://a:2375"'})),
    ("engine-without-tls", 10, service() + '\n[swarm]\nhost = "tcp://a.example:2375"'),
    ("secret-in-env", 10, service(**{"env.LOG": '"info"', "env.DB_PASSWORD": '"hunter2"'})),
    ("secret-in-env", 9, service(env='{ URL = "amqp://me:hunter2@queue" }')),
    ("invalid-dockerfile", 10, service() + '\n[build]\ntarget = "nosuch"'),
    ("secret-in-arg", 10, service() + '\n[build]\nargs.API_TOKEN = "hunter2"'),
    ("migration-per-replica", 9, service(prestart='["alembic", "upgrade", "head"]')),
    (
        "migration-per-replica",
        9,
        service(command='["sh", "-c", "alembic -c a.ini upgrade head && exec fastapi run"]'),
    ),
    ("volume-per-node", 10, service(image='"redis:8.2"', volumes='["data:/data"]')),
    ("workers-in-cluster", 9, on_each(command=f'[{UVICORN}, "--workers", "2"]')),
    ("migration-per-replica", 9, on_each(prestart='["alembic", "upgrade", "head"]')),
    ("volume-per-node", 10, on_each(image='"redis:8.2"', volumes='["data:/data"]')),
    ("refused-by-cluster", 9, NOMAD + on_each()),
    ("volume-not-owned", 9, service(replicas="1", volumes='["data:/data"]')),
    ("volume-not-owned", 10, service(replicas="1", user='"1000"', volumes='["data:/data"]')),
    ("short-stop-grace", 9, service(stop_grace='"9s"')),
    ("short-stop-grace", 9, service(stop_grace='"0s"')),
    ("drain-without-effect", 10, service(command="[]", drain='"4s"')),
    ("update-interrupts", 9, service(update='{ order = "stop-first", parallelism = 2 }')),
    ("update-interrupts", 4, service(replicas="1", publish='{ port = 80, mode = "host" }')),
    ("refused-by-cluster", 10, NOMAD + service(networks='["shared"]')),
    ("refused-by-cluster", 10, NOMAD + service(env='{ AB = "${C}" }')),
    ("without-effect", 10, NOMAD + service(cpu_limit="2.0")),
    ("without-effect", 10, NOMAD + service(update='{ delay = "5s" }')),
    ("untagged-image", 9, service(image='"redis"')),
    ("untagged-image", 9, service(image='"registry:5000/redis:latest"')),
    ("deprecated-base-image", 9, service(image='"tiangolo/uvicorn-gunicorn-fastapi:1"')),
]


@pytest.mark.usefixtures("no_hadolint")
@pytest.mark.parametrize(("rule", "line", "text"), CONFIGS)
def test_a_configuration_against_a_rule(tmp_path: Path, rule: str, line: int, text: str) -> None:
    found = ours(project(tmp_path, config=text))
    if rule == "update-interrupts" and "mode" in text:
        line = 3  # where [services.web.update] would be
    assert found == [("deploytool.toml", line, rule)]


@pytest.mark.usefixtures("no_hadolint")
@pytest.mark.parametrize(
    "text",
    [
        service(),
        service(replicas="1", command=f'[{UVICORN}, "--workers", "4"]'),
        service(replicas="1", image='"redis:8.2"', volumes='["data:/data"]'),
        service(volumes='["/srv/data:/data"]'),
        on_each(publish='{ port = 80, mode = "host" }'),
        on_each(image='"redis:8.2"', volumes='["data:/data"]', port="", healthcheck=""),
        service(ulimits="{ nofile = 1048576, nproc = -1 }"),
        service(command=f'[{UVICORN}, "--proxy-headers"]', domains='["a.example.com"]'),
        service(command=f"[{UVICORN}]"),
        service(update='{ order = "stop-first" }'),
        service(stop_grace='"15s"'),
        service(networks='["shared"]', cpu_limit="2.0"),
        NOMAD + service(volumes='["/srv:/srv"]', cpu="1.0", cpu_limit="1.0"),
        service(command="[]", drain='"2s"'),
        service(env='{ LOG_LEVEL = "info", ACCESS_TOKEN_EXPIRE_MINUTES = 30 }'),
        service(capabilities='["CHOWN"]', read_only="true"),
        service() + '\n[services.cache]\nimage = "redis:8.2"\nread_only = false\nmemory = "1GiB"'
        '\nmemory_limit = "1GiB"\ncapabilities = "default"',
        service(image='"redis:8.2"'),
        service(image='"localhost:5000/x@sha256:' + "0" * 64 + '"'),
        service(user='"10001"'),
        service(port="", healthcheck="", command='["python", "-m", "app.worker"]'),
    ],
)
def test_a_configuration_that_keeps_the_rules(tmp_path: Path, text: str) -> None:
    assert ours(project(tmp_path, config=text)) == []


@pytest.mark.usefixtures("no_hadolint")
class TestDockerfileAndConfigurationTogether:
    def lint(self, tmp_path: Path, dockerfile: str, config: str) -> list[tuple[str, int, str]]:
        return ours(project(tmp_path, f"FROM a:1\nUSER app\n{dockerfile}", config))

    def test_one_replica_may_have_workers(self, tmp_path: Path) -> None:
        command = 'CMD ["fastapi", "run", "--workers", "4"]'
        assert self.lint(tmp_path, command, service(replicas="1", command="[]")) == []

    def test_workers_of_the_image_in_replicas(self, tmp_path: Path) -> None:
        command = 'CMD ["fastapi", "run", "--workers", "4"]'
        found = self.lint(tmp_path, command, service(command="[]"))
        assert found == [("Dockerfile", 3, "workers-in-cluster")]

    def test_workers_of_the_image_on_each_node(self, tmp_path: Path) -> None:
        command = 'CMD ["fastapi", "run", "--workers", "4"]'
        found = self.lint(tmp_path, command, on_each(command="[]"))
        assert found == [("Dockerfile", 3, "workers-in-cluster")]

    def test_proxy_headers_of_the_image(self, tmp_path: Path) -> None:
        command = 'CMD ["fastapi", "run", "app/main.py"]'
        config = service(command="[]", domains='["a.example.com"]')
        assert self.lint(tmp_path, command, config) == [("Dockerfile", 3, "missing-proxy-headers")]

    def test_port_of_the_image(self, tmp_path: Path) -> None:
        command = 'CMD ["fastapi", "run", "--port", "80"]'
        found = self.lint(tmp_path, command, service(command="[]"))
        assert found == [("deploytool.toml", 5, "port-mismatch")]

    def test_migrations_of_the_image(self, tmp_path: Path) -> None:
        command = 'CMD ["sh", "-c", "alembic upgrade head && exec fastapi run"]'
        found = self.lint(tmp_path, command, service(command="[]"))
        assert found == [("Dockerfile", 3, "migration-per-replica")]

    def test_a_server_in_the_entrypoint(self, tmp_path: Path) -> None:
        command = 'ENTRYPOINT ["fastapi", "run"]'
        found = self.lint(tmp_path, command, service())
        assert found == [("Dockerfile", 3, "entrypoint-takes-command")]

    def test_a_wrapper_in_the_entrypoint(self, tmp_path: Path) -> None:
        assert self.lint(tmp_path, 'ENTRYPOINT ["tini", "--"]', service()) == []

    @pytest.mark.parametrize(
        ("dockerfile", "is_owned"),
        [
            ("USER app", False),
            ("VOLUME /code/uploads\nUSER app", False),
            ("COPY app /code/app\nUSER app", False),
            ("RUN ls /code/uploads\nUSER app", False),
            ("RUN mkdir /code/uploads2 && chown app /code\nUSER app", False),
            ("ARG VOLUMES\nRUN install -d -o 10001 -g 10001 $VOLUMES\nUSER app", True),
            ("RUN install -d -o 10001 /code/uploads\nUSER app", True),
            ("RUN mkdir -p /code/uploads; chown app /code/uploads;\nUSER app", True),
            ("WORKDIR /code\nRUN mkdir uploads && chown app uploads\nUSER app", True),
            ("ENV AT=/code\nRUN mkdir $AT/uploads && chown app $AT/uploads\nUSER app", True),
            ("RUN <<EOF\nmkdir /code/uploads\nchown 1:1 /code/uploads\nEOF\nUSER app", True),
            ("RUN mkdir -p /code/uploads\nUSER app", False),
            ("RUN mkdir -p /code/uploads && chown root: /code/uploads\nUSER app", False),
            ("RUN mkdir /srv && chown app /srv && ls /code/uploads\nUSER app", False),
            ("RUN install -d /code/uploads\nUSER app", False),
            ("RUN chown -R app /code && mkdir /code/uploads\nUSER app", False),
            ("RUN mkdir -p /code/uploads && chown app /code\nUSER app", False),
            ("RUN mkdir -p /code/uploads && chmod 755 /code/uploads\nUSER app", False),
            ("RUN mkdir -p /code/uploads && chmod 1777 /code/uploads\nUSER app", True),
            ("RUN mkdir -p /code/uploads && chmod -R g=u /code\nUSER app", True),
            ("RUN mkdir -p /code/uploads && chown -R app:app /code\nUSER app", True),
            ("RUN install -d -o app -m 755 /code/uploads\nUSER app", True),
            ("USER app\nRUN mkdir /code/uploads", True),
            ("RUN cd /code && mkdir uploads && chown app uploads\nUSER app", True),
            ('RUN ["install", "-d", "-o", "app", "/code/uploads"]\nUSER app', True),
            ("RUN for d in /code/uploads; do mkdir $d; chown app $d; done\nUSER app", True),
            ("WORKDIR /code/uploads\nRUN chown app .\nUSER app", True),
            ("COPY --chown=app uploads /code/uploads\nUSER app", True),
            ("COPY --chown=app . /code\nUSER app", True),
            ("COPY . /code\nRUN chown -R app /code\nUSER app", True),
            ("USER root", True),
            ("", True),
        ],
    )
    def test_the_folder_of_a_volume(self, tmp_path: Path, dockerfile: str, is_owned: bool) -> None:
        config = service(replicas="1", volumes='["uploads:/code/uploads"]')
        folder = project(tmp_path, f"FROM a:1\n{dockerfile}", config)
        if "COPY" in dockerfile and "." in dockerfile:
            (folder / "uploads").mkdir()
        found = [finding for finding in findings(folder) if finding.rule == "volume-not-owned"]
        assert bool(found) is not is_owned
        if found:
            assert "does not make /code/uploads for its user" in found[0].message

    def test_volumes_that_nothing_is_written_to_need_no_folder(self, tmp_path: Path) -> None:
        config = service(replicas="1", volumes='["data:/data:ro", "/srv:/srv"]')
        assert self.lint(tmp_path, "", config) == []

    def test_two_health_checks(self, tmp_path: Path) -> None:
        found = self.lint(tmp_path, 'HEALTHCHECK CMD ["true"]', service())
        assert found == [("Dockerfile", 3, "health-check-twice")]

    def test_the_health_check_of_the_image_is_enough_on_swarm(self, tmp_path: Path) -> None:
        assert self.lint(tmp_path, 'HEALTHCHECK CMD ["true"]', service(healthcheck="")) == []

    def test_the_health_check_of_the_image_is_not_enough_on_nomad(self, tmp_path: Path) -> None:
        config = 'backend = "nomad"\n' + service(healthcheck="")
        found = self.lint(tmp_path, 'HEALTHCHECK CMD ["true"]', config)
        assert found == [("deploytool.toml", 4, "no-health-check")]

    def test_the_user_of_the_configuration(self, tmp_path: Path) -> None:
        assert self.lint(tmp_path, "USER root", service(user='"app"')) == []

    def test_the_target_stage(self, tmp_path: Path) -> None:
        config = service() + '\n[build]\ntarget = "Slim"'
        stages = "FROM b:1 AS slim\nUSER app\nFROM c:1\nCMD shell form"
        assert self.lint(tmp_path, stages, config) == []

    def test_an_environment_has_lines_of_its_own(self, tmp_path: Path) -> None:
        config = service(user='"1"') + '\n[environments.live.services.web]\nuser = "root"'
        folder = project(tmp_path, config=config)
        assert ours(folder) == []
        assert ours(folder, "live") == [("deploytool.toml", 11, "root-user")]

    def test_ready_images_need_no_dockerfile(self, tmp_path: Path) -> None:
        folder = project(tmp_path, None, service(image='"redis:8.2"'))
        assert findings(folder) == ()


def test_every_rule_has_an_example() -> None:
    shown = {rule for rule, _, _ in (*DOCKERFILES, *CONFIGS)}
    elsewhere = {"no-dockerignore", "entrypoint-takes-command", "health-check-twice"}
    elsewhere |= {"module-not-copied", "private-file-copied", "gunicorn-takes-no-network"}
    assert shown | elsewhere == OURS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_say_why_whence_and_what_instead(rule: lint_package.Rule) -> None:
    assert rule.name == rule.name.lower().replace("_", "-").replace(" ", "-")
    assert rule.why.endswith(".")
    assert rule.fix
    assert rule.url.startswith("https://")


def test_secrets_are_never_repeated(tmp_path: Path) -> None:
    dockerfile = "FROM a:1\nENV API_TOKEN=hunter2 URL=amqp://u:hunter2@h\nARG PASSWORD=hunter2"
    config = service(env='{ API_TOKEN = "hunter2", URL = "amqp://u:hunter2@h" }')
    assert "hunter2" not in repr(findings(project(tmp_path, dockerfile, config)))


class TestSuppression:
    def test_in_the_dockerfile_and_in_the_configuration(self, tmp_path: Path) -> None:
        dockerfile = """\
            # deploytool: ignore=root-user, DL3006
            FROM python
            # deploytool: ignore=cmd-shell-form
            # hadolint ignore=DL3011
            CMD fastapi run
            """
        config = service(user='"root"').replace("user", "# deploytool: ignore=root-user\nuser")
        assert findings(project(tmp_path, dockerfile, config)) == ()

    def test_only_what_it_names_and_only_on_the_next_line(self, tmp_path: Path) -> None:
        dockerfile = "# deploytool: ignore=reload\nFROM python:3.14\n\nCMD fastapi run --reload\n"
        assert {rule for _, _, rule in ours(project(tmp_path, dockerfile))} == {
            "root-user",
            "cmd-shell-form",
            "reload",
        }

    def test_hadolints_rules_before_the_first_stage_hold_everywhere(self, tmp_path: Path) -> None:
        dockerfile = """\
            # deploytool: ignore=DL3003
            ARG VERSION=3.14
            # deploytool: ignore=SC2164, reload
            FROM python:$VERSION
            USER 1000
            RUN cd /tmp
            # deploytool: ignore=DL3059
            FROM python:$VERSION
            USER 1000
            CMD ["fastapi", "run", "--reload"]
            """
        found = {finding.rule for finding in findings(project(tmp_path, dockerfile))}
        assert not found & {"DL3003", "SC2164"}
        assert "reload" in found


GUNICORN = '"gunicorn", "app.main:app", "--bind", "0.0.0.0:8000"'


class TestGunicorn:
    """Before 24.1 it does not start with a network in FORWARDED_ALLOW_IPS."""

    @pytest.mark.parametrize(
        ("requirement", "is_old"),
        [
            ("gunicorn==23.0.0", True),
            ("gunicorn==24.0.0", True),
            ("gunicorn<24", True),
            ("gunicorn~=22.0", True),
            ("gunicorn", False),
            ("gunicorn>=20", False),
            ("gunicorn==24.1.0", False),
            ("gunicorn==25.0", False),
            ("uvicorn", False),
        ],
    )
    def test_version(self, tmp_path: Path, requirement: str, is_old: bool) -> None:
        assert self.said(tmp_path, requirement) == (["gunicorn-takes-no-network"] if is_old else [])

    def said(self, folder: Path, requirement: str, **changes: str) -> list[str]:
        given = service(command=f"[{GUNICORN}]", **changes).replace("app:app", "app.main:app")
        made = project(folder, config=given)
        (made / "app" / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
        (made / "requirements.txt").write_text(f"fastapi\n{requirement}\n")
        return [f.rule for f in findings(made) if f.file == "deploytool.toml"]

    def test_a_service_that_is_told_of_no_network(self, tmp_path: Path) -> None:
        assert self.said(tmp_path, "gunicorn==23.0.0", domains="[]") == []

    def test_the_way_out_is_not_reported(self, tmp_path: Path) -> None:
        env = '{ FORWARDED_ALLOW_IPS = "127.0.0.1" }'
        assert self.said(tmp_path, "gunicorn==23.0.0", env=env) == []

    @pytest.mark.parametrize("domains", ["[]", '["a.example.com"]'])
    def test_networks_of_their_own(self, tmp_path: Path, domains: str) -> None:
        given = {"env": '{ FORWARDED_ALLOW_IPS = "127.0.0.1,10.0.0.0/8" }', "domains": domains}
        old, new = tmp_path / "old", tmp_path / "new"
        old.mkdir()
        new.mkdir()
        assert self.said(old, "gunicorn==23.0.0", **given) == ["gunicorn-takes-no-network"]
        assert self.said(new, "gunicorn==24.1.0", **given) == []

    @pytest.mark.parametrize("networks", ["10.0.0.0/8", "10.0.0.1"])
    def test_networks_of_the_image(self, tmp_path: Path, networks: str) -> None:
        self.said(tmp_path, "gunicorn==23.0.0", domains="[]")
        (tmp_path / "Dockerfile").write_text(
            f"FROM a:1\nENV FORWARDED_ALLOW_IPS={networks}\nUSER app"
        )
        found = [f.rule for f in findings(tmp_path) if f.file == "deploytool.toml"]
        assert found == ["gunicorn-takes-no-network"] * ("/" in networks)

    def test_believing_everybody_is_no_way_out(self, tmp_path: Path) -> None:
        env = '{ FORWARDED_ALLOW_IPS = "*" }'
        assert self.said(tmp_path, "gunicorn==23.0.0", env=env) == ["trusts-any-proxy"]
        (found,) = (f for f in findings(tmp_path) if f.rule == "trusts-any-proxy")
        assert found.fix.startswith("depend on gunicorn>=24.1")


class TestHadolint:
    def test_its_findings_stand_beside_ours(self, tmp_path: Path) -> None:
        folder = project(tmp_path, "FROM python\nUSER 1000\nRUN cd /tmp\n")
        found = {finding.rule: finding for finding in findings(folder)}
        assert set(found) == {"DL3006", "DL3003", "SC2164"}
        assert found["DL3006"].severity is Severity.WARNING
        assert found["SC2164"].url == "https://www.shellcheck.net/wiki/SC2164"

    def test_what_both_say_is_said_once_and_by_us(self, tmp_path: Path) -> None:
        text = "FROM python:3\nADD a /a\nARG TOKEN\nENV PASSWORD=x\nCMD fastapi run\nUSER root\n"
        codes = {finding.rule for finding in findings(project(tmp_path, text))}
        assert not codes & {"DL3020", "DL3025", "DL3064", "DL3002"}

    def test_the_projects_own_settings_count(self, tmp_path: Path) -> None:
        folder = project(tmp_path, "FROM python\nUSER 1000\n")
        (folder / ".hadolint.yaml").write_text("ignored: [DL3006]\n")
        assert findings(folder) == ()

    def test_what_it_cannot_read_is_no_error(self, tmp_path: Path) -> None:
        folder = project(tmp_path, "FROM python:3.14\nUSER 1000\nRUN <<EOF\nnever ended\n")
        [finding] = findings(folder)
        assert (finding.rule, finding.severity) == ("DL1000", Severity.WARNING)

    def test_text_beyond_ascii(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "C")
        assert findings(project(tmp_path, "# für alle 🚀\nFROM python:3.14\nUSER 1\n")) == ()

    def test_found_without_the_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert hadolint.find()

    @pytest.mark.parametrize(
        "script",
        [
            "#!/bin/sh\nexit 1",
            "#!/bin/sh\necho 'it broke' >&2; exit 139",
            "#!/bin/sh\necho 'not json'",
            "#!/bin/sh\necho '[{}]'",
            "#!/bin/sh\necho '[1]'",
            "#!/bin/sh\necho '{\"a\": 1}'",
            "#!/nowhere/sh",
            "\x7fELF",
        ],
    )
    def test_a_broken_one_is_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
    ) -> None:
        broken = tmp_path / "hadolint"
        broken.write_text(script)
        broken.chmod(0o755)
        monkeypatch.setattr(hadolint, "_candidates", lambda: iter([broken]))
        (tmp_path / "p").mkdir()
        report = inspect(project(tmp_path / "p", "FROM a:1"), None)
        assert [finding.rule for finding in report.findings] == ["root-user"]
        assert report.warnings[0].startswith("hadolint's rules were left out: ")

    def test_a_missing_one_is_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hadolint, "_candidates", lambda: iter([tmp_path / "hadolint"]))
        report = inspect(project(tmp_path), None)
        assert "install deploytool[hadolint]" in report.warnings[0]


class TestCommand:
    def run(
        self, folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str
    ) -> tuple[int, str, str]:
        os.chdir(folder)
        code = run(["lint", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    @pytest.fixture(autouse=True)
    def _stay(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_people_see_files_lines_rules_and_fixes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = project(tmp_path, "FROM python:3.14\nUSER 1\nCMD fastapi run", service(memory=""))
        code, out, _ = self.run(folder, capsys)
        assert code == 1
        lines = out.splitlines()
        assert lines[0] == "Dockerfile"
        assert lines[1].split()[:3] == ["3", "error", "cmd-shell-form"]
        assert lines[2].strip().startswith("write the exec form")
        assert lines[3] == "deploytool.toml"
        assert lines[4].split()[:3] == ["3", "warning", "no-memory-reservation"]
        assert lines[-1] == "1 error, 1 warning"

    def test_scripts_see_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = project(tmp_path, "FROM python:3.14\nUSER 1\nCMD fastapi run")
        code, out, err = self.run(folder, capsys, "--json")
        answer = json.loads(out)
        assert code == 1
        assert err == ""
        assert answer["data"]["counts"] == {"error": 1, "warning": 0, "info": 0}
        assert set(answer["data"]["findings"][0]) >= {
            *("file", "line", "rule", "severity", "message", "fix")
        }
        assert answer["warnings"] == [
            "There is no deploytool configuration, so its rules were left out"
        ]

    def test_nothing_found(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = project(tmp_path, config=GOOD_CONFIG)
        assert self.run(folder, capsys) == (0, "Nothing to fix\n", "")

    def test_warnings_fail_when_strict(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = project(tmp_path, config=service(memory=""))
        assert self.run(folder, capsys)[0] == 0
        assert self.run(folder, capsys, "--strict")[0] == 1

    def test_notes_never_fail(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = project(tmp_path, config=service(read_only="false"))
        code, out, _ = self.run(folder, capsys, "--strict")
        assert (code, out.splitlines()[-1]) == (0, "1 note")

    @pytest.mark.parametrize(
        "text",
        [
            GOOD_CONFIG.replace('entrypoint = "app.main:app"', ""),
            GOOD_CONFIG + 'depends_on = ["db"]',
            GOOD_CONFIG + 'files = { "/etc/app.yml" = "missing.yml" }',
        ],
    )
    def test_what_makes_no_app_is_told_as_render_tells_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        code, out, err = self.run(project(tmp_path, config=text), capsys)
        assert (code, out) == (2, "")
        assert run(["render"]) == 2
        assert capsys.readouterr().err == err

    def test_no_dockerfile(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = self.run(project(tmp_path, None), capsys, "--json")
        error = json.loads(out)["error"]
        assert (code, error["code"]) == (2, "dockerfile_missing")
        assert "deploytool init" in error["hint"]

    def test_no_dockerfile_in_a_folder_of_its_own(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = GOOD_CONFIG + '[build]\ndockerfile = "docker/Dockerfile"\n'
        _, out, _ = self.run(project(tmp_path, None, config), capsys, "--json")
        message = json.loads(out)["error"]["message"]
        assert message == f"There is no docker/Dockerfile in {tmp_path}"

    @pytest.mark.parametrize("config", ["app = 1", GOOD_CONFIG.replace('"items"', '"proxy"')])
    def test_a_broken_configuration(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str
    ) -> None:
        code, out, _ = self.run(project(tmp_path, config=config), capsys, "--json")
        assert (code, json.loads(out)["error"]["code"]) == (2, "config_invalid")


def test_a_dockerfile_that_is_a_folder(tmp_path: Path) -> None:
    folder = project(tmp_path, None)
    (folder / "Dockerfile").mkdir()
    with pytest.raises(UsageError) as raised:
        lint(folder, None)
    assert raised.value.code == "dockerfile_unreadable"


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, deploytool.lint, deploytool.cli.lint\n"
        "print([name for name in ('docker', 'fastapi', 'nomad') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestParser:
    def only(self, text: str) -> Instruction:
        [instruction] = parse(f"FROM a\n{text}").stages[0].instructions
        return instruction

    def test_continuation_lines_with_comments_and_blanks_in_between(self) -> None:
        found = self.only("RUN a \\\n  # why\n\n  b")
        assert (found.line, found.keyword, found.text.split()) == (2, "RUN", ["a", "b"])

    def test_flags(self) -> None:
        found = self.only("copy --from=x --link  a b")
        assert (found.keyword, dict(found.flags), found.text) == (
            "COPY",
            {"from": "x", "link": ""},
            "a b",
        )

    def test_heredocs(self) -> None:
        found = self.only('RUN <<A <<-"B"\none\nA\n\ttwo\n\tB')
        assert found.heredocs == ("one", "two")

    @pytest.mark.parametrize(
        ("text", "arguments"),
        [
            ('CMD ["a", "b c"]', ("a", "b c")),
            ("CMD []", ()),
            ("CMD ['a']", None),
            ('CMD ["a", 1]', None),
            ("CMD a", None),
            ("CMD " + "[" * 100_000, None),
        ],
    )
    def test_json_form(self, text: str, arguments: tuple[str, ...] | None) -> None:
        assert self.only(text).arguments == arguments

    @pytest.mark.parametrize(
        ("text", "pairs"),
        [
            ("ENV A=1 B='two words'", (("A", "1"), ("B", "two words"))),
            ("ENV A two words", (("A", "two words"),)),
            ("ARG A", (("A", None),)),
            ("ARG A=1", (("A", "1"),)),
        ],
    )
    def test_pairs(self, text: str, pairs: tuple[tuple[str, str | None], ...]) -> None:
        assert self.only(text).pairs == pairs

    def test_stages_rest_on_stages(self) -> None:
        found = parse("FROM a AS One\nENV A=1\nFROM --platform=x one as two\nFROM two\nENV B=$A")
        assert [stage.base for stage in found.stages] == ["a", "a", "a"]
        assert found.stages[2].env == {"A": "1", "B": "1"}

    @pytest.mark.parametrize(
        ("text", "filled"),
        [
            ("$A", "1"),
            ("${A}", "1"),
            ("${B:-2}", "2"),
            ("${A:-2}", "1"),
            ("${A:+2}", "2"),
            ("${B:+2}", ""),
            ("$B", "$B"),
        ],
    )
    def test_variables(self, text: str, filled: str) -> None:
        assert parse("FROM x\nENV A=1").stages[0].expand(text) == filled

    def test_values_that_double_stay_bounded(self) -> None:
        stage = parse("FROM x\nENV A=xx\n" + "ENV A=$A$A\n" * 100).stages[0]
        assert len(stage.expand("$A")) < 10_000


WORDS = st.sampled_from(
    [
        *("FROM ", "from a AS b\n", "FROM b\n", "COPY ", "ADD ", "RUN ", "CMD ", "ENTRYPOINT "),
        *("ENV ", "ARG ", "USER ", "HEALTHCHECK ", "ONBUILD ", "--from=", "--x ", "\\\n", "`\n"),
        *(
            "# escape=`\n",
            "# deploytool: ignore=reload\n",
            "<<EOF",
            "<<-'EOF'",
            "EOF\n",
            "\n",
            "\r\n",
        ),
        *('["', '", "', '"]', "[", "'", '"', "=", "$A", "${A:-", "}", "a", "TOKEN", " ", "\t", "."),
        *("uvicorn ", "fastapi ", "dev ", "--workers", "--port ", "pip install ", "-r ", "sh -c "),
        *("alembic ", "upgrade ", "\0", "\x85", "\u2028", "é", "/", "..", "https://a:b@c"),
    ]
)
DOCKERFILE_TEXT = st.one_of(st.text(), st.lists(WORDS, max_size=60).map("".join))


@given(DOCKERFILE_TEXT)
@settings(max_examples=400, deadline=None)
def test_no_text_breaks_the_rules_engine(text: str) -> None:
    dockerfile = parse(text)
    subject = Subject(Path("/nowhere"), Path("/nowhere/Dockerfile"), "Dockerfile", dockerfile)
    for finding in image_checks.check(subject):
        assert 1 <= finding.line <= len(dockerfile.lines)


@given(st.binary())
def test_no_bytes_break_the_parser(content: bytes) -> None:
    parse(content)


@given(DOCKERFILE_TEXT)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_text_breaks_lint(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = lint(tmp_path, None)
    assert list(found) == sorted(found)


class TestLinesOfToml:
    TEXT = textwrap.dedent(
        '''\
        # first = 1
        [tool.deploytool]
        app = "items"  # a = "]"
        text = """
        [not.a.table]
        key = 1
        """
        list = [
          "a = [",  # ]
          { b = 1 },
        ]
        [tool.deploytool.services."we.b"]
        env.LOG = "x"
        "qu=oted" = 'it''s'
        [[tool.many]]
        a = 1
        '''
    ).replace("''s'", "s'")

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("tool.deploytool", 2),
            ("tool.deploytool.app", 3),
            ("tool.deploytool.text", 4),
            ("tool.deploytool.list", 8),
            ("tool.deploytool.services", 12),
            ("tool.many.a", 16),
        ],
    )
    def test_tables_and_keys(self, path: str, line: int) -> None:
        assert key_lines(self.TEXT)[tuple(path.split("."))] == line

    def test_quoted_and_dotted_keys(self) -> None:
        lines = key_lines(self.TEXT)
        service = ("tool", "deploytool", "services", "we.b")
        assert lines[service] == 12
        assert lines[(*service, "env", "LOG")] == 13
        assert lines[(*service, "qu=oted")] == 14

    def test_text_in_values_is_no_key(self) -> None:
        assert not {("not", "a", "table"), ("first",), ("a",)} & set(key_lines(self.TEXT))

    def test_nearest(self) -> None:
        lines = key_lines(self.TEXT)
        assert nearest(lines, ("tool", "deploytool", "no", "such")) == (2, 2)
        assert nearest(lines, ("no",)) == (0, 1)

    @given(st.text())
    def test_no_text_breaks_it(self, text: str) -> None:
        key_lines(text)


def test_the_documented_rules_are_the_rules() -> None:
    file = Path(__file__).parents[2] / "docs" / "lint.md"
    text = file.read_text()
    head, marker, rest = text.partition("pytest tests/unit/test_lint.py`) -->\n")
    _, end, tail = rest.partition("<!-- rules: end -->")
    wanted = f"{head}{marker}{rules_table()}{end}{tail}"
    if os.environ.get("UPDATE_DOCS"):
        file.write_text(wanted)
    assert text == wanted, "run UPDATE_DOCS=1 pytest tests/unit/test_lint.py and commit the file"
