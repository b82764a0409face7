"""What an app writes, by its source; and how that is kept."""

from __future__ import annotations

import textwrap
from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover.files.writes import Write, find_writes
from deploytool.discover.source import Project

Files = dict[str, str]


def written(folder: Path, files: Files | str, workdir: str = ".") -> tuple[Write, ...]:
    files = {"app/main.py": files} if isinstance(files, str) else files
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    paths = [PurePosixPath(name) for name in files]
    return find_writes(Project(folder), paths, PurePosixPath(workdir))


def told(writes: tuple[Write, ...]) -> list[str]:
    """Kind, path and, where there is one, the variable; a folder ends with "/"."""
    return [
        f"{write.kind} {write.path}{'/' * write.is_folder}"
        + (f" {write.variable}={write.value}" if write.variable else "")
        for write in writes
    ]


DATABASES = [
    ("import sqlite3\nsqlite3.connect('data.db', check_same_thread=False)", "sqlite data.db"),
    ("from sqlite3 import connect as c\nc('x/data.db')", "sqlite x/data.db"),
    ("import sqlite3\nsqlite3.connect(database='data.db')", "sqlite data.db"),
    ("import sqlite3\nsqlite3.connect('file:data.db?mode=rwc', uri=True)", "sqlite data.db"),
    (
        "import aiosqlite\nasync def f():\n  async with aiosqlite.connect('a.db'): pass",
        "sqlite a.db",
    ),
    ("URL = 'sqlite:///./app.db'", "sqlite app.db"),
    ("URL = 'sqlite+aiosqlite:///db/app.db?timeout=5'", "sqlite db/app.db"),
    ("URL = 'sqlite:////data/app.db'", "sqlite /data/app.db"),
    ("URL = 'sqlite:////code/app.db'", "sqlite app.db"),
    ("URL = 'sqlite:///' + 'app.db'", "sqlite app.db"),
    ("NAME = 'app.db'\nURL = f'sqlite:///{NAME}'", "sqlite app.db"),
    ("NAME = 'app.db'\nURL = 'sqlite:///' + NAME", "sqlite app.db"),
    (
        "from pathlib import Path\nBASE = Path(__file__).resolve().parent\n"
        "URL = f'sqlite:///{BASE}/app.db'",
        "sqlite app/app.db",
    ),
    (
        "from pathlib import Path\nURL = f'sqlite:///{Path(__file__).parents[1] / \"app.db\"}'",
        "sqlite app.db",
    ),
    (
        "import os, sqlite3\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
        "sqlite3.connect(os.path.join(HERE, '..', 'data', 'app.db'))",
        "sqlite data/app.db",
    ),
    ("import os, sqlite3\nsqlite3.connect(os.path.join(os.getcwd(), 'a.db'))", "sqlite a.db"),
    ("from pathlib import Path\nimport sqlite3\nsqlite3.connect(str(Path('a.db')))", "sqlite a.db"),
    ("from peewee import SqliteDatabase\ndb = SqliteDatabase('a.db')", "sqlite a.db"),
    ("import tortoise\nT = {'db_url': 'sqlite://db.sqlite3'}", "sqlite db.sqlite3"),
    ("import tortoise\nT = {'db_url': 'sqlite:///data/db.sqlite3'}", "sqlite /data/db.sqlite3"),
    ("C = {'credentials': {'file_path': 'db.sqlite3'}}", "sqlite db.sqlite3"),
    ("from tinydb import TinyDB\ndb = TinyDB('db.json')", "database db.json"),
    ("import shelve\nshelve.open('shelf')", "database shelf"),
    (
        "import sqlite3\ndef path(): return 'a.db'\ndef use(): sqlite3.connect(path())",
        "sqlite a.db",
    ),
    ("import sqlite3\ndef use(path='a.db'):\n    sqlite3.connect(path)", "sqlite a.db"),
    (
        "import sqlite3\nclass Store:\n    def __init__(self, path='a.db'):\n"
        "        self.path = path\n    def use(self):\n        sqlite3.connect(self.path)",
        "sqlite a.db",
    ),
    ("import sqlite3\nclass C:\n    P = 'a.db'\nsqlite3.connect(C.P)", "sqlite a.db"),
    ("import sqlite3\nsqlite3.connect(f'dbs/{name}.db')", "sqlite dbs/"),
    (
        "import sqlite3\nclass Store:\n    def __init__(self, path):\n        self.path = path\n"
        "    def use(self):\n        sqlite3.connect(self.path)\n"
        "NAME = 'a.db'\nstore = Store(NAME)",
        "sqlite a.db",
    ),
    (
        "import logging\ndef make(name, file):\n    logging.FileHandler(file)\n"
        "def start():\n    make('app', file='a.log')",
        "log a.log",
    ),
    (
        "from enum import Enum\nclass E(Enum):\n    LOG = 'a.log'\n"
        "import logging\nlogging.FileHandler(E.LOG.value)",
        "log a.log",
    ),
    (
        "class Config:\n    BASE = 'db'\n    URL = f'sqlite:///{BASE}/a.db'\n"
        "class TestingConfig(Config):\n    URL = 'sqlite:///test.db'",
        "sqlite db/a.db",
    ),
]


