import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import typer
from hypothesis import given
from hypothesis import strategies as st

from deploytool.cli.init import init
from deploytool.config import load
from deploytool.discover.kept.kept import read_kept
from deploytool.errors import UsageError
from deploytool.init import (
    Fate,
    inspect_project,
    plan_files,
    plan_rendered,
    valid_name,
    write,
)
from deploytool.lint import dockerignore, lint
from deploytool.spec import NAME_PATTERN

REPOSITORY = Path(__file__).parents[2]
APP = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/health')\ndef h(): ...\n"
PYPROJECT = """\
# Our shop.
[project]   # PEP 621
name = "My_Shop"
dependencies = [
    "fastapi[standard]", # web
]

[tool.ruff]
line-length = 100   # wide
"""


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def run(project: Path, *, force: bool = False, **options: Any) -> dict[str, Fate]:
    findings = inspect_project(project, force=force, offline=True, **options)
    files = plan_files(findings, force=force)
    write(project, files)
    rendered = plan_rendered(project, force=force)
    write(project, rendered)
    return {file.path: file.fate for file in (*files, *rendered)}


def test_a_project_that_it_has_never_seen(tmp_path: Path) -> None:
    project = make(tmp_path, {"app/main.py": APP, "pyproject.toml": PYPROJECT})
    assert run(project) == {
        "pyproject.toml": Fate.ADDED,
        "Dockerfile": Fate.WRITTEN,
        ".dockerignore": Fate.WRITTEN,
        "stacks/my-shop.yml": Fate.WRITTEN,
        "stacks/deploytool/drain.sh": Fate.WRITTEN,
        "stacks/deploytool/healthcheck.py": Fate.WRITTEN,
    }
    text = (project / "pyproject.toml").read_text()
    assert text.startswith(PYPROJECT)
    assert (
        text[len(PYPROJECT) :]
        == """
[tool.deploytool]
app = "my-shop"
backend = "swarm"
registry = "localhost:5000"
entrypoint = "app.main:app"

[tool.deploytool.services.web]
replicas = 2
port = 8000
memory = "128MiB"
memory_limit = "256MiB"
cpu = 0.1
cpu_limit = 1.0

[tool.deploytool.services.web.healthcheck]
path = "/health"
"""
    )
    assert set(run(project).values()) == {Fate.KEPT, Fate.SAME}


def test_what_it_writes_is_a_valid_configuration(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP})
    run(project, registry="registry.example.com/team", name="items")
    spec = load(project).app_spec()
    assert (spec.name, spec.image) == ("items", "registry.example.com/team/items")
    assert spec.entrypoint == "main:app"
    assert (project / "deploytool.toml").read_text().startswith('app = "items"\n')


def test_the_entrypoint_is_not_said_twice(tmp_path: Path) -> None:
    text = '[tool.fastapi]\nentrypoint = "app.main:app"\n'
    project = make(tmp_path, {"app/main.py": APP, "pyproject.toml": text})
    run(project)
    assert (project / "pyproject.toml").read_text().count("\nentrypoint = ") == 1
    assert load(project).app_spec().entrypoint == "app.main:app"


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    mine = {
        "Dockerfile": "FROM mine\n",
        ".dockerignore": "mine\n",
        "deploytool.toml": "app = 'x'\n",
    }
    mine["deploytool.toml"] += "registry = 'r.example.com'\n[services.web]\nport = 80\n"
    project = make(tmp_path, mine | {"main.py": APP, "stacks/x.yml": "mine: 1\n"})
    done = run(project)
    assert done == {
        **dict.fromkeys(("deploytool.toml", "Dockerfile", "stacks/x.yml"), Fate.KEPT),
        "stacks/deploytool/drain.sh": Fate.WRITTEN,
    }
    for name, text in mine.items():
        assert (project / name).read_text() == text
    assert (project / "stacks/x.yml").read_text() == "mine: 1\n"


