import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytool.discover import (
    FoundApp,
    find_app,
    find_packaging,
    find_sources,
    folders_of_tests,
)
from deploytool.discover.dependencies.python_version import newest
from deploytool.errors import UsageError
from deploytool.image.dockerfile import render_dockerfile

Files = dict[str, str]
APP = "from fastapi import FastAPI\napp = FastAPI()\n"
FACTORY = "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n"


def make(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("files", "entrypoint", "root"),
    [
        pytest.param({"main.py": APP}, "main:app", ".", id="main"),
        pytest.param({"app/__init__.py": "", "app/main.py": APP}, "app.main:app", ".", id="docs"),
        pytest.param({"app/main.py": APP}, "app.main:app", ".", id="namespace package"),
        pytest.param(
            {"app/main.py": "import routes\n" + APP, "app/routes.py": ""},
            "main:app",
            "app",
            id="run from inside app/",
        ),
        pytest.param(
            {"app/main.py": "from app import routes\n" + APP, "app/routes.py": ""},
            "app.main:app",
            ".",
            id="imports name the folder",
        ),
        pytest.param({"app/__init__.py": APP}, "app:app", ".", id="in __init__"),
        pytest.param(
            {"src/shop/__init__.py": "", "src/shop/main.py": APP}, "shop.main:app", "src", id="src"
        ),
        pytest.param({"src/main.py": APP}, "main:app", "src", id="src, a module"),
        pytest.param(
            {"src/main.py": "from .db import get\nfrom . import files\n" + APP}
            | {"src/db.py": "get = 1", "src/files.py": "import db\nimport more", "src/more.py": ""},
            "src.main:app",
            ".",
            id="src, relative imports",
        ),
        pytest.param({"src/shop/server.py": APP}, "shop.server:app", "src", id="src, namespace"),
        pytest.param(
            {"backend/app/__init__.py": "", "backend/app/main.py": "from app.api import r\n" + APP}
            | {"backend/app/api.py": "r = 1"},
            "app.main:app",
            "backend",
            id="backend folder",
        ),
        pytest.param({"my-service/main.py": APP}, "main:app", "my-service", id="no identifier"),
        pytest.param({"server.py": APP}, "server:app", ".", id="any file"),
        pytest.param(
            {"service.py": "import fastapi\nweb = fastapi.FastAPI()"},
            "service:web",
            ".",
            id="any name",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI as F\napp: F = F(title='x')"},
            "main:app",
            ".",
            id="alias",
        ),
        pytest.param(
            {"main.py": "import fastapi as f\nx = 1\napi = f.applications.FastAPI()"},
            "main:api",
            ".",
            id="module alias",
        ),
        pytest.param(
            {"main.py": "from fastapi import *\napp = FastAPI()"}, "main:app", ".", id="star"
        ),
        pytest.param(
            {"main.py": FACTORY + "application = create_app()"},
            "main:application",
            ".",
            id="factory",
        ),
        pytest.param(
            {"app/main.py": "from .factory import create_app\napp = create_app()"}
            | {"app/factory.py": FACTORY, "app/__init__.py": ""},
            "app.main:app",
            ".",
            id="imported factory",
        ),
        pytest.param(
            {"app/main.py": "from app import factory\napp = factory.create_app()"}
            | {"app/factory.py": FACTORY, "app/__init__.py": ""},
            "app.main:app",
            ".",
            id="factory of an imported module",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nfrom x import make\napp: FastAPI = make()"},
            "main:app",
            ".",
            id="annotated",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nfrom x import y\napp: 'FastAPI' = y()"},
            "main:app",
            ".",
            id="annotated in quotes",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nclass A(FastAPI): pass\nserver = A()"},
            "main:server",
            ".",
            id="subclass",
        ),
        pytest.param(
            {"main.py": APP + "app = Middleware(app)"}, "main:app", ".", id="wrapped by itself"
        ),
        pytest.param(
            {"main.py": "import socketio\nfrom fastapi import FastAPI\ninner = FastAPI()\n"}
            | {"api.py": "from main import inner\nimport s\napp = s.ASGIApp(s.x, inner)"},
            "main:inner",
            ".",
            id="first file wins",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nimport s\nf = FastAPI()\napp = s.A(f)"},
            "main:app",
            ".",
            id="wrapped under the usual name",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nother = FastAPI()\napp = FastAPI()"},
            "main:app",
            ".",
            id="app before the first",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\nsub = FastAPI()\nx = FastAPI()\n"}
            | {
                "main.py": "from fastapi import FastAPI\na = FastAPI()\nb = FastAPI()\n"
                "b.mount('/a', a)"
            },
            "main:b",
            ".",
            id="not the mounted one",
        ),
        pytest.param(
            {
                "main.py": "from fastapi import FastAPI\nif True:\n  try:\n    app = FastAPI()\n"
                "  except Exception:\n    raise"
            },
            "main:app",
            ".",
            id="inside if and try",
        ),
        pytest.param(
            {"main.py": "from fastapi import FastAPI\na, app = 1, FastAPI()"},
            "main:app",
            ".",
            id="unpacked",
        ),
        pytest.param(
            {"main.py": "import uvicorn\nfrom shop.web import app\nuvicorn.run(app)"}
            | {"shop/web.py": APP},
            "main:app",
            ".",
            id="re-exported by main",
        ),
        pytest.param(
            {"main.py": "print('nothing')", "shop/web.py": APP},
            "shop.web:app",
            ".",
            id="other main",
        ),
        pytest.param(
            {"shop/main.py": "from shop.web import app", "shop/web.py": APP},
            "shop.main:app",
            ".",
            id="main of a package",
        ),
        pytest.param(
            {"shop/web.py": "from shop.admin import admin\n" + APP + "app.mount('/admin', admin)"}
            | {"shop/admin.py": "from fastapi import FastAPI\nadmin = FastAPI()"},
            "shop.web:app",
            ".",
            id="a part of another",
        ),
        pytest.param(
            {"shop/web.py": APP, "examples/demo.py": APP}, "shop.web:app", ".", id="not an example"
        ),
        pytest.param(
            {"shop/web.py": APP, "tests/main.py": APP, ".venv/main.py": APP}
            | {"env2/pyvenv.cfg": "", "env2/x.py": APP, "node_modules/a.py": APP},
            "shop.web:app",
            ".",
            id="not of somebody else",
        ),
        pytest.param(
            {
                "main.py": "class Factory:\n  @classmethod\n  def make(cls):\n"
                "    from fastapi import FastAPI\n    return FastAPI()\napp = Factory.make()"
            },
            "main:app",
            ".",
            id="class method",
        ),
        pytest.param(
            {
                "main.py": "import os\nfrom fastapi import FastAPI\n"
                "app = FastAPI() if os.name else FastAPI(docs_url=None)"
            },
            "main:app",
            ".",
            id="either way",
        ),
        pytest.param(
            {"wsgi.py": "broken(", "main.py": APP, "x.py": "\x00"}, "main:app", ".", id="broken"
        ),
        pytest.param(
            {"pyproject.toml": '[tool.fastapi]\nentrypoint = "b:app"', "main.py": APP, "b.py": APP},
            "b:app",
            ".",
            id="tool.fastapi first",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.fastapi]\nentrypoint = "shop.web:app"'}
            | {"src/shop/web.py": APP},
            "shop.web:app",
            "src",
            id="tool.fastapi below src",
        ),
        pytest.param(
            {"deploytool.toml": 'entrypoint = "b:app"', "main.py": APP, "b.py": APP},
            "b:app",
            ".",
            id="own configuration first",
        ),
    ],
)
def test_find_app(tmp_path: Path, files: Files, entrypoint: str, root: str) -> None:
    found = find_app(make(tmp_path, files))
    assert (found.entrypoint, found.root) == (entrypoint, root)
    assert found.why


