"""What lock files say gets installed, and whether they are stale."""

import hashlib
import json
from typing import Any

import pytest

from deploytool.discover.dependencies.locks import (
    Lock,
    pdm_lock,
    pipfile_lock,
    poetry_lock,
    poetry_lock_is_stale,
    pylock,
    read_toml,
    uv_lock,
    uv_lock_is_stale,
)

Document = dict[str, Any]


def pins(lock: Lock, python: str = "3.13") -> list[str]:
    return [package.pin for package in lock.installed(python)]


# --- uv ------------------------------------------------------------------------------------------

UV = """
version = 1
[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
dependencies = [
    { name = "fastapi", extra = ["standard"] },
    { name = "tomli", marker = "python_full_version < '3.11'" },
]
[package.optional-dependencies]
db = [{ name = "asyncpg" }]
[package.dev-dependencies]
dev = [{ name = "pytest" }]
web = [{ name = "jinja2" }]
[package.metadata]
requires-dist = [
    { name = "asyncpg", marker = "extra == 'db'" },
    { name = "fastapi", extras = ["standard"], specifier = ">=0.115" },
    { name = "tomli", marker = "python_full_version < '3.11'" },
]
[[package]]
name = "fastapi"
version = "0.115"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "starlette", version = "0.40" }]
sdist = { url = "https://host/fastapi-0.115.tar.gz" }
wheels = [
    { url = "https://host/fastapi-0.115-py3-none-any.whl" },
]
[package.optional-dependencies]
standard = [{ name = "uvicorn" }]
all = [{ name = "orjson" }]
[[package]]
name = "starlette"
version = "0.30"
[[package]]
name = "starlette"
version = "0.40"
[[package]]
name = "uvicorn"
version = "0.30"
source = { git = "https://host/uvicorn#abc" }
[[package]]
name = "asyncpg"
version = "0.29"
[[package]]
name = "orjson"
version = "3"
[[package]]
name = "pytest"
version = "8"
[[package]]
name = "jinja2"
version = "3.1"
[[package]]
name = "tomli"
version = "2"
"""


@pytest.mark.parametrize(
    ("extras", "groups", "python", "also"),
    [
        ([], [], "3.13", []),
        ([], [], "3.10", ["tomli==2"]),
        (["db"], ["web"], "3.13", ["asyncpg==0.29", "jinja2==3.1"]),
    ],
)
def test_uv_lock(extras: list[str], groups: list[str], python: str, also: list[str]) -> None:
    lock = uv_lock(read_toml(UV), None, extras, groups)
    always = ["fastapi==0.115", "starlette==0.40", "uvicorn==0.30"]
    assert pins(lock, python) == sorted([*always, *also])


def test_files_and_sources_of_a_uv_lock() -> None:
    found = {package.name: package for package in uv_lock(read_toml(UV)).packages}
    assert found["fastapi"].files == (
        "https://host/fastapi-0.115-py3-none-any.whl",
        "https://host/fastapi-0.115.tar.gz",
    )
    assert found["uvicorn"].is_vcs
    assert found["shop"].is_local


def test_uv_lock_of_toml_1_1() -> None:
    text = '[[package]]\nname = "a"\nversion = "1"\nsource = {\n  virtual = ".",\n}\n'
    assert pins(uv_lock(read_toml(text))) == []
    assert uv_lock(read_toml(text)).packages[0].is_local


def test_uv_lock_of_a_member_and_of_a_script() -> None:
    text = """
        [manifest]
        requirements = [{ name = "b", specifier = ">=1" }]
        [[package]]
        name = "api"
        source = { editable = "services/api" }
        dependencies = [{ name = "a" }]
        [[package]]
        name = "a"
        version = "1"
        [[package]]
        name = "b"
        version = "2"
    """
    assert pins(uv_lock(read_toml(text), "api")) == ["a==1"]
    assert pins(uv_lock(read_toml(text))) == ["b==2"]


@pytest.mark.parametrize(
    ("dependencies", "stale"),
    [
        (["fastapi[standard]>=0.115", "tomli ; python_version < '3.11'"], False),
        (["FastAPI[standard] >= 0.115.0", "tomli; python_version<'3.11'"], False),
        (["fastapi[standard]>=0.116", "tomli"], True),
        (["fastapi[standard]>=0.115"], True),
        (["fastapi>=0.115", "tomli"], True),
        (["fastapi[standard]>=0.115", "tomli", "redis"], True),
        (["? ?"], False),
    ],
)
def test_stale_uv_lock(dependencies: list[str], stale: bool) -> None:
    pyproject = {"project": {"name": "shop", "dependencies": dependencies}}
    assert uv_lock_is_stale(pyproject, read_toml(UV)) is stale


def test_uv_lock_that_cannot_be_judged() -> None:
    pyproject: Document = {"project": {"name": "shop", "dependencies": ["redis"]}}
    without_metadata = UV.replace("[package.metadata]", "[package.other]")
    assert not uv_lock_is_stale(pyproject, read_toml(without_metadata))
    assert not uv_lock_is_stale(pyproject, read_toml("["))
    pyproject["project"]["dynamic"] = ["dependencies"]
    assert not uv_lock_is_stale(pyproject, read_toml(UV))


