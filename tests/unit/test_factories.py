"""Apps that a function makes, and which of several apps the project's files start."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytool.discover import find_app
from deploytool.errors import UsageError
from tests.unit.test_discover import APP, FACTORY, Files, make

IMPORT = "from fastapi import FastAPI\n"
TWO = {"a.py": APP, "b.py": APP}


@pytest.mark.parametrize(
    ("files", "entrypoint"),
    [
        pytest.param({"main.py": FACTORY}, "main:create_app()", id="in main"),
        pytest.param(
            {"shop/app.py": "from shop.core import build\ndef create_app():\n    return build()"}
            | {"shop/core.py": IMPORT + "def build():\n    return FastAPI()"},
            "shop.app:create_app()",
            id="not the function that it calls",
        ),
        pytest.param(
            {"main.py": IMPORT + "def make(): return FastAPI()\ndef get_app(): return make()"},
            "main:get_app()",
            id="the usual name",
        ),
        pytest.param(
            {"main.py": IMPORT + "def inner(): return FastAPI()\ndef outer(): return inner()"},
            "main:outer()",
            id="the outer one",
        ),
        pytest.param(
            {"main.py": IMPORT + "def create_app(debug=False, *, x=1) -> FastAPI: ..."},
            "main:create_app()",
            id="parameters with defaults",
        ),
        pytest.param(
            {"main.py": FACTORY + "if __name__ == '__main__':\n    app = create_app()"},
            "main:create_app()",
            id="kept only when run as a program",
        ),
        pytest.param(
            {"main.py": FACTORY + "if __name__ != '__main__':\n    app = create_app()"},
            "main:app",
            id="kept when imported",
        ),
        pytest.param(
            {
                "main.py": FACTORY + "if __name__ == '__main__':\n    print()\n"
                "else:\n    app = create_app()"
            },
            "main:app",
            id="kept in the else of the main guard",
        ),
        pytest.param(
            {"main.py": FACTORY + "try:\n    app = create_app()\nexcept OSError:\n    raise"},
            "main:app",
            id="kept in a try",
        ),
        pytest.param({"main.py": FACTORY, "server.py": APP}, "server:app", id="an app first"),
        pytest.param(
            {"main.py": "from sub import app\n" + FACTORY.replace("FastAPI()", "joined(app)")}
            | {"sub.py": APP},
            "main:app",
            id="an app that main imports",
        ),
        pytest.param(
            {"shop/main.py": "from shop.sub import admin\n" + FACTORY}
            | {"shop/sub.py": IMPORT + "admin = FastAPI()"},
            "shop.main:create_app()",
            id="not what it mounts",
        ),
        pytest.param(
            {"shop/cli.py": "from shop.web import app\ndef get_app(): return app"}
            | {"shop/web.py": APP},
            "shop.web:app",
            id="the app itself, not a function that returns it",
        ),
        pytest.param(
            {"main.py": IMPORT + "class S:\n  def __init__(self):\n    self.app = FastAPI()\n"}
            | {"x.py": "from main import S\napp = S().app"},
            "x:app",
            id="kept by a class",
        ),
        pytest.param(
            {"run.py": "import uvicorn\nuvicorn.run('p.a:make_it', factory=True)"}
            | {"p/a.py": IMPORT + "def make_it(): return FastAPI()", "p/b.py": APP},
            "p.a:make_it()",
            id="run by another module",
        ),
        pytest.param(
            {"run.py": "from uvicorn import run\nfrom p.a import make_it\nrun(make_it())"}
            | {"p/a.py": IMPORT + "def make_it(): return FastAPI()", "p/b.py": APP},
            "p.a:make_it()",
            id="called for uvicorn",
        ),
    ],
)
def test_factories(tmp_path: Path, files: Files, entrypoint: str) -> None:
    found = find_app(make(tmp_path, files))
    assert found.entrypoint == entrypoint
    assert found.factory == entrypoint.endswith("()")
    assert found.target == entrypoint.removesuffix("()")


@pytest.mark.parametrize(
    ("source", "entrypoint", "found"),
    [
        (FACTORY, "main:create_app()", "main:create_app()"),
        (FACTORY, "main:create_app", "main:create_app()"),
        ("from elsewhere import make\ndef app(): return make()", "main:app", "main:app()"),
        ("from elsewhere import make", "main:make()", "main:make()"),
        ("async def app(scope, receive, send): ...", "main:app", "main:app"),
    ],
)
def test_a_factory_as_the_entrypoint(
    tmp_path: Path, source: str, entrypoint: str, found: str
) -> None:
    assert find_app(make(tmp_path, {"main.py": source}), entrypoint).entrypoint == found


@pytest.mark.parametrize(
    ("source", "entrypoint", "code", "says"),
    [
        (APP, "main:app()", "entrypoint_invalid", "write main:app"),
        (FACTORY.replace("()", "(settings)", 1), "main:create_app", "no_app", "wants settings"),
        (FACTORY.replace("()", "(settings)", 1), None, "no_app", "app = create_app(settings)"),
        ("async def create_app(): ...", "main:create_app", "no_app", "is async"),
        (FACTORY, "main:make_app()", "no_app", "it has create_app()"),
    ],
)
def test_what_the_server_cannot_call(
    tmp_path: Path, source: str, entrypoint: str | None, code: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_app(make(tmp_path, {"main.py": source}), entrypoint)
    assert caught.value.code == code
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_the_routes_of_a_factory(tmp_path: Path) -> None:
    source = (
        "from fastapi import FastAPI\nfrom routes import router\ndef create_app():\n"
        "    app = FastAPI()\n    app.include_router(router, prefix='/api')\n    return app\n"
    )
    routes = (
        "from fastapi import APIRouter\nrouter = APIRouter()\n"
        "@router.get('/health')\ndef h(): ...\n"
    )
    found = find_app(make(tmp_path, {"main.py": source, "routes.py": routes}))
    assert (found.entrypoint, found.health_path) == ("main:create_app()", "/api/health")


@pytest.mark.parametrize(
    ("files", "entrypoint", "why"),
    [
        ({"Dockerfile": 'CMD ["uvicorn", "b:app", "--host", "0.0.0.0"]'}, "b:app", "Dockerfile"),
        ({"Dockerfile": "CMD uvicorn \\\n  b:app"}, "b:app", "Dockerfile"),
        ({"Dockerfile": 'CMD ["fastapi", "run", "b.py", "--port", "80"]'}, "b:app", "Dockerfile"),
        ({"Dockerfile": 'CMD ["fastapi", "run", "/code/b.py"]'}, "b:app", "Dockerfile"),
        ({"docker/api.Dockerfile": "CMD gunicorn b:app -k x.y"}, "b:app", "docker/api.Dockerfile"),
        ({"Procfile": "web: gunicorn -k uvicorn.workers.U b:app"}, "b:app", "Procfile"),
        ({"compose.yml": "command: uvicorn b:app"}, "b:app", "compose.yml"),
        ({"compose.yml": "command:\n  - uvicorn\n  - b:app\n"}, "b:app", "compose.yml"),
        ({"run.py": "import uvicorn\nuvicorn.run('b:app')"}, "b:app", "run.py"),
        ({"Makefile": "run:\n\tuvicorn b:app --reload"}, "b:app", "Makefile"),
        ({"README.md": "# Shop\nStart it with `uvicorn b:app`."}, "b:app", "README.md"),
        ({"Dockerfile": "CMD uvicorn b:app", "README.md": "uvicorn a:app"}, "b:app", "Dockerfile"),
        ({"Procfile": "web: uvicorn b:app", "compose.yml": "uvicorn a:app"}, "b:app", "Procfile"),
        (
            {"Dockerfile": 'CMD ["python", "b.py"]'}
            | {"b.py": APP + "import uvicorn\nuvicorn.run(app)"},
            "b:app",
            "Dockerfile",
        ),
    ],
)
def test_what_starts_an_app_decides(
    tmp_path: Path, files: Files, entrypoint: str, why: str
) -> None:
    found = find_app(make(tmp_path, TWO | files))
    assert (found.entrypoint, found.why) == (entrypoint, f"{why} starts {entrypoint}")


@pytest.mark.parametrize(
    "files",
    [
        {"Dockerfile": "# CMD uvicorn b:app"},
        {"Dockerfile": "RUN pip install uvicorn"},
        {"Dockerfile": "CMD uvicorn c:app"},
        {"Procfile": "a: uvicorn a:app\nb: uvicorn b:app"},
        {"examples/Dockerfile": "CMD uvicorn b:app", "examples/x.py": ""},
        {"manage.py": "print()", "Dockerfile": "RUN python manage.py migrate"},
    ],
)
def test_what_decides_nothing(tmp_path: Path, files: Files) -> None:
    with pytest.raises(UsageError) as caught:
        find_app(make(tmp_path, TWO | files))
    assert caught.value.code == "several_apps"
    assert caught.value.details == (
        "a:app (a.py): --entrypoint a:app",
        "b:app (b.py): --entrypoint b:app",
    )


def test_a_dockerfile_comes_before_the_usual_files(tmp_path: Path) -> None:
    files = {"main.py": APP, "shop/web.py": APP, "Dockerfile": "CMD uvicorn shop.web:app"}
    assert find_app(make(tmp_path, files)).entrypoint == "shop.web:app"


def test_a_readme_does_not_and_the_other_app_is_named(tmp_path: Path) -> None:
    files = {"main.py": APP, "admin/main.py": APP, "README.md": "`uvicorn admin.main:app`"}
    found = find_app(make(tmp_path, files))
    assert found.entrypoint == "main:app"
    assert [(other.entrypoint, other.named_in) for other in found.others] == [
        ("admin.main:app", "README.md")
    ]
    assert found.notes == (
        "other apps: admin.main:app (admin/main.py, which README.md starts): "
        "--entrypoint admin.main:app",
    )


@pytest.mark.parametrize(
    "more",
    [
        {"sub.py": APP.replace("app =", "sub ="), "main.py": "from sub import sub\n" + APP},
        {"run.py": "from main import app"},
        {"examples/demo.py": APP},
        {"tests/main.py": APP},
    ],
)
def test_what_is_no_other_app(tmp_path: Path, more: Files) -> None:
    assert find_app(make(tmp_path, {"main.py": APP} | more)).others == ()


def test_an_app_that_only_the_dockerfile_tells(tmp_path: Path) -> None:
    files = {"server.py": "from elsewhere import application", "Dockerfile": "CMD uvicorn server:"}
    files["Dockerfile"] += "application"
    found = find_app(make(tmp_path, files))
    assert (found.entrypoint, found.health_path) == ("server:application", None)