@pytest.mark.parametrize(
    ("files", "entrypoint", "code", "says"),
    [
        ({}, None, "no_app", "--entrypoint app.main:app"),
        ({"main.py": "print(1)"}, None, "no_app", "[tool.fastapi] entrypoint"),
        ({"main.py": "app = ("}, None, "no_app", "main.py: line 1"),
        ({"main.py": "app = ("}, None, "no_app", "uvx --python 3.14 deploytool init"),
        ({"a/main.py": APP, "b/main.py": APP}, None, "several_apps", "b.main:app (b/main.py)"),
        ({"a.py": APP, "b.py": APP}, None, "several_apps", "--entrypoint a:app"),
        ({"main.py": APP}, "main", "entrypoint_invalid", "module:object"),
        ({"main.py": APP}, "main.py:app!", "entrypoint_invalid", "module:object"),
        ({"main.py": APP}, "other:app", "no_app", "other.py"),
        ({"main.py": APP}, "main:api", "no_app", "it has app"),
        ({"main.py": "app = ("}, "main:app", "no_app", "line 1"),
        ({"main.py": APP, "pyproject.toml": "[tool"}, None, "file_invalid", "pyproject.toml"),
        (
            {"main.py": APP, "pyproject.toml": "[tool.fastapi]\nentrypoint = 3"},
            None,
            "entrypoint_invalid",
            "[tool.fastapi]",
        ),
    ],
)
def test_no_or_several_apps(
    tmp_path: Path, files: Files, entrypoint: str | None, code: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_app(make(tmp_path, files), entrypoint)
    assert caught.value.code == code
    assert says in "\n".join([caught.value.message, caught.value.hint, *caught.value.details])
    assert caught.value.hint


def test_an_entrypoint_that_is_given_wins(tmp_path: Path) -> None:
    project = make(tmp_path, {"main.py": APP, "other.py": "from x import y\napp = y()"})
    found = find_app(project, "other:app")
    assert (found.entrypoint, found.health_path) == ("other:app", None)


def test_weird_files_are_no_failure(tmp_path: Path) -> None:
    make(tmp_path, {"shop/web.py": APP, "deep.py": "app = " + "(" * 5000 + ")" * 5000})
    (tmp_path / "latin.py").write_bytes(b"# fastapi app \xe9\napp = 1\n")
    (tmp_path / "binary.py").write_bytes(bytes(range(256)) + b"fastapi")
    (tmp_path / "large.py").write_text("# app\n" * 400_000)
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "chain.py").write_text("app = fastapi" + ".a" * 2000 + "()")
    (tmp_path / "escape.py").write_text(r"app = 'fastapi \d'")
    (tmp_path / "circle.py").write_text("from circle import app\nfrom fastapi import app as app")
    assert find_app(tmp_path).entrypoint == "shop.web:app"