def test_uv_lock_with_another_source() -> None:
    lock = """
        [[package]]
        name = "shop"
        source = { virtual = "." }
        [package.metadata]
        requires-dist = [{ name = "ours", git = "https://host/ours?rev=main" }]
        [[package]]
        name = "ours"
    """
    pyproject = {"project": {"dependencies": ["ours>=2"]}}
    assert not uv_lock_is_stale(pyproject, read_toml(lock))


# --- Poetry --------------------------------------------------------------------------------------

POETRY = """
[[package]]
name = "uvicorn"
version = "0.30.1"
python-versions = ">=3.8"
files = [
    {file = "uvicorn-0.30.1-py3-none-any.whl", hash = "sha256:0"},
    {file = "uvicorn-0.30.1.tar.gz", hash = "sha256:0"},
]
[package.dependencies]
click = ">=7.0"
httptools = {version = ">=0.5", optional = true, markers = "extra == \\"standard\\""}
typing-extensions = {version = ">=4.0", markers = "python_version < \\"3.11\\""}
watchgod = {version = ">=0.6", optional = true}
[package.extras]
standard = ["httptools (>=0.5)"]
reload = ["watchgod (>=0.6)"]
[[package]]
name = "click"
version = "8.1.7"
files = []
[[package]]
name = "httptools"
version = "0.6.1"
[[package]]
name = "typing-extensions"
version = "4.12"
[[package]]
name = "watchgod"
version = "0.8"
[[package]]
name = "pytest"
version = "8"
[[package]]
name = "ours"
version = "1"
[package.source]
type = "git"
url = "https://host/ours.git"
[metadata.files]
click = [{file = "click-8.1.7-py3-none-any.whl", hash = "sha256:0"}]
"""


@pytest.mark.parametrize(
    ("uvicorn", "python", "installed"),
    [
        ('"^0.30"', "3.13", ["click", "uvicorn"]),
        ('"^0.30"', "3.10", ["click", "typing-extensions", "uvicorn"]),
        ('{version="*", extras=["standard"]}', "3.13", ["click", "httptools", "uvicorn"]),
        ('{version="*", extras=["reload"]}', "3.13", ["click", "uvicorn", "watchgod"]),
        ('{version="*", python="<3.9"}\nours="*"', "3.13", ["click", "ours", "uvicorn"]),
    ],
)
def test_poetry_lock(uvicorn: str, python: str, installed: list[str]) -> None:
    pyproject = read_toml(
        f'[tool.poetry.dependencies]\npython = "^3.9"\nuvicorn = {uvicorn}\n'
        '[tool.poetry.group.dev.dependencies]\npytest = "*"\n'
    )
    lock = poetry_lock(read_toml(POETRY), pyproject)
    assert [package.name for package in lock.installed(python)] == installed


def test_poetry_lock_of_a_standard_project_with_groups() -> None:
    pyproject = read_toml(
        '[project]\ndependencies = ["click>=8"]\n'
        '[tool.poetry.group.dev.dependencies]\npytest = "*"\n'
    )
    lock = poetry_lock(read_toml(POETRY), pyproject, groups=["dev"])
    assert pins(lock) == ["click==8.1.7", "pytest==8"]


def test_files_in_old_and_new_poetry_locks() -> None:
    found = {package.name: package for package in poetry_lock(read_toml(POETRY), {}).packages}
    assert found["uvicorn"].files == ("uvicorn-0.30.1-py3-none-any.whl", "uvicorn-0.30.1.tar.gz")
    assert found["click"].files == ("click-8.1.7-py3-none-any.whl",)
    assert found["httptools"].files is None
    assert found["ours"].is_vcs


def test_poetry_lock_with_several_versions() -> None:
    lock = """
        [[package]]
        name = "numpy"
        version = "1.24"
        markers = "python_version < \\"3.12\\""
        [[package]]
        name = "numpy"
        version = "2.1"
        markers = {main = "python_version >= \\"3.12\\"", dev = "python_version < \\"3\\""}
    """
    pyproject = {"tool": {"poetry": {"dependencies": {"numpy": ">=1.24"}}}}
    assert pins(poetry_lock(read_toml(lock), pyproject), "3.11") == ["numpy==1.24"]
    assert pins(poetry_lock(read_toml(lock), pyproject), "3.13") == ["numpy==2.1"]


def hashed(content: Document) -> Document:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"metadata": {"lock-version": "2.1", "content-hash": digest}}


DEPENDENCIES = {"python": "^3.11", "fastapi": "^0.115"}
GROUP = {"dev": {"dependencies": {"pytest": "*"}}}
NOTHING: Document = {"dev-dependencies": None, "source": None, "extras": None}


