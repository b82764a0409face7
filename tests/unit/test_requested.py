"""What a project asks for, as lines that need nothing but an index."""

import tomllib
from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover.dependencies.requested import (
    Requested,
    of_pipfile,
    of_poetry,
    of_project,
    of_requirements,
    pep440,
)
from deploytool.discover.source import Project


@pytest.mark.parametrize(
    ("poetry", "standard"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^1.0.0b1", ">=1.0.0b1,<2"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4", "~=1.4"),
        ("1.2.3", "==1.2.3"),
        ("1.2.*", "==1.2.*"),
        (">=1 <2", ">=1,<2"),
        (">=1, !=1.5", ">=1,!=1.5"),
        ("^1.0 || ^2.0", ">=2.0,<3"),
        ("*", ""),
    ],
)
def test_constraints_of_poetry(poetry: str, standard: str) -> None:
    assert pep440(poetry) == standard


def test_dependencies_of_poetry() -> None:
    document = tomllib.loads("""
        [tool.poetry.dependencies]
        python = "^3.9"
        fastapi = "^0.115"
        uvicorn = { version = "*", extras = ["standard"], python = "<3.13" }
        tomli = { version = "2.0", markers = "sys_platform == 'linux'" }
        ours = { git = "https://host/ours.git", rev = "main" }
        wheel = { url = "https://host/w-1-py3-none-any.whl" }
        archive = { url = "https://host/archive-1.tar.gz" }
        redis = { version = "^5", optional = true }
        celery = { version = "^5", optional = true }
        click = [{ version = "7", python = "<3.10" }, { version = "8", python = ">=3.10" }]
        [tool.poetry.extras]
        cache = ["redis"]
        [tool.poetry.group.web.dependencies]
        jinja2 = "3.1"
        [tool.poetry.group.dev.dependencies]
        pytest = "*"
    """)
    assert of_poetry(document, ["cache"], ["web"]) == Requested(
        lines=(
            "fastapi<0.116,>=0.115",
            'uvicorn[standard]; python_version < "3.13"',
            'tomli==2.0; sys_platform == "linux"',
            "redis<6,>=5",
            'click==7; python_version < "3.10"',
            'click==8; python_version >= "3.10"',
            "jinja2==3.1",
        ),
        vcs=("ours",),
        archives=("archive",),
        local=("wheel",),
    )


def test_poetry_that_only_names_a_source() -> None:
    document = tomllib.loads("""
        [project]
        dependencies = ["fastapi>=0.1"]
        [tool.poetry.dependencies]
        fastapi = { source = "internal" }
    """)
    assert of_poetry(document).lines == ("fastapi>=0.1",)


def test_dependencies_of_a_project() -> None:
    document = tomllib.loads("""
        [project]
        name = "Shop"
        dependencies = ["fastapi[standard]", "ours", "lib", "x @ git+https://host/x.git", "? ?"]
        [project.optional-dependencies]
        all = ["shop[db]"]
        db = ["asyncpg"]
        [dependency-groups]
        web = ["jinja2", { include-group = "more" }, { include-group = "web" }]
        more = ["markupsafe"]
        [tool.uv.sources]
        Ours = { git = "https://host/ours" }
        lib = { workspace = true }
    """)
    assert of_project(document, ["all"], ["web"]) == Requested(
        lines=("fastapi[standard]", "asyncpg", "jinja2", "markupsafe"),
        vcs=("ours", "x"),
        local=("lib",),
    )


def test_packages_of_pipenv() -> None:
    document = tomllib.loads("""
        [packages]
        fastapi = "*"
        requests = {version = ">=2,<3", extras = ["socks"], markers = "python_version > '3'"}
        ours = {git = "https://host/ours.git", editable = true}
        here = {path = ".", editable = true}
    """)
    assert of_pipfile(document) == Requested(
        lines=("fastapi", 'requests[socks]<3,>=2; python_version > "3"'),
        vcs=("ours",),
        local=("here",),
    )


@pytest.mark.parametrize(
    ("line", "requested"),
    [
        ("fastapi == 0.1  # web", Requested(lines=("fastapi==0.1",))),
        (
            "typing; python_version < '3.5'",
            Requested(lines=('typing; python_version < "3.5"',)),
        ),
        ("a==1 --hash=sha256:0 --hash=sha256:1", Requested(lines=("a==1",))),
        ("a==1 \\\n    --hash=sha256:0", Requested(lines=("a==1",))),
        ("--index-url https://host/simple", Requested(lines=("--index-url https://host/simple",))),
        ("--extra-index-url=https://host", Requested(lines=("--extra-index-url=https://host",))),
        ("--no-binary psycopg2", Requested()),
        ("-e .", Requested(local=(".",))),
        ("--editable=./lib", Requested(local=("./lib",))),
        ("../lib[x]", Requested(local=("../lib[x]",))),
        ("file:///srv/lib", Requested(local=("file:///srv/lib",))),
        ("x @ file:///srv/x", Requested(local=("x",))),
        ("X_y @ git+ssh://git@host/x.git@v1", Requested(vcs=("x-y",))),
        ("-e git+https://host/a/b.git@v1#egg=Name", Requested(vcs=("name",))),
        ("git+https://host/a/our-lib.git@v1", Requested(vcs=("our-lib",))),
        ("x @ https://host/x-1.tar.gz", Requested(archives=("x",))),
        ("https://host/lib-1.0.zip", Requested(archives=("lib",))),
        ("https://host/lib-1.0-py3-none-any.whl", Requested(local=("lib",))),
        ("'quoted>=1'", Requested(lines=("quoted>=1",))),
        ("?? nonsense", Requested()),
    ],
)
def test_line_of_requirements(tmp_path: Path, line: str, requested: Requested) -> None:
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    assert of_requirements(Project(tmp_path), PurePosixPath("requirements.txt")) == requested


def test_included_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/prod.txt").write_text(
        "-r base.txt\n-c ../pins.txt\n-f ./wheels\nuvicorn\n-r missing.txt\n"
    )
    (tmp_path / "requirements/base.txt").write_text("fastapi\n-rprod.txt\n")
    (tmp_path / "pins.txt").write_text("idna<3\n-e .\n")
    found = of_requirements(Project(tmp_path), PurePosixPath("requirements/prod.txt"))
    links = f"--find-links {tmp_path.resolve() / 'requirements/wheels'}"
    assert found == Requested(lines=("fastapi", links, "uvicorn"), constraints=("idna<3",))
    assert found.is_complete
    assert not Requested(vcs=("x",)).is_complete