@given(source=st.text(alphabet=string.printable, max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_text_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "main.py").write_text(source, encoding="utf-8")
    (project / "requirements.txt").write_text(source, encoding="utf-8")
    with pytest.raises(UsageError):
        find_app(project)
    assert isinstance(find_app(make(project, {"app.py": APP})), FoundApp)


PARTS = (
    "from fastapi import FastAPI, APIRouter",
    "app = FastAPI()",
    "app = app",
    "def app(): return app()",
    "def make(): return make()",
    "app = make()",
    "class FastAPI(FastAPI): pass",
    "router = APIRouter(prefix=router)",
    "router.include_router(router, prefix='/a')",
    "app.include_router(router)",
    "app.mount('/x', app)",
    "make(app)",
    "@app.get('/health')\ndef health(): pass",
    "from .main import *",
    "from . import main",
    "app.x.y()()",
    "P = P + P",
    "app.get(P)",
    "if __name__: app: FastAPI = (x := FastAPI())",
)


@given(lines=st.lists(st.sampled_from(PARTS), max_size=12))
@settings(max_examples=100, deadline=None)
def test_code_that_goes_round_in_circles(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    project = make(tmp_path_factory.mktemp("project"), {"main.py": "\n".join(lines)})
    try:
        found = find_app(project)
    except UsageError:
        return
    assert found.entrypoint == "main:app" or found.entrypoint.startswith("main:")


ROUTER = "from fastapi import APIRouter\nrouter = APIRouter(prefix='/v1')\n"


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"main.py": APP + "@app.get('/health')\ndef h(): ..."}, "/health"),
        ({"main.py": APP + "@app.get('/healthz/')\nasync def h(): ..."}, "/healthz/"),
        ({"main.py": APP + "@app.get(path='/ping')\ndef h(): ..."}, "/ping"),
        ({"main.py": APP + "@app.api_route('/up', methods=['GET'])\ndef h(): ..."}, "/up"),
        ({"main.py": APP + "@app.api_route('/up', methods=['POST'])\ndef h(): ..."}, "/docs"),
        ({"main.py": APP + "@app.post('/health')\ndef h(): ..."}, "/docs"),
        ({"main.py": APP + "@app.get('/health/{name}')\ndef h(name): ..."}, "/docs"),
        ({"main.py": APP + "@app.get('/health')\ndef h(q: str): ..."}, "/docs"),
        ({"main.py": APP + "@app.get('/orders/status')\ndef h(): ..."}, "/docs"),
        ({"main.py": APP + "@app.get('/health/live')\ndef h(): ..."}, "/health/live"),
        ({"main.py": APP + "app.add_api_route('/livez', print)"}, "/livez"),
        ({"main.py": APP + "@app.get('/')\ndef h(): ..."}, "/"),
        (
            {
                "main.py": APP + "@app.get('/ready')\ndef h(): ...\n"
                "@app.get('/health')\ndef i(): ..."
            },
            "/health",
        ),
        ({"main.py": APP}, "/docs"),
        ({"main.py": "import fastapi\napp = fastapi.FastAPI(docs_url='/d')"}, "/d"),
        ({"main.py": "import fastapi\napp = fastapi.FastAPI(docs_url=None)"}, None),
        ({"main.py": "import fastapi\napp = fastapi.FastAPI(openapi_url=None)"}, None),
        ({"main.py": "import fastapi, x\napp = fastapi.FastAPI(**x.y)"}, None),
        (
            {
                "main.py": APP
                + "from routes import router\napp.include_router(router, prefix='/api')"
            }
            | {"routes.py": ROUTER + "@router.get('/health')\ndef h(): ..."},
            "/api/v1/health",
        ),
        (
            {"main.py": APP + "import routes\napp.include_router(routes.router, prefix=get())"}
            | {"routes.py": ROUTER + "@router.get('/health')\ndef h(): ..."},
            "/docs",
        ),
        (
            {
                "app/main.py": APP + "from app import conf\nfrom app.api import health\n"
                "app.include_router(health.router, prefix=f'{conf.settings.API}/x')"
            }
            | {"app/api/health.py": ROUTER + "@router.get('/health')\ndef h(): ..."}
            | {"app/conf.py": "class S:\n  API: str = '/api'\nsettings = S()"},
            "/api/x/v1/health",
        ),
        (
            {
                "main.py": "from fastapi import FastAPI\ndef make():\n  a = FastAPI()\n"
                "  @a.get('/healthz')\n  def h(): ...\n  return a\napp = make()"
            },
            "/healthz",
        ),
        (
            {"main.py": APP + "from routes import register\nregister(app)"}
            | {"routes.py": "def register(target):\n  @target.get('/health')\n  def h(): ..."},
            "/health",
        ),
        (
            {
                "main.py": "from fastapi import FastAPI\nfrom sub import inner\napp = FastAPI()\n"
                "app.mount('/inner', inner)"
            }
            | {
                "sub.py": "from fastapi import FastAPI\ninner = FastAPI()\n"
                "@inner.get('/health')\ndef h(): ..."
            },
            "/inner/health",
        ),
    ],
)
def test_health_path(tmp_path: Path, files: Files, path: str | None) -> None:
    found = find_app(make(tmp_path, files))
    assert found.health_path == path
    assert found.health_why