@pytest.mark.parametrize(
    ("pyproject", "content"),
    [
        pytest.param(
            {"tool": {"poetry": {"dependencies": DEPENDENCIES}}},
            {"dependencies": DEPENDENCIES, **NOTHING},
            id="1.1",
        ),
        pytest.param(
            {"tool": {"poetry": {"name": "x", "dependencies": DEPENDENCIES, "group": GROUP}}},
            {"dependencies": DEPENDENCIES, **NOTHING, "group": GROUP},
            id="1.2 and newer",
        ),
        pytest.param(
            {"project": {"name": "x", "requires-python": ">=3.11", "dependencies": ["a"]}},
            {
                "project": {"requires-python": ">=3.11", "dependencies": ["a"]},
                "tool": {"poetry": {}},
            },
            id="2.0 with [project]",
        ),
        pytest.param(
            {"project": {"dependencies": ["a"]}, "dependency-groups": {"dev": ["b"]}},
            {
                "project": {"dependencies": ["a"]},
                "dependency-groups": {"dev": ["b"]},
                "tool": {"poetry": {}},
            },
            id="with [dependency-groups]",
        ),
    ],
)
def test_fresh_poetry_lock(pyproject: Document, content: Document) -> None:
    assert not poetry_lock_is_stale(pyproject, hashed(content))
    changed = {**pyproject, "tool": {"poetry": {"dependencies": {"redis": "*"}}}}
    assert poetry_lock_is_stale(changed, hashed(content))


def test_hash_that_poetry_itself_wrote() -> None:
    """Poetry 1.8.3's own, for a project of these dependencies."""
    uvicorn = {"extras": ["standard"], "version": "^0.30"}
    poetry = {"dependencies": {"python": "^3.11", "uvicorn": uvicorn}}
    written = "e878089c530ea39b7919aeec8304ee591c7df9284702965becf7992467c9e0e4"
    lock = {"metadata": {"lock-version": "2.0", "content-hash": written}}
    assert not poetry_lock_is_stale({"tool": {"poetry": poetry}}, lock)


@pytest.mark.parametrize(
    "metadata", [{}, {"content-hash": 1}, {"content-hash": "a", "lock-version": "3.0"}]
)
def test_poetry_lock_that_cannot_be_judged(metadata: Document) -> None:
    assert not poetry_lock_is_stale({"tool": {"poetry": {}}}, {"metadata": metadata})


# --- PDM, pylock.toml, Pipenv --------------------------------------------------------------------


def test_pdm_lock() -> None:
    text = """
        [[package]]
        name = "fastapi"
        version = "0.115"
        requires_python = ">=3.8"
        groups = ["default"]
        files = [{file = "fastapi-0.115-py3-none-any.whl", hash = "sha256:0"}]
        [[package]]
        name = "fastapi"
        version = "0.115"
        extras = ["standard"]
        groups = ["default"]
        files = [{file = "fastapi-0.115-py3-none-any.whl", hash = "sha256:0"}]
        [[package]]
        name = "colorama"
        version = "0.4"
        groups = ["default"]
        marker = "sys_platform == 'win32'"
        [[package]]
        name = "redis"
        version = "5"
        groups = ["cache"]
        [[package]]
        name = "pytest"
        version = "8"
        groups = ["dev"]
    """
    assert pins(pdm_lock(read_toml(text))) == ["fastapi==0.115"]
    assert pins(pdm_lock(read_toml(text), ["cache"])) == ["fastapi==0.115", "redis==5"]


def test_pylock() -> None:
    text = """
        lock-version = "1.0"
        [[packages]]
        name = "fastapi"
        version = "0.115"
        sdist = {name = "fastapi-0.115.tar.gz"}
        wheels = [{url = "https://host/fastapi-0.115-py3-none-any.whl"}]
        [[packages]]
        name = "tomli"
        version = "2"
        marker = "python_version < '3.11'"
        [[packages]]
        name = "ours"
        vcs = {type = "git", url = "https://host/ours"}
    """
    found = pylock(read_toml(text)).installed("3.13")
    assert [package.pin for package in found] == ["fastapi==0.115", "ours"]
    assert found[0].files == ("https://host/fastapi-0.115-py3-none-any.whl", "fastapi-0.115.tar.gz")
    assert found[1].is_vcs


def test_pipfile_lock() -> None:
    text = json.dumps(
        {
            "default": {
                "fastapi": {"version": "==0.115", "markers": "python_version >= '3.8'"},
                "colorama": {"version": "==0.4", "markers": "sys_platform == 'win32'"},
                "ours": {"git": "https://host/ours.git", "ref": "abc"},
            },
            "develop": {"pytest": {"version": "==8"}},
        }
    )
    found = pipfile_lock(text).installed("3.13")
    assert [package.pin for package in found] == ["fastapi==0.115", "ours"]
    assert [package.is_vcs for package in found] == [False, True]
    assert found[0].files is None


@pytest.mark.parametrize("text", [None, "", "[", "[1]", "{" * 5000, '{"default": 1}'])
def test_odd_documents(text: str | None) -> None:
    assert pipfile_lock(text).packages == ()
    assert uv_lock(read_toml(text)).packages == ()


def test_odd_tables() -> None:
    document = read_toml('package = [1, {name = 2}, {name = "a", dependencies = 3, source = 4}]')
    assert pins(uv_lock(document)) == ["a"]
    assert pins(pdm_lock(document)) == ["a"]
    assert pins(poetry_lock(document, {"project": {"dependencies": ["a"]}})) == ["a"]
