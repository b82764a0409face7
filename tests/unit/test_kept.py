"""A Dockerfile that was there: what its image runs, where it listens, and what is to be said."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploytool.discover.kept.kept import Kept, dockerfile_elsewhere, read_kept
from deploytool.image.failures import INIT_FORCE
from tests.unit.test_lint import DOCKERFILE_TEXT

LINES = "FROM python:3.13-slim\nWORKDIR /code\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
        (folder / name).chmod(0o755)
    return folder


def kept(folder: Path, dockerfile: str, **files: str) -> Kept:
    """What is read from a Dockerfile; a file's name has "_" for "." and "__" for "/"."""
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    found = read_kept(write(folder, {"Dockerfile": dockerfile, **named}))
    assert found
    return found


class TestPort:
    @pytest.mark.parametrize(
        ("lines", "port", "why"),
        [
            ('CMD ["uvicorn", "a:b", "--port", "9000"]', 9000, "CMD has --port 9000"),
            ('CMD ["uv", "run", "uvicorn", "a:b", "--port=81"]', 81, "CMD has --port 81"),
            ('ENTRYPOINT ["uvicorn", "a:b"]\nCMD ["--port", "82"]', 82, "ENTRYPOINT has --port 82"),
            ("CMD uvicorn a:b --port ${PORT:-8080}", 8080, "CMD has --port 8080"),
            ("ENV PORT=83\nCMD uvicorn a:b --port $PORT", 83, "CMD has --port 83"),
            ('ENV PORT=84\nCMD ["sh", "-c", "exec uvicorn a:b --port $PORT"]', 84, "--port 84"),
            ("CMD PORT=85 && uvicorn a:b --port $PORT", 85, "--port 85"),
            ("ENV UVICORN_PORT=86\nCMD uvicorn a:b", 86, "ENV UVICORN_PORT=86"),
            ("ENV PORT=87\nEXPOSE 80\nCMD uvicorn a:b", 8000, "uvicorn's default"),
            ("CMD fastapi run main.py", 8000, "fastapi's default"),
            ("ENV PORT=88\nCMD fastapi run main.py", 88, "ENV PORT=88"),
            ("CMD gunicorn a:b -k uvicorn.workers.UvicornWorker -b 0.0.0.0:89", 89, "--bind"),
            ("CMD gunicorn a:b -b0.0.0.0:90", 90, "--bind"),
            ("CMD gunicorn a:b --bind=[::]:91", 91, "--bind"),
            ("ENV PORT=92\nCMD gunicorn a:b", 92, "ENV PORT=92"),
            ("CMD hypercorn a:b --bind 0.0.0.0:93", 93, "--bind"),
            ("CMD granian a:b --host 0.0.0.0 --port 94", 94, "--port 94"),
            ("CMD tini -- gosu app uvicorn a:b --port 95", 95, "--port 95"),
            ("EXPOSE 96/tcp 97\nCMD other", 96, "EXPOSE 96"),
            ("ENV PORT=98\nEXPOSE 80\nCMD other", 98, "ENV PORT=98"),
            ("CMD other", 8000, "nothing says which"),
            ('CMD echo "uvicorn --port 1" && uvicorn a:b --port 99', 99, "--port 99"),
            (
                "CMD if x; then uvicorn a:b --reload --port 1; else uvicorn a:b --port 100; fi",
                100,
                "",
            ),
        ],
    )
    def test_of_the_command(self, tmp_path: Path, lines: str, port: int, why: str) -> None:
        found = kept(tmp_path, LINES + lines)
        assert found.port == port
        assert why in found.port_why

    @pytest.mark.parametrize(
        ("lines", "name", "where"),
        [
            ("COPY start /start\nCMD /start/run.sh", "start__run_sh", "start/run.sh"),
            ("COPY . .\nCMD bash -e start/run.sh", "start__run_sh", "start/run.sh"),
            ("COPY run.sh /bin/start\nCMD poetry run start", "run_sh", "run.sh"),
            ("COPY ./*.sh ./\nCMD ./run.sh", "run_sh", "run.sh"),
            ('COPY run.sh other ./\nCMD ["sh", "-c", "cd /code && ./run.sh"]', "run_sh", "run.sh"),
            ("COPY run.sh ./\nENTRYPOINT /code/run.sh\nCMD x", "run_sh", "run.sh"),
            ("ADD https://x.example/run.sh .\nCMD scripts/run.sh", "scripts__run_sh", "scripts"),
        ],
    )
    def test_of_a_script(self, tmp_path: Path, lines: str, name: str, where: str) -> None:
        script = "#!/bin/sh\n# uvicorn --port 1\nset -e\nexec uvicorn \\\n  a:b --port 80\n"
        found = kept(tmp_path, LINES + lines, **{name: script, "other": ""})
        assert found.port == 80
        assert found.port_why.startswith(where)

    def test_of_a_script_that_a_stage_before_brings(self, tmp_path: Path) -> None:
        dockerfile = (
            "FROM a AS one\nCOPY scripts /src/scripts\n"
            "FROM b\nCOPY --from=one /src /opt\nCMD /opt/scripts/go.sh\n"
        )
        found = kept(tmp_path, dockerfile, scripts__go_sh="uvicorn a:b --port 81")
        assert (found.port, found.port_why) == (81, "scripts/go.sh has --port 81")

    def test_of_what_an_entrypoint_hands_on(self, tmp_path: Path) -> None:
        lines = 'COPY e.sh /\nENTRYPOINT ["/e.sh"]\nCMD ["uvicorn", "a:b", "--port", "82"]'
        script = '#!/bin/bash\nalembic upgrade head\nexec gosu app "$@"\n'
        found = kept(tmp_path, LINES + lines, e_sh=script)
        assert (found.port, found.takes_command) == (82, True)
        assert found.migrations == ("alembic", "upgrade", "head")

    @pytest.mark.parametrize(
        "command", ['["./wait.sh", "db:1", "--", {0}]', "./wait.sh db:1 -- {1}"]
    )
    def test_of_what_runs_when_the_database_is_there(self, tmp_path: Path, command: str) -> None:
        words = '"uvicorn", "a:b", "--port", "84"', "uvicorn a:b --port 84"
        lines = f"COPY wait.sh .\nCMD {command.format(*words)}"
        script = '#!/bin/bash\nexec "${CLI[@]}"\n'
        assert kept(tmp_path, LINES + lines, wait_sh=script).port == 84

    def test_of_a_variable_with_a_variable_as_its_default(self, tmp_path: Path) -> None:
        script = "A=85\nexport B=${B:-$A}\nuvicorn a:b --port ${PORT:-${B}}\n"
        assert kept(tmp_path, LINES + "COPY . .\nCMD ./run.sh", run_sh=script).port == 85

    def test_of_a_script_that_runs_itself(self, tmp_path: Path) -> None:
        script = "./run.sh\n" * 200
        assert kept(tmp_path, LINES + "COPY run.sh .\nCMD ./run.sh", run_sh=script).port == 8000

    @pytest.mark.parametrize(
        ("text", "port"),
        [
            ('bind = "0.0.0.0:81"', 81),
            ('host = "0.0.0.0"\nport = "82"\nbind = f"{host}:{port}"', 82),
            ('import os\nbind = "0.0.0.0:" + os.getenv("PORT", "83")', 83),
            ('import os\nuse = os.getenv("BIND") or "0.0.0.0:84"\nbind = use', 84),
            ('import os\nbind = ":" + str(int(os.environ["GIVEN"]))', 85),
            ("bind = bind", 8000),
            ("bind = (", 8000),
        ],
    )
    @pytest.mark.parametrize("option", [" -c /code/settings/conf.py", ""])
    def test_of_gunicorns_settings(self, tmp_path: Path, text: str, port: int, option: str) -> None:
        name = "settings/conf.py" if option else "gunicorn.conf.py"
        lines = f"ENV GIVEN=85\nCOPY . .\nCMD gunicorn a:b{option}"
        write(tmp_path, {name: text})
        found = kept(tmp_path, LINES + lines)
        assert found.port == port
        assert (name in found.port_why) is (port != 8000)

    @pytest.mark.parametrize(
        ("call", "port"),
        [
            ('uvicorn.run(app, host="0.0.0.0", port=81)', 81),
            ('uvicorn.run("main:app", host="0.0.0.0")', 8000),
            ('uvicorn.run(app, port=int(os.environ.get("PORT", 82)), host="0.0.0.0")', 82),
            ("uvicorn.run(app, port=settings.port, host=settings.host)", 90),
        ],
    )
    @pytest.mark.parametrize(
        "command", ["python main.py", "python -m main", "uv run python -u main.py", "serve"]
    )
    def test_of_a_program(self, tmp_path: Path, call: str, port: int, command: str) -> None:
        lines = f"COPY . .\nEXPOSE 90\nCMD {command}"
        scripts = '[project.scripts]\nserve = "main:serve"\n'
        program = f"import os, uvicorn\ndef serve():\n    {call}\n"
        found = kept(tmp_path, LINES + lines, main_py=program, pyproject_toml=scripts)
        assert found.port == port
        assert found.port_why.startswith(("main.py", "uvicorn's default, as main.py"))

    @pytest.mark.parametrize(
        ("settings_text", "port"),
        [
            ("class Settings(BaseSettings):\n    port: int = 81\n", 81),
            ("class Settings(BaseSettings):\n    port: int = Field(default=82)\n", 82),
            ("class Settings(BaseSettings):\n    port: int = Field(83, alias='x')\n", 83),
            ("import os\nclass Settings:\n    port = int(os.getenv('PORT', '84'))\n", 84),
            ("port = 85\n", 85),
            ("class Settings(BaseSettings):\n    port: int\n    other: int = 1\n", 90),
            ("class Settings(BaseSettings):\n    port: int = Field(...)\n", 90),
        ],
    )
    def test_of_a_programs_settings(self, tmp_path: Path, settings_text: str, port: int) -> None:
        program = "import uvicorn\nfrom conf import settings\nuvicorn.run(app, port=settings.port)"
        lines = LINES + "COPY . .\nEXPOSE 90\nCMD python main.py"
        assert kept(tmp_path, lines, main_py=program, conf_py=settings_text).port == port
        lines = lines.replace("EXPOSE 90", "ENV PORT=99")
        assert kept(tmp_path, lines, main_py=program, conf_py=settings_text).port == 99

    def test_of_a_base_image_with_a_server(self, tmp_path: Path) -> None:
        found = kept(
            tmp_path,
            "FROM tiangolo/uvicorn-gunicorn-fastapi:python3.11\nCOPY ./app /app\n",
            app__prestart_sh="alembic upgrade head\n",
        )
        assert (found.port, found.command) == (80, ("/start.sh",))
        assert found.migrations == ("alembic", "upgrade", "head")
        found = kept(
            tmp_path, "FROM tiangolo/uvicorn-gunicorn:python3.11\nCOPY app .\nCMD fastapi run"
        )
        assert (found.port, found.migrations) == (8000, None)

    @pytest.mark.parametrize(
        ("lines", "server"),
        [
            ("RUN pip install -r requirements.txt\nCMD fastapi run", "fastapi"),
            ("RUN pip install uvicorn\nCMD uvicorn a:b", None),
            ("CMD python main.py", None),
        ],
    )
    def test_server_that_only_dependencies_bring(
        self, tmp_path: Path, lines: str, server: str | None
    ) -> None:
        assert kept(tmp_path, LINES + lines).server == server

    def test_without_a_command(self, tmp_path: Path) -> None:
        found = kept(tmp_path, LINES + "EXPOSE 80\n")
        assert (found.port, found.command) == (None, ())
        assert found.notes == (
            "Dockerfile has no CMD and no ENTRYPOINT: the service's own command is what its "
            "containers run",
        )