@pytest.mark.parametrize(("source", "expected"), DATABASES)
def test_databases(tmp_path: Path, source: str, expected: str) -> None:
    assert told(written(tmp_path, source)) == [expected]


VARIABLES = [
    (
        "import os\nURL = os.getenv('DATABASE_URL', 'sqlite:///./a.db')",
        "DATABASE_URL=sqlite:///{path}",
    ),
    (
        "import os\nURL = os.environ.get('DB', default='sqlite+aiosqlite:///a.db?timeout=5')",
        "DB=sqlite+aiosqlite:///{path}?timeout=5",
    ),
    ("import os\nURL = os.getenv('DB') or 'sqlite:///a.db'", "DB=sqlite:///{path}"),
    (
        "import os\nfrom sqlalchemy import create_engine\nURL = os.getenv('DB')\nif not URL:\n"
        "    URL = 'sqlite:///a.db'\ncreate_engine(URL)",
        "DB=sqlite:///{path}",
    ),
    (
        "import os, sqlite3\nsqlite3.connect(os.getenv('DB_FILE', 'a.db'))",
        "DB_FILE={path}",
    ),
    (
        "import tortoise, os\nURL = os.getenv('DB', 'sqlite://a.db')",
        "DB=sqlite://{path}",
    ),
    (
        "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n"
        "    database_url: str = 'sqlite:///./a.db'",
        "DATABASE_URL=sqlite:///{path}",
    ),
    (
        "from pydantic import Field\n"
        "from pydantic_settings import BaseSettings, SettingsConfigDict\n"
        "class S(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='APP_')\n"
        "    url: str = Field(default='sqlite:///./a.db')",
        "APP_URL=sqlite:///{path}",
    ),
    (
        "from pydantic import Field\nfrom pydantic_settings import BaseSettings\n"
        "class Base(BaseSettings): pass\nclass S(Base):\n"
        "    url: str = Field('sqlite:///./a.db', validation_alias='MY_URL')",
        "MY_URL=sqlite:///{path}",
    ),
    (
        "import sqlite3\nfrom pydantic_settings import BaseSettings\nclass S(BaseSettings):\n"
        "    db_file: str = 'a.db'\n\ndef settings():\n    return S()\n\n"
        "def use():\n    sqlite3.connect(settings().db_file)",
        "DB_FILE={path}",
    ),
    ("from starlette.config import Config\nconfig = Config('.env')\n"
     "URL = config('DB', cast=str, default='sqlite:///a.db')", "DB=sqlite:///{path}"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), VARIABLES)
def test_variable_that_says_where_a_database_is(tmp_path: Path, source: str, expected: str) -> None:
    assert told(written(tmp_path, source)) == [f"sqlite a.db {expected}"]


def test_a_variable_counts_only_when_everything_reads_it(tmp_path: Path) -> None:
    files = {
        "config.py": "import os\nURL = os.getenv('DB', 'sqlite:///a.db')",
        "main.py": "import sqlite3\nsqlite3.connect('a.db')",
    }
    assert told(written(tmp_path, files)) == ["sqlite a.db"]


ALEMBIC = "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = sqlite:///{}\n"