GUARDED = "from fastapi import Depends, FastAPI\n"
HEALTH = "@app.get('/health')\ndef h(): ...\n"


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"main.py": GUARDED + "app = FastAPI(dependencies=[Depends(check)])\n" + HEALTH}, "/docs"),
        ({"main.py": GUARDED + "app = FastAPI(dependencies=[])\n" + HEALTH}, "/health"),
        (
            {
                "main.py": GUARDED
                + "app = FastAPI()\n@app.get('/health', dependencies=[Depends(check)])\n"
                + "def h(): ...\n@app.get('/ping')\ndef p(): ..."
            },
            "/ping",
        ),
        (
            {
                "main.py": GUARDED
                + "app = FastAPI()\n@app.get('/health')\ndef h(u=Depends(get_current_user)): ..."
            },
            "/docs",
        ),
        (
            {
                "main.py": GUARDED
                + "app = FastAPI()\n@app.get('/health')\ndef h(d=Depends(db)): ..."
            },
            "/health",
        ),
        (
            {"main.py": APP + "from r import router\napp.include_router(router, dependencies=[d])"}
            | {"r.py": ROUTER + "@router.get('/health')\ndef h(): ..."},
            "/docs",
        ),
    ],
)
def test_a_route_that_may_want_a_login_is_no_health_check(
    tmp_path: Path, files: Files, path: str
) -> None:
    found = find_app(make(tmp_path, files))
    assert found.health_path == path
    assert found.guard_note is None


def test_the_only_route_may_want_a_login(tmp_path: Path) -> None:
    text = "app = FastAPI(openapi_url=None, dependencies=[Depends(check)])\n"
    found = find_app(make(tmp_path, {"main.py": GUARDED + text + HEALTH}))
    assert found.health_path == "/health"
    assert found.guard_note in found.notes
    assert found.guard_note is not None
    assert "GET /health in main.py is the health check, and has dependencies" in found.guard_note


