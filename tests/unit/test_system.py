"""Debian packages that distributions need."""

import re

import pytest

from deploytool.discover.dependencies.system import (
    COMPILER,
    KNOWN,
    OLDER,
    SystemPackages,
    system_packages,
)


@pytest.mark.parametrize(
    ("versions", "source_only", "build", "run"),
    [
        pytest.param({"fastapi": "0.1"}, (), (), (), id="nothing"),
        pytest.param({"Python_Magic": "0.4"}, (), (), ("libmagic1",), id="names are normalized"),
        pytest.param(
            {"psycopg2": "2.9"},
            ("psycopg2==2.9",),
            ("build-essential", "libpq-dev"),
            ("libpq5",),
            id="psycopg2",
        ),
        pytest.param({"psycopg2-binary": "2.9"}, (), (), (), id="psycopg2-binary"),
        pytest.param({"psycopg": "3"}, (), (), ("libpq5",), id="psycopg"),
        pytest.param({"psycopg": "3", "psycopg-binary": "3"}, (), (), (), id="psycopg[binary]"),
        pytest.param(
            {"psycopg": "3", "psycopg-c": "3"},
            ("psycopg-c==3",),
            ("build-essential", "libpq-dev"),
            ("libpq5",),
            id="psycopg[c]",
        ),
        pytest.param(
            {},
            ("mysqlclient",),
            ("build-essential", "default-libmysqlclient-dev", "pkg-config"),
            ("libmariadb3",),
            id="mysqlclient",
        ),
        pytest.param(
            {"pydantic-core": "2.0"},
            ("pydantic-core==2.0",),
            ("build-essential", "cargo", "pkg-config", "rustc"),
            (),
            id="Rust",
        ),
        pytest.param({"pydantic-core": "2.0"}, (), (), (), id="Rust with a wheel"),
        pytest.param({}, ("unheard-of==1",), ("build-essential",), (), id="unknown"),
        pytest.param({}, ("docopt==0.6.2",), (), (), id="pure"),
        pytest.param({"pyodbc": "5"}, (), (), ("unixodbc",), id="pyodbc"),
        pytest.param({"lightgbm": "4"}, (), (), ("libgomp1",), id="lightgbm"),
        pytest.param(
            {"weasyprint": "62.1"},
            (),
            (),
            ("libharfbuzz-subset0", "libpango-1.0-0", "libpangoft2-1.0-0"),
            id="weasyprint",
        ),
        pytest.param(
            {"weasyprint": "52.5"},
            (),
            (),
            ("libcairo2", "libgdk-pixbuf-2.0-0", "libpango-1.0-0", "libpangocairo-1.0-0"),
            id="weasyprint 52",
        ),
        pytest.param({"weasyprint": ""}, (), (), KNOWN["weasyprint"].run, id="no version"),
    ],
)
def test_packages(
    versions: dict[str, str],
    source_only: tuple[str, ...],
    build: tuple[str, ...],
    run: tuple[str, ...],
) -> None:
    found = system_packages(versions, source_only, vcs=False)
    assert (found.build, found.run) == (build, run)


def test_git_is_needed_to_build_alone() -> None:
    assert system_packages({}, (), vcs=True) == SystemPackages(build=("git",))
    assert system_packages({"gitpython": "3"}, (), vcs=False).run == ("git",)


@pytest.mark.parametrize(
    ("versions", "source_only", "note"),
    [
        (
            {},
            ("psycopg2==2.9.9",),
            "psycopg2 is built from source: psycopg2-binary has wheels and needs no compiler",
        ),
        ({}, ("unheard-of==1",), "unheard-of is built from source"),
        ({"opencv-python": "4"}, (), "opencv-python-headless"),
        ({"pdfkit": "1"}, (), "wkhtmltopdf, which Debian 13 does not have"),
        ({"psycopg": "3"}, (), "psycopg[binary] brings its own"),
    ],
)
def test_notes(versions: dict[str, str], source_only: tuple[str, ...], note: str) -> None:
    (found,) = system_packages(versions, source_only, vcs=False).notes
    assert note in found
    assert "\n" not in found


def test_nothing_to_note() -> None:
    versions = {"psycopg": "3", "psycopg-binary": "3", "python-magic": "1", "docopt": "0.6.2"}
    assert system_packages(versions, ("docopt==0.6.2",), vcs=False).notes == ()


def test_names_in_the_table() -> None:
    known = [*KNOWN.values(), *(older for _, older in OLDER.values())]
    packages = {name for one in known for name in (*one.build, *one.linked, *one.run)}
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in packages)
    assert COMPILER not in packages
    distributions = {*KNOWN, *OLDER, *(name for one in known for name in one.unless)}
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in distributions)