@pytest.mark.parametrize(
    ("ini", "env", "expected"),
    [
        (ALEMBIC.format("a.db"), "", ["sqlite a.db"]),
        (ALEMBIC.format("%(here)s/b.db"), "", ["sqlite a.db DB=sqlite:///{path}", "sqlite b.db"]),
        (
            ALEMBIC.format("b.db"),
            "config.set_main_option('sqlalchemy.url', settings.url)",
            ["sqlite a.db DB=sqlite:///{path}"],
        ),
        ("[alembic]\n", "", ["sqlite a.db DB=sqlite:///{path}"]),
    ],
)
def test_migrations_use_the_same_database(
    tmp_path: Path, ini: str, env: str, expected: list[str]
) -> None:
    (tmp_path / "alembic.ini").write_text(ini)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(env)
    source = "import os\nURL = os.getenv('DB', 'sqlite:///a.db')"
    assert told(written(tmp_path, source)) == expected


@pytest.mark.parametrize(
    ("source", "is_there", "is_shipped"),
    [
        ("", True, True),
        ("", False, False),
        ("Base.metadata.create_all(engine)", True, False),
        ("db.execute('create table if not exists t (x)')", True, False),
    ],
)
def test_a_database_whose_tables_nothing_makes_is_brought_along(
    tmp_path: Path, source: str, is_there: bool, is_shipped: bool
) -> None:
    if is_there:
        (tmp_path / "a.db").touch()
    (found,) = written(tmp_path, f"URL = 'sqlite:///a.db'\n{source}")
    assert found.is_shipped is is_shipped


def test_migrations_make_tables(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "alembic.ini").touch()
    (found,) = written(tmp_path, "URL = 'sqlite:///a.db'")
    assert not found.is_shipped