TRUSTED = "from fastapi.middleware.trustedhost import TrustedHostMiddleware\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "app.add_middleware(TrustedHostMiddleware, allowed_hosts=['example.com', '*.a.com'])",
            'set domains = ["example.com"]',
        ),
        (
            "app.add_middleware(TrustedHostMiddleware, allowed_hosts=s.hosts)",
            "has to know the first",
        ),
        ("app.add_middleware(TrustedHostMiddleware, allowed_hosts=['*'])", None),
        ("app.add_middleware(TrustedHostMiddleware, allowed_hosts=['a.com', '*.localhost'])", None),
        ("app.add_middleware(CORSMiddleware, allow_origins=['a.com'])", None),
    ],
)
def test_names_that_the_app_answers_for(tmp_path: Path, line: str, words: str | None) -> None:
    found = find_app(make(tmp_path, {"main.py": TRUSTED + APP + HEALTH + line}))
    assert (found.hosts_note is None) is (words is None)
    assert words is None or words in (found.hosts_note or "")


def test_root_path(tmp_path: Path) -> None:
    source = "from fastapi import FastAPI\napp = FastAPI(root_path='/api')"
    assert find_app(make(tmp_path, {"main.py": source})).root_path == "/api"


PROJECT = '[project]\nname = "shop"\ndependencies = ["fastapi[standard]"]\n'
POETRY = (
    '[tool.poetry]\nname = "shop"\n[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\n'
)
BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
LOCK = """
version = 1
requires-python = ">=3.11"
[manifest]
members = ["api", "lib"]
[[package]]
name = "api"
source = { editable = "packages/api" }
dependencies = [{ name = "uvicorn" }, { name = "lib" }, { name = "loose" }]
[[package]]
name = "lib"
source = { editable = "packages/lib" }
[[package]]
name = "loose"
source = { directory = "libs/loose" }
[[package]]
name = "unused"
source = { virtual = "packages/unused" }
[[package]]
name = "uvicorn"
source = { registry = "https://pypi.org/simple" }
"""


DYNAMIC = '[project]\nname = "a"\nversion = "1"\ndynamic = ["dependencies"]\n'
HATCH = '[tool.hatch.metadata.hooks.requirements_txt]\nfiles = ["reqs/base.txt"]\n'