def test_force_replaces_what_is_made_and_keeps_what_is_configured(tmp_path: Path) -> None:
    configured = PYPROJECT + (
        "[tool.deploytool]\napp = 'x'\nregistry = 'r.example.com'\nbackend = 'swarm'\n"
        "[tool.deploytool.services.web]\nport = 80\n"
    )
    files = {"pyproject.toml": configured, "Dockerfile": "FROM mine\n", "main.py": APP}
    project = make(tmp_path, files)
    (project / "Dockerfile").chmod(0o600)
    done = run(project, force=True)
    assert (done["pyproject.toml"], done["Dockerfile"]) == (Fate.KEPT, Fate.REPLACED)
    assert (project / "pyproject.toml").read_text() == configured
    assert "EXPOSE 80\n" in (project / "Dockerfile").read_text()
    assert stat.S_IMODE((project / "Dockerfile").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "[tool.ruff]\nline-length = 1",
        "[tool]\nx = 1\n",
        "tool.ruff.line-length = 1\n[project]\nname = 'x'\n",
        "tool = { ruff = { line-length = 1 } }\n",
        "[project]\r\nname = 'x'\r\n",
        "[[tool.mypy.overrides]]\nmodule = 'x'\n\n\n# the end\n",
        "[tool.x]\n[project]\nname = 'x'\n[tool.y]\n",
    ],
)
def test_every_shape_of_pyproject(tmp_path: Path, text: str) -> None:
    files = {"main.py": APP, "requirements.txt": "fastapi[standard]", "pyproject.toml": text}
    project = make(tmp_path, files)
    before = tomlkit.parse(text).unwrap()
    run(project, name="shop")
    after = (project / "pyproject.toml").read_bytes().decode()
    parsed = tomlkit.parse(after).unwrap()
    assert parsed["tool"].pop("deploytool")["app"] == "shop"
    assert parsed | {"tool": before.get("tool", {})} == before | {"tool": parsed["tool"]}
    assert not re.search(r"(?<!\r)\n", after) or "\r" not in text


def test_a_write_that_fails_leaves_files_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(tmp_path, {"main.py": APP, "Dockerfile": "FROM mine\n"})
    findings = inspect_project(project, force=True, offline=True)
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).name == "Dockerfile":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UsageError, match="Dockerfile cannot be written: No space left"):
        write(project, plan_files(findings, force=True))
    assert (project / "Dockerfile").read_text() == "FROM mine\n"
    assert sorted(path.name for path in project.iterdir()) == [
        "Dockerfile",
        "deploytool.toml",
        "main.py",
    ]


def test_a_project_that_cannot_be_written(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP})
    (project / "Dockerfile").mkdir()
    assert run(project)["Dockerfile"] is Fate.KEPT
    with pytest.raises(UsageError, match="Dockerfile cannot be written"):
        run(project, force=True)


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        inspect_project(tmp_path / "missing")


def test_without_a_health_path_it_says_so(tmp_path: Path) -> None:
    source = "from fastapi import FastAPI\napp = FastAPI(docs_url=None)\n"
    findings = inspect_project(make(tmp_path, {"main.py": source}))
    assert any("Add a GET /health" in warning for warning in findings.warnings)
    run(tmp_path)
    assert "healthcheck" not in (tmp_path / "deploytool.toml").read_text()


def test_each_service_is_told_what_its_own_modules_need(tmp_path: Path) -> None:
    files = {
        "app/main.py": f"import os\n{APP}\nos.environ['GREETING']\nimport app.shared\n",
        "app/shared.py": "import os\nos.environ['REGION']\n",
        "app/jobs.py": (
            "import os\nimport app.shared\nfrom celery import Celery\n"
            "os.environ['QUEUE']\nqueue = Celery('jobs')\n"
        ),
        "Procfile": "web: uvicorn app.main:app\nworker: celery -A app.jobs:queue worker\n",
        "requirements.txt": "fastapi\ncelery\nuvicorn\n",
    }
    found = inspect_project(make(tmp_path, files), offline=True)
    said = [line for line in found.warnings if "at its start" in line]
    assert said == [
        "the app needs GREETING at its start (app/main.py): set it in [services.web.env]",
        "the app needs REGION at its start (app/shared.py): set it in [services.web.env] and "
        "[services.worker.env]",
        "worker needs QUEUE at its start (app/jobs.py): set it in [services.worker.env]",
    ]


