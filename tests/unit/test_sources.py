"""What of a project goes into the image: modules that are reached, and files that they name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover import (
    copied_files,
    find_app,
    find_sources,
    reached_files,
    reads_own_metadata,
)
from tests.unit.test_discover import APP, Files, make

PATHS = (
    "import os, tomllib\nfrom importlib.resources import files\nfrom pathlib import Path\n" + APP
)
HERE = "Path(__file__).parent"


def sources(folder: Path, files: Files) -> tuple[str, ...]:
    project = make(folder, files)
    return find_sources(project, find_app(project))


@pytest.mark.parametrize(
    ("expression", "copied"),
    [
        pytest.param(f"{HERE}.parent / 'data' / 'x.json'", "data/x.json", id="up and down"),
        pytest.param(f"({HERE}.parent / 'data').glob('*')", "data/", id="folder"),
        pytest.param("Path(__file__).parents[1] / 'data/x.json'", "data/x.json", id="parents"),
        pytest.param(f"{HERE}.resolve().parent / 'data'", "data/", id="resolve"),
        pytest.param(
            "os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')",
            "data/",
            id="os.path",
        ),
        pytest.param(
            "os.path.join(os.path.dirname(__file__), '..', 'data')", "data/", id="two dots"
        ),
        pytest.param("Path(os.path.dirname(__file__), os.pardir)", None, id="not known"),
        pytest.param(f"open(str({HERE}.parent) + '/data/x.json')", "data/x.json", id="added"),
        pytest.param("f'{Path(__file__).parent.parent}/data/x.json'", "data/x.json", id="f-string"),
        pytest.param(f"{HERE}.parent.joinpath('data', name)", "data/", id="only the folder"),
        pytest.param("open(f'data/{name}.json')", "data/", id="the folder of any name"),
        pytest.param("open('data/x.json')", "data/x.json", id="relative"),
        pytest.param("Path.cwd() / 'data' / 'x.json'", "data/x.json", id="working folder"),
        pytest.param("Path('data', 'x.json').read_text()", "data/x.json", id="two parts"),
        pytest.param("settings.BASE / 'data'", "data/", id="constant of a class"),
        pytest.param("conf.ROOT / 'data'", "data/", id="constant of a module"),
        pytest.param("ROOT / 'data'", "data/", id="imported constant"),
        pytest.param("unknown() / 'data'", "data/", id="from anywhere"),
        pytest.param("open(os.getenv('ROWS', 'data/x.json'))", "data/x.json", id="default"),
        pytest.param("open('data/%s.json' % name)", "data/", id="percent"),
        pytest.param("open(f'{1}/data/x.json')", None, id="only the end is known"),
        pytest.param("files('app').joinpath('../data')", "data/", id="beside a package"),
        pytest.param(f"open({HERE} / 'data' / 'x.json')", None, id="not in the file's folder"),
        pytest.param(f"{HERE}.parent / 'pyproject.toml'", "pyproject.toml", id="pyproject"),
        pytest.param("tomllib.load(open('pyproject.toml', 'rb'))", "pyproject.toml", id="opened"),
        pytest.param("Path('README.md').read_text()", "README.md", id="README"),
        pytest.param("print('pyproject.toml', 'README.md')", None, id="only said"),
        pytest.param("open('VERSION')", "VERSION", id="VERSION"),
        pytest.param(f"open({HERE}.parent / '.env')", None, id="settings"),
        pytest.param(f"open({HERE}.parent / 'key.pem')", None, id="key"),
        pytest.param("open('shop.db')", None, id="database"),
        pytest.param("open('uv.lock')", None, id="lock"),
        pytest.param(f"open({HERE}.parent.parent / 'x')", None, id="outside"),
        pytest.param(f"{HERE}.parent / ''", None, id="the project itself"),
    ],
)
def test_files_that_the_source_names(tmp_path: Path, expression: str, copied: str | None) -> None:
    source = PATHS + "from app import conf\nfrom app.conf import ROOT, settings\n" + expression
    files = {"app/main.py": source, "app/__init__.py": ""} | {
        "app/conf.py": f"from pathlib import Path\nROOT = {HERE}.parent\n"
        f"class S:\n    BASE = {HERE}.parent.resolve()\nsettings = S()\n"
    }
    there = ("data/x.json", "pyproject.toml", "README.md", "VERSION", ".env", "key.pem", "shop.db")
    wanted = [copied] if copied else []
    assert sources(tmp_path, files | dict.fromkeys((*there, "uv.lock"), "")) == tuple(
        sorted(["app/", *wanted])
    )


def test_relative_paths_belong_to_the_working_folder(tmp_path: Path) -> None:
    files = {"backend/main.py": "import core\n" + APP + "open('x.json')", "backend/core.py": ""}
    found = sources(tmp_path, files | {"backend/x.json": "", "x.json": ""})
    assert found == ("backend/core.py", "backend/main.py", "backend/x.json")


def test_a_long_chain_of_texts_and_folders(tmp_path: Path) -> None:
    added = " + ".join(["ROOT", *(f"'/{number}'" for number in range(2_000))])
    divided = " / ".join([HERE, *(f"'{number}'" for number in range(2_000))])
    parents = HERE + ".parent" * 60
    lines = "\n".join(["from pathlib import Path", f"ROOT = {HERE}", added, divided, parents])
    assert sources(tmp_path, {"main.py": APP + lines}) == ("main.py",)


def test_a_field_whose_type_is_too_deep(tmp_path: Path) -> None:
    deep = " | ".join(["int"] * 2_000)
    source = "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n"
    source += f"    rows: str = 'x.json'\n    deep: {deep} = 1\ns = S()\nopen(s.rows)\n"
    assert sources(tmp_path, {"main.py": APP + source, "x.json": ""}) == ("main.py", "x.json")


def test_migrations_beside_the_modules(tmp_path: Path) -> None:
    files = {"api/main.py": "import models\n" + APP, "api/models.py": "", "api/alembic/env.py": ""}
    found = sources(tmp_path, files | {"api/alembic.ini": "[alembic]\nscript_location = alembic"})
    assert found == ("api/alembic.ini", "api/alembic/", "api/main.py", "api/models.py")


def test_other_processes_and_files(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        {"app/main.py": APP, "worker/__init__.py": "", "worker/jobs/run.py": "import shared"}
        | {"worker/jobs/__init__.py": "", "shared.py": "", "seed.py": "open('rows.csv')"}
        | {"rows.csv": "", "jobs.py": "", "unused.py": "", "more/x.txt": ""},
    )
    app = find_app(project)
    found = find_sources(
        project, app, modules=["jobs"], files=["worker/jobs/run.py", "seed.py", "more", "no.py"]
    )
    wanted = ("app/", "jobs.py", "more/", "rows.csv", "seed.py", "shared.py", "worker/")
    assert found == wanted


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("import app.a", ["app/__init__.py", "app/a.py"]),
        ("from app import a", ["app/__init__.py", "app/a.py"]),
        ("from . import a", ["app/__init__.py", "app/a.py"]),
        ("def later():\n    from app import a", ["app/__init__.py", "app/a.py"]),
        ("import importlib\nimportlib.import_module('app.a')", ["app/a.py"]),
        (
            "import importlib\nimportlib.import_module(f'app.plugins.{name}')",
            ["app/plugins/one.py", "app/plugins/two.py"],
        ),
        (
            "from importlib import import_module\nimport_module('app.plugins.' + name)",
            ["app/plugins/one.py", "app/plugins/two.py"],
        ),
        ("from space import deep", ["space/deep.py"]),
        ("import app.uses_pkgutil", ["app/__init__.py", "app/a.py", "app/uses_pkgutil.py"]),
    ],
)
def test_reached_files(tmp_path: Path, source: str, reached: list[str]) -> None:
    files = {"app/main.py": source + "\n" + APP, "app/__init__.py": "", "app/a.py": ""}
    files |= {"app/plugins/one.py": "", "app/plugins/two.py": "", "space/deep.py": ""}
    if "pkgutil" in source:
        text = "import pkgutil\npkgutil.iter_modules(__path__)"
        files = {"app/main.py": source + "\n" + APP, "app/__init__.py": "", "app/a.py": ""}
        files |= {"app/uses_pkgutil.py": text}
    project = make(tmp_path, files | {"app/tests/test_a.py": "", "unused.py": ""})
    found = {str(file) for file in reached_files(project, find_app(project))}
    assert found == {"app/main.py", *reached}


def test_copied_files(tmp_path: Path) -> None:
    files = {
        "app/main.py": APP,
        "app/a/b.py": "",
        "app/tests/test_a.py": "",
        "x.py": "",
        "y.py": "",
    }
    project = make(tmp_path, files)
    found = copied_files(project, ["app/", "x.py"])
    assert [str(file) for file in found] == ["x.py", "app/main.py", "app/a/b.py"]


GROUPS = '[project]\nname = "x"\n[project.entry-points."shop.plugins"]\na = "b:c"\n'


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("from importlib.metadata import version\nv = version('my-svc')", True),
        ("from importlib import metadata\nv = metadata.version('My.Svc')", True),
        ("import importlib.metadata as m\nNAME = 'my_svc'\nv = m.metadata(NAME)", True),
        ("def f():\n    import importlib_metadata as m\n    m.distribution('my-svc')", True),
        ("import pkg_resources\nv = pkg_resources.get_distribution('my-svc').version", True),
        ("from importlib.metadata import version\nv = version(__package__)", True),
        ("from importlib.metadata import version\nv = version(__name__.split('.')[0])", True),
        ("from importlib.metadata import version\nv = version(distribution_name='my-svc')", True),
        ("from importlib.metadata import entry_points\nentry_points(group='shop.plugins')", True),
        ("from importlib.metadata import entry_points\nentry_points(group=name)", True),
        ("from importlib.metadata import entry_points\nentry_points(group='others')", False),
        ("from importlib.metadata import version\nv = version('fastapi')", False),
        ("from elsewhere import version\nv = version('my-svc')", False),
        (
            "from importlib.metadata import *\ntry:\n    v = version('my-svc')\n"
            "except PackageNotFoundError:\n    v = '0'",
            False,
        ),
        (
            "from importlib.metadata import version\ntry:\n    v = version('my-svc')\n"
            "except ZeroDivisionError:\n    v = '0'",
            True,
        ),
    ],
)
def test_own_metadata(tmp_path: Path, source: str, reads: bool) -> None:
    project = make(tmp_path, {"my_svc/main.py": source, "my_svc/__init__.py": ""})
    make(project, {"pyproject.toml": GROUPS})
    files = [PurePosixPath("my_svc/__init__.py"), PurePosixPath("my_svc/main.py")]
    found = reads_own_metadata(project, files, "my-svc")
    assert found == ("my_svc/main.py" if reads else None)