@pytest.mark.parametrize(
    ("files", "kind", "dependency_files"),
    [
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, "uv", ("pyproject.toml", "uv.lock")),
        ({"pyproject.toml": PROJECT + "[tool.uv]\n"}, "uv", ("pyproject.toml",)),
        ({"pyproject.toml": PROJECT}, "uv", ("pyproject.toml",)),
        ({"pyproject.toml": POETRY}, "poetry", ("pyproject.toml",)),
        (
            {"pyproject.toml": POETRY, "poetry.lock": ""},
            "poetry",
            ("pyproject.toml", "poetry.lock"),
        ),
        (
            {"pyproject.toml": PROJECT, "poetry.lock": ""},
            "poetry",
            ("pyproject.toml", "poetry.lock"),
        ),
        ({"requirements.txt": "fastapi[standard]"}, "requirements", ("requirements.txt",)),
        (
            {"pyproject.toml": "[tool.poetry]\nname = 'x'", "requirements.txt": "fastapi"},
            "requirements",
            ("requirements.txt",),
        ),
        (
            {"requirements/prod.txt": "-r base.txt\nuvicorn", "requirements/base.txt": "fastapi"},
            "requirements",
            ("requirements/prod.txt", "requirements/base.txt"),
        ),
        (
            {"pyproject.toml": "[tool.ruff]", "requirements.txt": "fastapi"},
            "requirements",
            ("requirements.txt",),
        ),
        ({"pyproject.toml": PROJECT, "requirements.txt": "fastapi"}, "uv", ("pyproject.toml",)),
        (
            {"pyproject.toml": PROJECT, "requirements.txt": "fastapi==0.120.0\nuvicorn==0.30"},
            "requirements",
            ("requirements.txt",),
        ),
        (
            {"pyproject.toml": PROJECT, "requirements.txt": "fastapi==0.120.0", "uv.lock": ""},
            "uv",
            ("pyproject.toml", "uv.lock"),
        ),
        (
            {
                "pyproject.toml": DYNAMIC
                + '[tool.setuptools.dynamic]\ndependencies = {file = "r.in"}'
            }
            | {"r.in": "fastapi"},
            "requirements",
            ("r.in",),
        ),
        (
            {"pyproject.toml": DYNAMIC + HATCH, "reqs/base.txt": "fastapi"},
            "requirements",
            ("reqs/base.txt",),
        ),
        ({}, "single-file", ()),
        ({"pyproject.toml": "[tool.ruff]\n"}, "single-file", ()),
        (
            {"main.py": "# /// script\n# dependencies = ['fastapi']\n# ///\n" + APP},
            "script",
            ("main.py",),
        ),
        (
            {"main.py": "# /// script\n# dependencies = ['fastapi']\n# ///\n" + APP}
            | {"main.py.lock": ""},
            "script",
            ("main.py", "main.py.lock"),
        ),
    ],
)
def test_find_packaging(
    tmp_path: Path, files: Files, kind: str, dependency_files: tuple[str, ...]
) -> None:
    found = find_packaging(make(tmp_path, {"main.py": APP} | files), "main.py")
    assert (found.kind, found.files) == (kind, dependency_files)
    assert found.why
    assert (found.name == "shop") == ('name = "shop"' in files.get("pyproject.toml", ""))


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({"environment.yml": ""}, "packaging_unknown", "requirements.txt"),
        ({"requirements.txt": "fastapi\n-e ."}, "path_dependency", "'-e .'"),
        ({"requirements.txt": "./libs/x"}, "path_dependency", "./libs/x"),
        ({"requirements.txt": "-r ../more.txt"}, "requirements_invalid", "../more.txt"),
        ({"requirements.txt": "-c missing.txt"}, "requirements_invalid", "missing.txt"),
        (
            {
                "pyproject.toml": DYNAMIC
                + '[tool.setuptools.dynamic]\ndependencies = {file = ["a.txt", "b.txt"]}',
                "a.txt": "fastapi",
                "b.txt": "httpx",
            },
            "requirements_invalid",
            "-r b.txt",
        ),
        ({"poetry.lock": ""}, "dependencies_unknown", "pyproject.toml"),
        ({"pyproject.toml": DYNAMIC}, "dependencies_unknown", "uv lock"),
        (
            {"pyproject.toml": '[tool.poetry.dependencies]\nx = {path = "../x"}\n'},
            "path_dependency",
            "../x",
        ),
        (
            {"pyproject.toml": POETRY}
            | {"poetry.lock": '[[package]]\nname="x"\n[package.source]\ntype="directory"\nurl="x"'},
            "path_dependency",
            "uv",
        ),
        (
            {"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n[tool.uv]\na=1'},
            "dependencies_unknown",
            "uv lock",
        ),
        (
            {"pyproject.toml": PROJECT + "[tool.uv.sources]\nlib = { path = 'lib' }"},
            "lock_missing",
            "uv lock",
        ),
        (
            {"pyproject.toml": PROJECT}
            | {
                "uv.lock": '[[package]]\nname="shop"\nsource={virtual="."}\n'
                'dependencies=[{name="x"}]\n[[package]]\nname="x"\nsource={editable="../x"}'
            },
            "outside_project",
            "../x",
        ),
        ({"pyproject.toml": PROJECT, "uv.lock": "["}, "file_invalid", "uv.lock"),
        ({"main.py": "# /// script\n# dependencies = [\n# ///\n"}, "file_invalid", "main.py"),
    ],
)
def test_packaging_that_cannot_be_built(tmp_path: Path, files: Files, code: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_packaging(make(tmp_path, {"main.py": APP} | files), "main.py")
    assert caught.value.code == code
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_a_member_of_a_workspace_is_built_with_what_it_needs(tmp_path: Path) -> None:
    build = '[project]\nname = "api"\ndependencies = ["fastapi"]\n' + BUILD
    project = make(
        tmp_path,
        {"pyproject.toml": "[tool.uv.workspace]\nmembers = ['packages/*']", "uv.lock": LOCK}
        | {"packages/api/pyproject.toml": build, "packages/api/src/api/main.py": APP},
    )
    app = find_app(project)
    found = find_packaging(project, app.file)
    assert (app.entrypoint, app.root) == ("api.main:app", "packages/api/src")
    assert found.package == "api"
    assert found.install == ("libs/loose", "packages/api", "packages/lib")
    assert "packages/unused/pyproject.toml" in found.files
    with pytest.raises(UsageError, match="member of the uv workspace"):
        find_packaging(project / "packages" / "api", "src/api/main.py")


@pytest.mark.parametrize(
    ("extra", "installed"),
    [
        (BUILD, True),
        ("", False),
        (BUILD.replace('["hatchling"]', '["hatchling", "hatch-vcs"]'), False),
        (BUILD + "[tool.uv]\npackage = false", False),
    ],
)
def test_a_package_below_src_is_installed(tmp_path: Path, extra: str, installed: bool) -> None:
    files = {"pyproject.toml": PROJECT + extra, "uv.lock": "", "README.md": "", "LICENSE": ""}
    project = make(tmp_path, files | {"src/shop/main.py": APP})
    found = find_packaging(project, "src/shop/main.py")
    assert found.install == ((".",) if installed else ())
    assert found.build_files == (("pyproject.toml", "LICENSE", "README.md") if installed else ())


@pytest.mark.parametrize(
    ("pyproject", "computed"),
    [
        (PROJECT, False),
        (DYNAMIC, True),
        (DYNAMIC.replace("dependencies", "optional-dependencies"), True),
        (DYNAMIC.replace("dependencies", "version"), False),
    ],
)
def test_what_only_a_build_knows_is_not_compared_with_the_lock(
    tmp_path: Path, pyproject: str, computed: bool
) -> None:
    """uv builds the project to compare them, for which its files are not there yet."""
    project = make(tmp_path, {"pyproject.toml": pyproject, "uv.lock": "", "main.py": APP})
    found = find_packaging(project, "main.py")
    assert found.computed is computed
    app = find_app(project)
    option = "--frozen" if computed else "--locked"
    assert f"uv export --quiet {option} " in render_dockerfile(app, found, ("main.py",), port=80)


def test_fastapi_in_an_extra_or_a_group(tmp_path: Path) -> None:
    extra = '[project]\nname = "x"\n[project.optional-dependencies]\nserver = ["FastAPI>=0.1"]\n'
    assert find_packaging(make(tmp_path, {"pyproject.toml": extra})).extras == ("server",)
    group = '[project]\nname = "x"\n[dependency-groups]\nweb = ["fastapi[all]"]\n'
    assert find_packaging(make(tmp_path, {"pyproject.toml": group})).groups == ("web",)


@pytest.mark.parametrize(
    ("tables", "extras", "groups"),
    [
        ('[project.optional-dependencies]\nserve = ["uvicorn"]', ("serve",), ()),
        (
            '[project.optional-dependencies]\nall = ["uvicorn", "x"]\nweb = ["uvicorn"]',
            ("web",),
            (),
        ),
        (
            '[project.optional-dependencies]\ndev = ["uvicorn"]\nweb = ["a", "uvicorn"]',
            ("web",),
            (),
        ),
        ('[dependency-groups]\nrun = ["fastapi[standard]"]', (), ("run",)),
        ('[dependency-groups]\ndev = ["uvicorn"]', (), ()),
        ("[tool.taskipy.tasks]\nrun = 'uvicorn app:app'", (), ()),
    ],
)
def test_server_in_an_extra_or_a_group(
    tmp_path: Path, tables: str, extras: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    project = f'[project]\nname = "x"\ndependencies = ["fastapi"]\n{tables}\n'
    found = find_packaging(make(tmp_path, {"main.py": APP, "pyproject.toml": project}), "main.py")
    assert (found.extras, found.groups) == (extras, groups)
    told = any("brings uvicorn" in warning for warning in found.warnings)
    assert told is not bool(extras or groups)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"requirements.txt": "fastapi"}, "brings uvicorn"),
        ({"pyproject.toml": PROJECT}, "`uv lock`"),
        ({"pyproject.toml": POETRY}, "`poetry lock`"),
        (
            {"main.py": "# /// script\n# dependencies = ['fastapi[standard]']\n# ///\n" + APP},
            "`uv lock --script main.py`",
        ),
    ],
)
def test_packaging_warnings(tmp_path: Path, files: Files, says: str) -> None:
    found = find_packaging(make(tmp_path, {"main.py": APP} | files), "main.py")
    assert any(says in warning for warning in found.warnings)