@pytest.mark.parametrize(
    ("requirements", "memory", "limit"),
    [
        ("fastapi\n", "128MiB", "256MiB"),
        ("fastapi\npandas\n", "256MiB", "512MiB"),
        ("fastapi\ntorch\npandas\n", "1GiB", "2GiB"),
    ],
)
def test_memory_is_guessed_from_what_is_installed(
    tmp_path: Path, requirements: str, memory: str, limit: str
) -> None:
    make(tmp_path, {"main.py": APP, "requirements.txt": requirements})
    said = [w for w in inspect_project(tmp_path, offline=True).warnings if "are guesses" in w]
    assert bool(said) is (memory != "128MiB")
    run(tmp_path)
    web = tomlkit.parse((tmp_path / "deploytool.toml").read_text())["services"]["web"]
    assert (web["memory"], web["memory_limit"]) == (memory, limit)
    assert all(memory in line and limit in line for line in said)


def test_a_worker_that_only_the_source_implies_is_proposed(tmp_path: Path) -> None:
    worker = "from celery import Celery\nqueue = Celery('jobs', broker='redis://redis/0')\n"
    files = {"app/main.py": APP, "app/jobs.py": worker, "requirements.txt": "fastapi\ncelery\n"}
    warnings = inspect_project(make(tmp_path, files), offline=True).warnings
    [proposed] = [warning for warning in warnings if "Celery app" in warning]
    assert proposed.endswith(
        '[services.worker] command = ["celery", "-A", "app.jobs:queue", "worker"] runs it'
    )


@pytest.mark.parametrize(
    ("files", "heading"),
    [
        ({}, "[services.web.healthcheck]"),
        ({"pyproject.toml": PYPROJECT}, "[tool.deploytool.services.web.healthcheck]"),
        ({"pyproject.toml": PYPROJECT, "deploytool.toml": ""}, "[services.web.healthcheck]"),
    ],
)
def test_headings_are_those_of_the_file_that_is_written(
    tmp_path: Path, files: dict[str, str], heading: str
) -> None:
    source = "from fastapi import FastAPI\napp = FastAPI(docs_url=None)\n"
    findings = inspect_project(make(tmp_path, {"main.py": source, **files}), offline=True)
    [warning] = [warning for warning in findings.warnings if "Add a GET /health" in warning]
    assert warning.endswith(f" in {heading}")


def test_what_a_lock_changes_needs_force(tmp_path: Path) -> None:
    project = make(tmp_path, {"app/main.py": APP, "pyproject.toml": PYPROJECT})
    warnings = inspect_project(project, offline=True).warnings
    assert any("then run `deploytool init`" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("version", "end"),
    [("0.18.3", "uvicorn>=0.31 does both"), ("0.30.0", "caller's; uvicorn>=0.31 does")],
)
def test_an_old_uvicorn(tmp_path: Path, version: str, end: str) -> None:
    files = {"main.py": APP, "requirements.txt": f"fastapi\nuvicorn=={version}\n"}
    warnings = inspect_project(make(tmp_path, files), offline=True).warnings
    [said] = [warning for warning in warnings if "is old" in warning]
    assert said.endswith(end)