@pytest.mark.parametrize(
    ("command", "processes"),
    [
        ('CMD ["uvicorn", "a:b"]', 1),
        ('CMD ["fastapi", "run", "a.py", "--workers", "4"]', 4),
        ("CMD gunicorn a:b -w 3 -k uvicorn.workers.UvicornWorker", 3),
        ("CMD uvicorn a:b --workers $WORKERS", 1),
        ("CMD uvicorn a:b --workers 500", 16),
    ],
)
def test_how_many_processes_serve(tmp_path: Path, command: str, processes: int) -> None:
    assert kept(tmp_path, f"{LINES}{command}\n").processes == processes


class TestNotes:
    @pytest.mark.parametrize(
        ("lines", "note"),
        [
            (
                "CMD uvicorn a:b",
                "uvicorn listens on 127.0.0.1, where nothing outside the container",
            ),
            ("CMD fastapi dev", "fastapi listens on 127.0.0.1"),
            ("CMD gunicorn a:b", "add --bind 0.0.0.0:PORT to its command"),
            ("CMD other", "nothing in the Dockerfile says on which port it listens"),
            (
                "CMD uvicorn a:b --host 0.0.0.0 --port $PORT",
                "the port is $PORT, which Dockerfile does not set: "
                '[tool.deploytool.services.web.env] PORT = "8000" does',
            ),
            (
                'CMD ["uvicorn", "a:b", "--host", "0.0.0.0", "--port", "$PORT"]',
                "CMD is a list, where $PORT is not replaced: write the number",
            ),
            (
                "COPY .env .\nCMD fastapi run",
                "Dockerfile copies .env, which is not there: the build needs it",
            ),
            (
                "COPY a.txt b.txt /\nCMD fastapi run",
                "Dockerfile copies a.txt, b.txt, which are not there: the build needs them",
            ),
            (
                "COPY dist/*.whl out/*.whl /\nCMD fastapi run",
                "line 3 of Dockerfile copies dist/*.whl out/*.whl, which matches nothing here: "
                "the build needs it, so make it before you deploy",
            ),
            (
                "COPY hidden.txt .\nCMD fastapi run",
                ".dockerignore hides hidden.txt, which Dockerfile copies: the build fails until "
                '"!hidden.txt" is the last line in it',
            ),
            (
                'COPY plain.sh .\nRUN true\nCMD ["./plain.sh"]',
                "CMD runs plain.sh, which is not executable: `chmod +x plain.sh`",
            ),
        ],
    )
    def test_what_stands_in_the_way(self, tmp_path: Path, lines: str, note: str) -> None:
        files = {".dockerignore": "hidden*", "hidden.txt": "", "plain.sh": "fastapi run"}
        write(tmp_path, files)
        (tmp_path / "plain.sh").chmod(0o644)
        [told] = kept(tmp_path, LINES + lines).notes
        assert told.startswith(note) or told.endswith(note)

    @pytest.mark.parametrize(
        ("lines", "is_told"),
        [
            ('COPY --chmod=755 run.sh .\nCMD ["./run.sh"]', True),
            ('COPY run.sh .\nENTRYPOINT ["sh", "run.sh"]', True),
            ("COPY run.sh .\nRUN dos2unix run.sh && chmod +x run.sh\nCMD ./run.sh", False),
            ("COPY run.sh .\nRUN chmod +x run.sh && sed -i 's/\\r$//' run.sh\nCMD ./run.sh", False),
        ],
    )
    def test_a_script_with_windows_line_ends(
        self, tmp_path: Path, lines: str, is_told: bool
    ) -> None:
        write(tmp_path, {"run.sh": ""})
        (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\r\nfastapi run\r\n")
        told = [note for note in kept(tmp_path, LINES + lines).notes if "Windows" in note]
        assert bool(told) is is_told
        assert all("`sed -i 's/\\r$//' run.sh`" in note for note in told)

    def test_a_list_that_is_none(self, tmp_path: Path) -> None:
        told = kept(tmp_path, LINES + "EXPOSE 80\nCMD [fastapi, run]").notes[0]
        assert told.startswith("CMD in line 4 of Dockerfile is meant as a list and is not one")

    @pytest.mark.parametrize(
        "lines",
        [
            "CMD uvicorn a:b --host 0.0.0.0",
            "ENV UVICORN_HOST=0.0.0.0\nCMD uvicorn a:b",
            "CMD uvicorn a:b --uds /tmp/x",
            "CMD fastapi run",
            "ENV PORT=80\nCMD gunicorn a:b",
            "COPY app* requirements.txt ./\nCOPY --from=b /x /x\nCMD fastapi run",
            "COPY ./run.sh /\nRUN chmod +x /run.sh\nCMD /run.sh",
            "COPY . .\nCMD fastapi run",
            'CMD ["run.sh"]',
        ],
    )
    def test_nothing_to_say(self, tmp_path: Path, lines: str) -> None:
        write(tmp_path, {"requirements.txt": "", "run.sh": "fastapi run", "app/a.py": ""})
        (tmp_path / "run.sh").chmod(0o644)
        assert kept(tmp_path, LINES + lines).notes == ()

    def test_no_env_unless_it_is_needed(self, tmp_path: Path) -> None:
        assert kept(tmp_path, LINES + "CMD uvicorn a:b --port $PORT").env == (("PORT", "8000"),)
        assert kept(tmp_path, LINES + "CMD uvicorn a:b --port 80").env == ()


class TestMigrations:
    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("alembic upgrade head && uvicorn a:b", ["alembic", "upgrade", "head"]),
            (
                "poetry run alembic upgrade head && poetry run uvicorn a:b",
                ["poetry", "run", "alembic", "upgrade", "head"],
            ),
            (
                "python -m alembic -c x.ini upgrade head; exec uvicorn a:b",
                ["python", "-m", "alembic", "-c", "x.ini", "upgrade", "head"],
            ),
            ("aerich upgrade && uvicorn a:b", ["aerich", "upgrade"]),
            (
                "cd back && alembic upgrade head && uvicorn a:b",
                ["sh", "-c", "cd back && alembic upgrade head"],
            ),
            (
                "cd 'my back' && alembic -c 'x y.ini' -x a=$MORE upgrade head && uvicorn a:b",
                [
                    *("sh", "-c"),
                    "cd 'my back' && alembic -c 'x y.ini' -x \"a=$MORE\" upgrade head",
                ],
            ),
            ("echo alembic upgrade head && uvicorn a:b", None),
            ("uvicorn a:b", None),
        ],
    )
    @pytest.mark.parametrize(
        "form", ["CMD {0}", 'CMD ["bash", "-c", "{0}"]', "COPY go.sh /\nCMD /go.sh"]
    )
    def test_are_found(
        self, tmp_path: Path, command: str, words: list[str] | None, form: str
    ) -> None:
        found = kept(tmp_path, LINES + form.format(command), go_sh=f"#!/bin/sh\n{command}\n")
        assert found.migrations == (tuple(words) if words else None)
        assert any("migrations in every replica" in note for note in found.notes) is bool(words)

    def test_are_proposed_as_a_release_step(self, tmp_path: Path) -> None:
        lines = "CMD alembic upgrade head && uvicorn a:b --host 0.0.0.0"
        assert kept(tmp_path, LINES + lines).notes == (
            "the image's command runs migrations in every replica: [tool.deploytool.release] "
            'command = ["alembic", "upgrade", "head"] runs them once',
        )

    def test_in_an_entrypoint_that_lets_nothing_else_run(self, tmp_path: Path) -> None:
        lines = "ENTRYPOINT alembic upgrade head && uvicorn a:b --host 0.0.0.0"
        [note] = kept(tmp_path, LINES + lines).notes
        assert "its ENTRYPOINT lets nothing else run" in note