def test_requirements_of_powershell(tmp_path: Path) -> None:
    make(tmp_path, {"main.py": APP})
    (tmp_path / "requirements.txt").write_text("fastapi[standard]==0.120.0\n", encoding="utf-16")
    found = find_packaging(tmp_path, "main.py")
    assert (found.listed, found.utf16, found.locked) == (
        ("fastapi[standard]==0.120.0",),
        True,
        True,
    )
    assert ["UTF-16" in warning for warning in found.warnings] == [True]


@pytest.mark.parametrize(
    ("line", "valid"),
    [
        ("fastapi[standard]>=0.1,<1; python_version > '3.9'  # web", True),
        ("uvicorn==0.30 --hash=sha256:ab --hash=sha256:cd", True),
        ("-e git+https://example.com/x.git#egg=x", True),
        ("x @ https://example.com/x.whl", True),
        ("--extra-index-url https://example.com/simple", True),
        ("Tip: run pip freeze", False),
        ("numpy=1.22=py310h", False),
        ("Package   Version", False),
    ],
)
def test_lines_that_are_no_requirements(tmp_path: Path, line: str, valid: bool) -> None:
    files = {"main.py": APP, "requirements.txt": f"fastapi[standard]\n{line}\n"}
    warnings = find_packaging(make(tmp_path, files), "main.py").warnings
    assert any("no requirement" in warning for warning in warnings) != valid