@given(st.text(max_size=80))
def test_every_name_becomes_a_valid_one(text: str) -> None:
    name = valid_name(text)
    assert re.match(NAME_PATTERN, name)
    assert len(name) <= 40
    assert valid_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My_Shop", "my-shop"),
        ("Überblick 2", "uberblick-2"),
        ("--", "app"),
        ("日本", "app"),
        ("a" * 39 + "-b", "a" * 39),
        ("Proxy", "proxy-app"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert valid_name(text) == name


@pytest.mark.parametrize("kept", [{}, {"Dockerfile": 'FROM scratch\nCMD ["uvicorn"]\n'}])
def test_a_project_called_as_deploytools_own_app(tmp_path: Path, kept: dict[str, str]) -> None:
    project = make(tmp_path / "proxy", {"main.py": APP, **kept})
    said = inspect_project(project, offline=True).warnings
    assert [line for line in said if line.startswith("the app is called proxy-app, as proxy is")]
    run(project)
    assert load(project).config.app == "proxy-app"
    assert not [line for line in inspect_project(project, offline=True).warnings if "proxy" in line]


def test_deploytools_own_name_that_is_asked_for(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP})
    with pytest.raises(UsageError) as caught:
        run(project, name="proxy")
    assert caught.value.code == "name_reserved"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        ({"name": "Bad_Name!"}, "name_invalid", "--app bad-name"),
        ({"name": "Proxy"}, "name_invalid", "--app proxy-app"),
        ({"name": ""}, "name_invalid", "--app app"),
        ({"registry": "https://registry.example.com"}, "registry_invalid", "--registry"),
        ({"registry": "Registry.Example.com/x"}, "registry_invalid", "--registry"),
        ({"registry": ""}, "registry_invalid", "--registry"),
        ({"registry": "h:p:q"}, "registry_invalid", "--registry"),
        ({"registry": "host/a:1"}, "registry_invalid", "--registry"),
    ],
)
def test_nothing_is_written_of_what_the_configuration_would_not_take(
    tmp_path: Path, options: dict[str, Any], code: str, hint: str
) -> None:
    project = make(tmp_path, {"main.py": APP})
    with pytest.raises(UsageError) as caught:
        run(project, **options)
    assert caught.value.code == code
    assert hint in caught.value.hint
    assert sorted(path.name for path in project.iterdir()) == ["main.py"]


def test_options_that_a_configuration_passes_over_are_named(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP, "other.py": APP})
    run(project, entrypoint="main:app", name="shop", registry="registry.example.com/team")

    def said(**options: Any) -> list[str]:
        found = inspect_project(project, offline=True, **options).warnings
        return [line for line in found if line.startswith("the configuration that is there")]

    assert said(name="shop", registry="registry.example.com/team", entrypoint="main:app") == []
    app, registry, entrypoint = said(name="x", registry="y", entrypoint="other:app")
    assert 'says app = "shop", and is kept: write app = "x" there' in app
    assert 'says registry = "registry.example.com/team"' in registry
    assert 'write entrypoint = "other:app" there' in entrypoint


@pytest.mark.parametrize("path", ["Dockerfile", ".dockerignore"])
def test_this_repository_has_what_init_writes(path: str) -> None:
    planned = {file.path: file for file in plan_files(inspect_project(REPOSITORY, offline=True))}
    assert planned[path].fate is Fate.SAME, "run `deploytool init --force`"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    app = typer.Typer()
    app.callback()(lambda: None)
    init.add_to(app)

    def call(*arguments: str) -> tuple[str, str]:
        typer.main.get_command(app).main(
            args=["init", "--offline", *arguments], standalone_mode=False
        )
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


def test_the_command_says_what_it_found_and_why(
    tmp_path: Path, call: Callable[..., tuple[str, str]]
) -> None:
    project = make(tmp_path, {"main.py": APP, "requirements.txt": "fastapi"})
    out, err = call(str(project), "--app", "shop")
    for text in (
        "App main:app: app is made in main.py, where FastAPI's own command finds it too",
        "Packaging requirements: requirements.txt is there",
        "Python 3.13: nothing says which: the default, as --offline was given",
        "Health check /health: GET /health in main.py",
        "nothing in requirements.txt brings uvicorn",
    ):
        assert text in " ".join(err.split())
    for text in ("Dockerfile: written", "stacks/shop.yml: written", "deploytool.toml: written"):
        assert text in out
    out, _ = call(str(project), "--force")
    assert "deploytool.toml: kept" in out or "deploytool.toml: already" in out


