"""The settings that an app does not start without, and what to do about them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover.settings.setting import Reads, Setting, is_secret_name
from deploytool.discover.settings.settings import find_settings, settings_note
from deploytool.discover.source import Project

Files = dict[str, str]


def find(folder: Path, files: Files) -> tuple[Setting, ...]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return find_settings(Project(folder), map(PurePosixPath, files))


def names(found: tuple[Setting, ...]) -> list[str]:
    return [setting.name for setting in found]


V2 = "from pydantic import Field\nfrom pydantic_settings import BaseSettings, SettingsConfigDict\n"
V1 = "from pydantic import BaseSettings, Field\n"
TYPES = "from typing import Annotated, Any, ClassVar, Optional\nimport os\n"


def fields(*lines: str, head: str = V2, end: str = "settings = Settings()\n") -> Files:
    body = "".join(f"    {line}\n" for line in lines)
    return {"config.py": f"{head}{TYPES}class Settings(BaseSettings):\n{body}\n{end}"}


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("key: str", ["KEY"]),
        ("key: str = 'x'", []),
        ("key: str = Field(...)", ["KEY"]),
        ("key: str = ...", ["KEY"]),
        ("key: str = Field(description='x')", ["KEY"]),
        ("key: str = Field(default='x')", []),
        ("key: str = Field('x')", []),
        ("key: list = Field(default_factory=list)", []),
        ("key: Annotated[str, Field(min_length=1)]", ["KEY"]),
        ("key: Annotated[str, Field(default='x')]", []),
        ("key: Annotated[str, Field(validation_alias='OTHER')]", ["OTHER"]),
        ("key: str = Field(alias='OTHER')", ["OTHER"]),
        ("key: str = Field(validation_alias=AliasChoices('ONE', 'TWO'))", ["ONE"]),
        ("key: str = Field(env='OTHER')", ["KEY"]),
        ("key: Optional[str]", ["KEY"]),
        ("key: str | None", ["KEY"]),
        ("key: Optional[str] = None", []),
        ("key: Any = None", []),
        ("key: str = None", ["KEY"]),
        ("key: str = ''", []),
        ("db_url: str = ''", ["DB_URL"]),
        ("db_url: str = 'sqlite://'", []),
        ("db_password: str = ''", []),
        ("key: str = Field(default=None)", ["KEY"]),
        ("key: str = os.getenv('OTHER')", ["OTHER"]),
        ("key: str = os.environ.get('OTHER')", ["OTHER"]),
        ("key: str = os.getenv('OTHER', 'x')", []),
        ("key: str | None = os.getenv('OTHER')", []),
        ("key: ClassVar[str]", []),
        ("_key: str", []),
        ("KEY = 'x'", []),
        ("@property\n    def key(self): return 1", []),
    ],
)
def test_fields_of_version_2(tmp_path: Path, line: str, wanted: list[str]) -> None:
    assert names(find(tmp_path, fields(line))) == wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("key: str", ["KEY"]),
        ("key: Optional[str]", []),
        ("key: str = None", []),
        ("key: str = Field(..., env='OTHER')", ["OTHER"]),
        ("key: str = Field(..., env=['ONE', 'TWO'])", ["ONE"]),
        ("key: str = Field(..., alias='OTHER')", ["KEY"]),
    ],
)
@pytest.mark.parametrize("head", [V1, V1.replace("pydantic", "pydantic.v1")])
def test_fields_of_version_1(tmp_path: Path, head: str, line: str, wanted: list[str]) -> None:
    assert names(find(tmp_path, fields(line, head=head))) == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["model_config = SettingsConfigDict(env_prefix='SHOP_')", "key: str"], ["SHOP_KEY"]),
        (["model_config = {'env_prefix': 'SHOP_'}", "key: str"], ["SHOP_KEY"]),
        (["key: str", "class Config:", "    env_prefix = 'shop_'"], ["SHOP_KEY"]),
        (["key: str", "model_config = SettingsConfigDict(case_sensitive=True)"], ["key"]),
        (
            [
                "model_config = SettingsConfigDict(env_prefix='SHOP_')",
                "key: str = Field(alias='OTHER')",
            ],
            ["OTHER"],
        ),
        (["model_config = SettingsConfigDict(env_file='.env')", "key: str"], ["KEY"]),
        (["model_config = SettingsConfigDict(toml_file='s.toml')", "key: str"], []),
    ],
)
def test_the_configuration_of_settings(tmp_path: Path, lines: list[str], wanted: list[str]) -> None:
    assert names(find(tmp_path, fields(*lines))) == wanted


def test_base_classes_of_the_project_count(tmp_path: Path) -> None:
    base = (
        f"{V2}class Base(BaseSettings):\n"
        "    model_config = SettingsConfigDict(env_prefix='SHOP_')\n"
        "    key: str\n    url: str\n    mode: str\n"
    )
    mixin = "class Mixin:\n    extra: int\n"
    config = (
        "from app.base import Base\nfrom app.mixin import Mixin\n"
        "class Settings(Mixin, Base):\n    url: str = 'x'\n    mode = 'y'\nsettings = Settings()\n"
    )
    files = {"app/__init__.py": "", "app/base.py": base, "app/mixin.py": mixin}
    found = find(tmp_path, files | {"app/config.py": config})
    assert names(found) == ["SHOP_EXTRA", "SHOP_KEY"]
    assert {setting.where for setting in found} == {"app/config.py"}
    assert found[1].why == "Settings.key has no default"


def test_a_base_class_that_is_made_itself_counts_too(tmp_path: Path) -> None:
    text = (
        f"{V2}class Base(BaseSettings):\n    key: str\n"
        "class Settings(Base):\n    key: str = 'x'\n    other: str\n"
    )
    assert names(find(tmp_path, {"a.py": text})) == ["OTHER"]
    assert names(find(tmp_path, {"a.py": text + "base = Base()\n"})) == ["KEY", "OTHER"]


def test_fields_that_every_call_gives_are_not_wanted(tmp_path: Path) -> None:
    assert names(find(tmp_path, fields("a: str", "b: str", end="s = Settings(a='x')\n"))) == ["B"]
    twice = "s = Settings(a='x')\nt = Settings()\n"
    assert names(find(tmp_path, fields("a: str", "b: str", end=twice))) == ["A", "B"]


def test_plain_models_are_no_settings(tmp_path: Path) -> None:
    text = "from pydantic import BaseModel\nclass Item(BaseModel):\n    name: str\ni = Item()\n"
    assert find(tmp_path, {"a.py": text}) == ()


@pytest.mark.parametrize(
    ("folder", "reads"),
    [("/run/secrets", Reads.SECRETS_FOLDER), ("/etc/x", Reads.SETTINGS)],
)
def test_the_folder_of_secrets_is_noted(tmp_path: Path, folder: str, reads: Reads) -> None:
    lines = (f"model_config = SettingsConfigDict(secrets_dir='{folder}')", "key: str")
    assert [setting.reads for setting in find(tmp_path, fields(*lines))] == [reads]


# --- the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("KEY = os.environ['KEY']", ["KEY"], id="subscript"),
        pytest.param("from os import environ as e\nKEY = e['KEY']", ["KEY"], id="imported"),
        pytest.param("N = 'KEY'\nK = os.environ[N]", ["KEY"], id="a constant's name"),
        pytest.param("class C:\n    key = os.environ['KEY']", ["KEY"], id="class body"),
        pytest.param("def f():\n    return os.environ['KEY']", [], id="function"),
        pytest.param("def f():\n    return os.environ['KEY']\nK = f()", ["KEY"], id="called"),
        pytest.param(
            "class C:\n    def __init__(self):\n        self.k = os.environ['KEY']\nc = C()",
            ["KEY"],
            id="made",
        ),
        pytest.param("f = lambda: os.environ['KEY']", [], id="lambda"),
        pytest.param("os.environ['KEY'] = 'x'\nK = os.environ['KEY']", [], id="set by itself"),
        pytest.param("os.environ.setdefault('KEY', 'x')\nK = os.environ['KEY']", [], id="default"),
        pytest.param("if __name__ == '__main__':\n    K = os.environ['KEY']", [], id="main"),
        pytest.param("try:\n    K = os.environ['KEY']\nexcept KeyError:\n    K = ''", [], id="try"),
        pytest.param(
            "try:\n    K = os.environ['KEY']\nexcept ValueError:\n    K = ''",
            ["KEY"],
            id="other try",
        ),
        pytest.param("if 'KEY' in os.environ:\n    K = os.environ['KEY']", [], id="asked"),
        pytest.param("K = os.environ['KEY'] if 'KEY' in os.environ else 1", [], id="asked inline"),
        pytest.param("K = os.getenv('KEY')", [], id="None will do"),
        pytest.param("K = int(os.getenv('KEY'))", ["KEY"], id="int"),
        pytest.param("K = int(os.getenv('KEY', 5))", [], id="int with default"),
        pytest.param("K = int(os.getenv('KEY') or 5)", [], id="int or"),
        pytest.param("K = os.getenv('KEY').split(',')", ["KEY"], id="method"),
        pytest.param("K = os.getenv('KEY', '').split(',')", [], id="method with default"),
        pytest.param("K = os.getenv('KEY') + '/x'", ["KEY"], id="sum"),
        pytest.param("K = f\"{os.getenv('KEY')}/x\"", [], id="None is text there"),
        pytest.param(
            "from sqlalchemy import create_engine\nURL = os.environ.get('KEY')\n"
            "engine = create_engine(URL, echo=os.getenv('ECHO'))",
            ["KEY"],
            id="engine",
        ),
        pytest.param(
            "URL = os.getenv('KEY')\nif URL and URL.startswith('x'):\n    URL = URL.strip()",
            [],
            id="asked by name",
        ),
        pytest.param(
            "K = os.getenv('KEY')\nif not K:\n    raise ValueError", ["KEY"], id="refused"
        ),
        pytest.param("K = os.getenv('KEY')\nif K is None:\n    sys.exit(1)", ["KEY"], id="exits"),
        pytest.param("K = os.getenv('KEY')\nif not K:\n    K = 'x'", [], id="replaced"),
        pytest.param("K = os.getenv('KEY')\nassert K, 'set KEY'", ["KEY"], id="asserted"),
        pytest.param(
            "A = os.getenv('A')\nB = os.getenv('B')\nif not A or not B:\n    raise ValueError",
            ["A", "B"],
            id="either refused",
        ),
        pytest.param(
            "A = os.getenv('A')\nif A == 'x' and not B:\n    raise ValueError", [], id="sometimes"
        ),
        pytest.param("from openai import OpenAI\nc = OpenAI()", ["OPENAI_API_KEY"], id="client"),
        pytest.param(
            "from openai import OpenAI\nc = OpenAI(api_key=os.getenv('KEY'))", ["KEY"], id="its key"
        ),
        pytest.param("from openai import OpenAI\nc = OpenAI(api_key='x')", [], id="a fixed key"),
        pytest.param("def f():\n    from openai import OpenAI\n    OpenAI()", [], id="not made"),
        pytest.param(
            "from fastapi import FastAPI\nasync def life(app):\n    os.environ['KEY']\n    yield\n"
            "app = FastAPI(lifespan=life)",
            ["KEY"],
            id="lifespan",
        ),
        pytest.param(
            "@app.on_event('startup')\ndef start():\n    os.environ['KEY']", ["KEY"], id="startup"
        ),
    ],
)
def test_what_the_source_reads_at_import(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert names(find(tmp_path, {"a.py": f"import os\nimport sys\n{text}\n"})) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from starlette.config import Config\nc = Config('.env')\nK = c('KEY')", ["KEY"]),
        ("from starlette.config import Config\nc = Config()\nK = c('KEY', cast=int)", ["KEY"]),
        ("from starlette.config import Config\nc = Config()\nK = c('KEY', default=1)", []),
        ("from starlette.config import Config\nc = Config()\nK = c('KEY', int, 1)", []),
        ("from decouple import config\nK = config('KEY')", ["KEY"]),
        ("from decouple import config\nK = config('KEY', 'x')", []),
        ("from decouple import config\nK = config('KEY', default='x', cast=str)", []),
        ("from environs import Env\nenv = Env()\nenv.read_env('x')\nK = env.str('KEY')", ["KEY"]),
        ("from environs import Env\nenv = Env()\nK = env.int('KEY', 5)", []),
        ("import environ\nenv = environ.Env()\nK = env('KEY')", ["KEY"]),
        ("def config(name): ...\nK = config('KEY')", []),
    ],
)
def test_libraries_that_read_the_environment(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert names(find(tmp_path, {"a.py": text})) == wanted


@pytest.mark.parametrize(
    "use",
    [
        "from app.config import URL\nengine = create_engine(URL)\n",
        "from app import config\nengine = create_engine(config.URL)\n",
        "from app.config import settings\nengine = create_engine(settings.URL)\n",
        "from app.config import read\nread('URL')\n",
    ],
)
def test_values_of_other_modules(tmp_path: Path, use: str) -> None:
    config = (
        "import os\nfrom starlette.config import Config\nread = Config()\n"
        "URL = os.getenv('URL')\nclass Settings:\n    URL = os.getenv('URL')\n"
        "settings = Settings()\n"
    )
    db = f"from sqlalchemy import create_engine\n{use}"
    found = find(tmp_path, {"app/__init__.py": "", "app/config.py": config, "app/db.py": db})
    assert [(setting.name, setting.where) for setting in found] == [("URL", "app/db.py")]


def test_only_the_given_files_count(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import os\nK = os.environ['KEY']\n")
    assert find(tmp_path, {"main.py": "x = 1\n"}) == ()


@pytest.mark.parametrize(
    "text",
    [
        "def f(:",
        "x = " + " + ".join(["'a'"] * 3_000),
        "x = " + "(" * 90 + ")" * 90,
        "def f():\n    return f()\nx = f()\n",
        "X = Y\nY = X\nint(X)\n",
        "class A(A): pass\na = A()\n",
        f"{V2}class A(B, BaseSettings): pass\nclass B(A): pass\nb = B()\n",
        "import os\nos.environ[b'x']\nos.environ[1]\nos.environ[:]\nint(os.getenv())\n",
        f"{V2}class A(BaseSettings):\n    a.b: int\n    c[0]: int\n    d: 'not a type' = Field()\n",
    ],
)
def test_odd_source_harms_nothing(tmp_path: Path, text: str) -> None:
    more = {"fine.py": "import os\nK = os.environ['KEY']\n"}
    assert "KEY" in names(find(tmp_path, {"odd.py": text} | more))


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("SECRET_KEY", True),
        ("DB_PASSWORD", True),
        ("apiToken", True),
        ("APIKey", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("SENTRY_DSN", True),
        ("GOOGLE_CREDENTIALS", True),
        ("DATABASE_URL", True),
        ("SQLALCHEMY_DATABASE_URI", True),
        ("MONGODB_URI", True),
        ("REDIS_URL", True),
        ("CELERY_BROKER_URL", True),
        ("TIKTOKEN_CACHE", False),
        ("MONKEY", False),
        ("KEYCLOAK_REALM", False),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", False),
        ("TOKEN_ALGORITHM", False),
        ("TOKEN_URL", False),
        ("REDIRECT_URI", False),
        ("FRONTEND_URL", False),
        ("DATABASE_NAME", False),
        ("POSTGRES_USER", False),
    ],
)
def test_secrets_are_known_by_the_words_of_their_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def setting(name: str, reads: Reads = Reads.ENVIRONMENT, where: str = "app/config.py") -> Setting:
    return Setting(name, where, is_secret_name(name), "", reads)


def test_what_is_no_secret_goes_into_env() -> None:
    settings = [setting("MODE", Reads.SETTINGS), setting("HOST", where="app/db.py")]
    assert settings_note(settings) == (
        "the app needs HOST and MODE at its start (app/db.py, app/config.py): set them in "
        "[tool.deploytool.services.web.env]",
    )


@pytest.mark.parametrize(
    ("reads", "says"),
    [
        (
            Reads.SECRETS_FOLDER,
            "the app needs SECRET_KEY at its start (app/config.py): `deploytool secrets set "
            'SECRET_KEY` and secrets = ["SECRET_KEY"] in [tool.deploytool.services.web]',
        ),
        (
            Reads.SETTINGS,
            'add secrets_dir="/run/secrets" to the configuration of its settings, then '
            "`deploytool secrets set SECRET_KEY`",
        ),
        (Reads.ENVIRONMENT, "read the file /run/secrets/SECRET_KEY instead, then `deploytool"),
    ],
)
def test_advice_on_secrets_fits_how_they_are_read(reads: Reads, says: str) -> None:
    (note,) = settings_note([setting("SECRET_KEY", reads)])
    assert says in note
    assert "\n" not in note


def test_one_line_for_each_way() -> None:
    settings = [
        setting("DATABASE_URL"),
        setting("SECRET_KEY"),
        setting("API_TOKEN", Reads.SETTINGS),
        setting("MODE", Reads.SETTINGS),
        setting("HOST"),
    ]
    notes = settings_note(settings)
    assert len(notes) == 3
    assert 'secrets = ["DATABASE_URL", "SECRET_KEY"]' in notes[0]
    assert "`deploytool secrets set NAME`" in notes[0]
    assert "API_TOKEN" in notes[1]
    assert "HOST and MODE" in notes[2]
    assert settings_note([]) == ()


PARTS = "import os\nfrom sqlalchemy import create_engine\n"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("HOST = os.getenv('HOST')\nURL = f'postgresql://{HOST}/x'\ncreate_engine(URL)", ["HOST"]),
        ("create_engine(f'postgresql://{os.getenv(\"HOST\")}/x')", ["HOST"]),
        ("HOST = os.getenv('HOST', 'db')\ncreate_engine(f'postgresql://{HOST}/x')", []),
        ("HOST = os.getenv('HOST')\nprint(f'{HOST}')", []),
        (
            "class Settings:\n    PORT = os.getenv('PORT')\nsettings = Settings()\n"
            "create_engine(f'postgresql://db:{settings.PORT}/x')",
            ["PORT"],
        ),
        (
            "HOST = os.getenv('HOST')\nif HOST:\n    create_engine(f'postgresql://{HOST}/x')",
            [],
        ),
    ],
)
def test_parts_of_a_url(tmp_path: Path, source: str, wanted: list[str]) -> None:
    assert names(find(tmp_path, {"db.py": PARTS + source})) == wanted