def test_nothing_to_warn_about(tmp_path: Path) -> None:
    files = {"requirements.txt": "FastAPI[standard, x]==0.1 ; python_version > '3'  # web\n"}
    assert find_packaging(make(tmp_path, files)).warnings == ()


@pytest.mark.parametrize(
    ("constraint", "version"),
    [
        (">=3.11", "3.13"),
        (">=3.13.2", "3.13"),
        ("<3.13,>=3.9", "3.12"),
        (">=3.11, <3.12", "3.11"),
        ("==3.12.*", "3.12"),
        ("==3.12.4", "3.12.4"),
        ("~=3.11", "3.13"),
        ("~=3.11.2", "3.11"),
        ("!=3.13.*", "3.12"),
        (">=3.14", "3.14"),
        ("^3.11", "3.13"),
        ("^3.10.1", "3.13"),
        ("~3.12", "3.12"),
        ("3.11", "3.11"),
        ("~3.9 || ~3.11", "3.11"),
        (">=3.9 <4.0", "3.13"),
        (">=3.9,<3.10", "3.9"),
        ("<3.9", "3.8"),
        ("<3.8", None),
        (">=4", None),
        ("3.11.7", "3.11.7"),
        ("=3.11.7", "3.11.7"),
        ("==2.7.18", None),
    ],
)
def test_python_version(constraint: str, version: str | None) -> None:
    assert newest(constraint) == version


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        ({"main.py": APP, "other.py": "", "tests/test_main.py": ""}, ("main.py",)),
        (
            {"main.py": APP + "from routers import users\nimport config", "routers/users.py": ""}
            | {"config.py": "import deep.er", "deep/er/__init__.py": "", "unused/__init__.py": ""},
            ("config.py", "deep/", "main.py", "routers/"),
        ),
        (
            {"app/main.py": APP + "def f():\n    from shared import x", "app/__init__.py": ""}
            | {"shared/__init__.py": "", "tools/x.py": ""},
            ("app/", "shared/"),
        ),
        (
            {
                "app/main.py": APP,
                "app/plugins.py": "import importlib\nimportlib.import_module('plugins.one')",
                "plugins/one.py": "",
            },
            ("app/", "plugins/"),
        ),
        (
            {"src/shop/main.py": APP + "import core", "src/core.py": ""},
            ("src/core.py", "src/shop/"),
        ),
        (
            {
                "main.py": APP + "app.mount('/s', StaticFiles(directory='static'))\n"
                "t = Jinja2Templates('templates')\nx = open('data/x.json')\ny = open('missing')",
                "static/a.css": "",
                "templates/a.html": "",
                "data/x.json": "",
                "data/y.json": "",
            },
            ("data/x.json", "main.py", "static/", "templates/"),
        ),
        (
            {
                "main.py": APP + "from pathlib import Path\np = Path(__file__).parent / 'assets'\n"
                "load('.env')\nload('pyproject.toml')\ntags = ['docs']\nz = 'secret.pem'",
                "assets/a": "",
                ".env": "",
                "pyproject.toml": "",
                "docs/a.md": "",
                "secret.pem": "",
            },
            ("assets/", "main.py"),
        ),
        (
            {
                "app/main.py": APP,
                "alembic.ini": "[alembic]\nscript_location = %(here)s/migrations",
                "migrations/env.py": "from models import Base",
                "models.py": "",
            },
            ("alembic.ini", "app/", "migrations/", "models.py"),
        ),
        (
            {
                "app/main.py": APP,
                "worker.py": "",
                "pyproject.toml": "[tool.deploytool.services.w]\n"
                "command = ['python', '-m', 'worker']",
            },
            ("app/", "worker.py"),
        ),
        (
            {"app/main.py": APP + "open('/etc/passwd')\nopen('../x')\nopen('')\nopen('.')"},
            ("app/",),
        ),
        ({"main.py": APP + "import logging", "logging/config.yaml": ""}, ("main.py",)),
    ],
)
def test_find_sources(tmp_path: Path, files: Files, sources: tuple[str, ...]) -> None:
    project = make(tmp_path, files)
    assert find_sources(project, find_app(project)) == sources


def test_folders_of_tests_the_app_are_found(tmp_path: Path) -> None:
    make(
        tmp_path, {"app/tests/test_a.py": "", "app/routers/tests/models.py": "", "app/main.py": ""}
    )
    assert folders_of_tests(tmp_path, ["app/"]) == ("app/tests",)