def test_the_command_as_json(tmp_path: Path, call: Callable[..., tuple[str, str]]) -> None:
    make(tmp_path, {"main.py": APP})
    out, _ = call(str(tmp_path), "--json", "--entrypoint", "main:app")
    answer = json.loads(out)
    assert answer["data"]["entrypoint"] == "main:app"
    assert {"path": "Dockerfile", "result": "written", "diff": []} in answer["data"]["files"]


def test_init_imports_nothing_of_the_project(tmp_path: Path) -> None:
    source = "raise SystemExit('imported')\n" + APP
    findings = inspect_project(make(tmp_path, {"main.py": source}), offline=True)
    assert findings.app.entrypoint == "main:app"


STARTS = "from fastapi import FastAPI\nfrom fastapi.staticfiles import StaticFiles\n" + APP
SERVED = STARTS + "app.mount('/files', StaticFiles(directory='files'))\n"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({".dockerignore": "*.txt\n"}, ".dockerignore hides requirements.txt"),
        ({".dockerignore": "*\n!main.py\n!requirements.txt\n"}, None),
        ({"main.py": SERVED}, "main.py serves files from files/, which is not there"),
        ({"main.py": SERVED, "files/a.css": ""}, None),
        ({"main.py": SERVED.replace("'files')", "'files', check_dir=False)")}, None),
        ({"main.py": "import os\nos.makedirs('files')\n" + SERVED}, "volume files"),
        ({"main.py": "import db\n" + APP, "db.py": "x = (\n"}, "db.py is imported and cannot be"),
        ({"Procfile": "bot: python bot.py\n", "bot.py": "import telegram\n"}, "imports telegram"),
        ({"Procfile": "bot: python bot.py\n", "bot.py": "import json\n"}, None),
    ],
)
def test_what_stands_in_the_way_is_said(
    tmp_path: Path, files: dict[str, str], says: str | None
) -> None:
    listed = {"main.py": APP, "requirements.txt": "fastapi[standard]\n"}
    found = inspect_project(make(tmp_path, listed | files), offline=True)
    assert [w for w in found.warnings if says is None or says not in w] == []
    assert len(found.warnings) == (0 if says is None else 1)


def test_a_module_that_python_alone_imports_by_a_text(tmp_path: Path) -> None:
    project = make(tmp_path, {"my-api.py": APP, "requirements.txt": "fastapi[standard]\n"})
    run(project, name="shop")
    assert load(project).app_spec().entrypoint == "my-api:app"


def test_nothing_of_the_system_becomes_the_process_s(tmp_path: Path) -> None:
    source = "import sqlite3\nsqlite3.connect('../outside.db')\n" + APP
    project = make(tmp_path, {"main.py": source, "requirements.txt": "fastapi[standard]\n"})
    run(project)
    owned = re.search(r"install -d -o 10001 -g 10001 (.*)", (project / "Dockerfile").read_text())
    assert owned is not None
    assert "/" not in owned[1].split()


def test_alembic_runs_where_its_settings_are(tmp_path: Path) -> None:
    files = {
        "backend/alembic.ini": (
            "[alembic]\nscript_location = %(here)s/alembic\nprepend_sys_path = .\n"
        ),
        "backend/alembic/env.py": "from app.db import Base\n",
        "backend/alembic/versions/0001_first.py": "revision = '0001'\n",
        "backend/app/__init__.py": "",
        "backend/app/db.py": "Base = None\n",
        "backend/app/main.py": "from .db import Base\n" + APP,
        "requirements.txt": "fastapi[standard]\nalembic\n",
    }
    findings = inspect_project(make(tmp_path, files), offline=True)
    assert findings.settings.release is not None
    command = " ".join(findings.settings.release.command)
    assert findings.app.workdir == "backend" or "cd backend" in command


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nabc\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nabc\n"
HIDDEN = (
    *("app/.env.local", "app/.ssh/config", "app/.aws/credentials", "app/.netrc", "app/.pypirc"),
    *("app/prod.env", "app/id_rsa", "app/id_ed25519", "app/dev.sqlite3", "app/other.pem"),
    *("app/server.key", "app/sub/server.key", "app/Server.PEM", "app/client.p12", "app/client.pfx"),
    *("app/.pgpass", "app/.docker/config.json"),
)