OTHERS = [
    ("import logging\nlogging.FileHandler('logs/app.log')", ["log logs/app.log"]),
    (
        "from logging.handlers import RotatingFileHandler as R\nR('a.log', maxBytes=1)",
        ["log a.log"],
    ),
    (
        "import logging.handlers\nlogging.handlers.TimedRotatingFileHandler(filename='a.log')",
        ["log a.log"],
    ),
    ("import logging\nlogging.basicConfig(filename='a.log')", ["log a.log"]),
    ("from loguru import logger\nlogger.add('logs/{time}.log')", ["log logs/{time}.log"]),
    ("import sys\nfrom loguru import logger\nlogger.add(sys.stderr)", []),
    (
        "LOGGING = {'handlers': {'f': {'class': 'logging.FileHandler', 'filename': 'a.log'}}}",
        ["log a.log"],
    ),
    ("RESULT = {'filename': 'a.txt'}", []),
    ("open('a.log', 'a')", ["log a.log"]),
    ("import os\nos.makedirs('uploads', exist_ok=True)", ["folder uploads/"]),
    (
        "from pathlib import Path\nD = Path(__file__).parent / 'uploads'\nD.mkdir()",
        ["folder app/uploads/"],
    ),
    ("import os\nos.makedirs('logs')\nopen('logs/a.log', 'a')", ["log logs/a.log"]),
    ("import os\nos.makedirs('data')\nURL = 'sqlite:///data/a.db'\nimport sqlite3\n"
     "sqlite3.connect('data/a.db')", ["sqlite data/a.db"]),
    ("open('a.json', 'w')", ["file a.json"]),
    ("open('a.json', mode='a+')", ["file a.json"]),
    ("open('a.json')", []),
    ("open('a.json', 'rb')", []),
    ("from tarfile import open\nopen('a.json', 'w')", []),
    ("from pathlib import Path\nPath('a.json').write_text('')", ["file a.json"]),
    ("from pathlib import Path\nPath('a.json').open('wb')", ["file a.json"]),
    ("from pathlib import Path\nPath('a.json').open()", []),
    ("import aiofiles\nasync def f():\n  async with aiofiles.open('a.bin', 'wb'): pass",
     ["file a.bin"]),
    ("D = 'uploads'\ndef f(file):\n    open(f'{D}/{file.filename}', 'wb')", ["folder uploads/"]),
    ("import os\nD = 'uploads'\ndef f(file):\n    open(os.path.join(D, file.filename), 'wb')",
     ["folder uploads/"]),
    ("from pathlib import Path\nD = Path('up')\ndef f(file):\n    p = D / file.name\n"
     "    p.write_bytes(b'')", ["folder up/"]),
    ("def f(name):\n    open('up/{}.txt'.format(name), 'w')", ["folder up/"]),
    ("def f(name):\n    open('up/%s.txt' % name, 'w')", ["folder up/"]),
    ("def f(file):\n    open(f'temp_{file.filename}', 'wb')", ["file ./"]),
    ("def f(file):\n    open(file.filename, 'wb')", []),
    ("NAME = 'x'\ndef f(NAME):\n    open(NAME, 'w')", []),
    ("import shutil\nshutil.copy('a', 'static/a')", ["file static/a"]),
    ("frame.to_csv('out.csv')", ["file out.csv"]),
    ("import chromadb\nchromadb.PersistentClient(path='./chroma')", ["folder chroma/"]),
    ("import os\nos.makedirs('/var/lib/app')", ["folder /var/lib/app/"]),
    ("import os\nos.makedirs(os.path.join(os.path.dirname(__file__), '..', '..', 'up'))",
     ["folder /up/"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), OTHERS)
def test_other_files_and_folders(tmp_path: Path, source: str, expected: list[str]) -> None:
    assert told(written(tmp_path, source)) == expected


@pytest.mark.parametrize(
    "source",
    [
        "URL = 'sqlite://'",
        "URL = 'sqlite:///:memory:'",
        "URL = 'sqlite:///file:memdb?mode=memory&cache=shared&uri=true'",
        "import sqlite3\nsqlite3.connect(':memory:')",
        "import sqlite3\nsqlite3.connect('file:x?mode=memory', uri=True)",
        "import os\nURL = os.environ['DATABASE_URL']",
        "import os\nURL = os.getenv('DATABASE_URL', 'postgresql://db/app')",
        "is_sqlite = url.startswith('sqlite:///')",
        "TEXT = 'sqlite is a database'",
        "open('/tmp/a', 'w')",
        "open('/dev/null', 'w')",
        "import tempfile, os\nopen(os.path.join(tempfile.gettempdir(), 'a'), 'w')",
        "import os\nos.makedirs(os.path.expanduser('~/.cache'))",
        "from pathlib import Path\n(Path.home() / '.cache').mkdir()",
        "if __name__ == '__main__':\n    open('a.json', 'w')",
        "open('s3://bucket/key', 'w')",
        "def broken(:",
    ],
)
def test_nothing_is_kept(tmp_path: Path, source: str) -> None:
    assert written(tmp_path, source) == ()


def test_constants_of_other_modules(tmp_path: Path) -> None:
    files = {
        "app/core/config.py": """
            import os
            from pathlib import Path
            ROOT = Path(__file__).resolve().parent.parent.parent
            class Settings:
                UPLOADS = os.path.join(ROOT, "uploads")
            settings = Settings()
            """,
        "app/core/__init__.py": "",
        "app/__init__.py": "",
        "app/main.py": """
            from app.core.config import settings, ROOT
            from .core import config
            def save(file):
                with open(f"{settings.UPLOADS}/{file.filename}", "wb") as target:
                    target.write(file.file.read())
            def note():
                (config.ROOT / "notes.txt").write_text("x")
            """,
    }
    assert [(str(w.path), w.where) for w in written(tmp_path, files)] == [
        ("notes.txt", "app/main.py"),
        ("uploads", "app/main.py"),
    ]


def test_relative_paths_belong_to_the_working_folder(tmp_path: Path) -> None:
    source = "import sqlite3, os\nsqlite3.connect('a.db')\nos.makedirs('../logs')"
    assert told(written(tmp_path, source, workdir="backend")) == [
        "sqlite backend/a.db",
        "folder logs/",
    ]


def test_a_text_that_grows_round_in_a_circle_ends(tmp_path: Path) -> None:
    lines = ["x = x + x + x + y"] * 60 + ["y = x + y"] * 60 + ["open(x, 'w')"]
    assert written(tmp_path, "\n".join(lines)) == ()


def test_deeply_nested_source_is_left_out(tmp_path: Path) -> None:
    files = {"deep.py": "x = " + "+".join(["'a'"] * 3000), "main.py": "open('a.json', 'w')"}
    assert told(written(tmp_path, files)) == ["file a.json"]
