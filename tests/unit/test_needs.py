"""What the code needs and nothing lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from packaging.utils import canonicalize_name

from deploytool.discover.dependencies.distributions import (
    ALONE,
    BRINGS,
    DRIVERS,
    OFTEN_BROUGHT,
    PKG_RESOURCES,
    PLAIN,
    PROVIDERS,
    providers,
)
from deploytool.discover.dependencies.needs import (
    Listed,
    Need,
    find_needs,
    insists_on_env_file,
    installed,
    listed_in,
    pkg_resources_needs,
    server_needs,
)
from deploytool.discover.dependencies.uses import FEATURES, METHODS, PARTS
from deploytool.discover.source import Project

ENTRY = PurePosixPath("main.py")
WEB = ("fastapi", "uvicorn")


def listed(
    *names: str,
    complete: bool = False,
    where: str = "requirements.txt",
    optional: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    command: str = "",
) -> Listed:
    """`name[extra]` as in a requirements file."""
    split = [name.rstrip("]").partition("[") for name in names]
    extras = {name: frozenset(extra.split(",")) for name, _, extra in split if extra}
    known = frozenset(name for name, _, _ in split) | (versions or {}).keys()
    return Listed(known, extras, complete, where, optional or {}, versions or {}, command)


def needs(
    folder: Path, files: Mapping[str, str] | str, found: Listed, python: str | None = None
) -> tuple[Need, ...]:
    sources = {"main.py": files} if isinstance(files, str) else files
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    paths = [PurePosixPath(name) for name in sources if name.endswith(".py")]
    return find_needs(Project(folder), paths, found, paths[0], python=python)


def names(found: tuple[Need, ...]) -> list[str]:
    return [need.distribution for need in found]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import sqlalchemy", ["sqlalchemy"]),
        ("from sqlalchemy.orm import Session", ["sqlalchemy"]),
        ("import yaml", ["pyyaml"]),
        ("from PIL import Image", ["pillow"]),
        ("import cv2", ["opencv-python-headless"]),
        ("from jose import jwt", ["python-jose"]),
        ("import jwt", ["pyjwt"]),
        ("from google.cloud import storage", ["google-cloud-storage"]),
        ("from google.cloud import texttospeech_v1", ["google-cloud-texttospeech"]),
        ("from google.oauth2 import service_account", ["google-auth"]),
        ("import google.generativeai as genai", ["google-generativeai"]),
        ("from google import genai", ["google-genai"]),
        ("from azure.storage.blob import BlobClient", ["azure-storage-blob"]),
        ("from llama_index.llms.openai import OpenAI", ["llama-index-llms-openai"]),
        ("from llama_index.core import Document", ["llama-index-core"]),
        (
            "from opentelemetry.instrumentation.fastapi import X",
            ["opentelemetry-instrumentation-fastapi"],
        ),
        ("from opentelemetry import trace, metrics", ["opentelemetry-api"]),
        ("from opentelemetry.sdk._logs.export import X", ["opentelemetry-sdk"]),
        ("import mysql.connector", ["mysql-connector-python"]),
        ("import ruamel.yaml", ["ruamel-yaml"]),
        (
            "from prometheus_fastapi_instrumentator import Instrumentator",
            ["prometheus-fastapi-instrumentator"],
        ),
        ("def f():\n    import redis", ["redis"]),
        ("if True:\n    import redis", ["redis"]),
        ("try:\n    import redis\nexcept ImportError:\n    raise RuntimeError", ["redis"]),
        ("try:\n    import redis\nexcept ImportError:\n    import sys\n    sys.exit(1)", ["redis"]),
        ("try:\n    import redis\nexcept KeyError:\n    pass", ["redis"]),
        ("def f():\n    try:\n        import redis\n    except KeyError:\n        pass", ["redis"]),
        ("try:\n    pass\nfinally:\n    import redis", ["redis"]),
        ("from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import redis", ["redis"]),
    ],
)
def test_import_that_is_not_listed(tmp_path: Path, source: str, expected: list[str]) -> None:
    assert names(needs(tmp_path, source, listed(*WEB))) == expected


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import os, sys, tomllib\nfrom __future__ import annotations", id="standard"),
        pytest.param("import fastapi, starlette, pydantic, anyio", id="brought by fastapi"),
        pytest.param("import typing_extensions, pydantic_core", id="brought by what it brings"),
        pytest.param(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import redis", id="typing"
        ),
        pytest.param("import typing\nif typing.TYPE_CHECKING:\n    import redis", id="typing."),
        pytest.param("try:\n    import redis\nexcept ImportError:\n    redis = None", id="caught"),
        pytest.param(
            "try:\n    import redis\nexcept (ModuleNotFoundError, OSError):\n    pass", id="tuple"
        ),
        pytest.param("try:\n    import redis\nexcept Exception:\n    pass", id="any exception"),
        pytest.param("try:\n    import redis\nexcept:\n    pass", id="bare except"),
        pytest.param(
            "def f():\n    try:\n        import redis\n    except Exception:\n        pass",
            id="any exception, in a function",
        ),
        pytest.param("import uvicorn", id="the server"),
        pytest.param(
            "try:\n    import redis\nexcept ImportError:\n    import fakeredis as redis",
            id="instead",
        ),
        pytest.param(
            "from contextlib import suppress\nwith suppress(ImportError):\n    import redis",
            id="suppress",
        ),
        pytest.param(
            "import sys\nif sys.version_info < (3, 8):\n    import redis", id="old Python"
        ),
        pytest.param("import sys\nif sys.platform == 'win32':\n    import win32api", id="Windows"),
        pytest.param("import os\nif os.name == 'nt':\n    import win32api", id="os.name"),
        pytest.param("if __name__ == '__main__':\n    import redis", id="main"),
        pytest.param("from . import redis\nfrom .redis import x", id="relative"),
        pytest.param("if False:\n    import redis", id="never"),
        pytest.param(
            "from importlib.util import find_spec\nif find_spec('redis'):\n    import redis",
            id="asked for",
        ),
    ],
)
def test_import_that_needs_no_listing(tmp_path: Path, source: str) -> None:
    assert needs(tmp_path, source, listed(*WEB)) == ()


@pytest.mark.parametrize(
    ("source", "distribution"),
    [
        ("import cv2", "opencv-python"),
        ("import psycopg2", "psycopg2"),
        ("import telegram", "python-telegram-bot"),
        ("from azure.storage.blob.aio import BlobServiceClient", "azure-storage-blob"),
        ("from azure.identity import DefaultAzureCredential", "azure-identity"),
        ("from llama_index.core.llms import ChatMessage", "llama-index"),
        ("from opentelemetry import trace", "opentelemetry-sdk"),
        ("from sqlalchemy import select", "sqlmodel"),
        ("import numpy", "pandas"),
        ("from dateutil import parser", "pandas"),
        ("import botocore.exceptions", "boto3"),
        ("import somewhere", "python-somewhere"),
        ("import somewhere", "somewhere-sdk"),
        ("import some_where", "somewhere"),
        ("import linebot", "line-bot-sdk"),
        ("import yaml", "unknown-framework"),
    ],
)
def test_distribution_that_has_a_module(tmp_path: Path, source: str, distribution: str) -> None:
    assert needs(tmp_path, source, listed(*WEB, distribution)) == ()
    assert needs(tmp_path, source, listed(*WEB)) != ()


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"main.py": "import routers", "routers.py": ""}, id="module beside"),
        pytest.param({"main.py": "import redis", "redis/__init__.py": ""}, id="package"),
        pytest.param({"main.py": "import core.config", "core/config.py": ""}, id="namespace"),
        pytest.param(
            {"backend/app/main.py": "import app.db", "backend/app/__init__.py": ""}, id="own name"
        ),
        pytest.param({"src/main.py": "import shop", "src/shop/__init__.py": ""}, id="src"),
        pytest.param(
            {"backend/main.py": "import services.users"}
            | {"backend/services/users.py": "from helpers import x", "backend/helpers.py": ""},
            id="beside the app, from a folder below",
        ),
        pytest.param({"main.py": "import tests.data", "tests/__init__.py": ""}, id="tests"),
        pytest.param(
            {"main.py": "import sys\nsys.path.append('lib')\nimport tools"} | {"lib/tools.py": ""},
            id="anywhere, when no well-known distribution has it",
        ),
    ],
)
def test_own_modules_are_no_needs(tmp_path: Path, files: dict[str, str]) -> None:
    assert needs(tmp_path, files, listed(*WEB)) == ()


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"main.py": "import app.redis"} | {"app/redis.py": "import redis"}, id="self"),
        pytest.param(
            {"main.py": "import app.db", "app/redis.py": "", "app/__init__.py": ""}
            | {"app/db.py": "import redis"},
            id="beside, in a package",
        ),
        pytest.param({"main.py": "import redis", "redis/redis.conf": ""}, id="folder of no code"),
    ],
)
def test_file_with_the_name_of_a_distribution(tmp_path: Path, files: dict[str, str]) -> None:
    assert names(needs(tmp_path, files, listed(*WEB))) == ["redis"]


def test_own_alembic_folder_is_not_what_is_imported(tmp_path: Path) -> None:
    files = {"main.py": "from alembic import command", "alembic/env.py": ""}
    assert names(needs(tmp_path, files, listed(*WEB))) == ["alembic"]


def test_multipart_is_not_python_multipart(tmp_path: Path) -> None:
    source = "from fastapi import Form\ndef f(x: str = Form()): ..."
    assert names(needs(tmp_path, source, listed(*WEB, "multipart"))) == ["python-multipart"]


def test_every_file_is_read_and_the_first_is_named(tmp_path: Path) -> None:
    files = {
        "main.py": "import routers.posts",
        "routers/posts.py": "from sqlalchemy import create_engine",
        "routers/users.py": "import sqlalchemy",
    }
    (need,) = needs(tmp_path, files, listed(*WEB))
    assert need == Need(
        "sqlalchemy",
        why="routers/posts.py imports sqlalchemy",
        where="routers/posts.py",
        extra=None,
        message="routers/posts.py imports sqlalchemy, which requirements.txt does not list: "
        "add sqlalchemy",
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from fastapi import Form\ndef f(x: str = Form()): ...", "python-multipart"),
        ("from fastapi import File as F\ndef f(x=F(...)): ...", "python-multipart"),
        ("import fastapi\ndef f(x: fastapi.UploadFile): ...", "python-multipart"),
        (
            "from fastapi.security import OAuth2PasswordRequestForm\n"
            "def f(x: OAuth2PasswordRequestForm): ...",
            "python-multipart",
        ),
        ("async def f(request):\n    return await request.form()", "python-multipart"),
        (
            "from fastapi.templating import Jinja2Templates\nt = Jinja2Templates('templates')",
            "jinja2",
        ),
        (
            "from fastapi import *\ndef f(x: UploadFile): ...",
            "python-multipart",
        ),
        (
            "from pydantic import BaseModel, EmailStr\nclass A(BaseModel):\n  e: EmailStr",
            "email-validator",
        ),
        ("from pydantic.networks import NameEmail as N\nx: N", "email-validator"),
        ("from starlette.middleware.sessions import SessionMiddleware", "itsdangerous"),
        ("from fastapi.responses import ORJSONResponse\nr = ORJSONResponse({})", "orjson"),
        ("from fastapi.responses import UJSONResponse\nr = UJSONResponse({})", "ujson"),
        ("from fastapi.testclient import TestClient", "httpx"),
        ("from fastapi.templating import Jinja2Templates", "jinja2"),
        ("@app.websocket('/ws')\nasync def f(ws): ...", "websockets"),
        ("@router.websocket('/ws')\nasync def f(ws): ...", "websockets"),
    ],
)
def test_needed_by_fastapi_without_an_import(tmp_path: Path, source: str, expected: str) -> None:
    assert names(needs(tmp_path, source, listed(*WEB))) == [expected]
    for everything in ("fastapi[all]", "uvicorn"), ("fastapi[standard]", "uvicorn", expected):
        assert needs(tmp_path, source, listed(*everything)) == ()


@pytest.mark.parametrize(
    ("source", "with_names", "expected"),
    [
        (
            "from passlib.context import CryptContext\nc = CryptContext(schemes=['bcrypt'])",
            "passlib",
            "bcrypt",
        ),
        (
            "import jwt\ndef f(): return jwt.encode({}, 'k', algorithm='RS256')",
            "pyjwt",
            "cryptography",
        ),
        (
            "import jwt\nA = 'ES256'\ndef f(): return jwt.decode('', 'k', [A])",
            "pyjwt",
            "cryptography",
        ),
        ("import httpx\nc = httpx.AsyncClient(http2=True)", "httpx", "h2"),
        ("import pandas as pd\ndef f(): return pd.read_excel('x')", "pandas", "openpyxl"),
        (
            "import pandas as pd\ndef f():\n"
            "    try:\n        pd.read_excel('x')\n    except Exception as e:\n        print(e)",
            "pandas",
            "openpyxl",
        ),
        ("import pandas as pd\ndef f(d): d.to_parquet('x')", "pandas", "pyarrow"),
        ("from bs4 import BeautifulSoup\ns = BeautifulSoup('', 'lxml')", "bs4", "lxml"),
        ("from celery import Celery\nc = Celery('c', broker='redis://r')", "celery", "redis"),
        (
            "from pwdlib import PasswordHash\nh = PasswordHash.recommended()",
            "pwdlib",
            "argon2-cffi",
        ),
        ("from authlib.integrations.starlette_client import OAuth", "authlib", "httpx"),
        ("from apscheduler.jobstores.sqlalchemy import S", "apscheduler", "sqlalchemy"),
        ("from fastapi_cache import FastAPICache", "fastapi-cache2", "jinja2"),
    ],
)
def test_needed_by_other_libraries(
    tmp_path: Path, source: str, with_names: str, expected: str
) -> None:
    assert names(needs(tmp_path, source, listed(*WEB, with_names))) == [expected]
    assert needs(tmp_path, source, listed(*WEB, with_names, expected)) == ()


@pytest.mark.parametrize(
    ("source", "with_names"),
    [
        ("import jwt\njwt.encode({}, 'k', algorithm='HS256')", "pyjwt"),
        ("import jwt\njwt.encode({}, 'k', algorithm='RS256')", "pyjwt[crypto]"),
        ("from passlib.context import CryptContext\nCryptContext(['bcrypt'])", "passlib[bcrypt]"),
        ("from passlib.context import CryptContext\nCryptContext(['sha256_crypt'])", "passlib"),
        ("import httpx\nhttpx.AsyncClient(http2=False)", "httpx"),
        ("from bs4 import BeautifulSoup\ns = BeautifulSoup('', 'html.parser')", "bs4"),
        ("from fastapi import Form, UploadFile", "fastapi"),
        ("from fastapi import Form, UploadFile\nx: UploadFile", "python-multipart"),
        ("@app.websocket('/ws')\nasync def f(ws): ...", "hypercorn"),
        ("@app.websocket('/ws')\nasync def f(ws): ...", "wsproto"),
        ("from forms import Form\nForm()", "fastapi"),
        ("def form(): ...\nx = form()", "fastapi"),
    ],
)
def test_nothing_more_is_needed(tmp_path: Path, source: str, with_names: str) -> None:
    files = {"main.py": source, "forms.py": ""}
    assert needs(tmp_path, files, listed(*WEB, with_names)) == ()


ENGINE = "from sqlalchemy import create_engine\nengine = create_engine(URL)\n"
ASYNC = "from sqlalchemy.ext.asyncio import create_async_engine\ne = create_async_engine(URL)\n"


@pytest.mark.parametrize(
    ("source", "library", "expected"),
    [
        (f"URL = 'postgresql+asyncpg://u:p@db/x'\n{ASYNC}", "sqlalchemy", "asyncpg"),
        (f"URL = f'postgresql+asyncpg://{{USER}}@db/x'\n{ASYNC}", "sqlalchemy", "asyncpg"),
        (f"URL = f'postgresql://{{USER}}@db/x'\n{ENGINE}", "sqlalchemy", "psycopg"),
        (f"URL = 'postgres://u:p@db/x'\n{ENGINE}", "sqlalchemy", "psycopg"),
        (f"URL = 'postgresql+psycopg://u:p@db/x'\n{ENGINE}", "sqlalchemy", "psycopg"),
        (f"URL = 'mysql+pymysql://u:p@db/x'\n{ENGINE}", "sqlmodel", "pymysql"),
        (f"URL = 'mysql+aiomysql://u:p@db/x'\n{ASYNC}", "sqlalchemy", "aiomysql"),
        (f"URL = 'mysql://u:p@db/x'\n{ENGINE}", "sqlalchemy", "mysqlclient"),
        (f"URL = 'sqlite+aiosqlite:///./x.db'\n{ASYNC}", "sqlalchemy", "aiosqlite"),
        (f"URL = 'mssql+pyodbc://u:p@db/x'\n{ENGINE}", "sqlalchemy", "pyodbc"),
        (
            f"import os\nURL = os.getenv('URL', 'postgresql+asyncpg://db/x')\n{ASYNC}",
            "sqlalchemy",
            "asyncpg",
        ),
        (
            f"class S:\n    url: str = 'postgresql+asyncpg://db/x'\n{ASYNC}",
            "sqlalchemy",
            "asyncpg",
        ),
        (
            f"from sqlalchemy import URL as U\nURL = U.create('mysql+pymysql')\n{ENGINE}",
            "sqlalchemy",
            "pymysql",
        ),
        (
            f"URL = PostgresDsn.build(scheme='postgresql+asyncpg')\n{ASYNC}",
            "sqlalchemy",
            "asyncpg",
        ),
        (
            f"URL = u.replace('postgres://', 'postgresql+asyncpg://')\n{ASYNC}",
            "sqlalchemy",
            "asyncpg",
        ),
        ("import databases\nd = databases.Database('sqlite:///x.db')", "databases", "aiosqlite"),
        ("import databases\nd = databases.Database('postgresql://db/x')", "databases", "asyncpg"),
        (
            "from tortoise import Tortoise\nTortoise.init(db_url='postgres://d/x')",
            "tortoise-orm",
            "asyncpg",
        ),
    ],
)
def test_driver_of_a_database_url(tmp_path: Path, source: str, library: str, expected: str) -> None:
    found = needs(tmp_path, source, listed(*WEB, library))
    assert names(found) == [expected]
    assert "://" in found[0].why
    assert needs(tmp_path, source, listed(*WEB, library, expected)) == ()


@pytest.mark.parametrize(
    ("source", "library"),
    [
        pytest.param(f"URL = 'sqlite:///./x.db'\n{ENGINE}", "sqlalchemy", id="sqlite"),
        pytest.param("U = 'postgresql://db/x'", "sqlalchemy", id="no engine"),
        pytest.param(f"U = 'postgresql://db/x'\n{ASYNC}", "sqlalchemy", id="made asynchronous"),
        pytest.param(f"u.startswith('postgresql://x')\n{ENGINE}", "sqlalchemy", id="compared"),
        pytest.param(f"u == 'postgresql://x'\n{ENGINE}", "sqlalchemy", id="equal"),
        pytest.param(
            f"URL = u.replace('postgres+asyncpg://', 'sqlite://')\n{ENGINE}",
            "sqlalchemy",
            id="replaced",
        ),
        pytest.param(f"'postgresql+asyncpg://x'\n{ENGINE}", "sqlalchemy", id="docstring"),
        pytest.param(
            f"x = Field(URL, description='postgresql+asyncpg://x')\n{ENGINE}",
            "sqlalchemy",
            id="description",
        ),
        pytest.param(f"URL = 'postgresql://db/x'\n{ENGINE}", "psycopg2-binary", id="binary"),
        pytest.param(f"URL = 'postgresql://db/x'\n{ENGINE}", "psycopg2", id="source"),
        pytest.param("U = 'mysql+pymysql://db/x'\nimport httpx", "httpx", id="no SQLAlchemy"),
        pytest.param("U = 'redis://r'", "redis", id="redis"),
    ],
)
def test_no_driver_is_needed(tmp_path: Path, source: str, library: str) -> None:
    assert needs(tmp_path, source, listed(*WEB, "sqlalchemy", library)) == ()


@pytest.mark.parametrize(
    ("source", "versions", "expected"),
    [
        (ASYNC, {"sqlalchemy": "2.1.9"}, "greenlet"),
        (ASYNC, {"sqlalchemy": "2.0.40"}, None),
        (ASYNC, {}, None),
        (
            f"URL = 'postgresql://db/x'\n{ENGINE}",
            {"sqlalchemy": "2.1", "psycopg2": "2.9"},
            "psycopg",
        ),
        (f"URL = 'postgresql://db/x'\n{ENGINE}", {"sqlalchemy": "2.0", "psycopg2": "2.9"}, None),
        (f"URL = 'postgresql://db/x'\n{ENGINE}", {"sqlalchemy": "2.0.58"}, "psycopg2-binary"),
        ("from pydantic import BaseSettings", {"pydantic": "2.9.0"}, "pydantic-settings"),
        ("from pydantic import BaseSettings", {"pydantic": "1.10.2"}, None),
        ("from pydantic import BaseSettings", {}, None),
        (
            "from passlib.context import CryptContext\nCryptContext(['bcrypt'])",
            {"passlib": "1.7.4", "bcrypt": "5.0.0"},
            "bcrypt",
        ),
        (
            "from passlib.context import CryptContext\nCryptContext(['bcrypt'])",
            {"passlib": "1.7.4", "bcrypt": "4.3.0"},
            None,
        ),
    ],
)
def test_versions_that_do_not_go_together(
    tmp_path: Path, source: str, versions: dict[str, str], expected: str | None
) -> None:
    found = needs(tmp_path, source, listed(*WEB, "sqlalchemy", versions=versions))
    assert names(found) == ([expected] if expected else [])


def test_complete_list_has_no_more_than_its_names(tmp_path: Path) -> None:
    source = "import anyio, yaml"
    found = needs(tmp_path, source, listed("fastapi[standard]", "anyio", complete=True))
    assert names(found) == ["pyyaml"]
    assert needs(tmp_path, ASYNC, listed("sqlalchemy", "greenlet", complete=True)) == ()
    assert names(needs(tmp_path, ASYNC, listed("sqlalchemy", complete=True))) == ["greenlet"]


@pytest.mark.parametrize(
    ("source", "python", "expected"),
    [
        ("import distutils.util", "3.11", []),
        ("import distutils.util", "3.12", ["setuptools"]),
        ("import cgi", "3.12", []),
        ("import cgi", "3.13.2", ["legacy-cgi"]),
        ("import cgi", None, []),
    ],
)
def test_modules_that_python_no_longer_has(
    tmp_path: Path, source: str, python: str | None, expected: list[str]
) -> None:
    assert names(needs(tmp_path, source, listed(*WEB), python)) == expected


@pytest.mark.parametrize(
    ("source", "found", "message"),
    [
        (
            "from fastapi import Form\ndef f(x=Form()): ...",
            listed(*WEB),
            "main.py uses Form, which needs python-multipart: add it to requirements.txt",
        ),
        (
            "import itsdangerous",
            listed(*WEB, where="pyproject.toml", optional={"itsdangerous": "extra cpu"}),
            "main.py imports itsdangerous, which only the extra cpu brings: add it to the "
            "dependencies, or install that in the Dockerfile too",
        ),
        (
            "import psycopg2",
            listed(*WEB, optional={"psycopg2": "extra pg"}),
            "main.py imports psycopg2, which only the extra pg brings: add it to the "
            "dependencies, or install that in the Dockerfile too",
        ),
        (
            f"URL = 'postgresql://db/x'\n{ENGINE}",
            listed(*WEB, "sqlalchemy", optional={"psycopg2-binary": "extra pg"}),
            "main.py uses postgresql://, which needs psycopg2-binary, which only the extra pg "
            "brings: add it to the dependencies, or install that in the Dockerfile too",
        ),
        (
            "@app.websocket('/')\ndef f(): ...",
            listed(*WEB, optional={"websockets": "group live"}),
            "main.py has a WebSocket route, which needs websockets, which only the group live "
            "brings: add it to the dependencies, or install that in the Dockerfile too",
        ),
        (
            "from passlib.context import CryptContext\nc = CryptContext(['bcrypt'])",
            listed(*WEB, "passlib"),
            "main.py hashes passwords with passlib and bcrypt, which needs bcrypt<5: "
            "add it to requirements.txt",
        ),
        (
            "import redis",
            listed(*WEB, where="pyproject.toml", command="uv add"),
            "main.py imports redis, which pyproject.toml does not list: run `uv add redis`",
        ),
        (
            "import httpx\nc = httpx.AsyncClient(http2=True)",
            listed(*WEB, "httpx", where="pyproject.toml", command="poetry add"),
            "main.py uses httpx with http2=True, which needs httpx[http2]: "
            'run `poetry add "httpx[http2]"`',
        ),
        (
            "from pydantic import BaseSettings",
            listed(*WEB, versions={"pydantic": "2.9"}),
            "main.py imports BaseSettings from pydantic, which no longer has it from version 2 on: "
            "import it from pydantic_settings, and add pydantic-settings to requirements.txt",
        ),
        (
            "import redis",
            listed(*WEB, where=""),
            "main.py imports redis, which no file lists: write fastapi[standard] and redis into a "
            "requirements.txt",
        ),
        (
            "import unheard_of",
            listed(*WEB),
            "main.py imports unheard_of, which requirements.txt does not list: add the "
            "distribution that has it, unheard-of or by another name",
        ),
        (
            "import cgi",
            listed(*WEB),
            "main.py imports cgi, which Python no longer has from 3.13 on: "
            "add it to requirements.txt",
        ),
        (
            ASYNC,
            listed(*WEB, versions={"sqlalchemy": "2.1"}),
            "main.py imports sqlalchemy.ext.asyncio, which needs sqlalchemy[asyncio]: "
            "add it to requirements.txt",
        ),
        (
            f"URL = 'postgresql://db/x'\n{ENGINE}",
            listed(*WEB, versions={"sqlalchemy": "2.1.9", "psycopg2": "2.9"}),
            "main.py uses postgresql:// with SQLAlchemy 2.1.9, which needs psycopg[binary]: "
            "add it to requirements.txt",
        ),
        (
            "from passlib.context import CryptContext\nc: CryptContext",
            listed(*WEB, versions={"passlib": "1.7.4", "bcrypt": "5.0.0"}),
            'main.py uses passlib, which cannot hash with bcrypt 5.0.0: add "bcrypt<5" to '
            "requirements.txt",
        ),
    ],
)
def test_messages_say_why_and_what_to_do(
    tmp_path: Path, source: str, found: Listed, message: str
) -> None:
    assert [need.message for need in needs(tmp_path, source, found, "3.13")] == [message]


def test_what_stops_the_start_comes_first(tmp_path: Path) -> None:
    source = (
        "def f():\n    import alembic\nimport redis\n@app.websocket('/')\ndef g(): import boto3"
    )
    found = needs(tmp_path, source, listed(*WEB))
    assert [(need.distribution, need.lazy) for need in found] == [
        ("redis", False),
        ("alembic", True),
        ("boto3", True),
        ("websockets", True),
    ]


def test_what_runs_at_the_start_counts_more_than_a_later_use(tmp_path: Path) -> None:
    files = {"main.py": "def f():\n    import redis", "cache.py": "import redis"}
    (need,) = needs(tmp_path, files, listed(*WEB))
    assert (need.where, need.lazy) == ("cache.py", False)


def test_a_need_brings_what_else_is_needed(tmp_path: Path) -> None:
    source = "from tortoise import Tortoise\nTortoise.init(db_url='sqlite://x.db')"
    assert names(needs(tmp_path, source, listed(*WEB))) == ["tortoise-orm"]


@pytest.mark.parametrize(
    "source",
    ["def f(:", "\0", "x = " + "(" * 500, "import " + "a." * 2000 + "a", "x = " + "-" * 5000 + "1"],
    ids=["syntax", "null", "nested", "long", "deep"],
)
def test_odd_source_is_no_obstacle(tmp_path: Path, source: str) -> None:
    found = needs(tmp_path, {"main.py": source, "more.py": "import redis"}, listed(*WEB))
    assert "redis" in names(found)


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        (
            {"aiosql": "6.2"},
            "aiosql 6.2 imports pkg_resources, which nothing installs: "
            'add "setuptools<82" to requirements.txt',
        ),
        (
            {"aiosql": "8.0", "setuptools": "84.2.1"},
            "aiosql 8.0 imports pkg_resources, which setuptools 84.2.1 no longer has: "
            'add "setuptools<82" to requirements.txt',
        ),
        (
            {"aiosql": "6.2", "razorpay": "1.4.2"},
            "aiosql 6.2 and razorpay 1.4.2 import pkg_resources, which nothing installs: "
            'add "setuptools<82" to requirements.txt',
        ),
        ({"aiosql": "6.2", "setuptools": "81.0.0"}, None),
        ({"aiosql": "9.0"}, None),
        ({"aiosql": "not a version"}, None),
        ({"fastapi": "0.100"}, None),
        ({"opentelemetry-instrumentation": "0.49b0"}, None),
    ],
)
def test_pkg_resources(versions: dict[str, str], message: str | None) -> None:
    found = pkg_resources_needs(listed(versions=versions))
    assert [need.message for need in found] == ([message] if message else [])
    assert all(need.distribution == "setuptools" for need in found)


def test_lines_of_a_requirements_file() -> None:
    found = listed_in(
        [
            "# what the app needs",
            "FastAPI[standard] == 0.115.2  # pinned",
            "uvicorn[standard]>=0.20",
            "SQLAlchemy[asyncio]==2.0.* ",
            "pywin32==306 ; sys_platform == 'win32'",
            "tomli==2.0 ; python_version < '3.11'",
            "six==1.16.0 --hash=sha256:0 --hash=sha256:1",
            "git+https://host/somebody/python-tetris.git@main",
            "-e git+https://host/somebody/other#egg=shop_client",
            "client @ https://host/client-1.0-py3-none-any.whl",
            "-r more.txt",
            "not a requirement",
        ],
        "requirements.txt",
    )
    assert found == Listed(
        frozenset(
            {"fastapi", "uvicorn", "sqlalchemy", "six", "python-tetris", "shop-client", "client"}
        ),
        {
            "fastapi": frozenset({"standard"}),
            "uvicorn": frozenset({"standard"}),
            "sqlalchemy": frozenset({"asyncio"}),
        },
        complete=False,
        where="requirements.txt",
        versions={"fastapi": "0.115.2", "six": "1.16.0"},
    )


def test_extras_bring_what_they_name() -> None:
    assert "websockets" in installed(listed("fastapi[standard]"))
    assert "itsdangerous" not in installed(listed("fastapi[standard]"))
    assert {"argon2-cffi", "cryptography", "greenlet"} <= installed(
        listed("fastapi-users[sqlalchemy]")
    )


@pytest.mark.parametrize(
    ("module", "first"),
    [
        ("fastapi.Depends", "fastapi"),
        ("google", "google"),
        ("google.cloud.Client", "google-cloud"),
        ("PIL.Image", "pillow"),
        ("_private", "private"),
    ],
)
def test_first_provider(module: str, first: str) -> None:
    assert providers(module)[0].strip("-") == first


def test_tables_name_distributions_as_they_are_compared() -> None:
    tables = (PROVIDERS, BRINGS, DRIVERS)
    mentioned = {name for table in tables for values in table.values() for name in values}
    mentioned |= BRINGS.keys() | PKG_RESOURCES.keys() | ALONE | OFTEN_BROUGHT
    wrong = {
        name
        for name in mentioned
        if canonicalize_name(name.partition("[")[0]) != name.partition("[")[0]
    }
    assert wrong == set()
    alternatives = [*FEATURES.values(), *PARTS.values(), *METHODS.values(), *DRIVERS.values()]
    assert all(any("[" not in name for name in values) for values in alternatives)
    assert PLAIN.isdisjoint(PROVIDERS)
    assert ALONE.isdisjoint(name for name in BRINGS if "[" not in name)


@pytest.mark.parametrize(
    ("server", "found", "says"),
    [
        ("fastapi", listed("fastapi"), "brings fastapi-cli, which the image's command needs"),
        ("gunicorn", listed("fastapi", "uvicorn"), "add gunicorn to requirements.txt"),
        ("uvicorn", listed("fastapi"), 'add "uvicorn[standard]" to requirements.txt'),
        ("fastapi", listed("fastapi[standard]"), None),
        ("uvicorn", listed("fastapi[all]"), None),
        ("uvicorn", listed("fastapi", optional={"uvicorn": "extra server"}), None),
        ("uvicorn", listed("other"), None),
        (None, listed("fastapi"), None),
    ],
)
def test_server_of_a_kept_command(server: str | None, found: Listed, says: str | None) -> None:
    text = "".join(server_needs(server, found))
    assert says in text if says else text == ""


@pytest.mark.parametrize(
    ("versions", "insists"),
    [
        ({"starlette": "0.36.3"}, True),
        ({"starlette": "0.37.2", "fastapi": "0.110.0"}, False),
        ({"fastapi": "0.109.2"}, True),
        ({"fastapi": "0.110.1"}, False),
        ({}, False),
    ],
)
def test_starlette_that_insists_on_its_env_file(versions: dict[str, str], insists: bool) -> None:
    assert insists_on_env_file(versions) is insists