def test_private_files_in_packages_stay_out(tmp_path: Path) -> None:
    """But for what the code names and is no key."""
    code = APP + "PATHS = 'ca.pem', 'data/places.sqlite3', 'named.pem'\n"
    project = make(tmp_path, {"app/__init__.py": "", "app/main.py": code})
    make(project, dict.fromkeys(HIDDEN, "x"))
    make(project, {"app/ca.pem": CERTIFICATE, "app/data/places.sqlite3": "x"})
    make(project, {"app/named.pem": PRIVATE_KEY, "app/id_numbers.py": "", "app/env.py": ""})
    run(project, force=True)
    ignored = dockerignore.read(project / ".dockerignore")
    assert [file for file in (*HIDDEN, "app/named.pem") if not ignored.hides(file)] == []
    shown = (
        *("app/ca.pem", "app/data/places.sqlite3", "app/id_numbers.py", "app/env.py"),
        *("app/config.json", "app/.docker/nginx.conf"),
    )
    assert [file for file in shown if ignored.hides(file)] == []
    warnings = inspect_project(project, force=True, offline=True).warnings
    assert [w for w in warnings if "private key" in w] == [
        "app/named.pem holds a private key, and .dockerignore keeps it out of the image: give it "
        "to the service as a secret"
    ]
    assert [f for f in lint(project, load(project)) if f.rule == "private-file-copied"] == []

    (project / ".dockerignore").write_text("**/.git\n")
    (found,) = [f for f in lint(project, load(project)) if f.rule == "private-file-copied"]
    assert found.message.endswith("and 13 more are copied into the image")
    assert (project / "Dockerfile").read_text().splitlines()[found.line - 1] == "COPY app app"


def test_files_that_nobody_changed_are_brought_up_to_date(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP, "requirements.txt": "fastapi\nuvicorn\n"})
    run(project)
    (project / "extra").mkdir()
    (project / "extra/__init__.py").write_text("")
    (project / "main.py").write_text(APP + "\nimport extra\n")
    assert run(project)["Dockerfile"] is Fate.REPLACED
    assert "extra" in (project / "Dockerfile").read_text()
    assert run(project)["Dockerfile"] is Fate.SAME
    with (project / "Dockerfile").open("a") as file:
        file.write("# mine\n")
    (project / "main.py").write_text(APP)
    assert run(project)["Dockerfile"] is Fate.KEPT


def changed_since(project: Path, *, mine: str = "# mine\n") -> Path:
    """A project of which the Dockerfile was changed, and then the source."""
    make(project, {"main.py": APP, "requirements.txt": "fastapi\nuvicorn\n"})
    run(project)
    with (project / "Dockerfile").open("a") as file:
        file.write(mine)
    return make(project, {"extra/__init__.py": "", "main.py": APP + "\nimport extra\n"})


def test_a_changed_file_is_kept_and_shown_beside_what_would_be_written_now(
    tmp_path: Path, call: Callable[..., tuple[str, str]]
) -> None:
    text = (changed_since(tmp_path) / "Dockerfile").read_text()
    out, _ = call(str(tmp_path))
    assert (tmp_path / "Dockerfile").read_text().endswith("# mine\n")
    shown = out.partition("· Dockerfile: kept\n")[2].partition("  → ")[0].splitlines()
    first, last = shown[0], shown[-1]
    assert first == "  You changed what `init` wrote, and it would write another Dockerfile now:"
    assert last == "    -# mine"
    assert {"    --- Dockerfile", "    +COPY extra extra"} <= set(shown)
    assert "remove Dockerfile and run `deploytool init` again" in out
    out, _ = call(str(tmp_path), "--json")
    (file,) = [f for f in json.loads(out)["data"]["files"] if f["path"] == "Dockerfile"]
    assert [f"    {line}" for line in file["diff"]] == shown[1:]

    (tmp_path / "Dockerfile").unlink()
    run(tmp_path)
    ours = (tmp_path / "Dockerfile").read_text()
    assert "+# mine" not in "\n".join(file["diff"])
    assert patched(text, file["diff"]) == ours