@pytest.mark.parametrize(
    ("entrypoint", "takes"),
    [
        ("", True),
        ("ENTRYPOINT []", True),
        ('ENTRYPOINT ["tini", "--"]', True),
        ('ENTRYPOINT ["uv", "run"]', True),
        ('ENTRYPOINT ["/hands_on.sh"]', True),
        ('ENTRYPOINT ["tini", "--", "/hands_on.sh"]', True),
        ('ENTRYPOINT ["/start.sh"]', False),
        ("ENTRYPOINT uvicorn a:b", False),
        ('ENTRYPOINT ["uvicorn", "a:b"]', False),
        ('ENTRYPOINT ["uv", "run", "fastapi", "run"]', False),
        ('ENTRYPOINT ["python", "main.py"]', False),
        ('ENTRYPOINT ["sh", "-c", "uvicorn a:b"]', False),
    ],
)
def test_whether_something_else_can_be_run(tmp_path: Path, entrypoint: str, takes: bool) -> None:
    write(tmp_path, {"hands_on.sh": 'exec "$@"\n', "start.sh": "uvicorn a:b\n"})
    lines = f"COPY *.sh /\n{entrypoint}\nCMD x"
    assert kept(tmp_path, LINES + lines).takes_command is takes


def test_the_image(tmp_path: Path) -> None:
    dockerfile = """\
        FROM python:3.13 AS base
        WORKDIR /srv
        ENV OWNER=app
        USER $OWNER
        COPY ["a file", "./"]
        FROM base
        WORKDIR api
        COPY ./src /requirements.txt ./
        COPY --from=base /x /x
        HEALTHCHECK CMD true
        CMD fastapi run
        """
    found = kept(tmp_path, textwrap.dedent(dockerfile))
    assert (found.user, found.workdir, found.healthcheck) == ("app", "/srv/api", True)
    assert found.copied == ("a file", "requirements.txt", "src")
    none = kept(tmp_path, "FROM a\nHEALTHCHECK NONE\nCMD x")
    assert (none.user, none.workdir, none.healthcheck) == (None, "/", False)


