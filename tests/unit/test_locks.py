"""Lock files of Pipenv and PDM as lines of a requirements file."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement

from deploytool.discover.locks import (
    pdm_lock_requirements,
    pipfile_lock_python,
    pipfile_lock_requirements,
    pipfile_python,
    pipfile_requirements,
)


def pipfile_lock(**default: object) -> str:
    requires = {"python_version": "3.12"}
    return json.dumps({"_meta": {"requires": requires}, "default": default, "develop": {}})


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ({"version": "==1.2", "hashes": ["sha256:0"], "index": "pypi"}, "shop==1.2"),
        ({"version": "==1.2", "extras": ["a", "b"]}, "shop[a,b]==1.2"),
        (
            {"version": "==1.2", "markers": "python_version >= '3.8'"},
            "shop==1.2 ; python_version >= '3.8'",
        ),
        (
            {"version": "==1.2", "sys_platform": "== 'win32'"},
            "shop==1.2 ; sys_platform == 'win32'",
        ),
        ({"git": "https://host/shop.git", "ref": "abc"}, "shop @ git+https://host/shop.git@abc"),
        ({"git": "https://host/shop.git"}, "shop @ git+https://host/shop.git"),
        ({"file": "https://host/shop.whl"}, "shop @ https://host/shop.whl"),
        (
            {"git": "https://host/s", "ref": "a", "extras": ["x"], "markers": "os_name == 'nt'"},
            "shop[x] @ git+https://host/s@a ; os_name == 'nt'",
        ),
        ({}, "shop"),
    ],
)
def test_package_of_a_pipfile_lock(package: dict[str, Any], line: str) -> None:
    assert pipfile_lock_requirements(pipfile_lock(shop=package)) == (line,)
    assert Requirement(line).name == "shop"


def test_only_the_default_section_is_installed() -> None:
    text = json.dumps({"default": {"b": "==2", "a": "==1"}, "develop": {"pytest": "==9"}})
    assert pipfile_lock_requirements(text) == ("a==1", "b==2")
    assert pipfile_lock_requirements(text, "develop") == ("pytest==9",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"default": []}', "[" * 100_000])
def test_no_pipfile_lock(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pipfile_lock_requirements(text)


def test_pipfile() -> None:
    pipfile = tomllib.loads(
        """
        [packages]
        fastapi = "*"
        uvicorn = {extras = ["standard"], version = ">=0.20"}
        colorama = {version = "*", markers = "sys_platform == 'win32'"}
        [dev-packages]
        pytest = "*"
        [requires]
        python_version = "3.11"
        """
    )
    assert pipfile_requirements(pipfile) == (
        "colorama ; sys_platform == 'win32'",
        "fastapi",
        "uvicorn[standard]>=0.20",
    )
    assert pipfile_python(pipfile) == "3.11"


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ({"python_version": "3.11"}, "3.11"),
        ({"python_version": "3.11", "python_full_version": "3.11.4"}, "3.11.4"),
        ({"python_version": 3}, None),
        ({}, None),
    ],
)
def test_python_of_a_pipfile(requires: dict[str, Any], expected: str | None) -> None:
    assert pipfile_python({"requires": requires}) == expected
    lock = json.dumps({"_meta": {"requires": requires}, "default": {}})
    assert pipfile_lock_python(lock) == expected


PDM_LOCK = """
[metadata]
groups = ["default", "dev", "pg"]
lock_version = "4.5.0"

[[package]]
name = "uvicorn"
version = "0.34.0"
groups = ["default"]
files = [{file = "uvicorn-0.34.0-py3-none-any.whl", hash = "sha256:0"}]

[[package]]
name = "uvicorn"
version = "0.34.0"
extras = ["standard"]
groups = ["default"]
dependencies = ["uvicorn==0.34.0"]

[[package]]
name = "uvloop"
version = "0.21.0"
groups = ["default", "dev"]
marker = "sys_platform != 'win32'"

[[package]]
name = "asyncpg"
version = "0.30.0"
groups = ["pg"]

[[package]]
name = "shop"
version = "1.0"
git = "https://host/shop.git"
ref = "main"
revision = "abc"
groups = ["default"]

[[package]]
name = "pytest"
version = "8.0"
groups = ["dev"]
"""


@pytest.mark.parametrize(
    ("groups", "more"), [(("default",), ()), (("default", "pg"), ("asyncpg==0.30.0",))]
)
def test_pdm_lock(groups: tuple[str, ...], more: tuple[str, ...]) -> None:
    assert pdm_lock_requirements(tomllib.loads(PDM_LOCK), groups) == (
        *more,
        "shop @ git+https://host/shop.git@abc",
        "uvicorn[standard]==0.34.0",
        "uvloop==0.21.0 ; sys_platform != 'win32'",
    )


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        ("", ()),
        ("package = 1", ()),
        ("package = [1]", ()),
        ("[[package]]\nversion = '1'", ()),
        ("[[package]]\nname = 'a'\nversion = '1'", ("a==1",)),
    ],
    ids=["empty", "a number", "numbers", "no name", "no groups"],
)
def test_odd_and_old_pdm_locks(lock: str, expected: tuple[str, ...]) -> None:
    assert pdm_lock_requirements(tomllib.loads(lock)) == expected