def patched(text: str, diff: list[str]) -> str:
    """A text after a unified diff."""
    lines, found, place = text.splitlines(), [], 0
    for line in diff[2:]:
        if hunk := re.match(r"@@ -(\d+)", line):
            found += lines[place : int(hunk[1]) - 1]
            place = int(hunk[1]) - 1
            continue
        assert line[0] == "+" or lines[place] == line[1:]
        place += line[0] != "+"
        found += [line[1:]] if line[0] != "-" else []
    return "\n".join([*found, *lines[place:]]) + "\n"


def test_edits_alone_are_not_shown(tmp_path: Path, call: Callable[..., tuple[str, str]]) -> None:
    """What `init` would write is what it wrote: its digest says so."""
    project = changed_since(tmp_path)
    (project / "main.py").write_text(APP)
    out, err = call(str(project))
    assert "· Dockerfile: kept\n· .dockerignore" in out
    assert "@@" not in out
    assert "not what the configuration says" not in err


@pytest.mark.parametrize(
    "table",
    [
        '[tool.setuptools.dynamic]\ndependencies = {file = ["requirements/base.txt"]}',
        '[tool.hatch.metadata.hooks.requirements_txt]\nfiles = ["requirements/base.txt"]',
    ],
)
def test_computed_dependencies_are_taken_from_the_lock(tmp_path: Path, table: str) -> None:
    """uv compares a lock with them by building the package, which takes all that it reads."""
    lock = (
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "shop"\nversion = "1"\n'
        'source = { editable = "." }\ndependencies = [{ name = "fastapi" }, { name = "uvicorn" }]\n'
        '[[package]]\nname = "fastapi"\nversion = "0.115.0"\n'
        '[[package]]\nname = "uvicorn"\nversion = "0.30.0"\n'
    )
    pyproject = (
        '[build-system]\nrequires = ["x"]\n[project]\nname = "shop"\nversion = "1"\n'
        f'dynamic = ["dependencies"]\n{table}\n'
    )
    files = {"pyproject.toml": pyproject, "uv.lock": lock, "src/shop/main.py": APP}
    run(make(tmp_path, files | {"requirements/base.txt": "fastapi\nuvicorn\n"}))
    written = (tmp_path / "Dockerfile").read_text()
    assert "uv export --quiet --frozen" in written
    assert "COPY requirements/base.txt /build/requirements/" in written
    assert "!requirements/base.txt" in (tmp_path / ".dockerignore").read_text()


def test_directives_stand_before_the_first_line(tmp_path: Path) -> None:
    """Builders take them nowhere else."""
    project = changed_since(tmp_path, mine="")
    file = project / "Dockerfile"
    file.write_text("# syntax=docker/dockerfile:1\n# check=skip=all\n" + file.read_text())
    assert read_kept(project) is None
    (planned,) = [
        f for f in plan_files(inspect_project(project, offline=True)) if f.path == "Dockerfile"
    ]
    assert planned.fate is Fate.KEPT
    assert {"-# syntax=docker/dockerfile:1", "+COPY extra extra"} <= set(planned.diff)