def test_a_target_is_read_instead_of_the_last_stage(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": "FROM a AS one\nEXPOSE 81\nCMD x\nFROM b\nEXPOSE 82\nCMD x"})
    ports = [found and found.port for found in (read_kept(tmp_path, target="one"),)]
    assert ports == [81]


@pytest.mark.parametrize(
    "text", ["# Written by `deploytool init`; yours to edit.\nFROM a\nCMD x\n", "", "RUN x"]
)
def test_nothing_that_was_there(tmp_path: Path, text: str) -> None:
    assert read_kept(tmp_path) is None
    assert read_kept(write(tmp_path, {"Dockerfile": text})) is None


class TestCompose:
    def test_build_arguments_that_from_needs(self, tmp_path: Path) -> None:
        dockerfile = "ARG PYTHON\nARG OTHER\nARG SET=1\nFROM python:${PYTHON}\nCMD fastapi run\n"
        [note] = kept(tmp_path, dockerfile).notes
        assert note == (
            'FROM needs the build argument PYTHON: [tool.deploytool.build.args] PYTHON = "…"'
        )
        compose = "services:\n  api:\n    build:\n      args: [PYTHON=3.12, OTHER]\n"
        [note] = kept(tmp_path, dockerfile, compose_yml=compose).notes
        assert note.endswith('PYTHON = "3.12"')

    @pytest.mark.parametrize(("target", "told"), [("web", True), ("dev", False), ("last", False)])
    def test_a_stage(self, tmp_path: Path, target: str, told: bool) -> None:
        dockerfile = (
            "FROM a AS web\nCMD fastapi run\nFROM a AS dev\nFROM a AS last\nCMD fastapi run"
        )
        compose = f"services:\n  api:\n    build: {{context: ., target: {target}}}\n  db: {{}}\n"
        notes = kept(tmp_path, dockerfile, **{"docker-compose_yml": compose}).notes
        expected = (
            'docker-compose.yml builds the stage web: target = "web" in [tool.deploytool.build] '
            "does the same"
        )
        assert notes == (expected,) * told

    @pytest.mark.parametrize(
        "text", ["[", "services: 1", "services: {a: {build: 1}, b: 2}", "a: &a [*a]", "\0"]
    )
    def test_what_is_no_compose_file(self, tmp_path: Path, text: str) -> None:
        assert kept(tmp_path, LINES + "CMD fastapi run", compose_yaml=text).notes == ()


INSTALL = "RUN pip install poetry\nRUN poetry install --no-dev\n"


class TestNoLongerBuilds:
    @pytest.mark.parametrize(
        ("dockerfile", "reason"),
        [
            (f"FROM python:3.12\n{INSTALL}", "`poetry install --no-dev`"),
            (
                "FROM python:3.12\nRUN pip3 install -U pip 'poetry>=1.2' && "
                "poetry install --no-root --no-dev",
                "`poetry install --no-dev`",
            ),
            (
                "FROM python:3.9\nRUN curl -sSL https://install.python-poetry.org | python3 -\n"
                "RUN /root/.local/bin/poetry install --no-dev",
                "`poetry install --no-dev`",
            ),
            (
                "FROM python:3.11 as b\nRUN pip install poetry==2.1.0\n"
                "RUN poetry export -f requirements.txt > r.txt\nFROM a\nCOPY --from=b r.txt .",
                "`poetry export`",
            ),
            (
                "FROM python:3.8\nRUN curl https://raw.githubusercontent.com/python-poetry/poetry"
                "/master/get-poetry.py | python",
                "Poetry's get-poetry.py is no longer there",
            ),
            (
                "FROM python:3.7-buster\nRUN apt-get -y update",
                "`apt-get update` fails on python:3.",
            ),
            ("FROM debian:9\nRUN apt update", "`apt-get update` fails on debian:9"),
            ("FROM ubuntu:21.10\nRUN apt-get update", "`apt-get update` fails on ubuntu:21.10"),
            ("FROM centos:7\nRUN yum install -y python3", "`yum install` fails on centos:7"),
            (
                "FROM python:3.10\nRUN pip install pipenv && pipenv lock -r > r.txt",
                "`pipenv lock -r`",
            ),
        ],
    )
    def test_what_surely_fails(self, tmp_path: Path, dockerfile: str, reason: str) -> None:
        found = kept(tmp_path, dockerfile).no_longer_builds or ""
        assert found.startswith(reason)
        assert found.endswith(f": {INIT_FORCE}")

    @pytest.mark.parametrize(
        "dockerfile",
        [
            f"FROM python:3.8\n{INSTALL}",
            f"FROM python:3.12 AS unused\n{INSTALL}FROM python:3.12\n",
            f"FROM python:3.12\n{INSTALL.replace('poetry', 'poetry==1.8.3', 1)}",
            f"FROM python:3.12\n{INSTALL.replace('poetry', 'poetry<2', 1)}",
            f"FROM python:3.12\nARG V=1.8.3\n{INSTALL.replace('poetry', 'poetry==$V', 1)}",
            f"FROM python:3.12\nARG V\n{INSTALL.replace('poetry', 'poetry==$V', 1)}",
            "FROM python:3.12\nENV POETRY_VERSION=1.5.1\n"
            "RUN curl -sSL https://install.python-poetry.org | python3 -\n"
            "RUN poetry install --no-dev",
            "FROM python:3.12\nRUN pip install poetry && poetry install --without dev",
            "FROM python:3.12\nRUN pip install poetry poetry-plugin-export && poetry export",
            "FROM mine\nRUN poetry install --no-dev",
            "FROM python:3.12-bookworm\nRUN apt-get update",
            "FROM python:3.7-buster\n"
            "RUN sed -i s/deb/archive.debian.org/ /etc/apt/sources.list && apt-get update",
            "FROM python:3.10\nRUN pip install pipenv==2022.1.8 && pipenv lock -r > r.txt",
            "FROM python:3.10\nRUN pip install pipenv && pipenv install --system --deploy",
        ],
    )
    def test_what_may_build(self, tmp_path: Path, dockerfile: str) -> None:
        assert kept(tmp_path, dockerfile).no_longer_builds is None

    def test_a_plugin_that_the_project_requires(self, tmp_path: Path) -> None:
        dockerfile = "FROM python:3.12\nRUN pip install poetry\nRUN poetry export\n"
        assert kept(tmp_path, dockerfile).no_longer_builds
        required = '[tool.poetry.requires-plugins]\npoetry-plugin-export = ">=1.8"\n'
        assert not kept(tmp_path, dockerfile, pyproject_toml=required).no_longer_builds


class TestElsewhere:
    @pytest.mark.parametrize(
        ("files", "keys"),
        [
            ({"Dockerfile.prod": "FROM a"}, 'dockerfile = "Dockerfile.prod"'),
            ({"dockerfile": "FROM a"}, 'dockerfile = "dockerfile"'),
            (
                {"docker/Dockerfile": "FROM a\nCOPY main.py .", "main.py": ""},
                'dockerfile = "docker/Dockerfile"',
            ),
            (
                {"backend/Dockerfile": "FROM a\nCOPY main.py .", "backend/main.py": ""},
                'dockerfile = "backend/Dockerfile", context = "backend"',
            ),
            (
                {
                    "api/Dockerfile": "FROM a\nCOPY . .",
                    "compose.yml": "services: {api: {build: ./api}}",
                },
                'dockerfile = "api/Dockerfile", context = "api"',
            ),
        ],
    )
    def test_the_only_one(self, tmp_path: Path, files: dict[str, str], keys: str) -> None:
        file = next(iter(files))
        assert dockerfile_elsewhere(write(tmp_path, files)) == (
            f"{file} is not used: [tool.deploytool.build] {keys} builds from it"
        )

    @pytest.mark.parametrize(
        "names",
        [
            (),
            ("Dockerfile", "docker/Dockerfile"),
            ("a/Dockerfile", "b/Dockerfile"),
            (".devcontainer/Dockerfile",),
            ("{{cookiecutter.name}}/Dockerfile",),
            ("node_modules/x/Dockerfile",),
            ("Dockerfile.dockerignore", "Dockerfile.j2"),
        ],
    )
    def test_none_or_several(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        assert dockerfile_elsewhere(write(tmp_path, dict.fromkeys(names, "FROM a"))) is None


@given(DOCKERFILE_TEXT, st.text(st.sampled_from("uvicorn a:b --port $1\"'\\\n;&|()#$@{}/.sh ")))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_text_breaks_it(tmp_path: Path, dockerfile: str, script: str) -> None:
    text = f"FROM a\nCOPY . /\nCMD /a.sh {script}\n{dockerfile}"
    (tmp_path / "Dockerfile").write_bytes(text.encode("utf-8", "replace"))
    (tmp_path / "a.sh").write_text(script)
    assert read_kept(tmp_path)