def test_the_first_line_ends_it(tmp_path: Path) -> None:
    project = changed_since(tmp_path)
    findings = inspect_project(project, offline=True)
    (planned,) = [f for f in plan_files(findings) if f.path == "Dockerfile"]
    mine = (project / "Dockerfile").read_text().partition("\n")[2]
    (project / "Dockerfile").write_text(planned.text.partition("\n")[0] + "\n" + mine)
    (again,) = [f for f in plan_files(findings) if f.path == "Dockerfile"]
    assert (planned.fate, again.fate) == (Fate.KEPT, Fate.KEPT)
    assert planned.diff
    assert again.diff == ()


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_files_that_init_did_not_write_are_not_compared(tmp_path: Path, name: str) -> None:
    project = make(tmp_path, {"main.py": APP, name: "FROM mine\n"})
    planned = plan_files(inspect_project(project, offline=True))
    assert [(f.fate, f.diff) for f in planned if f.path == name] == [(Fate.KEPT, ())]


def test_a_long_difference_ends_somewhere(
    tmp_path: Path, call: Callable[..., tuple[str, str]]
) -> None:
    changed_since(tmp_path, mine="RUN true\n" * 100)
    out, _ = call(str(tmp_path))
    assert len([line for line in out.splitlines() if line.startswith("    ")]) == 61
    (rest,) = re.findall(r"… (\d+) more lines: --verbose", out)
    out, _ = call(str(tmp_path), "--verbose")
    assert out.count("\n    ") == 60 + int(rest)
    assert out.count("    -RUN true\n") == 100


def test_a_difference_shows_no_secrets(
    tmp_path: Path, call: Callable[..., tuple[str, str]]
) -> None:
    mine = (
        "ENV API_TOKEN=hunter2 LOG_LEVEL=debug\nENV DB_PASSWORD hunter2\n"
        "RUN pip install --index-url https://me:hunter2@pypi.example.com/simple x\n"
    )
    project = changed_since(tmp_path, mine=mine)
    for arguments in ((), ("--json",)):
        out, err = call(str(project), *arguments)
        assert "LOG_LEVEL=debug" in out
        assert "hunter2" not in out + err


def test_a_stack_of_another_configuration_is_kept_and_named(
    tmp_path: Path, call: Callable[..., tuple[str, str]]
) -> None:
    make(tmp_path, {"main.py": APP, "requirements.txt": "fastapi\nuvicorn\n"})
    call(str(tmp_path), "--app", "shop")
    file = tmp_path / "deploytool.toml"
    file.write_text(file.read_text().replace("replicas = 2", "replicas = 3"))
    before = (tmp_path / "stacks/shop.yml").read_text()
    out, err = call(str(tmp_path))
    assert "· stacks/shop.yml: kept" in out
    assert "! not what the configuration says now: stacks/shop.yml; `deploytool render" in err
    assert (tmp_path / "stacks/shop.yml").read_text() == before
    (tmp_path / "stacks/shop.yml").write_text("mine: 1\n")
    assert "not what the configuration says" not in call(str(tmp_path))[1]


FASTAPIS = """\
FROM python:3.14
WORKDIR /code
COPY ./requirements.txt /code/requirements.txt
RUN pip install --no-cache-dir --upgrade -r /code/requirements.txt
COPY ./app /code/app
CMD ["fastapi", "run", "app/main.py", "--port", "80"]
"""
"""The Dockerfile of FastAPI's page on containers."""


@pytest.mark.parametrize(
    ("files", "port", "command"),
    [
        ({"Dockerfile": FASTAPIS}, 80, ()),
        ({}, 8000, ("uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000")),
    ],
)
def test_the_dockerfile_of_fastapis_page(
    tmp_path: Path, files: dict[str, str], port: int, command: tuple[str, ...]
) -> None:
    listed = {"app/__init__.py": "", "app/main.py": APP, "requirements.txt": "fastapi[standard]"}
    project = make(tmp_path, listed | files)
    fate = run(project, name="shop")["Dockerfile"]
    spec = load(project).app_spec()
    (web,) = spec.services
    assert fate is (Fate.KEPT if files else Fate.WRITTEN)
    assert (web.port, spec.command(web)[: len(command)]) == (port, command)
    assert bool(spec.command(web)) is bool(command)
    assert load(project).config.proxy.http_port == 80
